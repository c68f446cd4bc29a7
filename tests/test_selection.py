"""Selection of the top-k words, against enumeration of every tie order."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.metrics.selection import (
    inclusion_probabilities,
    orders,
    resolve_k,
    set_to_scores,
    tie_rate,
)

tied_scores = st.lists(st.integers(-2, 2), min_size=1, max_size=6)


def every_order(scores):
    """All descending orders of the words, by trying every permutation."""
    n = len(scores)
    return [o for o in permutations(range(n)) if all(scores[a] >= scores[b] for a, b in pairwise(o))]


@pytest.mark.parametrize(
    ("rule", "n_words", "expected"),
    [
        (0.2, 30, 6),
        (0.2, 12, 2),  # 2.4
        (0.2, 13, 3),  # 2.6
        (0.05, 10, 1),  # a half goes up
        (0.05, 30, 2),  # 1.5
        (0.35, 10, 4),  # 3.5, which is below 3.5 in binary
        (0.05, 3, 1),  # at least one
        (1.0, 7, 7),
        ("fifth", 9, 1),
        ("fifth", 10, 2),
        ("fifth", 35, 7),
        ("fifth", 1, 1),
        ("human", 9, 4),
        ("own", 9, 0),
    ],
)
def test_resolve_k(rule, n_words, expected):
    assert resolve_k(rule, n_words, human_k=4, own_k=0) == expected


@pytest.mark.parametrize("rule", ["humans", 0.0, 1.5, -0.1, True, "human", "own"])
def test_resolve_k_refuses(rule):
    sizes = {"human_k": 6} if rule == "human" else {}
    with pytest.raises(StudyError):
        resolve_k(rule, 5, **sizes)


def test_resolve_k_suggests_the_near_name():
    with pytest.raises(StudyError, match="'human'"):
        resolve_k("humann", 5)


@pytest.mark.parametrize("k", range(5))
@pytest.mark.parametrize("scores", [[1, 2, 2, 2], [0, 0, 0, 0], [3, 1, 1, 0], [4, 3, 2, 1], [-1, 0, -1, 0]])
def test_inclusion_is_the_share_of_tie_orders(scores, k):
    tops = [set(order[:k]) for order in every_order(scores)]
    expected = [np.mean([word in top for top in tops]) for word in range(4)]
    np.testing.assert_allclose(inclusion_probabilities(scores, k), expected)
    certain = set.intersection(*tops)
    assert k == 0 or tie_rate(scores, k) == pytest.approx(1 - len(certain) / k)


@given(tied_scores, st.data())
def test_inclusion_adds_up_and_follows_the_words(scores, data):
    k = data.draw(st.integers(0, len(scores)))
    order = data.draw(st.permutations(range(len(scores))))
    probability = inclusion_probabilities(scores, k)
    assert probability.sum() == pytest.approx(k)
    assert ((probability >= 0) & (probability <= 1)).all()
    moved = inclusion_probabilities(np.array(scores)[order], k)
    np.testing.assert_array_equal(moved, probability[order])
    np.testing.assert_array_equal(inclusion_probabilities(np.array(scores) * 3.5 - 1, k), probability)


def test_tie_rate_by_hand():
    assert tie_rate([2, 1, 1], 2) == 0.5
    assert tie_rate([2, 1, 1], 3) == 0
    assert tie_rate([5, 5, 5], 1) == 1
    assert np.isnan(tie_rate([1, 2], 0))


@given(tied_scores)
def test_orders_enumerate_each_tie_order_once(scores):
    found = orders(scores, 720, np.random.default_rng(0))
    assert sorted(map(tuple, found.tolist())) == sorted(every_order(scores))


def test_orders_without_ties_are_one():
    np.testing.assert_array_equal(orders([1, 3, 2], 20, np.random.default_rng(0)), [[1, 2, 0]])


def test_orders_draw_when_there_are_too_many():
    scores = [1.0] * 4 + [2.0] * 3
    drawn = orders(scores, 143, np.random.default_rng(3))  # 4! 3! = 144 orders exist
    assert drawn.shape == (143, 7)
    assert len(orders(scores, 144, np.random.default_rng(3))) == 144
    assert all(set(row[:3]) == {4, 5, 6} and set(row) == set(range(7)) for row in drawn.tolist())
    np.testing.assert_array_equal(drawn, orders(scores, 143, np.random.default_rng(3)))


def test_drawn_orders_are_uniform():
    first = orders([0.0] * 5, 100, np.random.default_rng(1))[:, 0]
    many = np.concatenate([orders([0.0] * 5, 100, np.random.default_rng(seed))[:, 0] for seed in range(100)])
    assert len(set(first)) == 5
    np.testing.assert_allclose(np.bincount(many) / many.size, 0.2, atol=0.015)  # 3.75 standard errors


def test_long_constant_text_does_not_enumerate():
    assert orders(np.zeros(2000), 20, np.random.default_rng(0)).shape == (20, 2000)


def test_set_to_scores():
    np.testing.assert_array_equal(set_to_scores({3, 0}, 5), [1, 0, 0, 1, 0])
    np.testing.assert_array_equal(set_to_scores([3, 0, 4], 5, ordered=True), [2, 0, 0, 3, 1])
    np.testing.assert_array_equal(set_to_scores([], 2, ordered=True), [0, 0])


@pytest.mark.parametrize("selected", [[1, 1], [5], [-1], [0.5], [True, False]])
def test_set_to_scores_refuses(selected):
    with pytest.raises(StudyError):
        set_to_scores(selected, 5)


@pytest.mark.parametrize("scores", [[], [[1, 2]], [1, np.nan], [np.inf, 0]])
def test_bad_scores_are_refused(scores):
    with pytest.raises(StudyError):
        inclusion_probabilities(scores, 1)


@pytest.mark.parametrize("k", [-1, 4, 1.5, True])
def test_bad_k_is_refused(k):
    with pytest.raises(StudyError):
        inclusion_probabilities([1, 2, 3], k)

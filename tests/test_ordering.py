"""Greedy and own orders of a set of words, against brute force and closed forms."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from rationales.errors import StudyError
from rationales.metrics.ordering import check_ordered, first_orders, order_greedily, ordered_rows, removal_masks
from rationales.metrics.selection import inclusion_probabilities


def support_of(keep, weights, pairs=0.0):
    """What is left of a text: the sum of its words, and an interaction of neighbours."""
    return keep @ weights + pairs * (keep[..., :-1] & keep[..., 1:]).sum(axis=-1)


def greedy_by_brute_force(words, n_words, score):
    """One word at a time: try each one that is left, keep the best."""
    order = []
    while len(order) < len(words):
        rest = [word for word in words if word not in order]
        left = []
        for word in rest:
            keep = np.ones(n_words, dtype=bool)
            keep[[*order, word]] = False
            left.append(score(keep))
        order.append(rest[int(np.argmin(left))])
    return order


def test_greedy_order_is_that_of_brute_force_for_many_sets_at_once():
    generator = np.random.default_rng(0)
    tables, sets, sizes = [], [], []
    for _ in range(40):
        n_words = int(generator.integers(2, 7))
        tables.append(generator.standard_normal((2,) * n_words))  # an unrelated value for every subset of the words
        sizes.append(n_words)
        sets.append(generator.permutation(n_words)[: generator.integers(1, n_words + 1)].tolist())

    def score(number, keep):
        return tables[number][tuple(keep.astype(int))]

    asked = []

    def ask(active, masks):
        asked.append(sum(map(len, masks)))
        return [np.array([score(n, row) for row in keep]) for n, keep in zip(active, masks, strict=True)]

    found = order_greedily(sets, sizes, ask)
    for number, (words, order) in enumerate(zip(sets, found, strict=True)):
        expected = greedy_by_brute_force(words, sizes[number], lambda keep, n=number: score(n, keep))
        assert order.tolist() == expected
    assert len(asked) == max(map(len, sets))  # one batch per round
    assert sum(asked) == sum(len(words) * (len(words) + 1) // 2 for words in sets)


def test_greedy_order_without_interactions_is_that_of_the_effects_and_the_best_of_all_orders():
    weights = np.array([0.1, 0.7, -0.2, 0.4, 0.3])
    words = [2, 0, 3, 1]
    (order,) = order_greedily([words], [5], lambda _, masks: [support_of(masks[0], weights)])
    assert order.tolist() == [1, 3, 0, 2]

    def area(candidate):
        return (weights.sum() - support_of(removal_masks(candidate, 5), weights)).mean()

    assert area(order) == pytest.approx(max(area(list(p)) for p in permutations(words)))


def test_equal_effects_keep_the_own_order_and_groups_are_the_best_of_one_round():
    flat = order_greedily([[3, 0, 2]], [4], lambda _, masks: [np.zeros(len(masks[0]))])
    assert flat[0].tolist() == [3, 0, 2]
    weights, pairs = np.array([0.3, 0.2, 0.9, 0.1]), 0.5
    (grouped,) = order_greedily([[0, 1, 2, 3]], [4], lambda _, masks: [support_of(masks[0], weights, pairs)], group=2)
    # Single removals leave 2.7, 2.3 (two pairs gone), 1.6 and 2.9 less .5: words 2 and 1 go first, then 0 before 3.
    assert grouped.tolist() == [2, 1, 0, 3]
    with pytest.raises(StudyError, match="at least 1"):
        order_greedily([[0]], [1], lambda _, masks: [np.zeros(1)], group=0)
    assert order_greedily([], [], lambda *_: []) == []


def test_first_orders_are_all_orders_of_tied_words_once_or_draws_of_them():
    scores = np.array([0.0, 2.0, 1.0, 1.0, 1.0, 0.0])
    rows = first_orders(scores, 3, 6, np.random.default_rng(0))
    assert sorted(map(tuple, rows)) == [(1, *pair) for pair in sorted(permutations([2, 3, 4], 2))]
    draws = first_orders(scores, 3, 5, np.random.default_rng(0))
    assert len(draws) == 5 and (draws[:, 0] == 1).all()
    many = first_orders(np.zeros(7), 3, 200, np.random.default_rng(1))  # 210 orders: drawn
    shares = np.bincount(many.ravel(), minlength=7) / len(many)
    np.testing.assert_allclose(shares, inclusion_probabilities(np.zeros(7), 3), atol=0.1)
    assert first_orders(np.array([3.0, 1.0]), 2, 1, np.random.default_rng(0)).tolist() == [[0, 1]]
    with pytest.raises(StudyError, match="at least one order"):
        first_orders(scores, 2, 0, np.random.default_rng(0))


def test_removal_masks_lack_the_first_words():
    assert removal_masks([2, 0], 3).tolist() == [[True, True, False], [False, True, False]]


def test_values_of_a_curve_done_by_hand():
    rows = pd.DataFrame(ordered_rows([[0.1, 0.4, 0.7], [0.3, 0.4, 0.7]], 30, "own")).set_index(["metric", "k"])["value"]
    assert rows["ordered_aopc_own", "human"] == pytest.approx((1.2 + 1.4) / 6)
    assert rows["ordered_drop_own", "human_0.05"] == pytest.approx(0.4)  # 5 % of 30 words, 1.5, are 2 words
    assert rows["ordered_drop_own", "human_0.1"] == pytest.approx(0.7)
    whole = ordered_rows([[0.2]], 40, "greedy")  # 2 and 4 words are asked for, the set has one
    assert [row["value"] for row in whole] == pytest.approx([0.2] * 3)
    with pytest.raises(StudyError, match="no order"):
        ordered_rows(np.zeros((1, 0)), 4, "own")


def test_names_and_sizes_that_a_study_cannot_order_are_one_sentence():
    settings = {"ordered_explainers": ["self", "lime", "PE-list-free-anchored"], "operators": ["delete"],
                "ordered_operators": ["delete"], "ordered_draws": 8, "ordered_group": 1}  # fmt: skip
    check_ordered(settings, {"lime"}, ["PE-list-free-anchored"])
    for change, message in (
        (
            {"ordered_explainers": ["limes"]},
            "which the study does not run; its names are: PE-list-free-anchored, lime, self",
        ),
        ({"ordered_operators": ["mask"]}, "for ordered words"),
        ({"ordered_draws": 0}, "at least 1"),
        ({"ordered_group": True}, "at least 1"),
    ):
        with pytest.raises(StudyError, match=message):
            check_ordered({**settings, **change}, {"lime"}, ["PE-list-free-anchored"])

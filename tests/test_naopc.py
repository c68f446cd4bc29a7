"""Beam bounds of AOPC against the exact ones, against random orders, and in what they ask."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.metrics.naopc import aopc_bounds_beam, aopc_bounds_exact, aopc_of_orders, naopc


def table_answer(probs, asked=None):
    """A model that looks up p by the kept words; records the masks it was asked for."""

    def answer(masks):
        assert masks.dtype == bool and masks.ndim == 2
        if asked is not None:
            asked.append(masks)
        return np.asarray(probs)[masks @ (1 << np.arange(masks.shape[1]))]

    return answer


def additive_answer(weights):
    """p = .5 + the weights of the kept words, for any number of words."""
    return lambda masks: 0.5 + masks @ np.asarray(weights)


@pytest.mark.parametrize("n_words", [1, 2, 3, 4, 5, 6, 7])
def test_a_full_beam_is_exact(n_words):
    generator = np.random.default_rng(n_words)
    for _ in range(5):
        probs = generator.uniform(0.001, 0.999, 2**n_words)
        bounds = aopc_bounds_beam(table_answer(probs), n_words, width=35)
        assert bounds[:2] == pytest.approx(aopc_bounds_exact(np.log(probs)))
        reached = aopc_of_orders(table_answer(probs), np.array([bounds.lowest_order, bounds.highest_order]))
        assert reached == pytest.approx(bounds[:2])
        assert bounds.n_masks == 2**n_words  # every set of words once


def test_three_words_by_hand():
    # Bits: word 0 = 1, word 1 = 2, word 2 = 4. p(abc) .9, bc .3, ac .6, ab .8, a .7, b .35, c .2, none .4.
    probs = np.zeros(8)
    for words, p in {"abc": 0.9, "bc": 0.3, "ac": 0.6, "ab": 0.8, "a": 0.7, "b": 0.35, "c": 0.2, "": 0.4}.items():
        probs[sum(1 << "abc".index(word) for word in words)] = p
    # Deleting a, then b: 0, .6, .7, .5; deleting c, then b: 0, .1, .2, .5.
    values = aopc_of_orders(table_answer(probs), np.array([[0, 1, 2], [2, 1, 0]]))
    assert values == pytest.approx([1.8 / 4, 0.8 / 4])
    bounds = aopc_bounds_beam(table_answer(probs), 3, width=3)
    assert bounds[:2] == pytest.approx((0.8 / 4, 1.8 / 4))
    assert bounds.highest_order.tolist() == [0, 1, 2] and bounds.lowest_order.tolist() == [2, 1, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.floats(0, 1), min_size=2**n, max_size=2**n)), st.integers(1, 4))
def test_a_narrow_beam_lies_inside_the_truth_and_its_orders_are_real(probs, width):
    n_words = len(probs).bit_length() - 1
    every = aopc_of_orders(table_answer(probs), np.array(list(permutations(range(n_words)))))
    bounds = aopc_bounds_beam(table_answer(probs), n_words, width)
    assert every.min() - 1e-9 <= bounds.lowest <= bounds.highest + 1e-9
    assert bounds.highest <= every.max() + 1e-9
    assert aopc_of_orders(table_answer(probs), bounds.highest_order[None])[0] == pytest.approx(bounds.highest)
    # With all orders as candidates even the narrowest beam brackets them.
    widened = aopc_bounds_beam(table_answer(probs), n_words, 1, np.array(list(permutations(range(n_words)))))
    assert widened[:2] == pytest.approx((every.min(), every.max()))


def test_candidates_are_bracketed_where_a_narrow_beam_misses_them():
    # A trap: no single word matters, but b and c together do; a greedy first step cannot see it.
    probs = np.full(8, 0.9)
    probs[0b001] = probs[0] = 0.0  # without b and c
    probs[0b110] = 0.85  # without a: the greedy first choice
    order = np.array([[1, 2, 0]])
    narrow = aopc_bounds_beam(table_answer(probs), 3, width=1)
    value = aopc_of_orders(table_answer(probs), order)[0]
    assert naopc(value, *narrow[:2]) > 1
    widened = aopc_bounds_beam(table_answer(probs), 3, width=1, candidates=order)
    assert naopc(value, *widened[:2]) == pytest.approx(1) and widened.highest_order.tolist() == [1, 2, 0]


def test_forty_additive_words_have_known_extremes_and_bracket_random_orders():
    generator = np.random.default_rng(3)
    weights = generator.normal(0, 0.01, 40)
    answer = additive_answer(weights)
    bounds = aopc_bounds_beam(answer, 40, width=3)
    best = np.argsort(-weights)
    assert bounds[:2] == pytest.approx(aopc_of_orders(answer, np.array([best[::-1], best])))
    drawn = generator.permuted(np.tile(np.arange(40), (500, 1)), axis=1)
    values = aopc_of_orders(answer, drawn)
    assert bounds.lowest < values.min() and values.max() < bounds.highest
    assert bounds.n_masks <= 1 + 2 * 3 * 40 * 41 / 2


def test_it_asks_once_per_deleted_word_and_no_mask_twice():
    asked = []
    probs = np.random.default_rng(0).uniform(size=64)
    bounds = aopc_bounds_beam(table_answer(probs, asked), 6, width=4)
    assert len(asked) == 7
    assert sum(map(len, asked)) == bounds.n_masks == len(np.unique(np.vstack(asked), axis=0))


def test_renaming_the_words_renames_the_orders():
    weights = np.array([0.05, -0.02, 0.1, 0.01])
    plain = aopc_bounds_beam(additive_answer(weights), 4, width=2)
    turned = aopc_bounds_beam(additive_answer(weights[::-1]), 4, width=2)
    assert turned[:2] == pytest.approx(plain[:2])
    assert (3 - turned.highest_order).tolist() == plain.highest_order.tolist() == [2, 0, 3, 1]


def test_a_flat_model_has_no_span():
    bounds = aopc_bounds_beam(lambda masks: np.full(len(masks), 0.7), 5)
    assert bounds[:2] == pytest.approx((0, 0)) and np.isnan(naopc(0.0, *bounds[:2]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: aopc_bounds_beam(additive_answer([0.1]), 0),
        lambda: aopc_bounds_beam(additive_answer([0.1]), 1, width=0),
        lambda: aopc_bounds_beam(lambda masks: np.log(np.full(len(masks), 0.5)), 2),
        lambda: aopc_bounds_beam(lambda masks: np.array([0.5]), 2),
        lambda: aopc_bounds_beam(lambda masks: np.full(len(masks), np.nan), 2),
        lambda: aopc_of_orders(additive_answer([0.1, 0.1]), np.array([[0, 0]])),
        lambda: aopc_of_orders(additive_answer([0.1, 0.1]), np.array([0, 1])),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(StudyError):
        call()

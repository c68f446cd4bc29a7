"""Faithfulness measures against values worked out by hand and against enumeration of all orders."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from rationales.errors import StudyError
from rationales.metrics import faithfulness as f
from rationales.metrics.naopc import aopc_bounds_exact, naopc, plan_subsets
from rationales.metrics.selection import orders


def log_pair(p):
    """Log-probabilities (..., 2) of two labels for the probability p of label 0."""
    p = np.asarray(p, dtype=float)
    return np.log(np.stack([p, 1 - p], axis=-1))


def curves_of(probability, scores, n_orders=50, max_full_curve=100, fractions=(0.5,), extra=(), target=0):
    """Curves of a model whose p(label 0) is `probability(keep mask)`."""
    n = len(scores)
    ks = f.curve_ks(n, fractions, max_full_curve, extra)
    without, only = f.plan_masks(orders(np.asarray(scores), n_orders, np.random.default_rng(0)), ks)
    ask = np.vectorize(lambda *keep: probability(np.array(keep)), otypes=[float])

    def answer(masks):
        return log_pair(ask(*np.moveaxis(np.asarray(masks, dtype=bool), -1, 0)))

    return f.Curves(
        ks,
        answer(without),
        answer(only),
        answer(~np.eye(n, dtype=bool)),
        answer(np.ones(n)),
        answer(np.zeros(n)),
        target,
    )


# p(label 0) of a model on three words a, b, c; keys are the words kept.
TABLE = {"abc": 0.9, "bc": 0.3, "ac": 0.6, "ab": 0.8, "a": 0.7, "b": 0.35, "c": 0.2, "": 0.4}


def table_model(keep):
    return TABLE["".join(word for word, kept in zip("abc", keep, strict=True) if kept)]


@pytest.fixture
def hand():
    """Order a, b, c: without 0..3 = .9 .3 .2 .4; only 0..3 = .4 .7 .8 .9; single = .3 .6 .8."""
    return curves_of(table_model, [3.0, 2.0, 1.0])


def test_three_words_by_hand(hand):
    approx = pytest.approx
    assert [f.comprehensiveness(hand, k) for k in range(4)] == approx([0, 0.6, 0.7, 0.5])
    assert [f.sufficiency(hand, k) for k in range(4)] == approx([0.5, 0.2, 0.1, 0])
    assert f.comprehensiveness(hand, 1, "log_odds") == approx(np.log(9) - np.log(3 / 7))
    assert f.sufficiency(hand, 1, "log_odds") == approx(np.log(9) - np.log(7 / 3))
    assert f.normalise(hand, f.comprehensiveness(hand, 2)) == approx(0.7 / 0.5)
    assert f.normalise(hand, f.sufficiency(hand, 1)) == approx(0.2 / 0.5)
    assert f.aopc_over_all(hand, "comprehensiveness") == approx((0 + 0.6 + 0.7 + 0.5) / 4)
    assert f.aopc_over_all(hand, "sufficiency") == approx((0.5 + 0.2 + 0.1 + 0) / 4)
    assert [f.flip_rate(hand, k) for k in range(4)] == [0, 1, 1, 1]
    assert f.flip_fraction(hand) == approx((1 / 3, 0, 1 / 4))
    assert f.deletion_rank_correlation(hand, np.array([3.0, 2, 1])) == approx(1)
    assert f.deletion_rank_correlation(hand, np.array([3.0, 1, 2])) == approx(0.5)
    # Drops, a first: 0 .6 .7 .5; c first (keep abc, ab, a, none): 0 .1 .2 .5.
    # Trapezoids: (1.3 + .25) / 3 and (.3 + .25) / 3.
    assert f.deletion_area(hand) == approx(1.0 / 3)
    # Changed, a first: 0 1 1 1; c first: 0 0 0 1.
    assert f.deletion_area(hand, of_flips=True) == approx(2 / 3)


def test_other_target_and_reversed_order():
    reverse = curves_of(table_model, [1.0, 2.0, 3.0])  # c, b, a: without .9 .8 .7 .4, only .4 .2 .3 .9
    assert f.flip_fraction(reverse) == pytest.approx((1.0, 0, 3 / 4))  # flips only at the empty text (.4)
    assert f.deletion_area(reverse) == pytest.approx(-1.0 / 3)
    other = curves_of(table_model, [3.0, 2.0, 1.0], target=1)
    assert f.comprehensiveness(other, 1) == pytest.approx(-0.6)
    assert f.flip_rate(other, 1) == 1  # the predicted label changes, whichever label is explained


def test_absolute_sufficiency_differs_when_a_part_is_more_certain():
    curves = curves_of(lambda keep: {(True, True): 0.6, (True, False): 0.9}.get(tuple(keep), 0.5), [2.0, 1.0])
    assert f.aopc_over_all(curves, "sufficiency") == pytest.approx((0.1 - 0.3 + 0) / 3)
    assert f.aopc_over_all(curves, "absolute_sufficiency") == pytest.approx((0.1 + 0.3 + 0) / 3)


def test_eraser_aopc_counts_equal_sizes_each_time():
    # Ten words; k for 1, 5, 10, 20, 50 % is 1, 1, 1, 2, 5. Each removed word of the first five costs .1.
    curves = curves_of(lambda keep: 0.4 + 0.1 * keep[:5].sum(), np.arange(10, 0, -1), max_full_curve=10)
    comp = [0.1, 0.1, 0.1, 0.2, 0.5]
    suff = [0.4, 0.4, 0.4, 0.3, 0.0]
    grid = f.ERASER_FRACTIONS
    partial = curves_of(lambda keep: 0.4 + 0.1 * keep[:5].sum(), np.arange(10, 0, -1), max_full_curve=0, fractions=grid)
    for each in (curves, partial):
        assert f.aopc_over_fractions(each, grid, "comprehensiveness") == pytest.approx(np.mean(comp))
        assert f.aopc_over_fractions(each, grid, "sufficiency") == pytest.approx(np.mean(suff))
        assert f.aopc_over_fractions(each, grid, "comprehensiveness", extra_bin=True) == pytest.approx(sum(comp) / 6)
    assert not partial.is_full
    # Linear in between, so that interpolation is exact here.
    assert f.aopc_over_all(partial, "comprehensiveness") == pytest.approx(f.aopc_over_all(curves, "comprehensiveness"))


def test_never_flip_and_flat_model():
    flat = curves_of(lambda keep: 0.8, [3.0, 1.0, 2.0])
    assert f.flip_fraction(flat) == (1.0, 1.0, 1.0)
    assert np.isnan(f.normalise(flat, f.comprehensiveness(flat, 1)))
    assert np.isnan(f.deletion_rank_correlation(flat, np.array([3.0, 1, 2])))
    assert f.deletion_area(flat) == 0 and f.deletion_area(flat, of_flips=True) == 0


@pytest.mark.parametrize(("empty", "defined"), [(0.74, True), (0.76, False), (0.95, False)])
def test_normalisation_is_undefined_below_the_threshold(empty, defined):
    curves = curves_of(lambda keep: 0.8 if keep.any() else empty, [1.0, 2.0])
    assert np.isfinite(f.normalise(curves, 0.1)) == defined


def test_ties_are_averaged_over_all_orders():
    tied = curves_of(table_model, [1.0, 1.0, 1.0])
    every = [curves_of(table_model, 3.0 - np.argsort(order)) for order in permutations(range(3))]
    assert len(tied.without) == 6
    for measure in (
        lambda c: f.comprehensiveness(c, 1),
        lambda c: f.sufficiency(c, 2),
        lambda c: f.flip_rate(c, 1),
        lambda c: f.flip_fraction(c)[0],
        lambda c: f.aopc_over_all(c, "absolute_sufficiency"),
    ):
        assert measure(tied) == pytest.approx(np.mean([measure(c) for c in every]))
    assert f.deletion_area(tied) == pytest.approx(0)
    assert np.isnan(f.deletion_rank_correlation(tied, np.ones(3)))


def test_a_tie_for_the_lead_is_not_a_flip():
    rows = log_pair([0.6, 0.5, 0.4])
    assert f.label_changed(rows, rows[0], 0).tolist() == [False, False, True]
    assert f.label_changed(rows, rows[1], 1).tolist() == [True, False, False]


def test_rank_correlation_against_scipy_and_near_certainty():
    generator = np.random.default_rng(3)
    scores, single = generator.integers(-3, 4, 12).astype(float), generator.uniform(0.05, 0.95, 12)
    n = np.zeros((1, 13))
    curves = f.Curves(np.arange(13), log_pair(n + 0.5), log_pair(n + 0.5), log_pair(single), *log_pair([0.7, 0.5]), 0)
    drops = 0.7 - single
    assert f.deletion_rank_correlation(curves, scores) == pytest.approx(spearmanr(scores, drops).statistic)
    unsigned = spearmanr(np.abs(scores), np.abs(drops)).statistic
    assert f.deletion_rank_correlation(curves, scores, signed=False) == pytest.approx(unsigned)
    # p rounds to 1 for every word; only the other label still tells the words apart.
    others = np.array([-50.0, -48.0, -46.0])
    certain = np.stack([np.zeros(3), others], axis=1)
    half = log_pair(np.full((1, 4), 0.5))
    sure = f.Curves(np.arange(4), half, half, certain, np.array([0.0, -52.0]), log_pair(0.5), 0)
    assert f.deletion_rank_correlation(sure, np.array([1.0, 2, 3])) == pytest.approx(1)


def test_certain_labels_make_log_odds_undefined_without_warning():
    curves = f.Curves(
        [0, 1], [[[0, -np.inf], [-np.inf, 0]]], [[[-np.inf, 0], [0, -np.inf]]], None, [0, -np.inf], [-np.inf, 0], 0
    )
    assert f.comprehensiveness(curves, 1) == 1
    assert np.isnan(f.comprehensiveness(curves, 1, "log_odds"))
    rows = f.faithfulness_of(curves, np.array([1.0]), (0.5,), {})
    undefined = {row["metric"] for row in rows if np.isnan(row["value"])}
    assert undefined == {m for m in f.MEASURES if m.endswith("log_odds") or m.startswith("deletion_rank")}


def test_three_labels_use_the_mass_of_all_others():
    full, rest = np.log([0.5, 0.3, 0.2]), np.log([0.3, 0.3, 0.4])
    assert f.log_odds(full, 0) == pytest.approx(0)
    assert f.log_odds(rest, 2) == pytest.approx(np.log(0.4 / 0.6))
    assert f.label_changed(rest, full, 0)


def test_masks_remove_and_keep_the_leading_words():
    without, only = f.plan_masks(np.array([[2, 0, 1], [1, 2, 0]]), np.array([0, 1, 3]))
    assert without.astype(int).tolist() == [[[1, 1, 1], [1, 1, 0], [0, 0, 0]], [[1, 1, 1], [1, 0, 1], [0, 0, 0]]]
    assert np.array_equal(only, ~without)
    with pytest.raises(StudyError, match="word order"):
        f.plan_masks(np.array([[0, 0, 1]]), np.array([0, 1, 3]))


def test_sizes_of_short_and_long_texts():
    assert f.curve_ks(4, (0.5,), 10).tolist() == [0, 1, 2, 3, 4]
    assert f.curve_ks(100, (0.07, 0.5), 10, extra=(3,)).tolist() == [0, 1, 3, 7, 50, 100]
    assert f.curve_ks(1, f.ERASER_FRACTIONS, 0).tolist() == [0, 1]
    for bad in ({"n_words": 0}, {"extra": (12,)}, {"extra": (-1,)}, {"fractions": (0.0,)}, {"fractions": (1.5,)}):
        with pytest.raises(StudyError):
            f.curve_ks(**({"n_words": 11, "fractions": (0.5,), "max_full_curve": 20} | bad))


def test_rows_are_tidy_complete_and_named(hand):
    rows = f.faithfulness_of(hand, np.array([3.0, 2, 1]), (0.1, 0.5), {"human": 2, "own": 0})
    keys = [(row["metric"], row["k"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {metric for metric, _ in keys} == set(f.MEASURES)
    value = {key: row["value"] for key, row in zip(keys, rows, strict=True)}
    assert value["comprehensiveness", "human"] == pytest.approx(0.7)
    assert value["comprehensiveness", "own"] == 0 and value["flip_rate", "own"] == 0
    assert value["sufficiency", "own"] == pytest.approx(f.null_difference(hand))
    assert value["dfmit", "1"] == 1 and value["dffrac", "all"] == pytest.approx(1 / 3)
    assert value["aopc_comprehensiveness", "fractions"] == pytest.approx((0.6 + 0.7) / 2)  # 50 % of 3 words is 2
    partial = curves_of(lambda keep: 0.3 + 0.01 * keep.sum(), np.arange(30.0), max_full_curve=5)
    measured = {row["k"] for row in f.faithfulness_of(partial, np.arange(30.0), (0.5,), {})}
    assert measured == {"0.5", "fractions", "1", "measured", "all"}
    with pytest.raises(StudyError, match="extra"):
        f.faithfulness_of(partial, np.arange(30.0), (0.5,), {"human": 7})


@pytest.mark.parametrize(
    "change",
    [
        {"full": [0.9, 0.1]},
        {"ks": [0, 2, 3, 4]},
        {"ks": [1, 0, 2, 3]},
        {"target": 2},
        {"empty": [0.0]},
        {"single": np.zeros((2, 2))},
        {"without": np.full((1, 4, 2), np.nan)},
        {"only": np.zeros((1, 3, 2))},
    ],
)
def test_malformed_curves_are_refused(hand, change):
    fields = {name: getattr(hand, name) for name in ("ks", "without", "only", "single", "full", "empty", "target")}
    with pytest.raises(StudyError):
        f.Curves(**(fields | change))


def test_scores_must_fit_and_be_finite(hand):
    for scores in (np.ones(2), np.array([1, np.nan, 0])):
        with pytest.raises(StudyError):
            f.faithfulness_of(hand, scores, (0.5,), {})


# --- NAOPC ---


def aopc_of_order(probs, order):
    kept, drops = len(probs) - 1, [0.0]
    for word in order:
        kept &= ~(1 << word)
        drops.append(probs[-1] - probs[kept])
    return np.mean(drops)


@pytest.mark.parametrize("n_words", [1, 2, 3, 4, 5, 6])
def test_bounds_equal_brute_force_over_all_orders(n_words):
    generator = np.random.default_rng(n_words)
    for _ in range(3):
        probs = generator.uniform(0.01, 0.99, 2**n_words)
        every = [aopc_of_order(probs, order) for order in permutations(range(n_words))]
        assert aopc_bounds_exact(np.log(probs)) == pytest.approx((min(every), max(every)))


def test_naopc_of_the_best_order_is_one_and_matches_the_curves():
    masks = plan_subsets(3)
    assert masks[5].tolist() == [True, False, True]
    bounds = aopc_bounds_exact(np.log([table_model(mask) for mask in masks]))
    values = {}
    for order in permutations(range(3)):
        curves = curves_of(table_model, 3.0 - np.argsort(order))
        values[order] = naopc(f.aopc_over_all(curves, "comprehensiveness"), *bounds)
        # Keeping the top words is removing the least important first.
        backward = curves_of(table_model, 3.0 - np.argsort(order[::-1]))
        assert naopc(f.aopc_over_all(curves, "sufficiency"), *bounds) == pytest.approx(
            naopc(f.aopc_over_all(backward, "comprehensiveness"), *bounds)
        )
    assert max(values.values()) == pytest.approx(1) and min(values.values()) == pytest.approx(0)
    assert values[0, 1, 2] == pytest.approx(1)  # a, then b: .3 and .2 are the least that any path leaves


def test_naopc_is_undefined_for_a_flat_model_and_refuses_bad_input():
    assert np.isnan(naopc(0.0, *aopc_bounds_exact(np.log(np.full(8, 0.7)))))
    for bad in (np.log(np.full(6, 0.5)), np.full(8, 0.5), np.full(4, np.nan), np.zeros(1)):
        with pytest.raises(StudyError):
            aopc_bounds_exact(bad)
    with pytest.raises(StudyError, match="beam"):
        plan_subsets(9)


# --- properties ---

lattices = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0.001, 0.999), min_size=2**n, max_size=2**n),
        st.lists(st.integers(-2, 2).map(float), min_size=n, max_size=n),
    )
)


@settings(max_examples=60, deadline=None)
@given(lattices)
def test_ranges_and_identities_for_any_model(case):
    probs, scores = case
    curves = curves_of(lambda keep: probs[int(keep @ (1 << np.arange(len(keep))))], scores, 200)
    rows = f.faithfulness_of(curves, np.array(scores), f.ERASER_FRACTIONS, {"human": len(scores)})
    for row in rows:
        measure = f.MEASURES[row["metric"]]
        assert np.isnan(row["value"]) or measure.low - 1e-9 <= row["value"] <= measure.high + 1e-9
        assert not np.isnan(row["value"]) or measure.undefined != "never"
    assert f.sufficiency(curves, 0) == pytest.approx(f.comprehensiveness(curves, len(scores)))
    bounds = aopc_bounds_exact(np.log(probs))
    assert bounds[0] - 1e-9 <= f.aopc_over_all(curves, "comprehensiveness") <= bounds[1] + 1e-9


@settings(max_examples=40, deadline=None)
@given(lattices)
def test_the_order_of_single_word_drops_is_the_best_first_step(case):
    probs, scores = case

    def model(keep):
        return probs[int(keep @ (1 << np.arange(len(keep))))]

    single = np.array([model(row) for row in ~np.eye(len(scores), dtype=bool)])
    oracle, other = curves_of(model, -single, 200), curves_of(model, scores, 200)
    assert f.comprehensiveness(oracle, 1) >= f.comprehensiveness(other, 1) - 1e-9
    if np.ptp(single) > 1e-6:
        assert f.deletion_rank_correlation(oracle, -single) > 0.9

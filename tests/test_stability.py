"""Stability over seeds, against hand-computed cases, numpy, enumeration and synthetic scores of known make-up."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, spearmanr

from rationales.errors import StudyError
from rationales.metrics.agreement import top_k_jaccard
from rationales.metrics.stability import (
    correlation_with_mean,
    correlation_with_mean_curve,
    correlation_with_mean_interval,
    half_correlation,
    label_instability,
    mean_pairwise_correlation,
    mean_top_k_jaccard,
    minority_shares,
    signal_and_noise,
    stability_of,
    summarise_items,
)


def synthetic(generator, n_seeds, n_words, signal_sd, noise_sd, shift_sd=0.0):
    words = generator.normal(0, signal_sd, n_words)
    shifts = generator.normal(0, shift_sd, (n_seeds, 1))
    return words + shifts + generator.normal(0, noise_sd, (n_seeds, n_words))


def test_mean_pairwise_correlation_by_hand():
    scores = [[1, 2, 3], [2, 4, 6], [3, 2, 1]]
    assert mean_pairwise_correlation(scores) == pytest.approx(-1 / 3)  # 1, -1, -1
    assert mean_pairwise_correlation(scores[:2], "spearman") == pytest.approx(1)


@pytest.mark.parametrize(("method", "reference"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_mean_pairwise_correlation_equals_scipy(method, reference):
    scores = np.round(np.random.default_rng(0).normal(size=(6, 15)) * 2)  # with ties
    expected = np.mean([reference(a, b).statistic for a, b in combinations(scores, 2)])
    assert mean_pairwise_correlation(scores, method) == pytest.approx(expected)


def test_constant_seeds_are_left_out_and_reported():
    scores = [[1, 2, 3], [0.1, 0.1, 0.1], [1, 2, 3]]
    values = stability_of(scores, 1, np.random.default_rng(0))
    assert values["pearson"] == pytest.approx(1)
    assert values["constant_share"] == pytest.approx(1 / 3)
    assert values["tie_rate"] == pytest.approx(1 / 3)


def test_half_correlation_is_reliability_for_means_and_similarity_for_concatenation():
    # True correlation of two single seeds: 1 / (1 + 4) = .2; of two means of 50 seeds: 1 / (1 + 4 / 50) = .926.
    scores = synthetic(np.random.default_rng(1), 100, 4000, 1, 2)
    generator = np.random.default_rng(0)
    assert half_correlation(scores, generator, 5, "concatenated") == pytest.approx(0.2, abs=0.02)
    assert half_correlation(scores, generator, 5, "means") == pytest.approx(1 / 1.08, abs=0.02)
    assert mean_pairwise_correlation(scores) == pytest.approx(0.2, abs=0.02)


def test_half_correlation_of_three_seeds_leaves_one_out():
    scores = np.random.default_rng(2).normal(size=(3, 6))
    pairs = [pearsonr(a, b).statistic for a, b in combinations(scores, 2)]
    drawn = {round(half_correlation(scores, np.random.default_rng(seed), 1), 9) for seed in range(40)}
    assert drawn == {round(value, 9) for value in pairs}
    one = half_correlation(scores, np.random.default_rng(7), 30)
    assert one == half_correlation(scores, np.random.default_rng(7), 30)


def test_halves_that_cancel_are_undefined():
    rising = np.array([0.1, 0.2, 0.3, 0.7])
    scores = [rising, 0.8 - rising, rising, 0.8 - rising]  # two of three pairings give constant means
    values = [half_correlation(scores, np.random.default_rng(seed), 1) for seed in range(20)]
    assert np.isnan(values).any()
    np.testing.assert_allclose([value for value in values if not np.isnan(value)], -1)


def test_top_k_jaccard_by_hand_and_with_ties():
    assert mean_top_k_jaccard([[3, 2, 1], [3, 1, 2], [3, 2, 1]], 2) == pytest.approx((1 / 3 + 1 + 1 / 3) / 3)
    scores = np.random.default_rng(3).integers(0, 3, (5, 7))
    scores[0] = [6, 5, 4, 3, 2, 1, 0]
    expected = np.mean([top_k_jaccard(a, b, 3) for a, b in combinations(scores, 2)])
    assert mean_top_k_jaccard(scores, 3) == pytest.approx(expected)


def test_signal_and_noise_by_hand():
    # Word means 1, 3, 5: variance 4. Variances over seeds 2, 2, 8: mean 4.
    values = signal_and_noise([[0, 2, 3], [2, 4, 7]])
    assert values["signal"] == pytest.approx(4)
    assert values["noise"] == pytest.approx(4)
    assert values["snr"] == pytest.approx(1)
    # Changes 2, 2, 4 have the seed mean 8/3; residuals -+1/3, -+1/3, +-2/3: sum of squares 4/3, over (2-1)(3-1).
    assert values["signal_corrected"] == pytest.approx(4 - (4 / 3) / 2 / 2)
    assert values["snr_corrected"] == pytest.approx((4 - 1 / 3) / 4)


@pytest.mark.parametrize("shift_sd", [0.0, 1.5])
def test_known_signal_and_noise_are_recovered(shift_sd):
    generator = np.random.default_rng(11)
    draws = [signal_and_noise(synthetic(generator, 5, 20, 0.7, 1.3, shift_sd)) for _ in range(3000)]
    mean = {name: np.mean([draw[name] for draw in draws]) for name in draws[0]}
    noise = 1.3**2 + shift_sd**2
    assert mean["noise"] == pytest.approx(noise, rel=0.04)
    assert mean["signal_corrected"] == pytest.approx(0.49, rel=0.04)
    assert mean["signal"] == pytest.approx(0.49 + 1.69 / 5, rel=0.04)  # the naive form keeps a fifth of the noise


def test_pure_noise_has_no_corrected_signal():
    generator = np.random.default_rng(12)
    draws = [signal_and_noise(synthetic(generator, 4, 30, 0, 1)) for _ in range(2000)]
    assert np.mean([d["signal_corrected"] for d in draws]) == pytest.approx(0, abs=0.006)
    assert np.mean([d["signal"] for d in draws]) == pytest.approx(0.25, abs=0.01)
    assert min(d["signal_corrected"] for d in draws) < 0


def test_snr_of_many_seeds_converges():
    values = signal_and_noise(synthetic(np.random.default_rng(13), 400, 3000, 1, 2))
    assert values["snr"] == pytest.approx(0.25, rel=0.06)
    assert values["snr_corrected"] == pytest.approx(0.25, rel=0.06)


def test_correlation_with_mean_by_hand():
    # Top-1 words 0, 0, 1. Others' means: (.5, .5, 0), (.5, .5, 0), (1, 0, 0).
    scores = [[3, 2, 1], [3, 1, 2], [1, 3, 2]]
    expected = np.tanh(np.mean(np.arctanh([0.5, 0.5, -0.5])))
    assert correlation_with_mean(scores, 1) == pytest.approx(expected)


def test_correlation_with_mean_equals_numpy_without_ties():
    scores = np.random.default_rng(5).normal(size=(8, 20)) + np.arange(20) / 10
    for k, value in zip([1, 4, 12], correlation_with_mean_curve(scores, [1, 4, 12]), strict=True):
        top = (np.argsort(np.argsort(-scores, axis=1), axis=1) < k).astype(float)
        z = [np.arctanh(pearsonr(top[i], np.delete(top, i, axis=0).mean(axis=0)).statistic) for i in range(8)]
        assert value == pytest.approx(np.tanh(np.mean(z)))


def test_published_interval_of_correlation_with_mean():
    scores = np.random.default_rng(8).normal(size=(6, 12)) + np.linspace(0, 2, 12)
    sets = np.array([np.isin(np.arange(12), np.argsort(-row)[:4]) for row in scores], dtype=float)
    z = np.arctanh([pearsonr(sets[i], np.delete(sets, i, axis=0).mean(axis=0)).statistic for i in range(6)])
    half = 2 * np.std(z, ddof=1) / np.sqrt(6)
    expected = np.tanh([z.mean(), z.mean() - half, z.mean() + half])
    assert correlation_with_mean_interval(scores, 4) == pytest.approx(tuple(expected))
    assert correlation_with_mean_interval(scores, 4)[0] == pytest.approx(correlation_with_mean(scores, 4))
    value, low, high = correlation_with_mean_interval(scores[:2], 4)  # two seeds: the same correlation twice
    assert value == pytest.approx(correlation_with_mean(scores[:2], 4)) and np.isnan([low, high]).all()
    assert np.isnan(correlation_with_mean_interval(scores[:1], 4)).all()
    assert np.isnan(correlation_with_mean_interval(scores, 12)).all()


def test_correlation_with_mean_of_a_tied_seed_is_its_mean_over_tie_orders():
    others = np.array([[5, 4, 3, 2, 1], [5, 2, 3, 4, 1]])
    tied = [1, 2, 2, 2, 0]
    tops = {
        "tied": [np.isin(range(5), chosen) for chosen in [(1, 2), (1, 3), (2, 3)]],
        "others": [np.isin(range(5), (0, 1)), np.isin(range(5), (0, 3))],
    }
    mean_tied = np.mean(tops["tied"], axis=0)
    correlations = [
        np.mean([pearsonr(top, np.mean(tops["others"], axis=0)).statistic for top in tops["tied"]]),
        pearsonr(tops["others"][0], (tops["others"][1] + mean_tied) / 2).statistic,
        pearsonr(tops["others"][1], (tops["others"][0] + mean_tied) / 2).statistic,
    ]
    expected = np.tanh(np.mean(np.arctanh(correlations)))
    assert correlation_with_mean([tied, *others], 2) == pytest.approx(expected)


seed_scores = arrays(float, st.tuples(st.integers(2, 5), st.integers(2, 7)), elements=st.integers(-3, 3).map(float))


@given(seed_scores, st.data())
@settings(max_examples=50)
def test_ranges_and_invariances(scores, data):
    n_seeds, n_words = scores.shape
    k = data.draw(st.integers(1, n_words))
    values = stability_of(scores, k, np.random.default_rng(0))
    for name in ("pearson", "spearman", "half_correlation", "half_correlation_concatenated", "correlation_with_mean"):
        assert np.isnan(values[name]) or -1 <= values[name] <= 1, name
    for name in ("top_k_jaccard", "constant_share", "tie_rate"):
        assert -1e-12 <= values[name] <= 1 + 1e-12, name
    assert values["signal"] >= 0 and values["noise"] >= 0
    words = data.draw(st.permutations(range(n_words)))
    moved = stability_of(scores[:, words], k, np.random.default_rng(0))
    np.testing.assert_allclose(list(moved.values()), list(values.values()), atol=1e-9, rtol=1e-9)
    scaled = stability_of(scores * 4, k, np.random.default_rng(0))  # a power of two: no rounding
    for name in ("signal", "noise", "signal_corrected"):
        scaled[name] /= 16
    np.testing.assert_allclose(list(scaled.values()), list(values.values()), atol=1e-9, rtol=1e-9)
    seeds = data.draw(st.permutations(range(n_seeds)))
    for measure in (
        mean_pairwise_correlation,
        lambda s: mean_top_k_jaccard(s, k),
        lambda s: correlation_with_mean(s, k),
    ):
        assert measure(scores[seeds]) == pytest.approx(measure(scores), nan_ok=True, abs=1e-9)


def test_identical_seeds_are_perfectly_stable():
    values = stability_of([[0.1, 0.7, 0.3]] * 3, 1, np.random.default_rng(0))
    for name in ("pearson", "spearman", "half_correlation", "half_correlation_concatenated", "top_k_jaccard"):
        assert values[name] == pytest.approx(1), name
    assert values["correlation_with_mean"] == pytest.approx(1, abs=1e-8)
    assert values["noise"] == 0 and values["snr"] == values["snr_corrected"] == np.inf


def test_undefined_cases():
    constant = stability_of(np.full((3, 4), 0.1), 2, np.random.default_rng(0))
    assert {name for name, value in constant.items() if np.isnan(value)} == {
        "pearson",
        "spearman",
        "half_correlation",
        "half_correlation_concatenated",
        "correlation_with_mean",
        "snr",
        "snr_corrected",
    }
    assert constant["signal"] == constant["noise"] == 0
    one_seed = stability_of([[1, 2, 3]], 1, np.random.default_rng(0))
    assert one_seed["signal"] == 1
    assert {name for name, value in one_seed.items() if not np.isnan(value)} == {"signal", "constant_share", "tie_rate"}
    one_word = stability_of([[1], [3]], 1, np.random.default_rng(0))
    assert one_word["noise"] == 2 and one_word["top_k_jaccard"] == 1
    assert np.isnan(one_word["signal"]) and np.isnan(one_word["snr_corrected"]) and np.isnan(one_word["pearson"])
    assert np.isnan(correlation_with_mean([[1, 2], [2, 1]], 2))


def test_label_instability():
    predictions = [["pos", "neg", "pos", None], ["pos", "pos", "neg", "pos"], ["pos", "neg", "neu", "pos"]]
    np.testing.assert_allclose(minority_shares(predictions), [0, 1 / 3, 2 / 3, np.nan])
    assert label_instability(predictions) == {"share_differing": pytest.approx(2 / 3), "n_items": 3, "n_missing": 1}
    assert np.isnan(label_instability([[None], [None]])["share_differing"])
    assert label_instability(np.zeros((4, 6), dtype=int))["share_differing"] == 0


def test_summarise_items():
    assert summarise_items([1, np.nan, 2, 6]) == {"mean": 3, "median": 2, "n_items": 3, "n_undefined": 1}
    assert summarise_items([np.nan])["n_undefined"] == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_pairwise_correlation([1, 2, 3]),
        lambda: mean_pairwise_correlation([[1, 2], [1, 2, 3]]),
        lambda: mean_pairwise_correlation([[1, np.nan]]),
        lambda: mean_pairwise_correlation([[1, 2]], "kendall"),
        lambda: half_correlation([[1, 2]], np.random.default_rng(0), form="mean"),
        lambda: half_correlation([[1, 2]], np.random.default_rng(0), n_splits=0),
        lambda: mean_top_k_jaccard([[1, 2]], 0),
        lambda: minority_shares(["a", "b"]),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(StudyError):
        call()

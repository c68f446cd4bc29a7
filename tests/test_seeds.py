"""Jackknife intervals over seeds against closed forms and simulated coverage, and the number of seeds."""

import numpy as np
import pytest
from scipy import stats

from rationales.errors import StudyError
from rationales.metrics.stability import mean_pairwise_correlation, signal_and_noise
from rationales.statistics.seeds import jackknife_interval, seeds_needed, stability_intervals, width_by_seeds


def draw(generator, n_seeds, n_words=30, signal=1.0, noise=1.0):
    words = np.random.default_rng(0).normal(0, signal, n_words)
    return words + generator.normal(0, noise, (n_seeds, n_words))


def noise_of(matrix):
    return signal_and_noise(matrix)["noise"]


def test_jackknife_of_a_mean_is_the_t_interval():
    scores = np.random.default_rng(1).normal(size=(9, 4))
    interval = jackknife_interval(scores, lambda matrix: matrix[:, 0].mean())
    reference = stats.ttest_1samp(scores[:, 0], 0).confidence_interval()
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high))
    logs = jackknife_interval(np.exp(scores), lambda m: np.exp(np.log(m[:, 0]).mean()), scale="log")
    assert (logs.low, logs.high) == pytest.approx((np.exp(reference.low), np.exp(reference.high)))
    fisher = jackknife_interval(scores, lambda m: np.tanh(m[:, 0].mean()), scale="fisher")
    assert (fisher.low, fisher.high) == pytest.approx((np.tanh(reference.low), np.tanh(reference.high)))


def test_all_measures_have_an_interval_around_their_value():
    intervals = stability_intervals(draw(np.random.default_rng(2), 8), 6)
    assert set(intervals) == {
        "pearson", "correlation_with_mean", "signal", "noise", "snr", "signal_corrected", "snr_corrected"
    }  # fmt: skip
    values = signal_and_noise(draw(np.random.default_rng(2), 8))
    for name, interval in intervals.items():
        assert interval.low < interval.estimate < interval.high and interval.n == 8
        if name in values:
            assert interval.estimate == pytest.approx(values[name])


def test_noise_interval_covers_and_a_bootstrap_over_seeds_does_not():
    generator, hits, boot = np.random.default_rng(3), [], []
    for _ in range(300):
        scores = draw(generator, 6)
        interval = jackknife_interval(scores, noise_of, scale="log")
        hits.append(interval.low <= 1 <= interval.high)
        resampled = [noise_of(scores[generator.integers(0, 6, 6)]) for _ in range(100)]
        boot.append(np.quantile(resampled, 0.025) <= 1 <= np.quantile(resampled, 0.975))
    assert 0.91 <= np.mean(hits) <= 0.985
    assert np.mean(boot) < 0.7  # a seed drawn twice has no noise against itself


def test_correlation_interval_covers():
    generator, hits = np.random.default_rng(4), []
    words = np.random.default_rng(0).normal(0, 1, 30)
    truth = np.mean([mean_pairwise_correlation(draw(generator, 2)) for _ in range(4000)])
    for _ in range(300):
        scores = words + generator.normal(0, 1, (8, 30))
        interval = jackknife_interval(scores, mean_pairwise_correlation, scale="fisher")
        hits.append(interval.low <= truth <= interval.high)
    assert 0.91 <= np.mean(hits) <= 0.99


def test_widths_fall_with_seeds_and_the_extrapolation_foresees_it():
    scores = draw(np.random.default_rng(5), 60)
    table = width_by_seeds(scores, noise_of, [5, 15, 60], np.random.default_rng(6), 40, scale="log")
    assert table["n_seeds"].tolist() == [5, 15, 60] and (table["n_undefined"] == 0).all()
    assert np.all(np.diff(table["half_width"]) < 0)
    assert table["estimate"].to_numpy() == pytest.approx([1, 1, 1], abs=0.15)
    assert np.isnan(table["deviation"].iloc[2])  # all seeds: one sample
    foreseen = seeds_needed(15, table["half_width"].iloc[1], table["half_width"].iloc[2])
    assert 35 <= foreseen <= 100


def test_seeds_needed_is_the_first_number_that_is_narrow_enough():
    def half(n):
        return stats.t.ppf(0.975, n - 1) / np.sqrt(n)

    for wanted in (2.0, 0.7, 0.1, 0.01):
        n = seeds_needed(5, half(5), wanted)
        assert half(n) <= wanted + 1e-12 and (n == 3 or half(n - 1) > wanted)


@pytest.mark.parametrize(("n_seeds", "note"), [(1, "undefined"), (2, "at least three"), (3, "rough")])
def test_few_seeds_give_a_sentence(n_seeds, note):
    interval = jackknife_interval(draw(np.random.default_rng(7), n_seeds), noise_of)
    assert note in interval.note and np.isnan(interval.low) == (n_seeds < 3)


def test_identical_seeds_and_measures_that_break():
    same = np.tile([1.0, 2, 3], (5, 1))
    intervals = stability_intervals(same, 1)
    assert intervals["pearson"].estimate == pytest.approx(1)
    assert np.isnan(intervals["noise"].low) and "undefined or infinite" in intervals["noise"].note
    assert intervals["snr"].note  # infinite
    for call in (
        lambda: jackknife_interval(same, noise_of, scale="square"),
        lambda: jackknife_interval(same, noise_of, level=0),
        lambda: width_by_seeds(same, noise_of, [6], np.random.default_rng(0)),
        lambda: width_by_seeds(same, noise_of, [3], np.random.default_rng(0), 0),
        lambda: seeds_needed(2, 0.1, 0.1),
    ):
        with pytest.raises(StudyError):
            call()

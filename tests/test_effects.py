"""Effect sizes and their intervals against closed forms, brute force and simulated coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from rationales.errors import StudyError
from rationales.statistics import effects as e
from rationales.statistics.comparisons import cohen_dz, probability_of_superiority


def zeros(values):
    return np.zeros(len(values))


def test_hedges_correction_against_its_approximation_and_its_definition():
    for df in (2, 5, 20, 100, 5000):
        assert e.hedges_correction(df) == pytest.approx(1 - 3 / (4 * df - 1), rel=0.04 / df)
    assert e.hedges_correction(2) == pytest.approx(1 / np.sqrt(np.pi) * 1.0)  # Gamma(1) / Gamma(1/2)
    assert np.isnan(e.hedges_correction(1))


def test_corrected_dz_is_unbiased():
    samples = np.random.default_rng(0).normal(0.5, 1, (40_000, 8))
    plain = samples.mean(axis=1) / samples.std(axis=1, ddof=1)
    error = plain.std() / np.sqrt(40_000)
    assert plain.mean() > 0.5 + 5 * error
    assert plain.mean() * e.hedges_correction(7) == pytest.approx(0.5, abs=4 * error)


@pytest.mark.parametrize(("n", "effect"), [(2, 0.3), (5, 0.0), (12, -2.0), (30, 0.4), (400, 1.5)])
def test_dz_interval_inverts_the_noncentral_t(n, effect):
    values = np.random.default_rng(n).normal(effect, 1, n)
    interval = e.dz_interval(values, zeros(values), corrected=False)
    assert interval.estimate == pytest.approx(cohen_dz(values, zeros(values)))
    statistic = interval.estimate * np.sqrt(n)
    assert stats.nct.cdf(statistic, n - 1, interval.low * np.sqrt(n)) == pytest.approx(0.975, abs=1e-6)
    assert stats.nct.cdf(statistic, n - 1, interval.high * np.sqrt(n)) == pytest.approx(0.025, abs=1e-6)
    # It excludes 0 exactly when the t-test is significant.
    assert (interval.low > 0 or interval.high < 0) == (stats.ttest_1samp(values, 0).pvalue < 0.05)


@pytest.mark.parametrize("df", [1, 2, 5, 30, 400])
def test_noncentral_t_equals_scipy_where_scipy_has_a_value(df):
    compared = 0
    for value in (-30.0, -2.0, 0.0, 0.5, 3.0, 15.0, 60.0):
        for noncentrality in (-10.0, -1.0, 0.0, 2.0, 12.0, 55.0):
            reference = stats.nct.cdf(value, df, noncentrality)
            if np.isfinite(reference):
                assert e.noncentral_t_cdf(value, df, noncentrality) == pytest.approx(reference, abs=1e-7)
                compared += 1
    assert compared > 25


def test_dz_of_huge_effects_and_of_other_units():
    values = np.random.default_rng(1).normal(100, 1, 50)
    interval = e.dz_interval(values, zeros(values))
    assert interval.low < interval.estimate < interval.high
    scaled = e.dz_interval(values * 1e-6, zeros(values))
    assert (scaled.low, scaled.high) == pytest.approx((interval.low, interval.high))


def brute_delta(x, y):
    return np.mean(np.sign(np.subtract.outer(x, y)))


samples = st.integers(1, 8).flatmap(lambda n: arrays(float, n, elements=st.integers(-3, 3).map(float)))


@settings(max_examples=100, deadline=None)
@given(samples, samples)
def test_cliffs_delta_is_the_mean_sign_of_all_pairs(x, y):
    delta = e.cliffs_delta(x, y)
    assert delta == pytest.approx(brute_delta(x, y)) and -1 <= delta <= 1
    assert e.cliffs_delta(y, x) == pytest.approx(-delta)
    assert e.cliffs_delta(np.exp(x), np.exp(y)) == pytest.approx(delta)  # only the order counts
    interval = e.cliffs_delta_interval(x, y)
    if min(len(x), len(y)) < 2:
        assert interval.note and np.isnan(interval.low)
    else:
        assert -1 <= interval.low <= delta + 1e-9 and delta - 1e-9 <= interval.high <= 1
        mirrored = e.cliffs_delta_interval(y, x)
        assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low))


def test_cliffs_variance_by_hand():
    x, y = np.array([3.0, 5.0, 2.0]), np.array([1.0, 4.0])
    signs = np.sign(np.subtract.outer(x, y))  # rows (1, -1), (1, 1), (1, -1): delta 1/3
    delta = 1 / 3
    by_x, by_y = signs.mean(axis=1), signs.mean(axis=0)
    numerator = 4 * np.sum((by_x - delta) ** 2) + 9 * np.sum((by_y - delta) ** 2) - np.sum((signs - delta) ** 2)
    variance = max(numerator / (6 * 2 * 1), (1 - delta**2) / 5)
    z = stats.norm.ppf(0.975)
    half = z * np.sqrt(variance) * np.sqrt((1 - delta**2) ** 2 + z**2 * variance)
    interval = e.cliffs_delta_interval(x, y)
    assert interval.high == pytest.approx(min(1, (delta - delta**3 + half) / (1 - delta**2 + z**2 * variance)))
    assert interval.low == pytest.approx((delta - delta**3 - half) / (1 - delta**2 + z**2 * variance))


def test_cliffs_interval_covers():
    generator, hits = np.random.default_rng(2), []
    for _ in range(1500):
        x, y = generator.normal(0.5, 1, 25), generator.normal(0, 1, 30)
        interval = e.cliffs_delta_interval(x, y)
        hits.append(interval.low <= 2 * stats.norm.cdf(0.5 / np.sqrt(2)) - 1 <= interval.high)
    assert 0.93 <= np.mean(hits) <= 0.97


def test_complete_separation_has_a_width():
    interval = e.cliffs_delta_interval(np.arange(10) + 20.0, np.arange(10.0))
    assert interval.estimate == interval.high == 1 and 0.3 < interval.low < 0.8
    mirrored = e.cliffs_delta_interval(np.arange(10.0), np.arange(10) + 20.0)
    assert (mirrored.low, mirrored.high) == (-1, pytest.approx(-interval.low))


def test_paired_superiority_and_its_interval():
    values = np.array([1.0, 2, 0, -1, 3, 0, 0, 2])
    interval = e.superiority_interval(values, zeros(values))
    assert interval.estimate == pytest.approx(probability_of_superiority(values, zeros(values))) == (4 + 1.5) / 8
    assert 0 < interval.low < interval.estimate < interval.high < 1
    all_larger = e.superiority_interval(np.ones(10), np.zeros(10))
    assert all_larger.estimate == 1 and all_larger.high == 1 and 0.5 < all_larger.low < 0.95


def test_superiority_interval_covers():
    generator, hits = np.random.default_rng(3), []
    for _ in range(1500):
        signs = generator.choice([1, 0, -1], size=40, p=[0.5, 0.3, 0.2])
        interval = e.superiority_interval(signs, zeros(signs))
        hits.append(interval.low <= 0.65 <= interval.high)
    assert 0.93 <= np.mean(hits) <= 0.97


def test_degenerate_samples_give_a_sentence():
    for values in ([], [1.0], [2.0, 2.0], [np.nan, 1.0]):
        interval = e.dz_interval(np.array(values), zeros(values))
        assert np.isnan(interval.estimate) and np.isnan(interval.low) and interval.note
    assert e.superiority_interval(np.array([np.nan]), np.zeros(1)).note
    assert e.cliffs_delta_interval(np.array([]), np.ones(3)).note and np.isnan(e.cliffs_delta(np.ones(0), np.ones(1)))
    for call in (
        lambda: e.dz_interval(np.ones(2), np.ones(3)),
        lambda: e.dz_interval(np.ones(2), np.ones(2), level=1),
        lambda: e.cliffs_delta(np.ones((2, 2)), np.ones(2)),
    ):
        with pytest.raises(StudyError):
            call()

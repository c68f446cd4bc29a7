"""Equivalence tests against statsmodels, numerical likelihoods and simulated error rates; the rules of verdicts."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from statsmodels.stats.weightstats import ttost_paired

from rationales.errors import StudyError
from rationales.statistics import equivalence as e


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.3])
def test_paired_tost_is_statsmodels(shift):
    first, second = rng(1).standard_normal(50) + shift, rng(2).standard_normal(50)
    ours = e.tost_paired(first, second, 0.5)
    assert ours.p == pytest.approx(ttost_paired(first, second, -0.5, 0.5)[0])
    # Rejection at alpha and "the 1 - 2 alpha interval lies inside" are the same statement.
    assert ours.equivalent == (ours.p < 0.05) == (-0.5 < ours.low and ours.high < 0.5)


@pytest.mark.parametrize("margin", [0.2, -0.2])
def test_paired_tost_error_rate_at_the_margin(margin):
    samples = rng(3).standard_normal((2000, 40)) * 0.3 + margin
    rate = np.mean([e.tost_paired(row, np.zeros(40), 0.2).equivalent for row in samples])
    assert rate <= 0.055 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert rate > 0.03  # not vacuous: at the margin the rate should be near alpha


def test_bootstrap_tost_error_rate_and_power():
    generator = rng(4)

    def rate(mean, n=300):
        return np.mean(
            [
                e.tost_bootstrap(
                    generator.standard_normal(60) * 0.3 + mean, np.zeros(60), 0.2, generator, n_resamples=400
                ).equivalent
                for _ in range(n)
            ]
        )

    assert rate(0.2) <= 0.055 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert rate(0.0) > 0.98
    row = generator.standard_normal(200) * 0.3 + 0.1
    t_based, resampled = (
        e.tost_paired(row, row * 0, 0.15),
        e.tost_bootstrap(row, row * 0, 0.15, rng(), n_resamples=20_000),
    )
    assert (resampled.low, resampled.high) == pytest.approx((t_based.low, t_based.high), abs=0.005)
    assert resampled.p == pytest.approx(t_based.p, abs=0.01)


def test_score_uses_the_likelihood_given_the_margin():
    only_first, only_second, n = 12, 7, 100
    for delta in (-0.1, -0.02, 0.0, 0.03, 0.15):

        def minus_log_likelihood(q, delta=delta):
            return -(
                only_first * np.log(q + delta)
                + only_second * np.log(q)
                + (n - only_first - only_second) * np.log(1 - 2 * q - delta)
            )

        edge = 1e-12
        best = minimize_scalar(
            minus_log_likelihood,
            bounds=(max(0, -delta) + edge, (1 - delta) / 2 - edge),
            method="bounded",
            options={"xatol": 1e-12},
        ).x
        expected = (only_first - only_second - n * delta) / np.sqrt(n * (2 * best + delta - delta**2))
        assert e.paired_score(only_first, only_second, n, delta) == pytest.approx(expected, abs=1e-4)
    # At delta 0 it is McNemar's z.
    assert e.paired_score(12, 7, 100, 0.0) == pytest.approx(5 / np.sqrt(19))


def test_accuracy_interval_inverts_the_test_and_no_disagreement_is_no_proof():
    first, second = np.repeat([1, 1, 0, 0], [70, 12, 7, 11]), np.repeat([1, 0, 1, 0], [70, 12, 7, 11])
    result = e.tost_accuracies(first, second, 0.1)
    assert result.difference == pytest.approx(0.05)
    z = norm.ppf(0.95)
    assert e.paired_score(12, 7, 100, result.low) == pytest.approx(z, abs=1e-6)
    assert e.paired_score(12, 7, 100, result.high) == pytest.approx(-z, abs=1e-6)
    same_few, same_many = (
        e.tost_accuracies(np.ones(10), np.ones(10), 0.02),
        e.tost_accuracies(np.ones(1000), np.ones(1000), 0.02),
    )
    assert not same_few.equivalent and same_few.low < -0.02
    # No discordant item: z = sqrt(n margin / (1 - margin)).
    assert same_many.equivalent and same_many.p == pytest.approx(norm.sf(np.sqrt(1000 * 0.02 / 0.98)))


def test_accuracy_error_rate_at_the_margin_and_power_inside():
    generator, n, margin = rng(6), 500, 0.05

    def rate(only_first, only_second, repeats=1500):
        counts = generator.multinomial(n, [only_first, only_second, 1 - only_first - only_second], repeats)
        return np.mean(
            [
                e.tost_accuracies(np.repeat([1, 0, 1], row), np.repeat([0, 1, 1], row), margin).equivalent
                for row in counts
            ]
        )

    assert 0.03 < rate(0.09, 0.04) <= 0.055 + 3 * np.sqrt(0.05 * 0.95 / 1500)
    assert rate(0.03, 0.03, 300) > 0.95


@pytest.mark.parametrize(("ones", "zeros"), [(20, 0), (0, 20), (0, 0)])
def test_one_sided_disagreement_gives_a_bounded_interval(ones, zeros):
    first, second = np.repeat([1, 0, 1], [ones, zeros, 5]), np.repeat([0, 1, 1], [ones, zeros, 5])
    result = e.tost_accuracies(first, second, 0.1)
    assert -1 <= result.low <= result.difference <= result.high <= 1
    every = e.tost_accuracies(np.ones(8), np.zeros(8), 0.1)
    assert every.difference == 1 and not every.equivalent
    # Without a reverse disagreement the score is sqrt(n (1 - delta) / (1 + delta)).
    ratio = norm.ppf(0.95) ** 2 / 8
    assert (every.low, every.high) == pytest.approx(((1 - ratio) / (1 + ratio), 1))


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [0.1]])
def test_too_few_pairs_give_a_note_and_no_equivalence(values):
    first, second = np.array(values), np.zeros(len(values))
    for result in (e.tost_paired(first, second, 0.5), e.tost_bootstrap(first, second, 0.5, rng())):
        assert result.note and not result.equivalent and np.isnan(result.p)


def test_constant_differences_take_the_limit():
    for test in (lambda x, m: e.tost_paired(x, x * 0, m), lambda x, m: e.tost_bootstrap(x, x * 0, m, rng())):
        inside, outside = test(np.full(20, 0.1), 0.2), test(np.full(20, 0.3), 0.2)
        assert inside.equivalent and inside.p < 0.01 and inside.note
        assert not outside.equivalent and outside.p == pytest.approx(1)
        few = test(np.zeros(4), 0.2)  # four equal pairs prove nothing
        assert not few.equivalent and np.isnan(few.p) and "fewer than" in few.note


def test_undefined_pairs_are_counted():
    first, second = np.array([1.0, np.nan, 1, 0, 1]), np.array([1.0, 1, np.nan, 0, 1])
    for result in (e.tost_paired(first, second, 0.2), e.tost_accuracies(first, second, 0.2)):
        assert (result.n, result.n_undefined) == (3, 2)


@pytest.mark.parametrize(
    ("low", "high", "p", "direction", "margin", "expected"),
    [
        (0.1, 0.3, 0.001, "greater", 0.05, "supported"),
        (0.1, 0.3, 0.001, "greater", None, "supported"),
        (0.1, 0.3, 0.001, "less", 0.05, "contradicted"),
        (0.1, 0.3, 0.001, "different", 0.05, "supported"),
        (-0.3, -0.1, 0.001, "greater", 0.05, "contradicted"),
        (-0.3, -0.1, 0.001, "less", 0.05, "supported"),
        (-0.3, -0.1, 0.001, "different", 0.05, "supported"),
        (0.01, 0.03, 0.001, "greater", 0.05, "equivalent"),  # real, but too small to matter
        (0.01, 0.03, 0.001, "greater", None, "supported"),
        (-0.02, 0.03, 0.8, "different", 0.05, "equivalent"),
        (-0.2, 0.3, 0.8, "different", 0.05, "inconclusive"),  # a large p-value shows nothing
        (-0.2, 0.3, 0.99, "equal", 0.05, "inconclusive"),
        (-0.02, 0.03, 0.99, "greater", None, "inconclusive"),  # no margin, no equivalence
        (0.1, 0.3, 0.2, "greater", 0.05, "inconclusive"),  # lost by the correction over the family
        (-0.01, 0.3, 0.04, "greater", 0.05, "inconclusive"),
        (-0.02, 0.03, 0.001, "equal", 0.05, "supported"),
        (-0.02, 0.03, 0.2, "equal", 0.05, "inconclusive"),
        (0.06, 0.3, 1.0, "equal", 0.05, "contradicted"),
        (-0.3, -0.06, 1.0, "equal", 0.05, "contradicted"),
        (0.02, 0.3, 1.0, "equal", 0.05, "inconclusive"),
        (-0.05, 0.03, 0.04, "equal", 0.05, "inconclusive"),  # touches the margin
        (np.nan, 0.3, 0.01, "greater", 0.05, "inconclusive"),
        (0.1, 0.3, np.nan, "greater", 0.05, "inconclusive"),
    ],
)
def test_verdicts(low, high, p, direction, margin, expected):
    assert e.verdict((low + high) / 2, low, high, p, direction, margin) == expected


def test_bad_margins_and_directions_are_refused():
    for margin in (0.0, -0.1, np.nan, np.inf):
        with pytest.raises(StudyError, match="margin"):
            e.tost_paired(np.ones(3), np.zeros(3), margin)
    with pytest.raises(StudyError, match="margin"):
        e.tost_accuracies(np.ones(3), np.ones(3), 2.0)
    with pytest.raises(StudyError, match="equality"):
        e.verdict(0, -1, 1, 0.5, "equal", None)
    with pytest.raises(StudyError, match="direction"):
        e.verdict(0, -1, 1, 0.5, "bigger", 0.1)

"""Paired tests against enumeration, scipy, statsmodels, published numbers and simulated error rates."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from rationales.errors import StudyError
from rationales.statistics import comparisons as c


def rng(seed=0):
    return np.random.default_rng(seed)


def pair(differences):
    differences = np.asarray(differences, dtype=float)
    return differences, np.zeros(len(differences))


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_exact_permutation_equals_enumeration_and_scipy(alternative):
    differences = rng(1).standard_normal(8) + 0.4
    ours = c.permutation_test(*pair(differences), rng(), alternative=alternative)
    sums = np.array([np.dot(signs, differences) for signs in product([1, -1], repeat=8)])
    turned = {"two-sided": np.abs(sums), "greater": sums, "less": -sums}[alternative]
    assert ours.p == pytest.approx(np.mean(turned >= turned[0] - 1e-12))
    reference = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf
    )
    assert ours.p == pytest.approx(reference.pvalue)
    assert ours.difference == pytest.approx(differences.mean())


def test_sums_equal_but_for_rounding_count_as_extreme():
    # Six equal differences of .1: only the all-plus and all-minus patterns reach the observed sum.
    assert c.permutation_test(*pair([0.1] * 6), rng()).p == pytest.approx(2 / 64)


def test_monte_carlo_permutation_is_near_the_exact_p_and_never_zero(monkeypatch):
    differences = rng(2).standard_normal(12) + 0.5
    exact = c.permutation_test(*pair(differences), rng()).p
    monkeypatch.setattr(c, "MOST_EXACT_ITEMS", 0)
    sampled = c.permutation_test(*pair(differences), rng(3), 50_000).p
    assert sampled == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 50_000))
    assert c.permutation_test(*pair(np.full(60, 5.0)), rng(), 999).p == pytest.approx(1 / 1000)
    monkeypatch.setattr(c, "CELLS_PER_BLOCK", 100)
    assert c.permutation_test(*pair(differences), rng(3), 5000).p == pytest.approx(exact, abs=0.02)


def test_permutation_error_rate_under_the_null():
    generator, n = rng(4), 600
    p = [c.permutation_test(*pair(generator.laplace(size=25)), generator, 199).p for _ in range(n)]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)  # and not conservative: p is uniform


def test_wilcoxon_is_scipys_without_zeros():
    differences = np.array([0.5, -0.2, 0, 1.1, 0.7, -0.1, 0, 2.0, np.nan])
    ours = c.wilcoxon_test(*pair(differences))
    reference = stats.wilcoxon([0.5, -0.2, 1.1, 0.7, -0.1, 2.0])
    assert (ours.p, ours.statistic) == (reference.pvalue, reference.statistic)
    assert (ours.n, ours.n_undefined) == (8, 1) and "2 of 8" in ours.note
    # Signs +, -, +, +, -, + with ranks 3 2 5 4 1 6: the smaller rank sum is 3; 2 * P(W <= 3) = 2 * 5 / 64.
    assert ours.statistic == 3 and ours.p == pytest.approx(10 / 64)


def correct(both, only_first, only_second, neither):
    first = np.repeat([1, 1, 0, 0], [both, only_first, only_second, neither])
    second = np.repeat([1, 0, 1, 0], [both, only_first, only_second, neither])
    return first, second


@pytest.mark.parametrize(("only_first", "only_second"), [(10, 3), (3, 10), (5, 5), (0, 6), (1, 0)])
def test_mcnemar_exact_and_mid_p(only_first, only_second):
    first, second = correct(40, only_first, only_second, 7)
    exact = c.mcnemar_test(first, second)
    n = only_first + only_second
    assert exact.p == pytest.approx(stats.binomtest(only_first, n).pvalue)
    assert exact.difference == pytest.approx(first.mean() - second.mean())
    # mid-p from its definition: outcomes that are strictly more extreme, and half of those equally extreme.
    counts = np.arange(n + 1)
    pmf, distance = stats.binom.pmf(counts, n, 0.5), np.abs(counts - n / 2)
    seen = abs(only_first - n / 2)
    expected = pmf[distance > seen].sum() + pmf[distance == seen].sum() / 2
    if only_first == only_second:
        expected = 1.0  # Fagerland et al. count the central table on both sides
    assert c.mcnemar_test(first, second, "mid_p").p == pytest.approx(expected)


def test_mcnemar_without_discordant_items_or_with_bad_values():
    same = c.mcnemar_test(*correct(5, 0, 0, 5))
    assert same.p == 1 and same.note
    assert np.isnan(c.mcnemar_test(np.array([np.nan]), np.array([1.0])).p)
    with pytest.raises(StudyError, match="Correctness"):
        c.mcnemar_test(np.array([0.5]), np.array([0.0]))


# Accuracy ranges of 200 and fewer seeds with z and p as published by Bogaert et al.; 1,000 test items.
PUBLISHED = [(0.941, 0.911, 3.62, 0.00014), (0.941, 0.923, 2.26, 0.012), (0.941, 0.927, 1.78, 0.037)]
PUBLISHED += [(0.941, 0.930, 1.42, 0.078), (0.932, 0.920, None, 0.074), (0.929, 0.923, None, 0.234)]
PUBLISHED += [(0.929, 0.927, None, 0.403)]


@pytest.mark.parametrize(("best", "worst", "z", "p"), PUBLISHED)
def test_published_z_values_come_from_the_form_without_the_factor_two(best, worst, z, p):
    published = c.two_proportion_z_test(best, worst, 1000, "published")
    # The accuracies are printed to three decimals, so that the last digit of p can differ.
    assert published.p == pytest.approx(p, rel=0.06)
    assert z is None or published.statistic == pytest.approx(z, abs=0.015)
    corrected = c.two_proportion_z_test(best, worst, 1000)
    assert corrected.statistic == pytest.approx(published.statistic / np.sqrt(2))


def test_corrected_z_rejects_only_the_whole_set():
    rejected = [c.two_proportion_z_test(best, worst, 1000).p < 0.05 for best, worst, _, _ in PUBLISHED]
    assert rejected == [True] + [False] * 6
    assert c.two_proportion_z_test(0.941, 0.911, 1000).statistic == pytest.approx(2.56, abs=0.01)
    from statsmodels.stats.proportion import proportions_ztest

    z, p = proportions_ztest([941, 911], [1000, 1000], alternative="larger")
    ours = c.two_proportion_z_test(0.941, 0.911, 1000)
    assert (ours.statistic, ours.p) == pytest.approx((z, p))
    assert c.two_proportion_z_test(1, 1, 10).note
    with pytest.raises(StudyError):
        c.two_proportion_z_test(94.1, 91.1, 1000)


def test_effect_sizes_by_hand():
    first, second = np.array([3.0, 1, 4, 2]), np.array([1.0, 2, 1, 2])  # differences 2, -1, 3, 0
    assert c.cohen_dz(first, second) == pytest.approx(1 / np.std([2, -1, 3, 0], ddof=1))
    assert c.rank_biserial(first, second) == pytest.approx((2 + 3 - 1) / 6)
    assert c.probability_of_superiority(first, second) == pytest.approx(2.5 / 4)
    assert c.rank_biserial(second, first) == -c.rank_biserial(first, second)
    for measure in (c.cohen_dz, c.rank_biserial):
        assert np.isnan(measure(np.ones(3), np.ones(3)))
    assert c.probability_of_superiority(np.ones(3), np.ones(3)) == 0.5
    assert np.isnan(c.probability_of_superiority(np.array([np.nan]), np.array([1.0])))


def test_power_agrees_with_the_noncentral_t_and_a_simulation():
    n, effect = 30, 0.4
    cut = stats.t.ppf(0.975, n - 1)
    closed = stats.nct.sf(cut, n - 1, effect * n**0.5) + stats.nct.cdf(-cut, n - 1, effect * n**0.5)
    assert c.power_of_paired_design(n, effect) == pytest.approx(closed, abs=1e-6)
    samples = rng(1).standard_normal((20_000, n)) + effect
    simulated = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05)
    assert simulated == pytest.approx(closed, abs=0.015)


@pytest.mark.parametrize(("n", "power"), [(2, 0.8), (10, 0.8), (100, 0.9), (5000, 0.8)])
def test_minimal_detectable_difference_has_the_asked_power(n, power):
    difference = c.minimal_detectable_difference(n, 2.0, power)
    assert c.power_of_paired_design(n, difference / 2.0) == pytest.approx(power, abs=1e-4)


@pytest.mark.parametrize("values", [[], [np.nan], [0.0, 0.0], [1.0]])
def test_degenerate_samples_do_not_crash(values):
    for result in (c.permutation_test(*pair(values), rng()), c.wilcoxon_test(*pair(values))):
        assert result.n == np.sum(~np.isnan(values))
        assert np.isnan(result.p) == (result.n == 0)
        assert result.note or values == [1.0]
    assert c.permutation_test(*pair(values), rng()).p in (1.0,) or not np.sum(~np.isnan(values))


def test_bad_arguments_are_refused():
    with pytest.raises(StudyError, match="align"):
        c.permutation_test(np.ones(2), np.ones(3), rng())
    with pytest.raises(StudyError, match="alternative"):
        c.permutation_test(np.ones(2), np.ones(2), rng(), alternative="bigger")
    with pytest.raises(StudyError):
        c.power_of_paired_design(1, 0.5)
    with pytest.raises(StudyError):
        c.minimal_detectable_difference(10, -1.0)

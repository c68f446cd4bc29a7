"""Error rates and coverage of every test and interval by simulation, with fixed seeds and stated Monte Carlo error.

A rate from m independent samples has a standard error of sqrt(.05 x .95 / m). Rejections of a true null may exceed .055
by three of them; coverage must lie in [.93, .97] widened by three. Conservative methods have the upper bound only.
"""

import numpy as np
import pytest
from scipy import stats

from rationales.statistics.bootstrap import (
    crossed_mean_interval,
    mean_interval,
    paired_difference_interval,
    share_interval,
    statistic_interval,
    t_interval,
)
from rationales.statistics.comparisons import mcnemar_test, permutation_test, wilcoxon_test
from rationales.statistics.crossed import crossed_t_interval, crossed_t_test
from rationales.statistics.equivalence import tost_accuracies, tost_bootstrap, tost_paired
from rationales.statistics.families import holm
from rationales.statistics.mixed import fit_crossed
from rationales.statistics.permutation import clustered_sign_flip_test


def rng(seed=0):
    return np.random.default_rng(seed)


def error_of(m):
    return np.sqrt(0.05 * 0.95 / m)


def assert_level(rejected, exact=False):
    """At most .055 beyond chance; `exact` also refuses a test that hardly ever rejects."""
    rate, m = np.mean(rejected), len(rejected)
    assert rate <= 0.055 + 3 * error_of(m), f"rejects {rate:.3f} +- {error_of(m):.3f}"
    if exact:
        assert rate >= 0.045 - 3 * error_of(m), f"rejects only {rate:.3f} +- {error_of(m):.3f}"


def assert_coverage(covered, low=0.93, high=0.97):
    rate, m = np.mean(covered), len(covered)
    assert low - 3 * error_of(m) <= rate <= high + 3 * error_of(m), f"covers {rate:.3f} +- {error_of(m):.3f}"


def sparse_differences(generator, n):
    """Differences of two scores as they come: 60 % zeros, heavy tails, symmetric around 0."""
    return np.where(generator.random(n) < 0.6, 0.0, generator.standard_normal(n))


def crossed(generator, n_items, n_seeds, item=1.0, seed=1.0, noise=1.0):
    """Rows (values, items, seeds) with a true mean of 0."""
    table = (
        item * generator.standard_normal((n_items, 1))
        + seed * generator.standard_normal((1, n_seeds))
        + noise * generator.standard_normal((n_items, n_seeds))
    )
    items, seeds = (x.ravel() for x in np.indices(table.shape))
    return table.ravel(), items, seeds


# ---- tests under a true null

NULLS = {
    "normal": lambda generator, n: generator.standard_normal(n),
    "sparse": sparse_differences,
    "laplace": lambda generator, n: generator.laplace(size=n),
}


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("n", [10, 30])
def test_tests_by_item_hold_their_level(null, n):
    generator, zeros, m = rng(n), np.zeros(n), 1200
    found = {"permutation": [], "wilcoxon": []}
    for number in range(m):
        values = NULLS[null](generator, n)
        found["permutation"].append(permutation_test(values, zeros, generator, 199).p <= 0.05)
        if number % 3 == 0:  # slower
            found["wilcoxon"].append(wilcoxon_test(values, zeros).p <= 0.05)
    assert_level(found["permutation"], exact=null != "sparse")
    assert_level(found["wilcoxon"])


def test_flips_of_items_hold_their_level_where_flips_of_rows_do_not():
    generator, by_row, by_item = rng(1), [], []
    for _ in range(1000):
        values, items, _ = crossed(generator, 20, 4, seed=0.0)
        by_row.append(permutation_test(values, np.zeros(80), generator, 199).p <= 0.05)
        by_item.append(clustered_sign_flip_test(values, items, generator, 199).p <= 0.05)
    assert_level(by_item, exact=True)
    assert np.mean(by_row) > 0.15  # four seeds of an item are not four items


def test_mcnemar_holds_its_level():
    generator, exact, mid = rng(2), [], []
    for _ in range(1500):
        hard = generator.random(60) < 0.3
        first, second = (np.where(hard, generator.random(60) < 0.5, True).astype(float) for _ in range(2))
        exact.append(mcnemar_test(first, second).p <= 0.05)
        mid.append(mcnemar_test(first, second, "mid_p").p <= 0.05)
    assert_level(exact)
    assert_level(mid)
    assert np.mean(mid) >= np.mean(exact)


def test_holm_holds_the_level_of_the_family():
    p = rng(3).random((4000, 8))
    assert_level([holm(row).min() <= 0.05 for row in p], exact=True)


@pytest.mark.parametrize("n_seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("seed_deviation", [0.0, 1.0])
def test_crossed_t_holds_its_level_with_few_seeds(n_seeds, seed_deviation):
    generator = rng(10 * n_seeds)
    assert_level([crossed_t_test(*crossed(generator, 30, n_seeds, seed=seed_deviation)).p <= 0.05 for _ in range(1000)])


def test_what_ignores_seeds_or_few_of_them_rejects_too_often():
    # Why `crossed_t_test` exists: the same data, other tests.
    generator, found = rng(4), {"items": [], "pigeonhole": [], "satterthwaite": []}
    for _ in range(300):
        rows = crossed(generator, 30, 3)
        found["items"].append(clustered_sign_flip_test(rows[0], rows[1], generator, 99).p <= 0.05)
        interval = crossed_mean_interval(*rows, generator, 300)
        found["pigeonhole"].append(not interval.low <= 0 <= interval.high)
        found["satterthwaite"].append(crossed_t_test(*rows, degrees="satterthwaite").p <= 0.05)
    assert np.mean(found["items"]) > 0.3 and np.mean(found["pigeonhole"]) > 0.12
    assert np.mean(found["satterthwaite"]) < 0.12


# ---- equivalence at the margin


@pytest.mark.parametrize("n", [8, 60])
def test_tost_rejects_a_true_difference_at_the_margin_in_five_percent(n):
    generator, values = rng(n), []
    for _ in range(3000):
        differences = generator.normal(0.3, 0.3 if n == 8 else 1.0, n)
        values.append(tost_paired(differences, np.zeros(n), 0.3).equivalent)
    assert np.mean(values) <= 0.05 + 3 * error_of(3000)


def test_tost_by_bootstrap_at_the_margin():
    generator = rng(5)
    rejected = [
        tost_bootstrap(generator.normal(0.3, 1, 60), np.zeros(60), 0.3, generator, n_resamples=300).equivalent
        for _ in range(800)
    ]
    assert_level(rejected)


def test_tost_of_accuracies_at_the_margin():
    generator, rejected = rng(6), []
    for _ in range(1500):
        cell = generator.choice(3, size=300, p=[0.15, 0.05, 0.8])  # only the first right, only the second, both alike
        rejected.append(tost_accuracies((cell != 1).astype(float), (cell != 0).astype(float), 0.1).equivalent)
    assert_level(rejected, exact=True)


# ---- intervals


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("n", [20, 50])
def test_t_interval_of_differences_covers_from_few_items_on(null, n):
    generator = rng(n + 1)
    covered = []
    for _ in range(2000):
        interval = t_interval(NULLS[null](generator, n))
        covered.append(interval.low <= 0 <= interval.high)
    assert_coverage(covered)


def test_bca_of_a_skewed_score_covers_where_its_docstring_says_so():
    for n, low in ((30, 0.93), (100, 0.93)):
        generator, covered = rng(n), []
        for _ in range(700):
            interval = mean_interval(generator.beta(0.5, 2, n), generator, 500)
            covered.append(interval.low <= 0.2 <= interval.high)
        assert_coverage(covered, low)


def test_bootstraps_of_few_or_sparse_items_are_too_narrow_and_t_is_not():
    # What the note and the default of paired differences guard against.
    generator, found = rng(7), {"few": [], "sparse": [], "t": []}
    for _ in range(500):
        values = generator.standard_normal(10)
        few = mean_interval(values, generator, 300, method="percentile")
        assert "too narrow" in few.note
        found["few"].append(few.low <= 0 <= few.high)
        values = sparse_differences(generator, 20)
        sparse = mean_interval(values, generator, 300)
        found["sparse"].append(sparse.low <= 0 <= sparse.high)
        default = paired_difference_interval(values, np.zeros(20), generator)
        found["t"].append(default.low <= 0 <= default.high)
    assert np.mean(found["few"]) < 0.93 and np.mean(found["sparse"]) < 0.91
    assert_coverage(found["t"])


def test_ratio_of_sums_covers():
    generator, covered = rng(8), []
    for _ in range(700):
        lengths = generator.integers(5, 30, 60)
        hits = generator.binomial(lengths, np.clip(generator.normal(0.4, 0.1, 60), 0, 1))
        interval = statistic_interval(
            np.column_stack([hits, lengths]), lambda sums: sums[..., 0] / sums[..., 1], generator, 500
        )
        covered.append(interval.low <= 0.4 <= interval.high)
    assert_coverage(covered)


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5])
def test_wilson_covers(share):
    # Exact: coverage of a share is a finite sum over the number of hits. It swings around .95 with the share.
    n = 60
    hits = np.arange(n + 1)
    inside = []
    for k in hits:
        interval = share_interval(np.repeat([1.0, 0.0], [k, n - k]))
        inside.append(interval.low <= share <= interval.high)
    assert 0.92 <= stats.binom.pmf(hits, n, share) @ np.array(inside) <= 0.985


def test_intervals_over_items_and_seeds_cover():
    generator, found = rng(9), {"smallest": [], "satterthwaite": [], "mixed": []}
    for _ in range(250):
        rows = crossed(generator, 30, 8)
        for degrees in ("smallest", "satterthwaite"):
            interval = crossed_t_interval(*rows, degrees=degrees)
            found[degrees].append(interval.low <= 0 <= interval.high)
        effect = fit_crossed(*rows).effects.iloc[0]
        found["mixed"].append(effect["low"] <= 0 <= effect["high"])
    assert_coverage(found["smallest"], high=0.99)
    assert_coverage(found["satterthwaite"])
    assert_coverage(found["mixed"])

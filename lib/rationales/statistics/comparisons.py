"""Paired comparisons: tests of a difference, effect sizes, and the power of a paired design.

Differences are first - second, one per item; NaN differences are left out and counted. A test that cannot be done
is a `Comparison` with a NaN p-value and a note. A large p-value never shows equality: see `equivalence`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom, norm, rankdata, wilcoxon
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import TTestPower

from rationales.errors import StudyError, require_known
from rationales.statistics.bootstrap import CELLS_PER_BLOCK, paired_differences

Alternative = Literal["two-sided", "greater", "less"]
ALTERNATIVES = ("two-sided", "greater", "less")
MOST_EXACT_ITEMS = 12  # 4,096 sign patterns


@dataclass(frozen=True)
class Comparison:
    """A test of a paired difference: which, the difference, its test statistic, p, items used and left out, a note."""

    test: str
    difference: float
    statistic: float
    p: float
    n: int
    note: str = ""
    n_undefined: int = 0


def permutation_test(
    first: np.ndarray,
    second: np.ndarray,
    generator: np.random.Generator,
    n_permutations: int = 9999,
    alternative: Alternative = "two-sided",
) -> Comparison:
    """Return the sign-flip test of the mean paired difference.

    Null: the difference of each item is symmetric around 0. All 2^n sign patterns up to 12 items, then p is exact;
    beyond, p = (b + 1) / (m + 1) for b of m random patterns at least as extreme (Phipson and Smyth 2010).
    """
    require_known(alternative, ALTERNATIVES, "alternative")
    if n_permutations < 1:
        raise StudyError("A permutation test needs at least one permutation.")
    differences, undefined = _defined(first, second)
    n = len(differences)
    if n == 0:
        return Comparison("permutation", np.nan, np.nan, np.nan, 0, "There is no defined pair.", undefined)
    observed = float(differences.sum())
    # Sums that are equal but for rounding are as extreme as the observed one.
    threshold = _direction(observed, alternative) - 1e-12 * max(1.0, np.abs(differences).sum())
    if n <= MOST_EXACT_ITEMS:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        p, note = float(np.mean(_direction(signs @ differences, alternative) >= threshold)), ""
    else:
        extreme, block = 0, max(1, CELLS_PER_BLOCK // n)
        for start in range(0, n_permutations, block):
            flipped = generator.integers(0, 2, size=(min(block, n_permutations - start), n), dtype=np.int8)
            sums = observed - 2.0 * (flipped.astype(float) @ differences)
            extreme += int(np.sum(_direction(sums, alternative) >= threshold))
        p, note = (extreme + 1) / (n_permutations + 1), ""
    if not differences.any():
        note = "All differences are 0."
    return Comparison("permutation", observed / n, observed / n, p, n, note, undefined)


def _direction(sums: np.ndarray | float, alternative: str) -> np.ndarray | float:
    """Return sums turned so that larger is more extreme."""
    return {"two-sided": np.abs(sums), "greater": sums, "less": np.negative(sums)}[alternative]


def wilcoxon_test(first: np.ndarray, second: np.ndarray, alternative: Alternative = "two-sided") -> Comparison:
    """Return Wilcoxon's signed-rank test of the paired differences, through scipy; `difference` is the median.

    Differences of 0 carry no sign; they are left out of the ranks and named in the note.
    """
    require_known(alternative, ALTERNATIVES, "alternative")
    differences, undefined = _defined(first, second)
    if len(differences) == 0:
        return Comparison("wilcoxon", np.nan, np.nan, np.nan, 0, "There is no defined pair.", undefined)
    zeros = int(np.sum(differences == 0))
    median = float(np.median(differences))
    if zeros == len(differences):
        return Comparison("wilcoxon", median, 0.0, 1.0, zeros, "All differences are 0.", undefined)
    result = wilcoxon(differences[differences != 0], alternative=alternative)
    note = f"{zeros} of {len(differences)} differences are 0 and are not ranked." if zeros else ""
    return Comparison(
        "wilcoxon", median, float(result.statistic), float(result.pvalue), len(differences), note, undefined
    )


def mcnemar_test(
    first_correct: np.ndarray, second_correct: np.ndarray, method: Literal["exact", "mid_p"] = "exact"
) -> Comparison:
    """Return McNemar's two-sided test of equal accuracy on the same items (n,) of 0/1, exact or mid-p.

    Exact: binomial test of the discordant items. mid-p: the exact p less half of the probability of the observed
    table, counted on both sides (Fagerland et al. 2013); closer to the nominal level. `difference` is that of the
    accuracies, `statistic` the smaller discordant count.
    """
    require_known(method, ("exact", "mid_p"), "form of McNemar's test")
    only_first, only_second, n, undefined = discordant_counts(first_correct, second_correct)
    if n == 0:
        return Comparison(f"mcnemar_{method}", np.nan, np.nan, np.nan, 0, "There is no defined pair.", undefined)
    discordant, smaller = only_first + only_second, min(only_first, only_second)
    difference = (only_first - only_second) / n
    if discordant == 0:
        note = "Both are right and wrong on the same items."
        return Comparison(f"mcnemar_{method}", difference, 0.0, 1.0, n, note, undefined)
    p = float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)
    if method == "mid_p" and only_first != only_second:
        p -= float(binom.pmf(smaller, discordant, 0.5))
    elif method == "mid_p":
        p = 1.0  # the observed table is the centre: half of it on both sides leaves everything
    return Comparison(f"mcnemar_{method}", difference, float(smaller), p, n, "", undefined)


def discordant_counts(first_correct: np.ndarray, second_correct: np.ndarray) -> tuple[int, int, int, int]:
    """Return (only the first right, only the second right, items, undefined items) for two 0/1 columns (n,)."""
    differences, undefined = _defined(first_correct, second_correct)
    for side in (first_correct, second_correct):
        side = np.asarray(side, dtype=float)
        if not np.isin(side[~np.isnan(side)], (0, 1)).all():
            raise StudyError("Correctness must be 1 or 0 per item (NaN where undefined).")
    return int(np.sum(differences == 1)), int(np.sum(differences == -1)), len(differences), undefined


def two_proportion_z_test(
    first_accuracy: float, second_accuracy: float, n: int, variant: Literal["published", "corrected"] = "corrected"
) -> Comparison:
    """Return the one-sided z-test of two accuracies on n items each, as Bogaert et al. 2023 use it.

    P = mean of both. "corrected": z = difference / sqrt(2 P (1 - P) / n), the pooled test for two samples.
    "published": without the factor 2, so that z is sqrt(2) too large. Both treat the samples as independent although
    the items are the same: for a decision use `mcnemar_test` and `equivalence.tost_accuracies`.
    """
    require_known(variant, ("published", "corrected"), "variant of the z-test")
    if n < 1 or not (0 <= first_accuracy <= 1 and 0 <= second_accuracy <= 1):
        raise StudyError("The z-test needs two accuracies between 0 and 1 and at least one item.")
    difference, pooled = first_accuracy - second_accuracy, (first_accuracy + second_accuracy) / 2
    variance = (2 if variant == "corrected" else 1) * pooled * (1 - pooled) / n
    if variance <= 0:
        return Comparison(f"z_{variant}", difference, np.nan, np.nan, n, "Both accuracies are 0 or both are 1.")
    z = float(difference / np.sqrt(variance))
    return Comparison(f"z_{variant}", difference, z, float(norm.sf(z)), n, "p is one-sided: first above second.")


def cohen_dz(first: np.ndarray, second: np.ndarray) -> float:
    """Return mean / standard deviation (n - 1) of the paired differences (Cohen 1988, d_z); unbounded.

    NaN for fewer than two pairs or constant differences.
    """
    differences, _ = _defined(first, second)
    if len(differences) < 2 or np.ptp(differences) == 0:
        return float("nan")
    return float(differences.mean() / differences.std(ddof=1))


def rank_biserial(first: np.ndarray, second: np.ndarray) -> float:
    """Return (positive - negative rank sum) / their total over the non-zero differences (Kerby 2014).

    In [-1, 1], positive when the first is larger. NaN when all differences are 0 or undefined.
    """
    differences, _ = _defined(first, second)
    differences = differences[differences != 0]
    if not len(differences):
        return float("nan")
    ranks = rankdata(np.abs(differences))
    return float(np.sum(np.sign(differences) * ranks) / ranks.sum())


def probability_of_superiority(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of items on which the first is larger, ties counting half (Grissom and Kim 2005).

    In [0, 1], .5 without a difference. NaN without a defined pair.
    """
    differences, _ = _defined(first, second)
    return float(np.mean((np.sign(differences) + 1) / 2)) if len(differences) else float("nan")


def power_of_paired_design(n: int, effect: float, alpha: float = 0.05) -> float:
    """Return the power of the two-sided paired t-test for n items and a true effect d_z, through statsmodels."""
    _check_design(n, alpha)
    return float(TTestPower().power(effect_size=effect, nobs=n, alpha=alpha, alternative="two-sided"))


def minimal_detectable_difference(n: int, standard_deviation: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest mean difference that a paired t-test of n items detects with the given power.

    standard_deviation: that of the paired differences. In the units of the values.
    """
    _check_design(n, alpha)
    if not alpha < power < 1 or not standard_deviation >= 0:
        raise StudyError("The power must lie between alpha and 1, and the standard deviation must not be negative.")
    effect = TTestPower().solve_power(nobs=n, alpha=alpha, power=power, alternative="two-sided")
    return float(np.squeeze(effect)) * standard_deviation


def _check_design(n: int, alpha: float) -> None:
    if n < 2 or not 0 < alpha < 1:
        raise StudyError("A paired design needs at least two items and an alpha between 0 and 1.")


def _defined(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the differences of the defined pairs and the number of the others."""
    differences = paired_differences(first, second)
    defined = ~np.isnan(differences)
    return differences[defined], int((~defined).sum())

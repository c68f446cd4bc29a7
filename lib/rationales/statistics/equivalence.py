"""Equivalence: two one-sided tests (TOST) against a margin that was written down before, and the verdict on a claim.

"Comparable" is a finding of these tests only. A difference that is not significant is "inconclusive".
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

from rationales.errors import StudyError, require_known
from rationales.statistics.bootstrap import FEW_ITEMS, Method, mean_interval, paired_differences, resample_means
from rationales.statistics.comparisons import discordant_counts

Direction = Literal["greater", "less", "different", "equal"]
Verdict = Literal["supported", "contradicted", "equivalent", "inconclusive"]
FEW_AND_EQUAL = f"All differences are equal on fewer than {FEW_ITEMS} items, which shows too little for a test."


@dataclass(frozen=True)
class Equivalence:
    """An equivalence test of a paired difference against +-margin.

    low, high: the 1 - 2 alpha interval, which lies inside the margins when the test rejects "not equivalent".
    p: the larger of the two one-sided p-values. note: empty, or a sentence on a missing or doubtful result.
    """

    difference: float
    low: float
    high: float
    p: float
    margin: float
    equivalent: bool
    n: int
    method: str
    note: str = ""
    n_undefined: int = 0


def tost_paired(first: np.ndarray, second: np.ndarray, margin: float, alpha: float = 0.05) -> Equivalence:
    """Return the two one-sided paired t-tests of mean(first - second) against +-margin (Schuirmann 1987)."""
    _check(margin, alpha)
    differences = paired_differences(first, second)
    defined = differences[~np.isnan(differences)]
    n, undefined = len(defined), len(differences) - len(defined)
    if n < 2:
        mean, note = float(defined.mean()) if n else float("nan"), f"{n} pairs give no test; at least two are needed."
        return Equivalence(mean, np.nan, np.nan, np.nan, margin, False, n, "none", note, undefined)
    mean, error = float(defined.mean()), float(defined.std(ddof=1) / np.sqrt(n))
    if np.ptp(defined) == 0 and n < FEW_ITEMS:
        return Equivalence(mean, mean, mean, np.nan, margin, False, n, "none", FEW_AND_EQUAL, undefined)
    if np.ptp(defined) == 0:
        inside, note = bool(abs(mean) < margin), "All differences are equal; p is the limit for a spread of 0."
        return Equivalence(mean, mean, mean, 0.0 if inside else 1.0, margin, inside, n, "tost_t", note, undefined)
    p = float(max(t.sf((mean + margin) / error, n - 1), t.cdf((mean - margin) / error, n - 1)))
    half = float(t.ppf(1 - alpha, n - 1) * error)
    return Equivalence(mean, mean - half, mean + half, p, margin, p < alpha, n, "tost_t", "", undefined)


def tost_bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    margin: float,
    generator: np.random.Generator,
    alpha: float = 0.05,
    n_resamples: int = 2000,
    method: Method = "bca",
) -> Equivalence:
    """Return the equivalence test that asks whether the 1 - 2 alpha bootstrap interval lies inside +-margin.

    The decision rests on the interval. p is (b + 1) / (m + 1) with b the resampled means, of m, at or beyond the
    nearer margin; with the BCa interval it is an approximation and may disagree close to alpha.
    """
    _check(margin, alpha)
    differences = paired_differences(first, second)
    interval = mean_interval(differences, generator, n_resamples, 1 - 2 * alpha, method)
    bounds, note, undefined = (interval.low, interval.high), interval.note, interval.n_undefined
    if np.isnan(bounds).any():
        return Equivalence(interval.estimate, *bounds, np.nan, margin, False, interval.n, "none", note, undefined)
    if interval.low == interval.high and interval.n < FEW_ITEMS:
        return Equivalence(
            interval.estimate, *bounds, np.nan, margin, False, interval.n, "none", FEW_AND_EQUAL, undefined
        )
    means = resample_means(differences[~np.isnan(differences)], generator, n_resamples)
    beyond = max(int(np.sum(means <= -margin)), int(np.sum(means >= margin)))
    p, inside = (beyond + 1) / (n_resamples + 1), bool(-margin < interval.low and interval.high < margin)
    name = f"tost_{interval.method}"
    return Equivalence(interval.estimate, *bounds, p, margin, inside, interval.n, name, note, undefined)


def tost_accuracies(
    first_correct: np.ndarray, second_correct: np.ndarray, margin: float, alpha: float = 0.05
) -> Equivalence:
    """Return the equivalence test of two accuracies on the same items (n,) of 0/1, by Tango's score test.

    Tango 1998: the difference of paired proportions with its variance at the margin, so that two models without a
    single disagreement on few items are not called equivalent. low, high invert the same test.
    """
    _check(margin, alpha)
    if margin >= 1:
        raise StudyError("The margin for two accuracies must be below 1, such as 0.02.")
    only_first, only_second, n, undefined = discordant_counts(first_correct, second_correct)
    if n == 0:
        note = "There is no defined pair."
        return Equivalence(np.nan, np.nan, np.nan, np.nan, margin, False, 0, "none", note, undefined)
    difference = (only_first - only_second) / n
    lower_p = norm.sf(paired_score(only_first, only_second, n, -margin))
    upper_p = norm.cdf(paired_score(only_first, only_second, n, margin))
    p = float(max(lower_p, upper_p))
    low, high = paired_score_interval(only_first, only_second, n, alpha)
    return Equivalence(difference, low, high, p, margin, p < alpha, n, "tost_score", "", undefined)


def paired_score(only_first: int, only_second: int, n: int, delta: float) -> float:
    """Return Tango's (1998) score statistic of "the accuracies differ by delta"; normal when that is true.

    only_first, only_second: items that only one of them gets right, of n. delta in (-1, 1).
    """
    # The nuisance parameter, P(only the second is right), at its maximum likelihood given delta.
    b = -only_first - only_second + (2 * n - only_first + only_second) * delta
    c = -only_second * delta * (1 - delta)
    nuisance = (np.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * nuisance + delta * (1 - delta))
    distance = only_first - only_second - n * delta
    if variance <= 0:
        return float(np.sign(distance) * np.inf) if distance else 0.0
    return float(distance / np.sqrt(variance))


def paired_score_interval(only_first: int, only_second: int, n: int, alpha: float) -> tuple[float, float]:
    """Return the 1 - 2 alpha interval of a difference of paired shares: where Tango's score statistic is +-z.

    only_first, only_second: items that only one of them has, of n. By root finding between the estimate and +-1.
    """
    z, difference = norm.ppf(1 - alpha), (only_first - only_second) / n
    edge = 1 - 1e-9
    bounds = []
    for end, target in ((-edge, z), (edge, -z)):

        def gap(delta: float, target: float = target) -> float:
            return float(np.clip(paired_score(only_first, only_second, n, delta) - target, -1e6, 1e6))

        beyond = gap(end) * gap(difference) >= 0  # the statistic never reaches z on this side
        bounds.append(np.sign(end) if beyond else brentq(gap, *sorted((end, difference)), xtol=1e-10))
    return float(bounds[0]), float(bounds[1])


def verdict(
    estimate: float,
    low: float,
    high: float,
    p_adjusted: float,
    direction: Direction,
    margin: float | None,
    alpha: float = 0.05,
) -> Verdict:
    """Return the verdict on a claim about a contrast.

    estimate, low, high: the contrast and its interval; p_adjusted: its p-value after correction over the family,
    two-sided for "greater", "less" and "different", that of the equivalence test for "equal".
    margin: differences smaller than this do not matter; None when none was declared. Rules, first match wins:

    1. A NaN among the numbers: inconclusive.
    2. The whole interval lies strictly inside +-margin. Claim "equal": supported when p_adjusted < alpha, else
       inconclusive. Other claims: equivalent, even when the difference is not 0, since it is too small to matter.
    3. Claim "equal", interval wholly at or beyond one margin: contradicted.
    4. "greater", "less", "different": when p_adjusted < alpha and the interval excludes 0, the difference is real:
       supported if it has the claimed sign ("different": any), else contradicted.
    5. Everything else, a large p-value included: inconclusive.

    A 95 % interval makes rule 2 stricter than TOST at 5 %, which asks for a 90 % interval.
    Raises StudyError for "equal" without a margin, or a margin that is not positive.
    """
    require_known(direction, ("greater", "less", "different", "equal"), "direction")
    if margin is None and direction == "equal":
        raise StudyError(
            "A claim of equality needs a margin; write the smallest difference that matters in the ledger."
        )
    if margin is not None:
        _check(margin, alpha)
    if np.isnan([estimate, low, high, p_adjusted]).any():
        return "inconclusive"
    significant = p_adjusted < alpha
    if margin is not None and -margin < low and high < margin:
        if direction != "equal":
            return "equivalent"
        return "supported" if significant else "inconclusive"
    if direction == "equal":
        return "contradicted" if low >= margin or high <= -margin else "inconclusive"
    if not significant or low <= 0 <= high:
        return "inconclusive"
    return "supported" if direction == "different" or (low > 0) == (direction == "greater") else "contradicted"


def _check(margin: float, alpha: float) -> None:
    if not (0 < margin < np.inf and 0 < alpha < 0.5):
        raise StudyError("An equivalence test needs a positive margin and an alpha between 0 and .5.")

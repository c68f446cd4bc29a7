"""Effect sizes with intervals: standardised mean differences and the probability of superiority.

The values alone are in `comparisons` (`cohen_dz`, `probability_of_superiority`, `rank_biserial`).
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln
from scipy.stats import chi2, norm

from rationales.errors import StudyError
from rationales.statistics.bootstrap import Interval, paired_differences
from rationales.statistics.comparisons import cohen_dz
from rationales.statistics.equivalence import paired_score_interval

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)
WIDEST_Z = 9.0


def hedges_correction(df: int) -> float:
    """Return the factor that makes a standardised mean difference unbiased for normal data (Hedges 1981).

    Gamma(df / 2) / (sqrt(df / 2) Gamma((df - 1) / 2)), in (0, 1); about 1 - 3 / (4 df - 1). NaN below 2 degrees.
    """
    if df < 2:
        return float("nan")
    return float(np.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / np.sqrt(df / 2))


def dz_interval(first: np.ndarray, second: np.ndarray, level: float = 0.95, corrected: bool = True) -> Interval:
    """Return d_z of the paired differences, by default with Hedges' correction, and its interval.

    d_z: mean / standard deviation of first - second, unbounded. The interval inverts the noncentral t distribution of
    sqrt(n) d_z and is exact for normal differences; it is not touched by the correction. NaN pairs are left out and
    counted. Without an interval: fewer than two pairs, or differences that do not vary.
    """
    _check(level)
    differences = paired_differences(first, second)
    defined = differences[~np.isnan(differences)]
    n, undefined = len(defined), len(differences) - len(defined)
    plain = cohen_dz(defined, np.zeros(n))
    if np.isnan(plain):
        why = "The differences do not vary, so they have no standard deviation to compare with."
        note = why if n > 1 else f"{n} pairs give no effect size; at least two are needed."
        return Interval(np.nan, np.nan, np.nan, n, "none", note, undefined, level)
    df, observed = n - 1, plain * np.sqrt(n)
    reach = 10 * np.sqrt(1 + observed**2 / (2 * df)) + 5 * abs(observed) / np.sqrt(df)
    bounds = [
        _noncentrality(observed, df, tail, observed - reach, observed + reach) / np.sqrt(n)
        for tail in ((1 + level) / 2, (1 - level) / 2)
    ]
    correction = hedges_correction(df) if corrected and df > 1 else 1.0
    note = "Two pairs: the bias of d_z is not corrected." if corrected and df < 2 else ""
    return Interval(float(plain * correction), *bounds, n, "noncentral_t", note, undefined, level)


def _noncentrality(observed: float, df: int, tail: float, low: float, high: float) -> float:
    """The noncentrality at which P(T <= observed) = tail; falls as the noncentrality grows."""

    def gap(noncentrality: float) -> float:
        return noncentral_t_cdf(observed, df, noncentrality) - tail

    while gap(low) < 0:
        low -= high - low
    while gap(high) > 0:
        high += high - low
    return float(brentq(gap, low, high, xtol=1e-10))


def noncentral_t_cdf(value: float, df: int, noncentrality: float) -> float:
    """Return P(T <= value) of the noncentral t distribution, by quadrature; scipy's is NaN far in the tails.

    T = (Z + noncentrality) / S with Z normal and S^2 chi-square / df. Integrated over the wider of the two: over S for
    a small value, else over Z.
    """
    if value < 0:
        return 1.0 - noncentral_t_cdf(-value, df, -noncentrality)
    if value <= np.sqrt(2 * df):
        ends = np.sqrt([chi2.ppf(1e-15, df) / df, chi2.isf(1e-15, df) / df])
        s = ends.mean() + np.ptp(ends) / 2 * NODES
        mass = chi2.pdf(df * s**2, df) * 2 * df * s * norm.cdf(value * s - noncentrality)
        return float(np.clip(np.ptp(ends) / 2 * (WEIGHTS @ mass), 0.0, 1.0))
    # Where Z + noncentrality is negative T lies below the value for sure; the rest is smooth.
    low = float(np.clip(-noncentrality, -WIDEST_Z, WIDEST_Z))
    z = (WIDEST_Z + low) / 2 + (WIDEST_Z - low) / 2 * NODES
    mass = norm.pdf(z) * chi2.sf(df * ((z + noncentrality) / value) ** 2, df)
    return float(np.clip(norm.cdf(low) + (WIDEST_Z - low) / 2 * (WEIGHTS @ mass), 0.0, 1.0))


def superiority_interval(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Interval:
    """Return the share of items on which the first is larger, ties counting half, with its interval (paired).

    In [0, 1], .5 without a difference. From Tango's (1998) score interval of the difference between the shares of items
    on which either is larger, which has a width also when one is larger on all items. NaN pairs are left out.
    """
    _check(level)
    differences = paired_differences(first, second)
    defined = differences[~np.isnan(differences)]
    n, undefined = len(defined), len(differences) - len(defined)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0, "none", "There is no defined pair.", undefined, level)
    larger, smaller = int((defined > 0).sum()), int((defined < 0).sum())
    low, high = paired_score_interval(larger, smaller, n, (1 - level) / 2)
    share = (1 + (larger - smaller) / n) / 2
    return Interval(share, (1 + low) / 2, (1 + high) / 2, n, "tango_score", "", undefined, level)


def cliffs_delta(first: np.ndarray, second: np.ndarray) -> float:
    """Return P(first > second) - P(first < second) for two independent samples (Cliff 1993), in [-1, 1].

    0 without a difference; twice the probability of superiority less 1. NaN values are left out; NaN for an empty side.
    """
    x, y = _two_samples(first, second)
    return float(_dominance(x, y).mean()) if len(x) and len(y) else float("nan")


def cliffs_delta_interval(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Interval:
    """Return Cliff's delta of two independent samples with the asymmetric interval of Feng and Cliff (2004).

    For values on the same items use `superiority_interval`, which knows that they are paired. `n` counts both samples.
    """
    _check(level)
    x, y = _two_samples(first, second)
    undefined = np.size(first) + np.size(second) - len(x) - len(y)
    if not len(x) or not len(y):
        return Interval(np.nan, np.nan, np.nan, 0, "none", "One sample has no defined value.", undefined, level)
    total, delta = len(x) + len(y), cliffs_delta(x, y)
    if min(len(x), len(y)) < 2:
        note = "A sample of one value gives no interval."
        return Interval(delta, np.nan, np.nan, total, "none", note, undefined, level)
    z = norm.ppf((1 + level) / 2)
    if abs(delta) == 1:
        fewest = min(len(x), len(y))
        inner = (fewest - z**2) / (fewest + z**2)
        low, high = (inner, 1.0) if delta > 0 else (-1.0, -inner)
        return Interval(delta, float(low), float(high), total, "feng_cliff", "", undefined, level)
    # The variance from the dominance of each value, and of each pair.
    by_first, by_second = _dominance(x, y), -_dominance(y, x)
    pairs = len(x) * len(y)
    within = _unequal_pairs(x, y) - pairs * delta**2  # sum of the squared deviations of all pairs
    numerator = len(y) ** 2 * np.sum((by_first - delta) ** 2) + len(x) ** 2 * np.sum((by_second - delta) ** 2) - within
    variance = max(numerator / (pairs * (len(x) - 1) * (len(y) - 1)), (1 - delta**2) / (pairs - 1))
    half = z * np.sqrt(variance) * np.sqrt((1 - delta**2) ** 2 + z**2 * variance)
    low, high = ((delta - delta**3 + sign * half) / (1 - delta**2 + z**2 * variance) for sign in (-1, 1))
    return Interval(delta, max(-1.0, float(low)), min(1.0, float(high)), total, "feng_cliff", "", undefined, level)


def _dominance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Per value of x, the share of y below it less the share above it."""
    ordered = np.sort(y)
    below = np.searchsorted(ordered, x, side="left")
    above = len(y) - np.searchsorted(ordered, x, side="right")
    return (below - above) / len(y)


def _unequal_pairs(x: np.ndarray, y: np.ndarray) -> int:
    """Number of pairs with x different from y."""
    ordered = np.sort(y)
    equal = np.searchsorted(ordered, x, side="right") - np.searchsorted(ordered, x, side="left")
    return len(x) * len(y) - int(equal.sum())


def _two_samples(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sides = [np.asarray(side, dtype=float) for side in (first, second)]
    if any(side.ndim != 1 for side in sides):
        raise StudyError("Cliff's delta needs two columns of values.")
    return tuple(side[~np.isnan(side)] for side in sides)


def _check(level: float) -> None:
    if not 0 < level < 1:
        raise StudyError(f"The level {level} must lie between 0 and 1, such as .95.")

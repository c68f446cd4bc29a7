"""What a sample can show: smallest detectable difference, items needed, power of difference and equivalence tests.

Compute it from the spread of the differences, never from the observed mean: "observed power" only restates the p-value.
The closed forms for the paired t-test are in `comparisons` (`power_of_paired_design`, `minimal_detectable_difference`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad
from scipy.stats import chi2, norm, t
from statsmodels.stats.power import TTestPower

from rationales.errors import StudyError
from rationales.statistics.bootstrap import CELLS_PER_BLOCK
from rationales.statistics.comparisons import minimal_detectable_difference, power_of_paired_design


@dataclass(frozen=True)
class Sensitivity:
    """What a paired sample can show, in the units of the values.

    standard_deviation: of the differences. detectable: the mean difference found with the asked power.
    power_at_margin: power of the test of a difference when the true one equals the margin. power_of_equivalence: power
    of TOST when the true difference is 0. items_for_margin: items needed to detect a difference as large as the margin.
    note: empty, or a sentence on what is missing. NaN where undefined.
    """

    n: int
    standard_deviation: float
    detectable: float
    power_at_margin: float
    power_of_equivalence: float
    items_for_margin: float
    note: str = ""
    n_undefined: int = 0


def sensitivity_of(
    differences: np.ndarray, margin: float | None = None, power: float = 0.8, alpha: float = 0.05
) -> Sensitivity:
    """Return what the paired differences (n,) at hand can show; NaN differences are left out and counted.

    margin: the smallest difference that matters; None leaves out what depends on it.
    """
    differences = np.asarray(differences, dtype=float)
    if differences.ndim != 1 or np.isinf(differences).any():
        raise StudyError("The differences must be one finite or NaN value per item.")
    _check(alpha, power)
    if margin is not None and not 0 < margin < np.inf:
        raise StudyError(f"The margin {margin} must be positive.")
    defined = differences[~np.isnan(differences)]
    n, undefined = len(defined), len(differences) - len(defined)
    nothing = (np.nan,) * 4
    if n < 2:
        return Sensitivity(n, np.nan, *nothing, f"{n} pairs have no spread; at least two are needed.", undefined)
    deviation = float(defined.std(ddof=1))
    if np.ptp(defined) == 0:
        return Sensitivity(n, 0.0, *nothing, "The differences do not vary, so power cannot be judged.", undefined)
    detectable = minimal_detectable_difference(n, deviation, power, alpha)
    if margin is None:
        return Sensitivity(n, deviation, detectable, np.nan, np.nan, np.nan, "", undefined)
    return Sensitivity(
        n,
        deviation,
        detectable,
        power_of_paired_design(n, margin / deviation, alpha),
        power_of_equivalence(n, deviation, margin, alpha=alpha),
        items_needed(deviation, margin, power, alpha),
        "",
        undefined,
    )


def items_needed(standard_deviation: float, difference: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return the items that a paired t-test needs to detect a mean difference with the given power; at least 2."""
    _check(alpha, power)
    if not (standard_deviation > 0 and np.isfinite(standard_deviation) and difference != 0):
        raise StudyError("Items can be planned for a difference that is not 0 and a positive standard deviation.")
    effect = abs(difference) / standard_deviation
    if power_of_paired_design(2, effect, alpha) >= power:
        return 2
    found = TTestPower().solve_power(effect_size=effect, alpha=alpha, power=power, alternative="two-sided")
    return int(np.ceil(float(np.squeeze(found)) - 1e-6))


def power_of_equivalence(
    n: int, standard_deviation: float, margin: float, difference: float = 0.0, alpha: float = 0.05
) -> float:
    """Return the power of `equivalence.tost_paired` for n items and a true mean difference (Phillips 1990).

    Both one-sided tests must reject: the mean must lie within margin - t s / sqrt(n) of 0. Integrated over the
    distribution of s for normal differences. 0 where the sample is too small to ever reject.
    """
    _check(alpha, 0.8)
    if n < 2 or not standard_deviation > 0 or not 0 < margin < np.inf:
        raise StudyError("Equivalence needs at least two items, a positive standard deviation and a positive margin.")
    df, error = n - 1, standard_deviation / np.sqrt(n)
    cut = t.ppf(1 - alpha, df)
    # Beyond this ratio of s to its expectation the interval is wider than the margins.
    widest = margin / (cut * error)

    def inside(ratio: float) -> float:
        room = margin - cut * ratio * error
        mass = norm.cdf((room - difference) / error) - norm.cdf((-room - difference) / error)
        return float(mass * chi2.pdf(df * ratio**2, df) * 2 * df * ratio)

    # The mass of the ratio lies around 1; the split keeps the quadrature from missing a narrow peak.
    spread = 12 / np.sqrt(2 * df)
    points = [edge for edge in (max(0.0, 1 - spread), 1.0, 1 + spread) if edge < widest]
    edges = [0.0, *points, min(widest, 1 + 2 * spread)]
    total = sum(quad(inside, low, high)[0] for low, high in zip(edges, edges[1:], strict=False) if high > low)
    return float(np.clip(total, 0.0, 1.0))


def simulate_power(
    differences: np.ndarray,
    shift: float,
    generator: np.random.Generator,
    n_simulations: int = 2000,
    alpha: float = 0.05,
) -> tuple[float, float]:
    """Return (power, its Monte Carlo error) of the paired t-test for differences distributed like those at hand.

    The observed differences (n,) are centred, drawn with replacement, and shifted by `shift`, so that their skewness and
    ties are kept; this checks the closed form, which takes them as normal. Samples that do not vary count as no finding.
    """
    differences = np.asarray(differences, dtype=float)
    defined = differences[~np.isnan(differences)] if differences.ndim == 1 else np.zeros(0)
    n = len(defined)
    if n < 2 or n_simulations < 1:
        raise StudyError("A simulation of power needs at least two defined differences and one simulation.")
    _check(alpha, 0.8)
    centred, rejected, cut = defined - defined.mean() + shift, 0, t.ppf(1 - alpha / 2, n - 1)
    block = max(1, CELLS_PER_BLOCK // n)
    for start in range(0, n_simulations, block):
        samples = generator.choice(centred, size=(min(block, n_simulations - start), n))
        errors = samples.std(axis=1, ddof=1) / np.sqrt(n)
        rejected += int(np.sum((np.abs(samples.mean(axis=1)) > cut * errors) & (errors > 0)))
    power = rejected / n_simulations
    return power, float(np.sqrt(power * (1 - power) / n_simulations))


def crossed_detectable_difference(
    components: Mapping[str, float], n_items: int, n_seeds: int, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the smallest mean difference that n_items x n_seeds differences detect, over other items and seeds.

    components: variances "item", "seed" and "residual" of the differences, as in `CrossedFit.components`; NaN counts
    as 0. The standard error is sqrt(item / n_items + seed / n_seeds + residual / (n_items n_seeds)): more items cannot
    make up for few seeds. t with min(items, seeds) - 1 degrees, as `crossed.crossed_t_test`; with one seed, n_items - 1
    for this seed alone.
    """
    _check(alpha, power)
    if n_items < 2 or n_seeds < 1 or any(value < 0 for value in components.values()):
        raise StudyError("A crossed design needs two items, one seed and variances that are not negative.")
    item, seed, residual = (np.nan_to_num(components.get(name, 0.0)) for name in ("item", "seed", "residual"))
    variance = item / n_items + (seed / n_seeds if n_seeds > 1 else 0.0) + residual / (n_items * n_seeds)
    levels = min(n_items, n_seeds) if n_seeds > 1 else n_items
    return minimal_detectable_difference(levels, float(np.sqrt(variance * levels)), power, alpha)


def _check(alpha: float, power: float) -> None:
    if not 0 < alpha < 0.5 or not alpha < power < 1:
        raise StudyError("Alpha must lie between 0 and .5, and the power between alpha and 1.")

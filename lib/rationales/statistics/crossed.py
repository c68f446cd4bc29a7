"""Intervals and tests of a mean over items and seeds that are both drawn from larger populations.

A sign-flip test does not extend to this case: flipping items keeps the seeds' common shift, and flipping both by
the product of two signs destroys it; such tests rejected a true null in 13 to 29 % of simulated studies with 2 to 5 seeds.
Here the variance of the mean is the sum of what items and seeds add, and Student's t accounts for their small number.
"""

from typing import Literal

import numpy as np
from scipy.stats import t

from rationales.errors import StudyError, require_known
from rationales.statistics._labels import encode_labels
from rationales.statistics.bootstrap import Interval
from rationales.statistics.comparisons import ALTERNATIVES, Alternative, Comparison

Degrees = Literal["smallest", "satterthwaite"]
SWEEPS = 200  # of the two-way fit of unbalanced data
CONVERGED = 1e-10


def crossed_t_interval(
    values: np.ndarray, items: np.ndarray, seeds: np.ndarray, level: float = 0.95, degrees: Degrees = "smallest"
) -> Interval:
    """Return the mean of `values` (rows,) with an interval over both items and seeds.

    items, seeds: labels (rows,). Rows of the same item and seed are averaged first; then each (item, seed) cell weighs
    the same, and cells may be missing or NaN (counted). The variance of the mean is the clustered variance by item plus
    that by seed less the residual variance, which both contain, and at least the larger of the two
    (Cameron, Gelbach and Miller 2011; the analysis of variance for balanced data).

    degrees:
      - "smallest": t with min(items, seeds) - 1 degrees of freedom. Covered 94 % or more in every simulated case
        (2 to 20 seeds), and much more than that where seeds hardly matter;
      - "satterthwaite": degrees weighted by what varies. Narrower, and covers 89 % with 2 seeds, 93 % with 3 and
        94 % from 5 on, where seeds vary as much as items.

    With one item or one seed the other alone is drawn, which the note says. `n` counts the cells.
    """
    if not 0 < level < 1:
        raise StudyError(f"The level {level} must lie between 0 and 1, such as .95.")
    parts = _moments(values, items, seeds, degrees)
    mean, variance, df, n, undefined, note = parts
    if df < 1:
        return Interval(mean, np.nan, np.nan, n, "none", note, undefined, level)
    half = float(t.ppf((1 + level) / 2, df) * np.sqrt(variance))
    return Interval(mean, mean - half, mean + half, n, f"crossed_t_{degrees}", note, undefined, level)


def crossed_t_test(
    differences: np.ndarray,
    items: np.ndarray,
    seeds: np.ndarray,
    alternative: Alternative = "two-sided",
    degrees: Degrees = "smallest",
) -> Comparison:
    """Return the t-test of a mean difference of 0 that generalises to other items and other seeds.

    differences: first - second per row (rows,), of the same item and seed. Variance and degrees of freedom as in
    `crossed_t_interval`. With few seeds it has little power, as it must: use `permutation.clustered_sign_flip_test` to
    speak about the seeds at hand only.
    """
    require_known(alternative, ALTERNATIVES, "alternative")
    mean, variance, df, n, undefined, note = _moments(differences, items, seeds, degrees)
    name = f"crossed_t_{degrees}"
    if df < 1:
        return Comparison(name, mean, np.nan, np.nan, n, note, undefined)
    if variance == 0:
        return Comparison(name, mean, np.nan, 1.0 if mean == 0 else np.nan, n, note, undefined)
    statistic = float(mean / np.sqrt(variance))
    p = {
        "two-sided": 2 * t.sf(abs(statistic), df),
        "greater": t.sf(statistic, df),
        "less": t.cdf(statistic, df),
    }[alternative]
    return Comparison(name, mean, statistic, float(p), n, note, undefined)


def _moments(
    values: np.ndarray, items: np.ndarray, seeds: np.ndarray, degrees: str
) -> tuple[float, float, float, int, int, str]:
    """Return (mean, its variance, degrees of freedom, cells, undefined rows, note); 0 degrees without an interval."""
    require_known(degrees, ("smallest", "satterthwaite"), "rule for the degrees of freedom")
    values, items, seeds = np.asarray(values, dtype=float), np.asarray(items), np.asarray(seeds)
    if values.ndim != 1 or items.shape != values.shape or seeds.shape != values.shape:
        raise StudyError("Values, items and seeds must have one entry per row.")
    if np.isinf(values).any():
        raise StudyError("The values hold an infinity, which has no mean; mark such rows as undefined with NaN.")
    defined = ~np.isnan(values)
    undefined = int((~defined).sum())
    if not defined.any():
        return np.nan, np.nan, 0, 0, undefined, "There is no defined value to average."
    item_codes, n_items = encode_labels(items[defined], "item")
    seed_codes, n_seeds = encode_labels(seeds[defined], "seed")
    cells, place = np.unique(item_codes * n_seeds + seed_codes, return_inverse=True)
    cell_values = np.bincount(place, values[defined]) / np.bincount(place)
    item_codes, seed_codes, n = cells // n_seeds, cells % n_seeds, len(cells)
    mean = float(cell_values.mean())
    if n_items < 2 and n_seeds < 2:
        return mean, np.nan, 0, n, undefined, "One item and one seed give no interval."
    centred = cell_values - mean
    if np.ptp(cell_values) == 0:
        return mean, 0.0, 1, n, undefined, "All values are equal, so the interval has no width."
    by_item = _clustered_variance(centred, item_codes, n_items)
    by_seed = _clustered_variance(centred, seed_codes, n_seeds)
    if n_items < 2 or n_seeds < 2:
        fixed, levels = ("item", n_seeds) if n_items < 2 else ("seed", n_items)
        note = f"There is one {fixed} only: the interval says nothing about other {fixed}s."
        return mean, max(by_item, by_seed), levels - 1, n, undefined, note
    residual, residual_df = _residual_variance(centred, item_codes, n_items, seed_codes, n_seeds)
    variance = max(by_item + by_seed - residual / n, by_item, by_seed)
    if degrees == "smallest":
        df = min(n_items, n_seeds) - 1.0
    else:
        spread = by_item**2 / (n_items - 1) + by_seed**2 / (n_seeds - 1)
        df = variance**2 / (spread + ((residual / n) ** 2 / residual_df if residual_df else 0))
    return mean, variance, max(1.0, df), n, undefined, ""


def _clustered_variance(centred: np.ndarray, codes: np.ndarray, n_levels: int) -> float:
    """Variance of the mean when whole clusters are drawn; 0 for one cluster."""
    if n_levels < 2:
        return 0.0
    sums = np.bincount(codes, centred, n_levels)
    return float(n_levels / (n_levels - 1) * np.sum(sums**2) / len(centred) ** 2)


def _residual_variance(
    centred: np.ndarray, item_codes: np.ndarray, n_items: int, seed_codes: np.ndarray, n_seeds: int
) -> tuple[float, int]:
    """Return the variance that additive item and seed effects leave, and its degrees of freedom; (0, 0) without any.

    The two-way fit takes item and seed means off in turns, which is exact at once for balanced data.
    """
    df = len(centred) - n_items - n_seeds + 1
    if df < 1:
        return 0.0, 0
    item_sizes, seed_sizes = np.bincount(item_codes, minlength=n_items), np.bincount(seed_codes, minlength=n_seeds)
    rest, scale = centred.copy(), np.abs(centred).max()
    for _ in range(SWEEPS):
        item_means = np.bincount(item_codes, rest, n_items) / item_sizes
        rest -= item_means[item_codes]
        seed_means = np.bincount(seed_codes, rest, n_seeds) / seed_sizes
        rest -= seed_means[seed_codes]
        if np.abs(seed_means).max() <= CONVERGED * scale:
            break
    return float(np.sum(rest**2) / df), df

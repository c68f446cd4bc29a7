"""Pairwise similarity of seeds, and intervals of means over items for other items and other seeds."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata, t

from rationales.errors import StudyError
from rationales.metrics.agreement import top_k_jaccard
from rationales.metrics.plausibility import kappa_of_counts
from rationales.metrics.selection import inclusion_probabilities
from rationales.statistics.bootstrap import FEW_FOR_BOOTSTRAP, Interval, mean_interval, statistic_interval
from rationales.statistics.seeds import jackknife_interval

MOST_GROUPS = 20  # seeds are left out in at most so many groups, which bounds the cost with hundreds of seeds
LEVEL = 0.95
OfSeeds = Callable[[np.ndarray], float]  # seed numbers -> the mean over items when only these were trained


def correlate_pairs(scores: np.ndarray, method: str = "pearson") -> np.ndarray:
    """Return the correlations (n_seeds, n_seeds) of the rows of scores (n_seeds, n_words).

    The diagonal, rows with NaN and constant rows are NaN. method: "pearson" or "spearman" (mid-ranks).
    """
    usable = ~np.isnan(scores).any(axis=1)
    usable[usable] = np.ptp(scores[usable], axis=1) > 0
    rows = scores[usable]
    if method == "spearman" and len(rows):
        rows = rankdata(rows, axis=1)
    centred = rows - rows.mean(axis=1, keepdims=True)
    centred /= np.abs(centred).max(axis=1, keepdims=True, initial=0.0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return _spread(np.clip(unit @ unit.T, -1, 1), usable)


def overlap_pairs(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the expected Jaccard (n_seeds, n_seeds) of top-k sets; NaN on the diagonal and for rows with NaN."""
    usable = ~np.isnan(scores).any(axis=1)
    rows = scores[usable]
    inclusion = np.array([inclusion_probabilities(row, k) for row in rows]).reshape(len(rows), scores.shape[1])
    overlap = inclusion @ inclusion.T
    jaccard = overlap / (2 * k - overlap)
    # Without ties at the border of the set its Jaccard is certain; the others need the distribution of the overlap.
    tied = ((inclusion > 0) & (inclusion < 1)).any(axis=1)
    for i, j in zip(*np.triu_indices(len(rows), 1), strict=True):
        if tied[i] or tied[j]:
            jaccard[i, j] = jaccard[j, i] = top_k_jaccard(rows[i], rows[j], k)
    return _spread(jaccard, usable)


def compare_sets(inclusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return "f1" and "kappa", each (n, n), of all pairs of n sets of words given as inclusion (n, n_words).

    inclusion: 0 or 1, or the probability that a word belongs to an expected top-k set; both measures are linear in the
    shared words, so that they are exact expectations. Rows with NaN and the diagonal are NaN; so are two empty sets.
    """
    usable = ~np.isnan(inclusion).any(axis=1)
    rows = inclusion[usable]
    hits, sizes = rows @ rows.T, rows.sum(axis=1)
    first, second = sizes[:, None], sizes[None, :]
    f1 = np.divide(2 * hits, first + second, out=np.full_like(hits, np.nan), where=first + second > 0)
    counts = np.stack([hits, first - hits, second - hits, rows.shape[1] - first - second + hits], axis=-1)
    return {"f1": _spread(f1, usable), "kappa": _spread(kappa_of_counts(counts), usable)}


def _spread(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Put values of the usable seeds into a matrix of all seeds, with NaN elsewhere and on the diagonal."""
    full = np.full((len(usable), len(usable)), np.nan)
    full[np.ix_(usable, usable)] = values
    np.fill_diagonal(full, np.nan)
    return full


def mean_per_item(pairs: np.ndarray, seeds: np.ndarray | None = None) -> np.ndarray:
    """Return the mean over the defined pairs of some seeds, per item; pairs: (n_items, n_seeds, n_seeds)."""
    part = pairs if seeds is None else pairs[:, seeds][:, :, seeds]
    return mean_defined(part.reshape(len(part), part.shape[1] * part.shape[2]))  # -1 fails without items


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is defined, NaN where nothing is."""
    defined = ~np.isnan(values)
    total, count = np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def merge_items(pairs: np.ndarray) -> np.ndarray:
    """Return pairs (1, n_seeds, n_seeds) with the same means for every choice of seeds, where this can be done.

    It can when every pair is defined for every item: the order of averaging does not matter then.
    """
    off_diagonal = ~np.eye(pairs.shape[1], dtype=bool)
    return pairs.mean(axis=0, keepdims=True) if np.isfinite(pairs[:, off_diagonal]).all() else pairs


def pair_statistic(pairs: np.ndarray) -> OfSeeds:
    """Return the function that gives the mean over items and pairs for a choice of seeds."""
    merged = merge_items(pairs)
    return lambda seeds: float(mean_defined(mean_per_item(merged, seeds)))


def group_seeds(n_seeds: int, most: int = MOST_GROUPS) -> list[np.ndarray]:
    """Return the seed numbers in the groups that the jackknife leaves out: single seeds, or `most` equal groups."""
    return np.array_split(np.arange(n_seeds), min(n_seeds, most))


def jackknife_over_seeds(n_seeds: int, statistic: OfSeeds, scale: str = "plain") -> Interval:
    """Return the statistic of all seeds with its jackknife interval over seeds, or over groups of them beyond 20.

    `n` counts the groups. scale: see `rationales.statistics.seeds.jackknife_interval`.
    """
    groups = group_seeds(n_seeds)

    def of_groups(numbers: np.ndarray) -> float:
        return statistic(np.concatenate([groups[int(number)] for number in numbers[:, 0]]))

    return jackknife_interval(np.arange(len(groups), dtype=float)[:, None], of_groups, LEVEL, scale)


def summarise_mean(
    values: np.ndarray,
    statistic: OfSeeds | None,
    n_seeds: int,
    generator: np.random.Generator,
    resamples: int = 2000,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> dict:
    """Return the mean over items with three intervals: over items, over seeds, and over both (columns low and high).

    values: (n_items,) of all seeds, NaN where undefined. statistic: the same mean for a choice of seeds; None when
    there is nothing to leave out. Items: BCa bootstrap, Student's t below 20 items. Seeds: jackknife. Both: the
    variances are added, which counts their interaction twice and so errs wide; Student's t with Satterthwaite's
    degrees of freedom. Intervals end at `bounds`. Columns: estimate, low, high, low_items, high_items, low_seeds,
    high_seeds, n, n_undefined, n_seeds, note.
    """
    defined = values[~np.isnan(values)]
    method = "bca" if len(defined) >= FEW_FOR_BOOTSTRAP else "t"
    items = mean_interval(values, generator, resamples, LEVEL, method)
    error = defined.std(ddof=1) / np.sqrt(len(defined)) if len(defined) > 1 else np.nan
    return _summary(items, error, statistic, n_seeds, bounds)


def summarise_ratio(
    columns: np.ndarray,
    statistic: OfSeeds,
    n_seeds: int,
    generator: np.random.Generator,
    resamples: int = 2000,
) -> dict:
    """Return the ratio of two means over items, with the intervals and columns of `summarise_mean`.

    columns: (n_items, 2), numerator and denominator; NaN rows are left out and counted. A ratio of means, not a mean of
    ratios, so that an item with denominator 0 needs no special case; NaN when the mean denominator is 0. The intervals
    over seeds and over both are made on the log scale, where the ratio is above 0 whatever seed is left out.
    """
    known = columns[~np.isnan(columns).any(axis=1)]
    items = statistic_interval(columns, ratio_of, generator, resamples, LEVEL)
    error = np.nan
    if len(known) > 1 and np.isfinite(items.estimate):
        deviations = (known[:, 0] - items.estimate * known[:, 1]) / known[:, 1].mean()
        error = deviations.std(ddof=1) / np.sqrt(len(known))
    return _summary(items, error, statistic, n_seeds, (-np.inf, np.inf), logarithmic=True)


def ratio_of(sums: np.ndarray) -> np.ndarray:
    """Return the first over the second of the last axis; NaN where the second is 0."""
    top, bottom = sums[..., 0], sums[..., 1]
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom != 0)


def _summary(
    items: Interval,
    item_error: float,
    statistic: OfSeeds | None,
    n_seeds: int,
    bounds: tuple[float, float],
    logarithmic: bool = False,
) -> dict:
    nothing = Interval(items.estimate, np.nan, np.nan, 0, "none", "", 0, LEVEL)
    seeds = (
        nothing if statistic is None else jackknife_over_seeds(n_seeds, statistic, "log" if logarithmic else "plain")
    )
    if logarithmic and np.isnan(seeds.low):
        seeds, logarithmic = jackknife_over_seeds(n_seeds, statistic), False
    low, high = _both(items, item_error, seeds, logarithmic)
    sides = {"low": low, "high": high, "low_items": items.low, "high_items": items.high,
             "low_seeds": seeds.low, "high_seeds": seeds.high}  # fmt: skip
    return {
        "estimate": items.estimate,
        **{name: float(np.clip(value, *bounds)) for name, value in sides.items()},
        "n": items.n,
        "n_undefined": items.n_undefined,
        "n_seeds": n_seeds,
        "note": " ".join(note for note in dict.fromkeys((items.note, seeds.note)) if note),
    }


def _both(items: Interval, item_error: float, seeds: Interval, logarithmic: bool) -> tuple[float, float]:
    """Return the interval over items and seeds; that over items alone where seeds give none."""
    if np.isnan(seeds.low) or np.isnan(item_error):
        return items.low, items.high
    spread = np.log(seeds.high / seeds.low) if logarithmic else seeds.high - seeds.low
    seed_error = spread / 2 / t.ppf((1 + LEVEL) / 2, seeds.n - 1)
    own_error = item_error / items.estimate if logarithmic else item_error
    half = half_width([own_error, seed_error], [items.n - 1, seeds.n - 1])
    if logarithmic:
        return float(items.estimate * np.exp(-half)), float(items.estimate * np.exp(half))
    return items.estimate - half, items.estimate + half


def half_width(errors: Sequence[float], degrees: Sequence[int], level: float = LEVEL) -> float:
    """Return half the interval of an estimate whose independent standard errors add in squares.

    Student's t with the degrees of freedom of Welch and Satterthwaite; 0 when all errors are 0.
    """
    variances = np.square(np.asarray(errors, dtype=float))
    if len(variances) != len(degrees) or np.isnan(variances).any() or min(degrees) < 1:
        raise StudyError("Adding errors needs one number and its degrees of freedom, at least 1, for each.")
    if variances.sum() == 0:
        return 0.0
    freedom = variances.sum() ** 2 / np.sum(variances**2 / np.asarray(degrees, dtype=float))
    return float(t.ppf((1 + level) / 2, freedom) * np.sqrt(variances.sum()))

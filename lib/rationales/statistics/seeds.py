"""Intervals over seeds for measures of stability, and how many seeds are enough.

A measure takes the explanations of one example, (n_seeds, n_words), such as those of `metrics.stability`. Resampling
seeds with replacement is wrong here: a seed drawn twice agrees with itself, so that noise shrinks and agreement grows.
The jackknife leaves seeds out instead.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t

from rationales.errors import StudyError, require_known
from rationales.metrics.stability import correlation_with_mean, mean_pairwise_correlation, require_seed_scores
from rationales.metrics.stability import signal_and_noise as _signal_and_noise
from rationales.statistics.bootstrap import Interval

Measure = Callable[[np.ndarray], float]
SCALES = ("plain", "log", "fisher")
FEW_SEEDS = 5
LARGEST_CORRELATION = 1 - 1e-9


def jackknife_interval(scores: ArrayLike, measure: Measure, level: float = 0.95, scale: str = "plain") -> Interval:
    """Return `measure` of the scores (n_seeds, n_words) with its jackknife interval over seeds (Tukey 1958).

    scale: where the interval is symmetric before it is turned back: "plain"; "log" for variances and ratios above 0;
    "fisher" for correlations. t with n_seeds - 1 degrees of freedom. `n` counts the seeds.
    Without an interval, and with a note: fewer than three seeds, or a measure that is undefined when a seed is left out.
    """
    matrix = require_seed_scores(scores)
    require_known(scale, SCALES, "scale")
    if not 0 < level < 1:
        raise StudyError(f"The level {level} must lie between 0 and 1, such as .95.")
    n, estimate = len(matrix), float(measure(matrix))

    def without_interval(note: str) -> Interval:
        return Interval(estimate, np.nan, np.nan, n, "none", note, 0, level)

    if np.isnan(estimate):
        return without_interval("The measure is undefined on these seeds.")
    if n < 3:
        return without_interval(f"{n} seed(s) give no interval; at least three are needed.")
    left_out = np.array([measure(np.delete(matrix, seed, axis=0)) for seed in range(n)], dtype=float)
    turned, back = _scale(scale)
    values, centre = turned(left_out), float(turned(np.array(estimate)))
    if not np.isfinite(values).all() or not np.isfinite(centre):
        return without_interval("The measure is undefined or infinite when a seed is left out.")
    error = np.sqrt((n - 1) / n * np.sum((values - values.mean()) ** 2))
    half = float(t.ppf((1 + level) / 2, n - 1) * error)
    note = f"Only {n} seeds: the interval is rough." if n < FEW_SEEDS else ""
    return Interval(estimate, float(back(centre - half)), float(back(centre + half)), n, "jackknife", note, 0, level)


def stability_intervals(scores: ArrayLike, k: int, level: float = 0.95) -> dict[str, Interval]:
    """Return the main measures of `stability_of` for one example with jackknife intervals over seeds, by name.

    pearson, correlation_with_mean (at k): on Fisher's scale. signal, noise, snr: on the log scale. signal_corrected,
    snr_corrected: on the plain scale, since they can fall below 0.
    """
    measures: dict[str, tuple[Measure, str]] = {
        "pearson": (mean_pairwise_correlation, "fisher"),
        "correlation_with_mean": (lambda matrix: correlation_with_mean(matrix, k), "fisher"),
    }
    for name in ("signal", "noise", "snr", "signal_corrected", "snr_corrected"):
        scale = "plain" if name.endswith("corrected") else "log"
        measures[name] = (lambda matrix, name=name: _signal_and_noise(matrix)[name], scale)
    return {name: jackknife_interval(scores, measure, level, scale) for name, (measure, scale) in measures.items()}


def width_by_seeds(
    scores: ArrayLike,
    measure: Measure,
    sizes: Sequence[int],
    generator: np.random.Generator,
    n_subsamples: int = 50,
    level: float = 0.95,
    scale: str = "plain",
) -> pd.DataFrame:
    """Return how wide the interval of a measure is with fewer seeds than were trained, by subsampling.

    One row per size: n_seeds, estimate (mean over subsamples), deviation (of the estimates; it tends to 0 as the size
    nears all seeds, since the subsamples then overlap), half_width (median of half the jackknife interval; this one
    does not), n_undefined (subsamples without an interval). Subsamples are drawn without replacement.
    """
    matrix = require_seed_scores(scores)
    if not len(sizes) or min(sizes) < 1 or max(sizes) > len(matrix):
        raise StudyError(f"The sizes must lie between 1 and the {len(matrix)} seeds at hand; mend `sizes`.")
    if n_subsamples < 1:
        raise StudyError("Subsampling needs at least one subsample.")
    rows = []
    for size in sizes:
        drawn = [generator.permutation(len(matrix))[:size] for _ in range(n_subsamples if size < len(matrix) else 1)]
        intervals = [jackknife_interval(matrix[seeds], measure, level, scale) for seeds in drawn]
        estimates = np.array([interval.estimate for interval in intervals])
        halves = np.array([(interval.high - interval.low) / 2 for interval in intervals])
        known, estimates = halves[~np.isnan(halves)], estimates[np.isfinite(estimates)]
        rows.append(
            {
                "n_seeds": int(size),
                "estimate": float(estimates.mean()) if estimates.size else np.nan,
                "deviation": float(estimates.std(ddof=1)) if estimates.size > 1 else np.nan,
                "half_width": float(np.median(known)) if known.size else np.nan,
                "n_undefined": int(np.isnan(halves).sum()),
            }
        )
    return pd.DataFrame(rows)


def seeds_needed(n_seeds: int, half_width: float, wanted: float, level: float = 0.95) -> int:
    """Return the seeds at which half the interval would be `wanted`, given that n_seeds reached `half_width`.

    The standard error falls with the square root of the number of seeds, and the factor of t with its degrees of
    freedom. An extrapolation: it takes the measure's spread as known. At least 3.
    """
    if n_seeds < 3 or not (half_width > 0 and wanted > 0) or not 0 < level < 1:
        raise StudyError("Give three seeds or more, and half widths above 0, to plan the number of seeds.")
    spread = half_width / t.ppf((1 + level) / 2, n_seeds - 1) * np.sqrt(n_seeds)
    enough = 3

    def half(n: int) -> float:
        return float(t.ppf((1 + level) / 2, n - 1) * spread / np.sqrt(n))

    while half(enough) > wanted:
        enough *= 2
    low = max(3, enough // 2)
    while low < enough:
        middle = (low + enough) // 2
        low, enough = (low, middle) if half(middle) <= wanted else (middle + 1, enough)
    return enough


def _scale(scale: str) -> tuple[Callable, Callable]:
    """Return the function to the scale and its inverse."""
    if scale == "log":
        return (lambda values: np.log(np.where(values > 0, values, np.nan))), np.exp
    if scale == "fisher":
        return (lambda values: np.arctanh(np.clip(values, -LARGEST_CORRELATION, LARGEST_CORRELATION))), np.tanh
    return (lambda values: values), (lambda values: values)

"""From metric rows of items and seeds to one estimate with its interval, its chance level and its counts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.metrics.faithfulness import MEASURES
from rationales.randomness import generator_for
from rationales.statistics.bootstrap import Interval, mean_interval, share_interval
from rationales.statistics.crossed import mean_interval_over_seeds

# Metrics for which an explanation that could not be read counts as an empty one, of value 0.
SHARES = ("f1", "iou", "precision", "recall", "average_precision", "auroc", "rank_biased_overlap", "causal_recovery",
          "shortcut_rank")  # fmt: skip
ZERO_WHEN_EMPTY = ("f1", "iou", "recall", "comprehensiveness", "normalised_comprehensiveness", "flip_rate")


def select(metrics: pd.DataFrame, metric: str, k: str = "all", operator: str | None = None) -> pd.DataFrame:
    """Rows of one metric at one size and under one operator; StudyError when the table holds none."""
    chosen = metrics[(metrics["metric"] == metric) & (metrics["k"] == k)]
    if operator is not None:
        chosen = chosen[chosen["operator"] == operator]
    if chosen.empty:
        known = ", ".join(sorted(metrics["metric"].unique()))
        raise StudyError(f"The table `metrics` has no rows of '{metric}' at k '{k}'; its metrics are: {known}.")
    return chosen


def summarise(rows: pd.DataFrame, by: Sequence[str], resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mean and 95 % interval of `value` per group of `by`, with chance and counts.

    One seed: the item is drawn; BCa bootstrap, or Wilson's interval where all values are 0 and 1. Several: items and seeds
    are drawn; Student's t with weighted quantiles below 20 seeds, else percentile bootstrap (see
    `crossed.mean_interval_over_seeds`). It ends where the metric's range does.
    Columns besides `by`: estimate, low, high, chance (mean over the same rows, NaN where there is none), n (items),
    n_seeds, n_undefined (rows whose value is not defined), note.
    Each group has a random generator of its own, so the result does not depend on which groups are asked for.
    """
    results = []
    for key, group in rows.groupby(list(by), sort=False):
        generator = generator_for("summary", seed, *key)
        values = group["value"].to_numpy(dtype=float)
        if group["seed"].nunique() > 1:
            interval = mean_interval_over_seeds(
                values, group["example_id"].to_numpy(), group["seed"].to_numpy(), generator, n_resamples=resamples
            )
            metric = dict(zip(by, key, strict=True)).get("metric", "")
            interval = _within(interval, *range_of(values, metric))
        else:
            items = group.groupby("example_id", sort=False)["value"].mean()  # several rows of an item: its annotators
            interval = _item_interval(items.to_numpy(dtype=float), generator, resamples)
        defined = ~np.isnan(values)
        results.append(
            {
                **dict(zip(by, key, strict=True)),
                "estimate": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "chance": float(group["chance"].mean()) if "chance" in group else np.nan,
                "n": int(group.loc[defined, "example_id"].nunique()),
                "n_seeds": int(group["seed"].nunique()),
                "n_undefined": int((~defined).sum()),
                "note": interval.note,
            }
        )
    columns = [*by, "estimate", "low", "high", "chance", "n", "n_seeds", "n_undefined", "note"]
    return pd.DataFrame(results, columns=None if results else columns)


def range_of(values: np.ndarray, metric: str = "") -> tuple[float, float]:
    """Return the lowest and highest possible mean: that of the metric where it is known, [0, 1] for values of 0 and 1."""
    if metric in MEASURES:
        return MEASURES[metric].low, MEASURES[metric].high
    if metric in SHARES or np.isin(values[~np.isnan(values)], (0, 1)).all():
        return 0.0, 1.0
    return -np.inf, np.inf


def _within(interval: Interval, low: float, high: float) -> Interval:
    """The interval, cut off at the ends of a range, beyond which Student's t may reach."""
    if np.isnan(interval.low):
        return interval
    return replace(interval, low=float(np.clip(interval.low, low, high)), high=float(np.clip(interval.high, low, high)))


def _item_interval(values: np.ndarray, generator: np.random.Generator, resamples: int) -> Interval:
    """The interval of a mean over items; Wilson's for shares, which has a width also when all values are equal."""
    defined = values[~np.isnan(values)]
    if len(defined) and np.isin(defined, (0, 1)).all():
        return share_interval(values)
    return mean_interval(values, generator, n_resamples=resamples)


def fill_invalid(rows: pd.DataFrame, skipped: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of `metric` with every unreadable explanation as an empty one, of value 0 (the stricter convention).

    StudyError for a metric that an empty explanation does not have.
    """
    if metric not in ZERO_WHEN_EMPTY:
        raise StudyError(f"An empty explanation has no '{metric}'; choose one of: {', '.join(ZERO_WHEN_EMPTY)}.")
    failed = skipped[skipped["reason"] != "no human rationale"].assign(metric=metric, value=0.0, chance=np.nan)
    return pd.concat([rows, failed], ignore_index=True)

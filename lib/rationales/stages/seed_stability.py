"""Stability of each explainer over seeds: how alike, for which items, how sure, and with how many seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from rationales.metrics._overlap import expected_jaccard, hypergeometric
from rationales.metrics.stability import (
    correlation_with_mean,
    half_correlation,
    minority_shares,
    signal_and_noise,
)
from rationales.randomness import generator_for
from rationales.stages.seed_data import (
    PREDICTED,
    SeedFamily,
    SeedScores,
    collect_scores,
    known_rows,
    scale_rows,
    turn_to_one_label,
)
from rationales.stages.seed_intervals import (
    correlate_pairs,
    half_width,
    mean_defined,
    mean_per_item,
    overlap_pairs,
    pair_statistic,
    ratio_of,
    summarise_mean,
    summarise_ratio,
)
from rationales.statistics.bootstrap import share_interval
from rationales.statistics.seeds import seeds_needed, width_by_seeds

BOUNDS = {"pearson": (-1.0, 1.0), "spearman": (-1.0, 1.0), "top_k_jaccard": (0.0, 1.0)}  # of the pairwise measures
SPLITS = 10  # random halves of the seeds, per item
CURVE_SIZES = (1, 2, 3, 5, 8, 12, 20, 30, 50)
SUBSAMPLE_SIZES = (3, 4, 5, 6, 8, 10, 15, 20, 30, 50)
SUBSAMPLES = 20
Measure = Callable[[np.ndarray, int], float]  # valid explanations (n, n_words) and the item's number -> value


@dataclass(frozen=True)
class SeedPairs:
    """Similarity of every pair of seeds under one explainer: measure -> (n_items, n_seeds, n_seeds), NaN undefined.

    varies: whether some explanation differs between two seeds that predict the same label. Floors that never ask the
    model do not vary; their stability is 1 by construction.
    """

    explainer: str
    variant: str
    towards: str
    varies: bool
    values: dict[str, np.ndarray]

    @property
    def columns(self) -> dict:
        """The key columns of its rows."""
        return {"explainer": self.explainer, "variant": self.variant, "towards": self.towards, "varies": self.varies}


def varies_with_seed(family: SeedFamily, found: SeedScores) -> bool:
    """Whether two seeds that predict the same label for an item ever explain it differently."""
    for item, scores in enumerate(found.scores):
        for label in set(family.predicted[:, item]):
            rows = known_rows(scores[family.predicted[:, item] == label])
            if len(rows) > 1 and np.ptp(rows, axis=0).max() > 0:
                return True
    return False


def measure_pairs(family: SeedFamily, found: SeedScores, varies: bool) -> SeedPairs:
    """Return Pearson, Spearman and the Jaccard of the top fifth for every item and pair of seeds."""
    values = {
        "pearson": np.stack([correlate_pairs(scores, "pearson") for scores in found.scores]),
        "spearman": np.stack([correlate_pairs(scores, "spearman") for scores in found.scores]),
        "top_k_jaccard": np.stack([overlap_pairs(s, k) for s, k in zip(found.scores, family.fifths, strict=True)]),
    }
    return SeedPairs(found.explainer, found.variant, found.towards, varies, values)


def read_pairs(family: SeedFamily, explanations: pd.DataFrame) -> tuple[list[SeedScores], list[SeedPairs]]:
    """Return the scores of every explainer of a family, and the pairs of each, also signed for one label of all seeds.

    See `turn_to_one_label`; explainers for which it changes nothing occur once.
    """
    scores, pairs = collect_scores(family, explanations), []
    for found in scores:
        varies = varies_with_seed(family, found)
        turned = turn_to_one_label(family, found)
        pairs += [measure_pairs(family, one, varies) for one in (found, turned) if one is not None]
    return scores, pairs


def chance_jaccard(n_words: int, k: int) -> float:
    """Return the expected Jaccard of two random sets of k words."""
    return expected_jaccard(hypergeometric(n_words, k, k), 2 * k)


def tabulate_pairs(family: SeedFamily, pairs: SeedPairs, seed: int, resamples: int) -> list[dict]:
    """Return the rows of the pairwise measures with intervals over items, seeds and both.

    chance: the mean when the words of each explanation are permuted: 0 for correlations, exact for the Jaccard.
    """
    lengths = [len(example.words) for example in family.examples]
    jaccard = np.mean([chance_jaccard(n, k) for n, k in zip(lengths, family.fifths, strict=True)])
    rows = []
    for metric, values in pairs.values.items():
        generator = generator_for("pairs", seed, family.name, pairs.explainer, pairs.variant, pairs.towards, metric)
        summary = summarise_mean(
            mean_per_item(values), pair_statistic(values), len(family.seeds), generator, resamples, BOUNDS[metric]
        )
        chance = float(jaccard) if metric == "top_k_jaccard" else 0.0
        rows.append({**family.columns, **pairs.columns, "metric": metric, **summary, "chance": chance})
    return rows


def measure_items(found: SeedScores, measure: Measure, seeds: np.ndarray | None = None) -> np.ndarray:
    """Return a measure of the valid explanations of each item, (n_items,); NaN with fewer than two."""
    values = np.full(len(found.scores), np.nan)
    for item, scores in enumerate(found.scores):
        rows = known_rows(scores if seeds is None else scores[seeds])
        if len(rows) > 1:
            values[item] = measure(rows, item)
    return values


def tabulate_spread(family: SeedFamily, found: SeedScores, varies: bool, seed: int, resamples: int) -> list[dict]:
    """Return the rows of half-half correlations, signal, noise, their ratio and MCWME, with the same intervals.

    Scores are scaled to a largest absolute value of 1 for signal and noise (Bogaert et al. 2026), so that explainers
    can be compared; signal is corrected, and snr_corrected is the mean signal over the mean noise. The concatenated
    halves have no interval over seeds: pairwise Pearson, which estimates nearly the same, has one. chance: 0, since
    permuted words correlate with nothing and have no common signal.
    """
    identity = {**family.columns, **found.columns, "towards": found.towards, "varies": varies}
    n_seeds, k = len(family.seeds), family.fifths

    def halves(form: str) -> Measure:
        def measure(rows: np.ndarray, item: int) -> float:
            generator = generator_for("halves", seed, family.examples[item].example_id)
            return half_correlation(rows, generator, SPLITS, form)

        return measure

    def generator(metric: str) -> np.random.Generator:
        return generator_for("spread", seed, family.name, found.explainer, found.variant, metric)

    measures: dict[str, tuple[Measure, tuple[float, float]]] = {
        "half_correlation": (halves("means"), (-1, 1)),
        "half_correlation_concatenated": (halves("concatenated"), (-1, 1)),
        "correlation_with_mean": (lambda rows, item: correlation_with_mean(rows, k[item]), (-1, 1)),
    }
    rows = []
    for metric, (measure, bounds) in measures.items():
        statistic = None
        if metric != "half_correlation_concatenated":
            statistic = _mean_of(found, measure)
        values = measure_items(found, measure)
        summary = summarise_mean(values, statistic, n_seeds, generator(metric), resamples, bounds)
        rows.append({**identity, "metric": metric, **summary, "chance": 0.0})

    @cache  # the jackknife asks for the same seeds for signal, noise and their ratio
    def parts(seeds: tuple[int, ...]) -> np.ndarray:
        return signal_columns(found, np.array(seeds))

    everything = parts(tuple(range(n_seeds)))
    for column, metric in enumerate(("signal_corrected", "noise")):
        summary = summarise_mean(
            everything[:, column],
            lambda seeds, column=column: float(mean_defined(parts(tuple(seeds.tolist()))[:, column])),
            n_seeds,
            generator(metric),
            resamples,
            (0, np.inf) if metric == "noise" else (-np.inf, np.inf),
        )
        chance = 0.0 if metric == "signal_corrected" else np.nan
        rows.append({**identity, "metric": metric, **summary, "chance": chance})
    summary = summarise_ratio(
        everything,
        lambda seeds: signal_to_noise(parts(tuple(seeds.tolist()))),
        n_seeds,
        generator("snr_corrected"),
        resamples,
    )
    if np.isnan(summary["estimate"]):
        summary["note"] = "The scores do not move, so that there is no noise to compare with."
    rows.append({**identity, "metric": "snr_corrected", **summary, "chance": 0.0})
    return rows


def _mean_of(found: SeedScores, measure: Measure) -> Callable[[np.ndarray], float]:
    return lambda seeds: float(mean_defined(measure_items(found, measure, seeds)))


def signal_columns(found: SeedScores, seeds: np.ndarray | None = None) -> np.ndarray:
    """Return the corrected signal and the noise of scaled scores per item, (n_items, 2); NaN below two valid seeds."""
    columns = np.full((len(found.scores), 2), np.nan)
    for item, scores in enumerate(found.scores):
        rows = known_rows(scores if seeds is None else scores[seeds])
        if len(rows) > 1 and rows.shape[1] > 1:
            values = signal_and_noise(scale_rows(rows))
            columns[item] = values["signal_corrected"], values["noise"]
    return columns


def signal_to_noise(columns: np.ndarray) -> float:
    """Return the mean signal over the mean noise of (n_items, 2); NaN without noise."""
    return float(ratio_of(mean_defined(columns.T)))


def tabulate_strata(family: SeedFamily, pairs: SeedPairs, seed: int, resamples: int) -> list[dict]:
    """Return the pairwise measures of items on whose label all seeds agree, of the others, and the difference.

    The difference (divided minus unanimous) compares different items: Welch's interval. Columns as in
    `tabulate_pairs`, with `items` in place of chance.
    """
    rows = []
    parts = {"unanimous": ~family.divided, "divided": family.divided}
    for metric, values in pairs.values.items():
        means = {}
        for name, chosen in parts.items():
            generator = generator_for("strata", seed, family.name, *pairs.columns.values(), metric, name)
            part = values[chosen]
            means[name] = mean_per_item(part)
            if len(part):
                statistic = pair_statistic(part)
                summary = summarise_mean(
                    means[name], statistic, len(family.seeds), generator, resamples, BOUNDS[metric]
                )
                rows.append({**family.columns, **pairs.columns, "metric": metric, "items": name, **summary})
        summary = difference_of_groups(means["divided"], means["unanimous"])
        rows.append({**family.columns, **pairs.columns, "metric": metric, "items": "divided minus unanimous",
                     "n_seeds": len(family.seeds), **summary})  # fmt: skip
    return rows


def difference_of_groups(first: np.ndarray, second: np.ndarray) -> dict:
    """Return the difference of two means over different items with Welch's interval; NaN values are left out.

    Columns: estimate, low, high, n (of the smaller group), note. No interval below two items in a group.
    """
    sides = [values[~np.isnan(values)] for values in (first, second)]
    smaller = min(len(side) for side in sides)
    if smaller == 0:
        return {"estimate": np.nan, "low": np.nan, "high": np.nan, "n": 0, "note": "One of the groups has no item."}
    estimate = float(sides[0].mean() - sides[1].mean())
    if smaller == 1:
        note = "A group of one item gives no interval."
        return {"estimate": estimate, "low": np.nan, "high": np.nan, "n": 1, "note": note}
    half = half_width([s.std(ddof=1) / np.sqrt(len(s)) for s in sides], [len(s) - 1 for s in sides])
    return {"estimate": estimate, "low": estimate - half, "high": estimate + half, "n": smaller, "note": ""}


def tabulate_labels(family: SeedFamily, seed: int, resamples: int) -> list[dict]:
    """Return how often seeds predict different labels.

    share_differing: share of items that not all seeds label alike (Wilson's interval over items; it grows with the
    number of seeds). pair_disagreement: how often two seeds differ on an item, which does not; over items and seeds.
    minority_share: mean share of the seeds that do not give an item's most frequent label.
    """
    rows, n_seeds = [], len(family.seeds)
    shares = minority_shares(family.predicted)
    differing = share_interval(np.where(np.isnan(shares), np.nan, shares > 0))
    rows.append({**family.columns, "metric": "share_differing", "estimate": differing.estimate, "low": differing.low,
                 "high": differing.high, "n": differing.n, "n_undefined": differing.n_undefined,
                 "n_seeds": n_seeds})  # fmt: skip
    known = family.predicted != None  # noqa: E711  elementwise
    differ = (family.predicted[:, None] != family.predicted[None]).astype(float)
    differ[~(known[:, None] & known[None])] = np.nan
    differ[np.eye(n_seeds, dtype=bool)] = np.nan
    pairs = differ.transpose(2, 0, 1)
    generator = generator_for("labels", seed, family.name)
    summary = summarise_mean(mean_per_item(pairs), pair_statistic(pairs), n_seeds, generator, resamples, (0, 1))
    rows.append({**family.columns, "metric": "pair_disagreement", **summary})
    summary = summarise_mean(shares, None, n_seeds, generator, resamples, (0, 1))
    rows.append({**family.columns, "metric": "minority_share", **summary})
    return rows


def curve_sizes(lengths: list[int], sizes: tuple[int, ...] = CURVE_SIZES) -> list[int]:
    """Return the sizes k of a curve: those below the length of at least nine items in ten, and at least 1."""
    longest = float(np.quantile(lengths, 0.1))
    return [k for k in sizes if k < longest] or [1]


def tabulate_curve(family: SeedFamily, found: SeedScores, seed: int, resamples: int) -> list[dict]:
    """Return the correlation with the mean explanation (MCWME) of all seeds against k, with the usual intervals.

    All points are over the same texts: those longer than the largest k. It rises with the number of seeds; to compare
    with readers see `seed_humans.tabulate_curves`. chance: 0.
    """
    lengths = [len(example.words) for example in family.examples]
    sizes = curve_sizes(lengths)
    used = SeedScores(
        found.explainer,
        found.variant,
        tuple(scores for scores, length in zip(found.scores, lengths, strict=True) if length > sizes[-1]),
    )
    rows = []
    for k in sizes:

        def measure(scores: np.ndarray, item: int, k: int = k) -> float:
            return correlation_with_mean(scores, k)

        generator = generator_for("curve", seed, family.name, found.explainer, found.variant, k)
        summary = summarise_mean(
            measure_items(used, measure), _mean_of(used, measure), len(family.seeds), generator, resamples, (-1, 1)
        )
        rows.append({**family.columns, **found.columns, "k": k, **summary, "chance": 0.0})
    return rows


def plan_widths(n_seeds: int) -> list[int]:
    """Return the numbers of seeds at which the interval is measured: from 3 up to all."""
    return [size for size in SUBSAMPLE_SIZES if size < n_seeds] + ([n_seeds] if n_seeds >= 3 else [])


def tabulate_widths(
    family: SeedFamily, pairs: SeedPairs, seed: int, wanted: float, metrics: tuple[str, ...] = ("pearson", "spearman")
) -> list[dict]:
    """Return half the width of the interval over seeds against the number of seeds, for the mean over these items.

    Columns: n_seeds, estimate, deviation, half_width, n_undefined (`width_by_seeds`), wanted, and seeds_needed: the
    seeds at which half the interval would be `wanted`, from the width with all seeds (NaN below three seeds).
    """
    rows, sizes = [], plan_widths(len(family.seeds))
    if pairs.towards != PREDICTED or not pairs.varies or not sizes:
        return []
    for metric in metrics:
        statistic = pair_statistic(pairs.values[metric])
        table = width_by_seeds(
            np.arange(len(family.seeds), dtype=float)[:, None],
            lambda numbers, statistic=statistic: statistic(numbers[:, 0].astype(int)),
            sizes,
            generator_for("widths", seed, family.name, pairs.explainer, pairs.variant, metric),
            SUBSAMPLES,
        )
        half = float(table["half_width"].iloc[-1])
        needed = seeds_needed(len(family.seeds), half, wanted) if half > 0 else np.nan
        identity = {**family.columns, "explainer": pairs.explainer, "variant": pairs.variant, "metric": metric}
        rows += [{**identity, **row, "wanted": wanted, "seeds_needed": needed} for row in table.to_dict("records")]
    return rows

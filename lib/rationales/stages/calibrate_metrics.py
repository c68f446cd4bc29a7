"""Stage 8: which metrics can be trusted, measured where the true reasons are known.

On planted corpora the words that a subject really uses are found by intervention (`causal_recovery` of each
explanation). A metric that works orders explanations as their causal recovery does, prefers each of them to random
words where it is truly better, does not call random words better than chance, and is not moved by ties. Each property
is a number with an interval over items and seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from rationales.ledger.load import load_ledger
from rationales.ledger.panel import is_member, last_epochs, mean_of_defined
from rationales.metrics.faithfulness import MEASURES
from rationales.randomness import generator_for
from rationales.replicates import without_replicates
from rationales.stages.specification_choices import LENGTHS
from rationales.statistics.bootstrap import FEW_ITEMS, draw_counts
from rationales.statistics.comparisons import permutation_test
from rationales.statistics.crossed import draw_seed_weights, resample_crossed_means
from rationales.study import HUMAN, Study
from rationales.tables import write_part

PLAUSIBILITY = ("f1", "iou", "kappa", "average_precision", "average_precision_blocks", "auprc_trapezoid", "auroc",
                "rank_biased_overlap", "spearman")  # fmt: skip
FAITHFULNESS = ("comprehensiveness", "sufficiency", "normalised_comprehensiveness", "normalised_sufficiency",
                "comprehensiveness_log_odds", "sufficiency_log_odds", "flip_rate", "aopc_comprehensiveness",
                "aopc_sufficiency", "naopc", "dfmit", "dffrac", "deletion_area", "deletion_area_flip",
                "deletion_rank_correlation")  # fmt: skip
SHOWN_LENGTHS = ("human", "fifth", "whole", "grid", "first word")
ZERO_BY_CHANCE = ("deletion_area", "deletion_area_flip", "deletion_rank_correlation")  # for scores that carry nothing
RECOVERY, SHORTCUT, TIES, RANDOM = "causal_recovery", "shortcut_rank", "tie_rate", "random"
MODEL = ["corpus", "subject", "tuning"]
FEWEST_EXPLAINERS = 5
PROPERTIES = ("correlation", "correlation_real", "within_text", "shortcut", "random_wins", "tie_sensitivity")
COLUMNS = [*MODEL, "kind", "metric", "length", "operator", "n_explainers", "n_models", "n_items", "n_seeds",
           "random_tests", "random_rejected",
           *(name + end for name in PROPERTIES for end in ("", "_low", "_high"))]  # fmt: skip
# The rule of the verdict; its numbers were set before the first calibration and not moved since.
GOOD_CORRELATION, MOST_RANDOM_WINS, ALPHA = 0.5, 0.25, 0.05


@dataclass(frozen=True)
class Measured:
    """Explanations of one model under one metric and under the known answer.

    names: explanations (n,). real: which of them are no floor. values, recovery, shortcut (place of the shortcut from
    the top, as a share), ties: (n, n_items, n_seeds), higher values are better; NaN where undefined.
    counts (B, n_items), seed_weights (B, n_seeds): the resamples.
    """

    names: Sequence[tuple[str, str]]
    real: np.ndarray
    values: np.ndarray
    recovery: np.ndarray
    shortcut: np.ndarray
    ties: np.ndarray
    counts: np.ndarray
    seed_weights: np.ndarray


def resampled_means(measured: Measured, cells: np.ndarray) -> np.ndarray:
    """Means of cells (n, n_items, n_seeds) under the resamples, (B + 1, n); the first row is the sample itself."""
    items = np.vstack([np.ones(cells.shape[1]), measured.counts])
    seeds = np.vstack([np.ones(cells.shape[2]), measured.seed_weights])
    return resample_crossed_means(cells, items, seeds)


def rank_correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of two tables (m, n), over the columns defined in both; NaN where it has none.

    NaN for fewer than three columns, or constant ranks.
    """
    defined = ~np.isnan(first) & ~np.isnan(second)
    sides = []
    for side in (first, second):
        ranks = rankdata(np.where(defined, side, np.nan), axis=1, nan_policy="omit")
        ranks = np.where(defined, ranks, np.nan)
        sides.append(np.where(defined, ranks - mean_of_defined(ranks, axis=1)[:, None], 0.0))
    spread = np.sqrt((sides[0] ** 2).sum(axis=1) * (sides[1] ** 2).sum(axis=1))
    usable = (spread > 1e-12) & (defined.sum(axis=1) >= 3)
    return np.divide((sides[0] * sides[1]).sum(axis=1), spread, out=np.full(len(spread), np.nan), where=usable)


def correlation_of_means(measured: Measured, known: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Spearman's correlation over explanations between mean metric and mean known answer, (B + 1,).

    Only cells in which both are defined count, for each explanation. Resampled means carry the noise of the sample and
    that of the resample, so that the interval leans towards 0: to the cautious side.
    """
    values, known = measured.values[chosen], known[chosen]
    both = ~np.isnan(values) & ~np.isnan(known)
    means = [resampled_means(measured, np.where(both, cells, np.nan)) for cells in (values, known)]
    return rank_correlations(*means)


def by_text(measured: Measured, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation over explanations within each text and seed, (n_items, n_seeds)."""
    n, items, seeds = first.shape
    return rank_correlations(first.reshape(n, -1).T, second.reshape(n, -1).T).reshape(items, seeds)


def mean_over_texts(measured: Measured, cells: np.ndarray) -> np.ndarray:
    """Mean of cells (n_items, n_seeds) under the resamples, (B + 1,)."""
    return resampled_means(measured, cells[None])[:, 0]


def tie_sensitivity(measured: Measured) -> np.ndarray:
    """Partial rank correlation of metric and tie rate given causal recovery, within a text, averaged, (B + 1,).

    0: explanations that leave their first words to chance are scored as their true quality deserves; above: ties
    are rewarded. Self-explanations are the tied ones, so that what a metric gives to them shows here too.
    """
    with_ties = by_text(measured, measured.values, measured.ties)
    with_truth = by_text(measured, measured.values, measured.recovery)
    both = by_text(measured, measured.ties, measured.recovery)
    room = (1 - with_truth**2) * (1 - both**2)
    usable = room > 1e-9
    partial = np.divide(
        with_ties - with_truth * both,
        np.sqrt(np.where(usable, room, 1.0)),
        out=np.full_like(room, np.nan),
        where=usable,
    )
    return mean_over_texts(measured, partial)


def random_wins(measured: Measured) -> np.ndarray:
    """Share of wrong orders against random words, ties counting half, (B + 1,).

    Over all texts, seeds and real explanations whose causal recovery is above that of the random explanation: how
    often the metric gives the random one the better value. .5 is what a coin does.
    """
    at = [number for number, name in enumerate(measured.names) if name[0] == RANDOM]
    if not at:
        return np.full(len(measured.counts) + 1, np.nan)
    values, recovery = measured.values[measured.real], measured.recovery[measured.real]
    better = recovery > measured.recovery[at[0]] + 1e-9
    lead = values - measured.values[at[0]]
    wrong = np.where(better & ~np.isnan(lead), (1 - np.sign(lead)) / 2, np.nan)
    # A text counts as often as it has such pairs: its mean weighs by their number.
    pairs = (~np.isnan(wrong)).sum(axis=0).astype(float)
    total = resampled_means(measured, np.nansum(wrong, axis=0)[None])[:, 0]
    weight = resampled_means(measured, pairs[None])[:, 0]
    share = np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)
    return np.clip(share, 0, 1)  # weights of few seeds reach beyond


def properties_of(measured: Measured) -> dict[str, np.ndarray]:
    """Every property of `PROPERTIES`, (B + 1,) each, the first value being the estimate."""
    everyone = np.ones(len(measured.names), dtype=bool)
    return {
        "correlation": correlation_of_means(measured, measured.recovery, everyone),
        "correlation_real": correlation_of_means(measured, measured.recovery, measured.real),
        "within_text": mean_over_texts(measured, by_text(measured, measured.values, measured.recovery)),
        "shortcut": correlation_of_means(measured, -measured.shortcut, measured.real),
        "random_wins": random_wins(measured),
        "tie_sensitivity": tie_sensitivity(measured),
    }


def random_test(rows: pd.DataFrame, metric: str, generator: np.random.Generator) -> float:
    """p of the sign-flip test that the random explanation is at its chance level; NaN where no chance level is known.

    rows: those of the random explanation. Chance: the column `chance` (plausibility, closed form), or 0 for measures
    that a meaningless order leaves at 0. Removing random words does cost some probability, so that no level is known
    for other erasure measures. Seeds of one item are averaged; a correct metric is rejected in 5 % of studies.
    """
    chance = rows["chance"] if metric in PLAUSIBILITY else 0.0 if metric in ZERO_BY_CHANCE else np.nan
    excess = rows.assign(value=rows["value"] - chance).groupby("example_id")["value"].mean().dropna().to_numpy()
    if len(excess) < 2:
        return float("nan")
    return permutation_test(excess, np.zeros(len(excess)), generator).p


def prepare_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of the metrics to calibrate and of the known answers, of explanations that do not know either.

    Left out: the human rationale and the greedy oracle, which some metrics score perfectly by construction; replicates.
    """
    wanted = (*PLAUSIBILITY, *FAITHFULNESS, RECOVERY, SHORTCUT, TIES)
    rows = metrics[metrics["metric"].isin(wanted) & (metrics["subject"] != HUMAN)]
    rows = without_replicates(rows)
    rows = last_epochs(rows[~rows["explainer"].isin(["human", "greedy", "annotator"])])
    rows = rows.assign(length=rows["k"].map(LENGTHS))
    return rows[rows["length"].isin(SHOWN_LENGTHS)]


def cells_of(rows: pd.DataFrame, names: Sequence[tuple[str, str]], items: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Values (n_names, n_items, n_seeds) of rows of one metric, NaN where there is none."""
    cells = np.full((len(names), len(items), len(seeds)), np.nan)
    index = pd.MultiIndex.from_tuples(names).get_indexer(pd.MultiIndex.from_frame(rows[["explainer", "variant"]]))
    found = index >= 0
    places = np.searchsorted(items, rows["example_id"].to_numpy()), np.searchsorted(seeds, rows["seed"].to_numpy())
    cells[index[found], places[0][found], places[1][found]] = rows["value"].to_numpy(dtype=float)[found]
    return cells


def calibrate_model(study: Study, model: tuple[str, str, str], rows: pd.DataFrame) -> list[dict]:
    """One entry per metric of a model: identity, counts, random_p, and `properties` with their resamples."""
    groups = load_ledger().groups
    items, seeds = np.unique(rows["example_id"]), np.unique(rows["seed"])
    known = {metric: rows[rows["metric"] == metric] for metric in (RECOVERY, SHORTCUT)}
    names = list(dict.fromkeys(zip(known[RECOVERY]["explainer"], known[RECOVERY]["variant"], strict=True)))
    if len(names) < FEWEST_EXPLAINERS:
        return []
    real = np.array([not is_member(groups, ["floors"], name) for name, _ in names])
    ties = rows[(rows["metric"] == TIES) & (rows["length"] == "fifth")]
    fixed = [cells_of(part, names, items, seeds) for part in (known[RECOVERY], known[SHORTCUT], ties)]
    draws = generator_for("calibration", study.seed, model[0], len(items))
    resamples = study.statistics["resamples"]
    counts = np.concatenate(list(draw_counts(len(items), resamples, draws)))
    seed_weights = draw_seed_weights(len(seeds), resamples, draws)
    entries = []
    scored = rows[~rows["metric"].isin([RECOVERY, SHORTCUT, TIES])]
    for (metric, length, operator), part in scored.groupby(["metric", "length", "operator"], sort=False):
        sign = -1.0 if metric in MEASURES and MEASURES[metric].better == "lower" else 1.0
        values = sign * cells_of(part, names, items, seeds)
        if np.isnan(values).all():
            continue
        measured = Measured(names, real, values, *fixed, counts, seed_weights)
        both = ~np.isnan(values) & ~np.isnan(fixed[0])
        generator = generator_for("calibration test", study.seed, *model, metric, length, operator)
        entries.append(
            {
                **dict(zip(MODEL, model, strict=True)),
                "kind": "plausibility" if metric in PLAUSIBILITY else "faithfulness",
                "metric": metric,
                "length": length,
                "operator": operator,
                "random_p": random_test(part[part["explainer"] == RANDOM], metric, generator),
                "n_explainers": len(names),
                "n_items": int(both.any(axis=(0, 2)).sum()),
                "n_seeds": int(both.any(axis=(0, 1)).sum()),
                "properties": properties_of(measured),
            }
        )
    return entries


def calibrate_metrics(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per metric and model, and one per metric for all models together; written to `calibration`.

    Columns: corpus, subject, tuning ("all" for the rows of all models), kind, metric, length, operator, n_models,
    n_explainers, n_items (texts with a known answer), n_seeds, and with `_low` and `_high` each:

    - correlation: Spearman over explanations, floors included, of mean metric with mean causal recovery;
    - correlation_real: the same without floors, which any metric should tell apart;
    - within_text: the same within single texts, averaged;
    - shortcut: Spearman over real explanations of mean metric with minus the place of the planted shortcut, on texts
      that hold it; below 0 the metric punishes showing it;
    - random_wins: see `random_wins`; tie_sensitivity: see `tie_sensitivity`;

    random_tests, random_rejected: tests of random words against chance, and how many were rejected at 5 %. verdict
    and sentence: `judge_metric`. Values are turned so that higher is better. Models with fewer than ten texts whose
    answer is known do not enter the rows of all models. Without a corpus whose answer is known, and with fewer than
    five explanations per model, the table is empty.
    """
    rows = prepare_rows(metrics)
    planted = rows[rows["metric"] == RECOVERY].dropna(subset="value")[MODEL].drop_duplicates()
    entries: list[dict] = []
    for model in planted.itertuples(index=False, name=None):
        part = rows[(rows[MODEL] == pd.Series(model, index=MODEL)).all(axis=1)]
        entries += calibrate_model(study, model, part)
    summaries = [summarise_entry([entry]) for entry in entries] + pool_entries(entries)
    table = pd.DataFrame(summaries, columns=COLUMNS)
    judged = [judge_metric(row) for row in table.to_dict("records")]
    table = table.assign(verdict=[verdict for verdict, _ in judged], sentence=[text for _, text in judged])
    table = table.assign(**study.stamp(study.statistics))
    write_part(table, study.part("calibration", "metrics"))
    return table


def pool_entries(entries: Sequence[Mapping]) -> list[dict]:
    """The rows of all models: each metric averaged over the models that have enough texts with a known answer."""
    groups: dict[tuple, list[Mapping]] = {}
    for entry in entries:
        if entry["n_items"] >= FEW_ITEMS:
            groups.setdefault((entry["metric"], entry["length"], entry["operator"]), []).append(entry)
    return [{**summarise_entry(group), **dict.fromkeys(MODEL, "all")} for group in groups.values()]


def summarise_entry(group: Sequence[Mapping], level: float = 0.95) -> dict:
    """One row from entries of one metric: mean over models of each property, with its interval."""
    first = group[0]
    row = {key: first[key] for key in (*MODEL, "kind", "metric", "length", "operator", "n_explainers")}
    tested = [entry["random_p"] for entry in group if not np.isnan(entry["random_p"])]
    row |= {
        "n_models": len(group),
        "n_items": max(entry["n_items"] for entry in group),
        "n_seeds": sum(entry["n_seeds"] for entry in group),
        "random_tests": len(tested),
        "random_rejected": sum(p < ALPHA for p in tested),
    }
    for name in PROPERTIES:
        drawn = mean_of_defined(np.stack([entry["properties"][name] for entry in group]), axis=0)
        row[name] = float(drawn[0])
        resampled = drawn[1:][~np.isnan(drawn[1:])]
        bounds = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]) if len(resampled) else (np.nan, np.nan)
        row[f"{name}_low"], row[f"{name}_high"] = (float(bound) for bound in np.clip(bounds, -1, 1))
    return row


def judge_metric(row: Mapping) -> tuple[str, str]:
    """Return the verdict on a metric, "trust", "with care" or "do not trust", and why in one sentence.

    trust: its correlation with causal recovery over real explanations is at least .5 (lower bound), it prefers random
    words to truly better ones in at most a quarter of the cases (upper bound), no test calls random words different
    from chance, and it does not punish showing the shortcut (upper bound of `shortcut` above 0). do not trust: that
    correlation is below .5 (upper bound), or random words win at least half of the time (lower bound). with care:
    everything else, and any metric measured on fewer than ten texts.
    """
    if np.isnan(row["correlation_real"]) or row["n_items"] < FEW_ITEMS:
        return "with care", f"Too few texts with a known answer to calibrate it ({row['n_items']})."
    if row["correlation_real_high"] < GOOD_CORRELATION:
        shown = f"{row['correlation_real']:.2f} [{row['correlation_real_low']:.2f}, {row['correlation_real_high']:.2f}]"
        return "do not trust", f"It does not order explanations as their causal recovery does: {shown}."
    if row["random_wins_low"] >= 0.5:
        return "do not trust", f"It prefers random words to better ones in {row['random_wins']:.2f} of the cases."
    doubts = []
    if not row["correlation_real_low"] >= GOOD_CORRELATION:
        doubts.append(f"its correlation with causal recovery may be as low as {row['correlation_real_low']:.2f}")
    if not row["random_wins_high"] <= MOST_RANDOM_WINS:
        doubts.append(f"random words win up to {row['random_wins_high']:.2f} of the comparisons that they should lose")
    if row["random_rejected"]:
        doubts.append(
            f"{row['random_rejected']} of {row['random_tests']} tests call random words different from chance"
        )
    if row["shortcut_high"] < 0:
        doubts.append("it punishes explanations that show the shortcut")
    if doubts:
        return "with care", f"{'; '.join(doubts).capitalize()}."
    return "trust", "It orders explanations as their causal recovery does and sees through random words."

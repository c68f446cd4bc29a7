"""What the curves over epochs say: means, trends with accuracy, and gaps, from the table `epochs` alone."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from rationales.errors import StudyError, require_known
from rationales.randomness import generator_for
from rationales.stages.contrast import FLOORS, MODEL, paired_contrast
from rationales.statistics.bootstrap import Interval, statistic_interval
from rationales.statistics.families import adjust_families
from rationales.statistics.summary import summarise
from rationales.study import Study

NOBODY = "none"  # the explainer of rows that are about the answers
ALL_ITEMS = "(all)"  # the example of rows that are about all items together
SELF = "self"
OPERATOR = "delete"
# (metric, k, operator) of every explanation at every epoch
MEASURES = (
    ("f1", "human", "none"),
    ("average_precision", "all", "none"),
    ("comprehensiveness", "human", OPERATOR),
    ("normalised_comprehensiveness", "human", OPERATOR),
    ("flip_rate", "human", OPERATOR),
)
EXPLANATION = ["explainer", "variant"]
CHANGE = ("estimate", "ci_low", "ci_high", "p", "effect_dz", "n_items", "n_seeds")  # taken from `paired_contrast`


def summarise_epochs(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of every measure at every epoch, over items, and over seeds where there are several.

    Columns: corpus, subject, tuning, explainer, variant, metric, k, operator, epoch, and those of `summarise`; n_undefined
    counts explanations without a value. Measures of a whole model (its share of the commonest label, ...) have no interval.
    """
    by = [*MODEL, *EXPLANATION, "metric", "k", "operator", "epoch"]
    summary = summarise(table, by, resamples=study.statistics["resamples"], seed=study.seed)
    whole = summary["metric"].isin(table.loc[table["example_id"] == ALL_ITEMS, "metric"].unique())
    summary.loc[whole, ["low", "high"]] = np.nan
    summary.loc[whole, "note"] = "One value per model, so there is no interval over items."
    return summary


def values_by_epoch(table: pd.DataFrame, metric: str) -> dict[int, pd.DataFrame]:
    """Values (items x epochs) of one metric of one model and explainer, per seed."""
    rows = table[table["metric"] == metric]
    return {
        int(seed): part.pivot(index="example_id", columns="epoch", values="value").sort_index(axis=1)
        for seed, part in rows.groupby("seed", sort=True)
    }


def correlation_of_ranks(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation along the last axis, (...); NaN where a side is constant or holds NaN."""
    ranks = [rankdata(side, axis=-1) for side in (first, second)]
    ranks = [side - side.mean(-1, keepdims=True) for side in ranks]
    scale = np.sqrt((ranks[0] ** 2).sum(-1) * (ranks[1] ** 2).sum(-1))
    undefined = np.full(scale.shape, np.nan)
    return np.divide((ranks[0] * ranks[1]).sum(-1), scale, out=undefined, where=scale > 0)


def trend_interval(
    accuracy: dict[int, pd.DataFrame], values: dict[int, pd.DataFrame], generator: np.random.Generator, resamples: int
) -> Interval:
    """Spearman's correlation, over epochs, of mean accuracy with the mean of a measure; interval by item.

    accuracy, values: (items x epochs) per seed. The correlation is taken per seed and averaged over the seeds in which it
    is defined (neither curve flat); the bootstrap draws items and holds the seeds. An item's undefined values are left out.
    """
    items = sorted(set().union(*(matrix.index for matrix in values.values())))
    columns, widths = [], []
    for seed, matrix in values.items():
        right, value = (part.reindex(items)[matrix.columns].to_numpy(float) for part in (accuracy[seed], matrix))
        columns += [right, np.nan_to_num(value), (~np.isnan(value)).astype(float)]
        widths.append(matrix.shape[1])

    def mean_correlation(sums: np.ndarray) -> np.ndarray:
        found, start = [], 0
        for width in widths:
            right, value, count = (sums[..., start + n * width : start + (n + 1) * width] for n in range(3))
            mean = np.divide(value, count, out=np.full(value.shape, np.nan), where=count > 0)
            found.append(correlation_of_ranks(right, mean))
            start += 3 * width
        found = np.stack(found, -1)
        defined = ~np.isnan(found)
        total = defined.sum(-1)
        return np.divide(
            np.where(defined, found, 0).sum(-1), total, out=np.full(total.shape, np.nan), where=total > 0
        )  # fmt: skip

    return statistic_interval(np.hstack(columns), mean_correlation, generator, resamples, method="percentile")


def ends_of(matrices: dict[int, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(items x seeds) at each seed's last epoch, and at its first."""
    last, first = (
        pd.DataFrame({seed: matrix.iloc[:, place] for seed, matrix in matrices.items()}).rename_axis(columns="seed")
        for place in (-1, 0)
    )
    return last.rename_axis("example_id"), first.rename_axis("example_id")


def trend_of(study: Study, table: pd.DataFrame, metric: str = "f1") -> pd.DataFrame:
    """Whether a measure of each explainer rises as fine-tuning raises accuracy (P1's claims 3 and 4).

    Columns: corpus, subject, tuning, explainer, variant, metric; first, last (means at epoch 0 and at the last epoch);
    estimate, ci_low, ci_high, p, effect_dz, n_items, n_seeds: of last - first, paired by item (see `paired_contrast`);
    p_adjusted over the explainers of the model, or over its floors (Holm); accuracy_change, with accuracy_low and
    accuracy_high; spearman, spearman_low, spearman_high: see `trend_interval`; never_falls: share of seeds in which no
    epoch's mean is below that of the epoch before ("monotonically"); n_epochs (of the longest training); note.
    StudyError for a metric that is not traced.
    """
    require_known(metric, [name for name, _, _ in MEASURES], "metric of the epochs")
    settings, rows = study.statistics, []
    for model, part in table.groupby(MODEL, sort=False):
        accuracy = values_by_epoch(part[part["explainer"] == NOBODY], "accuracy")
        gain = paired_contrast(*ends_of(accuracy), ("accuracy", *model), settings, study.seed)
        explained = part[part["explainer"] != NOBODY]
        for name, own in explained.groupby(EXPLANATION, sort=False):
            values = values_by_epoch(own, metric)
            if not values:
                continue
            last, first = ends_of(values)
            means = [matrix.mean().to_numpy() for matrix in values.values()]
            generator = generator_for("trend", study.seed, *model, *name, metric)
            kind = "floors" if name[0] in FLOORS else "explainers"  # floors are no hypotheses
            trend = trend_interval(accuracy, values, generator, settings["resamples"])
            change = paired_contrast(last, first, ("trend", *model, *name, metric), settings, study.seed)
            rows.append(
                {
                    **dict(zip([*MODEL, *EXPLANATION], [*model, *name], strict=True)),
                    "metric": metric,
                    "family": f"last against first epoch, {kind}, {metric}, {'/'.join(model)}",
                    "first": float(first.mean().mean()),
                    "last": float(last.mean().mean()),
                    **{key: change[key] for key in CHANGE},
                    "accuracy_change": gain["estimate"],
                    "accuracy_low": gain["ci_low"],
                    "accuracy_high": gain["ci_high"],
                    "spearman": trend.estimate,
                    "spearman_low": trend.low,
                    "spearman_high": trend.high,
                    "never_falls": float(np.mean([np.all(np.diff(curve) >= 0) for curve in means])),
                    "n_epochs": max(map(len, means)),
                    "note": " ".join(filter(None, [change["note"], trend.note])),
                }
            )
    return adjust_families(pd.DataFrame(rows))


def gap_by_epoch(study: Study, table: pd.DataFrame, metric: str = "flip_rate") -> pd.DataFrame:
    """Each attribution minus the self-explanation at each epoch, beside accuracy and collapse (P1's claims 1, 4).

    The self-explanation is that of the first paradigm under `epochs`. Columns: corpus, subject, tuning, explainer, variant,
    metric, epoch, accuracy (mean over items and seeds), collapsed (share of seeds), estimate, ci_low, ci_high, p, effect_dz,
    n_items, n_seeds, note; p_adjusted over the epochs and explainers of the model (Holm).
    StudyError without a paradigm under `epochs`, or for a metric that is not traced.
    """
    require_known(metric, [name for name, _, _ in MEASURES], "metric of the epochs")
    if not study.epochs["paradigms"]:
        raise StudyError("This study traces no self-explanation; name a paradigm under `epochs: paradigms`.")
    rows = []
    for (*model, epoch), part in table.groupby([*MODEL, "epoch"], sort=False):
        values = part[part["metric"] == metric]
        told = values[(values["explainer"] == SELF) & (values["variant"] == study.epochs["paradigms"][0])]
        rivals = values[~values["explainer"].isin([*FLOORS, SELF])]
        if told.empty:
            continue
        answers = part[part["explainer"] == NOBODY].groupby("metric")["value"].mean()
        other = told.pivot(index="example_id", columns="seed", values="value")
        for name, own in rivals.groupby(EXPLANATION, sort=False):
            first = own.pivot(index="example_id", columns="seed", values="value")
            key = ("gap", *model, epoch, *name, metric)
            gap = paired_contrast(first, other, key, study.statistics, study.seed)
            rows.append(
                {
                    **dict(zip([*MODEL, *EXPLANATION], [*model, *name], strict=True)),
                    "metric": metric,
                    "epoch": epoch,
                    "family": f"attributions against self by epoch, {metric}, {'/'.join(model)}",
                    "accuracy": answers["accuracy"],
                    "collapsed": answers["collapsed"],
                    **{key: gap[key] for key in (*CHANGE, "note")},
                }
            )
    if not rows:
        raise StudyError("No traced subject writes self-explanations; trace a causal LM to compare it with itself.")
    return adjust_families(pd.DataFrame(rows))


def flips_by_collapse(table: pd.DataFrame) -> pd.DataFrame:
    """How often any explanation flips the answer, beside whether the model has collapsed onto a label (P1's claim 5).

    One row per run and epoch: corpus, subject, tuning, seed, epoch, accuracy, commonest_label, label_entropy, collapsed,
    flip_lowest and flip_highest (mean flip rates of the explainers that flip least and most, floors left out).
    """
    rows = []
    for key, part in table.groupby([*MODEL, "seed", "epoch"], sort=False):
        answers = part[part["explainer"] == NOBODY].groupby("metric")["value"].mean()
        flips = part[(part["metric"] == "flip_rate") & ~part["explainer"].isin(FLOORS)]
        rates = flips.groupby(EXPLANATION)["value"].mean()
        facts = {name: answers[name] for name in ("accuracy", "commonest_label", "label_entropy")}
        extremes = {"collapsed": bool(answers["collapsed"]), "flip_lowest": rates.min(), "flip_highest": rates.max()}
        rows.append({**dict(zip([*MODEL, "seed", "epoch"], key, strict=True)), **facts, **extremes})
    return pd.DataFrame(rows)

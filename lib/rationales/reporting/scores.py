"""Scores with floors, ceilings and intervals."""

import numpy as np
import pandas as pd

from rationales.replicates import without_replicates
from rationales.stages.score_plausibility import HUMAN
from rationales.statistics.summary import summarise
from rationales.study import Run, Study
from rationales.tables import NO_LABEL

PLAUSIBILITY = (("f1", "human", "none"), ("average_precision", "all", "none"), ("kappa", "human", "none"))
FAITHFULNESS = (
    ("normalised_comprehensiveness", "human", "delete"),
    ("normalised_sufficiency", "human", "delete"),
    ("flip_rate", "human", "delete"),
    ("aopc_comprehensiveness", "fractions", "delete"),
)
RECOVERY = (("causal_recovery", "all", "swap"), ("shortcut_rank", "all", "swap"))


def display_name(explainer: str, variant: str) -> str:
    """One name per explanation: the paradigm of a self-explanation, else the explainer with its variant."""
    if explainer == "self":
        return variant
    return explainer if variant == "default" else f"{explainer}/{variant}"


def rows_of(metrics: pd.DataFrame, run: Run | dict, measures: tuple) -> pd.DataFrame:
    """Rows of some measures for one model (all seeds), with the column `name`; replicates are left out."""
    model = run if isinstance(run, dict) else {"corpus": run.corpus, "subject": run.subject, "tuning": run.tuning}
    chosen = metrics[(metrics[list(model)] == pd.Series(model)).all(axis=1)]
    keys = pd.MultiIndex.from_frame(chosen[["metric", "k", "operator"]])
    chosen = without_replicates(chosen[keys.isin(list(measures))])
    names = [display_name(e, v) for e, v in zip(chosen["explainer"], chosen["variant"], strict=True)]
    return chosen.assign(name=names)


def summary_of(study: Study, metrics: pd.DataFrame, model: dict, measures: tuple) -> pd.DataFrame:
    """Estimate, interval, floor and ceiling of each explanation and measure for one model.

    The floor is the closed-form chance level where there is one, else the random explainer; the ceiling is
    annotator against annotators for plausibility, the greedy oracle for erasure measures.
    """
    rows = rows_of(metrics, model, measures)
    resamples = study.statistics["resamples"]
    summary = summarise(rows, ["name", "metric", "k", "operator"], resamples, study.seed).rename(
        columns={"name": "explainer"}
    )
    if summary.empty:
        return summary
    summary["floor"] = summary["chance"]
    for metric, _, operator in measures:
        here = summary["metric"] == metric
        if operator in ("delete", "mask"):
            summary.loc[here, "floor"] = estimate_of(summary, "random", metric)
            summary.loc[here, "ceiling"] = estimate_of(summary, "greedy", metric)
        elif operator == "none":
            people = {"corpus": model["corpus"], "subject": HUMAN}
            ceiling = rows_of(metrics, people, ((metric, "own", "none"),))
            if len(ceiling):
                found = summarise(ceiling, ["explainer"], resamples, study.seed).iloc[0]
                summary.loc[here, ["ceiling", "ceiling_low", "ceiling_high"]] = found[
                    ["estimate", "low", "high"]
                ].to_numpy(float)
    return summary


def summaries_of(study: Study, metrics: pd.DataFrame, measures: tuple) -> dict[str, pd.DataFrame]:
    """The summary of each model of the study that has rows of some of the measures, by "corpus / subject / tuning".

    A recording without human rationales has no plausibility, and one without erasures no faithfulness.
    """
    found = {" / ".join(model.values()): summary_of(study, metrics, model, measures) for model in models_of(study)}
    return {name: summary for name, summary in found.items() if len(summary)}


def measured(summary: pd.DataFrame, *metrics: str) -> list[str]:
    """Those of some metrics that a summary holds, in the order given."""
    return [metric for metric in metrics if (summary["metric"] == metric).any()]


def estimate_of(summary: pd.DataFrame, explainer: str, metric: str) -> float:
    """The estimate of one explainer and metric, NaN where it was not run."""
    found = summary[(summary["explainer"] == explainer) & (summary["metric"] == metric)]["estimate"]
    return float(found.iloc[0]) if len(found) else np.nan


def models_of(study: Study) -> list[dict]:
    """Each (corpus, subject, tuning) of the study once, in the order of its runs."""
    return [
        dict(zip(("corpus", "subject", "tuning"), model, strict=True))
        for model in dict.fromkeys((run.corpus, run.subject, run.tuning) for run in study.runs)
    ]


def accuracy_table(study: Study, predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with its interval, label entropy (NaN without probabilities) and number of items per model.

    A model from which no label at all could be read has no accuracy: its recording failed, or nothing was understood.
    """
    keys = ["corpus", "subject", "tuning"]
    unread = (predictions["predicted"] == NO_LABEL).groupby([predictions[key] for key in keys]).transform("all")
    rows = predictions.assign(value=predictions["correct"].astype(float).mask(unread))
    table = summarise(rows, keys, study.statistics["resamples"], study.seed)
    predictions = predictions if "entropy" in predictions else predictions.assign(entropy=np.nan)
    extra = predictions.groupby(keys, sort=False).agg(
        mean_entropy=("entropy", "mean"),
        commonest_label=("predicted", lambda p: p.value_counts(normalize=True).iloc[0]),
    )
    return table.drop(columns=["chance", "n_undefined", "note"]).merge(extra.reset_index(), on=keys)


STABILITY = ("spearman", "pearson", "top_k_jaccard", "snr")


def stability_summary(study: Study, stability: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % interval over items of each stability measure, per model and explanation.

    Columns: model, explainer, metric, estimate, low, high, n, n_undefined. The signal-to-noise ratio is summed up by
    its median, because it is infinite for an item whose scores do not move.
    """
    if stability.empty:
        return pd.DataFrame(columns=["model", "explainer", "metric", "estimate", "low", "high", "n", "n_undefined"])
    rows = stability[stability["metric"].isin(STABILITY)]
    rows = rows.assign(
        explainer=[display_name(e, v) for e, v in zip(rows["explainer"], rows["variant"], strict=True)],
        model=rows["corpus"] + " / " + rows["subject"] + " / " + rows["tuning"],
        seed=0,
    )
    summary = summarise(
        rows.replace([np.inf, -np.inf], np.nan),
        ["model", "explainer", "metric"],
        study.statistics["resamples"],
        study.seed,
    )
    medians = rows[rows["metric"] == "snr"].groupby(["model", "explainer"])["value"].median()
    here = summary["metric"] == "snr"
    keys = list(zip(summary.loc[here, "model"], summary.loc[here, "explainer"], strict=True))
    summary.loc[here, "estimate"] = [medians[key] for key in keys]
    summary.loc[here, ["low", "high"]] = np.nan
    return summary.drop(columns=["chance", "note", "n_seeds"])


def shortlist(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """The rows worth one picture: the study's first paradigm for all self-explanations, attributions, floors and human."""
    paradigms = study.self_explanations["paradigms"]
    shown = summary[~summary["explainer"].isin(paradigms[1:])]
    return shown[~shown["explainer"].isin(["first_words", "content_random"])]

"""Sentences computed from the tables, so that no claim in a notebook can outlive its number."""

import numpy as np
import pandas as pd

from rationales.figures.style import explainer_style, metric_style
from rationales.figures.tables import format_interval
from rationales.metrics.faithfulness import MEASURES
from rationales.reporting.scores import accuracy_table
from rationales.study import Study

NOT_RIVALS = ("random", "content_random", "first_words", "greedy", "human", "lexicon")


def label_of(explainer: str) -> str:
    """The display label of an explanation."""
    return explainer_style(explainer)["label"]


def best_sentence(summary: pd.DataFrame, metric: str) -> str:
    """Which explanation of the model scores best on a measure, and where floor and runner-up stand."""
    rows = summary[(summary["metric"] == metric) & ~summary["explainer"].isin(NOT_RIVALS)].dropna(subset=["estimate"])
    if rows.empty:
        return f"No explanation has a defined value of {metric_style(metric)['label']}."
    lower_is_better = metric in MEASURES and MEASURES[metric].better == "lower"
    rows = rows.sort_values("estimate", ascending=lower_is_better, kind="stable")
    best = rows.iloc[0]
    text = (
        f"best on {metric_style(metric)['label']} is **{label_of(best['explainer'])}** with "
        f"{format_interval(best['estimate'], best['low'], best['high'])} ({int(best['n'])} items)"
    )
    if len(rows) > 1:
        other = rows.iloc[1]
        text += f", before {label_of(other['explainer'])} with {format_interval(other['estimate'], other['low'], other['high'])}"
    if "floor" in summary and np.isfinite(best["floor"]):
        text += f"; the floor is {best['floor']:.2f}"
    return text + ". The order of neighbours is tested in notebook 12, not here."


def opening_sentences(study: Study, predictions: pd.DataFrame) -> list[str]:
    """What was studied, in the first lines of the report."""
    embedded = [name for name, spec in study.subjects.items() if spec["embedded"]]
    n_items = predictions.groupby("corpus")["example_id"].nunique()
    corpora = ", ".join(f"{name} ({count} items)" for name, count in n_items.items())
    lines = [f"Study **{study.name}**: {len(study.runs)} models on {corpora}."]
    if len(embedded) == len(study.subjects):
        lines.append(
            "**These numbers are about planted models**: texts are generated, subjects have a million parameters, and the "
            "true reasons are known by construction. They show what the methods can and cannot see, not how large "
            "language models behave; run the same notebooks on a real subject for that."
        )
    table = accuracy_table(study, predictions)
    for row in table.itertuples():
        lines.append(
            f"- {row.corpus} / {row.subject} / {row.tuning}: accuracy {format_interval(row.estimate, row.low, row.high)} "
            f"on {row.n} items{f', {row.n_seeds} seeds' if row.n_seeds > 1 else ''}."
        )
    return lines


def contrast_sentence(study: Study, claims: pd.DataFrame) -> str:
    """How many contrasts were tested, which paradigm stands for self-explanations, and the margins."""
    paradigms = study.self_explanations["paradigms"]
    own = f"the self-explanation is `{paradigms[0]}`" if paradigms else "no self-explanation was asked for"
    margins = [study.statistics[f"margin_{name}"] for name in ("plausibility", "faithfulness")]
    return (
        f"{len(claims)} contrasts in {claims['family'].nunique()} families; {own}; margins: {margins[0]} (plausibility), "
        f"{margins[1]} (faithfulness)."
    )


def verdict_sentences(claims: pd.DataFrame) -> list[str]:
    """One sentence per model, measure and question: how many contrasts went which way."""
    if claims.empty:
        return ["No contrast was tested: no model has both a self-explanation and an attribution."]
    sentences = []
    own = claims[claims["claim_id"].str.startswith("self-minus")]
    for (scope, metric), part in own.groupby(["scope", "metric"], sort=False):
        counts = part["direction"].value_counts()
        sentences.append(
            f"- {scope.replace('/', ' / ')}, {metric_style(metric)['label']}: the self-explanation is higher than "
            f"{counts.get('first is higher', 0)} of {len(part)} attributions and lower than {counts.get('second is higher', 0)}; "
            f"{counts.get('equivalent', 0)} are equivalent, {counts.get('inconclusive', 0)} undecided "
            f"({int(part['n_items'].min())} items, Holm within the family)."
        )
    tuned = claims[claims["claim_id"].str.startswith("tuning")]
    for (scope, metric), part in tuned.groupby(["scope", "metric"], sort=False):
        moved = part[part["verdict"] == "supported"]
        names = [
            f"{row.contrast.split(':')[0]} ({row.estimate:+.2f} [{row.ci_low:+.2f}, {row.ci_high:+.2f}])"
            for row in moved.itertuples()
        ]
        sentences.append(
            f"- {scope.replace('/', ' / ')}, {metric_style(metric)['label']}: fine-tuning changes "
            f"{', '.join(names) if names else 'no explainer beyond doubt'} of {len(part)} explainers tested."
        )
    return sentences


def stability_sentence(summary: pd.DataFrame) -> list[str]:
    """Per model, the range of rank correlations between seeds, leaving out what never asks the model."""
    if summary.empty:
        return ["No model was trained with more than one seed."]
    sentences = []
    asked = summary[(summary["metric"] == "spearman") & ~summary["explainer"].isin(NOT_RIVALS)]
    for model, part in asked.groupby("model", sort=False):
        part = part.dropna(subset=["estimate"]).sort_values("estimate")
        if part.empty:
            continue
        low, high = part.iloc[0], part.iloc[-1]
        sentences.append(
            f"- {model}: explanations of two seeds correlate between {low['estimate']:.2f} "
            f"[{low['low']:.2f}, {low['high']:.2f}] ({label_of(low['explainer'])}) and {high['estimate']:.2f} "
            f"[{high['low']:.2f}, {high['high']:.2f}] ({label_of(high['explainer'])}); 1 would be the same explanation."
        )
    return sentences

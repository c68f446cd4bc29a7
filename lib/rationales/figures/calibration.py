"""Metrics in the order of how well they find the known answer."""

import pandas as pd
from matplotlib.figure import Figure

from rationales.errors import require_known
from rationales.figures.forest import plot_forest
from rationales.figures.style import metric_style, require_columns

PROPERTY_LABELS = {
    "correlation": "Rank correlation with causal recovery, all explanations",
    "correlation_real": "Rank correlation with causal recovery",
    "within_text": "Rank correlation with causal recovery within a text",
    "shortcut": "Rank correlation with showing the shortcut",
    "random_wins": "Share of comparisons that random words win wrongly",
    "tie_sensitivity": "Rank correlation with the tie rate, given causal recovery",
}


def plot_calibration(calibration: pd.DataFrame, property_: str = "correlation_real", note: str | None = None) -> Figure:
    """Return a forest of metrics, best on top (lowest for `random_wins`), for one property of `calibrate_metrics`.

    calibration: the rows to draw, one per metric, length and operator: those of one model, or those of all models.
    StudyError for absent columns, an unknown property, or two rows for one metric.
    """
    require_known(property_, PROPERTY_LABELS, "property of a metric")
    columns = [property_, f"{property_}_low", f"{property_}_high"]
    require_columns(calibration, ["metric", "length", "operator", "n_items", *columns], "A calibration figure")
    rows = calibration.rename(columns=dict(zip(columns, ("estimate", "low", "high"), strict=True)))
    rows = rows.assign(
        measure=[label_metric(*key) for key in zip(rows["metric"], rows["length"], rows["operator"], strict=True)]
    )
    rows = rows.drop(columns="metric").rename(columns={"n_items": "n"})
    name = "loss" if property_ == "random_wins" else property_  # a name whose lower values are better, for the order
    floor = 0.5 if property_ == "random_wins" else 0.0
    return plot_forest(rows, name, by="measure", floor=floor, xlabel=PROPERTY_LABELS[property_], note=note)


def label_metric(metric: str, length: str, operator: str) -> str:
    """Such as "Comprehensiveness (fifth, delete)"; a whole ranking and plausibility need no length or operator."""
    facts = [fact for fact in (length, operator) if fact not in ("whole", "none")]
    label = str(metric_style(metric)["label"])
    return f"{label} ({', '.join(facts)})" if facts else label

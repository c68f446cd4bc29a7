"""Agreement of every two explanations as a matrix."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rationales.errors import StudyError
from rationales.figures.style import WIDTH, explainer_style, metric_style, require_columns, require_unique


def plot_agreement_matrix(summary: pd.DataFrame, metric: str, order: list[str] | None = None) -> Figure:
    """Lower triangle of mean agreement, coloured by how far it lies above chance.

    summary: rows with first, second, metric, estimate, low, chance, one per pair. The number is the mean over items; the
    colour is (value - chance) / (1 - chance), 0 at chance and 1 for the same explanation; numbers in brackets do not
    differ from chance (their interval holds it). StudyError for absent columns or an unknown metric.
    """
    require_columns(summary, ["first", "second", "metric", "estimate", "low", "chance"], "the agreement matrix")
    rows = summary[summary["metric"] == metric]
    if rows.empty:
        raise StudyError(
            f"There is no row of '{metric}' to draw; its metrics are: {', '.join(summary['metric'].unique())}."
        )
    require_unique(rows, ["first", "second"], "the agreement matrix")
    names = order or list(dict.fromkeys([*rows["first"], *rows["second"]]))
    place = {name: number for number, name in enumerate(names)}
    excess, text = np.full((len(names), len(names)), np.nan), np.full((len(names), len(names)), "", dtype=object)
    for row in rows.itertuples(index=False):
        if row.first not in place or row.second not in place or np.isnan(row.estimate):
            continue
        low, high = sorted((place[row.first], place[row.second]))
        excess[high, low] = (row.estimate - row.chance) / (1 - row.chance)
        shown = f"{row.estimate:.2f}".replace("0.", ".", 1)
        text[high, low] = f"({shown})" if row.low <= row.chance else shown
    labels = [explainer_style(name)["label"] for name in names]
    figure, ax = plt.subplots(figsize=(WIDTH * 1.25, 0.34 * len(names) + 1.8), layout="constrained")
    sns.heatmap(
        excess[1:, :-1], annot=text[1:, :-1], fmt="", cmap="Blues", vmin=0, vmax=1, linewidths=0.5, ax=ax,
        annot_kws={"fontsize": 7}, xticklabels=labels[:-1], yticklabels=labels[1:],
        cbar_kws={"label": "agreement above chance", "shrink": 0.6},
    )  # fmt: skip
    ax.set_xticklabels(ax.get_xticklabels(), rotation=45, ha="right")
    ax.tick_params(length=0)
    ax.grid(False)
    ax.set_title(metric_style(metric)["label"])
    return figure

"""The specification curve: every estimate in order, and below it the choices that led to it."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rationales.errors import StudyError
from rationales.figures.style import FAMILIES, WIDTH, explainer_style, format_tick, metric_style, require_columns

# Factor -> its name in the figure; factors with one level only are not drawn.
FACTOR_LABELS = {
    "measure": "measure",
    "normalisation": "normalised",
    "length": "length",
    "ordering": "words in order",
    "operator": "removal",
    "items": "items",
    "attribution": "against",
    "order": "order",
    "form": "form",
    "asked": "asked for",
    "anchoring": "label",
}
ABOVE, BELOW, OPEN = FAMILIES["self"][0], FAMILIES["gradient"][0], FAMILIES["floor"][0]
LEVEL_HEIGHT = 0.125  # inches
MANY = 150  # specifications from which on the marks are stored as pixels in vector files


def plot_specification_curve(curve: pd.DataFrame, most: int = 240, ylabel: str = "self minus attribution") -> Figure:
    """Return estimates in ascending order with their intervals, and one line per level of each factor below.

    curve: rows of one model and one question of `specification_curve` (estimate, ci_low, ci_high and the factors).
    Vermilion: the interval lies above 0; blue: below; grey: it holds 0. The marks below have the same colours. Of more
    than `most` specifications as many are drawn, evenly spaced in the order, the first and last among them; the axis
    says so. Estimates far outside the range of the others are triangles at its ends. StudyError for absent columns, an
    empty table, or several models or questions.
    """
    require_columns(curve, ["estimate", "ci_low", "ci_high", "question", *FACTOR_LABELS], "A specification curve")
    models = [
        name for name in ("corpus", "subject", "tuning", "question") if name in curve and curve[name].nunique() > 1
    ]
    if models:
        raise StudyError(
            f"A specification curve shows one model and one question; filter the column '{models[0]}' first."
        )
    ordered = curve.dropna(subset=["estimate"]).sort_values("estimate", kind="stable")
    kept = np.unique(np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(int))
    shown = ordered.iloc[kept].reset_index(drop=True)
    levels = [
        (factor, level)
        for factor in FACTOR_LABELS
        for level in sorted(curve[factor].dropna().unique(), key=str)
        if curve[factor].nunique() > 1
    ]
    colors = np.select([shown["ci_low"] > 0, shown["ci_high"] < 0], [ABOVE, BELOW], OPEN)
    below = max(0.4, LEVEL_HEIGHT * len(levels))
    figure, (top, bottom) = plt.subplots(
        2, 1, sharex=True, figsize=(WIDTH * 1.1, 2.1 + below + 0.5), height_ratios=[2.1, below], layout="constrained"
    )
    _draw_estimates(top, shown, colors)
    top.set_ylabel(ylabel)
    top.set_title(str(curve["question"].iloc[0]), loc="left")
    _draw_choices(bottom, shown, levels, colors)
    drawn = f"{len(shown):,} of {len(ordered):,} specifications, evenly spaced" if len(shown) < len(ordered) else (
        f"{len(ordered):,} specifications"
    )  # fmt: skip
    bottom.set_xlabel(f"{drawn}, in the order of their estimate")
    return figure


def _draw_estimates(ax: plt.Axes, shown: pd.DataFrame, colors: np.ndarray) -> None:
    pixels = len(shown) > MANY
    x, y = np.arange(len(shown)), shown["estimate"].to_numpy()
    # A few specifications on few items would stretch the axis for all others; they become triangles at its ends.
    low, high = np.quantile(y, [0.02, 0.98])
    room = 0.35 * max(high - low, 1e-6)
    low, high = min(low, 0.0) - room, max(high, 0.0) + room
    ax.vlines(
        x, shown["ci_low"].clip(low, high), shown["ci_high"].clip(low, high), colors=colors, linewidth=0.7, alpha=0.45,
        rasterized=pixels,
    )  # fmt: skip
    for chosen, marker, height in ((y < low, "v", low), (y > high, "^", high), ((y >= low) & (y <= high), "o", None)):
        points = y[chosen] if height is None else np.full(chosen.sum(), height)
        size = 5 if marker == "o" else 14
        ax.scatter(
            x[chosen], points, c=list(colors[chosen]), s=size, marker=marker, linewidths=0, zorder=3, rasterized=pixels,
            clip_on=False,
        )  # fmt: skip
    ax.set_ylim(low, high)
    ax.axhline(0, color="#333333", linewidth=0.8, zorder=2)
    ax.yaxis.set_major_formatter(format_tick)
    ax.tick_params(axis="x", length=0)
    ax.margins(x=0.01)


def _draw_choices(ax: plt.Axes, shown: pd.DataFrame, levels: list[tuple[str, str]], colors: np.ndarray) -> None:
    labels = []
    previous = None
    for position, (factor, level) in enumerate(levels):
        here = np.flatnonzero((shown[factor] == level).to_numpy())
        ax.scatter(
            here, np.full(len(here), position), c=list(colors[here]), marker="|", s=11, linewidths=0.7,
            rasterized=len(shown) > MANY,
        )  # fmt: skip
        if factor != previous and position:
            ax.axhline(position - 0.5, color="#BBBBBB", linewidth=0.5)
        name = _level_label(factor, str(level))
        labels.append(f"{FACTOR_LABELS[factor]}: {name}" if factor != previous else name)
        previous = factor
    ax.set_yticks(range(len(levels)), labels, fontsize=6)
    ax.set_ylim(len(levels) - 0.4, -0.6)
    ax.tick_params(axis="both", length=0)
    ax.set_xticks([])
    ax.spines[["left", "bottom"]].set_visible(False)


def _level_label(factor: str, level: str) -> str:
    if factor == "measure":
        return str(metric_style(level)["label"])
    if factor == "attribution":
        return explainer_style(level)["label"]
    return level

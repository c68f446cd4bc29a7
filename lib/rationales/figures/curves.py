"""Curves and scatter plots: deletion curves, training curves, correlation of seeds, two measures against each other."""

from collections.abc import Mapping
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.stats import t as student

from rationales.errors import StudyError, require_known
from rationales.figures._labels import label_points
from rationales.figures.style import (
    FAMILIES,
    WIDTH,
    direction_hint,
    explainer_family,
    explainer_style,
    format_tick,
    group_style,
    marker_options,
    metric_style,
    require_columns,
    require_unique,
    share_legend,
)

REFERENCE = {"color": "#555555", "linestyle": ":", "linewidth": 1.2, "zorder": 1}
LINE_CYCLE = ("-", "--", "-.", ":")
ALL = "All"
LARGEST_CYCLE = 12  # 6 colours and markers, 4 line styles: the combination comes back after 12 lines


def plot_deletion_curves(table: pd.DataFrame, ax: Axes | None = None, empty: float | None = None) -> Figure:
    """Return the mean probability of the predicted label against the share of words removed, one line per explainer.

    table: columns explainer, fraction (0 to 1), estimate, low, high, and optionally n; one row per point. The band is
    the interval as given. A faster fall is more faithful when the most important words go first; the legend lists the
    lowest mean probability first. NaN estimates leave a gap. empty: probability with all words removed (dotted line).
    Raises StudyError for absent columns, repeated points or fractions outside [0, 1].
    """
    require_columns(table, ["explainer", "fraction", "estimate", "low", "high"], "A plot of deletion curves")
    require_unique(table, ["explainer", "fraction"], "The plot of deletion curves")
    if not table["fraction"].between(0, 1).all():
        raise StudyError("A fraction of removed words is outside 0 to 1; give shares, not percentages.")
    own_figure = ax is None
    figure, ax = _axes(ax, 3.4)
    means = table.groupby("explainer", sort=False, observed=True)["estimate"].mean().sort_values(kind="stable")
    for number, name in enumerate(means.index):
        rows = table[table["explainer"] == name].sort_values("fraction")
        style = explainer_style(name)
        ax.fill_between(rows["fraction"], rows["low"], rows["high"], color=style["color"], alpha=0.13, linewidth=0)
        # Markers of different explainers stand at different places, so that coinciding lines can be told apart.
        step = max(1, len(rows) // 5)
        ax.plot(
            rows["fraction"],
            rows["estimate"],
            color=style["color"],
            linestyle=FAMILIES[explainer_family(name)][1],
            label=_counted_label(style["label"], rows),
            markevery=(number % step, step),
            **marker_options(style),
        )
    if empty is not None:
        ax.axhline(empty, label="all words removed", **REFERENCE)
    ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    ax.yaxis.set_major_formatter(format_tick)
    ax.set_xlim(0, 1)
    ax.set_xlabel("Share of words removed, most important first")
    ax.set_ylabel("Mean probability of the predicted label")
    _legend_beside(ax, own_figure)
    return figure


def plot_training_curves(table: pd.DataFrame, by: str | None = None) -> Figure:
    """Return one panel per metric against the epoch: a line with its band per value of `by`, or a thin one per seed.

    table: columns epoch, metric, estimate; optionally low, high (band), seed (a line each, no band), and `by`, such as
    "explainer", "split" or "subject". Raises StudyError for absent columns or repeated points.
    """
    keys = [key for key in (by, "seed") if key is not None and (key == by or key in table.columns)]
    require_columns(table, ["epoch", "metric", "estimate", *keys], "A plot of training curves")
    require_unique(table, ["metric", *keys, "epoch"], "The plot of training curves")
    metrics = list(pd.unique(table["metric"]))
    columns = min(3, len(metrics))
    lines = -(-len(metrics) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(WIDTH, 0.6 + 2.0 * lines), layout="constrained", squeeze=False, sharex=True
    )
    groups = [None] if by is None else list(pd.unique(table[by]))
    if by != "explainer" and len(groups) > LARGEST_CYCLE:
        raise StudyError(f"{len(groups)} values of '{by}' cannot be told apart; draw at most {LARGEST_CYCLE} of them.")
    styles = {group: _line_style(group, by, number) for number, group in enumerate(groups)}
    for panel, metric in zip(grid.flat, metrics, strict=False):
        inside = table[table["metric"] == metric]
        for group in groups:
            rows = inside if by is None else inside[inside[by] == group]
            _draw_training_lines(panel, rows, styles[group])
        panel.set_title(metric_style(str(metric))["label"])
        panel.set_ylabel(direction_hint(str(metric)))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        panel.yaxis.set_major_formatter(format_tick)
    for number, panel in enumerate(grid.flat):
        if number >= len(metrics):
            panel.set_visible(False)
        elif number + columns >= len(metrics):
            panel.set_xlabel("Epoch")
            panel.tick_params(labelbottom=True)
    if by is not None or "seed" in table.columns:
        share_legend(figure, "outside upper center")
    return figure


def plot_seed_scatter(
    matrices: Mapping[str, np.ndarray],
    intervals: pd.DataFrame | None = None,
    ax: Axes | None = None,
    xlabel: str = "Correlation between the explanations of two seeds",
) -> Figure:
    """Return a strip per explainer: one dot per pair of seeds, and the mean with its 95 % interval.

    matrices: explainer -> symmetric correlations (n_seeds, n_seeds); the diagonal is not read, NaN pairs are left out
    and counted in the row's name. intervals: columns explainer, estimate, low, high; without it, `pairwise_interval`.
    Raises StudyError for a matrix that is not square and symmetric, or for an explainer that lacks its interval.
    """
    if not matrices:
        raise StudyError("There is no matrix of correlations to draw; give at least one explainer.")
    summaries = {name: _seed_summary(str(name), matrix, intervals) for name, matrix in matrices.items()}
    order = sorted(summaries, key=lambda name: -np.nan_to_num(summaries[name][0], nan=-np.inf))
    figure, ax = _axes(ax, 0.9 + 0.3 * max(3, len(order)))
    names = []
    for position, name in enumerate(order):
        style = explainer_style(name)
        pairs = _pairs(np.asarray(matrices[name], dtype=float))
        defined = np.sort(pairs[np.isfinite(pairs)])
        # Multiples of the golden ratio spread the dots evenly without a random draw.
        heights = position + 0.1 + 0.28 * ((np.arange(defined.size) * 0.6180339887) % 1)
        ax.plot(defined, heights, linestyle="none", marker="o", markersize=2.4, color=style["color"], alpha=0.55)
        estimate, low, high = summaries[name]
        ax.hlines(position - 0.12, low, high, color=style["color"], linewidth=1.8)
        ax.plot([estimate], [position - 0.12], linestyle="none", **marker_options(style, 6))
        left_out = f", {pairs.size - defined.size} undefined" if defined.size < pairs.size else ""
        names.append(f"{style['label']}  {pairs.size} pairs{left_out}")
    ax.set_yticks(range(len(order)), names)
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.axvline(0, **REFERENCE)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(format_tick)
    ax.set_xlabel(xlabel)
    return figure


def pairwise_interval(matrix: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return (mean, low, high) of the correlations of all pairs of seeds; matrix: (n_seeds, n_seeds), symmetric.

    Pairs that share a seed are not independent, so the seed is the unit: a jackknife over seeds (Arvesen 1969) with
    Student's t on n_seeds - 1 degrees of freedom, cut to [-1, 1]. The interval is NaN for fewer than three seeds or
    when leaving one seed out leaves no defined pair; the mean is NaN without a defined pair.
    """
    matrix = _require_correlations("the matrix", matrix)
    n_seeds = len(matrix)
    mean = _mean_defined(_pairs(matrix))
    if n_seeds < 3:
        return mean, float("nan"), float("nan")
    left_out = [_mean_defined(_pairs(np.delete(np.delete(matrix, s, 0), s, 1))) for s in range(n_seeds)]
    pseudo_values = n_seeds * mean - (n_seeds - 1) * np.array(left_out)
    half = student.ppf((1 + level) / 2, n_seeds - 1) * pseudo_values.std(ddof=1) / np.sqrt(n_seeds)
    return mean, float(np.maximum(-1.0, mean - half)), float(np.minimum(1.0, mean + half))


def plot_measure_pair(summary: pd.DataFrame, x: str, y: str, ax: Axes | None = None) -> Figure:
    """Return one point per explainer: metric `x` across, metric `y` upwards, each with its interval.

    summary: columns explainer, metric, estimate, low, high, and optionally floor (dotted lines, where it is the same
    for all explainers of the metric). Names stand beside the points, or in a legend when there is no room for them.
    Explainers without both estimates cannot be placed: a line under the plot names them.
    Raises StudyError for absent columns, an unknown metric or repeated points.
    """
    require_columns(summary, ["explainer", "metric", "estimate", "low", "high"], "A plot of two measures")
    for metric in (x, y):
        require_known(metric, summary["metric"].astype(str).unique(), "metric of this summary")
    if x == y:
        raise StudyError(f"Both axes show '{x}'; name two different metrics.")
    require_unique(summary[summary["metric"].isin([x, y])], ["explainer", "metric"], "The plot of two measures")
    across, upwards = (summary[summary["metric"] == metric].set_index("explainer") for metric in (x, y))
    names = list(pd.unique(pd.concat([across, upwards]).index))
    placed = [
        n for n in names if all(n in side.index and np.isfinite(side.loc[n, "estimate"]) for side in (across, upwards))
    ]
    own_figure = ax is None
    figure, ax = _axes(ax, 4.2)
    styles = [explainer_style(name) for name in placed]
    for name, style in zip(placed, styles, strict=True):
        point = across.loc[name], upwards.loc[name]
        ax.hlines(
            point[1]["estimate"], point[0]["low"], point[0]["high"], color=style["color"], linewidth=1.1, alpha=0.7
        )
        ax.vlines(
            point[0]["estimate"], point[1]["low"], point[1]["high"], color=style["color"], linewidth=1.1, alpha=0.7
        )
        ax.plot(
            [point[0]["estimate"]],
            [point[1]["estimate"]],
            linestyle="none",
            label=style["label"],
            zorder=4,
            **marker_options(style, 6.5),
        )
    ax.margins(0.08)
    _draw_chance(ax, across, upwards)
    absent = [explainer_style(name)["label"] for name in names if name not in placed]
    missing = "\n" + fill(f"Without both measures: {', '.join(absent)}", 90) if absent else ""
    ax.set_xlabel(_with_hint(x) + missing)
    ax.set_ylabel(_with_hint(y))
    ax.xaxis.set_major_formatter(format_tick)
    ax.yaxis.set_major_formatter(format_tick)
    if placed:
        _name_points(ax, across.loc[placed], upwards.loc[placed], styles, own_figure)
    return figure


def _axes(ax: Axes | None, height: float) -> tuple[Figure, Axes]:
    if ax is not None:
        return ax.figure, ax
    return plt.subplots(figsize=(WIDTH, height), layout="constrained")


def _counted_label(label: str, rows: pd.DataFrame) -> str:
    if "n" not in rows.columns or rows["n"].isna().any():
        return label
    low, high = int(rows["n"].min()), int(rows["n"].max())
    return f"{label}  n = {low:,}" if low == high else f"{label}  n = {low:,}\N{EN DASH}{high:,}"


def _legend_beside(ax: Axes, own_figure: bool) -> None:
    """Put the legend right of the axes; a figure of our own grows until the legend fits."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0, handlelength=3.2, labelspacing=0.7)
    if own_figure:
        needed = 0.6 + 0.175 * len(ax.get_legend_handles_labels()[1])
        ax.figure.set_figheight(max(ax.figure.get_figheight(), needed))


def _line_style(group: object, by: str | None, number: int) -> dict:
    if by == "explainer":
        return explainer_style(str(group)) | {"linestyle": FAMILIES[explainer_family(str(group))][1]}
    families = ("gradient", "self", "perturbation", "attention", "oracle", "human")
    style = group_style(ALL if group is None else group, by or "")
    color, marker = FAMILIES[families[number % len(families)]][0], "osv^Dp"[number % 6]
    return style | {"color": color, "marker": marker, "linestyle": LINE_CYCLE[number % len(LINE_CYCLE)]}


def _draw_training_lines(ax: Axes, rows: pd.DataFrame, style: dict) -> None:
    seeds = [rows] if "seed" not in rows.columns else [lines for _, lines in rows.groupby("seed", sort=True)]
    label = style["label"]
    if "seed" in rows.columns:
        label = "one line per seed" if label == ALL else f"{label}, one line per seed"
    for number, lines in enumerate(seeds):
        lines = lines.sort_values("epoch")
        if "seed" not in rows.columns and {"low", "high"} <= set(rows.columns):
            ax.fill_between(lines["epoch"], lines["low"], lines["high"], color=style["color"], alpha=0.15, linewidth=0)
        ax.plot(
            lines["epoch"],
            lines["estimate"],
            color=style["color"],
            linestyle=style["linestyle"],
            linewidth=1.3 if len(seeds) == 1 else 0.8,
            label=label if number == 0 else None,
            **marker_options(style, 5 if len(seeds) == 1 else 3.5),
        )


def _seed_summary(name: str, matrix: np.ndarray, intervals: pd.DataFrame | None) -> tuple[float, float, float]:
    _require_correlations(f"the matrix of '{name}'", matrix)
    if intervals is None:
        return pairwise_interval(matrix)
    require_columns(intervals, ["explainer", "estimate", "low", "high"], "The table of intervals")
    require_unique(intervals, ["explainer"], "The table of intervals")
    require_known(name, intervals["explainer"].astype(str), "explainer of the intervals")
    row = intervals[intervals["explainer"] == name].iloc[0]
    return float(row["estimate"]), float(row["low"]), float(row["high"])


def _require_correlations(what: str, matrix: np.ndarray) -> np.ndarray:
    values = np.asarray(matrix, dtype=float)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise StudyError(
            f"For {what}, the shape is {values.shape}; give one row and one column per seed, two at least."
        )
    if not np.allclose(values, values.T, equal_nan=True):
        raise StudyError(f"For {what}, the two triangles differ; give correlations, which are symmetric.")
    return values


def _pairs(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def _mean_defined(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _draw_chance(ax: Axes, across: pd.DataFrame, upwards: pd.DataFrame) -> None:
    for side, draw in ((across, ax.axvline), (upwards, ax.axhline)):
        levels = side["floor"].dropna().round(9).unique() if "floor" in side.columns else []
        if len(levels) == 1:
            draw(levels[0], **REFERENCE)
            position = {"x": levels[0], "y": 1, "rotation": 90} if side is across else {"x": 1, "y": levels[0]}
            transform = ax.get_xaxis_transform() if side is across else ax.get_yaxis_transform()
            ax.text(
                s="chance ",
                ha="right",
                va="top" if side is across else "bottom",
                fontsize=6.5,
                transform=transform,
                **position,
            )


def _with_hint(metric: str) -> str:
    hint = direction_hint(metric)
    return metric_style(metric)["label"] + (f"  ({hint})" if hint else "")


def _name_points(
    ax: Axes, across: pd.DataFrame, upwards: pd.DataFrame, styles: list[dict[str, str]], own_figure: bool
) -> None:
    x, y = across["estimate"].to_numpy(), upwards["estimate"].to_numpy()
    level = np.stack([across[["low", "high"]].to_numpy(), np.stack([y, y], axis=1)], axis=-1)
    upright = np.stack([np.stack([x, x], axis=1), upwards[["low", "high"]].to_numpy()], axis=-1)
    obstacles = np.concatenate([level, upright])
    obstacles = obstacles[np.isfinite(obstacles).all(axis=(1, 2))]
    labels, colors = [style["label"] for style in styles], [style["color"] for style in styles]
    if label_points(ax, x, y, labels, colors, obstacles) is None:
        _legend_beside(ax, own_figure)

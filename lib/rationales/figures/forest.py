"""Forest plots: one row per explainer, a point with its 95 % interval, chance level and ceiling behind it."""

from collections.abc import Sequence
from textwrap import fill, shorten

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rationales.errors import StudyError, require_known
from rationales.figures.style import (
    WIDTH,
    direction_hint,
    format_tick,
    group_style,
    marker_options,
    metric_style,
    require_columns,
    require_unique,
    share_legend,
)

ROW_HEIGHT = 0.19  # inches
SUMMARY_COLUMNS = ("estimate", "low", "high", "n")
Ceiling = float | tuple[float, float]
REFERENCE_COLOR, BAND_COLOR = "#555555", "#DDDDDD"


def plot_forest(
    summary: pd.DataFrame,
    metric: str,
    ax: Axes | None = None,
    by: str = "explainer",
    facet: str | None = None,
    floor: float | None = None,
    ceiling: Ceiling | None = None,
    xlabel: str | None = None,
    note: str | None = None,
) -> Figure:
    """Return a figure with one row per value of `by`, best on top, and one panel per value of `facet`.

    summary: columns `by`, estimate, low, high, n and (with a facet) `facet`; optional: metric (rows of `metric` are
    taken), reason (why an estimate is NaN), floor, ceiling, ceiling_low, ceiling_high. The interval is drawn as given.
    floor: chance level; a dotted line, or one dotted tick per row where the column `floor` differs between rows.
    ceiling: one number (dashed line) or a pair (band); `floor` and `ceiling` take precedence over the columns.
    Rows are ordered by the mean estimate over the panels. A NaN estimate stays as a row that says "undefined", a
    combination without a row as "not measured". An estimate without interval is drawn hollow. n stands behind each
    name, as a range where the panels differ. `ax` draws into given axes (without facet) and returns their figure;
    `ax.legend()` then names the chance level and the ceiling, which a figure of its own does by itself.

    Raises StudyError for absent columns, an unknown metric, or two rows for one point.
    """
    rows = _rows_of(summary, metric, by, facet)
    if ax is not None and facet is not None:
        raise StudyError("Give either `ax` (one panel) or `facet` (a figure of its own), not both.")
    facets = [None] if facet is None else list(pd.unique(rows[facet]))
    order = sort_rows(rows, by, metric)
    own_figure = ax is None
    if own_figure:
        figure, grid = _make_grid(1, len(facets), len(order))
        panels = grid[0]
    else:
        figure, panels = ax.figure, [ax]
    wide = own_figure and len(facets) == 1
    for panel, value in zip(panels, facets, strict=True):
        chosen = rows if facet is None else rows[rows[facet] == value]
        _draw_panel(panel, chosen, order, by, floor, ceiling, wide)
        if facet is not None:
            panel.set_title(fill(str(value), 56 // len(facets)))
    _label_rows(panels[0], rows, order, by)
    label = xlabel or metric_style(metric)["label"]
    if own_figure:
        hint = f"{label}  ({direction_hint(metric)})" if direction_hint(metric) else label
        _label_below(figure, panels, hint, note)
        share_legend(figure, "outside upper right")
    else:
        panels[0].set_xlabel("\n".join(fill(part, 50) for part in (label, direction_hint(metric), note) if part))
    return figure


def plot_grid(
    summary: pd.DataFrame,
    metrics: Sequence[str],
    facet: str | None = None,
    by: str = "explainer",
    note: str | None = None,
) -> Figure:
    """Return several metrics side by side with shared rows: a column per metric, a line of panels per facet value.

    summary: as for `plot_forest`, with the column metric. Rows are ordered by the first metric. Floors and ceilings
    come from the columns. Raises StudyError as `plot_forest` does.
    """
    require_columns(summary, ["metric"], "A grid of metrics")
    if not metrics:
        raise StudyError("A grid needs at least one metric; name the metrics to draw.")
    tables = {metric: _rows_of(summary, metric, by, facet) for metric in metrics}
    everything = pd.concat(tables.values())
    facets = [None] if facet is None else list(pd.unique(everything[facet]))
    order = sort_rows(tables[metrics[0]], by, metrics[0])
    order += [name for name in pd.unique(everything[by]) if name not in order]
    figure, grid = _make_grid(len(facets), len(metrics), len(order))
    for line, value in zip(grid, facets, strict=True):
        for panel, rows in zip(line, tables.values(), strict=True):
            chosen = rows if facet is None else rows[rows[facet] == value]
            _draw_panel(panel, chosen, order, by, None, None, wide=len(metrics) == 1)
        inside = everything if facet is None else everything[everything[facet] == value]
        _label_rows(line[0], inside, order, by)
        if facet is not None:
            line[0].set_title(str(value), loc="left", fontweight="bold")
    for panel, metric in zip(grid[-1], metrics, strict=True):
        hint = direction_hint(metric, short=len(metrics) > 2)
        label = fill(metric_style(metric)["label"], max(12, 66 // len(metrics)), break_long_words=False)
        panel.set_xlabel(f"{label}\n{hint}", fontsize=plt.rcParams["xtick.labelsize"])
    if note:
        figure.supxlabel(fill(note, 100), fontsize=plt.rcParams["xtick.labelsize"])
    share_legend(figure, "outside upper right")
    return figure


def sort_rows(rows: pd.DataFrame, by: str, metric: str) -> list:
    """Return the values of `by`, best mean estimate first; undefined ones last, equal ones as they come."""
    means = rows.groupby(by, sort=False, observed=True)["estimate"].mean()
    ascending = metric_style(metric)["better"] == "lower"
    return means.sort_values(ascending=ascending, kind="stable", na_position="last").index.tolist()


def _rows_of(summary: pd.DataFrame, metric: str, by: str, facet: str | None) -> pd.DataFrame:
    keys = [by] if facet is None else [by, facet]
    require_columns(summary, [*keys, *SUMMARY_COLUMNS], "A forest plot")
    if "metric" in summary.columns:
        require_known(metric, summary["metric"].astype(str).unique(), "metric of this summary")
        summary = summary[summary["metric"] == metric]
    require_unique(summary, keys, f"The forest plot of '{metric}'")
    return summary


def _make_grid(n_lines: int, n_columns: int, n_rows: int) -> tuple[Figure, np.ndarray]:
    height = 1.0 + n_lines * (0.25 + ROW_HEIGHT * max(n_rows, 4))
    return plt.subplots(
        n_lines, n_columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, sharex="col", sharey="row"
    )


def _draw_panel(
    ax: Axes,
    rows: pd.DataFrame,
    order: list,
    by: str,
    floor: float | None,
    ceiling: Ceiling | None,
    wide: bool,
) -> None:
    for position in range(0, len(order), 2):
        ax.axhspan(position - 0.5, position + 0.5, color="#F5F5F5", linewidth=0, zorder=0)
    _draw_ceiling(ax, rows, ceiling)
    _draw_floor(ax, rows, order, by, floor)
    by_name = {row[by]: row for row in rows.to_dict("records")}
    for position, name in enumerate(order):
        row = by_name.get(name)
        if row is None or not np.isfinite(row["estimate"]):
            _write_missing(ax, position, row, wide)
            continue
        style = group_style(name, by)
        options = marker_options(style)
        if np.isfinite(row["low"]) and np.isfinite(row["high"]):
            ax.hlines(position, row["low"], row["high"], color=style["color"], linewidth=1.6, zorder=3)
        else:
            options |= {"markerfacecolor": "white", "markeredgecolor": style["color"], "markeredgewidth": 1.2}
        ax.plot([row["estimate"]], [position], linestyle="none", zorder=4, **options)
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6 if wide else 3, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(format_tick)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _write_missing(ax: Axes, position: int, row: dict | None, wide: bool) -> None:
    text = "not measured" if row is None else "undefined"
    reason = row.get("reason") if row else None
    if wide and isinstance(reason, str) and reason:
        text += f": {shorten(reason, 60, placeholder=' ...')}"
    ax.text(
        0.02,
        position,
        text,
        transform=ax.get_yaxis_transform(),
        va="center",
        fontsize=6.5,
        style="italic",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        zorder=5,
    )


def _draw_floor(ax: Axes, rows: pd.DataFrame, order: list, by: str, floor: float | None) -> None:
    if floor is not None:
        levels = {name: float(floor) for name in order}
    elif "floor" in rows.columns:
        levels = {name: level for name, level in zip(rows[by], rows["floor"], strict=True) if np.isfinite(level)}
    else:
        levels = {}
    line = {"color": REFERENCE_COLOR, "linestyle": ":", "linewidth": 1.2, "zorder": 2}
    if len({round(level, 9) for level in levels.values()}) == 1:
        ax.axvline(next(iter(levels.values())), label="chance level", **line)
        return
    positions = [position for position, name in enumerate(order) if name in levels]
    if positions:
        across = np.array(positions)
        ax.vlines([levels[order[p]] for p in positions], across - 0.42, across + 0.42, label="chance level", **line)


def _draw_ceiling(ax: Axes, rows: pd.DataFrame, ceiling: Ceiling | None) -> None:
    pairs, lines = [], []
    if isinstance(ceiling, (tuple, list)):
        pairs = [tuple(ceiling)]
    elif ceiling is not None:
        lines = [float(ceiling)]
    else:
        if {"ceiling_low", "ceiling_high"} <= set(rows.columns):
            pairs = list(rows[["ceiling_low", "ceiling_high"]].dropna().drop_duplicates().itertuples(index=False))
        if "ceiling" in rows.columns:
            lines = rows["ceiling"].dropna().unique().tolist()
    if len(pairs) > 1 or len(lines) > 1:
        raise StudyError("The ceiling differs between rows of one panel; give one ceiling per panel.")
    for low, high in pairs:
        ax.axvspan(low, high, color=BAND_COLOR, linewidth=0, zorder=1, label="ceiling (interval)")
    for level in lines:
        ax.axvline(level, color=REFERENCE_COLOR, linestyle="--", linewidth=1.0, zorder=2, label="ceiling")


def _label_rows(ax: Axes, rows: pd.DataFrame, order: list, by: str) -> None:
    counts = rows.groupby(by, observed=True)["n"].agg(["min", "max"])
    ax.set_yticks(range(len(order)), [_row_label(name, counts, by) for name in order])


def _row_label(name: object, counts: pd.DataFrame, by: str) -> str:
    label = group_style(name, by)["label"]
    if name not in counts.index or counts.loc[name].isna().any():
        return label
    low, high = (int(value) for value in counts.loc[name])
    number = f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}"
    return f"{label}  n = {number}"


def _label_below(figure: Figure, panels: Sequence[Axes], label: str, note: str | None) -> None:
    text = "\n".join(fill(part, 90) for part in (label, note) if part)
    if len(panels) == 1:
        panels[0].set_xlabel(text)
    else:
        figure.supxlabel(text, fontsize=plt.rcParams["axes.labelsize"])

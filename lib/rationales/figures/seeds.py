"""Figures of seed variance: selections of equal accuracy, interval width, readers beside seeds, variance components."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter

from rationales.errors import StudyError
from rationales.figures.style import (
    FAMILIES,
    WIDTH,
    explainer_family,
    explainer_style,
    format_tick,
    marker_options,
    metric_style,
    require_columns,
    require_unique,
    share_legend,
)

HUMANS = "human"
REFERENCE = {"color": "#555555", "linestyle": ":", "linewidth": 1.2, "zorder": 1}
BAND = "#DDDDDD"
HUMAN_LINES = ("-", "--", "-.", ":")  # of several corpora; all are black
COMPONENTS = {  # colour and hatch, so that a print in grey can be read
    "item": ("#BBBBBB", ""),
    "word": ("#BBBBBB", ""),
    "seed": ("#D55E00", ""),
    "item x seed": ("#E69F00", "///"),
    "word x seed": ("#E69F00", "///"),
    "prompt paraphrase": ("#CC79A7", "..."),
    "item x paraphrase": ("#56B4E9", "xxx"),
    "item x seed x paraphrase": ("#B3DDF5", "..."),
    "sampled repeat": ("#009E73", "\\\\\\"),
    "item x draw": ("#5A8FC4", "xxx"),
    "explainer noise": ("#0072B2", "---"),
    "sampled repeat and explainer noise": ("#7A5C3E", "+++"),
    "replicate": ("#009E73", "\\\\\\"),
}


def plot_selections(table: pd.DataFrame, xlabel: str = "Change of agreement against all seeds") -> Figure:
    """Return how much more seeds of equal accuracy agree than all seeds: a panel per rule, a row per explainer.

    table: one row per explainer, rule and n_models, with difference, low, high (coloured: the selection, interval over
    items), of_all, random_low and random_high (grey: where 95 % of random subsets of the same size lie). Points right
    of the grey band agree more than chance explains. Within a row the largest selection stands on top. Rows of the rule
    "all" are not drawn. Raises StudyError for absent columns, repeated rows, or when nothing is left.
    """
    columns = ["explainer", "rule", "n_models", "difference", "low", "high", "of_all", "random_low", "random_high"]
    require_columns(table, columns, "A plot of selections")
    rows = table[table["rule"] != "all"]
    if rows.empty:
        raise StudyError("There is no selection to draw; a study needs three seeds or more to leave some out.")
    require_unique(rows, ["explainer", "rule", "n_models"], "The plot of selections")
    rules, names = list(pd.unique(rows["rule"])), list(pd.unique(rows["explainer"]))
    sizes = sorted(rows["n_models"].unique(), reverse=True)
    height = 0.9 + len(names) * (0.14 + 0.11 * len(sizes))
    figure, panels = plt.subplots(
        1, len(rules), figsize=(WIDTH, height), layout="constrained", sharey=True, sharex=True, squeeze=False
    )
    for panel, rule in zip(panels[0], rules, strict=True):
        for place, name in enumerate(names):
            style = explainer_style(name)
            inside = rows[(rows["rule"] == rule) & (rows["explainer"] == name)]
            for row in inside.itertuples():
                y = place + 0.8 * ((sizes.index(row.n_models) + 0.5) / len(sizes) - 0.5)
                band = (row.random_low - row.of_all, row.random_high - row.of_all)
                panel.hlines(y, *band, color=BAND, linewidth=4.5, zorder=1)
                panel.hlines(y, row.low, row.high, color=style["color"], linewidth=1.1, zorder=2)
                panel.plot([row.difference], [y], linestyle="none", zorder=3, **marker_options(style, 4))
        panel.axvline(0, **REFERENCE)
        panel.set_title(f"{rule} {', '.join(map(str, sizes))} seeds")
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5))
        panel.xaxis.set_major_formatter(format_tick)
        panel.tick_params(axis="y", length=0)
    panels[0, 0].set_yticks(range(len(names)), [explainer_style(name)["label"] for name in names])
    panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(xlabel, fontsize=plt.rcParams["axes.labelsize"])
    return figure


def plot_width_by_seeds(table: pd.DataFrame, ax: Axes | None = None, metric: str = "pearson") -> Figure:
    """Return half the width of the interval over seeds against the number of seeds, one line per explainer.

    table: columns explainer, n_seeds, half_width, wanted, and optionally metric (rows of `metric` are taken) and
    seeds_needed (named in the legend). Both axes are logarithmic: the lines should fall with the square root.
    Sizes without a defined width are left out. Raises StudyError for absent columns or repeated points.
    """
    require_columns(table, ["explainer", "n_seeds", "half_width", "wanted"], "A plot of interval widths")
    rows = table[table["metric"] == metric] if "metric" in table.columns else table
    rows = rows[rows["half_width"] > 0]
    if rows.empty:
        raise StudyError(
            "No interval has a width to draw; at least three seeds are needed, and explanations that vary."
        )
    require_unique(rows, ["explainer", "n_seeds"], "The plot of interval widths")
    figure, ax = _axes(ax, 3.4)
    for name in pd.unique(rows["explainer"]):
        line = rows[rows["explainer"] == name].sort_values("n_seeds")
        style = explainer_style(name)
        needed = line["seeds_needed"].iloc[-1] if "seeds_needed" in line.columns else np.nan
        label = style["label"] if np.isnan(needed) else f"{style['label']}  {int(needed)} seeds"
        ax.plot(
            line["n_seeds"],
            line["half_width"],
            color=style["color"],
            linestyle=FAMILIES[explainer_family(name)][1],
            label=label,
            **marker_options(style, 4),
        )
    wanted = float(rows["wanted"].iloc[0])
    ax.axhline(wanted, label="aimed at", **REFERENCE)
    ax.set_xscale("log")
    ax.set_yscale("log")
    sizes = sorted(rows["n_seeds"].unique())
    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    ax.yaxis.set_major_formatter(format_tick)
    ax.yaxis.set_minor_formatter(lambda value, _: "")
    ax.set_xlabel("Number of seeds")
    ax.set_ylabel(f"Half the 95 % interval: {metric_style(metric)['label']}")
    _legend_beside(ax)
    return figure


def plot_humans_beside_seeds(curve: pd.DataFrame, ax: Axes | None = None) -> Figure:
    """Return the correlation with the mean explanation against k: readers in black, explainers over seeds in colours.

    curve: columns corpus, source ("human" or an explainer), variant, k, estimate, low, high, raters; the explainers of
    one model, and the readers of any number of corpora (one line style each). The band is the interval as given. All
    lines are drawn at one number of raters, which the axis names. Optional column human_length: mean number of words
    that readers marked; a line at that of the explainers' texts, for right of it sets of readers are filled at random.
    Raises StudyError for absent columns, repeated points
    or lines of different numbers of raters.
    """
    columns = ["corpus", "source", "variant", "k", "estimate", "low", "high", "raters"]
    require_columns(curve, columns, "A plot of readers beside seeds")
    require_unique(curve, ["corpus", "source", "variant", "k"], "The plot of readers beside seeds")
    if curve["raters"].nunique() > 1:
        raise StudyError(
            "The lines have different numbers of raters and cannot be compared; draw one number at a time."
        )
    figure, ax = _axes(ax, 3.8)
    people = list(pd.unique(curve.loc[curve["source"] == HUMANS, "corpus"]))
    for (corpus, source, variant), rows in curve.groupby(["corpus", "source", "variant"], sort=False):
        rows = rows.sort_values("k")
        if source == HUMANS:
            style = explainer_style(HUMANS) | {"label": f"Readers of {corpus}"}
            linestyle = HUMAN_LINES[people.index(corpus) % len(HUMAN_LINES)]
        else:
            name = variant if source == "self" else source
            style, linestyle = explainer_style(name), FAMILIES[explainer_family(name)][1]
        ax.fill_between(rows["k"], rows["low"], rows["high"], color=style["color"], alpha=0.12, linewidth=0)
        ax.plot(
            rows["k"],
            rows["estimate"],
            color=style["color"],
            linestyle=linestyle,
            linewidth=2.2 if source == HUMANS else 1.2,
            label=style["label"],
            zorder=4 if source == HUMANS else 3,
            **marker_options(style, 4.5),
        )
    seeds = curve[curve["source"] != HUMANS]
    if "human_length" in curve.columns and len(seeds) and np.isfinite(seeds["human_length"].iloc[0]):
        length = float(seeds["human_length"].iloc[0])
        ax.axvline(length, color="#555555", linewidth=0.8, zorder=1, label=f"{length:.1f} words: mean human mark")
    ax.axhline(0, label="chance", **REFERENCE)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(format_tick)
    ax.set_xlabel("k, words taken from each explanation")
    ax.set_ylabel(f"Correlation with the mean of the others\n({int(curve['raters'].iloc[0])} readers or seeds)")
    _legend_beside(ax)
    return figure


def plot_components(table: pd.DataFrame, facet: str | None = None) -> Figure:
    """Return the shares of the variance as stacked bars: one bar per explainer, one panel per value of `facet`.

    table: columns explainer, component, share and (with a facet) `facet`. Shares below 0, which unbiased estimates can
    have, are drawn as 0; shares of a bar that are all undefined leave it empty. Components come in their order of
    appearance, with the colours of `COMPONENTS`. Raises StudyError for absent columns or repeated rows.
    """
    keys = ["explainer", "component", *([facet] if facet else [])]
    require_columns(table, [*keys, "share"], "A plot of variance components")
    require_unique(table, keys, "The plot of variance components")
    names, parts = list(pd.unique(table["explainer"])), list(pd.unique(table["component"]))
    facets = [None] if facet is None else list(pd.unique(table[facet]))
    figure, panels = plt.subplots(
        1, len(facets), figsize=(WIDTH, 1.1 + 0.22 * len(names)), layout="constrained", sharey=True, squeeze=False
    )
    for panel, value in zip(panels[0], facets, strict=True):
        rows = table if facet is None else table[table[facet] == value]
        wide = rows.pivot(index="explainer", columns="component", values="share").reindex(index=names, columns=parts)
        shares = np.maximum(wide.to_numpy(dtype=float, na_value=np.nan), 0.0)
        shares = np.where(np.isnan(shares), 0.0, shares)
        starts = np.cumsum(shares, axis=1) - shares
        for number, part in enumerate(parts):
            color, hatch = COMPONENTS.get(part, ("#7F7F7F", "ooo"))
            panel.barh(
                range(len(names)),
                shares[:, number],
                left=starts[:, number],
                height=0.72,
                color=color,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.5,
                label=part,
            )
        if facet is not None:
            panel.set_title(metric_style(str(value))["label"])
        panel.set_xlim(0, 1)
        panel.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        panel.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
        panel.tick_params(axis="y", length=0)
    panels[0, 0].set_yticks(range(len(names)), [explainer_style(name)["label"] for name in names])
    panels[0, 0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("Share of the variance", fontsize=plt.rcParams["axes.labelsize"])
    share_legend(figure, "outside upper center")
    return figure


def _axes(ax: Axes | None, height: float) -> tuple[Figure, Axes]:
    if ax is not None:
        return ax.figure, ax
    return plt.subplots(figsize=(WIDTH, height), layout="constrained")


def _legend_beside(ax: Axes) -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0, handlelength=3.2, labelspacing=0.7)
    needed = 0.6 + 0.175 * len(ax.get_legend_handles_labels()[1])
    ax.figure.set_figheight(max(ax.figure.get_figheight(), needed))

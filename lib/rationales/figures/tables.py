"""Tables for display: an estimate and its interval in one cell."""

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.figures.style import explainer_style, metric_style, require_columns, require_unique

FLOOR_ROW, CEILING_ROW = "Chance level", "Ceiling"
UNDEFINED, NOT_MEASURED = "undefined", "not measured"


def format_number(value: float, digits: int = 2) -> str:
    """Return a number without the zero before the point: ".62", "-.05", "1.00"; "undefined" for NaN."""
    if not np.isfinite(value):
        return UNDEFINED if np.isnan(value) else f"{value}"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")  # "-.00" would claim a sign that the digits do not show
    if digits and text.startswith(("0.", "-0.")):
        text = text.replace("0.", ".", 1)
    return text


def format_interval(estimate: float, low: float, high: float, digits: int = 2) -> str:
    """Return ".62 [.58, .66]"; "undefined" for a NaN estimate, ".62 [no interval]" when a bound is NaN."""
    if np.isnan(estimate):
        return UNDEFINED
    if np.isnan(low) or np.isnan(high):
        return f"{format_number(estimate, digits)} [no interval]"
    return f"{format_number(estimate, digits)} [{format_number(low, digits)}, {format_number(high, digits)}]"


def score_table(
    summary: pd.DataFrame, index: str = "explainer", columns: str = "metric", digits: int = 2
) -> pd.DataFrame:
    """Return strings "estimate [low, high]": a row per value of `index`, a column per value of `columns`.

    summary: columns `index`, `columns`, estimate, low, high; optional: reason (why NaN), floor, ceiling, ceiling_low,
    ceiling_high, which become the last rows (a range where a floor or ceiling differs between rows). Rows and columns
    come in their order of appearance. A NaN estimate reads "undefined (reason)", an absent combination "not measured".
    Explainers and metrics get their display labels. Raises StudyError for absent columns or repeated combinations.
    """
    require_columns(summary, [index, columns, "estimate", "low", "high"], "A table of scores")
    require_unique(summary, [index, columns], "The table of scores")
    names, metrics = list(pd.unique(summary[index])), list(pd.unique(summary[columns]))
    cells = {(row[index], row[columns]): _cell(row, digits) for row in summary.to_dict("records")}
    table = pd.DataFrame(
        [[cells.get((name, metric), NOT_MEASURED) for metric in metrics] for name in names],
        index=_labels(names, index),
        columns=_labels(metrics, columns),
    )
    table.index.name = None
    if "floor" in summary.columns and summary["floor"].notna().any():
        table.loc[FLOOR_ROW] = [_level(summary[summary[columns] == m], "floor", digits) for m in metrics]
    if "ceiling" in summary.columns and summary["ceiling"].notna().any():
        table.loc[CEILING_ROW] = [_level(summary[summary[columns] == m], "ceiling", digits) for m in metrics]
    return table


def _cell(row: dict, digits: int) -> str:
    text = format_interval(row["estimate"], row["low"], row["high"], digits)
    reason = row.get("reason")
    return f"{text} ({reason})" if text == UNDEFINED and isinstance(reason, str) and reason else text


def _labels(values: list, column: str) -> list[str]:
    label_of = {"explainer": lambda v: explainer_style(v)["label"], "metric": lambda v: metric_style(v)["label"]}
    labels = [label_of.get(column, str)(value) for value in values]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise StudyError(f"Two values of '{column}' are both shown as '{twice}'; rename one of them.")
    return labels


def _level(rows: pd.DataFrame, kind: str, digits: int) -> str:
    """The floor or ceiling of one column: its interval where it has one, a range where it differs between rows."""
    levels = rows[kind].dropna()
    if levels.empty:
        return NOT_MEASURED
    low, high = format_number(levels.min(), digits), format_number(levels.max(), digits)
    if low != high:
        return f"{low} to {high}"
    bounds = [f"{kind}_low", f"{kind}_high"]
    if set(bounds) <= set(rows.columns) and len(bands := rows[bounds].dropna().drop_duplicates()) == 1:
        return format_interval(levels.iloc[0], *bands.iloc[0], digits)
    return low

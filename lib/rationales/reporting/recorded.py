"""Views of recorded answers: the tidy tables of `rationales.recorded`, laid out for reading."""

from collections.abc import Sequence

import pandas as pd

from rationales.figures.tables import format_interval
from rationales.replicates import without_replicates
from rationales.reporting.scores import display_name
from rationales.reporting.views import escape_table

ALL_SEEDS = "all"


def wide_table(shares: pd.DataFrame, quantities: Sequence[str]) -> pd.DataFrame:
    """One row per subject and seed (paradigm and repeat, where there are some), one column "share [interval]" per quantity."""
    keys = [key for key in ("subject", "paradigm", "seed", "repeat") if key in shares]
    return interval_table(shares[shares["quantity"].isin(quantities)], keys, "quantity")[[*quantities, "n"]]


def interval_table(rows: pd.DataFrame, index: Sequence[str], columns: str, value: str = "value") -> pd.DataFrame:
    """ "estimate [interval]" in a table of `index` by `columns`, with the number of items behind each row as "n"."""
    cells = [format_interval(*row) for row in rows[[value, "low", "high"]].itertuples(index=False, name=None)]
    order = list(dict.fromkeys(rows[columns]))
    table = rows.assign(cell=cells).pivot(index=list(index), columns=columns, values="cell")[order].fillna("")
    counted = "n_items" if "n_items" in rows else "n"
    return table.assign(n=rows.groupby(list(index))[counted].max()).rename_axis(columns=None)


def reason_table(explanations: pd.DataFrame) -> pd.DataFrame:
    """How many explanations of each kind are valid, and how many are not, by reason; all seeds together."""
    rows = explanations.assign(reason=explanations["reason"].replace("", "valid"))
    counts = rows.groupby(["subject", "explainer", "reason"]).size()
    return counts.unstack("reason", fill_value=0).pipe(lambda t: t[sorted(t.columns, key=lambda name: name != "valid")])


def primary_rows(summary: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of a metric over all seeds, first answers only, at the human length (or over all words)."""
    rows = summary[(summary["metric"] == metric) & (summary["seed"] == ALL_SEEDS) & summary["k"].isin(["human", "all"])]
    return without_replicates(rows)


def by_subject(summary: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per subject and explanation, "value [interval]" and chance per metric, and the number of sentences."""
    table = {}
    for metric in metrics:
        rows = primary_rows(summary, metric).set_index(["subject", "explainer"])
        table[metric] = [format_interval(row.value, row.low, row.high) for row in rows.itertuples()]
        table[metric] = pd.Series(table[metric], index=rows.index)
        table[f"chance of {metric}"] = rows["chance"].round(2) + 0.0  # no minus zero
        table["sentences"] = rows["n_items"]
    return pd.DataFrame(table)


def facet_by_subject(summary: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The same rows for a forest plot with one panel per subject."""
    rows = primary_rows(summary, metric)
    names = [display_name(e, v) for e, v in zip(rows["explainer"], rows["variant"], strict=True)]
    return rows.assign(explainer=names, estimate=rows["value"], n=rows["n_items"], floor=rows["chance"])


def ceiling_band(humans: pd.DataFrame, metric: str) -> tuple[float, float]:
    """The interval of the human-human ceiling of a metric."""
    row = humans[humans["metric"] == metric].iloc[0]
    return float(row["low"]), float(row["high"])


def published_view(table: pd.DataFrame) -> str:
    """HTML of published numbers beside recomputed ones, with their difference and the whole note, escaped."""
    rows = table.assign(difference=table["recomputed"] - table["published"])
    numbers = [name for name in ("published", "recomputed", "as_published", "difference") if name in rows]
    for name in numbers:
        rows[name] = [f"{value:.3g}" if pd.notna(value) else "not computed" for value in rows[name]]
    return escape_table(rows[["paper", "quantity", "subject", "paradigm", *numbers, "n", "note"]])

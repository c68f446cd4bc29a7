"""Agreement between explanations: tables and sentences."""

import pandas as pd

from rationales.figures.style import plain_label
from rationales.figures.tables import format_interval
from rationales.reporting.scores import display_name
from rationales.reporting.sentences import label_of
from rationales.statistics.summary import summarise
from rationales.study import Study

SIGNED_FAMILY = ("feature_agreement", "rank_agreement", "sign_agreement", "signed_rank_agreement", "spearman",
                 "pairwise_rank_agreement", "iou")  # fmt: skip


def agreement_summary(study: Study, agreement: pd.DataFrame, model: dict, metrics: tuple[str, ...]) -> pd.DataFrame:
    """Mean with interval over items, and chance level, of each pair of explanations of one model.

    Columns: first, second (display names), metric, estimate, low, high, chance, n, n_undefined.
    """
    rows = agreement[(agreement[list(model)] == pd.Series(model)).all(axis=1) & agreement["metric"].isin(metrics)]
    rows = rows.assign(
        first=[display_name(e, v) for e, v in zip(rows["explainer"], rows["variant"], strict=True)],
        second=[display_name(e, v) for e, v in zip(rows["other"], rows["other_variant"], strict=True)],
    )
    table = summarise(rows, ["first", "second", "metric"], study.statistics["resamples"], study.seed)
    return table.drop(columns=["n_seeds", "note"])


def self_agreement_table(summary: pd.DataFrame, paradigm: str, metrics: tuple[str, ...]) -> pd.DataFrame:
    """How one self-explanation agrees with every other explanation: a row each, "value [interval] (chance)" per metric."""
    touches = (summary["first"] == paradigm) | (summary["second"] == paradigm)
    rows = summary[touches & summary["metric"].isin(metrics)]
    rows = rows.assign(other=rows["second"].where(rows["first"] == paradigm, rows["first"]))
    cells = {}
    for row in rows.itertuples(index=False):
        text = "not defined" if not row.n else f"{format_interval(row.estimate, row.low, row.high)} ({row.chance:.2f})"
        cells.setdefault(plain_label(row.metric), {})[label_of(row.other)] = text
    table = pd.DataFrame(cells)
    table.insert(0, "n", rows.groupby("other")["n"].max().rename(label_of).reindex(table.index))
    return table


def agreement_sentence(summary: pd.DataFrame, name: str) -> str:
    """The pair of real explainers that agrees most and the one that agrees least, by feature agreement, with chance."""
    rows = summary[(summary["metric"] == "feature_agreement") & summary["estimate"].notna()]
    rows = rows[~rows["first"].isin(["random", "human"]) & ~rows["second"].isin(["random", "human"])]
    if rows.empty:
        return f"{name}: no two explanations can be compared."
    best, worst = rows.loc[rows["estimate"].idxmax()], rows.loc[rows["estimate"].idxmin()]
    below = int((rows["low"] <= rows["chance"]).sum())
    parts = [
        f"{label_of(row['first'])} and {label_of(row['second'])} {format_interval(row['estimate'], row['low'], row['high'])}"
        for row in (best, worst)
    ]
    return (
        f"{name}: of {len(rows)} pairs, {parts[0]} agree most and {parts[1]} least; chance is {rows['chance'].mean():.2f}, "
        f"and {below} pairs do not differ from it."
    )

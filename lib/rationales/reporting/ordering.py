"""Own and greedy order of removal side by side, as notebook 07 shows them."""

import pandas as pd

from rationales.figures.tables import format_interval
from rationales.ledger.load import load_ledger
from rationales.ledger.panel import is_member
from rationales.metrics.ordering import FIRST_SHARES, ORDERINGS
from rationales.replicates import without_replicates
from rationales.reporting.scores import display_name
from rationales.stages.specification_choices import UNEQUAL
from rationales.statistics.bootstrap import t_interval
from rationales.statistics.summary import summarise
from rationales.study import Study

COLUMNS = {("ordered_aopc", "human"): "whole set, mean"} | {
    ("ordered_drop", f"human_{share:g}"): f"first {share:.0%} of the words" for share in FIRST_SHARES
}


def ordered_rows_of(metrics: pd.DataFrame) -> pd.DataFrame:
    """The rows in which words go one by one, with `name` and `ordering`; replicates left out."""
    rows = without_replicates(metrics[metrics["metric"].str.startswith("ordered_")])
    names = [display_name(e, v) for e, v in zip(rows["explainer"], rows["variant"], strict=True)]
    parts = rows["metric"].str.rsplit("_", n=1)
    return rows.assign(name=names, measure=parts.str[0], ordering=parts.str[1])


def ordering_table(study: Study, metrics: pd.DataFrame, operator: str = "delete") -> pd.DataFrame:
    """Drop of the answer per explanation, own order and greedy order, with 95 % intervals over items.

    metrics: of one model. Empty when the study orders no words (`faithfulness: ordered_explainers`).
    """
    rows = ordered_rows_of(metrics)
    rows = rows[rows["operator"] == operator]
    if rows.empty:
        return pd.DataFrame()
    keys = ["name", "measure", "k", "ordering"]
    found = summarise(rows, keys, study.statistics["resamples"], study.seed).set_index(keys)
    table = {
        f"{label}, {ordering} order": [
            format_interval(*found.loc[(name, *measure, ordering), ["estimate", "low", "high"]])
            for name in rows["name"].unique()
        ]
        for measure, label in COLUMNS.items()
        for ordering in ORDERINGS
    }
    return pd.DataFrame({"explainer": rows["name"].unique(), **table})


def ordering_contrast(study: Study, metrics: pd.DataFrame, operator: str = "delete") -> pd.DataFrame:
    """Self-explanation minus attributions under each rule for the order of the words, with Student's interval over items.

    The study's first paradigm against the mean of all attributions that were ordered, paired by item. Rules: own order,
    greedy order for both, and greedy order for the self-explanation alone. Empty without both sides.
    """
    rows, groups = ordered_rows_of(metrics), load_ledger().groups
    rows = rows[(rows["operator"] == operator) & (rows["measure"] == "ordered_drop")]
    paradigms = study.self_explanations["paradigms"]
    own = rows[(rows["explainer"] == "self") & (rows["variant"] == (paradigms[0] if paradigms else ""))]
    other = rows[[is_member(groups, ["attributions"], name) for name in rows["explainer"]]]
    found = []
    for k in own["k"].unique() if len(other) else []:
        first, second = (
            part[part["k"] == k].pivot_table(index="example_id", columns="ordering", values="value", aggfunc="mean")
            for part in (own, other)
        )
        for rule, left, right in (("own", "own", "own"), ("greedy", "greedy", "greedy"), (UNEQUAL, "greedy", "own")):
            interval = t_interval((first[left] - second[right]).to_numpy(dtype=float))
            found.append(
                {
                    "words removed": COLUMNS["ordered_drop", k],
                    "order": rule,
                    "self minus attributions": format_interval(interval.estimate, interval.low, interval.high),
                    "attributions": other["name"].nunique(),
                    "items": interval.n,
                }
            )
    return pd.DataFrame(found)

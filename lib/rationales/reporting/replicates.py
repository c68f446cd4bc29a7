"""Replicates for readers: can the replies be read in every wording, and how alike are they?"""

import pandas as pd

from rationales.figures.style import metric_style
from rationales.figures.tables import format_interval
from rationales.replicates import add_variant_parts
from rationales.statistics.summary import summarise
from rationales.study import Study
from rationales.tables import KEYS

MODEL = ["corpus", "subject", "tuning"]
AS_WRITTEN, GREEDY, SAMPLED = "as written", "greedy", "sampled"
LIKENESS = {"repeat": "sampled again", "paraphrase": "in other words"}


def first_answers(responses: pd.DataFrame) -> pd.DataFrame:
    """Return the greedy answers to the prompts as written, which stand for all in other tables."""
    return responses[(responses["paraphrase"] == 0) & (responses["repeat"] == 0)]


def read_responses(study: Study) -> pd.DataFrame:
    """Return every reply of the study's models; an empty table with the key columns when nothing was asked."""
    if not study.self_explanations["paradigms"] or not any(study.is_causal(run) for run in study.runs):
        return pd.DataFrame(columns=[*KEYS["responses"], "parsed", "given"])
    return study.read("responses", first="notebook 04_self_explanations")


def wording_table(study: Study, responses: pd.DataFrame) -> pd.DataFrame:
    """Return the share of readable replies of each paradigm that was asked more than once, by wording and decoding.

    Columns: model, paradigm, wording ("as written", "paraphrase 1", ...), decoding, replies, readable (with its 95 %
    interval over items, and over seeds where there are several), and the mean number of words
    given. Empty without replicates.
    """
    columns = ["model", "paradigm", "wording", "decoding", "replies", "readable [95 %]", "words given"]
    again = (responses["paraphrase"] > 0) | (responses["repeat"] > 0)
    if not again.any():
        return pd.DataFrame(columns=columns)
    rows = responses[again.groupby([responses[key] for key in (*MODEL, "paradigm")]).transform("any")]
    rows = rows.assign(
        model=rows["corpus"] + " / " + rows["subject"] + " / " + rows["tuning"],
        wording=[f"paraphrase {number}" if number else AS_WRITTEN for number in rows["paraphrase"]],
        decoding=[SAMPLED if number else GREEDY for number in rows["repeat"]],
        value=rows["parsed"].astype(float),
    )
    keys = ["model", "paradigm", "wording", "decoding"]
    table = summarise(rows, keys, study.statistics["resamples"], study.seed)
    sizes = rows.groupby(keys, sort=False)["given"].agg(["size", "mean"]).reset_index()
    table = table.merge(sizes, on=keys)
    shown = [format_interval(row.estimate, row.low, row.high) for row in table.itertuples()]
    table = table.assign(**{"replies": table["size"], "readable [95 %]": shown, "words given": table["mean"].round(2)})
    return table[columns]


def likeness_table(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return how alike the answers of a model to one request are, per model and paradigm: F1 with interval.

    "sampled again": each sampled answer with the greedy one to the same prompt. "in other words": the greedy answer to
    each paraphrase with that to the prompt as written. Two unreadable answers are not compared. Empty without replicates.
    """
    rows = metrics[metrics["metric"].isin([f"{kind}_f1" for kind in LIKENESS])]
    columns = ["model", "paradigm", "answers", f"{metric_style('f1')['label']} with the first answer [95 %]", "n"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    rows = add_variant_parts(rows)
    rows = rows.assign(
        model=rows["corpus"] + " / " + rows["subject"] + " / " + rows["tuning"],
        paradigm=rows["base"],
        answers=rows["metric"].map({f"{kind}_f1": name for kind, name in LIKENESS.items()}),
    )
    table = summarise(rows, columns[:3], study.statistics["resamples"], study.seed)
    shown = [format_interval(row.estimate, row.low, row.high) for row in table.itertuples()]
    return table.assign(**{columns[3]: shown})[columns]

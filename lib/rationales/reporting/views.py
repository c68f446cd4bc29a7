"""Views of the run's tables, as notebooks show them."""

import html
import json
from pathlib import Path

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.examples import Corpus
from rationales.explainers.prompts import all_paradigms
from rationales.figures.style import metric_style
from rationales.figures.tables import format_interval
from rationales.metrics.agreement import agreement_of, chance_agreement
from rationales.paths import repository_root
from rationales.replicates import without_replicates
from rationales.reporting.replicates import first_answers
from rationales.reporting.scores import FAITHFULNESS, display_name, rows_of
from rationales.stages.predictions import predictions_of
from rationales.statistics.summary import fill_invalid, select, summarise
from rationales.study import Run, Study
from rationales.tables import read_part

CURVES_SHOWN = (
    "random",
    "occlusion",
    "input_x_gradient",
    "attention",
    "greedy",
    "human",
)  # beside ranked self-explanations


def shortcut_table(corpus: Corpus) -> pd.DataFrame:
    """Per split: how many items hold the planted shortcut, and how often it goes with its label."""
    from rationales.corpora.planted import SHORTCUT_LABEL

    held = [example for example in corpus.examples if example.meta.get("has_shortcut")]
    if not held:
        return pd.DataFrame({"": ["This corpus has no planted shortcut."]})
    favoured = SHORTCUT_LABEL[corpus.task]
    rows = []
    for split in dict.fromkeys(example.split for example in corpus.examples):
        members = [example for example in held if example.split == split]
        rows.append(
            {
                "split": split,
                "items": len(corpus.of_split(split)),
                "items with the shortcut": len(members),
                f"share of them labelled {favoured}": np.mean([e.label == favoured for e in members])
                if members
                else np.nan,
            }
        )
    return pd.DataFrame(rows).round(3)


def escape_table(table: pd.DataFrame) -> str:
    """HTML of a table of untrusted text: everything escaped, line breaks kept."""
    cells = table.map(lambda value: html.escape(str(value)).replace("\n", "<br>"))
    style = "text-align:left;vertical-align:top;padding:3px 8px"
    head = "".join(f'<th style="{style}">{html.escape(str(name))}</th>' for name in cells.columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{style}">{value}</td>' for value in row) + "</tr>" for row in cells.to_numpy()
    )
    return f'<table class="tex2jax_ignore mathjax_ignore"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def agreement_table(explanations: pd.DataFrame) -> pd.DataFrame:
    """Mean feature agreement (top fifth) between every two scoring explainers, and its chance level as last row."""
    scored = without_replicates(explanations[explanations["valid"] & explanations["scores"].notna()])
    names = [display_name(e, v) for e, v in zip(scored["explainer"], scored["variant"], strict=True)]
    scored = scored.assign(name=names)
    lookup = {(row.example_id, row.name): np.asarray(row.scores, dtype=float) for row in scored.itertuples(index=False)}
    order, items = list(dict.fromkeys(names)), list(dict.fromkeys(scored["example_id"]))
    table = pd.DataFrame(np.nan, index=[*order, "chance"], columns=order)
    for i, first in enumerate(order):
        for second in order[i:]:
            pairs = [
                (lookup[item, first], lookup[item, second])
                for item in items
                if {(item, first), (item, second)} <= set(lookup)
            ]
            values = [agreement_of(a, b)["feature_agreement"] for a, b in pairs]
            table.loc[first, second] = table.loc[second, first] = np.mean(values) if values else np.nan
    for name in order:
        chances = [
            chance_agreement(lookup[i, name], lookup[i, name])["feature_agreement"]
            for i in items
            if (i, name) in lookup
        ]
        table.loc["chance", name] = np.mean(chances)
    return table


def detail_table(explanations: pd.DataFrame) -> pd.DataFrame:
    """Mean of the recorded details (relevance outside the text, completeness gap) per explainer."""
    details = explanations["details"].map(json.loads)
    rows = explanations[["explainer", "variant"]].assign(
        share_outside=details.map(lambda d: d.get("share_outside", np.nan)),
        completeness_gap=details.map(lambda d: abs(d["completeness_gap"]) if "completeness_gap" in d else np.nan),
        word_by_word=details.map(lambda d: float(d["route"] == "word by word") if "route" in d else np.nan),
    )
    table = rows.groupby(["explainer", "variant"], sort=False).mean().dropna(how="all").reset_index()
    return table.rename(columns={"word_by_word": "share encoded word by word"})


def convention_table(study: Study, metrics: pd.DataFrame, skipped: pd.DataFrame) -> pd.DataFrame:
    """F1 of self-explanations at the human length with unreadable replies left out, and counted as empty."""
    keys = ["corpus", "subject", "tuning", "variant"]
    own = select(metrics, "f1", "human", "none")
    own = without_replicates(own[own["explainer"] == "self"])
    if own.empty:
        return pd.DataFrame({"": ["No self-explanations were asked for."]})
    failed = without_replicates(skipped[skipped["explainer"] == "self"])
    failed = failed[~failed["reason"].str.startswith("no human rationale")]
    resamples = study.statistics["resamples"]
    without = summarise(own, keys, resamples, study.seed).set_index(keys)
    filled = summarise(fill_invalid(own, failed, "f1"), keys, resamples, study.seed).set_index(keys)
    table = pd.DataFrame(
        {
            "F1, unreadable left out": [format_interval(r.estimate, r.low, r.high) for r in without.itertuples()],
            "F1, unreadable as empty": [
                format_interval(*filled.loc[k, ["estimate", "low", "high"]]) for k in without.index
            ],
            "chance": without["chance"],
            "unreadable": failed.groupby(keys).size().reindex(without.index, fill_value=0),
        },
        index=without.index,
    )
    return table.reset_index()


def curve_table(study: Study, metrics: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Mean probability of the predicted label against the fraction of words deleted, per explainer, with intervals.

    The probability left is that of the intact text minus comprehensiveness; at fraction 0 it is that of the text.
    """
    rows = metrics[(metrics["metric"] == "comprehensiveness") & (metrics["operator"] == "delete")]
    grid = [f"{fraction:g}" for fraction in study.faithfulness["fractions"]]
    rows = without_replicates(rows[rows["k"].isin(grid)])
    names = [display_name(e, v) for e, v in zip(rows["explainer"], rows["variant"], strict=True)]
    keep = [name in CURVES_SHOWN or "topk" in name for name in names]
    rows = rows.assign(explainer=names)[keep].merge(
        run.rows_of(predictions_of(study))[["example_id", "p_full"]], on="example_id"
    )
    start = rows.drop_duplicates(["explainer", "example_id"]).assign(k="0", value=0.0)
    rows = pd.concat([start, rows], ignore_index=True)
    table = summarise(rows.assign(value=rows["p_full"] - rows["value"]), ["explainer", "k"], 1000)
    table["fraction"] = table["k"].astype(float)
    return table.sort_values(["explainer", "fraction"], kind="stable")


def operator_table(study: Study, metrics: pd.DataFrame, model: dict) -> pd.DataFrame:
    """Normalised comprehensiveness at the human length under each removal operator, and the rank of each explainer."""
    measures = tuple(("normalised_comprehensiveness", "human", name) for name in study.faithfulness["operators"])
    rows = rows_of(metrics, model, measures)
    table = summarise(rows, ["name", "operator"], study.statistics["resamples"], study.seed)
    wide = table.pivot(index="name", columns="operator", values=["estimate", "low", "high"])
    columns = {}
    for name in study.faithfulness["operators"]:
        part = wide.xs(name, axis=1, level=1)
        columns[name] = [format_interval(*row) for row in part[["estimate", "low", "high"]].to_numpy()]
        columns[f"rank ({name})"] = part["estimate"].rank(ascending=False)
    result = pd.DataFrame(columns, index=wide.index).sort_values(f"rank ({study.faithfulness['operators'][0]})")
    return result.rename_axis("explainer").reset_index()


def strata_table(study: Study, metrics: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Normalised comprehensiveness at the human length for rightly and wrongly answered items."""
    mine = run.rows_of(predictions_of(study))
    rows = rows_of(metrics, run, (FAITHFULNESS[0],)).merge(mine[["example_id", "correct"]], on="example_id")
    if rows.empty:
        return pd.DataFrame({"": ["No human rationale gives the length to compare at."]})
    rows["answer"] = np.where(rows["correct"], "right", "wrong")
    table = summarise(rows, ["name", "answer"], study.statistics["resamples"], study.seed)
    table["value"] = [format_interval(r.estimate, r.low, r.high) + f" (n = {r.n})" for r in table.itertuples()]
    wide = table.pivot(index="name", columns="answer", values="value").reindex(list(dict.fromkeys(table["name"])))
    return wide.rename_axis("explainer").reset_index()


def summarise_responses(responses: pd.DataFrame) -> pd.DataFrame:
    """Per paradigm: share of valid answers, and how often answers needed repair or broke a rule; without replicates."""
    responses = first_answers(responses)
    table = responses.assign(
        # Words given without the punctuation that clings to them in the text are no sign of a bad answer.
        repaired=responses["repairs"].map(lambda names: len(set(names) - {"punctuation"})) > 0,
        invented=responses["words_not_in_text"].map(len) > 0,
        too_long=responses["over_length"] > 0,
        doubled=responses["duplicates"] > 0,
    )
    grouped = table.groupby("paradigm", sort=False)
    return grouped.agg(
        answers=("parsed", "size"), valid=("parsed", "mean"), repaired=("repaired", "mean"), invented=("invented", "mean"),
        doubled=("doubled", "mean"), too_long=("too_long", "mean"), words_given=("given", "mean"),
        seconds=("seconds", "mean"),
    ).reset_index()  # fmt: skip


def validity_table(study: Study) -> pd.DataFrame:
    """Share of readable replies per model and paradigm; empty when nothing was asked."""
    if not any(study.is_causal(run) for run in study.runs) or not study.self_explanations["paradigms"]:
        return pd.DataFrame()
    responses = study.read("responses", first="notebook 04_self_explanations")
    tables = []
    for model, part in responses.groupby(["corpus", "subject", "tuning"], sort=False):
        tables.append(summarise_responses(part).assign(model=" / ".join(model)))
    table = pd.concat(tables).drop(columns="seconds")
    return table[["model", *[column for column in table.columns if column != "model"]]].reset_index(drop=True)


def contrast_table(claims: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """The contrasts whose id starts with `prefix`, as a reader wants them."""
    part = claims[claims["claim_id"].str.startswith(prefix)]
    return pd.DataFrame(
        {
            "model": part["scope"],
            "measure": [metric_style(metric)["label"] for metric in part["metric"]],
            "contrast": part["contrast"],
            "difference [95 %]": [format_interval(r.estimate, r.ci_low, r.ci_high) for r in part.itertuples()],
            "p (Holm)": part["p_adjusted"].map("{:.3f}".format),
            "effect dz": part["effect_dz"].map("{:.2f}".format),
            "detectable": part["detectable"].map("{:.2f}".format),
            "items": part["n_items"],
            "seeds": part["n_seeds"],
            "verdict": part["direction"],
        }
    ).reset_index(drop=True)


def contrast_figure_table(claims: pd.DataFrame) -> pd.DataFrame:
    """Self-minus-attribution contrasts as `plot_forest` wants them."""
    if claims.empty:
        return pd.DataFrame(columns=["contrast", "scope", "metric", "estimate", "low", "high", "n"])
    part = claims[claims["claim_id"].str.startswith("self-minus")]
    part = part.rename(columns={"ci_low": "low", "ci_high": "high", "n_items": "n"})
    return part[["contrast", "scope", "metric", "estimate", "low", "high", "n"]].reset_index(drop=True)


def read_if_there(study: Study, table: str) -> pd.DataFrame:
    """A table of the run, or an empty one when the study has no such stage."""
    parts = sorted((study.folder / table).rglob("*.parquet"))
    return pd.concat([read_part(part) for part in parts], ignore_index=True) if parts else pd.DataFrame()


def figure_folder(study: Study, given: str = "") -> Path:
    """Where the figures go: as given; else `figures/` of the repository for the default study, the run folder for others."""
    if given:
        return repository_root() / given
    return repository_root() / "figures" if study.name == "default" else study.folder / "figures"


def evaluate_embedded(n_items: int, n_asked: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy on `n_items` and readable share on `n_asked` planted test texts of the shipped causal LM.

    The texts come from a seed that no training has seen.

    Returns (accuracy by corpus and language, with and without the misleading shortcut; readable share by paradigm).
    """
    from rationales.corpora.registry import load_corpus
    from rationales.stages.attribute import predict
    from rationales.stages.self_explain import ask, read_answer
    from rationales.subjects.embedded import embedded_folder
    from rationales.subjects.engine import Engine
    from rationales.subjects.loading import Checkpoint, load_subject

    if min(n_items, n_asked) < 1:
        raise StudyError("Measuring the embedded subject needs at least one item to answer and one to explain.")
    rows, readable = [], []
    sizes = {"planted_sentiment": -(-n_items // 4), "planted_opinion": n_items}
    for name, size in sizes.items():
        corpus = load_corpus(name, train=0, validation=0, test=size, seed=1_000_003 + seed)
        subject = load_subject(Checkpoint(path=str(embedded_folder("tiny-llama"))), corpus.task, corpus.labels)
        examples = corpus.of_split("test")
        engine = Engine(subject)
        predictions = predict(engine, corpus, examples)
        conflict = [e.meta["shortcut_conflict"] for e in examples]
        table = predictions.assign(
            corpus=name,
            language=[e.language for e in examples],
            shortcut=np.where(conflict, "misleads", "does not mislead"),
        )
        rows.append(table.groupby(["corpus", "language", "shortcut"])["correct"].agg(["mean", "size"]).reset_index())
        rows.append(
            table.groupby("corpus")["correct"]
            .agg(["mean", "size"])
            .reset_index()
            .assign(language="all", shortcut="all")
        )
        asked = examples[:n_asked]
        for paradigm in all_paradigms():
            _, replies, _ = ask(
                engine, corpus, paradigm, asked, list(predictions["predicted"][: len(asked)]), 320, None
            )
            facts = [
                read_answer(paradigm, corpus, e, reply, label, "split")[0]
                for e, reply, label in zip(asked, replies, predictions["predicted"][: len(asked)], strict=True)
            ]
            readable.append(
                {"paradigm": paradigm.name, "corpus": name, "readable": np.mean([f["parsed"] for f in facts])}
            )
    accuracy = pd.concat(rows, ignore_index=True).rename(columns={"mean": "accuracy", "size": "items"})
    validity = pd.DataFrame(readable).pivot(index="paradigm", columns="corpus", values="readable").reset_index()
    return accuracy, validity

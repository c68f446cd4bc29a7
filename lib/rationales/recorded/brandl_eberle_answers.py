"""What the recorded answers are like, and what other ways of reading them would have changed.

Shares have Wilson intervals, means are by sentence (see `brandl_eberle_scores`). All tables are tidy.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from rationales.examples import Corpus
from rationales.recorded.brandl_eberle import (
    Sample,
    group_samples,
    match_examples,
    self_explanation,
)
from rationales.recorded.brandl_eberle_files import RecordedRun
from rationales.recorded.brandl_eberle_scores import summarise_items
from rationales.recorded.substring_matching import match_as_published, score_marks
from rationales.statistics.bootstrap import share_interval

RUN = ["subject", "seed", "repeat"]
RULES = {
    "words": "raw answer, whole words in order; human rationale as marked",
    "words, mended answer": "answer as mended by Llama-3.1, whole words in order; human rationale as marked",
    "substring": "mended answer, substring at its first occurrence; human rationale as marked",
    "substring, moved rationale": "mended answer and human rationale looked up as substrings (P2)",
}
# Words without the punctuation that clings to them in the text, phrases as one item, and prose around the list are
# slips of form; the rest had to be mended before a JSON reader could read the list.
SYNTAX_REPAIRS = frozenset(
    ["brackets", "code fence", "comma list", "bare word", "cut off", "inline pairs", "inner quotes", "lines",
     "prose around", "quotes in prose", "single quotes", "tuples", "unclosed quote", "unquoted words"]
)  # fmt: skip


def _shares(table: pd.DataFrame, by: list[str], flags: dict[str, pd.Series]) -> pd.DataFrame:
    """One row per group and flag: value, low, high, n_items, n_undefined."""
    rows = []
    for keys, part in table.groupby(by, sort=True):
        for name, flag in flags.items():
            interval = share_interval(flag.loc[part.index].astype(float).to_numpy())
            rows.append(
                {**dict(zip(by, keys, strict=True)), "quantity": name, "value": interval.estimate, "low": interval.low,
                 "high": interval.high, "n_items": interval.n, "n_undefined": interval.n_undefined}
            )  # fmt: skip
    return pd.DataFrame(rows)


def describe_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return shares of sentences per subject, seed and paradigm (the "#1" of a repeat included).

    correct: by our reading of the answer. correct_recorded: by the authors' parser. misread: the answer states the
    right label and their parser says the other. unreadable: no label stated. asked: a rationale was asked for.
    """
    stated_right = predictions["correct"].astype(bool)
    recorded_right = predictions["recorded_label"] == predictions["label"]
    flags = {
        "correct": stated_right,
        "correct_recorded": recorded_right,
        "misread": stated_right & ~recorded_right,
        "misread_as_correct": ~stated_right & recorded_right,
        "unreadable": predictions["reason"] != "",
        "asked": predictions["asked"].astype(bool),
    }
    return _shares(predictions, ["subject", "seed", "paradigm"], flags)


def describe_answers(responses: pd.DataFrame) -> pd.DataFrame:
    """Return shares of asked self-explanations per subject, seed and repeat.

    valid: a word of the text is named. syntax: the list had to be mended to be read. over_length: more words of the
    text than asked for. over_named: the same, with words that are not in the text or named too often counted as well.
    invented: a returned string is not in the text. glued: a phrase of words that are not side by side in the text.
    doubled: a word named more often than the text holds it.
    """
    named = responses["given"] + responses["duplicates"] + responses["words_not_in_text"].map(len)
    flags = {
        "valid": responses["parsed"].astype(bool),
        "syntax": responses["repairs"].map(lambda names: bool(SYNTAX_REPAIRS & set(names))),
        "over_length": responses["over_length"] > 0,
        "over_named": named > responses["asked_for"],
        "invented": responses["words_not_in_text"].map(len) > 0,
        "glued": responses["glued"] > 0,
        "doubled": responses["duplicates"] > 0,
    }
    return _shares(responses, RUN, flags)


def count_invented(responses: pd.DataFrame) -> pd.DataFrame:
    """Return, per subject, seed and repeat, the words given, the returned strings not in the text, and their share.

    share: strings not in the text among these and the words given.
    """
    counts = responses.assign(absent=responses["words_not_in_text"].map(len)).groupby(RUN, sort=True)
    table = counts[["given", "absent"]].sum().reset_index()
    return table.assign(share=table["absent"] / (table["given"] + table["absent"]))


def describe_validity(explanations: pd.DataFrame) -> pd.DataFrame:
    """Return how many explanations are valid, and how many are not for each reason ("" = valid), per explainer."""
    by = ["subject", "seed", "explainer", "variant", "reason"]
    return explanations.groupby(by, sort=True).size().rename("n").reset_index()


def describe_relevance(
    explanations: pd.DataFrame, generator: np.random.Generator, n_resamples: int = 2000
) -> pd.DataFrame:
    """Return the shares of absolute relevance on the first token and outside the sentence, per subject and explainer.

    Also of attributions that could not be brought to words, as these shares need none. quantity: share_first_token or
    share_outside, which includes the first token.
    """
    names = ("share_first_token", "share_outside")
    rows = []
    for row in explanations[explanations["explainer"] != "self"].itertuples(index=False):
        details = json.loads(row.details)
        identity = {name: getattr(row, name) for name in ("subject", "seed", "explainer", "variant", "example_id")}
        rows += [{**identity, "quantity": name, "value": details[name]} for name in names if name in details]
    columns = ["subject", "seed", "explainer", "variant", "example_id", "quantity", "value"]
    by = ["subject", "explainer", "variant", "quantity", "seed"]
    return summarise_items(pd.DataFrame(rows, columns=columns), generator, by, n_resamples)


def compare_matching(
    runs: Sequence[RecordedRun], corpus: Corpus, generator: np.random.Generator, n_resamples: int = 2000
) -> pd.DataFrame:
    """Return scores of the self-explanations under each of `RULES`, on the sentences that all rules can score.

    metric: f1, kappa, recall (whole lists against the human rationale; one that names no word scores 0), share_self
    (marks per word). Over all seeds, first answers only. Columns as `summarise_items`, and difference,
    difference_low, difference_high: to the rule "words", paired by sentence and seed.
    """
    rows = []
    for sample in group_samples(runs):
        if sample.repeat == 0:
            rows += _score_rules(sample, corpus)
    items = pd.DataFrame(rows, columns=["subject", "seed", "example_id", "rule", "metric", "value"])
    by = ["subject", "rule", "metric"]
    keys = ["subject", "seed", "example_id", "metric"]
    words = items["rule"] == "words"
    gaps = items[~words].merge(items[words].drop(columns="rule"), on=keys, suffixes=("", "_words"))
    gaps = gaps.assign(value=gaps["value"] - gaps["value_words"])
    table = summarise_items(items, generator, by, n_resamples)
    paired = summarise_items(gaps, generator, by, n_resamples)
    names = {"value": "difference", "low": "difference_low", "high": "difference_high"}
    return table.merge(paired[[*by, *names]].rename(columns=names), on=by, how="left")


def _score_rules(sample: Sample, corpus: Corpus) -> list[dict]:
    run = sample.runs[0]
    published = match_as_published(run).set_index("text")
    examples = {example.example_id: example for example in corpus.examples}
    rows = []
    for example_id, row in match_examples(run, corpus).items():
        if row.rationale is None or published.loc[row.text, "skipped"]:
            continue
        example, found = examples[example_id], published.loc[row.text]
        gold = np.array(row.gold, dtype=int)
        marks = {}
        for rule, mended in (("words", False), ("words, mended answer", True)):
            _, explanation = self_explanation(example, row, repaired=mended)
            marks[rule] = np.zeros(len(gold), dtype=int)
            if explanation.valid:
                marks[rule][list(explanation.selected)] = 1
        scores = {rule: score_marks(chosen, gold) for rule, chosen in marks.items()}
        scores["substring"] = score_marks(found["marks"], gold)
        scores["substring, moved rationale"] = score_marks(found["marks"], found["gold_marks"])
        identity = {"subject": sample.subject, "seed": sample.seed, "example_id": example_id}
        rows += [
            {**identity, "rule": rule, "metric": metric, "value": values[metric]}
            for rule, values in scores.items()
            for metric in ("f1", "kappa", "recall", "share_self")
        ]
    return rows


def compare_glued_phrases(
    runs: Sequence[RecordedRun], corpus: Corpus, generator: np.random.Generator, n_resamples: int = 2000
) -> pd.DataFrame:
    """Return f1 and kappa of whole lists, their length and the valid rate, with glued phrases split and rejected.

    A glued phrase is returned as one string, but its words are not side by side in the text. An answer that is not
    valid scores 0, so that both rules count the same sentences. Over all seeds, first answers only.
    """
    rows = []
    for sample in group_samples(runs):
        examples = match_examples(sample.runs[0], corpus)
        for example in corpus.examples if sample.repeat == 0 else ():
            row = examples.get(example.example_id)
            if row is None or row.rationale is None:
                continue
            for rule in ("split", "reject"):
                _, explanation = self_explanation(example, row, rule)
                marks = np.zeros(len(example.words), dtype=int)
                if explanation.valid:
                    marks[list(explanation.selected)] = 1
                values = score_marks(marks, np.array(row.gold, dtype=int))
                facts = {"f1": values["f1"], "kappa": values["kappa"], "words": float(marks.sum()),
                         "valid": float(explanation.valid)}  # fmt: skip
                rows += [
                    {"subject": sample.subject, "seed": sample.seed, "example_id": example.example_id, "rule": rule,
                     "metric": metric, "value": value}
                    for metric, value in facts.items()
                ]  # fmt: skip
    columns = ["subject", "seed", "example_id", "rule", "metric", "value"]
    by = ["subject", "rule", "metric"]
    return summarise_items(pd.DataFrame(rows, columns=columns), generator, by, n_resamples)

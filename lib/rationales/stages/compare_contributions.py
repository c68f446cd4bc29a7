"""Part of stage 3: do the same words drive the answer and the explanation? (after CC-SHAP, Parcalabescu and Frank 2024)

Both outputs of the model are attributed to the words of the text by one method, occlusion: a word is deleted, and what
counts is by how much the log-probability drops. Of the answer: that of the predicted label, among the labels, in the
classification turn. Of the explanation: that of the tokens which the model wrote, given the conversation as it was
sent; the label it was told, and the request, stay. Of an answer that gives its reason first (order EP), the tokens up
to the end of the reason count, not the label behind it.

CC-SHAP takes Shapley values of the input tokens, estimated from sampled coalitions, in place of single deletions.
Occlusion is exact, and costs one text per word; where words stand in for one another (two that say the same), single
deletions see neither and Shapley values share the effect between them.

A word that is copied into the reply drives the reply by being copied: without it the copy is unlikely. For replies that
list words, agreement therefore also rises where they list the words that the answer hangs on.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.explainers.parsing import split_answer
from rationales.explainers.prompts import parse_paradigm
from rationales.metrics.contributions import (
    MEASURES,
    WEIGHINGS,
    chance_contribution_agreement,
    contribution_agreement,
    weigh_tokens,
)
from rationales.stages.prepare import explained_examples, read_corpus
from rationales.stages.subjects import open_engine, run_columns
from rationales.study import Run, Study
from rationales.subjects.encoding import Encoded
from rationales.subjects.engine import Engine, Request
from rationales.subjects.replies import encode_reply, reply_log_probs
from rationales.tables import read_part, write_table

COLUMNS = [
    "example_id", "paradigm", "weighing", "measure", "value", "chance", "predicted", "n_words", "n_tokens", "valid",
    "reason", "answer_scores", "explanation_scores",
]  # fmt: skip


def single_deletions(n_words: int) -> np.ndarray:
    """Keep-masks (1 + n_words, n_words): the whole text, then the text without each word."""
    return np.concatenate([np.ones((1, n_words), bool), ~np.eye(n_words, dtype=bool)])


def explaining_part(paradigm: str, text: str) -> str:
    """A reply up to the end of its rationale: all of it, or under order EP what stands before the stated label.

    Empty where the rationale does not stand in the reply as it was read.
    """
    if parse_paradigm(paradigm).order == "PE":
        return text
    rationale, _ = split_answer(text, "EP")
    place = text.find(rationale)
    return text[: place + len(rationale)] if rationale and place >= 0 else ""


def encode_row(engine: Engine, example: Example, paradigm: str, explanation, response) -> tuple[Encoded | None, str]:
    """The conversation and reply of one self-explanation, or the reason why it cannot be attributed."""
    if explanation is None or not explanation.valid:
        return None, "no self-explanation" if explanation is None else explanation.reason
    if len(example.words) < 2:
        return None, "a single word"
    reply = explaining_part(paradigm, response.text)
    if not reply.strip():
        return None, "rationale not found in the reply"
    encoded = encode_reply(engine.subject, example, response.prompt, reply)
    if encoded is None:
        return None, "text not found in the prompt"
    if len(encoded.token_ids) + len(encoded.label_ids[0]) > engine.subject.context:
        return None, "longer than the context"
    return encoded, ""


def agreement_rows(answer: np.ndarray, drops: np.ndarray) -> list[dict]:
    """The agreement of the contributions to an answer (n_words,) and to the tokens of a reply (n_words, n_tokens).

    One row per weighing of the tokens and measure, with the exact mean over all permutations of the words as `chance`.
    """
    rows = []
    for weighing, explanation in weigh_tokens(drops).items():
        defined = np.isfinite(explanation).all()
        for measure in MEASURES:
            value = contribution_agreement(answer, explanation)[measure] if defined else np.nan
            chance = chance_contribution_agreement(answer, explanation)[measure] if defined else np.nan
            valid = not np.isnan(value)
            rows.append({"weighing": weighing, "measure": measure, "value": value, "chance": chance, "valid": valid,
                         "reason": "" if valid else "constant contributions", "n_tokens": drops.shape[1],
                         "answer_scores": answer, "explanation_scores": explanation if defined else None})  # fmt: skip
    return rows


def contribution_rows(
    engine: Engine,
    corpus: Corpus,
    examples: Sequence[Example],
    explanations: pd.DataFrame,
    responses: pd.DataFrame,
    paradigms: Sequence[str],
) -> pd.DataFrame:
    """Four rows (weighings x measures) per example and paradigm; what cannot be computed has a reason and no value."""
    masks = {example.example_id: single_deletions(len(example.words)) for example in examples}
    answers = engine.answer([Request(example, masks[example.example_id], "delete") for example in examples])
    rows = []
    first = responses[(responses["paraphrase"] == 0) & (responses["repeat"] == 0)] if len(responses) else responses
    for paradigm in paradigms:
        given = {row.example_id: row for row in explanations[explanations["variant"] == paradigm].itertuples()}
        told = {row.example_id: row for row in first[first["paradigm"] == paradigm].itertuples()}
        found = [
            encode_row(engine, example, paradigm, given.get(example.example_id), told.get(example.example_id))
            for example in examples
        ]
        kept = [encoded for encoded, _ in found if encoded is not None]
        scores = iter(
            reply_log_probs(engine.subject, kept, [masks[one.example_id] for one in kept], engine.token_budget)
        )
        for example, answer, (encoded, reason) in zip(examples, answers, found, strict=True):
            label = int(answer[0].argmax())
            facts = {"example_id": example.example_id, "paradigm": paradigm, "predicted": corpus.labels[label],
                     "n_words": len(example.words)}  # fmt: skip
            if encoded is None:
                empty = {"value": np.nan, "chance": np.nan, "n_tokens": 0, "valid": False, "reason": reason}
                rows += [{**facts, "weighing": w, "measure": m, **empty} for w in WEIGHINGS for m in MEASURES]
                continue
            written, chosen = next(scores), answer[:, label].astype(float)
            rows += [{**facts, **row} for row in agreement_rows(chosen[0] - chosen[1:], written[0] - written[1:])]
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_contributions(study: Study, run: Run, shard: int = 0) -> pd.DataFrame:
    """Attribute answer and reply for the paradigms under `self_explanations: contributions`; write `contributions`.

    Reads the replies and self-explanations of the run, the first answer of each paradigm only. Empty, and nothing is
    written, when the study asks for none. StudyError for a subject that cannot write.
    """
    settings = study.self_explanations
    if not settings["contributions"]:
        return pd.DataFrame(columns=COLUMNS)
    if not study.is_causal(run):
        raise StudyError(f"The subject '{run.subject}' is an encoder and writes no reply that could be attributed.")
    first = "notebook 04_self_explanations"
    explanations = read_part(study.part("explanations", run.name, "self", shard), first=first)
    responses = read_part(study.part("responses", run.name, shard), first=first)
    corpus = read_corpus(study, run.corpus)
    examples = explained_examples(study, corpus, shard)[: settings["contributions_items"]]
    engine = open_engine(study, run, corpus)
    table = contribution_rows(engine, corpus, examples, explanations, responses, settings["contributions"])
    table = table.assign(**run_columns(study, run))
    write_table("contributions", table, study.part("contributions", run.name, shard))
    return table

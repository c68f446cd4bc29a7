"""Stage 3: what a subject says about itself, in every paradigm of the study."""

import time

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.explainers.parsing import parse_label, parse_rationale, split_answer
from rationales.explainers.prompts import Paradigm, conversation, parse_paradigm, score_sign, words_asked_for
from rationales.explainers.registry import Explanation, explanation_row
from rationales.replicates import join_variant, replicates_of, sample_seed_of
from rationales.stages.attribute import predict
from rationales.stages.prepare import explained_examples, read_corpus
from rationales.stages.subjects import open_engine, run_columns
from rationales.study import Run, Study
from rationales.subjects.engine import Engine
from rationales.tables import NO_LABEL, write_table
from rationales.tasks import wording_for


def verbalisers(corpus: Corpus, example: Example) -> dict[str, list[str]]:
    """The words that stand for each label in the example's language, for reading an answer."""
    words = wording_for(corpus.task, example.language).labels
    return {label: sorted({words[label], label}) for label in corpus.labels}


def read_answer(
    paradigm: Paradigm, corpus: Corpus, example: Example, text: str, predicted: str, glued_phrases: str
) -> tuple[dict, Explanation]:
    """What a reply says: facts for the table `responses`, and the explanation of `predicted`.

    `predicted` is the label of the prediction that is explained, for the sign of word scores.
    """
    rationale, verdict = split_answer(text, "EP") if paradigm.order == "EP" else (text, "")
    k = words_asked_for(paradigm, example)
    parsed = parse_rationale(rationale, example.word_texts, paradigm.form, k, glued_phrases)
    stated, label_reason = (None, "")
    if paradigm.order == "EP":
        stated, label_reason = parse_label(verdict, verbalisers(corpus, example))
    facts = {
        "example_id": example.example_id,
        "text": text,
        "stated_label": stated or (NO_LABEL if paradigm.order == "EP" else ""),
        "label_reason": label_reason,
        **parsed.columns(k),
    }
    if not parsed.valid:
        return facts, Explanation(example.example_id, valid=False, reason=parsed.reason)
    if parsed.scores is not None:
        stated_scores = np.array(parsed.scores, dtype=float)
        sign = score_sign(paradigm, corpus.labels, predicted)
        # A word that the answer left out was not scored; 0 is what the answer says of it.
        scores = np.nan_to_num(stated_scores) * sign
        details = {"stated_sign": sign, "words_without_score": parsed.missing}
        return facts, Explanation(example.example_id, scores, details=details)
    ordered = paradigm.form == "topk"
    return facts, Explanation(example.example_id, selected=parsed.selected, ordered=ordered)


def ask(
    engine: Engine, corpus: Corpus, paradigm: Paradigm, examples: list[Example], predicted: list[str],
    max_new_tokens: int, sample_seed: int | None, paraphrase: int = 0,
) -> tuple[list[list[dict]], list[str], float]:  # fmt: skip
    """Conversations, replies and seconds per reply of one paradigm in one wording."""
    conversations = []
    for example, label in zip(examples, predicted, strict=True):
        answer = wording_for(corpus.task, example.language).labels[label]
        conversations.append(conversation(paradigm, corpus.task, example, corpus.labels, answer, label, paraphrase))
    started = time.perf_counter()
    replies = engine.subject.generate(
        conversations, max_new_tokens, engine.token_budget, sample_seed, label=paradigm.name
    )
    return conversations, replies, (time.perf_counter() - started) / max(1, len(replies))


def self_explain(study: Study, run: Run, shard: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Ask for every paradigm on one shard and write `responses`, `explanations` and the predictions of order EP.

    Returns responses, explanations and EP predictions; the latter of first answers only, not of replicates. Examples
    without a human rationale are asked for under every length rule but "human", where they become invalid rows.
    """
    if not study.is_causal(run):
        raise StudyError(
            f"The subject '{run.subject}' is an encoder and cannot write; self-explanations need a causal LM."
        )
    corpus = read_corpus(study, run.corpus)
    examples = explained_examples(study, corpus, shard)
    engine = open_engine(study, run, corpus)
    predictions = predict(engine, corpus, examples)
    columns, settings = run_columns(study, run), study.self_explanations
    responses, rows, stated = [], [], []
    known = predictions.set_index("example_id")["predicted"]
    longest = study.subjects[run.subject]["max_new_tokens"]
    for name in settings["paradigms"]:
        paradigm = parse_paradigm(name)
        askable = [e for e in examples if paradigm.length != "human" or (e.gold is not None and any(e.gold))]
        asked = {example.example_id for example in askable}
        labels = [known[example.example_id] for example in askable]
        for paraphrase, repeat in replicates_of(settings, name):
            seed, variant = sample_seed_of(run.seed, paraphrase, repeat), join_variant(name, paraphrase, repeat)
            conversations, replies, seconds = ask(engine, corpus, paradigm, askable, labels, longest, seed, paraphrase)
            for example, messages, reply, label in zip(askable, conversations, replies, labels, strict=True):
                facts, explanation = read_answer(paradigm, corpus, example, reply, label, settings["glued_phrases"])
                responses.append({**facts, "paradigm": name, "paraphrase": paraphrase, "repeat": repeat,
                                  "prompt": engine.subject.render(messages), "seconds": seconds})  # fmt: skip
                rows.append({**explanation_row(explanation, "self", variant), "calls": 1, "seconds": seconds})
                if paradigm.order == "EP" and variant == name:
                    stated.append({"example_id": example.example_id, "paradigm": name, "predicted": facts["stated_label"],
                                   "label": example.label, "correct": facts["stated_label"] == example.label})  # fmt: skip
            for example in (e for e in examples if e.example_id not in asked):
                unasked = Explanation(
                    example.example_id, valid=False, reason="no human rationale to take the length from"
                )
                rows.append(explanation_row(unasked, "self", variant))
    tables = [pd.DataFrame(table) for table in (responses, rows, stated)]
    responses, explanations, stated = (table.assign(**columns) if len(table) else table for table in tables)
    write_table("responses", responses, study.part("responses", run.name, shard))
    if len(stated):
        write_table("predictions", stated, study.part("predictions", run.name, shard, "stated"))
    write_table("explanations", explanations, study.part("explanations", run.name, "self", shard))
    return responses, explanations, stated

"""Part of stage 3: self-consistency (Madsen, Chandar and Reddy 2024). The edited text is asked in a fresh conversation.

Three kinds of edit: the words of the self-explanation are taken away ("importance"), the model redacts the words that
decide its answer ("redaction"), or it rewrites the text for another label ("counterfactual"). Beside the words of the
model stand as many random words, the floor, and the human words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.explainers.edit_prompts import (
    edit_phrases_for,
    question_with_unknown,
    read_redaction,
    read_rewriting,
    redaction_request,
    rewriting_request,
)
from rationales.explainers.parsing import parse_label
from rationales.metrics.ordering import first_orders
from rationales.metrics.selection import resolve_k
from rationales.metrics.self_consistency import (
    KINDS,
    UNKNOWN,
    consistent,
    label_left,
    redact_words,
    remove_words,
    word_edit_share,
)
from rationales.randomness import generator_for
from rationales.stages.prepare import explained_examples, read_corpus
from rationales.stages.subjects import open_engine, run_columns
from rationales.study import Run, Study
from rationales.subjects.engine import Engine
from rationales.tables import read_part, write_table
from rationales.tasks import wording_for

EDIT_FUNCTIONS = {"redact": redact_words, "remove": remove_words}
ANSWER_TOKENS = 24  # for the one word of an answer
COLUMNS = [
    "example_id", "kind", "paradigm", "words", "edit", "offered_unknown", "original", "target", "answer", "value", "valid",
    "reason", "k", "edit_share", "prompt", "reply", "edited",
]  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """One edited text, or the reason why there is none; `facts` are the columns of its row that are known before asking."""

    facts: dict
    example: Example | None
    reason: str = ""


def words_of(row, example: Example, generator: np.random.Generator) -> list[int]:
    """The words that a self-explanation names: its list, or the top fifth of its scores, ties by lot."""
    if row.selected is not None:
        return [int(index) for index in row.selected]
    k = resolve_k(0.2, len(example.words))
    return first_orders(np.asarray(row.scores, dtype=float), k, 1, generator)[0].tolist()


def edit_words(example: Example, words: Sequence[int], edit: str, facts: dict) -> Edit:
    """The text without some words, or with a token in their places; without an edit where no or every word is named."""
    facts = {**facts, "edit": edit, "k": len(words)}
    if not words or len(words) == len(example.words):
        return Edit(facts, None, "no word named" if not words else "every word named")
    mask = np.zeros(len(example.words), dtype=bool)
    mask[list(words)] = True
    edited = EDIT_FUNCTIONS[edit](example, mask)
    share = len(words) / len(example.words)
    return Edit({**facts, "edit_share": share, "edited": "\n".join(edited.segments)}, edited)


def edits_beside(example: Example, words: Sequence[int], edit: str, facts: dict, seed: int) -> list[Edit]:
    """The edits of the model's words, of as many random words, and of the human words."""
    draw = generator_for("asked again", seed, example.example_id, facts["kind"], facts["paradigm"])
    chance = draw.permutation(len(example.words))[: len(words)].tolist()
    human = [] if example.gold is None else np.flatnonzero(example.gold).tolist()
    found = [
        edit_words(example, words, edit, {**facts, "words": "self"}),
        edit_words(example, chance, edit, {**facts, "words": "random"}),
    ]
    return found + ([edit_words(example, human, edit, {**facts, "words": "human"})] if human else [])


def importance_edits(
    examples: Sequence[Example], explanations: pd.DataFrame, paradigms: Sequence[str], edit: str, seed: int
) -> list[Edit]:
    """Edits from the self-explanations of some paradigms; one that could not be read is a row with its reason."""
    lookup = {example.example_id: example for example in examples}
    chosen = explanations[explanations["variant"].isin(paradigms) & explanations["example_id"].isin(lookup)]
    edits = []
    for row in chosen.itertuples(index=False):
        facts = {"example_id": row.example_id, "kind": "importance", "paradigm": row.variant}
        if not row.valid:
            edits.append(Edit({**facts, "words": "self", "edit": edit}, None, row.reason))
            continue
        example = lookup[row.example_id]
        words = words_of(row, example, generator_for("asked words", seed, row.example_id, row.variant))
        edits += edits_beside(example, words, edit, facts, seed)
    return edits


def ask_for_edits(
    engine: Engine,
    corpus: Corpus,
    examples: Sequence[Example],
    targets: Sequence[str],
    kind: str,
    longest: int,
    seed: int,
) -> list[Edit]:
    """The texts that the model redacts or rewrites when asked; a reply that cannot be used is a row with its reason."""
    if kind == "redaction":
        conversations = [redaction_request(corpus.task, example) for example in examples]
    else:
        pairs = zip(examples, targets, strict=True)
        conversations = [rewriting_request(corpus.task, example, target) for example, target in pairs]
    replies = engine.subject.generate(conversations, longest, engine.token_budget, None, label=kind)
    edits = []
    for example, messages, reply in zip(examples, conversations, replies, strict=True):
        facts = {"example_id": example.example_id, "kind": kind, "paradigm": kind, "words": "self",
                 "prompt": messages[0]["content"], "reply": reply}  # fmt: skip
        if kind == "redaction":
            mask, reason = read_redaction(corpus.task, reply, example)
            words = [] if mask is None else np.flatnonzero(mask).tolist()
            found = edits_beside(example, words, "redact", facts, seed) if words else []
            edits += found or [Edit({**facts, "edit": "redact"}, None, reason)]
            continue
        edited, reason = read_rewriting(corpus.task, reply, example)
        facts["edit"] = "rewrite"
        if edited is not None:
            facts |= {"edit_share": word_edit_share(example, edited), "edited": "\n".join(edited.segments)}
        edits.append(Edit(facts, edited, reason))
    return edits


def answer_texts(engine: Engine, corpus: Corpus, examples: Sequence[Example], offer: bool) -> list[str | None]:
    """The label of each text in a fresh conversation; None where it cannot be read.

    offer: the prompt offers "unknown" and the reply is generated and parsed. Without it the label is the likeliest one,
    as everywhere else, so that a small model that was never taught to say "unknown" can be asked, too.
    """
    if not examples:
        return []
    if not offer:
        return [corpus.labels[place] for place in engine.full(examples).argmax(axis=1)]
    conversations = [question_with_unknown(corpus.task, example) for example in examples]
    replies = engine.subject.generate(conversations, ANSWER_TOKENS, engine.token_budget, None, label="asking again")
    answers = []
    for example, reply in zip(examples, replies, strict=True):
        names = wording_for(corpus.task, example.language).labels
        words = {label: sorted({names[label], label}) for label in corpus.labels}
        words[UNKNOWN[0]] = sorted({edit_phrases_for(example.language).unknown, *UNKNOWN} - set(corpus.labels))
        answers.append(parse_label(reply, words)[0])
    return answers


def other_labels(
    engine: Engine, corpus: Corpus, examples: Sequence[Example], answers: Sequence[str | None]
) -> list[str]:
    """The likeliest label of each text that is not the answer given: what a counterfactual is asked to bring about."""
    order = np.argsort(-engine.full(examples), axis=1, kind="stable")
    ranked = [[corpus.labels[place] for place in row] for row in order]
    return [
        next(n for n in names if n != (a if a in names else names[0])) for names, a in zip(ranked, answers, strict=True)
    ]


def judge(
    edits: Sequence[Edit], originals: dict, targets: dict, answers: Sequence[str | None], offer: bool
) -> pd.DataFrame:
    """One row per edit with `value`: 1 consistent, 0 not, NaN where an answer is missing or was "unknown" before.

    Importance and redaction: the answer must be "unknown" where that was offered, and else at least another label.
    Counterfactual: the answer must be the target.
    """
    asked = iter(answers)
    rows = []
    for edit in edits:
        valid = edit.example is not None
        answer = next(asked) if valid else None
        name = edit.facts["example_id"]
        target = targets[name] if edit.facts["kind"] == "counterfactual" else None
        reason = edit.reason or ("" if answer is not None else "answer not read")
        rows.append({"k": -1, "edit_share": np.nan, "prompt": "", "reply": "", "edited": "", **edit.facts,
                     "offered_unknown": offer, "original": originals[name], "target": target, "answer": answer,
                     "valid": valid and answer is not None, "reason": reason})  # fmt: skip
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "value"])
    values = np.full(len(table), np.nan)
    for kind in KINDS:
        here = (table["kind"] == kind).to_numpy()
        before, after = (table.loc[here, name].to_numpy(dtype=object) for name in ("original", "answer"))
        if kind == "counterfactual":
            values[here] = consistent(before, after, kind, table.loc[here, "target"].to_numpy(dtype=object))
        else:
            values[here] = consistent(before, after, kind) if offer else label_left(before, after)
    return table.assign(value=values)[COLUMNS]


def ask_again(study: Study, run: Run, shard: int = 0) -> pd.DataFrame:
    """Make and ask the edited texts that the study file names under `self_explanations: consistency`; write `consistency`.

    Reads the self-explanations of the run. Edits are asked under one and the same question as the original text. Texts
    without a usable edit stay as rows with a reason. Empty, and nothing is written, when the study asks for none.
    """
    settings = study.self_explanations
    if not settings["consistency"]:
        return pd.DataFrame(columns=COLUMNS)
    if not study.is_causal(run):
        raise StudyError(f"The subject '{run.subject}' is an encoder and cannot be asked about its own words.")
    path = study.part("explanations", run.name, "self", shard)
    explanations = read_part(path, first="notebook 04_self_explanations")
    corpus = read_corpus(study, run.corpus)
    examples = explained_examples(study, corpus, shard)[: settings["consistency_items"]]
    engine = open_engine(study, run, corpus)
    longest = study.subjects[run.subject]["max_new_tokens"]
    table = consistency_rows(engine, corpus, examples, explanations, settings, longest, study.seed)
    columns = run_columns(study, run)
    write_table("consistency", table.assign(**columns), study.part("consistency", run.name, shard))
    return table.assign(**columns)


def consistency_rows(
    engine: Engine,
    corpus: Corpus,
    examples: Sequence[Example],
    explanations: pd.DataFrame,
    settings: dict,
    longest: int,
    seed: int,
) -> pd.DataFrame:
    """All edits of some examples, asked and judged; settings: the section `self_explanations` of a study file."""
    offer = settings["consistency_unknown"]
    originals = answer_texts(engine, corpus, examples, offer)
    targets = other_labels(engine, corpus, examples, originals)
    edits: list[Edit] = []
    for kind in settings["consistency"]:
        if kind == "importance":
            paradigms = settings["consistency_paradigms"] or settings["paradigms"][:1]
            edits += importance_edits(examples, explanations, paradigms, settings["consistency_edit"], seed)
        else:
            edits += ask_for_edits(engine, corpus, examples, targets, kind, longest, seed)
    answers = answer_texts(engine, corpus, [edit.example for edit in edits if edit.example is not None], offer)
    names = [example.example_id for example in examples]
    pairs = (dict(zip(names, labels, strict=True)) for labels in (originals, targets))
    return judge(edits, *pairs, answers, offer)

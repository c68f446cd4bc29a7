"""What Brandl & Eberle (P2) recorded, in the tables of this study.

Four chat models read 263 film sentences (FairRationales, SST part), answered (a) positive or (b) negative, sampled,
and were then asked in the same chat for "a maximum of K individual words" that show evidence for the label, with K
the length of the human rationale. They were asked only where the authors' parser found the answer right.

Known traps, and what is done here:
- The authors' answer parser calls an answer negative when it names both letters or neither. Llama-2 often says
  "overall rather positive" and then lists its reasons as (a), (b): about thirty right answers per seed count as
  wrong, and no rationale was asked for. The table `predictions` has our reading, with theirs in `recorded_label`.
- Some files hold the same answers (`_lrp` and `_lrp_contrast`); the self-explanation is taken once. The runs without
  a suffix are other samples under the same seed number and become a repeat: their variants end in "#1".
- Relevances belong to model tokens known by id only; `relevance_words` says how they come to words, or why not.
- A relevance can explain another answer than the recorded one, since the authors sampled the answer twice, or be NaN
  (half precision), or be absent. Such rows stay in `explanations` as not valid, with the reason.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.explainers.parsing import parse_label, parse_rationale
from rationales.explainers.registry import Explanation, explanation_row
from rationales.explainers.words import share_outside, words_from_tokens
from rationales.recorded.brandl_eberle_files import (
    ATTRIBUTIONS,
    LABELS,
    AlignedAnswer,
    RecordedAnswer,
    RecordedRun,
    Recording,
    read_aligned,
    recordings_at_hand,
)
from rationales.recorded.relevance_words import Pieces, assign_tokens, learn_pieces, plain_piece
from rationales.tables import NO_LABEL, PREDICTION_ONLY, config_hash

STUDY = "recorded"
PARADIGM = "PE-topk-human-anchored"
# Mixtral's vocabulary is that of Mistral v0.3 without its 768 control tokens; used only where the data agree.
SHIFTED_VOCABULARY = {"mixtral-8x7b-instruct-v0.1-4bit": ("mistral-7b-instruct-v0.3", 768)}

NOT_RECORDED = "not in the recording"
NOT_ASKED = "not asked: the authors' parser found the answer wrong"
NO_RATIONALE = "no self-explanation recorded"
NO_TOKENS = "no token ids recorded, as for all answers that the authors' parser found wrong"
NOT_ATTRIBUTED = "not attributed: the explained token is no answer"
LENGTHS_DIFFER = "lengths of relevance, tokens and context mask differ"
NO_CONTEXT = "the context mask marks no token"
NOT_A_NUMBER = "relevance is not a number"
OTHER_ANSWER = "explains another answer than the recorded one"


@dataclass(frozen=True)
class Sample:
    """One set of answers: of a model, under a sampling seed. runs: the files that hold these very answers.

    repeat: 0 for the answers that carry the attributions of the final code, 1 and up for further runs under the same
    seed. The self-explanations are read from the first of the runs.
    """

    subject: str
    seed: int
    repeat: int
    runs: tuple[RecordedRun, ...]

    @property
    def columns(self) -> dict:
        """The key columns of its rows, without the corpus."""
        return {"subject": self.subject, "tuning": "base", "seed": self.seed, "epoch": 0}

    def variant(self, name: str) -> str:
        """`name`, with the number of the repeat behind it where there is one."""
        return f"{name}#{self.repeat}" if self.repeat else name


def group_samples(runs: Sequence[RecordedRun]) -> list[Sample]:
    """Return the distinct sets of answers, in the order of subjects and seeds.

    Two files hold the same answers when all texts, answers and raw self-explanations are equal. Of several sets under
    one seed the one with attributions of its own (a run with a suffix) comes first, then the order given.
    """
    groups: dict[tuple, list[RecordedRun]] = {}
    for run in sorted(runs, key=lambda run: "_" not in run.recording.run):
        answers = frozenset((row.text, row.response, row.rationale) for row in run.rows)
        groups.setdefault((run.recording.subject, run.recording.seed, answers), []).append(run)
    samples, repeats = [], Counter()
    for (subject, seed, _), members in groups.items():
        ordered = sorted(members, key=lambda run: [*ATTRIBUTIONS, "none"].index(run.recording.attribution))
        samples.append(Sample(subject, seed, repeats[subject, seed], tuple(ordered)))
        repeats[subject, seed] += 1
    return sorted(samples, key=lambda sample: (sample.subject, sample.seed, sample.repeat))


def sample_table(samples: Sequence[Sample]) -> pd.DataFrame:
    """Return one row per file: subject, seed, repeat, file, attribution, and the file its answers are taken from."""
    return pd.DataFrame(
        {"subject": sample.subject, "seed": sample.seed, "repeat": sample.repeat, "file": run.recording.file,
         "attribution": run.recording.attribution, "answers_from": sample.runs[0].recording.file}
        for sample in samples
        for run in sample.runs
    )  # fmt: skip


def match_examples(run: RecordedRun, corpus: Corpus) -> dict[str, RecordedAnswer]:
    """Return the row of each sentence of the corpus that the file holds, by example id.

    Raises StudyError for a sentence that the corpus does not hold, or holds with another label.
    """
    by_text = {example.text: example for example in corpus.examples}
    rows = {}
    for row in run.rows:
        example, name = by_text.get(row.text), run.recording.file
        if example is None:
            raise StudyError(f"'{name}' has the sentence '{row.text[:60]}', which '{corpus.name}' does not hold.")
        if example.label != row.label:
            raise StudyError(f"'{name}' has another label than '{corpus.name}' for the sentence '{row.text[:60]}'.")
        rows[example.example_id] = row
    return rows


def read_label(response: str) -> tuple[str | None, str]:
    """Return the label that an answer states and "", or None and the reason.

    An option letter at the beginning decides; else the first sentence that says "rather positive" or "rather
    negative", as the options do; else the only letter named.
    """
    letter = re.match(r"\s*\(?([ab])\)", response, re.IGNORECASE)
    if letter:
        return LABELS[letter[1].lower() == "a"], ""
    phrases = {label: [f"rather {label}"] for label in LABELS}
    for sentence in re.split(r"(?<=[.:!?\n])\s", response):
        label, _ = parse_label(sentence, phrases)
        if label:
            return label, ""
    return parse_label(response, {"positive": ["(a)"], "negative": ["(b)"]})


def recorded_tables(
    runs: Sequence[RecordedRun],
    corpus: Corpus,
    aligned: Sequence[tuple[Recording, Sequence[AlignedAnswer]]] | None = None,
    glued_phrases: str = "split",
) -> dict[str, pd.DataFrame]:
    """Return the tables `samples`, `predictions`, `responses`, `explanations` and `alignment` of recorded runs.

    corpus: FairRationales with `before_exclusions=True`, whose human rationales are those of the recordings.
    aligned: files with token strings, by default those at hand. glued_phrases: see `parse_rationale`.
    The three tables in the middle have the columns that the stages write; what is not recorded there is NaN.
    `explanations` has one row per sentence of the corpus for each explainer of a sample: "self" with the paradigm as
    variant, and "lrp", "lrp_contrast", "random" with the variant "default".
    """
    samples = group_samples(runs)
    vocabularies, alignment = learn_vocabularies(runs, read_aligned_at_hand() if aligned is None else aligned)
    predictions, responses, explanations = [], [], []
    for sample in samples:
        rows = match_examples(sample.runs[0], corpus)
        origin = config_hash([glued_phrases, *(run.recording.file for run in sample.runs)])
        stamp = {"study": STUDY, "config_hash": origin, **sample.columns, "corpus": corpus.name}
        predictions += [{**prediction_row(e, rows.get(e.example_id), sample), **stamp} for e in corpus.examples]
        for example in corpus.examples:
            facts, explanation = self_explanation(example, rows.get(example.example_id), glued_phrases)
            if facts:
                responses.append(
                    {
                        **facts,
                        "paradigm": PARADIGM,
                        "paraphrase": 0,
                        "repeat": sample.repeat,
                        "seconds": np.nan,
                        **stamp,
                    }
                )
            explanations.append({**explanation_row(explanation, "self", sample.variant(PARADIGM)), **stamp})
        for name, run in _attributions(sample).items():
            rows, answers = match_examples(run, corpus), explained_answers(run)
            for example in corpus.examples:
                explanation = attribution(
                    example, rows.get(example.example_id), name, vocabularies[sample.subject], answers
                )
                explanations.append({**explanation_row(explanation, name, sample.variant("default")), **stamp})
    costs = dict.fromkeys(("calls", "tokens", "seconds"), np.nan)
    return {
        "samples": sample_table(samples),
        "predictions": pd.DataFrame(predictions),
        "responses": pd.DataFrame(responses),
        "explanations": pd.DataFrame(explanations).assign(**costs),
        "alignment": alignment,
    }


def read_aligned_at_hand() -> list[tuple[Recording, tuple[AlignedAnswer, ...]]]:
    """Return the aligned files at hand, read; none is fine, the token strings are then learned."""
    try:
        recordings = recordings_at_hand("aligned")
    except StudyError:
        return []
    return [read_aligned(recording) for recording in recordings]


def prediction_row(example: Example, row: RecordedAnswer | None, sample: Sample) -> dict:
    """Return the prediction of one sentence: our reading of the answer, and in `recorded_label` the authors'.

    reason: why no label could be read ("" where one was). asked: whether a rationale was asked for.
    """
    label, reason = (None, NOT_RECORDED) if row is None else read_label(row.response)
    return {
        "example_id": example.example_id,
        "paradigm": sample.variant(PREDICTION_ONLY),
        "label": example.label,
        "predicted": label or NO_LABEL,
        "correct": label == example.label,
        "reason": reason,
        "recorded_label": NO_LABEL if row is None else row.recorded_label,
        "asked": row is not None and row.rationale is not None,
        "text": "" if row is None else row.response,
    }


def self_explanation(
    example: Example, row: RecordedAnswer | None, glued_phrases: str = "split", repaired: bool = False
) -> tuple[dict, Explanation]:
    """Return the facts for `responses` (empty where nothing was asked) and the explanation of one sentence.

    repaired: read the answer as mended by Llama-3.1 where there is one, as the authors do; else the raw answer.
    The request is not recorded; `prompt` is the classification question of the same chat.
    """
    if row is None or row.rationale is None:
        wrong = row is not None and row.recorded_label != row.label
        reason = NOT_RECORDED if row is None else NOT_ASKED if wrong else NO_RATIONALE
        return {}, Explanation(example.example_id, ordered=False, valid=False, reason=reason)
    answer = row.repaired if repaired and row.repaired is not None else row.rationale
    k = sum(row.gold)
    parsed = parse_rationale(answer, example.word_texts, "topk", k, glued_phrases)
    facts = {
        "example_id": example.example_id,
        "prompt": row.prompt,
        "text": answer,
        "stated_label": "",
        "label_reason": "",
        **parsed.columns(k),
    }
    if not parsed.valid:
        return facts, Explanation(example.example_id, ordered=False, valid=False, reason=parsed.reason)
    # The authors ask for words, not for a ranking: the order of the answer means nothing.
    return facts, Explanation(example.example_id, selected=parsed.selected, ordered=False)


def _attributions(sample: Sample) -> dict[str, RecordedRun]:
    """The file that each attribution of a sample is taken from: the first that holds it."""
    found: dict[str, RecordedRun] = {}
    for run in sample.runs:
        for name in ATTRIBUTIONS:
            if name not in found and any(name in row.relevance for row in run.rows):
                found[name] = run
    return found


def explained_answers(run: RecordedRun) -> dict[str, int]:
    """Return the token id that stands for each label in a file: the one most often explained for that answer.

    A label whose id cannot be told (none recorded, or the same id as for the other label) is left out.
    """
    counts = {label: Counter() for label in LABELS}
    for row in run.rows:
        if row.answer_id is not None:
            counts[row.recorded_label][row.answer_id] += 1
    most = {label: count.most_common(1)[0][0] for label, count in counts.items() if count}
    return most if len(set(most.values())) == len(most) else {}


def attribution(
    example: Example, row: RecordedAnswer | None, name: str, pieces: Pieces, answers: dict[str, int]
) -> Explanation:
    """Return the relevances of one sentence as word scores, the sum of the signed relevances of a word's tokens.

    Positive supports the recorded answer. details: route of the tokens to the words, n_tokens, n_text_tokens, and
    share_outside and share_first_token, the shares of absolute relevance outside the sentence and on the first
    token of the prompt.
    """
    reason = _why_not_usable(row, name, answers)
    if reason:
        return Explanation(example.example_id, valid=False, reason=reason)
    relevance, mask = row.relevance[name], row.context_mask == 1
    token_words, route = assign_tokens(row.text, tuple(np.array(row.token_ids)[mask].tolist()), pieces)
    every = np.full(len(relevance), -1)
    # without words the tokens of the sentence are still known, and so are the shares
    every[mask] = 0 if token_words is None else token_words
    sizes = np.abs(relevance)
    details = {
        "route": "" if token_words is None else route,
        "n_tokens": len(relevance),
        "n_text_tokens": int(mask.sum()),
        "share_outside": share_outside(relevance, every),
        "share_first_token": float(sizes[0] / sizes.sum()) if sizes.sum() > 0 else float("nan"),
    }
    if token_words is None:
        return Explanation(example.example_id, valid=False, reason=route, details=details)
    scores = words_from_tokens(relevance, every, len(example.words))
    return Explanation(example.example_id, scores, details=details)


def _why_not_usable(row: RecordedAnswer | None, name: str, answers: dict[str, int]) -> str:
    """Why the relevance of a row cannot be scored, or ""."""
    if row is None or name not in row.relevance:
        return NOT_RECORDED
    relevance = row.relevance[name]
    if isinstance(relevance, str):
        return NOT_ATTRIBUTED
    if row.token_ids is None:
        return NO_TOKENS
    if not len(relevance) == len(row.token_ids) == len(row.context_mask):
        return LENGTHS_DIFFER
    if not (row.context_mask == 1).any():
        return NO_CONTEXT
    if not np.isfinite(relevance).all():
        return NOT_A_NUMBER
    # Random relevances explain nothing, so there is no other answer that they could explain.
    expected = answers.get(row.recorded_label)
    if name != "random" and None not in (row.answer_id, expected) and row.answer_id != expected:
        return OTHER_ANSWER
    return ""


def learn_vocabularies(
    runs: Sequence[RecordedRun], aligned: Sequence[tuple[Recording, Sequence[AlignedAnswer]]]
) -> tuple[dict[str, Pieces], pd.DataFrame]:
    """Return what is known of each subject's vocabulary, and a table of how far it goes.

    Table: subject, texts (sentences with token ids), aligned (texts whose tokens all belong to one word for certain),
    ids, settled (ids whose string is certain), recorded (ids whose string a file records), learned_agree,
    learned_differ: of the recorded ids whose string also follows without the record, how many follow right and wrong.
    """
    tokens: dict[str, dict[str, tuple[int, ...]]] = {run.recording.subject: {} for run in runs}
    for run in runs:
        for row in run.rows:
            if row.token_ids is not None and len(row.token_ids) == len(row.context_mask):
                ids = tuple(np.array(row.token_ids)[row.context_mask == 1].tolist())
                tokens[run.recording.subject].setdefault(row.text, ids)
    known = {subject: _recorded_strings(texts, subject, aligned) for subject, texts in tokens.items()}
    vocabularies, rows = {}, []
    for subject, texts in tokens.items():
        alone = learn_pieces(list(texts), list(texts.values()))
        strings = known[subject] or _shifted_strings(subject, known, alone)
        pieces = learn_pieces(list(texts), list(texts.values()), strings) if strings else alone
        vocabularies[subject] = pieces
        followed = {number: piece for number, piece in alone.settled().items() if number in strings}
        agree = sum(strings[number] == piece for number, piece in followed.items())
        used = {number for ids in texts.values() for number in ids}
        rows.append(
            {"subject": subject, "texts": len(texts),
             "aligned": sum(assign_tokens(text, ids, pieces)[0] is not None for text, ids in texts.items()),
             "ids": len(used), "settled": len(used & pieces.settled().keys()), "recorded": len(used & strings.keys()),
             "learned_agree": agree, "learned_differ": len(followed) - agree}
        )  # fmt: skip
    return vocabularies, pd.DataFrame(rows)


def _recorded_strings(
    texts: dict[str, tuple[int, ...]], subject: str, aligned: Sequence[tuple[Recording, Sequence[AlignedAnswer]]]
) -> dict[int, str]:
    """The strings that aligned files record for the ids of a subject; StudyError when an id has two."""
    strings: dict[int, str] = {}
    for recording, rows in aligned:
        for row in rows if recording.subject == subject else ():
            recorded = [plain_piece(token) for token in np.array(row.tokens)[row.context_mask]]
            ids = texts.get(row.text, ())
            if ids and len(ids) != len(recorded):
                raise StudyError(f"'{recording.file}' has other tokens than the answers for '{row.text[:60]}'.")
            for number, piece in zip(ids, recorded, strict=False):
                if strings.setdefault(number, piece) != piece:
                    raise StudyError(f"'{recording.file}' gives the token id {number} two strings; use other copies.")
    return strings


def _shifted_strings(subject: str, known: dict[str, dict[int, str]], alone: Pieces) -> dict[int, str]:
    """The strings of the sister vocabulary, if they agree with all that follows from the subject's own data."""
    sister, shift = SHIFTED_VOCABULARY.get(subject, ("", 0))
    strings = {number - shift: piece for number, piece in known.get(sister, {}).items()}
    agree = all(strings.get(number, piece) == piece for number, piece in alone.settled().items())
    return strings if agree else {}

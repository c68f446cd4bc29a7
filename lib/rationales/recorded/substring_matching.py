"""Matching and scoring as Brandl & Eberle (P2) did it, to show what it changes; not used for scores of this study.

A returned string counts when it is a substring of the text, both in lower case with every run of other signs than
letters, digits and low lines as one space. It marks its first occurrence, and every word that this occurrence
touches: "art" marks "smart", a string of punctuation alone is empty and marks the first word, a second mention of a
word marks nothing new. The human rationale goes the same way: runs of adjacent marked words are joined and looked up
again, so a run whose words also stand earlier in the text moves there. What was read from an answer is the answer
after Llama-3.1 had been asked to mend its JSON, where it was asked. Answers that cannot be read are skipped.

The definitions are those of the authors' public code at commit 61de74a. It evaluates answers as Python code; here
they are read as Python literals, which never runs anything and agrees on every released mask (see the tests).
"""

import ast
import re

import numpy as np
import pandas as pd

from rationales.metrics.plausibility import kappa_of_counts
from rationales.recorded.brandl_eberle_files import RecordedAnswer, RecordedRun

KNOWN_ESCAPES = frozenset("\\'\"abfnrtvxuUN01234567")
MISSPELLED_KEYS = ("rationals", "rationale", "?rationale")
NOT_READ = "the answer is no list of objects that Python can read"
NO_TEXT = "an item of the answer has no text"
NOT_ALIGNED = "the words of the text cannot be aligned"


class _Skipped(Exception):
    """The authors' code gives this answer up; the message is the reason."""


def normalise_text(text: str) -> str:
    """Return `text` in lower case, every run of other signs than letters, digits and low lines as one space."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def mark_first_occurrence(text: str, phrase: str) -> np.ndarray | None:
    """Return marks (normalised words of `text`,) of the first place where `phrase` occurs in it, or None.

    A word is marked when the occurrence touches it, also in its middle; an empty phrase touches the first word.
    """
    haystack, needle = normalise_text(text), normalise_text(phrase)
    first = haystack.find(needle)
    if first < 0:
        return None
    marks, start = [], 0
    for word in haystack.split(" "):
        marks.append(start <= first + len(needle) and first < start + len(word))
        start += len(word) + 1
    return np.array(marks, dtype=int)


def to_text_words(text: str, marks: np.ndarray) -> np.ndarray:
    """Return the sums of marks of normalised words over the white-space words of `text`; 0 for mere punctuation."""
    totals, position = [], 0
    for word in text.split():
        normalised = normalise_text(word)
        length = len(normalised.split(" ")) if normalised else 0
        if position + length > len(marks):
            raise _Skipped(NOT_ALIGNED)
        totals.append(int(marks[position : position + length].sum()))
        position += length
    return np.array(totals)


def move_gold(text: str, gold: tuple[bool, ...]) -> np.ndarray:
    """Return the human marks (words,) after runs of adjacent marked words were looked up in the text again."""
    marks = np.zeros(len(normalise_text(text).split(" ")), dtype=int)
    run: list[str] = []
    for word, marked in [*zip(text.split(), gold, strict=True), ("", False)]:
        if marked:
            run.append(word)
        elif run:
            found = mark_first_occurrence(text, " ".join(run))
            marks += 0 if found is None else found
            run = []
    return to_text_words(text, np.clip(marks, 0, 1))


def read_literal(answer: str) -> object:
    """Return the Python literal that `answer` is; raise `_Skipped` where it is none. Nothing is ever run."""
    # Python keeps the backslash of an escape that it does not know, such as \_, and warns; written twice it is silent.
    escaped = re.sub(r"\\(.)", lambda found: found[0] if found[1] in KNOWN_ESCAPES else "\\" + found[0], answer.strip())
    try:
        return ast.literal_eval(escaped)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise _Skipped(NOT_READ) from error


def read_items(row: RecordedAnswer) -> list | tuple:
    """Return the items of an answer; raise `_Skipped` where the authors' code finds none.

    The mended answer is tried first, then the same cut to its outermost square brackets, then the raw answer.
    """
    for answer in _candidates(row):
        try:
            found = read_literal(answer)
        except _Skipped:
            continue
        found = [found] if isinstance(found, dict) else found
        if isinstance(found, (list, tuple)):
            return found
    raise _Skipped(NOT_READ)


def _candidates(row: RecordedAnswer) -> list[str]:
    answer = row.repaired if row.repaired is not None else row.rationale or ""
    start, end = answer.find("["), answer.rfind("]")
    cut = answer[start : end + 1] if end >= 0 else answer[max(0, start) :] + "]"
    return [answer, cut, row.rationale or ""]


def returned_strings(items: list | tuple, last: str) -> tuple[list[str], str]:
    """Return the strings of an answer in order, and the last one.

    last: the last string read before. An object without the field `rationales` repeats it: a slip of the authors'
    code, which carries the string over even from another sentence.
    """
    strings: list[str] = []
    for item in items:
        value = _value_of(item)
        if value is None:
            strings.append(last)
            continue
        if isinstance(value, list):
            strings += [_text_of(part) for part in value]
        elif isinstance(value, str):
            strings.append(value)
        last = strings[-1] if strings else last
    return strings, last


def _value_of(item: object) -> object:
    """What stands under `rationales` or a misspelling of it; None without such a field."""
    if isinstance(item, str):
        item = read_literal(item)
    if not isinstance(item, dict):
        raise _Skipped(NOT_READ)
    key = next((name for name in MISSPELLED_KEYS if name in item), "rationales")
    return item.get(key)


def _text_of(part: object) -> str:
    if isinstance(part, dict):
        part = part.get("text")
    if not isinstance(part, str):
        raise _Skipped(NO_TEXT)
    return part


def match_as_published(run: RecordedRun) -> pd.DataFrame:
    """Return the masks and scores that the authors' code gives each asked sentence of a file, one row each.

    Columns: text; skipped (a reason, or ""); marks, gold_marks: counts per word, so that a word matched twice counts
    twice; strings, matched: returned strings and those that are substrings; f1, recall, kappa: of the marked words
    against the moved human rationale (NaN for kappa when both mark all words); share_self, share_human: sums of the
    counts over the number of words, as the authors report them. Skipped rows have no masks and NaN scores.
    """
    rows, last = [], ""
    for answer in run.rows:
        if answer.rationale is None:
            continue
        try:
            strings, last = returned_strings(read_items(answer), last)
            found = [mark_first_occurrence(answer.text, string) for string in strings]
            hits = [marks for marks in found if marks is not None]
            total = np.zeros(len(normalise_text(answer.text).split(" ")), dtype=int) + sum(hits)
            marks, gold = to_text_words(answer.text, total), move_gold(answer.text, answer.gold)
            rows.append(
                {"text": answer.text, "skipped": "", "marks": marks, "gold_marks": gold, "strings": len(strings),
                 "matched": len(hits), **score_marks(marks, gold)}
            )  # fmt: skip
        except _Skipped as reason:
            rows.append({"text": answer.text, "skipped": str(reason)})
    columns = ["text", "skipped", "marks", "gold_marks", "strings", "matched", *SCORES]
    return pd.DataFrame(rows, columns=columns)


SCORES = ("f1", "recall", "kappa", "share_self", "share_human")


def score_marks(marks: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """Return f1, recall and kappa of marked words (count above 0), and the shares of marks; an empty answer scores 0."""
    chosen, human = marks > 0, gold > 0
    hits = int((chosen & human).sum())
    only_self, only_human = int(chosen.sum()) - hits, int(human.sum()) - hits
    marked = 2 * hits + only_self + only_human
    return {
        "f1": 2 * hits / marked if marked else 0.0,
        "recall": hits / human.sum() if human.any() else 0.0,
        "kappa": float(kappa_of_counts([hits, only_self, only_human, len(marks) - hits - only_self - only_human])),
        "share_self": marks.sum() / len(marks),
        "share_human": gold.sum() / len(gold),
    }

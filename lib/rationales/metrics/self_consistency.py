"""Self-consistency of what a model says about itself (Madsen, Chandar and Reddy 2024).

The model names important words, redacts them, or rewrites the text for another answer; the edited text is asked in a
fresh conversation. The explanation is consistent when the answer then is what it implies. This module builds the
edited texts and judges the answers; the asking happens elsewhere, with prompts that offer the answer "unknown".
Intervals and tests: `rationales.statistics.consistency`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.metrics._overlap import NAN
from rationales.metrics.plausibility import require_mask

KINDS = ("importance", "redaction", "counterfactual")
UNKNOWN = ("unknown", "neutral")
REDACTED = "[REDACTED]"


EDITS = ("redact", "remove")  # what is done to the words of a self-explanation


def check_consistency(settings: dict) -> None:
    """Raise StudyError for unknown or impossible entries `consistency...` in the section `self_explanations`."""
    for kind in settings["consistency"]:
        require_known(kind, KINDS, "kind of self-consistency")
    require_known(settings["consistency_edit"], EDITS, "edit of the words of a self-explanation")
    for paradigm in settings["consistency_paradigms"] or []:
        require_known(paradigm, settings["paradigms"], "paradigm to test for consistency")
    items = settings["consistency_items"]
    if items is not None and (type(items) is not int or items < 1):
        raise StudyError(f"`self_explanations: consistency_items` is {items!r}; give a whole number of at least 1.")
    if settings["consistency"] and not settings["paradigms"]:
        raise StudyError("`self_explanations: consistency` needs `paradigms`, whose words are taken away.")


# ---- edited texts


def redact_words(example: Example, mask: ArrayLike, token: str = REDACTED) -> Example:
    """Return the example with every marked word replaced by `token`; blanks and all other words stay.

    mask: (n_words,) booleans. The result has no human rationale and the id "<id>/redacted".
    StudyError when no word is marked, since the text would be asked again unchanged.
    """
    if token.split() != [token]:
        raise StudyError(f"The redaction token '{token}' must be one word without blanks.")
    return _edited(example, _segments(example, mask, token), "redacted")


def remove_words(example: Example, mask: ArrayLike) -> Example:
    """Return the example without the marked words, nor the blanks in front of them.

    mask: (n_words,) booleans. The result has no human rationale and the id "<id>/removed". StudyError when no word is
    marked, or all are: a text without words cannot be asked.
    """
    return _edited(example, _segments(example, mask, None), "removed")


def rewrite_text(example: Example, segments: Sequence[str]) -> Example:
    """Return the example with the text that the model wrote as its counterfactual, one string per segment.

    The result has no human rationale and the id "<id>/rewritten". StudyError when the words are unchanged or the
    number of segments differs; record such an answer as inconsistent (it keeps the label) or as not usable.
    """
    segments = tuple(str(segment) for segment in segments)
    if len(segments) != len(example.segments):
        raise StudyError(f"The rewritten text has {len(segments)} segments for {len(example.segments)}; give as many.")
    return _edited(example, segments, "rewritten")


def word_edit_share(example: Example, edited: Example) -> float:
    """Return how much of a text an edit changed: the edit distance in words / the longer text, in [0, 1].

    Insertions, deletions and replacements of a word count 1 each (Levenshtein 1966); 0 is the same text. A valid
    counterfactual is minimal when this is small (Mayne et al. 2025 report it next to validity).
    """
    first, second = example.word_texts, edited.word_texts
    row = np.arange(len(second) + 1)
    for place, word in enumerate(first, start=1):
        replaced = row[:-1] + [word != other for other in second]
        best = np.minimum(replaced, row[1:] + 1)
        # Insertions run along the row: the least of (value - place) up to each column, shifted back.
        row = np.minimum.accumulate(np.concatenate([[place], best]) - np.arange(row.size)) + np.arange(row.size)
    return float(row[-1] / max(len(first), len(second)))


def _segments(example: Example, mask: ArrayLike, token: str | None) -> tuple[str, ...]:
    marked = require_mask(mask, len(example.words), "mask")
    segments = []
    for number, segment in enumerate(example.segments):
        parts, position = [], 0
        for word, edit in zip(example.words, marked, strict=True):
            if word.segment != number:
                continue
            if edit:
                parts += [segment[position : word.start], token] if token else []
            else:
                parts.append(segment[position : word.end])
            position = word.end
        text = "".join(parts) + segment[position:]
        segments.append(text if token else text.strip())
    return tuple(segments)


def _edited(example: Example, segments: tuple[str, ...], kind: str) -> Example:
    if not "".join(segments).strip():
        raise StudyError(f"The edit of example '{example.example_id}' leaves no word; record it and do not ask.")
    if [segment.split() for segment in segments] == [segment.split() for segment in example.segments]:
        raise StudyError(f"The edit of example '{example.example_id}' changes no word; record it and do not ask again.")
    facts = {name: value for name, value in example.meta.items() if isinstance(value, str)}  # a question may need them
    return Example(
        f"{example.example_id}/{kind}",
        example.corpus,
        example.split,
        example.language,
        segments,
        example.label,
        meta=facts,
    )


# ---- answers


def consistent(
    original: ArrayLike,
    edited: ArrayLike,
    kind: str,
    targets: ArrayLike | None = None,
    unknown: Sequence[str] = UNKNOWN,
) -> np.ndarray:
    """Return whether each explanation is consistent with the answer to its edited text: (n_items,) of 1, 0 and NaN.

    original, edited: (n_items,) labels before and after the edit; None or NaN where the answer could not be read.
    kind:
      - "importance", "redaction": consistent when the edited text is answered with one of `unknown`. That the model
        answers with another label, or keeps its label, is not: words that decide the answer were to be gone.
      - "counterfactual": consistent when the answer is `targets` (n_items,), the label that the model was asked to
        bring about. Default: the other one of the two labels that `original` holds, relative to the model's own answer.

    Higher is more consistent. It measures consistency between two answers, not faithfulness to the computation
    (Parcalabescu and Frank 2024). NaN: an answer is missing, or the original answer is `unknown` already. Raises
    StudyError for lengths that differ, or without targets when `original` holds other than two labels.
    """
    require_known(kind, KINDS, "kind of self-consistency")
    before, after = (np.asarray(labels, dtype=object) for labels in (original, edited))
    if before.ndim != 1 or before.shape != after.shape:
        raise StudyError(f"There are {before.size} answers before and {after.size} after the edit; pair them by item.")
    defined = ~(pd.isna(before) | pd.isna(after) | np.isin(before.astype(str), unknown))
    values = np.full(before.size, NAN)
    if kind != "counterfactual":
        values[defined] = np.isin(after[defined].astype(str), unknown)
        return values
    wanted = _other_labels(before, defined) if targets is None else np.asarray(targets, dtype=object)
    if wanted.shape != before.shape:
        raise StudyError(f"There are {wanted.size} targets for {before.size} items; give one target per item.")
    defined &= ~pd.isna(wanted)
    values[defined] = after[defined].astype(str) == wanted[defined].astype(str)
    return values


def label_left(original: ArrayLike, edited: ArrayLike) -> np.ndarray:
    """Return whether the edited text is answered with another label: (n_items,) of 1, 0 and NaN.

    Stands for `consistent` of importance and redaction where "unknown" was not offered: among plain labels, all that the
    loss of the deciding words can do is to lose the label. A model that falls back on one label for damaged texts looks
    consistent on all items of the other labels, so compare with edits of random words. NaN: an answer is missing.
    """
    before, after = (np.asarray(labels, dtype=object) for labels in (original, edited))
    if before.ndim != 1 or before.shape != after.shape:
        raise StudyError(f"There are {before.size} answers before and {after.size} after the edit; pair them by item.")
    defined = ~(pd.isna(before) | pd.isna(after))
    values = np.full(before.size, NAN)
    values[defined] = before[defined].astype(str) != after[defined].astype(str)
    return values


def counterfactual_chance(edited: ArrayLike, targets: ArrayLike) -> float:
    """Return the share of hits expected when the answers are dealt out to the items at random, in [0, 1].

    The sum over labels of (share of answers) x (share of targets), over items with both. A model that gives one answer
    to every edited text reaches this and no more. Importance and redaction have no such level, because every item wants
    the same answer; compare them with edits of random words at equal length. NaN without an item.
    """
    answers, wanted = (np.asarray(labels, dtype=object) for labels in (edited, targets))
    if answers.shape != wanted.shape:
        raise StudyError(f"There are {answers.size} answers for {wanted.size} targets; pair them by item.")
    defined = ~(pd.isna(answers) | pd.isna(wanted))
    if not defined.any():
        return NAN
    answers, wanted = answers[defined].astype(str), wanted[defined].astype(str)
    return float(sum(np.mean(answers == label) * np.mean(wanted == label) for label in np.unique(wanted)))


def _other_labels(before: np.ndarray, defined: np.ndarray) -> np.ndarray:
    names = np.unique(before[defined].astype(str))
    if not defined.any():
        return before
    if names.size != 2:
        raise StudyError(f"The answers hold {names.size} labels, not two; give the `targets` of the counterfactuals.")
    return np.where(before.astype(str) == names[0], names[1], names[0]).astype(object)

"""A recording: what a large model answered to many texts, kept as text -> (class, confidence)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress

import numpy as np

from rationales.errors import StudyError, require_known

Answer = tuple[int, float]
PLACEHOLDER: Answer = (0, 0.5)  # what the code of Huang et al. stores when it cannot read an answer
READINGS = ("as_published", "at_least_half")


@dataclass(frozen=True)
class Recording:
    """Answers of one subject under one paradigm, by the very text that was sent.

    answers: text -> (class, confidence), class 1 for positive and 0 for negative, confidence in [0, 1].
    placeholder: the answer that stands for "could not be read", or None where the recording has none.
    """

    subject: str
    paradigm: str
    answers: Mapping[str, Answer] = field(repr=False)
    placeholder: Answer | None = PLACEHOLDER

    @property
    def name(self) -> str:
        """Such as "gpt-4o (PE)", for messages."""
        return f"{self.subject} ({self.paradigm})"


def check_answer(value: object, where: str) -> Answer:
    """Return `value` as (class, confidence); StudyError when it is no pair of 0 or 1 and a number from 0 to 1."""
    pair = list(value) if isinstance(value, (tuple, list)) else []
    numbers = len(pair) == 2 and all(isinstance(part, (int, float, np.number)) for part in pair)
    if not numbers or pair[0] not in (0, 1) or not 0 <= pair[1] <= 1:
        raise StudyError(
            f"'{where}' holds {str(value)[:40]!r} where (class, confidence) should stand; replace the file."
        )
    return int(pair[0]), float(pair[1])


def probability_of_positive(answer: Answer, reading: str = "as_published") -> float:
    """Return P(positive) that a stated class and confidence c stand for, in [0, 1].

    reading: "as_published" (Huang et al. 2023), c for class 1 and 1 - c for class 0, so that "negative, confidence .2"
    becomes a P(positive) of .8, against the stated class; or "at_least_half", where a confidence below .5 counts as
    .5, so that the class is never turned round.
    """
    label, confidence = answer
    if require_known(reading, READINGS, "reading of a confidence") == "at_least_half":
        confidence = max(confidence, 0.5)
    # Rounded, for 1 - .8 and .2 are one probability and must tie.
    return round(confidence if label == 1 else 1 - confidence, 12)


def contradicts_class(answer: Answer) -> bool:
    """Whether the published reading gives the stated class less than half of the probability."""
    return answer[1] < 0.5


def join_words(words: Sequence[str], keep: Sequence[bool] | np.ndarray) -> str:
    """Return the kept words joined by one blank: the text that Huang et al. send after deleting the others."""
    kept = np.asarray(keep, dtype=bool)
    if kept.shape != (len(words),):
        raise StudyError(f"A mask of shape {kept.shape} does not fit {len(words)} words; give one entry per word.")
    return " ".join(compress(words, kept.tolist()))


def single_deletions(words: Sequence[str]) -> list[str]:
    """Return the texts with each single word deleted, in the order of the words."""
    return [" ".join([*words[:place], *words[place + 1 :]]) for place in range(len(words))]

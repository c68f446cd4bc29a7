"""Examples: a text, its words, its label and the human rationales for that label.

A **word** is a maximal run of non-white-space characters, with its character offsets; it is the unit
of every score, mask and rank in this study, for every corpus, subject and explainer.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from rationales.errors import StudyError


@dataclass(frozen=True)
class Word:
    """One white-space-delimited word: its text, its segment and its character offsets in that segment."""

    text: str
    segment: int
    start: int
    end: int


def split_words(segments: tuple[str, ...]) -> tuple[Word, ...]:
    """Return the words of all segments in reading order."""
    return tuple(
        Word(match.group(), number, match.start(), match.end())
        for number, segment in enumerate(segments)
        for match in re.finditer(r"\S+", segment)
    )


@dataclass(frozen=True)
class Example:
    """One item of a corpus.

    segments: the text in one part (a review) or two (premise and hypothesis).
    label: canonical name, one of the corpus's labels.
    annotators: one tuple of booleans per annotator, each as long as `words`.
    gold: the aggregate human rationale over the words, or None where there is none.
    gold_graded: graded importance per word (0 = not important, larger = more important), or None.
    meta: further facts of the item, by name; values are strings, numbers, booleans or lists of them.

    Raises StudyError when the text is empty or a mask has another length than `words`.
    """

    example_id: str
    corpus: str
    split: str
    language: str
    segments: tuple[str, ...]
    label: str
    annotators: tuple[tuple[bool, ...], ...] = ()
    gold: tuple[bool, ...] | None = None
    gold_graded: tuple[float, ...] | None = None
    meta: dict = field(default_factory=dict)
    words: tuple[Word, ...] = field(init=False, repr=False)

    def __post_init__(self):
        words = split_words(self.segments)
        object.__setattr__(self, "words", words)
        where = f"Example '{self.example_id}' of corpus '{self.corpus}'"
        if not words:
            raise StudyError(f"{where} has an empty text; remove the row or give it a text.")
        for name, mask in [("gold", self.gold), ("gold_graded", self.gold_graded)]:
            if mask is not None and len(mask) != len(words):
                raise StudyError(
                    f"{where}: `{name}` has {len(mask)} entries for {len(words)} words; align it to words."
                )
        for number, mask in enumerate(self.annotators):
            if len(mask) != len(words):
                raise StudyError(
                    f"{where}: annotator {number} marked {len(mask)} entries for {len(words)} words; align them."
                )

    @property
    def text(self) -> str:
        """All segments, joined by a line break."""
        return "\n".join(self.segments)

    @property
    def word_texts(self) -> list[str]:
        """The words without their offsets."""
        return [word.text for word in self.words]


@dataclass(frozen=True)
class Corpus:
    """A loaded corpus.

    task: key into `rationales.tasks.TASKS`, which holds the question and the words for the labels.
    labels: canonical label names, in the order used by every probability table.
    exclusions: (example id, reason) of each item the reader left out; nothing is dropped silently.
    provenance: source, licence note, revision, files with checksums, remarks on known traps.
    """

    name: str
    task: str
    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    exclusions: tuple[tuple[str, str], ...] = ()
    provenance: dict = field(default_factory=dict)

    def __post_init__(self):
        ids = [example.example_id for example in self.examples]
        if len(set(ids)) != len(ids):
            repeated = next(i for i in ids if ids.count(i) > 1)
            raise StudyError(f"Corpus '{self.name}' holds the example id '{repeated}' twice; ids must be unique.")
        for example in self.examples:
            if example.label not in self.labels:
                raise StudyError(
                    f"Example '{example.example_id}' of corpus '{self.name}' has the label '{example.label}', "
                    f"which is not one of: {', '.join(self.labels)}."
                )

    def of_split(self, split: str) -> list[Example]:
        """Examples of one split, in corpus order."""
        return [example for example in self.examples if example.split == split]


def majority_rationale(annotators: tuple[tuple[bool, ...], ...], threshold: float = 0.5) -> tuple[bool, ...] | None:
    """Words marked by at least `threshold` of the annotators (P2's >= 50 % rule), or None without annotators."""
    if not annotators:
        return None
    return tuple(bool(share >= threshold) for share in np.mean(np.asarray(annotators, dtype=float), axis=0))


def spans_to_words(example_words: tuple[Word, ...], spans: list[tuple[int, int]], segment: int = 0) -> tuple[bool, ...]:
    """Mark each word of `segment` that overlaps a character span [start, end) by at least one character."""
    return tuple(
        word.segment == segment and any(max(start, word.start) < min(end, word.end) for start, end in spans)
        for word in example_words
    )

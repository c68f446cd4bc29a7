"""Removal operators: (example, masks of kept words) -> token sequences.

Each works on the token ids of the example, for all masks at once; a text is never decoded and encoded again.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rationales.errors import StudyError
from rationales.examples import Example, Word
from rationales.randomness import generator_for
from rationales.subjects.encoding import Encoded
from rationales.subjects.rows import Rows, starts_of

Vocabulary = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Erased:
    """One example under several masks.

    tokens: (masks, tokens) ids. stays: (masks, tokens), False for tokens that are dropped, or None where all stay.
    hidden: (masks, tokens), True for tokens that nothing attends to, or None. types: (tokens,) or None.
    """

    encoded: Encoded
    tokens: np.ndarray
    stays: np.ndarray | None = None
    hidden: np.ndarray | None = None
    types: np.ndarray | None = None


@dataclass(frozen=True)
class Operator:
    """A removal operator. build: (encoded, keep (masks, words), mask token id, replacement) -> Erased.

    replaces: whether it needs the example with every word replaced; None is handed over otherwise.
    """

    name: str
    build: Callable[[Encoded, np.ndarray, int, Encoded | None], Erased]
    replaces: bool = False


OPERATORS: dict[str, Operator] = {}


def operator(name: str, replaces: bool = False) -> Callable:
    """Register a removal operator under `name`."""

    def register(build: Callable) -> Callable:
        OPERATORS[name] = Operator(name, build, replaces)
        return build

    return register


def spread(keep: np.ndarray, token_words: np.ndarray) -> np.ndarray:
    """Whether each token is kept, (masks, tokens), from whether each word is; tokens of no word (-1) always are."""
    return np.concatenate([keep, np.ones((len(keep), 1), bool)], axis=1)[:, token_words]


@operator("delete")
def delete_words(encoded: Encoded, keep: np.ndarray, mask_id: int, replacement: Encoded | None) -> Erased:
    """Drop the tokens of the words that are not kept; what follows moves up."""
    tokens = np.broadcast_to(encoded.token_ids, (len(keep), len(encoded.token_ids)))
    return Erased(encoded, tokens, stays=spread(keep, encoded.token_words), types=encoded.token_types)


@operator("mask")
def mask_words(encoded: Encoded, keep: np.ndarray, mask_id: int, replacement: Encoded | None) -> Erased:
    """Put the mask token in the place of every token of the words that are not kept; the length stays."""
    stays = spread(keep, encoded.token_words)
    return Erased(encoded, np.where(stays, encoded.token_ids, mask_id), types=encoded.token_types)


@operator("attention")
def hide_words(encoded: Encoded, keep: np.ndarray, mask_id: int, replacement: Encoded | None) -> Erased:
    """Leave all tokens where they are, but let no other token attend to those of the words that are not kept.

    The length of the text and the positions of its words stay visible; what the words say does not.
    """
    tokens = np.broadcast_to(encoded.token_ids, (len(keep), len(encoded.token_ids)))
    return Erased(encoded, tokens, hidden=~spread(keep, encoded.token_words), types=encoded.token_types)


@operator("replace", replaces=True)
def replace_words(encoded: Encoded, keep: np.ndarray, mask_id: int, replacement: Encoded) -> Erased:
    """Put the tokens of another word in the place of those of each word that is not kept.

    Original and replacement lie side by side in one long sequence, of which every mask drops one.
    """
    tokens, words, new, types = [], [], [], []
    seen: set[int] = set()
    for place, word in enumerate(encoded.token_words.tolist()):
        tokens.append(encoded.token_ids[place])
        words.append(word)
        new.append(False)
        types.append(0 if encoded.token_types is None else encoded.token_types[place])
        if word >= 0 and word not in seen:
            seen.add(word)
            other = replacement.token_ids[replacement.token_words == word].tolist()
            tokens += other
            words += [word] * len(other)
            new += [True] * len(other)
            types += [types[-1]] * len(other)
    kept, is_new = spread(keep, np.array(words)), np.array(new)
    return Erased(
        encoded,
        np.broadcast_to(np.array(tokens), kept.shape),
        stays=np.where(is_new, ~kept, kept),
        types=None if encoded.token_types is None else np.array(types),
    )


def count_words(examples: Iterable[Example]) -> dict[str, Counter]:
    """How often each word occurs, by language: the pool that replacements are drawn from."""
    pool: dict[str, Counter] = {}
    for example in examples:
        pool.setdefault(example.language, Counter()).update(example.word_texts)
    return pool


def replace_all_words(example: Example, vocabulary: Vocabulary, seed: int, draw: int) -> Example:
    """The example with every word replaced by a random word of its language.

    Words are drawn by their frequency, never the word itself. A draw depends on the seed, the example's id, the
    place of the word and `draw`, so one word has the same replacement under every mask. White space stays. StudyError
    where the vocabulary has less than two words of the language.
    """
    counts = vocabulary.get(example.language, {})
    if len(counts) < 2:
        raise StudyError(
            f"Replacing words needs a vocabulary of '{example.language}' with at least two words; "
            "give the engine one, such as count_words(corpus.of_split('train'))."
        )
    pool = sorted(counts)
    ends = np.cumsum([counts[word] for word in pool])
    segments = [list(segment) for segment in example.segments]
    for place in reversed(range(len(example.words))):
        word: Word = example.words[place]
        generator = generator_for("replace", seed, example.example_id, place, draw)
        new = word.text
        while new == word.text:
            new = pool[int(np.searchsorted(ends, generator.integers(ends[-1]), side="right"))]
        segments[word.segment][word.start : word.end] = new
    texts = tuple("".join(letters) for letters in segments)
    return replace(example, segments=texts, annotators=(), gold=None, gold_graded=None)


def flatten(erased: Erased) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Tokens of all masks one after the other, the length of each, and hidden and types alike (or None)."""
    shape = erased.tokens.shape
    stays = np.ones(shape, bool) if erased.stays is None else erased.stays
    types = None if erased.types is None else np.broadcast_to(erased.types, shape)[stays].astype(np.int64)
    hidden = None if erased.hidden is None else erased.hidden[stays]
    return erased.tokens[stays].astype(np.int64), stays.sum(1), hidden, types


def fingerprints(erased: Erased) -> list[bytes]:
    """A digest of what the model reads and is asked, per mask; equal for equal token sequences, whatever the mask."""
    tokens, lengths, hidden, types = flatten(erased)
    starts = starts_of(lengths)
    base = hashlib.blake2b(repr(erased.encoded.label_ids).encode(), digest_size=16)
    digests, text = [], memoryview(tokens.astype(np.int32).tobytes())
    covered = np.zeros(len(lengths), bool) if erased.hidden is None else erased.hidden.any(1)
    for row, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        digest = base.copy()
        digest.update(text[4 * start : 4 * (start + length)])
        if covered[row]:
            digest.update(b"hidden" + np.packbits(hidden[start : start + length]).tobytes())
        if types is not None:
            digest.update(b"types" + types[start : start + length].astype(np.int8).tobytes())
        digests.append(digest.digest())
    return digests


def gather_rows(parts: list[tuple[Erased, list[int]]]) -> Rows:
    """The chosen masks of several examples as rows."""
    flat = [
        flatten(
            Erased(
                erased.encoded,
                erased.tokens[chosen],
                None if erased.stays is None else erased.stays[chosen],
                None if erased.hidden is None else erased.hidden[chosen],
                erased.types,
            )
        )
        for erased, chosen in parts
    ]
    lengths = np.concatenate([lengths for _, lengths, _, _ in flat]).astype(np.int64)
    hidden = None
    if any(covered is not None for _, _, covered, _ in flat):
        hidden = np.concatenate([np.zeros(len(t), bool) if c is None else c for t, _, c, _ in flat])
    types = None if flat[0][3] is None else np.concatenate([types for _, _, _, types in flat])
    return Rows(
        [erased.encoded for erased, _ in parts],
        np.repeat(np.arange(len(parts)), [len(chosen) for _, chosen in parts]),
        np.concatenate([tokens for tokens, _, _, _ in flat]),
        starts_of(lengths),
        lengths,
        hidden,
        types,
    )

"""Matching the words that a model returned to the words of the text.

Whole words, with multiplicity: a returned word takes the first word of the text that is equal and not yet taken.
Equal means equal after `normalise_word`; a word is never found inside another word. A returned phrase takes the
adjacent words that spell it. Where only an apostrophe, hyphen or slash marks the seam, words that were joined
("don't" for "do" "n't") or parted ("it" "'s" for "it's") are recognised too.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

MAX_ALIGNED_PAIRS = 200_000  # beyond it, words are taken in the order of the answer, without an alignment
MAX_PHRASE_LOOKUPS = 50_000  # per answer; a bound on the work, never reached by an answer about a real text
_UNIFIED = str.maketrans(
    dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‘’‚‛`´", "'") | dict.fromkeys("‐‑‒–—―−", "-") | {"\\": None}
)
_BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]", "-lcb-": "{", "-rcb-": "}"}
_PIECES = re.compile(r"[,;/|\n]+")


@lru_cache(maxsize=20_000)
def _unify(text: str) -> str:
    """`text` in compatibility form (NFKC), case-folded, with one kind of quote, apostrophe and dash, no backslashes."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_UNIFIED)
    return _BRACKETS.get(folded, folded)


@lru_cache(maxsize=20_000)
def normalise_word(text: str) -> str:
    """Return the form in which words are compared: unified, without punctuation around it.

    A word of punctuation alone keeps it, with quotation marks written as ``, '' or " and dashes of any length equal.
    """
    unified = _unify(text).strip()
    first = next((i for i, sign in enumerate(unified) if sign.isalnum()), None)
    if first is None:
        return re.sub(r"-+", "-", unified.replace("''", '"'))
    last = next(i for i in range(len(unified) - 1, -1, -1) if unified[i].isalnum())
    return unified[first : last + 1]


@lru_cache(maxsize=20_000)
def _letters(text: str) -> str:
    """The letters and digits of `text`, unified."""
    return "".join(sign for sign in _unify(text) if sign.isalnum())


@dataclass
class Match:
    """What became of the returned words; the fields are those of `ParsedRationale`.

    scores: one per word, NaN where none was given (empty for lists). selected: word indices in the order given.
    named: how many words of the text were named, with a readable score or without.
    """

    scores: list[float] = field(default_factory=list)
    selected: list[int] = field(default_factory=list)
    not_in_text: list[str] = field(default_factory=list)
    duplicates: int = 0
    glued: int = 0
    named: int = 0
    repairs: set[str] = field(default_factory=set)


class _Text:
    """The words of a text, and which of them are taken."""

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        self.keys = [normalise_word(word) for word in words]
        self.surfaces = {_unify(word) for word in words}
        self.surface = "\n".join(self.surfaces)
        self.free: dict[str, list[int]] = {}
        for index, key in enumerate(self.keys):
            self.free.setdefault(key, []).append(index)
        self.known = frozenset(self.free)
        self.taken = [False] * len(self.words)
        # All letters in a row; where each word with letters starts and ends in it.
        self.letters, self.starts, self.ends = "", {}, {}
        parts, offset = [], 0
        for index, word in enumerate(words):
            if letters := _letters(word):
                self.starts[offset] = index
                offset += len(letters)
                self.ends[offset] = index
                parts.append(letters)
        self.letters = "".join(parts)
        self.lookups = MAX_PHRASE_LOOKUPS

    def take(self, index: int) -> None:
        self.taken[index] = True
        self.free[self.keys[index]].remove(index)

    def find_word(self, text: str) -> int | None:
        """The first free word equal to `text`: letter by letter if there is one, else after normalisation."""
        free = self.free.get(normalise_word(text))
        if not free:
            return None
        return next((index for index in free[:50] if self.words[index] == text), free[0])

    def find_phrase(self, text: str) -> list[int] | None:
        """Adjacent words that spell `text`, words of punctuation left out: the first with all words free, else any."""
        letters, fallback, offset = _letters(text), None, -1
        while letters and self.lookups > 0 and (offset := self.letters.find(letters, offset + 1)) >= 0:
            self.lookups -= 1 + len(letters) // 20
            if offset not in self.starts or offset + len(letters) not in self.ends:
                continue
            between = range(self.starts[offset], self.ends[offset + len(letters)] + 1)
            found = [index for index in between if _letters(self.words[index])]
            if not _same_seams(text, [self.words[index] for index in found]):
                continue
            if not any(self.taken[index] for index in found):
                return found
            fallback = fallback or found
        return fallback

    def holds_inside(self, text: str) -> bool:
        """Whether `text` is punctuation that the text holds, though clinging to a word."""
        return not _letters(text) and _unify(text) in self.surface


def _same_seams(text: str, words: Sequence[str]) -> bool:
    """Whether `text` and `words` are parted at the same letters, or have punctuation inside that explains why not."""
    pieces = [piece for piece in map(_letters, text.split()) if piece]
    if pieces == [_letters(word) for word in words]:
        return True
    return any(not sign.isalnum() for piece in (*text.split(), *words) for sign in normalise_word(piece))


def _slip(returned: str, word: str) -> set[str]:
    """The name of the difference between a returned word and the word of the text it stands for."""
    if returned == word:
        return set()
    return {"wrong case"} if returned.casefold() == word.casefold() else {"punctuation"}


def match_list(entries: Sequence[str], words: Sequence[str], glued_phrases: str) -> Match:
    """Match returned words or phrases to `words`, in the order given; `glued_phrases` is "split" or "reject"."""
    text, match = _Text(words), Match()
    for entry in entries:
        match.selected += _claim(entry, text, match, glued_phrases)
    match.named = len(match.selected)
    return match


def _claim(entry: str, text: _Text, match: Match, glued_phrases: str) -> list[int]:
    """Take the words that `entry` names and return their indices; count what it names in vain."""
    index = text.find_word(entry)
    if index is not None:
        match.repairs |= _slip(entry, text.words[index])
        text.take(index)
        return [index]
    if normalise_word(entry) in text.known:
        match.duplicates += 1
        return []
    if found := text.find_phrase(entry):
        free = [index for index in found if not text.taken[index]]
        match.duplicates += not free
        match.repairs.add("phrase" if len(entry.split()) > 1 else "joined words")
        for index in free:
            text.take(index)
        return free
    if text.holds_inside(entry):
        match.repairs.add("punctuation apart")
        return []
    pieces = _known_pieces(entry, text)
    if len(entry.split()) > 1 and any(known for _, known in pieces):
        match.glued += 1
        if glued_phrases == "split":
            match.repairs.add("phrase split")
            return _claim_pieces(pieces, text, match)
    match.not_in_text.append(entry)
    return []


def _known_pieces(entry: str, text: _Text) -> list[tuple[str, bool]]:
    """The parts of a phrase between commas, each with whether all of its words are in the text."""
    pieces = [piece.strip() for piece in _PIECES.split(entry) if piece.strip()]
    return [
        (piece, all(normalise_word(word) in text.known for word in piece.split()) or bool(text.find_phrase(piece)))
        for piece in pieces
    ]


def _claim_pieces(pieces: Sequence[tuple[str, bool]], text: _Text, match: Match) -> list[int]:
    """Take the words of each known part: adjacent ones if they spell it, else one by one."""
    selected: list[int] = []
    for piece, known in pieces:
        if not known:
            match.not_in_text.append(piece)
            continue
        found = text.find_phrase(piece) or []
        if not found or any(text.taken[index] for index in found):
            found = []
            for word in piece.split():
                index = text.find_word(word)
                if index is not None:
                    text.take(index)
                    selected.append(index)
        for index in found:
            text.take(index)
        selected += found
    return selected


def match_scores(entries: Sequence[tuple[str, float]], words: Sequence[str], glued_phrases: str) -> Match:
    """Match (word, score) pairs to `words`: the longest run in text order first, the rest by first free word.

    A score for several words goes to each of them; the scores of the parts of one word are added up.
    """
    text, match = _Text(words), Match(scores=[float("nan")] * len(words))
    if [entry for entry, _ in entries] == list(words):
        match.scores, match.named = [score for _, score in entries], len(words)
        return match
    entries = _merge_parts(entries, text, match)
    aligned = _align([normalise_word(entry) for entry, _ in entries], text)
    for position, index in aligned.items():
        match.repairs |= _slip(entries[position][0], words[index])
        match.scores[index] = entries[position][1]
        text.take(index)
    for position, (entry, score) in enumerate(entries):
        if position in aligned:
            continue
        claimed = _claim(entry, text, match, glued_phrases)
        if len(claimed) == 1:
            match.repairs.add("out of order")
        for index in claimed:
            match.scores[index] = score
    match.named = sum(text.taken)
    return match


def _merge_parts(entries: Sequence[tuple[str, float]], text: _Text, match: Match) -> list[tuple[str, float]]:
    """Join neighbouring entries that together are one word of the text, where one of them alone is none."""
    known = [normalise_word(entry) in text.known for entry, _ in entries]
    merged, position = [], 0
    while position < len(entries):
        length = 1
        for several in (4, 3, 2):
            parts = entries[position : position + several]
            if not all(known[position : position + several]) and len(parts) == several:
                if _unify("".join(part for part, _ in parts)) in text.surfaces:
                    length = several
                    match.repairs.add("word in parts")
                    break
        parts = entries[position : position + length]
        merged.append(("".join(part for part, _ in parts), sum(score for _, score in parts)))
        position += length
    return merged


def _align(keys: Sequence[str], text: _Text) -> dict[int, int]:
    """Longest common subsequence of returned and true words (Hunt and Szymanski 1977): entry -> word.

    Empty when there are too many equal pairs to be worth it.
    """
    if sum(len(text.free.get(key, ())) for key in keys) > MAX_ALIGNED_PAIRS:
        return {}
    tails: list[int] = []  # smallest last word of a common subsequence, by length
    links: list[tuple] = []  # (entry, word, link before), by length
    longest: tuple | None = None  # of equally long ones, the first to be complete
    for entry, key in enumerate(keys):
        before = len(tails)
        for word in reversed(text.free.get(key, ())):
            length = bisect_left(tails, word)
            link = (entry, word, links[length - 1] if length else None)
            if length == len(tails):
                tails.append(word)
                links.append(link)
            elif word < tails[length]:
                tails[length], links[length] = word, link
        longest = links[-1] if len(tails) > before else longest
    aligned = {}
    while longest:
        entry, word, longest = longest
        aligned[entry] = word
    return aligned

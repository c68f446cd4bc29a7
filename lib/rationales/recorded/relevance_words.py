"""From relevances per token to relevances per word, for models whose tokenizer is not at hand.

The recordings hold token ids. A tokenizer writes an id as the same string wherever it occurs, two ids as two strings,
the strings of a text spell that text, and white space stands at the beginning of a string only (so in SentencePiece
and in the byte-level encoding of Llama 3, for texts with single spaces). From these four facts, and many texts whose
words are known, the strings of most ids follow; each id keeps every string that is still possible. A token belongs to
a word for certain when all of its possible places lie in that word. Strings that a file records are taken first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RECORDED_ROUTE = "recorded token strings"
LEARNED_ROUTE = "learned token strings"
UNSETTLED = "tokens cannot be assigned to words with certainty"
NOT_SPELLED = "tokens do not spell the text"

Places = list[list[tuple[int, int]]]  # per token, every possible (start, end) in the text


@dataclass(frozen=True)
class Pieces:
    """What is known of a vocabulary: the possible strings of each id, and the ids whose string was recorded.

    unread: texts that no choice of strings spells; they were left out.
    """

    strings: Mapping[int, frozenset[str]]
    recorded: frozenset[int] = frozenset()
    unread: frozenset[str] = frozenset()

    def settled(self) -> dict[int, str]:
        """The ids whose string is certain."""
        return {number: next(iter(found)) for number, found in self.strings.items() if len(found) == 1}


def plain_piece(token: str) -> str:
    """Return the text of a token string as SentencePiece writes it: a low line block for a space, `<0x0A>` for a byte."""
    if token.startswith("<0x") and token.endswith(">") and len(token) == 6:
        return chr(int(token[3:5], 16))
    return token.replace("\u2581", " ")


def spaced(text: str) -> str:
    """Return the words of a text with a space before each: what the tokens of a text inside a prompt spell."""
    return "".join(f" {word}" for word in text.split())


def learn_pieces(
    texts: Sequence[str], token_ids: Sequence[Sequence[int]], known: Mapping[int, str] | None = None
) -> Pieces:
    """Return the possible strings of every id in `token_ids`, the tokens of each text.

    known: recorded strings by id. The possibilities shrink until nothing changes: in each text an id keeps the
    strings that occur in some spelling of the whole text, and a string that is certain for one id is taken from the
    others. A text without any spelling is left out, and all others are read anew.
    """
    known = dict(known or {})
    unread: set[str] = set()
    while True:
        items = [(spaced(text), tuple(ids)) for text, ids in zip(texts, token_ids, strict=True) if text not in unread]
        strings = {number: frozenset([piece]) for number, piece in known.items()}
        broken = _narrow(items, strings)
        if broken is None:
            return Pieces(strings, frozenset(known), frozenset(unread))
        unread |= {text for text in texts if spaced(text) == broken}


def _narrow(items: list[tuple[str, tuple[int, ...]]], strings: dict[int, frozenset[str]]) -> str | None:
    """Shrink `strings` in place until it is stable; return a text that cannot be spelled, or None."""
    users: dict[int, list[int]] = {}
    for position, (_, ids) in enumerate(items):
        for number in set(ids):
            users.setdefault(number, []).append(position)
    todo = set(range(len(items)))
    while todo:
        changed: set[int] = set()
        for position in sorted(todo):
            text, ids = items[position]
            places = find_places(text, ids, strings)
            if places is None:
                return text
            for number, spans in zip(ids, places, strict=True):
                found = frozenset(text[start:end] for start, end in spans)
                old = strings.get(number)
                new = found if old is None else old & found
                if not new:
                    return text
                if new != old:
                    strings[number] = new
                    changed.add(number)
        changed |= _drop_taken(strings)
        todo = {position for number in changed for position in users.get(number, ())}
    return None


def _drop_taken(strings: dict[int, frozenset[str]]) -> set[int]:
    """Take strings that are certain for one id from all other ids; return the ids that changed."""
    taken = {next(iter(found)) for found in strings.values() if len(found) == 1}
    changed = set()
    for number, found in strings.items():
        left = found - taken
        # An id whose possibilities are all taken is a contradiction; it shows where its text is read.
        if len(found) > 1 and left != found and left:
            strings[number] = left
            changed.add(number)
    return changed


def find_places(text: str, ids: Sequence[int], strings: Mapping[int, frozenset[str]]) -> Places | None:
    """Return, per token, its places (start, end) in any spelling of the text by its tokens; None where there is none.

    text: as `spaced` writes it. An id that is not in `strings` can be any run that starts anywhere and ends before
    the next space.
    """
    word_end = _word_ends(text)

    def ends(start: int, number: int) -> list[int]:
        pieces = strings.get(number)
        if pieces is None:
            return list(range(start + 1, word_end[start] + 1))
        return [start + len(p) for p in pieces if text.startswith(p, start) and start + len(p) <= word_end[start]]

    layers: list[list[tuple[int, int]]] = []
    starts = {0}
    for position, number in enumerate(ids):
        # each later token needs a character of its own
        latest = len(text) - (len(ids) - position - 1)
        layer = [(start, end) for start in starts if start < len(text) for end in ends(start, number) if end <= latest]
        layers.append(layer)
        starts = {end for _, end in layer}
    allowed, places = {len(text)}, []
    for layer in reversed(layers):
        kept = [(start, end) for start, end in layer if end in allowed]
        places.append(kept)
        allowed = {start for start, _ in kept}
    return places[::-1] if allowed == {0} and ids else None


def _word_ends(text: str) -> list[int]:
    """Per character, where a token that starts there must end at the latest: before the next space."""
    result, end = [0] * len(text), len(text)
    for position in range(len(text) - 1, -1, -1):
        result[position] = end
        if text[position] == " ":
            end = position
    return result


def assign_tokens(text: str, ids: Sequence[int], pieces: Pieces) -> tuple[np.ndarray | None, str]:
    """Return the word of each token (tokens,) and the route, or None and the reason.

    A single space that is a token by itself belongs to the word that follows it.
    """
    written = spaced(text)
    places = None if text in pieces.unread else find_places(written, ids, pieces.strings)
    if places is None:
        return None, NOT_SPELLED
    # The word of a character: the spaces up to it; a token ends inside its word, or is the space before it.
    word_of = np.cumsum([sign == " " for sign in written]) - 1
    words = [{int(word_of[end - 1]) for _, end in spans} for spans in places]
    if any(len(found) > 1 for found in words):
        return None, UNSETTLED
    route = RECORDED_ROUTE if set(ids) <= pieces.recorded else LEARNED_ROUTE
    return np.array([found.pop() for found in words]), route

"""Tokens inside words: what features count. Every token knows the word (the study's unit) that it belongs to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["word", "number", "mark"]

APOSTROPHES = str.maketrans("’ʼ‘", "'''")
CLITICS = "je|tu|il|elle|on|nous|vous|ils|elles|le|la|les|lui|leur|moi|toi|y|en|ce"
PLAIN = r"[^\W\d_]+(?:['-][^\W\d_]+)*"
SHARED_START = r"\.{3,}|…|``|''|(?=[^\W_]*\d)[^\W_]+(?:[.,:]\d+)*"
SHARED_END = r"_+|[^\w\s]"
# The parts of a word, by language; the first alternative that fits is taken.
WORD_PATTERNS = {
    "fr": rf"aujourd'hui|quelqu'une?|(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu)'(?=[^\W_]|$)"
    rf"|-(?:t-)?(?:{CLITICS})(?![^\W_])|[^\W\d_]+(?:-(?!(?:t-)?(?:{CLITICS})(?![^\W_]))[^\W\d_]+)*",
    "en": r"n't(?![^\W_])|'(?:s|m|re|ve|ll|d)(?![^\W_])|[^\W\d_]+?(?=n't(?![^\W_]))"
    r"|[^\W\d_]+(?:-[^\W\d_]+)*",
    "it": r"[^\W\d_]+'(?=[^\W_]|$)|[^\W\d_]+(?:-[^\W\d_]+)*",
}  # fmt: skip


@dataclass(frozen=True)
class Token:
    """A token: its form in lower case, its kind, the index of its word in the example, and the text as it stands.

    kind: "word" (letters), "number" (holds a digit) or "mark" (one punctuation mark or symbol; "..." is one).
    """

    form: str
    kind: Kind
    word: int
    text: str

    @property
    def letters(self) -> int:
        """Number of letters."""
        return sum(character.isalpha() for character in self.form)


@lru_cache(maxsize=16)
def _pattern(language: str) -> re.Pattern:
    return re.compile(f"{SHARED_START}|{WORD_PATTERNS.get(language, PLAIN)}|{SHARED_END}", re.IGNORECASE)


def split_tokens(words: Sequence[str], language: str) -> tuple[Token, ...]:
    """Return the tokens of white-space words, in reading order.

    French elisions (l', qu') and inverted pronouns (-le, -t-il), Italian elisions and English contractions (n't, 's)
    are tokens of their own; other hyphenated words stay whole, and so do all words of other languages. Typographic
    apostrophes count as straight ones, "…" as "...". No character is dropped, except the hyphens of inverted pronouns.
    """
    pattern = _pattern(language)
    tokens = []
    for index, word in enumerate(words):
        for match in pattern.finditer(word.translate(APOSTROPHES)):
            form = match.group().lower()
            if any(character.isdigit() for character in form):
                kind = "number"
            elif any(character.isalpha() for character in form):
                kind = "word"
            else:
                kind = "mark"
            if kind == "word" and form[0] == "-":
                form = form.removeprefix("-t-").removeprefix("-")
            elif form == "…" or (len(form) >= 3 and set(form) == {"."}):
                form = "..."
            tokens.append(Token(form, kind, index, match.group()))
    return tuple(tokens)

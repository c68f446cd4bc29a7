"""Compiled word lists: which tokens of a text an entry covers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rationales.errors import require_known
from rationales.features.forms import inflect_english, inflect_french_adjective, inflect_french_er
from rationales.features.lexicons import WORD_LISTS
from rationales.features.tokens import Token, split_tokens

REGULAR_VERBS = ("citing_regular", "thinking_regular", "verbs_regular")
INFLECTIONS = {
    ("fr", "verbs"): inflect_french_er,
    ("fr", "adjectives"): inflect_french_adjective,
    ("en", "verbs"): inflect_english,
}


@dataclass(frozen=True)
class WordList:
    """Entries of one word, and entries of several words by their first one, longest first."""

    singles: frozenset[str]
    phrases: dict[str, tuple[tuple[str, ...], ...]]

    def __contains__(self, form: str) -> bool:
        return form in self.singles


@lru_cache(maxsize=64)
def load_word_list(language: str, name: str) -> WordList:
    """Return the list `name` of a language, with the inflected forms of its regular verbs or adjectives.

    "citing" and "thinking" join their regular verbs and their other forms. StudyError for an unknown list.
    """
    lists = WORD_LISTS[require_known(language, WORD_LISTS, "language with word lists")]
    if name in ("citing", "thinking"):
        parts = [load_word_list(language, f"{name}_regular"), load_word_list(language, f"{name}_forms")]
        return WordList(
            parts[0].singles | parts[1].singles,
            {first: phrases for part in parts for first, phrases in part.phrases.items()},
        )
    entries = [entry.strip() for entry in lists[require_known(name, lists, "word list")].split(",")]
    kind = "verbs" if name in REGULAR_VERBS else name
    if (language, kind) in INFLECTIONS:
        entries = sorted({form for entry in entries for form in INFLECTIONS[language, kind](entry)})
    return compile_entries(entries, language)


def compile_entries(entries: Sequence[str], language: str) -> WordList:
    """Return the word list of entries, each split into tokens as a text of that language would be."""
    singles, phrases = set(), {}
    for entry in entries:
        forms = tuple(token.form for token in split_tokens(entry.split(), language))
        if len(forms) == 1:
            singles.add(forms[0])
        elif forms:
            phrases.setdefault(forms[0], set()).add(forms)
    ordered = {first: tuple(sorted(found, key=lambda p: (-len(p), p))) for first, found in phrases.items()}
    return WordList(frozenset(singles), ordered)


def match_entries(tokens: Sequence[Token], entries: WordList) -> np.ndarray:
    """Return, per token, its share of the matched entries: (n_tokens,), whose sum is the number of matches.

    Whole tokens are matched, from left to right, the longest entry first; matches do not overlap. An entry of m
    tokens gives each of them 1 / m.
    """
    marks = np.zeros(len(tokens))
    forms = [token.form for token in tokens]
    position = 0
    while position < len(forms):
        size = 1
        for phrase in entries.phrases.get(forms[position], ()):
            if tuple(forms[position : position + len(phrase)]) == phrase:
                size = len(phrase)
                break
        if size > 1 or forms[position] in entries.singles:
            marks[position : position + size] = 1 / size
        position += size
    return marks

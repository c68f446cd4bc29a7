"""From scores to selected words: the number k, and what ties leave to chance.

A tie is never broken by the position of a word. Every order that agrees with the scores counts the same, and a
measure is the expectation over these orders: in closed form where there is one, else over `orders`.
"""

from collections.abc import Iterable, Sequence
from itertools import permutations, product
from math import factorial, floor, prod

import numpy as np
from numpy.typing import ArrayLike

from rationales.errors import StudyError, require_known

K_RULES = ("human", "own", "fifth")


def require_scores(scores: ArrayLike, name: str = "scores") -> np.ndarray:
    """Return `scores` as a float vector of at least one word; raise StudyError when it is not finite and flat."""
    vector = np.asarray(scores, dtype=float)
    if vector.ndim != 1 or vector.size == 0:
        raise StudyError(f"`{name}` has the shape {vector.shape}; give one number per word, for at least one word.")
    if not np.isfinite(vector).all():
        raise StudyError(f"`{name}` holds NaN or infinity; record the explanation as not valid before scoring it.")
    return vector


def require_k(k: int, n_words: int, at_least: int = 0) -> int:
    """Return `k` as an int; raise StudyError when it is no whole number from `at_least` to `n_words`."""
    if isinstance(k, bool) or int(k) != k or not at_least <= k <= n_words:
        raise StudyError(f"k is {k} for {n_words} words; give a whole number from {at_least} to {n_words}.")
    return int(k)


def resolve_k(rule: str | float, n_words: int, human_k: int | None = None, own_k: int | None = None) -> int:
    """Return how many of `n_words` words to select.

    rule:
      - "human": `human_k`, the size of the human rationale (P1's Top-Var, P2's oracle);
      - "own": `own_k`, the size of the explanation itself;
      - "fifth": max(1, floor(.2 n_words)), as in Huang et al. 2023 (their code; the paper prints min);
      - a fraction in (0, 1]: max(1, nearest whole number to fraction * n_words), a half rounded up. The nearest number
        keeps the selected share closest to the fraction; flooring selects too little in short texts.

    Raises StudyError for an unknown rule, a fraction outside (0, 1], or a needed size that is missing or impossible.
    """
    if isinstance(rule, str):
        require_known(rule, K_RULES, "rule for k")
        if rule == "fifth":
            return max(1, floor(n_words * 0.2 + 1e-9))
        size = human_k if rule == "human" else own_k
        if size is None:
            raise StudyError(f"The rule '{rule}' for k needs `{rule}_k`; give the size of that rationale.")
        return require_k(size, n_words)
    if isinstance(rule, bool) or not 0 < rule <= 1:
        raise StudyError(f"The fraction {rule} for k is not above 0 and at most 1; give for example 0.2 for 20 %.")
    # The small term undoes binary rounding: .35 * 10 is 3.4999999999999996 and still means three and a half.
    return max(1, floor(rule * n_words + 0.5 + 1e-9))


def tie_blocks(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, per word, how many words score strictly higher and how many score the same (itself included).

    In a random tie order a word takes each rank above + 1, ..., above + size with the same probability.
    """
    ascending = np.sort(scores)
    not_above = np.searchsorted(ascending, scores, side="right")
    return scores.size - not_above, not_above - np.searchsorted(ascending, scores, side="left")


def inclusion_probabilities(scores: ArrayLike, k: int) -> np.ndarray:
    """Return, per word, the probability of being among the k highest scores under a random order of ties.

    Words above the k-th score have 1, words below it 0, and the words tied with it share the places that are left.
    The probabilities add up to k. scores: (n_words,); returns (n_words,) in [0, 1].
    """
    vector = require_scores(scores)
    above, size = tie_blocks(vector)
    return np.clip((require_k(k, vector.size) - above) / size, 0.0, 1.0)


def tie_rate(scores: ArrayLike, k: int) -> float:
    """Return the share of the k places whose holder is decided by chance, in [0, 1].

    0: the scores alone determine the top-k set. 1: they say nothing about it (constant scores, k below n_words).
    NaN for k = 0.
    """
    probability = inclusion_probabilities(scores, k)
    places = k - int((probability == 1).sum())
    return places / k if k else float("nan")


def orders(scores: ArrayLike, n_orders: int, generator: np.random.Generator) -> np.ndarray:
    """Return descending orders of the words: (m, n_words) word indices, most important first.

    m = 1 without ties. All tie orders, each once, when there are at most `n_orders`; the mean over the rows is then
    exact. Otherwise `n_orders` independent uniform draws.
    """
    vector = require_scores(scores)
    if n_orders < 1:
        raise StudyError(f"n_orders is {n_orders}; ask for at least one order.")
    descending = np.argsort(-vector, kind="stable")
    blocks = np.split(descending, np.flatnonzero(np.diff(vector[descending])) + 1)
    if prod(factorial(block.size) for block in blocks) <= n_orders:
        every = product(*(permutations(block.tolist()) for block in blocks))
        return np.array([[word for part in parts for word in part] for parts in every], dtype=np.intp)
    shape = (n_orders, vector.size)
    return np.lexsort((generator.random(shape), np.broadcast_to(-vector, shape)), axis=-1)


def set_to_scores(selected: Sequence[int] | Iterable[int], n_words: int, ordered: bool = False) -> np.ndarray:
    """Return scores (n_words,) that stand for a set-valued explanation.

    selected: word indices, each once. Unordered: 1 for these words. Ordered (most important first): len(selected) for
    the first, down to 1 for the last. All other words have 0, so they are tied with each other below the selected ones.

    Raises StudyError for an index outside the text or given twice.
    """
    indices = list(selected)
    if len(set(indices)) != len(indices):
        raise StudyError("A word is selected twice; remove the repetition and record it as such.")
    if any(isinstance(i, (bool, np.bool_)) or int(i) != i or not 0 <= i < n_words for i in indices):
        raise StudyError(f"`selected` must hold word indices from 0 to {n_words - 1}; do not give a mask of booleans.")
    scores = np.zeros(n_words)
    scores[np.array(indices, dtype=np.intp)] = np.arange(len(indices), 0, -1) if ordered else 1.0
    return scores

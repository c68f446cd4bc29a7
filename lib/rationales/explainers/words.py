"""From scores of tokens to scores of words."""

import numpy as np

from rationales.errors import require_known

AGGREGATIONS = ("sum", "mean", "max")


def words_from_tokens(scores: np.ndarray, token_words: np.ndarray, n_words: int, how: str = "sum") -> np.ndarray:
    """Score per word (words,) from one score per token (tokens,); tokens of word -1 are left out.

    "sum" keeps the total of additive methods; "mean" is P4's choice; "max" takes the token of largest size,
    with its sign. A word without a token scores 0.
    """
    require_known(how, AGGREGATIONS, "aggregation of tokens")
    inside = token_words >= 0
    words, values = token_words[inside], np.asarray(scores, dtype=float)[inside]
    if how == "max":
        result = np.zeros(n_words)
        for word, value in zip(words, values, strict=True):
            if abs(value) > abs(result[word]):
                result[word] = value
        return result
    total = np.bincount(words, weights=values, minlength=n_words)
    if how == "sum":
        return total
    return total / np.maximum(1, np.bincount(words, minlength=n_words))


def share_outside(scores: np.ndarray, token_words: np.ndarray) -> float:
    """Share of the absolute relevance that falls on tokens outside the text, 0 to 1 (NaN when all is zero)."""
    sizes = np.abs(np.asarray(scores, dtype=float))
    total = sizes.sum()
    return float(sizes[token_words < 0].sum() / total) if total > 0 else float("nan")

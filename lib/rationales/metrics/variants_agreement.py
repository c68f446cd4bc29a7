"""Agreement as OpenXAI computes the measures of Krishna et al. 2022, with ranks of absolute scores.

Dense ranks are used: equal absolute scores share a rank and the next rank follows without a gap. Ties at the border
of the top k go to the earlier word. The measures of Huang et al. 2023 are ours with `ranking="signed"`, but for
a random jitter in place of the expectation over tie orders.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from rationales.errors import StudyError
from rationales.metrics._overlap import NAN, pearson
from rationales.metrics._registry import variant
from rationales.metrics.selection import require_k, require_scores

OPENXAI = "Krishna et al. 2022; OpenXAI, code"


@variant("agreement", "feature_agreement", OPENXAI, "absolute scores; ties at the border by position")
def openxai_feature_agreement(first: ArrayLike, second: ArrayLike, k: int) -> float:
    """Return |both top k| / k."""
    tops = _top_lists(first, second, k)
    return len(set(tops[0]) & set(tops[1])) / k


@variant("agreement", "rank_agreement", OPENXAI, "same place in the list and same dense rank")
def openxai_rank_agreement(first: ArrayLike, second: ArrayLike, k: int) -> float:
    """Return the share of places at which both lists hold the same word with the same dense rank."""
    same_place, ranks = _same_places(first, second, k)
    return float(np.mean(same_place & (ranks[0] == ranks[1])))


@variant("agreement", "sign_agreement", OPENXAI, "two zeros agree in sign")
def openxai_sign_agreement(first: ArrayLike, second: ArrayLike, k: int) -> float:
    """Return the share of words in both top k that have the same sign, of k; the sign of 0 is a third one."""
    tops = _top_lists(first, second, k)
    signs = [np.sign(require_scores(scores)) for scores in (first, second)]
    shared = np.array(sorted(set(tops[0]) & set(tops[1])), dtype=int)
    return float(np.sum(signs[0][shared] == signs[1][shared]) / k)


@variant("agreement", "signed_rank_agreement", OPENXAI, "same place, same dense rank; two zeros agree in sign")
def openxai_signed_rank_agreement(first: ArrayLike, second: ArrayLike, k: int) -> float:
    """Return the share of places with the same word, dense rank and sign."""
    same_place, ranks = _same_places(first, second, k)
    tops = _top_lists(first, second, k)
    signs = [np.sign(require_scores(scores))[top] for scores, top in zip((first, second), tops, strict=True)]
    return float(np.mean(same_place & (ranks[0] == ranks[1]) & (signs[0] == signs[1])))


@variant("agreement", "spearman", OPENXAI, "Pearson of dense ranks of absolute scores; Spearman only without ties", -1)
def openxai_rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return Pearson's correlation of the dense ranks; NaN when one is constant."""
    return pearson(*_dense_ranks(first, second).astype(float))


@variant(
    "agreement", "pairwise_rank_agreement", OPENXAI, "a tied pair counts as 'not before', so the order of words matters"
)
def openxai_pairwise_rank_agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Return the share of pairs i < j with (rank i < rank j) alike in both; NaN with one word.

    A tie reads as "not before", so that listing the words in reverse changes the value.
    """
    ranks = _dense_ranks(first, second)
    earlier, later = np.triu_indices(ranks.shape[1], 1)
    if not earlier.size:
        return NAN
    before = ranks[:, earlier] < ranks[:, later]
    return float(np.mean(before[0] == before[1]))


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = require_scores(first, "first"), require_scores(second, "second")
    if first.size != second.size:
        raise StudyError(f"The explanations score {first.size} and {second.size} words; give two of the same example.")
    return first, second


def _dense_ranks(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """(2, n_words) dense ranks of the absolute scores, 1 for the largest."""
    return np.array([rankdata(-np.abs(scores), method="dense") for scores in _pair(first, second)])


def _top_lists(first: ArrayLike, second: ArrayLike, k: int) -> np.ndarray:
    """(2, k) words of the largest absolute scores, in descending order."""
    pair = _pair(first, second)
    k = require_k(k, pair[0].size, at_least=1)
    return np.array([np.argsort(-np.abs(scores), kind="stable")[:k] for scores in pair])


def _same_places(first: ArrayLike, second: ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
    tops = _top_lists(first, second, k)
    return tops[0] == tops[1], np.take_along_axis(_dense_ranks(first, second), tops, axis=1)

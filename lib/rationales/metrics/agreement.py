"""Agreement between two explanations of the same example, each measure with its chance level.

Feature, rank, sign and signed-rank agreement, rank correlation and pairwise rank agreement follow Krishna et al. 2022
("The Disagreement Problem in Explainable Machine Learning"); IoU is the Jaccard of the two top-k sets.
The expectation is over independent, uniformly random tie orders of both explanations, and exact for every measure.
Scores are positive where a word supports the predicted label.
"""

import numpy as np
from numpy.typing import ArrayLike

from rationales.errors import StudyError, require_known
from rationales.metrics import _overlap
from rationales.metrics._overlap import NAN
from rationales.metrics.selection import inclusion_probabilities, require_k, require_scores, resolve_k, tie_blocks

RANKINGS = ("signed", "absolute")
TIE_BREAKING_ONLY = ("rank_agreement", "signed_rank_agreement", "pairwise_rank_agreement")


def agreement_of(
    first: ArrayLike,
    second: ArrayLike,
    k: int | None = None,
    ranking: str = "signed",
    set_valued: bool = False,
) -> dict[str, float]:
    """Return every agreement measure of two explanations of the same words, by name.

    k: size of the top sets, max(1, floor(.2 n_words)) by default (Huang et al. 2023).
    ranking: "signed", the words that support the predicted label most come first; or "absolute", as Krishna et al.
    set_valued: True when an explanation is an unordered set; rank, signed-rank and pairwise agreement, which would only
    measure tie breaking, are then NaN.

    feature_agreement: share of the k places with a word of both top sets. iou: the Jaccard of the sets.
    sign_agreement: as feature agreement, for words of equal sign; two zeros do not agree (nor do zero and a sign).
    rank_agreement: same word at the same rank. signed_rank_agreement: same word, rank and sign.
    spearman: over all words, with mid-ranks. pairwise_rank_agreement: share of word pairs in the same order, (tau-a +
    1) / 2. All in [0, 1] but spearman, in [-1, 1]; higher is more agreement. NaN: spearman when an explanation is
    constant, spearman and pairwise_rank_agreement with one word. Raises StudyError for lengths that differ, NaN scores,
    an impossible k or an unknown ranking.
    """
    first, second, k = _prepare(first, second, k)
    first_key, second_key = _ranking_key(first, ranking), _ranking_key(second, ranking)
    both_top = inclusion_probabilities(first_key, k) * inclusion_probabilities(second_key, k)
    same_rank = _same_rank_probabilities(first_key, second_key, k)
    # The product of the signs, not of the scores: tiny scores would underflow to zero.
    same_sign = np.sign(first) * np.sign(second) > 0
    values = {
        "feature_agreement": float(both_top.sum() / k),
        "rank_agreement": float(same_rank.sum() / k),
        "sign_agreement": float(both_top[same_sign].sum() / k),
        "signed_rank_agreement": float(same_rank[same_sign].sum() / k),
        "iou": top_k_jaccard(first_key, second_key, k),
        "spearman": _overlap.spearman(first_key, second_key),
        "pairwise_rank_agreement": pairwise_rank_agreement(first_key, second_key),
    }
    return _without_tie_breaking(values) if set_valued else values


def chance_agreement(
    first: ArrayLike,
    second: ArrayLike,
    k: int | None = None,
    ranking: str = "signed",
    set_valued: bool = False,
) -> dict[str, float]:
    """Return the exact expectation of each measure of `agreement_of` when the words of one explanation are permuted.

    feature_agreement k/n; rank_agreement 1/n; pairwise_rank_agreement 1/2; spearman 0; iou over the hypergeometric
    overlap of two random sets. The signed measures depend on the signs at the top of both explanations: two
    explanations with positive words only agree in sign whenever they agree at all. NaN where `agreement_of` is.
    """
    first, second, k = _prepare(first, second, k)
    n_words = first.size
    keys = [_ranking_key(scores, ranking) for scores in (first, second)]
    constant = any(np.ptp(key) == 0 for key in keys)
    places = [_places_by_sign(scores, key, k) for scores, key in zip((first, second), keys, strict=True)]
    values = {
        "feature_agreement": k / n_words,
        "rank_agreement": 1 / n_words,
        "sign_agreement": float((places[0].sum(axis=1) @ places[1].sum(axis=1)) / (n_words * k)),
        "signed_rank_agreement": float((places[0] * places[1]).sum() / (n_words * k)),
        "iou": _overlap.expected_jaccard(_overlap.hypergeometric(n_words, k, k), 2 * k),
        "spearman": NAN if constant else 0.0,
        "pairwise_rank_agreement": 0.5 if n_words > 1 else NAN,
    }
    return _without_tie_breaking(values) if set_valued else values


def top_k_jaccard(first: ArrayLike, second: ArrayLike, k: int) -> float:
    """Return the expected Jaccard of the two top-k sets by descending score, in [0, 1]; k is at least 1."""
    first, second, k = _prepare(first, second, k)
    return _overlap.expected_jaccard(overlap_distribution(first, second, k), 2 * k)


def overlap_distribution(first: ArrayLike, second: ArrayLike, k: int) -> np.ndarray:
    """Return (k + 1,) probabilities that the two top-k sets share 0..k words, over independent random tie orders.

    Each top set has certain words and a random part, drawn from the words tied at its border. Given how many words of
    the first random part also lie at the second border, its hits among the second's certain words and the second's own
    random hits are independent and hypergeometric.
    """
    first, second, k = _prepare(first, second, k)
    first_in, second_in = inclusion_probabilities(first, k), inclusion_probabilities(second, k)
    first_sure, second_sure = first_in == 1, second_in == 1
    first_tied, second_tied = (first_in > 0) & ~first_sure, (second_in > 0) & ~second_sure
    certain = int((first_sure & second_sure).sum())
    first_drawn, second_drawn = k - int(first_sure.sum()), k - int(second_sure.sum())
    n_first, n_second, n_both = (int(m.sum()) for m in (first_tied, second_tied, first_tied & second_tied))
    to_second_sure, to_first_sure = int((first_tied & second_sure).sum()), int((first_sure & second_tied).sum())
    probabilities = np.zeros(certain + first_drawn + second_drawn + 1)
    for n_shared, probability in enumerate(_overlap.hypergeometric(n_first, n_both, first_drawn)):
        if probability > 0:
            own = _overlap.hypergeometric(n_first - n_both, to_second_sure, first_drawn - n_shared)
            other = _overlap.hypergeometric(n_second, to_first_sure + n_shared, second_drawn)
            hits = np.convolve(own, other)
            probabilities[certain : certain + hits.size] += probability * hits
    return np.pad(probabilities, (0, max(0, k + 1 - probabilities.size)))[: k + 1]


def pairwise_rank_agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Return the expected share of word pairs that both explanations order alike, in [0, 1]; NaN with one word.

    A pair that is tied in either explanation is ordered alike half of the time.
    """
    first, second, _ = _prepare(first, second, 1)
    n_pairs = first.size * (first.size - 1) // 2
    if n_pairs == 0:
        return NAN
    balance = 0  # concordant minus discordant pairs, row by row: memory stays linear in long texts
    for word in range(first.size - 1):
        rest = slice(word + 1, None)
        balance += int(np.sign(first[word] - first[rest]) @ np.sign(second[word] - second[rest]))
    return (1 + balance / n_pairs) / 2


def _prepare(first: ArrayLike, second: ArrayLike, k: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    first, second = require_scores(first, "first"), require_scores(second, "second")
    if first.size != second.size:
        raise StudyError(f"The explanations score {first.size} and {second.size} words; give two of the same example.")
    return first, second, resolve_k("fifth", first.size) if k is None else require_k(k, first.size, at_least=1)


def _ranking_key(scores: np.ndarray, ranking: str) -> np.ndarray:
    return np.abs(scores) if require_known(ranking, RANKINGS, "ranking") == "absolute" else scores


def _same_rank_probabilities(first: np.ndarray, second: np.ndarray, k: int) -> np.ndarray:
    """Per word, the probability that it takes the same rank in both orders and that this rank is at most k."""
    (first_above, first_size), (second_above, second_size) = tie_blocks(first), tie_blocks(second)
    lowest = np.maximum(first_above, second_above)
    highest = np.minimum(np.minimum(first_above + first_size, second_above + second_size), k)
    return np.maximum(highest - lowest, 0) / (first_size * second_size)


def _places_by_sign(scores: np.ndarray, key: np.ndarray, k: int) -> np.ndarray:
    """(2, k) probabilities that the word at each of the first k ranks is positive, and that it is negative."""
    above, size = tie_blocks(key)
    places = np.arange(k)[:, None]
    at_rank = ((places >= above) & (places < above + size)) / size
    return np.stack([at_rank @ (scores > 0), at_rank @ (scores < 0)])


def _without_tie_breaking(values: dict[str, float]) -> dict[str, float]:
    return {name: NAN if name in TIE_BREAKING_ONLY else value for name, value in values.items()}

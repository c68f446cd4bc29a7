"""Plausibility: how well an explanation matches the human rationale of one example, at word level.

`gold` is the human mask, (n_words,) booleans; `graded` is graded human importance, (n_words,), larger is more.
Higher is better for every measure. Ties among scores count in expectation over uniformly random tie orders, exactly,
unless a docstring says otherwise. An empty human rationale leaves every measure undefined (NaN): such examples are
excluded from means, and counted.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from rationales.errors import StudyError
from rationales.metrics import _overlap
from rationales.metrics._overlap import NAN
from rationales.metrics.selection import inclusion_probabilities, require_k, require_scores, tie_blocks, tie_rate

PERSISTENCE = 0.9


def require_mask(mask: ArrayLike, n_words: int, name: str = "gold") -> np.ndarray:
    """Return `mask` as booleans; raise StudyError when it is not one truth value per word."""
    values = np.asarray(mask)
    if values.shape != (n_words,):
        raise StudyError(f"`{name}` has the shape {values.shape} for {n_words} words; align it to the words.")
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise StudyError(f"`{name}` holds values other than 0 and 1; give a mask, and graded values as `graded`.")
    return values.astype(bool)


def plausibility_of(
    scores: ArrayLike,
    gold: ArrayLike,
    graded: ArrayLike | None,
    k: int,
    persistence: float = PERSISTENCE,
) -> dict[str, float]:
    """Return every plausibility measure of one explanation, by name, and its `tie_rate` at k.

    The measures of sets (precision, recall, f1, iou, kappa) are at k; those of rankings (average_precision, auroc,
    auprc_trapezoid, average_precision_blocks, rank_biased_overlap, spearman) use all words. The last two compare with
    `graded` and are NaN without it. Raises StudyError for shapes that do not fit and for NaN scores.
    """
    vector = require_scores(scores)
    mask = require_mask(gold, vector.size)
    return {
        **set_plausibility(vector, mask, k),
        "average_precision": average_precision(vector, mask),
        "auroc": auroc(vector, mask),
        "auprc_trapezoid": auprc_trapezoid(vector, mask),
        "average_precision_blocks": average_precision_blocks(vector, mask),
        "rank_biased_overlap": NAN if graded is None else rank_biased_overlap(vector, graded, persistence),
        "spearman": NAN if graded is None else graded_spearman(vector, graded),
        "tie_rate": tie_rate(vector, k),
    }


def expected_counts(scores: ArrayLike, gold: ArrayLike, k: int) -> np.ndarray:
    """Return the expected (true positives, false positives, false negatives, true negatives) of the top-k words.

    They add up to n_words. Stack the rows of many examples to pool them (`pooled_f1`, `pooled_kappa`).
    """
    vector = require_scores(scores)
    mask = require_mask(gold, vector.size)
    hits, n_gold = inclusion_probabilities(vector, k)[mask].sum(), mask.sum()
    return np.array([hits, k - hits, n_gold - hits, vector.size - k - n_gold + hits])


def set_plausibility(scores: ArrayLike, gold: ArrayLike, k: int) -> dict[str, float]:
    """Return precision, recall, f1, iou (Jaccard of the two sets of words) and kappa of the top-k words.

    All in [0, 1] but kappa, in [-1, 1]. At fixed k all but iou are linear in the number of hits, so the expected hits
    suffice; iou sums over the distribution of the hits. k = 0, an empty explanation, scores 0 with an undefined
    precision. kappa is NaN when both masks mark all words.
    """
    vector = require_scores(scores)
    mask = require_mask(gold, vector.size)
    k, n_gold = require_k(k, vector.size), int(mask.sum())
    if n_gold == 0:
        return dict.fromkeys(("precision", "recall", "f1", "iou", "kappa"), NAN)
    probability = inclusion_probabilities(vector, k)
    counts = expected_counts(vector, mask, k)
    undecided = (probability > 0) & (probability < 1)
    if undecided.any():
        certain = probability == 1
        certain_hits = int((certain & mask).sum())
        drawn = _overlap.hypergeometric(int(undecided.sum()), int((undecided & mask).sum()), k - int(certain.sum()))
        iou = _overlap.expected_jaccard(np.concatenate([np.zeros(certain_hits), drawn]), k + n_gold)
    else:
        iou = counts[0] / (k + n_gold - counts[0])
    return _measures_of_counts(counts, float(iou))


def _measures_of_counts(counts: np.ndarray, iou: float) -> dict[str, float]:
    hits, false_positives, false_negatives, _ = counts
    n_selected, n_gold = hits + false_positives, hits + false_negatives
    return {
        "precision": float(hits / n_selected) if n_selected else NAN,
        "recall": float(hits / n_gold),
        "f1": float(2 * hits / (n_selected + n_gold)),
        "iou": iou,
        "kappa": float(kappa_of_counts(counts)),
    }


def kappa_of_counts(counts: ArrayLike) -> np.ndarray:
    """Return Cohen's kappa (1960) over the two labels, for counts (..., 4) of tp, fp, fn, tn; returns (...).

    (observed - chance agreement) / (1 - chance agreement), in [-1, 1]; 0 is chance. NaN when both masks are constant
    and equal, for there is nothing to correct for; one constant mask beside a mixed one gives 0.
    """
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, dtype=float), -1, 0)
    # Both sides of the ratio times n^2: exact for whole counts, so the undefined case is found exactly.
    disagreement = (tp + fp + fn + tn) * (fp + fn)
    chance_disagreement = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    undefined = np.full_like(disagreement, NAN)
    return 1 - np.divide(disagreement, chance_disagreement, out=undefined, where=chance_disagreement > 0)


def pooled_kappa(counts: ArrayLike) -> float:
    """Return kappa of counts (n_examples, 4) summed over the examples: every word weighs the same."""
    return float(kappa_of_counts(np.asarray(counts, dtype=float).sum(axis=0)))


def pooled_f1(counts: ArrayLike) -> float:
    """Return token F1 of counts (n_examples, 4) summed over the examples (ERASER's micro F1); NaN without positives."""
    tp, fp, fn, _ = np.asarray(counts, dtype=float).sum(axis=0)
    return float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else NAN


def average_precision(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return the expected average precision: the mean, over gold words, of the precision at their rank. In (0, 1].

    Within a block of e tied words, g of them gold, below a words of which A are gold, a gold word at place j has on
    average (j - 1)(g - 1)/(e - 1) gold words of the block before it; the sum over j is closed with harmonic numbers.
    Without ties this is scikit-learn's `average_precision_score`, which takes a whole block as one step (see
    `average_precision_blocks`) and so gives a constant explanation less than a random one.
    """
    vector = require_scores(scores)
    mask = require_mask(gold, vector.size)
    if not mask.any():
        return NAN
    above, size, gold_above, gold_size = (part[mask] for part in _gold_blocks(vector, mask))
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, vector.size + 1))])
    density = (gold_size - 1) / np.maximum(size - 1, 1)
    reciprocal_rank = (harmonic[above + size] - harmonic[above]) / size
    return float(np.mean(density + (gold_above + 1 - density * (above + 1)) * reciprocal_rank))


def _gold_blocks(vector: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per word: words above, words tied (itself included), gold words above, gold words tied."""
    above, size = tie_blocks(vector)
    ascending = np.sort(vector[mask])
    not_above = np.searchsorted(ascending, vector, side="right")
    return above, size, ascending.size - not_above, not_above - np.searchsorted(ascending, vector, side="left")


def average_precision_blocks(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return average precision with each block of ties as one step, as scikit-learn computes it. In (0, 1].

    For comparison with published numbers; not an expectation over tie orders.
    """
    vector = require_scores(scores)
    mask = require_mask(gold, vector.size)
    if not mask.any():
        return NAN
    above, size, gold_above, gold_size = (part[mask] for part in _gold_blocks(vector, mask))
    return float(np.mean((gold_above + gold_size) / (above + size)))


def auroc(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return the probability that a gold word scores higher than another word, a tie counting one half. In [0, 1].

    The area under the ROC curve (Mann-Whitney). NaN when all words are gold.
    """
    vector = require_scores(scores)
    mask = require_mask(gold, vector.size)
    n_gold = int(mask.sum())
    if n_gold in (0, vector.size):
        return NAN
    above, size, gold_above, gold_size = (part[mask] for part in _gold_blocks(vector, mask))
    others_above, others_tied = above - gold_above, size - gold_size
    return float(1 - np.mean(others_above + others_tied / 2) / (vector.size - n_gold))


def auprc_trapezoid(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return the trapezoid area under the precision-recall curve, as ERASER and ferret report it. In [0, 1].

    For comparison with old tables only: straight lines across a block of ties reward ties. With 30 words, 5 of them
    gold, a constant explanation gets .583 and a random one .210. DeYoung et al. 2020; ferret also clips scores below
    zero to zero, which adds ties and is not done here.
    """
    vector = require_scores(scores)
    mask = require_mask(gold, vector.size)
    if not mask.any():
        return NAN
    descending = np.argsort(-vector, kind="stable")
    block_ends = np.append(np.flatnonzero(np.diff(vector[descending])), vector.size - 1)
    hits = np.cumsum(mask[descending])[block_ends]
    recall = np.concatenate([[0.0], hits / mask.sum()])
    precision = np.concatenate([[1.0], hits / (block_ends + 1)])
    return float(np.trapezoid(precision, recall))


def rank_biased_overlap(scores: ArrayLike, graded: ArrayLike, persistence: float = PERSISTENCE) -> float:
    """Return the expected extrapolated rank-biased overlap with the graded human ranking, in (0, 1].

    Webber, Moffat & Zobel 2010, equation 30, over all n words:
    A(n) p^n + (1 - p)/p * sum over d of A(d) p^d, where A(d) is the share of common words among the first d of both
    rankings and p the `persistence`, the weight that each further rank keeps. Ties on both sides are expected over
    independent random orders, which is exact because A(d) is a sum of products of inclusion probabilities (the RBO^a of
    Corsi & Urbano 2024). So two equal explanations with ties score below 1, and words the human left at zero count as
    ties: compare with `chance_plausibility`. NaN when `graded` marks no word (no value above zero).
    """
    vector = require_scores(scores)
    ranking = _require_graded(graded, vector.size)
    _require_persistence(persistence)
    if not (ranking > 0).any():
        return NAN
    # Ranks whose weight p^d is below 1e-18 cannot change the sum; leaving them out bounds the work for long texts.
    depths = np.arange(1, min(vector.size, int(np.ceil(-41.5 / np.log(persistence)))) + 1)
    overlap = np.ones((vector.size, depths.size))
    for side in (vector, ranking):
        above, size = tie_blocks(side)
        overlap *= np.clip((depths - above[:, None]) / size[:, None], 0.0, 1.0)
    return _extrapolate_overlap(overlap.sum(axis=0) / depths, vector.size, persistence)


def _require_persistence(persistence: float) -> None:
    if not 0 < persistence < 1:
        raise StudyError(f"The persistence is {persistence}; give a number between 0 and 1, such as .9.")


def _extrapolate_overlap(agreement: np.ndarray, n_words: int, persistence: float) -> float:
    # All words are ranked on both sides, so the agreement at the last rank is 1.
    weights = persistence ** np.arange(1, agreement.size + 1)
    return float(persistence**n_words + (1 - persistence) / persistence * (weights @ agreement))


def graded_spearman(scores: ArrayLike, graded: ArrayLike) -> float:
    """Return Spearman's correlation of the scores with graded human importance, in [-1, 1].

    Tied words share their mid-rank, so no tie is broken. NaN when scores or graded importance are constant.
    """
    vector = require_scores(scores)
    return _overlap.spearman(vector, _require_graded(graded, vector.size))


def _require_graded(graded: ArrayLike, n_words: int) -> np.ndarray:
    ranking = require_scores(graded, "graded")
    if ranking.size != n_words:
        raise StudyError(f"`graded` has {ranking.size} entries for {n_words} words; align it to the words.")
    return ranking


def chance_plausibility(n_words: int, n_gold: int, k: int, persistence: float = PERSISTENCE) -> dict[str, float]:
    """Return the exact expectation of each measure of `plausibility_of` for a uniformly random order of the words.

    The top-k set is then a uniformly random set, with hypergeometric hits. A random order has no ties, so
    average_precision_blocks equals average_precision, and the trapezoid is the mean of average precision and n_gold /
    n_words (the precision just before a gold word is n_gold / n_words on average, counting the start of the curve as
    1). rank_biased_overlap holds against any graded ranking, spearman against any that is not constant. NaN where
    the measure is undefined for every order.
    """
    if n_words < 1:
        raise StudyError(f"n_words is {n_words}; give a text of at least one word.")
    _require_persistence(persistence)
    k, n_gold = require_k(k, n_words), int(n_gold)
    if not 0 <= n_gold <= n_words:
        raise StudyError(f"n_gold is {n_gold} for {n_words} words; give a whole number from 0 to {n_words}.")
    depths = np.arange(1, n_words + 1)
    overlap = _extrapolate_overlap(depths / n_words, n_words, persistence)
    tied, mask = np.zeros(n_words), depths <= n_gold
    precision = average_precision(tied, mask)
    return {
        **set_plausibility(tied, mask, k),
        "average_precision": precision,
        "auroc": auroc(tied, mask),
        "auprc_trapezoid": (precision + n_gold / n_words) / 2,
        "average_precision_blocks": precision,
        "rank_biased_overlap": overlap if n_gold else NAN,
        "spearman": 0.0 if n_gold and n_words > 1 else NAN,
    }


def annotator_against_others(annotators: ArrayLike, threshold: float = 0.5) -> list[dict[str, float]]:
    """Return, per annotator, the measures of sets of its mask against the others' majority: the human ceiling.

    annotators: (n_annotators, n_words) booleans. A word belongs to the majority when at least `threshold` of the others
    marked it (P2's rule). An annotator who marked nothing scores 0 like any empty explanation, with an undefined
    precision. Where the others' majority is empty, and with fewer than two annotators, all values are NaN.
    """
    masks = np.asarray(annotators)
    if masks.ndim != 2 or masks.shape[1] == 0:
        raise StudyError(f"`annotators` has the shape {masks.shape}; give one row of booleans per annotator.")
    masks = np.array([require_mask(row, masks.shape[1], "annotators") for row in masks]).reshape(masks.shape)
    n_others = len(masks) - 1
    results = []
    for own in masks:
        majority = (masks.sum(axis=0) - own >= threshold * n_others - 1e-9) & (n_others > 0)
        results.append(set_plausibility(own, majority, int(own.sum())))
    return results


def mask_to_spans(mask: ArrayLike) -> list[tuple[int, int]]:
    """Return the maximal runs of marked words as (start, end), end not included."""
    marked = np.concatenate([[0], np.asarray(mask).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(marked))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def eraser_span_counts(predicted: ArrayLike, gold: ArrayLike, threshold: float = 0.5) -> tuple[int, int, int]:
    """Return (hits, predicted spans, gold spans): a predicted span hits when its best IoU is at least `threshold`.

    A span is a run of marked words; give each segment of a pair of texts by itself and add the counts up.
    """
    if not 0 < threshold <= 1:
        raise StudyError(f"The threshold is {threshold}; give an IoU above 0 and at most 1, such as .5.")
    gold_mask = require_mask(gold, np.size(gold))
    predicted_spans = mask_to_spans(require_mask(predicted, gold_mask.size, "predicted"))
    gold_spans = mask_to_spans(gold_mask)
    hits = 0
    for start, end in predicted_spans:
        shared = [max(0, min(end, stop) - max(start, begin)) for begin, stop in gold_spans]
        lengths = [end - start + stop - begin for begin, stop in gold_spans]
        hits += any(s >= threshold * (n - s) for s, n in zip(shared, lengths, strict=True))
    return hits, len(predicted_spans), len(gold_spans)


def eraser_iou_f1(predicted: ArrayLike, gold: ArrayLike, threshold: float = 0.5) -> float:
    """Return ERASER's span-level IoU F1 of one example (DeYoung et al. 2020); not the Jaccard of words (`iou`).

    Hits of predicted spans serve as numerator of precision and of recall. At a threshold up to .5 two predicted spans
    can hit the same gold span, so recall, and with it F1, can exceed 1; kept as ERASER computes it. 0 without hits,
    NaN for an empty human rationale.
    """
    counts = eraser_span_counts(predicted, gold, threshold)
    return pooled_eraser_iou_f1([counts])["micro"] if counts[2] else NAN


def pooled_eraser_iou_f1(counts: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    """Return ERASER's corpus-level "micro" and "macro" IoU F1 from `eraser_span_counts` of the examples.

    Micro: F1 of the summed counts. Macro: precision averaged over the examples with a prediction, recall over those
    with a gold span, then F1 of the two averages; examples without predictions so weigh on recall only. 0 without hits.
    """
    hits, n_predicted, n_gold = np.asarray(counts, dtype=float).reshape(-1, 3).T

    def harmonic_mean(precision: float, recall: float) -> float:
        return 2 * precision * recall / (precision + recall) if precision and recall else 0.0

    has_prediction, has_gold = n_predicted > 0, n_gold > 0
    if not has_prediction.any() or not has_gold.any():
        return {"micro": 0.0, "macro": 0.0}
    return {
        "micro": float(harmonic_mean(hits.sum() / n_predicted.sum(), hits.sum() / n_gold.sum())),
        "macro": float(
            harmonic_mean(
                np.mean(hits[has_prediction] / n_predicted[has_prediction]),
                np.mean(hits[has_gold] / n_gold[has_gold]),
            )
        ),
    }

"""Plausibility as ERASER and ferret compute it. All are NaN for an empty human rationale."""

import numpy as np
from numpy.typing import ArrayLike

from rationales.metrics import plausibility
from rationales.metrics._overlap import NAN
from rationales.metrics._registry import variant
from rationales.metrics.selection import inclusion_probabilities, require_scores

FERRET = "Attanasio et al. 2023 (ferret 0.4.2), code"
ERASER = "DeYoung et al. 2020 (ERASER), code"
FERRET_K = 5


@variant("plausibility", "f1", FERRET, "top 5 among the positive scores, whatever the human length; ties by position")
def ferret_token_f1(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return the F1 of at most five words, those with the highest positive scores; 0 without a positive score."""
    chosen, mask = _ferret_selection(scores, gold)
    total = chosen.sum() + mask.sum()
    return float(2 * (chosen & mask).sum() / total) if mask.any() else NAN


@variant("plausibility", "iou", FERRET, "top 5 among the positive scores, whatever the human length; ties by position")
def ferret_token_iou(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return the Jaccard of the two sets of words, for the same set as `ferret_token_f1`."""
    chosen, mask = _ferret_selection(scores, gold)
    return float((chosen & mask).sum() / (chosen | mask).sum()) if mask.any() else NAN


@variant("plausibility", "average_precision", FERRET, "trapezoid, with negative scores set to 0, which adds ties")
def ferret_auprc(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return the trapezoid area under the precision-recall curve of max(0, scores)."""
    return plausibility.auprc_trapezoid(np.maximum(require_scores(scores), 0), gold)


@variant("plausibility", "average_precision", ERASER, "trapezoid: a block of ties is crossed in a straight line")
def eraser_auprc(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return the trapezoid area under the precision-recall curve; rewards ties."""
    return plausibility.auprc_trapezoid(scores, gold)


@variant(
    "plausibility", "average_precision", "scikit-learn", "a block of ties is one step, not an expectation over orders"
)
def scikit_learn_average_precision(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return average precision as scikit-learn computes it."""
    return plausibility.average_precision_blocks(scores, gold)


@variant("plausibility", "iou", ERASER, "spans, not words: hit when IoU is at least .5; can exceed 1", high=np.inf)
def eraser_iou_f1_at_human_length(scores: ArrayLike, gold: ArrayLike) -> float:
    """Return the span-level IoU F1 of the words selected at the human length.

    Only certain words are selected: those tied at the border are left out, since spans have no expectation over ties
    in closed form.
    """
    vector = require_scores(scores)
    mask = plausibility.require_mask(gold, vector.size)
    if not mask.any():
        return NAN
    return plausibility.eraser_iou_f1(inclusion_probabilities(vector, int(mask.sum())) == 1, mask)


def _ferret_selection(scores: ArrayLike, gold: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the selected and the human words as masks; among tied scores the later word comes first, as theirs."""
    vector = require_scores(scores)
    mask = plausibility.require_mask(gold, vector.size)
    chosen = np.zeros(vector.size, dtype=bool)
    chosen[np.argsort(vector, kind="stable")[::-1][:FERRET_K]] = True
    return chosen & (vector > 0), mask

"""Faithfulness as Huang et al. 2023 define and as their released code computes it.

f is P(positive) for both labels, 0 (negative) and 1 (positive), and words are deleted from the most positive one on.
Make the curves from the orders of `huang_scores`. Every value is the mean over the tie orders of the curves.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rationales.errors import StudyError, require_known
from rationales.metrics._overlap import NAN, spearman
from rationales.metrics._registry import variant
from rationales.metrics.faithfulness import Curves, flip_fraction
from rationales.metrics.selection import require_scores
from rationales.metrics.variants_faithfulness import require_whole, scores_of

HUANG = "Huang et al. 2023"
HUANG_CODE = "Huang et al. 2023, released code"
JITTER = 1e-3


def huang_scores(scores: ArrayLike, target: int, positive: int = 1) -> np.ndarray:
    """Return scores that support the target as scores that support the positive label, the order of Huang et al.

    They delete the most positive word first for both labels; for a negative prediction that is the word which speaks
    against it most. Make the curves from the orders of these scores.
    """
    return require_scores(scores) * (1 if target == positive else -1)


@variant(
    "faithfulness", "aopc_comprehensiveness", HUANG, "drop of P(positive), its order for both labels, P(empty) = .5", -1
)
def huang_comprehensiveness(curves: Curves) -> float:
    """Return 1 / (L + 1) times the sum over l = 1..L of f(x) - f(x without the l most positive words)."""
    full, without, _ = _positive_curves(curves)
    return float(np.sum(full - without[:, 1:], axis=1).mean() / (curves.n_words + 1))


@variant(
    "faithfulness",
    "aopc_comprehensiveness",
    HUANG_CODE,
    "as the paper's, but for label 0 f(x) and 1 - f(x) take turns as the reference",
    -1,
)
def huang_comprehensiveness_released(curves: Curves) -> float:
    """Return the comprehensiveness that the released code computes, with its defect for texts labelled 0.

    The confidence c of the label is turned into P(positive) anew before each step but the last: the reference is 1 - c,
    c, 1 - c, ... and the last step, without words, takes the one before it (c for a text of one word).
    """
    full, without, _ = _positive_curves(curves)
    label = int(np.argmax(curves.full))
    if label == 1:
        return huang_comprehensiveness(curves)
    steps = np.arange(1, curves.n_words + 1)
    turned = np.where(steps == curves.n_words, steps - 1, steps) % 2 == 1
    reference = np.where(turned, full, 1 - full)
    return float(np.sum(reference - without[:, 1:], axis=1).mean() / (curves.n_words + 1))


@variant(
    "faithfulness",
    "aopc_absolute_sufficiency",
    HUANG,
    "|drop| of P(positive), its order for both labels, P(empty) = .5",
    better="lower",
)
def huang_sufficiency(curves: Curves) -> float:
    """Return 1 / (L + 1) times the sum over l = 0..L of |f(x) - f(only the l most positive words)|."""
    full, _, only = _positive_curves(curves)
    return float(np.abs(full - only).mean())


@variant("faithfulness", "comprehensiveness", HUANG, "drop of P(positive) after the most positive words", -1)
def huang_comprehensiveness_at_k(curves: Curves, k: int) -> float:
    """Return f(x) - f(x without the k most positive words)."""
    full, without, _ = _positive_curves(curves, whole=False)
    return float(np.mean(full - without[:, curves.index_of(k)]))


@variant("faithfulness", "sufficiency", HUANG, "|drop| of P(positive) with the most positive words", better="lower")
def huang_sufficiency_at_k(curves: Curves, k: int) -> float:
    """Return |f(x) - f(only the k most positive words)|."""
    full, _, only = _positive_curves(curves, whole=False)
    return float(np.mean(np.abs(full - only[:, curves.index_of(k)])))


@variant(
    "faithfulness", "dfmit", HUANG_CODE, "the most positive word, also when it speaks against the label; crosses .5"
)
def huang_dfmit(curves: Curves) -> float:
    """Return 1 when removing the most positive word takes P(positive) across .5, else 0."""
    _require_two_labels(curves)
    without = np.exp(curves.without[:, curves.index_of(1), 1])  # they do ask about an empty text here
    return float(np.mean((without > 0.5) != (np.exp(curves.full[1]) > 0.5)))


@variant(
    "faithfulness", "dffrac", HUANG, "removed / (L + 1), most positive word first; 1 when nothing flips", better="lower"
)
def huang_dffrac(curves: Curves) -> float:
    """Return l / (L + 1) at the first flip after l words, and 1 when none flips."""
    return flip_fraction(curves)[2]


def huang_rank_correlation(
    curves: Curves,
    scores: ArrayLike,
    generator: np.random.Generator,
    form: Literal["paper", "confidence", "released"] = "paper",
) -> float:
    """Return Spearman's correlation of scores towards the positive label with single-word drops, in [-1, 1].

    form:
      - "paper": drops of P(positive), as the text defines them;
      - "confidence": drops of the confidence in whichever label is returned, so that a flip looks like a small change
        (the later code for open models);
      - "released": the sentence is asked again unchanged, so that all drops are 0 and only the jitter is ranked: the
        expectation is 0 for every explanation.

    Uniform jitter of +-.001 is added to scores and drops, which is how they break ties. NaN for fewer than two words.
    """
    require_known(form, ("paper", "confidence", "released"), "form of the rank correlation")
    vector = scores_of(curves, scores)
    _require_two_labels(curves)
    if curves.single is None or vector.size < 2:
        return NAN
    full, single = np.exp(curves.full), np.exp(curves.single)
    drops = {
        "paper": full[1] - single[:, 1],
        "confidence": full.max() - single.max(axis=1),
        "released": np.zeros(vector.size),
    }[form]
    jitter = generator.uniform(-JITTER, JITTER, size=(2, vector.size))
    return spearman(vector + jitter[0], drops + jitter[1])


@variant("faithfulness", "deletion_rank_correlation", HUANG, "drops of P(positive) for both labels; ties left here", -1)
def huang_rank_correlation_without_jitter(curves: Curves, scores: ArrayLike) -> float:
    """Return Spearman's correlation of scores towards the positive label with drops of P(positive), mid-ranks for ties.

    With the jitter and the released code's defect: `huang_rank_correlation`.
    """
    vector = scores_of(curves, scores)
    _require_two_labels(curves)
    if curves.single is None:
        return NAN
    return spearman(vector, np.exp(curves.full[1]) - np.exp(curves.single[:, 1]))


def _positive_curves(curves: Curves, whole: bool = True) -> tuple[float, np.ndarray, np.ndarray]:
    """Return f(x), f(without), f(only) with P(positive | empty) = .5; both (m, n_k)."""
    _require_two_labels(curves)
    if whole:
        require_whole(curves)
    without, only = np.exp(curves.without[..., 1]), np.exp(curves.only[..., 1])
    without[:, -1] = only[:, 0] = 0.5
    return float(np.exp(curves.full[1])), without, only


def _require_two_labels(curves: Curves) -> None:
    if curves.full.size != 2:
        raise StudyError("Huang et al. define this for the labels negative and positive; give curves of two labels.")

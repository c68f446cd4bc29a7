"""Faithfulness as other papers and tools compute it, from the same `Curves` as our own measures.

Every value is the mean over the tie orders of the curves. Huang et al. 2023 have a module of their own.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau

from rationales.errors import StudyError
from rationales.metrics._overlap import NAN
from rationales.metrics._registry import variant
from rationales.metrics.faithfulness import (
    ERASER_FRACTIONS,
    Curves,
    aopc_over_fractions,
    comprehensiveness,
    flip_rate,
    null_difference,
    sufficiency,
)
from rationales.metrics.selection import require_scores

ERASER_CODE = "DeYoung et al. 2020 (ERASER), code"
ERASER_PAPER = "DeYoung et al. 2020 (ERASER), printed formula"
FERRET = "Attanasio et al. 2023 (ferret 0.4.2), code"
CARTON = "Carton et al. 2020, code"
EDIN = "Edin et al. 2025, code"
BRANDL = "Brandl and Eberle 2024, code of the first versions"
CARTON_SMALLEST = 1e-5


# ---- ERASER


@variant("faithfulness", "aopc_comprehensiveness", ERASER_CODE, "none: plain mean over the five bins", -1)
def eraser_aopc_comprehensiveness(curves: Curves) -> float:
    """Return the mean comprehensiveness over 1, 5, 10, 20 and 50 % of the words."""
    return aopc_over_fractions(curves, ERASER_FRACTIONS, "comprehensiveness")


@variant("faithfulness", "aopc_sufficiency", ERASER_CODE, "none: plain mean over the five bins", -1, better="lower")
def eraser_aopc_sufficiency(curves: Curves) -> float:
    """Return the mean sufficiency over 1, 5, 10, 20 and 50 % of the words."""
    return aopc_over_fractions(curves, ERASER_FRACTIONS, "sufficiency")


@variant("faithfulness", "aopc_comprehensiveness", ERASER_PAPER, "divides by |B| + 1, so 5/6 of the code's value", -1)
def eraser_paper_aopc_comprehensiveness(curves: Curves) -> float:
    """Return 1 / (|B| + 1) times the sum over the bins 0..|B|; bin 0 removes nothing and adds 0."""
    return aopc_over_fractions(curves, ERASER_FRACTIONS, "comprehensiveness", extra_bin=True)


@variant(
    "faithfulness",
    "aopc_sufficiency",
    ERASER_PAPER,
    "divides by |B| + 1 and counts the empty rationale, p(x) - p(empty), as bin 0",
    -1,
    better="lower",
)
def eraser_paper_aopc_sufficiency(curves: Curves) -> float:
    """Return 1 / (|B| + 1) times the sum over the bins 0..|B|, where bin 0 keeps no word.

    Our `aopc_sufficiency_extra_bin` lets bin 0 add 0 instead, which gives 5/6 of the code's value.
    """
    without_bin = aopc_over_fractions(curves, ERASER_FRACTIONS, "sufficiency", extra_bin=True)
    return without_bin + null_difference(curves) / (len(ERASER_FRACTIONS) + 1)


# ---- ferret


def ferret_sizes(scores: ArrayLike) -> np.ndarray:
    """Return the sizes of ferret's top sets, ascending: int(t L) for t = .1, .2, ... 1, at most the positive scores.

    A size that is 0 is skipped and repeated sets count once. Empty without a positive score. Pass them as `extra` of
    `curve_ks`, so that they are measured.
    """
    vector = require_scores(scores)
    positive = int((vector > 0).sum())
    sizes = np.arange(1, 11) * vector.size // 10  # whole numbers: no rounding of .3 * 10
    return np.unique(np.minimum(sizes[sizes > 0], positive)) if positive else np.zeros(0, dtype=int)


@variant(
    "faithfulness",
    "aopc_comprehensiveness",
    FERRET,
    "tenths, positive scores only, repeated sets dropped; 0 without",
    -1,
)
def ferret_aopc_comprehensiveness(curves: Curves, scores: ArrayLike) -> float:
    """Return the mean comprehensiveness over `ferret_sizes`, and 0 where no score is positive."""
    sizes = ferret_sizes(scores)
    return float(np.mean([comprehensiveness(curves, k) for k in sizes])) if sizes.size else 0.0


@variant(
    "faithfulness",
    "aopc_sufficiency",
    FERRET,
    "tenths, positive scores only, repeated sets dropped; 1 without",
    -1,
    better="lower",
)
def ferret_aopc_sufficiency(curves: Curves, scores: ArrayLike) -> float:
    """Return the mean sufficiency over `ferret_sizes`, and 1 where no score is positive."""
    sizes = ferret_sizes(scores)
    return float(np.mean([sufficiency(curves, k) for k in sizes])) if sizes.size else 1.0


@variant("faithfulness", "deletion_rank_correlation", FERRET, "Kendall's tau-b in place of Spearman's correlation", -1)
def ferret_tau_leave_one_out(curves: Curves, scores: ArrayLike) -> float:
    """Return tau-b of the signed scores with the drops of single words; NaN when one is constant or not measured."""
    vector = scores_of(curves, scores)
    if curves.single is None:
        return NAN
    drops = np.exp(curves.full[curves.target]) - np.exp(curves.single[:, curves.target])
    if vector.size < 2 or np.ptp(vector) == 0 or np.ptp(drops) == 0:
        return NAN
    return float(kendalltau(vector, drops).statistic)


# ---- Carton


@variant("faithfulness", "sufficiency", CARTON, "1 - drop, cut off at 1: higher is better, the opposite of ERASER's")
def carton_sufficiency(curves: Curves, k: int) -> float:
    """Return 1 - max(0, p(x) - p(only the top k words))."""
    return float(np.mean(1 - np.maximum(0, _drops(curves, curves.only, k))))


@variant("faithfulness", "comprehensiveness", CARTON, "negative drops count as 0")
def carton_comprehensiveness(curves: Curves, k: int) -> float:
    """Return max(0, p(x) - p(x without the top k words))."""
    return float(np.mean(np.maximum(0, _drops(curves, curves.without, k))))


@variant(
    "faithfulness", "normalised_sufficiency", CARTON, "1 - ours, cut to [0, 1]; 0 where p(x) - p(empty) is under 1e-5"
)
def carton_normalised_sufficiency(curves: Curves, k: int) -> float:
    """Return (sufficiency - its value without words) / (1 - that value), both after Carton, cut to [0, 1]."""
    null = max(0.0, null_difference(curves))
    if null < CARTON_SMALLEST:
        return 0.0
    values = 1 - np.maximum(0, _drops(curves, curves.only, k))
    return float(np.mean(np.clip((values - (1 - null)) / null, 0, 1)))


@variant("faithfulness", "normalised_comprehensiveness", CARTON, "cut to [0, 1]; 0 where p(x) - p(empty) is under 1e-5")
def carton_normalised_comprehensiveness(curves: Curves, k: int) -> float:
    """Return max(0, drop) / (p(x) - p(empty)), cut to [0, 1]."""
    null = max(0.0, null_difference(curves))
    if null < CARTON_SMALLEST:
        return 0.0
    return float(np.mean(np.clip(np.maximum(0, _drops(curves, curves.without, k)) / null, 0, 1)))


# ---- Edin and interpreto: whole curves


@variant(
    "faithfulness", "aopc_comprehensiveness", EDIN, "mean over l = 1..L: (L + 1) / L times ours over all words", -1
)
def edin_aopc_comprehensiveness(curves: Curves) -> float:
    """Return the mean over l = 1..L of p(x) - p(x without the top l words)."""
    return float(np.mean(_whole_drops(curves, curves.without)[:, 1:]))


@variant(
    "faithfulness",
    "aopc_sufficiency",
    EDIN,
    "mean over l = 1..L with the least important words removed first",
    -1,
    better="lower",
)
def edin_aopc_sufficiency(curves: Curves) -> float:
    """Return the mean over l = 1..L of p(x) - p(x without the l least important words)."""
    return float(np.mean(_whole_drops(curves, curves.only)[:, :-1]))


@variant(
    "faithfulness",
    "aopc_comprehensiveness",
    "interpreto 0.5.2, code",
    "trapezoid mean of p itself, not of its drop",
    better="lower",
)
def interpreto_deletion(curves: Curves) -> float:
    """Return the trapezoid mean of p over the share of deleted words, most important first."""
    drops = _whole_drops(curves, curves.without)
    probs = np.exp(curves.full[curves.target]) - drops
    return float(np.mean(np.trapezoid(probs, axis=1) / curves.n_words))


# ---- Fayyaz, Brandl and Eberle


@variant("faithfulness", "flip_rate", "Fayyaz et al. 2024", "none: k is the length of the human rationale (Top-Var)")
def fayyaz_flip_rate(curves: Curves, k: int) -> float:
    """Return 1 when masking the top k words changes the label, else 0."""
    return flip_rate(curves, k)


@variant(
    "faithfulness",
    "comprehensiveness",
    BRANDL,
    "p after masking, no drop; theirs is over the whole vocabulary and only for items predicted right",
    better="lower",
)
def brandl_masked_probability(curves: Curves, k: int) -> float:
    """Return p(x without the top k words), all masked at once."""
    return float(np.mean(np.exp(curves.without[:, curves.index_of(k), curves.target])))


@variant(
    "faithfulness",
    "comprehensiveness",
    "Brandl and Eberle 2026",
    "difference of two answers' probabilities; they order human and self-explained sets by greedy search, attributions not",
    -1,
    better="lower",
)
def brandl_probability_difference(curves: Curves, k: int) -> float:
    """Return p(target) - p(best other label) of the text without the top k words; below 0 the label has changed."""
    probs = np.exp(curves.without[:, curves.index_of(k)])
    others = np.delete(probs, curves.target, axis=-1)
    return float(np.mean(probs[:, curves.target] - others.max(axis=-1)))


def require_whole(curves: Curves) -> None:
    """Raise StudyError unless the curves hold every size from 0 to L."""
    if not curves.is_full:
        raise StudyError("This variant needs every size from 0 to L; raise `max_full_curve` of `curve_ks`.")


def _drops(curves: Curves, masked: np.ndarray, k: int) -> np.ndarray:
    """(m,) drops p(x) - p at size k, one per tie order."""
    return np.exp(curves.full[curves.target]) - np.exp(masked[:, curves.index_of(k), curves.target])


def _whole_drops(curves: Curves, masked: np.ndarray) -> np.ndarray:
    require_whole(curves)
    return np.exp(curves.full[curves.target]) - np.exp(masked[..., curves.target])


def scores_of(curves: Curves, scores: ArrayLike) -> np.ndarray:
    """Return the scores as a vector; raise StudyError when they do not fit the text of the curves."""
    vector = require_scores(scores)
    if vector.size != curves.n_words:
        raise StudyError(f"The explanation has {vector.size} scores for a text of {curves.n_words} words; align them.")
    return vector

"""Faithfulness of an explanation, computed from the probabilities of partly erased texts.

Notation: p(.) is the probability of the target label within the label set, x the text with all its L words,
"top k" the k words that come first in a descending order of the scores. Orders differ only in how ties are broken;
every value is the mean over the given tie orders. `MEASURES` lists range, direction and undefined cases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from rationales.errors import StudyError, require_known
from rationales.metrics._overlap import spearman
from rationales.metrics.selection import require_scores, resolve_k

ERASER_FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)
SMALLEST_NULL_DIFFERENCE = 0.05  # below it, p(x) - p(empty) leaves too little to normalise by
Scale = Literal["probability", "log_odds"]


class Measure(NamedTuple):
    """Range of a measure, which direction is more faithful ("higher" or "lower"), and when it is NaN."""

    low: float
    high: float
    better: str
    undefined: str = "never"


INFINITE = "a label has probability 0, so that the log-odds are infinite"
FLAT = f"p(x) - p(empty) is below {SMALLEST_NULL_DIFFERENCE}"
NO_RANKS = "scores or drops are constant, or single-word probabilities were not measured"
MEASURES: dict[str, Measure] = {
    "comprehensiveness": Measure(-1, 1, "higher"),
    "sufficiency": Measure(-1, 1, "lower"),
    "comprehensiveness_log_odds": Measure(-np.inf, np.inf, "higher", INFINITE),
    "sufficiency_log_odds": Measure(-np.inf, np.inf, "lower", INFINITE),
    "normalised_comprehensiveness": Measure(-np.inf, np.inf, "higher", FLAT),
    "normalised_sufficiency": Measure(-np.inf, np.inf, "lower", FLAT),
    "flip_rate": Measure(0, 1, "higher"),
    "aopc_comprehensiveness": Measure(-1, 1, "higher"),
    "aopc_sufficiency": Measure(-1, 1, "lower"),
    "aopc_comprehensiveness_extra_bin": Measure(-1, 1, "higher"),
    "aopc_sufficiency_extra_bin": Measure(-1, 1, "lower"),
    "aopc_absolute_sufficiency": Measure(0, 1, "lower"),
    "dfmit": Measure(0, 1, "higher"),
    "dffrac": Measure(0, 1, "lower"),
    "never_flip": Measure(0, 1, "lower"),
    "dffrac_extra_word": Measure(0, 1, "lower"),
    "deletion_rank_correlation": Measure(-1, 1, "higher", NO_RANKS),
    "deletion_rank_correlation_unsigned": Measure(-1, 1, "higher", NO_RANKS),
    "deletion_area": Measure(-1, 1, "higher"),
    "deletion_area_flip": Measure(-1, 1, "higher"),
}


def curve_ks(n_words: int, fractions: Sequence[float], max_full_curve: int, extra: Iterable[int] = ()) -> np.ndarray:
    """Return the sorted sizes k at which to measure a text of `n_words` words, (n_k,) int.

    All of 0..L when L <= `max_full_curve`; else 0, 1, L, the k of each fraction, and the sizes in `extra`
    (such as the length of the human rationale).
    """
    if n_words < 1:
        raise StudyError(f"A text of {n_words} words has no erasure curve; leave it out and count it.")
    ks = {0, 1, n_words, *(resolve_k(float(fraction), n_words) for fraction in fractions), *map(int, extra)}
    if min(ks) < 0 or max(ks) > n_words:
        raise StudyError(
            f"The sizes {sorted(ks)} do not fit a text of {n_words} words; give sizes from 0 to its length."
        )
    return np.arange(n_words + 1) if n_words <= max_full_curve else np.array(sorted(ks))


def plan_masks(orders: np.ndarray, ks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the keep-masks (without, only), each (m, n_k, L) bool, for word orders (m, L) and sizes (n_k,).

    `without[i, j]` keeps all but the first ks[j] words of order i; `only[i, j]` keeps just these.
    Removing the l least important words is `only` at k = L - l.
    """
    orders, ks = np.asarray(orders), np.asarray(ks)
    if orders.ndim != 2 or not np.array_equal(
        np.sort(orders, axis=1), np.tile(np.arange(orders.shape[1]), (len(orders), 1))
    ):
        raise StudyError("Each word order must be a row that names every word from 0 to L - 1 once.")
    ranks = np.argsort(orders, axis=1)
    only = ranks[:, None, :] < ks[None, :, None]
    return ~only, only


@dataclass(frozen=True)
class Curves:
    """Log-probabilities of all labels at the masks of `plan_masks`, for one text and one explanation.

    ks (n_k,) ascending, with 0, 1 and L; without, only (m, n_k, n_labels); single (L, n_labels) with each single word
    removed, or None; full, empty (n_labels,) for the text and for no words; target is the explained label's index.
    Raises StudyError when shapes disagree or a row is not a log-probability distribution over the labels.
    """

    ks: np.ndarray
    without: np.ndarray
    only: np.ndarray
    single: np.ndarray | None
    full: np.ndarray
    empty: np.ndarray
    target: int

    def __post_init__(self):
        names = ("ks", "without", "only", "full", "empty") + (() if self.single is None else ("single",))
        for name in names:
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=int if name == "ks" else float))
        labels = self.full.shape[-1] if self.full.ndim == 1 else 0
        if labels < 2 or not 0 <= self.target < labels:
            raise StudyError("`full` must hold one log-probability per label, two at least, and `target` one of them.")
        ks = self.ks
        if ks.ndim != 1 or len(ks) < 2 or ks[0] != 0 or ks[1] != 1 or np.any(np.diff(ks) <= 0):
            raise StudyError("`ks` must ascend from 0 and hold 1 and the number of words; make it with `curve_ks`.")
        shape = self.without.shape
        if len(shape) != 3 or shape[0] < 1 or shape[1:] != (len(ks), labels) or self.only.shape != shape:
            raise StudyError("`without` and `only` must both have the shape (tie orders, sizes, labels).")
        single_shape = (int(ks[-1]), labels)
        if self.empty.shape != (labels,) or (self.single is not None and self.single.shape != single_shape):
            raise StudyError("`empty` must have one entry per label, and `single` one row per word.")
        for name in names[1:]:
            values = getattr(self, name)
            if np.isnan(values).any() or np.abs(np.logaddexp.reduce(values, axis=-1)).max() > 1e-3:
                raise StudyError(f"`{name}` does not sum to probability 1 over the labels; pass log-probabilities.")

    @property
    def n_words(self) -> int:
        """Number of words of the text."""
        return int(self.ks[-1])

    @property
    def is_full(self) -> bool:
        """Whether every size from 0 to L was measured."""
        return len(self.ks) == self.n_words + 1

    def index_of(self, k: int) -> int:
        """Position of size `k` in `ks`; raises StudyError when it was not measured."""
        found = np.flatnonzero(self.ks == k)
        if not len(found):
            raise StudyError(f"Size {k} was not measured for this text; name it in `extra` of `curve_ks`.")
        return int(found[0])


def log_odds(log_probs: np.ndarray, target: int) -> np.ndarray:
    """Return log p - log(1 - p) of the target for log-probabilities (..., n_labels); infinite when p is 0 or 1."""
    return log_probs[..., target] - np.logaddexp.reduce(np.delete(log_probs, target, axis=-1), axis=-1)


def score_of(log_probs: np.ndarray, target: int, scale: Scale = "probability") -> np.ndarray:
    """Return the target's probability, or its log-odds, for log-probabilities (..., n_labels)."""
    require_known(scale, ("probability", "log_odds"), "scale")
    return np.exp(log_probs[..., target]) if scale == "probability" else log_odds(log_probs, target)


def _mean_drop(curves: Curves, masked: np.ndarray, scale: Scale) -> float:
    full, rest = score_of(curves.full, curves.target, scale), score_of(masked, curves.target, scale)
    if not (np.isfinite(full) and np.all(np.isfinite(rest))):
        return float("nan")
    return float(np.mean(full - rest))


def comprehensiveness(curves: Curves, k: int, scale: Scale = "probability") -> float:
    """Return p(x) - p(x without the top k words) (DeYoung et al. 2020), or the same on the log-odds scale.

    In [-1, 1], higher is more faithful; 0 at k = 0. Log-odds: unbounded, NaN when a label has probability 0.
    """
    return _mean_drop(curves, curves.without[:, curves.index_of(k)], scale)


def sufficiency(curves: Curves, k: int, scale: Scale = "probability") -> float:
    """Return p(x) - p(only the top k words) (DeYoung et al. 2020), or the same on the log-odds scale.

    In [-1, 1], *lower* is more faithful; p(x) - p(empty) at k = 0. Log-odds: as for comprehensiveness.
    """
    return _mean_drop(curves, curves.only[:, curves.index_of(k)], scale)


def null_difference(curves: Curves) -> float:
    """Return p(x) - p(empty), the most that a label prior leaves to be explained."""
    return _mean_drop(curves, curves.empty, "probability")


def normalise(curves: Curves, value: float) -> float:
    """Return `value` / (p(x) - p(empty)), after Carton et al. 2020, or NaN when the divisor is under .05.

    Applied to comprehensiveness: 1 = as much as removing every word, higher is better. Applied to sufficiency:
    0 = the words suffice, 1 = no better than no words, *lower* is better (Carton et al. report 1 minus this, clipped).
    Not clipped: other words may support another label, so that values below 0 and above 1 occur and mean something.
    """
    divisor = null_difference(curves)
    return value / divisor if divisor >= SMALLEST_NULL_DIFFERENCE else float("nan")


def aopc_over_fractions(curves: Curves, fractions: Sequence[float], kind: str, extra_bin: bool = False) -> float:
    """Return the mean comprehensiveness or sufficiency (`kind`) over the fraction grid, as ERASER's code does.

    Fractions that give the same k count each time. `extra_bin` divides by B + 1 instead of B bins, the formula
    printed in the paper. In [-1, 1]; direction as for `kind`.
    """
    if not len(fractions):
        raise StudyError("The fraction grid is empty; give at least one fraction of words.")
    measure = {"comprehensiveness": comprehensiveness, "sufficiency": sufficiency}[
        require_known(kind, ("comprehensiveness", "sufficiency"), "kind of AOPC")
    ]
    values = [measure(curves, resolve_k(float(fraction), curves.n_words)) for fraction in fractions]
    return float(np.sum(values) / (len(values) + extra_bin))


def aopc_over_all(curves: Curves, kind: str) -> float:
    """Return the mean of a drop over l = 0..L words, divisor L + 1 (Huang et al. 2023).

    `kind`: "comprehensiveness" in [-1, 1], higher is better; "sufficiency" in [-1, 1], lower is better;
    "absolute_sufficiency" in [0, 1], lower is better: mean of |p(x) - p(only top l)|. The empty text has its measured
    probability, not the .5 that the paper assumes. Where only some sizes were measured, those between two of
    them are interpolated linearly.
    """
    require_known(kind, ("comprehensiveness", "sufficiency", "absolute_sufficiency"), "kind of AOPC")
    masked = curves.without if kind == "comprehensiveness" else curves.only
    drops = np.exp(curves.full[curves.target]) - np.exp(masked[..., curves.target])
    drops = np.abs(drops) if kind == "absolute_sufficiency" else drops
    sizes = np.arange(curves.n_words + 1)
    return float(np.mean([np.interp(sizes, curves.ks, row).mean() for row in drops]))


def label_changed(log_probs: np.ndarray, full: np.ndarray, target: int) -> np.ndarray:
    """Return whether the label predicted for the full text has lost its lead, (...) bool for (..., n_labels).

    A tie for the lead is not a change. When the full text itself is tied, the target counts as its prediction.
    """
    predicted = target if full[target] >= full.max() else int(np.argmax(full))
    return log_probs.max(axis=-1) > log_probs[..., predicted]


def flip_rate(curves: Curves, k: int) -> float:
    """Return 1 when removing the top k words changes the predicted label, else 0, averaged over tie orders.

    In [0, 1], higher is more faithful. At k = 1 this is DFMIT (Chrysostomou and Aletras 2021), at the length of a
    rationale the flip rate of Fayyaz et al. 2024. Always 0 for a model that gives every text the same label.
    """
    return float(np.mean(label_changed(curves.without[:, curves.index_of(k)], curves.full, curves.target)))


def flip_fraction(curves: Curves) -> tuple[float, float, float]:
    """Return (DFFrac, share that never flips, DFFrac of Huang et al.), averaged over tie orders.

    DFFrac: words removed at the first change of the label / L, and 1 when nothing flips; in (0, 1], lower is better.
    Huang et al. 2023: removed / (L + 1), and (L + 1) / (L + 1) when nothing flips. Where only some sizes were
    measured, the first measured size with a change counts, which is an upper bound.
    """
    changed = label_changed(curves.without, curves.full, curves.target)
    never = ~changed.any(axis=1)
    removed = curves.ks[np.argmax(changed, axis=1)]
    words = curves.n_words
    fraction = np.where(never, 1.0, removed / words)
    published = np.where(never, 1.0, removed / (words + 1))
    return float(fraction.mean()), float(never.mean()), float(published.mean())


def deletion_rank_correlation(curves: Curves, scores: np.ndarray, signed: bool = True) -> float:
    """Return Spearman's correlation of the scores (L,) with the drops p(x) - p(x without word i).

    `signed=False` correlates absolute scores with absolute drops, for explanations that give no sign.
    In [-1, 1], higher is better. NaN for fewer than two words, constant scores, constant drops, or `single` None.
    """
    scores = _checked_scores(curves, scores)
    if curves.single is None:
        return float("nan")
    # 1 - p is summed over the other labels: near p = 1 it still tells apart what p, rounded, no longer does.
    rows = np.vstack([curves.full, curves.single])
    rest = np.exp(np.logaddexp.reduce(np.delete(rows, curves.target, axis=1), axis=1))
    probs = np.exp(rows[:, curves.target])
    drops = rest[1:] - rest[0] if probs[0] > 0.5 else probs[0] - probs[1:]
    return spearman(scores, drops) if signed else spearman(np.abs(scores), np.abs(drops))


def deletion_area(curves: Curves, of_flips: bool = False) -> float:
    """Return the area between deleting the most important words first and the least important first.

    Each area is the trapezoid integral over the removed share of words of p(x) - p(removed), or of "label changed"
    when `of_flips` (Randl et al. 2024). In [-1, 1], higher is better, 0 for an order that carries nothing.
    The least-important-first curve is read from `only`: removing l words there keeps the top L - l.
    """
    share = curves.ks / curves.n_words
    if of_flips:
        first, last = (label_changed(part, curves.full, curves.target) for part in (curves.without, curves.only))
    else:
        full = np.exp(curves.full[curves.target])
        first, last = (full - np.exp(part[..., curves.target]) for part in (curves.without, curves.only))
    first, last = first.astype(float), last[:, ::-1].astype(float)
    areas = np.trapezoid(first, share, axis=1) - np.trapezoid(last, 1 - share[::-1], axis=1)
    return float(areas.mean())


def faithfulness_of(
    curves: Curves,
    scores: np.ndarray,
    fractions: Sequence[float],
    named_ks: Mapping[str, int],
    whole_curve: bool = True,
) -> list[dict[str, str | float]]:
    """Return every measure for one explanation as tidy rows {metric, k, value}.

    k is a fraction ("0.1"), a name from `named_ks` ("human", "own"), "fractions" for the mean over the ERASER grid,
    "1" for the single most important word, "all" over all words, or "measured" in place of "all" when the curve has
    only some sizes. Rows over `fractions` use exactly these; pass `ERASER_FRACTIONS` for published AOPC values.
    whole_curve: whether measures over many sizes are wanted, besides those at each size.
    Undefined values are NaN; `MEASURES` says why. Raises StudyError when a named size was not measured.
    """
    _checked_scores(curves, scores)
    rows: list[dict[str, str | float]] = []

    def add(metric: str, k: str, value: float) -> None:
        rows.append({"metric": metric, "k": k, "value": float(value)})

    sizes = {f"{fraction:g}": resolve_k(float(fraction), curves.n_words) for fraction in fractions}
    for name, k in {**sizes, **named_ks}.items():
        for metric, measure in (("comprehensiveness", comprehensiveness), ("sufficiency", sufficiency)):
            value = measure(curves, k)
            add(metric, name, value)
            add(f"{metric}_log_odds", name, measure(curves, k, "log_odds"))
            add(f"normalised_{metric}", name, normalise(curves, value))
        add("flip_rate", name, flip_rate(curves, k))
    if not whole_curve:
        return rows
    whole = "all" if curves.is_full else "measured"
    for kind in ("comprehensiveness", "sufficiency"):
        add(f"aopc_{kind}", "fractions", aopc_over_fractions(curves, fractions, kind))
        add(f"aopc_{kind}_extra_bin", "fractions", aopc_over_fractions(curves, fractions, kind, extra_bin=True))
        add(f"aopc_{kind}", whole, aopc_over_all(curves, kind))
    add("aopc_absolute_sufficiency", whole, aopc_over_all(curves, "absolute_sufficiency"))
    add("dfmit", "1", flip_rate(curves, 1))
    for metric, value in zip(("dffrac", "never_flip", "dffrac_extra_word"), flip_fraction(curves), strict=True):
        add(metric, whole, value)
    add("deletion_rank_correlation", "all", deletion_rank_correlation(curves, scores))
    add("deletion_rank_correlation_unsigned", "all", deletion_rank_correlation(curves, scores, signed=False))
    add("deletion_area", whole, deletion_area(curves))
    add("deletion_area_flip", whole, deletion_area(curves, of_flips=True))
    return rows


def _checked_scores(curves: Curves, scores: np.ndarray) -> np.ndarray:
    scores = require_scores(scores)
    if len(scores) != curves.n_words:
        raise StudyError(f"The explanation has {len(scores)} scores for a text of {curves.n_words} words; align them.")
    return scores

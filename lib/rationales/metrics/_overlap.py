"""Shared arithmetic of overlaps and correlations, for plausibility, agreement and stability."""

import numpy as np
from scipy.special import gammaln

from rationales.metrics.selection import tie_blocks

NAN = float("nan")


def hypergeometric(total: int, marked: int, drawn: int) -> np.ndarray:
    """Return (drawn + 1,) probabilities of 0..drawn marked items among `drawn` of `total`, of which `marked` are."""
    probabilities = np.zeros(drawn + 1)
    low, high = max(0, drawn - (total - marked)), min(drawn, marked)
    hits = np.arange(low, high + 1)
    # Logarithms: the binomial coefficients of a long text exceed the range of floats.
    log_weight = -(
        gammaln(hits + 1)
        + gammaln(marked - hits + 1)
        + gammaln(drawn - hits + 1)
        + gammaln(total - marked - drawn + hits + 1)
    )
    weight = np.exp(log_weight - log_weight.max())
    probabilities[low : high + 1] = weight / weight.sum()
    return probabilities


def expected_jaccard(overlap: np.ndarray, size_sum: int) -> float:
    """Return the mean of |A and B| / |A or B|, given probabilities of the overlap 0, 1, ... and |A| + |B| > 0."""
    hits = np.flatnonzero(overlap)
    return float(overlap[hits] @ (hits / (size_sum - hits)))


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation of two vectors in [-1, 1]; NaN when one is constant, up to rounding."""
    # A mean of seeds that cancel is constant but for the last bit, and would correlate at random.
    if any(np.ptp(vector) <= 1e-13 * np.abs(vector).max() for vector in (first, second)):
        return NAN
    x, y = first - first.mean(), second - second.mean()
    # Scaling each vector first keeps tiny and huge scores from underflow and overflow in the squares.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's correlation: Pearson's of the mid-ranks, so no tie is broken; NaN when one is constant."""
    ranks = []
    for vector in (first, second):
        above, size = tie_blocks(vector)
        ranks.append(-(above + (size + 1) / 2))
    return pearson(*ranks)

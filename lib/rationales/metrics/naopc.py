"""Normalised AOPC: where an explanation's AOPC lies between the worst and the best deletion order of that text.

AOPC values of two models, or of one model before and after tuning, cannot be compared without it
(Edin et al. 2025). Exact bounds need the probability of all 2^L subsets of words.
"""

import numpy as np

from rationales.errors import StudyError

MOST_EXACT_WORDS = 8  # 256 queries; every further word doubles them


def plan_subsets(n_words: int) -> np.ndarray:
    """Return every keep-mask of a short text, (2^L, L) bool; row s keeps word i when bit i of s is set.

    Raises StudyError beyond `MOST_EXACT_WORDS` words.
    """
    if not 1 <= n_words <= MOST_EXACT_WORDS:
        raise StudyError(
            f"Exact AOPC bounds take 1 to {MOST_EXACT_WORDS} words, not {n_words}; use beam search instead."
        )
    return (np.arange(2**n_words)[:, None] >> np.arange(n_words) & 1).astype(bool)


def aopc_bounds_exact(log_probs: np.ndarray) -> tuple[float, float]:
    """Return (lowest, highest) AOPC over all L! deletion orders, from the target's log-probabilities (2^L,).

    `log_probs` follows the rows of `plan_subsets`. AOPC is the mean over l = 0..L of p(x) - p(x without the first l
    words), the same scale as `aopc_over_all`; in [-1, 1]. An order is a path from the full set to the empty one, so
    the extreme sums follow from those of the subsets one word smaller: 2^L steps in place of L! orders.
    """
    log_probs = np.asarray(log_probs, dtype=float)
    n_words = log_probs.size.bit_length() - 1
    if log_probs.ndim != 1 or n_words < 1 or log_probs.size != 2**n_words:
        raise StudyError("Give one log-probability per subset of the words, 2 to the power of the number of words.")
    if np.any(np.isnan(log_probs)) or np.any(log_probs > 1e-3):
        raise StudyError("The values of the subsets are not log-probabilities; pass log p, which is at most 0.")
    probs = np.exp(log_probs)
    members = np.arange(probs.size)[:, None] >> np.arange(n_words) & 1
    smallest, largest = probs.copy(), probs.copy()
    for size in range(1, n_words + 1):
        subsets = np.flatnonzero(members.sum(axis=1) == size)
        inside = members[subsets].astype(bool)
        smaller = subsets[:, None] & ~(1 << np.arange(n_words))  # the subset without word i
        smallest[subsets] += np.where(inside, smallest[smaller], np.inf).min(axis=1)
        largest[subsets] += np.where(inside, largest[smaller], -np.inf).max(axis=1)
    # Each sum runs over the L + 1 sets of its path; small remaining probability means a large AOPC.
    lowest, highest = (probs[-1] - total[-1] / (n_words + 1) for total in (largest, smallest))
    return float(lowest), float(highest)


def naopc(aopc: float, lowest: float, highest: float) -> float:
    """Return (AOPC - lowest) / (highest - lowest) (Edin et al. 2025, NAOPC).

    In [0, 1]; higher is better for AOPC comprehensiveness. AOPC sufficiency over all l is that of the reversed order
    and has the same bounds; there lower is better. The divisor L or L + 1 cancels, if it is the same in all three.
    NaN when every order gives the same AOPC. With bounds from a search that is not exact, values may leave [0, 1].
    """
    span = highest - lowest
    return float((aopc - lowest) / span) if span > 1e-12 else float("nan")

"""Normalised AOPC: where an explanation's AOPC lies between the worst and the best deletion order of that text.

AOPC values of two models, or of one model before and after tuning, cannot be compared without it
(Edin et al. 2025). Exact bounds need the probability of all 2^L subsets of words; a beam search needs fewer.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rationales.errors import StudyError

MOST_EXACT_WORDS = 8  # 256 queries; every further word doubles them
Answer = Callable[[np.ndarray], np.ndarray]  # keep-masks (m, L) bool -> probability of the target (m,)


class AopcBounds(NamedTuple):
    """The lowest and highest AOPC that were found, the deletion orders (L,) that reach them, and the masks asked."""

    lowest: float
    highest: float
    lowest_order: np.ndarray
    highest_order: np.ndarray
    n_masks: int


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


def aopc_of_orders(answer: Answer, orders: np.ndarray) -> np.ndarray:
    """Return the AOPC (m,) of deletion orders (m, L): the mean over l = 0..L of p(x) - p(x without the first l words).

    answer: gives the target's probability for keep-masks; asked once, for m (L + 1) masks. In [-1, 1].
    """
    orders = np.asarray(orders)
    n_words = orders.shape[-1] if orders.ndim == 2 else 0
    if n_words < 1 or not np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(n_words), (len(orders), 1))):
        raise StudyError("Each deletion order must be a row that names every word from 0 to L - 1 once.")
    ranks = np.argsort(orders, axis=1)
    masks = ranks[:, None, :] >= np.arange(n_words + 1)[None, :, None]
    probs = _ask(answer, masks.reshape(-1, n_words)).reshape(len(orders), n_words + 1)
    return probs[:, 0] - probs.mean(axis=1)


def aopc_bounds_beam(answer: Answer, n_words: int, width: int = 5, candidates: np.ndarray | None = None) -> AopcBounds:
    """Return bounds of the AOPC over all deletion orders, found by beam search (Edin et al. 2025).

    answer: gives the target's probability for keep-masks (m, L); asked once per deleted word, for at most
    2 width L masks. width: how many sets of deleted words each of the two searches keeps; their code uses 50.
    Orders that delete the same words in another sequence share their future, so only the best of them is kept; with a
    width of at least "L choose L/2" the bounds are therefore exact. Narrower beams may miss the extremes: the interval
    then lies inside the true one. candidates: deletion orders (m, L) whose AOPC the bounds must include, such as
    those of the explanations to be normalised; without them their NAOPC can leave [0, 1]. The mean runs over
    l = 0..L, as in `aopc_bounds_exact`. Ties are broken by position: they change which order is found, not its AOPC
    at full width.

    Raises StudyError for no words, no width, or an answer that is not one probability per mask.
    """
    if n_words < 1 or width < 1:
        raise StudyError(f"A beam of width {width} over {n_words} words finds nothing; both must be at least 1.")
    full = float(_ask(answer, np.ones((1, n_words), dtype=bool))[0])
    n_masks = 1
    # Per search: sets that are kept (b, L), sums of p along their best path (b,), and these paths (b, deleted words).
    start = np.ones((1, n_words), dtype=bool), np.full(1, full), np.zeros((1, 0), dtype=int)
    beams = {-1: start, 1: start}  # sign: -1 searches the largest sum (lowest AOPC), 1 the smallest
    for _ in range(n_words):
        grown = {sign: _grow(*beam) for sign, beam in beams.items()}
        asked, position = np.unique(np.vstack([masks for masks, _, _ in grown.values()]), axis=0, return_inverse=True)
        probs = _ask(answer, asked)[position.ravel()]
        n_masks += len(asked)
        first = 0
        for sign, (masks, sums, paths) in grown.items():
            chosen = slice(first, first + len(masks))
            first += len(masks)
            beams[sign] = _keep_best(masks, sums + probs[chosen], paths, position.ravel()[chosen], sign, width)
    (_, largest, lowest_path), (_, smallest, highest_path) = beams[-1], beams[1]
    lowest, highest = (full - float(total[0]) / (n_words + 1) for total in (largest, smallest))
    lowest_order, highest_order = lowest_path[0], highest_path[0]
    if candidates is not None:
        values = aopc_of_orders(answer, candidates)
        n_masks += values.size * (n_words + 1)
        if values.min() < lowest:
            lowest, lowest_order = float(values.min()), np.asarray(candidates)[values.argmin()]
        if values.max() > highest:
            highest, highest_order = float(values.max()), np.asarray(candidates)[values.argmax()]
    return AopcBounds(lowest, highest, lowest_order, highest_order, n_masks)


def _grow(masks: np.ndarray, sums: np.ndarray, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every set with one word less, the sum up to its parent, and its path."""
    parent, word = np.nonzero(masks)
    smaller = masks[parent]
    smaller[np.arange(len(word)), word] = False
    return smaller, sums[parent], np.column_stack([paths[parent], word])


def _keep_best(
    masks: np.ndarray, sums: np.ndarray, paths: np.ndarray, identity: np.ndarray, sign: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the `width` best sets with their best path; equal sets have an equal `identity`."""
    best_first = np.argsort(sign * sums, kind="stable")
    unique = np.unique(identity[best_first], return_index=True)[1]  # the first, so the best, of each set
    kept = best_first[np.sort(unique)[:width]]
    return masks[kept], sums[kept], paths[kept]


def _ask(answer: Answer, masks: np.ndarray) -> np.ndarray:
    probs = np.asarray(answer(masks), dtype=float)
    if probs.shape != (len(masks),) or not np.all((probs >= -1e-6) & (probs <= 1 + 1e-6)):
        raise StudyError("`answer` must give one probability from 0 to 1 per mask; pass p, not log p.")
    return probs


def naopc(aopc: float, lowest: float, highest: float) -> float:
    """Return (AOPC - lowest) / (highest - lowest) (Edin et al. 2025, NAOPC).

    In [0, 1]; higher is better for AOPC comprehensiveness. AOPC sufficiency over all l is that of the reversed order
    and has the same bounds; there lower is better. The divisor L or L + 1 cancels, if it is the same in all three.
    NaN when every order gives the same AOPC. With bounds from a search that is not exact, values may leave [0, 1].
    """
    span = highest - lowest
    return float((aopc - lowest) / span) if span > 1e-12 else float("nan")

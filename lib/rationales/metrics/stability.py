"""Stability of explanations of one example over seeds (or repeats, or paraphrases).

`scores` is (n_seeds, n_words): one explanation per row. Functions return one value per example; summarise over the
examples afterwards (`summarise_items`). Undefined values are NaN.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from rationales.errors import StudyError, require_known
from rationales.metrics._overlap import NAN
from rationales.metrics.agreement import top_k_jaccard
from rationales.metrics.selection import inclusion_probabilities, require_k, tie_rate

CORRELATIONS = ("pearson", "spearman")
HALVES = ("means", "concatenated")
LARGEST_CORRELATION = 1 - 1e-9


def require_seed_scores(scores: ArrayLike) -> np.ndarray:
    """Return `scores` as (n_seeds, n_words) floats; raise StudyError when it is empty, ragged or not finite."""
    try:
        matrix = np.asarray(scores, dtype=float)
    except ValueError as error:
        raise StudyError("The rows of `scores` differ in length; give explanations of one example only.") from error
    if matrix.ndim != 2 or matrix.size == 0:
        raise StudyError(f"`scores` has the shape {matrix.shape}; give one row per seed and one column per word.")
    if not np.isfinite(matrix).all():
        raise StudyError("`scores` holds NaN or infinity; leave out explanations that are not valid, and count them.")
    return matrix


def stability_of(scores: ArrayLike, k: int, generator: np.random.Generator, n_splits: int = 20) -> dict[str, float]:
    """Return every stability measure of one example, by name, and the shares that qualify them.

    constant_share: share of seeds with constant scores, which no correlation covers. tie_rate: its mean over the seeds.
    """
    matrix = require_seed_scores(scores)
    return {
        "pearson": mean_pairwise_correlation(matrix, "pearson"),
        "spearman": mean_pairwise_correlation(matrix, "spearman"),
        "half_correlation": half_correlation(matrix, generator, n_splits, "means"),
        "half_correlation_concatenated": half_correlation(matrix, generator, n_splits, "concatenated"),
        "top_k_jaccard": mean_top_k_jaccard(matrix, k),
        "correlation_with_mean": correlation_with_mean(matrix, k),
        **signal_and_noise(matrix),
        "constant_share": float(np.mean(np.ptp(matrix, axis=1) == 0)),
        "tie_rate": float(np.mean([tie_rate(row, k) for row in matrix])),
    }


def mean_pairwise_correlation(scores: ArrayLike, method: str = "pearson") -> float:
    """Return the mean correlation over all pairs of seeds, in [-1, 1]; method "pearson" or "spearman" (mid-ranks).

    Pairs with a constant explanation have no correlation and are left out (count them with `constant_share` of
    `stability_of`). NaN when no pair is left.
    """
    matrix = require_seed_scores(scores)
    require_known(method, CORRELATIONS, "correlation")
    varied = matrix[np.ptp(matrix, axis=1) > 0]
    if len(varied) < 2:
        return NAN
    if method == "spearman":
        varied = rankdata(varied, axis=1)
    centred = varied - varied.mean(axis=1, keepdims=True)
    centred /= np.abs(centred).max(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    # The sum over pairs from the length of the summed unit vectors: no matrix of all pairs.
    n = len(unit)
    total = (np.square(unit.sum(axis=0)).sum() - n) / 2
    return float(np.clip(total / (n * (n - 1) / 2), -1.0, 1.0))


def half_correlation(
    scores: ArrayLike, generator: np.random.Generator, n_splits: int = 20, form: str = "means"
) -> float:
    """Return Pearson's correlation between two random halves of the seeds, averaged over `n_splits` splits.

    form:
      - "means": the mean explanation of one half with that of the other; it grows with the number of seeds;
      - "concatenated": the rows of one half, end to end, with those of the other (the code of Bogaert et al. 2023);
        it estimates what single explanations share and does not grow with the number of seeds.

    With an odd number of seeds each split leaves one random seed out. Splits with a constant half are left out.
    NaN for one seed, and when no split is left.
    """
    matrix = require_seed_scores(scores)
    require_known(form, HALVES, "form of halves")
    if n_splits < 1:
        raise StudyError(f"n_splits is {n_splits}; ask for at least one split.")
    size = len(matrix) // 2
    if size == 0:
        return NAN
    # All splits at once: the jackknife over seeds asks this of every item, once per seed.
    drawn = np.array([generator.permutation(len(matrix)) for _ in range(n_splits)])
    halves = matrix[drawn[:, :size]], matrix[drawn[:, size : 2 * size]]  # (n_splits, size, n_words) each
    sides = [half.mean(axis=1) if form == "means" else half.reshape(n_splits, -1) for half in halves]
    constant = np.any([np.ptp(side, axis=1) <= 1e-13 * np.abs(side).max(axis=1) for side in sides], axis=0)
    first, second = (side[~constant] - side[~constant].mean(axis=1, keepdims=True) for side in sides)
    # Scaling first keeps tiny and huge scores from underflow and overflow in the squares, as in `pearson`.
    first, second = (side / np.abs(side).max(axis=1, keepdims=True, initial=0.0) for side in (first, second))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return _mean_of_defined(np.clip((first * second).sum(axis=1) / norms, -1, 1))


def mean_top_k_jaccard(scores: ArrayLike, k: int) -> float:
    """Return the mean, over pairs of seeds, of the expected Jaccard of their top-k sets, in [0, 1]; NaN for one seed.

    Chance level: `chance_agreement(...)["iou"]` of `rationales.metrics.agreement`.
    """
    matrix = require_seed_scores(scores)
    k = require_k(k, matrix.shape[1], at_least=1)
    if len(matrix) < 2:
        return NAN
    inclusion = np.array([inclusion_probabilities(row, k) for row in matrix])
    overlap = inclusion @ inclusion.T
    jaccard = overlap / (2 * k - overlap)
    # Two sets without ties at their border have one Jaccard; the others need the distribution of the overlap.
    tied = ((inclusion > 0) & (inclusion < 1)).any(axis=1)
    first, second = np.triu_indices(len(matrix), 1)
    for i, j in zip(first, second, strict=True):
        if tied[i] or tied[j]:
            jaccard[i, j] = top_k_jaccard(matrix[i], matrix[j], k)
    return float(jaccard[first, second].mean())


def signal_and_noise(scores: ArrayLike) -> dict[str, float]:
    """Return signal, noise and their ratio over seeds (after Bogaert & Standaert 2024), naive and corrected.

    signal: variance over words of the mean over seeds. noise: mean over words of the variance over seeds. snr: signal /
    noise. Variances divide by n - 1.

    The mean of n seeds still holds noise, so that the naive signal is too large: by noise / n when the errors of the
    words are independent. signal_corrected takes off the residual variance (what word and seed means leave) / n, which
    is unbiased for the variance of the words' true means, also when a seed shifts all its scores alike; noise counts
    such shifts. It can fall below zero when there is no signal; it is not cut off, as this would bias its mean.
    snr_corrected is signal_corrected / noise; its numerator is unbiased, the ratio only nearly so.

    NaN: all with one seed, except signal; all but noise with one word. Without any noise a ratio is infinite, or NaN
    without signal: summarise with the median. Seeds on different scales add noise; normalise them first when only the
    pattern matters.
    """
    matrix = require_seed_scores(scores)
    n_seeds, n_words = matrix.shape
    # Differences from one seed and one word leave the variances as they are, and make those of equal values exactly 0.
    changes = matrix - matrix[0]
    means = matrix[0] + changes.mean(axis=0)
    signal = float((means - means[0]).var(ddof=1)) if n_words > 1 else NAN
    noise = float(changes.var(axis=0, ddof=1).mean()) if n_seeds > 1 else NAN
    corrected = NAN
    if n_seeds > 1 and n_words > 1:
        residual = changes - changes.mean(axis=0) - changes.mean(axis=1, keepdims=True) + changes.mean()
        corrected = signal - float(np.square(residual).sum()) / ((n_seeds - 1) * (n_words - 1)) / n_seeds
    return {
        "signal": signal,
        "noise": noise,
        "snr": _ratio(signal, noise),
        "signal_corrected": corrected,
        "snr_corrected": _ratio(corrected, noise),
    }


def correlation_with_mean(scores: ArrayLike, k: int) -> float:
    """Return the mean correlation of each seed's top-k set with the mean of the other seeds' sets, in [-1, 1].

    The MCWME of Bogaert et al. 2026: Pearson between the 0/1 vector of one seed's top-k words and the mean of the
    vectors of the others only, averaged over seeds by Fisher's z. Ties: each seed's vector is expected over its tie
    orders, against the expected mean of the others; Pearson is linear in a 0/1 vector with k ones, so this is exact.
    Correlations beyond 1 - 1e-9 count as that, to keep z finite. Seeds whose others have a constant mean are left out.
    NaN for one seed, for k = n_words, and when no seed is left.
    """
    z = _fisher_z_with_others(scores, k)
    return float(np.tanh(z.mean())) if z.size else NAN


def correlation_with_mean_interval(scores: ArrayLike, k: int) -> tuple[float, float, float]:
    """Return (MCWME, low, high) with the interval of Bogaert et al. 2026: mean z +- 2 standard errors, turned back.

    It treats the seeds' values as independent, although each seed is also in the mean of the others; the jackknife
    of `rationales.statistics.seeds` does not. low and high are NaN with fewer than three defined seeds: the values of
    two seeds are one and the same correlation.
    """
    z = _fisher_z_with_others(scores, k)
    if z.size < 3:
        return (float(np.tanh(z.mean())) if z.size else NAN), NAN, NAN
    half = 2 * z.std(ddof=1) / np.sqrt(z.size)
    low, value, high = np.tanh([z.mean() - half, z.mean(), z.mean() + half])
    return float(value), float(low), float(high)


def _fisher_z_with_others(scores: ArrayLike, k: int) -> np.ndarray:
    """Fisher's z of each defined seed's correlation with the mean of the others, as `correlation_with_mean` says."""
    matrix = require_seed_scores(scores)
    n_seeds, n_words = matrix.shape
    k = require_k(k, n_words, at_least=1)
    if n_seeds < 2 or k == n_words:
        return np.zeros(0)
    # `inclusion_probabilities` of all seeds at once: resamples of seeds ask for it tens of thousands of times.
    above = (matrix[:, None, :] > matrix[:, :, None]).sum(axis=2)
    equal = (matrix[:, None, :] == matrix[:, :, None]).sum(axis=2)
    inclusion = np.clip((k - above) / equal, 0.0, 1.0)
    others = (inclusion.sum(axis=0) - inclusion) / (n_seeds - 1)
    # Both have the mean k / n, and the norm of every centred 0/1 vector with k ones is known.
    centred = others - k / n_words
    norms = np.linalg.norm(centred, axis=1)
    defined = norms > 1e-12
    products = ((inclusion - k / n_words) * centred).sum(axis=1)[defined]
    correlations = products / (norms[defined] * np.sqrt(k * (1 - k / n_words)))
    return np.arctanh(np.clip(correlations, -LARGEST_CORRELATION, LARGEST_CORRELATION))


def correlation_with_mean_curve(scores: ArrayLike, ks: Iterable[int]) -> np.ndarray:
    """Return `correlation_with_mean` at each k: (n_ks,)."""
    return np.array([correlation_with_mean(scores, k) for k in ks])


def minority_shares(predictions: ArrayLike) -> np.ndarray:
    """Return, per item, the share of seeds that do not predict the item's most frequent label: (n_items,) in [0, 1).

    predictions: (n_seeds, n_items) labels. An item with a missing prediction (None or NaN) is NaN.
    """
    matrix = np.asarray(predictions, dtype=object)
    if matrix.ndim != 2 or matrix.size == 0:
        raise StudyError(f"`predictions` has the shape {matrix.shape}; give one row per seed and one column per item.")
    shares = np.full(matrix.shape[1], NAN)
    for item in np.flatnonzero(~pd.isna(matrix).any(axis=0)):
        counts = np.unique(matrix[:, item].astype(str), return_counts=True)[1]
        shares[item] = 1 - counts.max() / len(matrix)
    return shares


def label_instability(predictions: ArrayLike) -> dict[str, float]:
    """Return the share of items whose predicted label differs between seeds, over items without missing predictions.

    predictions: (n_seeds, n_items). Also n_items and n_missing, the items left out. NaN share when none is left.
    """
    shares = minority_shares(predictions)
    known = ~np.isnan(shares)
    differing = float(np.mean(shares[known] > 0)) if known.any() else NAN
    return {"share_differing": differing, "n_items": int(known.sum()), "n_missing": int((~known).sum())}


def summarise_items(values: ArrayLike) -> dict[str, float]:
    """Return mean and median of one value per item, over the defined ones, with their number and that of the NaN."""
    vector = np.asarray(values, dtype=float)
    defined = vector[~np.isnan(vector)]
    return {
        "mean": float(defined.mean()) if defined.size else NAN,
        "median": float(np.median(defined)) if defined.size else NAN,
        "n_items": int(defined.size),
        "n_undefined": int(vector.size - defined.size),
    }


def _mean_of_defined(values: Iterable[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else NAN


def _ratio(signal: float, noise: float) -> float:
    if np.isnan(signal) or np.isnan(noise) or (noise == 0 and signal == 0):
        return NAN
    return signal / noise if noise else float(np.copysign(np.inf, signal))

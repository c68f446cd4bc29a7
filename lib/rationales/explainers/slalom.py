"""SLALOM: a surrogate of the shape of attention, with two scores per word (Leemann et al. 2025, TMLR)."""

import numpy as np
from scipy.optimize import least_squares

from rationales.errors import StudyError, require_known
from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.explainers.surrogates import explain_by_surrogate

SAMPLINGS = ("both", "short", "deletions")
RIDGE = 1e-4  # on a share of variance: what no sample decides stays near the mean value and an importance of zero


def draw_slalom_masks(
    generator: np.random.Generator, n_words: int, n_samples: int, sampling: str, size: int
) -> np.ndarray:
    """Keep-masks (samples, words) of short random sequences, of deletions, or half of each; none is empty.

    Short sequences keep 1 to `size` words; as many as fit, up to half of them, are the single words, which alone fix
    the values. Deletions remove 1 to `size` words; the first one is the intact text.
    """
    n_short = {"both": n_samples // 2, "short": n_samples, "deletions": 0}[sampling]
    masks = np.zeros((n_samples, n_words), dtype=bool)
    masks[n_short:] = True
    singles = generator.permutation(n_words)[: n_short // 2]
    masks[np.arange(len(singles)), singles] = True
    largest = max(1, min(size, n_words - 1))
    for row in range(len(singles), n_samples):
        if row == n_short or n_words == 1:
            masks[row] = True
            continue
        chosen = generator.choice(n_words, int(generator.integers(1, largest + 1)), replace=False)
        masks[row, chosen] = row < n_short
    return masks


def slalom_output(masks: np.ndarray, values: np.ndarray, importances: np.ndarray) -> np.ndarray:
    """What the surrogate answers, (masks,): the mean of the values of the words kept, weighted by softmax(importances)."""
    weights = masks * np.exp(importances - importances.max())
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ values


def fit_slalom(masks: np.ndarray, goals: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Values and importances, (words,) each, and the share of the variance of `goals` explained (NaN without any).

    Least squares with a slight ridge, in units of the standard deviation of the goals, from equal values and
    importances. Importances add up to zero; the model leaves their sum open. Every mask must keep a word.
    """
    n_samples, n_words = masks.shape
    kept, centre, scale = masks.astype(float), goals.mean(), goals.std()
    if scale <= 1e-12 * max(1.0, abs(centre)):
        return np.full(n_words, centre), np.zeros(n_words), float("nan")
    goals = (goals - centre) / scale
    ridge = np.sqrt(RIDGE) * np.eye(2 * n_words)

    def weights_of(importances: np.ndarray) -> np.ndarray:
        weights = kept * np.exp(importances - importances.max())
        return weights / weights.sum(axis=1, keepdims=True)

    def residuals(parameters: np.ndarray) -> np.ndarray:
        values, importances = np.split(parameters, 2)
        return np.concatenate([(weights_of(importances) @ values - goals) / np.sqrt(n_samples), ridge @ parameters])

    def slopes(parameters: np.ndarray) -> np.ndarray:
        values, importances = np.split(parameters, 2)
        weights = weights_of(importances)
        of_importances = weights * (values - (weights @ values)[:, None])
        return np.concatenate([np.hstack([weights, of_importances]) / np.sqrt(n_samples), ridge])

    found = least_squares(residuals, np.zeros(2 * n_words), jac=slopes, max_nfev=200)
    values, importances = np.split(found.x, 2)
    explained = float(1 - ((weights_of(importances) @ values - goals) ** 2).mean())
    return centre + scale * values, importances - importances.mean(), explained


@explainer("slalom", "perturbation")
def explain_by_slalom(
    bench: Workbench,
    n_samples: int = 200,
    operator: str = "delete",
    sampling: str = "both",
    size: int = 5,
    repeats: int = 1,
    target: str = "contrastive",
    draw: int = 0,
) -> list[Explanation]:
    """The linear score v exp(s) of each word under SLALOM: output = mean of values v, weighted by softmax(s).

    Fitted to the log-odds of the predicted label (`target` "contrastive", as published) on short random sequences of
    its words, on deletions, or on both. A value is what a word says alone; the importance is how much it is heard
    beside others. Both are in the details, with the share of variance explained. draw: numbers draws of the same
    explanation. StudyError below 4 samples, for a size below 1, or for an unknown sampling.
    """
    require_known(sampling, SAMPLINGS, "sampling")
    if n_samples < 4 or size < 1:
        raise StudyError(f"SLALOM needs `n_samples` of at least 4 and `size` of at least 1, not {n_samples}, {size}.")

    def fit(masks: np.ndarray, goals: np.ndarray) -> tuple[np.ndarray, dict]:
        values, importances, explained = fit_slalom(masks, goals)
        details = {"values": values.tolist(), "importances": importances.tolist()}
        if not np.isnan(explained):
            details["variance_explained"] = explained
        return values * np.exp(importances), details

    return explain_by_surrogate(
        bench, f"slalom-{sampling}",
        lambda generator, n_words: draw_slalom_masks(generator, n_words, n_samples, sampling, size),
        fit, repeats, operator, target, draw,
    )  # fmt: skip

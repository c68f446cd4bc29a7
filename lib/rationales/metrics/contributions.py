"""Agreement of what the answer depends on with what the explanation depends on, after CC-SHAP.

Parcalabescu and Frank 2024 compare the contributions of the input words to the answer with their contributions to the
explanation that the model then writes. For an extractive explanation, both are score vectors over the same words.
High agreement says that the same words drive both outputs; it does not say that the explanation names them.
The tokens of an explanation are weighed in two ways, see `weigh_tokens`.
"""

import numpy as np
from numpy.typing import ArrayLike

from rationales.errors import StudyError, require_known
from rationales.metrics._overlap import NAN, spearman
from rationales.metrics.selection import require_scores, tie_blocks

WEIGHINGS = ("log_prob", "ratio")
MEASURES = ("cosine", "spearman")
RESOLUTION = 1e-5  # nats; smaller differences of two log-probabilities in single precision are rounding


def check_contributions(settings: dict) -> None:
    """Raise StudyError for unknown or impossible entries `contributions...` in the section `self_explanations`."""
    if not isinstance(settings["contributions"], list):
        raise StudyError("`self_explanations: contributions` must be a list of paradigms, or be left out.")
    for paradigm in settings["contributions"]:
        require_known(paradigm, settings["paradigms"], "paradigm whose replies are attributed")
    items = settings["contributions_items"]
    if items is not None and (type(items) is not int or items < 1):
        raise StudyError(f"`self_explanations: contributions_items` is {items!r}; give a whole number of at least 1.")


def weigh_tokens(scores: ArrayLike) -> dict[str, np.ndarray]:
    """Return the contributions (n_words,) of the words to a whole reply, by name of the weighing.

    scores: (n_words, n_tokens), how much the log-probability of each written token drops without each word, in nats.
    "log_prob": the mean over the tokens, that is the drop of the mean log-probability; tokens that hang on the text
    count more. "ratio": `mean_contributions`, as in CC-SHAP, where every token counts the same, brackets and commas,
    too; drops below `RESOLUTION` count as none, since a ratio would blow up their rounding.
    """
    matrix = np.asarray(scores, dtype=float)
    ratios = mean_contributions(np.where(np.abs(matrix) < RESOLUTION, 0.0, matrix))
    return {"log_prob": matrix.mean(axis=1), "ratio": ratios}


def mean_contributions(scores: ArrayLike) -> np.ndarray:
    """Return the mean contribution ratios (n_words,) of the words to the tokens that the model wrote.

    scores: (n_words, n_tokens), the attribution of each written token. Each column is divided by the sum of its
    absolute values, so that every token weighs the same, and the columns are averaged with their signs. Columns of
    zeros carry no ratio and are left out; all NaN when none is left.
    """
    try:
        matrix = np.asarray(scores, dtype=float)
    except ValueError as error:
        raise StudyError("The columns of `scores` differ in length; give one row per word.") from error
    if matrix.ndim != 2 or matrix.size == 0 or not np.isfinite(matrix).all():
        raise StudyError(
            f"`scores` has the shape {matrix.shape}; give finite scores, a row per word, a column per token."
        )
    matrix = matrix[:, np.abs(matrix).max(axis=0) > 0]
    if not matrix.shape[1]:
        return np.full(len(matrix), NAN)
    matrix = matrix / np.abs(matrix).max(axis=0)  # first, so that the sums cannot under- or overflow
    return (matrix / np.abs(matrix).sum(axis=0)).mean(axis=1)


def contribution_agreement(answer: ArrayLike, explanation: ArrayLike) -> dict[str, float]:
    """Return "cosine" and "spearman" of two contribution vectors (n_words,) over the same words, each in [-1, 1].

    cosine: CC-SHAP, 1 - cosine distance of the contribution ratios; scaling does not matter. spearman: of the signed
    scores with mid-ranks (the public code of CC-SHAP prints the distance instead, where lower is more agreement).
    Higher is more agreement. NaN: cosine for a vector of zeros, spearman for a constant vector or a single word.
    """
    first, second = _pair(answer, explanation)
    return {"cosine": _cosine(first, second), "spearman": spearman(first, second)}


def chance_contribution_agreement(answer: ArrayLike, explanation: ArrayLike) -> dict[str, float]:
    """Return the exact expectation of `contribution_agreement` when the words of one vector are permuted.

    cosine: n mean(a) mean(b) / (|a| |b|), which is far above 0 for vectors of one sign. spearman: 0.
    """
    first, second = _pair(answer, explanation)
    cosine = float(np.clip(first.size * _unit(first).mean() * _unit(second).mean(), -1.0, 1.0))
    return {"cosine": cosine, "spearman": NAN if np.isnan(spearman(first, second)) else 0.0}


def contribution_agreement_p(
    answer: ArrayLike, explanation: ArrayLike, generator: np.random.Generator, n_permutations: int = 999
) -> dict[str, float]:
    """Return one-sided permutation p-values: how often permuted words agree at least as much, by name.

    p = (b + 1) / (m + 1) for b of m random permutations; NaN where the agreement is undefined.
    """
    first, second = _pair(answer, explanation)
    if n_permutations < 1:
        raise StudyError("A permutation test needs at least one permutation.")
    observed = contribution_agreement(first, second)
    drawn = generator.permuted(np.tile(np.arange(first.size), (n_permutations, 1)), axis=1)
    permuted = {
        "cosine": _unit(second)[drawn] @ _unit(first),
        "spearman": _standard_ranks(second)[drawn] @ _standard_ranks(first),
    }
    return {
        name: NAN
        if np.isnan(observed[name])
        else float((np.sum(values >= observed[name] - 1e-12) + 1) / (values.size + 1))
        for name, values in permuted.items()
    }


def _pair(answer: ArrayLike, explanation: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = require_scores(answer, "answer"), require_scores(explanation, "explanation")
    if first.size != second.size:
        raise StudyError(f"The vectors score {first.size} and {second.size} words; give two of the same example.")
    return first, second


def _unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1, or NaN when it is zero."""
    largest = np.abs(vector).max()
    if largest == 0:
        return np.full(vector.size, NAN)
    scaled = vector / largest
    return scaled / np.linalg.norm(scaled)


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.clip(_unit(first) @ _unit(second), -1.0, 1.0))


def _standard_ranks(vector: np.ndarray) -> np.ndarray:
    above, size = tie_blocks(vector)
    ranks = -(above + (size + 1) / 2)  # mid-ranks, the largest last
    centred = ranks - ranks.mean()
    length = np.linalg.norm(centred)
    return centred / length if length else np.full(vector.size, NAN)

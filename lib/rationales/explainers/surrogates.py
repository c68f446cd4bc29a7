"""Linear surrogates of the answer to erasures: LIME and KernelSHAP, fitted by captum on what the engine answers.

Masks are drawn first, for all examples and repeats, and answered together; captum then weighs and fits them.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnLinearModel, SkLearnRidge
from captum.attr import LimeBase

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.explainers.perturbation import explained_values
from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.randomness import generator_for
from rationales.subjects.engine import Request

# (generator, number of words) -> keep-masks (masks, words)
Sample = Callable[[np.random.Generator, int], np.ndarray]
# (keep-masks (masks, words), values (masks,)) -> scores (words,) and facts for the details
Fit = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, dict]]


def draw_masks(bench: Workbench, name: str, sample: Sample, example: Example, repeat: int, draw: int) -> np.ndarray:
    """The masks of one fit, which depend on the seed, the kind of masks, the example, the repeat and the draw."""
    further = ("draw", draw) if draw else ()
    return sample(generator_for(name, bench.seed, example.example_id, repeat, *further), len(example.words))


def explain_by_surrogate(
    bench: Workbench, name: str, sample: Sample, fit: Fit, repeats: int, operator: str, target: str, draw: int
) -> list[Explanation]:
    """Mean scores over `repeats` fits on masks of their own, with the standard error of each word's mean.

    The standard error is over the draws of masks alone, and unknown (not in the details) for a single fit. The facts
    kept are those of the first fit. draw: another number, other masks for all fits. StudyError for less than one repeat
    or a draw below 0.
    """
    if repeats < 1 or draw < 0:
        raise StudyError(f"A surrogate needs `repeats` of at least 1 and `draw` of at least 0, not {repeats}, {draw}.")
    masks = [[draw_masks(bench, name, sample, e, repeat, draw) for repeat in range(repeats)] for e in bench.examples]
    requests = [
        Request(example, np.concatenate(parts), operator) for example, parts in zip(bench.examples, masks, strict=True)
    ]
    values = explained_values(bench, bench.engine.answer(requests), target)
    explanations = []
    for example, parts, scores in zip(bench.examples, masks, values, strict=True):
        own = np.split(scores, np.cumsum([len(part) for part in parts])[:-1])
        fits = [fit(part, value) for part, value in zip(parts, own, strict=True)]
        all_scores, details = np.stack([one for one, _ in fits]), dict(fits[0][1])
        if repeats > 1:
            details["standard_error"] = (all_scores.std(axis=0, ddof=1) / np.sqrt(repeats)).tolist()
        explanations.append(Explanation(example.example_id, all_scores.mean(axis=0), details=details))
    return explanations


def fit_by_captum(
    features: np.ndarray, values: np.ndarray, weights: np.ndarray, model: SkLearnLinearModel
) -> np.ndarray:
    """Coefficients of a weighted linear surrogate, float64 (features,), for given inputs, model values and weights."""
    rows = torch.as_tensor(np.asarray(features, dtype=np.float32))
    answers, importance = iter(values), iter(weights)

    def walk(original: torch.Tensor, **kwargs) -> Iterator[torch.Tensor]:
        # captum draws while it fits; here all is drawn and answered, so it only walks through.
        yield from rows.split(1)

    surrogate = LimeBase(
        forward_func=lambda row: torch.tensor([float(next(answers))]),
        interpretable_model=model,
        similarity_func=lambda original, perturbed, interpretable, **kwargs: torch.tensor([float(next(importance))]),
        perturb_func=walk,
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda sample, original, **kwargs: sample,
        to_interp_rep_transform=None,
    )
    fitted = surrogate.attribute(torch.ones(1, features.shape[1]), n_samples=len(features))
    return fitted[0].double().numpy()


def draw_lime_masks(generator: np.random.Generator, n_words: int, n_samples: int) -> np.ndarray:
    """Keep-masks (samples, words) as LIME draws them: first the intact text, then a uniform number of words removed."""
    masks = np.ones((n_samples, n_words), dtype=bool)
    for mask in masks[1:]:
        removed = int(generator.integers(1, n_words + 1))
        mask[generator.choice(n_words, removed, replace=False)] = False
    return masks


def fit_lime(masks: np.ndarray, values: np.ndarray, kernel_width: float, ridge: float) -> np.ndarray:
    """Coefficients (words,) of LIME's ridge regression: exponential kernel on the cosine distance to the intact text."""
    # The cosine between a 0/1 mask and the all-ones mask is the root of the share of words kept.
    distance = 1 - np.sqrt(masks.mean(axis=1))
    weights = np.exp(-(distance**2) / kernel_width**2)
    return fit_by_captum(masks, values, weights, SkLearnRidge(alpha=ridge))


@explainer("lime", "perturbation")
def explain_by_lime(
    bench: Workbench,
    n_samples: int = 100,
    operator: str = "delete",
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    repeats: int = 1,
    target: str = "log_prob",
    draw: int = 0,
) -> list[Explanation]:
    """LIME for text (Ribeiro et al. 2016), fitted by captum on the explained score.

    n_samples: masks per fit, drawn from the workbench's seed. repeats: fits that are averaged. draw: numbers draws of
    the same explanation, whose spread is LIME's own noise. StudyError below 2 samples.
    """
    if n_samples < 2:
        raise StudyError(f"LIME needs `n_samples` of at least 2, not {n_samples}.")
    return explain_by_surrogate(
        bench, "lime", lambda generator, n_words: draw_lime_masks(generator, n_words, n_samples),
        lambda masks, values: (fit_lime(masks, values, kernel_width, ridge), {}), repeats, operator, target, draw,
    )  # fmt: skip


def all_masks(n_words: int) -> np.ndarray:
    """Every keep-mask (2^words, words); row m keeps word i where bit i of m is set."""
    return (np.arange(2**n_words)[:, None] >> np.arange(n_words) & 1).astype(bool)


def draw_shap_masks(generator: np.random.Generator, n_words: int, n_samples: int) -> np.ndarray:
    """Keep-masks for KernelSHAP: the intact and the empty text, then masks drawn by the Shapley kernel.

    Sizes k have a probability in proportion to 1 / (k (n - k)); masks come in pairs, each with its complement, which
    takes out much of the noise. Where the budget allows for all 2^n masks, all are taken, once.
    """
    if 2**n_words <= n_samples:
        return all_masks(n_words)
    masks = np.zeros((n_samples, n_words), dtype=bool)
    masks[0] = True
    if n_words > 1:
        sizes = np.arange(1, n_words)
        chances = 1 / (sizes * (n_words - sizes))
        drawn = generator.choice(sizes, (n_samples - 1) // 2, p=chances / chances.sum())
        for pair, size in enumerate(drawn):
            masks[2 + 2 * pair, generator.choice(n_words, size, replace=False)] = True
            if 3 + 2 * pair < n_samples:
                masks[3 + 2 * pair] = ~masks[2 + 2 * pair]
    return masks


def shap_weights(masks: np.ndarray, drawn_as: str) -> np.ndarray:
    """Weight of each mask that is neither intact nor empty, given how it was drawn; 0 for those two.

    "kernel": the draw has the kernel in it. "all": the Shapley kernel (Lundberg and Lee 2017, theorem 2). "lime":
    sizes were uniform, so the kernel's share of all masks of the size is left.
    """
    n_words, kept = masks.shape[1], masks.sum(axis=1)
    inner = (kept > 0) & (kept < n_words)
    weights = inner.astype(float)
    if drawn_as != "kernel":
        weights[inner] = 1 / (kept[inner] * (n_words - kept[inner]))
    if drawn_as == "all":
        n_of_size = np.bincount(kept, minlength=n_words + 1)
        weights[inner] /= n_of_size[kept[inner]]
    return weights / max(weights.max(), 1e-300)


def fit_shap(masks: np.ndarray, values: np.ndarray, drawn_as: str) -> np.ndarray:
    """Shapley values (words,) by weighted least squares, which add up to intact minus empty.

    The sum is put in by solving for the last word, so that nothing has to be weighted infinitely.
    """
    n_words = masks.shape[1]
    full, empty = values[masks.all(axis=1)][0], values[~masks.any(axis=1)][0]
    weights = shap_weights(masks, drawn_as)
    inner = weights > 0
    if n_words == 1 or not inner.any():
        return np.full(n_words, (full - empty) / n_words)
    kept = masks[inner].astype(float)
    goal = values[inner] - empty - kept[:, -1] * (full - empty)
    model = SkLearnLinearModel("linear_model.LinearRegression", fit_intercept=False)
    scores = fit_by_captum(kept[:, :-1] - kept[:, -1:], goal, weights[inner], model)
    return np.append(scores, full - empty - scores.sum())


@explainer("kernel_shap", "perturbation")
def explain_by_kernel_shap(
    bench: Workbench,
    n_samples: int = 100,
    operator: str = "delete",
    repeats: int = 1,
    target: str = "log_prob",
    share_masks: bool = False,
    draw: int = 0,
) -> list[Explanation]:
    """KernelSHAP (Lundberg and Lee 2017): Shapley values of words, by captum's weighted least squares.

    They add up to the score of the intact text minus that of the empty one. With a budget of 2^words they are exact,
    and every draw is the same. share_masks: weigh the very masks that LIME draws with these settings, and the empty
    text; with LIME on the same workbench this costs one text more, at the price of more noise. draw: as LIME's.
    StudyError below 4 samples.
    """
    if n_samples < 4:
        raise StudyError(f"KernelSHAP needs `n_samples` of at least 4, not {n_samples}.")

    def sample(generator: np.random.Generator, n_words: int) -> np.ndarray:
        if share_masks:
            return np.concatenate([draw_lime_masks(generator, n_words, n_samples), np.zeros((1, n_words), bool)])
        return draw_shap_masks(generator, n_words, n_samples)

    def fit(masks: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, dict]:
        drawn_as = "lime" if share_masks else "all" if 2 ** masks.shape[1] <= n_samples else "kernel"
        return fit_shap(masks, values, drawn_as), {}

    kind = "lime" if share_masks else "kernel_shap"
    return explain_by_surrogate(bench, kind, sample, fit, repeats, operator, target, draw)

"""Explainers that remove words and look at the answer: occlusion, LIME and the greedy oracle."""

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import LimeBase

from rationales.errors import StudyError
from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.randomness import generator_for
from rationales.subjects.engine import Request


@explainer("occlusion", "perturbation")
def explain_by_occlusion(bench: Workbench, operator: str = "delete") -> list[Explanation]:
    """Drop of the target's log-probability when one word is removed (Li et al. 2016)."""
    full = bench.engine.full(bench.examples)
    requests = [Request(e, ~np.eye(len(e.words), dtype=bool), operator) for e in bench.examples]
    answers = bench.engine.answer(requests)
    return [
        Explanation(example.example_id, whole[target].astype(float) - scores[:, target])
        for example, target, whole, scores in zip(bench.examples, bench.targets, full, answers, strict=True)
    ]


def draw_lime_masks(generator: np.random.Generator, n_words: int, n_samples: int) -> np.ndarray:
    """Keep-masks (samples, words) as LIME draws them: first the intact text, then a uniform number of words removed."""
    masks = np.ones((n_samples, n_words), dtype=bool)
    for mask in masks[1:]:
        removed = int(generator.integers(1, n_words + 1))
        mask[generator.choice(n_words, removed, replace=False)] = False
    return masks


@explainer("lime", "perturbation")
def explain_by_lime(
    bench: Workbench, n_samples: int = 100, operator: str = "delete", kernel_width: float = 0.25, ridge: float = 1.0
) -> list[Explanation]:
    """LIME for text (Ribeiro et al. 2016), fitted by captum on the target's log-probability.

    The masks of all examples are drawn first and answered together; captum then weighs them (exponential
    kernel on the cosine distance to the intact text) and fits a ridge regression. StudyError below 2 samples.
    """
    if n_samples < 2:
        raise StudyError(f"LIME needs `n_samples` of at least 2, not {n_samples}.")
    masks = [
        draw_lime_masks(generator_for("lime", bench.seed, example.example_id), len(example.words), n_samples)
        for example in bench.examples
    ]
    requests = [Request(example, mask, operator) for example, mask in zip(bench.examples, masks, strict=True)]
    explanations = []
    for example, target, mask, answers in zip(
        bench.examples, bench.targets, masks, bench.engine.answer(requests), strict=True
    ):
        coefficients = fit_lime(mask, answers[:, target], kernel_width, ridge)
        explanations.append(Explanation(example.example_id, coefficients))
    return explanations


def fit_lime(masks: np.ndarray, values: np.ndarray, kernel_width: float, ridge: float) -> np.ndarray:
    """Coefficients (words,) of captum's weighted linear surrogate for given masks and model values."""
    known = {mask.tobytes(): value for mask, value in zip(masks, values, strict=True)}
    rows = iter(torch.tensor(masks, dtype=torch.float32))

    def similarity(original, perturbed, interpretable, **kwargs) -> torch.Tensor:
        # The cosine between a 0/1 mask and the all-ones mask is the root of the share of words kept.
        distance = 1 - torch.sqrt(interpretable.float().mean())
        return torch.exp(-(distance**2) / kernel_width**2)

    surrogate = LimeBase(
        forward_func=lambda mask: torch.tensor([float(known[row.bool().numpy().tobytes()]) for row in mask]),
        interpretable_model=SkLearnRidge(alpha=ridge),
        similarity_func=similarity,
        perturb_func=lambda original, **kwargs: next(rows)[None],
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda sample, original, **kwargs: sample,
        to_interp_rep_transform=None,
    )
    fitted = surrogate.attribute(torch.ones(1, masks.shape[1]), n_samples=len(masks))
    return fitted[0].double().numpy()


@explainer("greedy", "oracle")
def explain_by_greedy_deletion(bench: Workbench, operator: str = "delete", max_words: int = 40) -> list[Explanation]:
    """The oracle: remove, one after the other, the word whose removal lowers the target most.

    It sees the very erasures that comprehensiveness measures, so it is a ceiling and not a rival. Scores are
    ranks, largest for the word removed first. Texts longer than `max_words` are invalid: the cost is quadratic.
    """
    short = [n for n, example in enumerate(bench.examples) if len(example.words) <= max_words]
    kept = {n: np.ones(len(bench.examples[n].words), bool) for n in short}
    scores = {n: np.zeros(len(bench.examples[n].words)) for n in short}
    step = 0
    while short:
        step += 1
        requests = []
        for n in short:
            candidates = np.flatnonzero(kept[n])
            masks = np.repeat(kept[n][None], len(candidates), 0)
            masks[np.arange(len(candidates)), candidates] = False
            requests.append(Request(bench.examples[n], masks, operator))
        for n, answers in zip(short, bench.engine.answer(requests), strict=True):
            worst = np.flatnonzero(kept[n])[int(np.argmin(answers[:, bench.targets[n]]))]
            kept[n][worst] = False
            scores[n][worst] = len(kept[n]) - step + 1
        short = [n for n in short if kept[n].any()]
    return [
        Explanation(example.example_id, scores[n])
        if n in scores
        else Explanation(example.example_id, valid=False, reason=f"longer than {max_words} words")
        for n, example in enumerate(bench.examples)
    ]

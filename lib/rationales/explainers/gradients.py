"""Gradient explainers: saliency, InputXGradient and Integrated Gradients, at the input embeddings."""

import numpy as np
import torch
from captum.attr import IntegratedGradients

from rationales.errors import StudyError, require_known
from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.explainers.words import share_outside, words_from_tokens


def token_explanation(
    bench: Workbench, example, scores: np.ndarray, aggregation: str, calls: int = 1, **details
) -> Explanation:
    """An explanation from scores per token, with the share of relevance outside the text."""
    encoded = bench.engine.encode(example)
    words = words_from_tokens(scores, encoded.token_words, encoded.n_words, aggregation)
    details = {"share_outside": share_outside(scores, encoded.token_words), "route": encoded.route, **details}
    return Explanation(example.example_id, words, details=details, calls=calls, tokens=calls * len(encoded.token_ids))


@explainer("saliency", "gradient", signed=False)
def explain_by_saliency(bench: Workbench, aggregation: str = "sum") -> list[Explanation]:
    """Euclidean norm of the gradient at each token (Simonyan et al. 2014); never negative."""
    explanations = []
    for example, target in zip(bench.examples, bench.targets, strict=True):
        gradient, _ = bench.engine.gradient(example, target)
        explanations.append(token_explanation(bench, example, np.linalg.norm(gradient, axis=1), aggregation))
    return explanations


@explainer("input_x_gradient", "gradient")
def explain_by_input_x_gradient(bench: Workbench, aggregation: str = "sum") -> list[Explanation]:
    """Inner product of embedding and gradient at each token (Shrikumar et al. 2016)."""
    explanations = []
    for example, target in zip(bench.examples, bench.targets, strict=True):
        gradient, embeddings = bench.engine.gradient(example, target)
        explanations.append(token_explanation(bench, example, (gradient * embeddings).sum(1), aggregation))
    return explanations


BASELINES = ("mask", "pad")


@explainer("integrated_gradients", "gradient")
def explain_by_integrated_gradients(
    bench: Workbench, n_steps: int = 20, baseline: str = "mask", aggregation: str = "sum"
) -> list[Explanation]:
    """Integrated Gradients (Sundararajan et al. 2017), through captum.

    The path starts from the mask token (`_` where there is none) or the pad token on the words, and leaves
    the prompt as it is; a zero embedding would make root-mean-square norms singular. The completeness gap,
    sum of the scores minus f(x) - f(baseline), is kept in the details. StudyError for less than one step.
    """
    require_known(baseline, BASELINES, "baseline")
    if n_steps < 1:
        raise StudyError(f"Integrated Gradients needs `n_steps` of at least 1, not {n_steps}.")
    subject, explanations = bench.engine.subject, []
    token = subject.mask_id if baseline == "mask" else subject.tokenizer.pad_token_id
    for example, target in zip(bench.examples, bench.targets, strict=True):
        encoded = bench.engine.encode(example)
        start = np.where(encoded.token_words >= 0, token, encoded.token_ids)
        method = IntegratedGradients(lambda inputs, e=encoded, t=target: subject.score_embeddings(e, inputs)[:, t])
        batch = max(1, bench.engine.token_budget // len(encoded.token_ids))
        attributions, gap = method.attribute(
            subject.embed(encoded.token_ids)[None],
            baselines=subject.embed(start)[None],
            n_steps=n_steps,
            internal_batch_size=batch,
            return_convergence_delta=True,
        )
        scores = attributions[0].detach().sum(-1).float().cpu().numpy()
        gap = float(gap[0])
        explanations.append(token_explanation(bench, example, scores, aggregation, n_steps, completeness_gap=gap))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return explanations

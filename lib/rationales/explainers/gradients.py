"""Gradient explainers at the input embeddings: saliency, InputXGradient, Integrated Gradients and SmoothGrad.

All are batched over examples and over the steps or samples of each. The part of a causal LM's prompt in front of the
text is read once and gets no gradient, unless `prompt` asks for it: words cannot change what stands before them, so
their scores are the same either way, but the share of relevance outside the text is known only with it.
"""

from collections.abc import Sequence

import numpy as np
import torch

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.explainers.words import share_outside, words_from_tokens
from rationales.randomness import generator_for
from rationales.subjects.rows import Batch

BASELINES = ("mask", "pad")


def token_explanation(
    bench: Workbench,
    example: Example,
    scores: np.ndarray,
    aggregation: str,
    calls: int = 1,
    tokens: int | None = None,
    **details,
) -> Explanation:
    """An explanation from scores per token, with the share of relevance outside the text where it is known.

    scores: (tokens,), NaN at tokens in front of the text that were left out. tokens: how many were read, by default
    all of them in each call.
    """
    encoded = bench.engine.encode(example)
    words = words_from_tokens(scores, encoded.token_words, encoded.n_words, aggregation)
    details = {"route": encoded.route, **details}
    if not np.isnan(scores[: encoded.prefix]).any():
        details["share_outside"] = share_outside(scores, encoded.token_words)
    read = calls * len(encoded.token_ids) if tokens is None else tokens
    return Explanation(example.example_id, words, details=details, calls=calls, tokens=read)


def explain_by_gradient(
    bench: Workbench, quantity: str, aggregation: str, target: str, prompt: bool
) -> list[Explanation]:
    """Explanations from one of the quantities of `Gradients`; one backward pass serves all of them."""
    found = bench.engine.gradients(bench.examples, bench.targets, target=target, prompt=prompt, remember=True)
    return [
        token_explanation(
            bench, example, getattr(one, quantity), aggregation, tokens=one.tokens, in_float32=one.in_float32
        )
        for example, one in zip(bench.examples, found, strict=True)
    ]


@explainer("saliency", "gradient", signed=False)
def explain_by_saliency(
    bench: Workbench, aggregation: str = "sum", target: str = "log_prob", prompt: bool = False
) -> list[Explanation]:
    """Euclidean norm of the gradient at each token (Simonyan et al. 2014); never negative."""
    return explain_by_gradient(bench, "norms", aggregation, target, prompt)


@explainer("saliency_signed", "gradient")
def explain_by_signed_saliency(
    bench: Workbench, aggregation: str = "sum", target: str = "log_prob", prompt: bool = False
) -> list[Explanation]:
    """Mean of the gradient over the embedding dimensions of each token, the signed form of Atanasova et al. (2020).

    The sign is that of moving all dimensions up at once, which has no meaning of its own in most models; it is here
    for comparison with studies that use it.
    """
    return explain_by_gradient(bench, "means", aggregation, target, prompt)


@explainer("input_x_gradient", "gradient")
def explain_by_input_x_gradient(
    bench: Workbench, aggregation: str = "sum", target: str = "log_prob", prompt: bool = False
) -> list[Explanation]:
    """Inner product of embedding and gradient at each token (Shrikumar et al. 2016)."""
    return explain_by_gradient(bench, "products", aggregation, target, prompt)


def baseline_ids(bench: Workbench, baseline: str) -> list[torch.Tensor]:
    """Token ids of each example with the baseline token in the place of every token of a word."""
    subject = bench.engine.subject
    token = subject.mask_id if baseline == "mask" else subject.pad_id
    encoded = [bench.engine.encode(example) for example in bench.examples]
    starts = [np.where(e.token_words >= 0, token, e.token_ids) for e in encoded]
    return [torch.as_tensor(ids, device=subject.device) for ids in starts]


@explainer("integrated_gradients", "gradient")
def explain_by_integrated_gradients(
    bench: Workbench, n_steps: int = 20, baseline: str = "mask", aggregation: str = "sum", target: str = "log_prob"
) -> list[Explanation]:
    """Integrated Gradients (Sundararajan et al. 2017) by Gauss-Legendre quadrature, as captum's default.

    The path starts from the mask token (`_` where there is none) or the pad token on the words, and leaves the
    prompt as it is; a zero embedding would make root-mean-square norms singular. The completeness gap, sum of the
    scores minus f(x) - f(baseline), is kept in the details. StudyError for less than one step.
    """
    # captum's class wants all examples padded to one length, reads every prompt again at every step, and its internal
    # batches know nothing of lengths; it is ten times slower here, and the tests hold this function to its results.
    require_known(baseline, BASELINES, "baseline")
    if n_steps < 1:
        raise StudyError(f"Integrated Gradients needs `n_steps` of at least 1, not {n_steps}.")
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    engine, starts = bench.engine, baseline_ids(bench, baseline)

    def difference(embeddings: torch.Tensor, batch: Batch, numbers: np.ndarray) -> torch.Tensor:
        """Embeddings minus baseline, 0 where both are the same token."""
        ids = batch.ids.clone()
        for row, number in enumerate(numbers):
            start = starts[number][batch.start :]
            ids[row, : len(start)] = start
        return embeddings - engine.subject.embed(ids)

    def along(places: np.ndarray):
        """The inputs at some places of the path, from 0 (baseline) to 1 (text)."""

        def vary(embeddings: torch.Tensor, batch: Batch, numbers: np.ndarray, variants: np.ndarray) -> torch.Tensor:
            left = torch.as_tensor(1 - places[variants], device=embeddings.device, dtype=embeddings.dtype)
            return embeddings - left[:, None, None] * difference(embeddings, batch, numbers)

        return vary

    def project(embeddings: torch.Tensor, gradients: torch.Tensor, batch: Batch, numbers: np.ndarray) -> torch.Tensor:
        return (difference(embeddings, batch, numbers).float() * gradients).sum(-1, keepdim=True)

    ends = engine.differentiate(
        bench.examples, bench.targets, None, target=target, vary=along(np.array([0.0, 1.0])), weights=np.ones(2)
    )
    paths = engine.differentiate(
        bench.examples, bench.targets, project, target=target, vary=along((nodes + 1) / 2), weights=weights / 2
    )
    explanations = []
    for example, end, path in zip(bench.examples, ends, paths, strict=True):
        # Text and baseline are the same in the prompt, so its scores are zero where they were left out, not unknown.
        scores = np.nan_to_num(path.features[0], nan=0.0) if path.is_finite else path.features[0]
        gap = float(scores.sum() - (end.values[1] - end.values[0]))
        explanations.append(
            token_explanation(
                bench, example, scores, aggregation, n_steps + 2, path.tokens + end.tokens,
                completeness_gap=gap, in_float32=path.in_float32,
            )
        )  # fmt: skip
    return explanations


@explainer("smoothgrad", "gradient", signed=False)
def explain_by_smoothgrad(
    bench: Workbench,
    n_samples: int = 20,
    noise: float = 0.15,
    aggregation: str = "sum",
    target: str = "log_prob",
    draw: int = 0,
) -> list[Explanation]:
    """Norm of the mean gradient over noisy copies of the words' embeddings (Smilkov et al. 2017); never negative."""
    return [
        token_explanation(bench, example, np.linalg.norm(gradient, axis=1), aggregation, n_samples, tokens)
        for example, gradient, tokens in smooth_gradients(bench, n_samples, noise, target, draw)
    ]


@explainer("smoothgrad_x_input", "gradient")
def explain_by_smoothgrad_x_input(
    bench: Workbench,
    n_samples: int = 20,
    noise: float = 0.15,
    aggregation: str = "sum",
    target: str = "log_prob",
    draw: int = 0,
) -> list[Explanation]:
    """Inner product of embedding and mean gradient over noisy copies of the words' embeddings."""
    subject = bench.engine.subject
    return [
        token_explanation(
            bench, example, (gradient * subject.embed(bench.engine.encode(example).token_ids).double().cpu().numpy()).sum(1),
            aggregation, n_samples, tokens,
        )
        for example, gradient, tokens in smooth_gradients(bench, n_samples, noise, target, draw)
    ]  # fmt: skip


def smooth_gradients(
    bench: Workbench, n_samples: int, noise: float, target: str, draw: int = 0
) -> Sequence[tuple[Example, np.ndarray, int]]:
    """Each example with its mean gradient (tokens, width) over noisy copies, and the tokens read.

    noise: standard deviation, as a share of the range of the embeddings of the example's words (from smallest to
    largest entry), as in the paper. It falls on the words alone, and depends on the workbench's seed, the example, the
    number of the sample and the draw. StudyError for less than one sample or negative noise.
    """
    if n_samples < 1 or noise < 0:
        raise StudyError(
            f"SmoothGrad needs `n_samples` of at least 1 and `noise` of at least 0, not {n_samples}, {noise}."
        )
    engine = bench.engine
    encoded = [engine.encode(example) for example in bench.examples]
    further = ("draw", draw) if draw else ()

    def vary(embeddings: torch.Tensor, batch: Batch, numbers: np.ndarray, variants: np.ndarray) -> torch.Tensor:
        noisy = embeddings.clone()
        for row, (number, variant) in enumerate(zip(numbers, variants, strict=True)):
            places = torch.as_tensor(np.flatnonzero(encoded[number].token_words >= 0) - batch.start)
            words = embeddings[row, places]
            generator = generator_for("smoothgrad", bench.seed, encoded[number].example_id, int(variant), *further)
            draws = torch.as_tensor(generator.standard_normal(words.shape), device=words.device).to(words.dtype)
            noisy[row, places] = words + noise * (words.max() - words.min()) * draws
        return noisy

    found = engine.differentiate(
        bench.examples, bench.targets, lambda embeddings, gradients, *_: gradients,
        target=target, vary=vary, weights=np.full(n_samples, 1 / n_samples),
    )  # fmt: skip
    return [(example, one.features.T, one.tokens) for example, one in zip(bench.examples, found, strict=True)]

"""The same methods without the engine: one text at a time, in plain padded batches, and with captum's own classes.

All read the full prompt for every text. One at a time, the model computes logits for every token, as it does by
default; plain batches compute them at the last position alone and sort texts by length, as a careful user would.
"""

from collections.abc import Callable

import captum.attr
import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge

from rationales.explainers.words import words_from_tokens
from rationales.relevance.patching import relevance_rules
from rationales.subjects.base import Subject, batches_by_length
from rationales.subjects.encoding import Encoded

BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}
STEPS_AT_ONCE = 10  # of Integrated Gradients in captum: all 50 at once take longer and several gigabytes
Ask = Callable[[np.ndarray], np.ndarray]  # keep-masks (masks, words) -> label log-probabilities (masks, labels)


def without_words(encoded: Encoded, keep: np.ndarray) -> np.ndarray:
    """Token ids without those of the words that are not kept."""
    return encoded.token_ids[np.append(keep, True)[encoded.token_words]]


def label_columns(subject: Subject, encoded: Encoded) -> list[int]:
    """The logits that belong to the labels; labels of causal models are single tokens here."""
    if subject.kind == "encoder":
        return subject.label_order
    assert all(len(ids) == 1 for ids in encoded.label_ids)
    return [ids[0] for ids in encoded.label_ids]


def answer_logits(subject: Subject, logits: torch.Tensor) -> torch.Tensor:
    """Logits where the model answers, (rows, outputs): of the last token of a causal model."""
    return logits[:, -1] if subject.kind == "causal" else logits


def ask_one_by_one(subject: Subject, encoded: Encoded) -> Ask:
    """Each text in a forward pass of its own."""
    columns = label_columns(subject, encoded)

    def ask(masks: np.ndarray) -> np.ndarray:
        answers = []
        for keep in masks:
            ids = torch.as_tensor(without_words(encoded, keep), device=subject.device)[None]
            with torch.no_grad():
                logits = answer_logits(subject, subject.model(input_ids=ids).logits)[0, columns]
            answers.append(torch.log_softmax(logits.float(), -1).cpu().numpy())
        return np.stack(answers)

    return ask


def ask_in_batches(subject: Subject, encoded: Encoded) -> Ask:
    """Texts padded on the left in batches of similar length; every text asked for is computed."""
    columns = label_columns(subject, encoded)

    def ask(masks: np.ndarray) -> np.ndarray:
        texts = [without_words(encoded, keep) for keep in masks]
        answers = np.empty((len(texts), len(columns)), np.float32)
        for batch in batches_by_length([len(text) for text in texts], BATCH_TOKENS[subject.device.type]):
            width = max(len(texts[i]) for i in batch)
            ids = np.full((len(batch), width), subject.pad_id)
            for row, i in enumerate(batch):
                ids[row, width - len(texts[i]) :] = texts[i]
                if subject.kind == "encoder":
                    ids[row] = np.roll(ids[row], len(texts[i]) - width)
            ids = torch.as_tensor(ids, device=subject.device)
            inputs = {"input_ids": ids, "attention_mask": (ids != subject.pad_id).long()}
            if subject.kind == "causal":
                places = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
                inputs |= {"position_ids": places, "logits_to_keep": 1, "use_cache": False}
            with torch.no_grad():
                logits = answer_logits(subject, subject.model(**inputs).logits)[:, columns]
            answers[batch] = torch.log_softmax(logits.float(), -1).cpu().numpy()
        return answers

    return ask


def score_function(subject: Subject, encoded: Encoded, target: int, last_only: bool) -> Callable:
    """The target's log-probability (rows,) as a function of the embeddings of whole sequences (rows, tokens, width)."""
    columns = label_columns(subject, encoded)
    options = {"logits_to_keep": 1, "use_cache": False} if last_only and subject.kind == "causal" else {}

    def score(embeddings: torch.Tensor) -> torch.Tensor:
        logits = answer_logits(subject, subject.model(inputs_embeds=embeddings, **options).logits)
        return torch.log_softmax(logits[:, columns].float(), -1)[:, target]

    return score


def to_words(encoded: Encoded, scores: torch.Tensor) -> np.ndarray:
    """Sums per word (words,) of scores per token (tokens,)."""
    return words_from_tokens(scores.detach().float().cpu().numpy(), encoded.token_words, encoded.n_words)


def baseline_of(subject: Subject, encoded: Encoded) -> torch.Tensor:
    """Embeddings (1, tokens, width) with the mask token in the place of every token of a word."""
    return subject.embed(np.where(encoded.token_words >= 0, subject.mask_id, encoded.token_ids))[None]


def captum_gradient(subject: Subject, encoded: Encoded, target: int, method: str, n_steps: int) -> np.ndarray:
    """Scores per word (words,) by captum's class for one gradient method."""
    score, inputs = score_function(subject, encoded, target, last_only=False), subject.embed(encoded.token_ids)[None]
    inputs.requires_grad_()
    if method == "saliency":
        return to_words(encoded, captum.attr.Saliency(score).attribute(inputs, abs=False)[0].norm(dim=-1))
    if method == "input_x_gradient":
        return to_words(encoded, captum.attr.InputXGradient(score).attribute(inputs)[0].sum(-1))
    found = captum.attr.IntegratedGradients(score).attribute(
        inputs, baseline_of(subject, encoded), n_steps=n_steps, internal_batch_size=STEPS_AT_ONCE
    )
    return to_words(encoded, found[0].sum(-1))


def batched_gradient(subject: Subject, encoded: Encoded, target: int, method: str, n_steps: int) -> np.ndarray:
    """The same on whole prompts with logits at the last position alone, steps of Integrated Gradients in batches."""
    score, inputs = score_function(subject, encoded, target, last_only=True), subject.embed(encoded.token_ids)[None]
    if method == "integrated_gradients":
        nodes, weights = np.polynomial.legendre.leggauss(n_steps)
        start, total = baseline_of(subject, encoded), torch.zeros_like(inputs)
        places = torch.as_tensor((nodes + 1) / 2, dtype=inputs.dtype, device=inputs.device)
        weights = torch.as_tensor(weights / 2, dtype=inputs.dtype, device=inputs.device)
        size = max(1, BATCH_TOKENS[subject.device.type] // inputs.shape[1])
        for place, weight in zip(places.split(size), weights.split(size), strict=True):
            points = (start + place[:, None, None] * (inputs - start)).requires_grad_()
            (slopes,) = torch.autograd.grad(score(points).sum(), points)
            total = total + (weight[:, None, None] * slopes).sum(0)
        return to_words(encoded, (total * (inputs - start))[0].sum(-1))
    inputs.requires_grad_()
    (slopes,) = torch.autograd.grad(score(inputs).sum(), inputs)
    return to_words(encoded, slopes[0].norm(dim=-1) if method == "saliency" else (slopes * inputs)[0].sum(-1))


def whole_relevance(subject: Subject, encoded: Encoded, target: int, rule: str) -> np.ndarray:
    """Relevance per word (words,) for the target's logit, by one pass through the whole prompt."""
    columns, inputs = label_columns(subject, encoded), subject.embed(encoded.token_ids)[None].requires_grad_()
    with relevance_rules(subject.model, rule):
        logits = answer_logits(subject, subject.model(inputs_embeds=inputs).logits)
        (slopes,) = torch.autograd.grad(logits[0, columns[target]], inputs)
    return to_words(encoded, (slopes.float() * inputs.float())[0].sum(-1))


def whole_attention(subject: Subject, encoded: Encoded) -> np.ndarray:
    """Attention per word (words,) of the answering position, mean over heads and layers, by one pass."""
    ids = torch.as_tensor(encoded.token_ids, device=subject.device)[None]
    before = subject.model.config._attn_implementation
    subject.model.set_attn_implementation("eager")
    with torch.no_grad():
        maps = subject.model(input_ids=ids, output_attentions=True).attentions
    subject.model.set_attn_implementation(before)
    place = -1 if subject.kind == "causal" else 0
    return to_words(encoded, torch.stack([layer[0, :, place].float().mean(0) for layer in maps]).mean(0))


def captum_forward(subject: Subject, encoded: Encoded, target: int) -> Callable:
    """The target's log-probability as captum asks for it: words are features, 1 where kept; one text per call."""
    ask = ask_one_by_one(subject, encoded)
    return lambda keep: torch.as_tensor(ask(keep.bool().cpu().numpy())[:, target])


def captum_occlusion(subject: Subject, encoded: Encoded, target: int) -> np.ndarray:
    """Drop per word (words,) by captum's FeatureAblation."""
    ablation = captum.attr.FeatureAblation(captum_forward(subject, encoded, target))
    return ablation.attribute(torch.ones(1, encoded.n_words), baselines=0.0)[0].numpy()


def captum_lime(subject: Subject, encoded: Encoded, target: int, masks: np.ndarray) -> np.ndarray:
    """Coefficients (words,) by captum's LimeBase, on given masks, with LIME's kernel for text."""

    def similarity(original: torch.Tensor, kept: torch.Tensor, *_, **__) -> torch.Tensor:
        return torch.exp(-((1 - kept.float().mean().sqrt()) ** 2) / 0.25**2)

    def walk(original: torch.Tensor, **_):
        yield from torch.as_tensor(masks, dtype=torch.float32).split(1)

    surrogate = captum.attr.LimeBase(
        captum_forward(subject, encoded, target), SkLearnRidge(alpha=1.0), similarity, walk,
        perturb_interpretable_space=True, from_interp_rep_transform=lambda kept, *_, **__: kept, to_interp_rep_transform=None,
    )  # fmt: skip
    return surrogate.attribute(torch.ones(1, encoded.n_words), n_samples=len(masks))[0].numpy()


def captum_kernel_shap(subject: Subject, encoded: Encoded, target: int, n_samples: int) -> np.ndarray:
    """Shapley values (words,) by captum's KernelShap, on masks that it draws itself."""
    torch.manual_seed(0)
    shap = captum.attr.KernelShap(captum_forward(subject, encoded, target))
    return shap.attribute(torch.ones(1, encoded.n_words), baselines=0.0, n_samples=n_samples)[0].numpy()

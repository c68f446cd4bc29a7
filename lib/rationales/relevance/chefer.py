"""Attention maps weighted by gradient and relevance (Chefer, Gur and Wolf 2021), rolled out over the layers.

Two methods of the same authors, told apart by what stands for the attention map A of a layer:

"relevance"  Transformer Interpretability Beyond Attention Visualization (CVPR 2021), as their code runs it for BERT
             and as Bogaert et al. use it for CamemBERT: the relevance of A. It starts as 1 at the explained logit and
             goes down by: linear layers, positive contributions alone, x_i w_ji > 0, biases left out (the paper's
             rule for layers with inputs of both signs, alpha 1 and beta 0); activations, norms, softmax, scaling and
             masks, unchanged; matrix products, R(a) = a dz/da R / z and half of it to each factor; residual sums,
             R(a) = a R / (a + b), then both parts rescaled by the size of their sums (the paper's normalisation for
             two-tensor layers), here for each example of a batch. A quotient with a zero denominator is 0.
"attention"  Generic Attention-model Explainability (ICCV 2021), self-attention rule: A itself. No rule of relevance
             propagation is needed, so it covers decoders.

In both, M_l = mean over heads of the positive part of (gradient of the logit at A) * map, and the row of the answering
position in (I + M_L) ... (I + M_start) is the explanation. The authors' code for BERT divides each row of I + M_l by
its sum, their formula does not.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn

from rationales.errors import StudyError
from rationales.relevance.families import ENCODERS, Part, list_parts
from rationales.relevance.patching import (
    hook_input,
    hook_outputs,
    hook_tanh,
    register_attention,
    use_attention,
)
from rationales.relevance.rules import at_least_float32

MAPS = ("relevance", "attention")


def divide(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """The quotient, and 0 where the denominator is 0."""
    zero = denominator == 0
    return torch.where(zero, 0.0, numerator / torch.where(zero, 1.0, denominator))


# In the functions below the "gradient" of the backward pass is relevance itself, not relevance over input.


class _Keep(torch.autograd.Function):
    """`value` in the forward pass; relevance goes to `source` unchanged."""

    @staticmethod
    def forward(ctx, source: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx, relevance: torch.Tensor) -> tuple:
        return relevance, None


class _Linear(torch.autograd.Function):
    """A linear layer; relevance goes to inputs (..., width in) by their positive contributions."""

    @staticmethod
    def forward(ctx, source: torch.Tensor, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(source, weight)
        return value.view_as(value)

    @staticmethod
    def backward(ctx, relevance: torch.Tensor) -> tuple:
        source, weight = ctx.saved_tensors
        pairs = [(source.clamp(min=0), weight.clamp(min=0)), (source.clamp(max=0), weight.clamp(max=0))]
        share = divide(relevance, sum(part @ positive.T for part, positive in pairs))
        return sum(part * (share @ positive) for part, positive in pairs), None, None


class _Product(torch.autograd.Function):
    """A matrix product; half of the relevance goes to each factor."""

    @staticmethod
    def forward(ctx, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        product = left @ right
        ctx.save_for_backward(left, right, product)
        return product

    @staticmethod
    def backward(ctx, relevance: torch.Tensor) -> tuple:
        left, right, product = ctx.saved_tensors
        share = divide(relevance, product) / 2
        return left * (share @ right.transpose(-1, -2)), right * (left.transpose(-1, -2) @ share)


class _Sum(torch.autograd.Function):
    """A residual sum of (batch, tokens, width); relevance goes to both terms as the paper normalises it."""

    @staticmethod
    def forward(ctx, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(left, right)
        return left + right

    @staticmethod
    def backward(ctx, relevance: torch.Tensor) -> tuple:
        left, right = ctx.saved_tensors
        share = divide(relevance, left + right)
        parts = [left * share, right * share]
        sums = [part.sum((1, 2), keepdim=True) for part in parts]
        sizes = sum(total.abs() for total in sums)
        whole = relevance.sum((1, 2), keepdim=True)
        return tuple(
            part * divide(divide(total.abs(), sizes) * whole, total) for part, total in zip(parts, sums, strict=True)
        )


def keep_relevance(source: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """`value`, whose relevance goes to `source` unchanged."""
    return _Keep.apply(source, value.detach())


def attend_for_relevance(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, scaling: float, **_,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Attention of an encoder, in the form that transformers calls; the backward pass carries relevance."""
    scores = _Product.apply(query, key.transpose(-1, -2))
    logits = at_least_float32(scores.detach()) * scaling
    if attention_mask is not None:
        logits = logits + attention_mask.to(logits.dtype)
    weights = keep_relevance(scores, torch.softmax(logits, -1).to(query.dtype))
    return _Product.apply(weights, value).transpose(1, 2).contiguous(), weights


ATTENTION = register_attention("chefer", attend_for_relevance)


def hook_linear(module: nn.Linear, undo: ExitStack) -> None:
    """Positive contributions for a linear layer."""
    hook_outputs(module, lambda inputs, outputs: _Linear.apply(inputs[0], outputs.detach(), module.weight), undo)


def hook_residual(module: nn.Module, undo: ExitStack) -> None:
    """The sum of `dense` and the second input, in front of the module's LayerNorm."""
    kept = []
    undo.callback(module.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[1])).remove)
    hook_outputs(module.dense, lambda _, outputs: kept.append(outputs), undo)

    def add(total: torch.Tensor) -> torch.Tensor:
        dense, skipped = kept.pop(), kept.pop()
        if not torch.equal(total, dense + skipped):
            raise StudyError(
                "A residual sum of this release of transformers is not dense + input; "
                "use a release that is tested with the study."
            )
        return _Sum.apply(dense, skipped)

    hook_input(module.LayerNorm, add, undo)


def require_encoder(model: nn.Module) -> list[Part]:
    """The parts of an encoder; StudyError for a model of another kind."""
    parts = list_parts(model)
    if model.config.model_type not in ENCODERS:
        raise StudyError(
            "The relevance of attention maps (Chefer et al., CVPR 2021) is defined for encoders; "
            "set `maps: attention` to explain a causal LM."
        )
    return parts


@contextmanager
def chefer_rules(model: nn.Module) -> Iterator[None]:
    """Within the block, the gradient of a logit at an attention map is the relevance of that map.

    model: an encoder with a classification head, in evaluation mode. The gradient at other tensors between two
    layers is their relevance as well. The model is as before when the block is left, by an error as well.
    Raises StudyError for a causal LM, and where `patching.relevance_rules` does.
    """
    parts = require_encoder(model)
    with ExitStack() as undo:
        use_attention(model, ATTENTION, undo)
        for part in parts:
            if isinstance(part.module, nn.Linear):
                hook_linear(part.module, undo)
            elif part.part in ("activation", "layer_norm"):
                hook_outputs(part.module, lambda inputs, outputs: keep_relevance(inputs[0], outputs), undo)
        # After the linear layers: these hooks must see what those have put in the place of the outputs.
        for part in parts:
            if part.part == "residual":
                hook_residual(part.module, undo)
            elif part.part == "tanh_head":
                hook_tanh(part.module, keep_relevance, undo)
        yield


@contextmanager
def eager_attention(model: nn.Module) -> Iterator[None]:
    """Within the block the model gives its attention weights away."""
    with ExitStack() as undo:
        use_attention(model, "eager", undo)
        yield


def weigh_maps(
    model: nn.Module, run: Callable[[], tuple[torch.Tensor, Sequence[torch.Tensor]]], maps: str
) -> list[torch.Tensor]:
    """M_l of every layer, (batch, tokens, tokens), never negative; see the module.

    run: one forward pass, which gives the explained logits (batch,) and the attention weights of every layer
    (batch, heads, tokens, tokens). maps: one of `MAPS`.
    """
    with eager_attention(model):
        scores, attentions = run()
        gradients = torch.autograd.grad(scores.sum(), attentions)
    if maps == "relevance":
        with chefer_rules(model):
            scores, attentions = run()
            attentions = torch.autograd.grad(scores.sum(), attentions)
    return [
        (gradient * attention.detach()).clamp(min=0).mean(1)
        for gradient, attention in zip(gradients, attentions, strict=True)
    ]


def roll_out(weighted: Sequence[np.ndarray], row: int, start_layer: int, normalise_rows: bool) -> np.ndarray:
    """Row `row` of (I + M_L) ... (I + M_start), (tokens,); its own entry is set to the least of the row.

    weighted: (tokens, tokens) of every layer, from the lowest. start_layer: the lowest layer that counts, from 0.
    Raises StudyError when there is no such layer.
    """
    if not 0 <= start_layer < len(weighted):
        raise StudyError(
            f"`start_layer` must lie between 0 and {len(weighted) - 1} for this model of {len(weighted)} layers, "
            f"not {start_layer}."
        )
    size = len(weighted[0])
    result = np.eye(size)[row]
    for matrix in reversed(weighted[start_layer:]):
        step = np.eye(size) + matrix
        result = result @ (step / step.sum(1, keepdims=True) if normalise_rows else step)
    # The identity gives the position that answers a 1 of its own, which says nothing about the text.
    result[row] = result.min()
    return result

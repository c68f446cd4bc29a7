"""Attention of the position that answers: read off, rolled out over the layers, or times its gradient.

Attention weights need the eager implementation, so they are taken in passes of their own.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from rationales.errors import require_known
from rationales.subjects.base import Subject, run_in_batches
from rationales.subjects.differentiation import TARGETS, Point, explained_scores, frozen
from rationales.subjects.rows import Batch, intact_rows

CELLS = 2**26  # attention weights held at once

# (weights of each layer (rows and copies, heads, tokens, all tokens), their batch, the rows' points, label scores)
# -> one array (..., all tokens) per row
Reduce = Callable[[list[torch.Tensor], Batch, list[Point], torch.Tensor], torch.Tensor]


@contextmanager
def eager_attention(model) -> Iterator[None]:
    """The model with the attention implementation that returns its weights."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def map_attention(
    subject: Subject, points: Sequence[Point], reduce: Reduce, *, lend: bool, gradient: bool, form: str = "log_prob"
) -> list[np.ndarray]:
    """`reduce` of the attention weights of each point, float32 (..., tokens), in the order of the points.

    lend: whether the prompt in front of the text is read once for all; what its tokens attend to is not known then.
    gradient: whether the weights can be differentiated by. form: of the label scores.
    """
    if not points:
        return []
    found: list[np.ndarray] = [np.empty(0)] * len(points)
    rows = intact_rows([point.encoded for point in points])
    config = subject.model.config.get_text_config()
    maps = config.num_hidden_layers * config.num_attention_heads * (2 if gradient else 1)
    with eager_attention(subject.model), frozen(subject.model), torch.set_grad_enabled(gradient):
        for members, start, extra in subject.groups(rows, share=lend):

            def compute(chosen: list[int], members=members, start=start) -> None:
                batch = rows.batch(members[chosen], start, subject.pad_id, subject.device)
                weights: list[torch.Tensor] = []
                if gradient:
                    # Weights only depend on something that asks for a gradient when the inputs do.
                    embeddings = subject.embed(batch.ids).requires_grad_()
                    batch = Batch(batch.encoded, start, batch.lengths, batch.ids, None, batch.types, embeddings)
                scores = subject.label_scores(batch, form, weights)
                asked = [points[number] for number in members[chosen]]
                reduced = reduce(weights, batch, asked, scores).detach().float().cpu().numpy()
                for number, result in zip(members[chosen], reduced, strict=True):
                    found[number] = result[..., : rows.lengths[number]]

            read = rows.lengths[members] - start + extra
            run_in_batches(maps * read * (rows.lengths[members] + extra), CELLS, compute)
    return found


def answering_rows(subject: Subject, weights: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The weights of the answering position, (rows, copies, heads, all tokens)."""
    rows = torch.arange(len(batch.ids), device=weights.device)
    return weights.unflatten(0, (len(rows), -1))[rows, :, :, subject.answer_columns(batch)]


def read_attention(subject: Subject, points: Sequence[Point]) -> list[np.ndarray]:
    """Attention (layers, heads, tokens) that the answering position pays."""

    def reduce(weights: list[torch.Tensor], batch: Batch, asked: list[Point], scores: torch.Tensor) -> torch.Tensor:
        return torch.stack([answering_rows(subject, layer, batch)[:, 0] for layer in weights], 1)

    return map_attention(subject, points, reduce, lend=True, gradient=False)


def weigh_attention(subject: Subject, points: Sequence[Point], target: str) -> list[np.ndarray]:
    """Attention of the answering position times the gradient of the explained score at it, (layers, heads, tokens)."""
    require_known(target, TARGETS, "explained score")

    def reduce(weights: list[torch.Tensor], batch: Batch, asked: list[Point], scores: torch.Tensor) -> torch.Tensor:
        explained = explained_scores(scores, asked, target)
        gradients = torch.autograd.grad(explained.sum(), weights)
        # A label that is read in a copy of the text of its own has its own weights; their effects add up.
        pairs = [
            (answering_rows(subject, w, batch), answering_rows(subject, g, batch))
            for w, g in zip(weights, gradients, strict=True)
        ]
        return torch.stack([(weight * gradient).sum(1) for weight, gradient in pairs], 1)

    form = "logit" if target == "logit" else "log_prob"
    return map_attention(subject, points, reduce, lend=True, gradient=True, form=form)


def roll_out_attention(subject: Subject, points: Sequence[Point]) -> list[np.ndarray]:
    """Attention rollout (Abnar and Zuidema 2020), (tokens,): adds up to 1.

    The mean over heads of each layer, half and half with the identity for the residual stream, multiplied through
    the layers; the row of the answering position. Only that row is carried, from the last layer to the first.
    """

    def reduce(weights: list[torch.Tensor], batch: Batch, asked: list[Point], scores: torch.Tensor) -> torch.Tensor:
        width = batch.ids.shape[1]
        row = torch.nn.functional.one_hot(subject.answer_columns(batch), width).float()
        for layer in reversed(weights):
            mixed = layer.unflatten(0, (len(row), -1))[:, 0, :, :width, :width].float().mean(1)
            row = (row + torch.einsum("bi,bij->bj", row, mixed)) / 2
        return row

    return map_attention(subject, points, reduce, lend=False, gradient=False)

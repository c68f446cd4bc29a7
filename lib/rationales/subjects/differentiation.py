"""Gradients of an explained score at the input embeddings, many texts and many variants of each per backward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from rationales.errors import require_known
from rationales.subjects.base import Subject, run_in_batches
from rationales.subjects.encoding import Encoded
from rationales.subjects.rows import Batch, intact_rows

TARGETS = ("log_prob", "logit", "contrastive")
HALF = (torch.float16, torch.bfloat16)
BACKWARD_COST = 4  # a backward pass keeps what a forward pass can forget, so its batches are this much smaller

# (embeddings (rows, tokens, width), batch, numbers of the points, numbers of the variants) -> inputs of that shape
Vary = Callable[[torch.Tensor, Batch, np.ndarray, np.ndarray], torch.Tensor]
# (embeddings, gradients; both (rows, tokens, width), batch, numbers of the points) -> features (rows, tokens, features)
Reduce = Callable[[torch.Tensor, torch.Tensor, Batch, np.ndarray], torch.Tensor]


@dataclass(frozen=True)
class Point:
    """An example, the index of its explained label, and that of the label it is held against where contrastive."""

    encoded: Encoded
    target: int
    other: int


@dataclass
class Derivative:
    """What came of one point.

    start: number of tokens in front that were not included. tokens: how many were read. values: (variants,) the
    explained score. text: (tokens from start on, features), the weighted sum over the variants, float64.
    in_float32: the model's half precision gave no numbers.
    """

    start: int
    tokens: int
    values: np.ndarray
    text: np.ndarray
    in_float32: bool = False

    @property
    def features(self) -> np.ndarray:
        """(features, tokens), for all tokens; NaN at those in front that were not included."""
        return np.pad(self.text, ((self.start, 0), (0, 0)), constant_values=np.nan).T

    @property
    def is_finite(self) -> bool:
        """Whether there are numbers everywhere."""
        return bool(np.isfinite(self.values).all() and np.isfinite(self.text).all())


@contextmanager
def frozen(model: torch.nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient, which saves the memory of what only theirs need."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


@contextmanager
def in_single_precision(subject: Subject) -> Iterator[None]:
    """The model in float32; on leaving, every weight and buffer is what it was, bit by bit."""
    halves = [t for t in [*subject.model.parameters(), *subject.model.buffers()] if t.dtype in HALF]
    kept = [tensor.data for tensor in halves]
    subject.forget_prompts()
    for tensor in halves:
        tensor.data = tensor.data.float()
    try:
        yield
    finally:
        for tensor, data in zip(halves, kept, strict=True):
            tensor.data = data
        subject.forget_prompts()


def explained_scores(scores: torch.Tensor, points: Sequence[Point], target: str) -> torch.Tensor:
    """The explained score of each row, (rows,), from label scores (rows, labels).

    "log_prob": log-probability of the target within the label set. "logit": its raw logit. "contrastive": log-odds of
    the target against the other label of the point, in which the sum over the labels cancels.
    """
    if target == "log_prob":
        scores = torch.log_softmax(scores, -1)
    rows = torch.arange(len(scores), device=scores.device)
    found = scores[rows, torch.tensor([point.target for point in points], device=scores.device)]
    if target != "contrastive":
        return found
    return found - scores[rows, torch.tensor([point.other for point in points], device=scores.device)]


def differentiate(
    subject: Subject,
    points: Sequence[Point],
    reduce: Reduce | None,
    *,
    target: str = "log_prob",
    prompt: bool = False,
    vary: Vary | None = None,
    weights: np.ndarray | None = None,
    token_budget: int = 8192,
) -> list[Derivative]:
    """Gradients of the explained score of each point, reduced to features per token.

    vary: makes the inputs of each variant from the embeddings; one variant, the embeddings themselves, without it.
    weights: (variants,) of the sum over the variants. reduce: None for values alone, without a backward pass.
    prompt: whether tokens in front of the text get a gradient, too. By default a causal LM reads them once for all
    texts, which is exact for the text, since they cannot depend on it. The model's own forward pass is used, so that
    modules and attention may be patched meanwhile; nothing is remembered but keys and values of the prompt.
    Half precision that gives something else than numbers is repeated in float32.
    """
    require_known(target, TARGETS, "explained score")
    weights = np.ones(1) if weights is None else np.asarray(weights, dtype=float)
    form = "logit" if target == "logit" else "log_prob"

    def compute(batch: Batch, numbers: np.ndarray, variants: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Values (rows,) and features (rows, tokens, features) of one batch."""
        plain = subject.embed(batch.ids)
        inputs = plain if vary is None else vary(plain, batch, numbers, variants)
        with torch.set_grad_enabled(reduce is not None):
            inputs = inputs.detach().requires_grad_(reduce is not None)
            scores = subject.label_scores(replace(batch, embeddings=inputs), form)
            scores = explained_scores(scores, [points[number] for number in numbers], target)
            values = scores.detach().double().cpu().numpy()
            if reduce is None:
                return values, None
            (gradients,) = torch.autograd.grad(scores.sum(), inputs)
        return values, reduce(plain.float(), gradients.float(), batch, numbers).double().cpu().numpy()

    def run(chosen: Sequence[int]) -> dict[int, Derivative]:
        """Derivatives of some of the points, by their numbers."""
        rows = intact_rows([points[number].encoded for number in chosen], len(weights))
        budget = max(1, subject.batch_tokens(token_budget // (1 if reduce is None else BACKWARD_COST)))
        found = {}
        for members, start, extra in subject.groups(rows, share=not prompt):
            read = rows.lengths - start
            for owner in np.unique(rows.owner[members]):
                length = int(read[owner * len(weights)])
                found[chosen[owner]] = Derivative(
                    start, length * len(weights), np.empty(len(weights)), np.zeros((length, 1))
                )

            def add(batch: list[int], members=members, start=start) -> None:
                here = members[batch]
                numbers, variants = np.asarray(chosen)[rows.owner[here]], here % len(weights)
                batch = rows.batch(here, start, subject.pad_id, subject.device)
                values, features = compute(batch, numbers, variants)
                for row, (number, variant) in enumerate(zip(numbers, variants, strict=True)):
                    found[number].values[variant] = values[row]
                    if features is not None:
                        own = features[row, : len(found[number].text)]
                        found[number].text = found[number].text + weights[variant] * own

            run_in_batches(read[members] + extra, budget, add)
        return found

    with frozen(subject.model):
        found = run(range(len(points))) if points else {}
        broken = [number for number, one in found.items() if not one.is_finite]
        if broken and subject.model.dtype in HALF:
            with in_single_precision(subject):
                again = run(broken)
            found |= {number: replace(one, in_float32=True) for number, one in again.items()}
    return [found[number] for number in range(len(points))]

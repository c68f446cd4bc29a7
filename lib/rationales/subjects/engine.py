"""The erasure engine: (example, keep-mask, operator) -> log-probability of every label.

Occlusion, LIME, greedy orders, deletion curves and flips all ask here. A mask is computed once, however many
explainers and metrics ask for it, and can be kept on disk between notebooks; see `save` and `load`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.subjects.base import Row, Subject
from rationales.subjects.encoding import Encoded
from rationales.tables import read_part, write_part

OPERATORS: dict[str, Callable[[Encoded, np.ndarray, int], Row]] = {}


def operator(name: str) -> Callable:
    """Register a removal operator: (encoded, keep (words,), mask token id) -> Row."""

    def register(function: Callable[[Encoded, np.ndarray, int], Row]) -> Callable:
        OPERATORS[name] = function
        return function

    return register


@operator("delete")
def delete_words(encoded: Encoded, keep: np.ndarray, mask_id: int) -> Row:
    """Drop the tokens of the words that are not kept; what follows moves up."""
    stays = (encoded.token_words < 0) | keep[encoded.token_words]
    types = None if encoded.token_types is None else encoded.token_types[stays]
    return Row(encoded, encoded.token_ids[stays], types)


@operator("mask")
def mask_words(encoded: Encoded, keep: np.ndarray, mask_id: int) -> Row:
    """Put the mask token in the place of every token of the words that are not kept; the length stays."""
    stays = (encoded.token_words < 0) | keep[encoded.token_words]
    return Row(encoded, np.where(stays, encoded.token_ids, mask_id), encoded.token_types)


@dataclass(frozen=True)
class Request:
    """Keep-masks (masks, words), boolean, for one example under one operator."""

    example: Example
    masks: np.ndarray
    operator: str = "delete"


@dataclass
class Counts:
    """What the engine was asked and what it cost: masks asked for, masks computed, tokens of computed rows."""

    asked: int = 0
    computed: int = 0
    tokens: int = 0


@dataclass
class Engine:
    """Answers requests of one subject, with a memory of what was asked before.

    token_budget: padded tokens per batch. memory: (example id, operator) -> {packed mask: log-probabilities}.
    """

    subject: Subject
    token_budget: int = 8192
    counts: Counts = field(default_factory=Counts)
    memory: dict[tuple[str, str], dict[bytes, np.ndarray]] = field(default_factory=dict)
    encodings: dict[str, Encoded] = field(default_factory=dict)
    gradients: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def encode(self, example: Example) -> Encoded:
        """The example as the subject reads it, encoded once."""
        if example.example_id not in self.encodings:
            self.encodings[example.example_id] = self.subject.encode(example)
        return self.encodings[example.example_id]

    def answer(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """Label log-probabilities, float32 (masks, labels), per request; equal masks are computed once.

        Raises StudyError for an unknown operator or a mask of the wrong length.
        """
        missing: dict[tuple[str, str, bytes], Row] = {}
        keys = []
        for request in requests:
            build = OPERATORS[require_known(request.operator, OPERATORS, "removal operator")]
            encoded = self.encode(request.example)
            masks = np.atleast_2d(np.asarray(request.masks, dtype=bool))
            if masks.shape[1] != encoded.n_words:
                raise StudyError(
                    f"Masks for example '{encoded.example_id}' have {masks.shape[1]} entries for {encoded.n_words} words."
                )
            known = self.memory.setdefault((encoded.example_id, request.operator), {})
            packed = [row.tobytes() for row in np.packbits(masks, axis=1)]
            for mask, key in zip(masks, packed, strict=True):
                if key not in known and (encoded.example_id, request.operator, key) not in missing:
                    missing[encoded.example_id, request.operator, key] = build(encoded, mask, self.subject.mask_id)
            keys.append(packed)
            self.counts.asked += len(masks)
        rows = list(missing.values())
        self.counts.computed += len(rows)
        self.counts.tokens += sum(len(row.token_ids) for row in rows)
        for (example_id, name, key), scores in zip(
            missing, self.subject.score_rows(rows, self.token_budget) if rows else [], strict=True
        ):
            self.memory[example_id, name][key] = scores
        return [
            np.stack([self.memory[request.example.example_id, request.operator][key] for key in packed])
            for request, packed in zip(requests, keys, strict=True)
        ]

    def full(self, examples: Sequence[Example]) -> np.ndarray:
        """Label log-probabilities of the intact examples, (examples, labels)."""
        requests = [Request(example, np.ones((1, len(example.words)), bool)) for example in examples]
        answers = self.answer(requests)
        # The intact text is the same under every operator.
        for example, scores in zip(examples, answers, strict=True):
            key = np.packbits(np.ones(len(example.words), bool)).tobytes()
            for name in OPERATORS:
                self.memory.setdefault((example.example_id, name), {})[key] = scores[0]
        return np.concatenate(answers) if answers else np.empty((0, len(self.subject.labels)), np.float32)

    def attention(self, example: Example) -> np.ndarray:
        """Attention (layers, heads, tokens) from the position that answers; needs the eager implementation."""
        before = self.subject.model.config._attn_implementation
        self.subject.model.set_attn_implementation("eager")
        try:
            return self.subject.read_attention(self.encode(example)).cpu().numpy()
        finally:
            self.subject.model.set_attn_implementation(before)

    def gradient(self, example: Example, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Gradient of the target's log-probability at the input embeddings, and the embeddings; (tokens, width).

        Computed once per example and target, for all explainers that start from it.
        """
        if (example.example_id, target) in self.gradients:
            return self.gradients[example.example_id, target]
        encoded = self.encode(example)
        embeddings = self.subject.embed(encoded.token_ids)[None].requires_grad_()
        score = self.subject.score_embeddings(encoded, embeddings)[0, target]
        (gradient,) = torch.autograd.grad(score, embeddings)
        pair = gradient[0].float().cpu().numpy(), embeddings[0].detach().float().cpu().numpy()
        return self.gradients.setdefault((example.example_id, target), pair)

    def save(self, path: Path, columns: dict) -> None:
        """Write every remembered answer to a part file, with `columns` (study, subject, ...) in each row."""
        rows = [
            {"example_id": example_id, "operator": name, "keep": key, "log_probs": scores.tolist()}
            for (example_id, name), known in self.memory.items()
            for key, scores in known.items()
        ]
        write_part(pd.DataFrame(rows, columns=["example_id", "operator", "keep", "log_probs"]).assign(**columns), path)

    def load(self, paths: Iterable[Path]) -> int:
        """Remember the answers of earlier notebooks on the same subject; returns how many."""
        total = 0
        for path in paths:
            table = read_part(path)
            for example_id, name, key, scores in zip(
                table["example_id"], table["operator"], table["keep"], table["log_probs"], strict=True
            ):
                self.memory.setdefault((example_id, name), {})[key] = np.asarray(scores, dtype=np.float32)
            total += len(table)
        return total

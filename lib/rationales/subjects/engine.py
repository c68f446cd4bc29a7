"""The erasure engine: (example, keep-mask, operator) -> log-probability of every label.

Occlusion, surrogates, greedy orders, deletion curves and flips all ask here. A token sequence is computed once,
however many masks, explainers and metrics lead to it, and can be kept on disk between notebooks; see `save` and
`load`. Gradients and attention of many examples are computed here, too.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.subjects.attention_maps import read_attention, roll_out_attention, weigh_attention
from rationales.subjects.base import Subject
from rationales.subjects.differentiation import Derivative, Point, Reduce, Vary, differentiate
from rationales.subjects.encoding import Encoded
from rationales.subjects.operators import (
    OPERATORS,
    Erased,
    Operator,
    Vocabulary,
    fingerprints,
    gather_rows,
    replace_all_words,
)
from rationales.tables import read_part, write_part

__all__ = ["OPERATORS", "Counts", "Engine", "Gradients", "Request"]


@dataclass(frozen=True)
class Request:
    """Keep-masks (masks, words), boolean, for one example under one operator."""

    example: Example
    masks: np.ndarray
    operator: str = "delete"


@dataclass
class Counts:
    """What the engine was asked and what it cost.

    asked: texts asked for. computed: those that the model had to read; the others were known or equal to one of
    them. tokens: their length, prompts that are read once for all left out (where texts that begin alike are read
    together, less is read). backward: texts differentiated.
    """

    asked: int = 0
    computed: int = 0
    tokens: int = 0
    backward: int = 0

    @property
    def hits(self) -> int:
        """Texts answered without asking the model."""
        return self.asked - self.computed


@dataclass(frozen=True)
class Gradients:
    """The gradient of an explained score at the input embeddings, per token, (tokens,) each.

    products: its inner product with the embedding. norms: its Euclidean norm. means: its mean over the dimensions.
    NaN at the tokens in front of the text where they were not included. score: the explained score. tokens: read for
    it. in_float32: half precision gave no numbers.
    """

    products: np.ndarray
    norms: np.ndarray
    means: np.ndarray
    score: float
    tokens: int
    in_float32: bool = False


def identity(example: Example) -> tuple:
    """What tells an example from every other: its id names it, but what is read decides."""
    return example.example_id, example.language, example.segments


def summarise_gradient(embeddings: torch.Tensor, gradients: torch.Tensor, *_) -> torch.Tensor:
    """Products, norms and means (rows, tokens, 3) of gradients (rows, tokens, width)."""
    products = (embeddings * gradients).sum(-1)
    return torch.stack([products, torch.linalg.vector_norm(gradients, dim=-1), gradients.mean(-1)], -1)


@dataclass
class Engine:
    """Answers requests of one subject, with a memory of what was asked before.

    token_budget: padded tokens per batch, fewer on a CPU (see `base.CPU_TOKENS`). vocabulary: language -> word ->
    frequency, the pool of the operator "replace"; without one, the words of all examples that the engine has met when
    a language is first asked for, so give one where results must not depend on what is asked together. seed: of the
    replacements. draws: replacements drawn per word, whose probabilities are averaged; more draws have less noise, at
    so many times the cost.
    memory: digest of a token sequence -> log-probabilities (labels,). The other fields are memories, too.
    """

    subject: Subject
    token_budget: int = 8192
    vocabulary: Vocabulary | None = None
    seed: int = 0
    draws: int = 1
    counts: Counts = field(default_factory=Counts)
    memory: dict[bytes, np.ndarray] = field(default_factory=dict)
    encodings: dict[tuple, Encoded] = field(default_factory=dict)
    met: dict[str, Counter] = field(default_factory=dict)
    replacements: dict[tuple, Encoded] = field(default_factory=dict)
    pools: dict[str, Counter] = field(default_factory=dict)
    gradient_memory: dict[tuple, Gradients] = field(default_factory=dict)

    def encode(self, example: Example) -> Encoded:
        """The example as the subject reads it, encoded once."""
        key = identity(example)
        if key not in self.encodings:
            self.encodings[key] = self.subject.encode(example)
            if self.vocabulary is None:
                self.met.setdefault(example.language, Counter()).update(example.word_texts)
        return self.encodings[key]

    def operators(self, example: Example) -> list[str]:
        """Names of the removal operators that the subject can be asked with."""
        hides = self.subject.can_hide(self.encode(example))
        return [name for name in OPERATORS if hides or name != "attention"]

    def _encode_replaced(self, example: Example, draw: int) -> Encoded:
        """The example with all words replaced; StudyError where there are no words to draw from."""
        key = (identity(example), draw)
        if key not in self.replacements:
            pool = self.vocabulary
            if pool is None:
                # Frozen when first used, or an answer would change with what the engine meets later.
                self.pools.setdefault(example.language, Counter(self.met[example.language]))
                pool = self.pools
            replaced = replace_all_words(example, pool, self.seed, draw)
            self.replacements[key] = self.subject.encode(replaced)
        return self.replacements[key]

    def _erase(self, request: Request, chosen: Operator) -> list[Erased]:
        """The texts of one request, once per draw of replacements."""
        encoded = self.encode(request.example)
        masks = np.atleast_2d(np.asarray(request.masks, dtype=bool))
        if masks.shape[1] != encoded.n_words:
            raise StudyError(
                f"Masks for example '{encoded.example_id}' have {masks.shape[1]} entries for {encoded.n_words} words."
            )
        if not chosen.replaces:
            return [chosen.build(encoded, masks, self.subject.mask_id, None)]
        replaced = [self._encode_replaced(request.example, draw) for draw in range(self.draws)]
        return [chosen.build(encoded, masks, self.subject.mask_id, other) for other in replaced]

    def answer(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """Label log-probabilities, float32 (masks, labels), per request; equal token sequences are computed once.

        Raises StudyError for an unknown operator or a mask of the wrong length.
        """
        missing: dict[bytes, None] = {}
        parts: list[tuple[Erased, list[int]]] = []
        keys: list[list[list[bytes]]] = []
        for request in requests:
            chosen = OPERATORS[require_known(request.operator, OPERATORS, "removal operator")]
            keys.append([])
            for erased in self._erase(request, chosen):
                digests = fingerprints(erased)
                new = []
                for row, digest in enumerate(digests):
                    if digest not in self.memory and digest not in missing:
                        missing[digest] = None
                        new.append(row)
                if new:
                    parts.append((erased, new))
                keys[-1].append(digests)
                self.counts.asked += len(digests)
        if parts:
            self._compute(parts, list(missing))
        return [average([np.stack([self.memory[key] for key in one]) for one in draws]) for draws in keys]

    def _compute(self, parts: list[tuple[Erased, list[int]]], digests: list[bytes]) -> None:
        """Ask the subject for what is not known, and remember it."""
        rows = gather_rows(parts)
        scores = self.subject.score_rows(rows, self.token_budget)
        shared = np.array([self.subject.shared_tokens(encoded) for encoded in rows.encoded])
        self.counts.computed += len(rows)
        self.counts.tokens += int((rows.lengths - shared[rows.owner]).sum())
        self.memory.update(zip(digests, scores, strict=True))

    def full(self, examples: Sequence[Example]) -> np.ndarray:
        """Label log-probabilities of the intact examples, (examples, labels)."""
        requests = [Request(example, np.ones((1, len(example.words)), bool)) for example in examples]
        answers = self.answer(requests)
        return np.concatenate(answers) if answers else np.empty((0, len(self.subject.labels)), np.float32)

    def points(self, examples: Sequence[Example], targets: Sequence[int], target: str = "contrastive") -> list[Point]:
        """What is to be differentiated: examples, their targets, and the best other label of each intact text.

        target: the explained score; where it is not contrastive, no other label is asked for, and it is the target.
        """
        others = [int(number) for number in targets]
        if target == "contrastive":
            others = [
                max((label for label in range(len(scores)) if label != own), key=scores.__getitem__, default=own)
                for scores, own in zip(self.full(examples), targets, strict=True)
            ]
        return [
            Point(self.encode(example), int(target), other)
            for example, target, other in zip(examples, targets, others, strict=True)
        ]

    def differentiate(
        self,
        examples: Sequence[Example],
        targets: Sequence[int],
        reduce: Reduce | None,
        *,
        target: str = "log_prob",
        prompt: bool = False,
        vary: Vary | None = None,
        weights: np.ndarray | None = None,
    ) -> list[Derivative]:
        """Gradients of the explained scores, reduced to features per token; see `differentiation.differentiate`."""
        found = differentiate(
            self.subject, self.points(examples, targets, target), reduce,
            target=target, prompt=prompt, vary=vary, weights=weights, token_budget=self.token_budget,
        )  # fmt: skip
        if reduce is not None:
            self.counts.backward += sum(len(one.values) for one in found)
        return found

    def gradients(
        self,
        examples: Sequence[Example],
        targets: Sequence[int],
        *,
        target: str = "log_prob",
        prompt: bool = False,
        remember: bool = False,
    ) -> list[Gradients]:
        """The gradient of an explained score of each example, batched over examples.

        target: "log_prob", "logit" or "contrastive"; see `differentiation.explained_scores`. prompt: whether the
        tokens in front of the text are included. remember: whether to use and keep what was computed before; leave
        it off while the model is patched, since the same question then has another answer.
        """
        keys = [(identity(e), int(t), target, prompt) for e, t in zip(examples, targets, strict=True)]
        known = dict(self.gradient_memory) if remember else {}
        new = [number for number, key in enumerate(keys) if key not in known]
        derivatives = self.differentiate(
            [examples[number] for number in new], [targets[number] for number in new], summarise_gradient,
            target=target, prompt=prompt,
        ) if new else []  # fmt: skip
        for number, one in zip(new, derivatives, strict=True):
            known[keys[number]] = Gradients(*one.features, float(one.values[0]), one.tokens, one.in_float32)
        if remember:
            self.gradient_memory = known
        return [known[key] for key in keys]

    def gradient(self, example: Example, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Gradient of the target's log-probability at the input embeddings, and the embeddings; (tokens, width)."""
        (one,) = self.differentiate([example], [target], lambda embeddings, gradients, *_: gradients, prompt=True)
        return one.text.astype(np.float32), self.subject.embed(self.encode(example).token_ids).float().cpu().numpy()

    def attention(self, example: Example) -> np.ndarray:
        """Attention (layers, heads, tokens) from the position that answers."""
        return self.attentions([example])[0]

    def attentions(self, examples: Sequence[Example]) -> list[np.ndarray]:
        """Attention (layers, heads, tokens) from the position that answers, of each example."""
        return read_attention(self.subject, [Point(self.encode(example), 0, 0) for example in examples])

    def attention_rollouts(self, examples: Sequence[Example]) -> list[np.ndarray]:
        """Attention rolled out over the layers, (tokens,), of each example."""
        return roll_out_attention(self.subject, [Point(self.encode(example), 0, 0) for example in examples])

    def attention_gradients(self, examples: Sequence[Example], targets: Sequence[int], target: str) -> list[np.ndarray]:
        """Attention times its gradient, (layers, heads, tokens), of each example."""
        self.counts.backward += len(examples)
        return weigh_attention(self.subject, self.points(examples, targets, target), target)

    def save(self, path: Path, columns: dict) -> None:
        """Write every remembered answer to a part file, with `columns` (study, subject, ...) in each row."""
        table = pd.DataFrame(
            {"digest": list(self.memory), "log_probs": [scores.tolist() for scores in self.memory.values()]}
        )
        write_part(table.assign(**columns), path)

    def load(self, paths: Iterable[Path]) -> int:
        """Remember the answers of earlier notebooks on the same subject; returns how many.

        A digest stands for a token sequence, so an answer is never taken for another text that has the same name.
        Raises StudyError for a file that was written in another form.
        """
        total = 0
        for path in paths:
            table = read_part(path)
            if "digest" not in table:
                raise StudyError(
                    f"The erasures in '{path.name}' come from an older version; remove them and run again."
                )
            for digest, scores in zip(table["digest"], table["log_probs"], strict=True):
                self.memory[digest] = np.asarray(scores, dtype=np.float32)
            total += len(table)
        return total


def average(answers: list[np.ndarray]) -> np.ndarray:
    """Logarithm of the mean over draws of the probabilities, (masks, labels)."""
    if len(answers) == 1:
        return answers[0]
    return (np.logaddexp.reduce(np.stack(answers).astype(float), axis=0) - np.log(len(answers))).astype(np.float32)

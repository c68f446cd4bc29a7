"""What every subject can do, whatever its kind."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.subjects.encoding import Encoded


@dataclass(frozen=True)
class Row:
    """One token sequence to score: an encoded example and, of its tokens, those kept or replaced.

    token_ids: (tokens,). token_types: the same length, or None.
    """

    encoded: Encoded
    token_ids: np.ndarray
    token_types: np.ndarray | None


class Subject(ABC):
    """A model under study.

    name: shown in messages and tables. task, labels: what it answers. model, tokenizer: transformers objects.
    """

    kind: str

    def __init__(self, name: str, task: str, labels: tuple[str, ...], model, tokenizer):
        self.name, self.task, self.labels = name, task, labels
        self.model, self.tokenizer = model.eval(), tokenizer

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.device

    @property
    def context(self) -> int:
        """Longest sequence the model reads, in tokens."""
        given = getattr(self.model.config, "max_position_embeddings", 10**9)
        return min(given - self.reserved_positions, self.tokenizer.model_max_length)

    reserved_positions = 0

    def encode(self, example: Example) -> Encoded:
        """The example as this subject reads it; StudyError when it does not fit the context."""
        encoded = self._encode(example)
        longest = len(encoded.token_ids) + max(map(len, encoded.label_ids), default=0)
        if longest > self.context:
            raise StudyError(
                f"Example '{example.example_id}' needs {longest} tokens but '{self.name}' reads at most {self.context}; "
                "set `max_words` for the corpus to leave out longer texts, which are then counted."
            )
        return encoded

    @property
    def mask_id(self) -> int:
        """Token that stands for a masked word: the mask token, or `_` where there is none (as P2 does)."""
        if self.tokenizer.mask_token_id is not None:
            return self.tokenizer.mask_token_id
        return self.tokenizer.encode("_", add_special_tokens=False)[-1]

    @abstractmethod
    def _encode(self, example: Example) -> Encoded: ...

    @abstractmethod
    def score_rows(self, rows: Sequence[Row], token_budget: int) -> np.ndarray:
        """Log-probability of every label within the label set, float32 (rows, labels), for any batch composition."""

    @abstractmethod
    def score_embeddings(self, encoded: Encoded, embeddings: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (batch, labels) for input embeddings (batch, tokens, width) of one example; differentiable."""

    @abstractmethod
    def read_attention(self, encoded: Encoded) -> torch.Tensor:
        """Attention weights (layers, heads, tokens) paid by the position that answers."""

    def embed(self, token_ids: np.ndarray) -> torch.Tensor:
        """Input embeddings (tokens, width) of token ids, detached."""
        ids = torch.as_tensor(np.asarray(token_ids), device=self.device)
        return self.model.get_input_embeddings()(ids).detach()


def batches_by_length(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of sequences, longest first, in batches of at most `token_budget` padded tokens."""
    batches, current, longest = [], [], 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if current and longest * (len(current) + 1) > token_budget:
            batches.append(current)
            current = []
        longest = longest if current else max(1, lengths[index])
        current.append(index)
    return [*batches, current] if current else batches


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that device memory ran out."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error).lower()


def score_in_batches(rows, lengths, token_budget, score_batch, n_labels) -> np.ndarray:
    """Score all rows batch by batch; a batch that does not fit into memory is halved until it does.

    Raises StudyError when a single row does not fit, or when a score is not a number.
    """
    scores = np.empty((len(rows), n_labels), dtype=np.float32)
    pending = batches_by_length(lengths, token_budget)[::-1]
    while pending:
        batch = pending.pop()
        try:
            scores[batch] = score_batch([rows[index] for index in batch])
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if len(batch) == 1:
                raise StudyError(
                    "Memory ran out on a single text; use a smaller model, `dtype: bfloat16`, or shorter texts (`max_words`)."
                ) from error
            pending += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
    if len(rows) and not np.isfinite(scores).all():
        bad = rows[int(np.argwhere(~np.isfinite(scores))[0][0])].encoded.example_id
        raise StudyError(f"The model returns NaN for example '{bad}'; load it with `dtype: float32`.")
    return scores

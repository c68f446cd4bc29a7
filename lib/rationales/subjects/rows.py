"""Token sequences of many texts, stored flat, and the padded batches that a model reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rationales.subjects.encoding import Encoded


@dataclass(frozen=True)
class Batch:
    """Sequences padded on the right to one length, on the model's device; they share the prompt and the labels.

    encoded: the example of any of them. start: number of tokens in front that are not in the batch, since their keys
    and values are known. lengths: (rows,). ids: (rows, tokens). hidden: (rows, tokens), True where a token is read
    but nothing attends to it, or None. types: (rows, tokens) or None. embeddings: (rows, tokens, width) to be read in
    place of the ids, or None.
    """

    encoded: Encoded
    start: int
    lengths: torch.Tensor
    ids: torch.Tensor
    hidden: torch.Tensor | None = None
    types: torch.Tensor | None = None
    embeddings: torch.Tensor | None = None

    @property
    def inside(self) -> torch.Tensor:
        """(rows, tokens), True for tokens and False for padding."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]


@dataclass(frozen=True)
class Rows:
    """Token sequences to score.

    encoded: the examples they come from. owner: (rows,) number of the example. tokens: the ids of all rows, one after
    the other; starts, lengths: (rows,) where each row lies in it. hidden, types: as long as tokens, or None.
    """

    encoded: Sequence[Encoded]
    owner: np.ndarray
    tokens: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    hidden: np.ndarray | None = None
    types: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.owner)

    def row(self, flat: np.ndarray, member: int, start: int) -> np.ndarray:
        """The part of `flat` (as long as tokens) that belongs to one row, without its first `start` entries."""
        return flat[self.starts[member] + start : self.starts[member] + self.lengths[member]]

    def batch(self, members: np.ndarray, start: int, pad_id: int, device: torch.device) -> Batch:
        """Some rows as a batch, without their first `start` tokens."""
        lengths = self.lengths[members] - start
        columns = np.arange(lengths.max())
        inside = columns < lengths[:, None]
        places = np.where(inside, (self.starts[members] + start)[:, None] + columns, 0)

        def fill(flat: np.ndarray, padding: int | bool) -> torch.Tensor:
            return torch.from_numpy(np.where(inside, flat[places], padding)).to(device)

        return Batch(
            self.encoded[self.owner[members[0]]],
            start,
            torch.from_numpy(lengths).to(device),
            fill(self.tokens, pad_id),
            None if self.hidden is None or not self.hidden[places].any(where=inside) else fill(self.hidden, False),
            None if self.types is None else fill(self.types, 0),
        )


def starts_of(lengths: np.ndarray) -> np.ndarray:
    """Where each of several stretches of these lengths begins when they lie one after the other."""
    return np.cumsum(lengths) - lengths


def intact_rows(encoded: Sequence[Encoded], copies: int = 1) -> Rows:
    """One row per example as it is, or `copies` of them, which share their tokens."""
    lengths = np.array([len(e.token_ids) for e in encoded], dtype=np.int64)
    typed = bool(encoded) and encoded[0].token_types is not None
    return Rows(
        encoded,
        np.repeat(np.arange(len(encoded)), copies),
        np.concatenate([e.token_ids for e in encoded]).astype(np.int64),
        np.repeat(starts_of(lengths), copies),
        np.repeat(lengths, copies),
        types=np.concatenate([e.token_types for e in encoded]).astype(np.int64) if typed else None,
    )

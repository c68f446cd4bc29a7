"""What every subject can do, whatever its kind."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.subjects.encoding import Encoded
from rationales.subjects.rows import Batch, Rows

FORMS = ("log_prob", "logit")
CPU_TOKENS = 512  # larger batches only leave the processor's caches: a quarter to a half slower on small models


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

    @property
    def pad_id(self) -> int:
        """Token that fills up the shorter sequences of a batch; never attended to."""
        return self.tokenizer.pad_token_id

    def batch_tokens(self, token_budget: int) -> int:
        """Padded tokens per batch under a budget."""
        return min(token_budget, CPU_TOKENS) if self.device.type == "cpu" else token_budget

    @abstractmethod
    def _encode(self, example: Example) -> Encoded: ...

    def group(self, encoded: Encoded) -> Hashable:
        """Examples of one group can be read in one batch."""
        return ()

    def shared_tokens(self, encoded: Encoded) -> int:
        """How many tokens in front of the text are read once for all examples of the group."""
        return 0

    def extra_tokens(self, encoded: Encoded) -> int:
        """How many tokens are read behind the text to score the labels."""
        return 0

    def forget_prompts(self) -> None:  # noqa: B027  (nothing is kept unless a kind of subject says so)
        """Forget whatever was computed from the weights and kept."""

    def can_hide(self, encoded: Encoded) -> bool:
        """Whether words of an example can be hidden by the attention mask."""
        return True

    @abstractmethod
    def answer_columns(self, batch: Batch) -> torch.Tensor:
        """Column of a batch in which each row answers, (rows,)."""

    @abstractmethod
    def label_scores(
        self, batch: Batch, form: str = "log_prob", attentions: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """A score per label, float32 (rows, labels), differentiable where gradients are on.

        form: "log_prob" for scores whose softmax over the labels is the answer, "logit" for the model's raw logits,
        summed over the tokens of a label. `attentions`, a list, is filled with the weights of each layer, (rows and
        copies, heads, tokens, tokens in front and tokens), several copies of a row one after the other where each
        label was read in a copy of its own; the model must be eager then.
        """

    def score_rows(self, rows: Rows, token_budget: int) -> np.ndarray:
        """Log-probability of every label within the label set, float32 (rows, labels), for any batch composition.

        Raises StudyError when a single row does not fit into memory, or when a score is not a number.
        """
        scores = np.empty((len(rows), len(self.labels)), dtype=np.float32)
        for members, start, extra in self.groups(rows):
            self.score_group(rows, members, start, extra, token_budget, scores)
        if not np.isfinite(scores).all():
            bad = rows.encoded[rows.owner[int(np.argwhere(~np.isfinite(scores))[0][0])]].example_id
            raise StudyError(f"The model returns NaN for example '{bad}'; load it with `dtype: float32`.")
        return scores

    def score_group(
        self, rows: Rows, members: np.ndarray, start: int, extra: int, token_budget: int, scores: np.ndarray
    ) -> None:
        """Fill `scores` for rows that can be read together (see `groups`), in padded batches of similar length."""

        def score(chosen: list[int]) -> None:
            batch = rows.batch(members[chosen], start, self.pad_id, self.device)
            with torch.no_grad():
                answers = torch.log_softmax(self.label_scores(batch), -1)
            scores[members[chosen]] = answers.cpu().numpy()

        run_in_batches(rows.lengths[members] - start + extra, self.batch_tokens(token_budget), score)

    def groups(self, rows: Rows, share: bool = True) -> list[tuple[np.ndarray, int, int]]:
        """Rows that can be read together: their numbers, the tokens in front shared by all, the tokens behind."""
        found: dict[Hashable, list[int]] = defaultdict(list)
        for number, encoded in enumerate(rows.encoded):
            found[self.group(encoded)].append(number)
        return [
            (
                np.flatnonzero(np.isin(rows.owner, numbers)),
                self.shared_tokens(rows.encoded[numbers[0]]) if share else 0,
                self.extra_tokens(rows.encoded[numbers[0]]),
            )
            for numbers in found.values()
        ]

    def score_embeddings(self, encoded: Encoded, embeddings: torch.Tensor, form: str = "log_prob") -> torch.Tensor:
        """Log-probabilities (or, with form "logit", logits) of the labels, (batch, labels); differentiable.

        embeddings: (batch, tokens, width), of all tokens of one example.
        """
        require_known(form, FORMS, "form of score")
        ids = torch.as_tensor(encoded.token_ids, device=self.device).expand(len(embeddings), -1)
        types = None
        if encoded.token_types is not None:
            types = torch.as_tensor(encoded.token_types, device=self.device).expand(len(embeddings), -1)
        lengths = torch.full((len(embeddings),), len(encoded.token_ids), device=self.device)
        scores = self.label_scores(Batch(encoded, 0, lengths, ids, None, types, embeddings), form)
        return torch.log_softmax(scores, -1) if form == "log_prob" else scores

    def embed(self, token_ids: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Input embeddings (..., width) of token ids, detached."""
        ids = torch.as_tensor(token_ids, device=self.device)
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
    """Whether an error means that memory ran out, on the device or on the host."""
    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


def run_in_batches(lengths: Sequence[int], token_budget: int, compute: Callable[[list[int]], None]) -> None:
    """Call `compute` with batches of indices of similar length, the longest first; see `run_halving`."""
    lengths = np.asarray(lengths).tolist()
    run_halving(batches_by_length(lengths, token_budget), lambda batch: lengths[batch[0]] * len(batch), compute)


def run_halving(
    batches: Sequence[list[int]], size_of: Callable[[list[int]], int], compute: Callable[[list[int]], None]
) -> None:
    """Call `compute` with batches of indices, whose sizes in tokens `size_of` tells.

    When memory runs out, the batch is halved, and so are the batches that follow. Raises StudyError when a single
    sequence does not fit.
    """
    pending = list(batches)[::-1]
    limit = float("inf")
    while pending:
        batch = pending.pop()
        size = size_of(batch)
        if size > limit and len(batch) > 1:
            pending += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
            continue
        failed = False
        try:
            compute(batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if len(batch) == 1:
                raise StudyError(
                    "Memory ran out on a single text; use a smaller model, `dtype: bfloat16`, or shorter texts (`max_words`)."
                ) from error
            failed, limit = True, size / 2
            pending.append(batch)
        if failed and torch.cuda.is_available():
            torch.cuda.empty_cache()  # here, since the handler above keeps the failed batch's tensors alive

"""Causal language models that answer a classification prompt with a verbalised label."""

import inspect
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import DynamicCache, set_seed

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.subjects.answering import Prefix, head_is_plain, lay_out, read_apart, read_side_by_side
from rationales.subjects.base import Subject, batches_by_length, out_of_memory, run_halving
from rationales.subjects.encoding import PROMPT_STYLES, Encoded, encode_prompt, without_end
from rationales.subjects.packing import NODES, cut_into_trees, grow_tree, read_trees, sort_texts
from rationales.subjects.rows import Batch, Rows, intact_rows

KEPT_PREFIXES = 16  # one per task and language is the rule
ATTENTION_KINDS = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Route:
    """What was found about a model by asking it one text in several ways.

    lends: answers through the lent prompt are those of whole sequences. plain_head: and so are those from the label
    rows of the output matrix alone. hides: words can be hidden by the attention mask. packs: and texts that begin alike
    can be read as one tree (see `packing`).
    """

    lends: bool
    plain_head: bool
    hides: bool
    packs: bool


class CausalSubject(Subject):
    """A causal LM. The probability of a label is that of all its tokens, normalised over the label set.

    prefix_cache: keys and values of the prompts read so far; clear it when the weights change.
    """

    kind = "causal"

    def __init__(self, name, task, labels, model, tokenizer, prompt_style: str = "chat"):
        super().__init__(name, task, labels, model, tokenizer)
        self.prompt_style = require_known(prompt_style, PROMPT_STYLES, "prompt style")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.prefix_cache: dict[tuple[int, ...], Prefix] = {}
        self.found: tuple[object, Route] | None = None

    def _encode(self, example: Example) -> Encoded:
        return encode_prompt(self.tokenizer, self.task, self.labels, example, self.prompt_style, self.name)

    @property
    def layer_kinds(self) -> set[str]:
        """Kinds of layers as transformers names them; {"other"} for models without attention."""
        config = self.model.config.get_text_config()
        if getattr(config, "num_attention_heads", None) is None:
            return {"other"}
        return set(getattr(config, "layer_types", None) or ["full_attention"])

    @property
    def window(self) -> float:
        """Positions that the narrowest layer looks back on."""
        config = self.model.config.get_text_config()
        width = getattr(config, "sliding_window", None)
        named = getattr(config, "layer_types", None)
        slides = "sliding_attention" in named if named else getattr(config, "use_sliding_window", True)
        return width if width and slides else float("inf")

    @property
    def shares_prefix(self) -> bool:
        """Whether keys and values of the prompt may be computed once and used for all texts, by the architecture.

        Hybrid and state-space models keep other states than keys and values of every position.
        """
        return self.layer_kinds <= ATTENTION_KINDS

    def lends_prompt(self, encoded: Encoded) -> bool:
        """Whether an example is read behind a lent prompt; else every text is read whole, which is slower.

        A sliding window changes nothing where it is wider than the text (twice as wide, since a word that takes the
        place of another may have more tokens).
        """
        longest = len(encoded.token_ids) + self.extra_tokens(encoded)
        return self.shares_prefix and 2 * longest <= self.window and self.route(encoded).lends

    def route(self, encoded: Encoded) -> Route:
        """How the model may be read; found once per model, since attributes of configurations cannot be trusted."""
        if self.found is None or self.found[0] is not self.model:
            self.found = (self.model, self._find_route(encoded))
        return self.found[1]

    @torch.no_grad()
    def _find_route(self, encoded: Encoded) -> Route:
        rows, alone = intact_rows([encoded]), np.zeros(1, dtype=int)
        whole = rows.batch(alone, 0, self.pad_id, self.device)
        tail = rows.batch(alone, encoded.prefix, self.pad_id, self.device)
        last_word = torch.as_tensor(encoded.token_words == encoded.n_words - 1, device=self.device)[None]
        tolerance = 1e-3 if self.model.dtype == torch.float32 else 0.2  # nats; bfloat16 alone moves answers by .05

        def agrees(plain: bool, hidden: bool) -> bool:
            one, other = (whole, tail) if not hidden else (
                replace(whole, hidden=last_word), replace(tail, hidden=last_word[:, encoded.prefix :])
            )  # fmt: skip
            try:
                prefix = self.read_prefix(tuple(encoded.token_ids[: encoded.prefix].tolist()))
                lent = read_side_by_side(self.model, other, prefix, "log_prob", None, plain)
            except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
                if out_of_memory(error):
                    raise
                return False
            read = read_apart(self.model, one, "log_prob", None, self.takes_positions)
            gap = torch.log_softmax(lent, -1) - torch.log_softmax(read, -1)
            return bool(gap.abs().max() < tolerance)

        def packed_agrees(plain: bool) -> bool:
            """Whether the text, and the text without its first word, are answered alike in one tree and apart."""
            stays = encoded.token_words != 0
            keep = np.concatenate([np.ones(len(stays), bool), stays])
            pair = Rows(
                [encoded], np.zeros(2, dtype=int), np.tile(encoded.token_ids, 2)[keep],
                np.array([0, len(stays)]), np.array([len(stays), stays.sum()]),
            )  # fmt: skip
            found, both = np.empty((2, len(self.labels)), np.float32), np.arange(2)
            try:
                self.score_trees(pair, [0, 1], encoded.prefix, plain, 2 * len(stays), found)
            except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
                if out_of_memory(error):
                    raise
                return False
            apart = pair.batch(both, 0, self.pad_id, self.device)
            read = read_apart(self.model, apart, "log_prob", None, self.takes_positions)
            return bool(np.abs(found - torch.log_softmax(read, -1).cpu().numpy()).max() < tolerance)

        plain = self.shares_prefix and head_is_plain(self.model) and agrees(plain=True, hidden=False)
        lends = plain or (self.shares_prefix and agrees(plain=False, hidden=False))
        hides = agrees(plain, hidden=True) if lends else self.shares_prefix and self.takes_positions
        packs = lends and self.takes_positions and packed_agrees(plain)
        return Route(lends, plain, hides, packs)

    @property
    def takes_positions(self) -> bool:
        """Whether the model can be told the positions of its tokens."""
        return "position_ids" in inspect.signature(self.model.forward).parameters

    def group(self, encoded: Encoded) -> Hashable:
        lends = self.lends_prompt(encoded)
        return tuple(encoded.token_ids[: encoded.prefix].tolist()) if lends else (), encoded.label_ids

    def shared_tokens(self, encoded: Encoded) -> int:
        return encoded.prefix if self.lends_prompt(encoded) else 0

    def extra_tokens(self, encoded: Encoded) -> int:
        return sum(len(ids) - 1 for ids in encoded.label_ids)

    def can_hide(self, encoded: Encoded) -> bool:
        """Whether words can be hidden by the attention mask: not where states take the place of attention."""
        return self.route(encoded).hides

    def require_hiding(self, encoded: Encoded, hidden: object | None) -> None:
        """Raise StudyError when something is to be hidden and cannot be."""
        if hidden is not None and not self.can_hide(encoded):
            raise StudyError(f"Words cannot be hidden from '{self.name}' by attention; use another removal operator.")

    def forget_prompts(self) -> None:
        """Forget the keys and values of the prompts, as after a change of the weights."""
        self.prefix_cache.clear()

    def answer_columns(self, batch: Batch) -> torch.Tensor:
        """The last token answers."""
        return batch.lengths - 1

    @torch.no_grad()
    def read_prefix(self, prefix: tuple[int, ...]) -> Prefix:
        """Keys and values (1, heads, tokens, width) of each layer for the tokens in front of the text; kept."""
        if prefix and prefix not in self.prefix_cache:
            ids = torch.tensor([prefix], device=self.device)
            cache = self.model.get_decoder()(
                input_ids=ids, use_cache=True, past_key_values=DynamicCache()
            ).past_key_values
            while len(self.prefix_cache) >= KEPT_PREFIXES:
                self.prefix_cache.pop(next(iter(self.prefix_cache)))
            self.prefix_cache[prefix] = [(layer.keys, layer.values) for layer in cache.layers]
        return self.prefix_cache[prefix] if prefix else []

    def label_scores(
        self, batch: Batch, form: str = "log_prob", attentions: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        self.require_hiding(batch.encoded, batch.hidden)
        if self.lends_prompt(batch.encoded):
            prefix = self.read_prefix(tuple(batch.encoded.token_ids[: batch.start].tolist()))
            plain = self.route(batch.encoded).plain_head
            return read_side_by_side(self.model, batch, prefix, form, attentions, plain)
        return read_apart(self.model, batch, form, attentions, self.takes_positions)

    def score_group(
        self, rows: Rows, members: np.ndarray, start: int, extra: int, token_budget: int, scores: np.ndarray
    ) -> None:
        """Fill `scores` for rows that can be read together: as trees where the model allows it, else in padded batches."""
        encoded = rows.encoded[rows.owner[members[0]]]
        if not self.lends_prompt(encoded) or not self.route(encoded).packs:
            return super().score_group(rows, members, start, extra, token_budget, scores)
        self.require_hiding(encoded, rows.hidden)
        plain = self.route(encoded).plain_head
        order, common = sort_texts([self._code(rows, member, start) for member in members])
        members, lengths = members[order], rows.lengths[members[order]] - start
        limit = max(NODES, 2 * int(lengths.max() + extra))
        trees = cut_into_trees(lengths, common, extra, limit)
        step = max(1, self.batch_tokens(token_budget) // limit)
        batches = [
            list(range(part[0].start, part[-1].stop))
            for part in (trees[first : first + step] for first in range(0, len(trees), step))
        ]
        sizes = np.cumsum(lengths - common + extra)

        def size_of(batch: list[int]) -> int:
            return int(sizes[batch[-1]] - sizes[batch[0]] + lengths[batch[0]] + extra)

        def score(batch: list[int]) -> None:
            self.score_trees(rows, members[batch].tolist(), start, plain, limit, scores)

        run_halving(batches, size_of, score)

    @torch.no_grad()
    def score_trees(
        self, rows: Rows, members: list[int], start: int, plain_head: bool, limit: int, scores: np.ndarray
    ) -> None:
        """Fill `scores` for some sorted rows, read as trees of at most `limit` nodes, or of a single text."""
        encoded = rows.encoded[rows.owner[members[0]]]
        endings = lay_out(encoded.label_ids, self.device)
        tokens = [rows.row(rows.tokens, member, start) for member in members]
        hidden = None if rows.hidden is None else [rows.row(rows.hidden, member, start) for member in members]
        order, common = sort_texts([self._code(rows, member, start) for member in members])
        lengths = np.array([len(tokens[text]) for text in order])
        trees = []
        for run in cut_into_trees(lengths, common, len(endings.tokens), limit):
            chosen = order[run]
            covered = None if hidden is None else [hidden[text] for text in chosen]
            trees.append(grow_tree([tokens[text] for text in chosen], covered, common[run], endings))
        prefix = self.read_prefix(tuple(encoded.token_ids[:start].tolist()))
        found = read_trees(self.model, trees, start, prefix, endings, self.pad_id, plain_head)
        scores[np.asarray(members)[order]] = torch.log_softmax(found, -1).cpu().numpy()

    def _code(self, rows: Rows, member: int, start: int) -> np.ndarray:
        """A number per token (tokens,) that tells apart what a row reads there: the token, and whether it is hidden."""
        tokens = rows.row(rows.tokens, member, start)
        return 2 * tokens if rows.hidden is None else 2 * tokens + rows.row(rows.hidden, member, start)

    def render(self, messages: list[dict[str, str]]) -> str:
        """A conversation as the text the model continues with the assistant's next turn."""
        if self.prompt_style == "plain":
            turns = {"user": "{}\n", "assistant": "Answer: {}\n"}
            return "".join(turns[m["role"]].format(m["content"]) for m in messages) + "Answer:"
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    @torch.no_grad()
    def generate(
        self,
        conversations: Sequence[list[dict[str, str]]],
        max_new_tokens: int = 256,
        token_budget: int = 8192,
        sample_seed: int | None = None,
        label: str = "generating",
    ) -> list[str]:
        """The assistant's replies, in the order of the conversations; greedy, or sampled with `sample_seed`.

        Prompts are sorted by length and padded on the left; memory that runs out halves the batch.
        Raises StudyError for a prompt that leaves no room for an answer.
        """
        if self.prompt_style == "chat" and not getattr(self.tokenizer, "chat_template", None):
            raise StudyError(f"The checkpoint '{self.name}' has no chat template; set `prompt_style: plain` for it.")
        texts = [self.render(messages) for messages in conversations]
        add_special = self.prompt_style == "plain"
        encoded = [self.tokenizer.encode(text, add_special_tokens=add_special) for text in texts]
        if add_special:
            encoded = [without_end(ids, self.tokenizer) for ids in encoded]
        longest = max(map(len, encoded), default=0)
        if longest >= self.context:
            raise StudyError(
                f"A prompt of {longest} tokens leaves no room for an answer in the {self.context} tokens of '{self.name}'; "
                "set `max_words` for the corpus to leave out longer texts, which are then counted."
            )
        replies = [""] * len(encoded)
        pending = batches_by_length([len(ids) + max_new_tokens for ids in encoded], token_budget)[::-1]
        with tqdm(total=len(encoded), desc=label, mininterval=5) as progress:
            while pending:
                batch = pending.pop()
                try:
                    texts = self._generate_batch([encoded[i] for i in batch], max_new_tokens, sample_seed)
                except RuntimeError as error:
                    if not out_of_memory(error) or len(batch) == 1:
                        raise
                    pending += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
                    continue
                for index, text in zip(batch, texts, strict=True):
                    replies[index] = text
                progress.update(len(batch))
        return replies

    def _generate_batch(self, rows: list[list[int]], max_new_tokens: int, sample_seed: int | None) -> list[str]:
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, longest - len(row) :] = torch.tensor(row)
            mask[number, longest - len(row) :] = 1
        if sample_seed is not None:
            set_seed(sample_seed + sum(rows[0]))  # depends on the batch's content, not on how many ran before
        options = (
            {"do_sample": True}
            if sample_seed is not None
            else {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        )
        output = self.model.generate(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            max_new_tokens=min(max_new_tokens, self.context - longest),
            pad_token_id=self.tokenizer.pad_token_id,
            **options,
        )
        return self.tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)

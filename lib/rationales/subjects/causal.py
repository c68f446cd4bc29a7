"""Causal language models that answer a classification prompt with a verbalised label."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm
from transformers import DynamicCache, set_seed

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.subjects.base import Row, Subject, batches_by_length, out_of_memory, score_in_batches
from rationales.subjects.encoding import PROMPT_STYLES, Encoded, encode_prompt, without_end

KEPT_PREFIXES = 16  # one per task and language is the rule


class CausalSubject(Subject):
    """A causal LM. The probability of a label is that of all its tokens, normalised over the label set."""

    kind = "causal"

    def __init__(self, name, task, labels, model, tokenizer, prompt_style: str = "chat"):
        super().__init__(name, task, labels, model, tokenizer)
        self.prompt_style = require_known(prompt_style, PROMPT_STYLES, "prompt style")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.prefix_cache: dict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def _encode(self, example: Example) -> Encoded:
        return encode_prompt(self.tokenizer, self.task, self.labels, example, self.prompt_style, self.name)

    @property
    def shares_prefix(self) -> bool:
        """Whether keys and values of the prompt in front of the text may be computed once and used for all.

        Sliding-window, hybrid and state-space models keep other states than keys and values of every position.
        """
        config = self.model.config.get_text_config()
        kinds = getattr(config, "layer_types", None) or ["full_attention"]
        sliding = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
        return set(kinds) == {"full_attention"} and not sliding

    @torch.no_grad()
    def read_prefix(self, prefix: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values (1, heads, tokens, width) of each layer for the tokens in front of the text; kept."""
        if prefix not in self.prefix_cache:
            ids = torch.tensor([prefix], device=self.device)
            cache = self.model.get_decoder()(
                input_ids=ids, use_cache=True, past_key_values=DynamicCache()
            ).past_key_values
            while len(self.prefix_cache) >= KEPT_PREFIXES:
                self.prefix_cache.pop(next(iter(self.prefix_cache)))
            self.prefix_cache[prefix] = [(layer.keys, layer.values) for layer in cache.layers]
        return self.prefix_cache[prefix]

    def score_rows(self, rows: Sequence[Row], token_budget: int) -> np.ndarray:
        groups = defaultdict(list)
        for index, row in enumerate(rows):
            prefix = tuple(row.encoded.token_ids[: row.encoded.prefix].tolist()) if self.shares_prefix else ()
            groups[prefix, row.encoded.label_ids].append(index)
        scores = np.empty((len(rows), len(self.labels)), dtype=np.float32)
        for (prefix, label_ids), members in groups.items():
            chosen = [rows[index] for index in members]
            extra = max(map(len, label_ids)) - 1
            lengths = [len(row.token_ids) - len(prefix) + extra for row in chosen]
            scores[members] = score_in_batches(
                chosen, lengths, token_budget, lambda batch, p=prefix, ids=label_ids: self._score_batch(batch, p, ids),
                len(self.labels),
            )  # fmt: skip
        return scores

    @torch.no_grad()
    def _score_batch(self, rows: list[Row], prefix: tuple[int, ...], label_ids) -> np.ndarray:
        tails = [row.token_ids[len(prefix) :].tolist() for row in rows]
        if all(len(ids) == 1 for ids in label_ids):
            logits = self._last_logits(tails, prefix, 1)[:, -1]
            picked = torch.log_softmax(logits.float(), -1)[:, [ids[0] for ids in label_ids]]
        else:
            sums = []
            for ids in label_ids:
                logits = self._last_logits([tail + list(ids[:-1]) for tail in tails], prefix, len(ids))
                steps = torch.log_softmax(logits.float(), -1)
                sums.append(sum(steps[:, place, token] for place, token in enumerate(ids)))
            picked = torch.stack(sums, -1)
        return torch.log_softmax(picked, -1).cpu().numpy()

    def _last_logits(self, tails: list[list[int]], prefix: tuple[int, ...], keep: int) -> torch.Tensor:
        """Logits (rows, keep, vocabulary) at the last positions of prefix + tail.

        Tails are padded on the left, between prefix and tail, so that answers stand in one column; positions
        count on from the prefix, so rotary angles are those of the unpadded sequence.
        """
        longest, start = max(map(len, tails)), len(prefix)
        ids = torch.full((len(tails), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros(len(tails), start + longest, dtype=torch.long)
        mask[:, :start] = 1
        positions = torch.zeros(len(tails), longest, dtype=torch.long)
        for number, tail in enumerate(tails):
            ids[number, longest - len(tail) :] = torch.tensor(tail)
            mask[number, start + longest - len(tail) :] = 1
            positions[number, longest - len(tail) :] = torch.arange(start, start + len(tail))
        cache = None
        if prefix:
            cache = DynamicCache()
            for layer, (keys, values) in enumerate(self.read_prefix(prefix)):
                cache.update(keys.expand(len(tails), -1, -1, -1), values.expand(len(tails), -1, -1, -1), layer)
        return self.model(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device),
            position_ids=positions.to(self.device),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=keep,
        ).logits

    def score_embeddings(self, encoded: Encoded, embeddings: torch.Tensor) -> torch.Tensor:
        sums = []
        single = all(len(ids) == 1 for ids in encoded.label_ids)
        for ids in encoded.label_ids[:1] if single else encoded.label_ids:
            inputs = embeddings
            if len(ids) > 1:
                tail = self.embed(np.array(ids[:-1])).expand(len(embeddings), -1, -1)
                inputs = torch.cat([embeddings, tail.to(embeddings.dtype)], 1)
            logits = self.model(inputs_embeds=inputs, use_cache=False, logits_to_keep=len(ids)).logits.float()
            steps = torch.log_softmax(logits, -1)
            sums.append(sum(steps[:, place, token] for place, token in enumerate(ids)))
        if single:
            sums = [steps[:, 0, ids[0]] for ids in encoded.label_ids]
        return torch.log_softmax(torch.stack(sums, -1), -1)

    @torch.no_grad()
    def read_attention(self, encoded: Encoded) -> torch.Tensor:
        ids = torch.as_tensor(encoded.token_ids, device=self.device)[None]
        attentions = self.model(input_ids=ids, output_attentions=True, use_cache=False, logits_to_keep=1).attentions
        return torch.stack([layer[0, :, -1] for layer in attentions]).float()

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

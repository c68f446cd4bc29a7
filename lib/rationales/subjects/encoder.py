"""Encoder classifiers (the BERT, RoBERTa and CamemBERT families): text in, one logit per label out."""

from collections.abc import Sequence

import numpy as np
import torch

from rationales.examples import Example
from rationales.subjects.base import Row, Subject, score_in_batches
from rationales.subjects.encoding import Encoded, encode_for_encoder


class EncoderSubject(Subject):
    """A sequence classifier whose labels stand in the corpus's order (see `loading.order_labels`)."""

    kind = "encoder"

    def __init__(self, name, task, labels, model, tokenizer, label_order: Sequence[int] | None = None):
        super().__init__(name, task, labels, model, tokenizer)
        self.label_order = list(label_order if label_order is not None else range(len(labels)))

    @property
    def reserved_positions(self) -> int:
        """The RoBERTa family counts positions from the pad id + 1, which takes some places of its table."""
        family = self.model.config.model_type
        return self.model.config.pad_token_id + 1 if family in ("roberta", "camembert", "xlm-roberta") else 0

    def _encode(self, example: Example) -> Encoded:
        return encode_for_encoder(self.tokenizer, example)

    def score_rows(self, rows: Sequence[Row], token_budget: int) -> np.ndarray:
        lengths = [len(row.token_ids) for row in rows]
        return score_in_batches(rows, lengths, token_budget, self._score_batch, len(self.labels))

    @torch.no_grad()
    def _score_batch(self, rows: list[Row]) -> np.ndarray:
        longest = max(len(row.token_ids) for row in rows)
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        types = torch.zeros(len(rows), longest, dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row.token_ids)] = torch.as_tensor(row.token_ids)
            mask[number, : len(row.token_ids)] = 1
            if row.token_types is not None:
                types[number, : len(row.token_ids)] = torch.as_tensor(row.token_types)
        inputs = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
        if rows[0].token_types is not None:
            inputs["token_type_ids"] = types.to(self.device)
        logits = self.model(**inputs).logits.float()[:, self.label_order]
        return torch.log_softmax(logits, -1).cpu().numpy()

    def _types(self, encoded: Encoded, batch: int) -> dict[str, torch.Tensor]:
        if encoded.token_types is None:
            return {}
        types = torch.as_tensor(encoded.token_types, device=self.device)
        return {"token_type_ids": types.expand(batch, -1)}

    def score_embeddings(self, encoded: Encoded, embeddings: torch.Tensor) -> torch.Tensor:
        logits = self.model(inputs_embeds=embeddings, **self._types(encoded, len(embeddings))).logits.float()
        return torch.log_softmax(logits[:, self.label_order], -1)

    @torch.no_grad()
    def read_attention(self, encoded: Encoded) -> torch.Tensor:
        ids = torch.as_tensor(encoded.token_ids, device=self.device)[None]
        attentions = self.model(input_ids=ids, output_attentions=True, **self._types(encoded, 1)).attentions
        return torch.stack([layer[0, :, 0] for layer in attentions]).float()

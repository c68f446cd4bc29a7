"""Encoder classifiers (the BERT, RoBERTa and CamemBERT families): text in, one logit per label out."""

from collections.abc import Sequence

import torch

from rationales.examples import Example
from rationales.subjects.base import Subject
from rationales.subjects.encoding import Encoded, encode_for_encoder
from rationales.subjects.rows import Batch


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

    def answer_columns(self, batch: Batch) -> torch.Tensor:
        """The first token answers."""
        return torch.zeros_like(batch.lengths)

    def label_scores(
        self, batch: Batch, form: str = "log_prob", attentions: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        visible = batch.inside if batch.hidden is None else batch.inside & ~batch.hidden
        inputs = {"attention_mask": visible.long()}
        inputs |= {"input_ids": batch.ids} if batch.embeddings is None else {"inputs_embeds": batch.embeddings}
        if batch.types is not None:
            inputs["token_type_ids"] = batch.types
        output = self.model(**inputs, output_attentions=attentions is not None)
        if attentions is not None:
            attentions += output.attentions
        return output.logits.float()[:, self.label_order]

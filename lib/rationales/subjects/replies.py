"""The log-probability of a reply, token by token, when words of the text are taken out of its conversation."""

from collections.abc import Sequence

import numpy as np
import torch

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.subjects.answering import answering_at
from rationales.subjects.base import run_in_batches
from rationales.subjects.causal import CausalSubject
from rationales.subjects.encoding import Encoded, encode_labels, encode_spans, segment_offsets
from rationales.subjects.operators import delete_words, gather_rows
from rationales.tasks import wording_for


def encode_reply(subject: CausalSubject, example: Example, prompt: str, reply: str) -> Encoded | None:
    """The conversation in front of a reply, which knows the words of the text; the reply is its only "label".

    prompt: as `CausalSubject.render` made it. None where the text does not stand in the prompt as it is. The reply's
    tokens are those of the tokenizer, without the token that ends a turn. StudyError for an empty reply.
    """
    if not reply.strip():
        raise StudyError(f"The reply about example '{example.example_id}' is empty; its probability says nothing.")
    presented, starts = segment_offsets(wording_for(subject.task, example.language).intro, example.segments)
    place = prompt.rfind(presented)
    if place < 0:
        return None
    spans = [
        (place + starts[word.segment] + word.start, place + starts[word.segment] + word.end) for word in example.words
    ]
    add_special = subject.prompt_style == "plain"
    ids, words, route = encode_spans(subject.tokenizer, prompt, spans, example.word_texts, add_special)
    written = encode_labels(subject.tokenizer, prompt, [reply], add_special)
    first = int(np.argmax(words >= 0))
    return Encoded(example.example_id, len(spans), np.array(ids), words, None, first, tuple(written), route)


def reply_log_probs(
    subject: CausalSubject, encoded: Sequence[Encoded], masks: Sequence[np.ndarray], token_budget: int = 8192
) -> list[np.ndarray]:
    """Log-probability of every token of each reply, float64 (masks, reply tokens), given what is left of the text.

    encoded: from `encode_reply`. masks: keep-masks (masks, words), boolean, of each; the tokens of the other words are
    dropped, as by the removal operator "delete", and the rest of the conversation and the reply stay. Any causal
    architecture will do: whole sequences are read, padded on the right. StudyError for a score that is not a number.
    """
    if not encoded:
        return []
    erased = [delete_words(one, np.asarray(keep, bool), 0, None) for one, keep in zip(encoded, masks, strict=True)]
    rows = gather_rows([(one, list(range(len(one.tokens)))) for one in erased])
    replies = [np.array(one.label_ids[0]) for one in encoded]
    sizes = np.array([len(reply) for reply in replies])[rows.owner]
    found: list[np.ndarray] = [np.empty(0)] * len(rows)

    @torch.no_grad()
    def score(batch: list[int]) -> None:
        lengths, written = rows.lengths[batch], sizes[batch]
        ids = np.full((len(batch), int((lengths + written).max())), subject.pad_id, dtype=np.int64)
        for row, member in enumerate(batch):
            whole = np.concatenate([rows.row(rows.tokens, member, 0), replies[rows.owner[member]]])
            ids[row, : len(whole)] = whole
        inside = np.arange(ids.shape[1]) < (lengths + written)[:, None]
        # The token before each token of the reply predicts it; shorter replies repeat the last column.
        steps = np.minimum(np.arange(written.max()), written[:, None] - 1)
        columns = lengths[:, None] - 1 + steps
        columns, ids, inside = (torch.as_tensor(array, device=subject.device) for array in (columns, ids, inside))
        with answering_at(subject.model, columns):
            logits = subject.model(input_ids=ids, attention_mask=inside.long(), use_cache=False).logits
        for row, member in enumerate(batch):  # one by one: the vocabulary in single precision is large
            values = torch.log_softmax(logits[row, : written[row]].float(), -1)
            reply = torch.as_tensor(replies[rows.owner[member]], device=subject.device)
            found[member] = values.gather(1, reply[:, None])[:, 0].double().cpu().numpy()

    run_in_batches(rows.lengths + sizes, subject.batch_tokens(token_budget), score)
    for member, values in enumerate(found):
        if not np.isfinite(values).all():
            bad = encoded[rows.owner[member]].example_id
            raise StudyError(f"The model returns NaN for example '{bad}'; load it with `dtype: float32`.")
    return [np.stack([found[row] for row in np.flatnonzero(rows.owner == number)]) for number in range(len(encoded))]

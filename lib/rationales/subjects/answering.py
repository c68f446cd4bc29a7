"""How a causal LM is asked for its labels: one forward pass reads many texts and every label behind each.

The keys and values of the prompt in front of the text are lent to all rows. Rows are padded on the right, where
causal attention cannot see it. The further tokens of labels stand side by side behind the text: each label sees the
text and itself, so that the text is read once, however many labels there are.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from rationales.subjects.rows import Batch

Prefix = Sequence[tuple[torch.Tensor, torch.Tensor]]
LOGIT_CHANGES = ("final_logit_softcapping", "logits_scaling", "logit_scale", "logits_soft_cap", "lm_head_multiplier")
CELLS = 2**25  # logits held at once while the vocabulary is summed over


class LentLayer(DynamicLayer):
    """Keys and values (1, heads, tokens, width) of the prompt, lent to every row of a batch and never added to.

    Nothing is kept of a forward pass, since none follows on it.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """The lent keys and values, followed by those of the rows."""
        shape = (len(key_states), -1, -1, -1)
        keys = torch.cat([self.keys.expand(shape), key_states], dim=-2)
        return keys, torch.cat([self.values.expand(shape), value_states], dim=-2)


def lend(prefix: Prefix) -> DynamicCache:
    """A cache that holds the prompt."""
    cache = DynamicCache()
    cache.layers = [LentLayer(keys, values) for keys, values in prefix]
    return cache


@dataclass(frozen=True)
class Endings:
    """The label tokens to be read and to be scored.

    tokens, owner, depth: (read,) the label tokens that are read behind the text, all but the last of each label; the
    label of each, and its place in it. scored, at, label: (scored,) every label token; which of the answering
    positions predicts it (0 = the end of the text, n + 1 = behind the n-th token read); and its label.
    """

    tokens: torch.Tensor
    owner: torch.Tensor
    depth: torch.Tensor
    scored: torch.Tensor
    at: torch.Tensor
    label: torch.Tensor
    n_labels: int


def lay_out(label_ids: tuple[tuple[int, ...], ...], device: torch.device) -> Endings:
    """The endings of some labels."""
    read = [(ids[depth], label, depth) for label, ids in enumerate(label_ids) for depth in range(len(ids) - 1)]
    where = {(label, depth + 1): place + 1 for place, (_, label, depth) in enumerate(read)}
    scored = [
        (token, where.get((label, depth), 0), label)
        for label, ids in enumerate(label_ids)
        for depth, token in enumerate(ids)
    ]
    columns = [torch.tensor(column, device=device, dtype=torch.long) for column in zip(*read, strict=True)]
    tokens, owner, depth = columns or [torch.empty(0, device=device, dtype=torch.long)] * 3
    return Endings(tokens, owner, depth, *torch.tensor(scored, device=device).T, len(label_ids))


def see_side_by_side(batch: Batch, endings: Endings, dtype: torch.dtype) -> torch.Tensor:
    """Additive attention mask (rows or 1, 1, tokens, tokens in front and tokens) of texts with their endings."""
    device, width, extra = batch.ids.device, batch.ids.shape[1], len(endings.tokens)
    seen = torch.ones(width, width, dtype=torch.bool, device=device).tril()[None]
    if extra:
        same = endings.owner[:, None] == endings.owner
        among = (same & (endings.depth[:, None] >= endings.depth)).expand(len(batch.ids), -1, -1)
        text = batch.inside[:, None].expand(-1, extra, -1)
        above = torch.cat([seen, seen.new_zeros(1, width, extra)], 2).expand(len(batch.ids), -1, -1)
        seen = torch.cat([above, torch.cat([text, among], 2)], 1)
    if batch.hidden is not None:
        # A hidden token still sees itself: a row of the mask without any token has no softmax.
        itself = torch.eye(width + extra, dtype=torch.bool, device=device)
        covered = torch.nn.functional.pad(batch.hidden, (0, extra))
        seen = (seen & ~covered[:, None]) | itself
    front = seen.new_ones(*seen.shape[:2], batch.start)
    allowed = torch.cat([front, seen], 2)[:, None]
    return torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill(~allowed, torch.finfo(dtype).min)


def head_is_plain(model) -> bool:
    """Whether logits are the output matrix times the last hidden state, and nothing else."""
    config = model.config.get_text_config()
    changed = any(getattr(config, name, None) not in (None, 1, 1.0) for name in LOGIT_CHANGES)
    return type(model.get_output_embeddings()) is torch.nn.Linear and not changed


@contextmanager
def answering_at(model, columns: torch.Tensor) -> Iterator[None]:
    """The model computes logits at the named columns (rows, positions) of each row and nowhere else."""

    def pick(module, inputs: tuple) -> tuple:
        rows = torch.arange(len(columns), device=columns.device)[:, None]
        return (inputs[0][rows, columns], *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def inputs_of(model, batch: Batch, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the model reads: the ids or embeddings of the batch, and the same tokens behind each row."""
    behind = tokens.expand(len(batch.ids), -1)
    if batch.embeddings is None:
        return {"input_ids": torch.cat([batch.ids, behind], 1)}
    after = model.get_input_embeddings()(behind).detach().to(batch.embeddings.dtype)
    return {"inputs_embeds": torch.cat([batch.embeddings, after], 1)}


def sum_per_label(values: torch.Tensor, endings: Endings) -> torch.Tensor:
    """Sums (rows, labels) of one value per scored label token (rows, scored)."""
    return values.new_zeros(len(values), endings.n_labels).index_add(1, endings.label, values)


def score_tokens(logits: torch.Tensor, endings: Endings, normalise: bool) -> torch.Tensor:
    """Label scores (rows, labels) from logits (rows, positions, vocabulary); normalise: over the vocabulary."""
    logits = logits.float()
    values = logits[:, endings.at, endings.scored]
    if normalise:
        values = values - torch.logsumexp(logits, -1)[:, endings.at]
    return sum_per_label(values, endings)


def read_side_by_side(
    model, batch: Batch, prefix: Prefix, form: str, attentions: list[torch.Tensor] | None, plain_head: bool
) -> torch.Tensor:
    """Label scores (rows, labels) through the lent prompt.

    With single-token labels the sum over the vocabulary is the same for all labels and cancels, so with a plain head
    only the rows of the output matrix that belong to labels are multiplied. Where gradients or attentions are wanted,
    the model's own forward pass computes the logits, since its modules may be patched.
    """
    endings = lay_out(batch.encoded.label_ids, batch.ids.device)
    extra, width = len(endings.tokens), batch.ids.shape[1]
    inputs = inputs_of(model, batch, endings.tokens)
    text = torch.arange(batch.start, batch.start + width, device=batch.ids.device).expand(len(batch.ids), -1)
    inputs["position_ids"] = torch.cat([text, batch.start + batch.lengths[:, None] + endings.depth], 1)
    inputs["attention_mask"] = see_side_by_side(batch, endings, model.dtype)
    # Without a prompt in front there is nothing to lend, and no cache is made.
    inputs["past_key_values"], inputs["use_cache"] = (lend(prefix), True) if prefix else (None, False)
    behind = torch.arange(width, width + extra, device=batch.ids.device).expand(len(batch.ids), -1)
    columns = torch.cat([batch.lengths[:, None] - 1, behind], 1)
    normalise = form == "log_prob" and extra > 0
    if plain_head and attentions is None and not torch.is_grad_enabled():
        rows = torch.arange(len(columns), device=columns.device)[:, None]
        hidden = model.get_decoder()(**inputs).last_hidden_state[rows, columns]
        return score_hidden(model.get_output_embeddings(), hidden, endings, normalise)
    with answering_at(model, columns):
        output = model(**inputs, output_attentions=attentions is not None)
    if attentions is not None:
        attentions += output.attentions
    return score_tokens(output.logits, endings, normalise)


def score_hidden(head: torch.nn.Linear, hidden: torch.Tensor, endings: Endings, normalise: bool) -> torch.Tensor:
    """Label scores (rows, labels) from the hidden states (rows, positions, width) of the answering positions."""
    if normalise:
        step = max(1, CELLS // (hidden.shape[1] * head.out_features))
        return torch.cat([score_tokens(head(part), endings, True) for part in hidden.split(step)])
    weights, bias = head.weight[endings.scored].float(), None if head.bias is None else head.bias[endings.scored]
    values = (hidden[:, endings.at].float() * weights).sum(-1)
    return sum_per_label(values if bias is None else values + bias.float(), endings)


def read_apart(model, batch: Batch, form: str, attentions: list[torch.Tensor] | None, positions: bool) -> torch.Tensor:
    """Label scores (rows, labels) from whole sequences, one per row and label: right for any causal architecture.

    positions: whether the model can be told the positions, which hidden words need.
    """
    label_ids, device = batch.encoded.label_ids, batch.ids.device
    longest = max(map(len, label_ids))
    copies = 1 if longest == 1 else len(label_ids)
    n_rows, width = batch.ids.shape
    lengths = batch.lengths.repeat_interleave(copies)
    rows = torch.arange(len(lengths), device=device)[:, None]
    columns = lengths[:, None] - 1 + torch.arange(longest, device=device)
    behind = torch.full((copies, longest - 1), int(batch.ids[0, 0]), device=device)
    for copy in range(copies if longest > 1 else 0):
        behind[copy, : len(label_ids[copy]) - 1] = torch.tensor(label_ids[copy][:-1], device=device)
    sizes = torch.tensor([len(ids) - 1 for ids in label_ids] if copies > 1 else [0], device=device).repeat(n_rows)
    placed = (rows, columns[:, 1:])
    inputs = inputs_of(model, batch, torch.zeros(longest - 1, dtype=torch.long, device=device))
    name, tensor = next(iter(inputs.items()))
    tensor = tensor.repeat_interleave(copies, 0)
    behind = behind.repeat(n_rows, 1)
    if name == "inputs_embeds":
        behind = model.get_input_embeddings()(behind).detach().to(tensor.dtype)
    visible = torch.arange(width + longest - 1, device=device) < (lengths + sizes)[:, None]
    if batch.hidden is not None:
        visible &= ~torch.nn.functional.pad(batch.hidden, (0, longest - 1)).repeat_interleave(copies, 0)
    options = {"attention_mask": visible.long(), "use_cache": False, "output_attentions": attentions is not None}
    if positions and batch.hidden is not None:
        options["position_ids"] = torch.arange(width + longest - 1, device=device).expand(len(lengths), -1)
    with answering_at(model, columns):
        output = model(**{name: tensor.index_put(placed, behind)}, **options)
    if attentions is not None:
        attentions += output.attentions
    logits = output.logits.float()
    if form == "log_prob" and longest > 1:
        logits = torch.log_softmax(logits, -1)
    logits = logits.unflatten(0, (n_rows, copies))
    return torch.stack(
        [
            sum(logits[:, label % copies, depth, token] for depth, token in enumerate(ids))
            for label, ids in enumerate(label_ids)
        ],
        -1,
    )

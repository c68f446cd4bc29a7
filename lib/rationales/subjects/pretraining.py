"""Pretraining of the embedded subjects: a plain loop over conversations or masked texts, on CPU or GPU."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from rationales.errors import StudyError

LABEL_WEIGHT = 5.0  # a label is one token beside a rationale of dozens


def encode_conversation(tokenizer, messages: list[dict[str, str]]) -> tuple[list[int], list[float]]:
    """Token ids of a conversation under the tiny Llama's template, and the weight of each token in the loss.

    Only what the assistant says, and the end of its turn, is learnt; a message with `taught` False is not.
    """
    ids, weights = [], []
    end = tokenizer.eos_token_id
    for message in messages:
        content = tokenizer.encode(message["content"], add_special_tokens=False)
        learnt = message["role"] == "assistant" and message.get("taught", True)
        weight = (LABEL_WEIGHT if len(content) < 6 else 1.0) if learnt else 0.0
        ids += [tokenizer.convert_tokens_to_ids(f"<|{message['role']}|>"), *content, end]
        weights += [0.0, *[weight] * len(content), 1.0 if learnt else 0.0]
    return ids, weights


def batches_by_length(lengths: Sequence[int], token_budget: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Indices in batches of similar length, each of at most `token_budget` padded tokens, in random order."""
    noisy = np.asarray(lengths) * generator.uniform(0.9, 1.1, len(lengths))
    batches, current, longest = [], [], 0
    for index in np.argsort(noisy):
        longest = max(longest, lengths[index])
        if current and longest * (len(current) + 1) > token_budget:
            batches.append(np.array(current))
            current, longest = [], lengths[index]
        current.append(int(index))
    batches.append(np.array(current))
    return [batches[index] for index in generator.permutation(len(batches))]


def pad(rows: Sequence[Sequence[float]], value: float, dtype: torch.dtype) -> torch.Tensor:
    """Rows of different length as one tensor (rows, longest), padded on the right."""
    tensor = torch.full((len(rows), max(map(len, rows))), value, dtype=dtype)
    for number, row in enumerate(rows):
        tensor[number, : len(row)] = torch.tensor(row, dtype=dtype)
    return tensor


def pretrain(
    model: torch.nn.Module,
    n_items: int,
    length_of: Sequence[int],
    loss_of: Callable[[torch.nn.Module, np.ndarray], torch.Tensor],
    *,
    epochs: int = 1,
    token_budget: int = 6000,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> list[float]:
    """Train `model` with AdamW (linear warm-up, cosine decay); returns the loss of each step.

    length_of: tokens per item. loss_of: model and item indices -> scalar loss.
    Raises StudyError when the loss is no longer a number.
    """
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    schedule = [batch for _ in range(epochs) for batch in batches_by_length(length_of, token_budget, generator)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    warmup = min(200, len(schedule) // 10 + 1)

    def factor(step: int) -> float:
        after = (step - warmup) / max(1, len(schedule) - warmup)
        return (step + 1) / warmup if step < warmup else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * after))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    model.train()
    losses = []
    for batch in tqdm(schedule, desc=f"pretraining on {n_items} items", mininterval=10):
        loss = loss_of(model, batch)
        if not torch.isfinite(loss):
            raise StudyError(f"The loss is {float(loss)} at step {len(losses)}; lower `learning_rate` and train again.")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    model.eval()
    return losses


def conversation_loss(ids: Sequence[list[int]], weights: Sequence[list[float]], pad_id: int) -> Callable:
    """The weighted next-token loss over encoded conversations, as `pretrain` wants it."""

    def loss_of(model: torch.nn.Module, batch: np.ndarray) -> torch.Tensor:
        tokens = pad([ids[index] for index in batch], pad_id, torch.long).to(model.device)
        weight = pad([weights[index] for index in batch], 0.0, torch.float).to(model.device)[:, 1:]
        hidden = model.get_decoder()(input_ids=tokens, attention_mask=(tokens != pad_id).long()).last_hidden_state
        learnt = weight > 0  # logits only where something is learnt: most of the cost of a tiny model is its vocabulary
        logits = model.lm_head(hidden[:, :-1][learnt])
        losses = cross_entropy(logits.float(), tokens[:, 1:][learnt], reduction="none")
        return (losses * weight[learnt]).sum() / weight.sum()

    return loss_of


def masked_loss(ids: Sequence[list[int]], tokenizer, seed: int, rate: float = 0.2) -> Callable:
    """The masked-language-model loss over encoded texts, as `pretrain` wants it; masks are drawn anew per step."""
    generator = torch.Generator().manual_seed(seed)

    def loss_of(model: torch.nn.Module, batch: np.ndarray) -> torch.Tensor:
        tokens = pad([ids[index] for index in batch], tokenizer.pad_token_id, torch.long)
        special = torch.isin(tokens, torch.tensor(tokenizer.all_special_ids))
        hidden = (torch.rand(tokens.shape, generator=generator) < rate) & ~special
        labels = torch.where(hidden, tokens, -100)
        inputs = torch.where(hidden, tokenizer.mask_token_id, tokens)
        mask = (tokens != tokenizer.pad_token_id).long()
        output = model(
            input_ids=inputs.to(model.device), attention_mask=mask.to(model.device), labels=labels.to(model.device)
        )
        return output.loss

    return loss_of

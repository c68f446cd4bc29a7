"""Texts that begin alike are read together: erasures of one text share most of their first tokens.

Sorted texts are written as a tree, one node per token: a token that several texts share, with all that stands in front
of it, is read once. The nodes of a tree lie side by side in one row, without padding between texts; each sees the
prompt, its own ancestors and itself, and has the position that it has in its text. That is exact for a causal model
that takes positions and a mask of its own. The prompt's keys and values are lent to a row, not to every text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rationales.subjects.answering import Endings, Prefix, answering_at, lend, score_hidden, score_tokens

NODES = 256  # of a tree at least; larger ones share more tokens, and look at more that they do not see


@dataclass(frozen=True)
class Tree:
    """Some texts as a tree of tokens.

    tokens, depths: (nodes,) token id and place behind the prompt. sees: (nodes, nodes), True where the row's node
    attends to the column's. answers: (texts, positions) the node at the end of each text and of each label token read.
    """

    tokens: np.ndarray
    depths: np.ndarray
    sees: np.ndarray
    answers: np.ndarray


def sort_texts(codes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Order of the texts by their codes, and how many first codes each has in common with the one before it.

    codes: non-negative integers (tokens,) per text. Both results (texts,), the second in the order of the first.
    """
    lengths = np.array([len(code) for code in codes])
    table = np.zeros((len(codes), lengths.max(initial=0)), dtype=">u8")  # big-endian, so that bytes sort as numbers
    for row, code in zip(table, codes, strict=True):
        row[: len(code)] = code + 1
    order = np.array(sorted(range(len(codes)), key=lambda row: table[row].tobytes()), dtype=int)
    same = np.cumprod(table[order[1:]] == table[order[:-1]], axis=1).sum(axis=1)
    common = np.minimum(same, np.minimum(lengths[order[1:]], lengths[order[:-1]]))
    return order, np.concatenate([[0], common])[: len(codes)]


def cut_into_trees(lengths: np.ndarray, common: np.ndarray, extra: int, limit: int) -> list[slice]:
    """Runs of sorted texts whose trees have at most `limit` nodes; a text that is longer has one of its own.

    lengths, common: (texts,), see `sort_texts`. extra: label tokens read behind each text.
    """
    runs, begin, nodes = [], 0, 0
    for text, (length, shared) in enumerate(zip(lengths.tolist(), common.tolist(), strict=True)):
        new = length - shared + extra
        if text > begin and nodes + new > limit:
            runs.append(slice(begin, text))
            begin, nodes = text, 0
        nodes += length + extra if text == begin else new
    return [*runs, slice(begin, len(lengths))] if len(lengths) else []


def grow_tree(
    tokens: Sequence[np.ndarray], hidden: Sequence[np.ndarray] | None, common: np.ndarray, endings: Endings
) -> Tree:
    """The tree of sorted texts.

    tokens, hidden: per text (tokens,); hidden ones are seen by themselves alone. common: (texts,), the first ignored.
    """
    behind, owner, depth = (part.cpu().numpy() for part in (endings.tokens, endings.owner, endings.depth))
    lengths = np.array([len(text) for text in tokens])
    shared = np.concatenate([[0], common[1:]])
    size = int((lengths - shared + len(behind)).sum())
    ids, depths, sees = np.empty(size, np.int64), np.empty(size, np.int64), np.eye(size, dtype=bool)
    among = (owner[:, None] == owner) & (depth[:, None] >= depth)
    answers, path, next_node = np.empty((len(tokens), 1 + len(behind)), np.int64), np.empty(0, np.int64), 0
    for number, (text, start) in enumerate(zip(tokens, shared.tolist(), strict=True)):
        new = np.arange(next_node, next_node + len(text) - start)
        path = np.concatenate([path[:start], new])
        ids[new], depths[new] = text[start:], np.arange(start, len(text))
        open_nodes = path if hidden is None else path[~hidden[number]]
        places = np.arange(len(text)) if hidden is None else np.flatnonzero(~hidden[number])
        sees[np.ix_(new, open_nodes)] = np.arange(start, len(text))[:, None] >= places
        sees[new, new] = True
        labels = np.arange(len(behind)) + next_node + len(new)
        ids[labels], depths[labels] = behind, len(text) + depth
        sees[np.ix_(labels, open_nodes)] = True
        sees[np.ix_(labels, labels)] = among
        answers[number] = [path[-1], *labels]
        next_node += len(new) + len(behind)
    return Tree(ids, depths, sees, answers)


def read_trees(
    model, trees: Sequence[Tree], start: int, prefix: Prefix, endings: Endings, pad_id: int, plain_head: bool
) -> torch.Tensor:
    """Label scores (texts, labels), of the texts of all trees, behind a prompt of `start` tokens; no gradients."""
    device, width = endings.scored.device, max(len(tree.tokens) for tree in trees)
    ids = np.full((len(trees), width), pad_id)
    depths = np.zeros((len(trees), width), np.int64)
    sees = np.zeros((len(trees), 1, width, start + width), bool)
    sees[..., :start] = True
    sees[..., start:] = np.eye(width, dtype=bool)
    columns = np.zeros((len(trees), max(tree.answers.size for tree in trees)), np.int64)
    for row, tree in enumerate(trees):
        size = len(tree.tokens)
        ids[row, :size], depths[row, :size] = tree.tokens, tree.depths
        sees[row, 0, :size, start : start + size] = tree.sees
        columns[row, : tree.answers.size] = tree.answers.ravel()
    allowed = torch.from_numpy(sees).to(device)
    mask = torch.zeros(allowed.shape, dtype=model.dtype, device=device)
    inputs = {
        "input_ids": torch.from_numpy(ids).to(device),
        "position_ids": torch.from_numpy(depths + start).to(device),
        "attention_mask": mask.masked_fill_(~allowed, torch.finfo(model.dtype).min),
    }
    inputs["past_key_values"], inputs["use_cache"] = (lend(prefix), True) if prefix else (None, False)
    sizes, positions = [len(tree.answers) for tree in trees], 1 + len(endings.tokens)
    wanted = torch.from_numpy(columns).to(device)

    def per_text(values: torch.Tensor) -> torch.Tensor:
        """(texts, positions, ...) from (trees, answers, ...), padded."""
        parts = [row[: size * positions] for row, size in zip(values, sizes, strict=True)]
        return torch.cat(parts).unflatten(0, (-1, positions))

    if plain_head:
        rows = torch.arange(len(trees), device=device)[:, None]
        states = model.get_decoder()(**inputs).last_hidden_state[rows, wanted]
        return score_hidden(model.get_output_embeddings(), per_text(states), endings, positions > 1)
    with answering_at(model, wanted):
        return score_tokens(per_text(model(**inputs).logits), endings, positions > 1)

"""The order in which the words of an explanation are removed, as a choice of its own.

A set of words has no order, so a deletion curve over it needs one. Brandl and Eberle (2026) order the sets of humans and
of the model itself by greedy search in the model, and leave attributions in the order of their scores. Here both rules
are applied to every explanation: its own order (ties, and sets, in expectation over random orders) and the greedy one.
The set is always the top k words, k the length of the human rationale, so that only the order differs.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from math import perm

import numpy as np
from numpy.typing import ArrayLike

from rationales.errors import StudyError, require_known
from rationales.metrics.selection import require_k, require_scores, resolve_k

FIRST_SHARES = (0.05, 0.1)  # of the words of the text: where P2 sees the steepest drop
ORDERINGS = ("own", "greedy")
# (set numbers (a,), keep-masks (candidates, n_words) of each) -> how much each text still supports the target
Ask = Callable[[list[int], list[np.ndarray]], Sequence[np.ndarray]]


def check_ordered(settings: dict, explainers: Iterable[str], paradigms: Sequence[str]) -> None:
    """Raise StudyError for unknown or impossible entries `ordered_...` in the section `faithfulness` of a study file.

    explainers, paradigms: what the study runs, whose words can be removed one by one.
    """
    known = {*explainers, "self", *paradigms}
    for name in settings["ordered_explainers"]:
        if name not in known:
            raise StudyError(
                f"`faithfulness: ordered_explainers` names '{name}', which the study does not run; "
                f"its names are: {', '.join(sorted(known))}."
            )
    for operator in settings["ordered_operators"]:
        require_known(operator, settings["operators"], "operator of `faithfulness: operators` for ordered words")
    for entry in ("ordered_draws", "ordered_group"):
        if type(settings[entry]) is not int or settings[entry] < 1:
            raise StudyError(f"`faithfulness: {entry}` is {settings[entry]!r}; give a whole number of at least 1.")


def first_orders(scores: ArrayLike, k: int, n_orders: int, generator: np.random.Generator) -> np.ndarray:
    """Return the first k words in descending order of `scores` (n_words,): (m, k) word indices, one row per tie order.

    All orders, each once, when there are at most `n_orders`, so that a mean over the rows is exact; else `n_orders`
    independent uniform draws, in which words tied at the border of the k places share them by chance.
    """
    vector = require_scores(scores)
    k = require_k(k, vector.size)
    if n_orders < 1:
        raise StudyError(f"n_orders is {n_orders}; ask for at least one order.")
    descending = np.argsort(-vector, kind="stable")
    blocks, left, total = [], k, 1
    for block in np.split(descending, np.flatnonzero(np.diff(vector[descending])) + 1):
        if left:
            places = min(left, block.size)
            blocks.append((block.tolist(), places))
            left, total = left - places, total * perm(block.size, places)
    if total <= n_orders:
        rows: list[tuple[int, ...]] = [()]
        for block, places in blocks:
            rows = [(*row, *chosen) for row in rows for chosen in permutations(block, places)]
        return np.array(rows, dtype=np.intp).reshape(len(rows), k)
    shape = (n_orders, vector.size)
    return np.lexsort((generator.random(shape), np.broadcast_to(-vector, shape)), axis=-1)[:, :k]


def order_greedily(sets: Sequence[Sequence[int]], n_words: Sequence[int], ask: Ask, group: int = 1) -> list[np.ndarray]:
    """Return the words of each set in greedy order, (k,) each.

    In every round the remaining word goes whose removal, together with all words that went before, leaves the least
    support for the target. All sets are searched side by side, so that `ask` sees one batch per round.

    sets: word indices of each set, in its own order: of two words with equal effect the one named first goes first.
    n_words: words of the text that each set belongs to. ask: see `Ask`; lower is less support. group: words removed per
    round, the best single removals of that round (P2 takes 1 for short reviews and 3 for other texts).
    Cost: k (k + 1) / 2 texts per set of k words with `group` 1. Greedy is not optimal: two words that only matter
    together are found late.
    """
    if group < 1:
        raise StudyError(f"The greedy search removes {group} words per round; give at least 1.")
    left = [list(map(int, words)) for words in sets]
    gone: list[list[int]] = [[] for _ in sets]
    while active := [number for number, words in enumerate(left) if words]:
        masks = []
        for number in active:
            keep = np.ones((len(left[number]), n_words[number]), dtype=bool)
            keep[:, gone[number]] = False
            keep[np.arange(len(left[number])), left[number]] = False
            masks.append(keep)
        for number, support in zip(active, ask(active, masks), strict=True):
            ranked = np.argsort(np.asarray(support), kind="stable")[:group]
            chosen = [left[number][int(place)] for place in ranked]
            gone[number] += chosen
            left[number] = [word for word in left[number] if word not in chosen]
    return [np.array(words, dtype=np.intp) for words in gone]


def removal_masks(order: ArrayLike, n_words: int) -> np.ndarray:
    """Return the keep-masks (k, n_words): row l - 1 lacks the first l words of `order` (k,)."""
    words = np.asarray(order, dtype=np.intp)
    keep = np.ones((words.size, n_words), dtype=bool)
    for place, word in enumerate(words):
        keep[place:, word] = False
    return keep


def ordered_rows(drops: ArrayLike, n_words: int, ordering: str) -> list[dict[str, str | float]]:
    """Return the measures of one ordering as rows {metric, k, value}.

    drops: (m, k), p(x) - p(x without the first l words of the order) for l = 1..k, one row per tie order.

    - ordered_aopc_<ordering>, k "human": the mean over l = 1..k, so 1/k of the area above the curve of the set;
    - ordered_drop_<ordering>, k "human_0.05" and "human_0.1": the drop once the first 5 or 10 % of the words of the
      text are gone (at least one), or the whole set where it has fewer words.

    In [-1, 1], higher is more faithful. Both orderings end at the same drop, the comprehensiveness of the set.
    """
    values = np.atleast_2d(np.asarray(drops, dtype=float))
    k = values.shape[1]
    if not k:
        raise StudyError("A set without words has no order; leave the explanation out and count it.")
    rows: list[dict[str, str | float]] = [
        {"metric": f"ordered_aopc_{ordering}", "k": "human", "value": float(values.mean())}
    ]
    for share in FIRST_SHARES:
        size = min(resolve_k(share, n_words), k)
        rows.append(
            {
                "metric": f"ordered_drop_{ordering}",
                "k": f"human_{share:g}",
                "value": float(values[:, size - 1].mean()),
            }
        )
    return rows

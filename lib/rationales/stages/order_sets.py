"""Part of stage 6: the words of an explanation removed one by one, in its own order and in greedy order.

Humans, self-explanations and attributions are treated alike; see `metrics.ordering`.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rationales.examples import Example
from rationales.metrics.faithfulness import log_odds
from rationales.metrics.ordering import ORDERINGS, first_orders, order_greedily, ordered_rows, removal_masks
from rationales.randomness import generator_for
from rationales.replicates import is_replicate
from rationales.stages.score_plausibility import scores_of
from rationales.study import Study
from rationales.subjects.engine import Engine, Request


@dataclass
class Ordered:
    """One explanation: its row, text and target, the tie orders (m, k) of its top words, and the greedy orders.

    greedy: one order (k,) per tie order; tie orders of the same words share one search.
    """

    row: tuple
    example: Example
    target: int
    own: np.ndarray
    greedy: list[np.ndarray] = field(default_factory=list)


def is_ordered(study: Study, explainer: str, variant: str) -> bool:
    """Whether the study file asks for both orders of an explanation; replicates are left out."""
    wanted = study.faithfulness["ordered_explainers"]
    return not is_replicate(variant) and (explainer in wanted or (explainer == "self" and variant in wanted))


def collect_sets(study: Study, explanations: pd.DataFrame, chunk: list[tuple[Example, int]]) -> list[Ordered]:
    """The explanations of some examples whose words are to be ordered; texts without a human rationale have no k."""
    by_example = dict(list(explanations.groupby("example_id", sort=False)))
    found = []
    for example, target in chunk:
        k = 0 if example.gold is None else sum(example.gold)
        if not k or example.example_id not in by_example:
            continue
        for row in by_example[example.example_id].itertuples(index=False):
            if is_ordered(study, row.explainer, row.variant):
                generator = generator_for("orders", study.seed, row.example_id, row.explainer, row.variant)
                scores = scores_of(row, len(example.words))
                own = first_orders(scores, k, study.faithfulness["ordered_draws"], generator)
                found.append(Ordered(row, example, int(target), own))
    return found


def search_orders(engine: Engine, ordered: list[Ordered], operator: str, group: int) -> None:
    """Fill in the greedy orders: all examples and explanations side by side, each set of words searched once."""
    searches: dict[tuple, tuple[Ordered, list[int]]] = {}
    for one in ordered:
        for order in one.own:
            searches.setdefault((one.example.example_id, frozenset(order.tolist())), (one, order.tolist()))
    members = list(searches.values())

    def ask(active: list[int], masks: list[np.ndarray]) -> list[np.ndarray]:
        requests = [Request(members[n][0].example, keep, operator) for n, keep in zip(active, masks, strict=True)]
        answers = engine.answer(requests)
        # Log-odds tell apart what probabilities near 0 and 1, rounded, no longer do.
        return [log_odds(a.astype(float), members[n][0].target) for n, a in zip(active, answers, strict=True)]

    found = order_greedily([words for _, words in members], [len(one.example.words) for one, _ in members], ask, group)
    orders = dict(zip(searches, found, strict=True))
    for one in ordered:
        one.greedy = [orders[one.example.example_id, frozenset(order.tolist())] for order in one.own]


def ordering_rows(
    study: Study,
    engine: Engine,
    explanations: pd.DataFrame,
    chunk: list[tuple[Example, int]],
    operator: str,
    names: list[str],
) -> list[dict]:
    """Rows of `metrics.ordering` for some examples under one operator, both orderings of every explanation asked for.

    chunk: (example, index of the explained label). names: columns taken over from the explanation.
    """
    ordered = collect_sets(study, explanations, chunk)
    if not ordered:
        return []
    search_orders(engine, ordered, operator, study.faithfulness["ordered_group"])
    requests = []
    for one in ordered:
        n_words = len(one.example.words)
        masks = [removal_masks(order, n_words) for order in (*one.own, *one.greedy)]
        requests.append(Request(one.example, np.concatenate([np.ones((1, n_words), bool), *masks]), operator))
    rows = []
    for one, answer in zip(ordered, engine.answer(requests), strict=True):
        probabilities = np.exp(answer[:, one.target].astype(float))
        drops = (probabilities[0] - probabilities[1:]).reshape(len(ORDERINGS), *one.own.shape)
        identity = {name: getattr(one.row, name) for name in names}
        for ordering, values in zip(ORDERINGS, drops, strict=True):
            for row in ordered_rows(values, len(one.example.words), ordering):
                rows.append({**identity, "operator": operator, "chance": np.nan, **row})
    return rows

"""Stage 6: faithfulness of every explanation of a run, from erasures that the engine answers together."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from rationales.corpora.planted import substitutes
from rationales.examples import Corpus, Example
from rationales.metrics.faithfulness import Curves, curve_ks, faithfulness_of, plan_masks
from rationales.metrics.plausibility import average_precision
from rationales.metrics.selection import orders
from rationales.randomness import generator_for
from rationales.replicates import is_replicate
from rationales.stages.order_sets import ordering_rows
from rationales.stages.prepare import explained_examples, read_corpus
from rationales.stages.score_plausibility import scores_of, sizes_of
from rationales.stages.subjects import open_engine
from rationales.study import Run, Study
from rationales.subjects.engine import Engine, Request
from rationales.tables import KEYS, read_part, write_table

CHUNK = 16  # examples whose masks are answered together; bounds memory, not results
CAUSAL_EFFECT = 0.05  # a word counts as used when swapping it lowers the target's probability by at least this much


@dataclass(frozen=True)
class Plan:
    """The masks that one explanation asks for under one operator."""

    row: tuple
    scores: np.ndarray
    ks: np.ndarray
    without: np.ndarray
    only: np.ndarray


def erased_sizes(row, example: Example) -> dict[str, int]:
    """The named sizes at which an explanation's words are removed; for replicates the first alone, the human length."""
    sizes = sizes_of(row, example)
    return dict(list(sizes.items())[:1]) if is_replicate(row.variant) else sizes


def plan_explanation(study: Study, row, example: Example, operator: str) -> Plan:
    """The erasure masks of one explanation: the full curve where the study asks for it, else a grid of sizes.

    Replicates show the spread of what they replicate at the size that is compared; their curves are not drawn.
    """
    settings = study.faithfulness
    scores = scores_of(row, len(example.words))
    once_more = is_replicate(row.variant)
    longest = settings["full_curve"] if operator in settings["full_curve_operators"] and not once_more else 0
    sizes = erased_sizes(row, example).values()
    ks = curve_ks(len(example.words), [] if once_more else settings["fractions"], longest, extra=sizes)
    generator = generator_for("ties", study.seed, row.example_id, row.explainer, row.variant)
    without, only = plan_masks(orders(scores, settings["tie_orders"], generator), ks)
    return Plan(row, scores, ks, without, only)


def curves_of(plan: Plan, answers: np.ndarray, target: int, with_single: bool) -> Curves:
    """Curves from the answers to: full, empty, every single word removed, then the plan's masks."""
    n_words, shape = plan.without.shape[2], plan.without.shape[:2]
    full, empty, single, rest = answers[0], answers[1], answers[2 : 2 + n_words], answers[2 + n_words :]
    half = len(rest) // 2
    return Curves(
        plan.ks, rest[:half].reshape(*shape, -1), rest[half:].reshape(*shape, -1), single if with_single else None,
        full, empty, target,
    )  # fmt: skip


def explanation_parts(study: Study, run: Run, shard: int) -> pd.DataFrame:
    """All explanations of one run and shard."""
    groups = [*study.explainers, *(["self"] if study.is_causal(run) and study.self_explanations["paradigms"] else [])]
    parts = [
        read_part(study.part("explanations", run.name, group, shard), first="notebooks 04 and 05") for group in groups
    ]
    return pd.concat(parts, ignore_index=True)


def score_faithfulness(study: Study, run: Run, shard: int = 0) -> pd.DataFrame:
    """Score the explanations of a run and write `metrics`; returns the rows.

    All items are scored, right or wrong; the split by correctness comes from `predictions`. Invalid explanations
    are counted by notebook 06. Erasures already asked by the explainers are read and not asked again.
    """
    corpus = read_corpus(study, run.corpus)
    examples = explained_examples(study, corpus, shard)
    engine = open_engine(study, run, corpus)
    engine.load([path for g in study.explainers if (path := study.part("erasures", run.name, g, shard)).is_file()])
    explanations = explanation_parts(study, run, shard)
    explanations = explanations[explanations["valid"].astype(bool)]
    targets = engine.full(examples).argmax(1)
    names = [*KEYS["explanations"], "study", "config_hash"]
    rows: list[dict] = []
    for operator in study.faithfulness["operators"]:
        for start in tqdm(range(0, len(examples), CHUNK), desc=f"erasing words ({operator})", mininterval=5):
            chunk = list(zip(examples[start : start + CHUNK], targets[start : start + CHUNK], strict=True))
            rows += score_chunk(study, engine, explanations, chunk, operator, names)
            if operator in study.faithfulness["ordered_operators"]:
                rows += ordering_rows(study, engine, explanations, chunk, operator, names)
    rows += recovery_rows(engine, corpus, examples, targets, explanations, names)
    table = pd.DataFrame(rows)
    write_table("metrics", table, study.part("metrics", "faithfulness", run.name, shard))
    return table


def score_chunk(
    study, engine: Engine, explanations: pd.DataFrame, chunk, operator: str, names: list[str]
) -> list[dict]:
    """Faithfulness rows of some examples under one operator."""
    plans: dict[str, list[Plan]] = {}
    by_example = dict(list(explanations.groupby("example_id", sort=False)))
    requests = []
    for example, _ in chunk:
        n_words = len(example.words)
        found = by_example.get(example.example_id)
        plans[example.example_id] = [
            plan_explanation(study, row, example, operator)
            for row in (found.itertuples(index=False) if found is not None else [])
        ]
        shared = np.concatenate(
            [np.ones((1, n_words), bool), np.zeros((1, n_words), bool), ~np.eye(n_words, dtype=bool)]
        )
        for plan in plans[example.example_id]:
            masks = [shared, plan.without.reshape(-1, n_words), plan.only.reshape(-1, n_words)]
            requests.append(Request(example, np.concatenate(masks), operator))
    answers = iter(engine.answer(requests))
    rows = []
    for example, target in chunk:
        for plan in plans[example.example_id]:
            curves = curves_of(plan, next(answers), int(target), with_single=True)
            named = erased_sizes(plan.row, example)
            identity = {name: getattr(plan.row, name) for name in names}
            whole = not is_replicate(plan.row.variant)
            fractions = study.faithfulness["fractions"] if whole else ()
            for values in faithfulness_of(curves, plan.scores, fractions, named, whole_curve=whole):
                rows.append({**identity, "operator": operator, "chance": np.nan, **values})
    return rows


def measure_word_effects(engine: Engine, examples: list[Example], targets: np.ndarray, n_swaps: int = 3) -> dict:
    """Effect of each word by intervention: p(target) of the text minus its mean after swapping the word.

    Swaps stay inside the corpus's own distribution (`planted.substitutes`); a word whose slot is fixed has no
    effect to measure and gets 0. Returns example id -> (words,).
    """
    swapped: list[tuple[int, int, Example]] = []
    for number, example in enumerate(examples):
        for place, options in enumerate(substitutes(example)):
            draw = generator_for("swap", example.example_id, place)
            chosen = draw.permutation(len(options))[:n_swaps]
            for choice in chosen:
                words = example.word_texts
                words[place] = options[int(choice)]
                text = " ".join(word for word in words if word)
                name = f"{example.example_id}/{place}/{choice}"
                swapped.append(
                    (
                        number,
                        place,
                        Example(name, example.corpus, example.split, example.language, (text,), example.label),
                    )
                )
    full = np.exp(engine.full(examples))
    after = np.exp(engine.full([example for _, _, example in swapped]))
    effects = [np.zeros((len(example.words), 2)) for example in examples]
    for (number, place, _), scores in zip(swapped, after, strict=True):
        effects[number][place] += [full[number, targets[number]] - scores[targets[number]], 1]
    return {
        example.example_id: total[:, 0] / np.maximum(1, total[:, 1])
        for example, total in zip(examples, effects, strict=True)
    }


def recovery_rows(
    engine: Engine, corpus: Corpus, examples: list[Example], targets, explanations: pd.DataFrame, names: list[str]
) -> list[dict]:
    """Causal recovery, for planted corpora: do the scores find the words whose swap really lowers the answer?

    causal_recovery: average precision against those words, NaN where there is none. shortcut_rank: place of the
    shortcut word from the top as a share of the words (1/L = first), for items that hold it.
    """
    if not all("slots" in example.meta for example in examples):
        return []
    effects = measure_word_effects(engine, examples, targets)
    lookup = {example.example_id: example for example in examples}
    rows = []
    for row in explanations.itertuples(index=False):
        example = lookup.get(row.example_id)
        if example is None:
            continue
        scores = scores_of(row, len(example.words))
        used = effects[row.example_id] >= CAUSAL_EFFECT
        values = {"causal_recovery": average_precision(scores, used) if used.any() else np.nan}
        place = [n for n, slot in enumerate(example.meta["slots"]) if slot.startswith("shortcut:")]
        if example.meta["has_shortcut"] and place:
            higher, equal = (scores > scores[place[0]]).sum(), (scores == scores[place[0]]).sum()
            values["shortcut_rank"] = (higher + (equal + 1) / 2) / len(scores)
        chance = {"causal_recovery": used.mean(), "shortcut_rank": (len(scores) + 1) / 2 / len(scores)}
        identity = {name: getattr(row, name) for name in names}
        for metric, value in values.items():
            rows.append(
                {**identity, "operator": "swap", "metric": metric, "k": "all", "value": value, "chance": chance[metric]}
            )
    return rows

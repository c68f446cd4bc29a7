"""Stage 5: plausibility of every explanation against the human rationale, with chance beside it."""

import numpy as np
import pandas as pd

from rationales.examples import Corpus, Example
from rationales.metrics.plausibility import (
    annotator_against_others,
    chance_plausibility,
    plausibility_of,
    set_plausibility,
)
from rationales.metrics.selection import resolve_k, set_to_scores
from rationales.replicates import join_variant, split_variant
from rationales.stages.prepare import explained_examples, read_corpus
from rationales.study import HUMAN, Study
from rationales.tables import KEYS, write_table


def scores_of(row, n_words: int) -> np.ndarray:
    """Scores (words,) of an explanation row; a set becomes 1 for chosen and 0 for other words, or ranks if ordered."""
    if row.scores is not None:
        return np.asarray(row.scores, dtype=float)
    return set_to_scores([int(index) for index in row.selected], n_words, bool(row.ordered))


def sizes_of(row, example: Example) -> dict[str, int]:
    """The sizes k at which an explanation is compared, by name."""
    sizes = {}
    if example.gold is not None and any(example.gold):
        sizes["human"] = sum(example.gold)
    if row.selected is not None:
        sizes["own"] = len(row.selected)
    sizes["0.2"] = resolve_k(0.2, len(example.words))
    return sizes


RANKED = (
    "average_precision",
    "average_precision_blocks",
    "auroc",
    "auprc_trapezoid",
    "rank_biased_overlap",
    "spearman",
)


def plausibility_rows(row, example: Example) -> list[dict]:
    """Metric rows of one valid explanation: set metrics at each k, ranked metrics once (k = "all")."""
    gold, scores = np.array(example.gold), scores_of(row, len(example.words))
    graded = None if example.gold_graded is None else np.array(example.gold_graded)
    rows, sizes = [], sizes_of(row, example)
    for name, k in sizes.items():
        values = plausibility_of(scores, gold, graded, k)
        chance = chance_plausibility(len(gold), int(gold.sum()), k)
        for metric, value in values.items():
            ranked = metric in RANKED
            if ranked and name != next(iter(sizes)):
                continue
            rows.append(
                {"metric": metric, "k": "all" if ranked else name, "value": value, "chance": chance.get(metric, np.nan)}
            )
    return rows


def score_plausibility(study: Study) -> pd.DataFrame:
    """Score every explanation of the study and write `metrics`; returns the rows.

    Examples without a human rationale and invalid explanations are rows of `skipped` with a reason. Agreement of
    replicates with the first answer, and of each annotator with the others, stand in the same table as ceilings.
    """
    explanations = study.read("explanations", first="notebooks 04 and 05")
    keys = KEYS["explanations"]
    names = [key for key in keys if key != "example_id"] + ["study", "config_hash"]
    rows, skipped = [], []
    for corpus_name, part in explanations.groupby("corpus", sort=False):
        corpus = read_corpus(study, corpus_name)
        examples = {example.example_id: example for example in corpus.examples}
        for row in part.itertuples(index=False):
            example = examples[row.example_id]
            identity = {"example_id": row.example_id, **{name: getattr(row, name) for name in names}}
            if example.gold is None or not any(example.gold):
                skipped.append({**identity, "reason": "no human rationale"})
            elif not row.valid:
                skipped.append({**identity, "reason": row.reason})
            else:
                rows += [{**identity, **values} for values in plausibility_rows(row, example)]
        rows += replicate_rows(part, examples, names)
        shown = [e for shard in range(study.shards) for e in explained_examples(study, corpus, shard)]
        rows += annotator_rows(corpus, shown, study)
    table = pd.DataFrame(rows).assign(operator="none")
    write_table("metrics", table, study.part("metrics", "plausibility"))
    missing = pd.DataFrame(skipped, columns=["example_id", *names, "reason"])
    write_table("explanations", missing, study.part("skipped", "plausibility"))
    return table


def replicate_rows(explanations: pd.DataFrame, examples: dict[str, Example], names: list[str]) -> list[dict]:
    """Agreement of an answer with itself: the self-self ceiling, for sets of words.

    "repeat_f1", ...: each sampled repeat with the greedy answer to the same prompt. "paraphrase_f1", ...: each greedy
    answer to a paraphrase with that to the prompt as written. An answer has them where both can be read.
    """
    valid = explanations[explanations["valid"].astype(bool)]
    first = valid.set_index([*[n for n in names if n != "config_hash"], "example_id"])
    rows = []
    for row in valid[valid["variant"].str.contains("[~#]")].itertuples(index=False):
        parts = split_variant(row.variant)
        kind = "repeat" if parts.repeat else "paraphrase"
        base = join_variant(parts.base, parts.paraphrase if parts.repeat else 0)
        key = tuple(base if n == "variant" else getattr(row, n) for n in names if n != "config_hash")
        if base == row.variant or (*key, row.example_id) not in first.index or row.selected is None:
            continue
        other = first.loc[(*key, row.example_id)]
        n_words = len(examples[row.example_id].words)
        mask = np.zeros(n_words, bool)
        mask[[int(i) for i in other["selected"]]] = True
        if not mask.any():
            continue
        values = set_plausibility(set_to_scores([int(i) for i in row.selected], n_words), mask, len(row.selected))
        identity = {"example_id": row.example_id, **{name: getattr(row, name) for name in names}}
        rows += [
            {**identity, "metric": f"{kind}_{metric}", "k": "own", "value": values[metric], "chance": np.nan}
            for metric in ("f1", "iou", "kappa")
        ]
    return rows


def annotator_rows(corpus: Corpus, examples: list[Example], study: Study) -> list[dict]:
    """Each annotator against the majority of the others: the human-human ceiling."""
    rows = []
    identity = {"corpus": corpus.name, "subject": HUMAN, "tuning": "none", "seed": 0, "epoch": 0, "explainer": "annotator",
                **study.stamp(study.corpora[corpus.name])}  # fmt: skip
    for example in examples:
        if len(example.annotators) < 2:
            continue
        for number, values in enumerate(annotator_against_others(np.array(example.annotators))):
            for metric in ("f1", "iou", "kappa"):
                rows.append({**identity, "example_id": example.example_id, "variant": f"annotator {number}",
                             "metric": metric, "k": "own", "value": values[metric], "chance": np.nan})  # fmt: skip
    return rows

"""Stage 7: how much of an explanation is the training seed (P4)."""

from itertools import combinations

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.metrics.selection import resolve_k
from rationales.metrics.stability import stability_of
from rationales.randomness import generator_for
from rationales.replicates import without_replicates
from rationales.stages.predictions import predictions_of
from rationales.stages.prepare import read_corpus
from rationales.stages.score_plausibility import scores_of
from rationales.statistics.comparisons import mcnemar_test
from rationales.statistics.equivalence import tost_accuracies
from rationales.study import Study
from rationales.tables import write_part

FAMILY = ["corpus", "subject", "tuning"]


def seed_families(study: Study) -> list[tuple[str, str, str]]:
    """(corpus, subject, tuning) of every model that was trained with more than one seed."""
    counts = pd.Series([(run.corpus, run.subject, run.tuning) for run in study.runs]).value_counts(sort=False)
    return [family for family, count in counts.items() if count > 1]


def compare_seeds(study: Study) -> pd.DataFrame:
    """Stability of each explainer over seeds, per item; written to the table `stability`.

    Columns: corpus, subject, tuning, explainer, variant, example_id, metric, value, n_seeds. An item counts when the
    explanation is valid under every seed; the others are rows of metric "incomplete", with the number of valid seeds.
    StudyError when the study trains no model with more than one seed.
    """
    families = seed_families(study)
    if not families:
        raise StudyError("This study trains no model with more than one seed; add `seeds` to a run to compare them.")
    explanations = without_replicates(study.read("explanations", first="notebooks 04 and 05"))
    rows = []
    for family in families:
        examples = {example.example_id: example for example in read_corpus(study, family[0]).examples}
        seeds = sum((run.corpus, run.subject, run.tuning) == family for run in study.runs)
        part = explanations[(explanations[FAMILY] == pd.Series(family, index=FAMILY)).all(axis=1)]
        for (explainer, variant, example_id), group in part.groupby(["explainer", "variant", "example_id"], sort=False):
            identity = dict(zip(FAMILY, family, strict=True)) | {
                "explainer": explainer, "variant": variant, "example_id": example_id, "n_seeds": seeds,
            }  # fmt: skip
            valid = group[group["valid"].astype(bool)].sort_values("seed")
            if len(valid) < seeds:
                rows.append({**identity, "metric": "incomplete", "value": float(len(valid))})
                continue
            rows += [{**identity, **values} for values in stability_rows(valid, examples[example_id], study.seed)]
    table = pd.DataFrame(rows).assign(**study.stamp(study.runs))
    write_part(table, study.part("stability", "seeds"))
    return table


def stability_rows(explanations: pd.DataFrame, example: Example, seed: int) -> list[dict]:
    """Stability metrics of one item from its explanations under each seed."""
    scores = np.stack([scores_of(row, len(example.words)) for row in explanations.itertuples(index=False)])
    generator = generator_for("stability", seed, example.example_id)
    values = stability_of(scores, resolve_k(0.2, len(example.words)), generator)
    return [{"metric": metric, "value": value} for metric, value in values.items()]


def compare_accuracies(study: Study, margin: float = 0.05) -> pd.DataFrame:
    """Every pair of seeds of one model: accuracies, McNemar's test and equivalence within `margin`.

    Columns: corpus, subject, tuning, first, second, accuracy_first, accuracy_second, differing (items whose predicted
    label differs), p_mcnemar, p_equivalence, n.
    """
    predictions = predictions_of(study)
    rows = []
    for family in seed_families(study):
        part = predictions[(predictions[FAMILY] == pd.Series(family, index=FAMILY)).all(axis=1)]
        correct = part.pivot(index="example_id", columns="seed", values="correct")
        labels = part.pivot(index="example_id", columns="seed", values="predicted")[correct.columns].to_numpy()
        right = correct.to_numpy(bool).T
        mcnemar, equivalence = compare_all_pairs(right.astype(float), margin)
        for first, second in combinations(range(len(right)), 2):
            rows.append(
                {
                    **dict(zip(FAMILY, family, strict=True)),
                    "first": correct.columns[first],
                    "second": correct.columns[second],
                    "accuracy_first": right[first].mean(),
                    "accuracy_second": right[second].mean(),
                    "differing": int((labels[:, first] != labels[:, second]).sum()),
                    "p_mcnemar": mcnemar[first, second],
                    "p_equivalence": equivalence[first, second],
                    "n": len(correct),
                }
            )
    return pd.DataFrame(rows)


def compare_all_pairs(correct: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values of McNemar's test and of equivalence for all pairs of models, each (n_models, n_models).

    correct: (n_models, n_items) of 0 and 1. Both tests see only how often one model alone is right, so that pairs with
    the same counts are tested once: 200 seeds have 19,900 pairs and a few hundred counts.
    """
    n = correct.shape[1]
    only_first = (correct @ (1 - correct).T).round().astype(int)
    p_values: dict[tuple[int, int], tuple[float, float]] = {}
    results = np.full((2, len(correct), len(correct)), np.nan)
    for first, second in combinations(range(len(correct)), 2):
        counts = (int(only_first[first, second]), int(only_first[second, first]))
        if counts not in p_values:
            one, other = np.zeros(n), np.zeros(n)
            one[: counts[0]] = 1
            other[counts[0] : sum(counts)] = 1
            p_values[counts] = mcnemar_test(one, other).p, tost_accuracies(one, other, margin).p
        results[:, first, second] = results[:, second, first] = p_values[counts]
    return results[0], results[1]

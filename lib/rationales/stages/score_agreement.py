"""Stage 7: how far the explanations of one item agree with one another, each value beside its chance level (P3)."""

from itertools import combinations

import numpy as np
import pandas as pd

from rationales.examples import Example
from rationales.metrics.agreement import agreement_of, chance_agreement
from rationales.replicates import without_replicates
from rationales.stages.prepare import read_corpus
from rationales.stages.score_plausibility import scores_of
from rationales.study import Study
from rationales.tables import write_table

LEFT_OUT = ("first_words", "content_random", "lexicon", "greedy")  # floors and the oracle; `random` stays as the floor


def first_seeds(explanations: pd.DataFrame) -> pd.DataFrame:
    """The rows of the lowest seed of each corpus, subject and tuning."""
    lowest = explanations.groupby(["corpus", "subject", "tuning"])["seed"].transform("min")
    return explanations[explanations["seed"] == lowest]


def pair_rows(explanations: pd.DataFrame, example: Example) -> list[dict]:
    """Agreement of every two valid explanations of one example, at k = max(1, floor(.2 words)) (Huang et al. 2023).

    An unordered set has no ranks: rank, signed-rank and pairwise agreement are NaN for its pairs.
    """
    rows = []
    prepared = [
        (row.explainer, row.variant, scores_of(row, len(example.words)), row.selected is not None and not row.ordered)
        for row in explanations.itertuples(index=False)
    ]
    for (name, variant, first, is_set), (other, other_variant, second, other_is_set) in combinations(prepared, 2):
        sets = is_set or other_is_set
        values = agreement_of(first, second, set_valued=sets)
        chance = chance_agreement(first, second, set_valued=sets)
        identity = {"explainer": name, "variant": variant, "other": other, "other_variant": other_variant}
        rows += [{**identity, "metric": m, "value": values[m], "chance": chance[m]} for m in values]
    return rows


def score_agreement(study: Study) -> pd.DataFrame:
    """Compare every two explanations of the same model and item; written to the table `agreement`.

    The first seed of each model stands for it (notebook 09 has the other seeds), and of replicates the first.
    Invalid explanations are counted by notebook 06 and have no agreement.
    """
    explanations = without_replicates(first_seeds(study.read("explanations", first="notebooks 04 and 05")))
    kept = explanations["valid"].astype(bool) & ~explanations["explainer"].isin(LEFT_OUT)
    explanations = explanations[kept]
    names = ["corpus", "subject", "tuning", "seed", "epoch"]
    rows: list[dict] = []
    for corpus_name, part in explanations.groupby("corpus", sort=False):
        examples = {example.example_id: example for example in read_corpus(study, corpus_name).examples}
        for key, group in part.groupby([*names, "example_id"], sort=False):
            identity = dict(zip([*names, "example_id"], key, strict=True))
            rows += [{**identity, **values} for values in pair_rows(group, examples[key[-1]])]
    table = pd.DataFrame(rows).assign(**study.stamp(study.runs))
    table["value"] = table["value"].astype(np.float64)
    write_table("agreement", table, study.part("agreement", "pairs"))
    return table

"""How close the recorded explanations come to the human rationale, with floor, ceilings and 95 % intervals.

Input are the tables of `brandl_eberle.recorded_tables`. The sentence is the unit: means over several seeds first add
up the values of a sentence, and the bootstrap draws sentences with all their values. Only sentences that were asked
for have a self-explanation, and only sentences with a valid explanation are scored; n says how many.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.metrics.plausibility import (
    annotator_against_others,
    average_precision,
    chance_plausibility,
    set_plausibility,
)
from rationales.metrics.selection import set_to_scores
from rationales.statistics.bootstrap import Interval, statistic_interval

SET_MEASURES = ("f1", "iou", "kappa", "precision", "recall")
AT_EQUAL_LENGTH = ("f1", "iou", "kappa")
RUN = ["subject", "tuning", "seed", "epoch", "corpus"]
ALL_SEEDS = "all"
INTERVAL_COLUMNS = ["value", "low", "high", "n_items", "n_values", "n_undefined", "note"]


def score_items(explanations: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Return plausibility of every valid explanation, in the columns of the table `metrics`, with `chance` beside it.

    k = "human": the size of the human rationale, the measure of comparisons. k = "own": the whole list that was
    returned, as P2 scores self-explanations. k = "all": average precision, which ranks all words. Sentences without a
    human rationale are not scored.
    """
    examples = {example.example_id: example for example in corpus.examples}
    rows = []
    for row in explanations[explanations["valid"]].itertuples(index=False):
        example = examples[row.example_id]
        if not example.gold or not any(example.gold):
            continue
        identity = {name: getattr(row, name) for name in [*RUN, "example_id", "explainer", "variant"]}
        rows += [{**identity, **values} for values in _measure(row, example)]
    columns = [*RUN, "example_id", "explainer", "variant", "metric", "k", "value", "chance"]
    return pd.DataFrame(rows, columns=columns).assign(operator="none")


def _measure(row, example: Example) -> list[dict]:
    """Measures of one explanation at each of its sizes; at the human size precision and recall equal f1."""
    gold, n_words = np.array(example.gold), len(example.words)
    n_gold = int(gold.sum())
    listed = row.selected is not None
    scores = set_to_scores(row.selected, n_words) if listed else np.asarray(row.scores, dtype=float)
    rows = [
        {"metric": "average_precision", "k": "all", "value": average_precision(scores, gold),
         "chance": _chance(n_words, n_gold, n_gold)["average_precision"]}
    ]  # fmt: skip
    sizes = {"human": (n_gold, AT_EQUAL_LENGTH), **({"own": (len(row.selected), SET_MEASURES)} if listed else {})}
    for name, (k, measures) in sizes.items():
        values, chance = set_plausibility(scores, gold, k), _chance(n_words, n_gold, k)
        rows += [{"metric": m, "k": name, "value": values[m], "chance": chance[m]} for m in measures]
    return rows


@lru_cache(maxsize=20_000)
def _chance(n_words: int, n_gold: int, k: int) -> dict[str, float]:
    return chance_plausibility(n_words, n_gold, k)


def summarise_items(
    items: pd.DataFrame, generator: np.random.Generator, by: Sequence[str], n_resamples: int = 2000
) -> pd.DataFrame:
    """Return mean and 95 % interval of the column `value` within each group of `by`, by sentence.

    Where `by` holds "seed", groups with several seeds are followed by their union, with the seed "all".
    Columns: `by`, value, low, high, n_items (sentences), n_values, n_undefined (NaN, left out), note, and chance
    (mean of the column of that name, where there is one).
    """
    rows = [_summary(keys, part, by, generator, n_resamples) for keys, part in _groups(items, by)]
    if "seed" in by:
        unions = [name for name in by if name != "seed"]
        for keys, part in _groups(items, unions):
            if part["seed"].nunique() > 1:
                row = _summary(keys, part, unions, generator, n_resamples)
                rows.append({**row, "seed": ALL_SEEDS})
    columns = [*by, *INTERVAL_COLUMNS, *(["chance"] if "chance" in items else [])]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(seed=table["seed"].astype(str)) if "seed" in by else table


def _groups(items: pd.DataFrame, by: Sequence[str]):
    return items.groupby(list(by), sort=True) if by else [((), items)]


def _summary(
    keys: tuple, part: pd.DataFrame, by: Sequence[str], generator: np.random.Generator, n_resamples: int
) -> dict:
    interval = item_interval(part, generator, n_resamples)
    row = {**dict(zip(by, keys, strict=True)), **interval_columns(interval, part)}
    return {**row, "chance": part["chance"].mean()} if "chance" in part else row


def item_interval(part: pd.DataFrame, generator: np.random.Generator, n_resamples: int = 2000) -> Interval:
    """Return the mean of the defined values of `part` with an interval that draws whole sentences."""
    sums = part.groupby("example_id")["value"].agg(["sum", "count"]).to_numpy(dtype=float)
    # a sentence whose values are all undefined adds nothing to the sums
    return statistic_interval(sums[sums[:, 1] > 0], _mean_of_sums, generator, n_resamples)


def _mean_of_sums(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def interval_columns(interval: Interval, part: pd.DataFrame) -> dict:
    """Return an interval as the columns of a table; `part` has the values it was made from."""
    defined = part["value"].notna()
    return {
        "value": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "n_items": interval.n,
        "n_values": int(defined.sum()),
        "n_undefined": int((~defined).sum()),
        "note": interval.note,
    }


def summarise_plausibility(
    items: pd.DataFrame, generator: np.random.Generator, n_resamples: int = 2000
) -> pd.DataFrame:
    """Return plausibility per subject, seed (and all seeds), explainer, variant, measure and k, chance beside it."""
    return summarise_items(items, generator, ["subject", "explainer", "variant", "metric", "k", "seed"], n_resamples)


def compare_explainers(
    items: pd.DataFrame,
    generator: np.random.Generator,
    pairs: Sequence[tuple[str, str]] = (("self", "lrp"), ("self", "lrp_contrast"), ("lrp", "lrp_contrast")),
    n_resamples: int = 2000,
) -> pd.DataFrame:
    """Return differences first - second over the sentences and seeds that both explain, per subject and measure.

    "chance" as second is the closed-form expectation of a random order. At k = "human" and for average precision, so
    at equal length. Repeats ("#1") are left out. Columns as `summarise_items`, with first and second.
    """
    equal = items[(items["k"] != "own") & ~items["variant"].str.contains("#")]
    keys = ["subject", "seed", "example_id", "metric", "k"]
    rows = []
    for first, second in pairs:
        left = equal[equal["explainer"] == first].set_index(keys)
        right = left["chance"] if second == "chance" else equal[equal["explainer"] == second].set_index(keys)["value"]
        both = left[["value"]].join(right.rename("other"), how="inner").reset_index()
        both["value"] -= both["other"]
        table = summarise_items(both, generator, ["subject", "metric", "k"], n_resamples)
        rows.append(table.assign(first=first, second=second))
    if not rows:
        raise StudyError("No pair of explainers to compare was given; name at least one, such as ('self', 'lrp').")
    return pd.concat(rows, ignore_index=True)


def human_ceiling(corpus: Corpus, generator: np.random.Generator, n_resamples: int = 2000) -> pd.DataFrame:
    """Return how well one annotator matches the majority of the others, per measure: the human-human ceiling.

    Averaged over the annotators of a sentence, then over sentences. The corpus as its authors analyse it has six
    annotators per sentence; those who chose another label than the sentence's are set aside, so the others are five
    or fewer. With `before_exclusions=True` it has all whom P2 used.
    """
    rows = [
        {"example_id": example.example_id, "metric": metric, "value": values[metric]}
        for example in corpus.examples
        if len(example.annotators) > 1
        for values in annotator_against_others(np.array(example.annotators))
        for metric in SET_MEASURES
    ]
    table = summarise_items(
        pd.DataFrame(rows, columns=["example_id", "metric", "value"]), generator, ["metric"], n_resamples
    )
    return table.assign(k="own")


def self_ceiling(
    explanations: pd.DataFrame, corpus: Corpus, generator: np.random.Generator, n_resamples: int = 2000
) -> pd.DataFrame:
    """Return how well two self-explanations of one subject and sentence match: the self-self ceiling.

    pair: "two seeds" (each the first answer under its seed), or "one seed" (two runs that share the seed number and
    differ in little else). metric: f1 and iou of the two sets, kappa, and identical (the same set of words). Only
    sentences where both are valid; n_values counts pairs.
    """
    lengths = {example.example_id: len(example.words) for example in corpus.examples}
    chosen = explanations[(explanations["explainer"] == "self") & explanations["valid"]]
    rows = []
    for (subject, example_id), part in chosen.groupby(["subject", "example_id"]):
        for one, other in combinations(part.itertuples(index=False), 2):
            repeat = "#" in one.variant or "#" in other.variant
            if one.seed != other.seed and repeat:
                continue
            values = _match_sets(one.selected, other.selected, lengths[example_id])
            kind = "one seed" if one.seed == other.seed else "two seeds"
            rows += [
                {"subject": subject, "pair": kind, "example_id": example_id, "metric": metric, "value": value}
                for metric, value in values.items()
            ]
    table = pd.DataFrame(rows, columns=["subject", "pair", "example_id", "metric", "value"])
    return summarise_items(table, generator, ["subject", "pair", "metric"], n_resamples)


def _match_sets(first: Sequence[int], second: Sequence[int], n_words: int) -> dict[str, float]:
    """Symmetric measures of two non-empty sets of words."""
    other = set_to_scores(second, n_words) > 0
    values = set_plausibility(set_to_scores(first, n_words), other, len(first))
    return {**{name: values[name] for name in ("f1", "iou", "kappa")}, "identical": float(set(first) == set(second))}

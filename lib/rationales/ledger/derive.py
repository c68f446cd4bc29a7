"""Measures that claims need and no stage writes: computed from explanations and predictions, as rows of `metrics`."""

import numpy as np
import pandas as pd

from rationales.explainers.baselines import STOP_WORDS, bare_word
from rationales.ledger.panel import ANSWER, HELD_OUT, INTACT, measure_name
from rationales.metrics.selection import inclusion_probabilities, set_to_scores
from rationales.metrics.stability import mean_pairwise_correlation
from rationales.replicates import without_replicates
from rationales.statistics.equal_accuracy import select_models
from rationales.study import BASE
from rationales.tables import NO_LABEL

KEYS = ["corpus", "subject", "tuning", "seed", "example_id"]
COLUMNS = [*KEYS, "explainer", "variant", "measure", "value"]
SMALL_EFFECT = 0.01  # occlusion scores below it are called no effect; the scores are drops of (log-)probability
ROUND_STEP = 0.05  # a stated confidence that is a multiple of it is called rounded
FEWEST_SEEDS_TO_SELECT = 6  # half of them, three, still have pairs to compare
# What each measure is, for the note of a claim and for the reason when there are no rows.
DERIVED = {
    "correct@all/answers": "whether the label is right, per paradigm",
    "correct@all/heldout": "whether the label is right, on all texts of the test split",
    "rounded@all/answers": f"whether the confidence that the model states is a multiple of {ROUND_STEP}",
    "stop_word_share@human/words": "share of stop words among the first k words, k the length of the human rationale",
    "structural_share@human/words": "share of words without any letter among the first k words",
    "score_levels@all/words": "different scores per word of the text",
    "small_effect@all/words": f"share of words whose score is below {SMALL_EFFECT} in absolute value",
    "seed_pearson@all/seeds": "mean Pearson correlation of the scores over pairs of training seeds; those of a model that "
    "is taken as it is only draw its answers",
    "seed_pearson_tight@all/seeds": "the same in the half of the seeds that are closest in accuracy (6 seeds needed)",
}


def answer_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows of `correct` for every paradigm, and of `rounded` for the confidence stated without an explanation.

    A confidence is stated where `predictions` has a column of that name; computed probabilities are not rounded.
    A paradigm of a model without a single readable answer has no rows: a recording of failures is not a wrong model.
    """
    if predictions.empty:
        return pd.DataFrame(columns=COLUMNS)
    readable = predictions["predicted"] != NO_LABEL
    known = readable.groupby([predictions[name] for name in (*KEYS[:4], "paradigm")]).transform("any")
    predictions = predictions[known]
    named = predictions.assign(explainer=ANSWER, variant=predictions["paradigm"])
    rows = [named.assign(measure="correct@all/answers", value=named["correct"].astype(float))]
    if "confidence" in named:
        intact = named[(named["paradigm"] == INTACT) & named["confidence"].notna()]
        steps = intact["confidence"] / ROUND_STEP
        rows.append(intact.assign(measure="rounded@all/answers", value=(np.abs(steps - steps.round()) < 1e-6) * 1.0))
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def held_out_rows(held_out: pd.DataFrame) -> pd.DataFrame:
    """Rows of `correct` on all test texts; the corpus has another name, so that its items are not those explained."""
    if held_out.empty:
        return pd.DataFrame(columns=COLUMNS)
    renamed = held_out.assign(corpus=held_out["corpus"] + HELD_OUT, explainer=ANSWER, variant=held_out["paradigm"])
    return renamed.assign(measure="correct@all/heldout", value=renamed["correct"].astype(float))[COLUMNS]


def scores_of_row(row, n_words: int) -> np.ndarray:
    """Scores (n_words,) of a row of `explanations`; a set has 1 (or its rank) for its words and 0 for the others."""
    if row.scores is not None:
        return np.asarray(row.scores, dtype=float)
    return set_to_scores([int(index) for index in row.selected], n_words, bool(row.ordered))


def word_rows(explanations: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
    """Rows of the measures "/words" for every valid explanation.

    Ties at the border of the first k words count in expectation. Stop words: the list of the text's language, NaN
    where there is none. Examples without a human rationale have no k, and no rows of the shares; texts in which every
    word has a letter have no share of words without one. Where a model has no explainer "human", the human rationales
    themselves stand beside it (`human_rows`).
    """
    explanations = pd.concat([explanations, human_rows(explanations, examples)], ignore_index=True)
    texts = {
        (row.corpus, row.example_id): (list(row.words), row.language, row.gold)
        for row in examples[["corpus", "example_id", "words", "language", "gold"]].itertuples(index=False)
    }
    kinds: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}
    rows = []
    for row in explanations[explanations["valid"].astype(bool)].itertuples(index=False):
        key = (row.corpus, row.example_id)
        if key not in texts:
            continue
        words, language, gold = texts[key]
        if key not in kinds:
            stop = STOP_WORDS.get(language)
            stops = [bare_word(w) in stop if stop is not None else np.nan for w in words]
            kinds[key] = np.array(stops, dtype=float), np.array([not any(c.isalpha() for c in w) for w in words], float)
        scores = scores_of_row(row, len(words))
        values = {
            "score_levels@all/words": len(np.unique(scores)) / len(scores),
            "small_effect@all/words": float(np.mean(np.abs(scores) < SMALL_EFFECT)),
        }
        k = 0 if gold is None else int(np.sum(np.asarray(gold, dtype=bool)))
        if k:
            chosen = inclusion_probabilities(scores, k) / k
            values["stop_word_share@human/words"] = float(chosen @ kinds[key][0])
            if kinds[key][1].any():
                values["structural_share@human/words"] = float(chosen @ kinds[key][1])
        identity = {name: getattr(row, name) for name in [*KEYS, "explainer", "variant"]}
        rows += [{**identity, "measure": measure, "value": value} for measure, value in values.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def human_rows(explanations: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
    """The human rationales as explanations of each model and seed that has none by the explainer "human"."""
    models = explanations[KEYS[:4]].drop_duplicates()
    with_human = explanations.loc[explanations["explainer"] == "human", KEYS[:4]].drop_duplicates()
    without = models.merge(with_human, how="left", indicator=True).query("_merge == 'left_only'").drop(columns="_merge")
    selected = [None if gold is None else np.flatnonzero(gold) for gold in examples["gold"]]
    marked = examples.assign(selected=selected)[["corpus", "example_id", "selected"]]
    rows = without.merge(marked[[chosen is not None and len(chosen) > 0 for chosen in selected]], on="corpus")
    return rows.assign(explainer="human", variant="default", scores=None, ordered=False, valid=True)


def seed_rows(explanations: pd.DataFrame, examples: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows of the measures "/seeds", for items whose explanation is valid under at least two seeds of a model.

    An item has one value; it is written under each of its seeds, so that seeds count but are not resampled: drawing
    a seed twice would make it agree with itself. The tight half has the smallest range of accuracies. Models that are
    taken as they are have no rows: their seeds, in recordings, draw answers of one and the same model.
    """
    explanations = explanations[explanations["tuning"] != BASE]
    n_words = {(row.corpus, row.example_id): len(row.words) for row in examples.itertuples(index=False)}
    valid = without_replicates(explanations[explanations["valid"].astype(bool)])
    found: dict[tuple, dict[int, np.ndarray]] = {}
    for row in valid[[*KEYS, "explainer", "variant", "scores", "selected", "ordered"]].itertuples(index=False):
        if (row.corpus, row.example_id) in n_words:
            key = (row.corpus, row.subject, row.tuning, row.explainer, row.variant, row.example_id)
            found.setdefault(key, {})[row.seed] = scores_of_row(row, n_words[row.corpus, row.example_id])
    tight = tight_seeds(predictions)
    rows = []
    for key, scores in found.items():
        if len(scores) < 2:
            continue
        values = {"seed_pearson@all/seeds": mean_pairwise_correlation(np.stack(list(scores.values())))}
        half = [scores[seed] for seed in tight.get(key[:3], ()) if seed in scores]
        if len(half) > 1:
            values["seed_pearson_tight@all/seeds"] = mean_pairwise_correlation(np.stack(half))
        for measure, value in values.items():
            rows += [(*key[:3], seed, key[5], *key[3:5], measure, value) for seed in scores]
    return pd.DataFrame(rows, columns=COLUMNS)


def tight_seeds(predictions: pd.DataFrame) -> dict[tuple, tuple]:
    """(corpus, subject, tuning) -> the half of its seeds with the closest accuracies, where it has six or more."""
    if predictions.empty:
        return {}
    intact = predictions[predictions["paradigm"] == INTACT]
    found = {}
    for key, part in intact.groupby(["corpus", "subject", "tuning"], sort=False):
        accuracies = part.assign(value=part["correct"].astype(float)).groupby("seed")["value"].mean()
        if len(accuracies) >= FEWEST_SEEDS_TO_SELECT:
            kept = select_models(accuracies.to_numpy(), "closest", len(accuracies) // 2)
            found[key] = tuple(accuracies.index[kept])
    return found


def agreement_rows(agreement: pd.DataFrame) -> pd.DataFrame:
    """Rows of agreement corrected for chance, (value - chance) / (1 - chance), one "explainer" per pair.

    explainer: "first variant", variant: "second variant" (a blank between name and variant). measure: "agreement:" and
    the metric's name. Without a chance level, or where it is 1, there is no value.
    """
    if agreement.empty:
        return pd.DataFrame(columns=COLUMNS)
    room = 1 - agreement["chance"]
    return agreement.assign(
        explainer=agreement["explainer"] + " " + agreement["variant"],
        variant=agreement["other"] + " " + agreement["other_variant"],
        measure="agreement:" + agreement["metric"].astype(str),
        value=(agreement["value"] - agreement["chance"]) / room.where(room > 0),
    )[COLUMNS]


def metric_rows(metrics: pd.DataFrame, wanted: set[str]) -> pd.DataFrame:
    """Rows of `metrics` whose measure is one of `wanted`, with the column `measure`."""
    if metrics.empty:
        return pd.DataFrame(columns=COLUMNS)
    names = {name.split("@")[0] for name in wanted}
    rows = metrics[metrics["metric"].isin(names)]
    keys = rows[["metric", "k", "operator"]].drop_duplicates()
    keys = keys.assign(measure=[measure_name(*key) for key in keys.itertuples(index=False, name=None)])
    rows = rows.merge(keys[keys["measure"].isin(wanted)], on=["metric", "k", "operator"])
    return rows[[*COLUMNS, *(["epoch"] if "epoch" in rows else [])]]

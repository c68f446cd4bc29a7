"""The explanation averaged over training seeds: is it more plausible, and more faithful, than that of one seed?"""

import json
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.replicates import main_variants
from rationales.stages.compare_seeds import FAMILY, seed_families
from rationales.stages.predictions import predictions_of
from rationales.stages.prepare import explained_examples, read_corpus
from rationales.stages.score_plausibility import plausibility_rows, scores_of
from rationales.stages.seed_data import scale_rows
from rationales.statistics.crossed import crossed_t_interval
from rationales.study import Run, Study
from rationales.tables import KEYS, write_part, write_table

TABLE = "averaged_metrics"  # of the form of `metrics`, and apart from it: no other stage takes a mean for an explainer
SUFFIX = "@mean"  # of the variant of an explanation that is the mean over seeds
NO_SEED = "no valid explanation under any seed that gives this label"
OPERATOR = "delete"
NAMED_SIZES = ("human", "0.2", "own")
SIZE_FREE = (("dfmit", "1"), ("deletion_rank_correlation", "all"), ("deletion_rank_correlation_unsigned", "all"))
COMPARED = (
    ("f1", "human", "none"),
    ("average_precision", "all", "none"),
    ("comprehensiveness", "human", OPERATOR),
    ("normalised_comprehensiveness", "human", OPERATOR),
    ("flip_rate", "human", OPERATOR),
)


def average_seeds(
    explanations: pd.DataFrame, predictions: pd.DataFrame, n_words: Mapping[tuple[str, str], int]
) -> pd.DataFrame:
    """Return rows of the form of `explanations` with one mean explanation per run, item, explainer and variant.

    explanations: of runs with several seeds; repeats, paraphrases and further draws are left out. predictions: of the
    intact texts. n_words: (corpus, example id) -> number of words.

    The mean is over the seeds that predict the same label as this run, since a score supports the predicted label: of
    scores scaled to a largest absolute value of 1. A set counts 1 for its words, so that the mean is the share of these
    seeds that chose the word; an ordered list counts 1 for its first word and equally less for each further one, as
    single lists are scored, for without its order a list longer than the human rationale could not be cut to its
    length. The run's own explanation is part of the mean. Variants end in "@mean"; `details` hold n_seeds and seeds;
    calls, tokens and seconds are the sums of what the seeds cost. Without a valid explanation
    under any such seed the row is invalid, with that reason. An explainer that is the same under all seeds of one label
    (a floor that never asks the model) is left out: its mean is itself.
    StudyError for an explained item without a prediction.
    """
    rows = main_variants(explanations)
    labels = predictions[[*FAMILY, "seed", "example_id", "predicted"]]
    rows = rows.merge(labels, on=[*FAMILY, "seed", "example_id"], how="left", validate="many_to_one")
    if rows["predicted"].isna().any():
        missing = rows.loc[rows["predicted"].isna(), "example_id"].iloc[0]
        raise StudyError(f"Item '{missing}' is explained but has no prediction; run notebook 05_attributions again.")
    averaged: list[dict] = []
    for (corpus, *_), part in rows.groupby([*FAMILY, "explainer", "variant"], sort=False):
        groups: dict[tuple[str, str], list[dict]] = {}
        for row in part.to_dict("records"):
            groups.setdefault((row["example_id"], row.pop("predicted")), []).append(row)
        vectors = [
            _vectors([row for row in group if row["valid"]], n_words[corpus, example_id])
            for (example_id, _), group in groups.items()
        ]
        if any(len(found) > 1 and np.ptp(found, axis=0).max() > 0 for found in vectors):
            for group, found in zip(groups.values(), vectors, strict=True):
                averaged += _mean_rows(group, found)
    return pd.DataFrame(averaged, columns=explanations.columns)


def _vectors(rows: list[dict], n_words: int) -> np.ndarray:
    """Scaled scores of the valid explanations of one item and label, (n_seeds, n_words); sets as in `scores_of`."""
    found = [scores_of(SimpleNamespace(**row), n_words) for row in rows]
    return scale_rows(np.array(found)) if found else np.zeros((0, n_words))


def _mean_rows(rows: list[dict], vectors: np.ndarray) -> list[dict]:
    """One row per seed of a group of seeds that give an item the same label; all hold the same mean."""
    seeds = sorted(int(row["seed"]) for row in rows if row["valid"])
    known = len(seeds) > 0
    shared = {
        **{name: sum(row[name] for row in rows) for name in ("calls", "tokens", "seconds")},
        "scores": [float(value) for value in vectors.mean(axis=0)] if known else None,
        "selected": None,
        "ordered": True,
        "valid": known,
        "reason": "" if known else NO_SEED,
        "details": json.dumps({"n_seeds": len(seeds), "seeds": seeds}, sort_keys=True),
    }
    return [{**row, **shared, "variant": row["variant"] + SUFFIX} for row in rows]


def average_study(study: Study) -> pd.DataFrame:
    """Average the explanations of every model with several seeds, and write them to the table `averages`.

    The table `explanations` keeps single seeds only, so that no stage takes a mean for another explainer.
    StudyError when the study trains no model with more than one seed.
    """
    families = seed_families(study)
    if not families:
        raise StudyError("This study trains no model with more than one seed; add `seeds` to a run to average them.")
    explanations = study.read("explanations", first="notebooks 04 and 05")
    explanations = explanations[pd.MultiIndex.from_frame(explanations[FAMILY]).isin(families)]
    n_words = {
        (name, example.example_id): len(example.words)
        for name in dict.fromkeys(family[0] for family in families)
        for example in read_corpus(study, name).examples
    }
    table = average_seeds(explanations, predictions_of(study), n_words)
    table = table.assign(**study.stamp(study.runs))
    write_part(table, study.part("averages", "seeds"))
    return table


def score_averaged_plausibility(study: Study, averages: pd.DataFrame) -> pd.DataFrame:
    """Score averaged explanations against the human rationales, as notebook 06 does single ones; returns the rows.

    Written to the table `averaged_metrics`. Invalid ones and items without a human rationale give no row.
    """
    names = [*KEYS["explanations"], "study", "config_hash"]
    rows: list[dict] = []
    for name, part in averages[averages["valid"].astype(bool)].groupby("corpus", sort=False):
        examples = {example.example_id: example for example in read_corpus(study, name).examples}
        known: dict[tuple, list[dict]] = {}  # the seeds of one label share one mean, which is scored once
        for row in part.itertuples(index=False):
            example = examples[row.example_id]
            if example.gold is None or not any(example.gold):
                continue
            key = (row.subject, row.tuning, row.example_id, row.explainer, row.variant, row.details)
            if key not in known:
                known[key] = plausibility_rows(row, example)
            rows += [{**{n: getattr(row, n) for n in names}, **values} for values in known[key]]
    columns = [*names, "metric", "k", "value", "chance"]
    table = pd.DataFrame(rows, columns=columns).assign(operator="none")
    write_table("metrics", table, study.part(TABLE, "plausibility"))
    return table


def score_averaged_faithfulness(study: Study, run: Run, averages: pd.DataFrame, shard: int = 0) -> pd.DataFrame:
    """Score the averaged explanations of one run on its own model, by deletion, into `averaged_metrics`.

    Only the sizes that have a name (human length, a fifth) and what needs no grid (`SIZE_FREE`): some six erasures per
    item and explainer beside those that the model answered before, which are read and not asked again.
    """
    # Here, since they load torch, and who only reads tables does without.
    from rationales.stages.score_faithfulness import CHUNK, score_chunk
    from rationales.stages.subjects import open_engine

    corpus = read_corpus(study, run.corpus)
    examples = explained_examples(study, corpus, shard)
    engine = open_engine(study, run, corpus)
    engine.load([path for g in study.explainers if (path := study.part("erasures", run.name, g, shard)).is_file()])
    mine = run.rows_of(averages[averages["valid"].astype(bool)])
    targets = engine.full(examples).argmax(1)
    names = [*KEYS["explanations"], "study", "config_hash"]
    # A grid of one size that is measured anyway: the area over the grid is dropped below.
    brief = replace(study, faithfulness={**study.faithfulness, "fractions": [0.2], "full_curve": 0})
    rows: list[dict] = []
    for start in range(0, len(examples), CHUNK):
        chunk = list(zip(examples[start : start + CHUNK], targets[start : start + CHUNK], strict=True))
        rows += score_chunk(brief, engine, mine, chunk, OPERATOR, names)
    kept = [row for row in rows if row["k"] in NAMED_SIZES or (row["metric"], row["k"]) in SIZE_FREE]
    table = pd.DataFrame(kept, columns=[*names, "operator", "chance", "metric", "k", "value"])
    write_table("metrics", table, study.part(TABLE, "faithfulness", run.name, shard))
    return table


def score_averages(study: Study) -> pd.DataFrame:
    """Average, and score plausibility and faithfulness of the averages of every run; returns all metric rows.

    One engine after the other is opened. Written: the tables `averages` and `averaged_metrics`.
    """
    averages = average_study(study)
    tables = [score_averaged_plausibility(study, averages)]
    for run in study.runs:
        if (run.corpus, run.subject, run.tuning) in seed_families(study):
            tables += [score_averaged_faithfulness(study, run, averages, shard) for shard in range(study.shards)]
    return pd.concat(tables, ignore_index=True)


def compare_averages(single: pd.DataFrame, averaged: pd.DataFrame, measures: tuple = COMPARED) -> pd.DataFrame:
    """Return what averaging over seeds changes: the averaged minus the single explanation, paired by run and item.

    single, averaged: the tables `metrics` and `averaged_metrics`. Columns: corpus, subject, tuning, explainer, variant
    (of the single one), metric, k, operator, single, averaged, difference, low, high (95 %, over items and seeds, t
    with Satterthwaite's degrees of freedom), n (items), n_seeds, n_undefined (pairs without a value on a side), note.
    The difference holds for this many seeds. A pair needs a valid single explanation; the mean alone may have more.
    """
    sides = [
        rows[pd.MultiIndex.from_frame(rows[["metric", "k", "operator"]]).isin(measures)] for rows in (averaged, single)
    ]
    means = sides[0].assign(variant=sides[0]["variant"].str.removesuffix(SUFFIX))
    keys = [*FAMILY, "seed", "example_id", "explainer", "variant", "metric", "k", "operator"]
    both = means.merge(sides[1], on=keys, suffixes=("_averaged", "_single"), validate="one_to_one")
    rows = []
    for key, part in both.groupby([*FAMILY, "explainer", "variant", "metric", "k", "operator"], sort=False):
        differences = (part["value_averaged"] - part["value_single"]).to_numpy(dtype=float)
        interval = crossed_t_interval(
            differences, part["example_id"].to_numpy(), part["seed"].to_numpy(), degrees="satterthwaite"
        )
        defined = part[~np.isnan(differences)]
        rows.append(
            {
                **dict(zip([*FAMILY, "explainer", "variant", "metric", "k", "operator"], key, strict=True)),
                "single": float(defined["value_single"].mean()),
                "averaged": float(defined["value_averaged"].mean()),
                "difference": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "n": int(defined["example_id"].nunique()),
                "n_seeds": int(part["seed"].nunique()),
                "n_undefined": interval.n_undefined,
                "note": interval.note,
            }
        )
    columns = [*FAMILY, "explainer", "variant", "metric", "k", "operator", "single", "averaged", "difference", "low",
               "high", "n", "n_seeds", "n_undefined", "note"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)

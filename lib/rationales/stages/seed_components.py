"""How much of a score's variance is the item, the seed, their interaction, and what is drawn anew within a seed."""

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.randomness import generator_for
from rationales.replicates import add_variant_parts
from rationales.stages.compare_seeds import FAMILY
from rationales.stages.score_plausibility import scores_of
from rationales.stages.seed_data import SeedFamily, rows_of_model, scale_rows
from rationales.stages.seed_intervals import jackknife_over_seeds, ratio_of
from rationales.statistics.bootstrap import statistic_interval
from rationales.statistics.components import has_too_many_levels, variance_components

MEASURES = (("f1", "human", "none"), ("comprehensiveness", "human", "delete"))  # metric, k, operator
REPLICATES = {"repeat": "sampled repeat", "draw": "explainer noise", "paraphrase": "prompt paraphrase"}
SEED_BY_ITEM = "item x seed"
WORDING_BY_ITEM, WORDING_BY_CELL = "item x paraphrase", "item x seed x paraphrase"
DRAW_BY_ITEM = "item x draw"  # noise that the same random draw brings into every seed
ABSENT = {
    "repeat": "no sampled repeats",
    "paraphrase": "no paraphrases of the prompt",
    "draw": "no further random draws of the explainer",
}
WORD_PARTS = ("word", "seed", "word x seed", "replicate")


def keep_exchangeable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows among which repeats are exchangeable: the greedy answer goes where two or more are sampled.

    With one sampled answer the sampled one goes: its distance to the greedy answer is no sampling variance.
    rows: with the columns of `add_variant_parts`.
    """
    sampled = rows.loc[rows["repeat"] > 0, "repeat"].nunique()
    return rows[rows["repeat"] > 0] if sampled > 1 else rows[rows["repeat"] == 0]


def name_missing(rows: pd.DataFrame) -> str:
    """Return a sentence that names the levels of variation which the rows of one explainer do not have."""
    missing = [ABSENT[level] for level in ABSENT if rows[level].nunique() < 2]
    return f"There are {', '.join(missing)}: what they would add is part of the other rows." if missing else ""


def split_values(rows: pd.DataFrame, intervals: bool = True) -> pd.DataFrame:
    """Return the variance components of one metric's values under one explainer, by a mixed model (REML).

    rows: example_id, seed, value and the columns of `add_variant_parts`. Components: item, seed, prompt paraphrase,
    item x seed where cells are repeated, and what may hide in them: item x paraphrase and item x seed x paraphrase where
    paraphrases are sampled again, item x draw where draws (which are the same for every seed) differ. The last one is
    named for what varies within a cell: sampled repeat, explainer noise, item x paraphrase without either, or item x
    seed itself where each cell has one row. Columns: component, levels, variance, low, high (profile likelihood),
    share, note; see `statistics.components`.
    """
    rows = keep_exchangeable(rows)
    items, seeds = rows["example_id"].astype(str), rows["seed"].astype(str)
    several = {level: rows[level].nunique() > 1 for level in REPLICATES}
    factors = {"item": items.to_numpy(), "seed": seeds.to_numpy()}
    if several["paraphrase"]:
        factors[REPLICATES["paraphrase"]] = rows["paraphrase"].to_numpy()
    cell = items + "\0" + seeds
    last, joined = SEED_BY_ITEM, ""
    if cell.duplicated().any():
        factors[SEED_BY_ITEM] = cell.to_numpy()
        within = [REPLICATES[level] for level in ("repeat", "draw") if several[level]]
        last = " and ".join(within) or WORDING_BY_ITEM
        wording = "\0" + rows["paraphrase"].astype(str)
        hidden = (
            {WORDING_BY_ITEM: items + wording, WORDING_BY_CELL: cell + wording}
            if several["paraphrase"] and within
            else {}
        )
        if several["draw"]:
            hidden[DRAW_BY_ITEM] = items + "\0" + rows["draw"].astype(str)
        for name, labels in hidden.items():
            if has_too_many_levels({**factors, name: labels.to_numpy()}):
                joined += f" There are too many items to split off {name}, which is part of this row."
            else:
                factors[name] = labels.to_numpy()
    table = variance_components(rows["value"].to_numpy(dtype=float), factors, intervals=intervals)
    table = table.rename(columns={"factor": "component"}).replace({"component": {"residual": last}})
    table.loc[table["component"] == last, "note"] += " " + name_missing(rows) + joined
    return table.assign(note=table["note"].str.strip(), n=len(rows), n_undefined=table.attrs["n_undefined"])


def tabulate_components(
    family: SeedFamily, metrics: pd.DataFrame, varying: set[str], measures: tuple = MEASURES
) -> pd.DataFrame:
    """Return `split_values` of each measure and explainer of a family.

    metrics: the table of that name. varying: names "explainer/base" of those that depend on the seed; for the others
    there is no variance over seeds to split. Columns: corpus, subject, tuning, explainer, base, metric, k, operator and
    those of `split_values`.
    """
    mine = rows_of_model(metrics, tuple(family.columns.values()))
    chosen = mine[pd.MultiIndex.from_frame(mine[["metric", "k", "operator"]]).isin(list(measures))]
    tables = []
    if len(chosen):
        keys = ["explainer", "base", "metric", "k", "operator"]
        for key, rows in add_variant_parts(chosen).groupby(keys, sort=False):
            if f"{key[0]}/{key[1]}" in varying:
                tables.append(split_values(rows).assign(**family.columns, **dict(zip(keys, key, strict=True))))
    order = [*FAMILY, "explainer", "base", "metric", "k", "operator", "component", "levels", "variance", "low", "high",
             "share", "n", "n_undefined", "note"]  # fmt: skip
    return pd.concat(tables, ignore_index=True)[order] if tables else pd.DataFrame(columns=order)


def split_word_scores(scores: np.ndarray) -> np.ndarray:
    """Return what word, seed, word x seed and replicate add to the variance of the word scores of one item, (4,).

    scores: (n_seeds, n_replicates, n_words). Analysis of variance of a balanced table with words, seeds and replicates
    crossed:

        score = mean + word + seed + word x seed + replicate (its shift, and how it and the words, the seeds or both go
        together)

    It holds for replicates that are the same for every seed (paraphrases, draws) and for those that are not (samples).
    Unbiased moment estimates, which may fall below 0 and are not cut, as that would bias their means. With one
    replicate "word x seed" holds its errors and "replicate" is NaN; "word" is then `signal_corrected` of
    `metrics.stability`. NaN below two seeds or two words.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 3 or scores.size == 0:
        raise StudyError("Word scores must have the shape (seeds, replicates, words), none of them 0.")
    n_seeds, n_replicates, n_words = scores.shape
    if n_seeds < 2 or n_words < 2:
        return np.full(4, np.nan)
    by_seed = scores.mean(axis=1)  # (seeds, words)
    seed_and_word = _interaction(by_seed)
    word = by_seed.mean(axis=0).var(ddof=1) - seed_and_word / n_seeds
    seed = by_seed.mean(axis=1).var(ddof=1) - seed_and_word / n_words
    if n_replicates == 1:
        return np.array([word, seed, seed_and_word, np.nan])
    by_replicate, shifts = scores.mean(axis=0), scores.mean(axis=2)  # (replicates, words), (seeds, replicates)
    replicate_and_word, replicate_and_seed = _interaction(by_replicate), _interaction(shifts)
    rest = scores - by_seed[:, None] - by_replicate - shifts[:, :, None]
    rest += scores.mean(axis=(0, 1)) + scores.mean(axis=(1, 2))[:, None, None] + scores.mean(axis=(0, 2))[:, None]
    rest -= scores.mean()
    error = float(np.square(rest).sum() / ((n_seeds - 1) * (n_replicates - 1) * (n_words - 1)))
    # What is left of each mean square is free of the others (tables of expected mean squares, all factors random).
    with_word, with_seed = replicate_and_word - error / n_seeds, replicate_and_seed - error / n_words
    shift = by_replicate.mean(axis=1).var(ddof=1) - replicate_and_word / n_words - with_seed / n_seeds
    return np.array(
        [
            word - with_word / n_replicates,
            seed - with_seed / n_replicates,
            seed_and_word - error / n_replicates,
            shift + with_word + with_seed + error,
        ]
    )


def _interaction(table: np.ndarray) -> float:
    """Return the mean square that row and column means leave of a table (n_rows, n_columns)."""
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return float(np.square(rest).sum() / ((table.shape[0] - 1) * (table.shape[1] - 1)))


def stack_replicates(family: SeedFamily, rows: pd.DataFrame, level: str | None) -> list[np.ndarray | None]:
    """Return scaled scores (n_seeds, n_replicates, n_words) per item; None where an explanation is not valid.

    level: the column that counts replicates, or None for one per seed. Other levels stay at their lowest number.
    """
    rows = keep_exchangeable(rows) if level == "repeat" else rows[rows["repeat"] == rows["repeat"].min()]
    for other in {"paraphrase", "draw"} - {level}:
        rows = rows[rows[other] == rows[other].min()]
    numbers = [0] if level is None else sorted(rows[level].unique())
    lookup = {
        (row.example_id, row.seed, 0 if level is None else getattr(row, level)): row
        for row in rows[rows["valid"].astype(bool)].itertuples(index=False)
    }
    stacked: list[np.ndarray | None] = []
    for example in family.examples:
        keys = [[(example.example_id, seed, number) for number in numbers] for seed in family.seeds]
        if not all(key in lookup for line in keys for key in line):
            stacked.append(None)
            continue
        n_words = len(example.words)
        stacked.append(scale_rows(np.array([[scores_of(lookup[key], n_words) for key in line] for line in keys])))
    return stacked


def tabulate_word_components(
    family: SeedFamily, explanations: pd.DataFrame, varying: set[str], seed: int, resamples: int
) -> list[dict]:
    """Return the shares of the variance of a word's score: word, seed, word x seed, and replicates if there are any.

    Scores are scaled to a largest absolute value of 1; the variance is that within an item. Shares are those of the
    mean components over items. One table per kind of replicate that the study has (`replicate`), else one without.
    Columns: component, variance, share, low, high (BCa over items), low_seeds, high_seeds (jackknife), n (items with a valid
    explanation of every seed and replicate), n_undefined, note.
    """
    rows, mine = [], rows_of_model(explanations, tuple(family.columns.values()))
    for (explainer, base), part in add_variant_parts(mine).groupby(["explainer", "base"], sort=False):
        if f"{explainer}/{base}" not in varying:
            continue
        kinds = [level for level in REPLICATES if keep_exchangeable(part)[level].nunique() > 1]
        for level in kinds or [None]:
            identity = {**family.columns, "explainer": explainer, "base": base,
                        "replicate": "" if level is None else REPLICATES[level]}  # fmt: skip
            stacked = stack_replicates(family, part, level)
            note = name_missing(keep_exchangeable(part))
            generator = generator_for("words", seed, family.name, explainer, base, level)
            for row in share_rows(stacked, len(family.seeds), generator, resamples):
                rows.append({**identity, **row, "note": note if row["component"] == "word x seed" else ""})
    return rows


def share_rows(
    stacked: list[np.ndarray | None], n_seeds: int, generator: np.random.Generator, resamples: int
) -> list[dict]:
    """Return one row per component of the pooled word-score variance, with its share and intervals."""
    known = [scores for scores in stacked if scores is not None and min(scores.shape[0], scores.shape[2]) > 1]
    if not known:
        return []
    n_parts = 4 if known[0].shape[1] > 1 else 3

    def columns(seeds: np.ndarray) -> np.ndarray:
        return np.array([split_word_scores(scores[seeds])[:n_parts] for scores in known])

    everything = columns(np.arange(n_seeds))
    rows = []
    for number, component in enumerate(WORD_PARTS[:n_parts]):

        def share(sums: np.ndarray, number: int = number) -> np.ndarray:
            return ratio_of(np.stack([sums[..., number], sums.sum(axis=-1)], axis=-1))

        items = statistic_interval(everything, share, generator, resamples)
        seeds = jackknife_over_seeds(n_seeds, lambda chosen, share=share: float(share(columns(chosen).sum(axis=0))))
        rows.append(
            {
                "component": component, "variance": float(everything[:, number].mean()), "share": items.estimate,
                "low": items.low, "high": items.high, "low_seeds": seeds.low, "high_seeds": seeds.high,
                "n": items.n, "n_undefined": len(stacked) - len(known), "n_seeds": n_seeds,
            }
        )  # fmt: skip
    return rows

"""Stage 8: does the answer depend on how the question is put? Self-explanation minus attribution under every choice.

The papers differ in measure, length, operator, filter, attribution and prompt. Here each combination of these choices
is one specification (Simonsohn, Simmons and Nelson 2020), and all are estimated on the same resamples, so that one
choice can be switched at a time and its effect has an interval. Positive: the self-explanation is better.

The order in which the words of a set go is one of the choices: P2 v4 re-orders the words of some methods, and not of
others, by greedy search. It changes nothing where all k words are removed at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rationales.ledger.load import load_ledger
from rationales.ledger.panel import INTACT, is_member, last_epochs
from rationales.randomness import generator_for
from rationales.replicates import without_replicates
from rationales.stages.specification_choices import (
    FACTORS,
    LENGTHS,
    METRICS,
    PROMPT,
    REFERENCES,
    find_specification,
    list_specifications,
)
from rationales.statistics.bootstrap import FEW_ITEMS, draw_counts
from rationales.statistics.crossed import draw_seed_weights, resample_crossed_means
from rationales.study import HUMAN, Study
from rationales.tables import write_part

MODEL = ["corpus", "subject", "tuning"]
CHUNK = 256  # specifications whose resamples are held at once
PERMUTATIONS = 1999


@dataclass(frozen=True)
class Specifications:
    """All specifications of one model.

    table: one row each, with the factors, `first` and `second` (rows of `values`) and `sign`. values: (n_series,
    n_items, n_seeds), NaN where undefined. correct (n_items, n_seeds): 1, 0 or NaN. counts (B, n_items) and
    seed_weights (B, n_seeds): the resamples, shared by all. signs (P, n_items).
    """

    model: tuple[str, str, str]
    table: pd.DataFrame
    values: np.ndarray
    correct: np.ndarray
    counts: np.ndarray
    seed_weights: np.ndarray
    signs: np.ndarray

    def cells(self, rows: Sequence[int]) -> np.ndarray:
        """Self minus attribution (n_rows, n_items, n_seeds), turned so that higher is better, within the filter."""
        chosen = self.table.iloc[list(rows)]
        difference = self.values[chosen["first"]] - self.values[chosen["second"]]
        difference *= chosen["sign"].to_numpy()[:, None, None]
        for name, wanted in (("correct", 1), ("wrong", 0)):
            here = (chosen["items"] == name).to_numpy()
            difference[here] = np.where(self.correct == wanted, difference[here], np.nan)
        return difference


def gather_specifications(study: Study, metrics: pd.DataFrame, predictions: pd.DataFrame) -> list[Specifications]:
    """Return every specification of every model that has self-explanations and attributions.

    metrics, predictions: the study's tables; several epochs of a model count as its last. A specification on fewer than
    ten items is left out. Empty when no model has both: a finding about the models, not a mistake.
    """
    groups = load_ledger().groups
    rows = metrics[metrics["metric"].isin(METRICS) & metrics["k"].isin(LENGTHS) & (metrics["subject"] != HUMAN)]
    rows = last_epochs(without_replicates(rows))
    wanted = [name == "self" or is_member(groups, ["attributions"], name) for name in rows["explainer"].unique()]
    rows = rows[rows["explainer"].isin(rows["explainer"].unique()[wanted])]
    intact = last_epochs(predictions[predictions["paradigm"] == INTACT])
    found = []
    for model, part in rows.groupby(MODEL, sort=False):
        answers = intact[(intact[MODEL] == pd.Series(model, index=MODEL)).all(axis=1)]
        if built := build_specifications(study, model, part, answers):
            found.append(built)
    return found


def build_specifications(
    study: Study, model: tuple[str, str, str], rows: pd.DataFrame, answers: pd.DataFrame
) -> Specifications | None:
    """The specifications of one model, or None when it lacks self-explanations or attributions."""
    items, seeds = np.unique(rows["example_id"]), np.unique(rows["seed"])
    rows = rows.assign(length=rows["k"].map(LENGTHS))
    keys = ["explainer", "variant", "metric", "length", "operator"]
    found = rows.groupby(keys).indices
    places = np.searchsorted(items, rows["example_id"].to_numpy())
    columns = np.searchsorted(seeds, rows["seed"].to_numpy())
    given = rows["value"].to_numpy(dtype=float)
    values = np.full((len(found), len(items), len(seeds)), np.nan)
    for number, chosen in enumerate(found.values()):
        values[number, places[chosen], columns[chosen]] = given[chosen]
    correct = np.full(values.shape[1:], np.nan)
    answers = answers[answers["example_id"].isin(items) & answers["seed"].isin(seeds)]
    where = np.searchsorted(items, answers["example_id"].to_numpy()), np.searchsorted(seeds, answers["seed"].to_numpy())
    correct[where] = answers["correct"].to_numpy(dtype=float)
    table = pd.DataFrame(list_specifications(list(found)))
    if table.empty:
        return None
    resamples = study.statistics["resamples"]
    draws = generator_for("specifications", study.seed, *model)
    counts = np.concatenate(list(draw_counts(len(items), resamples, draws)))
    weights = draw_seed_weights(len(seeds), resamples, draws)
    signs = 2.0 * draws.integers(0, 2, size=(PERMUTATIONS, len(items))) - 1.0
    built = Specifications(model, table, values, correct, counts, weights, signs)
    enough = np.concatenate([(~np.isnan(cells)).any(axis=2).sum(axis=1) >= FEW_ITEMS for _, cells in chunks_of(built)])
    kept = table[enough].reset_index(drop=True)
    return Specifications(model, kept, values, correct, counts, weights, signs) if len(kept) else None


def chunks_of(specs: Specifications, size: int = CHUNK) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows, cells) of a few specifications at a time."""
    for start in range(0, len(specs.table), size):
        rows = range(start, min(start + size, len(specs.table)))
        yield slice(rows.start, rows.stop), specs.cells(rows)


def resample_cells(specs: Specifications, cells: np.ndarray) -> np.ndarray:
    """Means (B, k) of cells (k, n_items, n_seeds) under the shared resamples of items and seeds."""
    return resample_crossed_means(cells, specs.counts, specs.seed_weights)


def estimates_of(cells: np.ndarray) -> np.ndarray:
    """Means (k,) over the defined cells."""
    return np.nansum(cells, axis=(1, 2)) / (~np.isnan(cells)).sum(axis=(1, 2))


def specification_curve(gathered: Sequence[Specifications], level: float = 0.95) -> pd.DataFrame:
    """Return one row per specification: model, question, family, FACTORS, estimate, ci_low, ci_high, n_items, n_seeds.

    estimate: mean of self minus attribution over items and seeds, in the units of the measure, turned so that positive
    means the self-explanation is better. Percentile interval over items and seeds, as wide as Student's t where
    seeds are few (`crossed.resample_crossed_means`).
    """
    tables = []
    tails = [(1 - level) / 2, (1 + level) / 2]
    for specs in gathered:
        parts = []
        for rows, cells in chunks_of(specs):
            low, high = np.nanquantile(resample_cells(specs, cells), tails, axis=0)
            defined = ~np.isnan(cells)
            parts.append(
                specs.table.iloc[rows].assign(
                    estimate=estimates_of(cells),
                    ci_low=low,
                    ci_high=high,
                    n_items=defined.any(axis=2).sum(axis=1),
                    n_seeds=defined.any(axis=1).sum(axis=1),
                )
            )
        tables.append(
            pd.concat(parts)
            .drop(columns=["first", "second", "sign"])
            .assign(**dict(zip(MODEL, specs.model, strict=True)))
        )
    columns = [*MODEL, "question", "family", *FACTORS, "estimate", "ci_low", "ci_high", "n_items", "n_seeds"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def switch_effects(
    gathered: Sequence[Specifications], references: Mapping[str, Mapping[str, object]] = REFERENCES, level: float = 0.95
) -> pd.DataFrame:
    """Return how far each choice alone moves the difference away from that of a named reference specification.

    One row per model, reference, factor and other level: `before` and `after` (the levels), reference_estimate,
    estimate (after the switch), change with ci_low, ci_high (paired by item and seed), n_items. The factor "everything"
    switches all choices to those of another reference on the same question. Changes are in the units of the measures;
    between measures of different units they say which way the answer moves, not how far. See `list_switches`.
    """
    rows = []
    for specs in gathered:
        places = {name: find_specification(specs.table, wanted) for name, wanted in references.items()}
        factors = specs.table[["question", *FACTORS]]
        for name, start in places.items():
            if start is None:
                continue
            base = factors.iloc[start]
            targets = list_switches(factors, start)
            targets += [
                ("everything", place)
                for other, place in places.items()
                if other != name and place is not None and factors["question"].iloc[place] == base["question"]
            ]
            rows += _switch_rows(specs, name, start, targets, {v: k for k, v in places.items()}, level)
    columns = [
        "reference",
        "factor",
        "before",
        "after",
        "reference_estimate",
        "estimate",
        "change",
        "ci_low",
        "ci_high",
    ]
    return pd.DataFrame(rows, columns=[*MODEL, "question", *columns, "n_items"])


def list_switches(factors: pd.DataFrame, start: int) -> list[tuple[str, int]]:
    """Return (factor, position) of every specification that differs from the one at `start` by one switch.

    factors: the question and FACTORS. A measure without a value at the reference's length is taken at the lengths it
    has. "prompt": several of the prompt's factors at once, where they cannot be switched alone.
    """
    same = factors == factors.iloc[start]
    switches: list[tuple[str, int]] = []
    for factor in FACTORS:
        others = same.drop(columns=factor).all(axis=1)
        switches += [(factor, int(place)) for place in np.flatnonzero(others & ~same[factor])]
    reached = {factors["measure"].iloc[place] for factor, place in switches if factor == "measure"}
    loose = same.drop(columns=["measure", "length"]).all(axis=1) & ~same["measure"] & ~factors["measure"].isin(reached)
    switches += [("measure", int(place)) for place in np.flatnonzero(loose)]
    prompt = same.drop(columns=list(PROMPT)).all(axis=1) & ((~same[list(PROMPT)]).sum(axis=1) > 1)
    return switches + [("prompt", int(place)) for place in np.flatnonzero(prompt)]


def describe_level(row: pd.Series, factor: str, base: pd.Series) -> str:
    """The level of a factor in a specification, with what had to change along with it."""
    if factor == "prompt":
        return "-".join(row[name] for name in PROMPT)
    if factor == "measure" and row["length"] != base["length"]:
        return f"{row['measure']} ({row['length']})"
    return str(row[factor])


def _switch_rows(
    specs: Specifications, name: str, start: int, targets: list[tuple[str, int]], named: Mapping[int, str], level: float
) -> list[dict]:
    places = [start, *(place for _, place in targets)]
    cells = specs.cells(places)
    estimates = estimates_of(cells)
    changes = resample_crossed_means(cells, specs.counts, specs.seed_weights, base=cells[0])
    low, high = np.nanquantile(changes, [(1 - level) / 2, (1 + level) / 2], axis=0)
    base, rows = specs.table.iloc[start], []
    for number, (factor, place) in enumerate(targets, start=1):
        everything = factor == "everything"
        rows.append(
            {
                **dict(zip(MODEL, specs.model, strict=True)),
                "question": base["question"],
                "reference": name,
                "factor": factor,
                "before": name if everything else describe_level(base, factor, base),
                "after": named[place] if everything else describe_level(specs.table.iloc[place], factor, base),
                "reference_estimate": estimates[0],
                "estimate": estimates[number],
                "change": estimates[number] - estimates[0],
                "ci_low": low[number],
                "ci_high": high[number],
                "n_items": int((~np.isnan(cells[number])).any(axis=1).sum()),
            }
        )
    return rows


def joint_test(gathered: Sequence[Specifications]) -> pd.DataFrame:
    """Return, per model and question, whether the median specification differs from 0 (Simonsohn et al. 2020).

    Null: each item's differences may change their sign, all specifications together, so that their dependence
    is kept; it speaks of the seeds at hand. Columns: model, question, specifications, median, share_positive, p
    (two-sided), n_items.
    """
    rows = []
    for specs in gathered:
        for question, part in specs.table.groupby("question", sort=False):
            observed, flipped = [], []
            for start in range(0, len(part), CHUNK):
                cells = specs.cells(part.index[start : start + CHUNK])
                weights = (~np.isnan(cells)).sum(axis=(1, 2))
                contributions = np.nansum(cells, axis=2) / weights[:, None]
                observed.append(contributions.sum(axis=1))
                flipped.append((specs.signs @ contributions.T).astype(np.float32))
            estimates = np.concatenate(observed)
            median = float(np.median(estimates))
            null = np.median(np.concatenate(flipped, axis=1), axis=1)
            extreme = int((np.abs(null) >= abs(median) - 1e-6).sum())
            rows.append(
                {
                    **dict(zip(MODEL, specs.model, strict=True)),
                    "question": question,
                    "specifications": len(part),
                    "median": median,
                    "share_positive": float((estimates > 0).mean()),
                    "p": (extreme + 1) / (len(null) + 1),
                    "n_items": specs.values.shape[1],
                }
            )
    columns = [*MODEL, "question", "specifications", "median", "share_positive", "p", "n_items"]
    return pd.DataFrame(rows, columns=columns)


def explore_specifications(
    study: Study, metrics: pd.DataFrame, predictions: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return (curve, switches, joint tests) of a study, written to the tables `specifications`, `switches` and
    `specification_tests`."""
    gathered = gather_specifications(study, metrics, predictions)
    tables = specification_curve(gathered), switch_effects(gathered), joint_test(gathered)
    for name, table in zip(("specifications", "switches", "specification_tests"), tables, strict=True):
        write_part(table.assign(**study.stamp(study.statistics)), study.part(name, "all"))
    return tables

"""The published numbers of Huang et al. 2023 beside the same numbers from the recordings, and why they differ."""

import csv
from collections.abc import Mapping
from importlib.resources import files

import numpy as np
import pandas as pd

from rationales.metrics.selection import resolve_k
from rationales.randomness import generator_for
from rationales.recorded.huang import ORDERS, HuangRun
from rationales.recorded.huang_analysis import (
    PAIRS,
    SET_MEASURES,
    agreement_table,
    describe_answers,
    describe_occlusion,
    share_of_shared_jitter,
)
from rationales.recorded.huang_as_published import JITTER, agreement_as_published
from rationales.recorded.huang_tables import SCORES, TOPK, reasons_against, sentiment_scores
from rationales.tables import PREDICTION_ONLY

COLUMNS = ["paper", "quantity", "subject", "paradigm", "published", "recomputed", "as_published", "n", "note"]
PARADIGMS = {order: SCORES.format(order) for order in ORDERS} | {f"{o}-topk": TOPK.format(o) for o in ORDERS}
PARADIGMS[PREDICTION_ONLY] = PREDICTION_ONLY


def read_published() -> pd.DataFrame:
    """Return the published numbers: paper, quantity, subject, paradigm, published, source, note, tolerance.

    tolerance: half of the last digit that is printed.
    """
    text = files("rationales.recorded").joinpath("published_huang.csv").read_text(encoding="utf-8")
    table = pd.DataFrame(list(csv.DictReader(text.splitlines())))
    decimals = table["published"].str.partition(".")[2].str.len()
    return table.assign(published=table["published"].astype(float), tolerance=0.5 * 10.0**-decimals + 1e-9)


def compare_with_published(runs: Mapping[str, HuangRun], n_draws: int = 40, seed: int = 0) -> pd.DataFrame:
    """Return one row per published number of a subject in `runs`: paper, quantity, subject, paradigm, published, ...

    recomputed: from the recordings by this study's definitions (ties in expectation), NaN where the recording is
    unusable. as_published: by the authors' procedure on the same files, NaN where that is no other one. n: sentences.
    note: why published and recomputed differ, as far as it can be shown, else that it is unexplained.
    Numbers that rest on deletions which were never recorded (Tables VII and VIII, GPT-3.5) are not in the list.
    """
    known: dict[tuple[str, str, str], dict] = {}
    for subject, run in runs.items():
        for quantity, paradigm, row in [*_facts(run, seed), *_agreements(run, n_draws, seed)]:
            known[quantity, subject, paradigm] = row
    rows = []
    for row in read_published().itertuples():
        if row.subject not in runs:
            continue
        found = known.get((row.quantity, row.subject, row.paradigm))
        found = found or {"recomputed": np.nan, "as_published": np.nan, "n": 0, "note": "not in the recordings"}
        rows.append({**row._asdict(), **found, "note": _explain(row.published, row.tolerance, found)})
    return pd.DataFrame(rows)[COLUMNS]


def _facts(run: HuangRun, seed: int) -> list[tuple[str, str, dict]]:
    """(quantity, paradigm, row) of accuracies, saliency levels, zero occlusions and lengths."""
    answers = describe_answers(run, seed).set_index(["paradigm", "metric"])
    occlusion = describe_occlusion(run, seed).set_index(["paradigm", "metric"])
    found = []
    for short, paradigm in PARADIGMS.items():
        if (paradigm, "accuracy") in answers.index:
            others = run.counts.get("answers to other sentences", 0) if short == PREDICTION_ONLY else 0
            note = f"the first {len(run.examples)} of {len(run.examples) + others} recorded answers" if others else ""
            found.append(("accuracy", short, _row(answers.loc[(paradigm, "accuracy")], np.nan, note)))
        if (paradigm, "saliency_levels") in answers.index:
            filled = float(answers.loc[(paradigm, "saliency_levels_filled"), "estimate"])
            note = "as published: a word that the answer leaves out has the score 0, which adds a level"
            found.append(("saliency_levels", short, _row(answers.loc[(paradigm, "saliency_levels")], filled, note)))
    for order in ORDERS:
        other = ORDERS[1 - ORDERS.index(order)]
        swapped = float(occlusion.loc[(other, "zero_words"), "estimate"])
        note = f"the file of {other} gives {swapped:.3f}: labels look swapped, in the paper or in the files"
        found.append(("zero_words", order, _row(occlusion.loc[(order, "zero_words")], np.nan, note)))
    lengths = [len(example.words) for example in run.examples]
    row = {"recomputed": float(np.mean(lengths)), "as_published": np.nan, "n": len(lengths), "note": ""}
    return [*found, ("mean_words", "all", row)]


def _row(summary: pd.Series, as_published: float, note: str) -> dict:
    return {
        "recomputed": float(summary["estimate"]),
        "as_published": as_published,
        "n": int(summary["n"]),
        "note": note,
    }


def _agreements(run: HuangRun, n_draws: int, seed: int) -> list[tuple[str, str, dict]]:
    """(quantity, paradigm, row) of every agreement of the run, in the published (signed) ranking."""
    table = agreement_table(run, seed, ("sentiment",))
    stored = {order: stored_agreement(run, order) for order in ORDERS}
    drawn = {
        order: None if stored[order] is not None else drawn_agreement(run, order, n_draws, seed) for order in ORDERS
    }
    reasons = {order: reasons_against(run, order) for order in ORDERS}
    rows = []
    for row in table.itertuples():
        measure, pair, order = row.measure, row.pair, row.paradigm
        value, note, spread = float("nan"), "", None
        if stored[order] is not None:
            value = stored[order].get((pair, measure), value)
            note = _note_on_stored(run, order, pair, measure, reasons[order])
        elif pair in drawn[order]:
            draws = drawn[order][pair][measure]
            value, spread = mean_of_defined(list(draws)), np.nanquantile(draws, [0.025, 0.975])
        entry = {"recomputed": row.estimate, "as_published": value, "n": row.n, "note": note, "spread": spread}
        rows.append((f"{measure} {pair}", order, entry))
    return rows


def stored_agreement(run: HuangRun, order: str) -> dict[tuple[str, str], float] | None:
    """Return (pair, measure) -> mean agreement of the authors' own lists as published, or None without such lists.

    The lists hold the jitter that broke their ties. A rank correlation that is undefined is left out, as they do.
    """
    tables = {name: run.tables.get(f"{name}-{order}") for name in ("self", "occlusion", "lime")}
    if tables["self"] is None:
        return None
    tables["topk"] = [
        _listed_first(selected, len(example.words))
        for example, selected in zip(run.examples, run.selected.get(order, []), strict=False)
    ]
    means = {}
    for first, second in PAIRS:
        if tables[first] and tables[second]:
            values = _mean_as_published(tables[first], tables[second])
            means |= {(f"{first}-{second}", measure): value for measure, value in values.items()}
    return means


def _listed_first(selected: tuple[int, ...], n_words: int) -> np.ndarray:
    """Scores that put the words of a list first, in its order."""
    scores = -np.arange(n_words, dtype=float) - n_words
    scores[list(selected)] = -np.arange(len(selected), dtype=float)
    return scores


def drawn_agreement(run: HuangRun, order: str, n_draws: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Return pair -> measure -> means over sentences (n_draws,) when ties are broken by independent random jitter.

    Without the authors' own lists, this is the range that their procedure can give on the same files.
    """
    sources = {name: scores for name, (scores, reason) in sentiment_scores(run, order).items() if not reason}
    generator = generator_for("tie breaking", seed, run.subject, order)
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(n_draws):
        jittered = {
            name: [None if s is None else s + generator.uniform(-JITTER, JITTER, len(s)) for s in scores]
            for name, scores in sources.items()
        }
        for first, second in PAIRS:
            if first in jittered and second in jittered:
                for measure, value in _mean_as_published(jittered[first], jittered[second]).items():
                    found.setdefault(f"{first}-{second}", {}).setdefault(measure, []).append(value)
    return {pair: {name: np.array(draws) for name, draws in values.items()} for pair, values in found.items()}


def _mean_as_published(first: list[np.ndarray | None], second: list[np.ndarray | None]) -> dict[str, float]:
    """Mean of each published measure over the sentences with both explanations and a defined value."""
    rows = [
        agreement_as_published(one, two, resolve_k("fifth", len(one)))
        for one, two in zip(first, second, strict=True)
        if one is not None and two is not None
    ]
    return {name: mean_of_defined([row[name] for row in rows]) for name in rows[0]} if rows else {}


def mean_of_defined(values: list[float]) -> float:
    """Mean of the values that are defined; NaN where none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _note_on_stored(run: HuangRun, order: str, pair: str, measure: str, reasons: Mapping[str, str]) -> str:
    """Why the authors' lists agree as they do."""
    notes = [f"{name}: {reasons[name]}" for name in pair.split("-") if reasons.get(name)]
    if pair == "self-occlusion":
        shared = share_of_shared_jitter(run.tables[f"self-{order}"], run.tables[f"occlusion-{order}"])
        if shared > 0.5:
            notes.append(f"both lists break ties by the same random numbers ({shared:.0%} of the words), so ties agree")
    if measure not in SET_MEASURES and not notes:
        notes.append("the published measure gives a jittered zero a sign and a rank")
    return "; ".join(notes)


def _explain(published: float, tolerance: float, found: dict) -> str:
    """The note of a row: agreement, a reproduction of the published procedure, or neither."""
    notes = [found["note"]] if found["note"] else []
    recomputed, again, spread = found["recomputed"], found["as_published"], found.get("spread")
    if abs(published - recomputed) <= tolerance:
        return "agrees"
    if abs(published - again) <= tolerance:
        return "; ".join(["reproduced by the published procedure on the same files", *notes])
    if spread is not None:
        inside = spread[0] - tolerance <= published <= spread[1] + tolerance
        where = f"the range of random tie orders on these files, {spread[0]:.3f} to {spread[1]:.3f}"
        notes.append(f"within {where}" if inside else f"outside {where}: files of another run, or unexplained")
    elif not any("swapped" in note for note in notes):
        notes.append("unexplained: another run, or another file")
    return "; ".join(notes)

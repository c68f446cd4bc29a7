"""Stage 7, in full: what training seeds change in explanations, and what they do not (P4: Bogaert et al. 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import pandas as pd

from rationales.errors import StudyError
from rationales.replicates import split_variant
from rationales.stages.compare_seeds import seed_families
from rationales.stages.predictions import predictions_of
from rationales.stages.prepare import read_corpus
from rationales.stages.seed_components import MEASURES, tabulate_components, tabulate_word_components
from rationales.stages.seed_data import SeedFamily, SeedScores, read_families
from rationales.stages.seed_humans import (
    Raters,
    list_human_raters,
    seed_raters,
    tabulate_curves,
    tabulate_spread_of_raters,
)
from rationales.stages.seed_selections import compare_selections, tabulate_accuracies
from rationales.stages.seed_stability import (
    SeedPairs,
    read_pairs,
    tabulate_curve,
    tabulate_labels,
    tabulate_pairs,
    tabulate_spread,
    tabulate_strata,
    tabulate_widths,
)
from rationales.stages.seed_tunings import compare_tunings
from rationales.study import Study
from rationales.tables import read_part, write_part


@dataclass(frozen=True)
class SeedAnalysis:
    """The tables of the analysis; each is written to the table `seed_analysis` under its name.

    accuracies: selections of seeds of equal accuracy and the tests of their accuracies.
    selections: stability within each selection, against all seeds and random ones.
    stability: every measure of every explainer with intervals over items, seeds and both, and its chance level.
    strata: items with unanimous and with divided predictions. labels: how often seeds disagree on the label.
    curve: correlation with the mean explanation against k. widths: interval width against the number of seeds.
    humans, human_curve: readers beside seeds. notes: what could not be done, in the column `note`.
    components: variance of plausibility and faithfulness. word_components: variance of the word scores.
    tunings: stability under tunings whose seeds draw less, side by side.
    """

    accuracies: pd.DataFrame
    selections: pd.DataFrame
    stability: pd.DataFrame
    strata: pd.DataFrame
    labels: pd.DataFrame
    curve: pd.DataFrame
    widths: pd.DataFrame
    humans: pd.DataFrame
    human_curve: pd.DataFrame
    components: pd.DataFrame
    word_components: pd.DataFrame
    tunings: pd.DataFrame
    notes: pd.DataFrame


def analyse_seeds(
    study: Study,
    metrics: pd.DataFrame | None = None,
    margin: float = 0.05,
    wanted: float = 0.05,
    beside: Sequence[str] = (),
) -> SeedAnalysis:
    """Analyse every model with several seeds, write the tables and return them.

    metrics: the table of that name, where it was read already; without it the components of plausibility and
    faithfulness are left out, which `notes` says. margin: of equal accuracy. wanted: half the width of the interval
    over seeds that is aimed at. beside: readers of public corpora whose annotators are shown besides those of the
    study's own, such as "fair_rationales_sst".
    StudyError when the study trains no model with more than one seed.
    """
    if not seed_families(study):
        raise StudyError("This study trains no model with more than one seed; add `seeds` to a run to analyse them.")
    explanations = study.read("explanations", first="notebooks 04 and 05")
    families = read_families(study, explanations, predictions_of(study))
    loaded = [(family, *read_pairs(family, explanations)) for family in families]
    tables = {"accuracies": pd.concat([tabulate_accuracies(family, margin) for family in families], ignore_index=True)}
    tables |= analyse_stability(study, loaded, wanted)
    tables["tunings"] = compare_tunings(
        study, [(family, pairs) for family, _, pairs in loaded], study.statistics["resamples"]
    )
    tables["humans"], tables["human_curve"], notes = set_beside_humans(study, loaded, beside)
    tables |= analyse_components(study, loaded, explanations, metrics)
    if metrics is None:
        notes.append("The table `metrics` was not given: components of plausibility and faithfulness are left out.")
    if tables["tunings"].empty:
        notes.append("No model has two tunings with several seeds: the origin of the variance cannot be told.")
    tables["notes"] = pd.DataFrame({"note": pd.Series(notes, dtype=object)})
    for name, table in tables.items():
        write_part(table.assign(**study.stamp(study.runs)), study.part("seed_analysis", name))
    return SeedAnalysis(**tables)


def read_analysis(study: Study) -> SeedAnalysis:
    """Return the tables as written by `analyse_seeds`; StudyError naming notebook 09 when one is missing."""
    parts = {f.name: read_part(study.part("seed_analysis", f.name), "09_seed_variance") for f in fields(SeedAnalysis)}
    return SeedAnalysis(**{name: part.drop(columns=["study", "config_hash"]) for name, part in parts.items()})


Loaded = tuple[SeedFamily, list[SeedScores], list[SeedPairs]]


def analyse_stability(study: Study, loaded: list[Loaded], wanted: float) -> dict[str, pd.DataFrame]:
    """Return the tables selections, stability, strata, labels, curve and widths."""
    seed, resamples = study.seed, study.statistics["resamples"]
    rows: dict[str, list[dict]] = {
        name: [] for name in ("selections", "stability", "strata", "labels", "curve", "widths")
    }
    for family, scores, pairs in loaded:
        rows["labels"] += tabulate_labels(family, seed, resamples)
        varying = varying_names(pairs)
        for found in scores:
            varies = name_of(found) in varying
            rows["stability"] += tabulate_spread(family, found, varies, seed, resamples)
            if varies:
                rows["curve"] += tabulate_curve(family, found, seed, resamples)
        for one in pairs:
            rows["stability"] += tabulate_pairs(family, one, seed, resamples)
            rows["strata"] += tabulate_strata(family, one, seed, resamples)
            rows["widths"] += tabulate_widths(family, one, seed, wanted)
            if one.varies:
                rows["selections"] += compare_selections(family, one, seed)
    return {name: pd.DataFrame(found) for name, found in rows.items()}


def name_of(found: SeedScores | SeedPairs) -> str:
    """Return "explainer/base", the name under which repeats and draws of an explanation count as one."""
    return f"{found.explainer}/{split_variant(found.variant).base}"


def varying_names(pairs: list[SeedPairs]) -> set[str]:
    """Return the names of the explainers that depend on the seed beyond the predicted label."""
    return {name_of(one) for one in pairs if one.varies}


def set_beside_humans(
    study: Study, loaded: list[Loaded], beside: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the tables humans and human_curve, and what to say of corpora without annotators.

    The curves compare everyone at one number of raters; seeds that do not vary are left out.
    """
    names = dict.fromkeys(family.corpus for family, _, _ in loaded)
    everyone, notes = list_human_raters(study, [read_corpus(study, name) for name in names], beside)
    seeds: list[Raters] = []
    for family, scores, pairs in loaded:
        varying = varying_names(pairs)
        seeds += [seed_raters(family, found) for found in scores if name_of(found) in varying]
    everyone = [*everyone, *seeds]
    if not everyone:
        return pd.DataFrame(), pd.DataFrame(), [*notes, "No explainer depends on the seed."]
    resamples = study.statistics["resamples"]
    humans = tabulate_spread_of_raters(everyone, study.seed, resamples)
    return humans, tabulate_curves(everyone, study.seed, resamples), notes


def analyse_components(
    study: Study, loaded: list[Loaded], explanations: pd.DataFrame, metrics: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    """Return the tables components (empty without metrics) and word_components."""
    resamples = study.statistics["resamples"]
    tables, words = [], []
    for family, _, pairs in loaded:
        varying = varying_names(pairs)
        if metrics is not None:
            tables.append(tabulate_components(family, metrics, varying, MEASURES))
        words += tabulate_word_components(family, explanations, varying, study.seed, resamples)
    found = [table for table in tables if len(table)]
    empty = tables[0] if tables else pd.DataFrame()
    return {
        "components": pd.concat(found, ignore_index=True) if found else empty,
        "word_components": pd.DataFrame(words),
    }

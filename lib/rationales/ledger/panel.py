"""A study's rows as arrays (items x seeds), one per model, measure and explanation: what the tests of claims read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
import pandas as pd

from rationales.replicates import without_replicates
from rationales.study import BASE, FEATURE_MODEL, HUMAN
from rationales.tables import PREDICTION_ONLY

ANSWER, INTACT = "answer", PREDICTION_ONLY  # what the model answers, as if it were an explanation, for `correct`
CORRECT = "correct@all/answers"
HELD_OUT = ", all test texts"  # behind the name of a corpus whose items are its whole test split, explained or not


class NotTestable(Exception):
    """A claim, or one scope of it, cannot be tested on these rows; the message is the reason, in one sentence."""


class Model(NamedTuple):
    """One subject under one tuning on one corpus, with all its seeds; `epoch` only for rows of the table `epochs`."""

    corpus: str
    subject: str
    tuning: str
    epoch: int | None = None

    @property
    def name(self) -> str:
        """As it stands in the column `scope`."""
        shown = f"{self.corpus}/{self.subject}/{self.tuning}"
        return shown if self.epoch is None else f"{shown}/epoch {self.epoch}"


@dataclass(frozen=True)
class Panel:
    """The values of a study.

    items: corpus -> item names (n_items,). seeds: model -> seeds (n_seeds,). series: model -> measure -> (explainer,
    variant) -> values (n_items of the corpus, n_seeds), NaN where there is none. covariates: name -> corpus -> values
    (n_items,). commonest: model -> share of the label that it gives most often. readers: corpus -> (reader, options).
    groups: group of explainers -> names, or {"all_but": groups}. tables: those that the run has, None where not known.
    """

    items: Mapping[str, np.ndarray]
    seeds: Mapping[Model, np.ndarray]
    series: Mapping[Model, Mapping[str, Mapping[tuple[str, str], np.ndarray]]]
    covariates: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    commonest: Mapping[Model, float] = field(default_factory=dict)
    readers: Mapping[str, tuple[str, dict]] = field(default_factory=dict)
    groups: Mapping[str, object] = field(default_factory=dict)
    tables: frozenset[str] | None = None

    def models(self, epochs: bool = False, features: bool = False, held_out: bool = False) -> list[Model]:
        """All models, as they are at the end of their training, or (`epochs`) after each epoch that was measured.

        features: also models on textual features, which only claims about them speak of. held_out: on all test texts
        instead of the explained ones.
        """
        return [
            model
            for model in self.series
            if (model.epoch is not None) == epochs
            and (features or model.subject != FEATURE_MODEL)
            and model.corpus.endswith(HELD_OUT) == held_out
        ]

    def accuracies(self, model: Model) -> np.ndarray:
        """Share of right answers per seed (n_seeds,); NotTestable without predictions."""
        found = self.series.get(model, {}).get(CORRECT, {}).get((ANSWER, INTACT))
        if found is None:
            raise NotTestable(f"There is no prediction of {model.name}, so its accuracy is not known.")
        return mean_of_defined(found, axis=0)


def measure_name(metric: str, k: str = "all", operator: str = "none") -> str:
    """Such as "flip_rate@human/delete"; plausibility has no operator: "f1@human"."""
    return f"{metric}@{k}" if operator == "none" else f"{metric}@{k}/{operator}"


def mean_of_defined(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean along an axis over the values that are not NaN; NaN where there is none (and no warning)."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def last_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the highest epoch of each corpus, subject, tuning and seed."""
    if "epoch" not in rows or rows.empty:
        return rows
    latest = rows.groupby(["corpus", "subject", "tuning", "seed"])["epoch"].transform("max")
    return rows[rows["epoch"] == latest]


def collect_series(
    rows: pd.DataFrame, items: Mapping[str, np.ndarray], by_epoch: bool = False
) -> tuple[dict[Model, np.ndarray], dict[Model, dict]]:
    """Return (seeds, series) of a `Panel` from rows with the columns of `metrics` and a column `measure`.

    Replicates and rows that compare annotators are left out.
    """
    kept = without_replicates(rows[rows["subject"] != HUMAN])
    keys = ["corpus", "subject", "tuning", *(["epoch"] if by_epoch else [])]
    seeds: dict[Model, np.ndarray] = {}
    series: dict[Model, dict] = {}
    for key, part in kept.groupby(keys, sort=False):
        model = Model(*key[:3], int(key[3])) if by_epoch else Model(*key)
        seeds[model] = np.unique(part["seed"])
        index = pd.Index(items[model.corpus])
        places = index.get_indexer(part["example_id"])
        columns = np.searchsorted(seeds[model], part["seed"].to_numpy())
        values = part["value"].to_numpy(dtype=float)
        for (measure, explainer, variant), found in part.groupby(["measure", "explainer", "variant"]).indices.items():
            cells = np.full((len(index), len(seeds[model])), np.nan)
            cells[places[found], columns[found]] = values[found]
            series.setdefault(model, {}).setdefault(measure, {})[str(explainer), str(variant)] = cells
    return seeds, series


def build_panel(
    rows: pd.DataFrame,
    epochs: pd.DataFrame | None = None,
    covariates: pd.DataFrame | None = None,
    commonest: Mapping[Model, float] | None = None,
    readers: Mapping[str, tuple[str, dict]] | None = None,
    groups: Mapping[str, object] | None = None,
    present: frozenset[str] | None = None,
) -> Panel:
    """Return the panel of rows (columns of `metrics` and `measure`).

    epochs: the same per epoch. covariates: columns corpus, example_id and one per covariate, such as `n_words`.
    """
    tables = [rows] if epochs is None or epochs.empty else [rows, epochs]
    together = pd.concat([table[["corpus", "example_id"]] for table in tables])
    items = {str(c): np.unique(part["example_id"]) for c, part in together.groupby("corpus", sort=False)}
    seeds, series = collect_series(rows, items)
    if len(tables) > 1:
        more_seeds, more_series = collect_series(epochs, items, by_epoch=True)
        seeds, series = {**seeds, **more_seeds}, {**series, **more_series}
    found: dict[str, dict[str, np.ndarray]] = {}
    if covariates is not None:
        for corpus, part in covariates.groupby("corpus", sort=False):
            if corpus in items:
                aligned = part.set_index("example_id").reindex(items[corpus])
                for name in part.columns.drop(["corpus", "example_id"]):
                    found.setdefault(name, {})[str(corpus)] = aligned[name].to_numpy(dtype=float)
    return Panel(items, seeds, series, found, commonest or {}, readers or {}, groups or {}, present)


def is_member(groups: Mapping[str, object], wanted: Sequence[str], explainer: str) -> bool:
    """Whether an explainer belongs to any of the groups or names `wanted`.

    A group is a list of explainers, or {"all_but": groups}, which also holds explainers that nobody has listed yet.
    """
    for name in wanted:
        group = groups.get(name, [name])
        if isinstance(group, Mapping):
            if not is_member(groups, group["all_but"], explainer):
                return True
        elif explainer in group:
            return True
    return False


def members_of(panel: Panel, model: Model, measure: str, term: Mapping) -> dict[tuple[str, str], np.ndarray]:
    """Return (explainer, variant) -> values (n_items, n_seeds) of one term of a claim; empty where nothing fits.

    term: `explainers` (groups or names) and, where asked for, `variants` (patterns such as "*-human-*").
    """
    patterns = term.get("variants", ["*"])
    return {
        key: values
        for key, values in panel.series.get(model, {}).get(measure, {}).items()
        if is_member(panel.groups, term["explainers"], key[0])
        and any(fnmatchcase(key[1], pattern) for pattern in patterns)
    }


def describe_term(term: Mapping) -> str:
    """A term of a claim in words, for reasons."""
    shown = " or ".join(term["explainers"])
    return f"{shown} ({' or '.join(term['variants'])})" if term.get("variants") else shown


def require_members(panel: Panel, model: Model, measure: str, term: Mapping) -> dict[tuple[str, str], np.ndarray]:
    """`members_of`, or NotTestable with what is missing."""
    found = members_of(panel, model, measure, term)
    if not found:
        raise NotTestable(f"No rows of {describe_term(term)} with the measure {measure} in {model.name}.")
    return found


def mean_member(members: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
    """Mean over the members of a group, per item and seed; a member without a value is left out of that cell."""
    return mean_of_defined(np.stack(list(members.values())), axis=0)


def label_of(key: tuple[str, str]) -> str:
    """An explanation in a scope: the paradigm of a self-explanation or answer, else the explainer with its variant."""
    explainer, variant = key
    if explainer in ("self", ANSWER):
        return variant
    return explainer if variant == "default" else f"{explainer} ({variant})"


def base_of(panel: Panel, model: Model) -> Model:
    """The same subject and corpus before any tuning; NotTestable when it was not run."""
    base = Model(model.corpus, model.subject, BASE)
    if base not in panel.series:
        raise NotTestable(f"{model.corpus}/{model.subject} was not run before fine-tuning.")
    return base

"""How much of a feature model is chance: refits over seeds, and coefficients over bootstrap samples."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.features.base_features import measure_features
from rationales.features.derived import DerivedSettings, WordRelevance, fit_with_derived, rows_about
from rationales.features.fitting import SOLVERS, FitSettings, fit_linear
from rationales.features.model import (
    FeatureModel,
    TrainingTexts,
    coefficient_table,
    explanation_table,
    fit_feature_model,
    predict_examples,
)
from rationales.features.options import SOURCES
from rationales.metrics.selection import resolve_k
from rationales.metrics.stability import stability_of
from rationales.randomness import generator_for

DEFAULT_VARIED = ("order", "folds", "solver")
FAMILY = ["subject", "tuning", "explainer", "variant"]


def fit_over_seeds(
    training: TrainingTexts,
    seeds: Sequence[int],
    vary: Sequence[str] = DEFAULT_VARIED,
    relevance: WordRelevance | None = None,
    settings: FitSettings | None = None,
    derived: DerivedSettings | None = None,
) -> dict[int, FeatureModel]:
    """Return one model per seed, with derived words where `relevance` is given.

    vary: what changes with the seed. "order": of the training texts; "folds": of the cross-validation; "solver": the
    solvers take turns, and the random one draws anew; "bootstrap": the texts are drawn with replacement, within each
    label; "explanations": the transformer's seeds are drawn with replacement before they are averaged (without
    `relevance`, nothing).
    """
    for what in vary:
        require_known(what, SOURCES, "source of variation")
    if len(set(seeds)) != len(seeds) or not len(seeds):
        raise StudyError("`seeds` must hold at least one seed, each once.")
    settings = settings or FitSettings()
    models = {}
    for position, seed in enumerate(seeds):
        generator = generator_for("feature model", seed)
        rows = np.arange(len(training.examples))
        if "bootstrap" in vary:
            rows = draw_within_labels(training.targets, generator)
        if "order" in vary:
            rows = generator.permutation(rows)
        changed = replace(
            settings,
            fold_seed=seed if "folds" in vary else settings.fold_seed,
            solver_seed=seed if "solver" in vary else settings.solver_seed,
            solver=SOLVERS[position % len(SOLVERS)] if "solver" in vary else settings.solver,
        )
        if relevance is None:
            models[seed] = fit_feature_model(training, rows, changed)
            continue
        n_drawn = len(relevance.seeds)
        drawn = generator.integers(n_drawn, size=n_drawn) if "explanations" in vary else None
        models[seed] = fit_with_derived(training, relevance, rows, changed, derived, drawn)
    return models


def draw_within_labels(targets: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return row numbers (n,) drawn with replacement from each label's rows, as many as it has; in order."""
    rows = [np.flatnonzero(targets == target) for target in np.unique(targets)]
    return np.sort(np.concatenate([generator.choice(members, size=len(members)) for members in rows]))


def explain_over_seeds(
    models: dict[int, FeatureModel], examples: Sequence[Example], how: str = "share"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables `explanations` and `predictions` of every model, with its seed."""
    explanations = [explanation_table(model, examples, seed, how) for seed, model in models.items()]
    predictions = [predict_examples(model, examples, seed) for seed, model in models.items()]
    return pd.concat(explanations, ignore_index=True), pd.concat(predictions, ignore_index=True)


def measure_stability(explanations: pd.DataFrame, examples: Sequence[Example], seed: int = 0) -> pd.DataFrame:
    """Return stability over seeds per item, for any subject: subject, tuning, explainer, variant, example_id, metric,
    value, n_seeds; see `rationales.metrics.stability`.

    Scores support the label that each seed predicts, as in the stage `compare_seeds`. An item without a valid
    explanation under every seed is a row of metric "incomplete" with the number of valid ones. Rows about other
    examples are left aside.
    """
    by_id = {example.example_id: example for example in examples}
    rows = []
    for family, part in rows_about(examples, explanations).groupby(FAMILY, sort=False):
        n_seeds = part["seed"].nunique()
        for example_id, group in part.groupby("example_id", sort=False):
            identity = {**dict(zip(FAMILY, family, strict=True)), "example_id": example_id, "n_seeds": n_seeds}
            valid = group[group["valid"].astype(bool) & group["scores"].notna()].sort_values("seed")
            if len(valid) < n_seeds:
                rows.append({**identity, "metric": "incomplete", "value": float(len(valid))})
                continue
            scores = np.stack([np.asarray(found, dtype=float) for found in valid["scores"]])
            k = resolve_k("fifth", len(by_id[example_id].words))
            values = stability_of(scores, k, generator_for("stability", seed, example_id))
            rows += [{**identity, "metric": metric, "value": value} for metric, value in values.items()]
    return pd.DataFrame(rows, columns=[*FAMILY, "example_id", "n_seeds", "metric", "value"])


def bootstrap_coefficients(
    training: TrainingTexts, model: FeatureModel, seed: int = 0, n_resamples: int = 200, level: float = 0.95
) -> pd.DataFrame:
    """Return `coefficient_table` with estimate, low, high (percentiles over training texts drawn within labels), n.

    Each resample standardises and fits anew with the penalty and the derived words of `model`; what their choice adds
    is not in the interval. Coefficients are shrunk, and so are their intervals. n: training texts.
    """
    if n_resamples < 1 or not 0 < level < 1:
        raise StudyError("A bootstrap needs at least one resample and a level between 0 and 1.")
    generator = generator_for("coefficients", seed)
    values = measure_features(training.examples, model.features, training.analyser)
    listed = [model.labels.index(label) for label in coefficient_table(model)["label"].unique()]
    draws = []
    for _ in range(n_resamples):
        rows = draw_within_labels(training.targets, generator)
        fit = fit_linear(values[rows], training.targets[rows], model.regularisation)
        draws.append(fit.coefficients[listed].ravel())
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    table = coefficient_table(model).rename(columns={"coefficient": "estimate"})
    return table.assign(low=low, high=high, n=len(training.examples), n_resamples=n_resamples)

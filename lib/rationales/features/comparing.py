"""Feature model, feature model with derived words and transformer side by side: accuracy, stability, coefficients."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from rationales.corpora.rows import require_columns
from rationales.errors import StudyError
from rationales.examples import Example
from rationales.explainers.registry import variant_name
from rationales.features.base_features import Analyser
from rationales.features.derived import DerivedSettings, fit_with_derived, rank_words, read_relevance, rows_about
from rationales.features.fitting import FitSettings
from rationales.features.model import (
    BASE_TUNING,
    DERIVED_TUNING,
    SUBJECT,
    check_language,
    fit_feature_model,
    predict_examples,
    prepare_training,
)
from rationales.features.variation import (
    DEFAULT_VARIED,
    FAMILY,
    bootstrap_coefficients,
    explain_over_seeds,
    fit_over_seeds,
    measure_stability,
)
from rationales.metrics.stability import label_instability
from rationales.randomness import generator_for
from rationales.statistics.bootstrap import mean_interval, paired_difference_interval, share_interval
from rationales.statistics.comparisons import mcnemar_test
from rationales.statistics.equivalence import tost_accuracies
from rationales.tables import PREDICTION_ONLY

DEFAULT_VARIANT = variant_name({})
SUMMARISED = ("pearson", "spearman", "top_k_jaccard", "half_correlation", "correlation_with_mean", "signal", "noise")
MODEL = ["subject", "tuning"]
EXPLANATION_COLUMNS = (*MODEL, "seed", "example_id", "explainer", "variant", "scores", "valid")
PREDICTION_COLUMNS = (*MODEL, "seed", "example_id", "predicted", "correct")


def compare_feature_model(
    train: Sequence[Example],
    test: Sequence[Example],
    validation: Sequence[Example] = (),
    explanations: pd.DataFrame | None = None,
    predictions: pd.DataFrame | None = None,
    analyser: Analyser | None = None,
    seeds: Sequence[int] = tuple(range(10)),
    vary: Sequence[str] = DEFAULT_VARIED,
    settings: FitSettings | None = None,
    derived: DerivedSettings | None = None,
    margin: float = 0.05,
    resamples: int = 2000,
    coefficient_resamples: int = 200,
    seed: int = 0,
    explained: Sequence[Example] | None = None,
    further: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return tidy tables, by name, that compare the feature models of P4 with a transformer on the same test texts.

    explanations, predictions: tables of one transformer and one explainer, under one or more seeds. Rows about
    training and validation texts give the derived words; rows about test texts give the transformer's stability and
    accuracy, and never reach a feature model. Without explanations of other texts there is no derived model.
    explained: the test texts whose explanations are compared (default: all); accuracies are over all of them.
    further: name -> what else may vary, as in `vary`. Each adds a family of fits whose explanations are rows of that
    variant; accuracies and predictions are those of `vary` alone.

    Tables:
      - accuracies: subject, tuning, seed, estimate, low, high (Wilson), n;
      - tests: first, second, difference of accuracies with bootstrap interval, McNemar, equivalence within `margin`, n;
      - stability: subject, tuning, explainer, variant, metric, estimate, low, high over items, n, n_undefined, n_seeds;
        "share_differing" is the share of items whose predicted label changes with the seed; signal and noise have the
        units of the scores, so compare them between subjects as ratios only;
      - stability_items: the same per item; stability_tests: with derived words minus without, per variant and metric;
      - coefficients: tuning, label, feature, source, estimate, low, high, n (see `bootstrap_coefficients`), for
        `plot_forest(..., by="feature", floor=0.0)` of one tuning and label;
      - derived_words: label, word, relevance, documents, chosen; selection: the cross-validation of both models;
      - absent: features that could not be measured, and why;
      - explanations, predictions: the feature models' own rows, for every seed: explanations of the texts `explained`,
        predictions of all test texts.

    Accuracies, tests and coefficients are those of the models on all training texts with `settings`; stability is over
    `seeds` and what `vary` (or `further`) names. Raises StudyError as `prepare_training` and `read_relevance` do, for test texts that
    are also training or validation texts, and for explanations without predictions.
    """
    own, shown = (*train, *validation), test if explained is None else explained
    check_disjoint(own, test)
    explained_by_it = _rows_of(explanations, (*own, *test), "explanations", EXPLANATION_COLUMNS, FAMILY)
    predicted_by_it = _rows_of(predictions, (*own, *test), "predictions", PREDICTION_COLUMNS, MODEL)
    training = prepare_training(train, analyser)
    check_language(own, training.analyser)
    varied = {DEFAULT_VARIANT: vary, **(further or {})}
    models = {BASE_TUNING: fit_feature_model(training, settings=settings)}
    families = [(name, fit_over_seeds(training, seeds, how, None, settings)) for name, how in varied.items()]
    ranked = pd.DataFrame(columns=["label", "word", "relevance", "documents"])
    if len(rows_about(own, explained_by_it)):
        if predictions is None:
            raise StudyError("Explanations need the predictions that they explain; give both tables.")
        relevance = read_relevance(explained_by_it, predicted_by_it, own, training.labels)
        model = fit_with_derived(training, relevance, None, settings, derived)
        models[model.tuning] = model
        families += [
            (name, fit_over_seeds(training, seeds, how, relevance, settings, derived)) for name, how in varied.items()
        ]
        longest = max((derived or DerivedSettings()).sizes)
        ranked = rank_words(relevance, (derived or DerivedSettings()).min_documents).head(longest)
    chosen = set().union(*(model.words["word"] for model in models.values()))
    explanation_rows = _join(*(explain_over_seeds(family, shown)[0].assign(variant=name) for name, family in families))
    usual = [family for name, family in families if name == DEFAULT_VARIANT]
    over_seeds = _join(*(predict_examples(model, test, number) for family in usual for number, model in family.items()))
    test_rows = rows_about(test, predicted_by_it)
    finals = _join(*(predict_examples(model, test) for model in models.values()), test_rows)
    items = measure_stability(_join(explanation_rows, rows_about(shown, explained_by_it)), shown, seed)
    return {
        "accuracies": summarise_accuracies(finals),
        "tests": compare_accuracies(finals, margin, resamples, seed),
        "stability": summarise_stability(items, _join(over_seeds, test_rows), resamples, seed),
        "stability_items": items,
        "stability_tests": compare_stability(items, resamples, seed),
        "coefficients": _join(
            *(
                bootstrap_coefficients(training, model, seed, coefficient_resamples).assign(tuning=tuning)
                for tuning, model in models.items()
            )
        ),
        "derived_words": ranked.assign(chosen=ranked["word"].isin(chosen)),
        "selection": _join(*(model.selection.assign(tuning=tuning) for tuning, model in models.items())),
        "absent": pd.DataFrame(list(training.absent.items()), columns=["feature", "reason"]),
        "explanations": explanation_rows,
        "predictions": over_seeds,
    }


def _join(*tables: pd.DataFrame) -> pd.DataFrame:
    """The rows of all tables; an empty one has no types to give and is left out."""
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def check_disjoint(own: Sequence[Example], test: Sequence[Example]) -> None:
    """StudyError when there is no test text, or when one is also used for training."""
    if not test:
        raise StudyError("There is no test text; give examples of the split 'test'.")
    shared = {(item.corpus, item.example_id) for item in own} & {(item.corpus, item.example_id) for item in test}
    if shared:
        raise StudyError(f"'{min(shared)[1]}' is a training and a test text; give splits that do not overlap.")


def _rows_of(
    table: pd.DataFrame | None, examples: Sequence[Example], name: str, columns: Sequence[str], model: Sequence[str]
) -> pd.DataFrame:
    """The rows of a transformer's table about these examples, of the prediction alone; an empty table without one.

    StudyError for an absent column, and for two rows of one model, seed and example (epochs, corpora of equal ids).
    """
    if table is None:
        return pd.DataFrame(columns=columns)
    require_columns(table.columns, columns, name)
    rows = rows_about(examples, table)
    rows = rows[rows["paradigm"] == PREDICTION_ONLY] if "paradigm" in rows else rows
    if rows.duplicated([*model, "seed", "example_id"]).any():
        raise StudyError(
            f"The table '{name}' holds an example twice for one model and seed; select one epoch or corpus."
        )
    return rows


def _correct_by_model(predictions: pd.DataFrame) -> dict[tuple, pd.Series]:
    """(subject, tuning, seed) -> 1 or 0 per example id."""
    return {
        key: rows.set_index("example_id")["correct"].astype(float)
        for key, rows in predictions.groupby([*MODEL, "seed"], sort=False)
    }


def summarise_accuracies(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of every (subject, tuning, seed) with its Wilson interval and the number of items."""
    rows = []
    for (subject, tuning, seed), correct in _correct_by_model(predictions).items():
        interval = share_interval(correct.to_numpy())
        rows.append((subject, tuning, seed, interval.estimate, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=[*MODEL, "seed", "estimate", "low", "high", "n"])


def compare_accuracies(
    predictions: pd.DataFrame, margin: float = 0.05, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return one row per pair of models (not per pair of seeds of one model), on the items that both predicted.

    Columns: first, second ("subject, tuning, seed"), difference (first - second), low, high (paired bootstrap by item),
    p_mcnemar (exact), p_equivalence and equivalent (Tango's score test within `margin`), margin, n, note.
    """
    rows = []
    for (first, one), (second, other) in combinations(_correct_by_model(predictions).items(), 2):
        if first[:2] == second[:2]:
            continue
        shared = one.index.intersection(other.index)
        columns = one[shared].to_numpy(), other[shared].to_numpy()
        names = [f"{subject}, {tuning}, seed {number}" for subject, tuning, number in (first, second)]
        interval = paired_difference_interval(*columns, generator_for("accuracies", seed, *names), resamples)
        mcnemar, equivalence = mcnemar_test(*columns), tost_accuracies(*columns, margin)
        rows.append(
            {
                "first": names[0], "second": names[1], "difference": interval.estimate, "low": interval.low,
                "high": interval.high, "p_mcnemar": mcnemar.p, "p_equivalence": equivalence.p,
                "equivalent": equivalence.equivalent, "margin": margin, "n": len(shared),
                "note": " ".join(filter(None, (interval.note, mcnemar.note, equivalence.note))),
            }
        )  # fmt: skip
    columns = ["first", "second", "difference", "low", "high", "p_mcnemar", "p_equivalence", "equivalent", "margin",
               "n", "note"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def summarise_stability(
    items: pd.DataFrame, predictions: pd.DataFrame, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return mean stability over items with bootstrap intervals, and the share of items whose label changes."""
    keys = ["subject", "tuning", "explainer", "variant", "metric"]
    rows = []
    for key, part in items[items["metric"].isin(SUMMARISED)].groupby(keys, sort=False):
        values = part["value"].to_numpy(dtype=float)
        interval = mean_interval(values, generator_for("stability", seed, *key), resamples, method="percentile")
        rows.append((*key, interval.estimate, interval.low, interval.high, interval.n, interval.n_undefined,
                     int(part["n_seeds"].max())))  # fmt: skip
    for (subject, tuning), part in predictions.groupby(MODEL, sort=False):
        labels = part.pivot(index="seed", columns="example_id", values="predicted")
        found = label_instability(labels.to_numpy())
        differing = (labels.nunique() > 1).astype(float).where(labels.notna().all())
        interval = share_interval(differing.to_numpy())
        rows.append((subject, tuning, "", "", "share_differing", found["share_differing"], interval.low, interval.high,
                     found["n_items"], found["n_missing"], len(labels)))  # fmt: skip
    return pd.DataFrame(rows, columns=[*keys, "estimate", "low", "high", "n", "n_undefined", "n_seeds"])


def compare_stability(items: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Return, per variant and metric, stability with derived words minus without, over the same items, with intervals.

    Empty without a derived model. before, after: means over the items on which both are defined. n_undefined: items on
    which either is undefined, such as a constant explanation.
    """
    own = items[(items["subject"] == SUBJECT) & items["metric"].isin(SUMMARISED)]
    rows = []
    for (variant, metric), part in own.groupby(["variant", "metric"], sort=False):
        table = part.pivot(index="example_id", columns="tuning", values="value")
        if table.shape[1] < 2:
            continue
        both = table.dropna()
        interval = paired_difference_interval(
            table[DERIVED_TUNING].to_numpy(dtype=float),
            table[BASE_TUNING].to_numpy(dtype=float),
            generator_for("before and after", seed, metric),  # the same draws for every variant
            resamples,
        )
        rows.append((variant, metric, both[BASE_TUNING].mean(), both[DERIVED_TUNING].mean(), interval.estimate, interval.low,
                     interval.high, interval.n, interval.n_undefined, interval.note))  # fmt: skip
    columns = ["variant", "metric", "before", "after", "difference", "low", "high", "n", "n_undefined", "note"]
    return pd.DataFrame(rows, columns=columns)

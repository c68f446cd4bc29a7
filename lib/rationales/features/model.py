"""The feature model of P4: logistic regression on readable features, and its explanation by words."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.explainers.registry import Explanation, explanation_row, variant_name
from rationales.features.base_features import (
    Analyser,
    TextFeature,
    make_analyser,
    measure_features,
    measure_words,
    select_features,
)
from rationales.features.fitting import (
    FitSettings,
    LinearFit,
    assign_folds,
    choose_settings,
    cross_validate,
    fit_linear,
)
from rationales.features.tokens import split_tokens
from rationales.study import FEATURE_MODEL
from rationales.tables import PREDICTION_ONLY

SUBJECT, EXPLAINER = FEATURE_MODEL, "feature_model"
BASE_TUNING, DERIVED_TUNING = "features", "features-and-derived"
DISTRIBUTIONS = ("share", "leave_one_out")


@dataclass(frozen=True)
class TrainingTexts:
    """Training texts, measured once for many fits; see `prepare_training`.

    values: (n, n_features). targets: (n,) numbers of `labels`. counts: occurrences of each token form, per text.
    sizes: (n,) tokens of each text.
    """

    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    targets: np.ndarray
    analyser: Analyser
    features: tuple[TextFeature, ...]
    absent: dict[str, str]
    values: np.ndarray
    counts: tuple[Counter, ...]
    sizes: np.ndarray


@dataclass(frozen=True)
class FeatureModel:
    """A fitted feature model.

    tuning: "features" or "features-and-derived". absent: features that could not be measured, with the reason.
    selection: held-out log loss of every setting tried. words: the derived words (empty without).
    regularisation, n_derived: the setting chosen.
    """

    tuning: str
    labels: tuple[str, ...]
    analyser: Analyser
    features: tuple[TextFeature, ...]
    absent: dict[str, str]
    fit: LinearFit
    regularisation: float
    n_derived: int
    selection: pd.DataFrame
    words: pd.DataFrame


def prepare_training(
    train: Sequence[Example], analyser: Analyser | None = None, names: Sequence[str] | None = None
) -> TrainingTexts:
    """Return the training texts with the values of their features.

    analyser: default `make_analyser` of the texts' language. names: features to use (default: all that can be measured).
    StudyError for no text, texts of several languages (fit one model per language), or a single label.
    """
    if not train:
        raise StudyError("There is no training text; give examples of the split 'train'.")
    analyser = analyser or make_analyser(train[0].language)
    check_language(train, analyser)
    labels = tuple(sorted({example.label for example in train}))
    if len(labels) < 2:
        raise StudyError(
            f"All training texts have the label '{labels[0]}'; a model needs texts of at least two labels."
        )
    features, absent = select_features(analyser, names)
    tokens = [split_tokens(example.word_texts, analyser.language) for example in train]
    return TrainingTexts(
        examples=tuple(train),
        labels=labels,
        targets=np.array([labels.index(example.label) for example in train]),
        analyser=analyser,
        features=features,
        absent=absent,
        values=measure_features(train, features, analyser),
        counts=tuple(Counter(token.form for token in found) for found in tokens),
        sizes=np.array([len(found) for found in tokens]),
    )


def check_language(examples: Sequence[Example], analyser: Analyser) -> None:
    """StudyError unless all texts are in the analyser's language."""
    others = sorted({example.language for example in examples} - {analyser.language})
    if others:
        raise StudyError(
            f"Some texts are in '{others[0]}', the features in '{analyser.language}'; fit one model per language."
        )


def fit_feature_model(
    training: TrainingTexts, rows: np.ndarray | None = None, settings: FitSettings | None = None
) -> FeatureModel:
    """Return the model on the given rows (n,) of the training texts (default: all, in their order).

    The strength of the penalty is that of the least cross-validated log loss inside these rows. Deterministic.
    """
    settings = settings or FitSettings()
    rows = np.arange(len(training.examples)) if rows is None else np.asarray(rows)
    values, targets = training.values[rows], training.targets[rows]
    folds = assign_folds([training.examples[row].text for row in rows], targets, settings.folds, settings.fold_seed)
    selection = cross_validate(lambda _: {0: values}, targets, folds, settings)
    _, regularisation = choose_settings(selection)
    return FeatureModel(
        tuning=BASE_TUNING,
        labels=training.labels,
        analyser=training.analyser,
        features=training.features,
        absent=training.absent,
        fit=fit_linear(values, targets, regularisation, settings.solver, settings.solver_seed),
        regularisation=regularisation,
        n_derived=0,
        selection=selection,
        words=pd.DataFrame(columns=["label", "word", "relevance", "documents"]),
    )


def run_columns(model: FeatureModel, example: Example, seed: int) -> dict:
    """The key columns of a row about one example."""
    return {"subject": SUBJECT, "tuning": model.tuning, "seed": seed, "epoch": 0, "corpus": example.corpus}


def predict_examples(model: FeatureModel, examples: Sequence[Example], seed: int = 0) -> pd.DataFrame:
    """Return rows of the table `predictions`: keys, label, predicted, correct, p_<label> of each label, p_full."""
    check_language(examples, model.analyser)
    values = measure_features(examples, model.features, model.analyser)
    probabilities = np.exp(model.fit.log_probabilities(values))
    rows = []
    for example, row in zip(examples, probabilities, strict=True):
        predicted = model.labels[int(row.argmax())]
        rows.append(
            {
                **run_columns(model, example, seed),
                "example_id": example.example_id,
                "paradigm": PREDICTION_ONLY,
                "label": example.label,
                "predicted": predicted,
                "correct": predicted == example.label,
                **{f"p_{label}": float(p) for label, p in zip(model.labels, row, strict=True)},
                "p_full": float(row.max()),
            }
        )
    return pd.DataFrame(rows)


def feature_relevance(model: FeatureModel, example: Example, label: str) -> np.ndarray:
    """Return the relevance of every word through every feature for a label: (n_words, n_features).

    Coefficient / scale times what the word contributes to the feature; centred features count from the training mean.
    Over all words and features it adds up to the score of the label minus `base_score`.
    """
    number = model.labels.index(require_known(label, model.labels, "label"))
    _, contributions, shares = measure_words(example.word_texts, model.features, model.analyser)
    return _weigh(model, number, contributions, shares)


def _weigh(model: FeatureModel, number: int, contributions: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Relevance (n_words, n_features) for a label; a rate has shares of 0, so its contributions stay as they are."""
    return (contributions - shares * model.fit.means) * model.fit.coefficients[number] / model.fit.scales


def base_score(model: FeatureModel, label: str) -> float:
    """Return the score of a label for a text without any counted word whose means are those of the training texts."""
    number = model.labels.index(require_known(label, model.labels, "label"))
    counted = np.array([not feature.centred for feature in model.features])
    offsets = model.fit.coefficients[number] * model.fit.means / model.fit.scales
    return float(model.fit.intercepts[number] - offsets[counted].sum())


def explain_words(model: FeatureModel, examples: Sequence[Example], how: str = "share") -> list[Explanation]:
    """Return one explanation per example; positive words support the predicted label.

    how:
      - "share": the relevance of a word is the sum over features of coefficient * contribution. The words add up to
        the score of the predicted label minus `base_score`; both stand in the details.
      - "leave_one_out": the score minus the score of the text without the word. A rate then also changes because the
        text gets shorter, so the words need not add up to anything. Costs one analysis of the text per word.
    """
    require_known(how, DISTRIBUTIONS, "way to share features among words")
    check_language(examples, model.analyser)
    explanations = []
    for example in examples:
        started = time.perf_counter()
        values, contributions, shares = measure_words(example.word_texts, model.features, model.analyser)
        scores = model.fit.scores(values)
        number = int(scores.argmax())
        if how == "share":
            relevance = _weigh(model, number, contributions, shares).sum(axis=1)
            details = {"score": float(scores[number]), "base": base_score(model, model.labels[number])}
        else:
            relevance = scores[number] - _scores_without_each_word(model, example)[:, number]
            details = {"score": float(scores[number])}
        explanations.append(
            Explanation(example.example_id, relevance, seconds=time.perf_counter() - started, details=details)
        )
    return explanations


def _scores_without_each_word(model: FeatureModel, example: Example) -> np.ndarray:
    """Scores (n_words, n_labels) of the text without each of its words."""
    words = example.word_texts
    shortened = [words[:left_out] + words[left_out + 1 :] for left_out in range(len(words))]
    return model.fit.scores(np.array([measure_words(rest, model.features, model.analyser)[0] for rest in shortened]))


def explanation_table(
    model: FeatureModel, examples: Sequence[Example], seed: int = 0, how: str = "share"
) -> pd.DataFrame:
    """Return rows of the table `explanations` (explainer "feature_model", subject "feature-model")."""
    variant = variant_name({} if how == "share" else {"how": how})
    found = explain_words(model, examples, how)
    return pd.DataFrame(
        [
            {**run_columns(model, example, seed), **explanation_row(explanation, EXPLAINER, variant)}
            for example, explanation in zip(examples, found, strict=True)
        ]
    )


def coefficient_table(model: FeatureModel) -> pd.DataFrame:
    """Return label, feature, source, definition, coefficient (per standard deviation), mean and scale of each feature.

    With two labels only the second is listed; the first has the same coefficients with the other sign.
    """
    listed = model.labels[1:] if len(model.labels) == 2 else model.labels
    return pd.DataFrame(
        [
            {
                "label": label, "feature": feature.name, "source": feature.source, "definition": feature.definition,
                "coefficient": model.fit.coefficients[model.labels.index(label), column],
                "mean": model.fit.means[column], "scale": model.fit.scales[column],
            }
            for label in listed
            for column, feature in enumerate(model.features)
        ]
    )  # fmt: skip

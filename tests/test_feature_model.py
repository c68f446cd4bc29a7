"""The feature model and its derived words: scikit-learn's results, additive explanations, and no look at test texts."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rationales.corpora import load_corpus
from rationales.errors import StudyError
from rationales.examples import Example
from rationales.explainers.baselines import bare_word
from rationales.features import derived
from rationales.features.base_features import make_analyser, measure_features
from rationales.features.comparing import compare_feature_model
from rationales.features.derived import DerivedSettings, derive_features, fit_with_derived, rank_words, read_relevance
from rationales.features.fitting import FitSettings, assign_folds, choose_settings, fit_linear
from rationales.features.model import (
    base_score,
    coefficient_table,
    explain_words,
    explanation_table,
    feature_relevance,
    fit_feature_model,
    predict_examples,
    prepare_training,
)
from rationales.features.variation import (
    bootstrap_coefficients,
    draw_within_labels,
    explain_over_seeds,
    fit_over_seeds,
    measure_stability,
)
from rationales.tables import KEYS, write_table

FAST = FitSettings(folds=3, regularisations=(0.1, 1.0))
FEW_WORDS = DerivedSettings(sizes=(0, 4, 16))


def example(number, text, label, split="train", language="fr"):
    return Example(f"{split}-{number}", "own", split, language, (text,), label)


@pytest.fixture(scope="module")
def opinion():
    return load_corpus("planted_opinion", train=240, validation=60, test=80)


@pytest.fixture(scope="module")
def training(opinion):
    return prepare_training(opinion.of_split("train"))


@pytest.fixture(scope="module")
def model(training):
    return fit_feature_model(training)


# Fitting


def test_fit_and_choice_of_the_penalty_are_those_of_scikit_learn(training):
    values = training.values.copy()
    values[::7, 0] = np.nan  # undefined means are set to the mean of the fold's training part
    targets, chosen = training.targets, FitSettings(fold_seed=3)
    folds = assign_folds([item.text for item in training.examples], targets, 5, 3)
    losses, fitted = [], []
    for regularisation in chosen.regularisations:
        regression = LogisticRegression(C=regularisation, tol=1e-8, max_iter=5000)
        pipeline = make_pipeline(SimpleImputer(), StandardScaler(), regression)
        held_out = cross_val_predict(pipeline, values, targets, cv=PredefinedSplit(folds), method="predict_proba")
        losses.append(log_loss(targets, held_out))
        fitted.append(pipeline.fit(values, targets))
    ours = fit_feature_model(replace(training, values=values), settings=chosen)
    assert ours.selection["log_loss"].to_numpy() == pytest.approx(losses, abs=1e-9)
    best = int(np.argmin(losses))
    assert 0 < best and ours.regularisation == chosen.regularisations[best]
    assert ours.fit.coefficients[1] == pytest.approx(fitted[best][2].coef_[0], abs=1e-9)
    assert np.exp(ours.fit.log_probabilities(values)) == pytest.approx(fitted[best].predict_proba(values), abs=1e-9)


def test_more_than_two_labels_are_scikit_learns_softmax():
    generator = np.random.default_rng(0)
    values, targets = generator.normal(size=(90, 4)), np.arange(90) % 3
    values[:, 0] += targets
    ours = fit_linear(values, targets, 0.5)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, tol=1e-8)).fit(values, targets)
    assert np.exp(ours.log_probabilities(values)) == pytest.approx(reference.predict_proba(values), abs=1e-6)
    assert ours.coefficients.sum(axis=0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("solver", ["newton-cholesky", "saga"])
def test_solvers_agree(training, solver):
    first = fit_linear(training.values, training.targets, 0.1)
    other = fit_linear(training.values, training.targets, 0.1, solver, seed=4)
    assert other.coefficients == pytest.approx(first.coefficients, abs=2e-3)


def test_constant_and_empty_features_have_no_weight():
    generator = np.random.default_rng(1)
    targets = np.arange(40) % 2
    values = np.column_stack([targets + generator.normal(size=40), np.full(40, 0.1), np.full(40, np.nan)])
    fit = fit_linear(values, targets, 1.0)
    assert (fit.coefficients[:, 1:] == 0).all() and fit.coefficients[1, 0] > 0
    assert np.isfinite(fit.scores(np.array([[0.5, 7.0, np.nan]]))).all()
    alone = fit_linear(values[:, :1], targets, 1.0)
    assert fit.coefficients[:, 0] == pytest.approx(alone.coefficients[:, 0], abs=1e-6)


def test_folds_keep_equal_texts_together_and_do_not_depend_on_order():
    texts = [f"text {number // 2}" for number in range(60)]
    targets = np.array([number // 2 % 2 for number in range(60)])
    folds = assign_folds(texts, targets, 5, 0)
    assert (folds[::2] == folds[1::2]).all()
    order = np.random.default_rng(0).permutation(60)
    assert (assign_folds([texts[i] for i in order], targets[order], 5, 0) == folds[order]).all()
    assert (assign_folds(texts, targets, 5, 1) != folds).any()
    assert all(len(set(targets[folds == fold])) == 2 for fold in range(5))
    assert assign_folds(["a", "b", "c", "d"], np.array([0, 0, 1, 1]), 5, 0).max() == 1


def test_equal_losses_go_to_the_smaller_and_stricter_model():
    table = pd.DataFrame([(4, 0.1, 0.5), (0, 1.0, 0.5), (0, 0.1, 0.5 + 1e-14), (8, 0.1, 0.6)],
                         columns=["size", "regularisation", "log_loss"])  # fmt: skip
    assert choose_settings(table) == (0, 0.1)


def test_wrong_settings_are_refused():
    for options in ({"solver": "adam"}, {"folds": 1}, {"regularisations": ()}, {"regularisations": (0.0,)}):
        with pytest.raises(StudyError):
            FitSettings(**options)


# Explanations


def test_words_add_up_to_the_score_minus_the_base(model, opinion):
    for item, found in zip(opinion.of_split("test"), explain_words(model, opinion.of_split("test")), strict=True):
        values = measure_features([item], model.features, model.analyser)
        scores = model.fit.scores(values)[0]
        label = model.labels[int(scores.argmax())]
        assert found.scores.sum() == pytest.approx(scores.max() - base_score(model, label), abs=1e-9)
        assert found.details["score"] == pytest.approx(scores.max())
        by_feature = feature_relevance(model, item, label)
        assert by_feature.sum(axis=1) == pytest.approx(found.scores)
        # The other label sees the same words with the other sign.
        other = model.labels[int(scores.argmin())]
        assert feature_relevance(model, item, other) == pytest.approx(-by_feature)


WORDS = "je crois que la loi est adoptée hier par le ministre ! ? « non » 40 agents absurde superbe …".split()


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_additivity_for_any_text_also_with_undefined_means(words):
    model = model_with_norms()
    item = example(0, " ".join(words), "news", "test")
    found = explain_words(model, [item])[0]
    assert found.scores.shape == (len(words),)
    assert found.scores.sum() == pytest.approx(found.details["score"] - found.details["base"], abs=1e-8)


@cache
def model_with_norms():
    norm = {"loi": 2.0, "ministre": 4.0, "superbe": 5.0}
    analyser = make_analyser("fr", norms={"concreteness": norm, "polarity_1": norm})
    texts = load_corpus("planted_opinion", train=80, validation=0, test=0).of_split("train")
    return fit_feature_model(prepare_training(texts, analyser), settings=FAST)


def test_the_base_is_the_score_of_an_average_text_without_counted_words(model):
    values = np.array([[mean if f.centred else 0.0 for f, mean in zip(model.features, model.fit.means, strict=True)]])
    for number, label in enumerate(model.labels):
        assert base_score(model, label) == pytest.approx(model.fit.scores(values)[0, number])


def test_leaving_out_words_is_the_difference_of_scores(model):
    item = example(0, "Je crois que la loi est superbe !", "opinion", "test")
    found = explain_words(model, [item], "leave_one_out")[0]
    number = model.labels.index("opinion")
    full = model.fit.scores(measure_features([item], model.features, model.analyser))[0, number]
    for left_out in range(len(item.words)):
        words = item.word_texts[:left_out] + item.word_texts[left_out + 1 :]
        rest = example(1, " ".join(words), "opinion", "test")
        score = model.fit.scores(measure_features([rest], model.features, model.analyser))[0, number]
        assert found.scores[left_out] == pytest.approx(full - score)
    one_word = explain_words(model, [example(2, "Hélas", "opinion", "test")], "leave_one_out")[0]
    assert np.isfinite(one_word.scores).all()
    with pytest.raises(StudyError, match="way to share"):
        explain_words(model, [item], "shapley")


def test_tables_have_the_columns_of_the_study(model, opinion, tmp_path):
    test = opinion.of_split("test")
    leave_one_out = explanation_table(model, test[:5], 3, "leave_one_out")
    explanations = pd.concat([explanation_table(model, test, 3), leave_one_out])
    predictions = predict_examples(model, test, 3)
    write_table("explanations", explanations, tmp_path / "a.parquet")  # refuses absent columns and repeated keys
    write_table("predictions", predictions, tmp_path / "b.parquet")
    assert set(KEYS["explanations"]) <= set(explanations) and set(explanations["subject"]) == {"feature-model"}
    assert set(explanations["variant"]) == {"default", "how=leave_one_out"}
    assert [len(scores) for scores in explanations["scores"][: len(test)]] == [len(item.words) for item in test]
    assert predictions[["p_news", "p_opinion"]].sum(axis=1).to_numpy() == pytest.approx(1)
    right = predictions[["p_news", "p_opinion"]].idxmax(axis=1).str.removeprefix("p_") == predictions["label"]
    assert (right == predictions["correct"]).all()


def test_coefficients_with_intervals(training, model):
    table = bootstrap_coefficients(training, model, seed=1, n_resamples=30)
    assert table["feature"].tolist() == [feature.name for feature in training.features]
    assert (table["low"] <= table["high"]).all() and (table["n"] == 240).all()
    assert table["estimate"].to_numpy() == pytest.approx(model.fit.coefficients[1])
    rows = table.set_index("feature")
    assert rows.loc["first_person", "low"] > 0  # "je crois", "nous devons" mark planted opinion
    assert rows.loc["digits", "high"] < 0  # "40 agents", "12 minutes" mark planted news
    pd.testing.assert_frame_equal(table, bootstrap_coefficients(training, model, seed=1, n_resamples=30))
    assert (coefficient_table(model)["label"] == "opinion").all()
    drawn = draw_within_labels(np.array([0, 1, 1, 0, 1]), np.random.default_rng(0))
    assert (drawn < 5).all() and np.isin(drawn, [0, 3]).sum() == 2


# Bad input


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "no training text"),
        ([example(0, "Oui.", "news"), example(1, "Non.", "news")], "have the label 'news'"),
        ([example(0, "Oui.", "news"), example(1, "No.", "opinion", language="en")], "one model per language"),
    ],
)
def test_texts_that_cannot_train_a_model(train, message):
    with pytest.raises(StudyError, match=message):
        prepare_training(train)


def test_too_few_texts_and_another_language_at_test(model):
    two = prepare_training([example(0, "Oui.", "news"), example(1, "Je crois.", "opinion")])
    with pytest.raises(StudyError, match="two different training texts per label"):
        fit_feature_model(two)
    with pytest.raises(StudyError, match="one model per language"):
        predict_examples(model, [example(0, "No.", "news", "test", "en")])
    with pytest.raises(StudyError, match="Unknown label 'satire'"):
        base_score(model, "satire")


def test_texts_of_marks_alone_are_predicted_and_explained(model):
    odd = example(0, "... — !", "news", "test")
    assert np.isfinite(explain_words(model, [odd])[0].scores).all()
    assert predict_examples(model, [odd])["p_full"].between(0.5, 1).all()


# Relevance and derived words, by hand

TABLE_COLUMNS = {"subject": "t", "tuning": "full", "epoch": 1, "corpus": "own", "explainer": "ig", "variant": "default",
                 "selected": None, "ordered": True, "reason": ""}  # fmt: skip


def tables(rows):
    """explanations and predictions from (seed, example id, scores or None, predicted label)."""
    explanations = [
        {**TABLE_COLUMNS, "seed": s, "example_id": i, "scores": scores, "valid": scores is not None}
        for s, i, scores, _ in rows
    ]
    predictions = [
        {"seed": s, "example_id": i, "predicted": label, "paradigm": "prediction-only"} for s, i, _, label in rows
    ]
    return pd.DataFrame(explanations), pd.DataFrame(predictions)


HAND = [
    example(0, "Hélas, hélas la loi", "opinion"),
    example(1, "la police l'indique", "news"),
    example(2, "la loi !", "news", "validation"),
]
HAND_ROWS = [
    (0, "train-0", [4.0, 2.0, -1.0, 0.0], "opinion"),
    (0, "train-1", [0.0, 1.0, 2.0], "news"),
    (0, "validation-2", [0.0, 5.0, 10.0], "news"),
    (1, "train-0", [0.0, 1.0, 0.0, -2.0], "news"),
    (1, "train-1", None, "news"),
]


def test_relevance_of_words_by_hand():
    explanations, predictions = tables([*HAND_ROWS, (0, "test-9", [1.0], "news")])
    found = read_relevance(explanations, predictions, HAND, ("news", "opinion"))
    assert (found.n_ignored, found.n_invalid, found.seeds) == (1, 1, (0, 1))
    ranked = rank_words(found, min_documents=1).set_index("word")
    # train-0: seed 0 / 4 for opinion, seed 1 / 2 for news; "hélas" (1 + .5) / 2 = .75 and -(0 + .5) / 2 = -.25.
    assert ranked.loc["hélas", ["label", "relevance", "documents"]].tolist() == ["opinion", 0.25, 1]
    # "l'indique" has 2 / 2 = 1, half of it for each of its two tokens.
    assert ranked.loc["l'", "relevance"] == ranked.loc["indique", "relevance"] == pytest.approx(0.5)
    # "loi", for news: train-0 (0 + -1) / 2 = -.5; validation-2: .5; mean 0, so it is no candidate.
    assert "loi" not in ranked.index and "!" not in ranked.index
    # "la", for news: train-0 (.25 + 0) / 2; train-1: 0; validation-2: 0.
    assert ranked.loc["la", ["label", "documents"]].tolist() == ["news", 3]
    assert ranked.loc["la", "relevance"] == pytest.approx(0.125 / 3)
    # The labels take turns, equal relevance goes by the alphabet.
    assert ranked.index.tolist() == ["indique", "hélas", "l'", "police", "la"]
    assert rank_words(found, 2)["word"].tolist() == ["la"]
    assert "hélas" not in rank_words(found, 1, np.array([False, True, True]))["word"].tolist()
    # The second seed alone, and the first counted twice.
    assert rank_words(found, 1, seeds=[1]).set_index("word").loc["loi", "label"] == "opinion"
    twice = rank_words(found, 1, seeds=[0, 0, 1]).set_index("word")
    assert twice.loc["hélas", "relevance"] == pytest.approx((2 * 0.75 - 0.25) / 3)


def test_relevance_for_three_labels_and_without_normalising():
    explanations, predictions = tables([(0, "train-1", [0.0, 1.0, 2.0], "b")])
    found = read_relevance(explanations, predictions, HAND[:2], ("a", "b", "c"), normalise=False)
    police = found.vocabulary.index("police")
    cell = np.flatnonzero(found.form_of == police)[0]
    assert found.values[0, :, cell].tolist() == [-0.5, 1.0, -0.5]


def test_rows_of_another_corpus_with_the_same_ids_are_ignored():
    explanations, predictions = tables(HAND_ROWS)
    foreign = explanations.assign(corpus="other", explainer="lime")
    alone = read_relevance(explanations, predictions, HAND, ("news", "opinion"))
    found = read_relevance(pd.concat([explanations, foreign]), predictions, HAND, ("news", "opinion"))
    assert found.n_ignored == 5
    np.testing.assert_array_equal(found.values, alone.values)


def test_relevance_refuses_what_it_must():
    explanations, predictions = tables(HAND_ROWS)
    labels = ("news", "opinion")
    with pytest.raises(StudyError, match="is a test text"):
        read_relevance(explanations, predictions, [example(0, "Hélas", "news", "test")], labels)
    two = pd.concat([explanations, explanations.assign(explainer="lime")])
    with pytest.raises(StudyError, match="several values of 'explainer'"):
        read_relevance(two, predictions, HAND, labels)
    with pytest.raises(StudyError, match="4 scores for 3 words"):
        read_relevance(explanations.assign(scores=[[1.0] * 4] * 5, valid=True), predictions, HAND[1:], labels)
    with pytest.raises(StudyError, match="There is no valid explanation"):
        read_relevance(explanations.assign(valid=False), predictions, HAND, labels)
    with pytest.raises(StudyError, match="twice for one seed"):
        read_relevance(explanations, pd.concat([predictions, predictions]), HAND, labels)
    with pytest.raises(StudyError, match="Unknown predicted label"):
        read_relevance(explanations, predictions.assign(predicted="satire"), HAND, labels)


@pytest.mark.parametrize("form", ["rate", "indicator"])
@pytest.mark.parametrize("grouping", ["words", "labels"])
def test_derived_values_from_counts_are_those_of_the_features(training, form, grouping):
    words = pd.DataFrame({"label": ["opinion", "news", "opinion"], "word": ["crois", "la", "loi"]})
    chosen = DerivedSettings(form=form, grouping=grouping)
    features = derive_features(words, chosen)
    assert [f.name for f in features] == (
        ["word:crois", "word:la", "word:loi"] if grouping == "words" else ["words:news", "words:opinion"]
    )
    slow = measure_features(training.examples[:50], features, training.analyser)
    assert derived._derived_values(training, words, chosen)[:50] == pytest.approx(slow)
    empty = derived._derived_values(training, words.head(0), chosen)
    assert empty.shape == (240, 0) and derive_features(words.head(0), chosen) == ()


# A stand-in for a transformer: bag of words, one model per bootstrap seed, explained by its weights


def bare_words(item):
    return [bare_word(word) for word in item.word_texts]


def stand_in(train, explained, seeds=(0, 1, 2), shuffled=False):
    """explanations and predictions of bag-of-words models; with shuffled labels they know nothing."""
    vectorizer = CountVectorizer(analyzer=bare_words, binary=True).fit(train)
    labels = np.array([item.label for item in train])
    rows = []
    for seed in seeds:
        generator = np.random.default_rng(seed)
        drawn = generator.integers(len(train), size=len(train))
        given_labels = generator.permutation(labels[drawn]) if shuffled else labels[drawn]
        fitted = LogisticRegression(C=1.0).fit(vectorizer.transform([train[i] for i in drawn]), given_labels)
        weights = dict(zip(vectorizer.get_feature_names_out(), fitted.coef_[0], strict=True))
        for item, predicted in zip(explained, fitted.predict(vectorizer.transform(explained)), strict=True):
            sign = 1 if predicted == fitted.classes_[1] else -1
            scores = [sign * float(weights.get(word, 0.0)) for word in bare_words(item)]
            rows.append((seed, item.example_id, scores, str(predicted)))
    explanations, predictions = tables(rows)
    explanations["corpus"] = explained[0].corpus
    truth = {item.example_id: item.label for item in explained}
    predictions["correct"] = predictions["predicted"] == predictions["example_id"].map(truth)
    return explanations, predictions.assign(subject="t", tuning="full", corpus=explained[0].corpus, epoch=1)


@pytest.fixture(scope="module")
def compared(opinion):
    explanations, predictions = stand_in(opinion.of_split("train"), opinion.examples)
    return compare_feature_model(
        opinion.of_split("train"), opinion.of_split("test"), opinion.of_split("validation"), explanations, predictions,
        seeds=range(3), settings=FAST, derived=FEW_WORDS, resamples=300, coefficient_resamples=20,
    )  # fmt: skip


def test_planted_opinion_end_to_end(compared):
    accuracies = compared["accuracies"].set_index(["tuning", "seed"])
    base = accuracies.loc[("features", 0)]
    assert base["n"] == 80 and base["low"] > 0.7  # chance is .5
    # The words of the explanations add to the base features, up to the noise of 80 texts.
    assert accuracies.loc[("features-and-derived", 0), "estimate"] >= base["estimate"] - 0.02
    chosen = compared["derived_words"].query("chosen")
    assert len(chosen) >= 4 and set(chosen["label"]) == {"news", "opinion"}
    losses = compared["selection"].groupby("tuning")["log_loss"].min()
    assert losses["features-and-derived"] <= losses["features"] + 1e-12  # size 0 is among the choices


def test_compared_tables_are_complete(compared):
    tests = compared["tests"]
    assert len(tests) == 1 + 2 * 3 and tests["n"].eq(80).all()
    assert (tests["low"] <= tests["difference"]).all() and tests["p_mcnemar"].between(0, 1).all()
    stability = compared["stability"].set_index(["tuning", "metric"])
    assert stability.loc[("features", "pearson"), "estimate"] > stability.loc[("full", "pearson"), "estimate"]
    assert stability.loc[("features", "pearson"), "n"] + stability.loc[("features", "pearson"), "n_undefined"] == 80
    assert stability.loc[("full", "share_differing"), "n_seeds"] == 3
    change = compared["stability_tests"].set_index("metric").loc["pearson"]
    assert change["difference"] == pytest.approx(change["after"] - change["before"])
    coefficients = compared["coefficients"].set_index(["tuning", "feature"])
    derived_rows = coefficients.loc["features-and-derived"].query("source == 'derived'")
    assert len(derived_rows) == compared["derived_words"]["chosen"].sum()
    assert set(compared["absent"]["feature"]) == {
        "polarity_1",
        "polarity_2",
        "concreteness",
        "imageability",
        "frequency",
    }
    assert set(compared["explanations"]["tuning"]) == {"features", "features-and-derived"}


def test_without_a_transformer_there_is_the_base_model_alone(opinion):
    found = compare_feature_model(
        opinion.of_split("train"), opinion.of_split("test")[:20], seeds=(0, 1), settings=FAST, resamples=50,
        coefficient_resamples=3,
    )  # fmt: skip
    assert found["accuracies"]["tuning"].tolist() == ["features"]
    assert found["tests"].empty and found["derived_words"].empty and found["stability_tests"].empty
    with pytest.raises(StudyError, match="'predictions' has no column 'correct'"):
        bare = pd.DataFrame(columns=["subject", "tuning", "seed", "example_id", "predicted"])
        compare_feature_model(opinion.of_split("train"), opinion.of_split("test"), predictions=bare)
    explanations, predictions = stand_in(opinion.of_split("train"), opinion.examples, seeds=(0,))
    with pytest.raises(StudyError, match="'predictions' holds an example twice"):
        two_epochs = pd.concat([predictions, predictions.assign(epoch=2)])
        compare_feature_model(opinion.of_split("train"), opinion.of_split("test"), predictions=two_epochs)
    with pytest.raises(StudyError, match="training and a test text"):
        compare_feature_model(opinion.of_split("train"), opinion.of_split("train")[:3])
    with pytest.raises(StudyError, match="no test text"):
        compare_feature_model(opinion.of_split("train"), [])
    with pytest.raises(StudyError, match="give both tables"):
        compare_feature_model(
            opinion.of_split("train"), opinion.of_split("test"), opinion.of_split("validation"), explanations,
            settings=FAST,
        )  # fmt: skip


# Leakage


def test_poisoned_test_texts_change_nothing_that_is_fitted(opinion):
    train, validation = opinion.of_split("train")[:100], opinion.of_split("validation")
    test = opinion.of_split("test")[:20]
    poisoned = [
        replace(item, segments=("poison " * 30 + item.text,), label="news", annotators=(), gold=None, gold_graded=None)
        for item in test
    ]
    results = []
    for used in (test, poisoned):
        explanations, predictions = stand_in(train, [*train, *validation, *used], seeds=(0,))
        in_test = explanations["example_id"].isin({item.example_id for item in used})
        # Explanations of test texts shout "poison"; nothing may listen.
        explanations["scores"] = [
            [1e6] * len(scores) if shout else scores
            for shout, scores in zip(in_test, explanations["scores"], strict=True)
        ]
        options = {"seeds": (0,), "settings": FAST, "derived": FEW_WORDS, "resamples": 20, "coefficient_resamples": 3}
        results.append(compare_feature_model(train, used, validation, explanations, predictions, **options))
    for name in ("derived_words", "selection", "coefficients"):
        pd.testing.assert_frame_equal(results[0][name], results[1][name])
    assert "poison" not in set(results[1]["derived_words"]["word"])


def test_folds_rank_words_without_their_held_out_texts(training, opinion, monkeypatch):
    explanations, predictions = stand_in(training.examples, training.examples, seeds=(0,))
    relevance = read_relevance(explanations, predictions, training.examples, training.labels)
    asked = []

    def watch(found, min_documents, texts, seeds):
        asked.append(texts)
        return rank_words(found, min_documents, texts, seeds)

    monkeypatch.setattr(derived, "rank_words", watch)
    fit_with_derived(training, relevance, settings=FAST, derived=DerivedSettings(sizes=(4,)))
    folds = assign_folds(relevance.texts, training.targets, FAST.folds, FAST.fold_seed)
    assert len(asked) == FAST.folds + 1 and asked[-1].all()
    for fold, usable in enumerate(asked[:-1]):
        assert (usable == (folds != fold)).all()
    # A bootstrap sample does not learn from explained training texts that it did not draw.
    rows = np.arange(0, 120)
    asked.clear()
    fit_with_derived(training, relevance, rows, FAST, DerivedSettings(sizes=(4,)))
    drawn = {training.examples[row].text for row in rows}
    assert (asked[-1] == [text in drawn for text in relevance.texts]).all()


def test_explanations_of_a_model_of_shuffled_labels_do_not_help(opinion):
    train, validation, test = (opinion.of_split(split) for split in ("train", "validation", "test"))
    training = prepare_training(train)
    base = predict_examples(fit_feature_model(training, settings=FAST), test)["correct"].to_numpy(float)
    explanations, predictions = stand_in(train, validation, shuffled=True)
    relevance = read_relevance(explanations, predictions, validation, training.labels)
    forced = fit_with_derived(training, relevance, settings=FAST, derived=DerivedSettings(sizes=(8,)))
    correct = predict_examples(forced, test)["correct"].to_numpy(float)
    only_forced, only_base = int(((correct - base) == 1).sum()), int(((correct - base) == -1).sum())
    helped = stats.binomtest(only_forced, max(1, only_forced + only_base), alternative="greater").pvalue
    assert helped > 0.05


def test_nothing_is_learnt_from_shuffled_labels(opinion):
    train, validation, test = (opinion.of_split(split) for split in ("train", "validation", "test"))
    accuracies = []
    for draw in range(5):
        mixed = np.random.default_rng(draw).permutation([item.label for item in train[:150]])
        blind = prepare_training([replace(e, label=str(label)) for e, label in zip(train[:150], mixed, strict=True)])
        explanations, predictions = stand_in(blind.examples, validation, seeds=(0,))
        relevance = read_relevance(explanations, predictions, validation, blind.labels)
        model = fit_with_derived(blind, relevance, settings=FAST, derived=DerivedSettings(sizes=(0, 8)))
        accuracies.append(predict_examples(model, test)["correct"].mean())
    # Texts share their sentences, so that one draw may be far from .5 on either side; their mean is not.
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.17)


# Seeds


def test_the_same_seeds_give_the_same_tables(training, opinion):
    test = opinion.of_split("test")[:15]
    vary = ("order", "folds", "solver", "bootstrap")
    first, second = (
        explain_over_seeds(fit_over_seeds(training, (0, 1, 2), vary, settings=FAST), test) for _ in range(2)
    )
    pd.testing.assert_frame_equal(first[0].drop(columns="seconds"), second[0].drop(columns="seconds"))
    pd.testing.assert_frame_equal(first[1], second[1])


def test_what_varies_is_what_was_asked_for(training, opinion):
    test = opinion.of_split("test")[:25]

    def stability(vary):
        models = fit_over_seeds(training, (0, 1, 2), vary, settings=FAST)
        items = measure_stability(explain_over_seeds(models, test)[0], test)
        return items[items["metric"] == "pearson"]["value"].mean()

    assert stability(()) == pytest.approx(1.0, abs=1e-12)
    assert stability(("order",)) == pytest.approx(1.0, abs=1e-6)  # the optimum is unique; only rounding differs
    assert stability(("bootstrap",)) < 0.999
    for vary, seeds in ((("moon",), (0,)), ((), (0, 0)), ((), ())):
        with pytest.raises(StudyError):
            fit_over_seeds(training, seeds, vary, settings=FAST)


def test_drawing_the_transformers_seeds_changes_the_words(training, opinion):
    validation = opinion.of_split("validation")
    explanations, predictions = stand_in(training.examples, validation, seeds=range(4))
    relevance = read_relevance(explanations, predictions, validation, training.labels)
    chosen = DerivedSettings(sizes=(8,))
    fixed = fit_over_seeds(training, (0, 1), (), relevance, FAST, chosen)
    drawn = fit_over_seeds(training, (0, 1), ("explanations",), relevance, FAST, chosen)
    assert fixed[0].words.equals(fixed[1].words)
    assert not drawn[0].words.equals(drawn[1].words)


def test_incomplete_items_are_rows():
    items = [example(0, "Hélas, la loi", "opinion", "test")]
    explanations, _ = tables([(0, "test-0", [1.0, 0.0, 2.0], "news"), (1, "test-0", None, "news")])
    found = measure_stability(explanations, items)
    assert found[["metric", "value", "n_seeds"]].to_numpy().tolist() == [["incomplete", 1.0, 2]]
    explanations, _ = tables([(0, "test-0", [1.0, 0.0, 2.0], "news"), (1, "test-0", [2.0, 0.0, 4.0], "news")])
    values = measure_stability(explanations, items).set_index("metric")["value"]
    assert values["pearson"] == pytest.approx(1.0) and values["noise"] > 0
    assert measure_stability(explanations, [example(7, "Oui", "news", "test")]).empty


# The other planted corpus


@pytest.mark.parametrize("language", ["en", "fr", "da"])
def test_planted_sentiment(language):
    corpus = load_corpus("planted_sentiment", train=400, validation=0, test=150, languages=(language,))
    training = prepare_training(corpus.of_split("train"))
    model = fit_feature_model(training, settings=FAST)
    correct = predict_examples(model, corpus.of_split("test"))["correct"]
    above_chance = stats.binomtest(int(correct.sum()), len(correct), alternative="greater").pvalue
    if language == "da":  # features of form alone do not know sentiment
        assert len(model.features) == 10 and above_chance > 1e-4
        return
    assert above_chance < 1e-6
    weights = coefficient_table(model).set_index("feature")["coefficient"]
    # Weekdays hold the planted shortcut for "positive": a readable model shows that it took it.
    assert weights["polarity_words"] == weights.max() and weights["weekdays"] > 0.1

"""The stage of the textual-feature model: what it may see, the rows it leaves, and the claims that they decide."""

import numpy as np
import pandas as pd
import pytest
import yaml

from rationales.errors import StudyError
from rationales.features.options import FEATURE_OPTIONS, check_features
from rationales.ledger.evaluate import evaluate_claims, panel_of
from rationales.ledger.load import load_ledger
from rationales.reporting import features as show
from rationales.stages import compare_features as stage
from rationales.stages.evaluate_claims import read_tables
from rationales.stages.prepare import prepare_corpus, write_examples
from rationales.study import load_study
from rationales.subjects.engine import Engine
from rationales.tables import KEYS, read_part, read_table, write_part
from tiny_models import random_encoder

STUDY = {
    "study": "features",
    "corpora": {
        "planted_sentiment": {"max_items": 10, "options": {"train": 60, "validation": 14, "test": 16, "languages": ["fr"]}}
    },
    "subjects": {"tiny-encoder": {"embedded": "tiny-encoder"}},
    "tunings": {"tuned": {"train_items": 60}, "other": {"train_items": 60}},
    "runs": [
        {"corpus": "planted_sentiment", "subject": "tiny-encoder", "tuning": "tuned", "seeds": [0, 1]},
        {"corpus": "planted_sentiment", "subject": "tiny-encoder", "tuning": "other", "seeds": [2]},
    ],
    "features": {"corpora": ["planted_sentiment"], "seeds": 2, "texts": 14, "sizes": [0, 4], "min_documents": 2},
    "statistics": {"resamples": 20},
}  # fmt: skip


def open_study(folder, patch, **changes):
    """A study in a folder of its own; its transformers are random encoders, so that nothing is trained."""
    patch.setenv("RATIONALES_HOME", str(folder))
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}), encoding="utf-8")
    study = load_study(path)
    patch.setattr(stage, "open_engine", lambda study, run, corpus: Engine(random_encoder(run.seed)))
    return study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(study, tables, texts that each call of the explainer was given)."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        study = open_study(tmp_path_factory.mktemp("features"), patch)
        explain = stage.explain

        def watch(name, bench, **options):
            asked.append((name, list(bench.examples)))
            return explain(name, bench, **options)

        patch.setattr(stage, "explain", watch)
        write_examples(study, prepare_corpus(study, "planted_sentiment"))
        tables = stage.compare_features(study)
        yield study, tables, asked


def rows_in(study, table, part):
    return read_part(study.part(table, part))


# ---- what the stage may see


def test_words_come_from_other_texts_than_those_explained(done):
    study, tables, asked = done
    examples = read_table(study.folder, "examples").set_index("example_id")
    assert [name for name, _ in asked] == ["chefer"] * 3  # one call per seed of each transformer
    explained = set(examples[examples["split"] == "test"].index[:10])
    for _, given in asked:
        split = [item.split for item in given]
        assert split.count("validation") == 14 and split.count("test") == 10 and "train" not in split
        assert {item.example_id for item in given if item.split == "test"} == explained
    giving = [item for item in asked[0][1] if item.split != "test"]
    labels = pd.Series([item.label for item in giving]).value_counts()
    assert labels.max() - labels.min() <= 2
    known = {word.lower().strip(".,;:!?«»\"'()") for item in giving for word in item.word_texts}
    words = tables["derived_words"]["word"]
    assert len(words) and all(any(word in form for form in known) for word in words)


def test_poisoned_test_texts_change_nothing_that_is_fitted(done, tmp_path, monkeypatch):
    first, tables, _ = done
    study = open_study(tmp_path, monkeypatch)
    table = write_examples(study, prepare_corpus(study, "planted_sentiment"))
    test = table["split"] == "test"
    table["segments"] = [
        ["poison " * 8 + text] if shout else [text] for text, shout in zip(table["text"], test, strict=True)
    ]
    table["annotators"], table["gold"], table["gold_graded"] = [[] for _ in range(len(table))], None, None
    table["label"] = np.where(test, "positive", table["label"])
    write_part(table, study.part("examples", "planted_sentiment"))
    again = stage.compare_features(study)
    for name in ("derived_words", "selection", "coefficients"):
        pd.testing.assert_frame_equal(tables[name], again[name])
    assert not tables["accuracies"].equals(again["accuracies"])


def test_written_tables_are_those_returned(done, monkeypatch):
    study, tables, _ = done
    monkeypatch.setenv("RATIONALES_HOME", str(study.folder.parent.parent))
    for name, table in show.read_features(study).items():
        pd.testing.assert_frame_equal(table, tables[name], check_dtype=False)
    assert len(show.sentences_of_study(study)) > 4


# ---- rows


def test_rows_are_unique_and_complete(done):
    study, tables, _ = done
    explanations, predictions = (rows_in(study, name, "feature-model") for name in ("explanations", "predictions"))
    held_out = rows_in(study, "held_out", "all")
    for name, table in (("explanations", explanations), ("predictions", predictions), ("held_out", held_out)):
        assert not table.duplicated(KEYS[name]).any() and {"study", "config_hash"} <= set(table.columns)
    tunings = {"features", *(f"features-and-derived-from-tiny-encoder-{name}" for name in ("tuned", "other"))}
    assert set(explanations["tuning"]) == set(predictions["tuning"]) == tunings
    assert set(explanations["variant"]) == {"default", "drawn-explanations", "drawn-texts"}
    # 10 explained and 16 test texts, 2 seeds of 3 feature models; 3 seeds of transformers.
    assert len(explanations) == 10 * 2 * 3 * 3 and len(predictions) == 10 * 2 * 3
    assert len(held_out) == 16 * (2 * 3 + 3)
    examples = read_table(study.folder, "examples").set_index("example_id")
    assert (examples.loc[held_out["example_id"], "split"] == "test").all()
    truth = examples.loc[held_out["example_id"], "label"].to_numpy()
    assert ((held_out["predicted"] == truth) == held_out["correct"]).all()
    lengths = examples.loc[explanations["example_id"], "n_words"].to_numpy()
    assert (explanations["scores"].map(len).to_numpy() == lengths).all()


def test_accuracies_are_those_of_the_models_and_the_floor_that_of_the_commonest_label(done):
    study, tables, _ = done
    corpus = prepare_corpus(study, "planted_sentiment")
    items = corpus.of_split("test")
    for seed in (0, 1, 2):
        asked = Engine(random_encoder(seed)).full(items).argmax(1)
        right = np.mean([corpus.labels[label] == item.label for label, item in zip(asked, items, strict=True)])
        rows = tables["accuracies"].query("subject == 'tiny-encoder' and seed == @seed")
        assert rows["estimate"].tolist() == [right] and rows["n"].tolist() == [16]
    commonest = pd.Series([item.label for item in corpus.of_split("train")]).value_counts().index[0]
    share = np.mean([item.label == commonest for item in items])
    assert tables["accuracies"]["floor"].eq(share).all()
    assert set(tables["accuracies"]["teacher"]) == {"tiny-encoder/tuned", "tiny-encoder/other"}


def test_other_stages_do_not_see_the_rows_and_the_ledger_does(done, tmp_path, monkeypatch):
    study, _, _ = done
    monkeypatch.setenv("RATIONALES_HOME", str(study.folder.parent.parent))
    with_models = read_tables(study)
    assert "feature-model" in set(with_models["explanations"]["subject"])
    assert {"feature-model", "tiny-encoder"} == set(with_models["held_out"]["subject"])
    assert study.read("explanations").empty and study.read("predictions").empty
    # Rows that an earlier form of the study file asked for are no longer read.
    path = study.folder.parent.parent / "without.yaml"
    path.write_text(
        yaml.safe_dump({name: part for name, part in STUDY.items() if name != "features"}), encoding="utf-8"
    )
    assert set(read_tables(load_study(path))["held_out"]["subject"]) == {"tiny-encoder"}


def test_what_cannot_be_done_is_a_row_with_its_reason(tmp_path, monkeypatch):
    options = {"train": 40, "validation": 6, "test": 6, "languages": ["fr", "da"]}
    corpora, runs = {"planted_sentiment": {"options": options}}, STUDY["runs"][1:]
    features = {**STUDY["features"], "sizes": [0], "seeds": 1}
    study = open_study(tmp_path, monkeypatch, corpora=corpora, runs=runs, features=features)
    table = write_examples(study, prepare_corpus(study, "planted_sentiment"))
    french = (table["language"] == "fr") & (table["split"] == "train")
    table["label"] = np.where(french, "positive", table["label"])
    write_part(table, study.part("examples", "planted_sentiment"))
    tables = stage.compare_features(study)
    skipped = tables["skipped"]
    assert skipped["language"].tolist() == ["fr"] and skipped["reason"].str.contains("at least two labels").all()
    assert set(tables["accuracies"]["language"]) == {"da"}
    assert {"no word lists for 'da'", "no tagger for 'da'"} < set(tables["absent"]["reason"])
    table["label"] = np.where(table["split"] == "train", "positive", table["label"])
    write_part(table, study.part("examples", "planted_sentiment"))
    with pytest.raises(StudyError, match="No model on textual features could be fitted: All training texts"):
        stage.compare_features(study)


def test_a_study_without_the_section_or_the_tables_says_so(tmp_path, monkeypatch):
    study = open_study(tmp_path, monkeypatch, features={})
    with pytest.raises(StudyError, match="name corpora under `features`"):
        stage.compare_features(study)
    with pytest.raises(StudyError, match="run notebook 10_textual_features first"):
        show.read_features(study)
    assert show.sentences_of_study(study) == ["This study fits no model on textual features."]
    named = open_study(tmp_path, monkeypatch)
    assert "run notebook 10_textual_features" in show.sentences_of_study(named)[0]
    with pytest.raises(StudyError, match="run notebook 01_data_preparation first"):
        stage.compare_features(named)


def test_texts_to_be_explained_are_in_no_other_list(tmp_path, monkeypatch):
    corpora = {"planted_sentiment": {**STUDY["corpora"]["planted_sentiment"], "explain": "train", "max_items": None}}
    study = open_study(tmp_path, monkeypatch, corpora=corpora)
    write_examples(study, prepare_corpus(study, "planted_sentiment"))
    with pytest.raises(StudyError, match="There is no training text"):
        stage.compare_features(study)


# ---- the section of the study file


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpora": ["moon"]}, "Unknown corpus of `features` 'moon'"),
        ({"corpora": "c"}, "must be a list"),
        ({"subjects": ["moon"]}, "Unknown subject of `features` 'moon'"),
        ({"seeds": 0}, "`features: seeds` is 0"),
        ({"texts": True}, "`features: texts` is True"),
        ({"test_items": "many"}, "`features: test_items`"),
        ({"vary": ["order", "solver"]}, "stability over seeds would be no finding"),
        ({"vary": ["folds", "moon"]}, "Unknown source of variation"),
        ({"vary": ["folds", "folds"]}, "each value once"),
        ({"sizes": [-1]}, "numbers of derived words"),
        ({"sizes": []}, "numbers of derived words"),
        ({"margin": 1.5}, "between 0 and 1"),
        ({"tagger": "heavy"}, "Unknown tagger of `features`"),
        ({"norms": {"beauty": {"path": "x.csv"}}}, "Unknown norm of `features`"),
        ({"norms": {"polarity_1": {"value_column": "v"}}}, "needs the `path`"),
    ],
)
def test_a_section_that_cannot_be_carried_out_is_refused(change, message):
    with pytest.raises(StudyError, match=message):
        check_features({**FEATURE_OPTIONS, **change}, {"c": {}}, {"s": {}})


def test_the_section_reaches_the_study_and_an_explainer_may_have_options(tmp_path, monkeypatch):
    section = {**STUDY["features"], "explainer": {"name": "integrated_gradients", "n_steps": 4}}
    study = open_study(tmp_path, monkeypatch, features=section)
    assert study.features["explainer"] == ("integrated_gradients", {"n_steps": 4}) and study.features["seeds"] == 2
    with pytest.raises(StudyError, match="`features: features` has no entry 'seds'"):
        open_study(tmp_path, monkeypatch, features={"seds": 2})


# ---- claims


N_ITEMS, N_WORDS = 60, 12
TRANSFORMER, PLAIN, DERIVED = (
    ("s", "tuned"),
    ("feature-model", "features"),
    ("feature-model", "features-and-derived-from-s-tuned"),
)


def explanation_rows(model, explainer, variant, noise, generator):
    """Word scores of 4 seeds: a common part and errors of the given size."""
    rows = []
    for item in range(N_ITEMS):
        common = generator.normal(size=N_WORDS)
        for seed in range(4):
            scores = common + noise * generator.normal(size=N_WORDS)
            rows.append({"corpus": "c", "subject": model[0], "tuning": model[1], "seed": seed, "epoch": 0,
                         "example_id": f"{item}", "explainer": explainer, "variant": variant, "scores": scores,
                         "selected": None, "ordered": True, "valid": True})  # fmt: skip
    return rows


def answers(model, accuracy, generator, n_items):
    return [
        {"corpus": "c", "subject": model[0], "tuning": model[1], "seed": seed, "epoch": 0, "example_id": f"{item}",
         "paradigm": "prediction-only", "predicted": "yes", "correct": bool(generator.random() < accuracy)}
        for item in range(n_items) for seed in range(3)
    ]  # fmt: skip


def judge(noise, accuracy):
    """Primary rows by claim id; noise: (model, variant) -> size. accuracy: model -> share of right answers."""
    g = np.random.default_rng(0)
    explained = [row for (model, variant), size in noise.items()
                 for row in explanation_rows(model, "lime" if model == TRANSFORMER else "feature_model", variant, size, g)]  # fmt: skip
    examples = pd.DataFrame({"corpus": "c", "example_id": [str(n) for n in range(N_ITEMS)], "language": "fr", "gold": None,
                             "words": [["mot"] * N_WORDS] * N_ITEMS})  # fmt: skip
    predictions = pd.DataFrame(sum((answers(model, share, g, N_ITEMS) for model, share in accuracy.items()), []))
    held_out = pd.DataFrame(sum((answers(model, share, g, 200) for model, share in accuracy.items()), []))
    tables = {
        "explanations": pd.DataFrame(explained),
        "examples": examples,
        "predictions": predictions,
        "held_out": held_out,
    }
    tables = {name: table for name, table in tables.items() if len(table)}
    ledger = load_ledger()
    margins = {"plausibility": 0.05, "faithfulness": 0.05}
    rows = evaluate_claims(ledger, panel_of(ledger, tables, {}), margins, 300, 0, 299)
    return rows, rows[rows["primary"]].set_index("claim_id")


FAITHFUL_TO_P4 = {(PLAIN, "default"): 0.01, (PLAIN, "drawn-texts"): 0.3, (DERIVED, "default"): 0.01,
                  (DERIVED, "drawn-explanations"): 0.02, (TRANSFORMER, "default"): 2.0}  # fmt: skip
AGAINST_P4 = {(PLAIN, "default"): 1.0, (PLAIN, "drawn-texts"): 4.0, (DERIVED, "default"): 3.0,
              (DERIVED, "drawn-explanations"): 3.0, (TRANSFORMER, "default"): 0.5}  # fmt: skip


@pytest.mark.parametrize(
    ("noise", "accuracy", "verdict"),
    [
        (FAITHFUL_TO_P4, {PLAIN: 0.7, DERIVED: 0.85, TRANSFORMER: 0.95}, "supported"),
        (AGAINST_P4, {PLAIN: 0.9, DERIVED: 0.7, TRANSFORMER: 0.6}, "contradicted"),
    ],
)
def test_every_claim_about_the_feature_model_can_come_out_either_way(noise, accuracy, verdict):
    rows, primary = judge(noise, accuracy)
    for claim in ("P4.3a", "P4.3b", "P4.3c", "P4.4a", "P4.4b", "P4.4c"):
        assert primary.loc[claim, "verdict"] == verdict, (claim, primary.loc[claim, ["estimate", "reason"]].tolist())
    # Accuracy is over all test texts, stability over those explained; no item is called undefined for not being explained.
    assert primary.loc["P4.3b", "n_items"] == 200 and primary.loc["P4.3a", "n_items"] == N_ITEMS
    assert (primary.loc[["P4.1b", "P4.3a", "P4.4b"], "n_undefined"] == 0).all()
    assert primary.loc["P4.3b", "scope"].startswith("c, all test texts/feature-model/features - s")
    # The other claims neither test the feature model nor mention it.
    others = rows[~rows["claim_id"].str.match(r"P4\.[34]")]
    shown = others[["scope", "reason", "note"]].apply(" ".join, axis=1)
    assert not shown.str.contains("feature-model|all test texts").any()


def test_claims_about_the_feature_model_are_not_testable_without_one():
    _, primary = judge({(TRANSFORMER, "default"): 1.0}, {TRANSFORMER: 0.9})
    for claim in ("P4.3a", "P4.3b", "P4.3c", "P4.4a", "P4.4b", "P4.4c"):
        row = primary.loc[claim]
        assert row["verdict"] == "not testable here" and row["reason"].startswith(
            "This study fits no model on textual features"
        )
    # One seed says nothing about stability, and a model without derived words nothing about them.
    _, primary = judge({(PLAIN, "default"): 0.1, (TRANSFORMER, "default"): 1.0}, {PLAIN: 0.8, TRANSFORMER: 0.9})
    assert primary.loc["P4.3a", "verdict"] != "not testable here"
    assert (primary.loc[["P4.3c", "P4.4a", "P4.4b", "P4.4c"], "verdict"] == "not testable here").all()

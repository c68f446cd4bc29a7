"""Averaging explanations over seeds: the mean by hand, what is left out, and scores through the real engine."""

import json

import numpy as np
import pandas as pd
import pytest

from rationales.errors import StudyError
from rationales.metrics.plausibility import average_precision, set_plausibility
from rationales.stages import average_seeds as stage
from rationales.stages import subjects
from rationales.stages.prepare import read_corpus
from rationales.statistics.bootstrap import t_interval
from rationales.subjects.engine import Engine, Request
from rationales.tables import KEYS, read_table
from seed_fixtures import explanation_rows, fill_study, make_study, prediction_row
from tiny_models import random_encoder

LENGTHS = {("planted_sentiment", "a"): 3, ("planted_sentiment", "b"): 3}


class Item:
    """What a prediction row needs of an example."""

    def __init__(self, example_id):
        self.example_id, self.label = example_id, "positive"


def average(explanations, labels):
    predictions = [prediction_row(Item(item), seed, label) for (item, seed), label in labels.items()]
    return stage.average_seeds(pd.DataFrame(explanations), pd.DataFrame(predictions), LENGTHS)


def same_label(items="a", seeds=(0, 1, 2)):
    return {(item, seed): "positive" for item in items for seed in seeds}


def scores_by_seed(table):
    return {row.seed: row.scores for row in table.itertuples()}


def test_mean_of_scaled_scores_by_hand():
    rows = [
        explanation_rows("lime", "n_samples=9", "a", 0, [2, -4, 0]),
        explanation_rows("lime", "n_samples=9", "a", 1, [1, 1, 0], seconds=2.0),
        explanation_rows("lime", "n_samples=9", "a", 2, [0, 0, 0]),
    ]
    table = average(rows, same_label())
    assert table["variant"].unique().tolist() == ["n_samples=9@mean"] and len(table) == 3
    for scores in table["scores"]:
        assert scores == pytest.approx([(0.5 + 1) / 3, (-1 + 1) / 3, 0])
    row = table.iloc[0]
    assert json.loads(row["details"]) == {"n_seeds": 3, "seeds": [0, 1, 2]}
    assert (row["calls"], row["tokens"], row["seconds"]) == (3, 30, 3.0) and row["selected"] is None


def test_only_seeds_of_the_same_label_are_averaged():
    rows = [
        explanation_rows("lime", "default", "a", seed, scores)
        for seed, scores in enumerate(([1, 0, 0], [0, 1, 0], [0, 0, 1]))
    ]
    labels = same_label() | {("a", 2): "negative"}
    scores = scores_by_seed(average(rows, labels))
    assert scores[0] == scores[1] == pytest.approx([0.5, 0.5, 0]) and scores[2] == pytest.approx([0, 0, 1])


def test_sets_become_shares_and_lists_keep_their_order():
    sets = [
        explanation_rows("self", "S", "a", seed, selected=chosen, ordered=False)
        for seed, chosen in enumerate(([0], [0, 1], [1]))
    ]
    lists = [
        explanation_rows("self", "L", "a", seed, selected=chosen) for seed, chosen in enumerate(([0, 1], [0, 2], [2]))
    ]
    table = average(sets + lists, same_label())
    means = {row.variant: row.scores for row in table.itertuples()}
    assert means["S@mean"] == pytest.approx([2 / 3, 2 / 3, 0])
    assert means["L@mean"] == pytest.approx([2 / 3, 0.5 / 3, (0.5 + 1) / 3])


def test_invalid_explanations_are_left_out_of_the_mean_and_counted():
    rows = [
        explanation_rows("self", "x", "a", 0, [1, 0, 0]),
        explanation_rows("self", "x", "a", 1, valid=False, reason="no word found"),
        explanation_rows("self", "x", "a", 2, [0, 1, 0]),
        *(explanation_rows("self", "x", "b", seed, valid=False, reason="no word found") for seed in range(3)),
    ]
    table = average(rows, same_label("ab")).set_index(["example_id", "seed"])
    assert table.loc[("a", 1), "scores"] == pytest.approx([0.5, 0.5, 0])  # the seed gets the mean of the others
    assert json.loads(table.loc[("a", 1), "details"])["seeds"] == [0, 2]
    assert not table.loc[("b", 0), "valid"] and table.loc[("b", 0), "reason"] == stage.NO_SEED
    assert table.loc[("b", 0), "scores"] is None


def test_floors_repeats_and_further_draws_are_left_out():
    rows = []
    for seed in range(3):
        rows.append(explanation_rows("random", "default", "a", seed, [3, 1, 2]))
        rows.append(explanation_rows("lexicon", "default", "a", seed, [3, 1, 2] if seed < 2 else [-3, -1, -2]))
        for variant in ("default", "draw=1"):
            rows.append(explanation_rows("lime", variant, "a", seed, [1, seed, 0]))
        for variant in ("A", "A#1", "A~1"):
            rows.append(explanation_rows("self", variant, "a", seed, [1, seed, 0]))
    table = average(rows, same_label() | {("a", 2): "negative"})
    assert set(zip(table["explainer"], table["variant"], strict=True)) == {("lime", "default@mean"), ("self", "A@mean")}


def test_an_item_without_prediction_is_an_error():
    rows = [explanation_rows("lime", "default", "a", seed, [1, 0, 0]) for seed in range(2)]
    with pytest.raises(StudyError, match="no prediction"):
        average(rows, {("a", 0): "positive"})


def test_comparison_is_paired_by_run_and_item():
    generator = np.random.default_rng(0)
    single, averaged = [], []
    for item in range(30):
        for seed in range(4):
            row = {
                **explanation_rows("lime", "default", f"i{item}", seed),
                "metric": "f1",
                "k": "human",
                "operator": "none",
            }
            value = generator.normal()
            single.append({**row, "value": value, "chance": 0.1})
            changed = value + 0.3 if seed else value + 0.1 + (item % 2)
            averaged.append({**row, "variant": "default@mean", "value": changed, "chance": 0.1})
    averaged[0]["value"] = np.nan
    averaged.append({**averaged[1], "metric": "recall"})  # not among the measures
    table = stage.compare_averages(pd.DataFrame(single), pd.DataFrame(averaged))
    (row,) = table.to_dict("records")
    differences = np.array([a["value"] - s["value"] for a, s in zip(averaged, single, strict=False)])
    assert row["difference"] == pytest.approx(np.nanmean(differences)) and row["n_undefined"] == 1
    assert row["averaged"] - row["single"] == pytest.approx(row["difference"])
    assert row["low"] < row["difference"] < row["high"] and (row["n"], row["n_seeds"]) == (30, 4)
    # One seed: items alone are drawn, as in Student's interval.
    one = stage.compare_averages(pd.DataFrame(single[1::4]), pd.DataFrame(averaged[1::4])).iloc[0]
    assert (one["low"], one["high"]) == pytest.approx((0.3, 0.3))
    first = stage.compare_averages(pd.DataFrame(single[4::4]), pd.DataFrame(averaged[4:-1:4])).iloc[0]
    expected = t_interval(differences[4::4])
    assert (first["low"], first["high"]) == pytest.approx((expected.low, expected.high))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study of three made-up seeds whose models are one tiny random encoder."""
    folder = tmp_path_factory.mktemp("averages")
    with pytest.MonkeyPatch.context() as patch:
        study = make_study(folder, patch, seeds=(0, 1, 2))
        fill_study(study, np.random.default_rng(1))
        engines = []

        def open_engine(*_):
            engines.append(Engine(random_encoder()))
            return engines[-1]

        patch.setattr(subjects, "open_engine", open_engine)
        metrics = stage.score_averages(study)
        averages = read_table(study.folder, "averages")
        corpus = read_corpus(study, "planted_sentiment")
        single = study.read("metrics")
        written = study.read(stage.TABLE)
    return study, metrics, averages, corpus, engines, single, written


def test_plausibility_of_the_mean_is_that_of_its_scores(finished):
    _, metrics, averages, corpus, *_ = finished
    examples = {example.example_id: example for example in corpus.examples}
    rows = metrics[metrics["operator"] == "none"].set_index(["seed", "example_id", "explainer", "metric", "k"])["value"]
    checked = 0
    for row in averages[averages["explainer"] != "self"].head(30).itertuples():
        gold = np.array(examples[row.example_id].gold)
        key = (row.seed, row.example_id, row.explainer)
        assert rows[*key, "average_precision", "all"] == pytest.approx(average_precision(row.scores, gold))
        expected = set_plausibility(row.scores, gold, gold.sum())["f1"]
        assert rows[*key, "f1", "human"] == pytest.approx(expected)
        checked += 1
    assert checked == 30
    assert not metrics.duplicated(KEYS["metrics"]).any()


def test_faithfulness_of_the_mean_is_measured_on_each_model(finished):
    _, metrics, averages, corpus, engines, *_ = finished
    assert len(engines) == 3
    examples = {example.example_id: example for example in corpus.examples}
    rows = metrics[metrics["operator"] == "delete"]
    assert set(rows["k"]) == {"human", "0.2", "1", "all"} and not rows["metric"].str.startswith("aopc").any()
    values = rows.set_index(["seed", "example_id", "explainer", "metric", "k"])["value"]
    engine = Engine(random_encoder())
    for row in averages[averages["explainer"] == "occlusion"].head(6).itertuples():
        example = examples[row.example_id]
        masks = np.ones((2, len(example.words)), bool)
        masks[1, np.argsort(-np.asarray(row.scores))[: sum(example.gold)]] = False
        (answers,) = engine.answer([Request(example, masks, "delete")])
        target = answers[0].argmax()
        expected = np.exp(answers[0, target]) - np.exp(answers[1, target])
        key = (row.seed, row.example_id, "occlusion", "comprehensiveness", "human")
        assert values[key] == pytest.approx(float(expected), abs=1e-6)


def test_means_are_written_apart_from_single_explanations(finished):
    study, metrics, averages, _, _, single, written = finished
    assert len(written) == len(metrics) and not single["variant"].str.contains("@").any()
    assert set(averages["explainer"]) == {"occlusion", "attention", "self"}
    table = stage.compare_averages(single, metrics)
    assert set(table["metric"]) == {"f1", "comprehensiveness"} and (table["n_seeds"] == 3).all()
    assert set(averages["study"]) == {study.name}


def test_one_seed_cannot_be_averaged(tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="more than one seed"):
        stage.average_study(make_study(tmp_path, monkeypatch, seeds=(0,)))

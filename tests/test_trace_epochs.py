"""Curves over epochs: rows that agree with the ordinary stages and with hand counts, and what the curves say."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, f1_score

from rationales.errors import StudyError
from rationales.explainers.registry import Explanation
from rationales.paths import repository_root
from rationales.stages.attribute import attribute
from rationales.stages.epoch_trends import (
    ALL_ITEMS,
    MEASURES,
    NOBODY,
    correlation_of_ranks,
    flips_by_collapse,
    gap_by_epoch,
    summarise_epochs,
    trend_of,
)
from rationales.stages.prepare import explained_examples, prepare_corpus, read_corpus, write_examples
from rationales.stages.score_faithfulness import score_faithfulness
from rationales.stages.score_plausibility import score_plausibility
from rationales.stages.self_explain import self_explain
from rationales.stages.subjects import open_engine
from rationales.stages.trace_epochs import answer_rows, explanation_rows, trace_epochs
from rationales.stages.tune import tune
from rationales.study import load_study
from rationales.subjects.engine import Engine, Request
from rationales.tables import KEYS
from tiny_models import random_causal, sentiment

CONTENT = {
    "study": "epochs",
    "corpora": {"planted_sentiment": {"options": {"train": 12, "validation": 2, "test": 3}, "max_items": 8}},
    "subjects": {"tiny-llama": {"embedded": "tiny-llama"}, "tiny-encoder": {"embedded": "tiny-encoder"}},
    "tunings": {"tuned": {"epochs": 2, "batch_size": 16, "keep_epochs": True}},
    "runs": [
        {"corpus": "planted_sentiment", "subject": "tiny-llama"},
        {"corpus": "planted_sentiment", "subject": "tiny-llama", "tuning": "tuned"},
        {"corpus": "planted_sentiment", "subject": "tiny-encoder", "tuning": "tuned"},
    ],
    "explainers": {"attributions": ["saliency", "occlusion"]},
    "self_explanations": {"paradigms": ["PE-topk-human-anchored"]},
    "faithfulness": {"operators": ["delete"], "tie_orders": 2, "full_curve": 0},
    "epochs": {"items": 6, "paradigms": ["PE-topk-human-anchored"], "explainers": ["random", "saliency", "occlusion"]},
    "statistics": {"resamples": 200},
}


def load(folder, **changes):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, **changes}), encoding="utf-8")
    return load_study(path)


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A study whose causal and encoder runs are tuned, and their tables of epochs."""
    home = tmp_path_factory.mktemp("epochs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATIONALES_HOME", str(home))
        study = load(home)
        write_examples(study, prepare_corpus(study, "planted_sentiment"))
        training = {run: tune(study, run) for run in study.runs[1:]}
        yield study, {run: trace_epochs(study, run) for run in study.runs[1:]}, training


def test_every_epoch_item_and_measure_has_a_row(traced):
    study, tables, _ = traced
    llama, encoder = study.runs[1:]
    assert study.traced_runs() == [llama, encoder]
    for run, explainers in ((llama, 4), (encoder, 3)):  # an encoder cannot be asked
        table = tables[run]
        assert not table.duplicated(KEYS["epochs"]).any() and sorted(table["epoch"].unique()) == [0, 1, 2]
        explained = table[table["explainer"] != NOBODY]
        assert explained["explainer"].nunique() == explainers
        assert len(explained) == 3 * 6 * explainers * (1 + len(MEASURES))
        measured = explained[explained["metric"] != "valid"]
        assert (measured["value"].isna() == (measured["reason"] != "")).all()
        assert len(table[table["explainer"] == NOBODY]) == 3 * (2 * 6 + 3)
    assert len(study.read("epochs")) == sum(map(len, tables.values()))
    assert "self" in set(tables[llama]["explainer"]) and "self" not in set(tables[encoder]["explainer"])


def test_answers_of_each_epoch_are_those_measured_in_training(traced):
    study, tables, training = traced
    for run, table in tables.items():
        corpus = read_corpus(study, run.corpus)
        shown = explained_examples(study, corpus)
        for epoch in (0, 1, 2):
            scores = open_engine(study, run, corpus, epoch).full(shown)
            right = scores.argmax(1) == [corpus.labels.index(example.label) for example in shown]
            measured = training[run][(training[run]["epoch"] == epoch) & (training[run]["split"] == "explained")]
            assert measured["accuracy"].item() == pytest.approx(right.mean())
            rows = table[(table["epoch"] == epoch) & (table["metric"] == "accuracy")]
            assert rows["example_id"].tolist() == [example.example_id for example in shown[:6]]
            assert rows["value"].tolist() == right[:6].astype(float).tolist()


def test_values_of_one_epoch_against_erasures_done_by_hand(traced):
    study, tables, _ = traced
    run, epoch = study.runs[1], 1
    corpus = read_corpus(study, run.corpus)
    engine = open_engine(study, run, corpus, epoch)
    table = tables[run][(tables[run]["epoch"] == epoch) & (tables[run]["explainer"] == "occlusion")]
    checked = 0
    for example in explained_examples(study, corpus)[:6]:
        n_words, gold = len(example.words), np.array(example.gold)
        k = int(gold.sum())
        masks = np.concatenate([np.ones((1, n_words), bool), ~np.eye(n_words, dtype=bool)])
        log_probs = engine.answer([Request(example, masks)])[0]
        target = log_probs[0].argmax()
        drops = log_probs[0, target] - log_probs[1:, target]
        if len(np.unique(drops)) < n_words:
            continue
        chosen = np.zeros(n_words, bool)
        chosen[np.argsort(-drops)[:k]] = True
        rest = engine.answer([Request(example, np.stack([~chosen, np.zeros(n_words, bool)]))])[0]
        p = np.exp([log_probs[0, target], *rest[:, target]])
        values = table[table["example_id"] == example.example_id].set_index("metric")["value"]
        assert values["f1"] == pytest.approx(f1_score(gold, chosen))
        assert values["average_precision"] == pytest.approx(average_precision_score(gold, drops))
        assert values["comprehensiveness"] == pytest.approx(p[0] - p[1], abs=1e-5)
        if p[0] - p[2] >= 0.05:
            normal = (p[0] - p[1]) / (p[0] - p[2])
            assert values["normalised_comprehensiveness"] == pytest.approx(normal, abs=1e-4)
        else:
            assert np.isnan(values["normalised_comprehensiveness"])
        assert values["flip_rate"] == float(rest[0].argmax() != target)
        checked += 1
    assert checked >= 3


def test_the_last_epoch_agrees_with_the_ordinary_stages(traced):
    study, tables, _ = traced
    run = study.runs[1]
    attribute(study, run, "attributions")
    self_explain(study, run)
    ordinary = pd.concat([score_faithfulness(study, run), score_plausibility(study)])
    for explainer in ("saliency", "occlusion", "self"):
        for metric, k, operator in MEASURES:
            chosen = ordinary[(ordinary["explainer"] == explainer) & (ordinary["metric"] == metric)]
            chosen = chosen[(chosen["k"] == k) & (chosen["operator"] == operator)]
            mine = tables[run][(tables[run]["epoch"] == 2) & (tables[run]["explainer"] == explainer)]
            mine = mine[mine["metric"] == metric].set_index("example_id")["value"].dropna()
            assert len(mine) >= 1
            expected = chosen.set_index("example_id")["value"].reindex(mine.index)
            np.testing.assert_allclose(mine, expected, atol=1e-4, err_msg=f"{explainer} {metric}")


def test_what_cannot_be_traced_is_said(traced, tmp_path):
    study, _, _ = traced
    with pytest.raises(StudyError, match="takes the subject as it is"):
        trace_epochs(study, study.runs[0])
    off = load(tmp_path, epochs={})
    assert off.traced_runs() == []
    with pytest.raises(StudyError, match="name explainers under `epochs`"):
        trace_epochs(off, study.runs[1])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"epochs": {"item": 3}}, "no entry 'item'"),
        ({"epochs": {"items": 0, "explainers": ["lime"]}}, "`epochs: items` is 0"),
        ({"epochs": {"paradigms": ["PE-topk-human-anchored"]}}, "no `explainers`"),
        ({"epochs": {"paradigms": ["PE"], "explainers": ["lime"]}}, "Unknown paradigm 'PE'"),
        ({"tunings": {"tuned": {"epochs": 2}}}, "`keep_epochs: true`"),
    ],
)
def test_sections_that_cannot_work_are_refused(tmp_path, changes, words):
    with pytest.raises(StudyError, match=words):
        load(tmp_path, **changes)


# Rows


def test_collapse_is_told_from_one_sided_texts():
    corpus = sentiment()
    examples = [next(e for e in corpus.examples if e.label == label) for label in corpus.labels] * 3
    one = np.log(np.tile([0.9, 0.1], (6, 1)))
    facts = {
        row["metric"]: row["value"] for row in answer_rows(corpus, examples, one) if row["example_id"] == ALL_ITEMS
    }
    assert facts == {"commonest_label": 1.0, "label_entropy": 0.0, "collapsed": 1.0}
    both = one.copy()
    both[::2] = both[::2, ::-1]
    rows = answer_rows(corpus, examples, both)
    facts = {row["metric"]: row["value"] for row in rows if row["example_id"] == ALL_ITEMS}
    assert facts["collapsed"] == 0 and facts["label_entropy"] == pytest.approx(np.log(2))
    assert [row["value"] for row in rows if row["metric"] == "accuracy"] == [0.0] * 6  # every answer is turned round
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert [row["value"] for row in rows if row["metric"] == "entropy"] == pytest.approx([entropy] * 6)
    same_label = [example for example in examples if example.label == corpus.labels[0]]
    rows = answer_rows(corpus, same_label, one[:3])
    assert next(row["value"] for row in rows if row["metric"] == "collapsed") == 0  # there is but one label to give


def test_what_cannot_be_scored_is_a_row_with_its_reason(traced):
    study, _, _ = traced
    engine = Engine(random_causal())
    first, second, third = sentiment().examples[:3]
    bare = type(third)("bare", third.corpus, third.split, third.language, third.segments, third.label)
    targets = engine.full([first, second, bare]).argmax(1)
    explanations = [
        Explanation(first.example_id, valid=False, reason="refusal"),
        Explanation(second.example_id, np.arange(len(second.words), dtype=float)),
        Explanation("bare", valid=False, reason="no human rationale"),
    ]
    rows = pd.DataFrame(explanation_rows(study, engine, [first, second, bare], targets, "self", "x", explanations))
    assert len(rows) == 3 * (1 + len(MEASURES))
    valid = rows[rows["metric"] == "valid"].set_index("example_id")["value"]
    assert valid[first.example_id] == 0 and valid[second.example_id] == 1 and np.isnan(valid["bare"])
    values = rows[rows["metric"] != "valid"]
    refused = values[values["example_id"] == first.example_id]
    assert refused["value"].isna().all() and (refused["reason"] == "refusal").all()
    assert (values[values["example_id"] == "bare"]["reason"] == "no human rationale").all()
    scored = values[values["example_id"] == second.example_id].set_index("metric")
    assert scored["value"].drop("normalised_comprehensiveness").notna().all()
    flat = np.isnan(scored.loc["normalised_comprehensiveness", "value"])
    assert flat == ("depends on the text" in scored.loc["normalised_comprehensiveness", "reason"])


# What the curves say


def made_table(curves, accuracy, seeds=(0,), n_items=8, collapsed=None):
    """A table of epochs: each item has the value of its curve plus a shift of its own; accuracy is a count of items."""
    rows = []
    base = {"corpus": "c", "subject": "s", "tuning": "t", "reason": ""}
    for seed in seeds:
        for epoch, right in enumerate(accuracy):
            here = {**base, "seed": seed, "epoch": epoch}
            for item in range(n_items):
                found = {"example_id": str(item), "k": "all", "operator": "none"}
                rows.append({**here, **found, "explainer": NOBODY, "variant": NOBODY, "metric": "accuracy",
                             "value": float(item < right)})  # fmt: skip
                for (explainer, variant, metric), curve in curves.items():
                    k, operator = next(measure[1:] for measure in MEASURES if measure[0] == metric)
                    rows.append({**here, "example_id": str(item), "k": k, "operator": operator, "explainer": explainer,
                                 "variant": variant, "metric": metric, "value": curve[epoch] + item / 100})  # fmt: skip
            shares = {"commonest_label": 0.5, "label_entropy": 0.7, "collapsed": 0.0}
            if collapsed and epoch in collapsed:
                shares = {"commonest_label": 1.0, "label_entropy": 0.0, "collapsed": 1.0}
            for metric, value in shares.items():
                rows.append({**here, "example_id": ALL_ITEMS, "k": "all", "operator": "none", "explainer": NOBODY,
                             "variant": NOBODY, "metric": metric, "value": value})  # fmt: skip
    return pd.DataFrame(rows)


CURVES = {
    ("saliency", "default", "f1"): [0.2, 0.3, 0.5, 0.6],
    ("lime", "default", "f1"): [0.5, 0.2, 0.6, 0.3],
    ("self", "PE-topk-human-anchored", "f1"): [0.6, 0.6, 0.6, 0.6],
    ("saliency", "default", "flip_rate"): [0.0, 0.1, 0.5, 0.7],
    ("self", "PE-topk-human-anchored", "flip_rate"): [0.0, 0.2, 0.2, 0.3],
    ("random", "default", "flip_rate"): [0.9, 0.9, 0.9, 0.9],
}
ACCURACY = [4, 5, 6, 8]


def test_trends_against_counts_by_hand(traced):
    study, _, _ = traced
    table = trend_of(study, made_table(CURVES, ACCURACY)).set_index("explainer")
    assert table["estimate"].to_dict() == pytest.approx({"saliency": 0.4, "lime": -0.2, "self": 0.0})
    assert table.loc["saliency", "first"] == pytest.approx(0.2 + 0.035)
    assert table["accuracy_change"].tolist() == pytest.approx([0.5] * 3) and table["n_epochs"].unique() == [4]
    assert table.loc["saliency", "spearman"] == 1 and np.isnan(table.loc["self", "spearman"])
    expected = spearmanr(ACCURACY, CURVES["lime", "default", "f1"]).statistic
    assert table.loc["lime", "spearman"] == pytest.approx(expected)
    assert table.loc["lime", "spearman_low"] <= expected <= table.loc["lime", "spearman_high"]
    assert table["never_falls"].to_dict() == {"saliency": 1.0, "lime": 0.0, "self": 1.0}


def test_trends_average_over_seeds_and_leave_out_what_is_undefined(traced):
    study, _, _ = traced
    table = made_table(CURVES, ACCURACY, seeds=(0, 1))
    turned = (table["seed"] == 1) & (table["explainer"] == "saliency") & (table["metric"] == "f1")
    table.loc[turned, "value"] = 1 - table.loc[turned, "value"]
    table.loc[turned & (table["example_id"] == "3") & (table["epoch"] == 0), "value"] = np.nan
    row = trend_of(study, table).set_index("explainer").loc["saliency"]
    assert row["spearman"] == pytest.approx(0.0)  # 1 under one seed, -1 under the other
    assert row["n_seeds"] == 2 and row["never_falls"] == 0.5
    assert -1 <= row["spearman_low"] <= row["spearman_high"] <= 1


def test_seeds_that_stopped_early_end_at_their_own_last_epoch(traced):
    study, _, _ = traced
    table = made_table(CURVES, ACCURACY, seeds=(0, 1))
    table = table[(table["seed"] == 0) | (table["epoch"] < 3)]
    row = trend_of(study, table).set_index("explainer").loc["saliency"]
    assert row["estimate"] == pytest.approx((0.4 + 0.3) / 2) and row["n_epochs"] == 4


def test_rank_correlation_is_that_of_scipy():
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 4, (50, 6)).astype(float), generator.normal(size=(50, 6))
    found = correlation_of_ranks(first, second)
    for left, right, value in zip(first, second, found, strict=True):
        assert value == pytest.approx(spearmanr(left, right).statistic)
    assert np.isnan(correlation_of_ranks(np.ones(3), np.arange(3.0)))
    assert np.isnan(correlation_of_ranks(np.array([1.0, np.nan, 2.0]), np.arange(3.0)))


def test_gaps_to_the_self_explanation_by_epoch(traced):
    study, _, _ = traced
    table = gap_by_epoch(study, made_table(CURVES, ACCURACY, collapsed=[0]))
    assert set(table["explainer"]) == {"saliency"}  # floors are no attributions
    assert table["estimate"].tolist() == pytest.approx([0.0, -0.1, 0.3, 0.4])
    assert table["accuracy"].tolist() == [0.5, 0.625, 0.75, 1.0] and table["collapsed"].tolist() == [1, 0, 0, 0]
    with pytest.raises(StudyError, match="metric of the epochs"):
        gap_by_epoch(study, table, "kappa")
    silent = {key: curve for key, curve in CURVES.items() if key[0] != "self"}
    with pytest.raises(StudyError, match="writes self-explanations"):
        gap_by_epoch(study, made_table(silent, ACCURACY))


def test_flips_beside_collapse():
    table = flips_by_collapse(made_table(CURVES, ACCURACY, collapsed=[0]))
    assert table["collapsed"].tolist() == [True, False, False, False]
    assert table["flip_highest"].tolist() == pytest.approx([0.035, 0.235, 0.535, 0.735])
    assert table["flip_lowest"].tolist() == pytest.approx([0.035, 0.135, 0.235, 0.335])
    assert table["commonest_label"].tolist() == [1.0, 0.5, 0.5, 0.5]


def test_summaries_are_means_with_intervals_over_items(traced):
    study, tables, _ = traced
    table = tables[study.runs[1]]
    summary = summarise_epochs(study, table)
    keys = ["explainer", "variant", "metric", "epoch"]
    means = table.groupby(keys)["value"].mean()
    found = summary.set_index(keys)
    np.testing.assert_allclose(found["estimate"], means.reindex(found.index))
    whole = summary["metric"].isin(["commonest_label", "label_entropy", "collapsed"])
    assert whole.sum() == 9 and summary.loc[whole, ["low", "high"]].isna().all().all()
    accuracy = summary[summary["metric"] == "accuracy"]
    assert (accuracy["low"] <= accuracy["estimate"]).all() and (accuracy["estimate"] <= accuracy["high"]).all()


def test_reading_the_curves_needs_no_torch():
    code = "import sys, rationales.stages.epoch_trends; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository_root()).returncode == 0

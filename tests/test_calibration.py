"""Calibration of metrics against a known answer: each property against scipy or by hand, and the rule of the verdict."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy.stats import spearmanr

from rationales.errors import StudyError
from rationales.figures.calibration import label_metric, plot_calibration
from rationales.stages.calibrate_metrics import (
    Measured,
    calibrate_metrics,
    judge_metric,
    properties_of,
    random_test,
    rank_correlations,
)
from rationales.tables import read_table
from tiny_study import open_tiny_study

QUALITY = {("lime", "default"): 0.9, ("occlusion", "default"): 0.8, ("saliency", "default"): 0.6,
           ("attention", "default"): 0.5, ("self", "PE-topk-human-anchored"): 0.3, ("random", "default"): 0.1}  # fmt: skip
ITEMS, SEEDS = 20, 2
SHAPE = (len(QUALITY), ITEMS, SEEDS)


@pytest.fixture
def study(tmp_path, monkeypatch):
    return open_tiny_study(tmp_path, monkeypatch, resamples=200)


def measured(values, recovery, shortcut=None, ties=None, resamples=50):
    g = np.random.default_rng(0)
    counts = g.multinomial(ITEMS, np.full(ITEMS, 1 / ITEMS), resamples).astype(float)
    seed_weights = g.multinomial(SEEDS, np.full(SEEDS, 1 / SEEDS), resamples).astype(float)
    nothing = np.full(SHAPE, np.nan)
    real = np.array([name != "random" for name, _ in QUALITY])
    shortcut, ties = (nothing if given is None else given for given in (shortcut, ties))
    return Measured(list(QUALITY), real, values, recovery, shortcut, ties, counts, seed_weights)


def test_rank_correlations_equal_scipy_with_gaps():
    g = np.random.default_rng(0)
    first, second = g.random((6, 9)).round(1), g.random((6, 9))
    first[0, :3], second[1, 4], first[2] = np.nan, np.nan, 0.5
    found = rank_correlations(first, second)
    for row in range(6):
        both = ~np.isnan(first[row]) & ~np.isnan(second[row])
        if row == 2:
            assert np.isnan(found[row])
        else:
            assert found[row] == pytest.approx(spearmanr(first[row][both], second[row][both]).statistic)
    assert np.isnan(rank_correlations(np.array([[1.0, 2.0, np.nan]]), np.array([[1.0, 2.0, 3.0]]))).all()


def test_properties_equal_brute_force():
    g = np.random.default_rng(1)
    values, recovery, shortcut, ties = (g.random(SHAPE) for _ in range(4))
    values[2, :5], recovery[:, 7] = np.nan, np.nan
    found = {name: drawn[0] for name, drawn in properties_of(measured(values, recovery, shortcut, ties)).items()}
    both = ~np.isnan(values) & ~np.isnan(recovery)
    means = [[side[e][both[e]].mean() for e in range(len(QUALITY))] for side in (values, recovery)]
    assert found["correlation"] == pytest.approx(spearmanr(*means).statistic)
    assert found["correlation_real"] == pytest.approx(spearmanr(means[0][:-1], means[1][:-1]).statistic)
    places = [[np.nanmean(values[e]) for e in range(5)], [-shortcut[e][~np.isnan(values[e])].mean() for e in range(5)]]
    assert found["shortcut"] == pytest.approx(spearmanr(*places).statistic)
    texts, partial, wrong = [], [], []
    for item in range(ITEMS):
        for seed in range(SEEDS):
            v, r, t = values[:, item, seed], recovery[:, item, seed], ties[:, item, seed]
            kept = ~np.isnan(v) & ~np.isnan(r)
            if kept.any():
                texts.append(spearmanr(v[kept], r[kept]).statistic)
                a, b = spearmanr(v[~np.isnan(v)], t[~np.isnan(v)]).statistic, spearmanr(t, r).statistic
                partial.append((a - texts[-1] * b) / np.sqrt((1 - texts[-1] ** 2) * (1 - b**2)))
            wrong += [float(v[5] > v[e]) for e in range(5) if r[e] > r[5] and not np.isnan(v[e])]
    assert found["within_text"] == pytest.approx(np.mean(texts))
    assert found["tie_sensitivity"] == pytest.approx(np.mean(partial))
    assert found["random_wins"] == pytest.approx(np.mean(wrong))


def test_a_metric_that_is_the_answer_a_reversed_one_and_a_constant_one():
    g = np.random.default_rng(2)
    recovery = np.array(list(QUALITY.values()))[:, None, None] + 0.01 * g.standard_normal(SHAPE)
    good, bad, flat = (properties_of(measured(values, recovery)) for values in (recovery, -recovery, np.ones(SHAPE)))
    assert (good["correlation"] == pytest.approx(1)) and good["random_wins"][0] == 0
    assert bad["correlation"][0] == pytest.approx(-1) and bad["random_wins"][0] == 1
    assert np.isnan(flat["correlation"]).all() and flat["random_wins"][0] == 0.5


def make_metrics(recovery_items=ITEMS, corpus="planted_sentiment", with_known=True, seed=0):
    """comprehensiveness and sufficiency (lower is better) follow the quality; f1 follows its reverse."""
    g = np.random.default_rng(seed)
    rows = []
    for (explainer, variant), quality in QUALITY.items():
        for item in range(ITEMS):
            for run in range(SEEDS):
                known = quality + 0.05 * g.standard_normal() if item < recovery_items else np.nan
                values = {
                    ("comprehensiveness", "human", "delete"): quality + 0.05 * g.standard_normal(),
                    ("sufficiency", "human", "delete"): -quality + 0.05 * g.standard_normal(),
                    ("f1", "human", "none"): 0.5 - quality + 0.05 * g.standard_normal(),
                    ("tie_rate", "0.2", "none"): g.random(),
                }
                if with_known:
                    values |= {("causal_recovery", "all", "swap"): known, ("shortcut_rank", "all", "swap"): g.random()}
                rows += [(explainer, variant, *key, f"{item:02}", run, value, 0.4) for key, value in values.items()]
    columns = ["explainer", "variant", "metric", "k", "operator", "example_id", "seed", "value", "chance"]
    table = pd.DataFrame(rows, columns=columns)
    oracles = table[table["explainer"] == "lime"].assign(explainer="greedy", value=-5.0)
    table = pd.concat([table, oracles, oracles.assign(explainer="human")], ignore_index=True)
    return table.assign(corpus=corpus, subject="tiny-llama", tuning="base", epoch=0)


def test_calibration_trusts_what_follows_the_answer_and_not_its_reverse(study):
    table = calibrate_metrics(study, make_metrics())
    rows = table[table["corpus"] == "all"].set_index("metric")
    assert rows.loc[["comprehensiveness", "sufficiency"], "verdict"].tolist() == ["trust", "trust"]
    assert rows.loc["f1", "verdict"] == "do not trust" and rows.loc["f1", "correlation"] < -0.9
    assert (rows["n_explainers"] == len(QUALITY)).all()  # the oracle and the human rationale are not calibrated with
    assert (rows["correlation_low"] <= rows["correlation"]).all() and rows.loc["f1", "n_items"] == ITEMS
    assert rows.loc["f1", "random_tests"] == 1 and rows.loc["comprehensiveness", "random_tests"] == 0
    assert len(read_table(study.folder, "calibration")) == len(table)


def test_models_with_few_known_texts_are_reported_and_not_pooled(study):
    metrics = pd.concat([make_metrics(), make_metrics(6, "planted_opinion", seed=1)])
    table = calibrate_metrics(study, metrics).set_index(["corpus", "metric"])
    assert (table.loc["all", "n_models"] == 1).all()
    assert table.loc[("planted_opinion", "f1"), "verdict"] == "with care"
    assert table.loc[("planted_opinion", "f1"), "sentence"].endswith("(6).")


def test_without_a_known_answer_or_enough_explanations_the_table_is_empty(study):
    metrics, columns = make_metrics(), calibrate_metrics(study, make_metrics()).columns
    few = metrics[metrics["explainer"].isin(["lime", "random", "human"])]
    for given in (few, make_metrics(with_known=False)):
        table = calibrate_metrics(study, given)
        assert table.empty and list(table.columns) == list(columns)


def test_random_words_are_tested_against_their_chance_level():
    g = np.random.default_rng(3)
    rows = pd.DataFrame({"example_id": np.repeat(np.arange(40), 2), "value": g.normal(0.3, 0.1, 80), "chance": 0.3})
    assert random_test(rows, "f1", g) > 0.05 and random_test(rows.assign(chance=0.2), "f1", g) < 0.01
    assert random_test(rows.assign(value=rows["value"] - 0.3), "deletion_area", g) > 0.05
    assert random_test(rows, "deletion_area", g) < 0.01
    assert np.isnan(random_test(rows, "comprehensiveness", g))  # removing random words does cost something


def judged(**changes):
    row = {"correlation_real": 0.9, "correlation_real_low": 0.7, "correlation_real_high": 1.0, "random_wins": 0.1,
           "random_wins_low": 0.05, "random_wins_high": 0.2, "random_rejected": 0, "random_tests": 2,
           "shortcut_high": 0.5, "n_items": 60}  # fmt: skip
    return judge_metric(row | changes)[0]


def test_the_rule_of_the_verdict():
    assert judged() == "trust" and judged(shortcut_high=np.nan) == "trust"
    for doubt in ({"correlation_real_low": 0.4}, {"random_wins_high": 0.3}, {"random_rejected": 1}, {"shortcut_high": -0.1},
                  {"n_items": 9}, {"correlation_real": np.nan}, {"random_wins_high": np.nan}):  # fmt: skip
        assert judged(**doubt) == "with care", doubt
    assert judged(correlation_real_high=0.49) == "do not trust"
    assert judged(random_wins_low=0.5, random_wins_high=0.7) == "do not trust"


def test_figure_orders_metrics_by_the_property(study):
    table = calibrate_metrics(study, make_metrics())
    table = table[table["corpus"] == "all"]
    for property_, last in (("correlation_real", "Token F1 (human)"), ("random_wins", "Token F1 (human)")):
        labels = [
            text.get_text().split("  ")[0] for text in plot_calibration(table, property_).axes[0].get_yticklabels()
        ]
        assert labels[-1] == last and len(labels) == 3
    plt.close("all")
    assert label_metric("dfmit", "first word", "mask") == "DFMIT (first word, mask)"
    assert label_metric("average_precision", "whole", "none") == "Average precision"
    with pytest.raises(StudyError, match="Unknown property of a metric"):
        plot_calibration(table, "beauty")

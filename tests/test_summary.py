"""Summaries of metric rows against a loop that resamples item by item, and their speed."""

import time

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from rationales.errors import StudyError
from rationales.randomness import generator_for
from rationales.statistics.bootstrap import draw_counts, mean_interval
from rationales.statistics.summary import fill_invalid, select, summarise


def rows_of(values, explainer="lime", seed=0, **columns):
    count = len(values)
    return pd.DataFrame(
        {
            "explainer": explainer,
            "seed": seed,
            "example_id": [f"e{n}" for n in range(count)],
            "value": values,
            **columns,
        }
    )


def slow_percentile(values, counts):
    """The mean of each resample, one draw at a time."""
    means = [np.mean([v for v, times in zip(values, row, strict=True) for _ in range(int(times))]) for row in counts]
    return np.quantile(means, [0.025, 0.975])


def test_resampling_by_counts_equals_a_loop_over_the_draws():
    values = np.random.default_rng(0).beta(0.5, 2, 40)
    counts = np.concatenate(list(draw_counts(40, 300, np.random.default_rng(5))))
    interval = mean_interval(values, np.random.default_rng(5), 300, method="percentile")
    assert (interval.low, interval.high) == pytest.approx(tuple(slow_percentile(values, counts)))


def test_one_seed_is_the_interval_by_item_of_its_own_generator():
    values = np.random.default_rng(1).beta(0.5, 2, 50)
    table = pd.concat([rows_of(values, "lime"), rows_of(values[::-1], "ig")])
    result = summarise(table, ["explainer"], resamples=400, seed=3).set_index("explainer")
    expected = mean_interval(values, generator_for("summary", 3, "lime"), 400)
    found = result.loc["lime", ["estimate", "low", "high"]].tolist()
    assert found == pytest.approx([expected.estimate, expected.low, expected.high])
    alone = summarise(rows_of(values, "lime"), ["explainer"], resamples=400, seed=3)
    assert alone["low"][0] == result.loc["lime", "low"]  # other groups do not matter


def test_shares_have_wilson_intervals_also_without_variation():
    result = summarise(rows_of(np.zeros(40)), ["explainer"])
    assert (result["low"][0], result["high"][0]) == pytest.approx(proportion_confint(0, 40, method="wilson"), abs=1e-12)
    assert result["estimate"][0] == 0 and result["note"][0] == ""


def test_annotators_of_an_item_are_averaged_before_items_are_drawn():
    values = np.random.default_rng(2).random(30)
    twice = pd.concat([rows_of(values + 0.1), rows_of(values - 0.1)])
    once = summarise(rows_of(values), ["explainer"])
    result = summarise(twice, ["explainer"])
    assert result[["estimate", "low", "high"]].iloc[0].tolist() == pytest.approx(
        once[["estimate", "low", "high"]].iloc[0].tolist()
    )


def test_undefined_values_chance_and_seeds_are_counted():
    table = pd.concat([rows_of([0.1, np.nan, 0.4], seed=seed, chance=[0.2, 0.4, 0.6]) for seed in (1, 2)])
    result = summarise(table, ["explainer"]).iloc[0]
    assert (result["n"], result["n_seeds"], result["n_undefined"]) == (2, 2, 2)
    assert result["chance"] == pytest.approx(0.4) and "2 seeds" in result["note"]
    nothing = summarise(rows_of([np.nan, np.nan]), ["explainer"]).iloc[0]
    assert np.isnan(nothing["estimate"]) and nothing["note"]


@pytest.mark.parametrize(("n_explainers", "n_items", "n_seeds"), [(100, 1000, 1), (20, 1000, 5)])
def test_a_hundred_thousand_rows_and_a_thousand_resamples_take_seconds(n_explainers, n_items, n_seeds):
    place = np.indices((n_explainers, n_items, n_seeds)).reshape(3, -1)
    values = np.random.default_rng(3).beta(0.5, 2, place.shape[1])
    table = pd.DataFrame({"explainer": place[0], "example_id": place[1], "seed": place[2], "value": values})
    start = time.perf_counter()
    result = summarise(table, ["explainer"], resamples=1000)
    assert time.perf_counter() - start < 30 and len(result) == n_explainers
    covered = (result["low"] <= 0.2) & (0.2 <= result["high"])
    assert covered.mean() > 0.8


def test_rows_are_selected_and_invalid_ones_filled():
    table = rows_of([0.5, 0.7], metric="f1", k="human", operator="none", chance=0.1)
    assert len(select(table, "f1", "human", "none")) == 2
    with pytest.raises(StudyError, match="its metrics are: f1"):
        select(table, "iou")
    skipped = pd.DataFrame({"example_id": ["e8", "e9"], "reason": ["no answer", "no human rationale"]})
    filled = fill_invalid(table, skipped, "f1")
    assert filled["value"].tolist() == [0.5, 0.7, 0.0]
    with pytest.raises(StudyError, match="kappa"):
        fill_invalid(table, skipped, "kappa")

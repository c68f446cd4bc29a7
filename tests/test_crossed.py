"""Intervals and tests over items and seeds against the analysis of variance, regression residuals and scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rationales.errors import StudyError
from rationales.statistics.bootstrap import crossed_mean_interval, draw_counts
from rationales.statistics.crossed import (
    crossed_t_interval,
    crossed_t_test,
    draw_seed_weights,
    half_widths,
    mean_interval_over_seeds,
    resample_crossed_means,
)
from rationales.statistics.summary import summarise


def rows(table):
    """Values, items and seeds of a table (items, seeds)."""
    table = np.asarray(table, dtype=float)
    items, seeds = (x.ravel() for x in np.indices(table.shape))
    return table.ravel(), items, seeds


def draw(generator, n_items, n_seeds, item=1.0, seed=0.5, noise=1.0):
    return (
        item * generator.standard_normal((n_items, 1))
        + seed * generator.standard_normal((1, n_seeds))
        + noise * generator.standard_normal((n_items, n_seeds))
    )


def mean_squares(table):
    n_items, n_seeds = table.shape
    by_item, by_seed, grand = table.mean(1), table.mean(0), table.mean()
    rest = table - by_item[:, None] - by_seed + grand
    return (
        n_seeds * by_item.var(ddof=1),
        n_items * by_seed.var(ddof=1),
        np.sum(rest**2) / ((n_items - 1) * (n_seeds - 1)),
    )


@pytest.mark.parametrize("degrees", ["smallest", "satterthwaite"])
def test_balanced_data_give_the_analysis_of_variance(degrees):
    table = draw(np.random.default_rng(0), 20, 6) + 0.3
    item, seed, rest = mean_squares(table)
    assert item + seed - rest > max(item, seed)
    variance = (item + seed - rest) / 120
    parts = [item / 120, seed / 120, rest / 120]
    df = 5 if degrees == "smallest" else variance**2 / (parts[0] ** 2 / 19 + parts[1] ** 2 / 5 + parts[2] ** 2 / 95)
    interval = crossed_t_interval(*rows(table), degrees=degrees)
    half = stats.t.ppf(0.975, df) * np.sqrt(variance)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx(
        (table.mean(), table.mean() - half, table.mean() + half)
    )
    test = crossed_t_test(*rows(table), degrees=degrees)
    assert test.statistic == pytest.approx(table.mean() / np.sqrt(variance))
    assert test.p == pytest.approx(2 * stats.t.sf(abs(test.statistic), df))
    assert (interval.n, test.n, interval.note) == (120, 120, "")
    greater, less = (crossed_t_test(*rows(table), side, degrees).p for side in ("greater", "less"))
    assert greater + less == pytest.approx(1) and min(greater, less) == pytest.approx(test.p / 2)


def test_the_variance_is_never_below_that_of_either_factor():
    table = np.random.default_rng(1).standard_normal((8, 5))
    table -= table.mean(axis=0)  # seeds agree exactly: less than the residual alone would give
    item, seed, rest = mean_squares(table)
    assert item + seed - rest < item
    assert crossed_t_test(*rows(table + 1)).statistic == pytest.approx(1 / np.sqrt(item / 40))


def test_unbalanced_residuals_equal_those_of_a_regression():
    generator = np.random.default_rng(2)
    values, items, seeds = rows(draw(generator, 12, 5))
    kept = generator.random(60) < 0.7
    values, items, seeds = values[kept], items[kept], seeds[kept]
    design = np.hstack([items[:, None] == np.arange(12), seeds[:, None] == np.arange(5)]).astype(float)
    fit, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    n = len(values)
    residual = np.sum((values - design @ fit) ** 2) / (n - rank)
    centred = values - values.mean()
    item = sum(centred[items == i].sum() ** 2 for i in range(12)) / n**2 * 12 / 11
    seed = sum(centred[seeds == s].sum() ** 2 for s in range(5)) / n**2 * 5 / 4
    variance = max(item + seed - residual / n, item, seed)
    assert crossed_t_test(values, items, seeds).statistic == pytest.approx(values.mean() / np.sqrt(variance))


def test_order_names_gaps_and_repeats_of_rows():
    values, items, seeds = rows(draw(np.random.default_rng(3), 10, 4))
    plain = crossed_t_interval(values, items, seeds)
    order = np.random.default_rng(4).permutation(40)
    names = np.array([f"item {i}" for i in items])
    assert crossed_t_interval(values[order], names[order], seeds[order]).low == pytest.approx(plain.low)
    gaps = crossed_t_interval(np.append(values, np.nan), np.append(items, 0), np.append(seeds, 0))
    assert (gaps.low, gaps.n, gaps.n_undefined) == (pytest.approx(plain.low), 40, 1)
    # Every row twice, a little apart: averaged, so that repeats do not pass for items.
    twice = crossed_t_interval(np.append(values + 0.1, values - 0.1), np.tile(items, 2), np.tile(seeds, 2))
    assert (twice.low, twice.high, twice.n) == (pytest.approx(plain.low), pytest.approx(plain.high), 40)
    shifted = crossed_t_interval(5 * values + 2, items, seeds)
    assert (shifted.low, shifted.high) == pytest.approx((5 * plain.low + 2, 5 * plain.high + 2))


def test_one_seed_is_the_t_test_over_items():
    values = np.random.default_rng(5).standard_normal(15) + 0.5
    reference = stats.ttest_1samp(values, 0)
    test = crossed_t_test(values, np.arange(15), np.zeros(15))
    assert (test.statistic, test.p) == pytest.approx((reference.statistic, reference.pvalue))
    assert "one seed only" in test.note
    by_seed = crossed_t_test(values, np.zeros(15), np.arange(15))
    assert by_seed.p == pytest.approx(reference.pvalue) and "one item only" in by_seed.note


@pytest.mark.parametrize(
    ("values", "items", "seeds", "note"),
    [
        ([], [], [], "no defined value"),
        ([np.nan, np.nan], [0, 1], [0, 1], "no defined value"),
        ([0.3], [0], [0], "One item and one seed"),
        ([0.3, 0.3, 0.3, 0.3], [0, 0, 1, 1], [0, 1, 0, 1], "All values are equal"),
    ],
)
def test_degenerate_samples_give_a_sentence(values, items, seeds, note):
    interval, test = crossed_t_interval(values, items, seeds), crossed_t_test(values, items, seeds)
    assert note in interval.note and note in test.note and np.isnan(test.p)
    assert np.isnan(interval.low) or interval.low == interval.high == pytest.approx(0.3)
    assert crossed_t_test([0.0, 0.0], [0, 1], [0, 1]).p == 1


def test_items_and_seeds_that_coincide_do_not_crash():
    values = np.random.default_rng(6).standard_normal(6)
    for degrees in ("smallest", "satterthwaite"):
        test = crossed_t_test(values, np.arange(6), np.arange(6), degrees=degrees)
        assert 0 < test.p <= 1


def test_bad_input_is_refused():
    for call in (
        lambda: crossed_t_interval([1.0, 2], [0], [0, 1]),
        lambda: crossed_t_interval([1.0, np.inf], [0, 1], [0, 1]),
        lambda: crossed_t_interval([1.0, 2], [0, 1], [0, 1], level=95),
        lambda: crossed_t_interval([1.0, 2], [0, 1], [0, 1], degrees="many"),
        lambda: crossed_t_test([1.0, 2], [0, 1], [0, 1], alternative="bigger"),
        lambda: crossed_t_test([1.0, 2], [0, None], [0, 1]),
    ):
        with pytest.raises(StudyError):
            call()


# ---- weighted quantiles, and draws that are as wide


def test_weighted_quantiles_lie_between_those_of_items_and_of_seeds():
    table = draw(np.random.default_rng(0), 20, 6) + 0.3
    item, seed, rest = mean_squares(table)
    weighted = np.average(stats.t.ppf(0.975, [19, 5]), weights=[item, seed])
    interval = crossed_t_interval(*rows(table), degrees="weighted")
    assert interval.high - table.mean() == pytest.approx(weighted * np.sqrt((item + seed - rest) / 120))
    one_seed = crossed_t_interval(*rows(table[:, :1]), degrees="weighted")
    assert (one_seed.low, one_seed.high) == pytest.approx(
        stats.t.interval(0.95, 19, table[:, 0].mean(), stats.sem(table[:, 0]))
    )


def test_half_widths_of_many_tables_equal_the_interval_of_each_with_gaps():
    generator = np.random.default_rng(1)
    cells = np.stack([draw(generator, 15, 4, seed=seed) for seed in (0.0, 0.3, 1.0, 2.0)])
    cells[1:][generator.random((3, 15, 4)) < 0.25] = np.nan
    cells[3, :, 1:] = np.nan  # one seed is left
    defined = ~np.isnan(cells)
    means = np.nanmean(cells, axis=(1, 2), keepdims=True)
    influence = np.where(defined, cells - means, 0.0) / defined.sum(axis=(1, 2), keepdims=True)
    for table, half in zip(cells, half_widths(influence, defined), strict=True):
        interval = crossed_t_interval(*rows(table), degrees="weighted")
        assert half == pytest.approx((interval.high - interval.low) / 2, rel=1e-4)


@pytest.mark.parametrize(("n_seeds", "seed"), [(2, 1.0), (3, 1.0), (3, 0.0), (5, 0.5)])
def test_intervals_of_tables_and_of_shared_draws_cover_where_the_bootstrap_over_seeds_does_not(n_seeds, seed):
    generator, trials = np.random.default_rng(n_seeds), 300
    hits = {"table": 0, "draws": 0, "bootstrap": 0}
    for _ in range(trials):
        table = draw(generator, 30, n_seeds, seed=seed)
        interval = mean_interval_over_seeds(*rows(table), generator)
        counts = np.concatenate(list(draw_counts(30, 400, generator)))
        drawn = resample_crossed_means(table[None], counts, draw_seed_weights(n_seeds, 400, generator))[:, 0]
        low, high = np.quantile(drawn, [0.025, 0.975])
        old = crossed_mean_interval(*rows(table), generator, 200)
        hits["table"] += interval.low <= 0 <= interval.high
        hits["draws"] += low <= 0 <= high
        hits["bootstrap"] += old.low <= 0 <= old.high
    # Two standard errors of a share of 300 at .95 are .025.
    assert hits["table"] / trials > 0.92 and hits["draws"] / trials > 0.91
    assert seed < 1 or hits["bootstrap"] / trials < 0.85


def test_many_seeds_are_drawn_and_one_stands_for_itself():
    generator = np.random.default_rng(0)
    table = draw(generator, 12, 25)
    assert mean_interval_over_seeds(*rows(table), generator).method == "percentile"
    assert "2 seeds" in mean_interval_over_seeds(*rows(table[:, :2]), generator).note
    weights = draw_seed_weights(25, 50, generator)
    assert (weights == weights.round()).all() and (weights.sum(axis=1) == 25).all()
    assert (draw_seed_weights(1, 3, generator) == 1).all()
    few = draw_seed_weights(4, 20_000, generator)
    assert few.sum(axis=1) == pytest.approx(4)
    means = table[0, :4]
    assert (few @ means / 4).std() == pytest.approx(means.std(ddof=1) / 2, rel=0.05)


def test_one_seed_leaves_the_bootstrap_of_items_and_a_paired_change_of_equal_cells_is_zero():
    generator = np.random.default_rng(0)
    table = draw(generator, 12, 1)
    counts = np.concatenate(list(draw_counts(12, 40, generator)))
    drawn = resample_crossed_means(table[None], counts, draw_seed_weights(1, 40, generator))[:, 0]
    assert drawn == pytest.approx(counts @ table[:, 0] / 12)
    cells = np.stack([draw(generator, 12, 3)] * 2)
    cells[1] += 1.0
    changed = resample_crossed_means(cells, counts, draw_seed_weights(3, 40, generator), base=cells[0])
    assert changed[:, 0] == pytest.approx(0.0, abs=1e-12) and changed[:, 1] == pytest.approx(1.0)


def test_intervals_of_a_summary_end_where_the_measure_does():
    values = np.array([[1.0, 0.4], [1.0, 0.9], [0.9, 1.0], [1.0, 0.7]])
    numbers, items, seeds = rows(values)
    table = pd.DataFrame({"value": numbers, "example_id": items, "seed": seeds})
    f1 = summarise(table.assign(metric="f1"), ["metric"]).iloc[0]
    free = summarise(table.assign(metric="unheard_of"), ["metric"]).iloc[0]
    assert f1["high"] == 1.0 < free["high"] and f1["low"] == max(0.0, free["low"])

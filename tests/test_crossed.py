"""Intervals and tests over items and seeds against the analysis of variance, regression residuals and scipy."""

import numpy as np
import pytest
from scipy import stats

from rationales.errors import StudyError
from rationales.statistics.crossed import crossed_t_interval, crossed_t_test


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

"""Bootstrap intervals against scipy, closed forms and simulated coverage."""

import time

import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_1samp
from sklearn.metrics import cohen_kappa_score

from rationales.errors import StudyError
from rationales.statistics import bootstrap as b


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("draw", ["exponential", "standard_normal", "random"])
def test_mean_agrees_with_scipy(method, draw):
    values = getattr(rng(1), draw)(size=60)
    ours = b.mean_interval(values, rng(2), 40_000, method=method)
    reference = bootstrap(
        (values,), np.mean, n_resamples=40_000, method={"bca": "BCa"}.get(method, method), rng=rng(3)
    ).confidence_interval
    tolerance = 0.03 * (reference.high - reference.low)
    assert ours.estimate == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((reference.low, reference.high), abs=tolerance)
    assert (ours.n, ours.n_undefined, ours.method, ours.note) == (60, 0, method, "")


def test_t_interval_is_scipys_and_the_default_for_differences():
    first, second = rng(1).standard_normal((2, 15))
    reference = ttest_1samp(first - second, 0).confidence_interval()
    for interval in (
        b.t_interval(first - second),
        b.mean_interval(first - second, rng(), method="t"),
        b.paired_difference_interval(first, second, rng()),
    ):
        assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high))
        assert (interval.method, interval.n, interval.note) == ("t", 15, "")
    narrow = ttest_1samp(first, 0).confidence_interval(0.8)
    assert b.t_interval(np.append(first, np.nan), 0.8).low == pytest.approx(narrow.low)


def test_few_items_carry_a_note_unless_the_method_allows_for_them():
    values = rng(2).standard_normal(b.FEW_FOR_BOOTSTRAP - 1)
    assert "too narrow" in b.mean_interval(values, rng()).note
    assert b.mean_interval(values, rng(), method="t").note == ""
    assert b.mean_interval(np.append(values, 0.1), rng()).note == ""


def test_discrete_values_agree_with_scipy_bca():
    values = (rng(5).random(40) < 0.15).astype(float)
    ours = b.mean_interval(values, rng(2), 40_000)
    reference = bootstrap((values,), np.mean, n_resamples=40_000, method="BCa", rng=rng(3)).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((reference.low, reference.high), abs=1 / 40 + 1e-9)


def test_rounding_does_not_break_ties():
    # Means of ten values from {.1, .2, .3}: many resamples equal the estimate but for the last bits.
    values = np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.1, 0.3, 0.2, 0.2])
    scaled = b.mean_interval(values * 10, rng(4), 5000)
    plain = b.mean_interval(values, rng(4), 5000)
    assert (plain.low * 10, plain.high * 10) == pytest.approx((scaled.low, scaled.high), abs=1e-9)


def test_pooled_kappa_from_counts_per_item():
    generator = rng(7)
    truth = generator.random((50, 12)) < 0.3
    guess = np.where(generator.random((50, 12)) < 0.8, truth, ~truth)
    counts = np.stack([(truth & guess), (~truth & guess), (truth & ~guess), (~truth & ~guess)]).sum(axis=2).T

    def kappa(sums):
        tp, fp, fn, tn = np.moveaxis(sums, -1, 0)
        n = tp + fp + fn + tn
        chance = ((tp + fp) * (tp + fn) + (tn + fp) * (tn + fn)) / n**2
        return ((tp + tn) / n - chance) / (1 - chance)

    ours = b.statistic_interval(counts, kappa, rng(1), 20_000)
    assert ours.estimate == pytest.approx(cohen_kappa_score(truth.ravel(), guess.ravel()))
    reference = bootstrap(
        tuple(counts.T),
        lambda *c, axis=-1: kappa(np.stack([np.sum(x, axis=axis) for x in c], axis=-1)),
        paired=True,
        n_resamples=20_000,
        method="BCa",
        rng=rng(2),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((reference.low, reference.high), abs=0.01)


def test_undefined_values_and_resamples_are_counted():
    values = np.array([1.0, np.nan, 3.0, 4.0, np.nan, 2.0] * 5)
    interval = b.mean_interval(values, rng())
    assert (interval.n, interval.n_undefined) == (20, 10)
    assert interval.estimate == pytest.approx(2.5)
    same = b.mean_interval(values[~np.isnan(values)], rng())
    assert (interval.low, interval.high) == (same.low, same.high)
    # One item in four carries the denominator, so about (3/4)^4 of the resamples have none.
    columns = np.array([[1.0, 0], [2, 0], [3, 0], [4, 5]])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = b.statistic_interval(
            columns, lambda s: np.where(s[..., 1] > 0, s[..., 0] / s[..., 1], np.nan), rng(), 1000, method="percentile"
        )
    undefined = int(ratio.note.split(" of 1000 resamples")[0].split()[-1])
    assert undefined == pytest.approx(1000 * 0.75**4, abs=60)
    assert np.isfinite([ratio.low, ratio.high]).all()


@pytest.mark.parametrize("values", [[], [np.nan], [1.0], [1.0, np.nan], [2.0, 2.0], [1.0, 2.0], [0.1] * 50])
@pytest.mark.parametrize("method", ["bca", "percentile", "t"])
def test_degenerate_samples_carry_a_note(values, method):
    plain = b.mean_interval(np.array(values), rng(), method=method)
    crossed = b.crossed_mean_interval(np.array(values), np.arange(len(values)), np.arange(len(values)) % 2, rng())
    for interval in (plain, crossed):
        assert interval.note.endswith(".")
        assert interval.n == np.sum(~np.isnan(values))
        assert interval.n == 0 or interval.estimate == pytest.approx(np.nanmean(values))
        if interval.n >= 2:
            assert interval.low <= interval.estimate <= interval.high


def test_share_has_a_width_without_variation():
    none = b.share_interval(np.zeros(100))
    # Wilson's bound for 0 of n is z^2 / (n + z^2).
    z2 = 1.959963984540054**2
    assert (none.estimate, none.low) == (0, 0) and none.high == pytest.approx(z2 / (100 + z2))
    assert b.share_interval(np.array([1, 0, np.nan, 1])).n_undefined == 1
    assert b.share_interval(np.array([])).note
    with pytest.raises(StudyError, match="0 and 1"):
        b.share_interval(np.array([0.5]))


def test_paired_difference_is_narrower_than_its_parts_when_items_agree():
    base = rng(1).standard_normal(200)
    first, second = base + 0.1, base + 0.05 * rng(2).standard_normal(200)
    first[3] = np.nan
    interval = b.paired_difference_interval(first, second, rng())
    assert (interval.n, interval.n_undefined) == (199, 1)
    assert 0.08 < interval.low < interval.high < 0.12
    with pytest.raises(StudyError, match="align"):
        b.paired_difference_interval(first, second[:-1], rng())


def crossed_data(generator, n_items, n_seeds, item, seed, noise):
    table = (
        item * generator.standard_normal((n_items, 1))
        + seed * generator.standard_normal(n_seeds)
        + noise * generator.standard_normal((n_items, n_seeds))
    )
    items, seeds = np.indices(table.shape)
    return table.ravel(), items.ravel(), seeds.ravel()


def test_crossed_interval_sees_seeds_that_items_hide():
    values, items, seeds = crossed_data(rng(3), 400, 20, 0.3, 1.0, 0.3)
    naive = b.mean_interval(values, rng())
    crossed = b.crossed_mean_interval(values, items, seeds, rng())
    assert (crossed.high - crossed.low) > 8 * (naive.high - naive.low)
    # The mean over seeds has standard error 1 / sqrt(20) nearly.
    assert (crossed.high - crossed.low) == pytest.approx(
        2 * 1.96 * np.std(values.reshape(400, 20).mean(0)) / 20**0.5, rel=0.15
    )


def test_crossed_mean_ignores_the_order_of_rows_and_handles_gaps_and_labels():
    values, items, seeds = crossed_data(rng(3), 30, 6, 1, 1, 1)
    values[[0, 17, 40]] = np.nan
    names = np.array([f"text {i}" for i in items], dtype=object)
    one = b.crossed_mean_interval(values, names, seeds, rng(1))
    assert (one.n, one.n_undefined) == (177, 3)
    assert one.estimate == pytest.approx(np.nanmean(values))
    # The same table written out with weights by a plain loop.
    generator, means = rng(9), []
    table = values.reshape(30, 6)
    for _ in range(4000):
        rows, columns = generator.integers(0, 30, 30), generator.integers(0, 6, 6)
        means.append(np.nanmean(table[np.ix_(rows, columns)]))
    assert (one.low, one.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.08)
    few = b.crossed_mean_interval(values, items, seeds * 0, rng())
    assert "seed" in few.note
    names[5] = None
    with pytest.raises(StudyError, match="item"):
        b.crossed_mean_interval(values, names, seeds, rng())


def test_crossed_paired_difference_removes_what_both_share():
    values, items, seeds = crossed_data(rng(3), 50, 10, 1, 1, 1)
    interval = b.crossed_paired_difference_interval(values + 0.5, values, items, seeds, rng())
    assert interval.estimate == pytest.approx(0.5) and interval.high - interval.low < 1e-6


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_coverage_by_item(method):
    generator, covered = rng(11), []
    for _ in range(600):
        interval = b.mean_interval(generator.standard_normal(80), generator, 600, method=method)
        covered.append(interval.low <= 0 <= interval.high)
    assert 0.925 <= np.mean(covered) <= 0.975  # .95 +- three Monte Carlo errors, less the known shortfall at n = 80


def test_coverage_over_items_and_seeds():
    generator, covered = rng(12), []
    for _ in range(400):
        values, items, seeds = crossed_data(generator, 60, 30, 1.0, 0.5, 0.5)
        interval = b.crossed_mean_interval(values, items, seeds, generator, 500)
        covered.append(interval.low <= 0 <= interval.high)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_large_samples_are_fast_and_right():
    values = rng(1).standard_normal(100_000)
    start = time.perf_counter()
    interval = b.mean_interval(values, rng(2), 1000)
    assert time.perf_counter() - start < 30
    error = values.std() / np.sqrt(len(values))
    assert (interval.high - interval.low) == pytest.approx(2 * 1.96 * error, rel=0.12)


def test_the_generator_decides_the_result():
    values = rng(1).standard_normal(30)
    assert b.mean_interval(values, rng(5)) == b.mean_interval(values, rng(5))
    assert b.mean_interval(values, rng(5)) != b.mean_interval(values, rng(6))


def test_counts_are_draws_of_n_items():
    counts = np.concatenate(list(b.draw_counts(7, 3000, rng())))
    assert counts.shape == (3000, 7) and (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.07)
    assert counts.var(axis=0) == pytest.approx(np.full(7, 6 / 7), abs=0.1)  # binomial(7, 1/7)


def test_blocks_do_not_change_the_number_of_resamples(monkeypatch):
    monkeypatch.setattr(b, "CELLS_PER_BLOCK", 50)
    assert sum(len(block) for block in b.draw_counts(7, 100, rng())) == 100
    assert len(b.resample_means(np.arange(20.0), rng(), 33)) == 33


def test_bad_input_is_refused():
    for values in (np.zeros((2, 2)), np.array([1.0, np.inf])):
        with pytest.raises(StudyError):
            b.mean_interval(values, rng())
    for options in ({"method": "normal"}, {"level": 1.0}, {"n_resamples": 0}):
        with pytest.raises(StudyError):
            b.mean_interval(np.arange(9.0), rng(), **options)
    with pytest.raises(StudyError):
        b.resample_means(np.array([1.0, np.nan]), rng())

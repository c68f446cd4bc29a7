"""Crossed random effects against statsmodels' MixedLM, the analysis of variance and simulated components."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from rationales.errors import StudyError
from rationales.statistics.mixed import fit_crossed, variance_share


def simulate(generator, n_items, n_seeds, n_conditions=2, item=1.0, seed=0.5, noise=1.0, effect=0.3, keep=1.0):
    """Rows (values, items, seeds, conditions) with known standard deviations; conditions "c0", "c1", ..."""
    items, seeds, conditions = (x.ravel() for x in np.indices((n_items, n_seeds, n_conditions)))
    values = (
        5
        + item * generator.standard_normal(n_items)[items]
        + seed * generator.standard_normal(n_seeds)[seeds]
        + effect * conditions
        + noise * generator.standard_normal(len(items))
    )
    kept = generator.random(len(items)) < keep
    names = np.array([f"c{number}" for number in conditions], dtype=object)
    return values[kept], items[kept], seeds[kept], names[kept]


@pytest.mark.parametrize(("n_seeds", "seed_sd", "keep"), [(5, 0.5, 1.0), (8, 0.5, 0.6), (8, 0.15, 0.7)])
def test_fit_equals_statsmodels(n_seeds, seed_sd, keep):
    values, items, seeds, conditions = simulate(np.random.default_rng(1), 40, n_seeds, 3, seed=seed_sd, keep=keep)
    ours = fit_crossed(values, items, seeds, conditions)
    frame = pd.DataFrame({"y": values, "i": items, "s": seeds, "c": conditions, "g": 1})
    parts = {"item": "0 + C(i)", "seed": "0 + C(s)"}
    reference = MixedLM.from_formula("y ~ C(c)", groups="g", vc_formula=parts, data=frame).fit()
    components = [ours.components[name] for name in ("item", "seed", "residual")]
    assert components == pytest.approx([*reference.vcomp, reference.scale], rel=2e-3)
    assert ours.effects["effect"].tolist() == ["mean of c0", "c1 - c0", "c2 - c0"]
    assert ours.effects["estimate"].to_numpy() == pytest.approx(reference.fe_params.to_numpy(), rel=1e-3)
    assert ours.effects["standard_error"].to_numpy() == pytest.approx(reference.bse_fe.to_numpy(), rel=1e-3)
    assert ours.converged and not ours.note


def test_balanced_components_equal_the_analysis_of_variance():
    values, items, seeds, _ = simulate(np.random.default_rng(2), 30, 6, 1)
    table = values.reshape(30, 6)
    by_item, by_seed, grand = table.mean(1), table.mean(0), table.mean()
    rest = table - by_item[:, None] - by_seed + grand
    residual = np.sum(rest**2) / (29 * 5)
    item, seed = by_item.var(ddof=1) - residual / 6, by_seed.var(ddof=1) - residual / 30
    assert min(item, seed) > 0  # otherwise the two methods differ
    shares = variance_share(values, {"item": items, "seed": seeds})
    fit = fit_crossed(values, items, seeds)
    assert shares["variance"].to_numpy() == pytest.approx([item, seed, residual])
    assert shares["share"].to_numpy() == pytest.approx(np.array([item, seed, residual]) / (item + seed + residual))
    assert list(fit.components.values()) == pytest.approx([item, seed, residual], rel=1e-4)
    assert fit.effects["estimate"][0] == pytest.approx(grand)
    assert fit.effects["standard_error"][0] == pytest.approx(np.sqrt(item / 30 + seed / 6 + residual / 180), rel=1e-4)


def test_known_components_are_recovered_from_many_rows_in_little_time():
    values, items, seeds, conditions = simulate(np.random.default_rng(3), 2500, 20, 2, 1.0, 0.5, 0.8)
    start = time.perf_counter()
    fit = fit_crossed(values, items, seeds, conditions)
    shares = variance_share(values - 0.3 * (conditions == "c1"), {"item": items, "seed": seeds}).set_index("factor")
    assert time.perf_counter() - start < 10
    assert fit.components["item"] == pytest.approx(1, rel=0.1)
    assert fit.components["residual"] == pytest.approx(0.64, rel=0.02)
    assert 0.1 < fit.components["seed"] < 0.6  # 20 seeds: known within a factor
    assert shares.loc["residual", "variance"] == pytest.approx(0.64, rel=0.02)
    contrast = fit.effects.iloc[1]
    assert contrast["low"] < 0.3 < contrast["high"] and contrast["p"] < 1e-6


def test_variance_share_is_unbiased_with_gaps_and_three_factors():
    generator, found = np.random.default_rng(4), []
    for _ in range(300):
        items, seeds, repeats = (x.ravel() for x in np.indices((12, 6, 4)))
        values = (
            generator.standard_normal(12)[items]
            + 0.7 * generator.standard_normal(6)[seeds]
            + 0.5 * generator.standard_normal(4)[repeats]
            + generator.standard_normal(288)
        )
        kept = generator.random(288) < 0.5
        factors = {"item": items[kept], "seed": seeds[kept], "repeat": repeats[kept]}
        table = variance_share(values[kept], factors)
        found.append(table.set_index("factor")["variance"])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(300)
    truth = np.array([1, 0.49, 0.25, 1])
    # Negative estimates are cut at 0, which adds a little where a factor has four levels.
    assert (np.abs(mean - truth) < 4 * error + [0, 0, 0.02, 0]).all()


def test_without_random_factors_it_is_the_t_test():
    values = np.random.default_rng(5).standard_normal(20) + 0.4
    fit = fit_crossed(values, np.arange(20), np.zeros(20, dtype=int))
    reference = stats.ttest_1samp(values, 0)
    interval = reference.confidence_interval()
    row = fit.effects.iloc[0]
    assert (row["estimate"], row["p"]) == pytest.approx((values.mean(), reference.pvalue))
    assert (row["low"], row["high"], row["df"]) == pytest.approx((interval.low, interval.high, 19))
    assert fit.components["residual"] == pytest.approx(values.var(ddof=1))
    assert np.isnan(fit.components["item"]) and np.isnan(fit.components["seed"])
    assert "one row only" in fit.note and "one seed only" in fit.note


def test_intervals_of_a_mean_over_few_seeds_cover():
    generator, covered = np.random.default_rng(6), []
    for _ in range(300):
        values, items, seeds, _ = simulate(generator, 40, 5, 1, item=1.0, seed=0.6, noise=0.5, effect=0)
        row = fit_crossed(values, items, seeds).effects.iloc[0]
        covered.append(row["low"] <= 5 <= row["high"])
    assert 0.925 <= np.mean(covered) <= 0.985


def test_differences_carry_the_spread_of_the_contrast_over_seeds():
    # The contrast itself varies by seed: the additive model is too sure of it, the model of differences is not.
    generator = np.random.default_rng(7)
    values, items, seeds, conditions = simulate(generator, 100, 6, 2, seed=0, effect=0)
    slope = 0.8 * generator.standard_normal(6)
    values = values + slope[seeds] * (conditions == "c1")
    additive = fit_crossed(values, items, seeds, conditions).effects.iloc[1]
    second, first = values[conditions == "c1"], values[conditions == "c0"]
    honest = fit_crossed(second - first, items[conditions == "c1"], seeds[conditions == "c1"]).effects.iloc[0]
    assert honest["estimate"] == pytest.approx(additive["estimate"])
    assert honest["standard_error"] > 3 * additive["standard_error"] and honest["df"] < 7


def test_no_variance_of_a_factor_is_found_as_zero():
    generator = np.random.default_rng(8)
    table = generator.standard_normal((30, 4)) + generator.standard_normal((30, 1))
    table -= table.mean(axis=0)  # seeds do not differ at all, less than chance would make them
    items, seeds = (x.ravel() for x in np.indices(table.shape))
    fit = fit_crossed(table.ravel(), items, seeds)
    assert fit.components["seed"] == 0 and fit.components["item"] > 0.3 and "4 seeds" in fit.note
    shares = variance_share(table.ravel(), {"item": items, "seed": seeds}).set_index("factor")
    assert shares.loc["seed", "variance"] == 0 and "negative" in shares.loc["seed", "note"]
    assert shares["share"].sum() == pytest.approx(1)


def test_reference_shift_and_scale():
    values, items, seeds, conditions = simulate(np.random.default_rng(9), 25, 6, 2)
    plain = fit_crossed(values, items, seeds, conditions, reference="c1")
    moved = fit_crossed(values * 1e-4 + 1e3, items, seeds, conditions, reference="c1")
    assert plain.effects["effect"].tolist() == ["mean of c1", "c0 - c1"]
    assert moved.effects["estimate"][1] * 1e4 == pytest.approx(plain.effects["estimate"][1], rel=1e-5)
    assert moved.components["item"] * 1e8 == pytest.approx(plain.components["item"], rel=1e-4)
    with pytest.raises(StudyError, match="reference"):
        fit_crossed(values, items, seeds, conditions, reference="c9")


@pytest.mark.parametrize(
    ("values", "items", "seeds"),
    [
        ([], [], []),
        ([np.nan], [0], [0]),
        ([1.0], [0], [0]),
        ([2.0] * 6, [0, 0, 1, 1, 2, 2], [0, 1] * 3),
    ],
)
def test_data_without_spread_give_a_sentence(values, items, seeds):
    fit = fit_crossed(np.array(values, dtype=float), np.array(items), np.array(seeds))
    assert not fit.converged and fit.note.endswith(".")
    assert len(fit.effects) == 1 and fit.effects["estimate"].isna().all()
    shares = variance_share(np.array(values, dtype=float), {"item": np.array(items)})
    assert shares["share"].isna().all() and (shares["note"] != "").all()


def test_values_that_only_depend_on_the_item():
    items, seeds = (x.ravel() for x in np.indices((10, 5)))
    values = np.random.default_rng(1).standard_normal(10)[items]
    fit = fit_crossed(values, items, seeds)
    assert not fit.converged and "no residual" in fit.note and fit.effects["low"].isna().all()
    shares = variance_share(values, {"item": items, "seed": seeds}).set_index("factor")
    assert shares.loc["item", "share"] == pytest.approx(1)


def test_factors_that_coincide_are_named():
    values = np.random.default_rng(2).standard_normal(12)
    groups = np.repeat(np.arange(4), 3)
    fit = fit_crossed(values, groups, groups)
    assert "coincide" in fit.note and np.isnan(fit.components["seed"])
    for other in (groups, np.zeros(12, dtype=int), np.arange(12)):
        shares = variance_share(values, {"item": groups, "seed": other})
        assert shares["share"].isna().all() and "told apart" in shares["note"][0]


def test_a_condition_with_one_seed_each_is_not_taken_for_a_clean_contrast():
    values, items, seeds, _ = simulate(np.random.default_rng(2), 20, 2, 1)
    fit = fit_crossed(values, items, seeds, seeds)
    assert "Each condition has one seed" in fit.note
    assert np.isnan(fit.components["seed"])


@pytest.mark.parametrize("number", range(60))
def test_small_and_ragged_designs_never_crash(number):
    generator = np.random.default_rng(number)
    n = int(generator.integers(1, 12))
    values = generator.integers(0, 3, n).astype(float)
    items, seeds, conditions = generator.integers(0, [[4], [3], [2]], (3, n))
    fit = fit_crossed(values, items, seeds, conditions if number % 2 else None)
    assert fit.converged or fit.note
    if fit.converged:
        assert (fit.effects["low"] <= fit.effects["high"]).all()
    shares = variance_share(values, {"item": items, "seed": seeds})
    assert shares["share"].sum() == pytest.approx(1) or (shares["note"] != "").all()


def test_undefined_values_are_counted_and_bad_input_refused():
    values, items, seeds, conditions = simulate(np.random.default_rng(3), 10, 5)
    values[:3] = np.nan
    fit = fit_crossed(values, items, seeds, conditions)
    assert (fit.n, fit.n_undefined) == (97, 3)
    with pytest.raises(StudyError, match="entry per row"):
        fit_crossed(values, items[:-1], seeds)
    with pytest.raises(StudyError, match="item"):
        fit_crossed(values, np.where(items == 0, np.nan, items.astype(float)), seeds)
    with pytest.raises(StudyError, match="finite"):
        fit_crossed(np.full(4, np.inf), np.arange(4), np.arange(4))
    with pytest.raises(StudyError, match="each factor"):
        variance_share(values, {"item": items[:-1]})

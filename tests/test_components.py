"""Variance components against statsmodels, the two-factor fit, chi-square limits and simulated coverage."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from rationales.errors import StudyError
from rationales.statistics import components as components_module
from rationales.statistics.components import variance_components
from rationales.statistics.mixed import fit_crossed

NAMES = ("item", "seed", "paraphrase")


def simulate(generator, levels=(25, 5, 4), deviations=(1.0, 0.7, 0.5), noise=1.0, keep=1.0):
    """Values and crossed labels with known standard deviations."""
    codes = [x.ravel() for x in np.indices(levels)]
    values = 3 + noise * generator.standard_normal(codes[0].size)
    for code, n, deviation in zip(codes, levels, deviations, strict=True):
        values = values + deviation * generator.standard_normal(n)[code]
    kept = generator.random(values.size) < keep
    return values[kept], dict(zip(NAMES, (code[kept] for code in codes), strict=False))


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_three_factors_equal_statsmodels(keep):
    values, factors = simulate(np.random.default_rng(1), keep=keep)
    frame = pd.DataFrame({"y": values, "g": 1, **factors})
    parts = {name: f"0 + C({name})" for name in NAMES}
    reference = MixedLM.from_formula("y ~ 1", groups="g", vc_formula=parts, data=frame).fit()
    expected = dict(zip(sorted(NAMES), reference.vcomp, strict=True))
    table = variance_components(values, factors, intervals=False).set_index("factor")
    for name in NAMES:
        assert table.loc[name, "variance"] == pytest.approx(expected[name], rel=5e-3)
    assert table.loc["residual", "variance"] == pytest.approx(reference.scale, rel=1e-3)
    assert table["share"].sum() == pytest.approx(1) and table["low"].isna().all()


def test_two_factors_equal_the_fit_with_conditions():
    values, factors = simulate(np.random.default_rng(2), (40, 6), (1.0, 0.5), keep=0.8)
    expected = fit_crossed(values, factors["item"], factors["seed"]).components
    table = variance_components(values, factors, intervals=False)
    assert table["variance"].to_numpy() == pytest.approx(list(expected.values()), rel=1e-3)


def test_one_factor_has_the_known_likelihood():
    # Balanced one-way: the mean squares are sufficient, so the deviance of the residual alone is that of a chi-square.
    generator = np.random.default_rng(3)
    items = np.repeat(np.arange(200), 10)
    values = generator.standard_normal(200)[items] + generator.standard_normal(2000)
    table = variance_components(values, {"item": items}).set_index("factor")
    by_item = values.reshape(200, 10)
    within, between = by_item.var(axis=1, ddof=1).mean(), 10 * by_item.mean(axis=1).var(ddof=1)
    assert table.loc["residual", "variance"] == pytest.approx(within, rel=1e-3)
    assert table.loc["item", "variance"] == pytest.approx((between - within) / 10, rel=1e-3)
    limits = 1800 * within / stats.chi2.ppf([0.975, 0.025], 1800)
    assert table.loc["residual", ["low", "high"]].to_numpy(dtype=float) == pytest.approx(limits, rel=0.01)


def test_no_factor_gives_the_variance():
    values = np.random.default_rng(4).standard_normal(50)
    table = variance_components(values, {})
    assert table["factor"].tolist() == ["residual"]
    assert table["variance"][0] == pytest.approx(values.var(ddof=1), rel=1e-4)
    assert table["low"][0] < 1 < table["high"][0]


def test_intervals_cover_with_few_levels():
    generator, truth, hits = np.random.default_rng(5), np.array([1, 0.49, 1]), []
    for _ in range(40):
        values, factors = simulate(generator, (20, 5), (1.0, 0.7))
        table = variance_components(values, factors)
        assert (table["low"] <= table["variance"] + 1e-12).all() and (table["variance"] <= table["high"] + 1e-12).all()
        hits.append((table["low"] <= truth) & (truth <= table["high"]))
    assert (np.mean(hits, axis=0) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 40)).all()


def test_an_absent_effect_is_zero_or_reaches_zero():
    generator, lows = np.random.default_rng(6), []
    for _ in range(10):
        values, factors = simulate(generator, (20, 6), (1.0, 0.0))
        lows.append(variance_components(values, factors).set_index("factor").loc["seed", "low"])
    assert np.mean(np.array(lows) < 1e-4) >= 0.7


def test_units_order_and_names_do_not_matter():
    values, factors = simulate(np.random.default_rng(7), keep=0.7)
    plain = variance_components(values, factors)
    order = np.random.default_rng(8).permutation(len(values))
    turned = {name: np.array([f"{name} {code}" for code in factors[name][order]]) for name in reversed(NAMES)}
    other = variance_components(1e-4 * values[order] + 7, turned).set_index("factor").loc[plain["factor"]]
    for column in ("variance", "low", "high"):
        assert other[column].to_numpy() * 1e8 == pytest.approx(plain[column].to_numpy(), rel=0.02)


def test_a_hundred_thousand_rows_take_seconds():
    values, factors = simulate(np.random.default_rng(9), (1000, 20, 5))
    start = time.perf_counter()
    table = variance_components(values, factors).set_index("factor")
    assert time.perf_counter() - start < 20
    assert table.loc["residual", "low"] < 1 < table.loc["residual", "high"]
    assert table.loc["item", "variance"] == pytest.approx(1, rel=0.15)


def test_missing_levels_are_named_and_the_rest_is_estimated():
    values, factors = simulate(np.random.default_rng(10), (20, 5), (1.0, 0.5))
    plain = variance_components(values, factors).set_index("factor")
    table = variance_components(
        values,
        {
            "item": factors["item"],
            "language": np.zeros(100),
            "seed": factors["seed"],
            "checkpoint": factors["seed"] + 7,
            "row": np.arange(100),
        },
    ).set_index("factor")
    assert "one language only" in table.loc["language", "note"]
    assert "each checkpoint is one seed" in table.loc["checkpoint", "note"].lower()
    assert "part of the residual" in table.loc["row", "note"]
    assert table.loc[["language", "checkpoint", "row"], "variance"].isna().all()
    for name in ("item", "seed", "residual"):
        assert table.loc[name, "variance"] == pytest.approx(plain.loc[name, "variance"], rel=1e-3)
    few = variance_components(values[factors["seed"] < 3], {k: v[factors["seed"] < 3] for k, v in factors.items()})
    assert "Only 3 levels" in few.set_index("factor").loc["seed", "note"]


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [1.0], [2.0, 2.0, 2.0]])
def test_no_variance_gives_a_sentence(values):
    table = variance_components(np.array(values, dtype=float), {"item": np.zeros(len(values))})
    assert table["variance"].isna().all() and (table["note"] == "There is no variance to split.").all()


def test_aliased_factors_and_too_many_levels(monkeypatch):
    values, factors = simulate(np.random.default_rng(11), (6, 6), (1.0, 1.0))
    together = factors["item"] * 6 + factors["seed"]
    table = variance_components(np.tile(values, 2), {"item": np.tile(factors["item"], 2), "pair": np.tile(together, 2)})
    assert table["variance"].notna().all()  # nested, with repeats: fine
    monkeypatch.setattr(components_module, "MOST_DENSE_LEVELS", 5)
    with pytest.raises(StudyError, match="variance_share"):
        variance_components(values, factors)


def test_undefined_values_are_counted_and_bad_input_refused():
    values, factors = simulate(np.random.default_rng(12), (10, 5), (1.0, 0.5))
    values[:3] = np.nan
    assert variance_components(values, factors, intervals=False).attrs["n_undefined"] == 3
    for call in (
        lambda: variance_components(np.ones(3), {"item": np.ones(2)}),
        lambda: variance_components(np.array([1.0, np.inf]), {}),
        lambda: variance_components(np.ones(3), {}, level=2),
        lambda: variance_components(np.arange(3.0), {"item": np.array([None, 1, 2])}),
    ):
        with pytest.raises(StudyError):
            call()


def nested_case(generator, n_items=20, keep=0.9):
    """Values with item x seed and item x wording effects, some rows missing."""
    item, seed, wording, _ = (x.ravel() for x in np.indices((n_items, 3, 2, 2)))
    values = generator.standard_normal(n_items)[item] + 0.3 * generator.standard_normal(3)[seed]
    values = values + 0.7 * generator.standard_normal((n_items, 3))[item, seed]
    values = (
        values
        + 0.5 * generator.standard_normal((n_items, 2))[item, wording]
        + 0.4 * generator.standard_normal(item.size)
    )
    kept = generator.random(item.size) < keep
    names = {"item": item, "seed": seed, "item x seed": item * 3 + seed, "item x wording": item * 2 + wording}
    return values[kept], {name: codes[kept] for name, codes in names.items()}


def test_likelihood_in_blocks_is_that_of_the_whole_covariance_matrix():
    values, factors = nested_case(np.random.default_rng(30), n_items=8)
    coded = [np.unique(labels, return_inverse=True)[1] for labels in factors.values()]
    problem = components_module._Likelihood(values, [(codes, codes.max() + 1) for codes in coded])
    assert problem.blocks[0] == 0 and sorted(problem.blocks) == [0, 2, 3]
    design, found = np.ones((len(values), 1)), []
    for logs in np.log([[1, 0.1, 0.5, 0.2, 0.2], [0.3, 2, 0.05, 1, 0.7], [3, 0.5, 1, 0.01, 0.1]]):
        variances = np.exp(logs)
        covariance = variances[-1] * np.eye(len(values))
        for codes, variance in zip(coded, variances[:-1], strict=True):
            covariance += variance * (codes[:, None] == codes)
        inverse = np.linalg.inv(covariance)
        information = design.T @ inverse @ design
        rest = values - design @ np.linalg.solve(information, design.T @ inverse @ values)
        brute = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest
        found.append((problem.deviance(logs), brute))
    differences = np.array([one - other for one, other in found])
    assert differences == pytest.approx(np.full(3, differences[0]), abs=1e-8)


def test_slopes_are_the_differences_of_the_deviance():
    values, factors = nested_case(np.random.default_rng(32), n_items=8)
    factors["wording"] = factors["item x wording"] % 2  # crossed with items, as seeds are
    coded = [np.unique(labels, return_inverse=True)[1] for labels in factors.values()]
    problem = components_module._Likelihood(values, [(codes, codes.max() + 1) for codes in coded])
    for logs in np.log([[1, 0.1, 0.5, 0.2, 0.05, 0.3], [0.2, 2, 1, 0.01, 0.5, 0.6]]):
        steps = 1e-5 * np.eye(len(logs))
        numeric = [(problem.deviance(logs + step) - problem.deviance(logs - step)) / 2e-5 for step in steps]
        assert problem.slopes(logs) == pytest.approx(numeric, abs=1e-5)


def test_blocks_and_elimination_of_one_factor_agree(monkeypatch):
    values, factors = nested_case(np.random.default_rng(31))
    blocks = variance_components(values, factors)
    monkeypatch.setattr(components_module, "LARGEST_BLOCK", 1)
    dense = variance_components(values, factors)
    pd.testing.assert_frame_equal(blocks, dense, rtol=2e-2, atol=1e-3)
    assert blocks["variance"].to_numpy() == pytest.approx(dense["variance"].to_numpy(), rel=1e-3, abs=1e-6)


def test_no_bound_sticks_to_the_estimate():
    """A search that began beside a variance of 0 once stayed there, and the interval ended at the estimate."""
    for seed in range(6):
        values, factors = nested_case(np.random.default_rng(40 + seed), n_items=15)
        table = variance_components(values, factors)
        assert (table["high"] > 1.05 * table["variance"]).all()
        away = table["low"] > 0
        assert (table["low"] < 0.95 * table["variance"])[away].all()

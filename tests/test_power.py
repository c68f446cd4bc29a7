"""Power of difference and equivalence tests against closed forms, simulation and the tests themselves."""

import numpy as np
import pytest
from scipy import stats

from rationales.errors import StudyError
from rationales.statistics import power as pw
from rationales.statistics.comparisons import minimal_detectable_difference, power_of_paired_design


@pytest.mark.parametrize(
    ("n", "deviation", "margin", "difference"), [(12, 1, 0.8, 0), (60, 1, 0.3, 0.1), (400, 2, 0.4, 0)]
)
def test_power_of_equivalence_is_the_share_of_simulated_rejections(n, deviation, margin, difference):
    generator, m = np.random.default_rng(n), 20_000
    # Mean and standard deviation of normal samples, drawn from their own distributions.
    means = generator.normal(difference, deviation / np.sqrt(n), m)
    half = stats.t.ppf(0.95, n - 1) * deviation * np.sqrt(generator.chisquare(n - 1, m) / (n - 1) / n)
    simulated = np.mean((means - half > -margin) & (means + half < margin))
    found = pw.power_of_equivalence(n, deviation, margin, difference)
    assert found == pytest.approx(simulated, abs=4 * np.sqrt(0.25 / m))


def test_power_of_equivalence_at_the_margin_is_alpha_and_0_for_tiny_samples():
    assert pw.power_of_equivalence(500, 1, 0.3, difference=0.3) == pytest.approx(0.05, abs=1e-3)
    assert pw.power_of_equivalence(10_000, 1, 0.3) == pytest.approx(1)
    assert pw.power_of_equivalence(2, 1, 0.01) < 1e-3
    values = [pw.power_of_equivalence(n, 1, 0.3) for n in (5, 20, 50, 100, 1000)]
    assert np.all(np.diff(values) > -1e-9)


@pytest.mark.parametrize("difference", [0.02, 0.2, 0.5, 3.0, -0.5])
def test_items_needed_is_the_first_number_with_enough_power(difference):
    n = pw.items_needed(1.0, difference)
    assert power_of_paired_design(n, abs(difference)) >= 0.8 - 1e-6
    assert n == 2 or power_of_paired_design(n - 1, abs(difference)) < 0.8


def test_sensitivity_agrees_with_its_parts():
    differences = np.append(np.random.default_rng(0).normal(0.1, 0.5, 60), np.nan)
    found = pw.sensitivity_of(differences, margin=0.2)
    deviation = np.nanstd(differences, ddof=1)
    assert (found.n, found.n_undefined, found.note) == (60, 1, "")
    assert found.standard_deviation == pytest.approx(deviation)
    assert found.detectable == pytest.approx(minimal_detectable_difference(60, deviation))
    assert found.power_at_margin == pytest.approx(power_of_paired_design(60, 0.2 / deviation))
    assert found.power_of_equivalence == pytest.approx(pw.power_of_equivalence(60, deviation, 0.2))
    assert found.items_for_margin == pw.items_needed(deviation, 0.2)
    without = pw.sensitivity_of(differences)
    assert without.detectable == found.detectable and np.isnan(without.power_at_margin)


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, 2.0], [0.5, 0.5, 0.5]])
def test_degenerate_samples_give_a_sentence(values):
    found = pw.sensitivity_of(np.array(values), margin=0.1)
    assert found.note and np.isnan(found.detectable) and np.isnan(found.items_for_margin)


def test_simulated_power_checks_the_closed_form_for_normal_differences():
    differences = np.random.default_rng(1).normal(0, 1, 4000)[:40]
    differences = (differences - differences.mean()) / differences.std()
    power, error = pw.simulate_power(differences, 0.4, np.random.default_rng(2), 20_000)
    # Samples drawn from 40 values have a standard deviation of 1, which is what the closed form is given.
    assert power == pytest.approx(power_of_paired_design(40, 0.4), abs=4 * error + 0.01)
    level, error = pw.simulate_power(differences, 0.0, np.random.default_rng(3), 20_000)
    assert level == pytest.approx(0.05, abs=4 * error + 0.01)
    with pytest.raises(StudyError):
        pw.simulate_power(np.array([1.0]), 0.1, np.random.default_rng(0))


def test_crossed_design_is_limited_by_its_seeds():
    components = {"item": 1.0, "seed": 0.25, "residual": 1.0}
    few, many = (pw.crossed_detectable_difference(components, n, 4) for n in (100, 100_000))
    assert many > 0.8 * few  # a thousand times the items, and hardly a gain
    assert pw.crossed_detectable_difference(components, 100, 20) < few / 2
    # By simulation: the power at that difference is .8.
    generator = np.random.default_rng(4)
    difference = pw.crossed_detectable_difference(components, 30, 6)
    variance = 1 / 30 + 0.25 / 6 + 1 / 180
    t = generator.normal(difference, np.sqrt(variance), 40_000) / np.sqrt(variance * generator.chisquare(5, 40_000) / 5)
    assert np.mean(np.abs(t) > stats.t.ppf(0.975, 5)) == pytest.approx(0.8, abs=0.01)
    one = pw.crossed_detectable_difference({"item": 1.0, "seed": float("nan"), "residual": 0.5}, 50, 1)
    assert one == pytest.approx(minimal_detectable_difference(50, np.sqrt(1.5)))


def test_bad_input_is_refused():
    for call in (
        lambda: pw.items_needed(0.0, 0.1),
        lambda: pw.items_needed(1.0, 0.0),
        lambda: pw.power_of_equivalence(1, 1, 0.1),
        lambda: pw.power_of_equivalence(10, 1, -0.1),
        lambda: pw.sensitivity_of(np.ones((2, 2))),
        lambda: pw.sensitivity_of(np.ones(3), margin=0.0),
        lambda: pw.sensitivity_of(np.ones(3), power=0.01),
        lambda: pw.crossed_detectable_difference({"item": -1.0}, 10, 3),
    ):
        with pytest.raises(StudyError):
            call()

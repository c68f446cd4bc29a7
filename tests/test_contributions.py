"""Contribution agreement against scipy, enumeration of permutations and hand-computed ratios."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cosine
from scipy.stats import spearmanr

from rationales.errors import StudyError
from rationales.metrics.contributions import (
    chance_contribution_agreement,
    contribution_agreement,
    contribution_agreement_p,
    mean_contributions,
)


def test_mean_contributions_by_hand():
    # Columns (1, -1, 2) / 4 and (0, 3, 0) / 3; the column of zeros is left out.
    assert mean_contributions([[1, 0, 0], [-1, 3, 0], [2, 0, 0]]) == pytest.approx([0.125, 0.375, 0.25])
    assert np.isnan(mean_contributions([[0], [0]])).all()
    assert mean_contributions([[1e-320], [1e-320]]) == pytest.approx([0.5, 0.5], rel=1e-2)


def test_equals_scipy():
    generator = np.random.default_rng(0)
    for _ in range(20):
        first, second = np.round(generator.normal(size=(2, 9)) * 2)
        values = contribution_agreement(first, second)
        ratios = [vector / np.abs(vector).sum() for vector in (first, second)]
        assert values["cosine"] == pytest.approx(1 - cosine(*ratios))
        assert values["spearman"] == pytest.approx(spearmanr(first, second).statistic)


pairs = st.integers(1, 6).flatmap(
    lambda n: st.tuples(*[arrays(float, n, elements=st.integers(-3, 3).map(float))] * 2, st.permutations(range(n)))
)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_ranges_and_invariances(case):
    first, second, order = case
    values = contribution_agreement(first, second)
    assert all(np.isnan(value) or -1 <= value <= 1 for value in values.values())
    assert contribution_agreement(second, first) == pytest.approx(values, nan_ok=True)
    assert contribution_agreement(first * 3e150, second * 1e-160) == pytest.approx(values, nan_ok=True)
    order = list(order)
    assert contribution_agreement(first[order], second[order]) == pytest.approx(values, nan_ok=True)
    assert contribution_agreement(-first, second) == pytest.approx({k: -v for k, v in values.items()}, nan_ok=True)
    assert np.isnan(values["cosine"]) == (not first.any() or not second.any())
    assert np.isnan(values["spearman"]) == (np.ptp(first) == 0 or np.ptp(second) == 0)
    if first.any():
        assert contribution_agreement(first, first)["cosine"] == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_chance_is_the_mean_over_all_permutations(case):
    first, second, _ = case
    chance = chance_contribution_agreement(first, second)
    every = [contribution_agreement(first, second[list(order)]) for order in permutations(range(first.size))]
    for name in ("cosine", "spearman"):
        assert chance[name] == pytest.approx(np.mean([values[name] for values in every]), abs=1e-9, nan_ok=True)


def test_vectors_of_one_sign_agree_by_chance():
    generator = np.random.default_rng(1)
    first, second = generator.random((2, 50))
    assert chance_contribution_agreement(first, second)["cosine"] > 0.6


def test_permutation_p_values_are_near_the_exact_ones():
    generator = np.random.default_rng(2)
    first, second = np.array([3.0, -1, 2, 0.5, 0]), np.array([2.0, -1, 1, 1, -3])
    observed = contribution_agreement(first, second)
    every = [contribution_agreement(first, second[list(order)]) for order in permutations(range(5))]
    p = contribution_agreement_p(first, second, generator, 20_000)
    for name in ("cosine", "spearman"):
        exact = np.mean([values[name] >= observed[name] - 1e-12 for values in every])
        assert p[name] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_permutation_test_holds_its_level():
    generator, n = np.random.default_rng(3), 1500
    p = np.array(
        [list(contribution_agreement_p(*generator.normal(size=(2, 12)), generator, 99).values()) for _ in range(n)]
    )
    assert (np.mean(p <= 0.05, axis=0) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)).all()
    assert np.mean(p, axis=0) == pytest.approx([0.5, 0.5], abs=0.03)


def test_undefined_cases_and_bad_input():
    p = contribution_agreement_p([0, 0], [1, 2], np.random.default_rng(0))
    assert np.isnan(p["cosine"]) and np.isnan(p["spearman"])
    assert contribution_agreement([2.0], [3.0])["cosine"] == 1
    for call in (
        lambda: contribution_agreement([1, 2], [1]),
        lambda: contribution_agreement([1, np.nan], [1, 2]),
        lambda: contribution_agreement_p([1, 2], [1, 2], np.random.default_rng(0), 0),
        lambda: mean_contributions([1, 2]),
        lambda: mean_contributions([[1, 2], [3]]),
    ):
        with pytest.raises(StudyError):
            call()

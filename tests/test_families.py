"""Holm's correction by hand, within families, and with tests that could not be done."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from rationales.errors import StudyError
from rationales.statistics.families import adjust_families, holm


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04: times 4, 3, 2, 1 = .04 .06 .06 .04, then never decreasing.
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.5, 0.9])) == pytest.approx([1.0, 1.0])


def test_nan_is_no_test():
    assert holm(np.array([0.01, np.nan, 0.04])) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)
    assert np.isnan(holm(np.array([np.nan]))).all() and holm(np.array([])).shape == (0,)


def test_holm_equals_statsmodels():
    generator = np.random.default_rng(0)
    for _ in range(10):
        p_values = np.round(generator.random(9) ** 3, 2)  # with ties
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_plain_and_the_bonferroni_value(p_values):
    p_values = np.array(p_values)
    adjusted = holm(p_values)
    assert (adjusted >= p_values - 1e-12).all()
    assert (adjusted <= np.minimum(1, p_values * len(p_values)) + 1e-12).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(adjusted[order]) >= -1e-12).all()


def test_families_are_corrected_apart_and_rows_stay_in_place():
    table = pd.DataFrame(
        {"family": ["b", "a", "b", "a", "b"], "p": [0.01, 0.02, np.nan, 0.5, 0.04]}, index=[9, 3, 5, 1, 0]
    )
    before = table.copy()
    result = adjust_families(table)
    pd.testing.assert_frame_equal(table, before)
    assert result.index.tolist() == [9, 3, 5, 1, 0]
    assert result["p_adjusted"].to_numpy() == pytest.approx([0.02, 0.04, np.nan, 0.5, 0.04], nan_ok=True)
    assert result["family_size"].tolist() == [2, 2, 2, 2, 2]


def test_nullable_and_empty_columns_work():
    table = pd.DataFrame({"family": ["a", "a"], "p": pd.array([0.01, None], dtype="Float64")})
    assert adjust_families(table)["family_size"].tolist() == [1, 1]
    assert len(adjust_families(pd.DataFrame({"family": [], "p": []}))) == 0


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"family": ["a"]}, "column 'p'"),
        ({"p": [0.1]}, "column 'family'"),
        ({"family": ["a", None], "p": [0.1, 0.2]}, "no family"),
        ({"family": ["a"], "p": [1.2]}, "outside"),
        ({"family": ["a"], "p": [-0.1]}, "outside"),
    ],
)
def test_bad_tables_are_refused(columns, match):
    with pytest.raises(StudyError, match=match):
        adjust_families(pd.DataFrame(columns))

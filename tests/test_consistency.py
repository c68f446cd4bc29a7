"""Summary of self-consistency against its parts."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from rationales.errors import StudyError
from rationales.statistics.consistency import summarise_consistency

VALUES = np.array([1, 1, 1, 0, 1, 1, 1, np.nan, 0, 1])
CONTROL = np.array([0, 0, 1, 0, 0, 1, 0, 0, 1, np.nan])


def test_shares_difference_and_test():
    summary = summarise_consistency(VALUES, CONTROL)
    assert (summary.share.estimate, summary.share.n, summary.share.n_undefined) == (pytest.approx(7 / 9), 9, 1)
    assert (summary.share.low, summary.share.high) == pytest.approx(proportion_confint(7, 9, method="wilson"))
    assert summary.control.estimate == pytest.approx(3 / 9)
    # Eight items have both: 6 against 3 consistent; four only by the explanation, one only by the control.
    assert summary.difference.estimate == pytest.approx(3 / 8) and summary.difference.n == 8
    assert summary.difference.low < 0 < summary.difference.high
    assert summary.p == pytest.approx(mcnemar([[0, 4], [1, 0]], exact=True).pvalue)


def test_without_control_or_common_items():
    alone = summarise_consistency(VALUES)
    assert alone.share.estimate == pytest.approx(7 / 9) and np.isnan(alone.p) and "no control" in alone.note
    apart = summarise_consistency(np.array([1, np.nan]), np.array([np.nan, 0]))
    assert np.isnan(apart.p) and "No item" in apart.note and apart.control.estimate == 0
    nothing = summarise_consistency(np.array([]), np.array([]))
    assert nothing.share.n == 0 and nothing.share.note


def test_a_model_that_gives_up_on_any_damaged_text_is_not_consistent():
    summary = summarise_consistency(np.ones(50), np.ones(50))
    assert summary.share.low > 0.9 and summary.difference.estimate == 0 and summary.p == 1 and summary.note


def test_bad_input_is_refused():
    with pytest.raises(StudyError, match="one entry per item"):
        summarise_consistency(np.ones(2), np.ones(3))
    with pytest.raises(StudyError):
        summarise_consistency(np.array([0.5]))

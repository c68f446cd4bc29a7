"""Sign flips of clusters against enumeration and against the test by item."""

from itertools import product

import numpy as np
import pytest

from rationales.errors import StudyError
from rationales.statistics.comparisons import permutation_test
from rationales.statistics.permutation import clustered_sign_flip_test


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_exact_p_is_the_share_of_all_sign_patterns(alternative):
    generator = rng(1)
    clusters = np.array(["a", "b", "a", "c", "d", "d", "d", "e"])
    for _ in range(10):
        values = np.round(generator.normal(0.3, 1, 8), 1)
        names = np.unique(clusters)
        sums = []
        for signs in product([1, -1], repeat=5):
            flipped = dict(zip(names, signs, strict=True))
            sums.append(sum(flipped[c] * v for c, v in zip(clusters, values, strict=True)))
        turn = {"two-sided": np.abs, "greater": np.asarray, "less": np.negative}[alternative]
        expected = np.mean(turn(np.array(sums)) >= turn(np.array(values.sum())) - 1e-9)
        result = clustered_sign_flip_test(values, clusters, rng(), alternative=alternative)
        assert result.p == pytest.approx(expected)
        assert result.difference == pytest.approx(values.mean()) and result.n == 8


def test_single_rows_as_clusters_are_the_test_by_item():
    values = rng(2).normal(0.4, 1, 40)
    own = clustered_sign_flip_test(values, np.arange(40), rng(3), 999)
    by_item = permutation_test(values, np.zeros(40), rng(3), 999)
    assert own.p == by_item.p


def test_rows_that_copy_each_other_are_no_evidence():
    values = np.repeat([0.5, 0.4, 0.6], 20)
    assert permutation_test(values, np.zeros(60), rng(), 999).p == pytest.approx(0.001)
    result = clustered_sign_flip_test(values, np.repeat([0, 1, 2], 20), rng())
    assert result.p == 0.25 and "no p-value is below 0.25" in result.note


def test_degenerate_samples_give_a_sentence():
    nothing = clustered_sign_flip_test(np.array([np.nan]), np.array([0]), rng())
    assert np.isnan(nothing.p) and nothing.n_undefined == 1 and nothing.note
    equal = clustered_sign_flip_test(np.zeros(10), np.arange(10), rng())
    assert equal.p == 1 and "All differences are 0" in equal.note
    one = clustered_sign_flip_test(np.array([1.0, 2.0]), np.array([0, 0]), rng())
    assert one.p == 1 and "1 cluster(s)" in one.note
    with pytest.raises(StudyError, match="one entry per row"):
        clustered_sign_flip_test(np.ones(2), np.ones(3), rng())
    with pytest.raises(StudyError, match="cluster"):
        clustered_sign_flip_test(np.ones(2), np.array([None, 1]), rng())

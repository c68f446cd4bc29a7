"""Selections of equally accurate models, the published z-values, and Cochran's test."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rationales.errors import StudyError
from rationales.statistics.equal_accuracy import cochran_q_test, select_models, tabulate_selections

accuracy_lists = st.lists(st.sampled_from([0.90, 0.91, 0.92, 0.925, 0.94]), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(accuracy_lists, st.data())
def test_selections_are_the_best_of_all_subsets(accuracies, data):
    accuracies = np.array(accuracies)
    n = data.draw(st.integers(1, len(accuracies)))
    best, closest = (select_models(accuracies, rule, n) for rule in ("best", "closest"))
    subsets = [accuracies[list(chosen)] for chosen in combinations(range(len(accuracies)), n)]
    assert len(set(best)) == len(set(closest)) == n
    assert accuracies[best].sum() == pytest.approx(max(subset.sum() for subset in subsets))
    narrowest = min(np.ptp(subset) for subset in subsets)
    assert np.ptp(accuracies[closest]) == pytest.approx(narrowest)
    rivals = [subset.sum() for subset in subsets if np.ptp(subset) <= narrowest + 1e-9]
    assert accuracies[closest].sum() == pytest.approx(max(rivals))
    assert select_models(accuracies, "all").tolist() == list(range(len(accuracies)))


def test_published_z_values_of_the_extremes():
    # 200 models on 1,000 items from .911 to .941: published z 3.62, without its missing factor 2 it is 2.56.
    accuracies = np.concatenate([[0.911, 0.941], np.linspace(0.92, 0.935, 198).round(3)])
    table = tabulate_selections(accuracies, 1000, sizes=(150, 100, 50))
    first = table.iloc[0]
    assert table["rule"].tolist() == ["all", "best", "best", "best", "closest", "closest", "closest"]
    assert (first["n_models"], first["lowest"], first["highest"]) == (200, 0.911, 0.941)
    assert first["z_published"] == pytest.approx(3.62, abs=0.005)
    assert first["p_published"] == pytest.approx(0.00014, abs=1e-5)
    assert first["z_corrected"] == pytest.approx(2.56, abs=0.005)
    assert table["z_published"].to_numpy() == pytest.approx(np.sqrt(2) * table["z_corrected"].to_numpy())
    assert table["n_models"].tolist() == [200, 150, 100, 50, 150, 100, 50]


def test_ties_at_the_border_are_counted():
    table = tabulate_selections(np.array([0.9, 0.8, 0.8, 0.8]), 100, sizes=(2,)).set_index("rule")
    assert table.loc["best", "n_tied"] == 2 and table.loc["all", "n_tied"] == 0
    assert table.loc["closest", ["lowest", "highest", "n_tied"]].tolist() == [0.8, 0.8, 1]


def test_cochran_by_hand():
    correct = np.array([[1, 1, 1, 0, 1, 1], [1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 1, 1]])
    columns, rows = correct.sum(axis=1), correct.sum(axis=0)
    q = 2 * (3 * np.sum(columns**2) - columns.sum() ** 2) / (3 * rows.sum() - np.sum(rows**2))
    result = cochran_q_test(correct)
    assert result.statistic == pytest.approx(q) and result.p == pytest.approx(stats.chi2.sf(q, 2))
    assert result.difference == pytest.approx(5 / 6 - 2 / 6) and result.n == 6 and "4 items only" in result.note


def test_cochran_holds_its_level_where_the_z_test_of_the_extremes_does_not():
    generator, cochran, extremes = np.random.default_rng(0), [], []
    for _ in range(400):
        easy = generator.beta(8, 2, 300)  # items differ in how many models get them right
        correct = (generator.random((10, 300)) < easy).astype(float)
        accuracies = correct.mean(axis=1)
        cochran.append(cochran_q_test(correct).p < 0.05)
        extremes.append(tabulate_selections(accuracies, 300, sizes=()).iloc[0]["p_published"] < 0.05)
    assert np.mean(cochran) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(extremes) > 0.3  # the published test calls equal models unequal


def test_degenerate_tables_give_a_sentence():
    same = cochran_q_test(np.ones((3, 5)))
    assert same.p == 1 and same.note
    empty = cochran_q_test(np.full((3, 2), np.nan))
    assert np.isnan(empty.p) and empty.n_undefined == 2 and empty.note
    for call in (
        lambda: cochran_q_test(np.ones((1, 5))),
        lambda: cochran_q_test(np.full((2, 5), 0.5)),
        lambda: select_models(np.array([0.9]), "best"),
        lambda: select_models(np.array([0.9]), "closest", 2),
        lambda: select_models(np.array([0.9]), "worst", 1),
        lambda: select_models(np.array([]), "all"),
        lambda: select_models(np.array([91.0]), "all"),
        lambda: select_models(np.array([np.nan]), "all"),
    ):
        with pytest.raises(StudyError):
            call()

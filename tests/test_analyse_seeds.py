"""Seed variance: similarities, intervals and components against closed forms, brute force and known simulations."""

import csv
import io
import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, f1_score

from corpora_fixtures import use_folder
from rationales.corpora import french
from rationales.errors import StudyError
from rationales.examples import Example
from rationales.metrics.stability import (
    correlation_with_mean,
    half_correlation,
    mean_pairwise_correlation,
    mean_top_k_jaccard,
    signal_and_noise,
)
from rationales.replicates import Variant, main_variants, split_variant
from rationales.reporting.seeds import (
    components_table,
    human_figure_table,
    humans_table,
    models_in,
    rows_of_seeds,
    seed_sentences,
    selection_figure_table,
    stability_table,
)
from rationales.stages import seed_components, seed_humans, seed_selections, seed_stability
from rationales.stages.analyse_seeds import analyse_seeds, read_analysis
from rationales.stages.compare_seeds import compare_all_pairs
from rationales.stages.seed_data import FIXED, collect_scores, scale_rows, turn_to_one_label
from rationales.stages.seed_intervals import (
    compare_sets,
    correlate_pairs,
    group_seeds,
    half_width,
    jackknife_over_seeds,
    mean_per_item,
    overlap_pairs,
    pair_statistic,
    summarise_mean,
    summarise_ratio,
)
from rationales.stages.seed_tunings import difference_of_families
from rationales.statistics import components
from rationales.statistics.comparisons import mcnemar_test
from rationales.statistics.equivalence import tost_accuracies
from seed_fixtures import explanation_rows, fill_study, make_family, make_study

T = stats.t.ppf


def rows_by(table, *keys):
    return {tuple(row[key] for key in keys) if len(keys) > 1 else row[keys[0]]: row for row in table}


# Variants and scores


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("default", Variant("default")),
        ("PE-list-free-anchored#2", Variant("PE-list-free-anchored", 0, 2)),
        ("PE-list-free-anchored~1#2", Variant("PE-list-free-anchored", 1, 2)),
        ("PE-list-free-anchored#2~1", Variant("PE-list-free-anchored", 1, 2)),
        ("draw=3,n_samples=100", Variant("n_samples=100", 0, 0, 3)),
        ("draw=1", Variant("default", 0, 0, 1)),
        ("n_samples=100,withdraw=3", Variant("n_samples=100,withdraw=3")),
    ],
)
def test_variants_are_taken_apart(variant, expected):
    assert split_variant(variant) == expected


def test_main_variants_keep_the_lowest_numbers_of_each_base():
    pairs = [("lime", "draw=2"), ("lime", "draw=1"), ("lime", "draw=1,n_samples=9"), ("self", "A~1"), ("self", "A"),
             ("self", "A#1"), ("self", "B#1")]  # fmt: skip
    table = pd.DataFrame(pairs, columns=["explainer", "variant"])
    kept = main_variants(table)
    assert kept["variant"].tolist() == ["draw=1", "draw=1,n_samples=9", "A", "B#1"]


def test_invalid_explanations_are_rows_of_nan_and_sets_become_marks():
    family, _ = make_family([np.zeros((3, 4))])
    rows = [
        explanation_rows("self", "x", "item-0", 0, selected=[2], ordered=False),
        explanation_rows("self", "x", "item-0", 1, valid=False),
        explanation_rows("self", "x#1", "item-0", 2, selected=[1]),
        explanation_rows("self", "x", "item-0", 9, selected=[1]),
    ]
    (found,) = collect_scores(family, pd.DataFrame(rows))
    np.testing.assert_array_equal(found.scores[0], [[0, 0, 1, 0], [np.nan] * 4, [np.nan] * 4])


def test_scores_are_turned_to_one_label_where_predictions_differ():
    predicted = [["positive", "positive"], ["negative", "positive"]]
    family, found = make_family([[[1, -2], [-1, 2]], [[3, 1], [2, -1]]], predicted)
    turned = turn_to_one_label(family, found)
    np.testing.assert_array_equal(turned.scores[0], [[1, -2], [1, -2]])
    np.testing.assert_array_equal(turned.scores[1], found.scores[1])
    assert turned.towards == FIXED
    unsigned = make_family([[[1, 2], [1, 2]], [[3, 1], [2, 1]]], predicted)[1]
    assert turn_to_one_label(family, unsigned) is None
    assert turn_to_one_label(make_family([[[1, -2], [-1, 2]]])[0], found) is None  # all predictions agree


# Similarities


def test_pairs_have_the_means_of_the_stability_metrics():
    scores = np.round(np.random.default_rng(0).normal(size=(5, 12)), 1)  # some ties
    for method in ("pearson", "spearman"):
        pairs = correlate_pairs(scores, method)[None]
        assert mean_per_item(pairs)[0] == pytest.approx(mean_pairwise_correlation(scores, method))
    tied = (scores > 0.3).astype(float)
    for table in (scores, tied):
        assert mean_per_item(overlap_pairs(table, 4)[None])[0] == pytest.approx(mean_top_k_jaccard(table, 4))


def test_pairs_leave_out_invalid_and_constant_rows():
    scores = np.array([[1.0, 2, 3], [np.nan] * 3, [3, 2, 1], [5, 5, 5]])
    pairs = correlate_pairs(scores)
    assert pairs[0, 2] == pytest.approx(-1) and np.isfinite(pairs).sum() == 2
    jaccard = overlap_pairs(scores, 1)
    assert jaccard[0, 2] == 0 and jaccard[0, 3] == pytest.approx(1 / 3) and np.isnan(jaccard[1]).all()
    assert np.isnan(mean_per_item(pairs[None], np.array([0, 1]))[0])


def test_set_measures_equal_scikit_learn():
    masks = np.random.default_rng(1).integers(0, 2, size=(4, 15))
    values = compare_sets(masks.astype(float))
    for i, j in combinations(range(4), 2):
        assert values["f1"][i, j] == pytest.approx(f1_score(masks[i], masks[j]))
        assert values["kappa"][i, j] == pytest.approx(cohen_kappa_score(masks[i], masks[j]))
    assert np.isnan(np.diag(values["f1"])).all() and np.isnan(compare_sets(np.zeros((2, 3)))["f1"]).all()


@pytest.mark.parametrize("form", ["means", "concatenated"])
@pytest.mark.parametrize("n_seeds", [1, 2, 5, 8])
def test_halves_equal_plain_correlations_of_the_same_splits(form, n_seeds):
    rows = np.random.default_rng(2).normal(size=(n_seeds, 7))
    fast = half_correlation(rows, np.random.default_rng(5), 6, form)
    generator, size, slow = np.random.default_rng(5), n_seeds // 2, []
    for _ in range(6 if size else 0):
        drawn = generator.permutation(n_seeds)
        halves = rows[drawn[:size]], rows[drawn[size : 2 * size]]
        slow.append(np.corrcoef(*(h.mean(axis=0) if form == "means" else h.ravel() for h in halves))[0, 1])
    assert fast == pytest.approx(np.mean(slow) if slow else np.nan, nan_ok=True)


# Intervals


def test_intervals_of_an_additive_measure_are_those_of_students_t():
    values = np.random.default_rng(3).normal(size=(30, 6))  # items x seeds
    summary = summarise_mean(
        values.mean(axis=1), lambda seeds: float(values[:, seeds].mean()), 6, np.random.default_rng(0), 200
    )
    errors = [values.mean(axis=axis).std(ddof=1) / np.sqrt(n) for axis, n in ((1, 30), (0, 6))]
    assert summary["estimate"] == pytest.approx(values.mean())
    assert summary["high_seeds"] - summary["estimate"] == pytest.approx(T(0.975, 5) * errors[1])
    both = np.hypot(*errors)
    freedom = both**4 / (errors[0] ** 4 / 29 + errors[1] ** 4 / 5)
    assert summary["high"] - summary["estimate"] == pytest.approx(T(0.975, freedom) * both)
    assert summary["n"] == 30 and summary["n_seeds"] == 6


def test_two_seeds_give_an_interval_over_items_only():
    values = np.random.default_rng(4).normal(size=25)
    summary = summarise_mean(values, lambda seeds: 0.0, 2, np.random.default_rng(0), 200)
    assert np.isnan(summary["low_seeds"]) and summary["low"] == summary["low_items"]
    assert "at least three" in summary["note"]


def test_intervals_stay_within_the_range_of_the_measure():
    values = np.array([1.0, 1, 1, 1, 0.2] * 5)
    summary = summarise_mean(values, lambda seeds: 0.84 + 0.1 * (0 in seeds), 4, np.random.default_rng(0), 200, (-1, 1))
    assert summary["high"] <= 1 and summary["high_seeds"] <= 1


def test_ratio_of_means_has_a_log_interval_over_seeds_and_a_defined_zero_denominator_item():
    columns = np.column_stack([np.full(30, 2.0), np.r_[0.0, np.full(29, 1.0)]])
    of_seed = np.array([1.5, 2.0, 2.5, 3.0])
    summary = summarise_ratio(
        columns, lambda seeds: float(np.exp(np.log(of_seed[seeds]).mean())), 4, np.random.default_rng(0), 200
    )
    logs = np.log(of_seed)
    half = T(0.975, 3) * logs.std(ddof=1) / 2
    assert summary["estimate"] == pytest.approx(60 / 29)
    assert summary["high_seeds"] == pytest.approx(np.exp(logs.mean() + half))
    assert 0 < summary["low"] < summary["estimate"] < summary["high"]


def test_many_seeds_are_left_out_in_twenty_groups():
    groups = group_seeds(45)
    assert len(groups) == 20 and sorted(np.concatenate(groups)) == list(range(45))
    values = np.random.default_rng(6).normal(size=40)
    interval = jackknife_over_seeds(40, lambda seeds: float(values[seeds].mean()))
    of_groups = values.reshape(20, 2).mean(axis=1)  # groups of equal size: the mean of their means
    assert interval.n == 20
    half = (interval.high - interval.low) / 2
    assert half == pytest.approx(T(0.975, 19) * of_groups.std(ddof=1) / np.sqrt(20))


def test_half_width_of_one_error_is_students_and_of_none_zero():
    assert half_width([0.1], [9]) == pytest.approx(T(0.975, 9) * 0.1)
    assert half_width([0.0, 0.0], [3, 3]) == 0
    with pytest.raises(StudyError, match="degrees of freedom"):
        half_width([0.1], [0])


# Stability of scores of known make-up


@pytest.fixture(scope="module")
def known():
    """20 seeds x 25 items of 60 words: word variance 1, error variance 2, so that seeds correlate at 1/3."""
    generator = np.random.default_rng(7)
    scores = [generator.normal(size=60) + np.sqrt(2) * generator.normal(size=(20, 60)) for _ in range(25)]
    return make_family(scores)


def test_stability_recovers_known_signal_and_noise(known):
    family, found = known
    pairs = seed_stability.measure_pairs(family, found, True)
    table = rows_by(seed_stability.tabulate_pairs(family, pairs, 0, 200), "metric")
    spread = rows_by(seed_stability.tabulate_spread(family, found, True, 0, 200), "metric")
    assert table["pearson"]["estimate"] == pytest.approx(1 / 3, abs=0.02)
    assert table["pearson"]["low"] < 1 / 3 < table["pearson"]["high"]
    assert spread["snr_corrected"]["estimate"] == pytest.approx(0.5, abs=0.06)
    assert spread["half_correlation"]["estimate"] == pytest.approx(1 / (1 + 2 / 10), abs=0.03)
    assert spread["half_correlation_concatenated"]["estimate"] == pytest.approx(1 / 3, abs=0.02)
    assert spread["signal_corrected"]["estimate"] / spread["noise"]["estimate"] == pytest.approx(
        spread["snr_corrected"]["estimate"]
    )
    assert table["top_k_jaccard"]["chance"] == pytest.approx(
        sum(stats.hypergeom(60, 12, 12).pmf(h) * h / (24 - h) for h in range(13))
    )


def test_unrelated_seeds_stand_at_the_chance_levels():
    generator = np.random.default_rng(8)
    family, found = make_family([generator.normal(size=(6, 30)) for _ in range(60)])
    pairs = seed_stability.measure_pairs(family, found, True)
    rows = seed_stability.tabulate_pairs(family, pairs, 0, 200)
    rows += [r for r in seed_stability.tabulate_spread(family, found, True, 0, 200) if r["metric"] != "noise"]
    for row in rows:
        assert row["estimate"] == pytest.approx(row["chance"], abs=0.05), row["metric"]


def test_floors_do_not_vary_and_explanations_do():
    same = np.tile(np.arange(4.0), (3, 1))
    predicted = [["positive"], ["positive"], ["negative"]]
    family, found = make_family([same * [[1], [1], [-1]]], predicted)
    assert not seed_stability.varies_with_seed(family, found)  # another sign under another label only
    assert seed_stability.varies_with_seed(*make_family([same * [[1], [1], [2]]]))


def test_strata_compare_items_by_welch():
    generator = np.random.default_rng(9)
    predicted = np.full((4, 12), "positive", dtype=object)
    predicted[0, :5] = "negative"
    family, found = make_family([generator.normal(size=(4, 9)) for _ in range(12)], predicted)
    pairs = seed_stability.measure_pairs(family, found, True)
    rows = rows_by(seed_stability.tabulate_strata(family, pairs, 0, 200), "metric", "items")
    items = mean_per_item(pairs.values["pearson"])
    expected = stats.ttest_ind(items[:5], items[5:], equal_var=False)
    interval = expected.confidence_interval()
    row = rows["pearson", "divided minus unanimous"]
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert rows["pearson", "divided"]["n"] == 5 and rows["pearson", "unanimous"]["n"] == 7


def test_strata_without_a_divided_item_say_so():
    family, found = make_family([np.random.default_rng(28).normal(size=(3, 5)) for _ in range(4)])
    pairs = seed_stability.measure_pairs(family, found, True)
    rows = rows_by(seed_stability.tabulate_strata(family, pairs, 0, 200), "metric", "items")
    assert ("pearson", "divided") not in rows and rows["pearson", "unanimous"]["n"] == 4
    row = rows["pearson", "divided minus unanimous"]
    assert np.isnan(row["estimate"]) and "no item" in row["note"]


def test_labels_are_counted_by_item_and_by_pair():
    predicted = np.array([["a", "a", "a", "b"], ["a", "b", "a", "b"], ["a", "b", None, "a"]], dtype=object)
    family, _ = make_family([np.zeros((3, 2))] * 4, predicted, labels=("b", "a"))
    rows = rows_by(seed_stability.tabulate_labels(family, 0, 200), "metric")
    assert rows["share_differing"]["estimate"] == pytest.approx(2 / 3) and rows["share_differing"]["n_undefined"] == 1
    assert rows["pair_disagreement"]["estimate"] == pytest.approx(np.mean([0, 2 / 3, 0, 2 / 3]))
    assert rows["minority_share"]["estimate"] == pytest.approx(np.mean([0, 1 / 3, 1 / 3]))


def test_curve_is_over_texts_longer_than_its_largest_k():
    assert seed_stability.curve_sizes([9] * 10) == [1, 2, 3, 5, 8] and seed_stability.curve_sizes([1, 1]) == [1]
    generator = np.random.default_rng(27)
    scores = [generator.normal(size=n) + generator.normal(size=(5, n)) for n in (4, *[14] * 14)]
    family, found = make_family(scores)
    rows = seed_stability.tabulate_curve(family, found, 0, 200)
    assert [row["k"] for row in rows] == [1, 2, 3, 5, 8, 12] and {row["n"] for row in rows} == {14}
    expected = np.mean([correlation_with_mean(values, 5) for values in scores[1:]])
    assert rows[3]["estimate"] == pytest.approx(expected)
    assert rows[3]["low"] < rows[3]["low_items"] < rows[3]["estimate"] < rows[3]["high_items"] < rows[3]["high"]


def test_widths_shrink_and_tell_the_seeds_needed(known):
    family, found = known
    pairs = seed_stability.measure_pairs(family, found, True)
    rows = [r for r in seed_stability.tabulate_widths(family, pairs, 0, 0.001) if r["metric"] == "pearson"]
    assert [row["n_seeds"] for row in rows] == [3, 4, 5, 6, 8, 10, 15, 20]
    assert rows[-1]["half_width"] < rows[3]["half_width"] < rows[0]["half_width"]
    last = jackknife_over_seeds(20, pair_statistic(pairs.values["pearson"]))
    assert rows[-1]["half_width"] == pytest.approx((last.high - last.low) / 2)
    assert rows[-1]["seeds_needed"] > 20
    assert seed_stability.plan_widths(2) == []


# Selections


def test_sizes_of_selections():
    assert seed_selections.selection_sizes(200) == [150, 100, 50]
    assert seed_selections.selection_sizes(8) == [6, 4, 2]
    assert seed_selections.selection_sizes(3) == [2] and seed_selections.selection_sizes(2) == []


def test_mean_of_all_subsets_is_that_of_all_seeds_and_equals_brute_force():
    generator = np.random.default_rng(10)
    pairs = np.stack([correlate_pairs(generator.normal(size=(6, 8))) for _ in range(4)])
    for table in (pairs, np.where(generator.random(pairs.shape) < 0.1, np.nan, pairs)):
        subsets = seed_selections.draw_subsets(6, 3, generator)
        assert subsets.shape == (20, 6) and (subsets.sum(axis=1) == 3).all()
        means = seed_selections.mean_of_subsets(table, subsets)
        brute = [np.nanmean(mean_per_item(table, np.array(c))) for c in combinations(range(6), 3)]
        assert means == pytest.approx(brute)
    assert seed_selections.mean_of_subsets(pairs, subsets).mean() == pytest.approx(mean_per_item(pairs).mean())
    drawn = seed_selections.draw_subsets(40, 20, generator, most=50)
    assert drawn.shape == (50, 40) and (drawn.sum(axis=1) == 20).all()


def test_selection_stands_at_its_exact_rank_among_random_subsets():
    # Seeds 0, 1 and 2 explain alike, the others do not.
    common = np.array([3.0, 1, 2, 0, 5, 4])
    scores = np.vstack([common, common, common, common[::-1], common[[1, 0, 3, 2, 5, 4]]])
    pairs = correlate_pairs(scores)[None]
    subsets = seed_selections.draw_subsets(5, 3, np.random.default_rng(0))
    place = seed_selections.against_random(pairs, np.array([0, 1, 2]), subsets, sampled=False)
    assert place["p_random"] == pytest.approx(1 / 10) and place["n_subsets"] == 10
    assert seed_selections.against_random(pairs, np.array([0, 1, 2]), subsets, sampled=True)["p_random"] == 2 / 11
    worst = seed_selections.against_random(pairs, np.array([0, 3, 4]), subsets, sampled=False)
    assert worst["p_random"] > 0.5


def selection_rows(correct, scores):
    family, found = make_family(scores, correct=correct)
    return seed_selections.compare_selections(family, seed_stability.measure_pairs(family, found, True), 0)


def test_accurate_seeds_that_explain_alike_are_found_and_others_are_not():
    generator = np.random.default_rng(11)
    correct = np.ones((12, 30))
    correct[3:, :6] = generator.integers(0, 2, size=(9, 6))
    correct[3:, 6] = 0  # the first three are the best
    signals = [generator.normal(size=20) for _ in range(30)]
    noise = np.r_[np.full(3, 0.1), np.full(9, 2.0)]
    alike = [signal + noise[:, None] * generator.normal(size=(12, 20)) for signal in signals]
    rows = rows_by(selection_rows(correct, alike), "metric", "rule", "n_models")
    best = rows["pearson", "best", 3]
    assert best["difference"] > 0.3 and best["low"] > 0.2 and best["p_random"] == pytest.approx(1 / 220)
    assert best["estimate"] - best["of_all"] == pytest.approx(best["difference"])
    unrelated = [signal + generator.normal(size=(12, 20)) for signal in signals]
    rows = rows_by(selection_rows(correct, unrelated), "metric", "rule", "n_models")
    row = rows["pearson", "best", 6]
    assert row["random_low"] < row["estimate"] < row["random_high"] and row["p_random"] > 0.02
    assert "difference" not in rows["pearson", "all", 12]


def test_pairs_of_models_are_tested_as_one_by_one():
    correct = np.random.default_rng(12).integers(0, 2, size=(4, 40)).astype(float)
    mcnemar, equivalence = compare_all_pairs(correct, 0.1)
    for i, j in combinations(range(4), 2):
        assert mcnemar[i, j] == mcnemar[j, i] == pytest.approx(mcnemar_test(correct[i], correct[j]).p)
        for one, other in ((i, j), (j, i)):
            assert equivalence[i, j] == pytest.approx(tost_accuracies(correct[one], correct[other], 0.1).p)


def test_two_hundred_seeds_are_tabulated_as_published():
    generator = np.random.default_rng(13)
    correct = (generator.random((200, 1000)) < generator.uniform(0.91, 0.94, size=(200, 1))).astype(float)
    family, _ = make_family([np.zeros((200, 2))] * 1000, correct=correct)
    table = seed_selections.tabulate_accuracies(family, 0.05)
    assert table["n_models"].tolist() == [200, 150, 100, 50, 150, 100, 50]
    first = table.iloc[0]
    assert first["z_published"] == pytest.approx(np.sqrt(2) * first["z_corrected"])
    assert first["pairs"] == 19900 and first["n_items"] == 1000
    assert first["equivalent_pairs"] > 0.8 * 19900 and first["p_cochran"] < 1e-6


def test_accuracies_need_items_with_all_predictions():
    family, _ = make_family([np.zeros((2, 2))], correct=[[np.nan], [1]])
    with pytest.raises(StudyError, match="notebook 05"):
        seed_selections.tabulate_accuracies(family, 0.05)


# Components


def test_word_components_are_unbiased_and_equal_the_corrected_signal():
    generator = np.random.default_rng(14)
    scores = generator.normal(size=(5, 1, 9))
    assert seed_components.split_word_scores(scores)[0] == pytest.approx(
        signal_and_noise(scores[:, 0])["signal_corrected"]
    )
    true = np.array([1.0, 0.25, 0.5, 0.16 + 0.36])  # word, seed, word x seed, replicate: shift and errors
    drawn = []
    for _ in range(3000):
        table = generator.normal(size=8) + 0.5 * generator.normal(size=(4, 1, 1))
        table = table + np.sqrt(0.5) * generator.normal(size=(4, 1, 8))
        table = table + 0.4 * generator.normal(size=(4, 3, 1)) + 0.6 * generator.normal(size=(4, 3, 8))
        drawn.append(seed_components.split_word_scores(table))
    drawn = np.array(drawn)
    assert np.abs(drawn.mean(axis=0) - true).max() < 4 * (drawn.std(axis=0) / np.sqrt(len(drawn))).max()
    assert np.isnan(seed_components.split_word_scores(np.ones((1, 2, 3)))).all()
    with pytest.raises(StudyError, match="shape"):
        seed_components.split_word_scores(np.ones((2, 3)))


def replicated_values(generator, n_items=30, n_seeds=8, n_repeats=4, paraphrases=(0,), by_item=0.0):
    items, seeds = generator.normal(size=n_items), 0.5 * generator.normal(size=n_seeds)
    wording = 0.7 * generator.normal(size=(1, max(paraphrases) + 1))
    wording = wording + by_item * generator.normal(size=(n_items, wording.shape[1]))
    rows = []
    for i in range(n_items):
        for s in range(n_seeds):
            cell = items[i] + seeds[s] + 0.6 * generator.normal()
            for p in paraphrases:
                for r in range(1, n_repeats + 1):
                    rows.append({"example_id": f"i{i}", "seed": s, "paraphrase": p, "repeat": r, "draw": 0,
                                 "value": cell + wording[i, p] + 0.4 * generator.normal()})  # fmt: skip
    return pd.DataFrame(rows)


def test_values_with_repeats_split_into_their_variances():
    rows = replicated_values(np.random.default_rng(15))
    greedy = rows[rows["repeat"] == 1].assign(repeat=0, value=50.0)  # not exchangeable with samples: left out
    table = seed_components.split_values(pd.concat([rows, greedy])).set_index("component")
    assert list(table.index) == ["item", "seed", "item x seed", "sampled repeat"]
    for component, true in [("item", 1.0), ("item x seed", 0.36), ("sampled repeat", 0.16)]:
        assert table.loc[component, "low"] < true < table.loc[component, "high"]
    assert table.loc["sampled repeat", "variance"] == pytest.approx(0.16, abs=0.02)
    note = table.loc["sampled repeat", "note"]
    assert "no paraphrases" in note and "draws" in note and "sampled repeats" not in note


def test_missing_levels_are_named_and_paraphrases_are_a_factor():
    rows = replicated_values(np.random.default_rng(16), n_repeats=1).assign(repeat=0)
    table = seed_components.split_values(rows, intervals=False).set_index("component")
    assert list(table.index) == ["item", "seed", "item x seed"]
    assert "no sampled repeats" in table.loc["item x seed", "note"]
    assert table.loc["item x seed", "variance"] == pytest.approx(0.36 + 0.16, rel=0.2)
    worded = replicated_values(np.random.default_rng(17), n_items=12, n_seeds=4, n_repeats=2, paraphrases=(0, 1, 2))
    table = seed_components.split_values(worded, intervals=False).set_index("component")
    assert list(table.index) == [
        "item", "seed", "prompt paraphrase", "item x seed", "item x paraphrase", "item x seed x paraphrase", "sampled repeat",
    ]  # fmt: skip
    one_sample = seed_components.keep_exchangeable(worded[worded["repeat"] < 2].replace({"repeat": {1: 0}}))
    assert (one_sample["repeat"] == 0).all()


def test_wording_that_changes_single_items_is_not_taken_for_sampling():
    rows = replicated_values(np.random.default_rng(26), n_seeds=4, n_repeats=2, paraphrases=(0, 1, 2), by_item=0.5)
    table = seed_components.split_values(rows).set_index("component")
    for component, true in [("item x seed", 0.36), ("item x paraphrase", 0.25), ("sampled repeat", 0.16)]:
        assert table.loc[component, "low"] < true < table.loc[component, "high"]
    many = replicated_values(np.random.default_rng(27), n_items=250, n_seeds=2, n_repeats=2, paraphrases=(0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components, "LARGEST_BLOCK", 1)  # as if there were many seeds
        table = seed_components.split_values(many, intervals=False).set_index("component")
    assert "item x paraphrase" not in table.index and "too many" in table.loc["sampled repeat", "note"]


def test_noise_that_one_draw_brings_into_all_seeds_is_told_apart_from_seeds():
    generator = np.random.default_rng(28)
    rows = []
    for i in range(40):
        item, shared = generator.normal(), 0.5 * generator.normal(size=2)
        for s in range(5):
            cell = item + 0.6 * generator.normal()
            rows += [{"example_id": f"i{i}", "seed": s, "paraphrase": 0, "repeat": 0, "draw": d,
                      "value": cell + shared[d] + 0.3 * generator.normal()} for d in range(2)]  # fmt: skip
    table = seed_components.split_values(pd.DataFrame(rows)).set_index("component")
    for component, true in [("item x seed", 0.36), ("item x draw", 0.25), ("explainer noise", 0.09)]:
        assert table.loc[component, "low"] < true < table.loc[component, "high"]


def test_word_scores_under_wordings_that_all_seeds_share():
    """Moments over many simulated items against the variances that they were drawn with."""
    generator, parts = np.random.default_rng(29), []
    for _ in range(400):
        word, seed = generator.normal(size=12), 0.5 * generator.normal(size=(4, 1, 1))
        by_seed, wording = 0.4 * generator.normal(size=(4, 1, 12)), 0.7 * generator.normal(size=(1, 3, 12))
        shift, rest = 0.3 * generator.normal(size=(1, 3, 1)), 0.2 * generator.normal(size=(4, 3, 12))
        parts.append(seed_components.split_word_scores(word + seed + by_seed + wording + shift + rest))
    mean, error = np.mean(parts, axis=0), np.std(parts, axis=0) / 20
    assert (np.abs(mean - [1, 0.25, 0.16, 0.49 + 0.09 + 0.04]) < 4 * error).all()


def test_word_shares_with_draws_of_an_explainer():
    generator = np.random.default_rng(18)
    family, _ = make_family([np.zeros((4, 25))] * 20)
    rows = []
    for example in family.examples:
        word = generator.normal(size=25)
        for seed in family.seeds:
            own = word + 0.5 * generator.normal(size=25)
            for draw in range(3):
                variant = "n_samples=50" if draw == 0 else f"draw={draw},n_samples=50"
                scores = own + 0.5 * generator.normal(size=25)
                rows.append(explanation_rows("lime", variant, example.example_id, seed, scores))
    rows[0]["valid"] = False  # its item has no complete table and is left out
    table = seed_components.tabulate_word_components(family, pd.DataFrame(rows), {"lime/n_samples=50"}, 0, 200)
    shares = rows_by(table, "component")
    assert shares["word"]["replicate"] == "explainer noise" and shares["word"]["n"] == 19
    assert shares["word"]["n_undefined"] == 1
    assert sum(row["share"] for row in table) == pytest.approx(1)
    for component, true in [("word", 1 / 1.5), ("word x seed", 0.25 / 1.5), ("replicate", 0.25 / 1.5)]:
        assert shares[component]["share"] == pytest.approx(true, abs=0.06)
        assert shares[component]["low"] < shares[component]["share"] < shares[component]["high"]
    assert seed_components.tabulate_word_components(family, pd.DataFrame(rows), set(), 0, 200) == []


# Humans


def test_graded_marks_of_french_readers(tmp_path, monkeypatch):
    span = {"start": 3, "end": 9, "color": "highlight-orange"}
    readers = [[span], [], [span, {"start": 0, "end": 2, "color": "highlight-red"}]]
    columns = ["tid_x", "title", "text", "label", "text_type", "highlights_opinion", "highlights_information"]
    handle = io.StringIO()
    cells = [str([json.dumps(reader) for reader in readers]), "[]"]
    csv.writer(handle).writerows([columns, ["3", "T", "Il pleut.", "opinion", "{}", *cells]])
    use_folder(tmp_path, monkeypatch, {french.FILE: handle.getvalue()})
    grades = seed_humans.read_reader_grades()
    np.testing.assert_allclose(grades["3"], [[0, 0.66], [1, 0.66]])  # the reader without a mark is not one


def human_examples(n_items=12, n_readers=4, n_words=20, seed=19):
    generator = np.random.default_rng(seed)
    examples = []
    for item in range(n_items):
        masks = generator.random((n_readers, n_words)) < np.where(np.arange(n_words) < 6, 0.8, 0.1)
        masks = tuple(tuple(bool(mark) for mark in mask) for mask in masks)
        text = " ".join(f"w{place}" for place in range(n_words))
        examples.append(Example(f"t{item}", "c", "test", "en", (text,), "positive", masks, masks[0]))
    return examples


def test_readers_and_seeds_are_compared_pair_by_pair():
    examples = human_examples()
    raters = seed_humans.human_raters("c", examples)
    table = seed_humans.tabulate_spread_of_raters([raters], 0, 200)
    rows = {(row.metric, row.length): row for row in table.itertuples()}
    masks = [np.array(example.annotators, dtype=int) for example in examples]
    pairs = [[(m[i], m[j]) for i, j in combinations(range(4), 2)] for m in masks]
    for metric, function in [
        ("f1", f1_score),
        ("kappa", cohen_kappa_score),
        ("pearson", lambda a, b: np.corrcoef(a, b)[0, 1]),
    ]:
        expected = np.mean([np.mean([function(a, b) for a, b in item]) for item in pairs])
        assert rows[metric, "own length"].estimate == pytest.approx(expected)
    k = [seed_humans.human_length(example) for example in examples]
    assert k[0] == round(np.mean(masks[0].sum(axis=1)))
    assert rows["f1", "human length"].chance == pytest.approx(np.mean(k) / 20)
    assert rows["kappa", "own length"].raters == 4 and rows["kappa", "own length"].n == 12


def test_seeds_that_give_the_readers_sets_get_the_readers_numbers():
    examples = human_examples(n_readers=3)
    raters = seed_humans.human_raters("c", examples)
    as_seeds = raters._replace(source="self", seeds=True)
    tables = [seed_humans.tabulate_spread_of_raters([one], 0, 200) for one in (raters, as_seeds)]
    assert tables[0]["estimate"].tolist() == pytest.approx(tables[1]["estimate"].tolist())
    curves = [seed_humans.tabulate_curves([one], 0, 200) for one in (raters, as_seeds)]
    assert curves[0]["estimate"].tolist() == pytest.approx(curves[1]["estimate"].tolist())


def test_curves_are_drawn_at_one_number_of_raters():
    few, many = (seed_humans.human_raters(f"c{n}", human_examples(n_readers=n)) for n in (3, 9))
    table = seed_humans.tabulate_curves([few, many], 0, 200)
    assert set(table["raters"]) == {3} and seed_humans.matched_number([many]) == 9
    mine = table[(table["corpus"] == "c3") & (table["k"] == 5)].iloc[0]
    masks = [np.array(example.annotators, dtype=float) for example in human_examples(n_readers=3)]
    assert mine["estimate"] == pytest.approx(np.mean([correlation_with_mean(mask, 5) for mask in masks]))
    # The mean of three of nine readers like these agrees as much as three readers do, that of nine more.
    other = table[(table["corpus"] == "c9") & (table["k"] == 5)].iloc[0]
    everyone = seed_humans.tabulate_curves([many], 0, 200).set_index("k").loc[5]
    assert other["estimate"] == pytest.approx(mine["estimate"], abs=0.06) and everyone["estimate"] > other["high"]
    assert np.isnan(seed_humans.correlate_matched(masks[0], 5, 4, np.random.default_rng(0)))


def test_corpora_without_annotators_are_said_to_have_none():
    plain = [Example("a", "c", "test", "en", ("a b c",), "x")]
    assert seed_humans.human_raters("c", plain) is None
    assert seed_humans.human_length(plain[0]) is None
    with pytest.raises(StudyError, match="no raters"):
        seed_humans.matched_number([])


# Tunings


def test_difference_of_tunings_adds_the_errors_of_items_and_seeds():
    generator = np.random.default_rng(20)
    sides = []
    for noise, n_seeds in ((0.5, 5), (1.0, 4)):
        family, found = make_family(
            [np.arange(30.0) / 10 + noise * generator.normal(size=(n_seeds, 30)) for _ in range(15)]
        )
        sides.append((family, np.stack([correlate_pairs(scores) for scores in found.scores])))
    row = difference_of_families(*sides)
    items = mean_per_item(sides[0][1]) - mean_per_item(sides[1][1])
    assert row["difference"] == pytest.approx(items.mean()) and row["difference_low"] > 0
    errors = [items.std(ddof=1) / np.sqrt(15)]
    for (_, values), n in zip(sides, (5, 4), strict=True):
        interval = jackknife_over_seeds(n, pair_statistic(values))
        errors.append((interval.high - interval.low) / 2 / T(0.975, n - 1))
    assert row["difference_high"] - row["difference"] == pytest.approx(half_width(errors, [14, 4, 3]))


# The whole stage


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch:
        runs = "  - {corpus: planted_sentiment, subject: tiny-encoder, tuning: order-only, seeds: [0, 1, 2]}\n"
        study = make_study(folder, patch, seeds=(0, 1, 2, 3), further_runs=runs)
        fill_study(study, np.random.default_rng(21), noise={"tuned": 1.5, "order-only": 0.05})
        analysis = analyse_seeds(study, study.read("metrics"))
        assert analysis.notes.empty
        for name in ("stability", "humans", "components", "notes"):
            pd.testing.assert_frame_equal(
                getattr(read_analysis(study), name), getattr(analysis, name), check_dtype=False
            )
    return analysis


def test_stage_finds_what_was_planted(analysed):
    model = models_in(analysed)[0]
    stability = rows_of_seeds(analysed.stability, model, metric="pearson").set_index(["explainer", "towards"])
    assert not stability.loc[("random", "predicted label"), "varies"]
    assert stability.loc[("random", "predicted label"), "estimate"] == pytest.approx(1)
    predicted, fixed = (stability.loc[("occlusion", side), "estimate"] for side in ("predicted label", "fixed label"))
    assert fixed > predicted  # the divided item has opposite signs under the predicted labels
    assert ("attention", "fixed label") not in stability.index
    tunings = analysed.tunings[analysed.tunings["metric"] == "pearson"].set_index(["tuning", "explainer"])
    row = tunings.loc[("order-only", "occlusion")]
    assert row["varies_in"] == "order" and row["reference"] == "tuned" and row["difference_low"] > 0
    assert np.isnan(tunings.loc[("tuned", "occlusion"), "difference"])
    assert set(analysed.components["explainer"]) == {"occlusion", "attention", "self"}
    strata = rows_of_seeds(analysed.strata, model, metric="pearson", items="divided", towards="predicted label")
    assert strata.set_index("explainer").loc["occlusion", "estimate"] < 0


def test_stage_without_metrics_or_with_one_seed_says_so(tmp_path, monkeypatch):
    study = make_study(tmp_path, monkeypatch, seeds=(0, 1))
    fill_study(study, np.random.default_rng(22))
    analysis = analyse_seeds(study)
    assert analysis.components.empty and analysis.widths.empty
    notes = " ".join(analysis.notes["note"])
    assert "metrics" in notes and "two tunings" in notes
    assert any("fewer than three seeds" in sentence for sentence in seed_sentences(analysis))
    with pytest.raises(StudyError, match="more than one seed"):
        analyse_seeds(make_study(tmp_path, monkeypatch, seeds=(0,)))


def test_sentences_and_tables_give_the_numbers_of_the_analysis(analysed):
    model = models_in(analysed)[0]
    sentences = [s for s in seed_sentences(analysed) if "tuned:" in s]
    rows = rows_of_seeds(analysed.stability, model, metric="pearson", towards="predicted label", varies=True)
    for estimate in (rows["estimate"].min(), rows["estimate"].max()):
        assert any(f"{estimate:.2f}".lstrip("0") in sentence for sentence in sentences if "correlate" in sentence)
    assert any("4 seeds are between" in sentence for sentence in sentences)
    assert any("kappa" in sentence and "chance is 0" in sentence for sentence in sentences)
    assert any("item x seed" in sentence for sentence in sentences)
    table = stability_table(analysed, model)
    assert table.index[-1] == "Chance level" and "Random words" not in table.index
    assert humans_table(analysed, model)["who"].iloc[0] == "Readers of planted_sentiment"
    assert set(selection_figure_table(analysed, model).query("explainer == 'occlusion'")["towards"]) == {"fixed label"}
    assert set(human_figure_table(analysed, model, ("occlusion",))["source"]) == {"human", "occlusion"}
    assert "variance [95 %]" in components_table(analysed.components, model)
    assert "share [95 %]" in components_table(analysed.word_components, model)


def test_scaling_leaves_zero_explanations_alone():
    np.testing.assert_array_equal(scale_rows(np.array([[0.0, 0.0], [-4.0, 2.0]])), [[0, 0], [-1, 0.5]])


def test_readers_of_a_public_corpus_stand_beside(data_folder_real, tmp_path, monkeypatch):
    study = make_study(tmp_path, monkeypatch)
    found, notes = seed_humans.list_human_raters(study, [], ["fair_rationales_sst"])
    (raters,) = found
    assert notes == [] and raters.corpus == "fair_rationales_sst" and len(raters.marks) == 262
    few = raters._replace(marks=raters.marks[:15], lengths=raters.lengths[:15], example_ids=raters.example_ids[:15])
    rows = seed_humans.tabulate_spread_of_raters([few], 0, 200).set_index(["metric", "length"])
    expected = [
        np.mean([cohen_kappa_score(m[i], m[j]) for i, j in combinations(range(len(m)), 2)])
        for m in (marks.astype(int) for marks in few.marks)
    ]
    assert rows.loc[("kappa", "own length"), "estimate"] == pytest.approx(np.mean(expected))

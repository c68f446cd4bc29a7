"""Agreement of two explanations, against hand-computed cases, every tie order and every permutation."""

from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from rationales.errors import StudyError
from rationales.metrics.agreement import (
    RANKINGS,
    TIE_BREAKING_ONLY,
    agreement_of,
    chance_agreement,
    overlap_distribution,
    pairwise_rank_agreement,
    top_k_jaccard,
)
from rationales.metrics.selection import set_to_scores

WITHOUT_SPEARMAN = (
    "feature_agreement",
    "rank_agreement",
    "sign_agreement",
    "signed_rank_agreement",
    "iou",
    "pairwise_rank_agreement",
)


def every_order(key):
    n = len(key)
    return [o for o in permutations(range(n)) if all(key[a] >= key[b] for a, b in pairwise(o))]


def measures_of_orders(first, second, one, two, k):
    """The definitions for two orders without ties, written out: (one, two) order the scores (first, second)."""
    same_sign = [first[w] * second[w] > 0 for w in range(len(first))]
    common = set(one[:k]) & set(two[:k])
    matching = [a for a, b in zip(one[:k], two[:k], strict=True) if a == b]
    pairs = list(combinations(range(len(first)), 2))
    alike = [(one.index(a) < one.index(b)) == (two.index(a) < two.index(b)) for a, b in pairs]
    return (
        len(common) / k,
        len(matching) / k,
        sum(same_sign[w] for w in common) / k,
        sum(same_sign[w] for w in matching) / k,
        len(common) / len(set(one[:k]) | set(two[:k])),
        np.mean(alike),
    )


def test_four_words_by_hand():
    values = agreement_of([0.9, 0.5, -0.1, 0.2], [0.8, -0.3, -0.2, 0.6], k=2)
    # Orders 0 1 3 2 and 0 3 2 1.
    assert values["feature_agreement"] == values["rank_agreement"] == 0.5
    assert values["sign_agreement"] == values["signed_rank_agreement"] == 0.5
    assert values["iou"] == pytest.approx(1 / 3)
    assert values["spearman"] == pytest.approx(1 - 6 * (0 + 4 + 1 + 1) / (4 * 15))
    assert values["pairwise_rank_agreement"] == pytest.approx(4 / 6)  # 1 before 3 and 1 before 2 are turned round


def test_absolute_ranking_by_hand():
    first, second = [0.1, -0.9, 0.5], [0.2, 0.8, 0.7]
    absolute = agreement_of(first, second, k=1, ranking="absolute")
    assert absolute["feature_agreement"] == absolute["rank_agreement"] == absolute["iou"] == 1
    assert absolute["sign_agreement"] == absolute["signed_rank_agreement"] == 0
    assert absolute["spearman"] == absolute["pairwise_rank_agreement"] == 1
    assert agreement_of(first, second, k=1)["feature_agreement"] == 0


def test_two_zeros_do_not_agree_in_sign():
    values = agreement_of([0, 1, 0], [0, 1, 0], k=3)
    assert values["feature_agreement"] == 1
    assert values["sign_agreement"] == pytest.approx(1 / 3)


def test_tiny_scores_keep_their_sign():
    assert agreement_of([1e-200, 0], [1e-200, 0], k=1)["sign_agreement"] == 1


def test_default_k_is_a_fifth_of_the_words():
    generator = np.random.default_rng(0)
    for n_words, k in [(4, 1), (9, 1), (10, 2), (19, 3)]:
        first, second = generator.normal(size=(2, n_words))
        assert agreement_of(first, second) == agreement_of(first, second, k=k)


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize("seed", range(10))
def test_ties_are_the_mean_over_all_pairs_of_tie_orders(seed, ranking):
    generator = np.random.default_rng(seed)
    first, second = generator.integers(-1, 2, (2, 5))
    k = int(generator.integers(1, 6))
    keys = [np.abs(s) if ranking == "absolute" else s for s in (first, second)]
    rows = [measures_of_orders(first, second, a, b, k) for a in every_order(keys[0]) for b in every_order(keys[1])]
    values = agreement_of(first, second, k, ranking)
    np.testing.assert_allclose([values[name] for name in WITHOUT_SPEARMAN], np.mean(rows, axis=0), atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_overlap_distribution_counts_the_tie_orders(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.integers(0, 3, (2, 6))
    k = int(generator.integers(1, 6))
    sizes = [len(set(a[:k]) & set(b[:k])) for a in every_order(first) for b in every_order(second)]
    expected = np.bincount(sizes, minlength=k + 1) / len(sizes)
    np.testing.assert_allclose(overlap_distribution(first, second, k), expected, atol=1e-12)


@pytest.mark.parametrize("ranking", RANKINGS)
@pytest.mark.parametrize(
    ("first", "second", "k"),
    [
        ([3, -2, 1, 0, 5], [1, 2, -3, 4, -5], 2),
        ([1, 1, 0, -1, 0], [2, -2, 0, 0, 1], 3),
        ([1, 1, 0, 0, 0], [1, 0, 0, 0, 0], 2),
        ([-1, -2, -3, -4], [1, 2, 3, 4], 1),
        ([2, 1, 3], [1, 2, 3], 3),
        ([1], [2], 1),
    ],
)
def test_chance_is_the_mean_over_all_permutations(first, second, k, ranking):
    rows = [list(agreement_of(first, moved, k, ranking).values()) for moved in permutations(second)]
    chance = chance_agreement(first, second, k, ranking)
    assert list(chance) == list(agreement_of(first, second, k, ranking))
    np.testing.assert_allclose(list(chance.values()), np.mean(rows, axis=0), atol=1e-12)


def test_chance_of_the_published_sentence_length():
    """Huang et al. report feature agreement near .3; two random top-k sets of 18 words (k = 3) agree in 1/6."""
    chance = chance_agreement(np.arange(18), np.arange(18))
    assert chance["feature_agreement"] == pytest.approx(3 / 18)
    assert chance["pairwise_rank_agreement"] == 0.5


scores_pairs = st.integers(1, 8).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-3, 3), min_size=n, max_size=n)] * 2, st.integers(1, n))
)


@given(scores_pairs, st.sampled_from(RANKINGS), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_ranges_and_invariances(case, ranking, random):
    first, second, k = np.array(case[0]), np.array(case[1]), case[2]
    values = agreement_of(first, second, k, ranking)
    for name, value in values.items():
        lowest = -1 if name == "spearman" else 0
        assert np.isnan(value) or lowest - 1e-12 <= value <= 1 + 1e-12, name
    order = list(range(len(first)))
    random.shuffle(order)
    same = [
        agreement_of(first[order], second[order], k, ranking),
        agreement_of(first * 0.5, second * 3, k, ranking),
        agreement_of(second, first, k, ranking),
    ]
    for other in same:
        np.testing.assert_allclose(list(other.values()), list(values.values()), atol=1e-12)
    assert values["signed_rank_agreement"] <= values["rank_agreement"] + 1e-12 <= values["feature_agreement"] + 2e-12
    assert values["iou"] <= values["feature_agreement"] + 1e-12


@given(st.permutations([-4, -3, -2, -1, 1, 2, 3]), st.integers(1, 7), st.sampled_from(RANKINGS))
@settings(max_examples=30)
def test_an_explanation_agrees_with_itself(scores, k, ranking):
    if ranking == "absolute":
        scores = [s * 1.1 if s < 0 else s for s in scores]  # no ties by absolute value
    assert list(agreement_of(scores, scores, k, ranking).values()) == pytest.approx([1] * 7)


def test_equals_scipy():
    generator = np.random.default_rng(4)
    first, second = generator.normal(size=(2, 40))
    second += first
    values = agreement_of(first, second)
    assert values["spearman"] == pytest.approx(spearmanr(first, second).statistic)
    assert 2 * values["pairwise_rank_agreement"] - 1 == pytest.approx(kendalltau(first, second).statistic)
    tied = np.round(first)
    assert agreement_of(tied, second)["spearman"] == pytest.approx(spearmanr(tied, second).statistic)


def test_sets_report_no_measure_of_tie_breaking():
    first, second = set_to_scores([0, 1], 6), set_to_scores([1, 2], 6)
    for values in (
        agreement_of(first, second, 2, set_valued=True),
        chance_agreement(first, second, 2, set_valued=True),
    ):
        assert {name for name, value in values.items() if np.isnan(value)} == set(TIE_BREAKING_ONLY)
    assert agreement_of(first, second, 2, set_valued=True)["iou"] == pytest.approx(1 / 3)


def test_undefined_cases():
    one_word = agreement_of([2], [3])
    assert one_word["feature_agreement"] == one_word["iou"] == one_word["sign_agreement"] == 1
    assert np.isnan(one_word["spearman"]) and np.isnan(one_word["pairwise_rank_agreement"])
    constant = agreement_of([1, 1, 1, 1], [4, 3, 2, 1], k=2)
    assert np.isnan(constant["spearman"])
    assert constant["pairwise_rank_agreement"] == constant["feature_agreement"] == 0.5
    assert np.isnan(chance_agreement([1, 1, 1, 1], [4, 3, 2, 1])["spearman"])
    assert np.isnan(pairwise_rank_agreement([1], [1]))


def test_a_long_constant_explanation_has_the_hypergeometric_jaccard():
    second = np.arange(600.0)
    assert top_k_jaccard(np.zeros(600), second, 120) == pytest.approx(chance_agreement(second, second)["iou"])


@pytest.mark.parametrize(
    "call",
    [
        lambda: agreement_of([1, 2], [1, 2, 3]),
        lambda: agreement_of([1, np.nan], [1, 2]),
        lambda: agreement_of([1, 2], [1, 2], k=0),
        lambda: agreement_of([1, 2], [1, 2], k=3),
        lambda: agreement_of([1, 2], [1, 2], ranking="abs"),
        lambda: chance_agreement([1, 2], [1, 2], ranking="abs"),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(StudyError):
        call()

"""Plausibility, against hand-computed cases, every tie order, scikit-learn, scipy and simulation."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import (
    auc,
    average_precision_score,
    cohen_kappa_score,
    f1_score,
    jaccard_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from rationales.errors import StudyError
from rationales.metrics.plausibility import (
    annotator_against_others,
    auprc_trapezoid,
    average_precision,
    average_precision_blocks,
    chance_plausibility,
    eraser_iou_f1,
    eraser_span_counts,
    expected_counts,
    kappa_of_counts,
    mask_to_spans,
    plausibility_of,
    pooled_eraser_iou_f1,
    pooled_f1,
    pooled_kappa,
    rank_biased_overlap,
)

SETS = ("precision", "recall", "f1", "iou", "kappa")


def every_order(scores):
    n = len(scores)
    return [o for o in permutations(range(n)) if all(scores[a] >= scores[b] for a, b in pairwise(o))]


def descending_scores(order):
    scores = np.empty(len(order))
    scores[list(order)] = np.arange(len(order), 0, -1)
    return scores


def sklearn_set_measures(order, gold, k):
    chosen = np.isin(np.arange(len(order)), order[:k])
    return [
        precision_score(gold, chosen),
        recall_score(gold, chosen),
        f1_score(gold, chosen),
        jaccard_score(gold, chosen),
        cohen_kappa_score(gold, chosen, labels=[False, True]),
    ]


def rbo_of_lists(first, second, p):
    """Extrapolated rank-biased overlap of two full orders, from the definition."""
    n = len(first)
    shares = [len(set(first[:d]) & set(second[:d])) / d for d in range(1, n + 1)]
    return shares[-1] * p**n + (1 - p) / p * sum(share * p**d for d, share in enumerate(shares, start=1))


def test_three_words_by_hand():
    values = plausibility_of([0.9, 0.5, 0.1], [True, False, True], [3, 0, 1], k=2)
    assert values["precision"] == values["recall"] == values["f1"] == 0.5
    assert values["iou"] == pytest.approx(1 / 3)
    # Observed agreement 1/3; by chance 2/3 * 2/3 + 1/3 * 1/3 = 5/9; (3/9 - 5/9) / (4/9).
    assert values["kappa"] == pytest.approx(-0.5)
    assert values["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["auroc"] == 0.5
    # (0, 1), (.5, 1), (.5, .5), (1, 2/3)
    assert values["auprc_trapezoid"] == pytest.approx(0.5 + 0.5 * (0.5 + 2 / 3) / 2)
    assert values["spearman"] == pytest.approx(0.5)
    # Shares 1, 1/2, 1 at p = .9.
    assert values["rank_biased_overlap"] == pytest.approx(0.729 + (0.9 + 0.5 * 0.81 + 0.729) / 9)
    assert values["tie_rate"] == 0


def test_three_words_with_a_tie_by_hand():
    values = plausibility_of([1, 1, 0], [True, False, False], None, k=1)
    assert values["precision"] == values["recall"] == values["f1"] == values["iou"] == 0.5
    assert values["kappa"] == pytest.approx((1 - 0.5) / 2)  # the two orders give 1 and -1/2
    assert values["average_precision"] == pytest.approx((1 + 0.5) / 2)
    assert values["average_precision_blocks"] == 0.5
    assert values["auroc"] == 0.75
    assert values["tie_rate"] == 1
    assert np.isnan(values["rank_biased_overlap"]) and np.isnan(values["spearman"])


@pytest.mark.parametrize("seed", range(12))
def test_ties_are_the_mean_over_all_tie_orders(seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 3, 6)
    gold = np.zeros(6, dtype=bool)
    gold[generator.choice(6, generator.integers(1, 5), replace=False)] = True
    graded = generator.integers(0, 3, 6) + gold
    k = int(generator.integers(1, 6))
    values = plausibility_of(scores, gold, graded, k)
    tied_orders = every_order(scores)
    expected = np.mean([sklearn_set_measures(order, gold, k) for order in tied_orders], axis=0)
    np.testing.assert_allclose([values[name] for name in SETS], expected, atol=1e-12)
    precisions = [average_precision_score(gold, descending_scores(order)) for order in tied_orders]
    assert values["average_precision"] == pytest.approx(np.mean(precisions))
    areas = [roc_auc_score(gold, descending_scores(order)) for order in tied_orders]
    assert values["auroc"] == pytest.approx(np.mean(areas))
    overlaps = [rbo_of_lists(a, b, 0.9) for a in tied_orders for b in every_order(graded)]
    assert values["rank_biased_overlap"] == pytest.approx(np.mean(overlaps))


@pytest.mark.parametrize("n_levels", [3, 10**6])
@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn_and_scipy(seed, n_levels):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(10, 200))
    scores, graded = generator.integers(-n_levels, n_levels, n) / n_levels, generator.integers(0, 4, n)
    gold = graded > 2
    values = plausibility_of(scores, gold, graded, k=5)
    precision, recall, _ = precision_recall_curve(gold, scores)
    assert values["average_precision_blocks"] == pytest.approx(average_precision_score(gold, scores))
    assert values["auroc"] == pytest.approx(roc_auc_score(gold, scores))
    assert values["auprc_trapezoid"] == pytest.approx(auc(recall, precision))
    assert values["spearman"] == pytest.approx(spearmanr(scores, graded).statistic)
    if n_levels > 10:
        assert values["average_precision"] == pytest.approx(average_precision_score(gold, scores))
        order = np.argsort(-scores)
        assert [values[name] for name in SETS] == pytest.approx(sklearn_set_measures(order, gold, 5))


def test_published_example_of_what_ties_do():
    """30 words, 5 of them gold: what a tie-blind area gives to explanations that say next to nothing."""
    gold = np.arange(30) < 5
    constant, correct, wrong = np.zeros(30), np.arange(30) == 0, np.arange(30) == 29
    trapezoid = [auprc_trapezoid(scores, gold) for scores in (constant, correct, wrong)]
    blocks = [average_precision_blocks(scores, gold) for scores in (constant, correct, wrong)]
    np.testing.assert_allclose(trapezoid, [0.583, 0.667, 0.083], atol=5e-4)
    np.testing.assert_allclose(blocks, [0.167, 0.333, 0.167], atol=5e-4)
    generator = np.random.default_rng(0)
    random = generator.random((4000, 30))
    chance = chance_plausibility(30, 5, 5)
    simulated = np.mean([average_precision(row, gold) for row in random])
    assert simulated == pytest.approx(0.254, abs=0.006)  # the published mean of 3,000 draws
    assert simulated == pytest.approx(chance["average_precision"], abs=0.006)
    assert chance["auprc_trapezoid"] == pytest.approx(0.210, abs=5e-4)
    assert np.mean([auprc_trapezoid(row, gold) for row in random]) == pytest.approx(0.210, abs=0.006)
    # The expectation over tie orders gives a constant explanation exactly what a random one gets.
    assert average_precision(constant, gold) == pytest.approx(chance["average_precision"])
    assert average_precision(wrong, gold) < average_precision(constant, gold) < average_precision(correct, gold)


@st.composite
def marked_scores(draw, min_gold=1):
    n = draw(st.integers(1, 12))
    scores = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    gold = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda mask: sum(mask) >= min_gold))
    return np.array(scores), np.array(gold), draw(st.integers(1, n))


@given(marked_scores(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_ranges_and_invariances(case, random):
    scores, gold, k = case
    graded = np.abs(scores) * gold + gold
    values = plausibility_of(scores, gold, graded, k)
    for name, value in values.items():
        lowest = -1 if name in ("kappa", "spearman") else 0
        assert np.isnan(value) or lowest - 1e-9 <= value <= 1 + 1e-9, name
    order = list(range(len(scores)))
    random.shuffle(order)
    moved = plausibility_of(scores[order], gold[order], graded[order], k)
    scaled = plausibility_of(scores * 0.25 + 7, gold, graded * 2, k)
    for other in (moved, scaled):
        np.testing.assert_allclose(list(other.values()), list(values.values()), atol=1e-12)


@given(marked_scores())
@settings(max_examples=60)
def test_a_perfect_explanation_scores_one(case):
    _, gold, _ = case
    graded = np.where(gold, np.arange(gold.size) + 1.0, -np.arange(gold.size))  # all different, gold on top
    values = plausibility_of(graded, gold, graded, k=int(gold.sum()))
    undefined = {"auroc", "kappa"} if gold.all() else set()
    undefined |= {"spearman"} if gold.size == 1 else set()
    for name, value in values.items():
        if name in undefined:
            assert np.isnan(value), name
        else:
            assert value == pytest.approx(0 if name == "tie_rate" else 1), name


@given(st.integers(1, 12), st.data())
@settings(max_examples=60)
def test_a_constant_explanation_scores_chance(n_words, data):
    gold = np.arange(n_words) < data.draw(st.integers(1, n_words))
    k = data.draw(st.integers(1, n_words))
    chance = chance_plausibility(n_words, int(gold.sum()), k)
    values = plausibility_of(np.full(n_words, 0.3), gold, gold + 0.0, k)
    for name in (*SETS, "average_precision", "auroc", "rank_biased_overlap"):
        assert values[name] == pytest.approx(chance[name], abs=1e-12, nan_ok=True), name
    assert np.isnan(values["spearman"])
    assert set(values) == set(chance) | {"tie_rate"}


@pytest.mark.parametrize(("n_words", "n_gold", "k"), [(7, 3, 2), (5, 4, 3), (6, 1, 5), (5, 5, 2), (6, 2, 6)])
def test_chance_is_the_mean_over_all_orders(n_words, n_gold, k):
    gold = np.arange(n_words) < n_gold
    graded = np.arange(n_words, 0, -1.0)
    rows = [plausibility_of(descending_scores(o), gold, graded, k) for o in permutations(range(n_words))]
    for name, value in chance_plausibility(n_words, n_gold, k).items():
        assert value == pytest.approx(np.mean([row[name] for row in rows]), abs=1e-12, nan_ok=True), name


def test_chance_of_a_long_text_by_simulation():
    n_words, n_gold, k = 945, 180, 190  # a news article: the binomial coefficients exceed the range of floats
    gold = np.arange(n_words) < n_gold
    graded = np.where(gold, np.arange(n_words) + 1.0, 0.0)
    generator = np.random.default_rng(5)
    rows = [plausibility_of(generator.random(n_words), gold, graded, k) for _ in range(200)]
    for name, value in chance_plausibility(n_words, n_gold, k).items():
        simulated = np.array([row[name] for row in rows])
        assert abs(simulated.mean() - value) < 4 * simulated.std() / np.sqrt(200), name


def test_undefined_cases():
    empty = plausibility_of([1, 2, 3], [False] * 3, [0, 0, 0], k=1)
    assert all(np.isnan(value) for name, value in empty.items() if name != "tie_rate")
    everything = plausibility_of([1, 2, 3], [True] * 3, [1, 1, 1], k=3)
    assert np.isnan(everything["kappa"]) and np.isnan(everything["auroc"]) and np.isnan(everything["spearman"])
    assert everything["f1"] == everything["average_precision"] == 1
    assert plausibility_of([1, 2, 3], [True] * 3, None, k=2)["kappa"] == 0
    nothing_selected = plausibility_of([1, 2, 3], [True, False, False], None, k=0)
    assert np.isnan(nothing_selected["precision"])
    assert nothing_selected["recall"] == nothing_selected["f1"] == nothing_selected["iou"] == 0
    assert nothing_selected["kappa"] == 0


def test_chance_of_an_empty_rationale_is_undefined():
    chance = chance_plausibility(4, 0, 2)
    assert all(np.isnan(value) for value in chance.values())


def test_expected_counts_add_up():
    counts = expected_counts([2, 1, 1, 1, 0], [True, True, False, False, False], k=2)
    np.testing.assert_allclose(counts, [4 / 3, 2 / 3, 2 / 3, 7 / 3])
    assert counts.sum() == pytest.approx(5)


def test_pooling_equals_scikit_learn_over_all_words():
    generator = np.random.default_rng(2)
    golds = [generator.random(n) < 0.3 for n in (4, 9, 30)]
    chosen = [generator.random(gold.size) < 0.4 for gold in golds]
    counts = [expected_counts(mask, gold, int(mask.sum())) for mask, gold in zip(chosen, golds, strict=True)]
    flat_gold, flat_chosen = np.concatenate(golds), np.concatenate(chosen)
    assert pooled_kappa(counts) == pytest.approx(cohen_kappa_score(flat_gold, flat_chosen))
    assert pooled_f1(counts) == pytest.approx(f1_score(flat_gold, flat_chosen))
    by_example = [cohen_kappa_score(g, c, labels=[False, True]) for g, c in zip(golds, chosen, strict=True)]
    np.testing.assert_allclose(kappa_of_counts(counts), by_example)
    assert np.isnan(pooled_f1([[0, 0, 0, 5]])) and np.isnan(pooled_kappa([[0, 0, 0, 5], [0, 0, 0, 2]]))
    assert kappa_of_counts([0, 3, 3, 0]) == -1
    assert kappa_of_counts([0, 4, 0, 0]) == 0  # one mask marks everything, the other nothing


def test_rank_biased_overlap_of_a_long_text_loses_nothing():
    generator = np.random.default_rng(8)
    first, second = generator.random(1200), generator.random(1200)
    expected = rbo_of_lists(np.argsort(-first).tolist(), np.argsort(-second).tolist(), 0.9)
    assert rank_biased_overlap(first, second) == pytest.approx(expected, rel=1e-12)


def test_human_ceiling():
    masks = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    results = annotator_against_others(masks, threshold=0.5)
    # Others of the first: marks 2, 1, 1, 0 of 3; at least half is {0}.
    assert results[0]["precision"] == 0.5 and results[0]["recall"] == 1
    assert results[0]["f1"] == pytest.approx(2 / 3) and results[0]["iou"] == 0.5
    assert results[0]["kappa"] == pytest.approx(cohen_kappa_score([1, 1, 0, 0], [1, 0, 0, 0]))
    # Others of the last: marks 3, 2, 1, 0 of 3; at least half is {0, 1}. An empty mask is an empty explanation.
    assert results[3]["f1"] == results[3]["iou"] == results[3]["kappa"] == 0 and np.isnan(results[3]["precision"])
    # Two annotators: one mark of one is a majority.
    assert [r["f1"] for r in annotator_against_others(masks[:2])] == pytest.approx([2 / 3, 2 / 3])
    alone = annotator_against_others(masks[:1])
    assert len(alone) == 1 and all(np.isnan(value) for value in alone[0].values())
    nobody = annotator_against_others([[True, False], [False, False]])
    assert np.isnan(nobody[0]["f1"]) and nobody[1]["f1"] == 0


def test_spans():
    assert mask_to_spans([1, 1, 0, 1, 0, 0, 1]) == [(0, 2), (3, 4), (6, 7)]
    assert mask_to_spans([0, 0]) == []


def mask(n, *spans):
    values = np.zeros(n, dtype=bool)
    for start, end in spans:
        values[start:end] = True
    return values


def test_eraser_span_measure():
    gold = mask(12, (0, 4), (6, 8))
    assert eraser_iou_f1(gold, gold) == 1
    # [1, 4) has IoU 3/4; [8, 10) misses. One hit of two predictions and two gold spans.
    assert eraser_span_counts(mask(12, (1, 4), (8, 10)), gold) == (1, 2, 2)
    assert eraser_iou_f1(mask(12, (1, 4), (8, 10)), gold) == 0.5
    assert eraser_iou_f1(mask(12, (1, 4), (8, 10)), gold, threshold=0.8) == 0
    # [0, 2) is exactly half of [0, 4): at least, not more than, the threshold.
    assert eraser_span_counts(mask(12, (0, 2)), gold) == (1, 1, 2)
    assert eraser_iou_f1(mask(12), gold) == 0
    assert np.isnan(eraser_iou_f1(gold, mask(12)))


def test_eraser_span_measure_can_exceed_one():
    # Below .5, two predicted spans hit the one gold span: precision 1, recall 2, F1 4/3.
    assert eraser_iou_f1(mask(5, (0, 2), (3, 5)), mask(5, (0, 5)), threshold=0.4) == pytest.approx(4 / 3)


def test_eraser_macro_leaves_out_examples_without_predictions_on_the_precision_side():
    pooled = pooled_eraser_iou_f1([(1, 2, 1), (0, 0, 3)])
    assert pooled["micro"] == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    assert pooled["macro"] == pytest.approx(2 * 0.5 * 0.5 / 1.0)  # precision 1/2; recall (1 + 0) / 2
    assert pooled_eraser_iou_f1([(0, 0, 3)]) == {"micro": 0, "macro": 0}


@pytest.mark.parametrize(
    "call",
    [
        lambda: plausibility_of([1, 2], [True], None, 1),
        lambda: plausibility_of([1, 2], [True, False], [1], 1),
        lambda: plausibility_of([1, 2], [0.5, 1], None, 1),
        lambda: plausibility_of([1, np.nan], [True, False], None, 1),
        lambda: plausibility_of([1, 2], [True, False], None, 3),
        lambda: rank_biased_overlap([1, 2], [1, 0], persistence=1),
        lambda: chance_plausibility(3, 4, 1),
        lambda: chance_plausibility(3, 1, 1, persistence=0),
        lambda: chance_plausibility(0, 0, 0),
        lambda: annotator_against_others([True, False]),
        lambda: annotator_against_others([[2, 0], [0, 1]]),
        lambda: eraser_iou_f1([True], [True, False]),
        lambda: eraser_iou_f1([True], [True], threshold=0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(StudyError):
        call()

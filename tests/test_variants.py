"""Published variants against hand-computed cases, loops that follow the published procedure, and their claimed ranges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau, rankdata
from sklearn.metrics import auc, precision_recall_curve

from rationales.errors import StudyError
from rationales.metrics import faithfulness as f
from rationales.metrics import variants_agreement as va
from rationales.metrics import variants_faithfulness as vf
from rationales.metrics import variants_huang as vh
from rationales.metrics import variants_plausibility as vp
from rationales.metrics.agreement import agreement_of
from rationales.metrics.selection import orders
from rationales.metrics.variants import VARIANTS, compute_variant, tabulate_variants


def make_curves(probability, scores, target=0, max_full_curve=100, extra=()):
    """Curves of a two-label model whose p(label 0) is `probability(keep mask)`."""
    n = len(scores)
    ks = f.curve_ks(n, f.ERASER_FRACTIONS, max_full_curve, extra)
    without, only = f.plan_masks(orders(np.asarray(scores, float), 50, np.random.default_rng(0)), ks)

    def answer(masks):
        p = np.apply_along_axis(lambda keep: probability(keep), -1, np.asarray(masks, dtype=bool))
        return np.log(np.stack([p, 1 - p], axis=-1))

    single = answer(~np.eye(n, dtype=bool))
    return f.Curves(ks, answer(without), answer(only), single, answer(np.ones(n)), answer(np.zeros(n)), target)


TABLE = {"abc": 0.9, "bc": 0.3, "ac": 0.6, "ab": 0.8, "a": 0.7, "b": 0.35, "c": 0.2, "": 0.4}


def table_model(keep):
    return TABLE["".join(word for word, kept in zip("abc", keep, strict=True) if kept)]


@pytest.fixture
def hand():
    """Order a, b, c: without 0..3 = .9 .3 .2 .4; only 0..3 = .4 .7 .8 .9; single = .3 .6 .8."""
    return make_curves(table_model, [3.0, 2.0, 1.0])


approx = pytest.approx


def test_eraser_by_hand(hand):
    # Three words: the five bins have k = 1, 1, 1, 1, 2 (50 % of 3 is 1.5, rounded up).
    assert vf.eraser_aopc_comprehensiveness(hand) == approx((4 * 0.6 + 0.7) / 5)
    assert vf.eraser_paper_aopc_comprehensiveness(hand) == approx((4 * 0.6 + 0.7) / 6)
    assert vf.eraser_aopc_sufficiency(hand) == approx((4 * 0.2 + 0.1) / 5)
    assert vf.eraser_paper_aopc_sufficiency(hand) == approx((0.5 + 4 * 0.2 + 0.1) / 6)


def test_ferret_by_hand(hand):
    # int(t 3) for t = .1 ... 1: 0 0 0 1 1 1 2 2 2 3; all positive, so the sets of 1, 2 and 3 words count once each.
    assert vf.ferret_sizes([3, 2, 1]).tolist() == [1, 2, 3]
    assert vf.ferret_aopc_comprehensiveness(hand, [3, 2, 1]) == approx((0.6 + 0.7 + 0.5) / 3)
    assert vf.ferret_aopc_sufficiency(hand, [3, 2, 1]) == approx((0.2 + 0.1 + 0.0) / 3)
    assert vf.ferret_sizes([3, 2, -1]).tolist() == [1, 2]
    assert vf.ferret_aopc_comprehensiveness(hand, [3, 2, -1]) == approx((0.6 + 0.7) / 2)
    assert (
        vf.ferret_aopc_comprehensiveness(hand, [0, -2, -1]) == 0 and vf.ferret_aopc_sufficiency(hand, [0, -2, -1]) == 1
    )
    assert vf.ferret_sizes(np.arange(1, 11)).tolist() == list(range(1, 11))  # not 2 for .3 * 10 = 2.9999999999999996
    assert vf.ferret_tau_leave_one_out(hand, [3, 2, 1]) == approx(kendalltau([3, 2, 1], [0.6, 0.3, 0.1]).statistic)
    assert np.isnan(vf.ferret_tau_leave_one_out(hand, [1, 1, 1]))


def test_carton_by_hand(hand):
    assert vf.carton_sufficiency(hand, 1) == approx(0.8)  # 1 - (.9 - .7)
    assert vf.carton_comprehensiveness(hand, 1) == approx(0.6)
    assert vf.carton_normalised_sufficiency(hand, 1) == approx((0.8 - 0.5) / 0.5)  # without words: 1 - (.9 - .4) = .5
    assert vf.carton_normalised_sufficiency(hand, 1) == approx(1 - f.normalise(hand, f.sufficiency(hand, 1)))
    assert vf.carton_normalised_comprehensiveness(hand, 1) == 1  # .6 / .5, cut off
    rising = make_curves(lambda keep: 0.2 + 0.2 * (~keep).sum(), [1.0, 2.0])  # removing words helps the label
    assert vf.carton_sufficiency(rising, 1) == 1 and vf.carton_comprehensiveness(rising, 1) == 0
    assert vf.carton_normalised_sufficiency(rising, 1) == vf.carton_normalised_comprehensiveness(rising, 1) == 0


def test_edin_and_interpreto_by_hand(hand):
    assert vf.edin_aopc_comprehensiveness(hand) == approx((0.6 + 0.7 + 0.5) / 3)
    assert vf.edin_aopc_comprehensiveness(hand) == approx(4 / 3 * f.aopc_over_all(hand, "comprehensiveness"))
    assert vf.edin_aopc_sufficiency(hand) == approx((0.1 + 0.2 + 0.5) / 3)  # without c; without b, c; without all
    assert vf.interpreto_deletion(hand) == approx(((0.9 + 0.3) / 2 + (0.3 + 0.2) / 2 + (0.2 + 0.4) / 2) / 3)


def test_fayyaz_and_brandl_by_hand(hand):
    assert [vf.fayyaz_flip_rate(hand, k) for k in range(4)] == [0, 1, 1, 1]
    assert vf.brandl_masked_probability(hand, 2) == approx(0.2)
    assert vf.brandl_probability_difference(hand, 2) == approx(0.2 - 0.8)
    other = make_curves(table_model, [3.0, 2.0, 1.0], target=1)
    assert vf.brandl_probability_difference(other, 2) == approx(0.8 - 0.2)


def huang_loop(p_positive, order, released):
    """Comprehensiveness word by word, as the text of the paper and the flow of the released code have it.

    p_positive(kept words) is what the model says of a text that is not empty.
    """
    kept = list(range(len(order)))
    label = int(p_positive(kept) > 0.5)
    confidence = p_positive(kept) if label else 1 - p_positive(kept)
    reference, total = (confidence if released else p_positive(kept)), 0.0
    for word in order:
        kept.remove(word)
        if not kept:
            total += reference - 0.5
            continue
        if released and label == 0:
            reference = 1 - reference
        total += reference - p_positive(kept)
    return total / (len(order) + 1)


@pytest.mark.parametrize("n_words", [1, 2, 3, 4, 5])
def test_huang_comprehensiveness_follows_the_loop_with_and_without_its_defect(n_words):
    generator, differing = np.random.default_rng(n_words), 0
    for _ in range(20):
        table = generator.uniform(0.01, 0.99, 2**n_words)  # P(negative)
        scores = generator.normal(size=n_words)

        def positive(kept, table=table):
            return 1 - table[sum(1 << word for word in kept)]

        def negative(keep, table=table):
            return table[keep.astype(int) @ (1 << np.arange(keep.size))]

        curves = make_curves(negative, scores)
        order = np.argsort(-scores)
        paper, released = vh.huang_comprehensiveness(curves), vh.huang_comprehensiveness_released(curves)
        assert paper == approx(huang_loop(positive, order, released=False))
        assert released == approx(huang_loop(positive, order, released=True))
        differing += abs(paper - released) > 1e-9
        assert abs(paper - released) < 1e-9 or positive(range(n_words)) <= 0.5  # only texts labelled 0 are hurt
    assert (differing > 0) == (n_words != 2)  # the first step is right, and the empty text keeps its reference


def test_huang_by_hand(hand):
    # P(positive) = 1 - p: full .1; without a .7, a b .8, all .5 by assumption; only a .3, a b .2, all .1.
    assert vh.huang_comprehensiveness(hand) == approx((-0.6 - 0.7 - 0.4) / 4)
    # Released, label 0 with confidence .9: references .1, .9, and .9 for the empty text.
    assert vh.huang_comprehensiveness_released(hand) == approx(((0.1 - 0.7) + (0.9 - 0.8) + (0.9 - 0.5)) / 4)
    assert vh.huang_sufficiency(hand) == approx((0.4 + 0.2 + 0.1 + 0) / 4)
    assert vh.huang_comprehensiveness_at_k(hand, 1) == approx(-0.6)
    assert vh.huang_sufficiency_at_k(hand, 2) == approx(0.1)
    assert vh.huang_dfmit(hand) == 1 and vh.huang_dffrac(hand) == approx(1 / 4)
    never = make_curves(lambda keep: 0.9, [1.0, 2.0])
    assert vh.huang_dffrac(never) == 1 and vh.huang_dfmit(never) == 0
    assert vh.huang_scores([1, -2], target=0).tolist() == [-1, 2] and vh.huang_scores([1, -2], 1).tolist() == [1, -2]


def test_huang_rank_correlation_and_its_three_forms(hand):
    generator = np.random.default_rng(0)
    # Drops of P(positive): .1 - .7, .1 - .4, .1 - .2: scores that rise with them agree fully.
    assert vh.huang_rank_correlation(hand, [-3, -2, -1], generator) == approx(1)
    assert vh.huang_rank_correlation_without_jitter(hand, [-3, -2, -1]) == approx(1)
    # Confidences: .9 - .7, .9 - .6, .9 - .8: the flip by the first word is hidden.
    assert vh.huang_rank_correlation(hand, [2, 3, 1], generator, "confidence") == approx(1)
    released = [vh.huang_rank_correlation(hand, [-3, -2, -1], generator, "released") for _ in range(2000)]
    assert abs(np.mean(released)) < 4 / np.sqrt(2 * 2000)  # 0 by construction, for the perfect explanation
    with pytest.raises(StudyError, match="form"):
        vh.huang_rank_correlation(hand, [1, 2, 3], generator, "other")


def test_three_labels_are_refused_by_huang_only():
    log_probs = np.log(np.array([0.5, 0.3, 0.2]))
    row = np.tile(log_probs, (1, 3, 1))
    curves = f.Curves(np.arange(3), row, row, None, log_probs, log_probs, 0)
    assert vf.brandl_probability_difference(curves, 1) == approx(0.2)
    with pytest.raises(StudyError, match="two labels"):
        vh.huang_comprehensiveness(curves)


def test_a_grid_is_refused_where_the_whole_curve_is_needed():
    curves = make_curves(lambda keep: 0.4 + 0.01 * keep.sum(), np.arange(30.0), max_full_curve=5)
    assert not curves.is_full
    for function in (vf.edin_aopc_comprehensiveness, vf.interpreto_deletion, vh.huang_sufficiency):
        with pytest.raises(StudyError, match="every size"):
            function(curves)


# ---- plausibility


def test_ferret_plausibility_by_hand():
    scores = [0.9, -0.5, 0.3, 0, 0.2, 0.8, 0.1, 0.05]
    gold = [1, 1, 0, 0, 0, 1, 0, 0]
    # Top five positive: words 0, 5, 2, 4, 6; two of three gold words.
    assert vp.ferret_token_f1(scores, gold) == approx(2 * 2 / (5 + 3))
    assert vp.ferret_token_iou(scores, gold) == approx(2 / 6)
    precision, recall, _ = precision_recall_curve(gold, np.maximum(scores, 0))
    assert vp.ferret_auprc(scores, gold) == approx(auc(recall, precision))
    assert vp.ferret_auprc(scores, gold) != approx(vp.eraser_auprc(scores, gold))
    assert vp.ferret_token_f1([-1, 0], [1, 0]) == vp.ferret_token_iou([-1, 0], [1, 0]) == 0


def test_published_example_of_what_ties_do():
    gold = [True] * 5 + [False] * 25
    assert vp.eraser_auprc(np.zeros(30), gold) == approx(0.583, abs=5e-4)
    assert vp.scikit_learn_average_precision(np.zeros(30), gold) == approx(1 / 6)


def test_span_measure_leaves_out_what_ties_decide():
    assert vp.eraser_iou_f1_at_human_length([3, 2, 1, 0], [1, 1, 0, 0]) == 1
    assert vp.eraser_iou_f1_at_human_length([3, 1, 1, 1], [1, 1, 0, 0]) == 1  # only the first is certain: IoU .5 hits
    assert vp.eraser_iou_f1_at_human_length([1, 1, 1, 1], [1, 1, 0, 0]) == 0


# ---- agreement


def test_openxai_by_hand():
    first, second = [3.0, -2.0, 1.0, 0.0], [3.0, 1.0, -2.0, 0.0]
    assert va.openxai_feature_agreement(first, second, 2) == 0.5
    assert va.openxai_rank_agreement(first, second, 2) == 0.5
    assert va.openxai_sign_agreement(first, second, 3) == approx(1 / 3)  # words 1 and 2 differ in sign
    assert va.openxai_signed_rank_agreement(first, second, 4) == 0.5  # words 0 and 3; zeros agree
    ranks = [rankdata(-np.abs(scores), "dense") for scores in (first, second)]
    assert va.openxai_rank_correlation(first, second) == approx(np.corrcoef(ranks)[0, 1])
    assert va.openxai_pairwise_rank_agreement(first, second) == approx(5 / 6)


def test_openxai_departs_from_ours_where_it_is_said_to():
    zeros = [2.0, 0.0, 1.0]
    assert va.openxai_sign_agreement(zeros, zeros, 3) == 1
    assert agreement_of(zeros, zeros, 3, "absolute")["sign_agreement"] == approx(2 / 3)
    tied, other = [1.0, 1.0, 2.0], [1.0, 2.0, 3.0]
    forward = va.openxai_pairwise_rank_agreement(tied, other)
    backward = va.openxai_pairwise_rank_agreement(tied[::-1], other[::-1])
    assert forward != backward  # the order in which words are listed decides
    assert (
        agreement_of(tied, other)["pairwise_rank_agreement"]
        == agreement_of(tied[::-1], other[::-1])["pairwise_rank_agreement"]
    )


without_ties = st.integers(2, 7).flatmap(
    lambda n: st.tuples(st.permutations(range(1, n + 1)), st.permutations(range(1, n + 1)), st.integers(1, n))
)


@settings(max_examples=60, deadline=None)
@given(without_ties, st.randoms(use_true_random=False))
def test_without_ties_openxai_is_ours_with_absolute_ranking(case, random):
    first, second = (np.array([value * random.choice([-1, 1]) for value in part], float) for part in case[:2])
    ours = agreement_of(first, second, case[2], "absolute")
    for entry in VARIANTS.values():
        if entry.family == "agreement":
            value = compute_variant(entry.name, first=first, second=second, k=case[2])
            assert value == approx(ours[entry.ours], abs=1e-9)


# ---- all of them

lattices = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0.001, 0.999), min_size=2**n, max_size=2**n),
        arrays(float, n, elements=st.integers(-2, 2).map(float)),
        arrays(float, n, elements=st.integers(-2, 2).map(float)),
        arrays(bool, n),
        st.integers(1, n),
        st.integers(0, 1),
    )
)


@settings(max_examples=80, deadline=None)
@given(lattices)
def test_every_variant_stays_in_its_range(case):
    probs, scores, second, gold, k, target = case
    curves = make_curves(
        lambda keep: probs[int(keep.astype(int) @ (1 << np.arange(keep.size)))],
        scores,
        target,
        extra=vf.ferret_sizes(scores),
    )
    given = {"curves": curves, "scores": scores, "k": k, "gold": gold, "first": scores, "second": second}
    for name, entry in VARIANTS.items():
        value = compute_variant(name, **given)
        assert np.isnan(value) or entry.low - 1e-9 <= value <= entry.high + 1e-9, name
        if entry.family == "plausibility":
            assert np.isnan(value) == (not gold.any()), name


def test_the_table_lists_every_variant_once_with_its_facts():
    table = tabulate_variants()
    assert table["variant"].is_unique and len(table) == len(VARIANTS) > 30
    assert (table[["source", "what differs", "ours"]].map(len) > 1).all().all()
    assert set(table["better"]) == {"higher", "lower"}
    assert set(tabulate_variants("agreement")["family"]) == {"agreement"}
    for row in table.itertuples():
        assert VARIANTS[row.variant].function.__doc__.startswith("Return ")
    with pytest.raises(StudyError, match="family"):
        tabulate_variants("speed")
    with pytest.raises(StudyError, match="openxai_rank_agreement"):
        compute_variant("openxai_rank_agrement")
    with pytest.raises(StudyError, match="needs `k`"):
        compute_variant("openxai_rank_agreement", first=[1], second=[1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: va.openxai_feature_agreement([1, 2], [1], 1),
        lambda: va.openxai_feature_agreement([1, 2], [1, 2], 3),
        lambda: vp.ferret_token_f1([1, 2], [1]),
        lambda: vf.ferret_sizes([np.nan]),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(StudyError):
        call()

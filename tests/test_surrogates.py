"""Surrogates against brute force, closed forms, captum's own classes and games whose answer is known."""

from itertools import permutations

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, KernelShap, ShapleyValues
from hypothesis import given, settings
from hypothesis import strategies as st

from benches import BUILDERS, KINDS, bench_of
from rationales.errors import StudyError
from rationales.explainers.registry import explain
from rationales.explainers.shapley import shapley_values
from rationales.explainers.slalom import draw_slalom_masks, fit_slalom, slalom_output
from rationales.explainers.surrogates import all_masks, draw_lime_masks, draw_shap_masks, fit_lime, fit_shap
from rationales.subjects.engine import OPERATORS, Engine, Request
from tiny_models import random_causal, random_encoder


def answer_of(bench, operator="delete", number=0):
    """The target's log-probability as a function of float masks (rows, words), one text at a time."""
    example, target = bench.examples[number], bench.targets[number]
    engine = Engine(bench.engine.subject, vocabulary=bench.engine.vocabulary)

    def forward(masks: torch.Tensor) -> torch.Tensor:
        rows = [engine.answer([Request(example, row[None].numpy() > 0.5, operator)])[0][0, target] for row in masks]
        return torch.tensor(np.array(rows, dtype=float))

    return forward, torch.ones(1, len(example.words))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_occlusion_is_captums_feature_ablation(build, operator):
    bench = bench_of(build, 1, vocabulary={"en": {"a": 3, "film": 2, "dull": 1}, "da": {"en": 3, "film": 2}})
    forward, intact = answer_of(bench, operator)
    expected = FeatureAblation(forward).attribute(intact)[0].numpy()
    np.testing.assert_allclose(explain("occlusion", bench, operator=operator)[0].scores, expected, atol=1e-4)


def test_contrastive_occlusion_is_the_drop_of_the_log_odds():
    bench = bench_of(random_encoder, 2)
    for number, found in enumerate(explain("occlusion", bench, target="contrastive")):
        example, target = bench.examples[number], bench.targets[number]
        n_words = len(example.words)
        masks = np.concatenate([np.ones((1, n_words), bool), ~np.eye(n_words, dtype=bool)])
        answers = Engine(random_encoder()).answer([Request(example, masks)])[0].astype(float)
        odds = answers[:, target] - answers[:, 1 - target]
        np.testing.assert_allclose(found.scores, odds[0] - odds[1:], atol=1e-4)


def test_lime_recovers_a_linear_model():
    weights = np.array([2.0, -1.0, 0.5, 0.0, 3.0])
    masks = draw_lime_masks(np.random.default_rng(1), 5, 400)
    values = masks @ weights + 0.7
    np.testing.assert_allclose(fit_lime(masks, values, kernel_width=10.0, ridge=1e-6), weights, atol=1e-3)


def test_lime_is_the_weighted_ridge_of_its_definition():
    generator = np.random.default_rng(2)
    masks = draw_lime_masks(generator, 6, 60)
    values = generator.standard_normal(60)
    distance = 1 - np.sqrt(masks.mean(1))
    weight = np.exp(-(distance**2) / 0.5**2)
    centred = masks - np.average(masks, axis=0, weights=weight)
    goal = values - np.average(values, weights=weight)
    expected = np.linalg.solve(centred.T @ (weight[:, None] * centred) + np.eye(6), centred.T @ (weight * goal))
    np.testing.assert_allclose(fit_lime(masks, values, 0.5, 1.0), expected, atol=1e-4)


def test_lime_masks_start_intact_and_remove_uniformly_many():
    masks = draw_lime_masks(np.random.default_rng(0), 4, 8001)
    assert masks[0].all()
    removed = (~masks[1:]).sum(1)
    np.testing.assert_allclose(np.bincount(removed, minlength=5)[1:] / 8000, 0.25, atol=0.02)


def by_permutations(values: np.ndarray, n_words: int) -> np.ndarray:
    """Shapley values as the mean marginal effect over all orders."""
    scores = np.zeros(n_words)
    orders = list(permutations(range(n_words)))
    for order in orders:
        coalition = 0
        for word in order:
            scores[word] += values[coalition | 1 << word] - values[coalition]
            coalition |= 1 << word
    return scores / len(orders)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 5), st.integers(0, 10**6))
def test_shapley_values_are_the_mean_over_all_orders(n_words, seed):
    values = np.random.default_rng(seed).standard_normal(2**n_words)
    scores = shapley_values(values)
    np.testing.assert_allclose(scores, by_permutations(values, n_words), atol=1e-10)
    assert scores.sum() == pytest.approx(values[-1] - values[0])


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 7), st.integers(0, 10**6))
def test_kernel_shap_on_all_masks_is_exact(n_words, seed):
    values = np.random.default_rng(seed).standard_normal(2**n_words)
    np.testing.assert_allclose(fit_shap(all_masks(n_words), values, "all"), shapley_values(values), atol=1e-4)


@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_shapley_agrees_with_kernel_shap_at_full_budget_and_with_captum(build):
    bench = bench_of(build, 2, longest=6)
    exact, fitted = explain("shapley", bench), explain("kernel_shap", bench, n_samples=64)
    for number, (one, other) in enumerate(zip(exact, fitted, strict=True)):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
        forward, intact = answer_of(bench, number=number)
        if number == 0:
            expected = ShapleyValues(lambda masks, f=forward: known(f, masks)).attribute(intact)[0].numpy()
            np.testing.assert_allclose(one.scores, expected, atol=1e-4)


def known(forward, masks: torch.Tensor, memory: dict = {}) -> torch.Tensor:  # noqa: B006  (720 orders, 64 masks)
    """The forward function with a memory, for captum asks for each coalition many times."""
    keys = [(id(forward), bytes(row.byte().numpy())) for row in masks]
    for key, row in zip(keys, masks, strict=True):
        if key not in memory:
            memory[key] = forward(row[None])[0]
    return torch.stack([memory[key] for key in keys])


def test_sampled_kernel_shap_comes_near_and_always_adds_up():
    bench = bench_of(random_encoder, 3, longest=9)
    exact = explain("shapley", bench)
    for options in ({"n_samples": 200}, {"n_samples": 200, "share_masks": True, "repeats": 4}):
        for one, other, example, target in zip(
            exact, explain("kernel_shap", bench, **options), bench.examples, bench.targets, strict=True
        ):
            ends = bench.engine.answer([Request(example, all_masks(len(example.words))[[-1, 0]])])[0][:, target]
            assert other.scores.sum() == pytest.approx(float(ends[0]) - float(ends[1]), abs=1e-4)
            assert np.corrcoef(one.scores, other.scores)[0, 1] > 0.9


def test_captums_kernel_shap_estimates_the_same():
    bench = bench_of(random_encoder, 1, longest=6)
    forward, intact = answer_of(bench)
    torch.manual_seed(0)
    theirs = KernelShap(lambda masks: known(forward, masks)).attribute(intact, n_samples=3000)[0].numpy()
    np.testing.assert_allclose(explain("shapley", bench)[0].scores, theirs, atol=0.05 * np.abs(theirs).max())


def test_kernel_shap_masks_come_in_pairs_by_the_kernel():
    masks = draw_shap_masks(np.random.default_rng(0), 16, 20_001)
    assert len(draw_shap_masks(np.random.default_rng(0), 6, 50)) == 50
    assert masks[0].all() and not masks[1].any()
    assert (masks[2:-1:2] == ~masks[3::2]).all()
    sizes = np.bincount(masks[2:].sum(1), minlength=17)[1:16]
    expected = 1 / (np.arange(1, 16) * np.arange(15, 0, -1))
    np.testing.assert_allclose(sizes / sizes.sum(), expected / expected.sum(), atol=0.02)
    assert len(draw_shap_masks(np.random.default_rng(0), 3, 8)) == 8 == len({bytes(m) for m in all_masks(3)})


def test_lime_and_kernel_shap_can_share_their_masks():
    bench = bench_of(random_causal, 2)
    explain("lime", bench, n_samples=40)
    before = bench.engine.counts.computed
    explain("kernel_shap", bench, n_samples=40, share_masks=True)
    assert bench.engine.counts.computed - before <= 2  # the empty texts


def test_a_long_text_has_no_exact_shapley_values():
    bench = bench_of(random_encoder, 1)
    (found,) = explain("shapley", bench, max_words=4)
    assert not found.valid and found.reason == "longer than 4 words"


def test_slalom_output_by_hand():
    masks = np.array([[True, True, False], [False, True, True], [False, False, True]])
    values, importances = np.array([4.0, 1.0, -2.0]), np.log([1.0, 3.0, 2.0])
    expected = [(4 + 3) / 4, (3 - 4) / 5, -2]
    np.testing.assert_allclose(slalom_output(masks, values, importances), expected)


@pytest.mark.parametrize("sampling", ["both", "short", "deletions"])
def test_slalom_recovers_a_model_of_its_own_kind(sampling):
    generator = np.random.default_rng(3)
    values, importances = generator.standard_normal(8), 0.5 * generator.standard_normal(8)
    importances -= importances.mean()
    masks = draw_slalom_masks(generator, 8, 300, sampling, 5)
    found_values, found_importances, explained = fit_slalom(masks, 5 + 3 * slalom_output(masks, values, importances))
    assert explained > 0.995 and found_importances.sum() == pytest.approx(0, abs=1e-9)
    # Deletions alone hear a quiet word too little to tell its value exactly.
    tolerance = 0.1 if sampling != "deletions" else 0.5
    np.testing.assert_allclose((found_values - 5) / 3, values, atol=tolerance)
    np.testing.assert_allclose(found_importances, importances, atol=tolerance)


def test_slalom_scores_are_values_times_exponentiated_importances():
    for found in explain("slalom", bench_of(random_encoder, 2), n_samples=60):
        values, importances = np.array(found.details["values"]), np.array(found.details["importances"])
        np.testing.assert_allclose(found.scores, values * np.exp(importances))
        assert found.details["variance_explained"] <= 1


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 12), st.integers(4, 60), st.sampled_from(["both", "short", "deletions"]), st.integers(1, 6))
def test_slalom_masks_are_never_empty_and_of_the_sizes_asked_for(n_words, n_samples, sampling, size):
    masks = draw_slalom_masks(np.random.default_rng(n_words), n_words, n_samples, sampling, size)
    kept = masks.sum(1)
    assert len(masks) == n_samples and kept.min() >= 1
    n_short = {"both": n_samples // 2, "short": n_samples, "deletions": 0}[sampling]
    if n_words > 1:
        assert (kept[:n_short] <= size).all() and (n_words - kept[n_short:] <= size).all()
        assert n_short == n_samples or masks[n_short].all()


def test_a_constant_answer_has_no_explained_variance():
    masks = draw_slalom_masks(np.random.default_rng(0), 4, 20, "both", 3)
    values, importances, explained = fit_slalom(masks, np.full(20, 0.3))
    np.testing.assert_allclose(values, 0.3, atol=1e-9)
    assert np.isnan(explained) and np.abs(importances).max() < 1e-9


@pytest.mark.parametrize("name", ["lime", "kernel_shap", "slalom"])
def test_repeats_are_averaged_and_give_a_standard_error(name):
    options = {"n_samples": 30}
    bench = bench_of(random_encoder, 1, seed=5)
    (single,) = explain(name, bench, **options)
    (several,) = explain(name, bench, **options, repeats=4)
    (again,) = explain(name, bench_of(random_encoder, 1, seed=5), **options, repeats=4)
    assert "standard_error" not in single.details
    np.testing.assert_allclose(again.scores, several.scores, rtol=1e-3, atol=1e-5)
    errors = np.array(several.details["standard_error"])
    assert errors.shape == single.scores.shape and (errors > 0).all()
    # The first of the four fits is the single one: it lies within what four draws can spread.
    spread = np.abs(single.scores - several.scores)
    assert (spread <= errors * np.sqrt(4 * 3) + 1e-6).all()
    (other_seed,) = explain(name, bench_of(random_encoder, 1, seed=6), **options)
    assert not np.allclose(other_seed.scores, single.scores)


@pytest.mark.parametrize("name", ["lime", "kernel_shap", "slalom"])
def test_draws_differ_as_much_as_the_standard_error_over_repeats_says(name):
    bench, n_draws = bench_of(random_encoder, 1, seed=5), 10
    draws = np.stack([explain(name, bench, n_samples=30, draw=draw)[0].scores for draw in range(n_draws)])
    (repeated,) = explain(name, bench, n_samples=30, repeats=n_draws)
    within_one_call = np.array(repeated.details["standard_error"]) * np.sqrt(n_draws)
    # Both estimate the spread of one fit, from 9 degrees of freedom per word; SLALOM has outliers, so medians.
    # Medians, for SLALOM has outliers; each side estimates the spread of one fit from 9 degrees of freedom per word.
    assert np.median(draws.std(axis=0, ddof=1)) == pytest.approx(np.median(within_one_call), rel=0.5)
    np.testing.assert_array_equal(draws[0], explain(name, bench, n_samples=30)[0].scores)
    assert len(np.unique(draws, axis=0)) == n_draws
    (again,) = explain(name, bench_of(random_encoder, 1, seed=5), n_samples=30, draw=3)
    np.testing.assert_allclose(again.scores, draws[3], rtol=1e-3, atol=1e-5)


def test_draws_ask_the_same_engine_and_exact_values_have_no_noise():
    bench = bench_of(random_encoder, 1, longest=5)
    first = explain("kernel_shap", bench, n_samples=32)[0].scores
    asked = bench.engine.counts.computed
    second = explain("kernel_shap", bench, n_samples=32, draw=1)[0].scores  # all 32 masks of five words
    np.testing.assert_array_equal(first, second)
    assert bench.engine.counts.computed == asked  # the engine knew every text
    shared = explain("kernel_shap", bench, n_samples=20, share_masks=True, draw=2)
    explain("lime", bench, n_samples=20, draw=2)
    assert bench.engine.counts.computed == asked and len(shared[0].scores) == 5


def test_wrong_settings_are_refused_in_one_sentence():
    bench = bench_of(random_encoder, 1)
    for name, options, words in [
        ("lime", {"n_samples": 1}, "at least 2"),
        ("lime", {"repeats": 0}, "at least 1"),
        ("lime", {"draw": -1}, "`draw` of at least 0"),
        ("occlusion", {"draw": 1}, "'occlusion' draws nothing at random"),
        ("shapley", {"draw": 1}, "'shapley' draws nothing at random"),
        ("lime", {"target": "logit"}, "explained score"),
        ("kernel_shap", {"n_samples": 3}, "at least 4"),
        ("slalom", {"n_samples": 3}, "at least 4"),
        ("slalom", {"sampling": "long"}, "sampling"),
        ("shapley", {"max_words": 40}, "1 to 16"),
        ("occlusion", {"operator": "blur"}, "removal operator"),
    ]:
        with pytest.raises(StudyError, match=words):
            explain(name, bench, **options)
    with pytest.raises(StudyError, match="2\\^n"):
        shapley_values(np.zeros(5))

"""Explainers against brute force, closed forms and captum's own classes."""

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, Saliency
from hypothesis import given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.explainers.perturbation import draw_lime_masks, fit_lime
from rationales.explainers.registry import Workbench, check_finite, explain, known_explainers, variant_name
from rationales.explainers.words import share_outside, words_from_tokens
from rationales.subjects.engine import Engine, Request
from tiny_models import articles, random_causal, random_encoder, sentiment

BUILDERS = [random_causal, random_encoder]
NAMES = sorted(known_explainers())


def bench_of(build, n_examples=3, seed=0) -> Workbench:
    """A workbench on the first examples, with the predicted labels as targets."""
    engine = Engine(build())
    examples = sentiment().of_split("test")[:n_examples]
    targets = engine.full(examples).argmax(1).tolist()
    return Workbench(engine, examples, targets, seed, sentiment().of_split("train"))


@pytest.mark.parametrize("build", BUILDERS, ids=["causal", "encoder"])
@pytest.mark.parametrize("name", NAMES)
def test_every_explainer_gives_finite_scores_for_every_word_and_repeats_itself(name, build):
    first, second = explain(name, bench_of(build)), explain(name, bench_of(build))
    for one, other, example in zip(first, second, bench_of(build).examples, strict=True):
        assert one.valid and one.example_id == example.example_id
        assert one.scores.shape == (len(example.words),) and np.isfinite(one.scores).all()
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_explained_alike_alone_and_in_company(name):
    company = explain(name, bench_of(random_causal, 4))
    bench = bench_of(random_causal, 4)
    alone = explain(
        name, Workbench(Engine(random_causal()), bench.examples[2:3], bench.targets[2:3], 0, bench.training)
    )
    np.testing.assert_allclose(company[2].scores, alone[0].scores, atol=1e-4)


@pytest.mark.parametrize("build", BUILDERS, ids=["causal", "encoder"])
def test_occlusion_is_the_drop_of_the_predicted_label(build):
    bench = bench_of(build, 1)
    (explanation,), example = explain("occlusion", bench), bench.examples[0]
    for word in range(len(example.words)):
        keep = np.ones(len(example.words), bool)
        keep[word] = False
        scores = Engine(build()).answer([Request(example, np.stack([np.ones_like(keep), keep]))])[0][
            :, bench.targets[0]
        ]
        assert explanation.scores[word] == pytest.approx(scores[0] - scores[1], abs=1e-5)


@pytest.mark.parametrize("build", BUILDERS, ids=["causal", "encoder"])
def test_gradients_agree_with_captum(build):
    bench = bench_of(build, 1)
    subject, example, target = bench.engine.subject, bench.examples[0], bench.targets[0]
    encoded = bench.engine.encode(example)
    inputs = subject.embed(encoded.token_ids)[None].requires_grad_()
    forward = lambda e: subject.score_embeddings(encoded, e)[:, target]  # noqa: E731
    norms = Saliency(forward).attribute(inputs, abs=False)[0].norm(dim=1)
    products = InputXGradient(forward).attribute(inputs)[0].sum(1)
    for name, tokens in [("saliency", norms), ("input_x_gradient", products)]:
        expected = words_from_tokens(tokens.detach().numpy(), encoded.token_words, encoded.n_words)
        np.testing.assert_allclose(explain(name, bench)[0].scores, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("build", BUILDERS, ids=["causal", "encoder"])
def test_integrated_gradients_are_complete(build):
    bench = bench_of(build, 2)
    for explanation, example, target in zip(
        explain("integrated_gradients", bench, n_steps=200), bench.examples, bench.targets, strict=True
    ):
        keep = np.stack([np.ones(len(example.words), bool), np.zeros(len(example.words), bool)])
        ends = bench.engine.answer([Request(example, keep, "mask")])[0][:, target]
        # Only the words change along the path, so their scores alone add up to the difference.
        assert explanation.scores.sum() == pytest.approx(ends[0] - ends[1], abs=0.05)
        assert explanation.details["completeness_gap"] == pytest.approx(
            explanation.scores.sum() - (ends[0] - ends[1]), abs=1e-3
        )


def test_more_steps_close_the_completeness_gap():
    gaps = [
        abs(explain("integrated_gradients", bench_of(random_encoder, 1), n_steps=n)[0].details["completeness_gap"])
        for n in (2, 100)
    ]
    assert gaps[1] < gaps[0]


def test_attention_agrees_with_the_model_and_knows_what_lies_outside():
    bench = bench_of(random_encoder, 1)
    explanation, weights = explain("attention", bench)[0], bench.engine.attention(bench.examples[0]).mean((0, 1))
    assert explanation.scores.sum() == pytest.approx(1 - explanation.details["share_outside"], abs=1e-5)
    assert explanation.scores.sum() == pytest.approx(
        weights[bench.engine.encode(bench.examples[0]).token_words >= 0].sum()
    )


def test_lime_recovers_a_linear_model():
    weights = np.array([2.0, -1.0, 0.5, 0.0, 3.0])
    masks = draw_lime_masks(np.random.default_rng(1), 5, 400)
    values = masks @ weights + 0.7
    np.testing.assert_allclose(fit_lime(masks, values, kernel_width=10.0, ridge=1e-6), weights, atol=1e-3)


def test_lime_is_the_weighted_ridge_of_its_definition():
    generator = np.random.default_rng(2)
    masks = draw_lime_masks(generator, 6, 60)
    values = generator.standard_normal(60)
    values = np.array([dict(zip(map(bytes, masks), values, strict=True))[bytes(mask)] for mask in masks])
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


def test_greedy_removes_the_most_harmful_word_at_each_step():
    bench = bench_of(random_encoder, 1)
    scores, example, target = explain("greedy", bench)[0].scores, bench.examples[0], bench.targets[0]
    keep = np.ones(len(example.words), bool)
    for word in np.argsort(-scores):
        candidates = np.flatnonzero(keep)
        masks = np.stack([np.where(np.arange(len(keep)) == c, False, keep) for c in candidates])
        answers = Engine(random_encoder()).answer([Request(example, masks)])[0][:, target]
        assert answers[list(candidates).index(word)] == pytest.approx(answers.min(), abs=1e-6)
        keep[word] = False
    assert sorted(scores) == list(range(1, len(example.words) + 1))


def test_greedy_names_texts_that_are_too_long():
    result = explain("greedy", bench_of(random_encoder, 2), max_words=3)
    assert [e.valid for e in result] == [False, False] and "longer than 3 words" in result[0].reason


def test_human_rationale_keeps_the_gold_words_on_top_and_says_when_there_is_none():
    bench = bench_of(random_encoder, 1)
    explanation, gold = explain("human", bench)[0], np.array(bench.examples[0].gold)
    assert explanation.selected == tuple(np.flatnonzero(gold))
    assert explanation.scores[gold].min() > explanation.scores[~gold].max() == 0
    bare = Example("x", "own", "test", "en", ("no marks here",), "positive")
    absent = explain("human", Workbench(bench.engine, [bare], [0]))[0]
    assert not absent.valid and absent.reason == "no human rationale"


def test_lexicon_finds_the_cue_words_from_the_labels_alone():
    from rationales.corpora.planted import load_planted_sentiment

    corpus = load_planted_sentiment(train=400, test=30, languages=("en",), label_noise=0.0)
    examples = corpus.of_split("test")
    targets = [corpus.labels.index(example.label) for example in examples]
    bench = Workbench(Engine(random_encoder()), examples, targets, 0, corpus.of_split("train"))
    tops = [e.gold[int(np.argmax(x.scores))] for e, x in zip(examples, explain("lexicon", bench), strict=True)]
    assert np.mean(tops) > 2 * np.mean([np.mean(example.gold) for example in examples])  # twice the chance level
    absent = explain("lexicon", Workbench(bench.engine, examples[:1], targets[:1]))[0]
    assert not absent.valid and "no training text" in absent.reason


def test_content_random_never_puts_a_stop_word_above_a_content_word():
    example = Example("x", "own", "test", "en", ("it is the charming , and moving film .",), "positive")
    scores = explain("content_random", Workbench(Engine(random_encoder()), [example], [0]))[0].scores
    assert [bool(score) for score in scores] == [False, False, False, True, False, False, True, True, False]


def test_random_scores_depend_on_seed_draw_and_example_only():
    one, two = bench_of(random_causal, 2), bench_of(random_encoder, 2)
    np.testing.assert_array_equal(explain("random", one)[0].scores, explain("random", two)[0].scores)
    assert not np.array_equal(explain("random", one)[0].scores, explain("random", one, draw=1)[0].scores)
    assert not np.array_equal(
        explain("random", one)[0].scores, explain("random", bench_of(random_causal, 2, 1))[0].scores
    )


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(-1, 3), st.floats(-5, 5)), min_size=1, max_size=12))
def test_sums_over_words_lose_nothing(pairs):
    words, scores = np.array([w for w, _ in pairs]), np.array([s for _, s in pairs])
    total = words_from_tokens(scores, words, 4, "sum")
    assert total.sum() == pytest.approx(scores[words >= 0].sum(), abs=1e-9)
    sizes = words_from_tokens(scores, words, 4, "max")
    assert all(abs(sizes[w]) == max([abs(s) for v, s in pairs if v == w], default=0) for w in range(4))


def test_aggregations_by_hand():
    scores, words = np.array([9.0, 1.0, -3.0, 2.0]), np.array([-1, 0, 0, 1])
    assert words_from_tokens(scores, words, 3, "sum").tolist() == [-2, 2, 0]
    assert words_from_tokens(scores, words, 3, "mean").tolist() == [-1, 2, 0]
    assert words_from_tokens(scores, words, 3, "max").tolist() == [-3, 2, 0]
    assert share_outside(scores, words) == pytest.approx(9 / 15)
    assert np.isnan(share_outside(np.zeros(4), words))


def test_unknown_names_and_options_are_refused_in_one_sentence():
    bench = bench_of(random_encoder, 1)
    for call, words in [
        (lambda: explain("oclusion", bench), "Did you mean 'occlusion'"),
        (lambda: explain("lime", bench, samples=3), "no option 'samples'"),
        (lambda: explain("lime", bench, n_samples=1), "at least 2"),
        (lambda: explain("attention", bench, layers="first"), "choice of layers"),
        (lambda: explain("integrated_gradients", bench, baseline="zero"), "baseline"),
        (lambda: explain("saliency", bench, aggregation="median"), "aggregation"),
    ]:
        with pytest.raises(StudyError, match=words):
            call()


def test_scores_that_are_not_numbers_become_an_invalid_explanation():
    from rationales.explainers.registry import Explanation

    checked = check_finite(Explanation("x", np.array([1.0, np.nan])))
    assert not checked.valid and checked.reason == "score is not a number"


def test_variant_names_are_stable():
    assert variant_name({}) == "default"
    assert variant_name({"b": 1, "a": "x"}) == "a=x,b=1"


def test_costs_are_counted():
    explanation = explain("occlusion", bench_of(random_encoder, 2))[0]
    assert explanation.calls > 0 and explanation.tokens > explanation.calls and explanation.seconds > 0


def test_gradient_is_computed_once_for_both_explainers(monkeypatch):
    bench, calls = bench_of(random_causal, 1), []
    original = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or original(*a, **k))
    explain("saliency", bench)
    explain("input_x_gradient", bench)
    assert len(calls) == 1


def test_articles_are_encoded_with_every_word_covered():
    subject = random_encoder()
    for example in articles().examples:
        assert set(range(len(example.words))) <= set(subject.encode(example).token_words.tolist())

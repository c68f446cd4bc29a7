"""Gradients and attention against finite differences, captum's own classes and one text at a time."""

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency

from benches import BUILDERS, KINDS, bench_of
from rationales.errors import StudyError
from rationales.explainers.gradients import smooth_gradients
from rationales.explainers.registry import Workbench, explain
from rationales.explainers.words import words_from_tokens
from rationales.randomness import generator_for
from rationales.subjects.causal import CausalSubject
from rationales.subjects.differentiation import TARGETS, differentiate
from rationales.subjects.engine import Engine, Request
from test_engine import tiny_copy, tiny_family
from tiny_models import random_causal, random_encoder, sentiment


def forward_of(bench: Workbench, number: int, target: str = "log_prob"):
    """The explained score of one example as a plain function of the embeddings of its whole sequence."""
    subject, chosen = bench.engine.subject, bench.targets[number]
    encoded = bench.engine.encode(bench.examples[number])

    def forward(embeddings: torch.Tensor) -> torch.Tensor:
        scores = subject.score_embeddings(encoded, embeddings, "logit" if target == "logit" else "log_prob")
        return scores[:, chosen] - (scores[:, 1 - chosen] if target == "contrastive" else 0)

    return forward, subject.embed(encoded.token_ids)[None], encoded


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_gradients_against_finite_differences(build, target):
    bench = bench_of(build, 1)
    (found,) = bench.engine.differentiate(
        bench.examples, bench.targets, lambda e, gradients, *_: gradients, target=target, prompt=True
    )
    forward, embeddings, _ = forward_of(bench, 0, target)
    generator, step = np.random.default_rng(0), 1e-3
    for _ in range(3):
        direction = torch.tensor(generator.standard_normal(found.text.shape), dtype=torch.float32)
        with torch.no_grad():
            rise = forward(embeddings + step * direction) - forward(embeddings - step * direction)
        slope = float((torch.tensor(found.text) * direction).sum())
        assert float(rise) / (2 * step) == pytest.approx(slope, rel=0.02, abs=1e-2)


@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_gradient_of_one_example(build):
    bench = bench_of(build, 1)
    gradient, embeddings = bench.engine.gradient(bench.examples[0], bench.targets[0])
    forward, inputs, _ = forward_of(bench, 0)
    inputs = inputs.requires_grad_()
    (expected,) = torch.autograd.grad(forward(inputs).sum(), inputs)
    np.testing.assert_allclose(gradient, expected[0].numpy(), atol=1e-5)
    np.testing.assert_array_equal(embeddings, inputs.detach()[0].numpy())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_gradients_agree_with_captum(build, target):
    bench = bench_of(build, 2)
    for number in range(2):
        forward, inputs, encoded = forward_of(bench, number, target)
        inputs = inputs.requires_grad_()
        slopes = Saliency(forward).attribute(inputs, abs=False)[0]
        products = InputXGradient(forward).attribute(inputs)[0].sum(1)
        for name, tokens in [
            ("saliency", slopes.norm(dim=1)), ("saliency_signed", slopes.mean(1)), ("input_x_gradient", products)
        ]:  # fmt: skip
            expected = words_from_tokens(tokens.detach().numpy(), encoded.token_words, encoded.n_words)
            for prompt in (False, True):
                found = explain(name, bench, target=target, prompt=prompt)[number].scores
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["saliency", "input_x_gradient", "integrated_gradients", "smoothgrad"])
@pytest.mark.parametrize("family", ["Gemma2", "Mistral", "GPT2", "Mamba"])
def test_other_architectures_are_differentiated_like_whole_sequences(family, name):
    subject, example = tiny_family(family), sentiment().of_split("test")[0]
    engine = Engine(subject)
    options = {"n_steps": 3} if name == "integrated_gradients" else {"n_samples": 3} if name == "smoothgrad" else {}
    lent = explain(name, Workbench(engine, [example], [1]), **options)[0].scores
    whole = Engine(subject)
    whole.subject = type(subject)(family, "sentiment", subject.labels, subject.model, subject.tokenizer)
    whole.subject.lends_prompt = lambda encoded: False
    np.testing.assert_allclose(
        lent, explain(name, Workbench(whole, [example], [1]), **options)[0].scores, rtol=1e-3, atol=1e-4
    )  # fmt: skip


def test_the_prompt_in_front_is_left_out_or_counted_but_never_guessed():
    bench = bench_of(random_causal, 1)
    without, within = (explain("input_x_gradient", bench, prompt=prompt)[0] for prompt in (False, True))
    np.testing.assert_allclose(without.scores, within.scores, atol=1e-5)
    assert "share_outside" not in without.details and 0 < within.details["share_outside"] < 1
    encoded = bench.engine.encode(bench.examples[0])
    assert (without.tokens, within.tokens) == (len(encoded.token_ids) - encoded.prefix, len(encoded.token_ids))
    products = bench.engine.gradients(bench.examples, bench.targets)[0].products
    assert np.isnan(products[: encoded.prefix]).all() and np.isfinite(products[encoded.prefix :]).all()
    assert "share_outside" in explain("input_x_gradient", bench_of(random_encoder, 1))[0].details


def test_contrastive_is_the_difference_of_two_logits():
    bench = bench_of(random_encoder, 2)
    both = [
        bench.engine.gradients(bench.examples, targets, target="logit")
        for targets in (bench.targets, [1 - t for t in bench.targets])
    ]
    found = bench.engine.gradients(bench.examples, bench.targets, target="contrastive")
    for own, other, one in zip(*both, found, strict=True):
        np.testing.assert_allclose(one.products, own.products - other.products, atol=1e-5)
        assert one.score == pytest.approx(own.score - other.score, abs=1e-5)


def test_the_other_label_is_the_best_of_the_others():
    tiny = random_causal()
    labels = ("hatespeech", "normal", "offensive")
    engine = Engine(CausalSubject("three", "hate_speech", labels, tiny.model, tiny.tokenizer))
    examples = sentiment().examples[:4]
    for point, scores in zip(engine.points(examples, [0, 1, 2, 0]), engine.full(examples), strict=True):
        rest = [label for label in range(3) if label != point.target]
        assert point.other == rest[int(np.argmax(scores[rest]))]


def test_explained_scores_are_those_of_the_answers():
    bench = bench_of(random_causal, 3)
    answers = bench.engine.full(bench.examples)
    for one, scores, target in zip(
        bench.engine.gradients(bench.examples, bench.targets), answers, bench.targets, strict=True
    ):
        assert one.score == pytest.approx(scores[target], abs=1e-5)
    contrast = bench.engine.gradients(bench.examples, bench.targets, target="contrastive")
    for one, scores, target in zip(contrast, answers, bench.targets, strict=True):
        assert one.score == pytest.approx(scores[target] - scores[1 - target], abs=1e-4)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_integrated_gradients_agree_with_captum(build, target):
    bench = bench_of(build, 2)
    found = explain("integrated_gradients", bench, n_steps=7, target=target)
    for number, explanation in enumerate(found):
        forward, inputs, encoded = forward_of(bench, number, target)
        subject = bench.engine.subject
        start = np.where(encoded.token_words >= 0, subject.mask_id, encoded.token_ids)
        tokens, gap = IntegratedGradients(forward).attribute(
            inputs, subject.embed(start)[None], n_steps=7, return_convergence_delta=True
        )
        expected = words_from_tokens(tokens[0].sum(-1).detach().numpy(), encoded.token_words, encoded.n_words)
        np.testing.assert_allclose(explanation.scores, expected, rtol=1e-3, atol=1e-4)
        assert explanation.details["completeness_gap"] == pytest.approx(float(gap[0]), abs=1e-3)
        assert explanation.details["share_outside"] == 0  # text and baseline are the same there


@pytest.mark.parametrize("baseline", ["mask", "pad"])
@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_integrated_gradients_are_complete(build, baseline):
    bench = bench_of(build, 2)
    for explanation, example, target in zip(
        explain("integrated_gradients", bench, n_steps=100, baseline=baseline), bench.examples, bench.targets, strict=True
    ):  # fmt: skip
        assert abs(explanation.details["completeness_gap"]) < 0.01
        if baseline == "mask":
            keep = np.stack([np.ones(len(example.words), bool), np.zeros(len(example.words), bool)])
            ends = bench.engine.answer([Request(example, keep, "mask")])[0][:, target]
            # Only the words change along the path, so their scores alone add up to the difference.
            assert explanation.scores.sum() == pytest.approx(ends[0] - ends[1], abs=0.01)


def test_more_steps_close_the_completeness_gap():
    gaps = [
        abs(explain("integrated_gradients", bench_of(random_encoder, 1), n_steps=n)[0].details["completeness_gap"])
        for n in (1, 50)
    ]
    assert gaps[1] < gaps[0]


def test_smoothgrad_is_the_mean_gradient_over_noisy_words():
    bench = bench_of(random_causal, 1, seed=4)
    ((example, gradient, _),) = smooth_gradients(bench, 5, 0.2, "log_prob")
    forward, inputs, encoded = forward_of(bench, 0)
    inside, slopes = torch.tensor(encoded.token_words >= 0), []
    words = inputs[0, inside]
    for sample in range(5):
        noise = generator_for("smoothgrad", 4, example.example_id, sample).standard_normal(words.shape)
        noisy = inputs.clone()
        noisy[0, inside] += 0.2 * (words.max() - words.min()) * torch.tensor(noise, dtype=torch.float32)
        noisy.requires_grad_()
        slopes.append(torch.autograd.grad(forward(noisy).sum(), noisy)[0][0].numpy())
    np.testing.assert_allclose(gradient[encoded.prefix :], np.mean(slopes, 0)[encoded.prefix :], atol=1e-5)
    expected = np.linalg.norm(np.mean(slopes, 0), axis=1)
    expected = words_from_tokens(expected, encoded.token_words, encoded.n_words)
    np.testing.assert_allclose(explain("smoothgrad", bench, n_samples=5, noise=0.2)[0].scores, expected, rtol=1e-4)


def test_smoothgrad_without_noise_is_the_gradient():
    bench = bench_of(random_encoder, 2)
    for smooth, plain in [("smoothgrad", "saliency"), ("smoothgrad_x_input", "input_x_gradient")]:
        for one, other in zip(explain(smooth, bench, n_samples=2, noise=0.0), explain(plain, bench), strict=True):
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3, atol=1e-5)


def test_gradient_is_computed_once_for_all_explainers_that_start_from_it(monkeypatch):
    bench, calls = bench_of(random_causal, 2), []
    original = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or original(*a, **k))
    for name in ("saliency", "saliency_signed", "input_x_gradient"):
        explain(name, bench)
    assert len(calls) == len({bench.engine.subject.group(bench.engine.encode(e)) for e in bench.examples})


def test_patched_modules_are_felt_unless_memory_is_asked_for():
    bench = bench_of(random_causal, 1)
    plain = bench.engine.gradients(bench.examples, bench.targets, remember=True)[0].products
    layer = bench.engine.subject.model.model.layers[0].mlp
    handle = layer.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * 0.5,))
    try:
        patched = bench.engine.gradients(bench.examples, bench.targets)[0].products
        remembered = bench.engine.gradients(bench.examples, bench.targets, remember=True)[0].products
    finally:
        handle.remove()
    inside = ~np.isnan(plain)
    assert np.abs(patched - plain)[inside].max() > 1e-4
    np.testing.assert_array_equal(remembered, plain)
    np.testing.assert_allclose(bench.engine.gradients(bench.examples, bench.targets)[0].products, plain, atol=1e-6)


def test_parameters_ask_for_gradients_again_afterwards():
    bench = bench_of(random_causal, 1)
    bench.engine.gradients(bench.examples, bench.targets)
    assert all(parameter.requires_grad for parameter in bench.engine.subject.model.parameters())
    assert all(parameter.grad is None for parameter in bench.engine.subject.model.parameters())


def test_numbers_that_half_precision_cannot_hold_are_computed_again_in_float32():
    subject, example = tiny_copy(torch.float16), sentiment().examples[0]
    expected = Engine(subject).gradients([example], [0])[0]
    assert not expected.in_float32
    engine = Engine(subject)
    points = engine.points([example], [0])
    weights = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}

    def overflow(embeddings, gradients, batch, numbers):  # as if float16 overflowed
        gradients = gradients if subject.model.dtype == torch.float32 else gradients * torch.inf
        return (embeddings * gradients).sum(-1, keepdim=True)

    (found,) = differentiate(subject, points, overflow)
    assert found.in_float32 and found.is_finite and subject.model.dtype == torch.float16
    assert all((tensor == weights[name]).all() for name, tensor in subject.model.state_dict().items())
    inside = ~np.isnan(expected.products)
    np.testing.assert_allclose(found.features[0][inside], expected.products[inside], atol=0.05)


@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_attention_is_a_distribution_and_leaves_the_implementation(build):
    bench = bench_of(build, 3)
    before = bench.engine.subject.model.config._attn_implementation
    for example, weights in zip(bench.examples, bench.engine.attentions(bench.examples), strict=True):
        assert weights.shape[-1] == len(bench.engine.encode(example).token_ids)
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert bench.engine.subject.model.config._attn_implementation == before


def whole_attention(bench: Workbench, number: int) -> list[torch.Tensor]:
    """Attention weights (1, heads, tokens, tokens) of each layer, of the whole sequence read alone."""
    model, encoded = bench.engine.subject.model, bench.engine.encode(bench.examples[number])
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            return list(model(torch.tensor(encoded.token_ids)[None], output_attentions=True).attentions)
    finally:
        model.set_attn_implementation(before)


@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_attention_and_rollout_against_whole_matrices(build):
    bench = bench_of(build, 3)
    raw, rolled = bench.engine.attentions(bench.examples), bench.engine.attention_rollouts(bench.examples)
    for number in range(3):
        layers = [layer[0].numpy() for layer in whole_attention(bench, number)]
        place = -1 if build is random_causal else 0
        np.testing.assert_allclose(raw[number], np.stack([layer[:, place] for layer in layers]), atol=1e-5)
        product = np.eye(layers[0].shape[-1])
        for layer in layers:
            product = (layer.mean(0) + np.eye(len(product))) / 2 @ product
        np.testing.assert_allclose(rolled[number], product[place], atol=1e-5)
        assert rolled[number].sum() == pytest.approx(1, abs=1e-5)
    explanation = explain("attention", bench, layers="last")[0]
    encoded = bench.engine.encode(bench.examples[0])
    expected = words_from_tokens(raw[0][-1].mean(0), encoded.token_words, encoded.n_words)
    np.testing.assert_allclose(explanation.scores, expected, atol=1e-6)
    assert explanation.scores.sum() == pytest.approx(1 - explanation.details["share_outside"], abs=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("lends", [True, False])
@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
def test_attention_gradients_against_scaled_attention(build, lends, target, monkeypatch):
    """Scaling the weights of the answering position by 1 + step raises the score by step times their products."""
    bench = bench_of(build, 1)
    subject, example, (forward, embeddings, encoded) = (
        bench.engine.subject,
        bench.examples[0],
        forward_of(bench, 0, target),
    )
    if build is random_causal:
        monkeypatch.setattr(type(subject), "shares_prefix", property(lambda self: lends))
    (products,) = bench.engine.attention_gradients([example], bench.targets, target)
    step, scores = 1e-2, []
    place = len(encoded.token_ids) - 1 if build is random_causal else 0
    modules = [m for name, m in subject.model.named_modules() if name.endswith(("o_proj", "attention.output.dense"))]
    assert len(modules) == len(products)
    for sign in (1, -1):
        # The output of attention is linear in the weights, so scaling all of a position scales its mixed values.
        def scale(module, inputs, sign=sign):
            mixed = inputs[0].clone()
            mixed[:, place] *= 1 + sign * step
            return (mixed,)

        handle = modules[-1].register_forward_pre_hook(scale)
        with torch.no_grad():
            scores.append(float(forward(embeddings)[0]))
        handle.remove()
    assert (scores[0] - scores[1]) / (2 * step) == pytest.approx(float(products[-1].sum()), rel=0.03, abs=2e-3)


def test_wrong_settings_are_refused_in_one_sentence():
    bench = bench_of(random_encoder, 1)
    for name, options, words in [
        ("integrated_gradients", {"baseline": "zero"}, "baseline"),
        ("integrated_gradients", {"n_steps": 0}, "at least 1"),
        ("saliency", {"target": "logits"}, "Did you mean 'logit'"),
        ("smoothgrad", {"n_samples": 0}, "at least 1"),
        ("attention", {"layers": "first"}, "choice of layers"),
        ("attention_x_gradient", {"layers": "first"}, "choice of layers"),
        ("attention_x_gradient", {"target": "loss"}, "explained score"),
    ]:
        with pytest.raises(StudyError, match=words):
            explain(name, bench, **options)

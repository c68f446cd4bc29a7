"""AttnLRP and CP-LRP on a random model of every family, against relevance handed down layer by layer in numpy."""

import copy
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from rationales.corpora.planted import load_planted_opinion, load_planted_sentiment
from rationales.errors import StudyError
from rationales.explainers import relevance
from rationales.explainers.registry import Workbench, explain
from rationales.explainers.relevance import (
    Question,
    answer_in_batches,
    ask,
    deciding_token,
    propagate,
    read_logits,
    relevance_sums,
)
from rationales.relevance.patching import relevance_rules
from rationales.relevance.rules import RULES
from rationales.subjects.causal import CausalSubject
from rationales.subjects.embedded import embedded_folder
from rationales.subjects.engine import Engine
from rationales.subjects.loading import Checkpoint, load_subject
from slow_relevance import Decoder, Encoder
from tiny_families import CAUSAL, ENCODER, tiny_model
from tiny_models import random_causal, random_encoder, sentiment

FAMILIES = [*CAUSAL, *ENCODER]


def relevance_of(model, embeddings, rule, signs, mask=None):
    """Score (batch,) of signed logits, and relevance (batch, tokens, width) by the library."""
    embeddings = embeddings.detach().requires_grad_()
    lengths = mask.sum(1) if mask is not None else torch.full((len(embeddings),), embeddings.shape[1])
    with relevance_rules(model, rule):
        logits = model(inputs_embeds=embeddings, attention_mask=mask).logits
        if model.config.model_type in CAUSAL:
            logits = logits[torch.arange(len(embeddings)), lengths - 1]
        scores = sum(sign * logits[:, token] for token, sign in signs.items())
        (gradients,) = torch.autograd.grad(scores.sum(), embeddings)
    return scores.detach().numpy(), (embeddings * gradients).detach().numpy()


def embed(model, ids) -> torch.Tensor:
    return model.get_input_embeddings()(torch.as_tensor(ids)).detach()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("signs", [{2: 1.0}, {2: 1.0, 1: -1.0}], ids=["logit", "contrastive"])
def test_relevance_is_that_of_the_slow_implementation(family, rule, signs):
    model = tiny_model(family)
    slow = (Decoder if family in CAUSAL else Encoder)(model)
    ids = np.random.default_rng(3).integers(3, 40, (1, 7))  # longer than the sliding windows
    embeddings = embed(model, ids)
    score, expected = slow.relevance(rule, embeddings[0].numpy(), signs)
    found_score, found = relevance_of(model, embeddings, rule, signs)
    assert found_score[0] == pytest.approx(score, rel=1e-5, abs=1e-5)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_sequence_has_the_same_relevance_alone_and_padded_in_a_batch(family, rule):
    model, generator = tiny_model(family), np.random.default_rng(5)
    lengths = [7, 3, 5]
    ids, mask = np.full((3, 7), 1), np.zeros((3, 7), int)
    for row, length in enumerate(lengths):
        ids[row, :length] = generator.integers(3, 40, length)
        mask[row, :length] = 1
    scores, together = relevance_of(model, embed(model, ids), rule, {2: 1.0}, torch.as_tensor(mask))
    for row, length in enumerate(lengths):
        score, alone = relevance_of(model, embed(model, ids[row : row + 1, :length]), rule, {2: 1.0})
        assert scores[row] == pytest.approx(score[0], rel=1e-6)
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-6 * np.abs(alone).max())
        assert not together[row, length:].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_cp_lrp_conserves_the_logit_without_biases_and_attnlrp_does_not(family):
    model = tiny_model(family, biases=False)
    embeddings = embed(model, np.random.default_rng(7).integers(3, 40, (1, 6)))
    ratios = {}
    for rule in RULES:
        score, relevance = relevance_of(model, embeddings, rule, {2: 1.0})
        ratios[rule] = relevance.sum() / score[0]
    assert ratios["cp_lrp"] == pytest.approx(1, abs=0.01)
    assert abs(ratios["attnlrp"] - 1) > 0.01


@pytest.mark.parametrize("family", ["qwen2", *ENCODER])
def test_biases_and_positions_keep_relevance_for_themselves(family):
    model = tiny_model(family)
    embeddings = embed(model, np.random.default_rng(7).integers(3, 40, (1, 6)))
    score, relevance = relevance_of(model, embeddings, "cp_lrp", {2: 1.0})
    assert abs(relevance.sum() / score[0] - 1) > 0.05


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", ["llama", "mixtral", "qwen3", "gemma"])
def test_keys_and_values_of_a_prefix_may_be_constants(family, rule):
    model = tiny_model(family)
    embeddings = embed(model, np.random.default_rng(9).integers(3, 40, (1, 8)))
    score, whole = relevance_of(model, embeddings, rule, {2: 1.0})
    cache = DynamicCache()
    with torch.no_grad():
        model(inputs_embeds=embeddings[:, :5], past_key_values=cache)
    rest = embeddings[:, 5:].clone().requires_grad_()
    with relevance_rules(model, rule):
        logit = model(inputs_embeds=rest, past_key_values=cache).logits[0, -1, 2]
        (gradient,) = torch.autograd.grad(logit, rest)
    assert float(logit.detach()) == pytest.approx(score[0], rel=1e-5)
    np.testing.assert_allclose((rest * gradient).detach()[0], whole[0, 5:], atol=1e-5 * np.abs(whole).max())


def test_only_the_window_of_sliding_attention_is_relevant():
    model = tiny_model("mistral")  # two layers of window 3: nothing beyond 4 tokens back
    _, relevance = relevance_of(model, embed(model, [[5, 6, 7, 8, 9, 10, 11]]), "attnlrp", {2: 1.0})
    assert not relevance[0, :2].any() and relevance[0, 2:].any(-1).all()


# Explainers


def bench_of(subject, corpus=None, n_examples=3) -> Workbench:
    engine, corpus = Engine(subject), corpus or sentiment()
    examples = corpus.of_split("test")[:n_examples]
    return Workbench(engine, examples, engine.full(examples).argmax(1).tolist(), 0, corpus.of_split("train"))


@pytest.mark.parametrize("build", [random_causal, random_encoder])
@pytest.mark.parametrize("contrastive", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_explainers_explain_the_deciding_logit(rule, contrastive, build):
    bench = bench_of(build())
    subject = bench.engine.subject
    for explanation, question in zip(explain(rule, bench, contrastive=contrastive), ask(bench), strict=True):
        with torch.no_grad():
            logits = subject.model(input_ids=torch.as_tensor(question.token_ids)[None]).logits
        logits = logits.reshape(-1, logits.shape[-1])[-1]
        score = float(logits[question.target] - (logits[question.other] if contrastive else 0))
        assert explanation.details["score"] == pytest.approx(score, abs=1e-4)
        signs = {question.target: 1.0} | ({question.other: -1.0} if contrastive else {})
        slow = (Encoder if subject.kind == "encoder" else Decoder)(subject.model)
        _, relevance = slow.relevance(rule, subject.embed(question.token_ids).double().numpy(), signs)
        tokens = relevance.sum(1)
        words = question.encoded.token_words
        expected = [tokens[: len(words)][words == n].sum() for n in range(question.encoded.n_words)]
        np.testing.assert_allclose(explanation.scores, expected, atol=2e-3 * np.abs(tokens).max())
        assert explanation.details["relevance_sum"] == pytest.approx(tokens.sum(), abs=5e-3 * np.abs(tokens).sum())
        assert explanation.details["in_float32"] is False


def test_the_deciding_token_is_the_first_that_differs():
    labels = ((4, 7), (4, 8, 2), (5,))
    assert [deciding_token(labels, 0, 1), deciding_token(labels, 1, 0), deciding_token(labels, 2, 0)] == [1, 1, 0]


def test_shared_label_tokens_are_read_but_belong_to_no_word():
    bench = bench_of(random_causal(), n_examples=1)
    encoded = bench.engine.encode(bench.examples[0])
    shared = type(encoded)(**{**vars(encoded), "label_ids": ((9, 30), (9, 31))})
    (key,) = bench.engine.encodings
    bench.engine.encodings[key] = shared
    question = ask(bench)[0]
    assert question.token_ids.tolist() == [*encoded.token_ids.tolist(), 9]
    assert {question.target, question.other} == {30, 31}
    explanation = explain("cp_lrp", bench)[0]
    assert len(explanation.scores) == encoded.n_words and explanation.details["relevance_of_answer"] != 0


@pytest.mark.parametrize("contrastive", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_words_score_the_same_behind_a_lent_prompt(rule, contrastive):
    for build in (random_causal, random_encoder):
        bench = bench_of(build())
        whole, lent = (explain(rule, bench, contrastive=contrastive, prompt=prompt) for prompt in (True, False))
        for one, other in zip(whole, lent, strict=True):
            np.testing.assert_allclose(other.scores, one.scores, atol=1e-5 * np.abs(one.scores).max())
            assert other.details["score"] == pytest.approx(one.details["score"], abs=1e-5)
            assert ("relevance_sum" in other.details) == (build is random_encoder)
            assert "relevance_sum" in one.details and other.tokens <= one.tokens
    encoded = random_causal().encode(sentiment().examples[0])
    assert ask(bench_of(random_causal()), prompt=False)[0].start == encoded.prefix > 0


def test_batches_do_not_change_explanations():
    bench = bench_of(random_causal(), n_examples=4)
    one_by_one = Workbench(Engine(random_causal(), token_budget=1), bench.examples, bench.targets)
    for together, alone in zip(explain("attnlrp", bench), explain("attnlrp", one_by_one), strict=True):
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-4 * max(1, np.abs(alone.scores).max()))


def test_a_batch_that_does_not_fit_is_halved_and_one_text_too_large_is_named():
    bench = bench_of(random_encoder(), n_examples=4)
    subject, questions, sizes = bench.engine.subject, ask(bench), []

    def compute(batch, most):
        sizes.append(len(batch))
        if len(batch) > most:
            raise RuntimeError("CUDA out of memory (pretended)")
        return propagate(subject, "cp_lrp", False, batch)

    found = answer_in_batches(subject, questions, 10**6, partial(compute, most=1))
    assert sizes[:2] == [4, 2] and len(found) == 4
    with pytest.raises(StudyError, match="single text"):
        answer_in_batches(subject, questions, 10**6, partial(compute, most=0))


def overflowing(dtype: torch.dtype) -> CausalSubject:
    """The random causal LM with an MLP whose inner values are beyond float16, and what comes out of it is not."""
    original = random_causal()
    model = copy.deepcopy(original.model)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.mul_(400)
        model.model.layers[1].mlp.gate_proj.weight.mul_(400)
        model.model.layers[1].mlp.down_proj.weight.mul_(2**-14)
    return CausalSubject("overflowing", "sentiment", original.labels, model.half().to(dtype), original.tokenizer)


def test_float16_that_gives_no_numbers_is_done_again_in_float32():
    exact, half = overflowing(torch.float32), overflowing(torch.float16)
    questions = ask(bench_of(exact))
    compute = partial(propagate, half, "cp_lrp", False)
    assert not all(np.isfinite(result.scores).all() for result in compute(questions))
    expected = answer_in_batches(exact, questions, 8192, partial(propagate, exact, "cp_lrp", False))
    for result, other in zip(answer_in_batches(half, questions, 8192, compute), expected, strict=True):
        assert result.in_float32 and not other.in_float32
        np.testing.assert_allclose(result.scores, other.scores, atol=1e-4 * np.abs(other.scores).max())
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float16}


def test_float32_that_gives_no_numbers_makes_an_invalid_explanation(monkeypatch):
    bench = bench_of(random_encoder(), n_examples=2)

    def broken(subject, rule, contrastive, questions):
        found = propagate(subject, rule, contrastive, questions)
        return [type(result)(np.full_like(result.scores, np.nan), result.score) for result in found]

    monkeypatch.setattr(relevance, "propagate", broken)
    assert {(e.valid, e.reason) for e in explain("attnlrp", bench)} == {(False, "score is not a number")}


def test_relevance_sums_report_both_rules():
    bench = bench_of(random_causal())
    table = relevance_sums(bench)
    assert table.columns.tolist() == ["example_id", "family", "rule", "score", "relevance", "ratio"]
    assert table.groupby("rule").size().to_dict() == {"attnlrp": 3, "cp_lrp": 3} and set(table["family"]) == {"Llama"}
    conserved = table[table["rule"] == "cp_lrp"]
    np.testing.assert_allclose(conserved["ratio"], 1, atol=0.01)
    np.testing.assert_allclose(conserved["relevance"], conserved["score"] * conserved["ratio"])
    assert ((table.loc[table["rule"] == "attnlrp", "ratio"] - 1).abs() > 0.01).all()


def check_on_checkpoint(subject, corpus):
    """Finite on a trained model, and its plain gradient is the same before and after."""
    bench = bench_of(subject, corpus)
    embeddings = subject.embed(bench.engine.encode(bench.examples[0]).token_ids)[None].requires_grad_()

    def plain():
        encoded = bench.engine.encode(bench.examples[0])
        mask = {"attention_mask": torch.ones(embeddings.shape[:2], dtype=torch.long)}
        scores, _ = read_logits(subject, [Question(encoded, encoded.token_ids, 0, 1)], embeddings, mask, False)
        return torch.autograd.grad(scores.sum(), embeddings)[0]

    before = plain()
    for name in ("attnlrp", "cp_lrp", "chefer"):
        for explanation in explain(name, bench):
            assert explanation.valid and np.isfinite(explanation.scores).all() and explanation.scores.any()
    assert torch.equal(plain(), before)
    return relevance_sums(bench)


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-encoder"])
def test_the_embedded_subjects(name):
    corpus = (load_planted_sentiment if name == "tiny-llama" else load_planted_opinion)(train=4, validation=0, test=3)
    subject = load_subject(Checkpoint(path=str(embedded_folder(name))), corpus.task, corpus.labels, kind="auto")
    table = check_on_checkpoint(subject, corpus)
    if name == "tiny-llama":  # no biases
        np.testing.assert_allclose(table.loc[table["rule"] == "cp_lrp", "ratio"], 1, atol=0.01)


def test_a_real_checkpoint():
    folder = os.environ.get("RATIONALES_MODELS")
    if not folder:
        pytest.skip("set RATIONALES_MODELS to a folder that holds TinyStories-656K to test a real checkpoint")
    corpus = load_planted_sentiment(train=0, validation=0, test=3, languages=("en",))
    checkpoint = Checkpoint(path=str(Path(folder) / "TinyStories-656K"))
    subject = load_subject(checkpoint, corpus.task, corpus.labels, prompt_style="plain")
    table = check_on_checkpoint(subject, corpus)
    np.testing.assert_allclose(table.loc[table["rule"] == "cp_lrp", "ratio"], 1, atol=0.01)

"""The erasure engine against one naive forward pass per text."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.subjects.engine import OPERATORS, Engine, Request
from tiny_models import random_causal, random_encoder, sentiment


def erase_by_hand(subject, encoded, keep, operator):
    """Token ids without, or with a mask in the place of, the words that are not kept."""
    tokens = []
    for token, word in zip(encoded.token_ids.tolist(), encoded.token_words.tolist(), strict=True):
        if word < 0 or keep[word]:
            tokens.append(token)
        elif operator == "mask":
            tokens.append(subject.mask_id)
    return tokens


def naive_causal(subject, encoded, keep, operator):
    """Label log-probabilities from whole unpadded sequences: prompt and label, one label at a time, no cache."""
    tokens = erase_by_hand(subject, encoded, keep, operator)
    totals = []
    for label in encoded.label_ids:
        with torch.no_grad():
            logits = subject.model(input_ids=torch.tensor([tokens + list(label)])).logits[0].double()
        steps = torch.log_softmax(logits, -1)
        totals.append(sum(float(steps[len(tokens) + i - 1, token]) for i, token in enumerate(label)))
    return np.array(totals) - np.logaddexp.reduce(totals)


def naive_encoder(subject, encoded, keep, operator):
    """Label log-probabilities of one unpadded sequence."""
    tokens = erase_by_hand(subject, encoded, keep, operator)
    with torch.no_grad():
        logits = subject.model(input_ids=torch.tensor([tokens])).logits[0].double()
    return torch.log_softmax(logits, -1).numpy()


SUBJECTS = [(random_causal, naive_causal), (random_encoder, naive_encoder)]


@pytest.mark.parametrize("build, naive", SUBJECTS, ids=["causal", "encoder"])
@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_batch_equals_one_text_at_a_time(build, naive, data):
    subject = build()
    examples = data.draw(st.lists(st.sampled_from(sentiment().examples), min_size=1, max_size=4, unique_by=id))
    budget = data.draw(st.sampled_from([1, 64, 300, 10_000]))
    requests = []
    for example in examples:
        n_words = len(example.words)
        masks = data.draw(st.lists(st.lists(st.booleans(), min_size=n_words, max_size=n_words), min_size=1, max_size=5))
        requests.append(Request(example, np.array(masks), data.draw(st.sampled_from(sorted(OPERATORS)))))
    engine = Engine(subject, token_budget=budget)
    for request, answers in zip(requests, engine.answer(requests), strict=True):
        encoded = subject.encode(request.example)
        for mask, scores in zip(request.masks, answers, strict=True):
            np.testing.assert_allclose(scores, naive(subject, encoded, mask, request.operator), atol=1e-4)


def test_labels_of_several_tokens_are_scored_whole():
    lengths = [len(ids) for e in sentiment().examples for ids in random_causal().encode(e).label_ids]
    assert max(lengths) > 1  # otherwise the test above would not cover them


def test_prefix_cache_changes_nothing(monkeypatch):
    subject = random_causal()
    example = sentiment().examples[0]
    masks = np.random.default_rng(0).random((6, len(example.words))) < 0.6
    shared = Engine(subject).answer([Request(example, masks)])[0]
    assert subject.encode(example).prefix > 3
    monkeypatch.setattr(type(subject), "shares_prefix", property(lambda self: False))
    np.testing.assert_allclose(shared, Engine(subject).answer([Request(example, masks)])[0], atol=1e-5)


def test_equal_masks_are_computed_once_and_survive_on_disk(tmp_path):
    example = sentiment().examples[1]
    masks = np.ones((4, len(example.words)), bool)
    masks[2:, 0] = False
    engine = Engine(random_encoder())
    first = engine.answer([Request(example, masks), Request(example, masks)])
    assert (engine.counts.asked, engine.counts.computed) == (8, 2)
    engine.save(tmp_path / "masks.parquet", {"study": "test"})
    again = Engine(random_encoder())
    assert again.load([tmp_path / "masks.parquet"]) == 2
    np.testing.assert_array_equal(again.answer([Request(example, masks)])[0], first[0])
    assert again.counts.computed == 0


def test_full_text_is_shared_by_all_operators():
    engine = Engine(random_encoder())
    example = sentiment().examples[0]
    full = engine.full([example])
    for name in OPERATORS:
        np.testing.assert_array_equal(
            engine.answer([Request(example, np.ones(len(example.words), bool), name)])[0], full
        )
    assert engine.counts.computed == 1


def test_memory_that_runs_out_halves_the_batch(monkeypatch):
    subject = random_encoder()
    original = type(subject)._score_batch

    def small_memory(self, rows):
        if len(rows) > 2:
            raise RuntimeError("CUDA out of memory (pretended)")
        return original(self, rows)

    example = sentiment().examples[2]
    masks = np.tri(len(example.words), dtype=bool)
    expected = Engine(subject).answer([Request(example, masks)])[0]
    monkeypatch.setattr(type(subject), "_score_batch", small_memory)
    np.testing.assert_allclose(Engine(subject).answer([Request(example, masks)])[0], expected, atol=1e-5)
    monkeypatch.setattr(
        type(subject), "_score_batch", lambda self, rows: (_ for _ in ()).throw(RuntimeError("out of memory"))
    )
    with pytest.raises(StudyError, match="Memory ran out"):
        Engine(subject).answer([Request(example, masks)])


def test_nan_is_refused(monkeypatch):
    subject = random_encoder()
    monkeypatch.setattr(type(subject), "_score_batch", lambda self, rows: np.full((len(rows), 2), np.nan))
    with pytest.raises(StudyError, match="float32"):
        Engine(subject).full([sentiment().examples[0]])


def test_unknown_operator_and_wrong_length_are_refused():
    example = sentiment().examples[0]
    with pytest.raises(StudyError, match="removal operator"):
        Engine(random_encoder()).answer([Request(example, np.ones(len(example.words), bool), "blur")])
    with pytest.raises(StudyError, match="entries for"):
        Engine(random_encoder()).answer([Request(example, np.ones(2, bool))])


@pytest.mark.parametrize("build", [random_causal, random_encoder], ids=["causal", "encoder"])
def test_gradient_against_finite_differences(build):
    subject, example = build(), sentiment().examples[0]
    engine = Engine(subject)
    gradient, embeddings = engine.gradient(example, 1)
    direction = np.random.default_rng(0).standard_normal(gradient.shape).astype(np.float32)
    step = 1e-3
    scores = []
    for sign in (1, -1):
        moved = torch.tensor(embeddings + sign * step * direction)[None]
        with torch.no_grad():
            scores.append(float(subject.score_embeddings(engine.encode(example), moved)[0, 1]))
    assert (scores[0] - scores[1]) / (2 * step) == pytest.approx(
        float((gradient * direction).sum()), rel=0.02, abs=1e-3
    )


@pytest.mark.parametrize("build", [random_causal, random_encoder], ids=["causal", "encoder"])
def test_embeddings_and_tokens_give_the_same_scores(build):
    subject, example = build(), sentiment().examples[3]
    engine = Engine(subject)
    embeddings = subject.embed(engine.encode(example).token_ids)[None]
    with torch.no_grad():
        scores = subject.score_embeddings(engine.encode(example), embeddings).numpy()
    np.testing.assert_allclose(scores, engine.full([example]), atol=1e-5)


@pytest.mark.parametrize("build", [random_causal, random_encoder], ids=["causal", "encoder"])
def test_attention_is_a_distribution_and_leaves_the_implementation(build):
    subject, example = build(), sentiment().examples[0]
    before = subject.model.config._attn_implementation
    weights = Engine(subject).attention(example)
    assert weights.shape[-1] == len(subject.encode(example).token_ids)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert subject.model.config._attn_implementation == before

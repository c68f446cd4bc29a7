"""Texts read as a tree: every text is in it, no node is there twice, and the answers are those of padded batches."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rationales.subjects.answering import lay_out
from rationales.subjects.base import Subject
from rationales.subjects.causal import CausalSubject
from rationales.subjects.engine import Engine, Request
from rationales.subjects.packing import cut_into_trees, grow_tree, sort_texts
from tiny_models import random_causal, sentiment

LABELS = ((7,), (8, 9, 10), (8, 11))
texts_of_tokens = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(texts_of_tokens, st.integers(1, 40))
def test_a_tree_holds_each_text_and_its_labels_once(texts, limit):
    texts = [np.array(text) for text in texts]
    order, common = sort_texts(texts)
    assert [texts[i].tolist() for i in order] == sorted(text.tolist() for text in texts)
    endings = lay_out(LABELS, torch.device("cpu"))
    extra = len(endings.tokens)
    runs = cut_into_trees(np.array([len(texts[i]) for i in order]), common, extra, limit)
    assert [i for run in runs for i in range(run.start, run.stop)] == list(range(len(texts)))
    for run in runs:
        chosen = [texts[i] for i in order[run]]
        tree = grow_tree(chosen, None, common[run], endings)
        beginnings = {tuple(text[: n + 1]) for text in chosen for n in range(len(text))}
        assert len(tree.tokens) == len(beginnings) + extra * len(chosen)
        assert len(tree.tokens) <= limit or len(chosen) == 1
        for text, answers in zip(chosen, tree.answers, strict=True):
            seen = np.flatnonzero(tree.sees[answers[0]])
            assert tree.tokens[seen].tolist() == text.tolist()
            assert tree.depths[seen].tolist() == list(range(len(text)))
            behind = [tree.tokens[np.flatnonzero(tree.sees[node])].tolist()[len(text) :] for node in answers[1:]]
            assert behind == [[8], [8, 9], [8]]


def test_numbers_sort_as_numbers_and_equal_texts_share_all():
    order, common = sort_texts([np.array([300, 2]), np.array([2, 300]), np.array([2, 300]), np.array([2])])
    assert order.tolist() == [3, 1, 2, 0] and common.tolist() == [0, 1, 2, 0]
    assert cut_into_trees(np.empty(0, int), np.empty(0, int), 0, 5) == []


@pytest.mark.parametrize("operator", ["delete", "mask", "attention"])
@settings(
    max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip
@given(data=st.data())
def test_trees_answer_as_padded_batches(operator, data):
    subject, requests = random_causal(), []
    for example in data.draw(st.lists(st.sampled_from(sentiment().examples), min_size=1, max_size=3, unique_by=id)):
        seed = data.draw(st.integers(0, 100))
        requests.append(Request(example, np.random.default_rng(seed).random((9, len(example.words))) < 0.7, operator))
    assert subject.route(subject.encode(sentiment().examples[0])).packs
    trees = Engine(subject, token_budget=data.draw(st.sampled_from([1, 400, 8192]))).answer(requests)
    padded = CausalSubject("padded", "sentiment", subject.labels, subject.model, subject.tokenizer)
    padded.score_group = lambda *args: Subject.score_group(padded, *args)
    for one, other in zip(trees, Engine(padded).answer(requests), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-5)


def test_a_model_that_ignores_the_mask_of_a_tree_is_read_in_batches(monkeypatch):
    from rationales.subjects import causal

    original = causal.read_trees
    monkeypatch.setattr(causal, "read_trees", lambda *args: original(*args).flip(1))  # answers of other texts
    shared = random_causal()
    subject = CausalSubject("x", "sentiment", shared.labels, shared.model, shared.tokenizer)
    example = sentiment().examples[0]
    assert not subject.route(subject.encode(example)).packs
    request = [Request(example, np.tri(len(example.words), dtype=bool))]
    answers = Engine(subject).answer(request)[0]
    monkeypatch.undo()
    np.testing.assert_allclose(answers, Engine(shared).answer(request)[0], atol=1e-5)

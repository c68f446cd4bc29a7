"""Explainers against brute force, closed forms and captum's own classes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benches import BUILDERS, KINDS, bench_of, bench_on
from rationales.errors import StudyError
from rationales.examples import Example
from rationales.explainers.registry import (
    Workbench,
    check_finite,
    explain,
    explanation_row,
    known_explainers,
    variant_name,
)
from rationales.explainers.words import share_outside, words_from_tokens
from rationales.subjects.embedded import EMBEDDED, embedded_folder
from rationales.subjects.engine import Engine, Request
from rationales.subjects.loading import Checkpoint, load_subject
from tiny_models import articles, random_causal, random_encoder, sentiment

NAMES = sorted(known_explainers())
LONGEST = {"shapley": 8}  # words; other explainers have no limit that the planted texts reach


@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_explainer_gives_finite_scores_for_every_word_and_repeats_itself(name, build):
    bench, again = (bench_of(build, longest=LONGEST.get(name)) for _ in range(2))
    for one, other, example in zip(explain(name, bench), explain(name, again), bench.examples, strict=True):
        assert one.valid and one.example_id == example.example_id
        assert one.scores.shape == (len(example.words),) and np.isfinite(one.scores).all()
        np.testing.assert_array_equal(one.scores, other.scores)
        assert json.loads(explanation_row(one, name, "default")["details"]) is not None


@pytest.mark.parametrize("build", BUILDERS, ids=KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_explained_alike_alone_and_in_company(name, build):
    bench = bench_of(build, 4, longest=LONGEST.get(name))
    company = explain(name, bench)
    alone = explain(name, Workbench(Engine(build()), bench.examples[2:3], bench.targets[2:3], 0, bench.training))
    np.testing.assert_allclose(company[2].scores, alone[0].scores, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module", params=[*EMBEDDED, "TinyStories-656K"])
def real_bench(request) -> Workbench:
    """Two short texts and a real checkpoint, or one that comes with the study."""
    if request.param in EMBEDDED:
        folder, style = embedded_folder(request.param), "chat"
    elif os.environ.get("RATIONALES_MODELS"):
        folder, style = Path(os.environ["RATIONALES_MODELS"]) / request.param, "plain"
    else:
        pytest.skip("set RATIONALES_MODELS to a folder that holds TinyStories-656K to test a real checkpoint")
    checkpoint = Checkpoint(path=str(folder))
    return bench_on(load_subject(checkpoint, "sentiment", sentiment().labels, prompt_style=style), 2, longest=8)


@pytest.mark.parametrize("name", NAMES)
def test_every_explainer_runs_on_checkpoints_from_disk(name, real_bench):
    for found, example in zip(explain(name, real_bench), real_bench.examples, strict=True):
        if name == "human" and not any(example.gold):
            assert found.reason == "no human rationale"
            continue
        assert found.valid and found.scores.shape == (len(example.words),) and np.isfinite(found.scores).all()


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


def test_articles_are_encoded_with_every_word_covered():
    subject = random_encoder()
    for example in articles().examples:
        assert set(range(len(example.words))) <= set(subject.encode(example).token_words.tolist())

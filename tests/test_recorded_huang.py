"""Recordings of Huang et al. 2023: reader, test of dependence, look-up subject, published defects, known numbers."""

import functools
import itertools
import os
import pickle
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from corpora_fixtures import needs_real_corpora, use_folder
from rationales.corpora import load_corpus, sst_word_scores
from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.explainers.registry import Workbench, explain
from rationales.metrics.agreement import agreement_of
from rationales.metrics.selection import resolve_k
from rationales.recorded import huang_analysis, huang_published, huang_tables
from rationales.recorded.dependence import dependence_table, kinds_table, measure_dependence, require_dependence
from rationales.recorded.huang import read_known_run, read_run
from rationales.recorded.huang_as_published import (
    AS_PUBLISHED,
    CORRECTED,
    Defects,
    agreement_as_published,
    score_as_published,
)
from rationales.recorded.lookup import LookupEngine, RecordedSubject, occlude_by_lookup, score_by_lookup
from rationales.recorded.recording import PLACEHOLDER, Recording, probability_of_positive
from rationales.subjects.engine import Request
from rationales.tables import write_table

WEIGHTS = {"a": 0.21, "fine": 0.13, "dull": -0.17, "film": 0.02, "!": 0.05}


def linear(words):
    """P(positive) of a model that adds up the weights of the words."""
    return 0.5 + sum(WEIGHTS[word] for word in words)


def stated(positive):
    return (1, positive) if positive > 0.5 else (0, 1 - positive)


def sentence(number=0, words=tuple(WEIGHTS), label="positive"):
    return Example(str(number), "tiny", "test", "en", (" ".join(words),), label)


def linear_recording():
    """Every subset of the words, as the linear model answers it."""
    subsets = itertools.product([False, True], repeat=len(WEIGHTS))
    kept = [[word for word, keep in zip(WEIGHTS, subset, strict=True) if keep] for subset in subsets]
    return Recording("linear", "PE", {" ".join(words): stated(linear(words)) for words in kept})


def linear_engine(absent=()):
    recording = linear_recording()
    answers = {text: answer for text, answer in recording.answers.items() if text not in absent}
    return LookupEngine(RecordedSubject(Recording("linear", "PE", answers)), [sentence()])


# The recorded subject


def test_lookup_gives_the_recorded_probability_of_the_text_that_is_left():
    masks = np.random.default_rng(0).random((12, len(WEIGHTS))) < 0.6
    engine = linear_engine()
    (scores,) = engine.answer([Request(sentence(), masks)])
    expected = [linear(itertools.compress(WEIGHTS, mask)) for mask in masks]
    np.testing.assert_allclose(np.exp(scores), np.stack([1 - np.array(expected), expected], 1), atol=1e-12)
    assert (engine.counts.asked, engine.counts.computed) == (12, 12)


def test_occlusion_of_a_linear_model_is_its_weights():
    np.testing.assert_allclose(occlude_by_lookup(linear_engine(), [sentence()])[0], list(WEIGHTS.values()), atol=1e-12)


def test_registered_explainers_run_on_the_lookup_engine():
    engine = linear_engine()
    bench = Workbench(engine, [sentence()], engine.targets([sentence()]))
    (explanation,) = explain("occlusion", bench)
    full = linear(WEIGHTS)
    expected = [np.log(full) - np.log(full - weight) for weight in WEIGHTS.values()]
    np.testing.assert_allclose(explanation.scores, expected, atol=1e-9)


def test_faithfulness_by_lookup_equals_direct_computation():
    scores = np.array([3.0, 1.0, 5.0, 2.0, 4.0])  # no ties
    order, names, n_words = [2, 4, 0, 3, 1], list(WEIGHTS), len(WEIGHTS)
    full = linear(names)
    without = [full - sum(WEIGHTS[names[w]] for w in order[:k]) for k in range(n_words + 1)]
    only = [linear([names[w] for w in order[:k]]) for k in range(n_words + 1)]
    rows = score_by_lookup(linear_engine(), sentence(), scores, 1, (0.2, 0.5), {"own": 4}, 5, np.random.default_rng(0))
    values = {(row["metric"], row["k"]): row["value"] for row in rows}
    assert values["comprehensiveness", "own"] == pytest.approx(full - without[4])
    assert values["sufficiency", "0.2"] == pytest.approx(full - only[1])
    assert values["aopc_comprehensiveness", "all"] == pytest.approx(full - np.mean(without))
    assert values["aopc_absolute_sufficiency", "all"] == pytest.approx(np.mean(np.abs(full - np.array(only))))
    flips = [k for k, p in enumerate(without) if p < 0.5]
    assert values["dffrac", "all"] == pytest.approx(flips[0] / n_words if flips else 1.0)
    assert values["dfmit", "1"] == float(without[1] < 0.5)
    expected = spearmanr(scores, list(WEIGHTS.values())).statistic
    assert values["deletion_rank_correlation", "all"] == pytest.approx(expected)
    assert all(row["n_texts"] == row["n_present"] for row in rows)


def test_absent_texts_empty_exactly_the_values_that_need_them():
    scores = np.array([3.0, 1.0, 5.0, 2.0, 4.0])
    arguments = (sentence(), scores, 1, (0.2, 0.5), {"own": 4}, 5)
    complete = score_by_lookup(linear_engine(), *arguments, np.random.default_rng(0))
    absent = "a fine film"  # without the top 2 ("dull", "!"): needed by the curve of deletions at k = 2 alone
    partial = score_by_lookup(linear_engine({absent}), *arguments, np.random.default_rng(0))
    needs = {("aopc_comprehensiveness", "all"), ("dffrac", "all"), ("never_flip", "all"), ("dffrac_extra_word", "all")}
    needs |= {("aopc_comprehensiveness_extra_bin", "fractions"), ("aopc_comprehensiveness", "fractions")}
    needs |= {(name, "all") for name in ("deletion_area", "deletion_area_flip")}
    sized = ("comprehensiveness", "comprehensiveness_log_odds", "normalised_comprehensiveness", "flip_rate")
    assert resolve_k(0.5, 5) == 3
    sized_rows = {(name, "own") for name in sized}  # k = 4 is recorded, so these stay
    for whole, part in zip(complete, partial, strict=True):
        key = (part["metric"], part["k"])
        if key in needs - {("aopc_comprehensiveness", "fractions"), ("aopc_comprehensiveness_extra_bin", "fractions")}:
            assert np.isnan(part["value"]) and part["n_present"] == part["n_texts"] - 1, key
        else:
            assert part["value"] == pytest.approx(whole["value"], nan_ok=True), key
    assert sized_rows <= {(row["metric"], row["k"]) for row in partial}
    # In the curve of only the kept words nothing is missing; a text of that curve empties sufficiency instead.
    swapped = score_by_lookup(linear_engine({"dull !"}), *arguments, np.random.default_rng(0))
    gone = {(row["metric"], row["k"]) for row in swapped if row["n_present"] < row["n_texts"]}
    assert ("aopc_sufficiency", "all") in gone and ("aopc_comprehensiveness", "all") not in gone
    assert all(np.isnan(row["value"]) for row in swapped if (row["metric"], row["k"]) in gone)


def test_ties_ask_for_every_tie_order():
    rows = score_by_lookup(
        linear_engine({"a fine film"}), sentence(), np.zeros(5), 1, (0.5,), {}, 200, np.random.default_rng(0)
    )
    values = {row["metric"]: row for row in rows if row["k"] in ("1", "all")}
    assert np.isnan(values["aopc_comprehensiveness"]["value"])  # some of the 120 orders pass through the absent text
    assert values["dfmit"]["value"] == np.mean([linear(WEIGHTS) - w < 0.5 for w in WEIGHTS.values()])


def test_unknown_texts_operators_masks_and_examples():
    engine = linear_engine({"a"})
    keep_first = np.eye(len(WEIGHTS), dtype=bool)[:2]
    (scores,) = engine.answer([Request(sentence(), keep_first)])
    assert np.isnan(scores[0]).all() and np.isfinite(scores[1]).all()
    with pytest.raises(StudyError, match="removal operator"):
        engine.answer([Request(sentence(), keep_first, "mask")])
    with pytest.raises(StudyError, match="entries for"):
        engine.answer([Request(sentence(), np.ones((1, 2), bool))])
    with pytest.raises(StudyError, match="not tested"):
        engine.answer([Request(sentence(7), keep_first)])


@pytest.mark.parametrize(
    ("answer", "published", "at_least_half"),
    [((1, 0.8), 0.8, 0.8), ((0, 0.8), 0.2, 0.2), ((0, 0.2), 0.8, 0.5), ((1, 0.3), 0.3, 0.5), ((0, 0.5), 0.5, 0.5)],
)
def test_readings_of_a_confidence(answer, published, at_least_half):
    assert probability_of_positive(answer) == published
    assert probability_of_positive(answer, "at_least_half") == at_least_half


def test_certain_answers_have_infinite_log_probabilities_and_do_not_fail():
    subject = RecordedSubject(Recording("sure", "PE", {"x": (1, 1.0)}))
    assert subject.score_texts(["x", "y"])[0].tolist() == [-np.inf, 0.0]


# Does the answer depend on the text?


def many_sentences(n, length=4):
    return [sentence(i, [f"w{i}x{j}" for j in range(length)]) for i in range(n)]


def synthetic(examples, answer):
    """A recording of the intact text and single deletions; answer(sentence number, deleted word or None)."""
    answers = {}
    for number, example in enumerate(examples):
        words = example.word_texts
        for gone in [None, *range(len(words))]:
            answers[" ".join(w for place, w in enumerate(words) if place != gone)] = answer(number, gone)
    return Recording("synthetic", "PE", answers)


@pytest.mark.parametrize(
    ("answer", "verdict", "left_out"),
    [
        (lambda number, gone: PLACEHOLDER, "unusable", None),
        (lambda number, gone: (1, 0.9), "unusable", None),  # one constant answer that is no placeholder
        (lambda number, gone: (1, 0.9) if number % 2 else (0, 0.7), "unusable", None),  # reacts to no deletion
        (
            lambda number, gone: (1, 0.9) if gone is None else PLACEHOLDER,
            "unusable",
            None,
        ),  # seems to react, by failing
        (lambda number, gone: (1, 0.9 - 0.1 * (gone == 0 and number < 3)), "unusable", None),  # 3 of 100 react
        (lambda number, gone: (1, 0.9 - 0.1 * (gone == 0 and number < 20)), "usable", 0),
        (lambda number, gone: PLACEHOLDER if number < 3 else (1, 0.9 - 0.1 * (gone == 0)), "usable", 0),
        (lambda number, gone: PLACEHOLDER if number < 40 else (1, 0.9 - 0.1 * (gone == 0)), "partly usable", 40),
        (lambda number, gone: PLACEHOLDER if number < 60 else (1, 0.9 - 0.1 * (gone == 0)), "unusable", None),
    ],
)
def test_degenerate_recordings_are_found(answer, verdict, left_out):
    examples = many_sentences(100)
    recording = synthetic(examples, answer)
    evidence = measure_dependence(recording, examples)
    assert evidence.verdict == verdict
    if left_out is None:
        with pytest.raises(StudyError, match="depends on the text"):
            require_dependence(recording, examples)
        with pytest.raises(StudyError, match="depends on the text"):
            LookupEngine(RecordedSubject(recording), examples)
    else:
        assert len(evidence.left_out) == left_out
        engine = LookupEngine(RecordedSubject(recording), examples)
        assert int(np.isnan(engine.full(examples)[:, 0]).sum()) == left_out
        assert engine.targets(examples).count(-1) == left_out


def test_absent_sentences_are_not_readable():
    examples = many_sentences(10)
    recording = synthetic(examples[:4], lambda number, gone: (1, 0.9 - 0.1 * (gone == 0)))
    assert measure_dependence(recording, examples).verdict == "unusable"
    assert measure_dependence(recording, examples[:4]).reacting == 4


def test_a_value_that_a_model_may_give_is_no_failure_without_a_placeholder():
    examples = many_sentences(20)
    recording = synthetic(examples, lambda number, gone: (0, 0.5) if gone is None else (1, 0.9))
    assert measure_dependence(recording, examples).verdict == "unusable"
    without = Recording("synthetic", "PE", recording.answers, placeholder=None)
    assert measure_dependence(without, examples).verdict == "usable"


# The metrics as published, by hand

HAND = {
    "a b c": (0, 0.8), "b c": (0, 0.9), "c": (0, 0.7), "": (0, 0.5), "a": (1, 0.7), "a b": (1, 0.6), "a c": (0, 0.75),
    "b": (0, 0.6),
}  # fmt: skip
HAND_SCORES = np.array([0.5, 0.1, -0.5])


def by_hand(generator=None, **switches):
    defects = Defects(**{**vars(CORRECTED), **switches})
    values = score_as_published(["a", "b", "c"], HAND_SCORES, HAND.get, defects, generator)
    assert all(asked == present for _, asked, present in values.values())
    return {metric: value for metric, (value, _, _) in values.items()}


def test_corrected_metrics_by_hand():
    # Order for the negative label: c, b, a. P(negative): .8, then .4 ("a b"), .3 ("a"), .5 (empty, taken).
    values = by_hand()
    assert values["comprehensiveness"] == pytest.approx((0.4 + 0.5 + 0.3) / 4)
    assert values["sufficiency"] == pytest.approx((0.3 + 0.1 + 0.1 + 0) / 4)
    assert values["dfmit"] == 1 and values["dffrac"] == pytest.approx(1 / 4)
    # Drops of P(positive): a .1, b -.05, c -.4; scores .5, .1, -.5.
    assert values["deletion_rank_correlation"] == pytest.approx(1.0)


def test_signed_order_deletes_words_that_do_not_argue_for_the_label():
    # Order a, b, c on P(positive): .2, then .1 ("b c"), .3 ("c"), .5 (empty, taken).
    values = by_hand(signed_order=True)
    assert values["comprehensiveness"] == pytest.approx((0.1 - 0.1 - 0.3) / 4)
    assert values["sufficiency"] == pytest.approx((0.3 + 0.5 + 0.4 + 0) / 4)
    assert values["dfmit"] == 0 and values["dffrac"] == 1.0


def test_alternating_reference_by_hand():
    # Reference .2, then .8, and .8 for the empty text.
    values = by_hand(signed_order=True, alternating_reference=True)
    assert values["comprehensiveness"] == pytest.approx(((0.2 - 0.1) + (0.8 - 0.3) + (0.8 - 0.5)) / 4)
    positive = {text: (1 - label, confidence) for text, (label, confidence) in HAND.items()}
    for defects in (AS_PUBLISHED, Defects(alternating_reference=False)):  # class 1 is not touched
        result = score_as_published(["a", "b", "c"], HAND_SCORES, positive.get, defects, np.random.default_rng(0))
        assert result["comprehensiveness"][0] == pytest.approx(((0.8 - 0.9) + (0.8 - 0.7) + (0.8 - 0.5)) / 4)


def test_unchanged_query_leaves_nothing_but_jitter():
    assert np.isnan(by_hand(unchanged_query=True)["deletion_rank_correlation"])  # every drop is 0
    value = by_hand(np.random.default_rng(3), unchanged_query=True, jitter=True)["deletion_rank_correlation"]
    noise = np.random.default_rng(3).uniform(-1e-3, 1e-3, size=(2, 3))
    assert value == pytest.approx(spearmanr(noise[0], HAND_SCORES + noise[1]).statistic)


def test_raw_confidence_by_hand():
    # Confidences: .8 - .9, .8 - .75, .8 - .6 rise where the scores fall.
    assert by_hand(raw_confidence=True)["deletion_rank_correlation"] == pytest.approx(-1.0)


def test_low_confidence_by_hand():
    answers = {**HAND, "a b": (0, 0.2)}  # published: P(positive) .8
    for switch, drop in [(True, 0.8 - 0.2), (False, 0.8 - 0.5)]:
        defects = Defects(**{**vars(CORRECTED), "low_confidence": switch})
        result = score_as_published(["a", "b", "c"], HAND_SCORES, answers.get, defects)
        assert result["comprehensiveness"][0] == pytest.approx((drop + 0.5 + 0.3) / 4)


def test_published_metrics_agree_with_the_studys_own_when_corrected():
    # The second deletion changes the label; at the empty text, of P = .5, stated class and probability would part.
    scores, names = np.array([0.9, 0.5, -0.5, 0.3, 0.1]), list(WEIGHTS)
    answers = linear_recording().answers
    mine = score_as_published(names, scores, answers.get, CORRECTED)
    rows = score_by_lookup(linear_engine(), sentence(), scores, 1, (0.2,), {}, 5, np.random.default_rng(0))
    theirs = {row["metric"]: row["value"] for row in rows if row["k"] in ("all", "1")}
    # The empty text of the linear model has P = .5, as the paper assumes.
    assert mine["comprehensiveness"][0] == pytest.approx(theirs["aopc_comprehensiveness"])
    assert mine["sufficiency"][0] == pytest.approx(theirs["aopc_absolute_sufficiency"])
    assert mine["dfmit"][0] == theirs["dfmit"] and mine["dffrac"][0] == pytest.approx(theirs["dffrac_extra_word"])
    assert mine["deletion_rank_correlation"][0] == pytest.approx(theirs["deletion_rank_correlation"])


def test_published_metrics_without_a_text_are_not_given():
    answers = {text: answer for text, answer in HAND.items() if text != "c"}
    result = score_as_published(["a", "b", "c"], HAND_SCORES, answers.get, Defects(jitter=False))
    assert np.isnan(result["comprehensiveness"][0]) and result["comprehensiveness"][1:] == (3, 2)
    assert result["dfmit"][0] == 0
    assert all(np.isnan(v) for v, *_ in score_as_published(["a"], np.ones(1), {}.get, CORRECTED).values())
    with pytest.raises(StudyError, match="generator"):
        score_as_published(["a"], np.ones(1), HAND.get)


def test_agreement_as_published_against_lists_and_against_the_study():
    generator = np.random.default_rng(5)
    for n_words in (1, 2, 7, 12):
        one, two = generator.normal(size=(2, n_words))
        k = max(1, n_words // 5)
        first = sorted(range(n_words), key=lambda w, s=one: -s[w])
        second = sorted(range(n_words), key=lambda w, s=two: -s[w])
        both = [w for w in first[:k] if w in second[:k]]
        found = agreement_as_published(one, two, k)
        assert found["feature_agreement"] == len(both) / k
        assert found["rank_agreement"] == sum(a == b for a, b in zip(first[:k], second[:k], strict=True)) / k
        assert found["iou"] == len(both) / len(set(first[:k]) | set(second[:k]))
        for name, value in agreement_of(one, two, k).items():  # without ties both are the same
            assert found[name] == pytest.approx(value, nan_ok=True), name


# The reader

TEXTS = ["good film", "so so so"]


def tiny_corpus():
    return Corpus(
        "tiny", "sentiment", ("negative", "positive"), tuple(sentence(i, t.split()) for i, t in enumerate(TEXTS))
    )


def write(path, value):
    path.write_bytes(pickle.dumps(value))
    return path


LISTED = [([("film", (0.25, 1)), ("good", (np.float64(-0.5), 0))], ["good", "film"])]


@pytest.mark.parametrize(
    ("content", "repeated"),
    [
        (LISTED, 0),
        ([([("good", (9.0, 0))], ["good", "film"]), *LISTED], 1),  # the last row counts
        ((TEXTS[:1], [{1: 0.25, 0: -0.5}]), 0),
        ({TEXTS[0]: {1: 0.25, 0: -0.5}}, 0),
    ],
)
def test_word_scores_in_all_three_formats(tmp_path, content, repeated):
    run = read_run("any", {"lime-PE": write(tmp_path / "x", content)}, tiny_corpus())
    first, second = run.tables["lime-PE"]
    assert first.tolist() == [-0.5, 0.25] and np.isnan(second).all()
    assert run.counts["lime-PE repeated"] == repeated


def test_a_whole_run_in_these_formats(tmp_path):
    files = {
        "answers-EP": {TEXTS[0]: "[('good', 0.5), ('film', 0.1)]\n(1, 0.9)", TEXTS[1]: "I cannot help with that."},
        "answers-prediction-only": ["(1, 0.8)", "(0, 0.6)", "(1, 0.7)"],
        "verdicts-EP": [(1, 0.9), (0, 0.5)],
        "topk-EP": {TEXTS[0]: (["good"], [1.0, 0.9]), TEXTS[1]: (["so", "so", "bad"], [0.0, 0.8])},
        "topk-PE": [LISTED[0], ([("so", (0.1, 2)), ("so", (0.0, 0)), ("so", (-0.1, 1))], ["so"] * 3)],
        "topk-verdicts-PE": [(1, 0.9), (0, 0.7)],
        "cache-PE": {"good film": (1, 0.9), "": (0, 0.5)},
    }
    run = read_run("any", {role: write(tmp_path / role, value) for role, value in files.items()}, tiny_corpus())
    assert [answer.verdict for answer in run.answers["EP"]] == [(1, 0.9), None]
    assert run.answers["EP"][1].parsed.reason == "refusal" and run.answers["EP"][1].stated is None
    assert run.prediction_only == [("(1, 0.8)", (1, 0.8)), ("(0, 0.6)", (0, 0.6))]
    assert run.counts["answers to other sentences"] == 1
    assert run.selected == {"EP": [(0,), (0, 1)], "PE": [(1,), (2,)]}  # "bad" is not in the text
    assert run.verdicts["EP-topk"] == [(1, 0.9), (0, 0.8)] and run.verdicts["PE-topk"][1] == (0, 0.7)
    assert run.caches["PE"].answers["good film"] == (1, 0.9)
    tables = huang_tables.tables_of(run)
    for kind, table in tables.items():
        write_table(kind, table, tmp_path / f"{kind}.parquet")  # keys are there and unique
    failed = tables["explanations"].query("explainer == 'self' and variant == 'EP-scores-free-unanchored'").iloc[1]
    assert (failed["valid"], failed["reason"]) == (False, "refusal")
    wrong = tables["predictions"].query("paradigm == 'EP-scores-free-unanchored'").iloc[1]
    assert (wrong["predicted"], wrong["correct"]) == ("(none)", False) and wrong["reason"] and np.isnan(wrong["p_full"])


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("created by a pickle",)


@pytest.mark.parametrize(
    "role", ["cache-PE", "answers-EP", "lime-EP", "topk-PE", "verdicts-EP", "answers-prediction-only"]
)
def test_malicious_pickles_are_refused(tmp_path, role):
    path = write(tmp_path / "bad.pickle", {"good film": Malicious()})
    with mock.patch.object(os, "mkdir") as made, pytest.raises(StudyError, match="mkdir"):
        read_run("any", {role: path}, tiny_corpus())
    assert not made.called


@pytest.mark.parametrize(
    ("role", "content", "message"),
    [
        ("cache-PE", {"good film": (2, 0.5)}, "class, confidence"),
        ("cache-PE", {"good film": (1, 1.5)}, "class, confidence"),
        ("cache-PE", [1], "cache of texts"),
        ("cache-PE", {"good film": (1, float("nan"))}, "class, confidence"),
        ("answers-EP", {"another film": "(1, 0.9)"}, "another run"),
        ("answers-EP", {"good film": 3}, "does not map"),
        ("answers-prediction-only", ["(1, 0.5)"], "no answer for each"),
        ("verdicts-EP", [(1, 0.9)], "verdicts"),
        ("lime-EP", [([("good", (0.1, 5))], ["good", "film"])], "scores word 5"),
        ("lime-EP", {"good film": 3}, "not a table"),
        ("topk-EP", {"good film": (["good"],)}, "word lists"),
        ("heat-EP", [], "role of a recorded file"),
        ("lime", [], "names no paradigm"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path, role, content, message):
    with pytest.raises(StudyError, match=message) as error:
        read_run("any", {role: write(tmp_path / "file.pickle", content)}, tiny_corpus())
    assert str(error.value).count(". ") == 0


def test_the_label_threshold_is_strict(tmp_path, monkeypatch):
    contents = {
        sst_word_scores.SENTENCE_FILE: pickle.dumps(TEXTS),
        sst_word_scores.TRUTH_FILE: pickle.dumps([0.5, 0.51]),
    }
    use_folder(tmp_path, monkeypatch, contents)
    assert [example.label for example in load_corpus("sst_word_scores").examples] == ["negative", "positive"]


# The real recordings


@functools.cache
def run(subject):
    return read_known_run(subject)


@functools.cache
def answers_of(subject):
    return huang_analysis.describe_answers(run(subject)).set_index(["paradigm", "metric"])["estimate"]


@needs_real_corpora
def test_corpus_of_the_recordings():
    corpus = load_corpus("sst_word_scores")
    assert len(corpus.examples) == 100 and sum(len(e.words) for e in corpus.examples) == 1824
    assert corpus.provenance["counts"] == {"at_the_threshold": 2, "positive": 52}
    assert sum(e.label == "positive" for e in corpus.examples) == 52


@needs_real_corpora
@pytest.mark.parametrize(
    ("subject", "paradigm", "metric", "value"),
    [
        ("gpt-3.5-turbo", "EP-scores-free-unanchored", "accuracy", 0.85),
        ("gpt-3.5-turbo", "PE-scores-free-unanchored", "accuracy", 0.88),
        ("gpt-3.5-turbo", "EP-scores-free-unanchored", "saliency_levels", 2.72),
        ("gpt-3.5-turbo", "PE-scores-free-unanchored", "saliency_levels", 5.58),
        ("gpt-3.5-turbo", "PE-scores-free-unanchored", "saliency_levels_filled", 5.69),
        ("gpt-3.5-turbo", "EP-topk-fraction-unanchored", "accuracy", 0.80),
        ("gpt-4o", "EP-scores-free-unanchored", "accuracy_of_parsable", 0.92),
        ("gpt-4o", "PE-scores-free-unanchored", "accuracy_of_parsable", 0.93),
        ("gpt-4o", "prediction-only", "verdict", 0.0),
    ],
)
def test_known_numbers_of_the_answers(subject, paradigm, metric, value):
    assert answers_of(subject)[paradigm, metric] == pytest.approx(value)


@needs_real_corpora
def test_polarity_and_occlusion_counts():
    counts = huang_analysis.count_polarity(run("gpt-3.5-turbo")).set_index("paradigm")
    assert counts.loc["EP", ["negative", "first_not_negative", "no_negative_score"]].tolist() == [55, 55, 21]
    assert counts.loc["PE", ["negative", "first_not_negative"]].tolist() == [52, 41]
    zeros = huang_analysis.describe_occlusion(run("gpt-3.5-turbo")).set_index(["paradigm", "metric"])
    assert zeros.loc[("EP", "zero_words"), "estimate"] == pytest.approx(0.547, abs=5e-4)
    assert zeros.loc[("PE", "zero_words"), "estimate"] == pytest.approx(0.842, abs=5e-4)
    assert zeros.loc[("PE", "zero_sentences"), "estimate"] == pytest.approx(0.35)
    assert (zeros["low"] < zeros["estimate"]).all() and (zeros["estimate"] < zeros["high"]).all()


@needs_real_corpora
def test_only_the_cache_of_p_e_is_usable():
    gpt4o = run("gpt-4o")
    table = dependence_table(gpt4o.caches, gpt4o.examples).set_index("paradigm")
    assert table["verdict"].to_dict() == {"EP": "unusable", "prediction-only": "unusable", "PE": "usable"}
    assert (table["recorded"] == 1824).all() and (table["intact"] == 100).all()
    assert table.loc[["EP", "prediction-only"], "distinct"].tolist() == [1, 1]
    for order in ("EP", "prediction-only"):
        with pytest.raises(StudyError, match="depends on the text"):
            huang_tables.open_run(gpt4o, order)
        with pytest.raises(StudyError, match="depends on the text"):
            huang_tables.metrics_table(gpt4o, order)
    with pytest.raises(StudyError, match="has no cache"):
        huang_analysis.faithfulness_effects(run("gpt-3.5-turbo"))


@needs_real_corpora
def test_lime_of_gpt_4o_rests_on_the_placeholder():
    gpt4o = run("gpt-4o")
    kinds = kinds_table(gpt4o.caches["PE"], gpt4o.examples).set_index("kind")
    assert kinds.loc["words replaced", ["texts", "placeholders"]].tolist() == [14890, 14890]
    table = huang_tables.explanations_table(gpt4o)
    lime = table[table["explainer"] == "lime"]
    assert len(lime) == 200 and not lime["valid"].any() and (lime["reason"] != "").all()


@needs_real_corpora
def test_every_occlusion_of_gpt_4o_is_recomputed():
    gpt4o = run("gpt-4o")
    drops = occlude_by_lookup(huang_tables.open_run(gpt4o, "PE"), gpt4o.examples)
    assert sum(np.isfinite(scores).sum() for scores in drops) == 1824
    for mine, theirs in zip(drops, gpt4o.tables["occlusion-PE"], strict=True):
        assert np.all((theirs - mine >= 0) & (theirs - mine <= 1e-3))  # the authors add a jitter of up to .001


@needs_real_corpora
def test_agreement_of_gpt_4o_beside_chance():
    table = huang_analysis.agreement_table(run("gpt-4o"), rankings=("predicted",))
    table = table.set_index(["paradigm", "pair", "ranking", "measure"])
    row = table.loc[("PE", "self-occlusion", "predicted", "feature_agreement")]
    assert 0.41 <= row["estimate"] <= 0.48 and row["chance"] == pytest.approx(0.182, abs=5e-4)
    assert row["low"] < row["estimate"] < row["high"] and row["above_low"] > 0 and row["n"] == 100
    unusable = table.loc[("EP", "self-occlusion", "predicted", "feature_agreement")]
    assert np.isnan(unusable["estimate"]) and unusable["n_undefined"] == 100 and unusable["reason"]


@needs_real_corpora
def test_the_published_agreement_of_gpt_4o_comes_from_shared_tie_breaking():
    gpt4o = run("gpt-4o")
    for order in ("EP", "PE"):
        assert (
            huang_analysis.share_of_shared_jitter(gpt4o.tables[f"self-{order}"], gpt4o.tables[f"occlusion-{order}"])
            == 1
        )
    table = huang_published.compare_with_published({"gpt-4o": gpt4o})
    assert (table["as_published"] - table["published"]).abs().max() < 1e-6  # every one of them is reproduced
    row = table.set_index(["quantity", "paradigm"]).loc[("feature_agreement self-occlusion", "EP")]
    assert row["published"] == pytest.approx(0.37, abs=5e-4) and np.isnan(row["recomputed"])


@needs_real_corpora
def test_published_numbers_of_gpt_3_5():
    table = huang_published.compare_with_published({"gpt-3.5-turbo": run("gpt-3.5-turbo")}, n_draws=4)
    assert list(table.columns) == huang_published.COLUMNS
    assert len(table) == 64 and table["recomputed"].notna().all() and (table["note"] != "").all()
    notes = table.set_index(["quantity", "paradigm"])["note"]
    assert notes["accuracy", "EP"] == notes["accuracy", "PE"] == "agrees"
    assert "reproduced" in notes["saliency_levels", "PE"] and "swapped" in notes["zero_words", "PE"]


@needs_real_corpora
def test_each_defect_moves_its_metric_on_the_recorded_deletions():
    table = huang_analysis.faithfulness_effects(run("gpt-4o"))
    assert (table["n_texts"] == table["n_present"]).all()
    values = table.set_index(["explainer", "setting", "metric"])["estimate"]
    rank, mean = "deletion_rank_correlation", "comprehensiveness"
    # Occlusion is the drop itself: its rank correlation is 1 but for the readings of low confidences.
    assert values["occlusion", "only low_confidence", rank] == pytest.approx(1.0)
    assert abs(values["occlusion", "as published", rank]) < 0.1
    assert np.isnan(values["occlusion", "only unchanged_query", rank])
    assert values["occlusion", "only raw_confidence", rank] < 0.5
    assert values["self", "without alternating_reference", mean] < values["self", "as published", mean] - 0.05
    assert values["self", "only alternating_reference", mean] != values["self", "corrected", mean]
    assert values["self", "corrected", "dfmit"] > values["self", "as published", "dfmit"]
    assert values["self", "corrected", "dffrac"] < values["self", "as published", "dffrac"]
    assert values["self", "corrected", "sufficiency"] < values["self", "as published", "sufficiency"]


@needs_real_corpora
def test_metrics_of_the_recorded_orders_are_complete(tmp_path):
    table = huang_tables.metrics_table(run("gpt-4o"), n_orders=3)
    write_table("metrics", table, tmp_path / "metrics.parquet")
    complete = table[table["variant"].isin(["PE-recorded", "PE-scores-free-unanchored#recorded-ties"])]
    complete = complete[complete["k"].isin(["all", "1"])]
    assert (complete["n_present"] == complete["n_texts"]).all()
    partial = table[(table["variant"] == "PE-recomputed") & (table["metric"] == "aopc_comprehensiveness")]
    absent = partial["n_present"] < partial["n_texts"]
    assert absent.any() and partial.loc[absent, "value"].isna().all() and partial.loc[~absent, "value"].notna().all()
    single = table[table["metric"].isin(["dfmit"]) & (table["variant"] == "PE-recomputed")]
    assert (single["n_present"] == single["n_texts"]).all() and len(single) == 100


@needs_real_corpora
@pytest.mark.parametrize("subject", ["gpt-3.5-turbo", "gpt-4o"])
def test_tables_are_whole_and_keep_both_forms_of_the_scores(subject, tmp_path):
    tables = huang_tables.tables_of(run(subject))
    for kind, table in tables.items():
        write_table(kind, table, tmp_path / f"{kind}.parquet")
        counts = table.groupby([name for name in ("paradigm", "variant", "explainer") if name in table])["example_id"]
        assert (counts.nunique() == 100).all()
    rows = tables["explanations"]
    signs = rows[rows["variant"] == "PE-scores-free-unanchored"]
    predicted = (
        tables["predictions"].query("paradigm == 'PE-scores-free-unanchored'").set_index("example_id")["predicted"]
    )
    for row in signs.itertuples():
        sign = 1 if predicted[row.example_id] == "positive" else -1
        np.testing.assert_array_equal(row.scores, sign * np.nan_to_num(np.array(row.stated_scores)))
    assert pd.Series(["prediction-only"]).isin(tables["predictions"]["paradigm"]).all()

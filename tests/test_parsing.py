"""Parsing of answers: tables of realistic replies, and the recorded answers of P2 and P3."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from rationales.errors import StudyError
from rationales.explainers.parsing import (
    REASONS,
    REPAIRS,
    parse_label,
    parse_rationale,
    parse_verdict,
    split_answer,
)
from rationales.safe_pickle import load_safely

FILM = "The film is not very good , but fun .".split()  # 0 .. 9, as treebanks write
REVIEW = "It's witless, inane; a well-meant bore, and never funny.".split()  # 0 .. 8, punctuation clings
LATIN = "caffè così « naïve » déjà-vu".split()
NAN = math.nan

# answer, words, (selected), repairs, words not in the text
LISTS = [
    ('["good", "fun"]', FILM, (5, 8), "", ""),
    ('["fun", "good"]', FILM, (8, 5), "", ""),
    ("['good', 'fun']", FILM, (5, 8), "single quotes", ""),
    ("{'good', 'fun'}", FILM, (5, 8), "single quotes", ""),
    ("('good', 'fun')", FILM, (5, 8), "single quotes", ""),
    ("[good, fun]", FILM, (5, 8), "unquoted words", ""),
    ('{"rationales": ["good", "fun"]}', FILM, (5, 8), "", ""),
    ('[{"rationales": "good"}, {"rationales": "fun"}]', FILM, (5, 8), "", ""),
    ('[{"rationales": ["good"]}, {"rationales": ["fun"]}]', FILM, (5, 8), "", ""),
    ('[{"rationales": "good", "rationales": "fun"}]', FILM, (5, 8), "", ""),
    ('[{"rationales": "good","fun"}]', FILM, (5, 8), "", ""),
    ('[{"ratalises": "good"}, {"rationale": "fun"}]', FILM, (5, 8), "", ""),
    ('[\n{\n"rationales": "good",\n},\n{\n"rationales": "fun",\n}\n]', FILM, (5, 8), "", ""),
    ('[{"rationales": "good", "confidence": 1.0}, {"rationales": "fun", "type": "The"}]', FILM, (5, 8), "", ""),
    ('[{ "rationales": "good", ... },\n{ "rationales": "fun", ... }]', FILM, (5, 8), "", ""),
    ('[{"rationales": "good" (implied by "film")}, {"rationales": "fun"}]', FILM, (5, 8), "", ""),
    ('[{"rationales": "good", "explanation": "The word "film" is not it."},\n{"rationales": "fun"}]', FILM, (5, 8),
     "inner quotes", ""),
    ('[{"rationales": "good"}, {"rationales": "fun"}', FILM, (5, 8), "cut off", ""),
    ('["good", "fu', FILM, (5,), "cut off", "fu"),
    ('["good", "fun"\n["not"]', FILM, (5, 8, 3), "cut off", ""),
    ('Sure! Here is the list:\n\n["good"]\n\nI chose "not" for a reason.', FILM, (5,), "prose around", ""),
    ('```json\n["good"]\n```', FILM, (5,), "code fence", ""),
    ('[("good", 3, 0.2), ("fun", 0.1)]', FILM, (5, 8), "tuples", ""),
    ('[["good", 0.9], ["fun", 0.1]]', FILM, (5, 8), "tuples", ""),
    ('{"good": 0.9, "fun": 0.1}', FILM, (5, 8), "scores in a list", ""),
    ('{"label": "positive", "rationales": ["good"]}', FILM, (5,), "", ""),
    ("1. good\n2. fun", FILM, (5, 8), "lines", ""),
    ("Here they are:\n1) **good**: a plain word\n2) 'fun' - lively", FILM, (5, 8), "lines", ""),
    ("* good\n* fun (lively)", FILM, (5, 8), "lines", ""),
    ("good, fun", FILM, (5, 8), "comma list", ""),
    ("Words: good, fun.", FILM, (5, 8), "comma list|punctuation", ""),
    ("good\nfun", FILM, (5, 8), "comma list", ""),
    ("good", FILM, (5,), "bare word", ""),
    ('The words "good" and “fun” show it.', FILM, (5, 8), "quotes in prose", ""),
    ("Rationale: `good`, `fun`", FILM, (5, 8), "quotes in prose", ""),
    ("['good\", \"fun']", FILM, (5, 8), "phrase split|single quotes", ""),
    ("[0, 5, 8]", FILM, (0, 5, 8), "index in place of a word", ""),
    ("[6, 9, 10]", FILM, (5, 8, 9), "index in place of a word", ""),
    ('["very good"]', FILM, (4, 5), "phrase", ""),
    ('["not good, fun"]', FILM, (3, 5, 8), "phrase split", ""),
    ('["good, but fun"]', FILM, (5, 7, 8), "phrase", ""),
    ('["GOOD", "Fun!"]', FILM, (5, 8), "punctuation|wrong case", ""),
    ('["good", "brilliant", "goo"]', FILM, (5,), "", "brilliant|goo"),
    ('["lack of fun", "fun"]', FILM, (8,), "", "lack of fun"),
    ('["witless", "inane", "bore", "funny"]', REVIEW, (1, 2, 5, 8), "punctuation", ""),
    ('["its", "well meant"]', REVIEW, (0, 4), "joined words|phrase", ""),
    ('["meant", "well"]', REVIEW, None, "", "meant|well"),
    ('["caff\\u00e8", "cos\\u00EC"]', LATIN, (0, 1), "", ""),
    ('["cafe\\u0300"]', LATIN, None, "", "cafe\u0300"),
    ('["nai\u0308ve", "déjà‐vu"]', LATIN, (3, 5), "punctuation", ""),
]  # fmt: skip
UNUSABLE = [
    ("", "empty answer"),
    (" \n\t", "empty answer"),
    ("I cannot provide that.", "refusal"),
    ("I’m sorry, but this review holds no such words.", "refusal"),
    ("As an AI language model, I have no opinion.", "refusal"),
    ("It reads well and seems kind.", "no rationale found"),
    ("(1, 0.9)", "no rationale found"),
    ("[]", "empty list"),
    ('{"rationales": []}', "empty list"),
    ('["superb", "masterly"]', "no word of the text named"),
    ("[1, 2]", "indices with no clear base"),
    ("[0, 10]", "indices with no clear base"),
]
S7 = (0.0, 0.1, 0.0, -0.5, 0.3, 1.0, 0.0)
# answer, scores of the first words (the others must be NaN), repairs
SCORES = [
    ("[('The', 0.000), ('film', 0.1), ('is', 0), ('not', -.5), ('very', +0.3), ('good', 1), (',', 0.0)]", S7, ""),
    ('[["The", 0], ["film", 1e-1], ["is", 0.0], ["not", -0.5], ["very", 0.30], ["good", 1.], [",", 0]]', S7, ""),
    ('{"The": 0, "film": 0.1, "is": 0, "not": -0.5, "very": "0.3", "good": [1.0], ",": 0}', S7, ""),
    ('{"scores": {"The": 0, "film": 0.1, "is": 0, "not": -0.5, "very": 0.3, "good": 1, ",": 0}}', S7, ""),
    ('[{"word": "The", "score": 0}, {"score": 0.1, "word": "film"}, {"token": "is", "weight": 0, "index": 2}, '
     '{"word": "not", "score": -0.5}, {"word": "very", "score": 0.3}, {"word": "good", "score": 1}, '
     '{"word": ",", "score": 0}]', S7, ""),
    ('["The", 0, "film", 0.1, "is", 0, "not", -0.5, "very", 0.3, "good", 1, ",", 0]', S7, ""),
    ("[('The', 0, 0.0), ('film', 1, 0.1), ('is', 2, 0.0), ('not', 3, -0.5), ('very', 4, 0.3), ('good', 5, 1.0), "
     "(',', 6, 0.0)]", S7, "tuples of three"),
    ("[(The, 0.000), (film, 0.100), (is, 0.000), (not, -0.500), (very, 0.300), (good, 1.000), (,, 0.000)]", S7,
     "unquoted words"),
    ("[(‘The’, 0.0), (‘film’, 0.1), (‘is’, 0.0), (‘not’, −0.5), (‘very’, 0.3), (‘good’, 1), (',', 0)]", S7, ""),
    ("The: 0\nfilm: 0.1\nis: 0\nnot: -.5\nvery: +0.3\ngood: 1\n,: 0", S7, "lines"),
    ("1. The - 0\n2. film - 0.1\n3. is - 0\n4. not: -0.5\n5. very -> 0.3\n6. good (1.0)\n7. , = 0", S7, "lines"),
    ("| word | score |\n|---|---|\n| The | 0 |\n| film | 0.1 |\n| is | 0 |\n| not | -0.5 |\n| very | 0.3 |\n"
     "| good | 1 |\n| , | 0 |", S7, "lines"),
    ("The (0), film (0.1), is (0), not (-0.5), very (0.3), good (1), , (0)", S7, "inline pairs"),
    ("[('The', 0), ('film', 0,1), ('is', 0), ('not', -0,5), ('very', 0,3), ('good', 1,0), (',', 0)]", S7,
     "decimal comma"),
    ("[(0, 0), (1, 0.1), (2, 0), (3, -0.5), (4, 0.3), (5, 1), (6, 0)]", S7, "index in place of a word"),
    ("Scores:\n[('The', 0), ('film', 0.1), ('is', 0), ('not', -0.5), ('very', 0.3), ('good', 1), (',', 0)]\nDone.", S7,
     "prose around"),
    ("```python\n[('The', 0), ('film', 0.1), ('is', 0), ('not', -0.5), ('very', 0.3), ('good', 1), (',', 0)]\n```", S7,
     "code fence"),
    ("[('The', 0), ('film', 0.1), ('is', 0), ('not', -0.5), ('very', 0.3), ('good', 1), (',', 0), ('bu", S7, "cut off"),
    ("[('film', 0.1), ('The', 0), ('is', 0), ('not', -0.5), ('very', 0.3), ('good', 1), (',', 0)]", S7, "out of order"),
    ("[('the', 0), ('FILM', 0.1), ('is', 0), ('not', -0.5), ('very', 0.3), ('good.', 1), (',', 0)]", S7,
     "punctuation|wrong case"),
    ("[('The film is', 0), ('not', -0.5), ('very good', 0.9)]", (0, 0, 0, -0.5, 0.9, 0.9), "phrase"),
    ("[('The', nan), ('film', inf), ('is', 1e9), ('not', high), ('very', 0.3), ('good', 1), (',', 0), ('but', 0), "
     "('fun', 1)]", (NAN, NAN, NAN, NAN, 0.3, 1, 0, 0, 1), "unreadable score"),
    ("[('The', 1, 2), ('film', .1), ('is', 0), ('not', 50%), ('very', 0.3), ('good', 1)]", (NAN, 0.1, 0, 0.5, 0.3, 1),
     "tuples of three|unreadable score"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words", "selected", "repairs", "absent"), LISTS)
@pytest.mark.parametrize("form", ["list", "topk"])
def test_lists_of_the_table(answer, words, selected, repairs, absent, form):
    parsed = parse_rationale(answer, words, form)
    assert parsed.selected == (selected or ())
    assert parsed.valid == bool(selected) and parsed.scores is None
    assert parsed.repairs == tuple(repairs.split("|") if repairs else [])
    assert parsed.words_not_in_text == tuple(absent.split("|") if absent else [])
    assert set(parsed.repairs) <= set(REPAIRS)


@pytest.mark.parametrize(("answer", "expected", "repairs"), SCORES)
def test_scores_of_the_table(answer, expected, repairs):
    parsed = parse_rationale(answer, FILM, "scores")
    expected = (*expected, *[NAN] * (len(FILM) - len(expected)))
    np.testing.assert_array_equal(parsed.scores, expected)
    assert parsed.missing == sum(map(math.isnan, expected)) and parsed.valid and parsed.selected is None
    assert parsed.repairs == tuple(repairs.split("|") if repairs else [])


@pytest.mark.parametrize(("answer", "reason"), UNUSABLE)
def test_unusable_answers_say_why(answer, reason):
    for form in ("list", "scores"):
        if form == "scores" and reason in ("empty list", "no word of the text named", "indices with no clear base"):
            continue
        parsed = parse_rationale(answer, FILM, form)
        assert (parsed.valid, parsed.reason) == (False, reason)
    assert reason in REASONS


def test_scores_for_too_few_words_are_kept_but_not_valid():
    parsed = parse_rationale('[["The", 0], ["film", 0.5], ["fun", 1], ["art", 1]]', FILM, "scores")
    assert parsed.reason == "scores for fewer than half of the words" and not parsed.valid
    assert parsed.scores[8] == 1 and parsed.missing == 7 and parsed.words_not_in_text == ("art",)
    assert parse_rationale('[["art", 1]]', FILM, "scores").reason == "no word of the text named"
    assert parse_rationale('[["art", 1]]', FILM, "scores").scores is None
    assert parse_rationale('[["The", null], ["film", "high"]]', FILM, "scores").reason == "no readable score"


def test_words_that_are_brackets_quotes_and_commas():
    words = ["(", ")", ",", "'s", '"', "``", "''", "a,b", "n't", ":", "[x]", "\\/", "-lrb-"]
    for answer in (repr([(word, 0.5) for word in words]), json.dumps([[word, 0.5] for word in words])):
        assert parse_rationale(answer, words, "scores").scores == (0.5,) * len(words)
    answer = "[((, 0.1), (), 0.2), (,, 0.3), ('s, 0.4), (\", 0.5), (``, 0.6), ('', 0.7)]"
    assert parse_rationale(answer, words[:7], "scores").scores == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def test_counts_of_duplicates_length_and_glued_phrases():
    parsed = parse_rationale('["fun", "fun", "not good", "superb", "The"]', FILM, "list", max_words=2)
    assert parsed.selected == (8, 3, 5, 0) and parsed.over_length == 2
    assert (parsed.duplicates, parsed.glued, parsed.words_not_in_text) == (1, 1, ("superb",))
    strict = parse_rationale('["fun", "not good", "very good"]', FILM, "list", glued_phrases="reject")
    assert strict.selected == (8, 4, 5) and strict.glued == 1 and strict.words_not_in_text == ("not good",)


def test_programming_errors_are_told():
    for arguments in [("", FILM, "ranking"), ("", [], "list"), ("", FILM, "list", None, "glue")]:
        with pytest.raises(StudyError):
            parse_rationale(*arguments)
    with pytest.raises(StudyError):
        split_answer("", "PEP")
    with pytest.raises(StudyError):
        parse_label("a", {"x": ["yes"], "y": ["Yes"]})
    with pytest.raises(StudyError):
        parse_label("a", {"x": [" "]})


LABELS = {"positive": ["positive", "(a)", "a good review"], "negative": ["negative", "(b)", "not a good review"]}


@pytest.mark.parametrize(
    ("answer", "label"),
    [(a, "positive") for a in ["(a)", "a", "A.", "a) it is", "Positive.", "**POSITIVE**", "(A) ... rather positive"]]
    + [(a, "negative") for a in ["b", "The answer is (b).", "“negative”", "this is not a good  review", "ｎegative"]]
    + [(a, "no label named") for a in ["A film", "positively", "non-positive", "c", "neutral", "?"]]
    + [("positive or negative", "names several labels"), ("(a) negative", "names several labels")]
    + [("not positive", "negated label"), ("It isn’t negative", "negated label"), (" ", "empty answer")],
)
def test_labels(answer, label):
    expected = (label, "") if label in LABELS else (None, label)
    assert parse_label(answer, LABELS) == expected


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("(1, 0.85)", (1, 0.85)), ("(0, 1)", (0, 1.0)), ("( 1 , .9 )", (1, 0.9)), ("(1.0, 0.5)", (1, 0.5)),
        ("(<1>, <0.85>)", (1, 0.85)), ("(1, <0.9>)", (1, 0.9)), ("(1, 85%)", (1, 0.85)), ("(1; 0,9)", (1, 0.9)),
        ("('1', 0.7)", (1, 0.7)), ("[1, 0.9]", (1, 0.9)), ("[(0, 0.7)]", (0, 0.7)), ("1, 0.85", (1, 0.85)),
        ("Prediction: 1, confidence 0.9", (1, 0.9)), ('{"prediction": 1, "confidence": 0.85}', (1, 0.85)),
        ("Class: 0 (confidence: 0.6)", (0, 0.6)), ("(0, 0.2) or (1, 0.8)", (0, 0.2)), ("(3, 0.1) (1, 0.8)", (1, 0.8)),
        ("(2, 0.5)", None), ("(1, 1.5)", None), ("('a', 0.5)", None), ("(1)", None), ("", None), ("0.9", None),
        ("(1, -0.5)", None), ("[(1, 0.5), (0, 0.3)]", None), ("(10, 0.5)", None), ("(1, 0.5, 0.5)", None),
    ],
)  # fmt: skip
def test_verdicts(answer, verdict):
    assert parse_verdict(answer) == verdict


@pytest.mark.parametrize(
    ("answer", "order", "rationale", "prediction"),
    [
        ("[('a', 0.1)]\n(1, 0.9)", "EP", "[('a', 0.1)]", "(1, 0.9)"),
        ("(1, 0.9)\n[('a', 0.1)]", "PE", "[('a', 0.1)]", "(1, 0.9)"),
        ("```python\n[('a', 0.1)]\n(1, 0.9)\n```", "EP", "[('a', 0.1)]", "(1, 0.9)"),
        ("[(a, 0.1), (1, 0.2), (11, 0.3)]\n(0, 0.7)", "EP", "[(a, 0.1), (1, 0.2), (11, 0.3)]", "(0, 0.7)"),
        ('["good", "fun"]\npositive', "EP", '["good", "fun"]', "positive"),
        ('positive\n["good", "fun"]', "PE", '["good", "fun"]', "positive"),
        ("good, fun\npositive", "EP", "good, fun", "positive"),
        ("positive\ngood, fun", "PE", "good, fun", "positive"),
        ('["good", "fu', "EP", '["good", "fu', ""),
        ("good", "EP", "good", ""),
        ("positive", "PE", "", "positive"),
        ("", "EP", "", ""),
    ],
)
def test_splitting_one_message(answer, order, rationale, prediction):
    assert split_answer(answer, order) == (rationale, prediction)


needs_data = pytest.mark.skipif(
    "RATIONALES_DATA" not in os.environ, reason="RATIONALES_DATA names no folder of recordings"
)


def recording(name: str):
    return load_safely(Path(os.environ["RATIONALES_DATA"]) / "sst_llm_word_scores" / "OpenAI_GPT" / name)


@needs_data
@pytest.mark.parametrize(
    ("model", "order", "accuracy", "levels"),
    [
        ("GPT3.5/results", "EP", 0.85, 2.72),
        ("GPT3.5/results", "PE", 0.88, 5.58),
        ("GPT4o", "EP", 0.92, None),
        ("GPT4o", "PE", 0.93, None),
    ],
)
def test_recorded_word_scores_give_the_known_numbers(model, order, accuracy, levels):
    """P3's recordings: accuracy with positive iff the true label is above .5, and distinct scores per sentence."""
    sentences, truth = recording("GPT3.5/results/sentences.pickle"), recording("GPT4o/true_labels.pickle")
    answers = recording(f"{model}/gpt_response_{order}.pickle")
    correct, distinct = [], []
    for sentence, label in zip(sentences, truth, strict=True):
        rationale, prediction = split_answer(answers[sentence], order)
        parsed = parse_rationale(rationale, sentence.split(), "scores")
        assert parsed.valid and not parsed.words_not_in_text
        correct.append((parse_verdict(prediction)[0] == 1) == (label > 0.5))
        distinct.append(len({score for score in parsed.scores if not math.isnan(score)}))
    assert np.mean(correct) == pytest.approx(accuracy)
    assert levels is None or np.mean(distinct) == pytest.approx(levels)


@needs_data
def test_recorded_predictions_all_parse():
    answers = recording("GPT3.5/results/gpt_response_prediction_only.pickle")
    assert len(answers) == 1000 and all(parse_verdict(answer) for answer in answers)


@needs_data
@pytest.mark.parametrize(
    ("run", "low", "high", "failures"),
    [("llama3", 0.69, 0.72, 1), ("mistral", 0.65, 0.68, 1), ("llama", 0.62, 0.66, 4)],
)
def test_recorded_self_explanations_agree_with_humans_as_known(run, low, high, failures):
    """P2's recordings: mean F1 against the human words over the answers that parse, for every file of a model."""
    files = sorted((Path(os.environ["RATIONALES_DATA"]) / "sst_llm_self_explanations").glob(f"{run}_*oracle.jsonl"))
    assert files
    for file in files:
        rows = [row for row in map(json.loads, file.read_text().splitlines()) if "rationales" in row]
        scores = []
        for row in rows:
            words, human = row["content"].split(), set(np.flatnonzero(row["gold_label_rationales"]))
            parsed = parse_rationale(row["rationales"], words, "list")
            if parsed.valid:
                chosen = set(parsed.selected)
                scores.append(2 * len(chosen & human) / (len(chosen) + len(human)))
        assert len(rows) - len(scores) <= failures
        assert low <= np.mean(scores) <= high

"""Parsing of damaged, arbitrary and hostile answers; well-formed ones come back exactly."""

import json
import math
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rationales.explainers.parsing import (
    MAX_CHARACTERS,
    REASONS,
    REPAIRS,
    ParsedRationale,
    parse_label,
    parse_rationale,
    parse_verdict,
    split_answer,
)

FILM = "The film is not very good , but fun .".split()
OTHER = "It's witless, inane; a well-meant bore, and never ( funny ) caffè « naïve » `` n't '' -lrb- 0 \" 's".split()
LABELS = {"positive": ["positive", "(a)"], "negative": ["negative", "(b)"]}
QUIET = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": [HealthCheck.too_slow]}


def check_invariants(parsed: ParsedRationale, words: list[str], form: str) -> None:
    assert parsed.form == form and parsed.reason in REASONS and parsed.valid == (parsed.reason == "")
    assert set(parsed.repairs) <= set(REPAIRS)
    assert min(parsed.duplicates, parsed.missing, parsed.over_length, parsed.glued) >= 0
    "".join(parsed.words_not_in_text).encode()  # no half characters get into a table
    if form == "scores":
        assert parsed.selected is None and (parsed.scores is None) == (parsed.missing == len(words))
        if parsed.scores is not None:
            assert len(parsed.scores) == len(words) and not any(map(math.isinf, parsed.scores))
            assert sum(map(math.isnan, parsed.scores)) == parsed.missing
            assert parsed.valid == (2 * parsed.missing <= len(words))
    else:
        assert parsed.scores is None and len(set(parsed.selected)) == len(parsed.selected)
        assert all(0 <= index < len(words) for index in parsed.selected) and parsed.valid == bool(parsed.selected)


RENDERINGS = [
    lambda words, scores: json.dumps([[w, s] for w, s in zip(words, scores, strict=True)]),
    lambda words, scores: repr(list(zip(words, scores, strict=True))),
    lambda words, scores: json.dumps(dict(zip(words, scores, strict=True)), ensure_ascii=False),
    lambda words, scores: json.dumps([{"word": w, "score": s} for w, s in zip(words, scores, strict=True)], indent=1),
    lambda words, scores: "[" + ", ".join(f"({w}, {s})" for w, s in zip(words, scores, strict=True)) + "]",
    lambda words, scores: "\n".join(f"{i}. {w}: {s}" for i, (w, s) in enumerate(zip(words, scores, strict=True))),
    lambda words, scores: json.dumps([{"rationales": w} for w in words]),
    lambda words, scores: "Sure:\n```json\n" + json.dumps(words) + "\n```\nBecause “it” is.",
    lambda words, scores: repr(set(words)),
    lambda words, scores: "\n".join(f"- **{w}** (because)" for w in words),
    lambda words, scores: ", ".join(words) + "\n(1, 0.9)",
]
NOISE = [
    *"[]{}(),:;\"'`\\/.-+01eE%<>*#|\n\t “”‘’«»，、\u0301\u200b\ud800\ufdfa\x00𝟘é",
    "nan",
    "```",
    "\\u00",
    "1e9",
    "{{",
]
DAMAGES = [
    lambda text, at, to, draw: text[:at] + text[at + 1 :],  # a character lost
    lambda text, at, to, draw: text[:at],  # cut off
    lambda text, at, to, draw: text[:at] + text[to:],  # a part lost
    lambda text, at, to, draw: text[:at] + draw.choice(NOISE) + text[at:],
    lambda text, at, to, draw: text[:to] + text[at:to] + text[to:],  # a part twice
    lambda text, at, to, draw: text.replace("'", '"') if draw.random() < 0.5 else text.replace('"', "'"),
    lambda text, at, to, draw: draw.choice("[({") * draw.randint(1, 60) + text,  # nesting
    lambda text, at, to, draw: text[:at] + text[at:to].upper() + text[to:],
]


def damage(answer: str, draw: random.Random) -> str:
    for _ in range(draw.randint(1, 4)):
        at, to = sorted(draw.choices(range(len(answer) + 1), k=2))
        answer = draw.choice(DAMAGES)(answer, at, to, draw)
    return answer


def parse_everything(answer: str, words: list[str], form: str, order: str) -> None:
    check_invariants(parse_rationale(answer, words, form, 2), words, form)
    label, reason = parse_label(answer, LABELS)
    assert (label in LABELS) == (reason == "")
    verdict = parse_verdict(answer)
    assert verdict is None or (verdict[0] in (0, 1) and 0 <= verdict[1] <= 1)
    assert all(isinstance(part, str) for part in split_answer(answer, order))


@settings(max_examples=200, **QUIET)
@given(st.lists(st.sampled_from([*FILM, *OTHER]), min_size=1), st.integers(0, 2**32))
def test_damaged_answers_never_raise(words, seed):
    draw = random.Random(seed)
    scores = [draw.choice([0.0, -0.5, 0.125, 1]) for _ in words]
    for number in range(100):  # 200 examples x 100 damaged answers
        answer = damage(RENDERINGS[number % len(RENDERINGS)](words, scores), draw)
        parse_everything(answer, words, draw.choice(["scores", "list"]), draw.choice(["EP", "PE"]))


TEXTS = [st.text(), st.text(alphabet="[]{}(),:\"'`0.5-fun \n\\"), st.binary().map(lambda raw: raw.decode("latin-1"))]


@settings(max_examples=500, **QUIET)
@given(st.one_of(TEXTS), st.sampled_from(["scores", "topk", "list"]), st.sampled_from(["EP", "PE"]))
def test_arbitrary_text_never_raises(answer, form, order):
    parse_everything(answer, FILM, form, order)


ANY_WORD = st.text(min_size=1, max_size=12).filter(lambda word: len(word.split()) == 1 and word.split()[0] == word)
ANY_SCORE = st.one_of(st.floats(-1000, 1000), st.integers(-1000, 1000), st.sampled_from([0.0, -0.5, 1e-5, 1e-300]))


@settings(max_examples=150, **QUIET)
@given(st.lists(st.tuples(ANY_WORD, ANY_SCORE), min_size=1, max_size=12), st.booleans(), st.sampled_from([None, 1]))
def test_well_formed_scores_come_back_exactly(pairs, ascii_only, indent):
    words = [word for word, _ in pairs]
    for answer in (
        json.dumps([list(pair) for pair in pairs], ensure_ascii=ascii_only, indent=indent),
        json.dumps([{"word": word, "score": score} for word, score in pairs], ensure_ascii=ascii_only, indent=indent),
        repr(pairs),
        repr([list(pair) for pair in pairs]),
    ):
        parsed = parse_rationale(answer, words, "scores")
        assert parsed.scores == tuple(score for _, score in pairs) and parsed.repairs == ()


@settings(max_examples=150, **QUIET)
@given(st.lists(ANY_WORD, min_size=1, max_size=12), st.randoms(use_true_random=False), st.booleans())
def test_well_formed_lists_come_back_exactly(words, generator, ascii_only):
    unique = list(dict.fromkeys(words))
    order = generator.sample(range(len(unique)), len(unique))
    named = [unique[index] for index in order]
    for answer in (
        json.dumps(named, ensure_ascii=ascii_only),
        json.dumps([{"rationales": word} for word in named], ensure_ascii=ascii_only),
        json.dumps({"rationales": named}),
        repr(named),
    ):
        parsed = parse_rationale(answer, unique, "list")
        assert parsed.selected == tuple(order) and not parsed.words_not_in_text and not parsed.duplicates


HOSTILE = [
    "[", "]", "(", '"', "'", "`", "\\", "[\\", " ", "\n", "9", ",", ">", "“", "\u0301", "\ufdfa", "{:", "[\n",
    '" ', "a,", "a:", "a:1 ", "a: 1\n", "a ", "- a\n", "(,", "(a,         ", "(1, ", "(1, 0.9)",
    "class 1 confidence ", " 'a", "```\n", "(0,", '{"a":', "| a | 1 |\n", "not positive ", "a" + " " * 390,
]  # fmt: skip
HOSTILE_ITEMS = ['"a",', '"a a a b",', '"bad, a",', '("a",0.5),', '["a",0,5],', '("n",0.1),("t",0.1),', '".",']


@pytest.mark.parametrize(
    ("start", "piece"), [("", piece) for piece in HOSTILE] + [("[", item) for item in HOSTILE_ITEMS]
)
def test_a_megabyte_of_hostile_text_takes_seconds_not_hours(start, piece):
    answer, words = start + piece * (1_000_000 // len(piece)), ["a"] * 1000
    for parse in (
        lambda: parse_rationale(answer, words, "scores"),
        lambda: parse_rationale(answer, words, "list"),
        lambda: parse_label(answer, LABELS),
        lambda: parse_verdict(answer),
        lambda: split_answer(answer, "EP"),
    ):
        began = time.process_time()
        parsed = parse()
        assert time.process_time() - began < 15
        if isinstance(parsed, ParsedRationale):
            check_invariants(parsed, words, parsed.form)
            assert f"cut to {MAX_CHARACTERS} characters" in parsed.repairs

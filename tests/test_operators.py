"""Removal operators against token lists made by hand, and the drawing of replacements."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.randomness import generator_for
from rationales.subjects.encoding import Encoded
from rationales.subjects.engine import Engine, Request, average
from rationales.subjects.operators import (
    OPERATORS,
    count_words,
    fingerprints,
    flatten,
    gather_rows,
    replace_all_words,
)
from test_engine import POOL, erase_by_hand
from tiny_models import random_causal, random_encoder, sentiment

BUILDERS = [random_causal, random_encoder]

# prompt, word 0 of two tokens, word 1 of one token, prompt
ENCODED = Encoded("x", 2, np.array([9, 10, 11, 20, 8]), np.array([-1, 0, 0, 1, -1]), None, 1, ((1,), (2,)), "offsets")
OTHER = Encoded("x", 2, np.array([9, 30, 40, 41, 8]), np.array([-1, 0, 1, 1, -1]), None, 1, ((1,), (2,)), "offsets")
KEEP = np.array([[True, True], [False, True], [True, False], [False, False]])


def texts_of(name: str) -> list[list[int]]:
    tokens, lengths, _, _ = flatten(OPERATORS[name].build(ENCODED, KEEP, 7, OTHER))
    return [part.tolist() for part in np.split(tokens, np.cumsum(lengths)[:-1])]


def test_operators_by_hand():
    assert texts_of("delete") == [[9, 10, 11, 20, 8], [9, 20, 8], [9, 10, 11, 8], [9, 8]]
    assert texts_of("mask") == [[9, 10, 11, 20, 8], [9, 7, 7, 20, 8], [9, 10, 11, 7, 8], [9, 7, 7, 7, 8]]
    assert texts_of("replace") == [[9, 10, 11, 20, 8], [9, 30, 20, 8], [9, 10, 11, 40, 41, 8], [9, 30, 40, 41, 8]]
    assert texts_of("attention") == [[9, 10, 11, 20, 8]] * 4
    hidden = OPERATORS["attention"].build(ENCODED, KEEP, 7, None).hidden
    assert hidden.astype(int).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 1, 1, 1, 0]]


def test_segment_ids_follow_their_tokens():
    typed = Encoded(
        "x", 2, ENCODED.token_ids, ENCODED.token_words, np.array([0, 0, 0, 1, 1]), 1, (), "offsets"
    )  # fmt: skip
    _, lengths, _, types = flatten(OPERATORS["delete"].build(typed, KEEP, 7, None))
    assert [part.tolist() for part in np.split(types, np.cumsum(lengths)[:-1])] == [
        [0, 0, 0, 1, 1], [0, 1, 1], [0, 0, 0, 1], [0, 1]
    ]  # fmt: skip
    _, lengths, _, types = flatten(OPERATORS["replace"].build(typed, KEEP, 7, OTHER))
    assert [part.tolist() for part in np.split(types, np.cumsum(lengths)[:-1])][2] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("build", BUILDERS, ids=["causal", "encoder"])
@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_rows_are_the_token_lists_made_one_by_one(build, data):
    subject, parts, expected = build(), [], []
    for example in data.draw(st.lists(st.sampled_from(sentiment().examples), min_size=1, max_size=3)):
        n_words, name = len(example.words), data.draw(st.sampled_from(sorted(OPERATORS)))
        masks = data.draw(st.lists(st.lists(st.booleans(), min_size=n_words, max_size=n_words), min_size=1, max_size=4))
        encoded, other = subject.encode(example), subject.encode(replace_all_words(example, POOL, 0, 0))
        chosen = data.draw(st.lists(st.sampled_from(range(len(masks))), min_size=1, max_size=3, unique=True))
        parts.append((OPERATORS[name].build(encoded, np.array(masks), subject.mask_id, other), chosen))
        expected += [erase_by_hand(subject, encoded, masks[row], name, other) for row in chosen]
    rows = gather_rows(parts)
    for row, (tokens, visible) in enumerate(expected):
        here = slice(rows.starts[row], rows.starts[row] + rows.lengths[row])
        assert rows.tokens[here].tolist() == tokens
        hidden = np.zeros(len(tokens), bool) if rows.hidden is None else rows.hidden[here]
        assert (~hidden).astype(int).tolist() == visible


def test_fingerprints_tell_what_the_model_reads_and_nothing_else():
    def of(name, keep=KEEP, encoded=ENCODED):
        return fingerprints(OPERATORS[name].build(encoded, keep, 7, OTHER))

    delete, hide = of("delete"), of("attention")
    assert len({*delete, *of("mask"), *of("replace"), *hide}) == 13  # the intact text is the same under all
    assert delete[0] == hide[0] == of("mask")[0] == of("replace")[0]
    assert of("delete", KEEP[::-1]) == delete[::-1]
    asked_otherwise = Encoded(**{**ENCODED.__dict__, "label_ids": ((1,), (3,))})
    assert not set(of("delete", encoded=asked_otherwise)) & set(delete)
    other_segments = Encoded(**{**ENCODED.__dict__, "token_types": np.array([0, 0, 0, 1, 1])})
    assert not set(of("delete", encoded=other_segments)) & set(delete)


def test_replacements_are_other_words_of_the_language_in_the_same_places():
    for example in sentiment().examples[:12]:
        other = replace_all_words(example, POOL, seed=0, draw=0)
        assert len(other.words) == len(example.words)
        assert all(
            new != old and new in POOL[example.language]
            for new, old in zip(other.word_texts, example.word_texts, strict=True)
        )


def test_a_replacement_depends_on_seed_example_place_and_draw_alone():
    example = sentiment().examples[0]
    again = replace_all_words(example, dict(reversed(POOL.items())), 0, 0)
    assert again.word_texts == replace_all_words(example, POOL, 0, 0).word_texts
    for seed, draw in [(1, 0), (0, 1)]:
        assert replace_all_words(example, POOL, seed, draw).word_texts != again.word_texts


def test_replacements_are_drawn_by_frequency():
    pool = {"en": {"often": 9, "rarely": 1, "word": 5}}
    example = Example("x", "own", "test", "en", (" ".join(["word"] * 3000),), "positive")
    drawn = replace_all_words(example, pool, 0, 0).word_texts
    assert drawn.count("often") / len(drawn) == pytest.approx(0.9, abs=0.02) and "word" not in drawn
    generator = generator_for("replace", 0, "x", 0, 0)  # the first word, by hand: sorted words, cumulated counts
    while (first := ("often" if (n := generator.integers(15)) < 9 else "rarely" if n < 10 else "word")) == "word":
        pass
    assert drawn[0] == first


def test_white_space_around_replaced_words_stays():
    example = Example("x", "own", "test", "en", ("one  two\tthree", "four"), "positive")
    other = replace_all_words(example, {"en": {"a": 1, "b": 1}}, 0, 0)
    assert [len(segment.split()) for segment in other.segments] == [3, 1]
    assert "  " in other.segments[0] and "\t" in other.segments[0]


def test_words_without_a_pool_are_refused_with_the_way_out():
    with pytest.raises(StudyError, match="count_words"):
        replace_all_words(sentiment().examples[0], {"en": {"only": 3}}, 0, 0)


@pytest.mark.parametrize("build", BUILDERS, ids=["causal", "encoder"])
def test_without_a_vocabulary_the_words_met_so_far_are_used_and_stay(build):
    examples = [e for e in sentiment().examples if e.language == "en"][:3]
    engine = Engine(build())
    engine.full(examples)
    nothing = [Request(examples[0], np.zeros(len(examples[0].words), bool), "replace")]
    first = engine.answer(nothing)[0]
    given = Engine(build(), vocabulary=count_words(examples)).answer(nothing)[0]
    np.testing.assert_allclose(first, given, atol=1e-6)
    engine.full(sentiment().examples)
    engine.replacements.clear()
    np.testing.assert_array_equal(engine.answer(nothing)[0], first)


def test_several_draws_average_probabilities():
    example = sentiment().examples[0]
    masks = ~np.eye(len(example.words), dtype=bool)
    engine = Engine(random_encoder(), vocabulary=POOL, draws=3)
    answers = engine.answer([Request(example, masks, "replace")])[0]
    single = []
    for draw in range(3):
        encoded = engine.subject.encode(example)
        other = engine.subject.encode(replace_all_words(example, POOL, 0, draw))
        rows = gather_rows([(OPERATORS["replace"].build(encoded, masks, 0, other), list(range(len(masks))))])
        single.append(np.exp(engine.subject.score_rows(rows, 10_000)))
    np.testing.assert_allclose(np.exp(answers), np.mean(single, axis=0), atol=1e-5)
    assert 2 * len(masks) < engine.counts.computed <= 3 * len(masks)  # two draws may be the same word
    other_operator = engine.answer([Request(example, masks, "delete")])[0]
    np.testing.assert_allclose(other_operator, Engine(random_encoder()).answer([Request(example, masks)])[0], atol=1e-5)
    assert average([np.log([[0.25, 0.75]]), np.log([[0.75, 0.25]])])[0] == pytest.approx(np.log([0.5, 0.5]))


@pytest.mark.parametrize("build", BUILDERS, ids=["causal", "encoder"])
def test_what_a_hidden_word_says_cannot_matter(build):
    subject = build()
    answers, lengths = [], set()
    for word in ("moving", "boring"):
        words = f"it was a truly {word} film and I liked it".split()
        example = Example(word, "own", "test", "en", (" ".join(words),), "positive")
        lengths.add(len(subject.encode(example).token_ids))
        keep = np.array([w != word for w in words])
        answers.append(Engine(subject).answer([Request(example, np.stack([keep, np.ones_like(keep)]), "attention")])[0])
    assert len(lengths) == 1  # the number of hidden tokens can be seen, so it has to be the same
    np.testing.assert_allclose(answers[0][0], answers[1][0], atol=1e-5)
    assert np.abs(answers[0][1] - answers[1][1]).max() > 1e-3  # visible, it does

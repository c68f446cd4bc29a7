"""Edited texts and the judgement of answers, by hand and by brute force."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.metrics.self_consistency import (
    consistent,
    counterfactual_chance,
    redact_words,
    remove_words,
    rewrite_text,
    word_edit_share,
)

PAIR = Example("e1", "own", "test", "en", ("A  man, asleep.", "The man\nruns fast "), "contradiction", gold=(True,) * 7)


def example(*segments):
    return Example("e", "own", "test", "en", segments, "positive")


def test_redaction_keeps_blanks_and_all_other_words():
    edited = redact_words(PAIR, [0, 1, 0, 0, 0, 1, 1])
    assert edited.segments == ("A  [REDACTED] asleep.", "The man\n[REDACTED] [REDACTED] ")
    assert (edited.example_id, edited.label, edited.gold, edited.annotators) == (
        "e1/redacted",
        "contradiction",
        None,
        (),
    )
    assert len(edited.words) == len(PAIR.words)


def test_removal_takes_the_blank_in_front_and_can_empty_one_segment():
    assert remove_words(PAIR, [0, 1, 0, 0, 0, 1, 1]).segments == ("A asleep.", "The man")
    assert remove_words(PAIR, [1, 0, 0, 0, 0, 0, 0]).segments == ("man, asleep.", "The man\nruns fast")
    assert remove_words(PAIR, [1, 1, 1, 0, 0, 0, 0]).segments == ("", "The man\nruns fast")


def test_only_the_marked_occurrence_of_a_repeated_word_changes():
    assert redact_words(example("bad bad bad"), [0, 1, 0]).text == "bad [REDACTED] bad"
    assert redact_words(example("bad badly"), [1, 0], token="_").text == "_ badly"


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.text("ab,", min_size=1, max_size=3), min_size=1, max_size=4), min_size=1, max_size=2),
    st.data(),
)
def test_edits_change_marked_words_and_nothing_else(texts, data):
    original = example(*(data.draw(st.sampled_from([" ", "  ", "\n"])).join(words) for words in texts))
    n = len(original.words)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    if mask.any():
        redacted = redact_words(original, mask, "#")
        assert redacted.word_texts == [
            "#" if marked else word for word, marked in zip(original.word_texts, mask, strict=True)
        ]
        assert [word.segment for word in redacted.words] == [word.segment for word in original.words]
    if mask.any() and not mask.all():
        kept = [(word.text, word.segment) for word, marked in zip(original.words, mask, strict=True) if not marked]
        removed = remove_words(original, mask)
        assert [(word.text, word.segment) for word in removed.words] == kept
        # Removed words may hide among equal neighbours, but never more than were marked.
        assert word_edit_share(original, removed) == pytest.approx(mask.sum() / n)


def edit_distance(first, second):
    """Levenshtein distance, cell by cell."""
    table = np.zeros((len(first) + 1, len(second) + 1), int)
    table[:, 0], table[0] = range(len(first) + 1), range(len(second) + 1)
    for i, a in enumerate(first, 1):
        for j, b in enumerate(second, 1):
            table[i, j] = min(table[i - 1, j - 1] + (a != b), table[i - 1, j] + 1, table[i, j - 1] + 1)
    return table[-1, -1]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=8), st.lists(st.sampled_from("abc"), min_size=1, max_size=8)
)
def test_edit_share_is_the_levenshtein_distance_of_words(first, second):
    one, other = example(" ".join(first)), example(" ".join(second))
    expected = edit_distance(first, second) / max(len(first), len(second))
    assert word_edit_share(one, other) == pytest.approx(expected) == word_edit_share(other, one)


def test_rewriting_by_the_model():
    edited = rewrite_text(example("a fine film"), ["a dull film"])
    assert edited.example_id == "e/rewritten" and word_edit_share(example("a fine film"), edited) == pytest.approx(
        1 / 3
    )


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: redact_words(example("a b"), [0, 0]), "changes no word"),
        (lambda: remove_words(example("a b"), [1, 1]), "leaves no word"),
        (lambda: redact_words(example("a b"), [1]), "align"),
        (lambda: redact_words(example("a b"), [1, 0], "not one"), "without blanks"),
        (lambda: redact_words(example("a _"), [0, 1], "_"), "changes no word"),
        (lambda: rewrite_text(example("a b"), ["a  b"]), "changes no word"),
        (lambda: rewrite_text(example("a b"), ["a", "b"]), "segments"),
        (lambda: consistent(["a"], ["a", "b"], "importance"), "pair"),
        (lambda: consistent(["a"], ["a"], "importances"), "importance"),
        (lambda: consistent(["a", "b", "c"], ["a", "a", "a"], "counterfactual"), "targets"),
        (lambda: consistent(["a"], ["a"], "counterfactual", targets=["a", "b"]), "one target"),
        (lambda: counterfactual_chance(["a"], ["a", "b"]), "pair"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(StudyError, match=match):
        call()


def test_answers_by_hand():
    before = ["positive", "negative", "positive", "unknown", None, "negative", "positive"]
    after = ["unknown", "neutral", "negative", "unknown", "unknown", None, "positive"]
    expected = [1, 1, 0, np.nan, np.nan, np.nan, 0]
    for kind in ("importance", "redaction"):
        assert consistent(before, after, kind) == pytest.approx(expected, nan_ok=True)
    assert consistent(before, after, "redaction", unknown=("neutral",)) == pytest.approx(
        [0, 1, 0, 0, np.nan, np.nan, 0], nan_ok=True
    )
    assert consistent(before, after, "counterfactual") == pytest.approx(
        [0, 0, 1, np.nan, np.nan, np.nan, 0], nan_ok=True
    )
    targets = ["unknown", "positive", "negative", "positive", "negative", "positive", None]
    assert consistent(before, after, "counterfactual", targets) == pytest.approx(
        [1, 0, 1, np.nan, np.nan, np.nan, np.nan], nan_ok=True
    )


def test_no_readable_answer_is_no_crash():
    assert np.isnan(consistent([None], [None], "counterfactual")).all()
    assert consistent([], [], "importance").shape == (0,)
    assert np.isnan(counterfactual_chance([None], ["a"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("pnu"), st.sampled_from("pn")), min_size=1, max_size=5))
def test_chance_is_the_mean_over_all_ways_to_deal_out_the_answers(pairs):
    answers, targets = zip(*pairs, strict=True)
    every = [np.mean([a == t for a, t in zip(dealt, targets, strict=True)]) for dealt in permutations(answers)]
    assert counterfactual_chance(answers, targets) == pytest.approx(np.mean(every))


def test_a_model_with_one_answer_is_at_chance():
    before, after = ["p", "n", "p", "p"], ["n"] * 4
    targets = ["n", "p", "n", "n"]
    assert np.mean(consistent(before, after, "counterfactual")) == counterfactual_chance(after, targets) == 0.75

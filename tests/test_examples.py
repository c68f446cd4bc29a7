"""Examples and corpora: words with offsets, masks that fit, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError, require_known
from rationales.examples import Corpus, Example, majority_rationale, spans_to_words, split_words


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=3))
def test_words_are_the_runs_between_white_space(segments):
    words = split_words(tuple(segments))
    assert [word.text for word in words] == [piece for segment in segments for piece in segment.split()]
    for word in words:
        assert segments[word.segment][word.start : word.end] == word.text


def test_majority_keeps_ties_as_p2_does():
    masks = ((True, False, True), (False, False, True))
    assert majority_rationale(masks) == (True, False, True)
    assert majority_rationale(masks, threshold=0.6) == (False, False, True)
    assert majority_rationale(()) is None


def test_spans_mark_every_word_they_touch():
    words = split_words(("ab cd ef", "ab"))
    assert spans_to_words(words, [(1, 4)]) == (True, True, False, False)
    assert spans_to_words(words, [(2, 3)]) == (False, False, False, False)  # a blank alone
    assert spans_to_words(words, [(0, 1)], segment=1) == (False, False, False, True)
    assert spans_to_words(words, [(4, 4)]) == (False, False, False, False)  # nothing


@pytest.mark.parametrize(
    "change, words",
    [
        ({"segments": ("  \n ",)}, "empty text"),
        ({"gold": (True,)}, "1 entries for 2 words"),
        ({"gold_graded": (1.0, 2.0, 3.0)}, "3 entries for 2 words"),
        ({"annotators": ((True, False), (True,))}, "annotator 1"),
    ],
)
def test_examples_that_do_not_fit_are_refused(change, words):
    given_values = {"segments": ("two words",), **change}
    with pytest.raises(StudyError, match=words):
        Example("x", "own", "test", "en", label="yes", **given_values)


def test_corpora_refuse_repeated_ids_and_unknown_labels():
    example = Example("x", "own", "test", "en", ("two words",), "yes")
    with pytest.raises(StudyError, match="'x' twice"):
        Corpus("own", "t", ("yes", "no"), (example, example))
    with pytest.raises(StudyError, match="not one of: a, b"):
        Corpus("own", "t", ("a", "b"), (example,))


def test_unknown_names_come_with_the_choices_and_a_guess():
    with pytest.raises(StudyError, match="Unknown fruit 'aple'; choose one of: apple, pear. Did you mean 'apple'?"):
        require_known("aple", ["pear", "apple"], "fruit")
    assert require_known("pear", ["pear"], "fruit") == "pear"

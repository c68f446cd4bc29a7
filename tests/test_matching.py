"""Matching of returned words to the words of a text, against hand-made cases and brute force."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationales.explainers.matching import MAX_ALIGNED_PAIRS, match_list, match_scores, normalise_word

QUIET = {"deadline": None, "derandomize": True, "database": None}
TREEBANK = "It 's a film that does n't bore , a `` gem '' -- well-made and TV - ready .".split()
CLINGING = "It's witless; an art-house bore, isn't it? (No.)".split()


@pytest.mark.parametrize(
    ("one", "other"),
    [("Bore,", "bore"), ("“Bore”", "bore"), ("it’s", "It's"), ("well‐made", "well-made"), ("``", '"'), ("''", "”"),
     ("--", "—"), ("...", "…"), ("-LRB-", "("), ("a\\/b", "a/b"), ("ﬁlm", "film"), ("STRASSE", "straße"),
     ("cafe\u0301", "café"), ("*bore*", "bore"), ("`", "'")],
)  # fmt: skip
def test_words_that_are_equal(one, other):
    assert normalise_word(one) == normalise_word(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bore", "bored"),
        ("its", "it's"),
        ("n't", "nt"),
        ("well-made", "well made"),
        ("cafe", "café"),
        (",", "."),
        ("(", ")"),
    ],
)
def test_words_that_differ(one, other):
    assert normalise_word(one) != normalise_word(other)


@pytest.mark.parametrize(
    ("entry", "words", "selected"),
    [
        ("film", TREEBANK, [3]), ("fil", TREEBANK, []), ("a", TREEBANK, [2]), (",", TREEBANK, [8]),
        ('"', TREEBANK, [10]),
        ("It's", TREEBANK, [0, 1]), ("doesn't", TREEBANK, [5, 6]), ("doesn’t bore", TREEBANK, [5, 6, 7]),
        ("TV-ready", TREEBANK, [16, 18]), ("well made", TREEBANK, [14]), ("a gem", TREEBANK, [9, 11]),
        ("'s", TREEBANK, [1]), ("n't", TREEBANK, [6]), ("filmthat", TREEBANK, []), ("m that d", TREEBANK, []),
        ("It 's", CLINGING, [0]), ("art", CLINGING, []), ("art house bore", CLINGING, [3, 4]), ("no", CLINGING, [7]),
        ("isnt", CLINGING, [5]), ("is", CLINGING, []), ("witless an", CLINGING, [1, 2]),
        ("a way", ["away"], []), ("away", ["a", "way"], []), ("", TREEBANK, []),
    ],
)  # fmt: skip
def test_one_entry(entry, words, selected):
    assert match_list([entry], words, "split").selected == selected


def test_a_word_is_taken_as_often_as_the_text_holds_it():
    match = match_list(["a", "A", "a"], "a b a".split(), "split")
    assert match.selected == [0, 2] and match.duplicates == 1 and match.repairs == {"wrong case"}
    assert match_list(["You", "you"], "you You".split(), "split").selected == [1, 0]  # the equal spelling first
    assert match_list(["the gem", "a gem"], "a gem the gem".split(), "split").selected == [2, 3, 0, 1]


def test_phrases_take_adjacent_words_first():
    words = "good bad not good".split()
    assert match_list(["not good"], words, "split").selected == [2, 3]
    assert match_list(["good", "not good"], words, "split").selected == [0, 2, 3]
    overlapping = match_list(["not", "not good"], words, "split")
    assert overlapping.selected == [2, 3] and overlapping.glued == 0
    again = match_list(["not good", "not good"], words, "split")
    assert again.selected == [2, 3] and again.duplicates == 1


def test_phrases_of_words_that_are_not_adjacent():
    words = "a slow but never dull film".split()
    split = match_list(["slow film", "never dull, slow", "dull story", "good story"], words, "split")
    assert split.selected == [1, 5, 3, 4] and split.glued == 2
    assert split.not_in_text == ["dull story", "good story"]
    partly = match_list(["slow, boring, dull film"], words, "split")
    assert partly.selected == [1, 4, 5] and partly.glued == 1 and partly.not_in_text == ["boring"]
    strict = match_list(["slow film", "dull film"], words, "reject")
    assert strict.selected == [4, 5] and strict.glued == 1 and strict.not_in_text == ["slow film"]


def test_punctuation_that_clings_to_words_is_left_out_when_listed_apart():
    match = match_list([";", "%"], CLINGING, "split")
    assert match.selected == [] and match.not_in_text == ["%"] and match.repairs == {"punctuation apart"}


def test_scores_follow_the_text_where_entries_are_left_out():
    """An answer that skips repeated words, as GPT-3.5's do: the rest must not slide."""
    words = "the cat and the dog and the bird".split()
    entries = [("the", 1), ("cat", 2), ("the", 3), ("dog", 4), ("and", 5), ("bird", 6)]
    np.testing.assert_array_equal(match_scores(entries, words, "split").scores, [1, 2, math.nan, 3, 4, 5, math.nan, 6])


def test_scores_for_parts_and_for_several_words():
    parts = [("It", 0.1), ("'s", 0.2), ("witless", 0.3), (";", 0.4), ("an", 0), ("art", 1), ("-", 2), ("house", 3)]
    match = match_scores(parts, CLINGING, "split")
    np.testing.assert_allclose(match.scores, [0.1 + 0.2, 0.3 + 0.4, 0, 6, *[math.nan] * 4])
    assert match.repairs == {"word in parts"}
    joined = match_scores([("It's", 0.5), ("a", 1), ("film that", 2), ("doesn't", 3)], TREEBANK, "split")
    np.testing.assert_array_equal(joined.scores, [0.5, 0.5, 1, 2, 2, 3, 3, *[math.nan] * (len(TREEBANK) - 7)])
    assert joined.repairs == {"joined words", "phrase"}


def test_scores_out_of_order_and_twice():
    match = match_scores([("b", 1), ("c", 2), ("a", 3), ("b", 4), ("d", 5)], "a b c".split(), "split")
    assert match.scores == [3, 1, 2] and match.duplicates == 1 and match.not_in_text == ["d"]
    assert match.repairs == {"out of order"}


LETTERS = st.lists(st.sampled_from("abcd"), max_size=9)


@settings(max_examples=300, **QUIET)
@given(LETTERS, LETTERS.filter(bool))
def test_lists_of_single_words_agree_with_counting(entries, words):
    match = match_list(entries, words, "split")
    given_, held = Counter(entries), Counter(words)
    assert Counter(words[index] for index in match.selected) == given_ & held
    assert match.duplicates == sum(max(0, given_[word] - held[word]) for word in held)
    assert Counter(match.not_in_text) == Counter({word: n for word, n in given_.items() if word not in held})
    for word in held:  # the first ones of the text, in order
        taken = [index for index in match.selected if words[index] == word]
        assert taken == [index for index, other in enumerate(words) if other == word][: len(taken)]


def longest_common(one: list[str], other: list[str]) -> int:
    """Length of the longest common subsequence by the quadratic table."""
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    return int(table[-1, -1])


@settings(max_examples=300, **QUIET)
@given(LETTERS, LETTERS.filter(bool))
def test_scores_keep_the_longest_run_in_text_order(entries, words):
    match = match_scores([(word, float(number)) for number, word in enumerate(entries)], words, "split")
    scored = [(index, int(score)) for index, score in enumerate(match.scores) if not math.isnan(score)]
    assert all(words[index] == entries[number] for index, number in scored)
    assert len(scored) == sum((Counter(entries) & Counter(words)).values())
    longest = longest_common(entries, words)
    order = [number for _, number in scored]
    assert len(longest_increasing(order)) >= longest
    assert ("out of order" in match.repairs) == (len(scored) > longest)


def longest_increasing(numbers: list[int]) -> list[int]:
    best: list[list[int]] = []
    for position, number in enumerate(numbers):
        before = [run for run, last in zip(best, numbers[:position], strict=True) if last < number]
        best.append([*max(before, key=len, default=[]), number])
    return max(best, key=len, default=[])


def test_too_many_equal_pairs_fall_back_to_the_order_of_the_answer():
    words = ["a"] * 1000
    entries = [("a", float(number)) for number in range(MAX_ALIGNED_PAIRS // 1000 + 1)]
    match = match_scores(entries, words, "split")
    assert match.scores[: len(entries)] == [score for _, score in entries]

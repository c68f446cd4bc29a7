"""The planted corpus: its known answer, its shortcut, and that it is the same everywhere."""

import numpy as np
import pytest

from rationales.corpora.planted import Planting, draw_cues, load_planted_opinion, load_planted_sentiment, substitutes
from rationales.corpora.registry import load_corpus
from rationales.errors import StudyError

LOADERS = [load_planted_sentiment, load_planted_opinion]


@pytest.mark.parametrize("load", LOADERS)
def test_generation_depends_on_the_seed_alone(load):
    one, same, other = load(train=20, test=5), load(train=20, test=5), load(train=20, test=5, seed=1)
    assert one.examples == same.examples
    assert [e.text for e in one.examples] != [e.text for e in other.examples]
    # An item does not depend on how many others were asked for.
    assert load(train=3, test=5).of_split("test") == one.of_split("test")


@pytest.mark.parametrize("load", LOADERS)
def test_labels_follow_from_the_weights_and_gold_words_support_them(load):
    corpus = load(train=200, test=60)
    for example in corpus.examples:
        weights, sign = np.array(example.meta["weights"]), 1 if example.label == corpus.labels[1] else -1
        if example.meta["label_is_noise"]:
            assert not any(example.gold)
        else:
            np.testing.assert_array_equal(example.gold, weights * sign > 0)
            assert any(example.gold)
    assert not any(example.meta["label_is_noise"] for example in corpus.of_split("test"))


def test_cues_add_up_to_the_label():
    for seed in range(200):
        for sign in (1, -1):
            cues = draw_cues(np.random.default_rng(seed), Planting(difficulty=0.8, max_cues=3), sign)
            assert 1 <= len(cues) <= 3 and np.sign(sum(polarity * strength for polarity, strength in cues)) == sign


@pytest.mark.parametrize("load, favoured", [(load_planted_sentiment, "positive"), (load_planted_opinion, "opinion")])
def test_shortcut_goes_with_one_label_in_training_and_with_none_in_test(load, favoured):
    corpus = load(train=1500, test=1500, label_noise=0.1)
    for split, purity in [("train", 0.9), ("test", 0.5)]:
        held = [e for e in corpus.of_split(split) if e.meta["has_shortcut"]]
        share, n = np.mean([e.label == favoured for e in held]), len(held)
        assert abs(share - purity) < 4 * np.sqrt(purity * (1 - purity) / n)
        assert abs(n / len(corpus.of_split(split)) - 0.3) < 0.03
        for example in held:
            place = next(i for i, slot in enumerate(example.meta["slots"]) if slot.startswith("shortcut:"))
            assert not example.gold[place]


def test_the_label_can_be_told_from_the_gold_words_but_not_from_the_rest_of_a_test_text():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    corpus = load_planted_sentiment(train=1500, test=300, languages=("en",), label_noise=0.0, difficulty=0.3)

    def accuracy(part):
        texts = {s: [" ".join(part(e)) for e in corpus.of_split(s)] for s in ("train", "test")}
        labels = {s: [e.label for e in corpus.of_split(s)] for s in ("train", "test")}
        vectorizer = CountVectorizer(token_pattern=r"\w+")
        model = LogisticRegression(max_iter=500).fit(vectorizer.fit_transform(texts["train"]), labels["train"])
        return model.score(vectorizer.transform(texts["test"]), labels["test"])

    cues = accuracy(lambda e: [w for w, weight in zip(e.word_texts, e.meta["weights"], strict=True) if weight])
    rest = accuracy(lambda e: [w for w, weight in zip(e.word_texts, e.meta["weights"], strict=True) if not weight])
    assert cues > 0.8 and rest < 0.65


def test_annotators_miss_and_add_at_the_stated_rates():
    corpus = load_planted_sentiment(train=0, validation=0, test=400, annotators=4)
    gold = np.concatenate([np.tile(e.gold, 4) for e in corpus.examples])
    marks = np.concatenate([np.ravel(e.annotators) for e in corpus.examples])
    assert marks[gold].mean() == pytest.approx(0.88, abs=0.02)
    assert 0 < marks[~gold].mean() < 0.08


def test_substitutes_stay_in_the_slot_and_change_the_word():
    for example in load_planted_sentiment(train=60, test=0, validation=0).examples:
        for word, slot, weight, options in zip(
            example.word_texts, example.meta["slots"], example.meta["weights"], substitutes(example), strict=True
        ):
            assert word not in options
            if weight:
                assert options, "every cue can be swapped"
            if slot == "fixed":
                assert options == []


@pytest.mark.parametrize(
    "options, words",
    [
        ({"difficulty": 2}, "from 0 to 1"),
        ({"shortcut_rate": 0.9}, "at most 0.5"),
        ({"max_cues": 0}, "at least 1"),
        ({"languages": ("xx",)}, "no language 'xx'"),
        ({"colour": 1}, "no option 'colour'"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(StudyError, match=words):
        load_corpus("planted_sentiment", **options)


def test_four_languages_are_balanced():
    corpus = load_planted_sentiment(train=10, test=4)
    assert {e.language for e in corpus.examples} == {"en", "da", "it", "fr"}
    assert np.mean([e.label == "positive" for e in corpus.of_split("test")]) == 0.5

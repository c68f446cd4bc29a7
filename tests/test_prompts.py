"""Prompts: every paradigm in every language says what it must and no more."""

import re
from dataclasses import fields

import pytest

from rationales.corpora.planted import load_planted_opinion, load_planted_sentiment
from rationales.errors import StudyError
from rationales.examples import Example
from rationales.explainers.prompts import (
    Paradigm,
    all_paradigms,
    conversation,
    parse_paradigm,
    rationale_request,
    score_sign,
    words_asked_for,
)
from rationales.explainers.wordings import PHRASES, WORDINGS, Phrases, phrases_for
from rationales.tasks import TASKS, wording_for

CORPORA = [load_planted_sentiment(train=2, validation=0, test=2, label_noise=0.0), load_planted_opinion(2, 0, 2)]
CASES = [(corpus, example) for corpus in CORPORA for example in corpus.of_split("test")]


def test_names_of_paradigms_round_trip_and_are_unique():
    names = [paradigm.name for paradigm in all_paradigms()]
    assert len(set(names)) == len(names) == 24
    assert [parse_paradigm(name).name for name in names] == names


@pytest.mark.parametrize("paraphrase", range(WORDINGS))
@pytest.mark.parametrize("paradigm", all_paradigms(), ids=lambda p: p.name)
def test_requests_name_label_and_length_only_when_they_should(paradigm, paraphrase):
    for corpus, example in CASES:
        labels = wording_for(corpus.task, example.language).labels
        anchor = corpus.labels[0]
        request = rationale_request(paradigm, corpus.task, example, corpus.labels, anchor, paraphrase)
        named = any(word in request.replace("(", " ").replace(")", " ").split() or f"{word}." in request or f"{word}," in request
                    or f"{word}?" in request for word in labels.values())  # fmt: skip
        on_label_scale = paradigm.form == "scores" and not paradigm.anchored
        assert "{" not in request.replace("{}", "")
        if paradigm.anchored:
            assert labels[anchor] in request
        elif not on_label_scale:
            assert not named, request
        k = words_asked_for(paradigm, example)
        assert (k is None) == (paradigm.length == "free")
        if k is not None:
            assert str(k) in request
            assert k == (
                sum(example.gold) if paradigm.length == "human" else max(1, int(0.2 * len(example.words) + 0.5))
            )


@pytest.mark.parametrize("paradigm", all_paradigms(), ids=lambda p: p.name)
def test_conversations_hold_the_text_once_and_share_the_classification_turn(paradigm):
    for corpus, example in CASES:
        messages = conversation(paradigm, corpus.task, example, corpus.labels, "positive", corpus.labels[1])
        assert messages[-1]["role"] == "user"
        assert sum(message["content"].count(example.text) for message in messages) == 1
        assert len(messages) == (3 if paradigm.order == "PE" else 1)
        if paradigm.order == "PE":
            other = conversation(all_paradigms()[0], corpus.task, example, corpus.labels, "positive", corpus.labels[1])
            assert messages[:2] == other[:2]


def placeholders(text):
    return sorted(re.findall(r"{(\w+)}", text))


@pytest.mark.parametrize("language", sorted(PHRASES))
def test_paraphrases_have_other_words_and_the_same_facts(language):
    wordings = PHRASES[language]
    assert len(wordings) == WORDINGS >= 3
    for name in (field.name for field in fields(Phrases)):
        texts = [getattr(phrases, name) for phrases in wordings]
        assert len({text.casefold() for text in texts}) == WORDINGS, name
        assert len({tuple(placeholders(text)) for text in texts}) == 1, name
        numbers = [sorted(re.findall(r"-?\d", text)) for text in texts]
        assert numbers[1:] == numbers[:-1], name  # the scale from -1 to 1
        assert all(("JSON" in text) == name.startswith("json") for text in texts), name
        assert all(text.endswith(":") == (name == "then_answer") for text in texts), name
    for bracket in ("[", "]"):
        assert all(bracket in phrases.json_pairs and bracket not in phrases.json_words for phrases in wordings)


@pytest.mark.parametrize("paradigm", all_paradigms(), ids=lambda p: p.name)
def test_a_paraphrased_conversation_differs_in_the_request_for_the_rationale_alone(paradigm):
    for corpus, example in CASES:
        asked = [
            conversation(paradigm, corpus.task, example, corpus.labels, "positive", corpus.labels[1], paraphrase)
            for paraphrase in range(WORDINGS)
        ]
        assert len({messages[-1]["content"] for messages in asked}) == WORDINGS
        assert all(messages[:-1] == asked[0][:-1] for messages in asked)
        if paradigm.order == "EP":  # the same question and text behind another request
            question = wording_for(corpus.task, example.language).question
            ends = {messages[0]["content"].split(question)[1] for messages in asked}
            assert len(ends) == 1 and example.text in ends.pop()


def test_a_paraphrase_that_does_not_exist_is_refused():
    assert phrases_for("de", 1) is PHRASES["en"][1]
    for number in (-1, WORDINGS):
        with pytest.raises(StudyError, match="no paraphrase"):
            phrases_for("en", number)


def test_braces_in_a_text_are_left_alone():
    example = Example("x", "own", "test", "en", ("a {0} {weird} text",), "positive", gold=(True, False, False, False))
    for paradigm in all_paradigms():
        messages = conversation(paradigm, "sentiment", example, ("negative", "positive"), "positive", "positive")
        assert "a {0} {weird} text" in messages[0]["content"]


def test_word_scores_are_turned_only_on_the_label_scale():
    labels = ("negative", "positive")
    opened, anchored = parse_paradigm("PE-scores-free-unanchored"), parse_paradigm("PE-scores-free-anchored")
    assert score_sign(opened, labels, "negative") == -1 and score_sign(opened, labels, "positive") == 1
    assert score_sign(anchored, labels, "negative") == 1
    assert score_sign(opened, ("a", "b", "c"), "a") == 1


@pytest.mark.parametrize(
    "name",
    ["", "PE", "PE-scores-human-anchored", "PE-topk-free-anchored", "XX-list-free-anchored", "PE-list-free-maybe"],
)
def test_impossible_paradigms_are_refused(name):
    with pytest.raises(StudyError):
        parse_paradigm(name)


def test_human_length_needs_a_human_rationale():
    bare = Example("x", "own", "test", "en", ("no marks",), "positive")
    with pytest.raises(StudyError, match="no human rationale"):
        words_asked_for(Paradigm("PE", "topk", "human", True), bare)


def test_every_task_has_wording_for_each_of_its_labels():
    for task, wordings in TASKS.items():
        sets = [set(wording.labels) for wording in wordings.values()]
        assert all(labels == sets[0] for labels in sets), task
        for wording in wordings.values():
            assert len(set(wording.labels.values())) == len(wording.labels)
    assert wording_for("sentiment", "de") is wording_for("sentiment", "en")
    with pytest.raises(StudyError, match="Unknown task"):
        wording_for("poetry", "en")

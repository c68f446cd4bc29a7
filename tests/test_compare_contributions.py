"""Attribution of answer and reply against brute force on a random model, and the agreement of known contributions."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ttest_1samp

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.explainers.prompts import classification_request, conversation, parse_paradigm
from rationales.metrics.contributions import RESOLUTION, check_contributions, weigh_tokens
from rationales.reporting.contributions import (
    contributions_sentence,
    contributions_summary,
    contributions_table,
    without_contributions,
)
from rationales.stages.compare_contributions import (
    agreement_rows,
    compare_contributions,
    contribution_rows,
    explaining_part,
    single_deletions,
)
from rationales.study import DEFAULTS
from rationales.subjects.encoding import render_prompt
from rationales.subjects.engine import Engine, Request
from rationales.subjects.replies import encode_reply, reply_log_probs
from rationales.tasks import wording_for
from tiny_models import random_causal, sentiment
from tiny_study import open_tiny_study

PARADIGM = "PE-list-free-anchored"
REPLY = '["film", "two"]'


def texts(n=3):
    return sentiment().of_split("test")[:n]


def prompt_of(example, paradigm=PARADIGM):
    answer = wording_for("sentiment", example.language).labels[example.label]
    parsed = parse_paradigm(paradigm)
    messages = conversation(parsed, "sentiment", example, sentiment().labels, answer, example.label)
    return random_causal().render(messages)


def read_alone(ids, reply):
    """Log-probabilities of the tokens of a reply, from one unpadded sequence."""
    with torch.no_grad():
        logits = random_causal().model(torch.tensor([[*ids, *reply]])).logits[0].double()
    logs = torch.log_softmax(logits, -1)
    return [float(logs[len(ids) + step - 1, token]) for step, token in enumerate(reply)]


def test_every_deletion_equals_a_sequence_read_alone():
    subject, examples = random_causal(), texts()
    replies = [REPLY, '["a"]', "Because of one word."]
    encoded = [encode_reply(subject, e, prompt_of(e), reply) for e, reply in zip(examples, replies, strict=True)]
    masks = [single_deletions(len(example.words)) for example in examples]
    for budget in (8192, 1):  # batches of any size give the same
        found = reply_log_probs(subject, encoded, masks, budget)
        for one, values in zip(encoded, found, strict=True):
            reply = one.label_ids[0]
            for word in range(-1, one.n_words):
                left = one.token_ids[one.token_words != word] if word >= 0 else one.token_ids
                assert values[word + 1] == pytest.approx(read_alone(left.tolist(), reply), abs=2e-4)


def test_words_are_found_in_the_conversation_and_the_reply_reads_back():
    subject = random_causal()
    for example in sentiment().of_split("test"):
        for paradigm in (PARADIGM, "EP-list-free-unanchored"):
            prompt = prompt_of(example, paradigm)
            one = encode_reply(subject, example, prompt, REPLY)
            for number, word in enumerate(example.word_texts):
                assert subject.tokenizer.decode(one.token_ids[one.token_words == number]).strip() == word
            assert subject.tokenizer.decode(one.label_ids[0]).strip() == REPLY
            assert subject.tokenizer.decode(one.token_ids[one.token_words < 0]).count(example.words[0].text + " ") < 2
    assert encode_reply(subject, texts()[0], "another prompt", REPLY) is None
    with pytest.raises(StudyError, match="is empty"):
        encode_reply(subject, texts()[0], prompt_of(texts()[0]), " ")


def test_labels_as_replies_are_answered_as_the_engine_answers():
    """The label words, scored as replies to the classification turn and normalised, are the engine's answers."""
    subject, corpus = random_causal(), sentiment()
    engine = Engine(subject)
    for example in texts():
        prompt, _ = render_prompt(
            subject.tokenizer, classification_request("sentiment", example), subject.prompt_style, "x"
        )
        words = wording_for("sentiment", example.language).labels
        encoded = [encode_reply(subject, example, prompt, words[label]) for label in corpus.labels]
        masks = single_deletions(len(example.words))
        sums = np.stack([values.sum(1) for values in reply_log_probs(subject, encoded, [masks] * len(encoded))], 1)
        normalised = sums - np.logaddexp.reduce(sums, axis=1, keepdims=True)
        assert normalised == pytest.approx(engine.answer([Request(example, masks, "delete")])[0], abs=5e-4)


def test_same_contributions_agree_fully_and_opposite_ones_not_at_all():
    answer = np.array([2.0, -1.0, 0.5, 0.0])
    for sign in (1, -1):
        rows = agreement_rows(answer, sign * np.outer(answer, [1.0, 3.0]))
        assert [row["value"] for row in rows] == pytest.approx([sign] * 4) and all(row["valid"] for row in rows)
        assert len({(row["weighing"], row["measure"]) for row in rows}) == 4 and rows[0]["n_tokens"] == 2
    constant = agreement_rows(answer, np.zeros((4, 2)))
    assert all(np.isnan(row["value"]) and row["reason"] == "constant contributions" for row in constant)


def test_contributions_that_have_nothing_in_common_agree_by_chance():
    generator, rows = np.random.default_rng(0), []
    for number in range(400):
        shift = np.array([0.6, 0.0])[number % 2]  # a common sign lifts the cosine, and its chance level with it
        answer, drops = generator.normal(size=10) + shift, generator.normal(size=(10, 3)) + shift
        rows += [{"example_id": str(number), "paradigm": PARADIGM, **row} for row in agreement_rows(answer, drops)]
    table = pd.DataFrame(rows).assign(corpus="c", subject="s", tuning="base", seed=0)
    summary = contributions_summary(table).set_index(["weighing", "measure"])
    assert (summary["difference_low"] < 0).all() and (summary["difference_high"] > 0).all()
    assert (summary["chance"].xs("cosine", level="measure") > 0.05).all()
    assert summary["chance"].xs("spearman", level="measure").tolist() == [0, 0]
    assert (summary["used"] == 400).all()
    values = table.query("weighing == 'ratio' and measure == 'spearman'")["value"]
    interval = ttest_1samp(values, 0).confidence_interval(0.95)
    row = summary.loc["ratio", "spearman"]
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def test_tokens_are_weighed_by_their_drop_or_all_alike():
    drops = np.array([[3.0, 0.1], [1.0, -0.1], [0.0, 0.2]])
    found = weigh_tokens(drops)
    assert found["log_prob"] == pytest.approx([1.55, 0.45, 0.1])
    assert found["ratio"] == pytest.approx([(0.75 + 0.25) / 2, (0.25 - 0.25) / 2, 0.5 / 2])
    noise = np.column_stack([drops, [RESOLUTION / 2, -RESOLUTION / 2, 0]])
    assert weigh_tokens(noise)["ratio"] == pytest.approx(found["ratio"])


def explanation_tables(examples, reply=REPLY, broken=()):
    variants = [(e.example_id, PARADIGM, e.example_id not in broken, "refusal" if e.example_id in broken else "")
                for e in examples]  # fmt: skip
    explanations = pd.DataFrame(variants, columns=["example_id", "variant", "valid", "reason"])
    told = [(e.example_id, PARADIGM, 0, 0, prompt_of(e), reply) for e in examples]
    told += [(e.example_id, PARADIGM, 1, 0, "other words", reply) for e in examples]
    return explanations, pd.DataFrame(
        told, columns=["example_id", "paradigm", "paraphrase", "repeat", "prompt", "text"]
    )


def test_rows_hold_the_brute_force_contributions_and_reasons():
    examples, subject = texts(), random_causal()
    explanations, responses = explanation_tables(examples, broken={examples[1].example_id})
    responses.loc[2, "prompt"] = "no text in here"
    table = contribution_rows(Engine(subject), sentiment(), examples, explanations, responses, [PARADIGM])
    assert len(table) == 12 and not table.duplicated(["example_id", "paradigm", "weighing", "measure"]).any()
    assert table.groupby("example_id", sort=False)["valid"].all().tolist() == [True, False, False]
    assert table["reason"].iloc[::4].tolist() == ["", "refusal", "text not found in the prompt"]
    row, example = table.iloc[0], examples[0]
    one = encode_reply(subject, example, prompt_of(example), REPLY)
    whole = np.mean(read_alone(one.token_ids.tolist(), one.label_ids[0]))
    drops = [
        whole - np.mean(read_alone(one.token_ids[one.token_words != word].tolist(), one.label_ids[0]))
        for word in range(one.n_words)
    ]
    assert row["explanation_scores"] == pytest.approx(drops, abs=2e-4)
    assert (row["n_words"], row["n_tokens"]) == (one.n_words, len(one.label_ids[0]))
    engine, masks = Engine(subject), single_deletions(one.n_words)
    answers = engine.answer([Request(example, masks, "delete")])[0]
    label = sentiment().labels.index(row["predicted"])
    assert label == answers[0].argmax()
    assert row["answer_scores"] == pytest.approx(answers[0, label] - answers[1:, label], abs=1e-6)
    cosine = np.dot(drops, row["answer_scores"]) / np.linalg.norm(drops) / np.linalg.norm(row["answer_scores"])
    assert row["value"] == pytest.approx(cosine, abs=2e-3)
    shown = table.assign(corpus="c", subject="s", tuning="base", seed=0)
    assert without_contributions(shown)["texts"].tolist() == [1, 1]
    assert contributions_table(shown)["used"].tolist() == [1] * 4 and "over 1 of 3 texts" in contributions_sentence(
        shown
    )
    lost = shown[~shown["valid"]]
    assert "none of 2 replies" in contributions_sentence(lost)


def test_a_text_too_long_and_a_single_word_are_rows():
    examples, subject = texts(1), random_causal()
    word = Example("one", "planted_sentiment", "test", "en", ("good",), examples[0].label)
    explanations, responses = explanation_tables([word])
    table = contribution_rows(Engine(subject), sentiment(), [word], explanations, responses, [PARADIGM])
    assert set(table["reason"]) == {"a single word"} and not table["valid"].any()
    explanations, responses = explanation_tables(examples, reply=REPLY * 200)
    table = contribution_rows(Engine(subject), sentiment(), examples, explanations, responses, [PARADIGM])
    assert set(table["reason"]) == {"longer than the context"}


def test_only_the_reason_counts_where_the_label_comes_behind_it():
    assert explaining_part("EP-list-free-unanchored", '["film"]\npositive') == '["film"]'
    assert explaining_part("PE-list-free-unanchored", '["film"]\npositive') == '["film"]\npositive'


def test_nothing_asked_says_so_and_writes_nothing(tmp_path, monkeypatch):
    study = open_tiny_study(tmp_path, monkeypatch, resamples=10)
    assert compare_contributions(study, study.runs[0]).empty and not (study.folder / "contributions").exists()
    empty = pd.DataFrame(columns=["paradigm", "valid"])
    assert "self_explanations: contributions" in contributions_sentence(empty)
    assert contributions_table(empty).empty and without_contributions(empty).empty


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"contributions": ["PE-list-free-unanchored"]}, "paradigm whose replies"),
        ({"contributions": PARADIGM}, "must be a list"),
        ({"contributions_items": 0}, "at least 1"),
    ],
)
def test_mistakes_in_the_study_file_are_one_sentence(given, message):
    settings = {**DEFAULTS["self_explanations"], "paradigms": [PARADIGM]}
    check_contributions(settings)
    with pytest.raises(StudyError, match=message):
        check_contributions({**settings, **given})

"""Self-consistency on a look-up subject whose every answer is known, and the reading of replies."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.explainers.edit_prompts import (
    EDIT_PHRASES,
    question_with_unknown,
    read_redaction,
    read_rewriting,
    redaction_request,
    rewriting_request,
)
from rationales.explainers.wordings import PHRASES
from rationales.metrics.self_consistency import check_consistency, label_left
from rationales.reporting.consistency import (
    consistency_sentence,
    consistency_summary,
    consistency_table,
    unusable_edits,
)
from rationales.stages.ask_again import consistency_rows
from rationales.study import DEFAULTS

GOOD, BAD = "charming", "dull"
PARADIGM = "PE-list-free-anchored"


def review(number, text, label, gold=None):
    words = text.split()
    mask = None if gold is None else tuple(word in gold for word in words)
    return Example(f"{number}", "c", "test", "en", (text,), label, gold=mask)


EXAMPLES = [
    review(0, "a charming film about two sisters", "positive", {GOOD}),
    review(1, "a dull film about one brother", "negative", {BAD}),
    review(2, "one charming evening in the old town", "positive", {GOOD}),
    review(3, "two dull hours by the quiet sea", "negative", {BAD}),
]
CORPUS = Corpus("c", "sentiment", ("negative", "positive"), tuple(EXAMPLES))


class LookupEngine:
    """Answers by one word: positive with `charming`, negative with `dull`, else unknown or, if it must, negative."""

    token_budget = 100

    def __init__(self, edits):
        self.edits, self.asked = edits, []
        self.subject = SimpleNamespace(generate=self.generate)

    def label_of(self, text):
        return "positive" if GOOD in text.split() else "negative" if BAD in text.split() else "unknown"

    def full(self, examples):
        positive = np.array([self.label_of(example.segments[0]) == "positive" for example in examples])
        return np.log(np.where(positive[:, None], [0.1, 0.9], [0.8, 0.2]))

    def generate(self, conversations, max_new_tokens, token_budget, sample_seed, label):
        assert sample_seed is None and all(len(messages) == 1 for messages in conversations)  # a fresh conversation
        self.asked += [messages[0]["content"] for messages in conversations]
        texts = [messages[0]["content"].split("Movie review: ")[1] for messages in conversations]
        if label == "asking again":
            return [f"{self.label_of(text).capitalize()}." for text in texts]
        return [self.edits[label][text] for text in texts]


def explanations(named):
    rows = [(e.example_id, PARADIGM, None, words, words is not None, "" if words is not None else "refusal")
            for e, words in zip(EXAMPLES, named, strict=True)]  # fmt: skip
    return pd.DataFrame(rows, columns=["example_id", "variant", "scores", "selected", "valid", "reason"])


def settings(**given):
    return {**DEFAULTS["self_explanations"], "paradigms": [PARADIGM], **given}


def run(named, edits=None, **given):
    engine = LookupEngine(edits or {})
    table = consistency_rows(engine, CORPUS, EXAMPLES, explanations(named), settings(**given), 50, 0)
    return table.assign(corpus="c", subject="s", tuning="base", seed=0), engine


def test_importance_is_consistent_where_the_deciding_word_was_named():
    # Right, right but with a word more, wrong word, unreadable.
    table, engine = run([(1,), (1, 2), (0,), None], consistency=["importance"], consistency_edit="redact")
    own = table[table["words"] == "self"].set_index("example_id")
    assert own["value"].tolist()[:3] == [1, 1, 0] and np.isnan(own["value"].iloc[3])
    assert own["answer"].tolist()[:3] == ["unknown", "unknown", "positive"]
    assert own["valid"].tolist() == [True, True, True, False] and own["reason"].iloc[3] == "refusal"
    assert own["edited"].iloc[1] == "a [REDACTED] [REDACTED] about one brother" and own["k"].tolist()[:3] == [1, 2, 1]
    human = table[table["words"] == "human"]
    assert (human["value"] == 1).all() and len(human) == 3
    random = table[table["words"] == "random"].set_index("example_id")
    for example in EXAMPLES[:3]:
        row = random.loc[example.example_id]
        assert row["k"] == own.loc[example.example_id, "k"]
        gone = not {GOOD, BAD} & set(row["edited"].split())
        assert row["value"] == float(gone)
    assert all("“unknown”" in prompt for prompt in engine.asked)
    assert not table.duplicated(["example_id", "kind", "paradigm", "words"]).any()


def test_without_unknown_the_label_must_be_lost():
    """The subject says negative when nothing decides: only positive reviews can be seen to lose their label."""
    table, engine = run(
        [(1,), (1,), (0,), (1,)], consistency=["importance"], consistency_edit="remove", consistency_unknown=False
    )
    own = table[table["words"] == "self"].set_index("example_id")
    assert own["value"].tolist() == [1, 0, 0, 0] and not own["offered_unknown"].any()
    assert own["edited"].iloc[0] == "a film about two sisters" and not engine.asked
    assert label_left(["a", "a", None], ["b", "a", "b"]).tolist()[:2] == [1, 0]
    with pytest.raises(StudyError, match="pair them"):
        label_left(["a"], ["a", "b"])


def test_rewriting_must_reach_the_other_label_and_unusable_replies_are_rows():
    texts = [example.segments[0] for example in EXAMPLES]
    replies = ["a dull film about two sisters", texts[1], '["charming"]', "two charming hours by the quiet sea"]
    table, engine = run([(1,)] * 4, {"counterfactual": dict(zip(texts, replies, strict=True))},
                        consistency=["counterfactual"])  # fmt: skip
    assert table["target"].tolist() == ["negative", "positive", "negative", "positive"]
    assert table["value"].tolist()[0] == 1 and table["value"].tolist()[3] == 1 and table["value"].isna().sum() == 2
    assert table["reason"].tolist() == ["", "text unchanged", "not an edit of the text", ""]
    assert table["edit_share"].iloc[0] == pytest.approx(1 / 6) and (table["reply"] == replies).all()
    assert "the review is negative" in engine.asked[len(EXAMPLES)]
    summary = consistency_summary(table).iloc[0]
    assert (summary["asked"], summary["used"], summary["share"]) == (4, 2, 1.0)
    assert summary["chance"] == pytest.approx(0.5) and np.isnan(summary["random"])
    assert unusable_edits(table)["texts"].sum() == 2


def test_redaction_by_the_model_has_random_and_human_words_beside():
    texts = [example.segments[0] for example in EXAMPLES]
    replies = ["a [REDACTED] film about two sisters", "a dull [REDACTED] about one brother",
               "I'm sorry, I cannot do that.", "[REDACTED] dull [redacted] by the quiet sea"]  # fmt: skip
    table, _ = run([(1,)] * 4, {"redaction": dict(zip(texts, replies, strict=True))}, consistency=["redaction"])
    own = table[table["words"] == "self"].set_index("example_id")
    assert own["value"].tolist()[:2] == [1, 0] and own["value"].iloc[3] == 0
    assert own["reason"].iloc[2] == "refusal" and own["k"].iloc[3] == 2
    assert (table[table["words"] == "human"]["value"] == 1).all()
    assert (table[table["words"] == "random"]["k"].to_numpy() == own["k"].drop("2").to_numpy()).all()


def test_summary_counts_and_intervals_are_those_of_statsmodels():
    values = {"self": [1, 1, 1, 0, np.nan], "random": [0, 0, 1, 0, 1], "human": [1, 1, 1, 1, 1]}
    rows = [(f"{n}", "importance", PARADIGM, words, value, not np.isnan(value), "", "unknown", None, 1, 0.1)
            for words, given in values.items() for n, value in enumerate(given)]  # fmt: skip
    names = [
        "example_id",
        "kind",
        "paradigm",
        "words",
        "value",
        "valid",
        "reason",
        "answer",
        "target",
        "k",
        "edit_share",
    ]
    table = pd.DataFrame(rows, columns=names).assign(corpus="c", subject="s", tuning="base", seed=0)
    row = consistency_summary(table).iloc[0]
    low, high = proportion_confint(3, 4, method="wilson")
    assert (row["share"], row["share_low"], row["share_high"]) == pytest.approx((0.75, low, high))
    assert row["random"] == pytest.approx(0.4) and row["human"] == 1 and row["difference"] == pytest.approx(0.5)
    assert row["p"] == pytest.approx(0.5)  # two discordant pairs, both in one direction
    shown = consistency_table(table).iloc[0]
    assert shown["consistent"].startswith(".75 [") and shown["used"] == 4 and shown["texts"] == 5
    assert "4 texts" in consistency_sentence(table) and consistency_table(table.iloc[:0]).empty
    assert "does not ask" in consistency_sentence(table.iloc[:0])


TEXT = review(9, "A charming, quiet film.", "positive")
PAIR = Example("p", "c", "test", "en", ("a man sleeps", "a man is awake"), "contradiction")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("A dull, quiet film.", "A dull, quiet film."),
        ('```\nHere is the text:\n"A dull, quiet film."\n```', "A dull, quiet film."),
        ("Movie review: A dull, quiet film.", "A dull, quiet film."),
        ("A charming, quiet film.", "text unchanged"),
        ("", "empty answer"),
        ("```\n```", "empty answer"),
        ("I cannot rewrite this for you.", "refusal"),
        ("negative", "not an edit of the text"),
    ],
)
def test_rewritten_texts_are_read(reply, expected):
    edited, reason = read_rewriting("sentiment", reply, TEXT)
    assert (edited.segments[0] if edited else reason) == expected


def test_a_pair_is_read_from_two_lines():
    edited, reason = read_rewriting("nli", "Premise: a man sleeps\nHypothesis: a man is asleep", PAIR)
    assert edited.segments == ("a man sleeps", "a man is asleep") and reason == ""
    assert read_rewriting("nli", "a man is asleep", PAIR) == (None, "wrong number of segments")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("A [REDACTED], quiet film.", (False, True, False, False)),
        ("a [redacted] [redacted] film", (False, True, True, False)),
        ("A [REDACTED] film.", (False, True, True, False)),  # one token for two words
        ("“A <redacted> quiet film.”", (False, True, False, False)),
        ("A charming, quiet film.", "text unchanged"),
        ("A quiet film.", "nothing redacted"),
        ("A [REDACTED], loud film.", "other words changed"),
        ("[REDACTED] [REDACTED] [REDACTED] [REDACTED]", "everything redacted"),
    ],
)
def test_redacted_texts_are_read_as_masks(reply, expected):
    mask, reason = read_redaction("sentiment", reply, TEXT)
    assert (mask if mask is not None else reason) == expected


def test_requests_exist_in_every_language_and_put_the_text_last():
    assert set(EDIT_PHRASES) == set(PHRASES)
    for language in EDIT_PHRASES:
        example = Example("0", "c", "test", language, ("ord parola mot word",), "positive")
        requests = [redaction_request("sentiment", example), rewriting_request("sentiment", example, "negative"),
                    question_with_unknown("sentiment", example)]  # fmt: skip
        for (message,) in requests:
            assert message["content"].endswith(example.segments[0]) and "{" not in message["content"]
        assert EDIT_PHRASES[language].unknown in requests[2][0]["content"] and "[REDACTED]" in requests[0][0]["content"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"consistency": ["importence"]}, "Did you mean 'importance'"),
        ({"consistency_edit": "hide"}, "edit of the words"),
        ({"consistency_items": 0}, "at least 1"),
        ({"consistency_paradigms": ["PE-scores-free-anchored"]}, "paradigm to test"),
        ({"consistency": ["importance"], "paradigms": []}, "needs `paradigms`"),
    ],
)
def test_mistakes_in_the_study_file_are_one_sentence(given, message):
    with pytest.raises(StudyError, match=message):
        check_consistency(settings(**given))

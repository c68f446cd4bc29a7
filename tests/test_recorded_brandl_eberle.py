"""The recordings of Brandl & Eberle: hand-made files, alignment against recorded token strings, published numbers."""

import ast
import json
import os
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score

from corpora_fixtures import needs_real_corpora
from rationales.corpora import load_corpus
from rationales.corpora.download import registry
from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.recorded import brandl_eberle as tables_of
from rationales.recorded import brandl_eberle_answers as answers_of
from rationales.recorded import brandl_eberle_files as files_of
from rationales.recorded import brandl_eberle_published as published_of
from rationales.recorded import brandl_eberle_scores as scores_of
from rationales.recorded import relevance_words, substring_matching
from rationales.tables import KEYS

TEXT = "A lovely film , truly lovely ."
OTHER = "So dull it hurts ."
NAME = "llama_lrp__28__llama_rationales_seed_28_sparsity_oracle.jsonl"
IDS = [1, 10, 11, 12, 13, 14, 11, 15, 2]  # " A" " lovely" " film" " ," " truly" " lovely" " ."


def row(number: int = 0, text: str = TEXT, **changes) -> dict:
    gold = [0, 1, 0, 0, 0, 1, 0] if text == TEXT else [0, 1, 0, 1, 0]
    made = {
        "content": text,
        "true_label": int(text == TEXT),
        "gold_label_rationales": gold,
        "annotation_request": f"Consider: {text}",
        f"response_{number}": "(a) positive" if text == TEXT else "(b) negative",
        f"normalized_response_{number}": int(text == TEXT),
        "rationales": '[{"rationales": "lovely"}]' if text == TEXT else '[{"rationales": "dull"}]',
        "relevance_lrp": [9.0, 0.1, 2.0, 0.0, 0.0, 0.3, -1.0, 0.0, 0.5],
        "perturbation": {
            "tokenized_chat_until_answer": [IDS],
            "context_mask": [0, 1, 1, 1, 1, 1, 1, 1, 0],
            "answer": 77 if text == TEXT else 78,
        },
    }
    if text == OTHER:
        made["relevance_lrp"] = [8.0, 0.0, 3.0, 0.0, 1.0, 0.0, 1.0]
        made["perturbation"] |= {
            "tokenized_chat_until_answer": [[1, 20, 21, 22, 23, 15, 2]],
            "context_mask": [0, 1, 1, 1, 1, 1, 0],
        }
    return {key: value for key, value in (made | changes).items() if value is not None}


def write(folder, rows: list, name: str = NAME):
    path = folder / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def small_corpus() -> Corpus:
    examples = []
    for number, text in enumerate([TEXT, OTHER]):
        made = row(0, text)
        gold = tuple(mark == 1 for mark in made["gold_label_rationales"])
        label = files_of.LABELS[made["true_label"]]
        examples.append(Example(str(number), "small", "test", "en", (text,), label, (gold, gold), gold))
    return Corpus("small", "sentiment", files_of.LABELS, tuple(examples))


def made_tables(folder, rows: list, name: str = NAME) -> dict:
    run = files_of.read_recording(write(folder, rows, name))
    return tables_of.recorded_tables([run], small_corpus(), aligned=[])


def explained(folder, rows: list, explainer: str = "lrp") -> pd.DataFrame:
    table = made_tables(folder, rows)["explanations"]
    return table[table["explainer"] == explainer].set_index("example_id")


# ---- files


def test_row_is_read_by_prefix_and_words_get_the_sum_of_their_tokens(tmp_path):
    made = made_tables(tmp_path, [row(0), row(1, OTHER)])
    for name in ("predictions", "responses", "explanations"):
        assert not made[name].duplicated(KEYS[name]).any()
    lrp = made["explanations"].query("explainer == 'lrp'").set_index("example_id")
    assert lrp["valid"].all()
    assert lrp.loc["0", "scores"] == [0.1, 2.0, 0.0, 0.0, 0.3, -1.0, 0.0]
    details = json.loads(lrp.loc["0", "details"])
    assert details["share_first_token"] == pytest.approx(9 / 12.9)
    assert details["share_outside"] == pytest.approx(9.5 / 12.9)
    own = made["explanations"].query("explainer == 'self'").set_index("example_id")
    assert own.loc["0", "selected"] == [1] and own.loc["0", "variant"] == "PE-topk-human-anchored"
    assert made["predictions"]["correct"].all() and set(made["predictions"]["subject"]) == {"llama-2-13b-chat"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), '{"content": '], "Line 2 of .* is not JSON"),
        ([[1, 2]], "Line 1 of .* is not a JSON object"),
        ([row(content=None)], "Line 1 of .* has no field 'content'"),
        ([row(response_0=None)], "has no field 'response'"),
        ([row(response_5="x")], "more than one field 'response'"),
        ([row(content=7)], "'content' is not of type str"),
        ([row(true_label=2)], "label other than 0 and 1"),
        ([row(gold_label_rationales=[1, 0])], "not one 0 or 1 per word"),
        ([row(relevance_lrp=[1.0, "x"])], "'relevance' is not a list of numbers"),
        ([row(perturbation={"answer": 1})], "lacks token ids or context mask"),
        ([row(rationales=[1])], "'rationales' is not a text"),
        ([row(), row(1)], "twice"),
        ([], "holds no row"),
    ],
)
def test_broken_file_is_one_clear_error(tmp_path, rows, message):
    with pytest.raises(StudyError, match=message) as caught:
        files_of.read_recording(write(tmp_path, rows))
    assert "\n" not in str(caught.value)


def test_path_without_model_and_seed_needs_them(tmp_path):
    path = write(tmp_path, [row()], "mine.jsonl")
    with pytest.raises(StudyError, match="pass `subject` and `seed`"):
        files_of.read_recording(path)
    read = files_of.read_recording(path, subject="mine", seed=0).recording
    assert (read.subject, read.seed, read.attribution) == ("mine", 0, "lrp")
    upstream = write(tmp_path, [row()], "llama3_rationales_seed_79_sparsity_oracle.jsonl")
    read = files_of.read_recording(upstream).recording
    assert (read.subject, read.seed) == ("llama-3.1-8b-instruct", 79)
    with pytest.raises(StudyError, match="no file 'absent.jsonl'"):
        files_of.read_recording(tmp_path / "absent.jsonl")


def test_recordings_are_the_registered_files():
    keys = {key for key in registry() if key.startswith(files_of.FOLDER)}
    assert {recording.file for recording in files_of.RECORDINGS} == keys and len(files_of.RECORDINGS) == 29


def test_sentence_that_the_corpus_does_not_hold_or_labels_otherwise(tmp_path):
    wrong = row(content="Another lovely film , truly lovely .", gold_label_rationales=[0] * 7)
    with pytest.raises(StudyError, match="does not hold"):
        made_tables(tmp_path, [wrong])
    with pytest.raises(StudyError, match="another label"):
        made_tables(tmp_path, [row(true_label=0)])


# ---- rows that cannot be used stay, with a reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"relevance_lrp": [float("nan")] + [0.0] * 8}, tables_of.NOT_A_NUMBER),
        ({"relevance_lrp": [1.0] * 8}, tables_of.LENGTHS_DIFFER),
        ({"relevance_lrp": "N/T"}, tables_of.NOT_ATTRIBUTED),
        ({"perturbation": None}, tables_of.NO_TOKENS),
        ({"perturbation": {"tokenized_chat_until_answer": [IDS], "context_mask": [0] * 9}}, tables_of.NO_CONTEXT),
        ({"perturbation": {"tokenized_chat_until_answer": [IDS], "context_mask": [0, 0, 0, 0, 0, 1, 1, 1, 0]}},
         relevance_words.NOT_SPELLED),
    ],
)  # fmt: skip
def test_unusable_relevance_is_a_row_with_a_reason(tmp_path, changes, reason):
    found = explained(tmp_path, [row(**changes), row(1, OTHER)])
    assert not found.loc["0", "valid"] and found.loc["0", "reason"] == reason and found.loc["0", "scores"] is None
    assert found.loc["1", "valid"]  # the other sentence is not touched


def test_relevance_of_another_answer_is_not_scored(tmp_path):
    texts = ["One lovely film .", "Two lovely films ."]
    base = {"gold_label_rationales": [0, 1, 0, 0], "true_label": 1, "relevance_lrp": [0.0] * 4}
    rows = [row()]
    for number, (text, answer) in enumerate(zip(texts, (77, 78), strict=True), start=1):
        asked = {"tokenized_chat_until_answer": [[30, 11, 31, 15]], "context_mask": [1] * 4, "answer": answer}
        rows.append({**row(number), **base, "content": text, "perturbation": asked})
        del rows[-1][f"normalized_response_{number}"]
        rows[-1][f"normalized_response_{number}"] = 1
    run = files_of.read_recording(write(tmp_path, [*rows, row(3, OTHER)]))
    assert tables_of.explained_answers(run) == {"positive": 77, "negative": 78}
    pieces = relevance_words.Pieces({})
    example = Example("x", "small", "test", "en", (texts[1],), "positive")
    found = tables_of.attribution(example, run.rows[2], "lrp", pieces, {"positive": 77, "negative": 78})
    assert not found.valid and found.reason == tables_of.OTHER_ANSWER


def test_sentence_not_asked_and_sentence_not_recorded(tmp_path):
    missed = row(rationales=None, perturbation=None, normalized_response_0=0)
    own = explained(tmp_path, [missed], "self")
    assert own["reason"].to_dict() == {"0": tables_of.NOT_ASKED, "1": tables_of.NOT_RECORDED}
    assert not own["valid"].any()
    assert explained(tmp_path, [row(rationales="[]"), row(1, OTHER)], "self").loc["0", "reason"] == "empty list"


def test_same_answers_are_taken_once_and_other_answers_become_a_repeat(tmp_path):
    contrast = [
        {("relevance_lrp_contrast" if k == "relevance_lrp" else k): v for k, v in r.items()}
        for r in (row(), row(1, OTHER))
    ]
    plain = [row(rationales='["film"]'), row(1, OTHER)]
    names = ["llama__28__", "llama_lrp_contrast__28__", "llama_lrp__28__"]
    contents = [plain, contrast, [row(), row(1, OTHER)]]
    file = "llama_rationales_seed_28_sparsity_oracle.jsonl"
    runs = [files_of.read_recording(write(tmp_path, c, n + file)) for n, c in zip(names, contents, strict=True)]
    made = tables_of.recorded_tables(runs, small_corpus(), aligned=[])
    samples = made["samples"]
    assert samples["file"].tolist() == [names[2] + file, names[1] + file, names[0] + file]
    assert samples["repeat"].tolist() == [0, 0, 1]
    assert samples["answers_from"].tolist() == [names[2] + file] * 2 + [names[0] + file]
    counts = made["explanations"].groupby(["explainer", "variant"]).size().to_dict()
    paradigm = tables_of.PARADIGM
    assert counts == {
        ("self", paradigm): 2, ("self", f"{paradigm}#1"): 2, ("lrp", "default"): 2, ("lrp", "default#1"): 2,
        ("lrp_contrast", "default"): 2,
    }  # fmt: skip
    assert not made["explanations"].duplicated(KEYS["explanations"]).any()


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("(a) This review is overall rather positive.", "positive"),
        ("B) rather negative", "negative"),
        (
            "Sure! The review is overall rather positive. Here's why:\n\n(a) It is fun.\n\n(b) It is not negative.",
            "positive",
        ),
        ("I would say that it is rather negative.\n(a) rather positive: this is not right", "negative"),
        ("I choose (b).", "negative"),
        ("I cannot answer this.", None),
        ("", None),
    ],
)
def test_label_that_an_answer_states(answer, label):
    found, reason = tables_of.read_label(answer)
    assert found == label and (reason == "") == (label is not None)


# ---- tokens and words


def cut(text: str, vocabulary: set[str]) -> list[str]:
    """Greedy pieces of a text: independent of the code under test."""
    written, pieces = "".join(f" {word}" for word in text.split()), []
    while written:
        end = written.find(" ", 1)
        word = written if end < 0 else written[:end]
        size = next(n for n in range(len(word), 0, -1) if word[:n] in vocabulary or n == 1)
        pieces.append(word[:size])
        written = written[size:]
    return pieces


@given(
    st.lists(st.lists(st.sampled_from(["ab", "abc", "b", "cab", "a"]), min_size=1, max_size=5), min_size=1, max_size=12)
)
def test_learned_words_are_right_whenever_they_are_certain(sentences):
    vocabulary = {" a", " ab", "c", " cab", "b", " b"}
    texts = sorted({" ".join(words) for words in sentences})
    number_of: dict[str, int] = {}
    pieces = [cut(text, vocabulary) for text in texts]
    ids = [[number_of.setdefault(piece, len(number_of)) for piece in found] for found in pieces]
    learned = relevance_words.learn_pieces(texts, ids)
    assert not learned.unread
    for piece, number in number_of.items():
        assert piece in learned.strings[number]  # the truth is never ruled out
    for text, found, numbers in zip(texts, pieces, ids, strict=True):
        words, route = relevance_words.assign_tokens(text, numbers, learned)
        if words is not None:
            true = np.cumsum([piece.startswith(" ") for piece in found]) - 1
            assert words.tolist() == true.tolist() and route == relevance_words.LEARNED_ROUTE
        else:
            assert route == relevance_words.UNSETTLED


def test_open_cut_is_unsettled_until_another_text_decides_it():
    texts, ids = ["abc def"], [[1, 2, 3]]  # one token too many: the cut is in the first word or in the second
    alone = relevance_words.learn_pieces(texts, ids)
    assert relevance_words.assign_tokens(texts[0], ids[0], alone) == (None, relevance_words.UNSETTLED)
    both = relevance_words.learn_pieces([*texts, "abc"], [*ids, [1]])
    words, route = relevance_words.assign_tokens(texts[0], ids[0], both)
    assert words.tolist() == [0, 1, 1] and route == relevance_words.LEARNED_ROUTE
    known = relevance_words.learn_pieces(texts, ids, {1: " abc", 2: " d", 3: "ef"})
    assert relevance_words.assign_tokens(texts[0], ids[0], known)[1] == relevance_words.RECORDED_ROUTE


def test_text_that_its_tokens_do_not_spell_is_left_out():
    learned = relevance_words.learn_pieces(["abc def", "abc"], [[1, 2], [1, 2, 3, 4, 5]])
    assert learned.unread == {"abc"}
    assert relevance_words.assign_tokens("abc", [1, 2, 3, 4, 5], learned) == (None, relevance_words.NOT_SPELLED)
    assert relevance_words.assign_tokens("abc def", [1, 2], learned)[0].tolist() == [0, 1]


def test_space_that_is_a_token_belongs_to_the_word_after_it():
    learned = relevance_words.learn_pieces(["in 3D"], [[1, 2, 3, 4]], {1: " in", 2: " ", 3: "3", 4: "D"})
    assert relevance_words.assign_tokens("in 3D", [1, 2, 3, 4], learned)[0].tolist() == [0, 1, 1, 1]
    assert relevance_words.plain_piece("\u2581word") == " word" and relevance_words.plain_piece("<0x0A>") == "\n"


# ---- the authors' matching


def test_substring_marks_first_occurrence_whatever_word_it_is_in():
    mark = substring_matching.mark_first_occurrence
    assert mark("A smart work of art", "art").tolist() == [0, 1, 0, 0, 0]  # inside "smart"
    assert mark("good , not good", "good").tolist() == [1, 0, 0]  # never the second
    assert mark("good film", "--").tolist() == [1, 0]  # an empty phrase marks the first word
    assert mark("good film", "bad") is None
    words = substring_matching.to_text_words("It's -- good", np.array([1, 1, 0]))
    assert words.tolist() == [2, 0, 0]


def test_human_rationale_moves_to_an_earlier_equal_word():
    gold = (False, False, False, True)
    assert substring_matching.move_gold("bad but not bad", gold).tolist() == [1, 0, 0, 0]


def test_scores_of_marks_are_those_of_scikit_learn():
    generator = np.random.default_rng(5)
    for _ in range(50):
        marks, gold = generator.integers(0, 3, 9), generator.integers(0, 2, 9)
        if not gold.any():
            continue
        found = substring_matching.score_marks(marks, gold)
        assert found["f1"] == pytest.approx(f1_score(gold, marks > 0, zero_division=0))
        assert found["kappa"] == pytest.approx(cohen_kappa_score(gold, marks > 0, labels=[0, 1]))


def test_answers_are_never_run():
    answer = "__import__('os').environ.__setitem__('RAN', '1')"
    with pytest.raises(substring_matching._Skipped):
        substring_matching.read_items(SimpleNamespace(repaired=None, rationale=answer))
    assert "RAN" not in os.environ
    assert substring_matching.read_literal('["a\\_b", "c\\n"]') == ["a\\_b", "c\n"]  # kept, and no warning


# ---- scores of hand-made tables


def test_scores_of_a_small_recording_are_those_done_by_hand(tmp_path):
    made = made_tables(tmp_path, [row(), row(1, OTHER)])
    items = scores_of.score_items(made["explanations"], small_corpus())
    value = items.set_index(["example_id", "explainer", "k", "metric"])["value"]
    # sentence 0: one of two gold words named; sentence 1: "dull" of "dull", "hurts"
    assert value["0", "self", "own", "precision"] == 1 and value["0", "self", "own", "recall"] == 0.5
    assert value["0", "self", "own", "f1"] == pytest.approx(2 / 3)
    # at two words the second place is drawn from six others, one of them gold
    assert value["0", "self", "human", "f1"] == pytest.approx((1 + 1 / 6) / 2)
    # relevances of sentence 0: lovely 2.0 and truly .3 lead, so one hit of two
    assert value["0", "lrp", "human", "f1"] == 0.5
    assert value["1", "lrp", "human", "f1"] == 1 and value["1", "lrp", "all", "average_precision"] == 1
    chance = items.query("k == 'human' and metric == 'f1'").set_index(["example_id", "explainer"])["chance"]
    assert chance["0", "lrp"] == pytest.approx(2 / 7) and chance["1", "lrp"] == pytest.approx(2 / 5)
    gaps = scores_of.compare_explainers(items, np.random.default_rng(0), [("self", "lrp")], n_resamples=50)
    gap = gaps.set_index(["metric", "k"]).loc[("f1", "human")]
    own = value["1", "self", "human", "f1"]
    assert gap["value"] == pytest.approx(((1 + 1 / 6) / 2 - 0.5 + own - 1) / 2) and gap["n_items"] == 2


def test_union_of_seeds_weighs_values_and_draws_sentences():
    items = pd.DataFrame(
        {"example_id": ["a", "a", "b", "c"], "seed": [1, 2, 1, 2], "subject": "m", "value": [1.0, 0.0, 1.0, np.nan]}
    )
    table = scores_of.summarise_items(items, np.random.default_rng(1), ["subject", "seed"]).set_index("seed")
    assert table.loc["all", "value"] == pytest.approx(2 / 3)
    assert (table.loc["all", "n_items"], table.loc["all", "n_values"], table.loc["all", "n_undefined"]) == (2, 3, 1)
    # resamples of a (1 of 2) and b (1 of 1) give .5, 2/3 or 1
    assert {round(table.loc["all", "low"], 6), round(table.loc["all", "high"], 6)} <= {0.5, round(2 / 3, 6), 1.0}


# ---- the published files


@pytest.fixture(scope="module")
def recorded(data_folder_real):
    started = time.process_time()
    corpus = load_corpus("fair_rationales_sst", before_exclusions=True)
    runs = files_of.read_recordings()
    made = tables_of.recorded_tables(runs, corpus)
    made["metrics"] = scores_of.score_items(made["explanations"], corpus)
    return SimpleNamespace(corpus=corpus, runs=runs, seconds=time.process_time() - started, **made)


@needs_real_corpora
def test_every_file_holds_all_sentences_with_the_human_rationales_of_the_corpus(recorded):
    gold = {example.text: example.gold for example in recorded.corpus.examples}
    for run in recorded.runs:
        assert len(tables_of.match_examples(run, recorded.corpus)) == 263
        assert all(row.gold == gold[row.text] for row in run.rows)
    for name in ("predictions", "responses", "explanations"):
        assert not getattr(recorded, name).duplicated(KEYS[name]).any()
    sizes = recorded.explanations.groupby(["subject", "seed", "explainer", "variant"]).size()
    assert (sizes == 263).all()
    assert (recorded.explanations["valid"] == (recorded.explanations["reason"] == "")).all()


@needs_real_corpora
def test_self_explanations_agree_with_humans_as_known(recorded):
    expected = {
        "llama-3.1-8b-instruct": ((0.69, 0.72), (0.58, 0.62)),
        "mistral-7b-instruct-v0.3": ((0.65, 0.68), (0.51, 0.55)),
        "llama-2-13b-chat": ((0.62, 0.66), (0.52, 0.56)),
    }
    own = recorded.metrics.query("explainer == 'self' and k == 'own'")
    means = own.groupby(["subject", "seed", "variant", "metric"])["value"].mean()
    checked = 0
    for (subject, _, _, metric), value in means.items():
        if subject in expected and metric in ("f1", "kappa"):
            low, high = expected[subject][metric == "kappa"]
            assert low <= value <= high, (subject, metric, value)
            checked += 1
    assert checked >= 12


@needs_real_corpora
def test_relevance_of_llama_is_near_chance_and_nan_is_counted(recorded):
    lrp = recorded.metrics.query("explainer == 'lrp' and k == 'human' and metric == 'kappa' and variant == 'default'")
    llama = lrp[lrp["subject"] == "llama-2-13b-chat"].groupby("seed")["value"].mean()
    assert len(llama) and (llama < 0.1).all()
    counts = answers_of.describe_validity(recorded.explanations)
    nan = counts[counts["reason"] == tables_of.NOT_A_NUMBER]
    first = nan.query("subject == 'mistral-7b-instruct-v0.3' and seed == 28")
    assert first["n"].tolist() == [232] and first["variant"].tolist() == ["default#1"]
    scored = recorded.metrics.query("explainer == 'lrp' and variant == 'default#1' and metric == 'f1' and seed == 28")
    assert (scored["subject"] == "mistral-7b-instruct-v0.3").sum() == 27


@needs_real_corpora
def test_learned_token_strings_never_differ_from_the_recorded_ones(recorded):
    alignment = recorded.alignment.set_index("subject")
    assert (alignment["learned_differ"] == 0).all()
    assert alignment.loc["llama-2-13b-chat", "learned_agree"] > 1500
    assert alignment.loc["mistral-7b-instruct-v0.3", "learned_agree"] > 1500
    share = alignment["aligned"] / alignment["texts"]
    assert share["llama-2-13b-chat"] > 0.97 and share["mistral-7b-instruct-v0.3"] > 0.99
    assert share["llama-3.1-8b-instruct"] > 0.75


@needs_real_corpora
def test_word_scores_are_those_of_the_recorded_token_strings(recorded):
    """The aligned file tells the strings of all tokens: the words follow from the spaces alone."""
    aligned = {r.subject: rows for r, rows in tables_of.read_aligned_at_hand()}
    table = recorded.explanations.query("explainer == 'lrp' and variant == 'default#1' and valid and seed == 28")
    texts = {example.example_id: example.text for example in recorded.corpus.examples}
    checked = 0
    for subject, rows in aligned.items():
        known = {row.text: row for row in rows}
        for found in table[table["subject"] == subject].itertuples():
            row = known.get(texts[found.example_id])
            if row is None:
                continue
            tokens = np.array(row.tokens)[row.context_mask]
            words = np.cumsum([token.startswith("\u2581") for token in tokens]) - 1
            expected = np.bincount(words, weights=row.relevance[row.context_mask])
            assert found.scores == pytest.approx(expected.tolist(), abs=1e-9)
            checked += 1
    assert checked > 200


@needs_real_corpora
def test_matching_as_published_equals_every_released_mask():
    for recording, rows in tables_of.read_aligned_at_hand():
        plain = next(r for r in files_of.RECORDINGS if r.run == recording.run and r.seed == 28 and r.kind == "answers")
        masks = substring_matching.match_as_published(files_of.read_recording(plain)).set_index("text")
        assert len(rows) in (209, 257)
        for row in rows:
            assert np.array_equal(masks.loc[row.text, "marks"], row.words_self), row.text
            assert np.array_equal(masks.loc[row.text, "gold_marks"], row.words_human), row.text


@needs_real_corpora
def test_published_numbers_are_recomputed_to_their_last_digit(recorded):
    made = {
        name: getattr(recorded, name) for name in ("samples", "predictions", "responses", "explanations", "metrics")
    }
    table = published_of.published_vs_recomputed(made, recorded.corpus, np.random.default_rng(0))
    assert list(table.columns) == published_of.COLUMNS
    released = table[(table["paper"] == published_of.AUTHORS) & ~table["quantity"].str.startswith("p_")]
    assert len(released) == 35 and released["recomputed"].notna().all()
    # rounded to two digits there, by half a unit at most
    assert ((released["recomputed"] - released["published"]).abs() < 0.0061).all()
    whole = released["quantity"].str.startswith("n_")
    assert (released.loc[whole, "recomputed"] == released.loc[whole, "published"]).all()
    masked = table[table["quantity"].str.startswith("p_")]
    assert masked["recomputed"].isna().all() and masked["note"].str.contains("pickle").all()
    subwords = table[table["quantity"].str.startswith("subword") & ~table["quantity"].str.endswith("random")]
    assert ((subwords["recomputed"] - subwords["published"]).abs() < 0.0006).all()


@needs_real_corpora
def test_authors_parser_takes_right_positive_answers_for_negative(recorded):
    table = answers_of.describe_predictions(recorded.predictions).set_index(["subject", "quantity"])["value"]
    assert (table["llama-2-13b-chat", "correct"] > 0.96).all()
    assert (table["llama-2-13b-chat", "correct_recorded"] < 0.89).all()
    assert (table["llama-2-13b-chat", "misread"] > 0.08).all()
    for subject in ("llama-3.1-8b-instruct", "mistral-7b-instruct-v0.3", "mixtral-8x7b-instruct-v0.1-4bit"):
        assert (table[subject, "misread"] == 0).all()


@needs_real_corpora
def test_mixtral_depends_on_what_becomes_of_glued_phrases(recorded):
    runs = [run for run in recorded.runs if run.recording.subject.startswith("mixtral")]
    table = answers_of.compare_glued_phrases(runs, recorded.corpus, np.random.default_rng(0), n_resamples=100)
    value = table.set_index(["rule", "metric"])["value"]
    assert value["split", "f1"] > 0.68 and value["reject", "f1"] < 0.35
    assert value["split", "valid"] > 0.97 and value["reject", "valid"] < 0.5
    matching = answers_of.compare_matching(runs, recorded.corpus, np.random.default_rng(0), n_resamples=100)
    substring = matching.set_index(["rule", "metric"]).loc[("substring", "f1")]
    assert substring["difference_high"] < -0.2


@needs_real_corpora
def test_ceilings_and_contrasts_have_intervals(recorded):
    generator = np.random.default_rng(0)
    human = scores_of.human_ceiling(load_corpus("fair_rationales_sst"), generator, 200).set_index("metric")
    assert 0.62 < human.loc["f1", "value"] < 0.66 and human.loc["f1", "n_items"] >= 262
    llama = recorded.explanations[recorded.explanations["subject"] == "llama-3.1-8b-instruct"]
    own = scores_of.self_ceiling(llama, recorded.corpus, generator, 200)
    own = own.set_index(["subject", "pair", "metric"])["value"]
    assert (
        own["llama-3.1-8b-instruct", "one seed", "identical"] > own["llama-3.1-8b-instruct", "two seeds", "identical"]
    )
    gaps = scores_of.compare_explainers(recorded.metrics, generator, n_resamples=200)
    f1 = gaps[(gaps["metric"] == "f1") & (gaps["first"] == "self")]
    assert (f1["low"] > 0.15).all() and (f1["low"] < f1["value"]).all() and (f1["value"] < f1["high"]).all()
    shares = answers_of.describe_relevance(recorded.explanations, generator, 200)
    first = shares.query("quantity == 'share_first_token' and explainer == 'lrp' and variant == 'default'")
    assert (first["value"] > 0.39).all()


@needs_real_corpora
def test_all_files_are_read_and_scored_in_time(recorded):
    assert recorded.seconds < 60


def test_module_never_evaluates_or_unpickles():
    for module in (files_of, tables_of, answers_of, scores_of, published_of, substring_matching, relevance_words):
        with open(module.__file__, encoding="utf-8") as handle:
            tree = ast.parse(handle.read())
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"eval", "exec", "compile", "__import__"}
        assert not any(
            name.name == "pickle" for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
        )

"""SST readers against the facts of the published files and small made-up ones."""

import csv
import functools
import io
import json
import time

import numpy as np
import openpyxl
import pytest

from corpora_fixtures import needs_real_corpora, real_file, use_folder
from rationales.corpora import load_corpus, sst
from rationales.errors import StudyError

LANGUAGES = {"en": "EN", "da": "DK", "it": "IT"}


def fair_csv(rows):
    handle = io.StringIO()
    columns = ["text_id", "sentence", "original_label", "label", "rationale_binary"]
    csv.writer(handle).writerows([columns, *rows])
    return handle.getvalue()


def sheet(rows, source_column):
    workbook = openpyxl.Workbook()
    workbook.active.append(["ID", *source_column, "Sentence", "Span", "Rank", "Tokens"])
    for row in rows:
        workbook.active.append(row)
    handle = io.BytesIO()
    workbook.save(handle)
    return handle.getvalue()


TREES = "(3 (2 A) (3 (4 good) (2 one)))\n(1 (2 Not) (2 (2 -LRB-) (1 bad)))\n(2 (2 So) (2 so))\n"
FAIR = fair_csv(
    [
        [7, "a good film", "positive", "positive", "[0, 1, 0]"],
        [7, "a good film", "positive", "positive", "[0, 1, 1]"],
        [7, "a good film", "positive", "negative", "[1, 0, 0]"],
        [2, "so so", "negative", "no sentiment", "[0, 1]"],
        [3, "It isn't fun.", "negative", "negative", "[0, 1, 1]"],
    ]
)


def test_only_annotators_who_agree_with_the_label_count(tmp_path, monkeypatch):
    use_folder(tmp_path, monkeypatch, {sst.FAIR_FILE: FAIR})
    corpus = load_corpus("fair_rationales_sst")
    negative, positive = corpus.examples
    assert [negative.example_id, positive.example_id] == ["3", "7"]  # ordered by number
    assert positive.annotators == ((False, True, False), (False, True, True))
    assert positive.gold == (False, True, True) and positive.gold_graded == (0.0, 1.0, 0.5)  # half is enough
    assert positive.meta == {"n_annotators": 3, "n_annotators_kept": 2}
    assert corpus.exclusions == (("2", "no annotator chose the label of the sentence"),)
    assert corpus.provenance["counts"] == {"annotations_set_aside": 2}


def test_indices_before_exclusions_start_at_one(tmp_path, monkeypatch):
    rows = [["a good film", "positive", "positive", "2,3"], ["a good film", "positive", "positive", "3.0"],
            ["so so", "negative", "negative", "2.0"], ["It isn't fun.", "negative", "negative", "1"]]  # fmt: skip
    handle = io.StringIO()
    csv.writer(handle).writerows([["sentence", "original_label", "label", "rationale_index"], *rows])
    use_folder(tmp_path, monkeypatch, {sst.FAIR_FILE: FAIR, sst.FAIR_FILE_ALL: handle.getvalue()})
    corpus = load_corpus("fair_rationales_sst", before_exclusions=True)
    assert {example.example_id: example.gold for example in corpus.examples} == {
        "2": (False, True), "3": (True, False, False), "7": (False, True, True),
    }  # fmt: skip


def test_damaged_mask_is_an_error(tmp_path, monkeypatch):
    use_folder(tmp_path, monkeypatch, {sst.FAIR_FILE: FAIR.replace("[0, 1, 1]", "[0, 1")})
    with pytest.raises(StudyError, match="not a list of 0 and 1"):
        load_corpus("fair_rationales_sst")


def test_span_is_read_from_the_last_parenthesis_and_ranks_become_grades(tmp_path, monkeypatch):
    rows = [[0.0, "A good one", "En god (2)", "En(0)|god(1)|((1)|(0)|2)(0)", "En(0)|god(1)|((3)|(0)|2)(2)", "x"]]
    key = sst.SHEETS["da"]
    use_folder(tmp_path, monkeypatch, {key: sheet([*rows, [None] * 6], ["Original"]), sst.TREE_FILE: TREES})
    corpus = load_corpus("sst_multilingual_da")
    (example,) = corpus.examples
    assert example.word_texts == ["En", "god", "(", "2)"] and example.text == "En god ( 2)"
    assert example.gold == (False, True, True, False) and example.label == "positive" and example.language == "da"
    assert example.gold_graded == pytest.approx((0, 1, 1 / 3, 2 / 3))  # ranks 0, 1, 3, 2 of three
    assert corpus.provenance["counts"] == {"empty_tokens_dropped": 1, "ranked_words_outside_the_rationale": 1}


@pytest.mark.parametrize(
    "row, message",
    [
        ([1.0, "Not (bad", "Not(0)|bad(1)", "Not(0)|worse(1)", "x"], "differ in tokens"),
        ([1.0, "Not (bad", "Not(0)|bad", "Not(0)|bad(1)", "x"], "number in parentheses"),
        ([0.0, "Not (bad", "Not(0)|bad(1)", "Not(0)|bad(1)", "x"], "is not line 0"),
        ([9.0, "Not (bad", "Not(0)|bad(1)", "Not(0)|bad(1)", "x"], "is not line 9"),
        ([2.0, "So so", "So(0)|so(1)", "So(0)|so(1)", "x"], "neutral"),
    ],
)
def test_sheet_that_does_not_fit_is_refused(tmp_path, monkeypatch, row, message):
    use_folder(tmp_path, monkeypatch, {sst.SHEETS["en"]: sheet([row], []), sst.TREE_FILE: TREES})
    with pytest.raises(StudyError, match=message):
        load_corpus("sst_multilingual_en")


def test_damaged_workbook_is_refused(tmp_path, monkeypatch):
    use_folder(tmp_path, monkeypatch, {sst.SHEETS["en"]: b"no workbook", sst.TREE_FILE: TREES})
    with pytest.raises(StudyError, match="not a readable workbook"):
        load_corpus("sst_multilingual_en")


@pytest.mark.parametrize(
    "written, treebank",
    [
        ("It's the Movie.", "it 's the movie ."),
        ("isn't, can't, won't", "is n't , ca n't , wo n't"),
        ("(cannot) be", "-lrb- can not -rrb- be"),
        ("Amélie's naïve", "amelie 's naive"),
    ],
)
def test_normalised_words_do_not_depend_on_tokenisation(written, treebank):
    assert sst.normalise_words(written) == sst.normalise_words(treebank)


@pytest.fixture
def small_sst2(tmp_path, monkeypatch):
    rows = [
        "is n't fun \t0",
        "n't fun . \t0",
        "quite fun \t1",
        "good fun \t1",
        'a "good" film \t1',
        " \t1",
        'one " odd \t0',
    ]
    contents = {
        sst.FAIR_FILE: FAIR,
        sst.SHEETS["en"]: sheet([[0.0, "A good one", "A(0)|good(1)|one(0)", "A(0)|good(1)|one(0)", "x"]], []),
        sst.TREE_FILE: TREES,
        "sst2/train.tsv": "sentence\tlabel\n" + "\n".join(rows) + "\n",
        "sst2/dev.tsv": "sentence\tlabel\ngood one\t1\nbetter\t1\n",
        "sst2/test.tsv": "sentence\tlabel\na good one\t1\n",
    }
    use_folder(tmp_path, monkeypatch, contents)


def test_sst2_leaves_out_sentences_and_phrases_of_the_rationale_sets(small_sst2):
    corpus = load_corpus("sst2")
    assert [(example.example_id, example.label) for example in corpus.examples] == [
        ("train-2", "positive"), ("train-3", "positive"), ("train-6", "negative"), ("validation-1", "positive"),
        ("test-0", "positive"),
    ]  # fmt: skip
    assert dict(corpus.exclusions) == {
        "train-0": "is a phrase of a sentence of fair_rationales_sst",
        "train-1": "is a phrase of a sentence of fair_rationales_sst",
        "train-4": "is a sentence of fair_rationales_sst",
        "train-5": "empty text",
        "validation-0": "is a phrase of a sentence of sst_multilingual_en",
    }
    assert all(example.gold is None for example in corpus.examples)


def test_sst2_options(small_sst2):
    assert len(load_corpus("sst2", exclude_rationale_sets=False, splits=["train"]).examples) == 6  # one is empty
    drawn = load_corpus("sst2", splits="train", exclude_rationale_sets=False, limit=3, seed=5).examples
    assert len(drawn) == 3 and drawn == load_corpus(
        "sst2", splits="train", exclude_rationale_sets=False, limit=3, seed=5
    ).examples  # fmt: skip
    assert [int(example.example_id.split("-")[1]) for example in drawn] == sorted(
        int(example.example_id.split("-")[1]) for example in drawn
    )
    with pytest.raises(StudyError, match="Unknown split 'dev'"):
        load_corpus("sst2", splits=["dev"])
    with pytest.raises(StudyError, match="limit"):
        load_corpus("sst2", limit=-1)


@needs_real_corpora
@pytest.mark.parametrize("before_exclusions, mean_words", [(False, 4.54), (True, 4.17)])
def test_real_fair_rationales(before_exclusions, mean_words):
    corpus = load_corpus("fair_rationales_sst", before_exclusions=before_exclusions)
    assert len(corpus.examples) == 263 and not corpus.exclusions
    assert sum(example.label == "positive" for example in corpus.examples) == 140
    assert np.mean([len(example.words) for example in corpus.examples]) == pytest.approx(17.7, abs=0.05)
    assert np.mean([sum(example.gold) for example in corpus.examples]) == pytest.approx(mean_words, abs=0.005)
    annotations = sum(example.meta["n_annotators"] for example in corpus.examples)
    assert annotations == (2090 if before_exclusions else 263 * 6)
    if not before_exclusions:
        assert corpus.provenance["counts"]["annotations_set_aside"] / annotations == pytest.approx(1 - 0.888, abs=5e-4)


@needs_real_corpora
def test_gold_before_exclusions_is_the_one_brandl_and_eberle_recorded():
    key = "sst_llm_self_explanations/llama3__28__llama3_rationales_seed_28_sparsity_oracle.jsonl"
    recorded = [json.loads(line) for line in real_file(key).read_text(encoding="utf-8").splitlines()]
    gold = {row["content"]: tuple(map(bool, row["gold_label_rationales"])) for row in recorded}
    assert len(gold) == 263
    for example in load_corpus("fair_rationales_sst", before_exclusions=True).examples:
        assert example.gold == gold[example.text], example.example_id


@needs_real_corpora
@pytest.mark.parametrize(
    "language, flagged, tokens, outside", [("en", 0.316, 16.9, 5), ("da", 0.319, 16.6, 0), ("it", 0.302, 17.6, 2)]
)
def test_real_multilingual_sets(language, flagged, tokens, outside):
    corpus = load_corpus(f"sst_multilingual_{language}")
    assert len(corpus.examples) == 250
    roots = [example.meta["sst_root_label"] for example in corpus.examples]
    assert {root: roots.count(root) for root in set(roots)} == {0: 80, 1: 45, 3: 49, 4: 76}
    assert sum(example.label == "positive" for example in corpus.examples) == 125
    assert np.mean([np.mean(example.gold) for example in corpus.examples]) == pytest.approx(flagged, abs=5e-4)
    assert np.mean([len(example.words) for example in corpus.examples]) == pytest.approx(tokens, abs=0.05)
    assert all(any(example.gold) and max(example.gold_graded) == 1 for example in corpus.examples)
    assert max(example.meta["n_ranked"] for example in corpus.examples) == 5
    assert corpus.provenance["counts"]["ranked_words_outside_the_rationale"] == outside


@needs_real_corpora
def test_real_multilingual_sets_share_their_ids_and_danish_139_keeps_its_25_words():
    ids = [[e.example_id for e in load_corpus(f"sst_multilingual_{language}").examples] for language in LANGUAGES]
    assert ids[0] == ids[1] == ids[2]
    (example,) = [e for e in load_corpus("sst_multilingual_da").examples if e.example_id == "139"]
    assert len(example.words) == 25


@needs_real_corpora
@pytest.mark.parametrize("language", LANGUAGES)
def test_real_workbook_equals_its_published_dump(language):
    path = real_file(f"sst_multilingual_rationales/{LANGUAGES[language]}.tsv")
    with open(path, encoding="utf-8", newline="") as handle:
        dump = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = sst.read_sheet(real_file(sst.SHEETS[language]))
    assert len(rows) == len(dump) == 250
    for row, dumped in zip(rows, dump, strict=True):
        assert row | {"ID": str(int(float(row["ID"])))} == dumped


@functools.cache
def _real_sst2():
    return load_corpus("sst2")


@needs_real_corpora
def test_real_sst2_is_clean_of_the_rationale_sets():
    started = time.perf_counter()
    corpus = _real_sst2()
    assert time.perf_counter() - started < 20
    kept = {split: corpus.of_split(split) for split in ("train", "validation", "test")}
    dropped = {split: sum(i.startswith(split) for i, _ in corpus.exclusions) for split in kept}
    totals = {split: len(kept[split]) + dropped[split] for split in kept}
    assert totals == {"train": 60614, "validation": 6735, "test": 872} and dropped["test"] == 0
    assert sum(example.label == "positive" for example in kept["test"]) == 444
    fair, english = load_corpus("fair_rationales_sst").examples, load_corpus("sst_multilingual_en").examples
    # Independent of the phrase table: no kept row may be a run of words of a sentence.
    sentences = [f" {' '.join(sst.normalise_words(example.text))} " for example in (*fair, *english)]
    haystack = "|".join(sentences)
    for example in kept["train"][::7] + kept["validation"][::7]:
        words = sst.normalise_words(example.text)
        assert not words or f" {' '.join(words)} " not in haystack, example.example_id
    # And every dropped row is part of one.
    texts = {f"{split}-{number}": text for split in ("train", "validation") for number, text in _raw_rows(split)}
    squeezed = "|".join(sst.squeeze(example.text) for example in (*fair, *english))
    assert all(sst.squeeze(texts[example_id]) in squeezed for example_id, _ in corpus.exclusions)
    in_test = {sst.squeeze(example.text) for example in kept["test"]}
    assert all(sst.squeeze(example.text) in in_test for example in english)


def _raw_rows(split):
    lines = real_file(sst.SST2_FILES[split]).read_text(encoding="utf-8").split("\n")[1:]
    return [(number, line.rsplit("\t", 1)[0]) for number, line in enumerate(lines) if line]


@needs_real_corpora
def test_most_fair_rationales_sentences_are_found_in_sst2():
    # The authors' index files match 179 sentences to SST-2 train and 26 to validation (the corpus's split test).
    dropped = dict(_real_sst2().exclusions)
    texts = {f"{split}-{number}": text for split in ("train", "validation") for number, text in _raw_rows(split)}
    whole = {sst.squeeze(texts[i]) for i, reason in dropped.items() if reason == "is a sentence of fair_rationales_sst"}
    assert 179 <= len(whole) <= 263 - 26

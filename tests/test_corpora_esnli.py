"""e-SNLI: stars, index columns, annotators, and the published sample."""

import csv
import io

import numpy as np
import pytest

from corpora_fixtures import needs_real_corpora, real_file, use_folder
from rationales.corpora import esnli, load_corpus
from rationales.corpora.esnli import read_indices, read_marked
from rationales.errors import StudyError

COLUMNS = ["pairID", "gold_label", "Sentence1", "Sentence2"] + [
    f"Sentence{part}_{kind}_{annotator}"
    for annotator in (1, 2, 3)
    for part in (1, 2)
    for kind in ("marked", "Highlighted")
]


def table(*rows):
    handle = io.StringIO()
    writer = csv.DictWriter(handle, COLUMNS, restval="NA")
    writer.writeheader()
    writer.writerows(rows)
    return handle.getvalue()


def pair(name, label="neutral", first="A man runs.", second="He wins", **cells):
    return {"pairID": name, "gold_label": label, "Sentence1": first, "Sentence2": second} | cells


def annotation(number, first, first_index, second, second_index):
    return {
        f"Sentence1_marked_{number}": first, f"Sentence1_Highlighted_{number}": first_index,
        f"Sentence2_marked_{number}": second, f"Sentence2_Highlighted_{number}": second_index,
    }  # fmt: skip


PLAIN = "A man runs."


@pytest.mark.parametrize(
    "marked, words, expected",
    [
        ("a *b* *c.*", "a b c.", (0, 1, 1)),
        ("a *b c*.", "a b c.", (0, 1, 1)),
        ("a *b c d* e", "a b c d e", (0, 1, 1, 1, 0)),
        ("*a*,  b", "a, b", (1, 0)),
        ("a * b * c", "a b c", (0, 1, 0)),
        ("a b", "a b", (0, 0)),
        ("*a b", "a b", None),  # never closed
        ("*a* x", "a b", None),  # another sentence
        ("*a* b*", "a b*", None),  # asterisks of its own
        ("", "a b", None),
        ("**a** b", "a b", (0, 0)),  # opened and closed before the word
    ],
)
def test_stars(marked, words, expected):
    result = read_marked(marked, words.split())
    assert result == (None if expected is None else tuple(map(bool, expected)))


@pytest.mark.parametrize(
    "cell, expected",
    [("0,2", (1, 0, 1)), (" 1 ", (0, 1, 0)), ("{}", (0, 0, 0))]
    + [(cell, None) for cell in ("", "NA", "3", "a", "-1", "2,004")],
)
def test_indices(cell, expected):
    assert read_indices(cell, ["a", "b", "c"]) == (None if expected is None else tuple(map(bool, expected)))


def test_three_annotators_and_every_way_out(tmp_path, monkeypatch):
    rows = [
        pair(
            "full", "entailment",
            **annotation(1, "A *man* runs.", "1", "He *wins*", "1"),
            **annotation(2, PLAIN, "{}", "He *wins*", "0"),  # indices disagree: stars count
            **annotation(3, "Another sentence", "0,2", "He wins", "{}"),  # stars unusable: indices count
        ),
        pair("lost", **annotation(1, "Another sentence", "9", "He wins", "{}")),
        pair("full"),
        pair("dash", "-", **annotation(1, PLAIN, "{}", "He *wins*", "1")),
        pair("void", second=" ", **annotation(1, PLAIN, "{}", "", "{}")),
        pair("none"),
    ]  # fmt: skip
    use_folder(tmp_path, monkeypatch, {"esnli/esnli_dev.csv": table(*rows)})
    corpus = load_corpus("esnli", splits="validation")
    (example,) = corpus.examples
    assert example.segments == (PLAIN, "He wins") and example.label == "entailment" and example.split == "validation"
    assert example.annotators == (
        (False, True, False, False, True), (False, False, False, False, True), (True, False, True, False, False),
    )  # fmt: skip
    assert example.gold == (False, False, False, False, True)
    assert corpus.exclusions == (
        ("lost", "no annotator's highlights fit the sentences"),
        ("full", "the pair id occurred before"),
        ("dash", "no gold label"),
        ("void", "empty text"),
        ("none", "no annotator's highlights fit the sentences"),
    )
    assert corpus.provenance["counts"] == {
        "annotations_by_index": 1, "annotations_set_aside": 1, "index_columns_that_disagree": 1,
    }  # fmt: skip


def test_train_is_two_files(tmp_path, monkeypatch):
    contents = {key: table(pair(key, **annotation(1, PLAIN, "{}", "He *wins*", "1"))) for key in esnli.FILES["train"]}
    use_folder(tmp_path, monkeypatch, contents)
    assert [example.example_id for example in load_corpus("esnli", splits=["train"]).examples] == list(contents)
    assert len(load_corpus("esnli", splits=["train"], limit=1).examples) == 1


def test_wrong_path_and_wrong_columns(tmp_path):
    with pytest.raises(StudyError, match="no e-SNLI file"):
        load_corpus("esnli", path=str(tmp_path / "none.csv"))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StudyError, match="no column 'pairID'"):
        load_corpus("esnli", path=str(tmp_path / "other.csv"))


@needs_real_corpora
def test_real_sample():
    path = real_file("esnli_highlight_sample/assigned_samples_training.csv")
    corpus = load_corpus("esnli", path=str(path))
    assert len(corpus.examples) == 90 and not corpus.exclusions
    assert [sum(e.label == label for e in corpus.examples) for label in corpus.labels] == [30, 30, 30]
    assert all(len(example.annotators) == 1 and any(example.gold) for example in corpus.examples)
    first = corpus.examples[0]
    assert [w for w, marked in zip(first.word_texts, first.gold, strict=True) if marked] == ["learning"]
    # Neutral pairs are highlighted in the hypothesis only, contradictions in both sentences.
    in_premise = {
        label: np.mean(
            [
                any(m and w.segment == 0 for m, w in zip(e.gold, e.words, strict=True))
                for e in corpus.examples
                if e.label == label
            ]
        )
        for label in corpus.labels
    }
    assert in_premise["neutral"] == 0 and in_premise["contradiction"] > 0.9

"""RaFoLa on a small file of the documented structure, and the real definitions."""

import json

import pytest

from corpora_fixtures import needs_real_corpora, real_file, use_folder
from rationales.corpora import load_corpus, rafola
from rationales.errors import StudyError

DEFINITIONS = json.dumps(
    [{"label": f"Indicator {n}", "definition" if n < 9 else ",definition": f"What {n} means"} for n in range(1, 12)]
)


def article(number, content="Workers had to stay. They had to, they said.", on=(), rationales=(), **extra):
    labels = [int(n in on) for n in range(1, 12)]
    return {"index": number, "title": "T", "content": content, "labels": labels, "rationales": list(rationales)} | extra


ARTICLES = [
    article(
        11, on=(1, 5), set="Train",
        rationales=[
            ["01. Abuse of vulnerability", "had to stay", "They had to,"],
            ["05. Excessive overtime", "they said", "not in there"],
        ],
    ),
    article(12, set="test", on=(5,), rationales=[["05. Excessive overtime", "overtime"]]),
    article(13, content="  "),
    article(14, content="Work to work", on=(5,), rationales=[["05. Excessive overtime", "work", "work", "work"]]),
]  # fmt: skip


def load(tmp_path, monkeypatch, data, **options):
    contents = {rafola.ARTICLES_FILE: json.dumps(data), rafola.DEFINITIONS_FILE: DEFINITIONS}
    use_folder(tmp_path, monkeypatch, contents)
    return load_corpus("rafola", **options)


@pytest.mark.parametrize("layout", ["rows", "columns", "columns by row name"])
def test_labels_and_snippets_of_one_indicator(tmp_path, monkeypatch, layout):
    data = [{name: row.get(name) for name in ("index", "content", "labels", "rationales", "set")} for row in ARTICLES]
    if layout != "rows":
        data = {name: [row[name] for row in data] for name in data[0]}
    if layout == "columns by row name":
        data = {name: {str(i): value for i, value in enumerate(column)} for name, column in data.items()}
    corpus = load(tmp_path, monkeypatch, data, indicator=5)
    by_id = {example.example_id: example for example in corpus.examples}
    assert list(by_id) == ["11", "12", "14"] and corpus.exclusions == (("13", "empty text"),)
    assert {name: example.label for name, example in by_id.items()} == {"11": "yes", "12": "yes", "14": "yes"}
    marked = [w for w, m in zip(by_id["11"].word_texts, by_id["11"].gold, strict=True) if m]
    assert marked == ["they", "said."] and by_id["11"].meta["snippets_lost"] == 1
    assert by_id["12"].gold is None  # its only snippet is not in the text
    assert by_id["14"].gold == (True, False, True) and by_id["14"].meta["snippets_lost"] == 1
    assert by_id["11"].split == "train" and by_id["12"].split == "test"
    assert by_id["11"].meta["definition"] == "What 5 means"
    assert corpus.provenance["counts"] == {
        "articles_with_the_indicator": 3,
        "snippets_not_in_the_text": 3,
        "articles_with_the_indicator_but_no_rationale": 1,
    }


def test_other_indicators_have_their_own_rationale(tmp_path, monkeypatch):
    corpus = load(tmp_path, monkeypatch, ARTICLES, indicator=1)
    first, second, _ = corpus.examples
    assert [w for w, m in zip(first.word_texts, first.gold, strict=True) if m] == [
        "had", "to", "stay.", "They", "had", "to,",
    ]  # fmt: skip
    assert second.label == "no" and second.gold is None


@pytest.mark.parametrize(
    "text, snippets, marked, lost",
    [
        ("a car, a cart", ["car"], "0100", 0),  # whole words only
        ("so so so", ["so", "so"], "110", 0),  # multiplicity
        ("x (b) y", ["B"], "010", 0),  # case and outer punctuation
        ("a - b", ["a b"], "111", 0),  # a dash between them belongs to the run
        ("a b", ["b a", "..."], None, 2),
        ("a b", [], None, 0),
    ],
)
def test_snippets(text, snippets, marked, lost):
    mask, missing = rafola.mark_snippets(text.split(), snippets)
    assert missing == lost
    assert (None if mask is None else "".join(str(int(m)) for m in mask)) == marked


@pytest.mark.parametrize(
    "data, message",
    [
        ([{"content": "a", "labels": [0] * 10, "rationales": []}], "Article 1"),
        ([article(1), {"content": "a", "labels": [0] * 11, "rationales": [[3]]}], "Article 2"),
        ([{"text": "a"}], "Article 1"),
        ({"content": ["a"], "labels": []}, "equally long columns"),
        ({"content": 3}, "equally long columns"),
    ],
)
def test_other_structures_are_refused(tmp_path, monkeypatch, data, message):
    with pytest.raises(StudyError, match=message):
        load(tmp_path, monkeypatch, data)


def test_unknown_split_names_are_refused(tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="Unknown split of RaFoLa 'held out'"):
        load(tmp_path, monkeypatch, [article(1, set="Held out")])


def test_only_the_four_indicators_of_the_study(tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="choose one of: 1, 2, 5, 8"):
        load(tmp_path, monkeypatch, ARTICLES, indicator=3)


@needs_real_corpora
def test_real_definitions():
    definitions = rafola.read_definitions(real_file(rafola.DEFINITIONS_FILE))
    names = {number: definitions[number - 1][0] for number in rafola.POSITIVES}
    assert names == {
        1: "Abuse of vulnerability",
        2: "Abusive working and living conditions",
        5: "Excessive overtime",
        8: "Physical and sexual violence",
    }
    assert all(definition for _, definition in definitions)

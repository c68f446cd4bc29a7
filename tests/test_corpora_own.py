"""Your own texts in every file format, rationale format, and every way a row can be wrong."""

import json
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from rationales.corpora import load_corpus
from rationales.errors import StudyError
from rationales.tasks import TASKS

ROWS = [
    {"text": "a fine film", "label": "pos", "why": [[2, 6]], "who": [[0, 1], [7, 8]], "part": "train", "key": "x1"},
    {"text": "dull", "label": "neg", "why": None, "who": [[0, 4]], "part": "test", "key": "x2"},
    {"text": "  ", "label": "neg", "why": None, "who": None, "part": "test", "key": "x3"},
]
OPTIONS = {
    "rationale_columns": ["why", "who"], "split_column": "part", "id_column": "key",
    "label_map": {"pos": "positive", "neg": "negative"}, "task": "sentiment",
}  # fmt: skip


@pytest.fixture(autouse=True)
def keep_tasks():
    """Generic tasks are registered by name: leave the table as it was."""
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


def write(folder, kind, rows=ROWS):
    path = folder / f"texts.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    elif kind == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        cells = [
            {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}
            for row in rows
        ]
        pd.DataFrame(cells).to_csv(path, sep="\t" if kind == "tsv" else ",", index=False)
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_file_format_gives_the_same_corpus(tmp_path, kind):
    corpus = load_corpus("own", path=write(tmp_path, kind), **OPTIONS)
    first, second = corpus.examples
    assert (first.example_id, first.split, first.label, first.text) == ("x1", "train", "positive", "a fine film")
    assert first.annotators == ((False, True, False), (True, False, True)) and first.gold == (True, True, True)
    assert second.annotators == ((True,),) and second.gold == (True,) and second.split == "test"
    assert corpus.exclusions == (("x3", "empty text"),)
    assert corpus.labels == ("negative", "positive") and corpus.task == "sentiment"
    assert corpus.provenance["source"] == f"texts.{kind}" and len(corpus.provenance["files"][0]["sha256"]) == 64
    assert str(tmp_path) not in str(corpus.provenance)


@pytest.mark.parametrize(
    "form, cell, expected",
    [
        ("spans", [[0, 1]], (1, 0, 0, 0)),
        ("spans", [[1, 3]], (0, 1, 0, 0)),  # the space and the b
        ("spans", [[0, 3], [0, 1, 1]], (1, 1, 1, 0)),
        ("spans", [], (0, 0, 0, 0)),
        ("indices", [3, 0], (1, 0, 0, 1)),
        ("indices", [], (0, 0, 0, 0)),
        ("mask", [0, 1, 0, 1], (0, 1, 0, 1)),
        ("mask", [False, True, 1.0, 0.0], (0, 1, 1, 0)),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rationale_formats_over_two_texts(tmp_path, kind, form, cell, expected):
    path = write(tmp_path, kind, [{"text": "a b", "other": "c d", "label": "yes", "why": cell}])
    corpus = load_corpus("own", path=path, second_text_column="other", rationale_columns="why", rationale_format=form)
    assert corpus.examples[0].segments == ("a b", "c d")
    assert corpus.examples[0].gold == tuple(map(bool, expected))


@pytest.mark.parametrize(
    "form, cell, message",
    [
        ("spans", [[2, 9]], "outside its text"),
        ("spans", [[1, 1]], "empty or outside"),
        ("spans", [[0, 1, 1]], "outside its text"),
        ("spans", [[0]], r"not \[start, end\]"),
        ("spans", [3], r"not \[start, end\]"),
        ("spans", "fine", "not JSON"),
        ("spans", {"start": 0}, "not a list"),
        ("indices", [3], "outside 0 to 2"),
        ("indices", [-1], "outside 0 to 2"),
        ("indices", [0.5], "whole numbers"),
        ("mask", [0, 1], "2 entries for 3 words"),
        ("mask", [0, 1, 2], "one 0 or 1 per word"),
    ],
)
def test_rationale_that_does_not_fit_is_an_error_with_its_row(tmp_path, form, cell, message):
    rows = [{"text": "fine", "label": "a", "why": None}, {"text": "a b c", "label": "b", "why": cell}]
    with pytest.raises(StudyError, match=f"Row 2, column 'why'.*{message}"):
        load_corpus("own", path=write(tmp_path, "jsonl", rows), rationale_columns=["why"], rationale_format=form)


@pytest.mark.parametrize(
    "rows, options, message",
    [
        ([{"text": "a", "label": "x"}, {"text": "b", "label": None}], {}, "Row 2 has no label"),
        ([{"text": "a", "label": "x"}], {"labels": ["y", "z"]}, "Row 1 has the label 'x'"),
        ([{"text": "a", "label": "x"}, {"label": "x"}], {}, "row 2.*no column 'text'"),
        ([{"text": "a", "label": "x"}], {"text_column": "body"}, "no column 'body'"),
        ([{"text": "a", "label": "x", "k": 1}] * 2, {"id_column": "k"}, "Rows 1 and 2 have the id '1'"),
        ([{"text": "a", "label": "x"}], {"task": "sentiment"}, "use `label_map`"),
        ([{"text": "a", "label": "x"}], {"rationale_format": "words"}, "Unknown rationale format"),
        ([], {}, "holds no rows"),
        ([{"text": "", "label": "x"}], {}, "holds no text"),
    ],
)
def test_bad_rows_and_options_name_themselves(tmp_path, rows, options, message):
    with pytest.raises(StudyError, match=message):
        load_corpus("own", path=write(tmp_path, "jsonl", rows), **options)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.txt", "x", "Unknown file format"),
        ("a.jsonl", "{}\n{", "Line 2 of 'a.jsonl' is not JSON"),
        ("a.parquet", "x", "not a readable Parquet"),
        ("a.csv", "", "not a readable table"),
        ("a.csv", "text,tag\nfine,x\n", "no column 'label'"),
    ],
)
def test_bad_files_name_themselves(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(StudyError, match=message):
        load_corpus("own", path=str(tmp_path / name))


def test_path_and_hub_exclude_each_other_and_the_hub_needs_a_commit():
    with pytest.raises(StudyError, match="not by both"):
        load_corpus("own")
    with pytest.raises(StudyError, match="not by both"):
        load_corpus("own", path="a.csv", hub_id="a/b", revision="c")
    with pytest.raises(StudyError, match="`revision`"):
        load_corpus("own", hub_id="a/b")
    with pytest.raises(StudyError, match="There is no file"):
        load_corpus("own", path="none.csv")


def test_french_opinion_corpus_through_label_map(tmp_path):
    (tmp_path / "infopinion.csv").write_text('text,label\n"Il pleut, ""dit-il"".",info\nQuel temps !,opinion\n')
    corpus = load_corpus(
        "own", path=str(tmp_path / "infopinion.csv"), language="fr", task="opinion", label_map={"info": "news"}
    )
    assert [(example.label, example.language) for example in corpus.examples] == [("news", "fr"), ("opinion", "fr")]
    assert corpus.examples[0].text == 'Il pleut, "dit-il".' and corpus.examples[0].gold is None
    assert [example.example_id for example in corpus.examples] == ["1", "2"]


def test_generic_task_and_numeric_labels(tmp_path):
    path = write(tmp_path, "parquet", [{"text": "a", "label": 1}, {"text": "b", "label": 0}])
    corpus = load_corpus("own", path=path, label_map={0: "low", 1: "high"}, labels=["low", "high"], corpus_name="mine")
    assert corpus.labels == ("low", "high") and [e.label for e in corpus.examples] == ["high", "low"]
    assert corpus.name == "mine" and set(TASKS[corpus.task]["en"].labels) == {"low", "high"}
    assert load_corpus("own", path=path).labels == ("0", "1")


def test_hub_data_set_is_loaded_at_its_commit_with_class_names(monkeypatch):
    class Table(list):
        features = {"label": SimpleNamespace(names=["neg", "pos"]), "text": SimpleNamespace()}

    asked = []

    def load_dataset(name, configuration, revision):
        asked.append((name, configuration, revision))
        return {"train": Table([{"text": "fine", "label": 1}]), "test": Table([{"text": "dull", "label": 0}])}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    corpus = load_corpus("own", hub_id="a/b", hub_config="c", revision="d")
    assert asked == [("a/b", "c", "d")]
    assert [(e.split, e.label) for e in corpus.examples] == [("train", "pos"), ("test", "neg")]
    assert corpus.provenance == {"source": "hub data set a/b", "revision": "d"}


@pytest.mark.parametrize("error", [OSError("no network\nmore"), ValueError("unknown configuration"), ConnectionError()])
def test_hub_failure_is_one_sentence(monkeypatch, error):
    def load_dataset(*arguments, **options):
        raise error

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(StudyError, match="Could not load 'a/b' at d") as caught:
        load_corpus("own", hub_id="a/b", revision="d")
    assert "\n" not in str(caught.value)

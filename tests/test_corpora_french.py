"""French highlights on a small file of the published form; the spans below were counted by hand."""

import csv
import io
import json

import pytest

from corpora_fixtures import use_folder
from rationales.corpora import french, load_corpus
from rationales.errors import StudyError

TEXT = "Il pleut.\nQuel temps affreux"  # Il 0-2, pleut. 3-9, Quel 10-14, temps 15-20, affreux 21-28
COLUMNS = ["tid_x", "title", "text", "label", "text_type", "highlights_opinion", "highlights_information"]


def span(start, end, colour):
    return {"start": start, "end": end, "color": f"highlight-{colour}"}


def table(opinion, information, label="opinion", text=TEXT):
    cells = [str([json.dumps(reader) for reader in readers]) for readers in (opinion, information)]
    handle = io.StringIO()
    csv.writer(handle).writerows([COLUMNS, ["3", "Titre", text, label, "{}", *cells]])
    return handle.getvalue()


def load(tmp_path, monkeypatch, content):
    use_folder(tmp_path, monkeypatch, {french.FILE: content})
    return load_corpus("french_highlights")


def test_colours_overlays_and_readers(tmp_path, monkeypatch):
    opinion = [
        [span(10, 28, "yellow"), span(15, 20, "white"), span(21, 23, "red")],  # white erases, red covers
        [span(3, 3, "red"), span(21, 28, "orange")],  # a span of no length means nothing
        [],
        [span(0, 28, "red"), span(0, 28, "white")],  # everything erased again
    ]
    corpus = load(tmp_path, monkeypatch, table(opinion, [[span(0, 2, "red")], []]))
    (example,) = corpus.examples
    assert example.segments == (TEXT,) and example.label == "opinion" and example.language == "fr"
    assert example.annotators == ((False, False, True, False, True), (False, False, False, False, True))
    assert example.gold == (False, False, True, False, True)
    assert example.gold_graded == pytest.approx((0, 0, 0.165, 0, 0.83))
    assert example.meta == {"title": "Titre", "n_readers": 6, "n_readers_same_label": 4}
    counts = corpus.provenance["counts"]
    assert counts["readers_with_another_answer"] == 2 and counts["readers_without_a_mark"] == 2


def test_information_articles_use_the_other_column_and_the_task_label(tmp_path, monkeypatch):
    corpus = load(tmp_path, monkeypatch, table([[span(0, 2, "red")]], [[span(3, 8, "red")]], label="info"))
    (example,) = corpus.examples
    assert example.label == "news" and example.gold == (False, True, False, False, False)


def test_article_that_nobody_marked_has_no_gold(tmp_path, monkeypatch):
    (example,) = load(tmp_path, monkeypatch, table([[]], [])).examples
    assert example.gold is None and example.gold_graded is None and example.annotators == ()


def test_offsets_that_count_the_title_are_refused(tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="outside their texts"):
        load(tmp_path, monkeypatch, table([[span(26, 34, "red")]], []))


def test_a_rare_span_past_the_end_is_cut_and_counted(tmp_path, monkeypatch):
    spans = [span(0, 2, "red")] * 30 + [span(21, 29, "red")]
    corpus = load(tmp_path, monkeypatch, table([spans], []))
    assert corpus.examples[0].gold == (True, False, False, False, True)
    assert corpus.provenance["counts"]["spans_cut_at_the_end"] == 1


@pytest.mark.parametrize(
    "content",
    [
        table([[{"start": 0, "end": 2, "color": "highlight-green"}]], []),
        table([[{"start": 0}]], []),
        table([[span(0, 2, "red")]], []).replace("\"['[{", "\"[open('x') + '[{"),
    ],
)
def test_other_forms_are_refused(tmp_path, monkeypatch, content):
    with pytest.raises(StudyError, match="published form"):
        load(tmp_path, monkeypatch, content)


def test_unknown_label_is_refused(tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="has the label 'satire'"):
        load(tmp_path, monkeypatch, table([], [], label="satire"))

"""ERASER corpora: evidence over the words of documents, archives read without unpacking, published facts."""

import io
import json
import tarfile

import numpy as np
import pytest

from corpora_fixtures import needs_real_corpora, use_folder
from rationales.corpora import eraser, load_corpus
from rationales.errors import StudyError

REVIEW = "a slow start ,\nthen a fine  ending ."


def evidence(document, start, end, text):
    return {"docid": document, "start_token": start, "end_token": end, "text": text}


def item(name, label, *groups, query="q"):
    return json.dumps({"annotation_id": name, "classification": label, "evidences": list(groups), "query": query})


def pack(members):
    handle = io.BytesIO()
    with tarfile.open(fileobj=handle, mode="w:gz") as archive:
        for name, content in members.items():
            information = tarfile.TarInfo(name)
            if content is None:
                information.type, information.linkname = tarfile.SYMTYPE, "/etc/hostname"
                archive.addfile(information)
            else:
                data = content.encode()
                information.size = len(data)
                archive.addfile(information, io.BytesIO(data))
    return handle.getvalue()


def movies(*rows, documents=None):
    members = {f"movies/{name}.jsonl": "" for name in ("train", "val")} | {"movies/test.jsonl": "\n".join(rows)}
    return {
        eraser.MOVIES_FILE: pack(members | {f"movies/docs/{n}": t for n, t in (documents or {"r1": REVIEW}).items()})
    }


def test_evidence_marks_words_of_the_review(tmp_path, monkeypatch):
    rows = [
        item("r1", "POS", [evidence("r1", 1, 3, "slow start"), evidence("r1", 6, 8, "fine ending")]),
        item("r2", "NEG"),
    ]
    use_folder(tmp_path, monkeypatch, movies(*rows, documents={"r1": REVIEW, "r2": "no evidence"}))
    corpus = load_corpus("eraser_movies")
    first, second = corpus.examples
    assert first.text == REVIEW and first.label == "positive" and first.split == "test"
    assert [word for word, marked in zip(first.word_texts, first.gold, strict=True) if marked] == [
        "slow", "start", "fine", "ending",
    ]  # fmt: skip
    assert second.gold is None and second.label == "negative"
    assert corpus.provenance["counts"] == {"reviews_without_evidence": 1}


@pytest.mark.parametrize(
    "row, message",
    [
        (item("r1", "POS", [evidence("r1", 1, 3, "slow ending")]), "does not fit its document"),
        (item("r1", "POS", [evidence("r9", 1, 3, "slow start")]), "does not fit its document"),
        (item("r1", "POS", [evidence("r1", -3, 0, "")]), "does not fit its document"),
        (item("r1", "GOOD"), "'GOOD' instead of"),
        (item("r9", "POS"), "holds no 'movies/docs/r9'"),
        ("{}", "no column 'annotation_id'"),
        ("{", "not JSON lines"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, monkeypatch, row, message):
    use_folder(tmp_path, monkeypatch, movies(row))
    with pytest.raises(StudyError, match=message):
        load_corpus("eraser_movies", splits=["test"])


def test_archive_is_read_in_memory_and_links_are_skipped(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(pack({"./good": "text", "../outside": "never written", "link": None}))
    assert eraser.read_archive(path) == {"good": "text", "../outside": "never written"}
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar.gz"]
    assert not (tmp_path.parent / "outside").exists()


# Names for the cases: bytes of an archive hold the time of packing, and test processes must agree on the tests' names.
@pytest.mark.parametrize(
    "content", [b"no archive", pack({"a": "text" * 9999})[:60], b""], ids=["other bytes", "cut off", "empty"]
)
def test_damaged_archive_is_refused(tmp_path, content):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(StudyError, match="not a readable archive"):
        eraser.read_archive(path)


FEVER_ROW = item(
    "7", "SUPPORTS", [evidence("Été", 0, 2, "It rains")], [evidence("Été", 3, 4, "Often")], query="Rain falls ."
)
FEVER_TEXT = "It rains .\nOften ."


@pytest.mark.parametrize("as_folder", [True, False])
def test_claim_and_document_are_two_segments(tmp_path, monkeypatch, as_folder):
    contents = {eraser.FEVER_SPLITS["test"]: FEVER_ROW}
    if as_folder:
        contents["eraser_fever/docs/Été"] = FEVER_TEXT
    else:
        contents[eraser.FEVER_DOCUMENTS] = pack({"docs/Été": FEVER_TEXT})
    use_folder(tmp_path, monkeypatch, contents)
    (example,) = load_corpus("eraser_fever").examples
    assert example.segments == ("Rain falls .", FEVER_TEXT) and example.label == "supports"
    assert example.gold == (False, False, False, True, True, False, True, False)
    assert example.meta == {"n_evidence_groups": 2, "document": "Été"}


@pytest.mark.parametrize("name", ["absent", "../test.jsonl"])
def test_article_names_cannot_leave_the_folder(tmp_path, monkeypatch, name):
    row = item("7", "SUPPORTS", [evidence(name, 0, 1, "It")])
    use_folder(tmp_path, monkeypatch, {eraser.FEVER_SPLITS["test"]: row, "eraser_fever/docs/a": "It"})
    with pytest.raises(StudyError, match="holds no article"):
        load_corpus("eraser_fever")


def test_missing_articles_say_where_to_put_them(tmp_path, monkeypatch):
    use_folder(tmp_path, monkeypatch, {eraser.FEVER_SPLITS["test"]: FEVER_ROW})
    with pytest.raises(StudyError, match="eraser_fever/docs"):
        load_corpus("eraser_fever")


@needs_real_corpora
@pytest.mark.parametrize(
    "split, negative, positive, share", [("validation", 100, 100, 0.072), ("test", 100, 99, 0.314)]
)
def test_real_movies(split, negative, positive, share):
    corpus = load_corpus("eraser_movies", splits=split)
    labels = [example.label for example in corpus.examples]
    assert (labels.count("negative"), labels.count("positive")) == (negative, positive)
    assert np.mean([np.mean(example.gold) for example in corpus.examples]) == pytest.approx(share, abs=5e-4)


@needs_real_corpora
def test_real_movies_train():
    corpus = load_corpus("eraser_movies", splits=["train"])
    labels = [example.label for example in corpus.examples]
    assert labels.count("negative") == labels.count("positive") == 800
    assert corpus.provenance["counts"] == {"reviews_without_evidence": 1}
    shares = [np.mean(example.gold or 0) for example in corpus.examples]  # the review without evidence counts as 0
    assert np.mean(shares) == pytest.approx(0.093, abs=5e-4)


@needs_real_corpora
def test_real_fever():
    corpus = load_corpus("eraser_fever", splits=["validation"], limit=1000, seed=1)
    assert len(corpus.examples) == 1000
    assert all(any(example.gold) for example in corpus.examples)
    first_segment = [m for e in corpus.examples for m, w in zip(e.gold, e.words, strict=True) if w.segment == 0]
    assert first_segment and not any(first_segment)
    rows = {split: eraser.read_json_lines(eraser.fetch(key)) for split, key in eraser.FEVER_SPLITS.items()}
    counts = {
        split: [sum(row["classification"] == name for row in rows[split]) for name in eraser.FEVER_LABELS]
        for split in rows
    }
    assert counts == {"validation": [3103, 3019], "test": [3078, 3033]}

"""HateXplain in both file formats. Made-up posts are harmless; of the real ones only counts are compared."""

import csv
import io
import json

import numpy as np
import pytest

from corpora_fixtures import needs_real_corpora, use_folder
from rationales.corpora import hatexplain, load_corpus
from rationales.errors import StudyError

NAMES = hatexplain.LABELS
# id -> votes, tokens, marks
POSTS = {
    "a": ([2, 2, 1], ["you", "silly  goose", "", "!"], [[0, 1, 0, 0], [1, 1, 0, 0]]),
    "b": ([1, 1, 0], ["good", "day"], []),
    "c": ([0, 1, 2], ["no", "majority"], [[1, 0]]),
    "d": ([0, 0, 0], ["bad"], []),
    "e": ([2, 2, 2], [" ", ""], []),
    "f": ([1, 1, 1], ["good", "night"], [[1, 0]]),
    "g": ([1, 1, 1], ["unlisted"], []),
}
DIVISIONS = json.dumps({"train": ["b", "c"], "val": ["a", "e"], "test": ["d", "f"]})


def as_json(posts):
    return json.dumps(
        {
            name: {
                "post_id": name,
                "annotators": [{"label": NAMES[vote], "annotator_id": i, "target": []} for i, vote in enumerate(votes)],
                "rationales": marks,
                "post_tokens": tokens,
            }
            for name, (votes, tokens, marks) in posts.items()
        }
    )


def as_csv(posts):
    handle = io.StringIO()
    rows = [[n, {"label": v, "annotator_id": [1, 2, 3]}, m, t, "x"] for n, (v, t, m) in posts.items()]
    csv.writer(handle).writerows([["id", "annotators", "rationales", "post_tokens", "masked_tokens"], *rows])
    return handle.getvalue()


def files(source, posts=POSTS):
    contents = {hatexplain.DIVISIONS_FILE: DIVISIONS}
    if source == "json":
        return contents | {hatexplain.JSON_FILE: as_json(posts)}
    halves = [dict(list(posts.items())[:3]), dict(list(posts.items())[3:])]
    return contents | {key: as_csv(half) for key, half in zip(hatexplain.CSV_FILES, halves, strict=True)}


@pytest.mark.parametrize("source", ["json", "csv"])
def test_votes_words_and_marks(tmp_path, monkeypatch, source):
    use_folder(tmp_path, monkeypatch, files(source))
    corpus = load_corpus("hatexplain")  # auto finds what is there
    by_id = {example.example_id: example for example in corpus.examples}
    assert list(by_id) == ["a", "b", "d", "f"]
    assert by_id["a"].word_texts == ["you", "silly", "goose", "!"]  # split at the inner space, the empty one gone
    assert by_id["a"].annotators == ((False, True, True, False), (True, True, True, False))
    assert by_id["a"].gold == (True, True, True, False) and by_id["a"].split == "validation"
    assert by_id["a"].label == "offensive" and by_id["a"].meta["votes"] == ["offensive", "offensive", "normal"]
    assert by_id["b"].gold is None and by_id["b"].label == "normal" and by_id["b"].split == "train"
    assert by_id["d"].gold is None and by_id["d"].label == "hatespeech"
    assert by_id["f"].gold is None and by_id["f"].annotators == ()
    assert dict(corpus.exclusions) == {
        "c": "the annotators gave three different labels",
        "e": "empty text",
        "g": "in none of the official splits",
    }
    assert corpus.provenance["counts"] == {
        "tokens_split_or_dropped": 4, "marks_on_normal_posts_ignored": 1, "posts_without_marks": 1,
    }  # fmt: skip


def test_official_file_comes_first_and_can_be_overruled(tmp_path, monkeypatch):
    use_folder(tmp_path, monkeypatch, files("json", {"b": POSTS["b"]}) | files("csv", {"d": POSTS["d"]}))
    assert [e.example_id for e in load_corpus("hatexplain").examples] == ["b"]
    assert [e.example_id for e in load_corpus("hatexplain", source="csv").examples] == ["d"]
    with pytest.raises(StudyError, match="Unknown source"):
        load_corpus("hatexplain", source="xml")


@pytest.mark.parametrize("source", ["json", "csv"])
@pytest.mark.parametrize(
    "post", [([1, 1, 1], ["a", "b"], [[1]]), ([0, 0, 0], ["a"], [[2]]), ([0, 0, 0], ["a", 3], [[1, 0]])]
)
def test_wrong_marks_or_tokens_are_refused(tmp_path, monkeypatch, source, post):
    use_folder(tmp_path, monkeypatch, files(source, {"b": post}))
    with pytest.raises(StudyError, match="published structure"):
        load_corpus("hatexplain")


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"a": 1}', '{"a": {"annotators": [{"label": {}}], "post_tokens": [], "rationales": []}}']
)
def test_other_official_files_are_refused(tmp_path, monkeypatch, content):
    use_folder(tmp_path, monkeypatch, files("json") | {hatexplain.JSON_FILE: content})
    with pytest.raises(StudyError, match="JSON object of posts|published structure"):
        load_corpus("hatexplain")


def test_cells_are_never_evaluated(tmp_path, monkeypatch):
    contents = files("csv")
    key = hatexplain.CSV_FILES[0]
    contents[key] = contents[key].replace("['no', 'majority']", "__import__('os').getcwd()")
    use_folder(tmp_path, monkeypatch, contents)
    with pytest.raises(StudyError, match="row 3"):
        load_corpus("hatexplain")


@pytest.mark.parametrize(
    "votes, label",
    [(("a", "b", "b"), "b"), (("a", "b", "c"), None), (("a", "a", "b", "b"), None), (("a",), "a"), ((), None)],
)
def test_majority(votes, label):
    assert hatexplain.find_majority(votes) == label


@needs_real_corpora
def test_real_splits():
    corpus = load_corpus("hatexplain", source="csv")
    counts = {
        split: [sum(e.label == label for e in corpus.of_split(split)) for label in corpus.labels]
        for split in ("validation", "test")
    }
    assert counts == {"validation": [593, 781, 548], "test": [594, 782, 548]} and not corpus.exclusions
    for split, share in [("validation", 0.356), ("test", 0.338)]:
        marked = [np.mean(example.gold) for example in corpus.of_split(split) if example.gold is not None]
        assert np.mean(marked) == pytest.approx(share, abs=5e-4)
    assert all((example.gold is None) == (example.label == "normal") for example in corpus.examples)
    assert {len(e.annotators) for e in corpus.examples if e.label != "normal"} == {2, 3}
    assert np.mean([len(example.words) for example in corpus.examples]) == pytest.approx(23, abs=0.5)
    assert corpus.provenance["counts"]["tokens_split_or_dropped"] == 0

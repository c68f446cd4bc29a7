"""MedicalBios: which rows count, where spans fall, and the facts of the published files. No text is ever shown."""

import hashlib
import json

import numpy as np
import pytest

from corpora_fixtures import needs_real_corpora, use_folder
from rationales.corpora import load_corpus, medical_bios
from rationales.errors import StudyError

QUESTION = "Why is this person a Nurse?\nBio: "
STANDARD = "medical_bios/standard_biosbias_rationales.jsonl"
PSEUDONYMISED = "medical_bios/standard_biosbias_rationales.pseudonymised.jsonl"
CONTRASTIVE = "medical_bios/contrastive_biosbias_rationales.pseudonymised.jsonl"
BIO = "She cares for patients."


def row(spans, bio=BIO, **changes):
    spans = None if spans is None else [{"start": s + len(QUESTION), "end": e + len(QUESTION)} for s, e in spans]
    fields = {"text": QUESTION + bio, "label": "Nurse", "answer": "accept", "upstream_excluded": False, "spans": spans}
    fields |= changes
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def test_spans_are_shifted_and_rows_filtered(tmp_path, monkeypatch):
    rows = [
        row([(4, 9)]),  # cares
        row([(6, 7), (14, 16)]),  # inside "cares", and the first letters of "patients."
        row([(0, 3)], answer="reject"),
        row([(0, 3)], upstream_excluded=True),
        row(None),
        row([(-5, -1), (10, 13)]),  # one span in the question; "for"
        row([(0, 1)], bio="Rejected only.", answer="ignore"),
    ]
    use_folder(tmp_path, monkeypatch, {PSEUDONYMISED: "\n".join(rows)})
    corpus = load_corpus("medical_bios_standard")
    (example,) = corpus.examples
    assert example.text == BIO and example.label == "nurse"
    assert example.annotators == (
        (False, True, False, False), (False, True, False, True), (False, False, True, False),
    )  # fmt: skip
    assert example.gold == (False, True, False, False)
    assert example.example_id == "bio-" + hashlib.sha256(BIO.encode()).hexdigest()[:12]
    assert len(corpus.exclusions) == 1 and "no accepted annotation" in corpus.exclusions[0][1]
    assert corpus.provenance["counts"] == {
        "spans_in_the_question_dropped": 1,
        "rows_not_accepted": 2,
        "rows_annotator_excluded_by_the_authors": 1,
        "rows_accepted_without_spans": 1,
    }


def test_original_file_excludes_annotators_by_the_checksum_of_their_id(tmp_path, monkeypatch):
    excluded = hashlib.sha256(b"tester").hexdigest()[:16]
    monkeypatch.setattr(medical_bios, "EXCLUDED_ANNOTATORS", frozenset({excluded}))
    rows = [row([(0, 3)], upstream_excluded=None, _annotator_id=name) for name in ("tester", "worker")]
    use_folder(tmp_path, monkeypatch, {STANDARD: "\n".join(rows)})
    (example,) = load_corpus("medical_bios_standard").examples
    assert len(example.annotators) == 1


def test_five_annotators_are_excluded_by_checksum():
    assert len(medical_bios.EXCLUDED_ANNOTATORS) == 5
    assert all(len(checksum) == 16 and int(checksum, 16) for checksum in medical_bios.EXCLUDED_ANNOTATORS)


def test_contrastive_foil_is_kept(tmp_path, monkeypatch):
    use_folder(tmp_path, monkeypatch, {CONTRASTIVE: row([(0, 3)], foil="Physician")})
    (example,) = load_corpus("medical_bios_contrastive").examples
    assert example.meta["foil"] == "physician"


@pytest.mark.parametrize(
    "line, message",
    [
        (row([(0, 3)], text="no marker"), "no single 'Bio: '"),
        (row([(0, 3)], text="Bio: a Bio: b"), "no single 'Bio: '"),
        (row([(0, 3)], upstream_excluded=None), "names no annotator"),
        ('{"text": "Bio: a"}', "no column 'label'"),
        (row([(0, 3)]).replace('"end"', '"stop"'), "span without offsets"),
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("\n".join([row([(0, 3)]), row([(0, 3)], label="Surgeon")]), "two labels"),
    ],
)
def test_other_structures_are_refused(tmp_path, monkeypatch, line, message):
    use_folder(tmp_path, monkeypatch, {PSEUDONYMISED: line})
    with pytest.raises(StudyError, match=message):
        load_corpus("medical_bios_standard")


@needs_real_corpora
def test_real_standard_file():
    corpus = load_corpus("medical_bios_standard")
    sizes = [len(example.annotators) for example in corpus.examples]
    assert len(corpus.examples) == 113 and sum(sizes) == 389 and sizes.count(3) == 102 and sizes.count(2) == 3
    assert corpus.labels == tuple(sorted(corpus.labels)) and {e.label for e in corpus.examples} == set(corpus.labels)
    counts = corpus.provenance["counts"]
    assert sum(count for name, count in counts.items() if name.startswith("rows_")) == 584 - 389
    # .212 of the published tokens; whole words differ a little, as punctuation is no word of its own
    assert np.mean([np.mean(mask) for e in corpus.examples for mask in e.annotators]) == pytest.approx(0.19, abs=0.025)
    assert not any("Bio:" in example.text for example in corpus.examples)


@needs_real_corpora
def test_real_contrastive_file():
    corpus = load_corpus("medical_bios_contrastive")
    assert len(corpus.examples) == 113 and {len(example.annotators) for example in corpus.examples} == {3}
    assert np.mean([np.mean(mask) for e in corpus.examples for mask in e.annotators]) == pytest.approx(0.094, abs=0.01)
    assert all(e.meta["foil"] in corpus.labels and e.meta["foil"] != e.label for e in corpus.examples)
    standard = load_corpus("medical_bios_standard")
    assert {e.example_id for e in standard.examples} == {e.example_id for e in corpus.examples}

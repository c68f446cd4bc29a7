"""MedicalBios: biographies of medical staff with human rationales (Eberle et al., EMNLP 2023).

Two settings of the same 113 biographies: `medical_bios_standard` ("why is this person described as L") and
`medical_bios_contrastive` ("L rather than F"). The biographies are of real, named people: never print a text.
"""

import hashlib
from collections import defaultdict

from rationales.corpora.download import describe_sources, fetch, find_local
from rationales.corpora.registry import corpus
from rationales.corpora.rows import read_json_lines, require_columns
from rationales.errors import StudyError
from rationales.examples import Corpus, Example, majority_rationale, spans_to_words, split_words

LABELS = ("dentist", "nurse", "physician", "psychologist", "surgeon")
MARKER = "Bio: "
# The authors' code drops five annotators (test accounts, failed screening). The original files name annotators
# by ids of a crowd platform, so only checksums of those five ids stand here.
EXCLUDED_ANNOTATORS = frozenset(
    {
        "3c416a6ddf34c1d8",
        "3cf063042efd326f",
        "7033c297e38c0e49",
        "831ea832aacdb967",
        "f3e9f855846abcad",
    }
)


@corpus("medical_bios_standard")
def read_medical_bios_standard() -> Corpus:
    """Return the biographies with the question why L; see `read_medical_bios`."""
    return read_medical_bios("standard")


@corpus("medical_bios_contrastive")
def read_medical_bios_contrastive() -> Corpus:
    """Return the biographies with the question why L rather than F (`meta["foil"]`); see `read_medical_bios`."""
    return read_medical_bios("contrastive")


def read_medical_bios(setting: str) -> Corpus:
    """Return one example per biography, one split `test`, one mask per annotator.

    Text: what follows "Bio: " in the published text, so the question is never part of it. A word is marked where
    an evidence span covers at least one of its characters. Gold: words marked by at least half of the annotators.
    Rows count when they are accepted, hold a span and come from an annotator whom the authors kept. The id is a
    checksum of the biography, hence equal in the two settings.
    """
    name, key = f"medical_bios_{setting}", _choose_file(setting)
    fields = ["text", "label", "answer"] + (["foil"] if setting == "contrastive" else [])
    by_text: dict[str, list[dict]] = defaultdict(list)
    dropped = {"not_accepted": 0, "annotator_excluded_by_the_authors": 0, "accepted_without_spans": 0}
    for number, row in enumerate(read_json_lines(fetch(key)), start=1):
        require_columns(row, fields, f"line {number} of {key}")
        if not all(
            isinstance(span, dict) and isinstance(span.get("start"), int) and isinstance(span.get("end"), int)
            for span in row.get("spans") or []
        ):
            raise StudyError(f"Line {number} of '{key}' has a span without offsets; use the published file.")
        if row["text"].count(MARKER) != 1:
            raise StudyError(f"Line {number} of '{key}' has no single '{MARKER}'; use the published file.")
        bio = row["text"].split(MARKER)[1]
        kept = by_text[bio]  # also creates the entry, so that a biography without any kept row is reported
        if row["answer"] != "accept":
            dropped["not_accepted"] += 1
        elif _is_excluded(row, number, key):
            dropped["annotator_excluded_by_the_authors"] += 1
        elif not row.get("spans"):
            dropped["accepted_without_spans"] += 1
        else:
            kept.append(row)
    examples, exclusions, outside = [], [], 0
    for bio, rows in by_text.items():
        example_id = "bio-" + hashlib.sha256(bio.encode()).hexdigest()[:12]
        if not rows:
            exclusions.append(
                (example_id, "no accepted annotation with a span from an annotator whom the authors kept")
            )
            continue
        if len({(row["label"], row.get("foil")) for row in rows}) != 1:
            raise StudyError(f"Biography '{example_id}' of '{key}' has two labels or foils; use the published file.")
        words, masks = split_words((bio,)), []
        for row in rows:
            offset = row["text"].index(MARKER) + len(MARKER)
            spans = [(span["start"] - offset, span["end"] - offset) for span in row["spans"]]
            outside += sum(end <= 0 for _, end in spans)
            masks.append(spans_to_words(words, spans))
        meta = {"n_annotators": len(rows)}
        if setting == "contrastive":
            meta["foil"] = rows[0]["foil"].lower()
        examples.append(
            Example(
                example_id=example_id,
                corpus=name,
                split="test",
                language="en",
                segments=(bio,),
                label=rows[0]["label"].lower(),
                annotators=tuple(masks),
                gold=majority_rationale(tuple(masks)),
                meta=meta,
            )
        )
    provenance = describe_sources(
        "MedicalBios (Eberle et al., EMNLP 2023), Prodigy export",
        [key],
        [
            "Biographies of real people: texts must not appear in reports.",
            "Span offsets count the question too: they are shifted, and spans inside the question dropped.",
        ],
        spans_in_the_question_dropped=outside,
        **{f"rows_{reason}": count for reason, count in dropped.items()},
    )
    return Corpus(name, "medical_occupation", LABELS, tuple(examples), tuple(exclusions), provenance)


def _choose_file(setting: str) -> str:
    """Return the pseudonymised file where it is on this machine, otherwise the original."""
    stem = f"medical_bios/{setting}_biosbias_rationales"
    return f"{stem}.pseudonymised.jsonl" if find_local(f"{stem}.pseudonymised.jsonl") else f"{stem}.jsonl"


def _is_excluded(row: dict, number: int, key: str) -> bool:
    """Return whether the authors drop this row's annotator: by the flag of the local file, or by the id's checksum."""
    if "upstream_excluded" in row:
        return bool(row["upstream_excluded"])
    if "_annotator_id" not in row:
        raise StudyError(f"Line {number} of '{key}' names no annotator; use the published file.")
    return hashlib.sha256(str(row["_annotator_id"]).encode()).hexdigest()[:16] in EXCLUDED_ANNOTATORS

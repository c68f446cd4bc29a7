"""Two corpora in the format of the ERASER benchmark (DeYoung et al., ACL 2020): long texts with evidence.

- `eraser_movies`: film reviews with evidence spans (Zaidan & Eisner 2008), about 770 words each.
- `eraser_fever`: a claim and an encyclopedia article that supports or refutes it, with evidence sentences.
"""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from rationales.corpora.download import describe_sources, fetch, find_local
from rationales.corpora.registry import corpus
from rationales.corpora.rows import check_splits, read_json_lines, require_columns, sample_rows
from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.paths import local_corpora

MOVIES_FILE = "eraser_movies/movies.tar.gz"
MOVIES_SPLITS = {"train": "movies/train.jsonl", "validation": "movies/val.jsonl", "test": "movies/test.jsonl"}
MOVIES_LABELS = {"NEG": "negative", "POS": "positive"}
FEVER_SPLITS = {"validation": "eraser_fever/val.jsonl", "test": "eraser_fever/test.jsonl"}
FEVER_LABELS = {"REFUTES": "refutes", "SUPPORTS": "supports"}
FEVER_DOCUMENTS = "eraser_fever/docs.tar.gz"
FIELDS = ("annotation_id", "classification", "evidences", "query")
CHECK_NOTE = "The text of every evidence was compared with its slice of the document."


@corpus("eraser_movies")
def read_eraser_movies(splits: tuple[str, ...] = ("train", "validation", "test")) -> Corpus:
    """Return the film reviews. Gold: every word of an evidence span; None for a review without evidence.

    Test was annotated exhaustively (31 % of the words), train and validation were not (9 % and 7 %): compare
    scores within one split only.
    """
    splits = check_splits(splits, MOVIES_SPLITS)
    members = read_archive(fetch(MOVIES_FILE))
    examples, unmarked = [], 0
    for split in splits:
        for row in _read_rows(members, MOVIES_SPLITS[split]):
            name = row["annotation_id"]
            text = _find_document(members, f"movies/docs/{name}")
            gold = mark_evidence(row, name, text.split())
            unmarked += gold is None
            label = _read_label(row, MOVIES_LABELS)
            examples.append(Example(name, "eraser_movies", split, "en", (text,), label, gold=gold))
    provenance = describe_sources(
        "ERASER Movie Reviews (DeYoung et al., ACL 2020; Zaidan & Eisner, 2008)",
        [MOVIES_FILE],
        [CHECK_NOTE, "Evidence is sparse in train and validation and exhaustive in test."],
        reviews_without_evidence=unmarked,
    )
    return Corpus("eraser_movies", "sentiment", tuple(MOVIES_LABELS.values()), tuple(examples), (), provenance)


@corpus("eraser_fever")
def read_eraser_fever(splits: tuple[str, ...] = ("test",), limit: int | None = None, seed: int = 0) -> Corpus:
    """Return claims (first segment) with their article (second segment); there is no public train split here.

    Gold: the words of the evidence sentences, never words of the claim. Where several sets of evidence are given,
    each of which suffices, gold is their union, and `meta["n_evidence_groups"]` their number.
    An item has about 290 words; `limit` draws that many items per split with `seed`.
    """
    splits = check_splits(splits, FEVER_SPLITS)
    rows = {split: read_json_lines(fetch(FEVER_SPLITS[split])) for split in splits}
    find_document, keys = _open_fever_documents()
    examples = []
    for split in splits:
        for row in sample_rows(rows[split], limit, seed):
            require_columns(row, FIELDS, FEVER_SPLITS[split])
            names = {evidence["docid"] for group in row["evidences"] for evidence in group}
            if len(names) != 1:
                raise StudyError(
                    f"Claim {row['annotation_id']} of ERASER FEVER needs one article; use the published file."
                )
            name = names.pop()
            text = find_document(name)
            gold = mark_evidence(row, name, text.split())
            examples.append(
                Example(
                    example_id=row["annotation_id"],
                    corpus="eraser_fever",
                    split=split,
                    language="en",
                    segments=(row["query"], text),
                    label=_read_label(row, FEVER_LABELS),
                    gold=(False,) * len(row["query"].split()) + gold,
                    meta={"n_evidence_groups": len(row["evidences"]), "document": name},
                )
            )
    provenance = describe_sources(
        "ERASER FEVER (DeYoung et al., ACL 2020)",
        [*(FEVER_SPLITS[split] for split in splits), *keys],
        [CHECK_NOTE, "Train is not in the public copy. Rationales are whole sentences, not words."],
    )
    return Corpus("eraser_fever", "fact_check", tuple(FEVER_LABELS.values()), tuple(examples), (), provenance)


def read_archive(path: Path) -> dict[str, str]:
    """Return the regular files of a .tar.gz as text, by name; nothing is unpacked to disk, links are skipped."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            return {
                member.name.removeprefix("./"): archive.extractfile(member).read().decode("utf-8")
                for member in archive
                if member.isfile()
            }
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise StudyError(f"The file '{path.name}' is not a readable archive of texts; replace it.") from error


def mark_evidence(row: dict, name: str, tokens: list[str]) -> tuple[bool, ...] | None:
    """Return the union of a row's evidence spans over the tokens of document `name`, or None without evidence.

    Raises StudyError where an evidence belongs to another document or its text is not the slice it names.
    """
    spans = [evidence for group in row["evidences"] for evidence in group]
    if not spans:
        return None
    gold = [False] * len(tokens)
    for span in spans:
        start, end = span["start_token"], span["end_token"]
        if span["docid"] != name or start < 0 or tokens[start:end] != span["text"].split():
            raise StudyError(
                f"Evidence of '{row['annotation_id']}' does not fit its document; use the published files together."
            )
        gold[start:end] = [True] * (end - start)
    return tuple(gold)


def _read_rows(members: dict[str, str], name: str) -> list[dict]:
    lines = _find_document(members, name).splitlines()
    try:
        rows = [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise StudyError(f"'{name}' in '{MOVIES_FILE}' is not JSON lines; replace the archive.") from error
    for row in rows:
        require_columns(row, FIELDS, name)
    return rows


def _find_document(members: dict[str, str], name: str) -> str:
    if name not in members:
        raise StudyError(f"The archive holds no '{name}'; use the published archive.")
    return members[name]


def _read_label(row: dict, labels: dict[str, str]) -> str:
    if row["classification"] not in labels:
        raise StudyError(
            f"'{row['annotation_id']}' has the class '{row['classification']}' instead of one of: "
            f"{', '.join(labels)}; use the published file."
        )
    return labels[row["classification"]]


def _open_fever_documents() -> tuple[Callable[[str], str], list[str]]:
    """Return a function from article name to text, and the registered files it reads.

    The articles are one archive, or the folder `eraser_fever/docs` of single files as in the public repository.
    """
    folder = local_corpora() / "eraser_fever" / "docs" if local_corpora() else None
    if find_local(FEVER_DOCUMENTS) is None and folder is not None and folder.is_dir():
        known = {path.name: path for path in folder.iterdir() if path.is_file()}

        def read_file(name: str) -> str:
            if name not in known:  # looked up, never joined to the path: names come from the file
                raise StudyError(f"The folder 'eraser_fever/docs' holds no article '{name}'; copy all public files.")
            return known[name].read_text(encoding="utf-8")

        return read_file, []
    members = read_archive(fetch(FEVER_DOCUMENTS))
    return lambda name: _find_document(members, f"docs/{name}"), [FEVER_DOCUMENTS]

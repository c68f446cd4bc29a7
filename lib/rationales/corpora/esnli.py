"""e-SNLI: sentence pairs whose deciding words were highlighted (Camburu et al., NeurIPS 2018)."""

import re
from collections import Counter
from pathlib import Path

from rationales.corpora.download import describe_sources, fetch
from rationales.corpora.registry import corpus
from rationales.corpora.rows import check_splits, read_table, sample_rows
from rationales.errors import StudyError
from rationales.examples import Corpus, Example, majority_rationale

LABELS = ("contradiction", "entailment", "neutral")
FILES = {
    "train": ("esnli/esnli_train_1.csv", "esnli/esnli_train_2.csv"),
    "validation": ("esnli/esnli_dev.csv",),
    "test": ("esnli/esnli_test.csv",),
}
COLUMNS = ("pairID", "gold_label", "Sentence1", "Sentence2")
ANNOTATORS = (1, 2, 3)
ABSENT = {"", "NA"}


@corpus("esnli")
def read_esnli(
    splits: tuple[str, ...] = ("validation", "test"),
    path: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Corpus:
    """Return premise (first segment) and hypothesis (second segment), with up to three annotators per pair.

    Highlights come from the columns `SentenceN_marked_K` (words between asterisks; a word is marked when any of its
    characters is). Where a marked sentence is not the sentence itself, the indices of `SentenceN_Highlighted_K` are
    used if they are valid word numbers; otherwise that annotator of the pair is set aside and counted. Gold: words
    marked by at least half of the annotators. The guidelines differ by label: both sentences are highlighted for
    contradiction, at least the premise for entailment, only the hypothesis for neutral.
    path: a file of your own in this format instead, read as the single split `sample`.
    """
    if path is not None:
        if not Path(path).is_file():
            raise StudyError(f"There is no e-SNLI file '{path}'; correct the option `path`.")
        sources, keys = {"sample": (Path(path),)}, []
    else:
        splits = check_splits(splits, FILES)
        keys = [key for split in splits for key in FILES[split]]
        sources = {split: tuple(fetch(key) for key in FILES[split]) for split in splits}
    examples, exclusions = [], []
    counts = Counter(annotations_by_index=0, annotations_set_aside=0, index_columns_that_disagree=0)
    seen: set[str] = set()
    for split, files in sources.items():
        rows = [row for file in files for row in read_table(file, COLUMNS)]
        for row in sample_rows(rows, limit, seed):
            reason = _find_reason(row, seen)
            masks = () if reason else _read_masks(row, counts)
            if not reason and not masks:
                reason = "no annotator's highlights fit the sentences"
            if reason:
                exclusions.append((row["pairID"], reason))
                continue
            seen.add(row["pairID"])
            examples.append(
                Example(
                    example_id=row["pairID"],
                    corpus="esnli",
                    split=split,
                    language="en",
                    segments=(row["Sentence1"], row["Sentence2"]),
                    label=row["gold_label"],
                    annotators=masks,
                    gold=majority_rationale(masks),
                )
            )
    notes = ["Highlights from the marked columns; index columns are only compared with them, or replace them."]
    if path is None:
        provenance = describe_sources("e-SNLI (Camburu et al., NeurIPS 2018)", keys, notes, **counts)
    else:
        provenance = {"source": "e-SNLI format, your own file", "notes": notes, "counts": dict(counts)}
    return Corpus("esnli", "nli", LABELS, tuple(examples), tuple(exclusions), provenance)


def _find_reason(row: dict[str, str], seen: set[str]) -> str:
    """Return why a pair is left out, or an empty string."""
    if row["pairID"] in seen:
        return "the pair id occurred before"
    if row["gold_label"] not in LABELS:
        return "no gold label"
    if not row["Sentence1"].split() or not row["Sentence2"].split():
        return "empty text"
    return ""


def _read_masks(row: dict[str, str], counts: Counter) -> tuple[tuple[bool, ...], ...]:
    """Return the mask of each annotator over the words of both sentences."""
    masks = []
    for annotator in ANNOTATORS:
        marked = [row.get(f"Sentence{part}_marked_{annotator}", "") for part in (1, 2)]
        indices = [row.get(f"Sentence{part}_Highlighted_{annotator}", "") for part in (1, 2)]
        if all(cell.strip() in ABSENT for cell in marked + indices):
            continue  # fewer annotators: train has one
        words = [row[f"Sentence{part}"].split() for part in (1, 2)]
        by_stars = [read_marked(cell, part) for cell, part in zip(marked, words, strict=True)]
        by_index = [read_indices(cell, part) for cell, part in zip(indices, words, strict=True)]
        if None not in by_stars:
            counts["index_columns_that_disagree"] += None not in by_index and by_index != by_stars
            masks.append(by_stars[0] + by_stars[1])
        elif None not in by_index:
            counts["annotations_by_index"] += 1
            masks.append(by_index[0] + by_index[1])
        else:
            counts["annotations_set_aside"] += 1
    return tuple(masks)


def read_marked(marked: str, words: list[str]) -> tuple[bool, ...] | None:
    """Return which words stand between asterisks in `marked`, or None where it is another sentence than `words`.

    `a *b* *c.*` and `a *b c*.` both mark b and c. A sentence that holds asterisks of its own gives None.
    """
    if any("*" in word for word in words):
        return None
    pieces, inside, mask = marked.split(), False, []
    if [piece.replace("*", "") for piece in pieces if piece.strip("*")] != words:
        return None
    for piece in pieces:
        hit = False
        for part in re.split(r"(\*)", piece):
            if part == "*":
                inside = not inside
            elif part:
                hit = hit or inside
        if piece.strip("*"):
            mask.append(hit)
    return None if inside else tuple(mask)


def read_indices(cell: str, words: list[str]) -> tuple[bool, ...] | None:
    """Return the words that a cell such as `3,4` or `{}` (none) numbers from 0, or None where it cannot be right."""
    cell = cell.strip()
    if cell in ABSENT:
        return None
    if cell == "{}":
        return (False,) * len(words)
    try:
        chosen = {int(number) for number in cell.split(",")}
    except ValueError:
        return None
    if not all(0 <= number < len(words) for number in chosen):
        return None  # a spreadsheet has turned `2,004` or the like into one number
    return tuple(number in chosen for number in range(len(words)))

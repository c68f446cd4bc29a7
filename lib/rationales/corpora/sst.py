"""Sentiment of film sentences: two sets with human rationales, and SST-2 as training text.

- `fair_rationales_sst`: 263 sentences, six annotators each (Thorn Jakobsen et al., ACL 2023), aggregated as P2 does.
- `sst_multilingual_en`, `_da`, `_it`: 250 parallel sentences with word rationales and importance ranks
  (Jørgensen et al., BlackboxNLP 2022, as released with Brandl & Eberle).
- `sst2`: phrases and sentences of SST-2 without rationales, cleaned of everything in the two sets above.
"""

import json
import re
import unicodedata
from collections import defaultdict
from pathlib import Path

import numpy as np
import openpyxl

from rationales.corpora.download import describe_sources, fetch
from rationales.corpora.registry import corpus
from rationales.corpora.rows import check_splits, expand_tokens, read_table, require_columns, sample_rows
from rationales.errors import StudyError
from rationales.examples import Corpus, Example, majority_rationale

LABELS = ("negative", "positive")
FAIR_FILE = "fair_rationales/SST_annot_after_processing.csv"
FAIR_FILE_ALL = "fair_rationales/SST_annot_before_exclusions.csv"
TREE_FILE = "sst_trees/dev.txt"
SHEETS = {
    "en": "sst_multilingual_rationales/Multilingual_Interpretability_EN.xlsx",
    "da": "sst_multilingual_rationales/Multilingual_Interpretability_DK.xlsx",
    "it": "sst_multilingual_rationales/Multilingual_Interpretability_IT.xlsx",
}
SST2_FILES = {"train": "sst2/train.tsv", "validation": "sst2/dev.tsv", "test": "sst2/test.tsv"}


@corpus("fair_rationales_sst")
def read_fair_rationales_sst(before_exclusions: bool = False) -> Corpus:
    """Return the SST part of FairRationales: 263 sentences, one split `test`.

    Annotators chose their own label; only those who chose the sentence's label are kept (P2). Gold: words marked
    by at least half of them; graded gold: the share of them who marked the word, in [0, 1]. Demographics of the
    annotators are not read.

    `before_exclusions` False: the six annotators per sentence whom the corpus's authors analyse, after their
    attention and duplicate checks. True: all six to eleven annotators, which is what P2 used: its released gold
    masks equal these in all 263 sentences, and the default ones in 162.
    """
    by_text: dict[int, list[dict]] = defaultdict(list)
    for row in read_table(fetch(FAIR_FILE), ("text_id", "sentence", "original_label", "label", "rationale_binary")):
        by_text[int(row["text_id"])].append(row | {"marks": _read_mask(row["rationale_binary"])})
    if before_exclusions:
        by_text = _read_all_annotators(by_text)
    examples, exclusions, set_aside = [], [], 0
    for text_id, rows in sorted(by_text.items()):
        if len({(row["sentence"], row["original_label"]) for row in rows}) != 1:
            raise StudyError(f"Text {text_id} of '{FAIR_FILE}' has two sentences or labels; replace the file.")
        masks = tuple(row["marks"] for row in rows if row["label"] == row["original_label"])
        set_aside += len(rows) - len(masks)
        if not masks:
            exclusions.append((str(text_id), "no annotator chose the label of the sentence"))
            continue
        examples.append(
            Example(
                example_id=str(text_id),
                corpus="fair_rationales_sst",
                split="test",
                language="en",
                segments=(rows[0]["sentence"],),
                label=rows[0]["original_label"],
                annotators=masks,
                gold=majority_rationale(masks),
                gold_graded=tuple(float(share) for share in np.mean(np.asarray(masks, dtype=float), axis=0)),
                meta={"n_annotators": len(rows), "n_annotators_kept": len(masks)},
            )
        )
    provenance = describe_sources(
        "FairRationales (Thorn Jakobsen et al., ACL 2023), SST part",
        [FAIR_FILE, FAIR_FILE_ALL] if before_exclusions else [FAIR_FILE],
        [
            "Annotators whose label differs from the label of the sentence ('no sentiment' included) are set aside.",
            "Most sentences occur in SST-2: use the corpus sst2 of this package, which leaves them out, for training.",
            "Indices of marked words start at 0 after the authors' exclusions and at 1 before them.",
        ],
        annotations_set_aside=set_aside,
    )
    return Corpus("fair_rationales_sst", "sentiment", LABELS, tuple(examples), tuple(exclusions), provenance)


def _read_mask(cell: str) -> tuple[bool, ...]:
    """Return the marks of a cell such as `[0, 1, 0]`."""
    try:
        marks = json.loads(cell)
    except ValueError as error:
        raise StudyError(f"A rationale of '{FAIR_FILE}' is not a list of 0 and 1; replace the file.") from error
    return tuple(bool(mark) for mark in marks)


def _read_all_annotators(processed: dict[int, list[dict]]) -> dict[int, list[dict]]:
    """Return the rows before exclusions under the text ids of the processed file, which alone has them."""
    text_ids = {rows[0]["sentence"]: text_id for text_id, rows in processed.items()}
    by_text: dict[int, list[dict]] = defaultdict(list)
    for row in read_table(fetch(FAIR_FILE_ALL), ("sentence", "original_label", "label", "rationale_index")):
        length = len(row["sentence"].split())
        try:
            # a single number is written as a float, such as 7.0
            marked = {int(float(number)) for number in row["rationale_index"].split(",") if number.strip()}
        except ValueError as error:
            raise StudyError(f"A rationale of '{FAIR_FILE_ALL}' is not a list of numbers; replace the file.") from error
        if row["sentence"] not in text_ids or not marked <= set(range(1, length + 1)):
            raise StudyError(f"'{FAIR_FILE_ALL}' does not fit '{FAIR_FILE}'; replace both files.")
        marks = tuple(position in marked for position in range(1, length + 1))
        by_text[text_ids[row["sentence"]]].append(row | {"marks": marks})
    return by_text


@corpus("sst_multilingual_en")
def read_sst_multilingual_en() -> Corpus:
    """Return the English sentences; see `read_sst_multilingual`."""
    return read_sst_multilingual("en")


@corpus("sst_multilingual_da")
def read_sst_multilingual_da() -> Corpus:
    """Return the Danish sentences; see `read_sst_multilingual`."""
    return read_sst_multilingual("da")


@corpus("sst_multilingual_it")
def read_sst_multilingual_it() -> Corpus:
    """Return the Italian sentences; see `read_sst_multilingual`."""
    return read_sst_multilingual("it")


def read_sst_multilingual(language: str) -> Corpus:
    """Return 250 sentences in one language, one split `test`, with the same ids in the three languages.

    Text: the tokens of the column Span, joined by spaces. Gold: Span. Graded gold from Rank, which holds 1 for the
    most important of m ranked words and 0 for a word that is not ranked: (m + 1 - rank) / m, so in [0, 1] with 1
    the most important; 0 for words without a rank, even where they are in the rationale. Label: the root of the
    same line of the SST dev trees (0 and 1 negative, 3 and 4 positive), as the sheets hold no label.
    """
    name, key = f"sst_multilingual_{language}", SHEETS[language]
    roots = read_tree_roots(fetch(TREE_FILE))
    examples, empty_tokens, outside_span = [], 0, 0
    for row in read_sheet(fetch(key)):
        number = int(float(row["ID"]))
        source = row["Sentence"] if language == "en" else row["Original"]
        if number >= len(roots) or squeeze(source) != squeeze(roots[number][1]):
            raise StudyError(f"Sentence {number} of '{key}' is not line {number} of '{TREE_FILE}'; replace the files.")
        tokens, flags = split_marked(row["Span"])
        ranked_tokens, ranks = split_marked(row["Rank"])
        if tokens != ranked_tokens:
            raise StudyError(f"Span and Rank of sentence {number} of '{key}' differ in tokens; replace the file.")
        words, (gold, ranks) = expand_tokens(tokens, [flag > 0 for flag in flags], ranks)
        highest = max(ranks)
        empty_tokens += sum(not token.split() for token in tokens)
        outside_span += sum(rank > 0 and not marked for rank, marked in zip(ranks, gold, strict=True))
        examples.append(
            Example(
                example_id=str(number),
                corpus=name,
                split="test",
                language=language,
                segments=(" ".join(words),),
                label=LABELS[_is_positive(roots[number][0], number)],
                gold=gold,
                gold_graded=tuple((highest + 1 - rank) / highest if rank else 0.0 for rank in ranks)
                if highest
                else None,
                meta={"sst_root_label": roots[number][0], "n_ranked": sum(rank > 0 for rank in ranks)},
            )
        )
    provenance = describe_sources(
        "SST with word rationales in English, Danish and Italian, as released with Brandl & Eberle",
        [key, TREE_FILE],
        [
            "Words come from Span, not from Tokens: in Danish sentence 139 Tokens has one token fewer.",
            "The flag is what stands in the last parentheses of a token, because a token can itself be a parenthesis.",
            "One annotation per sentence is published, so there are no single annotators.",
            "All sentences are in GLUE dev (split test of the corpus sst2): never train on them.",
        ],
        empty_tokens_dropped=empty_tokens,
        ranked_words_outside_the_rationale=outside_span,
    )
    return Corpus(name, "sentiment", LABELS, tuple(examples), (), provenance)


def read_sheet(path: Path) -> list[dict[str, str]]:
    """Return the rows of the single sheet of a workbook; the Danish and Italian ones end in empty rows."""
    try:
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl lets errors of zip, XML and key look-ups through
        raise StudyError(f"The file '{path.name}' is not a readable workbook; replace it.") from error
    try:
        lines = list(workbook.worksheets[0].iter_rows(values_only=True))
    finally:
        workbook.close()
    header = [str(cell) for cell in lines[0]] if lines else []
    require_columns(header, ("ID", "Sentence", "Span", "Rank"), path.name)
    rows = [dict(zip(header, line, strict=False)) for line in lines[1:] if line and line[0] is not None]
    return [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in rows]


def split_marked(cell: str) -> tuple[list[str], list[int]]:
    """Return tokens and numbers of a cell such as `lovely(1)|((0)`; the number is in the last parentheses."""
    pieces = [re.fullmatch(r"(.*)\((\d+)\)", piece, flags=re.DOTALL) for piece in cell.split("|")]
    if None in pieces:
        raise StudyError(f"'{cell[:40]}' is not a list of tokens with a number in parentheses; replace the file.")
    return [piece.group(1) for piece in pieces], [int(piece.group(2)) for piece in pieces]


def read_tree_roots(path: Path) -> list[tuple[int, str]]:
    """Return root label (0 to 4) and text of each bracketed tree, in line order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(int(line[1]), " ".join(re.findall(r"([^\s()]+)\)", line))) for line in lines if line.strip()]


def _is_positive(root_label: int, number: int) -> bool:
    """Return whether a root label is positive; the neutral label 2 has no place in a two-way task."""
    if root_label == 2:
        raise StudyError(f"Sentence {number} of '{TREE_FILE}' is neutral; the sheets should hold none, replace them.")
    return root_label > 2


@corpus("sst2")
def read_sst2(
    splits: tuple[str, ...] = ("train", "validation", "test"),
    exclude_rationale_sets: bool = True,
    limit: int | None = None,
    seed: int = 0,
) -> Corpus:
    """Return SST-2 in GLUE form, without rationales.

    `train` and `validation` are GLUE train (phrases included), `test` is GLUE dev. With `exclude_rationale_sets`
    each row of `train` and `validation` is left out, with its reason, when it equals a sentence of
    `fair_rationales_sst` or `sst_multilingual_en`, or is a run of words of one, after `normalise_words`; short
    common phrases go as well. `limit` draws that many rows per split with `seed`, after the exclusions.
    """
    splits = check_splits(splits, SST2_FILES)
    forbidden = list_phrases() if exclude_rationale_sets else {}
    examples, exclusions = [], []
    for split in splits:
        kept = []
        for number, row in enumerate(read_table(fetch(SST2_FILES[split]), ("sentence", "label"), "\t", quoted=False)):
            example_id, text = f"{split}-{number}", row["sentence"]
            reason = "" if split == "test" else forbidden.get(squeeze(text), "")
            if not text.split():
                reason = "empty text"
            if reason:
                exclusions.append((example_id, reason))
            else:
                kept.append((example_id, text, row["label"]))
        examples += [
            Example(example_id, "sst2", split, "en", (text.strip(),), _read_sst2_label(label, example_id))
            for example_id, text, label in sample_rows(kept, limit, seed)
        ]
    keys = [SST2_FILES[split] for split in splits]
    if exclude_rationale_sets:
        keys += [FAIR_FILE, SHEETS["en"], TREE_FILE]
    notes = [
        "The public file test.tsv is GLUE dev with labels, dev.tsv a random cut of GLUE train.",
        "Read with quotation marks as ordinary characters.",
    ]
    provenance = describe_sources("SST-2 (Socher et al., 2013), GLUE form", keys, notes)
    return Corpus("sst2", "sentiment", LABELS, tuple(examples), tuple(exclusions), provenance)


def _read_sst2_label(label: str, example_id: str) -> str:
    if label not in ("0", "1"):
        raise StudyError(f"Row {example_id} of sst2 has the label '{label}' instead of 0 or 1; replace the file.")
    return LABELS[int(label)]


def list_phrases() -> dict[str, str]:
    """Return every run of words of the two English rationale sets, squeezed, with the reason to leave it out."""
    phrases: dict[str, str] = {}
    whole: dict[str, str] = {}
    for corpus_ in (read_fair_rationales_sst(), read_sst_multilingual("en")):
        for example in corpus_.examples:
            words = normalise_words(example.text)
            whole["".join(words)] = f"is a sentence of {corpus_.name}"
            for start in range(len(words)):
                for end in range(start + 1, len(words) + 1):
                    phrases.setdefault("".join(words[start:end]), f"is a phrase of a sentence of {corpus_.name}")
    return phrases | whole


def normalise_words(text: str) -> list[str]:
    """Return the lower-case words of a text without accents and punctuation, cut as the Penn Treebank cuts.

    So `it's`, `isn't` and `cannot` give the same words as the treebank's `it 's`, `is n't` and `can not`.
    """
    text = unicodedata.normalize("NFKD", text.casefold())
    text = "".join(character for character in text if not unicodedata.combining(character))
    text = re.sub(r"-[lr][rcs]b-", " ", text)  # the treebank's brackets
    text = re.sub(r"\s*n['’`]t\b", " nt", text).replace("cannot", "can not")
    return re.findall(r"[^\W_]+", text)


def squeeze(text: str) -> str:
    """Return the normalised words of a text without spaces, so that differences in tokenisation do not count."""
    return "".join(normalise_words(text))

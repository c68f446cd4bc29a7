"""RaFoLa: news articles with indicators of forced labour and justifying snippets (Mendez Guzman et al., LREC 2022).

P2 makes four yes/no tasks of it, one per indicator.
"""

import json
import re
from pathlib import Path

from rationales.corpora.download import describe_sources, fetch
from rationales.corpora.registry import corpus
from rationales.errors import StudyError, require_known
from rationales.examples import Corpus, Example

LABELS = ("no", "yes")
ARTICLES_FILE = "rafola/rationales_forced_labour_dataset.json"
DEFINITIONS_FILE = "rafola_definitions_only/definitions.json"
POSITIVES = {1: 172, 2: 255, 5: 116, 8: 123}  # articles with the indicator, as constants of P2's code
SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation"}
SPLITS |= {"test": "test", "": "test"}  # P2 uses all articles as test items; so does a file without splits


@corpus("rafola")
def read_rafola(indicator: int = 1) -> Corpus:
    """Return every article with label `yes` where `indicator` (1, 2, 5 or 8) applies, and `no` elsewhere.

    Structure (README of the corpus and P2's code): a JSON list of articles, or an object of equally long columns,
    with `content` (text), `labels` (eleven 0 or 1, in the order of the indicators), `rationales` (lists of strings:
    first the indicator's name, which starts with its two-digit number, then snippets of the text), and, as far
    as given, `index`, `title` and `set` (split). Anything else is refused.
    Gold: the words of the indicator's snippets, matched as runs of whole words; a snippet that is given twice
    marks its next occurrence. None for `no`, and for `yes` where no snippet is found in the text.
    `meta["definition"]` is the definition that belongs into the question.
    """
    if indicator not in POSITIVES:
        raise StudyError(
            f"Indicator {indicator} is not in this study; choose one of: {', '.join(map(str, POSITIVES))}."
        )
    name, definition = read_definitions(fetch(DEFINITIONS_FILE))[indicator - 1]
    examples, exclusions, missing, unmarked = [], [], 0, 0
    for number, article in enumerate(read_articles(fetch(ARTICLES_FILE))):
        example_id = str(article.get("index", number))
        if not article["content"].split():
            exclusions.append((example_id, "empty text"))
            continue
        gold, lost = None, 0
        label = LABELS[int(article["labels"][indicator - 1])]
        if label == "yes":
            gold, lost = mark_snippets(article["content"].split(), find_snippets(article["rationales"], indicator))
        missing += lost
        unmarked += label == "yes" and gold is None
        examples.append(
            Example(
                example_id=example_id,
                corpus="rafola",
                split=SPLITS[require_known(str(article.get("set") or "").lower(), SPLITS, "split of RaFoLa")],
                language="en",
                segments=(article["content"],),
                label=label,
                gold=gold,
                meta={"indicator": indicator, "indicator_name": name, "definition": definition, "snippets_lost": lost},
            )
        )
    provenance = describe_sources(
        "RaFoLa (Mendez Guzman et al., LREC 2022), as released with Brandl & Eberle",
        [ARTICLES_FILE, DEFINITIONS_FILE],
        [
            "Snippets are matched as whole words; P2 matches characters, first occurrence only.",
            f"P2 counts {POSITIVES[indicator]} articles with indicator {indicator}.",
        ],
        articles_with_the_indicator=sum(example.label == "yes" for example in examples),
        snippets_not_in_the_text=missing,
        articles_with_the_indicator_but_no_rationale=unmarked,
    )
    return Corpus("rafola", "forced_labour", LABELS, tuple(examples), tuple(exclusions), provenance)


def read_definitions(path: Path) -> list[tuple[str, str]]:
    """Return name and definition of the eleven indicators; three public entries have a comma in the key's name."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        cleaned = [{key.strip(","): value for key, value in entry.items()} for entry in entries]
        definitions = [(entry["label"], entry["definition"]) for entry in cleaned]
    except (ValueError, KeyError, AttributeError) as error:
        raise StudyError(f"'{DEFINITIONS_FILE}' is not a list of labels and definitions; replace it.") from error
    if len(definitions) != 11:
        raise StudyError(f"'{DEFINITIONS_FILE}' has {len(definitions)} definitions instead of 11; replace it.")
    return definitions


def read_articles(path: Path) -> list[dict]:
    """Return the articles, each with `content`, `labels` and `rationales` of the expected kinds."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudyError(f"'{ARTICLES_FILE}' is not JSON; use the public file.") from error
    if isinstance(data, dict):
        data = _join_columns(data)
    for number, article in enumerate(data, start=1):
        if not _is_article(article):
            raise StudyError(
                f"Article {number} of '{ARTICLES_FILE}' lacks a text `content`, eleven `labels` of 0 or 1, or "
                f"`rationales` as lists of strings; use the public file, or adapt rationales/corpora/rafola.py."
            )
    return data


def _join_columns(columns: dict) -> list[dict]:
    """Return rows of an object of columns, each a list or an object from row name to value."""
    values = {name: list(column.values()) if isinstance(column, dict) else column for name, column in columns.items()}
    lengths = {len(column) if isinstance(column, list) else -1 for column in values.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise StudyError(
            f"'{ARTICLES_FILE}' is neither a list of articles nor equally long columns; use the public file."
        )
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _is_article(article: object) -> bool:
    return (
        isinstance(article, dict)
        and isinstance(article.get("content"), str)
        and isinstance(article.get("labels"), list)
        and len(article["labels"]) == 11
        and all(label in (0, 1) for label in article["labels"])
        and isinstance(article.get("rationales"), list)
        and all(
            isinstance(group, list) and all(isinstance(part, str) for part in group) for group in article["rationales"]
        )
    )


def find_snippets(rationales: list[list[str]], indicator: int) -> list[str]:
    """Return the snippets of one indicator: groups open with its name, which starts with two digits ("05. ...")."""
    groups = [group for group in rationales if group and group[0].startswith(f"{indicator:02}")]
    return [part for group in groups for part in group[1:] if not part.startswith(f"{indicator:02}.")]


def mark_snippets(words: list[str], snippets: list[str]) -> tuple[tuple[bool, ...] | None, int]:
    """Return the mask of the words inside snippets (None where none is found) and how many snippets were not found.

    Words are compared without case and outer punctuation, as runs of whole words, in the order of the text.
    """
    plain = [(position, _plain(word)) for position, word in enumerate(words) if _plain(word)]
    mask, lost, next_start = [False] * len(words), 0, {}
    for snippet in snippets:
        wanted = tuple(_plain(word) for word in snippet.split() if _plain(word))
        first = next_start.get(wanted, 0)
        starts = range(first, len(plain) - len(wanted) + 1) if wanted else ()
        found = next((s for s in starts if tuple(word for _, word in plain[s : s + len(wanted)]) == wanted), None)
        if found is None:
            lost += 1
            continue
        next_start[wanted] = found + len(wanted)
        for position in range(plain[found][0], plain[found + len(wanted) - 1][0] + 1):
            mask[position] = True
    return (tuple(mask) if any(mask) else None), lost


def _plain(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word).casefold()

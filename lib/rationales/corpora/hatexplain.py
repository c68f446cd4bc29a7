"""HateXplain: posts with three annotators each and word rationales (Mathew et al., AAAI 2021).

The posts are hateful and offensive: never print a text in a report, a log or an error message.
"""

import ast
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rationales.corpora.download import describe_sources, fetch, find_local
from rationales.corpora.registry import corpus
from rationales.corpora.rows import check_splits, expand_tokens, read_table
from rationales.errors import StudyError, require_known
from rationales.examples import Corpus, Example, majority_rationale

LABELS = ("hatespeech", "normal", "offensive")  # the order is also the numbering of the CSV files
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
DIVISIONS_FILE = "hatexplain/post_id_divisions.json"
JSON_FILE = "hatexplain/dataset.json"
CSV_FILES = ("hatexplain/df_val_processed.csv", "hatexplain/df_test_processed.csv")


@dataclass(frozen=True)
class Post:
    """One post of either file format: votes are label names, marks one row of 0 and 1 per annotator who marked."""

    post_id: str
    votes: tuple[str, ...]
    tokens: tuple[str, ...]
    marks: tuple[tuple[int, ...], ...]


@corpus("hatexplain")
def read_hatexplain(source: str = "auto", splits: tuple[str, ...] = ("train", "validation", "test")) -> Corpus:
    """Return the posts of the official splits.

    source: "json" (the official file, all splits), "csv" (validation and test only), or "auto": the official file
    where it is on this machine, else the CSV files where they are, else the official file, downloaded.
    Label: the majority of the three votes; a post without a majority is an exclusion. Gold: words marked by at
    least half of the annotators who marked any; None for posts whose majority is "normal", which nobody marks.
    """
    source = _choose_source(source)
    splits = check_splits(splits, SPLIT_NAMES.values())
    split_of = _read_divisions()
    keys = [JSON_FILE] if source == "json" else list(CSV_FILES)
    examples, exclusions = [], []
    counts = Counter(tokens_split_or_dropped=0, marks_on_normal_posts_ignored=0, posts_without_marks=0)
    for key in keys:
        for post in _read_json_posts(key) if source == "json" else _read_csv_posts(key):
            split = split_of.get(post.post_id)
            label = find_majority(post.votes)
            if label is None:
                exclusions.append((post.post_id, "the annotators gave three different labels"))
            elif split is None:
                exclusions.append((post.post_id, "in none of the official splits"))
            elif split in splits:
                words, marks = expand_tokens(post.tokens, *post.marks)
                counts["tokens_split_or_dropped"] += sum(len(token.split()) != 1 for token in post.tokens)
                if not words:
                    exclusions.append((post.post_id, "empty text"))
                    continue
                if label == "normal":
                    counts["marks_on_normal_posts_ignored"] += bool(marks)
                    marks = []
                elif not marks:
                    counts["posts_without_marks"] += 1
                masks = tuple(tuple(mark == 1 for mark in row) for row in marks)
                examples.append(
                    Example(
                        example_id=post.post_id,
                        corpus="hatexplain",
                        split=split,
                        language="en",
                        segments=(" ".join(words),),
                        label=label,
                        annotators=masks,
                        gold=majority_rationale(masks),
                        meta={"votes": list(post.votes)},
                    )
                )
    provenance = describe_sources(
        "HateXplain (Mathew et al., AAAI 2021)",
        [*keys, DIVISIONS_FILE],
        [
            "Offensive content: texts must not appear in reports.",
            "Texts are the post tokens joined by spaces; the CSV column with invented first names is not used.",
            "Targets of the posts and ids of annotators are not read.",
        ],
        **counts,
    )
    return Corpus("hatexplain", "hate_speech", LABELS, tuple(examples), tuple(exclusions), provenance)


def find_majority(votes: tuple[str, ...]) -> str | None:
    """Return the label with more votes than any other, or None where the highest number of votes is shared."""
    ranked = Counter(votes).most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def _choose_source(source: str) -> str:
    if require_known(source, ("auto", "csv", "json"), "source of hatexplain") != "auto":
        return source
    if find_local(JSON_FILE) is None and all(find_local(key) for key in CSV_FILES):
        return "csv"
    return "json"


def _read_divisions() -> dict[str, str]:
    """Return the split of each post id."""
    try:
        divisions = json.loads(fetch(DIVISIONS_FILE).read_text(encoding="utf-8"))
        return {post_id: name for split, name in SPLIT_NAMES.items() for post_id in divisions[split]}
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"'{DIVISIONS_FILE}' has no train, val and test lists; use the official file.") from error


def _read_csv_posts(key: str) -> Iterator[Post]:
    """Yield the posts of a CSV file, whose cells are Python literals; literals are parsed, never evaluated."""
    for number, row in enumerate(read_table(fetch(key), ("id", "annotators", "rationales", "post_tokens")), start=1):
        try:
            annotators, marks, tokens = (
                ast.literal_eval(row[column]) for column in ("annotators", "rationales", "post_tokens")
            )
            votes = tuple(LABELS[label] for label in annotators["label"])
        except (ValueError, SyntaxError, KeyError, TypeError, IndexError, MemoryError, RecursionError) as error:
            raise _complain(key, f"row {number}") from error
        yield _check_post(Post(row["id"], votes, tuple(tokens), tuple(map(tuple, marks))), key)


def _read_json_posts(key: str) -> Iterator[Post]:
    """Yield the posts of the official file."""
    try:
        posts = list(json.loads(fetch(key).read_text(encoding="utf-8")).items())
    except (ValueError, AttributeError) as error:
        raise StudyError(f"'{key}' is not a JSON object of posts; use the official file.") from error
    for post_id, post in posts:
        try:
            votes = tuple(annotator["label"] for annotator in post["annotators"])
            parsed = Post(post_id, votes, tuple(post["post_tokens"]), tuple(map(tuple, post["rationales"])))
        except (KeyError, TypeError) as error:
            raise _complain(key, f"post {post_id}") from error
        yield _check_post(parsed, key)


def _check_post(post: Post, key: str) -> Post:
    """Return the post, or raise a StudyError where its votes, tokens or marks are not what they should be."""
    sound = (
        all(vote in LABELS for vote in post.votes)
        and all(isinstance(token, str) for token in post.tokens)
        and all(len(row) == len(post.tokens) and all(mark in (0, 1) for mark in row) for row in post.marks)
    )
    if not sound:
        raise _complain(key, f"post {post.post_id}")
    return post


def _complain(key: str, where: str) -> StudyError:
    return StudyError(f"'{key}': {where} does not have the published structure; use the published file.")

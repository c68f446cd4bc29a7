"""French press articles with the highlights of some forty readers each (Bogaert et al., the group of P4)."""

import ast
import json
from collections import Counter

import numpy as np

from rationales.corpora.download import describe_sources, fetch
from rationales.corpora.registry import corpus
from rationales.corpora.rows import read_table
from rationales.errors import StudyError
from rationales.examples import Corpus, Example, Word, majority_rationale, split_words

LABELS = ("news", "opinion")
FILE = "french_highlights/human_annotations.csv"
LABEL_NAMES = {"info": "news", "opinion": "opinion"}
ANSWERS = {"news": "information", "opinion": "opinion"}  # canonical label -> how the columns name the answer
COLOURS = {"highlight-red": 1.0, "highlight-orange": 0.66, "highlight-yellow": 0.33, "highlight-white": 0.0}


@corpus("french_highlights")
def read_french_highlights() -> Corpus:
    """Return ten articles, one split `test`, with one mask per reader who gave the article's label and marked a word.

    Readers painted passages red (1), orange (.66) or yellow (.33); white (0) erases what is under it, and later
    paint covers earlier paint. A word's colour is the strongest of its characters. Gold: words that at least half
    of these readers painted at all; graded gold: the mean colour over these readers, in [0, 1].
    Offsets count characters of the column `text`; the title is not part of it (`meta["title"]`). Spans that reach
    past the text are cut and counted; StudyError where that is more than one in twenty, as it would be if offsets
    counted the title too.
    """
    columns = ("tid_x", "title", "text", "label", "text_type", "highlights_opinion", "highlights_information")
    examples = []
    counts = Counter(readers_with_another_answer=0, readers_without_a_mark=0, spans=0, spans_cut_at_the_end=0)
    for row in read_table(fetch(FILE), columns):
        if row["label"] not in LABEL_NAMES:
            raise StudyError(f"Article {row['tid_x']} of '{FILE}' has the label '{row['label']}'; use the public file.")
        label = LABEL_NAMES[row["label"]]
        words = split_words((row["text"],))
        painted = {name: read_readers(row[f"highlights_{ANSWERS[name]}"], row["tid_x"]) for name in LABELS}
        colours = []
        for spans in painted[label]:
            counts["spans"] += len(spans)
            counts["spans_cut_at_the_end"] += sum(end > len(row["text"]) for _, end, _ in spans)
            values = paint_words(words, spans, len(row["text"]))
            if any(values):
                colours.append(values)
        masks = tuple(tuple(value > 0 for value in values) for values in colours)
        other = sum(len(readers) for name, readers in painted.items() if name != label)
        counts["readers_with_another_answer"] += other
        counts["readers_without_a_mark"] += len(painted[label]) - len(masks)
        examples.append(
            Example(
                example_id=row["tid_x"],
                corpus="french_highlights",
                split="test",
                language="fr",
                segments=(row["text"],),
                label=label,
                annotators=masks,
                gold=majority_rationale(masks),
                gold_graded=tuple(float(value) for value in np.mean(colours, axis=0)) if colours else None,
                meta={
                    "title": row["title"],
                    "n_readers": len(painted[label]) + other,
                    "n_readers_same_label": len(painted[label]),
                },
            )
        )
    if counts["spans_cut_at_the_end"] > counts["spans"] / 20:
        raise StudyError(f"Many highlights of '{FILE}' lie outside their texts; use the public file unchanged.")
    provenance = describe_sources(
        "Human highlights on French articles (Bogaert, Escouflaire et al.)",
        [FILE],
        ["Offsets count the text without its title.", "Readers who gave the other answer are set aside."],
        **counts,
    )
    return Corpus("french_highlights", "opinion", LABELS, tuple(examples), (), provenance)


def read_readers(cell: str, article: str) -> list[list[tuple[int, int, float]]]:
    """Return the painted spans (start, end, colour) of each reader, in the order of painting.

    The cell is a Python list with one JSON string per reader; literals are parsed, never evaluated.
    """
    try:
        readers = [json.loads(reader) for reader in ast.literal_eval(cell)]
        return [[(int(s["start"]), int(s["end"]), COLOURS[s["color"]]) for s in spans] for spans in readers]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise StudyError(
            f"Highlights of article {article} of '{FILE}' do not have the published form; use the public file."
        ) from error


def paint_words(words: tuple[Word, ...], spans: list[tuple[int, int, float]], length: int) -> list[float]:
    """Return the colour of each word of a text of `length` characters after all spans are painted in order."""
    characters = np.zeros(length)
    for start, end, colour in spans:
        characters[max(start, 0) : max(end, 0)] = colour
    return [float(characters[word.start : word.end].max()) for word in words]

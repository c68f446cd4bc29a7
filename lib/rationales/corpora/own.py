"""Your own texts: a CSV, TSV, JSON-lines or Parquet file, or a data set of the Hugging Face hub."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rationales.corpora.download import compute_sha256
from rationales.corpora.registry import corpus
from rationales.corpora.rows import read_json_lines, read_table, require_columns
from rationales.errors import StudyError, require_known
from rationales.examples import Corpus, Example, Word, majority_rationale, split_words
from rationales.tasks import TASKS, add_generic_task

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
RATIONALE_FORMATS = ("spans", "indices", "mask")


@corpus("own")
def read_own(
    path: str | None = None,
    hub_id: str | None = None,
    hub_config: str | None = None,
    revision: str | None = None,
    text_column: str = "text",
    second_text_column: str | None = None,
    label_column: str = "label",
    rationale_columns: Sequence[str] | str = (),
    rationale_format: str = "spans",
    language: str = "en",
    task: str | None = None,
    labels: Sequence[str] | None = None,
    label_map: dict | None = None,
    split_column: str | None = None,
    split: str = "test",
    id_column: str | None = None,
    corpus_name: str = "own",
) -> Corpus:
    """Return a corpus of your own, from a file (`path`) or from the hub (`hub_id` at the commit `revision`).

    rationale_columns: one column per annotator; an empty cell means that this annotator marked nothing here and
        does not count. Gold: words marked by at least half of the annotators of the item; None without any.
    rationale_format: "spans" is [[start, end], ...] in characters, end not included, with a third number for the
        segment (0 or 1) where there are two texts; "indices" are word numbers from 0, over both texts; "mask" is
        one 0 or 1 per word. Text files hold them as JSON. Words are what white space separates.
    task: one of `rationales.tasks.TASKS` with the same labels, or a new name; by default a generic question.
    labels: their order in every table (default: alphabetical); label_map: label in the file -> label here.
    split_column, split: where the split's name stands, or the one split of all items. id_column: default row number.

    Rows count from 1. An empty text is an exclusion; an unknown label, a repeated id and a rationale that does not
    fit its text are StudyErrors that name the row.
    """
    rationale_columns = (rationale_columns,) if isinstance(rationale_columns, str) else tuple(rationale_columns)
    require_known(rationale_format, RATIONALE_FORMATS, "rationale format")
    rows, provenance = _load_rows(path, hub_id, hub_config, revision, label_column, text_column)
    text_columns = [column for column in (text_column, second_text_column) if column]
    wanted = [*text_columns, label_column, *rationale_columns]
    wanted += [column for column in (split_column, id_column) if column]
    numbered, exclusions, seen = [], [], {}
    for number, row in enumerate(rows, start=1):
        require_columns(row, wanted, f"{provenance['source']}, row {number}")
        example_id = str(row[id_column]) if id_column else str(number)
        if example_id in seen:
            raise StudyError(f"Rows {seen[example_id]} and {number} have the id '{example_id}'; make ids unique.")
        seen[example_id] = number
        segments = tuple("" if _is_empty(row[column]) else str(row[column]) for column in text_columns)
        if all(segment.strip() for segment in segments):
            numbered.append((number, example_id, segments, _map_label(row[label_column], label_map or {}, number)))
        else:
            exclusions.append((example_id, "empty text"))
    order = tuple(map(str, labels)) if labels else tuple(sorted({label for *_, label in numbered}))
    if not order:
        raise StudyError(f"'{provenance['source']}' holds no text in '{text_column}'; give one with texts and labels.")
    examples = []
    for number, example_id, segments, label in numbered:
        if label not in order:
            raise StudyError(f"Row {number} has the label '{label}'; name it in `labels`, or map it by `label_map`.")
        row, words = rows[number - 1], split_words(segments)
        masks = tuple(
            read_rationale(row[column], rationale_format, words, segments, f"Row {number}, column '{column}'")
            for column in rationale_columns
            if not _is_empty(row[column])
        )
        own_split = str(row[split_column]) if split_column else row.get("__split__", split)
        gold = majority_rationale(masks)
        examples.append(Example(example_id, corpus_name, own_split, language, segments, label, masks, gold))
    return Corpus(corpus_name, _settle_task(task, order), order, tuple(examples), tuple(exclusions), provenance)


def read_rationale(
    cell: object, form: str, words: tuple[Word, ...], segments: tuple[str, ...], where: str
) -> tuple[bool, ...]:
    """Return one annotator's mask over `words` from a cell; StudyErrors begin with `where`."""
    values = _to_list(cell, where)
    if form == "spans":
        return _mark_spans(values, words, segments, where)
    numbers = [int(value) if _is_whole(value) else None for value in values]
    if None in numbers:
        raise StudyError(f"{where}: the rationale is not a list of whole numbers; write it as JSON, such as [0, 3].")
    if form == "mask":
        if len(numbers) != len(words) or not set(numbers) <= {0, 1}:
            raise StudyError(
                f"{where}: the mask has {len(numbers)} entries for {len(words)} words; give one 0 or 1 per word."
            )
        return tuple(number == 1 for number in numbers)
    if not all(0 <= number < len(words) for number in numbers):
        raise StudyError(f"{where}: a word number is outside 0 to {len(words) - 1}; count words from 0.")
    return tuple(position in numbers for position in range(len(words)))


def _mark_spans(values: list, words: tuple[Word, ...], segments: tuple[str, ...], where: str) -> tuple[bool, ...]:
    """Mark each word that shares a character with a span [start, end) or [start, end, segment]."""
    spans = []
    for value in values:
        span = list(value) if isinstance(value, (list, tuple, np.ndarray)) else []
        if len(span) not in (2, 3) or not all(_is_whole(number) for number in span):
            raise StudyError(f"{where}: a span is not [start, end]; write the cell as JSON, such as [[0, 4], [9, 12]].")
        start, end, segment = (int(number) for number in (*span, 0)[:3])
        if not 0 <= segment < len(segments) or not 0 <= start < end <= len(segments[segment]):
            raise StudyError(f"{where}: the span {[start, end]} is empty or outside its text; correct the offsets.")
        spans.append((start, end, segment))
    return tuple(
        any(segment == word.segment and start < word.end and word.start < end for start, end, segment in spans)
        for word in words
    )


def _load_rows(
    path: str | None, hub_id: str | None, hub_config: str | None, revision: str | None, *text_columns: str
) -> tuple[list[dict], dict]:
    """Return rows and provenance of the file or of the hub's data set."""
    if (path is None) == (hub_id is None):
        raise StudyError("Name your texts by `path` (a file) or by `hub_id` with `revision`, and not by both.")
    if hub_id is not None:
        if not revision:
            raise StudyError(f"Give the commit of '{hub_id}' as `revision`, so that a later run reads the same data.")
        rows = _load_from_hub(hub_id, hub_config, revision)
        return rows, {"source": f"hub data set {hub_id}", "revision": revision}
    file = Path(path)
    if not file.is_file():
        raise StudyError(f"There is no file '{path}'; correct the option `path`.")
    kind = require_known(file.suffix.lower(), FORMATS, "file format")
    if kind == ".jsonl":
        rows = read_json_lines(file)
    elif kind == ".parquet":
        try:
            rows = pd.read_parquet(file).to_dict("records")
        except (ValueError, OSError) as error:  # pyarrow's errors are ValueErrors
            raise StudyError(f"The file '{file.name}' is not a readable Parquet file; write it again.") from error
    else:
        rows = read_table(file, text_columns, "\t" if kind == ".tsv" else ",")
    if not rows:
        raise StudyError(f"The file '{file.name}' holds no rows; give one with texts and labels.")
    return rows, {"source": file.name, "revision": "", "files": [{"file": file.name, "sha256": compute_sha256(file)}]}


def _load_from_hub(hub_id: str, hub_config: str | None, revision: str) -> list[dict]:
    """Return the rows of all splits, the split's name under `__split__` and class numbers as class names."""
    import datasets  # here, because it is slow to import and only needed for the hub

    try:
        loaded = datasets.load_dataset(hub_id, hub_config, revision=revision)
    except (OSError, ValueError) as error:  # network, unknown name, unknown configuration
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StudyError(
            f"Could not load '{hub_id}' at {revision} from the hub ({reason}); check name, revision, configuration, "
            f"network and access."
        ) from error
    rows = []
    for split, table in loaded.items():
        names = {column: feature.names for column, feature in table.features.items() if getattr(feature, "names", None)}
        for row in table:
            named = {
                column: names[column][row[column]]
                for column in names
                if isinstance(row[column], int) and row[column] >= 0
            }
            rows.append({**row, **named, "__split__": split})
    return rows


def _map_label(value: object, label_map: dict, number: int) -> str:
    """Return the label of row `number`, renamed by `label_map`, whose keys may be numbers or strings."""
    if _is_empty(value):
        raise StudyError(f"Row {number} has no label; give it one, or remove the row.")
    label = str(int(value)) if _is_whole(value) else str(value).strip()
    return str({str(key): new for key, new in label_map.items()}.get(label, label))


def _settle_task(task: str | None, labels: tuple[str, ...]) -> str:
    """Return the name of a task that has exactly these labels, after making a generic one where it is new."""
    task = task or "own_" + "_".join(labels)
    if task not in TASKS:
        add_generic_task(task, labels)
    known = next(iter(TASKS[task].values())).labels
    if set(known) != set(labels):
        raise StudyError(
            f"Task '{task}' has the labels {', '.join(known)}, your texts {', '.join(labels)}; use `label_map`, "
            f"or leave `task` out."
        )
    return task


def _to_list(cell: object, where: str) -> list:
    """Return a list from a list, an array, or a string of JSON."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except ValueError as error:
            raise StudyError(
                f"{where}: the rationale is not JSON; write it as [[start, end], ...] or [0, 3]."
            ) from error
    if not isinstance(cell, (list, tuple, np.ndarray)):
        raise StudyError(f"{where}: the rationale is not a list; write it as [[start, end], ...] or [0, 3].")
    return list(cell)


def _is_empty(value: object) -> bool:
    """Return whether a cell holds nothing: None, not a number, or an empty string. An empty list is a value."""
    if isinstance(value, (list, tuple, np.ndarray, dict)):
        return False
    return bool(pd.isna(value)) or (isinstance(value, str) and not value.strip())


def _is_whole(value: object) -> bool:
    """Return whether a value is a whole number, as JSON, Parquet and NumPy give them; `1.0` is one."""
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return True
    return isinstance(value, (float, np.floating)) and float(value).is_integer()

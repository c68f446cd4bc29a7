"""Small steps that several readers share: tables as rows, tokens as words, samples of rows."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from rationales.errors import StudyError, require_known

Item = TypeVar("Item")


def read_table(path: Path, columns: Iterable[str], separator: str = ",", quoted: bool = True) -> list[dict[str, str]]:
    """Return the rows of a CSV or TSV file as strings, empty cells as empty strings.

    `columns` must all be there. With `quoted` False a quotation mark is an ordinary character.
    Raises StudyError when a column is missing or the file is no such table.
    """
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        frame = pd.read_csv(
            path, sep=separator, quoting=quoting, dtype=str, keep_default_na=False, na_filter=False, encoding="utf-8"
        )
    except (ValueError, pd.errors.ParserError) as error:  # ValueError: also undecodable or empty
        raise StudyError(f"The file '{path.name}' is not a readable table ({error}); replace it.") from error
    require_columns(frame.columns, columns, path.name)
    return frame.to_dict("records")


def read_json_lines(path: Path) -> list[dict]:
    """Return the objects of a JSON-lines file; StudyError names the first line that is not a JSON object."""
    rows = []
    with open(path, encoding="utf-8") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise StudyError(f"Line {number} of '{path.name}' is not JSON; mend or remove it.") from error
            if not isinstance(row, dict):
                raise StudyError(f"Line {number} of '{path.name}' is not a JSON object; mend or remove it.")
            rows.append(row)
    return rows


def require_columns(present: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Raise a StudyError that names the first wanted column (or field) which `where` lacks."""
    present = list(present)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise StudyError(
            f"'{where}' has no column '{missing[0]}'; it has: {', '.join(map(str, present)) or '(none)'}; "
            f"use the published file, or name the right column."
        )


def expand_tokens(tokens: Sequence[str], *marks: Sequence) -> tuple[list[str], list[tuple]]:
    """Return white-space words and each row of marks over them.

    A token that holds white space becomes several words with its mark; an empty token becomes none.
    Raises StudyError when a row of marks has another length than `tokens`.
    """
    for row in marks:
        if len(row) != len(tokens):
            raise StudyError(f"{len(row)} marks for {len(tokens)} tokens; the row is damaged, replace the file.")
    pieces = [token.split() for token in tokens]
    words = [word for piece in pieces for word in piece]
    spread = [tuple(mark for piece, mark in zip(pieces, row, strict=True) for _ in piece) for row in marks]
    return words, spread


def sample_rows(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """Return at most `limit` items drawn without replacement, in their old order; all where `limit` is None."""
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 0:
        raise StudyError(f"`limit` is {limit}; give a number of items, or None for all.")
    chosen = np.random.default_rng(seed).choice(len(items), size=limit, replace=False)
    return [items[position] for position in sorted(chosen)]


def check_splits(splits: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the wanted splits as a tuple; a single name counts as one split; StudyError for an unknown one."""
    wanted = (splits,) if isinstance(splits, str) else tuple(splits)
    return tuple(require_known(split, known, "split") for split in wanted)

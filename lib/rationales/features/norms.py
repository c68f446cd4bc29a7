"""Norms: a number per word (polarity, concreteness, ...), read from a file of your own. None is shipped."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from rationales.corpora.rows import read_table
from rationales.errors import StudyError, require_known

NORMS = {
    "polarity_1": "first polarity lexicon (P4: Lexique)",
    "polarity_2": "second polarity lexicon (P4: NRC)",
    "concreteness": "concreteness ratings",
    "imageability": "imageability ratings",
    "frequency": "subjective frequency ratings",
}


def read_norm(
    path: str | Path,
    word_column: str = "word",
    value_column: str = "value",
    minus_column: str | None = None,
    separator: str = ",",
    decimal: str = ".",
) -> dict[str, float]:
    """Return the norm of each word in lower case, from a table with a header such as Lexique or the NRC lexicons have.

    minus_column: subtracted from the value ("positive" minus "negative" of a table of emotions). A word in several
    rows gets their mean; an empty cell gives its row no value. With tabs as separator, quotation marks are ordinary
    characters. StudyError for a missing file or column, and for the
    first cell that is not a finite number.
    """
    file = Path(path)
    if not file.is_file():
        raise StudyError(f"There is no norm file '{path}'; correct the path, or leave this norm out.")
    columns = [value_column] + ([minus_column] if minus_column else [])
    values = defaultdict(list)
    for number, row in enumerate(read_table(file, [word_column, *columns], separator, quoted=separator != "\t"), 1):
        cells = [row[column].strip() for column in columns]
        if row[word_column].strip() and all(cells):
            numbers = [_read_number(cell, decimal, f"Row {number} of '{file.name}'") for cell in cells]
            values[row[word_column].strip().lower()].append(numbers[0] - sum(numbers[1:]))
    if not values:
        raise StudyError(f"The norm file '{file.name}' holds no value in '{value_column}'; name the right column.")
    return {word: float(np.mean(found)) for word, found in values.items()}


def check_norms(norms: dict[str, dict[str, float]] | None) -> dict[str, dict[str, float]]:
    """Return `norms` after checking their names; StudyError for an unknown one."""
    for name in norms or {}:
        require_known(name, NORMS, "norm")
    return dict(norms or {})


def _read_number(cell: str, decimal: str, where: str) -> float:
    try:
        number = float(cell.replace(decimal, ".") if decimal != "." else cell)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise StudyError(f"{where}: '{cell}' is not a number; mend the file, or give its decimal sign as `decimal`.")
    return number

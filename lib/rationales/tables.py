"""Tables on disk: tidy Parquet part files, written whole or not at all, with unique keys."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rationales.errors import StudyError

PREDICTION_ONLY = "prediction-only"  # the paradigm of an answer that is given without any explanation
NO_LABEL = "(none)"  # the predicted label of an answer from which no label could be read

KEYS: dict[str, list[str]] = {
    "examples": ["corpus", "example_id"],
    "predictions": ["subject", "tuning", "seed", "epoch", "corpus", "example_id", "paradigm"],
    "held_out": ["subject", "tuning", "seed", "epoch", "corpus", "example_id", "paradigm"],
    "responses": ["subject", "tuning", "seed", "epoch", "corpus", "example_id", "paradigm", "paraphrase", "repeat"],
    "explanations": ["subject", "tuning", "seed", "epoch", "corpus", "example_id", "explainer", "variant"],
    "metrics": [
        "subject", "tuning", "seed", "epoch", "corpus", "example_id", "explainer", "variant", "metric", "k", "operator",
    ],
    "consistency": [
        "subject", "tuning", "seed", "epoch", "corpus", "example_id", "kind", "paradigm", "words",
    ],
    "contributions": [
        "subject", "tuning", "seed", "epoch", "corpus", "example_id", "paradigm", "weighing", "measure",
    ],
    "agreement": [
        "subject", "tuning", "seed", "epoch", "corpus", "example_id", "explainer", "variant", "other", "other_variant",
        "metric",
    ],
    "training": ["subject", "tuning", "seed", "corpus", "epoch", "split"],
    "epochs": ["subject", "tuning", "seed", "epoch", "corpus", "example_id", "explainer", "variant", "metric", "k", "operator"],
    "claims": ["claim_id", "scope"],
}  # fmt: skip


def config_hash(configuration: object) -> str:
    """Twelve hexadecimal digits that change with any part of a configuration made of plain values."""
    text = json.dumps(configuration, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_atomically(path: Path, write) -> None:
    """Call `write(temporary path)`, then move the result to `path`; a reader never sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_part(table: pd.DataFrame, path: Path) -> None:
    """Write one Parquet part file."""
    write_atomically(path, lambda temporary: table.to_parquet(temporary, index=False))


def write_table(kind: str, table: pd.DataFrame, path: Path) -> None:
    """Write one part of the table `kind`; StudyError when a key column is absent or a key occurs twice."""
    missing = [column for column in KEYS[kind] if column not in table.columns]
    if missing:
        raise StudyError(f"The table '{kind}' lacks the key column '{missing[0]}'; add it before writing.")
    repeated = table.duplicated(KEYS[kind])
    if repeated.any():
        first = table.loc[repeated, KEYS[kind]].iloc[0].to_dict()
        raise StudyError(f"The table '{kind}' holds the key {first} twice; each row needs a key of its own.")
    write_part(table, path)


def read_part(path: Path, first: str | None = None) -> pd.DataFrame:
    """Read one part file; StudyError when it is missing or broken. `first`: the notebook that writes it."""
    path = Path(path)
    if not path.is_file():
        how = f"run {first} first" if first else "run the notebook that writes it first"
        raise StudyError(f"The table {path.name} is missing in {path.parent.name}/; {how}.")
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow raises many kinds for a broken file
        raise StudyError(
            f"The table {path.name} in {path.parent.name}/ cannot be read; delete it and run again."
        ) from error


def read_table(folder: Path, kind: str, first: str | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """All parts of a table, `folder/kind/**/*.parquet`, in the order of their names.

    Raises StudyError when there is none (naming the notebook `first` that writes it), when one is broken, or
    when a key occurs in two parts.
    """
    parts = sorted((Path(folder) / kind).rglob("*.parquet"))
    parts = [part for part in parts if not part.name.startswith(".")]
    if not parts:
        how = f"run {first} first" if first else "run the notebook that writes it first"
        raise StudyError(f"The run folder holds no table '{kind}'; {how}.")
    table = pd.concat([read_part(part) for part in parts], ignore_index=True)
    if kind in KEYS:
        repeated = table.duplicated(KEYS[kind])
        if repeated.any():
            key = table.loc[repeated, KEYS[kind]].iloc[0].to_dict()
            raise StudyError(
                f"Two parts of the table '{kind}' hold the key {key}; delete the older part and run again."
            )
    return table[list(columns)] if columns is not None else table

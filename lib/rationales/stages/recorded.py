"""Recorded answers as tables of a study: the rows of its own runs, stamped and written like those of any subject."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.study import Run, Study
from rationales.tables import write_atomically, write_table

PUBLISHED_COLUMNS = ["paper", "quantity", "subject", "paradigm", "published", "recomputed", "n", "note"]


def own_rows(table: pd.DataFrame, runs: list[Run]) -> pd.DataFrame:
    """The rows of a table that belong to some of a study's runs."""
    wanted = {tuple(run.columns.values()) for run in runs}
    keys = table[list(runs[0].columns)].itertuples(index=False, name=None)
    return table[np.fromiter((key in wanted for key in keys), bool, len(table))].reset_index(drop=True)


def write_recorded(
    study: Study, source: str, tables: Mapping[str, pd.DataFrame], metrics: pd.DataFrame, published: pd.DataFrame
) -> dict[str, int]:
    """Write predictions, responses, explanations, metrics and the published numbers of a recorded source.

    tables: by name, with the columns that the stages write; metrics: those that no other notebook computes. Returns how many rows of each belong to the study's runs.
    Raises StudyError when a run of the study has no recorded answer at all: its name or seed is then a slip.
    """
    runs, stamp = study.recorded_runs(source), study.stamp(study.subjects, study.runs)
    known = set(tables["predictions"][list(runs[0].columns)].itertuples(index=False, name=None))
    for run in runs:
        if tuple(run.columns.values()) not in known:
            seeds = sorted({key[3] for key in known if key[1] == run.subject})
            have = f"its seeds are: {', '.join(map(str, seeds))}" if seeds else "no file at hand holds that subject"
            raise StudyError(f"There are no recorded answers of '{run.subject}' with seed {run.seed}; {have}.")
    counts = {}
    for kind, table in [*((k, tables[k]) for k in ("predictions", "responses", "explanations")), ("metrics", metrics)]:
        own = own_rows(table, runs).assign(**stamp)
        write_table(kind, own, study.part(kind, "recorded", source))
        counts[kind] = len(own)
    path = study.folder / "published" / f"{source}.csv"
    write_atomically(path, lambda temporary: published[PUBLISHED_COLUMNS].to_csv(temporary, index=False))
    return counts


def published_table(study: Study) -> pd.DataFrame:
    """All published numbers beside the recomputed ones, with their difference; also `published_vs_recomputed.csv`.

    Empty, with the same columns, for a study without recorded subjects.
    """
    files = sorted((study.folder / "published").glob("*.csv"))
    columns = [*PUBLISHED_COLUMNS[:6], "difference", *PUBLISHED_COLUMNS[6:]]
    if not files:
        return pd.DataFrame(columns=columns)
    missing = {"published": [""], "recomputed": [""]}  # an empty text stays an empty text
    tables = [pd.read_csv(file, keep_default_na=False, na_values=missing) for file in files]
    table = pd.concat(tables, ignore_index=True)
    path = study.folder / "published_vs_recomputed.csv"
    write_atomically(path, lambda temporary: table[PUBLISHED_COLUMNS].to_csv(temporary, index=False))
    return table.assign(difference=table["recomputed"] - table["published"])[columns]

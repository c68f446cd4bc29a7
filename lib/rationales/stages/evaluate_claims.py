"""Stage 8: a verdict on every claim of the papers, for any study."""

import pandas as pd

from rationales.ledger.evaluate import evaluate_claims, panel_of
from rationales.ledger.load import TABLES, load_ledger
from rationales.study import HUMAN, Study
from rationales.tables import read_table, write_table


def read_tables(study: Study) -> dict[str, pd.DataFrame]:
    """The tables that claims need, as far as the run has them.

    Kept are the rows of the study's runs, and of subjects that the study file does not list, such as the feature model.
    """
    own = {(run.corpus, run.subject, run.tuning, run.seed) for run in study.runs}
    tables = {}
    for name in TABLES:
        if not any((study.folder / name).rglob("*.parquet")):
            continue
        rows = read_table(study.folder, name)
        if "subject" in rows:
            columns = ["corpus", "subject", "tuning", "seed"]
            models = rows[columns].drop_duplicates()
            kept = [
                (key[1] not in study.subjects and key[1] != HUMAN) or key in own
                for key in models.itertuples(index=False, name=None)
            ]
            rows = rows.merge(models[kept], on=columns)
        tables[name] = rows
    return tables


def judge_claims(study: Study) -> pd.DataFrame:
    """Evaluate the ledger on the tables of a study and write `claims/ledger`; returns the rows.

    One row per claim and scope; columns as `evaluate_claims`. StudyError when the study has nothing to test.
    """
    ledger = load_ledger()
    readers = {name: (spec["reader"], spec["options"]) for name, spec in study.corpora.items()}
    settings = study.statistics
    margins = {name: settings[f"margin_{name}"] for name in ("plausibility", "faithfulness")}
    panel = panel_of(ledger, read_tables(study), readers)
    table = evaluate_claims(ledger, panel, margins, settings["resamples"], study.seed)
    table = table.assign(**study.stamp(settings))
    write_table("claims", table, study.part("claims", "ledger"))
    return table

"""Stage 8: a verdict on every claim of the papers, for any study."""

import pandas as pd

from rationales.ledger.evaluate import evaluate_claims, panel_of
from rationales.ledger.load import TABLES, load_ledger
from rationales.study import FEATURE_MODEL, Study
from rationales.tables import read_table, write_table


def read_tables(study: Study) -> dict[str, pd.DataFrame]:
    """The tables that claims need, as far as the run has them.

    Kept are the rows of the study's runs, and of the models on textual features where the study file asks for them.
    """

    def on_features(subject: str) -> bool:
        return subject == FEATURE_MODEL and bool(study.features["corpora"])

    tables = {}
    for name in TABLES:
        if not any((study.folder / name).rglob("*.parquet")):
            continue
        rows = read_table(study.folder, name)
        tables[name] = study.keep_models(rows, on_features) if "subject" in rows else rows
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

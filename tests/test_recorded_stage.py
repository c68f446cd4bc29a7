"""Recorded answers as a study: only its own runs, stamped; slips in names refused; published numbers joined."""

import os

import numpy as np
import pandas as pd
import pytest

from rationales.errors import StudyError
from rationales.reporting.recorded import interval_table, published_view, wide_table
from rationales.runner import run_notebook
from rationales.stages.recorded import published_table, write_recorded
from rationales.study import load_study
from rationales.tables import read_part

needs_data = pytest.mark.skipif(
    not os.environ.get("RATIONALES_DATA"), reason="needs the recorded answers in the folder RATIONALES_DATA"
)


def tables(subject="gpt-4o", seed=0):
    keys = {"subject": subject, "tuning": "base", "seed": seed, "epoch": 0, "corpus": "sst_word_scores"}
    row = {
        **keys,
        "example_id": "1",
        "paradigm": "PE",
        "paraphrase": 0,
        "repeat": 0,
        "explainer": "self",
        "variant": "x",
    }
    other = {**row, "subject": "somebody else"}
    return {kind: pd.DataFrame([row, other]) for kind in ("predictions", "responses", "explanations")}


def published(value):
    columns = {"paper": "P", "quantity": "q", "subject": "s", "paradigm": "", "n": 3, "note": "a <b> note"}
    return pd.DataFrame([{**columns, "published": 0.5, "recomputed": value}])


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("RATIONALES_HOME", str(tmp_path))
    return load_study("studies/recorded.yaml")


def test_rows_of_other_runs_are_left_out_and_missing_ones_are_named(study):
    part = tables()
    metrics = part["explanations"].assign(metric="m", k="all", operator="none", value=1.0)
    both = {kind: pd.concat([t, t.assign(subject="gpt-3.5-turbo")]) for kind, t in part.items()}
    with pytest.raises(StudyError, match="'gpt-3.5-turbo' with seed 0; no file at hand"):
        write_recorded(study, "huang", part, metrics, published(0.4))
    both = {kind: t.drop_duplicates(["subject"]) for kind, t in both.items()}
    counts = write_recorded(study, "huang", both, metrics, published(0.4))
    assert counts == {"predictions": 2, "responses": 2, "explanations": 2, "metrics": 1}
    written = read_part(study.part("explanations", "recorded", "huang"))
    assert set(written["subject"]) == {"gpt-4o", "gpt-3.5-turbo"} and (written["study"] == "recorded").all()


def test_published_numbers_are_joined_with_their_difference(study):
    assert published_table(study).empty
    both = {kind: pd.concat([t, t.assign(subject="gpt-3.5-turbo")]) for kind, t in tables().items()}
    both = {kind: t.drop_duplicates(["subject"]) for kind, t in both.items()}
    empty = both["explanations"].iloc[:0].assign(metric="m", k="all", operator="none")
    write_recorded(study, "huang", both, empty, published(np.nan))
    table = published_table(study)
    assert np.isnan(table["difference"].iloc[0]) and table["note"].iloc[0] == "a <b> note"
    kept = pd.read_csv(study.folder / "published_vs_recomputed.csv")
    assert kept.columns.tolist() == "paper quantity subject paradigm published recomputed n note".split()


def test_views_show_value_interval_and_escape_notes():
    rows = pd.DataFrame(
        {"subject": "s", "seed": [1, 1, 2], "quantity": ["valid", "glued", "valid"], "value": [0.5, 0.25, 1.0],
         "low": [0.4, 0.2, 0.9], "high": [0.6, 0.3, 1.0], "n_items": [10, 10, 12]}
    )  # fmt: skip
    table = wide_table(rows, ["valid", "glued"])
    assert table.loc[("s", 1), "glued"] == ".25 [.20, .30]" and table.loc[("s", 2), "glued"] == ""
    assert table["n"].tolist() == [10, 12]
    assert interval_table(rows, ["subject", "seed"], "quantity").columns.tolist() == ["valid", "glued", "n"]
    shown = published_view(published(np.nan))
    assert "a &lt;b&gt; note" in shown and "not computed" in shown


@needs_data
def test_the_recorded_study_runs_from_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("RATIONALES_HOME", str(tmp_path))
    study = {"study": "studies/recorded.yaml"}
    for corpus in ("fair_rationales_sst", "sst_word_scores"):
        run_notebook("01_data_preparation", tmp_path / f"{corpus}.ipynb", {**study, "corpus": corpus})
    for number, name in (("13", "13_recorded_rationales"), ("14", "14_recorded_word_scores")):
        run_notebook(name, tmp_path / f"{number}.ipynb", study)
    plan = load_study("studies/recorded.yaml")
    explanations = plan.read("explanations")
    assert {"self", "lrp", "lrp_contrast", "occlusion", "lime"} <= set(explanations["explainer"])
    assert (explanations["valid"] | (explanations["reason"] != "")).all()
    table = published_table(plan)
    assert len(table) > 150 and table["recomputed"].notna().mean() > 0.7

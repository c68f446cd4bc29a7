"""Opening the subject of a run, tuned or not."""

import json

from rationales.errors import StudyError
from rationales.examples import Corpus
from rationales.stages.prepare import read_corpus
from rationales.study import BASE, Run, Study
from rationales.subjects.base import Subject
from rationales.subjects.engine import Engine
from rationales.subjects.loading import Checkpoint, load_subject


def open_subject(study: Study, run: Run, corpus: Corpus | None = None) -> Subject:
    """The subject of a run; StudyError naming notebook 03 when its tuned checkpoint is not there."""
    corpus = corpus or read_corpus(study, run.corpus)
    spec = study.subjects[run.subject]
    if run.tuning == BASE:
        checkpoint = study.checkpoint(run.subject)
    else:
        folder = study.model_folder(run)
        if not (folder / "done.json").is_file():
            raise StudyError(f"The tuned model of {run.name} is missing; run notebook 03_fine_tuning for it first.")
        checkpoint = Checkpoint(path=str(folder))
    return load_subject(
        checkpoint, corpus.task, corpus.labels, kind=spec["kind"], prompt_style=spec["prompt_style"],
        device=spec["device"], dtype=spec["dtype"], name=f"{run.subject} ({run.tuning}, seed {run.seed})",
    )  # fmt: skip


def open_engine(study: Study, run: Run, corpus: Corpus | None = None) -> Engine:
    """The erasure engine of a run's subject."""
    return Engine(open_subject(study, run, corpus), token_budget=study.subjects[run.subject]["token_budget"])


def epoch_of(study: Study, run: Run) -> int:
    """The epoch of the checkpoint that is explained; 0 for a subject taken as it is."""
    if run.tuning == BASE:
        return 0
    done = study.model_folder(run) / "done.json"
    return int(json.loads(done.read_text(encoding="utf-8"))["epoch"]) if done.is_file() else 0


def run_columns(study: Study, run: Run) -> dict:
    """The columns that name a run in every row of its tables."""
    sections = (study.corpora[run.corpus], study.subjects[run.subject], study.tunings.get(run.tuning))
    return {**study.stamp(*sections), **run.columns, "epoch": epoch_of(study, run)}

"""Opening the subject of a run, tuned or not, and at any epoch that was kept."""

import json
from pathlib import Path

from rationales.errors import StudyError
from rationales.examples import Corpus
from rationales.stages.prepare import read_corpus
from rationales.study import BASE, Run, Study
from rationales.subjects.base import Subject
from rationales.subjects.engine import Engine
from rationales.subjects.loading import Checkpoint, load_subject
from rationales.subjects.operators import count_words

DONE = "done.json"  # in the folder of a tuned model: which epoch is explained, and which epochs there were


def tuned_folder(study: Study, run: Run) -> tuple[Path, dict]:
    """The folder of a tuned run and what its file `done.json` says; StudyError naming notebook 03 when it is missing."""
    folder = study.model_folder(run)
    if not (folder / DONE).is_file():
        raise StudyError(f"The tuned model of {run.name} is missing; run notebook 03_fine_tuning for it first.")
    return folder, json.loads((folder / DONE).read_text(encoding="utf-8"))


def kept_epochs(study: Study, run: Run) -> list[int]:
    """The epochs at which the subject of a run can be opened, 0 (before tuning) first.

    Raises StudyError for a run that is not tuned, or whose tuning kept no epoch but the one that is explained.
    """
    if run.tuning == BASE:
        raise StudyError(f"The run {run.name} takes the subject as it is; it has no epochs.")
    folder, facts = tuned_folder(study, run)
    if not study.tunings[run.tuning]["keep_epochs"] or not (folder / f"epoch-{facts['epoch']}").is_dir():
        raise StudyError(
            f"The model of {run.name} was kept at its last epoch only; "
            f"set `keep_epochs: true` for the tuning '{run.tuning}' and run notebook 03_fine_tuning again."
        )
    return facts["epochs"]


def checkpoint_of(study: Study, run: Run, epoch: int | None = None) -> Checkpoint:
    """The checkpoint of a run at an epoch, or the one that is explained.

    Epoch 0 of a tuned run is the subject's own checkpoint, but for encoders and QLoRA, which start otherwise.
    """
    if run.tuning == BASE:
        if epoch:
            raise StudyError(f"The run {run.name} takes the subject as it is; it has no epoch {epoch}.")
        return study.checkpoint(run.subject)
    folder, facts = tuned_folder(study, run)
    number = facts["epoch"] if epoch is None else epoch
    if (folder / f"epoch-{number}").is_dir():
        return Checkpoint(path=str(folder / f"epoch-{number}"))
    if number == facts["epoch"]:
        return Checkpoint(path=str(folder))
    known = kept_epochs(study, run)
    if number != 0:
        raise StudyError(
            f"The model of {run.name} has no epoch {number}; its epochs are: {', '.join(map(str, known))}."
        )
    return study.checkpoint(run.subject)


def open_subject(study: Study, run: Run, corpus: Corpus | None = None, epoch: int | None = None) -> Subject:
    """The subject of a run, at an epoch that was kept or else at the one that is explained.

    Raises StudyError naming notebook 03 when its tuned checkpoint is not there.
    """
    corpus = corpus or read_corpus(study, run.corpus)
    spec = study.subjects[run.subject]
    number = "" if epoch is None else f", epoch {epoch}"
    return load_subject(
        checkpoint_of(study, run, epoch), corpus.task, corpus.labels, kind=spec["kind"],
        prompt_style=spec["prompt_style"], device=spec["device"], dtype=spec["dtype"],
        name=f"{run.subject} ({run.tuning}, seed {run.seed}{number})",
    )  # fmt: skip


def open_engine(study: Study, run: Run, corpus: Corpus | None = None, epoch: int | None = None) -> Engine:
    """The erasure engine of a run's subject; words that replace others are drawn from the whole corpus."""
    corpus = corpus or read_corpus(study, run.corpus)
    return Engine(
        open_subject(study, run, corpus, epoch), token_budget=study.subjects[run.subject]["token_budget"],
        vocabulary=count_words(corpus.examples), seed=study.seed,
    )  # fmt: skip


def epoch_of(study: Study, run: Run) -> int:
    """The epoch of the checkpoint that is explained; 0 for a subject taken as it is."""
    if run.tuning == BASE:
        return 0
    done = study.model_folder(run) / DONE
    return int(json.loads(done.read_text(encoding="utf-8"))["epoch"]) if done.is_file() else 0


def run_columns(study: Study, run: Run, epoch: int | None = None) -> dict:
    """The columns that name a run in every row of its tables."""
    sections = (study.corpora[run.corpus], study.subjects[run.subject], study.tunings.get(run.tuning))
    number = epoch_of(study, run) if epoch is None else epoch
    return {**study.stamp(*sections), **run.columns, "epoch": number}

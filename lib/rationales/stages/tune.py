"""Stage 2: fine-tuning a subject on the labels of a corpus, without any rationale, through transformers' Trainer."""

import json
import shutil
from pathlib import Path

import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, set_seed

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.randomness import generator_for
from rationales.stages.adapters import add_adapters, load_in_four_bits, save_merged
from rationales.stages.prepare import explained_examples, read_corpus, training_corpus
from rationales.stages.subjects import DONE, run_columns
from rationales.stages.training import (
    MEASURES,
    EpochKeeper,
    chosen_epoch,
    last_checkpoint,
    make_trainer,
    remove_checkpoints,
    remove_epochs_but,
)
from rationales.study import BASE, SEED_PARTS, Run, Study
from rationales.subjects.base import Subject
from rationales.subjects.causal import CausalSubject
from rationales.subjects.encoder import EncoderSubject
from rationales.subjects.loading import choose_device, choose_dtype, count_parameters, load_quietly, load_tokenizer
from rationales.tables import config_hash, write_table

VALIDATION_ITEMS = 400  # as many are measured after each epoch


def seeds_of(study: Study, run: Run) -> dict[str, int]:
    """The seed of each part of training: drawn from the run's seed if the tuning varies that part, else the study's.

    Three tunings that vary one part each show where the variance over seeds comes from. The seeds are drawn, not
    counted: the Trainer seeds the order of epoch e with seed + e, so that 0 and 1 would share orders.
    """
    vary = study.tunings[run.tuning]["vary"]
    sources = {part: run.seed if part in vary else study.seed for part in SEED_PARTS}
    return {part: int(generator_for("tuning", part, seed).integers(2**31)) for part, seed in sources.items()}


def has_dropout(model: torch.nn.Module) -> bool:
    """Whether any module drops out activations in training, as a Dropout module or by a rate of its own."""
    return any(
        (isinstance(module, torch.nn.Dropout) and module.p > 0)
        or any("dropout" in name and type(rate) is float and rate > 0 for name, rate in vars(module).items())
        for module in model.modules()
    )


def check_seeds_matter(run: Run, options: dict, drawn: bool, dropout: bool) -> None:
    """StudyError when a tuning varies over its seeds only what this subject does not have.

    drawn: whether weights are drawn before training: a head that the checkpoint lacks, or adapters; full tuning of a
    causal LM draws none. `vary: []` is allowed: it trains one and the same model again, and shows what the hardware
    alone leaves to chance.
    """
    reasons = {
        "initialisation": "" if drawn else "starts with no weight that is drawn",
        "order": "",
        "dropout": "" if dropout else "has no dropout",
    }
    found = [reasons[part] for part in options["vary"]]
    if found and all(found):
        raise StudyError(
            f"The tuning '{run.tuning}' varies only {' and '.join(options['vary'])} over its seeds, but "
            f"'{run.subject}' {' and '.join(found)}: every seed would train the same model; vary `order`, too."
        )


def new_subject(study: Study, run: Run, corpus: Corpus) -> tuple[Subject, bool]:
    """The subject before tuning, and whether weights of it were drawn: an encoder's head, or adapters.

    Full tuning trains in 32 bits, since 16 bits round small steps away; LoRA adds 32-bit adapters to a base in the
    subject's `dtype`, QLoRA to one in 4 bits.
    """
    checkpoint, spec, options = study.checkpoint(run.subject), study.subjects[run.subject], study.tunings[run.tuning]
    if options["method"] == "qlora" and spec["kind"] != "causal":
        raise StudyError(f"QLoRA is offered for causal LMs; use `method: lora` or `full` to tune '{run.subject}'.")
    tokenizer, device = load_tokenizer(checkpoint), choose_device(spec["device"])
    dtype = torch.float32
    if options["method"] == "lora":
        dtype = choose_dtype(spec["dtype"], device, count_parameters(checkpoint, None))
    set_seed(seeds_of(study, run)["initialisation"])
    absent: list[str] = []
    if options["method"] == "qlora":
        model = load_in_four_bits(checkpoint, device)
    elif spec["kind"] == "causal":
        model = load_quietly(AutoModelForCausalLM, checkpoint, "the weights", dtype=dtype, use_safetensors=True)
    else:
        names = dict(enumerate(corpus.labels))
        model, report = load_quietly(
            AutoModelForSequenceClassification, checkpoint, "the weights", dtype=dtype, use_safetensors=True,
            num_labels=len(corpus.labels), id2label=names, label2id={label: n for n, label in names.items()},
            ignore_mismatched_sizes=True, output_loading_info=True,
        )  # fmt: skip
        absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if options["method"] != "qlora":
        model.to(device)
    if options["method"] != "full":
        model = add_adapters(model, spec["kind"], options, [key.rpartition(".")[0] for key in absent])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    kinds = {"causal": CausalSubject, "encoder": EncoderSubject}
    styles = [spec["prompt_style"]] if spec["kind"] == "causal" else []
    subject = kinds[spec["kind"]](run.name, corpus.task, corpus.labels, model, tokenizer, *styles)
    return subject, bool(absent) or options["method"] != "full"


def measured_sets(study: Study, run: Run, corpus: Corpus, source: Corpus) -> dict[str, list[Example]]:
    """What is measured after each epoch: validation items, where there are some, and the items to be explained."""
    validation = source.of_split("validation")[:VALIDATION_ITEMS]
    shown = [example for shard in range(study.shards) for example in explained_examples(study, corpus, shard)]
    return {"validation": validation, "explained": shown} if validation else {"explained": shown}


def tune(study: Study, run: Run) -> pd.DataFrame:
    """Fine-tune the subject of a run and save it; returns and writes the table `training`, one row per epoch and split.

    The run's seed draws the head or adapters, the order of the examples and the dropout (see `seeds_of`), so two calls
    give the same weights on a CPU. A run that was killed goes on from its last whole epoch; the finished folder appears
    at once. It is an ordinary checkpoint, with adapters merged (see `adapters.merged_weights`). With `keep_epochs: true` it
    holds one such folder per epoch, `epoch-1` to `epoch-n`, and `epoch-0` for a subject that starts with a head of its
    own or in 4 bits: so many times the disk space. While training runs, one state of three times the trained weights
    lies beside it. With `early_stopping: p` training stops when validation accuracy has not risen for p epochs, and the
    best epoch is the one explained.
    Columns besides the key: items, accuracy, commonest_label, entropy, train_loss (mean of the epoch's steps, NaN before
    the first), train_items, explained (whether this epoch's model is the one later stages use).
    Raises StudyError for a base run, an empty training split, early stopping without a validation split, seeds that would
    change nothing, or a loss that is not a number.
    """
    if run.tuning == BASE:
        raise StudyError(f"The run {run.name} takes the subject as it is; there is nothing to tune.")
    options, spec = study.tunings[run.tuning], study.subjects[run.subject]
    corpus, source = read_corpus(study, run.corpus), training_corpus(study, run.corpus)
    training = source.of_split("train")[: options["train_items"]]
    if not training:
        raise StudyError(f"Corpus '{source.name}' has no split 'train'; name a corpus that has one under `train_with`.")
    sets = measured_sets(study, run, corpus, source)
    if options["early_stopping"] and "validation" not in sets:
        raise StudyError(
            f"Corpus '{source.name}' has no split 'validation', which `early_stopping` needs; leave it out."
        )
    subject, drawn = new_subject(study, run, corpus)
    check_seeds_matter(run, options, drawn, has_dropout(subject.model))
    settings = [options, spec, study.corpora[run.corpus], study.corpora[source.name], study.seed]
    scratch = study.folder / "training_state" / f"{run.name}-{config_hash(settings)}"
    last = last_checkpoint(scratch)

    def keep(folder: Path) -> None:
        if options["method"] == "full":
            subject.model.save_pretrained(folder)
        else:
            save_merged(subject.model, folder)
        subject.tokenizer.save_pretrained(folder)

    keeper = EpochKeeper(
        subject, sets, options, spec["token_budget"], scratch / "epochs", keep,
        starts_anew=spec["kind"] == "encoder" or options["method"] == "qlora",
        rows=json.loads((last / MEASURES).read_text(encoding="utf-8")) if last else [],
    )  # fmt: skip
    trainer = make_trainer(subject, training, options, seeds_of(study, run), scratch, keeper)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    epoch = chosen_epoch(keeper.rows, options["early_stopping"])
    table = pd.DataFrame(keeper.rows)
    table = table.assign(**run_columns(study, run) | {"epoch": table["epoch"]}, train_items=len(training))
    table["explained"] = table["epoch"] == epoch
    deliver(study, run, scratch, epoch, table)
    return table


def deliver(study: Study, run: Run, scratch: Path, epoch: int, table: pd.DataFrame) -> None:
    """Write the table and move the model, or the models of all epochs, from `scratch` to its place in one step.

    Whatever an earlier call left there goes first: a table never stands beside another training's model.
    """
    folder, kept = study.model_folder(run), scratch / "epochs"
    shutil.rmtree(folder, ignore_errors=True)
    if not study.tunings[run.tuning]["keep_epochs"]:
        remove_epochs_but(kept, epoch)
        kept = kept / f"epoch-{epoch}"
    facts = {"epoch": epoch, "epochs": sorted({int(row) for row in table["epoch"]}), **run.columns}
    (kept / DONE).write_text(json.dumps(facts), encoding="utf-8")
    write_table("training", table, study.part("training", run.name))
    remove_checkpoints(scratch)  # training must not go on from here once the models are gone from `scratch`
    folder.parent.mkdir(parents=True, exist_ok=True)
    kept.rename(folder)
    remove_states(scratch.parent, run)


def remove_states(folder: Path, run: Run) -> None:
    """Remove what is left of the training of a run, also of trainings with other settings that were not finished."""
    for state in folder.glob(f"{run.name}-*"):
        shutil.rmtree(state)

"""Stage 2: fine-tuning a subject on the labels of a corpus, without any rationale, through transformers' Trainer."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.stages.prepare import explained_examples, read_corpus, training_corpus
from rationales.stages.subjects import run_columns
from rationales.study import BASE, Run, Study
from rationales.subjects.base import Subject
from rationales.subjects.causal import CausalSubject
from rationales.subjects.encoder import EncoderSubject
from rationales.subjects.engine import Engine
from rationales.subjects.loading import choose_device, load_quietly, load_tokenizer
from rationales.tables import config_hash, write_atomically, write_table

IGNORED = -100  # label id that the loss leaves out


def new_subject(study: Study, run: Run, corpus: Corpus) -> Subject:
    """The subject before tuning; an encoder gets a new classification head, drawn with the run's seed."""
    checkpoint, spec = study.checkpoint(run.subject), study.subjects[run.subject]
    tokenizer = load_tokenizer(checkpoint)
    set_seed(run.seed)
    if spec["kind"] == "causal":
        model = load_quietly(AutoModelForCausalLM, checkpoint, "the weights", dtype=torch.float32, use_safetensors=True)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return CausalSubject(run.name, corpus.task, corpus.labels, model, tokenizer, spec["prompt_style"])
    names = dict(enumerate(corpus.labels))
    model = load_quietly(
        AutoModelForSequenceClassification, checkpoint, "the weights", dtype=torch.float32, use_safetensors=True,
        num_labels=len(corpus.labels), id2label=names, label2id={label: n for n, label in names.items()},
    )  # fmt: skip
    return EncoderSubject(run.name, corpus.task, corpus.labels, model, tokenizer)


def add_adapters(model: torch.nn.Module, rank: int) -> torch.nn.Module:
    """The model with LoRA adapters on all linear layers (Hu et al. 2022), through peft."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    )


def training_item(subject: Subject, example: Example) -> dict:
    """Token ids and labels of one example: the answer's tokens for a causal LM, the class for an encoder."""
    encoded = subject.encode(example)
    number = subject.labels.index(example.label)
    prompt = encoded.token_ids.tolist()
    if subject.kind == "encoder":
        types = {} if encoded.token_types is None else {"token_type_ids": encoded.token_types.tolist()}
        return {"input_ids": prompt, "labels": number, **types}
    answer = list(encoded.label_ids[number])
    # The end of the turn is learnt, too, so that a tuned model still knows when to stop.
    answer += [subject.tokenizer.eos_token_id] if subject.tokenizer.eos_token_id is not None else []
    return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}


def collate(items: list[dict], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch padded on the right."""
    longest = max(len(item["input_ids"]) for item in items)
    batch: dict[str, list] = {"input_ids": [], "attention_mask": [], "labels": []}
    for item in items:
        missing = longest - len(item["input_ids"])
        batch["input_ids"].append(item["input_ids"] + [pad_id] * missing)
        batch["attention_mask"].append([1] * len(item["input_ids"]) + [0] * missing)
        labels = item["labels"]
        batch["labels"].append(labels + [IGNORED] * missing if isinstance(labels, list) else labels)
        if "token_type_ids" in item:
            batch.setdefault("token_type_ids", []).append(item["token_type_ids"] + [0] * missing)
    return {name: torch.tensor(rows) for name, rows in batch.items()}


def measure(subject: Subject, examples: list[Example], split: str, token_budget: int) -> dict:
    """Accuracy, share of the commonest predicted label and mean entropy over labels, on some examples."""
    scores = Engine(subject, token_budget).full(examples)
    predicted = scores.argmax(1)
    gold = np.array([subject.labels.index(example.label) for example in examples])
    return {
        "split": split,
        "items": len(examples),
        "accuracy": float((predicted == gold).mean()),
        "commonest_label": float(np.bincount(predicted).max() / len(predicted)),
        "entropy": float(-(np.exp(scores) * scores).sum(1).mean()),
    }


class EpochMeasures(TrainerCallback):
    """Measures the subject before training and after each epoch."""

    def __init__(self, subject: Subject, sets: dict[str, list[Example]], token_budget: int, kept: list[dict]):
        self.subject, self.sets, self.token_budget, self.rows = subject, sets, token_budget, list(kept)

    def record(self, epoch: int) -> None:
        self.subject.model.eval()
        if hasattr(self.subject, "prefix_cache"):
            self.subject.prefix_cache.clear()  # its keys and values belong to the weights before
        for split, examples in self.sets.items():
            if not any(row["epoch"] == epoch and row["split"] == split for row in self.rows):
                self.rows.append({"epoch": epoch, **measure(self.subject, examples, split, self.token_budget)})
        self.subject.model.train()

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self.record(0)

    def on_epoch_end(self, args, state, control, **kwargs):
        self.record(round(state.epoch))
        path = Path(args.output_dir) / "measures.json"
        write_atomically(path, lambda temporary: temporary.write_text(json.dumps(self.rows), encoding="utf-8"))


def tune(study: Study, run: Run) -> pd.DataFrame:
    """Fine-tune the subject of a run and save the checkpoint; returns and writes the table `training`.

    The same seed draws the head, the order of the examples and the dropout, so two calls give the same weights on a
    CPU. A run that was killed goes on from its last epoch; a finished checkpoint appears at once and whole.
    Raises StudyError for a base run, an empty training split, or a loss that is not a number.
    """
    if run.tuning == BASE:
        raise StudyError(f"The run {run.name} takes the subject as it is; there is nothing to tune.")
    options, spec = study.tunings[run.tuning], study.subjects[run.subject]
    corpus, source = read_corpus(study, run.corpus), training_corpus(study, run.corpus)
    training = source.of_split("train")[: options["train_items"]]
    if not training:
        raise StudyError(f"Corpus '{source.name}' has no split 'train'; name a corpus that has one under `train_with`.")
    if options["method"] == "lora" and spec["kind"] != "causal":
        raise StudyError(f"LoRA is offered for causal LMs; use `method: full` to tune '{run.subject}'.")
    subject = new_subject(study, run, corpus)
    subject.model.to(choose_device(spec["device"]))
    if options["method"] == "lora":
        subject.model = add_adapters(subject.model, options["lora_rank"])
    validation = source.of_split("validation")[:400]
    sets = {"validation": validation} if validation else {}
    sets["explained"] = explained_examples(study, corpus) if study.shards == 1 else corpus.of_split(
        study.corpora[run.corpus]["explain"]
    )  # fmt: skip
    scratch = study.folder / "training_state" / f"{run.name}-{config_hash([options, spec, study.seed])}"
    last = get_last_checkpoint(str(scratch)) if scratch.is_dir() else None
    measured = (
        json.loads((scratch / "measures.json").read_text()) if last and (scratch / "measures.json").is_file() else []
    )
    measures = EpochMeasures(subject, sets, spec["token_budget"], measured)
    trainer = make_trainer(subject, training, options, scratch, run.seed, measures)
    result = trainer.train(resume_from_checkpoint=last)
    if not math.isfinite(result.training_loss):
        raise StudyError(
            f"The training loss of {run.name} is {result.training_loss}; lower `learning_rate` and run again."
        )
    if options["method"] == "lora":
        subject.model = subject.model.merge_and_unload()
    save_checkpoint(study, run, subject, options["epochs"])
    table = pd.DataFrame(measures.rows).assign(
        **run_columns(study, run) | {"epoch": [r["epoch"] for r in measures.rows]}
    )
    table["train_loss"] = result.training_loss
    table["train_items"] = len(training)
    write_table("training", table, study.part("training", run.name))
    shutil.rmtree(scratch, ignore_errors=True)
    return table


def make_trainer(subject, training: list[Example], options: dict, scratch: Path, seed: int, measures) -> Trainer:
    """transformers' Trainer over the encoded examples; a checkpoint per epoch in `scratch`."""
    items = [training_item(subject, example) for example in training]
    pad_id = subject.tokenizer.pad_token_id
    steps = math.ceil(len(items) / options["batch_size"]) * options["epochs"]
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=options["epochs"],
        per_device_train_batch_size=options["batch_size"],
        learning_rate=float(options["learning_rate"]),
        warmup_steps=int(options["warmup_share"] * steps),
        weight_decay=options["weight_decay"],
        lr_scheduler_type="linear",
        seed=seed,
        data_seed=seed,
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=subject.model.device.type == "cpu",
        dataloader_pin_memory=False,
    )
    return Trainer(
        model=subject.model,
        args=arguments,
        train_dataset=items,
        data_collator=lambda batch: collate(batch, pad_id),
        callbacks=[measures],
    )


def save_checkpoint(study: Study, run: Run, subject: Subject, epoch: int) -> None:
    """Save model and tokenizer next to their final place, then move them there in one step."""
    folder = study.model_folder(run)
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    subject.model.save_pretrained(temporary)
    subject.tokenizer.save_pretrained(temporary)
    (temporary / "done.json").write_text(json.dumps({"epoch": epoch, **run.columns}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)

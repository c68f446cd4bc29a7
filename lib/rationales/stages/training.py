"""How a subject is trained: batches, loss, what is measured and kept after each epoch, and how training goes on.

transformers' Trainer does the training. Of its checkpoints only whole ones are read again: each gets the file of
measures last, and one without it was cut off while it was written.
"""

import json
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.subjects.base import Subject
from rationales.subjects.engine import Engine
from rationales.tables import write_atomically

IGNORED = -100  # label id that the loss leaves out
MEASURES = "measures.json"  # written into a checkpoint of the Trainer when it is whole


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


def pad_rows(rows: list[list[int]], value: int, left: bool) -> torch.Tensor:
    """Rows of different length as one tensor (rows, longest), filled up with `value` on the left or on the right."""
    longest = max(map(len, rows))
    padded = torch.full((len(rows), longest), value)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(len(row))
        padded[number, place] = torch.tensor(row)
    return padded


def collate_texts(items: list[dict], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch for an encoder, padded on the right; labels (batch,) are class numbers."""
    ids = [item["input_ids"] for item in items]
    batch = {
        "input_ids": pad_rows(ids, pad_id, left=False),
        "attention_mask": pad_rows([[1] * len(row) for row in ids], 0, left=False),
        "labels": torch.tensor([item["labels"] for item in items]),
    }
    if "token_type_ids" in items[0]:
        batch["token_type_ids"] = pad_rows([item["token_type_ids"] for item in items], 0, left=False)
    return batch


def collate_answers(items: list[dict], pad_id: int) -> dict[str, torch.Tensor | int]:
    """A batch of prompts with their answers, padded on the left, so that all answers end in the last column.

    The model is told to compute logits at these columns alone (`logits_to_keep`): nothing is learnt elsewhere, and the
    vocabulary is a large part of the cost. Positions count from the first token of each text, whatever its padding.
    """
    ids = [item["input_ids"] for item in items]
    answers = [sum(label != IGNORED for label in item["labels"]) for item in items]
    mask = pad_rows([[1] * len(row) for row in ids], 0, left=True)
    return {
        "input_ids": pad_rows(ids, pad_id, left=True),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
        "labels": pad_rows([item["labels"] for item in items], IGNORED, left=True),
        "logits_to_keep": max(answers) + 1,  # the token in front of an answer predicts its first token
    }


def answer_loss(outputs, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> torch.Tensor:
    """Cross-entropy summed over answer tokens (or classes) and divided by their number in the whole batch.

    outputs.logits: (batch, classes), or (batch, kept, vocabulary) at the last positions, each predicting the token that
    follows. num_items_in_batch: given by the Trainer, over all parts of a batch that is worked off in parts.
    """
    logits = outputs.logits.float()
    if logits.dim() == 3:
        labels = labels[:, labels.shape[1] - logits.shape[1] + 1 :].flatten()
        logits = logits[:, :-1].flatten(0, 1)
    count = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
    return cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / count


def measure(engine: Engine, examples: list[Example], split: str) -> dict:
    """Accuracy, share of the commonest predicted label and mean entropy over labels (nats), on some examples."""
    scores = engine.full(examples)
    predicted = scores.argmax(1)
    gold = np.array([engine.subject.labels.index(example.label) for example in examples])
    return {
        "split": split,
        "items": len(examples),
        "accuracy": float((predicted == gold).mean()),
        "commonest_label": float(np.bincount(predicted).max() / len(predicted)),
        "entropy": float(-(np.exp(scores) * scores).sum(1).mean()),
    }


def chosen_epoch(rows: list[dict], early_stopping: int | None) -> int:
    """The epoch whose model is explained: the last, or with early stopping the first of the best validation accuracy.

    rows: measures with epoch, split and accuracy. The start, epoch 0, is never chosen: it is not tuned.
    """
    if early_stopping is None:
        return max(row["epoch"] for row in rows)
    accuracies = {row["epoch"]: row["accuracy"] for row in rows if row["split"] == "validation" and row["epoch"] > 0}
    return max(sorted(accuracies), key=accuracies.get)


def is_stalled(rows: list[dict], early_stopping: int | None) -> bool:
    """Whether validation accuracy has not risen above its best for `early_stopping` epochs."""
    last = max(row["epoch"] for row in rows)
    return early_stopping is not None and last - chosen_epoch(rows, early_stopping) >= early_stopping


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Call `write(temporary folder)`, then move the result to `folder`; a reader never sees half of it."""
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def remove_epochs_but(kept: Path, epoch: int) -> None:
    """Remove the kept models of all epochs but one."""
    for folder in kept.glob("epoch-*"):
        if folder.name != f"epoch-{epoch}":
            shutil.rmtree(folder)


def remove_checkpoints(scratch: Path, but: Path | None = None) -> None:
    """Remove the Trainer's checkpoints, all but one; each loses its mark first, so that half of one is never read."""
    for folder in scratch.glob("checkpoint-*"):
        if folder != but:
            (folder / MEASURES).unlink(missing_ok=True)
            shutil.rmtree(folder)


def last_checkpoint(scratch: Path) -> Path | None:
    """The newest whole checkpoint of an interrupted training; older ones and those that were cut off are removed."""
    whole = [folder for folder in scratch.glob("checkpoint-*") if (folder / MEASURES).is_file()]
    last = max(whole, key=lambda folder: int(folder.name.removeprefix("checkpoint-")), default=None)
    remove_checkpoints(scratch, but=last)
    return last


class EpochKeeper(TrainerCallback):
    """Measures the subject before training and after each epoch, keeps the models that are wanted, and stops early.

    sets: examples to measure, by name. options: the tuning. kept: the folder of models, one per epoch.
    keep(folder): writes the subject as an ordinary checkpoint. rows: measures so far, of a training that goes on.
    """

    def __init__(
        self, subject: Subject, sets: dict[str, list[Example]], options: dict, token_budget: int, kept: Path,
        keep: Callable[[Path], None], starts_anew: bool, rows: list[dict],
    ):  # fmt: skip
        self.subject, self.sets, self.options, self.rows = subject, sets, options, rows
        self.kept, self.keep, self.starts_anew = kept, keep, starts_anew
        self.engine = Engine(subject, token_budget)
        self.bar: tqdm | None = None

    def record(self, epoch: int, loss: float) -> None:
        """Add the measures of an epoch; texts are encoded once for all epochs."""
        self.subject.model.eval()
        self.engine.memory.clear()  # it holds answers of the weights before, and so does the cache of prompts
        self.subject.forget_prompts()
        for split, examples in self.sets.items():
            self.rows.append({"epoch": epoch, **measure(self.engine, examples, split), "train_loss": loss})
        self.subject.model.train()

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self.record(0, math.nan)
            if self.options["keep_epochs"] and self.starts_anew:
                write_folder(self.kept / "epoch-0", self.keep)
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="training", mininterval=5)

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()

    def on_log(self, args, state, control, logs=None, **kwargs):
        """The end of an epoch: its mean loss is known, and its checkpoint is not written yet."""
        if "loss" not in (logs or {}):
            return
        if not math.isfinite(logs["loss"]):
            raise StudyError(f"The training loss is {logs['loss']}; lower `learning_rate` and run again.")
        epoch, patience = round(state.epoch), self.options["early_stopping"]
        self.record(epoch, logs["loss"])
        is_last = epoch == self.options["epochs"] or is_stalled(self.rows, patience)
        is_wanted = is_last if patience is None else chosen_epoch(self.rows, patience) == epoch
        if is_wanted or self.options["keep_epochs"]:
            write_folder(self.kept / f"epoch-{epoch}", self.keep)
        if is_last:  # the model is written; a state to go on from is not needed, and takes three times its room
            control.should_training_stop, control.should_save = True, False

    def on_save(self, args, state, control, **kwargs):
        """Mark the Trainer's checkpoint as whole; only then let go of what it replaces."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        text = json.dumps(self.rows)
        write_atomically(folder / MEASURES, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        remove_checkpoints(folder.parent, but=folder)
        if not self.options["keep_epochs"]:
            remove_epochs_but(self.kept, chosen_epoch(self.rows, self.options["early_stopping"]))

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


def make_trainer(
    subject: Subject, training: list[Example], options: dict, seeds: dict[str, int], scratch: Path, keeper: EpochKeeper
) -> Trainer:
    """transformers' Trainer over the encoded examples, with a state to go on from in `scratch` after each epoch.

    seeds: "order" draws the order of the examples; "dropout" seeds torch here, when everything else is drawn.
    """
    items = [training_item(subject, example) for example in training]
    steps = math.ceil(len(items) / options["batch_size"]) * options["epochs"]
    part = options["micro_batch"] or options["batch_size"]
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=options["epochs"],
        per_device_train_batch_size=part,
        gradient_accumulation_steps=options["batch_size"] // part,
        learning_rate=float(options["learning_rate"]),
        warmup_steps=int(options["warmup_share"] * steps),
        weight_decay=options["weight_decay"],
        lr_scheduler_type="linear",
        seed=seeds["dropout"],
        data_seed=seeds["order"],
        save_strategy="epoch",
        logging_strategy="epoch",
        logging_nan_inf_filter=False,  # a loss that is not a number must be seen
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=subject.model.device.type == "cpu",
        dataloader_pin_memory=False,
    )
    # A second visible GPU would double the batch; one model is trained on one device.
    arguments._n_gpu = min(1, arguments.n_gpu)
    collate = collate_texts if subject.kind == "encoder" else collate_answers
    trainer = Trainer(
        model=subject.model,
        args=arguments,
        train_dataset=items,
        data_collator=partial(collate, pad_id=subject.tokenizer.pad_token_id),
        compute_loss_func=answer_loss,
        callbacks=[keeper],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer

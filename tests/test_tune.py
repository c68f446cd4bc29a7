"""Fine-tuning: the loss is transformers' own, each seed draws its own part, epochs are kept whole, kills cost nothing."""

import copy
import gc
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, Trainer

from rationales.errors import StudyError
from rationales.stages import training
from rationales.stages import tune as tuning
from rationales.stages.adapters import add_adapters, load_in_four_bits, merged_weights, save_merged
from rationales.stages.prepare import explained_examples, prepare_corpus, read_corpus, write_examples
from rationales.stages.subjects import checkpoint_of, epoch_of, kept_epochs, open_engine, open_subject, run_columns
from rationales.stages.training import (
    IGNORED,
    MEASURES,
    answer_loss,
    chosen_epoch,
    collate_answers,
    collate_texts,
    is_stalled,
    last_checkpoint,
    pad_rows,
    training_item,
    write_folder,
)
from rationales.stages.tune import check_seeds_matter, has_dropout, new_subject, seeds_of, tune
from rationales.study import SEED_PARTS, load_study
from rationales.subjects.checkpoint import Checkpoint
from tiny_models import random_causal, random_encoder, sentiment

SEVERAL = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3}


@pytest.fixture(scope="module", autouse=True)
def settled_memory():
    """Leave what the imports made out of garbage collection, which the Trainer asks for at each start."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Folders of a causal LM, an encoder without a classification head, and an encoder with one."""
    home = tmp_path_factory.mktemp("checkpoints")
    models = {"llama": random_causal().model, "bare": random_encoder().model.roberta, "headed": random_encoder().model}
    for name, model in models.items():
        model.save_pretrained(home / name)
        (random_causal() if name == "llama" else random_encoder()).tokenizer.save_pretrained(home / name)
    return home


@pytest.fixture
def make_study(checkpoints, tmp_path, monkeypatch):
    """A function that writes and prepares a small study with one tuning of one subject."""
    monkeypatch.setenv("RATIONALES_HOME", str(tmp_path))

    def make(subject: str, seeds=(0,), **options):
        kind = "causal" if subject == "llama" else "encoder"
        content = {
            "study": "small",
            "corpora": {"planted_sentiment": {"options": {"train": 6, "validation": 2, "test": 2}}},
            "subjects": {subject: {"path": str(checkpoints / subject), "kind": kind, "device": "cpu"}},
            "tunings": {"tuned": {**SEVERAL, **options}},
            "runs": [{"corpus": "planted_sentiment", "subject": subject, "tuning": "tuned", "seeds": list(seeds)}],
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        study = load_study(path)
        write_examples(study, prepare_corpus(study, "planted_sentiment"))
        return study

    return make


def weights_of(study, run, epoch=None):
    return {name: value.clone() for name, value in open_subject(study, run, epoch=epoch).model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# The loss


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_loss_and_gradient_at_the_answers_are_those_of_transformers_over_all_positions(implementation):
    subject = random_causal()
    items = [training_item(subject, example) for example in sentiment().examples[:6]]
    assert len({len(item["input_ids"]) for item in items}) > 1  # else padding is not tested
    model, pad_id = subject.model, subject.tokenizer.pad_token_id
    model.set_attn_implementation(implementation)
    gradients, losses = [], []
    for ours in (False, True):
        model.zero_grad()
        if ours:
            batch = collate_answers(items, pad_id)
            labels = batch.pop("labels")
            output = model(**batch)
            assert output.logits.shape[1] == batch["logits_to_keep"] < batch["input_ids"].shape[1] / 3
            loss = answer_loss(output, labels)
        else:
            ids = [item["input_ids"] for item in items]
            loss = model(
                input_ids=pad_rows(ids, pad_id, left=False),
                attention_mask=pad_rows([[1] * len(row) for row in ids], 0, left=False),
                labels=pad_rows([item["labels"] for item in items], IGNORED, left=False),
            ).loss
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    model.set_attn_implementation("sdpa")
    model.zero_grad()
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_the_loss_of_an_encoder_is_that_of_transformers():
    subject = random_encoder()
    batch = collate_texts(
        [training_item(subject, example) for example in sentiment().examples[:5]], subject.tokenizer.pad_token_id
    )
    expected = subject.model(**batch).loss.item()
    labels = batch.pop("labels")
    assert answer_loss(subject.model(**batch), labels).item() == pytest.approx(expected, rel=1e-5)


def test_parts_of_a_batch_add_up_to_the_loss_of_the_whole():
    subject = random_causal()
    items = [training_item(subject, example) for example in sentiment().examples[:6]]
    count = sum(label != IGNORED for item in items for label in item["labels"])

    def loss_of(chosen, number=None):
        batch = collate_answers(chosen, subject.tokenizer.pad_token_id)
        labels = batch.pop("labels")
        return answer_loss(subject.model(**batch), labels, number).item()

    assert loss_of(items[:1], count) + loss_of(items[1:], count) == pytest.approx(loss_of(items), rel=1e-5)


def test_the_reported_loss_is_the_mean_over_the_steps_of_the_epoch(make_study):
    study = make_study("llama", epochs=1, learning_rate=0.0, batch_size=24)  # one step, and no weight moves
    table = tune(study, study.runs[0])
    subject = random_causal()
    items = [training_item(subject, e) for e in read_corpus(study, "planted_sentiment").of_split("train")]
    batch = collate_answers(items, subject.tokenizer.pad_token_id)
    labels = batch.pop("labels")
    expected = answer_loss(subject.model(**batch), labels).item()
    assert table.loc[table["epoch"] == 1, "train_loss"].to_numpy() == pytest.approx(expected, rel=1e-4)
    assert table.loc[table["epoch"] == 0, "train_loss"].isna().all()


def test_working_off_a_batch_in_parts_trains_the_same_model(make_study):
    found = []
    for part in (None, 2):
        study = make_study("llama", epochs=1, micro_batch=part)
        tune(study, study.runs[0])
        found.append(weights_of(study, study.runs[0]))
    assert all(torch.allclose(found[0][name], found[1][name], atol=2e-5) for name in found[0])


# Seeds


def recorded_orders(monkeypatch):
    """Texts of each batch, in training order, filled in while training runs."""
    seen, original = [], training.collate_texts

    def collate(items, pad_id):
        seen.append([tuple(item["input_ids"]) for item in items])
        return original(items, pad_id)

    monkeypatch.setattr(training, "collate_texts", collate)
    return seen


@pytest.mark.parametrize("varied", [*SEED_PARTS, None])
def test_a_tuning_varies_what_it_says_and_nothing_else(make_study, monkeypatch, varied):
    vary = [varied] if varied else []
    study = make_study("bare", seeds=[0, 1], vary=vary, keep_epochs=True)
    seen = recorded_orders(monkeypatch)
    heads, ends, orders = [], [], []
    for run in study.runs:
        seen.clear()
        tune(study, run)
        heads.append(weights_of(study, run, epoch=0))
        ends.append(weights_of(study, run))
        orders.append(list(seen))
    assert same(*heads) == (varied != "initialisation")
    assert (orders[0] == orders[1]) == (varied != "order")
    assert same(*ends) == (varied is None)
    assert sorted(sum(orders[0], [])) == sorted(sum(orders[1], []))  # every seed sees the same examples


def test_dropout_does_not_depend_on_what_was_drawn_before_training(make_study, monkeypatch):
    """The same dropout falls on the same batches when the head is another one: the first hidden layer shows it."""
    study = make_study("bare", seeds=[0, 1], vary=["initialisation"], epochs=1)
    seen, original = [], Trainer.training_step

    def step(self, model, inputs, *rest):
        state = torch.get_rng_state()
        seen[-1].append((state, inputs["input_ids"].clone()))
        return original(self, model, inputs, *rest)

    monkeypatch.setattr(Trainer, "training_step", step)
    for run in study.runs:
        seen.append([])
        tune(study, run)
    assert len(seen[0]) == 3
    for (state, ids), (other_state, other_ids) in zip(*seen, strict=True):
        assert torch.equal(state, other_state) and torch.equal(ids, other_ids)


def test_seeds_of_the_parts_follow_the_run_or_the_study(make_study):
    study = make_study("bare", seeds=[0, 7], vary=["order"])
    first, second = (seeds_of(study, run) for run in study.runs)
    assert first["order"] != second["order"] and len(set(first.values())) == 3
    assert {part: first[part] for part in first if part != "order"} == {
        part: second[part] for part in second if part != "order"
    }


def test_orders_of_neighbouring_seeds_do_not_overlap(make_study, monkeypatch):
    """The Trainer seeds epoch e with seed + e: the second epoch of seed 0 must not be the first of seed 1."""
    study = make_study("bare", seeds=[0, 1])
    seen = recorded_orders(monkeypatch)
    for run in study.runs:
        tune(study, run)
    epochs = [tuple(map(tuple, seen[start : start + 3])) for start in range(0, len(seen), 3)]
    assert len(epochs) == 4 == len(set(epochs))


@pytest.mark.parametrize(
    "subject, method, part, words",
    [
        ("llama", "full", "dropout", "has no dropout"),
        ("llama", "full", "initialisation", "starts with no weight that is drawn"),
        ("headed", "full", "initialisation", "starts with no weight that is drawn"),
    ],
)
def test_seeds_that_would_change_nothing_are_refused(make_study, subject, method, part, words):
    study = make_study(subject, method=method, vary=[part])
    with pytest.raises(StudyError, match=words) as caught:
        tune(study, study.runs[0])
    assert "\n" not in str(caught.value) and not study.model_folder(study.runs[0]).exists()


def test_dropout_is_found_wherever_it_is(make_study):
    assert has_dropout(random_encoder().model) and not has_dropout(random_causal().model)
    layer = torch.nn.Module()
    layer.attention_dropout = 0.1  # how Llama keeps its rate
    assert has_dropout(torch.nn.Sequential(layer))
    study = make_study("llama", seeds=[0, 1], method="lora", lora_dropout=0.3, vary=["dropout"])
    ends = []
    for run in study.runs:
        tune(study, run)
        ends.append(weights_of(study, run))
    assert not same(*ends)
    check_seeds_matter(study.runs[0], {"vary": ["dropout", "order"]}, drawn=False, dropout=False)


# Adapters


@pytest.mark.parametrize("name", ["llama", "bare"])
def test_merged_adapters_are_what_peft_merges_and_what_was_measured(make_study, name):
    study = make_study(name, method="lora", epochs=1, learning_rate=0.05, keep_epochs=True)
    run = study.runs[0]
    table = tune(study, run)
    start, end = (weights_of(study, run, epoch=epoch) for epoch in (0, 1))
    moved = {key for key in end if not torch.equal(start[key], end[key])}
    projections = {key for key in end if key.endswith(("q_proj.weight", "query.weight", "down_proj.weight"))}
    assert projections and projections <= moved  # adapters on all linear layers
    assert not any("embed" in key or "norm" in key.lower() for key in moved)
    assert any(key.startswith("classifier") for key in moved) == (name == "bare")  # a new head is trained in full
    engine = open_engine(study, run)
    scores = engine.full(explained_examples(study, read_corpus(study, run.corpus)))
    last = table[(table["split"] == "explained") & (table["epoch"] == 1)].iloc[0]
    assert -(np.exp(scores) * scores).sum(1).mean() == pytest.approx(last["entropy"], abs=1e-5)


def test_merging_leaves_the_model_alone_and_agrees_with_peft(make_study):
    study = make_study("llama", method="lora")
    subject, drawn = new_subject(study, study.runs[0], read_corpus(study, "planted_sentiment"))
    assert drawn
    with torch.no_grad():
        for key, parameter in subject.model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(generator=torch.Generator().manual_seed(len(key)))
    before = {key: value.clone() for key, value in subject.model.state_dict().items()}
    merged = merged_weights(subject.model)
    assert same(before, subject.model.state_dict())
    expected = subject.model.merge_and_unload().state_dict()
    assert merged.keys() == expected.keys()
    assert all(torch.allclose(merged[key], expected[key], atol=1e-6) for key in expected)


def test_a_base_in_few_bits_is_merged_as_it_was_quantised(make_study, monkeypatch, tmp_path):
    """Stands in for 4 bits: weights come as 16-bit numbers rounded to quarters, all others in 32 bits."""
    import peft.utils.integrations as integrations

    def read(module):
        return (torch.round(4 * module.weight) / 4).bfloat16()

    study = make_study("llama", method="lora")
    subject, _ = new_subject(study, study.runs[0], read_corpus(study, "planted_sentiment"))
    monkeypatch.setattr(integrations, "dequantize_module_weight", read)
    key = "model.layers.0.mlp.up_proj"
    merged = merged_weights(subject.model)
    assert {value.dtype for value in merged.values()} == {torch.bfloat16}
    assert torch.equal(merged[f"{key}.weight"], read(dict(random_causal().model.named_modules())[key]))
    save_merged(subject.model, tmp_path / "merged")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert opened.dtype == torch.bfloat16 and same(opened.state_dict(), merged)


def test_an_encoder_keeps_a_head_that_it_has_and_trains_other_new_modules_in_full():
    subject = random_encoder()
    options = {"lora_rank": 2, "lora_dropout": 0.0}
    model = add_adapters(
        copy.deepcopy(subject.model), "encoder", options, ["classifier.dense", "roberta.embeddings.LayerNorm"]
    )
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("classifier.modules_to_save" in name for name in trained)
    assert any("LayerNorm.modules_to_save" in name for name in trained)
    assert merged_weights(model).keys() == subject.model.state_dict().keys()


def test_qlora_says_what_it_needs(make_study, checkpoints):
    study = make_study("bare", method="qlora")
    with pytest.raises(StudyError, match="QLoRA is offered for causal LMs"):
        tune(study, study.runs[0])
    with pytest.raises(StudyError, match="CUDA device and the package bitsandbytes"):
        load_in_four_bits(Checkpoint(path=str(checkpoints / "llama")), torch.device("cpu"))
    study = make_study("llama", method="qlora")
    with pytest.raises(StudyError, match="CUDA device and the package bitsandbytes"):
        tune(study, study.runs[0])


@pytest.mark.gpu
def test_qlora_saves_the_model_that_was_measured(make_study, monkeypatch):
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    study = make_study("llama", method="qlora", epochs=1, learning_rate=0.02, keep_epochs=True)
    run = study.runs[0]
    study.subjects["llama"]["device"] = "cuda"
    table = tune(study, run)
    examples = explained_examples(study, read_corpus(study, run.corpus))
    for epoch in (0, 1):
        scores = open_engine(study, run, epoch=epoch).full(examples)
        row = table[(table["split"] == "explained") & (table["epoch"] == epoch)].iloc[0]
        assert -(np.exp(scores) * scores).sum(1).mean() == pytest.approx(row["entropy"], abs=0.05)


# Epochs


@pytest.mark.parametrize("name", ["llama", "bare"])
def test_every_epoch_can_be_opened_and_answers_as_it_was_measured(make_study, name):
    study = make_study(name, keep_epochs=True)
    run = study.runs[0]
    table = tune(study, run)
    assert kept_epochs(study, run) == [0, 1, 2] and epoch_of(study, run) == 2
    assert table.loc[table["explained"], "epoch"].unique().tolist() == [2]
    examples = explained_examples(study, read_corpus(study, run.corpus))
    entropies = []
    for epoch in (0, 1, 2):
        scores = open_engine(study, run, epoch=epoch).full(examples)
        entropies.append(float(-(np.exp(scores) * scores).sum(1).mean()))
        assert run_columns(study, run, epoch)["epoch"] == epoch
    measured = table[table["split"] == "explained"].sort_values("epoch")["entropy"]
    assert entropies == pytest.approx(measured.tolist(), abs=1e-5) and len(set(entropies)) == 3
    assert same(weights_of(study, run), weights_of(study, run, epoch=2))
    if name == "llama":
        assert same(weights_of(study, run, epoch=0), random_causal().model.state_dict())
    kept = weights_of(study, run)
    plain = make_study(name)
    tune(plain, plain.runs[0])
    assert same(kept, weights_of(plain, plain.runs[0]))  # keeping epochs does not change the training
    assert sorted(p.name for p in plain.model_folder(plain.runs[0]).iterdir() if p.is_dir()) == []


def test_epochs_that_are_not_there_are_refused(make_study):
    study = make_study("llama", epochs=1)
    run = study.runs[0]
    with pytest.raises(StudyError, match="run notebook 03_fine_tuning"):
        kept_epochs(study, run)
    tune(study, run)
    for call in (lambda: kept_epochs(study, run), lambda: checkpoint_of(study, run, 0)):
        with pytest.raises(StudyError, match="set `keep_epochs: true`"):
            call()
    study = make_study("llama", epochs=1, keep_epochs=True)
    tune(study, run)
    with pytest.raises(StudyError, match="has no epoch 5; its epochs are: 0, 1"):
        checkpoint_of(study, run, 5)


def scripted_measures(monkeypatch, accuracies):
    """Let validation accuracy take these values, epoch by epoch, from epoch 0 on."""
    left = {}

    def measure(engine, examples, split):
        value = left.setdefault(split, list(accuracies)).pop(0)
        return {"split": split, "items": 1, "accuracy": value, "commonest_label": 0.5, "entropy": 0.1}

    monkeypatch.setattr(training, "measure", measure)


def test_early_stopping_keeps_the_best_epoch(make_study, monkeypatch):
    study = make_study("bare", epochs=6, early_stopping=2, keep_epochs=True)
    run = study.runs[0]
    with monkeypatch.context() as patch:
        scripted_measures(patch, [0.9, 0.5, 0.7, 0.7, 0.6, 1.0, 1.0])  # the untuned model is never chosen
        table = tune(study, run)
    assert sorted(table["epoch"].unique()) == [0, 1, 2, 3, 4] == kept_epochs(study, run)
    assert epoch_of(study, run) == 2 and table.loc[table["explained"], "epoch"].unique().tolist() == [2]
    best = weights_of(study, run, epoch=2)
    assert same(best, weights_of(study, run)) and not same(best, weights_of(study, run, epoch=4))
    study = make_study("bare", epochs=6, early_stopping=2)
    with monkeypatch.context() as patch:
        scripted_measures(patch, [0.9, 0.5, 0.7, 0.7, 0.6, 1.0, 1.0])
        tune(study, run)
    assert same(best, weights_of(study, run))


def test_which_epoch_is_chosen_and_when_training_stops():
    rows = [{"epoch": n, "split": "validation", "accuracy": value} for n, value in enumerate([0.9, 0.5, 0.8, 0.8, 0.6])]
    rows += [{"epoch": n, "split": "explained", "accuracy": 1.0} for n in range(5)]
    assert chosen_epoch(rows, None) == 4 and chosen_epoch(rows, 1) == 2
    assert not is_stalled(rows, None) and not is_stalled(rows, 3) and is_stalled(rows, 2)


def test_early_stopping_needs_a_validation_split(make_study, monkeypatch):
    study = make_study("llama", early_stopping=1)
    monkeypatch.setattr(tuning, "VALIDATION_ITEMS", 0)
    with pytest.raises(StudyError, match="no split 'validation'"):
        tune(study, study.runs[0])


def test_a_loss_that_is_not_a_number_stops_training(make_study, monkeypatch):
    study = make_study("llama", epochs=1)
    monkeypatch.setattr(training, "answer_loss", lambda *given, **named: answer_loss(*given, **named) * math.nan)
    with pytest.raises(StudyError, match="training loss is nan; lower `learning_rate`"):
        tune(study, study.runs[0])
    assert not study.model_folder(study.runs[0]).exists()


# Kills


def fail_on(patch, place, name, calls):
    """Let the `calls`-th call of a function die halfway, as a killed process would."""
    original, count = getattr(place, name), []

    def dying(*given, **named):
        count.append(1)
        if len(count) == calls:
            raise KeyboardInterrupt
        return original(*given, **named)

    patch.setattr(place, name, dying)


def half_written(patch):
    """Die while the Trainer's second checkpoint is written: weights are there, the optimiser is not."""
    fail_on(patch, Trainer, "_save_optimizer_and_scheduler", 2)


KILLS = {
    "in the third epoch": lambda patch: fail_on(patch, Trainer, "training_step", 8),
    "while a checkpoint is written": half_written,
    "before a checkpoint is marked": lambda patch: fail_on(patch, training, "write_atomically", 2),
    "while an epoch is kept": lambda patch: fail_on(patch, training, "write_folder", 3),
    "while weights are written": lambda patch: fail_on(patch, type(random_encoder().model), "save_pretrained", 4),
    "before the table is written": lambda patch: fail_on(patch, tuning, "write_table", 1),
}


@pytest.fixture(scope="module")
def whole(checkpoints, tmp_path_factory):
    """Weights of every epoch and the table of a training that was never interrupted; filled by its first user."""
    return {}


@pytest.mark.parametrize("moment", KILLS)
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(make_study, whole, monkeypatch, moment):
    study = make_study("bare", epochs=3, keep_epochs=True)
    run = study.runs[0]
    if not whole:
        whole["table"] = tune(study, run)
        whole["weights"] = [weights_of(study, run, epoch) for epoch in range(4)]
        shutil.rmtree(study.folder)
        study = make_study("bare", epochs=3, keep_epochs=True)
    with monkeypatch.context() as patch:
        KILLS[moment](patch)
        with pytest.raises(KeyboardInterrupt):
            tune(study, run)
    assert not study.model_folder(run).exists() and not study.part("training", run.name).exists()
    table = tune(study, run)
    assert kept_epochs(study, run) == [0, 1, 2, 3]
    for epoch in range(4):
        assert same(weights_of(study, run, epoch), whole["weights"][epoch]), epoch
    pd.testing.assert_frame_equal(table, whole["table"])
    assert not list((study.folder / "training_state").iterdir())
    assert not list(study.model_folder(run).parent.rglob(".*"))


def test_a_training_that_is_called_again_after_a_kill_at_its_very_end_is_whole(make_study, monkeypatch):
    study = make_study("bare", keep_epochs=True)
    run = study.runs[0]
    with monkeypatch.context() as patch:  # the model is in its place, the state of training not yet cleared away
        patch.setattr(tuning, "remove_states", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tune(study, run)
    first = [weights_of(study, run, epoch) for epoch in (0, 1, 2)]
    tune(study, run)
    assert all(same(first[epoch], weights_of(study, run, epoch)) for epoch in (0, 1, 2))
    assert not list((study.folder / "training_state").iterdir())


def test_a_head_for_other_labels_is_drawn_anew(make_study, checkpoints):
    model = copy.deepcopy(random_encoder().model)
    model.classifier.out_proj = torch.nn.Linear(32, 3)
    model.config.id2label = dict(enumerate("abc"))
    model.config.label2id = {"a": 0, "b": 1, "c": 2}
    model.save_pretrained(checkpoints / "three")
    random_encoder().tokenizer.save_pretrained(checkpoints / "three")
    study = make_study("three", vary=["initialisation"], epochs=1)
    subject, drawn = new_subject(study, study.runs[0], read_corpus(study, "planted_sentiment"))
    assert drawn and subject.model.config.id2label == dict(enumerate(subject.labels))
    tune(study, study.runs[0])


def test_half_written_checkpoints_are_skipped_and_removed(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for step, is_whole in ((8, True), (16, True), (24, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        if is_whole:
            (folder / MEASURES).write_text("[]", encoding="utf-8")
    assert last_checkpoint(tmp_path).name == "checkpoint-16"
    assert not (tmp_path / "checkpoint-24").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def write(folder):
        (folder / "first").write_text("1", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "model", write)
    assert not (tmp_path / "model").exists()
    write_folder(tmp_path / "model", lambda folder: (folder / "second").write_text("2", encoding="utf-8"))
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["second"]


def test_a_second_training_replaces_the_first(make_study):
    study = make_study("llama", epochs=1)
    run = study.runs[0]
    tune(study, run)
    first = weights_of(study, run)
    study.tunings["tuned"]["learning_rate"] = 0.01
    tune(study, run)
    assert not same(first, weights_of(study, run))
    facts = json.loads((study.model_folder(run) / "done.json").read_text(encoding="utf-8"))
    assert facts == {"epoch": 1, "epochs": [0, 1], **run.columns}


# Study files


@pytest.mark.parametrize(
    "options, words",
    [
        ({"method": "magic"}, "tuning method"),
        ({"epochs": 0}, "epochs` is 0; give a whole number"),
        ({"epochs": 2.5}, "whole number"),
        ({"batch_size": True}, "whole number"),
        ({"early_stopping": 0}, "early_stopping` is 0"),
        ({"micro_batch": 3, "batch_size": 8}, "`micro_batch` that divides"),
        ({"vary": "order"}, "must be a list"),
        ({"vary": ["order", "order"]}, "each once"),
        ({"vary": ["dropout", "oder"]}, "Did you mean 'order'"),
    ],
)
def test_tunings_that_cannot_work_are_refused_with_the_study_file(make_study, options, words):
    with pytest.raises(StudyError, match=words):
        make_study("llama", **options)

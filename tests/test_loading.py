"""Loading subjects: folders that are missing, broken or of the wrong kind, hub ids without a pin."""

import json
import shutil

import pytest
import torch

from rationales.errors import StudyError
from rationales.subjects.embedded import EMBEDDED, embedded_folder
from rationales.subjects.engine import Engine
from rationales.subjects.loading import Checkpoint, choose_device, choose_dtype, describe, load_subject, order_labels
from tiny_models import random_encoder, sentiment

LABELS = ("negative", "positive")


@pytest.fixture
def copy_of_llama(tmp_path):
    """A copy of the embedded causal LM that a test may damage."""
    return shutil.copytree(embedded_folder("tiny-llama"), tmp_path / "llama")


def load(folder, **options):
    return load_subject(Checkpoint(path=str(folder)), "sentiment", LABELS, **options)


def test_embedded_subjects_are_ordinary_checkpoints_of_at_most_8_megabytes():
    files = [file for name in EMBEDDED for file in embedded_folder(name).iterdir()]
    assert sum(file.stat().st_size for file in files if file.suffix == ".safetensors") <= 8 * 2**20
    assert not [file for file in files if file.suffix in (".bin", ".pt", ".pkl", ".py")]
    subject = load(embedded_folder("tiny-llama"))
    assert subject.kind == "causal" and describe(subject)["dtype"] == "float32"


def test_the_embedded_llama_answers_most_test_texts_but_not_all():
    from rationales.corpora.planted import load_planted_sentiment

    examples = load_planted_sentiment(train=0, validation=0, test=100, seed=4321).of_split("test")
    scores = Engine(load(embedded_folder("tiny-llama"))).full(examples)
    accuracy = (scores.argmax(1) == [LABELS.index(e.label) for e in examples]).mean()
    assert 0.8 <= accuracy <= 0.95


def test_a_subject_loads_as_it_was_saved(tmp_path):
    original = random_encoder()
    original.model.config.id2label = {0: "positive", 1: "negative"}  # the other way round than the corpus
    original.model.save_pretrained(tmp_path)
    original.tokenizer.save_pretrained(tmp_path)
    original.model.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    loaded = load(tmp_path)
    assert loaded.kind == "encoder" and loaded.label_order == [1, 0]
    example = sentiment().examples[0]
    ours, theirs = Engine(loaded).full([example]), Engine(original).full([example])
    assert ours[0, ::-1] == pytest.approx(theirs[0], abs=1e-5)


def test_missing_folder(tmp_path):
    with pytest.raises(StudyError, match="does not exist"):
        load(tmp_path / "nowhere")


def test_truncated_weights(copy_of_llama):
    file = copy_of_llama / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(StudyError, match="intact .safetensors"):
        load(copy_of_llama)


def test_pickled_weights_are_never_loaded(copy_of_llama):
    (copy_of_llama / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, copy_of_llama / "pytorch_model.bin")
    with pytest.raises(StudyError, match="safetensors"):
        load(copy_of_llama)


def test_broken_configuration(copy_of_llama):
    (copy_of_llama / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(StudyError, match="configuration"):
        load(copy_of_llama)


def test_code_from_a_checkpoint_is_never_run(copy_of_llama):
    config = json.loads((copy_of_llama / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (copy_of_llama / "config.json").write_text(json.dumps(config))
    (copy_of_llama / "evil.py").write_text("raise SystemExit('code of a checkpoint was run')")
    with pytest.raises(StudyError):
        load(copy_of_llama)


def test_hub_ids_must_be_pinned_and_an_unreachable_hub_is_one_sentence():
    for revision in (None, "main", "abc"):
        with pytest.raises(StudyError, match="40-digit"):
            Checkpoint(hub_id="some/model", revision=revision)
    with pytest.raises(StudyError, match="either `path`"):
        Checkpoint()
    with pytest.raises(StudyError, match="hub can be reached") as caught:
        load_subject(Checkpoint(hub_id="nobody/nothing", revision="0" * 40), "sentiment", LABELS)
    assert "\n" not in str(caught.value)


def test_labels_are_matched_by_name():
    class Config:
        id2label = {0: "Positive", 1: "Negative"}
        num_labels = 2

    assert order_labels(Config, LABELS, "x") == [1, 0]
    with pytest.raises(StudyError, match="2 outputs for 3 labels"):
        order_labels(Config, ("a", "b", "c"), "x")
    with pytest.raises(StudyError, match="no output named 'good'"):
        order_labels(Config, ("good", "bad"), "x")


def test_devices_and_precisions():
    assert choose_dtype("auto", torch.device("cpu"), 10**9) is torch.float32
    assert choose_dtype("bfloat16", torch.device("cpu"), 1) is torch.bfloat16
    with pytest.raises(StudyError, match="dtype"):
        choose_dtype("float7", torch.device("cpu"), 1)
    if not torch.cuda.is_available():
        with pytest.raises(StudyError, match="not available"):
            choose_device("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_results_of_the_cpu():
    examples = sentiment().examples[:8]
    folder = embedded_folder("tiny-llama")
    cpu, gpu = (Engine(load(folder, device=device)).full(examples) for device in ("cpu", "cuda"))
    assert gpu == pytest.approx(cpu, abs=1e-4)

"""Loading a subject from a folder or a model hub, with sensible and overridable device and precision."""

import re
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from rationales.errors import StudyError, require_known
from rationales.subjects.base import Subject
from rationales.subjects.causal import CausalSubject
from rationales.subjects.checkpoint import Checkpoint
from rationales.subjects.encoder import EncoderSubject

KINDS = ("causal", "encoder")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str = "auto") -> torch.device:
    """The named device; "auto" takes CUDA, then Apple's MPS, then the CPU. StudyError when it is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise StudyError(f"The device '{device}' is not available here; use `device: auto`.") from error
    return torch.device(device)


def choose_dtype(dtype: str, device: torch.device, n_parameters: int) -> torch.dtype:
    """The named precision; "auto" is float32 as long as the weights fill less than half of the GPU, else bfloat16.

    Rank metrics need float32: bfloat16 alone moves leave-one-out ranks.
    """
    if dtype != "auto":
        return DTYPES[require_known(dtype, DTYPES, "dtype")]
    if device.type != "cuda":
        return torch.float32
    total = torch.cuda.get_device_properties(device).total_memory
    return torch.float32 if 4 * n_parameters < total / 2 else torch.bfloat16


def load_quietly(loader, checkpoint: Checkpoint, what: str, **options):
    """Call a transformers loader; whatever goes wrong becomes one sentence."""
    if checkpoint.path and not Path(checkpoint.path).is_dir():
        raise StudyError(f"The checkpoint folder '{checkpoint.label}' does not exist; check `path`, or train it first.")
    if checkpoint.path:
        disable_progress_bar()  # a folder loads in seconds; a bar would only litter the executed notebooks
    try:
        return loader.from_pretrained(
            checkpoint.source, revision=checkpoint.revision, trust_remote_code=False, **options
        )
    except Exception as error:  # transformers, safetensors and the hub client raise many kinds
        text = str(error)
        if "gated" in text.lower() or "401" in text or "403" in text:
            how = "ask for access on its hub page and set HF_TOKEN"
        elif "trust_remote_code" in text:
            how = "it needs code from the hub, which this study never runs; choose another model"
        elif checkpoint.hub_id:
            how = "check the id and revision, and that the hub can be reached (or that it is in the local cache)"
        else:
            how = "the folder must hold config.json, tokenizer.json and intact .safetensors files"
        first = text.strip().splitlines()[0][:160] if text.strip() else type(error).__name__
        raise StudyError(f"Cannot load {what} of '{checkpoint.label}' ({first}): {how}.") from error


def order_labels(config, labels: tuple[str, ...], name: str) -> list[int]:
    """Which output of the classifier belongs to each label; unnamed outputs are taken in the corpus's order."""
    outputs = {str(label).lower(): int(number) for number, label in config.id2label.items()}
    if config.num_labels != len(labels):
        raise StudyError(
            f"The classifier '{name}' has {config.num_labels} outputs for {len(labels)} labels; fine-tune it first."
        )
    if all(re.fullmatch(r"label_\d+", label) for label in outputs):
        return list(range(len(labels)))
    missing = [label for label in labels if label.lower() not in outputs]
    if missing:
        raise StudyError(
            f"The classifier '{name}' has no output named '{missing[0]}'; its outputs are: {', '.join(outputs)}."
        )
    return [outputs[label.lower()] for label in labels]


def count_parameters(checkpoint: Checkpoint, config) -> int:
    """Parameters of the weights in a folder (from the safetensors header), or 0 where that is not known yet."""
    total = 0
    for file in Path(checkpoint.path).glob("*.safetensors") if checkpoint.path else []:
        total += file.stat().st_size // 4
    return total


def load_tokenizer(checkpoint: Checkpoint):
    """The tokenizer; StudyError when it cannot tell where its tokens lie in the text."""
    tokenizer = load_quietly(AutoTokenizer, checkpoint, "the tokenizer")
    if not tokenizer.is_fast:
        raise StudyError(
            f"The tokenizer of '{checkpoint.label}' gives no character offsets; choose a model with tokenizer.json."
        )
    return tokenizer


def load_subject(
    checkpoint: Checkpoint,
    task: str,
    labels: tuple[str, ...],
    *,
    kind: str = "auto",
    prompt_style: str = "chat",
    device: str = "auto",
    dtype: str = "auto",
    name: str | None = None,
) -> Subject:
    """The subject of a checkpoint; `kind` "auto" reads the architecture from its configuration.

    Only safetensors are loaded, and no code from the checkpoint is run.
    """
    config = load_quietly(AutoConfig, checkpoint, "the configuration")
    if kind == "auto":
        architectures = " ".join(config.architectures or [])
        kind = "encoder" if "Classification" in architectures or "MaskedLM" in architectures else "causal"
    require_known(kind, KINDS, "kind of subject")
    place = choose_device(device)
    precision = choose_dtype(dtype, place, count_parameters(checkpoint, config))
    tokenizer = load_tokenizer(checkpoint)
    loader = AutoModelForCausalLM if kind == "causal" else AutoModelForSequenceClassification
    options = {} if kind == "causal" else {"id2label": dict(config.id2label)}
    model = load_quietly(loader, checkpoint, "the weights", dtype=precision, use_safetensors=True, **options).to(place)
    name = name or checkpoint.label
    if kind == "causal":
        return CausalSubject(name, task, labels, model, tokenizer, prompt_style)
    return EncoderSubject(name, task, labels, model, tokenizer, order_labels(model.config, labels, name))


def describe(subject: Subject) -> dict[str, str]:
    """Facts for a provenance table."""
    return {
        "subject": subject.name,
        "kind": subject.kind,
        "architecture": type(subject.model).__name__,
        "parameters": f"{sum(p.numel() for p in subject.model.parameters()):,}",
        "device": str(subject.device),
        "dtype": str(subject.model.dtype).removeprefix("torch."),
    }

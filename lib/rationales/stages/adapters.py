"""LoRA and QLoRA: adapters through peft, a base in 4 bits through bitsandbytes, and plain checkpoints of the result."""

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from rationales.errors import StudyError
from rationales.subjects.checkpoint import Checkpoint
from rationales.subjects.loading import load_quietly

HEADS = ("classifier", "score")  # modules that peft itself trains in full in a sequence classifier


def load_in_four_bits(checkpoint: Checkpoint, device: torch.device) -> PreTrainedModel:
    """A causal LM with its linear layers in 4 bits (NF4, doubly quantised; Dettmers et al. 2023), ready for adapters.

    Raises StudyError without a CUDA device or without bitsandbytes.
    """
    if device.type != "cuda" or find_spec("bitsandbytes") is None:
        raise StudyError(
            "`method: qlora` needs a CUDA device and the package bitsandbytes; install it there, or use `method: lora`."
        )
    from peft import prepare_model_for_kbit_training

    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    model = load_quietly(
        AutoModelForCausalLM, checkpoint, "the weights", dtype=torch.bfloat16, use_safetensors=True,
        quantization_config=quantised, device_map={"": device},
    )  # fmt: skip
    return prepare_model_for_kbit_training(model)


def add_adapters(model: PreTrainedModel, kind: str, options: dict, drawn: list[str]) -> torch.nn.Module:
    """The model with LoRA adapters on all linear layers (Hu et al. 2022), scaled by 2, drawn from torch's generator.

    An encoder's classification head is trained in full, with every other module in `drawn`: those whose weights the
    checkpoint does not have.
    """
    from peft import LoraConfig, get_peft_model

    rank, encoder = options["lora_rank"], kind == "encoder"
    others = [name for name in drawn if name.split(".")[0] not in HEADS] if encoder else []
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=options["lora_dropout"], target_modules="all-linear",
        task_type="SEQ_CLS" if encoder else "CAUSAL_LM", modules_to_save=others or None,
    )  # fmt: skip
    return get_peft_model(model, config)


def merged_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights of the plain model with its LoRA adapters added in, by their plain names; the model is left as it is.

    All are in the precision of the base. A base in 4 bits is brought to 16 bits first, *as it was quantised*, and the
    adapters are added to that: the result is the model that was trained and measured, but for rounding to 16 bits. Adding
    them to the original weights would give another model; adding them in 4 bits, as peft does, would round most of them away.
    """
    from peft.tuners.lora import LoraLayer
    from peft.utils.integrations import dequantize_module_weight

    base = model.get_base_model()
    weights, dtype = {}, base.dtype
    for key, value in base.state_dict().items():
        # Not wanted: adapters, the untrained copy of a head, and what bitsandbytes stores beside a weight.
        if not any(mark in key for mark in (".lora_", ".original_module.", ".base_layer.weight.")):
            weights[key.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")] = value
    for name, layer in base.named_modules():
        if isinstance(layer, LoraLayer):
            weight = dequantize_module_weight(layer.get_base_layer())
            weights[f"{name}.weight"] = weight.float() + layer.get_delta_weight("default").float()
            dtype = weight.dtype  # peft brings what is not quantised to 32 bits, so that the model's own says nothing
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in weights.items()}


@torch.no_grad()
def save_merged(model: torch.nn.Module, folder: Path) -> None:
    """Write a model with LoRA adapters as an ordinary checkpoint without any."""
    base, weights = model.get_base_model(), merged_weights(model)
    config = type(base.config).from_dict(
        {name: value for name, value in base.config.to_dict().items() if name != "quantization_config"}
    )
    dtype = next(value.dtype for value in weights.values() if value.is_floating_point())
    with torch.device("meta"):  # its names and configuration are wanted, not its weights
        plain = type(base)(config).to(dtype)
    if base.can_generate():
        plain.generation_config = base.generation_config
    plain.save_pretrained(folder, state_dict=weights)

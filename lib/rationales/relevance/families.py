"""Which model families the relevance rules know, and the part that each of their modules plays.

Every module of a model must be of a class listed here; any other is refused by name, so that no non-linear
function is ever passed over. Classes are compared exactly: a subclass may compute something else.
"""

import importlib
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from rationales.errors import StudyError
from rationales.relevance.rules import GATES

# Parts. "linear": linear, or made of modules that are listed themselves. The rest is explained in `patching`.
DECODER = {
    "ForCausalLM": "causal_lm",
    "Model": "linear",
    "DecoderLayer": "linear",
    "Attention": "attention",
    "MLP": "gated_mlp",
    "RMSNorm": "rms_norm",
    "RotaryEmbedding": "linear",
}
EXPERTS = {"SparseMoeBlock": "linear", "TopKRouter": "linear", "Experts": "experts"}
GEMMA = {"RMSNorm": "shifted_rms_norm", "TextScaledWordEmbedding": "linear"}
ENCODER = {
    "ForSequenceClassification": "linear",
    "Model": "linear",
    "Embeddings": "linear",
    "Encoder": "linear",
    "Layer": "linear",
    "Attention": "linear",
    "SelfAttention": "attention",
    "SelfOutput": "residual",
    "Intermediate": "linear",
    "Output": "residual",
    "Pooler": "linear",
    "ClassificationHead": "tanh_head",
}
PLAIN: dict[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Embedding: "linear",
    nn.Dropout: "linear",
    nn.ModuleList: "linear",
    nn.LayerNorm: "layer_norm",
    **dict.fromkeys(GATES, "activation"),
}


@dataclass(frozen=True)
class Family:
    """A model family of transformers.

    title: in messages. module: its package in transformers. prefix: of its class names. parts: the part of each class,
    by the rest of its name. unused: submodules that a text never reaches; a pass through one is refused.
    """

    title: str
    module: str
    prefix: str
    parts: dict[str, str]
    unused: tuple[str, ...] = ()

    def classes(self) -> dict[type[nn.Module], str]:
        """The part of each class of the family that the installed transformers has."""
        modeling = importlib.import_module(f"transformers.models.{self.module}.modeling_{self.module}")
        names = {f"{self.prefix}{suffix}": part for suffix, part in self.parts.items()}
        return {getattr(modeling, name): part for name, part in names.items() if hasattr(modeling, name)}


GEMMA3_TEXT = {name: part for name, part in DECODER.items() if name != "Model"} | GEMMA | {"TextModel": "linear"}

FAMILIES: dict[str, Family] = {  # by `model_type` of the configuration
    "llama": Family("Llama", "llama", "Llama", DECODER),
    "mistral": Family("Mistral", "mistral", "Mistral", DECODER),
    "mixtral": Family("Mixtral", "mixtral", "Mixtral", DECODER | EXPERTS),
    "qwen2": Family("Qwen 2", "qwen2", "Qwen2", DECODER),
    "qwen3": Family("Qwen 3", "qwen3", "Qwen3", DECODER),
    "gemma": Family("Gemma", "gemma", "Gemma", DECODER | GEMMA),
    "gemma2": Family("Gemma 2", "gemma2", "Gemma2", DECODER | GEMMA),
    "gemma3_text": Family("Gemma 3", "gemma3", "Gemma3", GEMMA3_TEXT),
    # The checkpoints with a vision tower; texts are explained, images are not.
    "gemma3": Family(
        "Gemma 3",
        "gemma3",
        "Gemma3",
        GEMMA3_TEXT | {"ForConditionalGeneration": "causal_lm", "Model": "linear"},
        ("model.vision_tower", "model.multi_modal_projector"),
    ),
    "bert": Family("BERT", "bert", "Bert", ENCODER),
    "roberta": Family("RoBERTa", "roberta", "Roberta", ENCODER),
    "camembert": Family("CamemBERT", "camembert", "Camembert", ENCODER),
}
ENCODERS = tuple(name for name, family in FAMILIES.items() if family.parts is ENCODER)


class Part(NamedTuple):
    """One module of a model, its name and its part."""

    name: str
    module: nn.Module
    part: str


def find_family(model: nn.Module) -> Family:
    """The family of a model; StudyError when relevance propagation does not know it."""
    model_type = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if model_type not in FAMILIES:
        known = ", ".join(dict.fromkeys(family.title for family in FAMILIES.values()))
        raise StudyError(
            f"Relevance propagation has no rules for '{model_type}' models ({type(model).__name__}); "
            f"explain a model of one of these families: {known}."
        )
    return FAMILIES[model_type]


def list_parts(model: nn.Module) -> list[Part]:
    """Every module of a model with its part; those that a text never reaches come as one part "unused" each.

    Raises StudyError for an unknown family, and for a module of a class that no rule knows.
    """
    family = find_family(model)
    known = PLAIN | family.classes()
    parts = []
    for name, module in model.named_modules():
        if name in family.unused:
            parts.append(Part(name, module, "unused"))
        elif not name.startswith(tuple(f"{unused}." for unused in family.unused)):
            if type(module) not in known:
                raise StudyError(
                    f"No relevance rule is known for the module '{name or 'model'}' of class {type(module).__name__} "
                    f"in this {family.title} model; explain it with a gradient or perturbation explainer."
                )
            parts.append(Part(name, module, known[type(module)]))
    return parts

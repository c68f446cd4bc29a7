"""Relevance rules on a transformers model, for as long as a `with` block lasts.

Nothing of a model is copied or rewritten. Attention and experts go through the interfaces that transformers has
for other implementations; norms, activations and gates through forward hooks. All of it is taken back at the end.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.moe import ExpertsInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from rationales.errors import StudyError, require_known
from rationales.relevance.families import Part, list_parts
from rationales.relevance.rules import (
    GATES,
    RULES,
    activation_rule,
    attend,
    layer_norm_rule,
    rms_norm_rule,
    run_experts,
    share_product,
    soft_cap_rule,
    tanh_gate,
)

PREFIX = "rationales-"  # of our names among the implementations of attention and experts


def register_attention(name: str, function: Callable) -> str:
    """Make an attention function known to transformers, with the mask of its eager attention; returns the full name."""
    AttentionInterface.register(PREFIX + name, function)
    AttentionMaskInterface.register(PREFIX + name, eager_mask)
    return PREFIX + name


for _rule in RULES:
    register_attention(_rule, partial(attend, _rule))
    ExpertsInterface.register(PREFIX + _rule, partial(run_experts, _rule))


def hook_outputs(module: nn.Module, replace: Callable[[tuple, torch.Tensor], torch.Tensor], undo: ExitStack) -> None:
    """Put `replace(inputs, outputs)` in the place of a module's outputs."""
    handle = module.register_forward_hook(lambda _, inputs, outputs: replace(inputs, outputs))
    undo.callback(handle.remove)


def hook_input(module: nn.Module, replace: Callable[[torch.Tensor], torch.Tensor], undo: ExitStack) -> None:
    """Put `replace(input)` in the place of a module's first input."""
    handle = module.register_forward_pre_hook(lambda _, inputs: (replace(inputs[0]), *inputs[1:]))
    undo.callback(handle.remove)


def patch_rms_norm(part: Part, rule: str, undo: ExitStack) -> None:
    """Identity rule; `shifted_rms_norm` multiplies with 1 + weight, as Gemma does."""
    norm = part.module
    epsilon = norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps
    shift = 1.0 if part.part == "shifted_rms_norm" else 0.0
    hook_outputs(norm, lambda inputs, outputs: rms_norm_rule(inputs[0], outputs, shift + norm.weight, epsilon), undo)


def patch_layer_norm(part: Part, rule: str, undo: ExitStack) -> None:
    """Constant standard deviation."""
    hook_outputs(part.module, lambda inputs, _: layer_norm_rule(part.module, inputs[0]), undo)


def patch_activation(part: Part, rule: str, undo: ExitStack) -> None:
    """Identity rule."""
    gate = GATES[type(part.module)]
    hook_outputs(part.module, lambda inputs, outputs: activation_rule(inputs[0], outputs, gate), undo)


def patch_gated_mlp(part: Part, rule: str, undo: ExitStack) -> None:
    """Uniform rule for the product that the down projection reads."""
    hook_input(part.module.down_proj, share_product, undo)


def hook_tanh(head: nn.Module, replace: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], undo: ExitStack) -> None:
    """Put `replace(x, tanh(x))` in the place of the tanh between `dense` and `out_proj`, which is no module.

    Raises StudyError in the forward pass when there is no tanh between them.
    """
    kept = []

    def check_and_replace(outputs: torch.Tensor) -> torch.Tensor:
        inputs = kept.pop()
        if not torch.equal(outputs, torch.tanh(inputs)):
            raise StudyError(
                "The classification head of this release of transformers is not dense, tanh, dense; "
                "use a release that is tested with the study."
            )
        return replace(inputs, outputs)

    hook_outputs(head.dense, lambda _, outputs: kept.append(outputs), undo)
    hook_input(head.out_proj, check_and_replace, undo)


def patch_tanh_head(part: Part, rule: str, undo: ExitStack) -> None:
    """Identity rule for the tanh of a classification head."""
    hook_tanh(part.module, lambda inputs, outputs: activation_rule(inputs, outputs, tanh_gate), undo)


def patch_causal_lm(part: Part, rule: str, undo: ExitStack) -> None:
    """Identity rule for the soft cap on the logits, where the model has one: it moves into the head."""
    config = part.module.config
    cap = getattr(config, "final_logit_softcapping", None)
    if cap is not None:
        config.final_logit_softcapping = None
        undo.callback(setattr, config, "final_logit_softcapping", cap)
        hook_outputs(part.module.lm_head, lambda _, logits: soft_cap_rule(logits, cap), undo)


def patch_experts(part: Part, rule: str, undo: ExitStack) -> None:
    """Our implementation of the experts, by the configuration that they share."""
    config = part.module.config
    before = config._experts_implementation
    if before != PREFIX + rule:
        config._experts_implementation = PREFIX + rule
        undo.callback(setattr, config, "_experts_implementation", before)


def refuse_unused(part: Part, rule: str, undo: ExitStack) -> None:
    """A part that texts never reach, such as a vision tower, must not run."""

    def refuse(module: nn.Module, inputs: tuple) -> None:
        raise StudyError(f"Relevance propagation explains texts alone; leave out the inputs that '{part.name}' reads.")

    undo.callback(part.module.register_forward_pre_hook(refuse).remove)


PATCHES: dict[str, Callable[[Part, str, ExitStack], None] | None] = {
    "linear": None,
    "residual": None,
    "attention": None,  # for the whole model at once, see `use_attention`
    "causal_lm": patch_causal_lm,
    "rms_norm": patch_rms_norm,
    "shifted_rms_norm": patch_rms_norm,
    "layer_norm": patch_layer_norm,
    "activation": patch_activation,
    "gated_mlp": patch_gated_mlp,
    "experts": patch_experts,
    "tanh_head": patch_tanh_head,
    "unused": refuse_unused,
}


def text_model(model: nn.Module) -> nn.Module:
    """The transformer that reads tokens: a causal LM's decoder, or an encoder."""
    return model.get_decoder() if hasattr(model, "lm_head") else model.base_model


def use_attention(model: nn.Module, name: str, undo: ExitStack) -> None:
    """Switch a model to one of our attention functions; StudyError when it already has one, or is in training."""
    body = text_model(model)
    before = body.config._attn_implementation
    if before is not None and before.startswith(PREFIX):
        raise StudyError("This model is already under relevance rules; leave the first `with` block before another.")
    if model.training:
        raise StudyError("Relevance rules need a model without dropout; call `model.eval()` first.")
    body.set_attn_implementation(name)
    undo.callback(body.set_attn_implementation, before)


@contextmanager
def relevance_rules(model: nn.Module, rule: str) -> Iterator[None]:
    """Within the block, gradient x input of a score at the input embeddings is its relevance under `rule`.

    model: a transformers model of one of `families.FAMILIES`, in evaluation mode. rule: "attnlrp" or "cp_lrp", see
    `rules`. Values of the forward pass stay what they are, up to rounding. The score must be linear in the logits:
    a logit, or a difference of logits. Batches with padding and an attention mask are fine, and so are keys and
    values of an unchanged prefix, as constants. The model is as before when the block is left, by an error as well.

    Raises StudyError for an unknown rule or family, a module that no rule knows, a model in training, and a model
    that is under rules already.
    """
    require_known(rule, RULES, "relevance rule")
    parts = list_parts(model)
    with ExitStack() as undo:
        use_attention(model, PREFIX + rule, undo)
        for part in parts:
            patch = PATCHES[part.part]
            if patch is not None:
                patch(part, rule, undo)
        yield

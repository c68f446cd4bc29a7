"""The rules of layer-wise relevance propagation, written as gradients.

Relevance R(x) of a tensor x is x * g(x), where g is the gradient of the explained score *after some local
derivatives were replaced*. With that, one ordinary backward pass propagates relevance (Gradient x Input form;
Shrikumar et al. 2016, Ancona et al. 2018), and each rule is one replaced derivative:

linear map z = Wx + b    R(x_i) = sum_j W_ji x_i R(z_j) / z_j: the epsilon rule with epsilon = 0 (AttnLRP, eq. 8). It is
                         the ordinary gradient. Sums (residuals), means, rotations and reshapes are linear. A bias
                         takes b_j R(z_j) / z_j with it: that share reaches no input.
y = f(x), element-wise   R(x) = R(y): the identity rule (AttnLRP, on element-wise non-linearities). Gradient f(x) / x
                         instead of f'(x). For SiLU, GELU, ReLU and tanh f(x) = x * gate(x), so the quotient is the
                         gate, and is defined at 0. Also used for soft caps c * tanh(x / c).
y = x * w / s(x), norms  R(x) = R(y), with s taken as a constant (Ali et al. 2022, LN rule; AttnLRP, proposition on
                         LayerNorm and RMSNorm). The mean that LayerNorm takes away is linear, so it follows the
                         epsilon rule in both papers.
y = a * b, gates         R(a) = R(b) = R(y) / 2: the uniform rule (AttnLRP, proposition on element-wise products):
                         both gradients halved.
O = A V, S = Q K^T       AttnLRP, proposition on matrix products: epsilon rule over the products, uniform rule within
                         each: both gradients halved. CP-LRP: A is a constant, all relevance goes to V (Ali et al., AH
                         rule).
A = softmax(S)           AttnLRP, proposition on the softmax: R(S_i) = S_i (R(A_i) - A_i sum_j R(A_j)), its Taylor
                         expansion at S. In this form it is the ordinary gradient, S_i A_i (g_i - sum_j A_j g_j). The
                         bias of the expansion takes relevance with it, so AttnLRP does not conserve the score.
                         CP-LRP: nothing passes.

So "cp_lrp" and "attnlrp" differ in attention (and in the weights of experts, see `patching`) alone. CP-LRP with the
identity rule for activations and the uniform rule for gates is what Brandl and Eberle (2024) ran; Ali et al. describe
the attention and norm rules, for models without gates. In a model without biases CP-LRP conserves the score: the
relevance of the input embeddings sums to the explained logit.
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from transformers.activations import GELUActivation, GELUTanh, NewGELUActivation, SiLUActivation

from rationales.errors import StudyError

RULES = ("attnlrp", "cp_lrp")


class _Redirect(torch.autograd.Function):
    """`value` in the forward pass; in the backward pass the gradient reaches `source` times `factor`."""

    @staticmethod
    def forward(ctx, source: torch.Tensor, value: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(factor)
        ctx.dtype = source.dtype
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple:
        (factor,) = ctx.saved_tensors
        return (gradient * factor).to(ctx.dtype), None, None


class _Scale(torch.autograd.Function):
    """The same tensor in the forward pass; its gradient times a number in the backward pass."""

    @staticmethod
    def forward(ctx, source: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return source.view_as(source)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple:
        return gradient * ctx.factor, None


def redirect_gradient(source: torch.Tensor, value: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """`value`, as if it were source * factor with a constant factor; all three of one shape, or broadcastable."""
    return _Redirect.apply(source, value.detach(), factor.detach())


def share_product(product: torch.Tensor) -> torch.Tensor:
    """The uniform rule for a product of two tensors: each gets half of its relevance."""
    return _Scale.apply(product, 0.5)


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def tanh_gate(values: torch.Tensor) -> torch.Tensor:
    """tanh(x) / x, and its limit 1 at 0."""
    zero = values == 0
    return torch.where(zero, 1.0, torch.tanh(values) / torch.where(zero, 1.0, values))


def gelu_tanh_gate(values: torch.Tensor) -> torch.Tensor:
    """GELU(x) / x in the tanh approximation of Hendrycks and Gimpel (2016)."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))


# f(x) / x of every activation that a rule knows. An activation that is not here is refused.
GATES: dict[type[nn.Module], Callable[[torch.Tensor], torch.Tensor]] = {
    nn.SiLU: torch.sigmoid,
    SiLUActivation: torch.sigmoid,
    nn.ReLU: lambda values: (values > 0).to(values.dtype),
    nn.Tanh: tanh_gate,
    GELUActivation: lambda values: 0.5 * (1 + torch.erf(values / math.sqrt(2))),
    GELUTanh: gelu_tanh_gate,
    NewGELUActivation: gelu_tanh_gate,
}


def activation_rule(inputs: torch.Tensor, outputs: torch.Tensor, gate: Callable) -> torch.Tensor:
    """The outputs of an activation under the identity rule; gate: f(x) / x."""
    return redirect_gradient(inputs, outputs, gate(at_least_float32(inputs.detach())))


def soft_cap_rule(inputs: torch.Tensor, cap: float) -> torch.Tensor:
    """cap * tanh(inputs / cap) under the identity rule."""
    scaled = at_least_float32(inputs.detach()) / cap
    return redirect_gradient(inputs, (cap * torch.tanh(scaled)).to(inputs.dtype), tanh_gate(scaled))


def rms_norm_rule(inputs: torch.Tensor, outputs: torch.Tensor, gain: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The outputs of a root-mean-square norm under the identity rule: the root mean square is a constant.

    inputs, outputs: (..., width). gain: (width,), the factor that the norm multiplies with at the end.
    """
    values = at_least_float32(inputs.detach())
    scale = torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + epsilon)
    return redirect_gradient(inputs, outputs, scale * gain.detach())


def layer_norm_rule(module: nn.LayerNorm, inputs: torch.Tensor) -> torch.Tensor:
    """What a LayerNorm gives for inputs (..., width), with its standard deviation taken as a constant."""
    values = at_least_float32(inputs)
    centred = values - values.mean(-1, keepdim=True)
    scale = torch.rsqrt(centred.detach().pow(2).mean(-1, keepdim=True) + module.eps)
    outputs = centred * scale
    if module.weight is not None:
        outputs = outputs * module.weight
    if module.bias is not None:
        outputs = outputs + module.bias
    return outputs.to(inputs.dtype)


def attention_scores(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, scaling: float, soft_cap
) -> torch.Tensor:
    """Softmax inputs (batch, heads, queries, keys) under AttnLRP's rules, in float32 or better.

    mask: to be added, (batch, 1, queries, keys), or None where every position sees every other.
    """
    if mask is None and getattr(module, "is_causal", False) and query.shape[2] > 1:
        raise StudyError(
            "The relevance rules got no causal mask from this release of transformers; use one that is tested with the study."
        )
    scores = at_least_float32(share_product(query @ key.transpose(-1, -2) * scaling))
    if soft_cap is not None:
        scores = soft_cap_rule(scores, soft_cap)
    # The mask is added after the change of precision: in float16 a masked row would turn to minus infinity, then NaN.
    return scores if mask is None else scores + mask.to(scores.dtype)


def repeat_heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """Keys or values (batch, groups, tokens, width) for each of the `heads` that share them."""
    return states.repeat_interleave(heads // states.shape[1], dim=1)


def attend(
    rule: str, module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, scaling: float | None = None, softcap: float | None = None, **_,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Attention under a rule, in the form that transformers calls.

    query: (batch, heads, tokens, width); key, value: the same, or with fewer heads. Returns the outputs
    (batch, tokens, heads, width) and the weights (batch, heads, tokens, tokens). Windows are in the mask;
    dropout is left out, since rules refuse a model in training.
    """
    heads = query.shape[1]
    key, value = repeat_heads(key, heads), repeat_heads(value, heads)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    with torch.set_grad_enabled(torch.is_grad_enabled() and rule == "attnlrp"):
        scores = attention_scores(module, query, key, attention_mask, scaling, softcap)
        weights = torch.softmax(scores, -1).to(query.dtype)
    outputs = weights @ value
    if rule == "attnlrp":
        outputs = share_product(outputs)
    return outputs.transpose(1, 2).contiguous(), weights


def run_experts(
    rule: str, experts: nn.Module, states: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Mixture of gated experts under a rule, in the form that transformers calls.

    states: (tokens, width). chosen, weights: (tokens, experts per token). The product inside an expert follows
    the uniform rule. The routing weights are softmax outputs, so they are treated as attention weights are:
    constants in CP-LRP; in AttnLRP they share the relevance of the product with the expert's output.
    """
    weights = weights.detach() if rule == "cp_lrp" else weights
    total = torch.zeros_like(states)
    for expert in chosen.unique().tolist():
        tokens, places = torch.where(chosen == expert)
        gate, up = nn.functional.linear(states[tokens], experts.gate_up_proj[expert]).chunk(2, dim=-1)
        outputs = nn.functional.linear(share_product(experts.act_fn(gate) * up), experts.down_proj[expert])
        weighted = outputs * weights[tokens, places, None]
        if rule == "attnlrp":
            weighted = share_product(weighted)
        total = total.index_add(0, tokens, weighted.to(total.dtype))
    return total

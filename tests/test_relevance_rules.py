"""Each rule of relevance propagation against the paper's formula, and what the patching leaves behind: nothing."""

import copy
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from torch import nn
from transformers.activations import ACT2FN

from rationales.errors import StudyError
from rationales.relevance.families import FAMILIES, find_family, list_parts
from rationales.relevance.patching import PATCHES, hook_tanh, relevance_rules
from rationales.relevance.rules import (
    GATES,
    RULES,
    activation_rule,
    attend,
    layer_norm_rule,
    rms_norm_rule,
    share_product,
    soft_cap_rule,
    tanh_gate,
)
from rationales.subjects.differentiation import in_single_precision
from tiny_families import CAUSAL, ENCODER, tiny_model

IDS = torch.tensor([[5, 9, 33, 7, 20]])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal float64 numbers that ask for gradients."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def hand_down(outputs: torch.Tensor, relevance: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Relevance of the inputs, gradient x input, when the outputs have the relevance given."""
    gradients = torch.autograd.grad(outputs, inputs, relevance / outputs.detach(), allow_unused=True)
    return [i.detach() * g if g is not None else torch.zeros_like(i) for i, g in zip(inputs, gradients, strict=True)]


@pytest.mark.parametrize("kind", list(GATES), ids=lambda kind: kind.__name__)
def test_identity_rule_passes_relevance_through_every_known_activation(kind):
    module, inputs, relevance = kind(), drawn(50), drawn(50, seed=1).detach()
    if kind is nn.ReLU:
        inputs = inputs.detach().abs().requires_grad_()
    outputs = activation_rule(inputs, module(inputs), GATES[kind])
    assert torch.equal(outputs, module(inputs))
    torch.testing.assert_close(hand_down(outputs, relevance, inputs)[0], relevance)


@pytest.mark.parametrize("kind", [kind for kind in GATES if kind is not nn.ReLU], ids=lambda kind: kind.__name__)
def test_at_zero_the_identity_rule_has_the_slope_of_the_activation(kind):
    ours, plain = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    activation_rule(ours, kind()(ours), GATES[kind]).backward()
    kind()(plain).backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_soft_cap_passes_relevance_through():
    inputs, relevance = drawn(20), drawn(20, seed=1).detach()
    outputs = soft_cap_rule(inputs, 0.7)
    torch.testing.assert_close(outputs, 0.7 * torch.tanh(inputs / 0.7))
    torch.testing.assert_close(hand_down(outputs, relevance, inputs)[0], relevance)


def test_root_mean_square_norm_passes_relevance_through():
    inputs, gain, relevance = drawn(3, 8), drawn(8, seed=2).detach(), drawn(3, 8, seed=1).detach()
    outputs = rms_norm_rule(inputs, nn.functional.rms_norm(inputs, (8,), gain, eps=1e-5), gain, 1e-5)
    torch.testing.assert_close(hand_down(outputs, relevance, inputs)[0], relevance)


def test_layer_norm_by_its_centring_matrix():
    module, inputs, relevance = nn.LayerNorm(4).double(), drawn(1, 4), drawn(1, 4, seed=1).detach()
    with torch.no_grad():
        module.weight.copy_(drawn(4, seed=2))
        module.bias.copy_(drawn(4, seed=3))
    outputs = layer_norm_rule(module, inputs)
    torch.testing.assert_close(outputs, module(inputs))
    x, y, r = (t.detach().numpy()[0] for t in (inputs, outputs, relevance))
    centred = x - x.mean()
    kept = (y - module.bias.detach().numpy()) / y * r  # less what the shift keeps
    expected = [sum(((i == j) - 1 / 4) * x[i] / centred[j] * kept[j] for j in range(4)) for i in range(4)]
    np.testing.assert_allclose(hand_down(outputs, relevance, inputs)[0][0], expected)


def test_uniform_rule_halves():
    left, right, relevance = drawn(6), drawn(6, seed=1), drawn(6, seed=2).detach()
    for part in hand_down(share_product(left * right), relevance, left, right):
        torch.testing.assert_close(part, relevance / 2)


def test_attnlrp_attention_by_the_propositions():
    query, key, value = drawn(1, 1, 3, 2), drawn(1, 1, 3, 2, seed=1), drawn(1, 1, 3, 2, seed=2)
    relevance = drawn(1, 3, 1, 2, seed=3).detach()
    outputs, weights = attend("attnlrp", nn.Identity(), query, key, value, None, scaling=1.0)
    found = hand_down(outputs, relevance, query, key, value)
    q, k, v, a = (t.detach().numpy()[0, 0] for t in (query, key, value, weights))
    o, r, s = outputs.detach().numpy()[0, :, 0], relevance.numpy()[0, :, 0], q @ k.T
    at_weights = np.array([[sum(a[j, i] * v[i, p] * r[j, p] / (2 * o[j, p]) for p in range(2)) for i in range(3)]
                           for j in range(3)])  # fmt: skip
    at_scores = s * (at_weights - a * at_weights.sum(1, keepdims=True))
    expected = [np.zeros((3, 2)) for _ in range(3)]
    for j, i, p in np.ndindex(3, 3, 2):
        expected[0][j, p] += q[j, p] * k[i, p] / (2 * s[j, i]) * at_scores[j, i]
        expected[1][i, p] += q[j, p] * k[i, p] / (2 * s[j, i]) * at_scores[j, i]
        expected[2][i, p] += a[j, i] * v[i, p] * r[j, p] / (2 * o[j, p])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[0, 0], theirs, rtol=1e-9)


def test_cp_lrp_attention_hands_everything_to_the_values():
    query, key, value = drawn(2, 4, 3, 2), drawn(2, 2, 3, 2, seed=1), drawn(2, 2, 3, 2, seed=2)
    relevance = drawn(2, 3, 4, 2, seed=3).detach()
    outputs, _ = attend("cp_lrp", nn.Identity(), query, key, value, None, scaling=1.0)
    at_query, at_key, at_value = hand_down(outputs, relevance, query, key, value)
    assert not at_query.any() and not at_key.any()
    torch.testing.assert_close(at_value.sum(), relevance.sum())


def test_a_causal_model_is_never_run_without_its_mask():
    module = nn.Identity()
    module.is_causal = True
    with pytest.raises(StudyError, match="no causal mask"):
        attend("cp_lrp", module, *[drawn(1, 1, 3, 2)] * 3, None)


# Patching


def gradient_of(model: nn.Module) -> torch.Tensor:
    """Plain gradient of one logit at the input embeddings."""
    embeddings = model.get_input_embeddings()(IDS).detach().requires_grad_()
    logits = model(inputs_embeds=embeddings).logits
    return torch.autograd.grad(logits.reshape(-1)[0], embeddings)[0]


def traces(model: nn.Module) -> tuple:
    """Everything that the patching may touch."""
    return (
        [(len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m)) for m in model.modules()],
        model.config._attn_implementation,
        model.config._experts_implementation,
        getattr(model.config, "final_logit_softcapping", None),
        [(p.dtype, p.requires_grad) for p in model.parameters()],
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", [*CAUSAL, *ENCODER])
def test_the_model_is_as_before_after_use_and_after_an_error(family, rule):
    model = tiny_model(family)
    before, left = gradient_of(model), traces(model)
    with relevance_rules(model, rule):
        assert not torch.allclose(gradient_of(model), before)
    assert torch.equal(gradient_of(model), before) and traces(model) == left
    with pytest.raises(KeyError, match="on purpose"):
        with relevance_rules(model, rule):
            raise KeyError("on purpose")
    assert torch.equal(gradient_of(model), before) and traces(model) == left


def test_an_error_while_patching_leaves_nothing_behind(monkeypatch):
    model = tiny_model("gemma2")
    before, left = gradient_of(model), traces(model)

    def fail(part, rule, undo):
        raise RuntimeError("half way")

    monkeypatch.setitem(PATCHES, "gated_mlp", fail)
    with pytest.raises(RuntimeError, match="half way"), relevance_rules(model, "attnlrp"):
        pass
    assert torch.equal(gradient_of(model), before) and traces(model) == left


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", [*CAUSAL, *ENCODER])
def test_the_forward_pass_is_not_changed(family, rule):
    model = tiny_model(family)
    plain = model(input_ids=IDS).logits
    with relevance_rules(model, rule):
        torch.testing.assert_close(model(input_ids=IDS).logits, plain, rtol=1e-5, atol=1e-5)


def test_rules_are_not_nested():
    model = tiny_model("llama")
    left = traces(model)
    with pytest.raises(StudyError, match="already under relevance rules"):
        with relevance_rules(model, "attnlrp"):
            with relevance_rules(model, "cp_lrp"):
                pass
    assert traces(model) == left
    with relevance_rules(model, "attnlrp"), relevance_rules(tiny_model("bert"), "cp_lrp"):
        pass  # two models at a time are fine


def test_unknown_rules_and_models_in_training_are_refused():
    model = tiny_model("llama")
    with pytest.raises(StudyError, match="Unknown relevance rule 'attn_lrp'.*Did you mean 'attnlrp'"):
        with relevance_rules(model, "attn_lrp"):
            pass
    with pytest.raises(StudyError, match=r"model\.eval"), relevance_rules(model.train(), "cp_lrp"):
        pass


def test_unknown_families_are_refused_with_the_list_of_known_ones():
    model = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2)).eval()
    with pytest.raises(StudyError) as caught, relevance_rules(model, "attnlrp"):
        pass
    message = str(caught.value)
    assert "'gpt2'" in message and message.count(".") == 1
    for title in ("Llama", "Mistral", "Mixtral", "Qwen 2", "Qwen 3", "Gemma 3", "BERT", "RoBERTa", "CamemBERT"):
        assert title in message
    with pytest.raises(StudyError, match="'Linear' models"):
        find_family(nn.Linear(2, 2))


class LlamaRMSNorm(nn.Module):
    """A norm of a known name that computes something else."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.sin(states)


@pytest.mark.parametrize(
    ("place", "module"),
    [
        ("model.norm", LlamaRMSNorm()),
        ("model.layers.1.mlp.act_fn", ACT2FN["relu2"]),
        ("model.layers.0.self_attn.q_proj", nn.Sequential(nn.Linear(16, 16), nn.Tanh())),
    ],
)
def test_a_module_that_no_rule_knows_is_refused_by_name(place, module):
    model = tiny_model("llama")
    model.set_submodule(place, module)
    left = traces(model)
    with pytest.raises(StudyError, match=f"'{place}' of class {type(module).__name__}.*Llama"):
        with relevance_rules(model, "cp_lrp"):
            pass
    assert traces(model) == left


def test_heads_of_other_tasks_are_refused():
    model = hf.LlamaForSequenceClassification(tiny_model("llama").config)
    with pytest.raises(StudyError, match="'model' of class LlamaForSequenceClassification"):
        list_parts(model)


@pytest.mark.parametrize("family", [*CAUSAL, *ENCODER])
def test_every_module_is_accounted_for_and_every_part_has_a_patch(family):
    model = tiny_model(family)
    parts = list_parts(model)
    assert [part.module for part in parts] == list(model.modules())
    assert {part.part for part in parts} <= set(PATCHES)
    # Whatever holds a function of its own, not made of other modules, is more than "linear".
    kinds = {type(part.module).__name__: part.part for part in parts}
    for name, part in kinds.items():
        if name.endswith(("Norm", "MLP", "Experts", "SelfAttention", "Head", "ForCausalLM")) or "Activation" in name:
            assert part != "linear", name


def test_all_families_are_tested():
    assert {*CAUSAL, *ENCODER, "gemma3"} == set(FAMILIES)


def test_a_classification_head_without_its_tanh_is_refused():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense, self.out_proj = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, states):
            return self.out_proj(torch.relu(self.dense(states)))

    head = Head()
    with ExitStack() as undo:
        hook_tanh(head, partial(activation_rule, gate=tanh_gate), undo)
        with pytest.raises(StudyError, match="not dense, tanh, dense"):
            head(torch.randn(1, 3, generator=torch.Generator().manual_seed(0)))


def test_gemma_with_a_vision_tower_explains_text_and_refuses_images():
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 8, "patch_size": 4}  # fmt: skip
    text = tiny_model("gemma3_text")
    config = hf.Gemma3Config(text_config=text.config, vision_config=vision, mm_tokens_per_image=4)
    torch.manual_seed(0)
    model = hf.Gemma3ForConditionalGeneration(config).double().eval()
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.lm_head.load_state_dict(text.lm_head.state_dict())
    text.config.final_logit_softcapping = None  # which this class leaves out
    found = []
    for one in (model, text):
        embeddings = text.get_input_embeddings()(IDS).detach().requires_grad_()
        with relevance_rules(one, "attnlrp"):
            score = one(inputs_embeds=embeddings).logits[0, -1, 3]
            found.append(torch.autograd.grad(score, embeddings)[0])
    torch.testing.assert_close(*found)
    with pytest.raises(StudyError, match="vision_tower"), relevance_rules(model, "attnlrp"):
        model.model.get_image_features(torch.zeros(1, 3, 8, 8, dtype=torch.float64))
    model.model.get_image_features(torch.zeros(1, 3, 8, 8, dtype=torch.float64))


# Precision


def test_half_precision_weights_come_back_unchanged():
    model = tiny_model("llama", dtype=torch.float16)
    kept = copy.deepcopy(model.state_dict())
    buffers = {name: (b.dtype, b.clone()) for name, b in model.named_buffers()}
    with in_single_precision(SimpleNamespace(model=model, forget_prompts=lambda: None)):
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert model.dtype == torch.float32
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    assert all(torch.equal(kept[name], tensor) for name, tensor in model.state_dict().items())
    assert all(b.dtype == buffers[n][0] and torch.equal(b, buffers[n][1]) for n, b in model.named_buffers())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["gemma2", "mixtral", "bert"])
def test_other_precisions_give_nearly_the_same_relevance(family, dtype):
    found = []
    for precision in (torch.float64, dtype):
        model = tiny_model(family, dtype=precision)
        embeddings = model.get_input_embeddings()(IDS).detach().requires_grad_()
        with relevance_rules(model, "attnlrp"):
            score = model(inputs_embeds=embeddings).logits.reshape(-1)[-1]
            (gradient,) = torch.autograd.grad(score, embeddings)
        found.append((gradient * embeddings).detach().double().sum(-1)[0])
    exact, rough = found
    tolerance = 1e-4 if dtype == torch.float32 else 0.25  # bfloat16 has 8 bits
    assert (exact - rough).abs().max() <= tolerance * exact.abs().max()

"""Chefer et al.'s attention maps against relevance handed down in numpy and gradients by finite differences."""

import numpy as np
import pytest
import torch
from torch import nn

from rationales.errors import StudyError
from rationales.explainers.registry import Workbench, explain
from rationales.relevance.chefer import MAPS, chefer_rules, roll_out, weigh_maps
from rationales.relevance.patching import relevance_rules
from rationales.subjects.engine import Engine
from slow_relevance import Encoder, divide
from tiny_families import CAUSAL, ENCODER, tiny_model
from tiny_models import random_causal, random_encoder, sentiment

IDS = np.array([[5, 9, 33, 7, 20]])


def positive_back(x: np.ndarray, weight: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """R(x_i) = sum over j of the positive x_i w_ji, as shares of all positive ones of j."""
    contributions = np.maximum(weight[None] * x[:, None, :], 0)  # (tokens, out, in)
    return (contributions * divide(relevance, contributions.sum(2))[:, :, None]).sum(1)


def residual_back(a: np.ndarray, b: np.ndarray, relevance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares of the sum, rescaled so that both totals have the sign of the whole and fit together."""
    of_a, of_b = divide(a * relevance, a + b), divide(b * relevance, a + b)
    sizes = abs(of_a.sum()) + abs(of_b.sum())
    return tuple(part * abs(part.sum()) / sizes * relevance.sum() / part.sum() for part in (of_a, of_b))


class ChefersEncoder(Encoder):
    """The slow encoder, with relevance by the rules of the CVPR paper and its code."""

    nudged: tuple[int, int, int, int, float] | None = None

    def attend(self, layer, head, *parts):
        result = super().attend(layer, head, *parts)
        if self.nudged is not None and self.nudged[:2] == (layer, head):
            result.weights[self.nudged[2], self.nudged[3]] += self.nudged[4]
            result.output = result.weights @ result.value
        return result

    def gradients(self, embeddings: np.ndarray, label: int) -> np.ndarray:
        """Of the logit at every attention weight, (layers, heads, tokens, tokens), by central differences."""
        shape = (self.config.num_hidden_layers, self.config.num_attention_heads, len(embeddings), len(embeddings))
        result = np.zeros(shape)
        for place in np.ndindex(shape):
            ends = []
            for step in (1e-5, -1e-5):
                self.nudged = (*place, step)
                ends.append(self.run(embeddings)[0][label])
            result[place] = (ends[0] - ends[1]) / 2e-5
        self.nudged = None
        return result

    def positive(self, x, name, relevance):
        return positive_back(x, self.w[f"{name}.weight"], relevance)

    def map_relevance(self, embeddings: np.ndarray, label: int) -> np.ndarray:
        """Relevance of every attention weight, (layers, heads, tokens, tokens)."""
        logits, layers = self.run(embeddings)
        start = np.eye(len(logits))[label][None]
        relevance = np.zeros_like(embeddings)
        relevance[0] = self.positive(self.first_token, self.pool, self.positive(self.active, self.head, start))[0]
        found = []
        for s in reversed(layers):
            middle, second = residual_back(s.middle, s.second, relevance)
            inner = self.positive(s.active, f"{s.name}.output.dense", second)
            middle = middle + self.positive(s.middle, f"{s.name}.intermediate.dense", inner)
            relevance, first = residual_back(s.start, s.first, middle)
            joined = self.positive(s.joined, f"{s.name}.attention.output.dense", first)
            parts, maps = [], []
            for head, given in zip(s.heads, np.split(joined, len(s.heads), axis=1), strict=True):
                at = {name: np.zeros_like(getattr(head, name)) for name in ("weights", "query", "key", "value")}
                for j, i, p in np.ndindex(*head.weights.shape, head.value.shape[1]):
                    share = head.weights[j, i] * head.value[i, p] / head.output[j, p] * given[j, p] / 2
                    at["weights"][j, i] += share
                    at["value"][i, p] += share
                product = head.query @ head.key.T
                for j, i, p in np.ndindex(*head.weights.shape, head.value.shape[1]):
                    share = head.query[j, p] * head.key[i, p] / product[j, i] * at["weights"][j, i] / 2
                    at["query"][j, p] += share
                    at["key"][i, p] += share
                maps.append(at["weights"])
                parts.append(at)
            for part in ("query", "key", "value"):
                of_part = np.concatenate([at[part] for at in parts], 1)
                relevance = relevance + self.positive(s.start, f"{s.name}.attention.self.{part}", of_part)
            found.insert(0, maps)
        return np.array(found)


def run_of(model, ids, label: int, mask=None):
    """The forward pass that `weigh_maps` asks for."""
    mask = None if mask is None else torch.as_tensor(mask)

    def run():
        embeddings = model.get_input_embeddings()(torch.as_tensor(ids)).detach().requires_grad_()
        output = model(inputs_embeds=embeddings, attention_mask=mask, output_attentions=True)
        logits = output.logits if output.logits.dim() == 2 else output.logits[:, -1]
        return logits[:, label], output.attentions

    return run


@pytest.mark.parametrize("maps", MAPS)
@pytest.mark.parametrize("family", ENCODER)
def test_weighted_maps_are_those_of_the_slow_implementation(family, maps):
    model = tiny_model(family)
    slow = ChefersEncoder(model)
    embeddings = model.get_input_embeddings()(torch.as_tensor(IDS))[0].detach().numpy()
    gradients = slow.gradients(embeddings, 2)
    raw = np.array([[head.weights for head in s.heads] for s in slow.run(embeddings)[1]])
    weights = slow.map_relevance(embeddings, 2) if maps == "relevance" else raw
    expected = np.maximum(gradients * weights, 0).mean(1)
    for found, layer in zip(weigh_maps(model, run_of(model, IDS, 2), maps), expected, strict=True):
        np.testing.assert_allclose(found[0].numpy(), layer, atol=1e-5 * layer.max())


@pytest.mark.parametrize("family", ENCODER)
def test_relevance_of_one_is_conserved_down_to_the_first_layer(family):
    model = tiny_model(family)
    embeddings = model.get_input_embeddings()(torch.as_tensor(IDS)).detach().requires_grad_()
    with chefer_rules(model):
        logits = model(inputs_embeds=embeddings).logits
        (relevance,) = torch.autograd.grad(logits[0, 1], embeddings)
    assert float(relevance.sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("maps", MAPS)
@pytest.mark.parametrize("family", ENCODER)
def test_padding_changes_nothing(family, maps):
    model = tiny_model(family)
    ids, mask = np.array([[5, 9, 33, 7, 20], [6, 8, 30, 1, 1]]), np.array([[1] * 5, [1, 1, 1, 0, 0]])
    together = weigh_maps(model, run_of(model, ids, 0, mask), maps)
    for row, length in enumerate([5, 3]):
        alone = weigh_maps(model, run_of(model, ids[row : row + 1, :length], 0), maps)
        for both, single in zip(together, alone, strict=True):
            torch.testing.assert_close(both[row, :length, :length], single[0])


def test_generic_maps_of_a_causal_model():
    model = tiny_model("llama")
    model.set_attn_implementation("eager")
    score, attentions = run_of(model, IDS, 3)()
    gradients = torch.autograd.grad(score, attentions)
    expected = [(a * g).clamp(min=0).mean(1) for a, g in zip(attentions, gradients, strict=True)]
    model.set_attn_implementation("sdpa")
    found = weigh_maps(model, run_of(model, IDS, 3), "attention")
    assert model.config._attn_implementation == "sdpa"
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.detach())
        assert not ours[0].triu(1).any()


def test_roll_out_by_hand():
    lower, upper = np.array([[0.0, 1.0], [0.0, 3.0]]), np.array([[1.0, 2.0], [0.0, 0.0]])
    # (I + upper) (I + lower) = [[2, 2], [0, 1]] [[1, 1], [0, 4]]; its first row is [2, 10], its own entry gives way.
    assert roll_out([lower, upper], 0, 0, normalise_rows=False).tolist() == [2, 10]
    assert roll_out([lower, upper], 1, 0, normalise_rows=False).tolist() == [0, 0]
    # Rows over their sums: [[1/2, 1/2], [0, 1]] [[1/2, 1/2], [0, 1]].
    assert roll_out([lower, upper], 0, 0, normalise_rows=True).tolist() == [0.25, 0.75]
    assert roll_out([lower, upper], 0, 1, normalise_rows=False).tolist() == [2, 2]
    for layer in (-1, 2):
        with pytest.raises(StudyError, match="between 0 and 1"):
            roll_out([lower, upper], 0, layer, normalise_rows=True)


# Patching


def gradient_of(model: nn.Module) -> torch.Tensor:
    """Plain gradient of one logit at the input embeddings."""
    embeddings = model.get_input_embeddings()(torch.as_tensor(IDS)).detach().requires_grad_()
    return torch.autograd.grad(model(inputs_embeds=embeddings).logits.reshape(-1)[0], embeddings)[0]


@pytest.mark.parametrize("family", ENCODER)
def test_the_model_is_as_before_after_use_and_after_an_error(family):
    model = tiny_model(family)
    before, logits = gradient_of(model), model(input_ids=torch.as_tensor(IDS)).logits
    with chefer_rules(model):
        assert not torch.allclose(gradient_of(model), before)
        torch.testing.assert_close(model(input_ids=torch.as_tensor(IDS)).logits, logits)
    assert torch.equal(gradient_of(model), before)
    with pytest.raises(KeyError), chefer_rules(model):
        raise KeyError("on purpose")
    assert torch.equal(gradient_of(model), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("family", CAUSAL)
def test_the_relevance_of_maps_is_refused_for_causal_models(family):
    model = tiny_model(family)
    with pytest.raises(StudyError, match="defined for encoders.*maps: attention"), chefer_rules(model):
        pass


def test_rules_are_not_nested():
    model = tiny_model("bert")
    with pytest.raises(StudyError, match="already under"), relevance_rules(model, "cp_lrp"), chefer_rules(model):
        pass
    with pytest.raises(StudyError, match="already under"), chefer_rules(model):
        weigh_maps(model, run_of(model, IDS, 0), "attention")


def test_a_residual_sum_of_another_form_is_refused():
    model = tiny_model("bert")
    module = model.bert.encoder.layer[0].output
    module.forward = lambda states, skipped: module.LayerNorm(module.dense(states) - skipped)
    with pytest.raises(StudyError, match="residual sum"), chefer_rules(model):
        model(input_ids=torch.as_tensor(IDS))


# Explainer


def bench_of(build, n_examples=3) -> Workbench:
    engine, examples = Engine(build()), sentiment().of_split("test")[:n_examples]
    return Workbench(engine, examples, engine.full(examples).argmax(1).tolist())


def upper_gradient(model: nn.Module, ids: np.ndarray, label: int) -> np.ndarray:
    """Gradient of a logit at the attention of the upper of two layers, (heads, tokens, tokens), by plain autograd."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    score, attentions = run_of(model, ids[None], label)()
    model.set_attn_implementation(before)
    return torch.autograd.grad(score, attentions)[1][0].numpy()


def test_the_explainer_rolls_out_the_maps_of_the_predicted_label():
    bench = bench_of(random_encoder, 2)
    model = bench.engine.subject.model
    for explanation, example, target in zip(explain("chefer", bench), bench.examples, bench.targets, strict=True):
        encoded = bench.engine.encode(example)
        embeddings = bench.engine.subject.embed(encoded.token_ids).double().numpy()
        relevance = ChefersEncoder(model).map_relevance(embeddings, target)
        # With start_layer 1, by default, the upper of two layers alone decides.
        assert explanation.details["maps"] == "relevance" and explanation.details["start_layer"] == 1
        upper = np.maximum(upper_gradient(model, encoded.token_ids, target) * relevance[1], 0).mean(0)
        row = upper[0] / (1 + upper[0].sum())
        expected = [row[encoded.token_words == n].sum() for n in range(encoded.n_words)]
        np.testing.assert_allclose(explanation.scores, expected, rtol=1e-3, atol=1e-6)


def test_a_causal_model_gets_the_generic_method_and_says_so():
    explanations = explain("chefer", bench_of(random_causal))
    assert {(e.details["maps"], e.details["start_layer"]) for e in explanations} == {("attention", 0)}
    assert all((e.scores >= 0).all() and e.scores.any() for e in explanations)
    with pytest.raises(StudyError, match="defined for encoders"):
        explain("chefer", bench_of(random_causal), maps="relevance")


def test_options_are_checked():
    with pytest.raises(StudyError, match="kind of attention maps"):
        explain("chefer", bench_of(random_encoder), maps="rollout")
    with pytest.raises(StudyError, match="`start_layer` must lie between 0 and 1"):
        explain("chefer", bench_of(random_encoder), start_layer=2)
    layers = [explain("chefer", bench_of(random_encoder), start_layer=layer)[0].scores for layer in (0, 1)]
    assert not np.allclose(*layers)

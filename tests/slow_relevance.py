"""Relevance propagation written down layer by layer in numpy, as the papers state it: the truth of other tests.

Here relevance itself is handed down, by quotients of contributions; the library hands down gradients. Only
configurations and weights come from transformers. One sequence at a time, in float64.
"""

from types import SimpleNamespace

import numpy as np
import torch
from scipy.special import erf

ACTIVATIONS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "gelu_pytorch_tanh": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
}


def weights_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """All weights, in float64."""
    return {name: tensor.detach().double().numpy() for name, tensor in model.state_dict().items()}


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is 0 (nothing was contributed there)."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def linear_back(x: np.ndarray, weight: np.ndarray, z: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """R(x_i) = sum_j W_ji x_i R(z_j) / z_j, for x (tokens, in) and z = W x + b (tokens, out)."""
    contributions = weight[None] * x[:, None, :]  # (tokens, out, in)
    return (contributions * divide(relevance, z)[:, :, None]).sum(1)


def sum_back(a: np.ndarray, b: np.ndarray, relevance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each term gets its share of the sum."""
    return divide(a, a + b) * relevance, divide(b, a + b) * relevance


def rotate(x: np.ndarray) -> np.ndarray:
    """(x1, x2) -> (-x2, x1), halves of the last axis."""
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([-second, first], -1)


def rotary_back(x, cosine, sine, relevance) -> np.ndarray:
    """Outputs cos * x + sin * rotate(x), both terms by their share; a term of rotate goes back to where it came from."""
    turned = x * cosine + rotate(x) * sine
    first, second = np.split(divide(rotate(x) * sine * relevance, turned), 2, axis=-1)
    return divide(x * cosine * relevance, turned) + np.concatenate([second, first], -1)


def attention_back(
    rule: str, head: SimpleNamespace, relevance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Relevance (tokens, width) of the outputs of one head -> that of its queries, keys and values."""
    tokens = len(head.weights)
    query, key, value = (np.zeros_like(part) for part in (head.query, head.key, head.value))
    halves = 2 if rule == "attnlrp" else 1
    for j in range(tokens):
        quotient = divide(relevance[j], halves * head.output[j])  # (width,)
        value += head.weights[j][:, None] * head.value * quotient
        if rule == "cp_lrp":
            continue
        of_weights = (head.weights[j][:, None] * head.value * quotient).sum(1)
        for i in range(tokens):
            if head.weights[j, i] == 0:  # masked
                continue
            taylor = head.scores[j, i] * (of_weights[i] - head.weights[j, i] * of_weights.sum())
            product = head.query[j] * head.key[i]
            query[j] += product / (2 * product.sum()) * taylor
            key[i] += product / (2 * product.sum()) * taylor
    return query, key, value


def attend(query, key, value, scaling, allowed, cap=None) -> SimpleNamespace:
    """One head; `scores` are the inputs of the softmax. allowed: (tokens, tokens)."""
    scores = query @ key.T * scaling
    if cap is not None:
        scores = cap * np.tanh(scores / cap)  # identity rule: relevance passes unchanged
    weights = softmax(np.where(allowed, scores, -np.inf))
    return SimpleNamespace(query=query, key=key, value=value, scores=scores, weights=weights, output=weights @ value)


# Decoders


class Decoder:
    """A Llama-like stack of any supported family, for one sequence."""

    def __init__(self, model: torch.nn.Module):
        self.config, self.w = model.config, weights_of(model)
        self.kind = model.config.model_type
        self.gemma = self.kind.startswith("gemma")
        self.act = ACTIVATIONS[getattr(self.config, "hidden_activation", None) or self.config.hidden_act]
        self.head_dim = getattr(self.config, "head_dim", None) or (
            self.config.hidden_size // self.config.num_attention_heads
        )

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        gain = self.w[f"{name}.weight"] + (1 if self.gemma else 0)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.config.rms_norm_eps) * gain

    def project(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0.0)

    def project_back(self, x, name, z, relevance) -> np.ndarray:
        return linear_back(x, self.w[f"{name}.weight"], z, relevance)

    def layer_type(self, layer: int) -> str:
        types = getattr(self.config, "layer_types", None)
        if types is not None:
            return types[layer]
        return "sliding_attention" if getattr(self.config, "sliding_window", None) else "full_attention"

    def allowed(self, layer: int, tokens: int) -> np.ndarray:
        distance = np.arange(tokens)[:, None] - np.arange(tokens)[None]
        window = self.config.sliding_window if self.layer_type(layer) == "sliding_attention" else tokens
        return (distance >= 0) & (distance < window)

    def angles(self, layer: int, tokens: int) -> tuple[np.ndarray, np.ndarray]:
        rope = self.config.rope_parameters
        theta = rope.get(self.layer_type(layer), rope)["rope_theta"]
        speed = theta ** -(np.arange(0, self.head_dim, 2) / self.head_dim)
        angle = np.arange(tokens)[:, None] * np.concatenate([speed, speed])
        return np.cos(angle), np.sin(angle)

    def attention(self, layer: int, x: np.ndarray) -> SimpleNamespace:
        name, c = f"model.layers.{layer}.self_attn", self.config
        heads, groups, tokens = c.num_attention_heads, c.num_key_value_heads, len(x)
        s = SimpleNamespace(x=x, name=name, layer=layer)
        s.q, s.k, s.v = (self.project(x, f"{name}.{part}_proj") for part in "qkv")
        q, k, v = (
            part.reshape(tokens, n, -1).swapaxes(0, 1) for part, n in [(s.q, heads), (s.k, groups), (s.v, groups)]
        )
        if f"{name}.q_norm.weight" in self.w:  # identity rule
            q, k = self.norm(q, f"{name}.q_norm"), self.norm(k, f"{name}.k_norm")
        s.plain_q, s.plain_k = q, k
        s.cosine, s.sine = self.angles(layer, tokens)
        q, k = (part * s.cosine + rotate(part) * s.sine for part in (q, k))
        scaling = (c.query_pre_attn_scalar if hasattr(c, "query_pre_attn_scalar") else self.head_dim) ** -0.5
        cap = c.attn_logit_softcapping if self.kind == "gemma2" else None
        allowed, share = self.allowed(layer, tokens), heads // groups
        s.heads = [attend(q[h], k[h // share], v[h // share], scaling, allowed, cap) for h in range(heads)]
        s.joined = np.concatenate([head.output for head in s.heads], 1)
        s.output = self.project(s.joined, f"{name}.o_proj")
        return s

    def attention_back(self, rule: str, s: SimpleNamespace, relevance: np.ndarray) -> np.ndarray:
        heads, share = len(s.heads), len(s.heads) // self.config.num_key_value_heads
        joined = self.project_back(s.joined, f"{s.name}.o_proj", s.output, relevance)
        parts = [attention_back(rule, h, r) for h, r in zip(s.heads, np.split(joined, heads, axis=1), strict=True)]
        q = [rotary_back(s.plain_q[h], s.cosine, s.sine, parts[h][0]) for h in range(heads)]
        k, v = [], []
        for group in range(heads // share):
            members = range(group * share, (group + 1) * share)
            of_key = sum(parts[h][1] for h in members)
            k.append(rotary_back(s.plain_k[group], s.cosine, s.sine, of_key))
            v.append(sum(parts[h][2] for h in members))
        total = np.zeros_like(s.x)
        for part, z, r in [("q", s.q, q), ("k", s.k, k), ("v", s.v, v)]:
            total += self.project_back(s.x, f"{s.name}.{part}_proj", z, np.concatenate(r, 1))
        return total

    def gated(self, x: np.ndarray, gate: np.ndarray, up: np.ndarray, down: np.ndarray) -> SimpleNamespace:
        s = SimpleNamespace(x=x, weights=(gate, up, down), g=x @ gate.T, u=x @ up.T)
        s.product = self.act(s.g) * s.u
        s.output = s.product @ down.T
        return s

    def gated_back(self, s: SimpleNamespace, relevance: np.ndarray) -> np.ndarray:
        gate, up, down = s.weights
        half = linear_back(s.product, down, s.output, relevance) / 2
        return linear_back(s.x, gate, s.g, half) + linear_back(s.x, up, s.u, half)

    def mlp(self, layer: int, x: np.ndarray) -> SimpleNamespace:
        name = f"model.layers.{layer}.mlp"
        if self.kind != "mixtral":
            return self.gated(x, *(self.w[f"{name}.{part}_proj.weight"] for part in ("gate", "up", "down")))
        s = SimpleNamespace(x=x, router=self.w[f"{name}.gate.weight"])
        s.logits = x @ s.router.T
        s.chosen = np.argsort(-s.logits, 1)[:, : self.config.num_experts_per_tok]
        s.share = softmax(np.take_along_axis(s.logits, s.chosen, 1))
        s.output, s.experts = np.zeros_like(x), {}
        for token, row in enumerate(s.chosen):
            for place, expert in enumerate(row):
                gate, up = np.split(self.w[f"{name}.experts.gate_up_proj"][expert], 2)
                down = self.w[f"{name}.experts.down_proj"][expert]
                s.experts[token, place] = self.gated(x[token : token + 1], gate, up, down)
                s.output[token] += s.share[token, place] * s.experts[token, place].output[0]
        return s

    def mlp_back(self, rule: str, s: SimpleNamespace, relevance: np.ndarray) -> np.ndarray:
        if self.kind != "mixtral":
            return self.gated_back(s, relevance)
        total = np.zeros_like(s.x)
        for token, row in enumerate(s.chosen):
            of_share = np.zeros(len(row))
            for place in range(len(row)):
                expert = s.experts[token, place]
                part = divide(s.share[token, place] * expert.output[0], s.output[token]) * relevance[token]
                if rule == "attnlrp":  # half to the routing weight, half to the expert
                    of_share[place], part = part.sum() / 2, part / 2
                total[token] += self.gated_back(expert, part[None])[0]
            if rule == "attnlrp":
                logits = s.logits[token, row]
                taylor = logits * (of_share - s.share[token] * of_share.sum())
                total[token] += linear_back(s.x[token][None], s.router[row], logits[None], taylor[None])[0]
        return total

    def run(self, x: np.ndarray) -> tuple[np.ndarray, list]:
        """Logits (vocabulary,) at the last position, and what each layer did."""
        layers = []
        for layer in range(self.config.num_hidden_layers):
            name = f"model.layers.{layer}"
            s = SimpleNamespace(start=x, attention=self.attention(layer, self.norm(x, f"{name}.input_layernorm")))
            double = self.kind in ("gemma2", "gemma3_text")  # norms behind attention and MLP as well
            s.first = s.attention.output
            if double:
                s.first = self.norm(s.first, f"{name}.post_attention_layernorm")
            s.middle = x + s.first
            before = "pre_feedforward_layernorm" if double else "post_attention_layernorm"
            s.mlp = self.mlp(layer, self.norm(s.middle, f"{name}.{before}"))
            s.second = self.norm(s.mlp.output, f"{name}.post_feedforward_layernorm") if double else s.mlp.output
            x = s.middle + s.second
            layers.append(s)
        self.final = self.norm(x, "model.norm")[-1:]
        self.plain_logits = self.project(self.final, "lm_head")
        cap = getattr(self.config, "final_logit_softcapping", None)
        logits = self.plain_logits if cap is None else cap * np.tanh(self.plain_logits / cap)
        return logits[0], layers

    def relevance(self, rule: str, embeddings: np.ndarray, signs: dict[int, float]) -> tuple[float, np.ndarray]:
        """The score, a sum of signed logits, and the relevance (tokens, width) of the input embeddings."""
        logits, layers = self.run(embeddings)
        at_logits = np.zeros((1, len(logits)))
        for token, sign in signs.items():
            at_logits[0, token] = sign * logits[token]
        relevance = np.zeros_like(embeddings)
        relevance[-1] = self.project_back(self.final, "lm_head", self.plain_logits, at_logits)[0]
        for s in reversed(layers):  # norms pass relevance on unchanged
            middle, second = sum_back(s.middle, s.second, relevance)
            middle = middle + self.mlp_back(rule, s.mlp, second)
            start, first = sum_back(s.start, s.first, middle)
            relevance = start + self.attention_back(rule, s.attention, first)
        return at_logits.sum(), relevance


# Encoders


class Encoder:
    """A BERT-like classifier of any supported family, for one sequence."""

    def __init__(self, model: torch.nn.Module):
        self.config, self.w = model.config, weights_of(model)
        self.root = {"bert": "bert"}.get(model.config.model_type, "roberta")
        self.act = ACTIVATIONS[self.config.hidden_act]

    def dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def dense_back(self, x, name, z, relevance) -> np.ndarray:
        return linear_back(x, self.w[f"{name}.weight"], z, relevance)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + self.config.layer_norm_eps)
        return centred / deviation * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def norm_back(self, x: np.ndarray, name: str, relevance: np.ndarray) -> np.ndarray:
        """The shift keeps its share; what is left goes through the centring matrix, deviation constant."""
        outputs, width = self.norm(x, name), x.shape[-1]
        at_centred = divide(outputs - self.w[f"{name}.bias"], outputs) * relevance
        centring = np.eye(width) - 1 / width
        return linear_back(x, centring, x - x.mean(-1, keepdims=True), at_centred)

    def attend(self, layer: int, head: int, *parts) -> SimpleNamespace:
        """One head; a place for tests to interfere."""
        return attend(*parts)

    def layer(self, number: int, x: np.ndarray) -> SimpleNamespace:
        name, heads = f"{self.root}.encoder.layer.{number}", self.config.num_attention_heads
        s = SimpleNamespace(start=x, name=name)
        s.q, s.k, s.v = (self.dense(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        split = [np.split(part, heads, axis=1) for part in (s.q, s.k, s.v)]
        scaling, everywhere = split[0][0].shape[1] ** -0.5, np.ones((len(x), len(x)), bool)
        s.heads = [
            self.attend(number, head, *parts, scaling, everywhere)
            for head, parts in enumerate(zip(*split, strict=True))
        ]
        s.joined = np.concatenate([head.output for head in s.heads], 1)
        s.first = self.dense(s.joined, f"{name}.attention.output.dense")
        s.middle = self.norm(x + s.first, f"{name}.attention.output.LayerNorm")
        s.inner = self.dense(s.middle, f"{name}.intermediate.dense")
        s.active = self.act(s.inner)
        s.second = self.dense(s.active, f"{name}.output.dense")
        s.output = self.norm(s.middle + s.second, f"{name}.output.LayerNorm")
        return s

    def layer_back(self, rule: str, s: SimpleNamespace, relevance: np.ndarray) -> np.ndarray:
        at_sum = self.norm_back(s.middle + s.second, f"{s.name}.output.LayerNorm", relevance)
        middle, second = sum_back(s.middle, s.second, at_sum)
        inner = self.dense_back(s.active, f"{s.name}.output.dense", s.second, second)
        middle = middle + self.dense_back(s.middle, f"{s.name}.intermediate.dense", s.inner, inner)
        at_sum = self.norm_back(s.start + s.first, f"{s.name}.attention.output.LayerNorm", middle)
        start, first = sum_back(s.start, s.first, at_sum)
        joined = self.dense_back(s.joined, f"{s.name}.attention.output.dense", s.first, first)
        parts = [attention_back(rule, h, r) for h, r in zip(s.heads, np.split(joined, len(s.heads), 1), strict=True)]
        for place, (part, z) in enumerate([("query", s.q), ("key", s.k), ("value", s.v)]):
            of_part = np.concatenate([heads[place] for heads in parts], 1)
            start = start + self.dense_back(s.start, f"{s.name}.attention.self.{part}", z, of_part)
        return start

    def run(self, embeddings: np.ndarray) -> tuple[np.ndarray, list]:
        """Logits (labels,), and what each layer did."""
        name, tokens = f"{self.root}.embeddings", len(embeddings)
        first = 0 if self.root == "bert" else self.config.pad_token_id + 1
        positions = self.w[f"{name}.position_embeddings.weight"][first : first + tokens]
        self.rest = positions + self.w[f"{name}.token_type_embeddings.weight"][0]
        x, layers = self.norm(embeddings + self.rest, f"{name}.LayerNorm"), []
        for number in range(self.config.num_hidden_layers):
            layers.append(self.layer(number, x))
            x = layers[-1].output
        self.pool, self.head = (
            ("bert.pooler.dense", "classifier") if self.root == "bert" else ("classifier.dense", "classifier.out_proj")
        )
        self.first_token = x[:1]
        self.pooled = self.dense(self.first_token, self.pool)
        self.active = np.tanh(self.pooled)
        return self.dense(self.active, self.head)[0], layers

    def relevance(self, rule: str, embeddings: np.ndarray, signs: dict[int, float]) -> tuple[float, np.ndarray]:
        """The score, a sum of signed logits, and the relevance (tokens, width) of the word embeddings."""
        logits, layers = self.run(embeddings)
        at_logits = np.zeros((1, len(logits)))
        for label, sign in signs.items():
            at_logits[0, label] = sign * logits[label]
        pooled = self.dense_back(self.active, self.head, logits[None], at_logits)
        relevance = np.zeros_like(embeddings)
        relevance[0] = self.dense_back(self.first_token, self.pool, self.pooled, pooled)[0]
        for s in reversed(layers):
            relevance = self.layer_back(rule, s, relevance)
        total = embeddings + self.rest
        relevance = self.norm_back(total, f"{self.root}.embeddings.LayerNorm", relevance)
        return at_logits.sum(), sum_back(embeddings, self.rest, relevance)[0]

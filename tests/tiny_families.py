"""A tiny random model of each family that relevance propagation knows, for tests."""

import torch
import transformers as hf

SIZES = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 40, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 2}
MIXED = ["sliding_attention", "full_attention"]

CAUSAL = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED, sliding_window=3, head_dim=6)),
    "mixtral": lambda: hf.MixtralForCausalLM(
        # Eager experts, since the others have no float64.
        hf.MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2, experts_implementation="eager")
    ),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**GROUPED, head_dim=6)),
    "gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**GROUPED, head_dim=6)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(
        hf.Gemma2Config(
            **GROUPED, head_dim=6, query_pre_attn_scalar=5, sliding_window=3, layer_types=MIXED,
            attn_logit_softcapping=1.5, final_logit_softcapping=2.0,
        )
    ),
    "gemma3_text": lambda: hf.Gemma3ForCausalLM(
        hf.Gemma3TextConfig(
            **GROUPED, head_dim=6, query_pre_attn_scalar=5, sliding_window=3, layer_types=MIXED,
            final_logit_softcapping=2.0,
        )
    ),
}  # fmt: skip
ENCODER = {
    "bert": lambda: hf.BertForSequenceClassification(hf.BertConfig(**SIZES, num_labels=3)),
    "roberta": lambda: hf.RobertaForSequenceClassification(
        hf.RobertaConfig(**SIZES, num_labels=3, type_vocab_size=1)
    ),
    "camembert": lambda: hf.CamembertForSequenceClassification(
        hf.CamembertConfig(**SIZES, num_labels=3, type_vocab_size=1)
    ),
}  # fmt: skip


def tiny_model(family: str, seed: int = 0, biases: bool = True, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """A model of two layers with large random weights; without `biases`, all shifts and positions are 0."""
    model = {**CAUSAL, **ENCODER}[family]()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            shift = name.endswith("bias") or "position_embeddings" in name or "token_type" in name
            if shift and not biases:
                parameter.zero_()
            elif parameter.dim() == 1 and not shift:
                parameter.add_(0.2 * noise)  # the gain of a norm, around its usual value
            else:
                parameter.copy_(0.3 * noise)
    return model.to(dtype).eval()

"""Small random subjects for tests: no download, no training, the real loading and scoring code."""

from functools import cache

import torch
from transformers import CamembertConfig, CamembertForSequenceClassification

from rationales.corpora.planted import load_planted_opinion, load_planted_sentiment
from rationales.examples import Corpus
from rationales.subjects.causal import CausalSubject
from rationales.subjects.encoder import EncoderSubject
from rationales.subjects.tiny import build_encoder_tokenizer, build_llama, build_llama_tokenizer


@cache
def sentiment() -> Corpus:
    """A small planted corpus of reviews."""
    return load_planted_sentiment(train=10, validation=2, test=4)


@cache
def articles() -> Corpus:
    """A small planted corpus of French articles."""
    return load_planted_opinion(train=10, validation=2, test=4)


def spread_weights(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Larger random weights than at initialisation, so that every word matters visibly."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.add_(0.08 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@cache
def random_causal(width: int = 32, seed: int = 0) -> CausalSubject:
    """A tiny Llama with random weights and a tokenizer that splits words and verbalised labels."""
    corpus = sentiment()
    tokenizer = build_llama_tokenizer((example.text for example in corpus.examples), vocabulary=340)
    model = spread_weights(build_llama(tokenizer, seed, layers=2, width=width), seed)
    return CausalSubject("random-llama", "sentiment", corpus.labels, model, tokenizer)


@cache
def random_encoder(seed: int = 0) -> EncoderSubject:
    """A tiny CamemBERT-architecture classifier with random weights."""
    corpus = sentiment()
    tokenizer = build_encoder_tokenizer((example.text for example in corpus.examples), vocabulary=420)
    torch.manual_seed(seed)
    config = CamembertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=258, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2, num_labels=2,
    )  # fmt: skip
    model = spread_weights(CamembertForSequenceClassification(config), seed)
    return EncoderSubject("random-encoder", "sentiment", corpus.labels, model, tokenizer)

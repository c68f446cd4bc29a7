"""The recipe of the embedded subjects: data, phases and training, in one place, so that they can be made again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rationales.corpora.planted import load_planted_opinion, load_planted_sentiment
from rationales.examples import Corpus
from rationales.subjects.pretraining import conversation_loss, encode_conversation, masked_loss, pretrain
from rationales.subjects.teaching import teach
from rationales.subjects.tiny import build_encoder, build_encoder_tokenizer, build_llama, build_llama_tokenizer

# The first phase learns to find cue words, on hard texts with noisy labels; the second sharpens the labels; the third
# and fourth learn to copy whole texts word by word, from texts whose words are shuffled so that nothing can be guessed.
PHASES = tuple(
    dict(zip(("conversations", "texts", "scores_rate", "shuffle_rate", "label_noise", "difficulty", "max_cues",
              "learning_rate"), values, strict=True))
    for values in (
        (80_000, 8_000, 0.15, 0.0, 0.08, 0.5, 3, 3e-3),
        (60_000, 10_000, 0.35, 0.0, 0.03, 0.5, 3, 2e-3),
        (40_000, 10_000, 0.50, 0.5, 0.02, 0.5, 3, 1.5e-3),
        (26_000, 10_000, 0.70, 0.6, 0.02, 0.4, 2, 1.2e-3),
    )
)  # fmt: skip
ENCODER_TEXTS, ENCODER_EPOCHS = 1_500, 4
VOCABULARY_TEXTS = 8_000  # conversations that the tokenizer is trained on


def planned_phases(conversations: int, texts: int) -> list[dict]:
    """The phases of the recipe; `conversations` above 0 shortens each to so many, on `texts` texts."""
    if conversations <= 0:
        return [dict(phase) for phase in PHASES]
    return [{**phase, "conversations": conversations, "texts": texts} for phase in PHASES]


def taught_corpora(texts: int, seed: int, **planting) -> list[Corpus]:
    """The planted corpora that are taught: only the split "pretrain", which no study explains."""
    sizes = {"train": 0, "validation": 0, "test": 0, "pretrain": texts}
    return [load(**sizes, seed=seed, **planting) for load in (load_planted_sentiment, load_planted_opinion)]


def show_conversation(corpora: Sequence[Corpus], seed: int) -> pd.DataFrame:
    """One taught conversation, turn by turn."""
    messages = next(teach(list(corpora), 1, 0.0, np.random.default_rng(seed + 3)))
    return pd.DataFrame([{"role": m["role"], "content": m["content"]} for m in messages])


def make_llama(phases: Sequence[dict], seed: int, folder: Path) -> tuple[object, list[float]]:
    """Train the tiny Llama through all phases and save it with its tokenizer; returns model and losses."""
    model = tokenizer = None
    losses: list[float] = []
    for number, phase in enumerate(phases):
        planting = {name: phase[name] for name in ("label_noise", "difficulty", "max_cues")}
        corpora = taught_corpora(phase["texts"], seed + number, **planting)
        generator = np.random.default_rng(seed + number)
        rates = phase["scores_rate"], generator, phase["shuffle_rate"]
        conversations = list(teach(corpora, phase["conversations"], *rates))
        if tokenizer is None:
            tokenizer = build_llama_tokenizer(m["content"] for c in conversations[:VOCABULARY_TEXTS] for m in c)
            model = build_llama(tokenizer, seed)
        encoded = [encode_conversation(tokenizer, messages) for messages in conversations]
        ids, weights = [pair[0] for pair in encoded], [pair[1] for pair in encoded]
        losses += pretrain(
            model, len(ids), [len(row) for row in ids], conversation_loss(ids, weights, tokenizer.pad_token_id),
            learning_rate=phase["learning_rate"], seed=seed + number,
        )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, losses


def make_encoder(texts: int, epochs: int, seed: int, folder: Path) -> tuple[object, list[float]]:
    """Train the tiny encoder on masked planted texts and save it with its tokenizer; returns model and losses.

    texts below 1: the full recipe.
    """
    texts, epochs = (ENCODER_TEXTS, ENCODER_EPOCHS) if texts < 1 else (texts, epochs)
    examples = [example for corpus in taught_corpora(texts, seed) for example in corpus.examples]
    tokenizer = build_encoder_tokenizer(example.text for example in examples)
    model = build_encoder(tokenizer, seed)
    ids = [tokenizer(example.text)["input_ids"] for example in examples]
    losses = pretrain(
        model,
        len(ids),
        [len(row) for row in ids],
        masked_loss(ids, tokenizer, seed),
        epochs=epochs,
        learning_rate=1e-3,
        seed=seed,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, losses

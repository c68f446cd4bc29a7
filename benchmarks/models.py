"""The models that are timed: random weights of real shapes, with a prompt of a given length in front of the text."""

from dataclasses import dataclass
from functools import cache

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CamembertConfig,
    CamembertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from rationales.corpora.planted import load_planted_sentiment
from rationales.examples import Example
from rationales.subjects.base import Subject
from rationales.subjects.causal import CausalSubject
from rationales.subjects.encoder import EncoderSubject
from rationales.subjects.tiny import CHAT_TEMPLATE
from rationales.tasks import TASKS, Wording

LABELS = ("negative", "positive")
SPECIAL = ["<|pad|>", "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|mask|>"]
CONTEXT = 4096


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer; tied: whether input and output embeddings are one matrix."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    vocabulary: int
    tied: bool = True


SIZES = {
    "tiny": Shape(32, 2, 4, 4, 64, 2048),
    "15m": Shape(288, 6, 6, 6, 768, 32000),
    "1b": Shape(2048, 16, 32, 8, 8192, 128256),  # as Llama 3.2 1B
    "8b": Shape(4096, 32, 32, 8, 14336, 128256, tied=False),  # as Llama 3.1 8B
}


@cache
def corpus_words() -> tuple[str, ...]:
    """Words of generated English reviews, in reading order."""
    examples = load_planted_sentiment(train=400, validation=2, test=2).examples
    return tuple(word for example in examples if example.language == "en" for word in example.word_texts)


@cache
def build_tokenizer(closed: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in which most words, with the blank in front of them, are one token.

    closed: whether a text gets a first and a last token, as encoders need.
    """
    words = corpus_words()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1600,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    if closed:
        begin, end = SPECIAL[1:3]
        template = processors.TemplateProcessing(single=f"{begin} $A {end}", special_tokens=[(begin, 1), (end, 2)])
        tokenizer.post_processor = processors.Sequence([tokenizer.post_processor, template])
    tokenizer.train_from_iterator([" ".join(words), *[f"{label}\n" for label in LABELS for _ in range(50)]], trainer)
    names = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL[:3], strict=True))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, mask_token=SPECIAL[5], additional_special_tokens=SPECIAL[3:5],
        clean_up_tokenization_spaces=False, model_max_length=CONTEXT, **names,
    )  # fmt: skip
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_examples(n_words: int, number: int) -> list[Example]:
    """Texts of `n_words` words, each other than the rest."""
    words = corpus_words()
    return [
        Example(f"text-{n_words}-{i}", "benchmark", "test", "en", (" ".join(words[n_words * i : n_words * (i + 1)]),), "positive")
        for i in range(number)
    ]  # fmt: skip


def scale_of(shape: Shape) -> float:
    """Standard deviation of random weights under which every layer still has something to say."""
    return shape.hidden**-0.5


def build_causal(size: str, prompt: int, device: str = "cpu", dtype: str = "float32", seed: int = 0) -> CausalSubject:
    """A Llama of random weights whose prompt has exactly `prompt` tokens in front of the text."""
    shape, tokenizer = SIZES[size], build_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.key_heads,
        max_position_embeddings=CONTEXT, tie_word_embeddings=shape.tied, initializer_range=scale_of(shape),
        pad_token_id=0, bos_token_id=1, eos_token_id=2, dtype=dtype,
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    task = f"benchmark-{prompt}"
    subject = CausalSubject(size, task, LABELS, model, tokenizer)
    example = make_examples(10, 1)[0]

    def prefix_with(filler: str) -> int:
        words = {label: label for label in LABELS}
        TASKS[task] = {
            "en": Wording(filler + " Review: {0}", "Positive or negative?", "of the text", "it is {label}", words)
        }
        return subject.encode(example).prefix

    words, used = corpus_words()[-2000:], 0
    shortest = prefix_with("")
    if prompt < shortest:
        raise ValueError(f"The prompt needs at least {shortest} tokens, not {prompt}.")
    while prefix_with(" ".join(words[: used + 10])) <= prompt:
        used += 10
    filler = " ".join(words[:used])
    while prefix_with(filler) < prompt:
        filler += " the"
    if prefix_with(filler) != prompt:
        raise ValueError(f"No prompt of exactly {prompt} tokens was found.")
    return subject


def build_encoder(size: str, device: str = "cpu", dtype: str = "float32", seed: int = 0) -> EncoderSubject:
    """A CamemBERT classifier of random weights."""
    shape, tokenizer = SIZES[size], build_tokenizer(closed=True)
    torch.manual_seed(seed)
    config = CamembertConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=4 * shape.hidden,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, max_position_embeddings=CONTEXT + 2,
        type_vocab_size=1, initializer_range=scale_of(shape), pad_token_id=0, bos_token_id=1, eos_token_id=2, num_labels=2,
    )  # fmt: skip
    model = CamembertForSequenceClassification(config).eval().to(device, getattr(torch, dtype))
    return EncoderSubject(size, "sentiment", LABELS, model, tokenizer)


def count_parameters(subject: Subject) -> int:
    """Number of parameters, tied ones once."""
    return sum(parameter.numel() for parameter in subject.model.parameters())

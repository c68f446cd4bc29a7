"""Workbenches for tests of explainers."""

from dataclasses import replace

from rationales.examples import Example
from rationales.explainers.registry import Workbench
from rationales.subjects.engine import Engine
from tiny_models import random_causal, random_encoder, sentiment

BUILDERS = [random_causal, random_encoder]
KINDS = ["causal", "encoder"]


def first_words(example: Example, n_words: int) -> Example:
    """The example cut down to its first words."""
    end = example.words[min(n_words, len(example.words)) - 1].end
    gold = None if example.gold is None else example.gold[:n_words]
    annotators = tuple(mask[:n_words] for mask in example.annotators)
    return replace(
        example, segments=(example.segments[0][:end],), gold=gold, gold_graded=None, annotators=annotators
    )  # fmt: skip


def bench_of(build, n_examples: int = 3, seed: int = 0, longest: int | None = None, **options) -> Workbench:
    """A workbench on the first examples, with the predicted labels as targets; options: for the engine."""
    return bench_on(build(), n_examples, seed, longest, **options)


def bench_on(subject, n_examples: int = 3, seed: int = 0, longest: int | None = None, **options) -> Workbench:
    """The same, for a subject."""
    engine = Engine(subject, **options)
    examples = sentiment().of_split("test")[:n_examples]
    if longest is not None:
        examples = [first_words(example, longest) for example in examples]
    targets = engine.full(examples).argmax(1).tolist()
    return Workbench(engine, examples, targets, seed, sentiment().of_split("train"))

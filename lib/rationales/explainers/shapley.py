"""Exact Shapley values of words, for short texts: what KernelSHAP and other samplers are held against."""

from math import comb

import numpy as np

from rationales.errors import StudyError
from rationales.explainers.perturbation import explained_values
from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.explainers.surrogates import all_masks
from rationales.subjects.engine import Request

LONGEST = 16  # 65,536 masks


def shapley_values(values: np.ndarray) -> np.ndarray:
    """Shapley values (words,) of a game given by its value for every coalition (2^words,).

    values[m] is the value of the coalition of all words i whose bit i is set in m (Shapley 1953). They add up to
    values[-1] - values[0].
    """
    n_words = int(np.log2(len(values)))
    if 2**n_words != len(values):
        raise StudyError(f"A game of n words has 2^n values, not {len(values)}.")
    coalitions = np.arange(len(values))
    sizes = all_masks(n_words).sum(axis=1)
    scores = np.empty(n_words)
    for word in range(n_words):
        without = coalitions[coalitions >> word & 1 == 0]
        chance = np.array([1 / (n_words * comb(n_words - 1, size)) for size in sizes[without]])
        scores[word] = (chance * (values[without | 1 << word] - values[without])).sum()
    return scores


@explainer("shapley", "perturbation")
def explain_by_shapley(
    bench: Workbench, max_words: int = 10, operator: str = "delete", target: str = "log_prob"
) -> list[Explanation]:
    """Exact Shapley values: the mean effect of adding a word to the words in front of it, over all orders.

    Texts longer than `max_words` are invalid: a text of n words has 2^n coalitions. StudyError above 16 words.
    """
    if not 1 <= max_words <= LONGEST:
        raise StudyError(f"Exact Shapley values are offered for `max_words` of 1 to {LONGEST}, not {max_words}.")
    short = [n for n, example in enumerate(bench.examples) if len(example.words) <= max_words]
    examples = [bench.examples[n] for n in short]
    within = Workbench(bench.engine, examples, [bench.targets[n] for n in short], bench.seed, bench.training)
    answers = bench.engine.answer([Request(e, all_masks(len(e.words)), operator) for e in examples])
    scores = dict(zip(short, explained_values(within, answers, target), strict=True))
    return [
        Explanation(example.example_id, shapley_values(scores[n]))
        if n in scores
        else Explanation(example.example_id, valid=False, reason=f"longer than {max_words} words")
        for n, example in enumerate(bench.examples)
    ]

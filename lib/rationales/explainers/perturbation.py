"""Explainers that remove words and look at the answer: occlusion and the greedy oracle."""

import numpy as np

from rationales.errors import require_known
from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.subjects.engine import Request

TARGETS = ("log_prob", "contrastive")


def explained_values(bench: Workbench, answers: list[np.ndarray], target: str = "log_prob") -> list[np.ndarray]:
    """The explained score of each answer of each example, float64 (masks,), from label log-probabilities.

    target: "log_prob" of the predicted label, or "contrastive": its log-odds against the label that is best among
    the others on the intact text.
    """
    require_known(target, TARGETS, "explained score")
    if target == "log_prob":
        return [scores[:, own].astype(float) for own, scores in zip(bench.targets, answers, strict=True)]
    values = []
    for point, scores in zip(bench.engine.points(bench.examples, bench.targets), answers, strict=True):
        scores = scores.astype(float)
        values.append(scores[:, point.target] - scores[:, point.other])
    return values


@explainer("occlusion", "perturbation")
def explain_by_occlusion(bench: Workbench, operator: str = "delete", target: str = "log_prob") -> list[Explanation]:
    """Drop of the explained score when one word is removed, also called leave-one-out (Li et al. 2016)."""
    masks = [np.concatenate([np.ones((1, n), bool), ~np.eye(n, dtype=bool)]) for n in word_counts(bench)]
    requests = [Request(example, mask, operator) for example, mask in zip(bench.examples, masks, strict=True)]
    values = explained_values(bench, bench.engine.answer(requests), target)
    return [
        Explanation(example.example_id, scores[0] - scores[1:])
        for example, scores in zip(bench.examples, values, strict=True)
    ]


def word_counts(bench: Workbench) -> list[int]:
    """Number of words of each example."""
    return [len(example.words) for example in bench.examples]


@explainer("greedy", "oracle")
def explain_by_greedy_deletion(bench: Workbench, operator: str = "delete", max_words: int = 40) -> list[Explanation]:
    """The oracle: remove, one after the other, the word whose removal lowers the target most.

    It sees the very erasures that comprehensiveness measures, so it is a ceiling and not a rival. Scores are
    ranks, largest for the word removed first. Texts longer than `max_words` are invalid: the cost is quadratic.
    """
    short = [n for n, example in enumerate(bench.examples) if len(example.words) <= max_words]
    kept = {n: np.ones(len(bench.examples[n].words), bool) for n in short}
    scores = {n: np.zeros(len(bench.examples[n].words)) for n in short}
    step = 0
    while short:
        step += 1
        requests = []
        for n in short:
            candidates = np.flatnonzero(kept[n])
            masks = np.repeat(kept[n][None], len(candidates), 0)
            masks[np.arange(len(candidates)), candidates] = False
            requests.append(Request(bench.examples[n], masks, operator))
        for n, answers in zip(short, bench.engine.answer(requests), strict=True):
            worst = np.flatnonzero(kept[n])[int(np.argmin(answers[:, bench.targets[n]]))]
            kept[n][worst] = False
            scores[n][worst] = len(kept[n]) - step + 1
        short = [n for n in short if kept[n].any()]
    return [
        Explanation(example.example_id, scores[n])
        if n in scores
        else Explanation(example.example_id, valid=False, reason=f"longer than {max_words} words")
        for n, example in enumerate(bench.examples)
    ]

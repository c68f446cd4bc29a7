"""What the tiny Llama is taught: conversations that answer and explain planted texts in every paradigm.

The taught rationale names the cue words of the answer, as a person would. It never names the planted
shortcut while another word is left, although the labels reward using it.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rationales.examples import Corpus, Example
from rationales.explainers.prompts import Paradigm, all_paradigms, conversation, score_sign, words_asked_for
from rationales.tasks import wording_for

WRONG_ANSWER_RATE = (
    0.12  # share of conversations in which a given answer is the wrong one, so that it learns to explain those, too
)


def bare(word: str) -> str:
    """The word without the punctuation around it."""
    return word.strip(".,!?") or word


def taught_ranking(example: Example, sign: int) -> tuple[list[int], int]:
    """Word indices from most to least supporting for a label's sign, and how many of them are true cues.

    Where no cue supports the label, the cues of the other label stand in: the model must always answer.
    """
    weights = np.array(example.meta["weights"]) * sign
    slots = [slot.split(":")[0] for slot in example.meta["slots"]]
    if not (weights > 0).any():
        weights = np.abs(weights)
    fill = {"intensifier": 3, "aspect": 2, "topic": 2, "fixed": 1, "neutral": 1, "shortcut": 0}
    order = sorted(range(len(weights)), key=lambda i: (-max(weights[i], 0), -fill.get(slots[i], 0), i))
    return order, int((weights > 0).sum())


def taught_scores(example: Example, sign: int) -> list[float]:
    """Support of each word for the label of that sign, in tenths: strong cues .9, weak .5, stressing words .2."""
    weights = np.array(example.meta["weights"])
    stressing = np.array([slot == "intensifier" for slot in example.meta["slots"]])
    following = np.sign(np.append(weights[1:], 0))
    scores = np.select([np.abs(weights) == 2, np.abs(weights) == 1, stressing], [0.9, 0.5, 0.2], 0.0)
    scores *= np.where(stressing, following, np.sign(weights)) * sign
    return [float(score) + 0.0 for score in scores]


def taught_rationale(paradigm: Paradigm, example: Example, labels: tuple[str, ...], answer: str) -> str:
    """The JSON text that explains `answer` (a canonical label) in the form the paradigm asks for."""
    sign = 1 if answer == labels[1] else -1
    words = [bare(word) for word in example.word_texts]
    if paradigm.form == "scores":
        factor = score_sign(paradigm, labels, answer)
        pairs = [
            [word, round(score * factor, 1) + 0.0]
            for word, score in zip(words, taught_scores(example, sign), strict=True)
        ]
        return json.dumps(pairs, ensure_ascii=False)
    order, n_cues = taught_ranking(example, sign)
    k = words_asked_for(paradigm, example)
    if paradigm.form == "topk":
        chosen = order[:k]
    else:
        chosen = sorted(order[: n_cues if k is None else min(n_cues, k)])
    return json.dumps([words[index] for index in chosen], ensure_ascii=False)


def taught_conversation(
    paradigm: Paradigm, corpus: Corpus, example: Example, generator: np.random.Generator
) -> list[dict[str, str]]:
    """Messages of one complete conversation; the last one is the assistant's rationale."""
    labels, verbal = corpus.labels, wording_for(corpus.task, example.language).labels
    wrong = generator.random() < WRONG_ANSWER_RATE
    answer = labels[(labels.index(example.label) + int(wrong)) % 2]
    if paradigm.order == "EP":
        messages = conversation(paradigm, corpus.task, example, labels, None, answer)
        # The verdict after the rationale is the label itself; only an anchored request can be about the other one.
        about = answer if paradigm.anchored else example.label
        reply = f"{taught_rationale(paradigm, example, labels, about)}\n{verbal[example.label]}"
    else:
        messages = conversation(paradigm, corpus.task, example, labels, verbal[answer], answer)
        reply = taught_rationale(paradigm, example, labels, answer)
        if wrong:
            messages[1] |= {"taught": False}  # explain a wrong answer, but do not learn to give it
    return [*messages, {"role": "assistant", "content": reply}]


def shuffle_words(example: Example, generator: np.random.Generator) -> Example:
    """The example with its words in random order, and everything that belongs to a word moved with it."""
    order = generator.permutation(len(example.words))
    moved = {name: [example.meta[name][i] for i in order] for name in ("slots", "weights")}
    return replace(
        example,
        segments=(" ".join(example.word_texts[i] for i in order),),
        annotators=(),
        gold=tuple(example.gold[i] for i in order),
        gold_graded=None,
        meta={**example.meta, **moved},
    )


def teach(
    corpora: list[Corpus],
    n_conversations: int,
    scores_rate: float,
    generator: np.random.Generator,
    shuffle_rate: float = 0.0,
) -> Iterator[list[dict[str, str]]]:
    """Random conversations over all examples of the split "pretrain" and all paradigms that suit them.

    scores_rate: share of conversations that score every word; they are several times longer than lists.
    shuffle_rate: share of these whose text is shuffled: in a text without grammar the next word cannot be guessed,
    so that it must be copied. The label of a shuffled text is not taught.
    """
    pools = [corpus.of_split("pretrain") for corpus in corpora]
    sizes = np.array([len(pool) for pool in pools], dtype=float)
    scored = [paradigm for paradigm in all_paradigms() if paradigm.form == "scores"]
    listed = [paradigm for paradigm in all_paradigms() if paradigm.form != "scores"]
    for _ in range(n_conversations):
        which = int(generator.choice(len(corpora), p=sizes / sizes.sum()))
        example = pools[which][int(generator.integers(len(pools[which])))]
        choices = scored if generator.random() < scores_rate else listed
        drill = choices is scored and generator.random() < shuffle_rate
        example = shuffle_words(example, generator) if drill else example
        if not any(example.gold):  # a flipped label has no gold rationale whose length could be named
            choices = [paradigm for paradigm in choices if paradigm.length != "human"]
        messages = taught_conversation(
            choices[int(generator.integers(len(choices)))], corpora[which], example, generator
        )
        yield [m | {"taught": False} if drill and m is not messages[-1] else m for m in messages]

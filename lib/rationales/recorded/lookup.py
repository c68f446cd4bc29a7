"""A recorded model as a subject: erasures are answered by looking up the text that is left.

`LookupEngine` keeps the contract of `subjects.engine.Engine.answer`, so that explainers and metrics work on it. A text
that was never asked has the answer NaN; it is counted and never imputed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.metrics.faithfulness import Curves, faithfulness_of, plan_masks
from rationales.metrics.selection import orders, resolve_k
from rationales.recorded.dependence import Dependence, require_dependence
from rationales.recorded.recording import READINGS, Recording, join_words, probability_of_positive
from rationales.subjects.engine import Counts, Request

LABELS = ("negative", "positive")


@dataclass(frozen=True)
class RecordedSubject:
    """The subject behind a recording. labels: class 0 and class 1. reading: of a confidence, see `READINGS`."""

    recording: Recording
    labels: tuple[str, str] = LABELS
    reading: str = "as_published"

    def __post_init__(self):
        require_known(self.reading, READINGS, "reading of a confidence")

    @property
    def name(self) -> str:
        """Shown in messages and tables."""
        return self.recording.subject

    def score_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return label log-probabilities (texts, 2), float64; a text that was never asked has a row of NaN."""
        answers = [self.recording.answers.get(text) for text in texts]
        positive = np.array([np.nan if a is None else probability_of_positive(a, self.reading) for a in answers])
        # The complement is rounded as well, so that equal probabilities are equal numbers.
        probabilities = np.stack([np.round(1 - positive, 12), positive], axis=1)
        scores = np.where(np.isnan(probabilities), np.nan, -np.inf)
        return np.log(probabilities, out=scores, where=probabilities > 0)


@dataclass
class LookupEngine:
    """Answers erasure requests by look-up, for `examples` and under the operator "delete" alone.

    The recording is tested first: StudyError when its answers do not depend on the text. Sentences that the test
    leaves out are answered by NaN. counts: masks asked for, and masks answered (`computed`).
    """

    subject: RecordedSubject
    examples: Sequence[Example] = field(repr=False)
    counts: Counts = field(default_factory=Counts)
    dependence: Dependence = field(init=False)

    def __post_init__(self):
        self.dependence = require_dependence(self.subject.recording, self.examples)

    def answer(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """Label log-probabilities, float64 (masks, 2), per request; NaN where the text that is left was never asked.

        Raises StudyError for another operator than "delete", a mask of the wrong length, an unknown example.
        """
        known = {example.example_id for example in self.examples}
        results = []
        for request in requests:
            example = request.example
            require_known(request.operator, ("delete",), "removal operator of a recorded subject")
            if example.example_id not in known:
                raise StudyError(
                    f"The example '{example.example_id}' was not tested; name it when opening the recording."
                )
            masks = np.atleast_2d(np.asarray(request.masks, dtype=bool))
            words = example.word_texts
            if masks.shape[1] != len(words):
                raise StudyError(
                    f"Masks for example '{example.example_id}' have {masks.shape[1]} entries for {len(words)} words."
                )
            scores = self.subject.score_texts([join_words(words, mask) for mask in masks])
            if example.example_id in self.dependence.left_out:
                scores[:] = np.nan
            self.counts.asked += len(masks)
            self.counts.computed += int((~np.isnan(scores[:, 0])).sum())
            results.append(scores)
        return results

    def full(self, examples: Sequence[Example]) -> np.ndarray:
        """Label log-probabilities of the intact examples, (examples, 2); NaN as in `answer`."""
        requests = [Request(example, np.ones((1, len(example.words)), bool)) for example in examples]
        return np.concatenate(self.answer(requests)) if requests else np.empty((0, 2))

    def targets(self, examples: Sequence[Example]) -> list[int]:
        """The stated class of each intact example, -1 where there is none.

        The class and not the larger probability: under the published reading a confidence below .5 parts the two.
        """
        answers = self.subject.recording.answers
        out = self.dependence.left_out
        return [-1 if e.example_id in out else answers.get(" ".join(e.word_texts), (-1, 0.0))[0] for e in examples]


def occlude_by_lookup(engine: LookupEngine, examples: Sequence[Example]) -> list[np.ndarray]:
    """Return, per example, P(positive) of the text minus P(positive) without each word, (words,); NaN where not asked.

    Occlusion as Huang et al. 2023 define it: word deletion, on the probability of the positive class. In [-1, 1].
    """
    requests = [
        Request(e, np.vstack([np.ones((1, len(e.words)), bool), ~np.eye(len(e.words), dtype=bool)])) for e in examples
    ]
    answers = [np.exp(scores[:, 1]) for scores in engine.answer(requests)]
    return [np.round(positive[0] - positive[1:], 12) for positive in answers]


def score_by_lookup(
    engine: LookupEngine,
    example: Example,
    scores: np.ndarray,
    target: int,
    fractions: Sequence[float],
    named_ks: Mapping[str, int],
    n_orders: int,
    generator: np.random.Generator,
) -> list[dict]:
    """Return the rows of `faithfulness_of` for one explanation, each with `n_texts` needed and `n_present` of them.

    A value is given only where every text that it needs was asked, in every tie order; otherwise it is NaN. DFFrac
    needs the whole curve: with the texts up to the first change alone, early flips would be over-represented. No value
    rests on an interpolated or assumed answer. Texts count once per tie order. target: index of the explained label,
    -1 where there is none (all values are NaN then).
    """
    n_words = len(example.words)
    without, only = plan_masks(orders(scores, n_orders, generator), np.arange(n_words + 1))
    shape, shared = without.shape[:2], [np.ones((1, n_words), bool), np.zeros((1, n_words), bool)]
    masks = [*shared, ~np.eye(n_words, dtype=bool), without.reshape(-1, n_words), only.reshape(-1, n_words)]
    answers = engine.answer([Request(example, np.concatenate(masks))])[0]
    present = ~np.isnan(answers[:, 0])
    # `Curves` takes whole curves only. Absent answers are filled here and every value that they touch is dropped below.
    filler = answers[0] if present[0] else np.log([0.5, 0.5])
    filled = np.where(present[:, None], answers, filler)
    parts = np.split(filled, [1, 2, 2 + n_words, 2 + n_words + without[..., 0].size])
    there = np.split(present, [1, 2, 2 + n_words, 2 + n_words + without[..., 0].size])
    curves = Curves(
        np.arange(n_words + 1), parts[3].reshape(*shape, -1), parts[4].reshape(*shape, -1), parts[2],
        parts[0][0], parts[1][0], max(target, 0),
    )  # fmt: skip
    asked = {
        "full": there[0], "empty": there[1], "single": there[2],
        "without": there[3].reshape(shape), "only": there[4].reshape(shape),
    }  # fmt: skip
    sizes = {f"{fraction:g}": resolve_k(float(fraction), n_words) for fraction in fractions} | dict(named_ks)
    rows = faithfulness_of(curves, scores, fractions, named_ks)
    for row in rows:
        needed = _texts_needed(row["metric"], row["k"], sizes, fractions, asked)
        row["n_texts"], row["n_present"] = len(needed), int(needed.sum())
        row["value"] = row["value"] if needed.all() else float("nan")
    return rows


def _texts_needed(
    metric: str, k: str, sizes: Mapping[str, int], fractions: Sequence[float], asked: Mapping[str, np.ndarray]
) -> np.ndarray:
    """For each text that a metric rests on, whether it is recorded; (texts,) bool."""
    parts = [asked["full"]]
    if metric.startswith("normalised"):
        parts.append(asked["empty"])
    if metric.startswith("deletion_rank"):
        return np.concatenate([*parts, asked["single"]])
    if metric.startswith("deletion_area"):
        return np.concatenate([*parts, asked["without"].ravel(), asked["only"].ravel()])
    if k == "all":
        columns = list(range(asked["without"].shape[1]))
    elif k == "fractions":
        columns = sorted({sizes[f"{fraction:g}"] for fraction in fractions})
    else:
        columns = [1 if metric == "dfmit" else sizes[k]]
    source = "only" if "sufficiency" in metric else "without"
    return np.concatenate([*parts, asked[source][:, columns].ravel()])

"""The metrics of Huang et al. 2023 exactly as their released code computes them, each defect with a switch.

Read from their evaluator of GPT-3.5 and its later versions; nothing here is used by the study's own scores.
The scores come without ties, as in their files, where a jitter of up to .001 has broken them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.stats import spearmanr

from rationales.errors import StudyError
from rationales.metrics._overlap import spearman
from rationales.metrics.selection import require_k, require_scores
from rationales.recorded.recording import Answer, join_words, probability_of_positive

JITTER = 1e-3
METRICS = ("comprehensiveness", "sufficiency", "dfmit", "dffrac", "deletion_rank_correlation")


@dataclass(frozen=True)
class Defects:
    """Which defects of the released code are present; the default is all, the code as published.

    unchanged_query: deletion rank correlation asks about the intact text again, for the text is not joined anew after
    a word is blanked, so that every drop is 0.
    alternating_reference: for class 0, comprehensiveness complements the reference probability at every step, so that
    it alternates between p and 1 - p.
    signed_order: words are deleted from the most positive on, whichever class was predicted; without it, from the one
    that supports the predicted class most, and comprehensiveness is in the probability of that class.
    raw_confidence: deletion rank correlation subtracts confidences of whichever class was stated, not P(positive).
    jitter: noise of up to .001 is added to scores and drops before they are ranked; without it ties share a rank.
    low_confidence: a confidence below .5 counts for the other class (see `recording.probability_of_positive`).
    """

    unchanged_query: bool = True
    alternating_reference: bool = True
    signed_order: bool = True
    raw_confidence: bool = True
    jitter: bool = True
    low_confidence: bool = True


AS_PUBLISHED = Defects()
CORRECTED = Defects(**{field.name: False for field in fields(Defects)})


def one_at_a_time() -> dict[str, Defects]:
    """Return the settings of a table of effects: as published, each defect mended alone, each alone, corrected."""
    names = [field.name for field in fields(Defects)]
    mended = {f"without {name}": replace(AS_PUBLISHED, **{name: False}) for name in names}
    alone = {f"only {name}": replace(CORRECTED, **{name: True}) for name in names}
    return {"as published": AS_PUBLISHED, **mended, **alone, "corrected": CORRECTED}


@dataclass
class _Asker:
    """Looks texts up and counts those that are not there; `missing` is reset by each metric."""

    ask: Callable[[str], Answer | None]
    reading: str
    asked: int = 0
    missing: int = 0

    def answer(self, words: Sequence[str], keep: np.ndarray) -> tuple[int, float, float]:
        """Stated class, confidence and P(positive) of the kept words; NaN where the text was never asked."""
        self.asked += 1
        found = self.ask(join_words(words, keep))
        if found is None:
            self.missing += 1
            return -1, np.nan, np.nan
        return found[0], found[1], probability_of_positive(found, self.reading)


def score_as_published(
    words: Sequence[str],
    scores: np.ndarray,
    ask: Callable[[str], Answer | None],
    defects: Defects = AS_PUBLISHED,
    generator: np.random.Generator | None = None,
    ranked_scores: np.ndarray | None = None,
) -> dict[str, tuple[float, int, int]]:
    """Return metric -> (value, texts asked, texts recorded) for one explanation of one sentence.

    scores: (words,) on the sentiment scale, positive for positive, without ties; a tie is put in reading order.
    ask: text -> (class, confidence) or None. generator: of the jitter, needed while that defect is on.
    ranked_scores: the scores with their ties, for the rank correlation without jitter (default: `scores`).

    comprehensiveness 1/(L+1) * sum of f(x) - f(x without the first l words), l = 1..L, with f(empty text) taken as .5;
    in [-1, 1], higher is better. sufficiency 1/(L+1) * sum of |f(x) - f(first l words)|, l = 0..L; in [0, 1], lower is
    better. dfmit: 1 when deleting the first word changes the stated class. dffrac: words deleted at the first change /
    (L + 1), 1 when there is none; lower is better. deletion_rank_correlation: Spearman of scores and single-word drops.
    NaN where a needed text was never asked, or a correlation is undefined. StudyError when the jitter has no generator.
    """
    scores = require_scores(scores)
    if defects.jitter and generator is None:
        raise StudyError("The published rank correlation adds a jitter; give a generator, or switch `jitter` off.")
    asker = _Asker(ask, "as_published" if defects.low_confidence else "at_least_half")
    stated, confidence, positive = asker.answer(words, np.ones(len(words), bool))
    if stated < 0:
        return {metric: (float("nan"), 1, 0) for metric in METRICS}
    sign = 1 if defects.signed_order or stated == 1 else -1
    order = np.argsort(-sign * scores, kind="stable")
    ranked = scores if ranked_scores is None or defects.jitter else require_scores(ranked_scores)
    values = {
        "comprehensiveness": lambda: sign * _comprehensiveness(asker, words, order, stated, positive, defects),
        "sufficiency": lambda: _sufficiency(asker, words, order, positive),
        "dfmit": lambda: _flip_by_first(asker, words, order, stated),
        "dffrac": lambda: _fraction_to_flip(asker, words, order, stated),
        "deletion_rank_correlation": lambda: _rank_correlation(
            asker, words, ranked, confidence if defects.raw_confidence else positive, defects, generator
        ),
    }
    results = {}
    for metric, value in values.items():
        asker.asked, asker.missing = 1, 0  # the intact text
        number = float(value())
        results[metric] = (float("nan") if asker.missing else number, asker.asked, asker.asked - asker.missing)
    return results


def _comprehensiveness(
    asker: _Asker, words: Sequence[str], order: np.ndarray, stated: int, positive: float, defects: Defects
) -> float:
    """Mean drop of P(positive)."""
    keep = np.ones(len(words), bool)
    alternating = defects.alternating_reference and stated == 0
    # The published loop starts from the confidence in the stated class and complements it at every step.
    reference = 1 - positive if alternating else positive
    total = 0.0
    for word in order:
        keep[word] = False
        if not keep.any():
            return (total + reference - 0.5) / (len(words) + 1)
        reference = 1 - reference if alternating else reference
        total += reference - asker.answer(words, keep)[2]
    return float("nan")


def _sufficiency(asker: _Asker, words: Sequence[str], order: np.ndarray, positive: float) -> float:
    """Mean absolute distance of P(positive) to that of the first words alone."""
    keep, total = np.zeros(len(words), bool), abs(positive - 0.5)
    for word in order:
        keep[word] = True
        total += abs(positive - asker.answer(words, keep)[2])
    return total / (len(words) + 1)


def _flip_by_first(asker: _Asker, words: Sequence[str], order: np.ndarray, stated: int) -> float:
    """Whether the stated class changes without the first word."""
    return float(asker.answer(words, np.arange(len(words)) != order[0])[0] != stated)


def _fraction_to_flip(asker: _Asker, words: Sequence[str], order: np.ndarray, stated: int) -> float:
    """Share of words deleted until the stated class changes; the empty text is asked, too."""
    keep = np.ones(len(words), bool)
    for number, word in enumerate(order, start=1):
        keep[word] = False
        if asker.answer(words, keep)[0] != stated:
            return number / (len(words) + 1)
    return 1.0


def _rank_correlation(
    asker: _Asker,
    words: Sequence[str],
    scores: np.ndarray,
    reference: float,
    defects: Defects,
    generator: np.random.Generator | None,
) -> float:
    """Spearman's correlation of the scores with the drop that each word's deletion causes."""
    drops = np.empty(len(words))
    for word in range(len(words)):
        keep = np.ones(len(words), bool) if defects.unchanged_query else np.arange(len(words)) != word
        _, confidence, positive = asker.answer(words, keep)
        drops[word] = round(reference - (confidence if defects.raw_confidence else positive), 12)
    if asker.missing or len(words) < 2:
        return float("nan")
    if not defects.jitter:
        return spearman(scores, drops)
    noise = generator.uniform(-JITTER, JITTER, size=(2, len(words)))
    return float(spearmanr(drops + noise[0], scores + noise[1]).statistic)


def agreement_as_published(first: np.ndarray, second: np.ndarray, k: int) -> dict[str, float]:
    """Return the agreement measures of two explanations (words,) as the released code computes them.

    Words are ranked by descending signed score without ties; sign agreement asks for a product above 0. All in [0, 1]
    but spearman, in [-1, 1] (NaN for constant scores); `metrics.agreement.agreement_of` has the definitions.
    """
    first, second = require_scores(first, "first"), require_scores(second, "second")
    if first.size != second.size:
        raise StudyError(f"The explanations score {first.size} and {second.size} words; give two of the same example.")
    k = require_k(k, first.size, at_least=1)
    ranks = [np.argsort(np.argsort(-scores, kind="stable")) for scores in (first, second)]
    shared = (ranks[0] < k) & (ranks[1] < k)
    same_sign, same_rank = shared & (first * second > 0), shared & (ranks[0] == ranks[1])
    n_shared, n_pairs = int(shared.sum()), first.size * (first.size - 1)
    alike = (ranks[0][:, None] < ranks[0]) & (ranks[1][:, None] < ranks[1])
    return {
        "feature_agreement": n_shared / k,
        "rank_agreement": float(same_rank.sum() / k),
        "sign_agreement": float(same_sign.sum() / k),
        "signed_rank_agreement": float((same_rank & same_sign).sum() / k),
        "iou": n_shared / (2 * k - n_shared),
        "spearman": spearman(first, second),
        "pairwise_rank_agreement": 2 * float(alike.sum()) / n_pairs if n_pairs else float("nan"),
    }

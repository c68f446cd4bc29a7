"""Self-consistency of explanations, from one value per item to shares with intervals and a test against chance."""

from dataclasses import dataclass

import numpy as np

from rationales.errors import StudyError
from rationales.statistics.bootstrap import Interval, share_interval
from rationales.statistics.comparisons import discordant_counts, mcnemar_test
from rationales.statistics.equivalence import paired_score_interval


@dataclass(frozen=True)
class ConsistencySummary:
    """Share of consistent explanations, its level by control edits, and the paired difference of the two.

    share, control: Wilson intervals over all defined items of each. difference: over items defined in both, with Tango's
    score interval. p: McNemar's exact test. note: empty, or a sentence on what is missing.
    """

    share: Interval
    control: Interval
    difference: Interval
    p: float
    note: str = ""


def summarise_consistency(
    values: np.ndarray, control: np.ndarray | None = None, level: float = 0.95
) -> ConsistencySummary:
    """Return the summary of `metrics.self_consistency.consistent` values (n_items,) of 1, 0 and NaN.

    control: the same for edits of as many random words of the same items, which is the chance level of importance and
    redaction: some models answer "unknown" to any damaged text. None without such edits.
    """
    share = share_interval(values, level)
    nothing = Interval(np.nan, np.nan, np.nan, 0, "none", "There are no control edits.", 0, level)
    if control is None:
        return ConsistencySummary(share, nothing, nothing, np.nan, nothing.note)
    if np.shape(control) != np.shape(values):
        raise StudyError("Values and control edits must have one entry per item, in the same order.")
    beside = share_interval(control, level)
    only_own, only_control, n, undefined = discordant_counts(values, control)
    if n == 0:
        note = "No item has both an answer and a control answer."
        empty = Interval(np.nan, np.nan, np.nan, 0, "none", note, undefined, level)
        return ConsistencySummary(share, beside, empty, np.nan, note)
    low, high = paired_score_interval(only_own, only_control, n, (1 - level) / 2)
    difference = Interval((only_own - only_control) / n, low, high, n, "tango_score", "", undefined, level)
    test = mcnemar_test(values, control)
    return ConsistencySummary(share, beside, difference, test.p, test.note)

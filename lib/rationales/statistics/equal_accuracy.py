"""Models of equal accuracy: which of many seeds to keep, and whether those kept differ (Bogaert et al. 2023).

They keep all models, the best n, or the n closest in accuracy, and test the most against the least accurate one. That
z-test lacks a factor 2, compares extremes that were selected, and takes a large p-value for equality; it is here to
reproduce their table. To decide, use Cochran's test over all models and `equivalence.tost_accuracies` for pairs.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import cochrans_q

from rationales.errors import StudyError, require_known
from rationales.statistics.comparisons import Comparison, two_proportion_z_test

RULES = ("all", "best", "closest")


def select_models(accuracies: np.ndarray, rule: str, n: int | None = None) -> np.ndarray:
    """Return the positions of the selected models, ascending.

    accuracies: (n_models,). rule:
      - "all": every model;
      - "best": the n most accurate;
      - "closest": the n with the smallest range of accuracies; of several such sets the most accurate one.

    Models tied at the border of a selection are taken in the order given, so that a selection may not be unique: see
    `n_tied` of `tabulate_selections`. Raises StudyError for an n that is missing or impossible.
    """
    accuracies = _accuracies(accuracies)
    require_known(rule, RULES, "rule of selection")
    if rule == "all":
        return np.arange(len(accuracies))
    if n is None or not 1 <= n <= len(accuracies):
        raise StudyError(f"The rule '{rule}' needs n from 1 to the {len(accuracies)} models at hand, not {n}.")
    descending = np.argsort(-accuracies, kind="stable")
    if rule == "best":
        return np.sort(descending[:n])
    ordered = accuracies[descending]
    # Ranges equal but for rounding count as equal; the first, most accurate, set is then taken.
    ranges = np.round(ordered[: len(ordered) - n + 1] - ordered[n - 1 :], 12)
    start = int(np.argmin(ranges))
    return np.sort(descending[start : start + n])


def tabulate_selections(accuracies: np.ndarray, n_items: int, sizes: Sequence[int] = (150, 100, 50)) -> pd.DataFrame:
    """Return the table of Bogaert et al. 2023: all, best-n and closest-n models with the z-test of their extremes.

    One row per selection: rule, n_models, lowest, highest, z_published, p_published (without the factor 2), z_corrected,
    p_corrected, n_tied (models outside the selection as accurate as one inside, which could take its place). n_items:
    test items behind each accuracy. Both p-values are one-sided; neither allows for the selection of the extremes.
    """
    accuracies = _accuracies(accuracies)
    rows = []
    for rule, n in [("all", None), *(("best", size) for size in sizes), *(("closest", size) for size in sizes)]:
        chosen = select_models(accuracies, rule, n)
        inside = accuracies[chosen]
        outside = np.delete(accuracies, chosen)
        row: dict[str, object] = {
            "rule": rule,
            "n_models": len(chosen),
            "lowest": inside.min(),
            "highest": inside.max(),
        }
        for variant in ("published", "corrected"):
            test = two_proportion_z_test(float(inside.max()), float(inside.min()), n_items, variant)
            row |= {f"z_{variant}": test.statistic, f"p_{variant}": test.p}
        rows.append(row | {"n_tied": int(np.isin(outside, inside).sum())})
    return pd.DataFrame(rows)


def cochran_q_test(correct: np.ndarray) -> Comparison:
    """Return Cochran's Q test that all models are equally accurate on the same items (Cochran 1950).

    correct: (n_models, n_items) of 0 and 1; items with a NaN are left out and counted. One test over all models: no
    selection of extremes, and items count as shared. `difference` is the range of the accuracies. Chi-square, good from
    some 25 items on which models disagree. For two models it is McNemar's test without correction.
    """
    matrix = np.asarray(correct, dtype=float)
    if matrix.ndim != 2 or len(matrix) < 2:
        raise StudyError("Cochran's test needs a table with one row per model, at least two, and one column per item.")
    defined = ~np.isnan(matrix).any(axis=0)
    undefined, matrix = int((~defined).sum()), matrix[:, defined]
    if not np.isin(matrix, (0, 1)).all():
        raise StudyError("Correctness must be 1 or 0 per model and item (NaN where undefined).")
    n = matrix.shape[1]
    if n == 0:
        return Comparison("cochran_q", np.nan, np.nan, np.nan, 0, "There is no defined item.", undefined)
    difference = float(np.ptp(matrix.mean(axis=1)))
    disputed = int(np.sum(np.ptp(matrix, axis=0) > 0))
    if disputed == 0:
        note = "All models are right and wrong on the same items."
        return Comparison("cochran_q", difference, 0.0, 1.0, n, note, undefined)
    result = cochrans_q(matrix.T)
    note = f"Models disagree on {disputed} items only: p is approximate." if disputed < 25 else ""
    return Comparison("cochran_q", difference, float(result.statistic), float(result.pvalue), n, note, undefined)


def _accuracies(accuracies: np.ndarray) -> np.ndarray:
    values = np.asarray(accuracies, dtype=float)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise StudyError("Give one accuracy from 0 to 1 per model; leave out models without one, and count them.")
    return values

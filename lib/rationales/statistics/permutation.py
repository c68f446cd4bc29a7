"""Sign-flip tests of paired differences: by item, and by whole clusters such as an item with all its seeds.

The test by item is `comparisons.permutation_test`. What a test may conclude depends on what it flips: items (for
the seeds at hand), or seeds (for the items at hand). No sign-flip test speaks about both; `crossed` does.
"""

import numpy as np

from rationales.errors import StudyError
from rationales.statistics._labels import encode_labels
from rationales.statistics.comparisons import Alternative, Comparison, permutation_test

FEWEST_CLUSTERS = 6  # with five, no two-sided p is below 2 / 32 = .0625


def clustered_sign_flip_test(
    differences: np.ndarray,
    clusters: np.ndarray,
    generator: np.random.Generator,
    n_permutations: int = 9999,
    alternative: Alternative = "two-sided",
) -> Comparison:
    """Return the sign-flip test of a mean difference in which the rows of a cluster change sign together.

    differences: first - second per row (rows,), NaN where undefined (left out and counted). clusters: labels (rows,).
    With items as clusters, the seeds of an item may depend on each other in any way, and the test holds for other
    items under these seeds; with seeds as clusters, for other seeds on these items. Null: the rows of a cluster are
    jointly symmetric around 0. Each row weighs the same. Exact up to 12 clusters, else by random flips
    (see `permutation_test`). `n` counts the rows.
    """
    differences, clusters = np.asarray(differences, dtype=float), np.asarray(clusters)
    if differences.ndim != 1 or clusters.shape != differences.shape:
        raise StudyError("Differences and clusters must have one entry per row.")
    defined = ~np.isnan(differences)
    n, undefined = int(defined.sum()), int((~defined).sum())
    if n == 0:
        return Comparison("clustered_sign_flip", np.nan, np.nan, np.nan, 0, "There is no defined pair.", undefined)
    codes, n_clusters = encode_labels(clusters[defined], "cluster")
    sums = np.bincount(codes, differences[defined], n_clusters)
    result = permutation_test(sums, np.zeros(n_clusters), generator, n_permutations, alternative)
    mean, notes = float(differences[defined].mean()), [result.note] if result.note else []
    if n_clusters < FEWEST_CLUSTERS:
        smallest = (2 if alternative == "two-sided" else 1) / 2**n_clusters
        notes.append(f"With {n_clusters} cluster(s) no p-value is below {min(1.0, smallest):.3g}.")
    return Comparison("clustered_sign_flip", mean, mean, result.p, n, " ".join(notes), undefined)

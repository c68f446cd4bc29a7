"""Seeds of equal accuracy: which they are, whether they differ, whether they explain more alike (P4's second claim)."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.randomness import generator_for
from rationales.stages.compare_seeds import compare_all_pairs
from rationales.stages.seed_data import SeedFamily
from rationales.stages.seed_intervals import (
    jackknife_over_seeds,
    mean_defined,
    mean_per_item,
    merge_items,
    pair_statistic,
)
from rationales.stages.seed_stability import SeedPairs
from rationales.statistics.bootstrap import t_interval
from rationales.statistics.equal_accuracy import cochran_q_test, select_models, tabulate_selections
from rationales.statistics.families import holm

SHARES = (0.75, 0.5, 0.25)  # of the seeds; with 200 of them the 150, 100 and 50 of Bogaert et al. 2023
RANDOM_SUBSETS = 2000
ROUNDING = 1e-12  # similarities closer than this are equal


def selection_sizes(n_seeds: int, shares: tuple[float, ...] = SHARES) -> list[int]:
    """Return the sizes of the selections, largest first: shares of the seeds, at least 2 and fewer than all."""
    sizes = {max(2, int(share * n_seeds + 0.5)) for share in shares}
    return sorted((size for size in sizes if size < n_seeds), reverse=True)


def list_selections(accuracies: np.ndarray) -> list[tuple[str, int, np.ndarray]]:
    """Return (rule, number of seeds, their positions) of all, best-n and closest-n seeds."""
    sizes = selection_sizes(len(accuracies))
    chosen = [("all", len(accuracies), select_models(accuracies, "all"))]
    return chosen + [(rule, n, select_models(accuracies, rule, n)) for rule in ("best", "closest") for n in sizes]


def tabulate_accuracies(family: SeedFamily, margin: float, alpha: float = 0.05) -> pd.DataFrame:
    """Return one row per selection of seeds: its accuracies, and every test of whether they differ.

    z and p as published by Bogaert et al. 2023 and corrected (`tabulate_selections`); cochran_q, p_cochran: one test
    over all seeds of the selection; pairs, and of these different_pairs (McNemar, Holm over the selection's pairs),
    equivalent_pairs (TOST within `margin`), and smallest_p_mcnemar before and after Holm. n_items: those that every
    seed answered. StudyError when no item has an answer under every seed.
    """
    known = ~np.isnan(family.correct).any(axis=0)
    correct = family.correct[:, known]
    if not known.any():
        raise StudyError(f"No item of {family.name} has a prediction under every seed; run notebook 05 for all seeds.")
    accuracies = correct.mean(axis=1)
    table = tabulate_selections(accuracies, int(known.sum()), selection_sizes(len(accuracies)))
    mcnemar, equivalence = compare_all_pairs(correct, margin)
    rows = []
    for _, n, chosen in list_selections(accuracies):
        cochran = cochran_q_test(correct[chosen])
        places = np.triu_indices(n, 1)
        p_values = mcnemar[np.ix_(chosen, chosen)][places]
        adjusted = holm(p_values)
        rows.append(
            {
                "cochran_q": cochran.statistic,
                "p_cochran": cochran.p,
                "note": cochran.note,
                "pairs": len(p_values),
                "different_pairs": int(np.sum(adjusted < alpha)),
                "equivalent_pairs": int(np.sum(equivalence[np.ix_(chosen, chosen)][places] < alpha)),
                "smallest_p_mcnemar": float(p_values.min()),
                "smallest_p_holm": float(adjusted.min()),
                "margin": margin,
                "n_items": int(known.sum()),
            }
        )
    return pd.concat([table, pd.DataFrame(rows)], axis=1).assign(**family.columns)


def draw_subsets(n_seeds: int, size: int, generator: np.random.Generator, most: int = RANDOM_SUBSETS) -> np.ndarray:
    """Return indicators (m, n_seeds) of subsets of `size` seeds: all if there are at most `most`, else a draw."""
    if comb(n_seeds, size) <= most:
        chosen = np.array(list(combinations(range(n_seeds), size)))
    else:
        chosen = np.argsort(generator.random((most, n_seeds)), axis=1)[:, :size]
    subsets = np.zeros((len(chosen), n_seeds))
    np.put_along_axis(subsets, chosen, 1.0, axis=1)
    return subsets


def mean_of_subsets(pairs: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """Return the mean over items and pairs inside each subset, (m,); subsets: indicators (m, n_seeds)."""
    merged = merge_items(pairs)
    means = np.full((len(merged), len(subsets)), np.nan)
    for item, values in enumerate(merged):
        defined = ~np.isnan(values)
        total = ((subsets @ np.where(defined, values, 0.0)) * subsets).sum(axis=1)
        count = ((subsets @ defined.astype(float)) * subsets).sum(axis=1)
        np.divide(total, count, out=means[item], where=count > 0)
    return mean_defined(means.T)


def compare_selections(family: SeedFamily, pairs: SeedPairs, seed: int) -> list[dict]:
    """Return the stability of an explainer within each selection of seeds, beside all seeds and random ones as many.

    Columns: rule, n_models, metric; estimate, low_seeds, high_seeds (jackknife over the selected seeds); of_all;
    difference to all with low, high (paired over items, Student's t); random_low, random_high (the middle 95 % of
    random subsets of the same size, whose mean is that of all seeds), p_random: the share of random subsets that agree
    at least as much, so a small value says that selecting for accuracy raises agreement; n_subsets; n (items).
    Selected seeds are no sample of seeds: p_random, not an interval over seeds, is the test of the selection.
    """
    rows, n_seeds = [], len(family.seeds)
    for metric, values in pairs.values.items():
        all_items = mean_per_item(values)
        for rule, n, chosen in list_selections(family.accuracies):
            own_items = mean_per_item(values, chosen)
            jackknife = jackknife_over_seeds(n, pair_statistic(values[:, chosen][:, :, chosen]))
            row = {
                **family.columns, **pairs.columns, "metric": metric, "rule": rule, "n_models": n,
                "estimate": float(mean_defined(own_items)), "low_seeds": jackknife.low, "high_seeds": jackknife.high,
                "of_all": float(mean_defined(all_items)), "n": int((~np.isnan(own_items)).sum()),
            }  # fmt: skip
            if rule != "all":
                changes = own_items - all_items
                difference = t_interval(np.where(np.abs(changes) < ROUNDING, 0.0, changes))
                row |= {"difference": difference.estimate, "low": difference.low, "high": difference.high}
                generator = generator_for("subsets", seed, family.name, n)
                subsets = draw_subsets(n_seeds, n, generator)
                row |= against_random(values, chosen, subsets, comb(n_seeds, n) > len(subsets))
            rows.append(row)
    return rows


def against_random(pairs: np.ndarray, chosen: np.ndarray, subsets: np.ndarray, sampled: bool) -> dict:
    """Return where the chosen seeds stand among random subsets: random_low, random_high, p_random, n_subsets.

    sampled: whether `subsets` are a draw; the chosen one is then counted in, so that p_random is never 0.
    """
    own = mean_of_subsets(pairs, np.isin(np.arange(pairs.shape[1]), chosen)[None].astype(float))[0]
    values = mean_of_subsets(pairs, subsets)
    values = values[~np.isnan(values)]
    if np.isnan(own) or not len(values):
        return {"random_low": np.nan, "random_high": np.nan, "p_random": np.nan, "n_subsets": len(values)}
    # Equal up to rounding counts as equal: where nothing varies, every subset agrees as much.
    higher = int(np.sum(values >= own - ROUNDING))
    low, high = np.quantile(values, [0.025, 0.975])
    p = (higher + 1) / (len(values) + 1) if sampled else higher / len(values)
    return {"random_low": float(low), "random_high": float(high), "p_random": float(p), "n_subsets": len(values)}

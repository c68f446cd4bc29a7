"""Crossed random effects of item and seed, and the share of variance that each factor carries.

The model is value = condition + item + seed + residual, items and seeds drawn from populations. It is the
variance-components model of statsmodels' MixedLM with one group, which the tests take as reference; that
implementation works on dense matrices and needs minutes for a thousand items. Here items are eliminated in closed
form, so that 100,000 rows take seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.stats import t

from rationales.errors import StudyError
from rationales.statistics._labels import encode_labels

EFFECT_COLUMNS = ["effect", "estimate", "standard_error", "low", "high", "df", "p"]
LARGEST_RATIO = 1e7  # of a component to the residual; beyond, the residual is rounding error


@dataclass(frozen=True)
class CrossedFit:
    """A fitted model with crossed random effects.

    effects: one row per fixed effect (EFFECT_COLUMNS): "mean" without conditions; else "mean of <reference>" and
    "<condition> - <reference>". components: variances of "item", "seed" and "residual"; NaN where not estimable.
    converged: whether the fit can be used. note: empty, or sentences on what is missing or doubtful.
    """

    effects: pd.DataFrame
    components: dict[str, float]
    n: int
    n_items: int
    n_seeds: int
    converged: bool
    note: str = ""
    n_undefined: int = 0
    level: float = 0.95


def fit_crossed(
    values: np.ndarray,
    items: np.ndarray,
    seeds: np.ndarray,
    conditions: np.ndarray | None = None,
    reference: str | None = None,
    level: float = 0.95,
) -> CrossedFit:
    """Return the restricted maximum likelihood fit of values (rows,) with crossed random item and seed effects.

    items, seeds, conditions: labels (rows,); reference: the condition that contrasts are taken against, by default
    the first in sorted order. NaN values are left out and counted. Intervals and p-values are Wald's with t and
    Satterthwaite-like degrees of freedom (see `_degrees_of_freedom`).

    The model gives all conditions the same item and seed effects. To compare two conditions on the same items
    and seeds, pass their differences as `values` and no conditions: then the contrast itself varies by
    item and seed, and its interval is honest about both.

    Data that cannot carry the model give a fit with converged=False or without the component, and a note.
    """
    values = np.asarray(values, dtype=float)
    labels = [np.asarray(side) for side in (items, seeds)] + ([] if conditions is None else [np.asarray(conditions)])
    if values.ndim != 1 or any(side.shape != values.shape for side in labels):
        raise StudyError("Values, items, seeds and conditions must have one entry per row.")
    if np.isinf(values).any() or not 0 < level < 1:
        raise StudyError("The mixed model needs finite or NaN values and a level between 0 and 1.")
    defined = ~np.isnan(values)
    undefined, values = int((~defined).sum()), values[defined]
    item_codes, n_items = encode_labels(labels[0][defined], "item")
    seed_codes, n_seeds = encode_labels(labels[1][defined], "seed")
    design, names = _design(None if conditions is None else labels[2][defined], reference, len(values))

    def failed(why: str) -> CrossedFit:
        effects = pd.DataFrame({"effect": names}).reindex(columns=EFFECT_COLUMNS)
        components = dict.fromkeys(("item", "seed", "residual"), float("nan"))
        return CrossedFit(effects, components, len(values), n_items, n_seeds, False, why, undefined, level)

    if len(values) <= design.shape[1]:
        return failed(f"{len(values)} defined rows cannot estimate {len(names)} effect(s) and a spread.")
    plain = np.linalg.lstsq(design, values, rcond=None)[0]
    residuals = values - design @ plain
    spread = residuals.std()
    if spread <= 1e-12 * max(1.0, np.abs(values).max()):
        return failed("The values do not vary within a condition, so there is no variance to split.")
    random, notes = _estimable(item_codes, n_items, seed_codes, n_seeds, design)
    problem = _Reduced(residuals / spread, design, item_codes, n_items, seed_codes, n_seeds)
    ratios, success = _best_ratios(problem, random)
    if ratios.max() > LARGEST_RATIO:
        return failed("Item and seed leave no residual to these values; average per item and use `mean_interval`.")
    if not success:
        notes.append("The optimiser stopped early; read the variances with care.")
    beta, covariance, scale = problem.solve(ratios)
    variances = dict(zip(("item", "seed"), ratios * scale, strict=True)) | {"residual": scale}
    spare = {"item": n_items - 1, "seed": n_seeds - 1, "residual": len(values) - design.shape[1]}
    spare["residual"] -= sum(spare[name] for name in random)
    df = _degrees_of_freedom(problem.weights(ratios), item_codes, seed_codes, variances, spare)
    errors = np.sqrt(np.diag(covariance)) * spread
    estimates, half = plain + beta * spread, t.ppf((1 + level) / 2, df) * errors
    p = 2 * t.sf(np.abs(estimates) / errors, df)
    columns = (names, estimates, errors, estimates - half, estimates + half, df, p)
    effects = pd.DataFrame(dict(zip(EFFECT_COLUMNS, columns, strict=True)))
    known = (*random, "residual")
    components = {name: float(v * spread**2) if name in known else float("nan") for name, v in variances.items()}
    note = " ".join(notes)
    return CrossedFit(effects, components, len(values), n_items, n_seeds, success, note, undefined, level)


def _design(conditions: np.ndarray | None, reference: str | None, n: int) -> tuple[np.ndarray, list[str]]:
    """Return the treatment-coded design matrix (n, effects) and the names of its columns."""
    if conditions is None or n == 0:
        return np.ones((n, 1)), ["mean"]
    codes, known = pd.factorize(conditions, sort=True)
    if np.any(codes < 0):
        raise StudyError("A row has no condition; give every row a label.")
    known = [str(name) for name in known]
    if reference is not None and str(reference) not in known:
        raise StudyError(f"The reference '{reference}' has no defined row; choose one of: {', '.join(known)}.")
    first = 0 if reference is None else known.index(str(reference))
    others = [number for number in range(len(known)) if number != first]
    columns = [np.ones(n)] + [(codes == number).astype(float) for number in others]
    base = known[first]
    return np.column_stack(columns), [f"mean of {base}"] + [f"{known[number]} - {base}" for number in others]


def _estimable(
    item_codes: np.ndarray, n_items: int, seed_codes: np.ndarray, n_seeds: int, design: np.ndarray
) -> tuple[tuple[str, ...], list[str]]:
    """Return the factors whose variance the rows can tell from the others, and a note on each other one."""
    n, pairs = len(item_codes), len(np.unique(item_codes * n_seeds + seed_codes))
    conditions = design[:, 1:] @ np.arange(1, design.shape[1])
    random, notes = [], []
    for name, codes, levels in (("item", item_codes, n_items), ("seed", seed_codes, n_seeds)):
        if levels < 2:
            notes.append(f"There is one {name} only, so its variance cannot be estimated.")
        elif len(np.unique(conditions * levels + codes)) == design.shape[1]:
            notes.append(f"Each condition has one {name}, so their effects cannot be told apart.")
        elif levels == n:
            notes.append(f"Each {name} has one row only, so its variance is part of the residual.")
        elif name == "seed" and "item" in random and pairs == n_items == n_seeds:
            notes.append("Items and seeds coincide, so the variance of the seed is part of that of the item.")
        else:
            random.append(name)
    if "seed" in random and n_seeds < 5:
        notes.append(f"Only {n_seeds} seeds: the variance of the seed is known roughly.")
    return tuple(random), notes


class _Reduced:
    """The data reduced to what the likelihood needs: sums over items, and cross-products of X, y and seeds.

    With V = I + a Z Z' + b S S' (items Z, seeds S; variances relative to the residual), the inverse of I + a Z Z'
    subtracts from each cross-product the sums within items, weighted a / (1 + a n_item); the seeds then follow
    by the Woodbury identity on a (seeds x seeds) matrix. Nothing of size rows x items is formed.
    """

    def __init__(
        self,
        values: np.ndarray,
        design: np.ndarray,
        item_codes: np.ndarray,
        n_items: int,
        seed_codes: np.ndarray,
        n_seeds: int,
    ):
        self.item_codes, self.n_items, self.seed_codes = item_codes, n_items, seed_codes
        self.n, self.n_effects = design.shape
        self.design = design
        dense = np.column_stack([design, values])
        seed_table = np.zeros((n_items, n_seeds))
        np.add.at(seed_table, (item_codes, seed_codes), 1.0)
        self.item_sizes = seed_table.sum(axis=1)
        self.item_sums = np.hstack([_group_sums(dense, item_codes, n_items), seed_table])
        by_seed = _group_sums(dense, seed_codes, n_seeds)
        self.products = np.block([[dense.T @ dense, by_seed.T], [by_seed, np.diag(seed_table.sum(axis=0))]])

    def _solved(self, ratios: np.ndarray) -> tuple[np.ndarray, float]:
        """Return M' V^-1 M for M = [X, y], and log det V."""
        a, b = ratios
        shrink = a / (1 + a * self.item_sizes)
        inner = self.products - self.item_sums.T @ (shrink[:, None] * self.item_sums)
        size = self.n_effects + 1
        seeds = np.eye(len(inner) - size) + b * inner[size:, size:]
        reduced = inner[:size, :size] - b * inner[:size, size:] @ np.linalg.solve(seeds, inner[size:, :size])
        return reduced, float(np.sum(np.log1p(a * self.item_sizes)) + np.linalg.slogdet(seeds)[1])

    def deviance(self, ratios: np.ndarray) -> float:
        """Return -2 restricted log-likelihood, up to a constant, at the relative variances (item, seed)."""
        reduced, log_det = self._solved(ratios)
        cross, fixed = reduced[:-1, -1], reduced[:-1, :-1]
        rest = reduced[-1, -1] - cross @ np.linalg.solve(fixed, cross)
        if rest <= 0:
            return np.inf
        return log_det + np.linalg.slogdet(fixed)[1] + (self.n - self.n_effects) * np.log(rest)

    def solve(self, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the fixed effects, their covariance and the residual variance."""
        reduced, _ = self._solved(ratios)
        cross, fixed = reduced[:-1, -1], reduced[:-1, :-1]
        beta = np.linalg.solve(fixed, cross)
        scale = float((reduced[-1, -1] - cross @ beta) / (self.n - self.n_effects))
        return beta, np.linalg.inv(fixed) * scale, scale

    def weights(self, ratios: np.ndarray) -> np.ndarray:
        """Return the weight of each row in each fixed effect, (effects, rows): (X' V^-1 X)^-1 X' V^-1."""
        a, b = ratios
        shrink = a / (1 + a * self.item_sizes)
        size, n_effects = self.n_effects + 1, self.n_effects
        inner = self.products - self.item_sums.T @ (shrink[:, None] * self.item_sums)
        seeds = np.eye(len(inner) - size) + b * inner[size:, size:]
        seed_part = b * np.linalg.solve(seeds, inner[size:, :n_effects])
        # V^-1 X = A^-1 (X - S seed_part), with A^-1 taking the weighted item sums off each row.
        rows = self.design - seed_part[self.seed_codes]
        sums = self.item_sums[:, :n_effects] - self.item_sums[:, size:] @ seed_part
        whitened = rows - (shrink[:, None] * sums)[self.item_codes]
        return np.linalg.solve(self.design.T @ whitened, whitened.T)


def _best_ratios(problem: _Reduced, random: tuple[str, ...]) -> tuple[np.ndarray, bool]:
    """Return the variances of (item, seed) relative to the residual with the least deviance, and whether it is found.

    Searched on the log scale, where the deviance is smooth, once for each set of components that are not 0: a
    search that may touch 0 itself sticks there.
    """
    positions = [number for number, name in enumerate(("item", "seed")) if name in random]
    best, least, success = np.zeros(2), problem.deviance(np.zeros(2)), True
    for size in range(1, len(positions) + 1):
        for chosen in combinations(positions, size):

            def deviance(logs: np.ndarray, chosen: tuple[int, ...] = chosen) -> float:
                ratios = np.zeros(2)
                ratios[list(chosen)] = np.exp(logs)
                return problem.deviance(ratios)

            start, bounds = np.full(size, -1.0), [(-18.0, 18.0)] * size
            fit = minimize(deviance, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-7})
            if fit.fun < least - 1e-9:
                best, least, success = np.zeros(2), float(fit.fun), bool(fit.success or fit.status == 2)
                best[list(chosen)] = np.exp(fit.x)
    return best, success


def _group_sums(columns: np.ndarray, codes: np.ndarray, n_groups: int) -> np.ndarray:
    return np.column_stack([np.bincount(codes, column, n_groups) for column in columns.T])


def _degrees_of_freedom(
    weights: np.ndarray,
    item_codes: np.ndarray,
    seed_codes: np.ndarray,
    variances: Mapping[str, float],
    spare: Mapping[str, int],
) -> np.ndarray:
    """Return the degrees of freedom of each fixed effect, (effects,), after Satterthwaite 1946.

    The variance of an effect, a weighted sum of rows with `weights` (effects, rows), is a sum of one part per
    component; each part counts as estimated from its levels less one (`spare`). So a mean over three seeds that
    differ much has about two degrees of freedom, however many items there are. At least 1.
    """
    grouped = {
        "item": _group_sums(weights.T, item_codes, int(item_codes.max()) + 1).T,
        "seed": _group_sums(weights.T, seed_codes, int(seed_codes.max()) + 1).T,
        "residual": weights,
    }
    parts = {name: variances[name] * np.sum(sums**2, axis=1) for name, sums in grouped.items()}
    spread = sum(part**2 / max(1, spare[name]) for name, part in parts.items())
    return np.maximum(1.0, sum(parts.values()) ** 2 / spread)


def variance_share(values: np.ndarray, factors: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return how the variance of values (rows,) splits over random factors and the residual.

    factors: name -> labels (rows,), such as item, seed, sampling repeat, paraphrase; main effects, no interactions
    (make a label of the pair for one). One row per factor and "residual": factor, levels, variance, share, note.
    Unbiased by the method of moments that equates the squared sums within levels with their expectations (MINQUE with
    zero prior weights, Hartley, Rao and LaMotte 1978); equals the analysis of variance for balanced data.
    A negative estimate is set to 0 and noted. NaN values are left out. All NaN, with a note, when the design cannot
    tell the factors apart or the values do not vary.
    """
    values = np.asarray(values, dtype=float)
    if any(np.shape(labels) != values.shape for labels in factors.values()) or values.ndim != 1:
        raise StudyError("Values and the labels of each factor must have one entry per row.")
    defined = ~np.isnan(values)
    values, n = values[defined], int(defined.sum())
    coded = {name: encode_labels(np.asarray(labels)[defined], name) for name, labels in factors.items()}
    table = pd.DataFrame({"factor": [*factors, "residual"], "levels": [*(levels for _, levels in coded.values()), n]})
    centred = values - values.mean() if n else values
    if n < 2 or np.ptp(values) == 0:
        return table.assign(variance=np.nan, share=np.nan, note="There is no variance to split.")
    # The residual is a factor with one level per row, so that one formula serves all.
    codes = [*(code for code, _ in coded.values()), np.arange(n)]
    sizes = [np.bincount(code) for code in codes]
    squares = np.array([np.sum(np.bincount(code, centred) ** 2) for code in codes])
    groups = list(zip(codes, sizes, strict=True))
    expected = np.array([[_expected_square(first, second, n) for second in groups] for first in groups])
    norms = np.sqrt(np.maximum(np.diag(expected), 1e-12))
    if np.linalg.matrix_rank(expected / np.outer(norms, norms), tol=1e-9) < len(codes):
        note = "The factors cannot be told apart: two coincide, or one has a single level or one row per level."
        return table.assign(variance=np.nan, share=np.nan, note=note)
    estimates = np.linalg.solve(expected, squares)
    variance = np.maximum(estimates, 0)
    notes = np.where(estimates < 0, "The estimate was negative and is set to 0.", "")
    return table.assign(variance=variance, share=variance / variance.sum(), note=notes)


def _expected_square(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], n: int) -> float:
    """Return what one unit of variance of the second factor adds to the squared sums within levels of the first.

    Each is (codes (n,), rows per level). It is the squared norm of their table of counts less that of independence.
    """
    (first_codes, first_sizes), (second_codes, second_sizes) = first, second
    cells, counts = np.unique(first_codes * len(second_sizes) + second_codes, return_counts=True)
    products = first_sizes[cells // len(second_sizes)] * second_sizes[cells % len(second_sizes)]
    squares = np.sum(first_sizes.astype(float) ** 2) * np.sum(second_sizes.astype(float) ** 2)
    return float(np.sum(counts.astype(float) ** 2) - 2 * np.sum(counts * products.astype(float)) / n + squares / n**2)

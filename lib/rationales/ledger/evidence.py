"""Estimates with shared random draws: one resample of items and seeds, one set of signs, for all scopes of all claims.

Because the draws are shared, the mean over scopes has a joint bootstrap and permutation distribution: an item that
stands in several scopes is drawn, or changes its sign, in all of them together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rationales.ledger.panel import Model, NotTestable, mean_of_defined
from rationales.randomness import generator_for
from rationales.statistics.bootstrap import FEW_ITEMS, FEW_SEEDS, draw_counts
from rationales.statistics.comparisons import cohen_dz, minimal_detectable_difference
from rationales.statistics.crossed import draw_seed_weights, resample_crossed_means

PERMUTATIONS = 4999
# (method, rival, measure) -> (mean lead of the method over the rival, the same under the resamples (B,))
Leads = Mapping[tuple[str, str, str], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Draws:
    """Random draws that depend on the study's seed and on what they are for, made when first asked for.

    n_items: corpus -> number of items. Returned arrays are cached; do not write to them.
    """

    n_items: Mapping[str, int]
    seed: int = 0
    resamples: int = 2000
    permutations: int = PERMUTATIONS
    _made: dict = field(default_factory=dict, repr=False)

    def item_counts(self, corpus: str) -> np.ndarray:
        """How often each item is drawn, (resamples, n_items)."""
        return self._once(("items", corpus), lambda g: _counts(self.n_items[corpus], self.resamples, g))

    def seed_weights(self, model: Model, n_seeds: int) -> np.ndarray:
        """Weights of training or sampling seeds, (resamples, n_seeds)."""
        key = ("seeds", model.corpus, model.subject, model.tuning, n_seeds)
        return self._once(key, lambda g: draw_seed_weights(n_seeds, self.resamples, g))

    def signs(self, corpus: str) -> np.ndarray:
        """-1 or 1 per item, (permutations, n_items)."""
        shape = (self.permutations, self.n_items[corpus])
        return self._once(("signs", corpus), lambda g: 2.0 * g.integers(0, 2, size=shape) - 1.0)

    def keys(self, corpus: str) -> np.ndarray:
        """Uniform numbers per item, (permutations, n_items): sorting those of some items permutes these items."""
        shape = (self.permutations, self.n_items[corpus])
        return self._once(("keys", corpus), lambda g: g.random(shape))

    def _once(self, key: tuple, make) -> np.ndarray:
        if key not in self._made:
            self._made[key] = make(generator_for("claims", self.seed, *key))
        return self._made[key]


def _counts(n: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    return np.concatenate(list(draw_counts(n, resamples, generator)))


@dataclass(frozen=True)
class Evidence:
    """What one scope says about a contrast that is 0 when nothing differs.

    resampled (B,): the estimate under resampled items and seeds. null (P,): its distribution when there is no
    difference. items: (corpus, item number) of those used. effect: d_z where the contrast is a mean of paired
    differences, else NaN. measure: what was measured. n_undefined: items of the corpus without a value. leads: for
    `read_leads` only.
    """

    estimate: float
    resampled: np.ndarray
    null: np.ndarray
    items: frozenset[tuple[str, int]]
    n_seeds: int
    effect: float = float("nan")
    measure: str = ""
    n_undefined: int = 0
    note: str = ""
    leads: Leads | None = None

    @property
    def n_items(self) -> int:
        """Number of items used."""
        return len(self.items)


def used_items(corpus: str, rows: np.ndarray) -> frozenset[tuple[str, int]]:
    """The items (corpus, number) at which `rows` (n_items,) is true."""
    return frozenset((corpus, int(place)) for place in np.flatnonzero(rows))


def resample_mean(draws: Draws, model: Model, cells: np.ndarray) -> np.ndarray:
    """Means (resamples,) of cells (n_items, n_seeds) when items and seeds are drawn independently.

    A cell counts as often as its item is drawn, times the weight of its seed (Owen 2007); where seeds are few, as wide as
    Student's t (`crossed.resample_crossed_means`). NaN where a draw hits no defined cell.
    """
    items, seeds = draws.item_counts(model.corpus), draws.seed_weights(model, cells.shape[1])
    return resample_crossed_means(cells[None], items, seeds)[:, 0]


def mean_evidence(draws: Draws, model: Model, cells: np.ndarray, measure: str = "") -> Evidence:
    """Evidence of a mean: cells (n_items, n_seeds) of paired differences, each defined cell weighing the same.

    Null: the sign of each item, with all its seeds, is arbitrary (it speaks of the seeds at hand; the bootstrap of
    other seeds too). NotTestable without a defined cell, or with one item only.
    """
    defined = ~np.isnan(cells)
    rows = defined.any(axis=1)
    if rows.sum() < 2:
        raise NotTestable(f"Fewer than two items of {model.name} have a value of {measure or 'the measure'}.")
    contributions = np.where(defined, cells, 0.0).sum(axis=1) / defined.sum()
    item_means = mean_of_defined(cells, axis=1)[rows]
    return Evidence(
        estimate=float(contributions.sum()),
        resampled=resample_mean(draws, model, cells),
        null=draws.signs(model.corpus) @ contributions,
        items=used_items(model.corpus, rows),
        n_seeds=int(defined.any(axis=0).sum()),
        effect=cohen_dz(item_means, np.zeros(len(item_means))),
        measure=measure,
        n_undefined=int((~rows).sum()),
        note=few_note(int(rows.sum()), int(defined.any(axis=0).sum())),
    )


def few_note(n_items: int, n_seeds: int) -> str:
    """A warning when there are few items, or several but few seeds; one seed stands for itself only."""
    notes = [f"Only {n_items} items: the interval is likely too narrow."] if n_items < FEW_ITEMS else []
    if 1 < n_seeds < FEW_SEEDS:
        notes.append(f"Only {n_seeds} seeds: the interval is wide where they differ.")
    return " ".join(notes)


def pool(scopes: Sequence[Evidence]) -> Evidence:
    """The mean over scopes, each weighing the same, with the joint distribution of the shared draws."""
    items = frozenset().union(*(scope.items for scope in scopes))
    measures = list(dict.fromkeys(scope.measure for scope in scopes))
    leads = pool_leads([scope.leads for scope in scopes]) if scopes[0].leads is not None else None
    estimate = float(np.mean([scope.estimate for scope in scopes])) if leads is None else smallest_lead(leads)[1]
    return Evidence(
        estimate=estimate,
        leads=leads,
        resampled=np.mean([scope.resampled for scope in scopes], axis=0),
        null=np.mean([scope.null for scope in scopes], axis=0),
        items=items,
        n_seeds=sum(scope.n_seeds for scope in scopes),
        effect=float(np.mean([scope.effect for scope in scopes])),
        measure=", ".join(measures),
        n_undefined=sum(scope.n_undefined for scope in scopes),
        note=f"Mean over {len(scopes)} scopes.",
    )


def pool_leads(scopes: Sequence[Leads]) -> Leads:
    """Each lead averaged over the scopes that all have it."""
    common = [key for key in scopes[0] if all(key in leads for leads in scopes)]
    return {
        key: (float(np.mean([leads[key][0] for leads in scopes])), np.mean([leads[key][1] for leads in scopes], axis=0))
        for key in common
    }


def smallest_lead(leads: Leads) -> tuple[str, float]:
    """The method whose smallest lead is largest, and that lead."""
    smallest: dict[str, float] = {}
    for (method, _, _), (lead, _) in leads.items():
        smallest[method] = min(lead, smallest.get(method, np.inf))
    best = max(smallest, key=smallest.get)
    return best, smallest[best]


@dataclass(frozen=True)
class Reading:
    """The numbers of one row of the ledger, before correction over the family."""

    estimate: float
    low: float
    high: float
    p: float
    effect: float
    detectable: float
    note: str


def read_evidence(evidence: Evidence, direction: str, margin: float | None, level: float = 0.95) -> Reading:
    """Return interval, p and smallest detectable difference of one scope.

    p is two-sided, (b + 1) / (m + 1) of the null distribution, for "greater", "less" and "different". For "equal" and
    "not_greater" it is that of the margin: the share of resampled estimates at or beyond the (nearer) margin. NaN when
    all values are equal on few items, which shows too little. detectable: at 80 % power, from the spread of
    the resampled estimates.
    """
    if evidence.leads is not None:
        return read_leads(evidence, margin, level)
    resampled = evidence.resampled[~np.isnan(evidence.resampled)]
    note = evidence.note
    if len(resampled) < 0.9 * len(evidence.resampled):
        missing = len(evidence.resampled) - len(resampled)
        note = f"{note} {missing} of {len(evidence.resampled)} resamples were undefined.".strip()
    if not len(resampled):
        return Reading(evidence.estimate, np.nan, np.nan, np.nan, evidence.effect, np.nan, note)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    spread = float(resampled.std(ddof=1))
    if spread == 0 and evidence.n_items < FEW_ITEMS:
        note = f"{note} All values are equal on fewer than {FEW_ITEMS} items.".strip()
        return Reading(evidence.estimate, float(low), float(high), np.nan, evidence.effect, np.nan, note)
    tolerance = 1e-12 * max(1.0, abs(evidence.estimate))
    if direction in ("equal", "not_greater"):
        above = int((resampled >= margin - tolerance).sum())
        below = int((resampled <= -margin + tolerance).sum()) if direction == "equal" else 0
        p = (max(above, below) + 1) / (len(resampled) + 1)
    else:
        null = evidence.null[~np.isnan(evidence.null)]
        p = (int((np.abs(null) >= abs(evidence.estimate) - tolerance).sum()) + 1) / (len(null) + 1)
    n = evidence.n_items
    detectable = minimal_detectable_difference(n, spread * np.sqrt(n)) if n > 2 else np.nan
    return Reading(evidence.estimate, float(low), float(high), p, evidence.effect, detectable, note)


def read_leads(evidence: Evidence, margin: float, level: float = 0.95) -> Reading:
    """Return the interval and p of the largest smallest lead, without the bias of resampling a minimum.

    high: every method has a lead below it; the upper bounds of a method's leads are Bonferroni-corrected for their
    number. low: some method has all its leads above it, corrected for the number of methods. p: for "no method
    leads everywhere by the margin", the largest over methods of the corrected p of its weakest lead.
    """
    tail = (1 - level) / 2
    methods = list(dict.fromkeys(method for method, _, _ in evidence.leads))
    lows, highs, p_values = [], [], []
    for method in methods:
        drawn = np.stack([draws for (name, _, _), (_, draws) in evidence.leads.items() if name == method])
        lows.append(np.nanquantile(drawn, tail / len(methods), axis=1).min())
        highs.append(np.nanquantile(drawn, 1 - tail / len(drawn), axis=1).min())
        beyond = (np.nansum(drawn >= margin, axis=1) + 1) / (drawn.shape[1] + 1)
        p_values.append(min(1.0, len(drawn) * float(beyond.min())))
    best, _ = smallest_lead(evidence.leads)
    note = f"{evidence.note} The best placed is {best}.".strip()
    return Reading(evidence.estimate, float(max(lows)), float(max(highs)), max(p_values), np.nan, np.nan, note)

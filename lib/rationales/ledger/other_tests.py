"""Tests of claims that are not means of paired differences: associations, groups of items, dominance, disagreement."""

from collections.abc import Mapping
from itertools import permutations

import numpy as np
from scipy.stats import rankdata

from rationales.ledger.evidence import (
    Draws,
    Evidence,
    few_note,
    mean_evidence,
    resample_mean,
    smallest_lead,
    used_items,
)
from rationales.ledger.panel import (
    ANSWER,
    CORRECT,
    INTACT,
    Model,
    NotTestable,
    Panel,
    mean_member,
    mean_of_defined,
    members_of,
    require_members,
)
from rationales.ledger.tests_of_claims import Found, check_conditions, claim_test, first_measure, over_models
from rationales.metrics.faithfulness import MEASURES

FEWEST_IN_GROUP = 5  # items; a mean of fewer says nothing about its group


@claim_test("association", ("first", "measure", "covariate"))
def test_association(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """Spearman's correlation over items between a value (mean over seeds) and a property of the item.

    Null: the items' properties are permuted. Seeds are averaged, not resampled.
    """

    def evaluate(model: Model) -> dict[str, Evidence]:
        measure = first_measure(panel, model, parameters, ("first",))
        values = mean_of_defined(mean_member(require_members(panel, model, measure, parameters["first"])), axis=1)
        property_ = panel.covariates.get(parameters["covariate"], {}).get(model.corpus)
        if property_ is None:
            raise NotTestable(f"The items of {model.corpus} have no {parameters['covariate']}.")
        rows = ~np.isnan(values) & ~np.isnan(property_)
        if rows.sum() < FEWEST_IN_GROUP or np.ptp(values[rows]) == 0 or np.ptp(property_[rows]) == 0:
            raise NotTestable(f"{measure} or {parameters['covariate']} does not vary in {model.name}.")
        x, y = values[rows], property_[rows]
        counts = draws.item_counts(model.corpus)[:, rows]
        order = np.argsort(draws.keys(model.corpus)[:, rows], axis=1)
        one, other = _centred_ranks(x), _centred_ranks(y)
        null = (one[order] @ other) / np.sqrt((one @ one) * (other @ other))
        return {
            "": Evidence(
                estimate=float(one @ other / np.sqrt((one @ one) * (other @ other))),
                resampled=weighted_spearman(x, y, counts),
                null=null,
                items=used_items(model.corpus, rows),
                n_seeds=len(panel.seeds[model]),
                measure=f"{measure} with {parameters['covariate']}",
                n_undefined=int((~rows).sum()),
                note=few_note(int(rows.sum()), 1),
            )
        }

    return over_models(panel, parameters, evaluate)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    ranks = rankdata(values)
    return ranks - ranks.mean()


def weighted_spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's correlations (B,) of x and y (n,) when item i occurs counts[b, i] times; NaN for constant draws.

    Mid-ranks of repeated items, as if they were written out.
    """
    one, other = (_weighted_ranks(values, counts) for values in (x, y))
    total = counts.sum(axis=1, keepdims=True)
    one = one - (counts * one).sum(axis=1, keepdims=True) / total
    other = other - (counts * other).sum(axis=1, keepdims=True) / total
    spread = np.sqrt((counts * one**2).sum(axis=1) * (counts * other**2).sum(axis=1))
    product = (counts * one * other).sum(axis=1)
    return np.divide(product, spread, out=np.full(len(product), np.nan), where=spread > 1e-12)


def _weighted_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mid-ranks (B, n) of values (n,) in samples where each occurs counts (B, n) times."""
    levels, place = np.unique(values, return_inverse=True)
    member = np.zeros((len(values), len(levels)))
    member[np.arange(len(values)), place] = 1.0
    size = counts @ member
    below = np.cumsum(size, axis=1) - size
    return (below + (size + 1) / 2)[:, place]


@claim_test("between", ("first", "measure"), ("second", "split", "corpora"))
def test_between(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """The mean of first (- second) on one group of items minus that on another.

    split: "correct", rightly against wrongly answered items of a model. corpora: two lists of `reader` (and `options`),
    the corpora to compare, for each subject and tuning that has both. Null: the group of each item is arbitrary.
    """
    if "split" in parameters:
        return over_models(panel, parameters, lambda model: _right_against_wrong(panel, draws, model, parameters))
    found: dict[str, Evidence] = {}
    reasons: list[str] = []
    first, second = ([c for c in panel.readers if _reads(panel, c, wanted)] for wanted in parameters["corpora"])
    if not first or not second:
        shown = " and ".join(" or ".join(map(_describe, wanted)) for wanted in parameters["corpora"])
        return {}, [f"This study does not have both kinds of corpora that are compared: {shown}."]
    for subject, tuning in dict.fromkeys((m.subject, m.tuning) for m in panel.models()):
        sides = [
            [m for m in panel.models() if m.corpus in side and (m.subject, m.tuning) == (subject, tuning)]
            for side in (first, second)
        ]
        try:
            if not all(sides):
                raise NotTestable(f"{subject}/{tuning} was not run on both kinds of corpora.")
            for model in [*sides[0], *sides[1]]:
                check_conditions(panel, model, parameters.get("where", {}))
            found[f"{subject}/{tuning}"] = _between_corpora(panel, draws, sides, parameters)
        except NotTestable as reason:
            reasons.append(str(reason))
    return found, reasons


def _describe(entry: Mapping) -> str:
    options = ", ".join(f"{key} {value}" for key, value in entry.get("options", {}).items())
    return f"{entry['reader']} ({options})" if options else entry["reader"]


def _reads(panel: Panel, corpus: str, wanted: list[Mapping]) -> bool:
    reader, options = panel.readers[corpus]
    return any(
        reader == entry["reader"] and all(options.get(key) == value for key, value in entry.get("options", {}).items())
        for entry in wanted
    )


def _contrast(panel: Panel, model: Model, parameters: Mapping) -> tuple[str, np.ndarray]:
    measure = first_measure(panel, model, parameters, ("first", "second"))
    cells = mean_member(require_members(panel, model, measure, parameters["first"]))
    if "second" in parameters:
        cells = cells - mean_member(require_members(panel, model, measure, parameters["second"]))
    return measure, cells


def _right_against_wrong(panel: Panel, draws: Draws, model: Model, parameters: Mapping) -> dict[str, Evidence]:
    measure, cells = _contrast(panel, model, parameters)
    correct = panel.series[model].get(CORRECT, {}).get((ANSWER, INTACT))
    if correct is None:
        raise NotTestable(f"There is no prediction of {model.name}, so right and wrong answers are not known.")
    defined = ~np.isnan(cells) & ~np.isnan(correct)
    right, wrong = defined & (correct == 1), defined & (correct == 0)
    fewest = min(right.any(axis=1).sum(), wrong.any(axis=1).sum())
    if fewest < FEWEST_IN_GROUP:
        kind = "right" if fewest == right.any(axis=1).sum() else "wrong"
        raise NotTestable(f"Only {fewest} items of {model.name} are answered {kind}.")
    halves = [np.where(side, cells, np.nan) for side in (right, wrong)]
    rows = defined.any(axis=1)
    # Permuting whole items keeps their seeds together: the labels of an item go to another item in one piece.
    order = np.argsort(draws.keys(model.corpus)[:, rows], axis=1)
    values, is_right, is_wrong = (np.where(defined, cells, 0.0)[rows], right[rows], wrong[rows])
    null = _permuted_mean(values, is_right[order], defined[rows]) - _permuted_mean(
        values, is_wrong[order], defined[rows]
    )
    return {
        "": Evidence(
            estimate=float(np.nanmean(halves[0]) - np.nanmean(halves[1])),
            resampled=resample_mean(draws, model, halves[0]) - resample_mean(draws, model, halves[1]),
            null=null,
            items=used_items(model.corpus, rows),
            n_seeds=len(panel.seeds[model]),
            measure=measure,
            n_undefined=int((~rows).sum()),
            note=few_note(int(fewest), len(panel.seeds[model])),
        )
    }


def _permuted_mean(values: np.ndarray, chosen: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """Means (P,) of values (n, s) over chosen (P, n, s) cells that are defined (n, s)."""
    weight = chosen & defined
    count = weight.sum(axis=(1, 2))
    total = (weight * values).sum(axis=(1, 2))
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _between_corpora(panel: Panel, draws: Draws, sides: list[list[Model]], parameters: Mapping) -> Evidence:
    """Pooled items of the first corpora against pooled items of the second; each corpus is resampled by itself."""
    means, resampled, values, keys = [], [], [], []
    items: frozenset = frozenset()
    for model in [*sides[0], *sides[1]]:
        measure, found = _contrast(panel, model, parameters)
        rows = ~np.isnan(found).all(axis=1)
        if rows.sum() < FEWEST_IN_GROUP:
            raise NotTestable(f"Fewer than {FEWEST_IN_GROUP} items of {model.name} have a value of {measure}.")
        values.append(mean_of_defined(found, axis=1)[rows])
        means.append(float(values[-1].mean()))
        resampled.append(resample_mean(draws, model, found))
        keys.append(draws.keys(model.corpus)[:, rows])
        items |= used_items(model.corpus, rows)
    sizes, cut = np.array([len(part) for part in values]), len(sides[0])
    halves = (slice(None, cut), slice(cut, None))
    averages = [np.average(means[half], weights=sizes[half]) for half in halves]
    drawn = [np.average(resampled[half], axis=0, weights=sizes[half]) for half in halves]
    shuffled = np.concatenate(values)[np.argsort(np.concatenate(keys, axis=1), axis=1)]
    first = int(sizes[:cut].sum())
    return Evidence(
        estimate=float(averages[0] - averages[1]),
        resampled=drawn[0] - drawn[1],
        null=shuffled[:, :first].mean(axis=1) - shuffled[:, first:].mean(axis=1),
        items=items,
        n_seeds=len(panel.seeds[sides[0][0]]),
        measure=measure,
        note=few_note(int(min(first, len(items) - first)), 1),
    )


@claim_test("dominance", ("rivals", "measures"), directions=("not_greater",))
def test_dominance(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """The smallest lead of the method that leads best: max over methods of min over rivals and measures.

    A lead is the method's mean minus a rival's on one measure, turned so that more is more faithful. At or above the
    margin, one method beats every rival on every measure. rivals: name -> term. See `evidence.read_leads` for the
    interval and p, which allow for the choice of the smallest lead.
    """

    def evaluate(model: Model) -> dict[str, Evidence]:
        usable = [
            measure
            for measure in parameters["measures"]
            if all(members_of(panel, model, measure, term) for term in parameters["rivals"].values())
        ]
        if not usable:
            raise NotTestable(f"No measure of {model.name} has values of all of: {', '.join(parameters['rivals'])}.")
        leads: dict[tuple[str, str, str], tuple[float, np.ndarray]] = {}
        rows = np.zeros(len(panel.items[model.corpus]), dtype=bool)
        for measure in usable:
            sign = -1.0 if MEASURES[measure.split("@")[0]].better == "lower" else 1.0
            cells = {
                name: sign * mean_member(require_members(panel, model, measure, term))
                for name, term in parameters["rivals"].items()
            }
            for name, rival in permutations(cells, 2):
                difference = cells[name] - cells[rival]
                if np.isnan(difference).all():
                    raise NotTestable(f"{name} and {rival} share no item with a value of {measure} in {model.name}.")
                rows |= ~np.isnan(difference).all(axis=1)
                leads[name, rival, measure] = float(np.nanmean(difference)), resample_mean(draws, model, difference)
        return {
            "": Evidence(
                estimate=smallest_lead(leads)[1],
                resampled=np.array([]),
                null=np.array([]),
                items=used_items(model.corpus, rows),
                n_seeds=len(panel.seeds[model]),
                measure=", ".join(usable),
                leads=leads,
            )
        }

    return over_models(panel, parameters, evaluate)


@claim_test("disagreement", ("first", "second", "measure", "agreement", "threshold", "alike_within"))
def test_disagreement(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """Agreement, corrected for chance, of pairs of explanations that are equally faithful, minus a threshold.

    A pair counts when the 95 % interval of its difference in `measure` lies inside +-`alike_within`. Agreement comes
    from the measure `agreement` of pairs, 1 = the same and 0 = chance; its mean over the pairs is taken per item.
    """

    def evaluate(model: Model) -> dict[str, Evidence]:
        measure = first_measure(panel, model, parameters, ("first", "second"))
        first = require_members(panel, model, measure, parameters["first"])
        second = require_members(panel, model, measure, parameters["second"])
        pairs = panel.series[model].get(parameters["agreement"], {})
        if not pairs:
            raise NotTestable(f"The agreement between explanations of {model.name} was not measured.")
        alike = []
        for (one, other), cells in pairs.items():
            ends = [tuple(end.split(" ", 1)) for end in (one, other)]
            for a, b in (ends, ends[::-1]):
                if a in first and b in second:
                    low, high = np.nanquantile(resample_mean(draws, model, first[a] - second[b]), [0.025, 0.975])
                    if -parameters["alike_within"] < low and high < parameters["alike_within"]:
                        alike.append(cells)
                    break
        if not alike:
            raise NotTestable(
                f"No two explanations of {model.name} are shown to be equally faithful ({measure} within "
                f"{parameters['alike_within']:g})."
            )
        cells = mean_of_defined(np.stack(alike), axis=0) - parameters["threshold"]
        evidence = mean_evidence(draws, model, cells, f"{parameters['agreement']}, {len(alike)} pairs")
        return {"": evidence}

    return over_models(panel, parameters, evaluate)


for _function in (test_association, test_between, test_dominance, test_disagreement):
    _function.__test__ = False  # tests of a study, not of the library

"""The tests that a claim may name: each turns the rows of a study into evidence, scope by scope.

A test returns evidence per scope and the reasons of scopes that it cannot test. Every test can come out against the
claim; tests/test_ledger.py simulates both directions and the margin for each of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from scipy.stats import rankdata

from rationales.ledger.evidence import Draws, Evidence, mean_evidence
from rationales.ledger.panel import (
    Model,
    NotTestable,
    Panel,
    base_of,
    label_of,
    mean_member,
    mean_of_defined,
    require_members,
)
from rationales.study import BASE, FEATURE_MODEL

Found = tuple[dict[str, Evidence], list[str]]
DIRECTIONS = ("greater", "less", "different", "equal", "not_greater")
NO_FEATURES = "This study fits no model on textual features (section `features` of the study file, notebook 10)."
CONDITIONS = ("tuning", "min_accuracy", "accuracy_range", "commonest_label", "accuracy_gain")


@dataclass(frozen=True)
class ClaimTest:
    """A registered test: its function, the parameters it needs and may have, the directions it can decide."""

    function: Callable[[Panel, Draws, Mapping], Found]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    directions: tuple[str, ...]


CLAIM_TESTS: dict[str, ClaimTest] = {}


def claim_test(
    name: str, required: tuple[str, ...], optional: tuple[str, ...] = (), directions: tuple[str, ...] = DIRECTIONS
) -> Callable:
    """Register a test under a name that the ledger uses."""

    def register(function: Callable) -> Callable:
        CLAIM_TESTS[name] = ClaimTest(function, required, (*optional, "where"), directions)
        return function

    return register


# ---- scopes


def check_conditions(panel: Panel, model: Model, where: Mapping) -> None:
    """Raise NotTestable when a model does not meet the conditions under which the claim was made.

    tuning: "base" or "tuned". min_accuracy: mean accuracy over seeds. accuracy_range: largest difference of accuracy
    between seeds. commonest_label: least share of the label given most often. accuracy_gain: least rise of accuracy
    over the untuned model.
    """
    if "tuning" in where and (model.tuning == BASE) != (where["tuning"] == "base"):
        raise NotTestable(f"The claim is about {where['tuning']} models, which {model.name} is not.")
    if "min_accuracy" in where:
        accuracy = float(np.mean(panel.accuracies(model)))
        if accuracy < where["min_accuracy"]:
            raise NotTestable(f"{model.name} is {accuracy:.2f} accurate, below {where['min_accuracy']:.2f}.")
    if "accuracy_range" in where:
        accuracies = panel.accuracies(model)
        if len(accuracies) > 1 and np.ptp(accuracies) > where["accuracy_range"]:
            raise NotTestable(
                f"The seeds of {model.name} differ by {np.ptp(accuracies):.2f} in accuracy, more than "
                f"{where['accuracy_range']:.2f}."
            )
    if "commonest_label" in where:
        share = panel.commonest.get(model, float("nan"))
        if not share >= where["commonest_label"]:
            raise NotTestable(
                f"{model.name} has not collapsed: it gives its commonest label to {share:.2f} of the items, not to "
                f"{where['commonest_label']:.2f}."
            )
    if "accuracy_gain" in where:
        before, after = (float(np.mean(panel.accuracies(m))) for m in (base_of(panel, model), model))
        if after - before < where["accuracy_gain"]:
            raise NotTestable(
                f"Fine-tuning did not raise the accuracy of {model.name} by {where['accuracy_gain']:.2f}: "
                f"{before:.2f} before, {after:.2f} after."
            )


def fits(model: Model, term: Mapping) -> bool:
    """Whether a term speaks of a model, by its `subjects`, `not_subjects` and `tunings` (patterns)."""
    return (
        model.subject in term.get("subjects", [model.subject])
        and model.subject not in term.get("not_subjects", [])
        and any(fnmatchcase(model.tuning, pattern) for pattern in term.get("tunings", ["*"]))
    )


def about_features(parameters: Mapping) -> bool:
    """Whether a claim names the model on textual features; only then is that model among those it is tested on."""
    return any(FEATURE_MODEL in parameters.get(term, {}).get("subjects", []) for term in ("first", "second"))


def models_of(panel: Panel, parameters: Mapping) -> list[Model]:
    """The models that a claim may speak of: on all test texts where its measure is of them, else on explained ones."""
    held_out = str(parameters.get("measure", "")).endswith("/heldout")
    return panel.models(features=about_features(parameters), held_out=held_out)


def over_models(panel: Panel, parameters: Mapping, evaluate: Callable, models: list[Model] | None = None) -> Found:
    """Call `evaluate(model)` -> {label: Evidence} for every model that meets the claim's conditions.

    models: default, those that the claim's first term names.
    """
    found: dict[str, Evidence] = {}
    reasons: list[str] = []
    if models is None:
        models = [model for model in models_of(panel, parameters) if fits(model, parameters.get("first", {}))]
    if not models and about_features(parameters):
        reasons.append(NO_FEATURES)
    for model in models:
        try:
            check_conditions(panel, model, parameters.get("where", {}))
            for label, evidence in evaluate(model).items():
                found[f"{model.name}: {label}" if label else model.name] = evidence
        except NotTestable as reason:
            reasons.append(str(reason))
    return found, reasons


def first_measure(panel: Panel, model: Model, parameters: Mapping, terms: tuple[str, ...], key: str = "measure") -> str:
    """The first of the claim's measures that all its terms have in this model; NotTestable when there is none."""
    wanted = parameters[key] if isinstance(parameters[key], list) else [parameters[key]]
    last = NotTestable("The claim names no measure.")
    for measure in wanted:
        try:
            for term in terms:
                if term in parameters:
                    require_members(panel, model, measure, parameters[term])
            return measure
        except NotTestable as reason:
            last = reason
    raise last


def sides(
    panel: Panel,
    model: Model,
    measures: tuple[str, str],
    parameters: Mapping,
    terms: tuple[str, str] = ("first", "second"),
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return label -> (first, second) cells; one pair of group means, or one pair per member of the term `each`.

    measures: of the first term and of the second.
    """
    groups = [
        require_members(panel, model, measure, parameters[term]) for measure, term in zip(measures, terms, strict=True)
    ]
    each = parameters.get("each")
    if each is None:
        return {"": (mean_member(groups[0]), mean_member(groups[1]))}
    rest = mean_member(groups[1 - terms.index(each)])
    pairs = {label_of(key): (cells, rest) for key, cells in groups[terms.index(each)].items()}
    return pairs if each == "first" else {label: pair[::-1] for label, pair in pairs.items()}


# ---- means of paired differences


@claim_test("difference", ("first", "second", "measure"), ("each", "second_measure"))
def test_difference(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """First minus second within a model, paired by item and seed; each a mean over the members of its group.

    second_measure: of the second term, where a paper measures the two sides differently; both must have one scale.
    """

    def evaluate(model: Model) -> dict[str, Evidence]:
        if "second_measure" in parameters:
            measure = first_measure(panel, model, parameters, ("first",))
            other_measure = first_measure(panel, model, parameters, ("second",), "second_measure")
            shown = f"{measure} minus {other_measure}"
        else:
            measure = other_measure = shown = first_measure(panel, model, parameters, ("first", "second"))
        pairs = sides(panel, model, (measure, other_measure), parameters)
        return {label: mean_evidence(draws, model, one - other, shown) for label, (one, other) in pairs.items()}

    return over_models(panel, parameters, evaluate)


@claim_test("change", ("first", "measure"), ("second", "each"))
def test_change(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """After fine-tuning minus before, paired by item; with `second`, by how much more the first changes."""

    def moved(model: Model, measure: str, term: Mapping) -> dict[tuple[str, str], np.ndarray]:
        after = require_members(panel, model, measure, term)
        before = require_members(panel, base_of(panel, model), measure, term)
        common = {key: values for key, values in after.items() if key in before}
        if not common:
            raise NotTestable(f"No explanation of {model.name} was also made before fine-tuning.")
        return {key: values - mean_of_defined(before[key], axis=1)[:, None] for key, values in common.items()}

    def evaluate(model: Model) -> dict[str, Evidence]:
        measure = first_measure(panel, model, parameters, ("first", "second"))
        changes = moved(model, measure, parameters["first"])
        other = mean_member(moved(model, measure, parameters["second"])) if "second" in parameters else 0.0
        if parameters.get("each") == "first":
            return {label_of(k): mean_evidence(draws, model, v - other, measure) for k, v in changes.items()}
        return {"": mean_evidence(draws, model, mean_member(changes) - other, measure)}

    tuned = [model for model in panel.models() if model.tuning != BASE]
    found, reasons = over_models(panel, parameters, evaluate, tuned)
    return found, reasons or ([] if tuned else ["No model of this study was fine-tuned."])


@claim_test("switch", ("first", "measure", "other_measure"), ("second",))
def test_switch(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """The contrast first - second (or first alone) under one measure minus the same under another, paired by item."""

    def evaluate(model: Model) -> dict[str, Evidence]:
        cells = []
        for key in ("measure", "other_measure"):
            measure = first_measure(panel, model, parameters, ("first", "second"), key)
            one = mean_member(require_members(panel, model, measure, parameters["first"]))
            if "second" in parameters:
                one = one - mean_member(require_members(panel, model, measure, parameters["second"]))
            cells.append((measure, one))
        (measure, one), (other, two) = cells
        return {"": mean_evidence(draws, model, one - two, f"{measure} minus {other}")}

    return over_models(panel, parameters, evaluate)


@claim_test("level", ("first", "measure", "threshold"), ("each", "epochs"))
def test_level(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """A value minus a threshold that was written down before; with `epochs`, also after each epoch of a fine-tuning."""

    def evaluate(model: Model) -> dict[str, Evidence]:
        measure = first_measure(panel, model, parameters, ("first",))
        members = require_members(panel, model, measure, parameters["first"])
        groups = {label_of(key): cells for key, cells in members.items()} if "each" in parameters else {}
        groups = groups or {"": mean_member(members)}
        threshold = parameters["threshold"]
        return {label: mean_evidence(draws, model, cells - threshold, measure) for label, cells in groups.items()}

    models = [model for model in models_of(panel, parameters) if fits(model, parameters["first"])]
    return over_models(
        panel, parameters, evaluate, models + (panel.models(epochs=True) if parameters.get("epochs") else [])
    )


@claim_test("models", ("first", "second", "measure"))
def test_models(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """One model minus another on the same items of a corpus, each averaged over its seeds.

    The terms name `subjects` and `tunings`, or `not_subjects`, beside their explainers. A scope is a pair of models.
    Seeds belong to one model, so that only items are resampled.
    """
    models = models_of(panel, parameters)
    found: dict[str, Evidence] = {}
    reasons: list[str] = []
    for first in (model for model in models if fits(model, parameters["first"])):
        for second in (m for m in models if m.corpus == first.corpus and fits(m, parameters["second"])):
            try:
                check_conditions(panel, second, parameters.get("where", {}))
                measure = first_measure(panel, first, parameters, ("first",))
                values = [
                    mean_of_defined(mean_member(require_members(panel, model, measure, parameters[term])), axis=1)
                    for model, term in ((first, "first"), (second, "second"))
                ]
                name = f"{first.name} - {second.subject}/{second.tuning}"
                found[name] = mean_evidence(draws, first, (values[0] - values[1])[:, None], measure)
            except NotTestable as reason:
                reasons.append(str(reason))
    if about_features(parameters) and not any(model.subject == FEATURE_MODEL for model in models):
        return found, [NO_FEATURES]
    wanted = " or ".join(parameters["first"].get("subjects", ["a subject of the first kind"]))
    return found, reasons or ([] if found else [f"No corpus has both {wanted} and a model to compare it with."])


@claim_test("trend", ("first", "measure"), ("each",))
def test_trend(panel: Panel, draws: Draws, parameters: Mapping) -> Found:
    """Spearman's correlation of a value with the epoch, per item and seed, in [-1, 1]; 0 for a value that stays.

    Needs at least three epochs of the table `epochs`.
    """
    runs: dict[Model, list[Model]] = {}
    for model in panel.models(epochs=True):
        runs.setdefault(Model(*model[:3]), []).append(model)

    def evaluate(model: Model) -> dict[str, Evidence]:
        ordered = sorted(runs[model], key=lambda m: m.epoch)
        measure = first_measure(panel, ordered[-1], parameters, ("first",))
        members = [require_members(panel, m, measure, parameters["first"]) for m in ordered]
        if len(ordered) < 3:
            raise NotTestable(f"A trend needs three epochs; {model.name} was measured after {len(ordered)}.")
        if len({tuple(panel.seeds[m]) for m in ordered}) > 1:
            raise NotTestable(f"The epochs of {model.name} were not measured for the same seeds.")
        if parameters.get("each") == "first":
            common = [key for key in members[0] if all(key in member for member in members)]
            stacks = {label_of(key): np.stack([member[key] for member in members]) for key in common}
        else:
            stacks = {"": np.stack([mean_member(member) for member in members])}
        return {label: mean_evidence(draws, model, trend_of(stack), measure) for label, stack in stacks.items()}

    found, reasons = over_models(panel, parameters, evaluate, list(runs))
    return found, reasons or ([] if runs else ["The table `epochs` has no rows: no fine-tuning was followed by epoch."])


def trend_of(stack: np.ndarray) -> np.ndarray:
    """Spearman's correlation with time of a stack (n_times, n_items, n_seeds); 0 where constant, NaN with a gap."""
    times = np.arange(len(stack)) - (len(stack) - 1) / 2
    ranks = rankdata(stack, axis=0, nan_policy="propagate")
    centred = ranks - ranks.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0) * (times**2).sum())
    products = np.tensordot(times, centred, axes=1)
    return np.where(np.isnan(spread), np.nan, np.divide(products, spread, out=np.zeros_like(spread), where=spread > 0))


for _function in (test_difference, test_change, test_switch, test_level, test_models, test_trend):
    _function.__test__ = False  # tests of a study, not of the library

"""The choices that a comparison of explanations makes, and those that each paper made."""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.explainers.prompts import parse_paradigm
from rationales.ledger.load import load_ledger
from rationales.metrics.faithfulness import MEASURES

PLAUSIBLE, FAITHFUL = "closeness to humans", "dependence of the answer"
# metric -> (question, measure, normalisation)
METRICS: dict[str, tuple[str, str, str]] = {
    "f1": (PLAUSIBLE, "f1", "raw"),
    "iou": (PLAUSIBLE, "iou", "raw"),
    "kappa": (PLAUSIBLE, "kappa", "raw"),
    "average_precision": (PLAUSIBLE, "average_precision", "raw"),
    "auroc": (PLAUSIBLE, "auroc", "raw"),
    "comprehensiveness": (FAITHFUL, "comprehensiveness", "raw"),
    "sufficiency": (FAITHFUL, "sufficiency", "raw"),
    "normalised_comprehensiveness": (FAITHFUL, "comprehensiveness", "by full drop"),
    "normalised_sufficiency": (FAITHFUL, "sufficiency", "by full drop"),
    "flip_rate": (FAITHFUL, "flip_rate", "raw"),
    "dfmit": (FAITHFUL, "dfmit", "raw"),
    "dffrac": (FAITHFUL, "dffrac", "raw"),
    "aopc_comprehensiveness": (FAITHFUL, "aopc_comprehensiveness", "raw"),
    "aopc_sufficiency": (FAITHFUL, "aopc_sufficiency", "raw"),
    "naopc": (FAITHFUL, "aopc_comprehensiveness", "NAOPC"),
    "deletion_area": (FAITHFUL, "deletion_area", "raw"),
    "deletion_rank_correlation": (FAITHFUL, "deletion_rank_correlation", "raw"),
    "ordered_drop_own": (FAITHFUL, "ordered_drop", "raw"),
    "ordered_drop_greedy": (FAITHFUL, "ordered_drop", "raw"),
    "ordered_aopc_own": (FAITHFUL, "ordered_aopc", "raw"),
    "ordered_aopc_greedy": (FAITHFUL, "ordered_aopc", "raw"),
}
OWN, GREEDY, UNEQUAL = "own", "greedy", "greedy for self only"  # in which order the words of a set are removed
# What the self-explanation and the attribution are measured by, where the order is a choice.
ORDERINGS: dict[str, list[tuple[str, str]]] = {
    "ordered_drop_own": [(OWN, "ordered_drop_own")],
    "ordered_drop_greedy": [(GREEDY, "ordered_drop_greedy"), (UNEQUAL, "ordered_drop_own")],
    "ordered_aopc_own": [(OWN, "ordered_aopc_own")],
    "ordered_aopc_greedy": [(GREEDY, "ordered_aopc_greedy"), (UNEQUAL, "ordered_aopc_own")],
}
# An item has its whole curve, or only some sizes of it; never both.
LENGTHS = {"human": "human", "0.2": "fifth", "own": "own", "all": "whole", "measured": "whole", "fractions": "grid",
           "1": "first word", "human_0.05": "first 5 %", "human_0.1": "first 10 %"}  # fmt: skip
FILTERS = ("all", "correct", "wrong")
FAMILIES = {"gradients": "gradient", "attentions": "attention", "propagations": "propagation",
            "perturbations": "perturbation"}  # fmt: skip
FACTORS = (
    "measure",
    "normalisation",
    "length",
    "ordering",
    "operator",
    "items",
    "attribution",
    "order",
    "form",
    "asked",
    "anchoring",
)
PROMPT = ("order", "form", "asked", "anchoring")  # they make up the name of a paradigm
# What the papers do; of a list, the first choice that the study has.
REFERENCES: dict[str, dict[str, object]] = {
    "P1, plausibility": {
        "measure": "f1", "length": "human", "items": "all", "attribution": ["input_x_gradient", "saliency", "attention"],
        "order": "PE", "form": "topk", "asked": "human", "anchoring": ["unanchored", "anchored"],
    },
    "P2, plausibility": {
        "measure": "kappa", "length": ["own", "human"], "items": "correct",
        "attribution": ["lrp", "cp_lrp", "attnlrp", "input_x_gradient"], "order": "PE", "form": "topk", "asked": "human",
        "anchoring": "anchored",
    },
    "P1, faithfulness": {
        "measure": "flip_rate", "normalisation": "raw", "length": "human", "operator": ["mask", "delete"], "items": "all",
        "attribution": ["input_x_gradient", "saliency", "attention"], "order": "PE", "form": "topk", "asked": "human",
        "anchoring": ["unanchored", "anchored"],
    },
    "P2, faithfulness": {
        "measure": "comprehensiveness", "normalisation": "raw", "length": ["own", "human"], "operator": ["mask", "delete"],
        "items": "correct", "attribution": ["lrp", "cp_lrp", "attnlrp", "input_x_gradient"], "order": "PE",
        "form": "topk", "asked": "human", "anchoring": "anchored",
    },
    "P2 v4, faithfulness": {  # the first 5 to 10 % of the words, those of sets re-ordered by greedy search
        "measure": "ordered_drop", "normalisation": "raw", "length": ["first 10 %", "first 5 %"], "ordering": UNEQUAL,
        "operator": ["mask", "delete"], "items": "correct", "attribution": ["lrp", "cp_lrp", "attnlrp", "input_x_gradient"],
        "order": "PE", "form": "topk", "asked": "human", "anchoring": "anchored",
    },
    "P3, faithfulness": {
        "measure": "aopc_comprehensiveness", "normalisation": "raw", "length": ["whole", "grid"], "operator": "delete",
        "items": "all", "attribution": ["lime", "occlusion"], "order": ["PE", "EP"], "form": "scores", "asked": "free",
        "anchoring": "unanchored",
    },
}  # fmt: skip


def list_specifications(series: list[tuple[str, str, str, str, str]]) -> Iterator[dict]:
    """Yield each pair of a self-explanation and an attribution that can be compared, under each filter.

    series: (explainer, variant, metric, length, operator) of each row of values. A self-explanation at its own length
    is compared with the attribution at the human length, as P2 does; all others at equal length. Where the words of a set
    go one by one, both sides have their own order, or the greedy one, or (P2 v4) the self-explanation alone has it;
    everywhere else the order is the explanation's own.
    """
    groups = load_ledger().groups
    places = {key: number for number, key in enumerate(series)}
    rivals: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for explainer, variant, *rest in series:
        if explainer != "self":
            rivals.setdefault(tuple(rest), []).append((explainer, variant))
    names = {
        key: name_of(key, [k for found in rivals.values() for k in found]) for found in rivals.values() for key in found
    }
    for explainer, variant, metric, length, operator in series:
        if explainer != "self":
            continue
        question, measure, normalisation = METRICS[metric]
        lower = metric in MEASURES and MEASURES[metric].better == "lower"
        other_length = "human" if length == "own" else length
        for ordering, other_metric in ORDERINGS.get(metric, [(OWN, metric)]):
            for rival, items in product(rivals.get((other_metric, other_length, operator), []), FILTERS):
                yield {
                    "question": question,
                    "measure": measure,
                    "normalisation": normalisation,
                    "length": length,
                    "ordering": ordering,
                    "operator": operator,
                    "items": items,
                    "attribution": names[rival],
                    "family": family_of(groups, rival[0]),
                    **paradigm_factors(variant),
                    "first": places[explainer, variant, metric, length, operator],
                    "second": places[*rival, other_metric, other_length, operator],
                    "sign": -1.0 if lower else 1.0,
                }


def name_of(key: tuple[str, str], everyone: list[tuple[str, str]]) -> str:
    """The explainer, with its variant where there are several."""
    explainer, variant = key
    several = len({v for e, v in everyone if e == explainer}) > 1
    return f"{explainer} ({variant})" if several else explainer


def family_of(groups: Mapping[str, object], explainer: str) -> str:
    """Family of an attribution by the ledger's groups; "other" where it is not listed."""
    return next((name for group, name in FAMILIES.items() if explainer in groups[group]), "other")


def paradigm_factors(variant: str) -> dict[str, str]:
    """The factors of a self-explanation's prompt; "other" for a variant that is no paradigm."""
    try:
        paradigm = parse_paradigm(variant)
    except StudyError:
        return {"order": "other", "form": variant, "asked": "other", "anchoring": "other"}
    anchoring = "anchored" if paradigm.anchored else "unanchored"
    return {"order": paradigm.order, "form": paradigm.form, "asked": paradigm.length, "anchoring": anchoring}


def find_specification(table: pd.DataFrame, wanted: Mapping[str, object]) -> int | None:
    """Position of the first specification that fits, None without one; of a list, earlier levels are preferred."""
    choices = [[level] if isinstance(level, str) else list(level) for level in wanted.values()]
    for levels in product(*choices):
        fits = np.logical_and.reduce(
            [(table[name] == level).to_numpy() for name, level in zip(wanted, levels, strict=True)]
        )
        if fits.any():
            return int(np.flatnonzero(fits)[0])
    return None

"""The ledger file: read and checked once; every mistake is one clear sentence."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import yaml

from rationales.errors import StudyError, require_known
from rationales.ledger import other_tests  # noqa: F401  registers its tests
from rationales.ledger.tests_of_claims import CLAIM_TESTS, CONDITIONS

PAPERS = {
    "P1": "Fayyaz et al. 2024",
    "P2": "Brandl and Eberle 2024-2026",
    "P3": "Huang et al. 2023",
    "P4": "Bogaert et al. 2023",
    "C": "across the papers",
}
TABLES = ("metrics", "predictions", "explanations", "examples", "agreement", "training", "epochs", "held_out")
MARGINS = ("plausibility", "faithfulness")
FIELDS = ("id", "version", "place", "sentence", "test", "with", "direction", "margin", "family", "needs")
TERM_FIELDS = ("explainers", "variants", "subjects", "not_subjects", "tunings")
TERMS = ("first", "second")
MEASURE_FIELDS = ("measure", "other_measure", "second_measure", "measures")
MEASURE = re.compile(r"[a-z_0-9]+@[a-z_0-9.]+(/[a-z]+)?")


@dataclass(frozen=True)
class Claim:
    """One falsifiable sentence of a paper (or a question across papers) with the test that decides it.

    finding: the numbered finding it belongs to ("P1.3" for "P1.3a"). direction: of the tested contrast. margin: the
    smallest difference that matters, a number or the name of a margin of the study file. positions: for a two-sided
    question, what each paper says ("greater", "less", "equal").
    """

    id: str
    finding: str
    paper: str
    version: str
    place: str
    sentence: str
    test: str
    parameters: dict
    direction: str
    margin: float | str
    family: str
    needs: tuple[str, ...]
    note: str = ""
    positions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ledger:
    """All claims, and the groups of explainers that they speak of."""

    claims: tuple[Claim, ...]
    groups: dict[str, object]

    def measures(self) -> set[str]:
        """Every measure that some claim names."""
        found: set[str] = set()
        for claim in self.claims:
            for key in MEASURE_FIELDS:
                given = claim.parameters.get(key, [])
                found |= set(given if isinstance(given, list) else [given])
        return found


def load_ledger(path: str | Path | None = None) -> Ledger:
    """Read and check the ledger that comes with the library, or another file of the same form.

    Raises StudyError, in one sentence that names the claim, for any unknown, missing or contradictory entry.
    """
    source = files("rationales.ledger") / "claims.yaml" if path is None else Path(path)
    try:
        text = yaml.safe_load(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(
            f"There is no ledger '{path}'; give the path of a YAML file with `groups` and `claims`."
        ) from error
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        raise StudyError(f"The ledger is not valid YAML near line {line}; mend it and run again.") from error
    if not isinstance(text, dict) or set(text) != {"groups", "claims"}:
        raise StudyError("The ledger must hold exactly the two entries `groups` and `claims`.")
    groups = check_groups(text["groups"])
    claims = tuple(read_claim(entry, groups) for entry in text["claims"])
    ids = [claim.id for claim in claims]
    if repeated := next((name for name in ids if ids.count(name) > 1), None):
        raise StudyError(f"The ledger holds the claim '{repeated}' twice; give each claim an id of its own.")
    return Ledger(claims, groups)


def check_groups(groups: object) -> dict[str, object]:
    """Groups of explainers: lists of names, or {all_but: [groups]}."""
    if not isinstance(groups, dict):
        raise StudyError("`groups` of the ledger must map names to lists of explainers or to `all_but`.")
    for name, members in groups.items():
        if isinstance(members, Mapping):
            if set(members) != {"all_but"}:
                raise StudyError(
                    f"The group '{name}' may hold a list of explainers, or `all_but` with a list of groups."
                )
            for other in members["all_but"]:
                require_known(other, groups, f"group that '{name}' leaves out")
        elif not isinstance(members, list) or not members:
            raise StudyError(f"The group '{name}' may hold a list of explainers, or `all_but` with a list of groups.")
    return groups


def read_claim(entry: object, groups: Mapping[str, object]) -> Claim:
    """One checked claim."""
    if not isinstance(entry, dict) or "id" not in entry:
        raise StudyError("Every claim of the ledger must be a mapping with an `id`.")
    name = str(entry["id"])
    if not re.fullmatch(r"(P[1-4]|C)\.?\d+[a-z]?", name):
        raise StudyError(
            f"The claim id '{name}' must be a paper, a number and perhaps a letter, such as 'P1.3a' or 'C2'."
        )
    for key in entry:
        require_known(key, (*FIELDS, "note", "positions"), f"entry of claim {name}")
    for key in FIELDS:
        if key not in entry or entry[key] in (None, "", []):
            raise StudyError(f"Claim {name} lacks `{key}`; fill it in.")
    test = CLAIM_TESTS[require_known(entry["test"], CLAIM_TESTS, f"test of claim {name}")]
    require_known(entry["direction"], test.directions, f"direction of claim {name}")
    margin = entry["margin"]
    if isinstance(margin, str):
        require_known(margin, MARGINS, f"margin of claim {name}")
    elif isinstance(margin, bool) or not isinstance(margin, (int, float)) or not margin > 0:
        raise StudyError(f"The margin of claim {name} must be a positive number or one of: {', '.join(MARGINS)}.")
    for table in entry["needs"]:
        require_known(table, TABLES, f"table needed by claim {name}")
    positions = entry.get("positions", {})
    if (entry["direction"] == "different") != bool(positions):
        raise StudyError(
            f"Claim {name}: a two-sided question (direction 'different') needs `positions`, "
            "and only such a question has them."
        )
    for position in positions.values():
        require_known(position, ("greater", "less", "equal", "different"), f"position on claim {name}")
    check_parameters(name, entry["with"], test, groups)
    paper = PAPERS[name[0] if name[0] == "C" else name[:2]]
    return Claim(
        id=name, finding=name.rstrip("abcdefghij"), paper=paper, version=str(entry["version"]), place=str(entry["place"]),
        sentence=" ".join(str(entry["sentence"]).split()), test=entry["test"], parameters=entry["with"],
        direction=entry["direction"], margin=margin, family=str(entry["family"]), needs=tuple(entry["needs"]),
        note=" ".join(str(entry.get("note", "")).split()), positions=dict(positions),
    )  # fmt: skip


def check_parameters(name: str, given: object, test, groups: Mapping[str, object]) -> None:
    """StudyError for a parameter that the test does not know, lacks or cannot read."""
    if not isinstance(given, dict):
        raise StudyError(f"`with` of claim {name} must map the test's parameters to values.")
    for key in given:
        require_known(key, (*test.required, *test.optional), f"parameter of claim {name}")
    for key in test.required:
        if key not in given:
            raise StudyError(f"Claim {name} lacks the parameter `{key}` of its test.")
    terms = {key: given[key] for key in TERMS if key in given} | dict(given.get("rivals", {}))
    for key, term in terms.items():
        check_term(f"{name}, {key}", term, groups)
    for key in MEASURE_FIELDS:
        wanted = given.get(key, [])
        for measure in wanted if isinstance(wanted, list) else [wanted]:
            if not MEASURE.fullmatch(str(measure)):
                raise StudyError(f"Claim {name} names the measure '{measure}'; write metric@k or metric@k/operator.")
    for key, value in given.get("where", {}).items():
        require_known(key, CONDITIONS, f"condition of claim {name}")
        if key == "tuning":
            require_known(value, ("base", "tuned"), f"tuning in claim {name}")
        elif not isinstance(value, (int, float)):
            raise StudyError(f"The condition `{key}` of claim {name} must be a number.")
    if "each" in given:
        require_known(given["each"], [key for key in TERMS if key in given], f"`each` of claim {name}")
    for key in ("threshold", "alike_within"):
        if key in given and not isinstance(given[key], (int, float)):
            raise StudyError(f"`{key}` of claim {name} must be a number.")


def check_term(where: str, term: object, groups: Mapping[str, object]) -> None:
    """StudyError for a term with unknown entries, groups or explainers."""
    if not isinstance(term, dict) or not term.get("explainers"):
        raise StudyError(f"Claim {where}: a term needs `explainers`, a list of groups or explainers.")
    for key, value in term.items():
        require_known(key, TERM_FIELDS, f"entry of claim {where}")
        if not isinstance(value, list):
            raise StudyError(f"Claim {where}: `{key}` must be a list.")
    listed = {explainer for members in groups.values() if isinstance(members, list) for explainer in members}
    for explainer in term["explainers"]:
        require_known(explainer, {*groups, *listed}, f"explainer in claim {where}")

"""Verdicts on every claim of the ledger, from the tables of one study."""

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.ledger.derive import (
    DERIVED,
    agreement_rows,
    answer_rows,
    held_out_rows,
    metric_rows,
    seed_rows,
    word_rows,
)
from rationales.ledger.evidence import PERMUTATIONS, Draws, Evidence, pool, read_evidence
from rationales.ledger.load import Claim, Ledger
from rationales.ledger.panel import INTACT, Model, Panel, build_panel, last_epochs
from rationales.ledger.tests_of_claims import CLAIM_TESTS
from rationales.statistics.equivalence import verdict
from rationales.statistics.families import adjust_families

NOT_TESTABLE = "not testable here"
ALL = "all"
ALPHA = 0.05
MODEL = ["corpus", "subject", "tuning"]


def panel_of(ledger: Ledger, tables: Mapping[str, pd.DataFrame], readers: Mapping[str, tuple[str, dict]]) -> Panel:
    """Return the panel of a study for the measures that the ledger names.

    tables: name -> rows, of those in `load.TABLES`; absent ones may be missing or empty. readers: corpus -> (reader,
    options) of the study file.
    """
    wanted = ledger.measures()
    get = {name: tables.get(name, pd.DataFrame()) for name in ("metrics", "predictions", "explanations", "examples")}
    metrics = metric_rows(get["metrics"], wanted)
    get = {name: last_epochs(get[name]) for name in ("predictions", "explanations")} | {"examples": get["examples"]}
    parts = [last_epochs(metrics), answer_rows(get["predictions"])]
    if not get["explanations"].empty and not get["examples"].empty:
        if any(measure.endswith("/words") for measure in wanted):
            parts.append(word_rows(get["explanations"], get["examples"]))
        if any(measure.endswith("/seeds") for measure in wanted):
            parts.append(seed_rows(get["explanations"], get["examples"], get["predictions"]))
    parts.append(held_out_rows(tables.get("held_out", pd.DataFrame())))
    parts.append(agreement_rows(last_epochs(tables.get("agreement", pd.DataFrame()))))
    rows = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    if rows.empty:
        raise StudyError("This study has no rows that a claim could be tested on; run notebooks 05 to 08 first.")
    epochs = metric_rows(tables.get("epochs", pd.DataFrame()), wanted)
    present = frozenset(name for name, table in tables.items() if not table.empty)
    return build_panel(
        rows, epochs, covariates_of(get["examples"]), commonest_of(tables), readers, ledger.groups, present
    )


def covariates_of(examples: pd.DataFrame) -> pd.DataFrame | None:
    """Properties of the items: `n_words`, the length of the text."""
    if examples.empty:
        return None
    lengths = examples["words"].map(len)
    return examples[["corpus", "example_id"]].assign(n_words=lengths.to_numpy(dtype=float))


def commonest_of(tables: Mapping[str, pd.DataFrame]) -> dict[Model, float]:
    """Share of the label given most often, per model (mean over seeds), and per epoch from the table `training`."""
    found: dict[Model, float] = {}
    predictions = last_epochs(tables.get("predictions", pd.DataFrame()))
    if not predictions.empty:
        intact = predictions[predictions["paradigm"] == INTACT]
        shares = intact.groupby([*MODEL, "seed"])["predicted"].agg(lambda p: p.value_counts(normalize=True).iloc[0])
        found = {Model(*key): float(value) for key, value in shares.groupby(MODEL).mean().items()}
    training = tables.get("training", pd.DataFrame())
    if not training.empty:
        explained = training[training["split"] == "explained"]
        shares = explained.groupby([*MODEL, "epoch"])["commonest_label"].mean()
        found |= {Model(*key[:3], int(key[3])): float(value) for key, value in shares.items()}
    return found


def evaluate_claims(
    ledger: Ledger, panel: Panel, margins: Mapping[str, float], resamples: int = 2000, seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> pd.DataFrame:  # fmt: skip
    """Return one row per claim and scope, and one pooled row (scope "all") per claim with several scopes.

    margins: "plausibility" and "faithfulness" of the study file. The `primary` row of a claim is its pooled row, or its
    only one: it is corrected by Holm within the family that the ledger declares; rows by scope are corrected
    as a family of their own. Verdicts as `decide`; claims without a scope are "not testable here" with the reason.
    """
    draws = Draws({corpus: len(names) for corpus, names in panel.items.items()}, seed, resamples, permutations)
    rows: list[dict] = []
    for claim in ledger.claims:
        margin = margins[claim.margin] if isinstance(claim.margin, str) else float(claim.margin)
        found, reasons = CLAIM_TESTS[claim.test].function(panel, draws, claim.parameters)
        absent = [name for name in claim.needs if panel.tables is not None and name not in panel.tables]
        if absent and not found:
            reasons = [f"This run has no table {' and no table '.join(absent)}."]
        rows += claim_rows(claim, margin, found, reasons, panel)
    table = adjust_families(pd.DataFrame(rows))
    table["verdict"] = [row_verdict(row) for row in table.itertuples(index=False)]
    table["reason"] = [row_reason(row, claim_of(ledger, row.claim_id)) for row in table.itertuples(index=False)]
    return table


def claim_of(ledger: Ledger, claim_id: str) -> Claim:
    """The claim of that id."""
    return next(claim for claim in ledger.claims if claim.id == claim_id)


def claim_rows(
    claim: Claim, margin: float, found: Mapping[str, Evidence], reasons: list[str], panel: Panel
) -> list[dict]:
    """Rows of one claim, before correction: by scope, then pooled."""
    identity = {
        "claim_id": claim.id, "finding": claim.finding, "paper": claim.paper, "version": claim.version,
        "place": claim.place, "sentence": claim.sentence, "test": claim.test, "direction": claim.direction,
        "margin": margin,
    }  # fmt: skip
    if not found:
        missing = dict.fromkeys(("estimate", "ci_low", "ci_high", "p", "effect_dz", "detectable"), np.nan)
        missing |= dict.fromkeys(("n_items", "n_seeds", "n_undefined", "n_scopes"), 0)
        return [{**identity, **missing, "measure": "", "scope": ALL, "primary": True, "family": claim.family,
                 "reason": why_not(reasons, panel), "note": claim.note}]  # fmt: skip
    scopes = dict(found) if len(found) == 1 else {**found, ALL: pool(list(found.values()))}
    left_out = f"Not tested in {len(reasons)} more: {commonest_reasons(reasons, panel, 1)}" if reasons else ""
    rows = []
    for scope, evidence in scopes.items():
        reading = read_evidence(evidence, claim.direction, margin)
        primary = scope == ALL or len(found) == 1
        notes = [reading.note, left_out, claim.note] if primary else [reading.note]
        rows.append(
            {
                **identity,
                "scope": scope,
                "measure": evidence.measure,
                "family": claim.family if primary else f"{claim.family}, by scope",
                "primary": primary,
                "estimate": reading.estimate,
                "ci_low": reading.low,
                "ci_high": reading.high,
                "p": reading.p,
                "effect_dz": reading.effect,
                "detectable": reading.detectable,
                "n_items": evidence.n_items,
                "n_seeds": evidence.n_seeds,
                "n_undefined": evidence.n_undefined,
                "n_scopes": len(found) if primary else 1,
                "reason": "",
                "note": " ".join(note for note in notes if note),
            }
        )
    return rows


def commonest_reasons(reasons: list[str], panel: Panel, most: int) -> str:
    """The reasons given most often, each once: for the first model that it holds for, and how many others."""
    names = sorted({model.name for model in panel.series}, key=len, reverse=True)
    any_name = re.compile("|".join(map(re.escape, names)) or "(?!)")
    first: dict[str, str] = {}
    counts: Counter = Counter()
    for reason in reasons:
        kind = any_name.sub("{model}", reason)
        counts[kind] += 1
        first.setdefault(kind, reason)
    shown = []
    for kind, count in counts.most_common(most):
        found = any_name.search(first[kind])
        others = f" and {count - 1} more" if found and count > 1 else ""
        shown.append(first[kind].replace(found.group(), found.group() + others) if others else first[kind])
    return " ".join(shown)


def why_not(reasons: list[str], panel: Panel) -> str:
    """Why a claim cannot be tested, with what its measure is where no stage writes it."""
    text = commonest_reasons(reasons, panel, 3) if reasons else "The study has no model."
    meanings = [f"({name} is: {meaning}.)" for name, meaning in DERIVED.items() if f"the measure {name} " in text]
    return " ".join([text, *meanings])


def decide(estimate: float, low: float, high: float, p_adjusted: float, direction: str, margin: float) -> str:
    """Return the verdict: `statistics.equivalence.verdict`, extended by the direction "not_greater".

    "not_greater" (the contrast is at most the margin): supported when the interval lies below the margin and
    p_adjusted < .05; contradicted when it lies wholly at or beyond it; else inconclusive. For "different", the finding
    that refutes the claim is "equivalent".
    """
    if direction != "not_greater":
        return verdict(estimate, low, high, p_adjusted, direction, margin, ALPHA)
    if np.isnan([estimate, low, high, p_adjusted]).any():
        return "inconclusive"
    if high < margin and p_adjusted < ALPHA:
        return "supported"
    return "contradicted" if low >= margin else "inconclusive"


def row_verdict(row) -> str:
    """The verdict on one row of the table."""
    if row.n_scopes == 0:
        return NOT_TESTABLE
    return decide(row.estimate, row.ci_low, row.ci_high, row.p_adjusted, row.direction, row.margin)


def row_reason(row, claim: Claim) -> str:
    """One plain sentence on why the verdict is what it is."""
    if row.verdict == NOT_TESTABLE:
        return row.reason
    interval = f"{row.estimate:+.2f} [{row.ci_low:+.2f}, {row.ci_high:+.2f}]"
    if row.verdict == "equivalent":
        text = f"The difference {interval} is smaller than the margin of {row.margin:g}."
    elif row.verdict == "inconclusive" and np.isnan([row.ci_low, row.ci_high, row.p_adjusted]).any():
        text = f"The {row.n_items} items give no interval or no test."
    elif row.verdict == "inconclusive":
        text = (
            f"The interval {interval} and the adjusted p of {row.p_adjusted:.3f} leave it open (margin {row.margin:g})."
        )
    elif row.direction in ("equal", "not_greater"):
        range_ = f"the margin of {row.margin:g}"
        place = "lies within" if row.direction == "equal" else "lies below"
        text = f"The difference {interval} {place if row.verdict == 'supported' else 'lies beyond'} {range_}."
    else:
        text = f"The difference {interval} is real (adjusted p {row.p_adjusted:.3f})."
    if not claim.positions or row.verdict == "inconclusive":
        return text
    answer = "equal" if row.verdict == "equivalent" else "greater" if row.estimate > 0 else "less"
    backed = [name for name, position in claim.positions.items() if agrees(position, answer)]
    against = [name for name in claim.positions if name not in backed]
    text += f" As {', '.join(backed)} would have it." if backed else ""
    return text + (f" Against {', '.join(against)}." if against else "")


def agrees(position: str, answer: str) -> bool:
    """Whether a paper's position on a two-sided question fits the answer."""
    return position == answer or (position == "different" and answer != "equal")

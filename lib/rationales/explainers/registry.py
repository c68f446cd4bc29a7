"""The registry of explainers, and what they return.

An explainer is a function of a `Workbench` that returns one `Explanation` per example. Register it with
`@explainer(...)` next to its definition; every later stage picks it up by name.
"""

import importlib
import inspect
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from rationales.errors import StudyError, require_known
from rationales.examples import Example

if TYPE_CHECKING:  # the engine loads torch, which those who only read explanations do without
    from rationales.subjects.engine import Engine

EXPLAINER_MODULES = (
    "baselines", "gradients", "attention", "perturbation", "surrogates", "shapley", "slalom", "relevance"
)  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """One explanation of one prediction.

    scores: float (words,), positive = supports the predicted label; or None.
    selected: indices of the chosen words, most important first when `ordered`; or None.
    valid, reason: an explanation that cannot be used stays, with the reason.
    calls, tokens, seconds: what it cost (model calls, tokens read, wall time).
    details: further facts, by name (completeness gap, share of relevance outside the text, ...).
    """

    example_id: str
    scores: np.ndarray | None = None
    selected: tuple[int, ...] | None = None
    ordered: bool = True
    valid: bool = True
    reason: str = ""
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    details: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Workbench:
    """What explainers work with: the engine of one subject, the examples and the index of each predicted label.

    seed: of every random draw. training: labelled examples for explainers that learn from the corpus alone.
    """

    engine: "Engine"
    examples: Sequence[Example]
    targets: Sequence[int]
    seed: int = 0
    training: Sequence[Example] = ()


@dataclass(frozen=True)
class Explainer:
    """A registered explainer: its function, its family (for colours and claims), and whether scores have a sign."""

    name: str
    family: str
    signed: bool
    function: Callable[..., list[Explanation]]

    def options(self) -> dict:
        """Names and defaults of its own options."""
        parameters = inspect.signature(self.function).parameters
        return {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}


EXPLAINERS: dict[str, Explainer] = {}


def explainer(name: str, family: str, signed: bool = True) -> Callable:
    """Register an explainer under `name`. family: floor, human, gradient, propagation, attention, perturbation, oracle."""

    def register(function: Callable[..., list[Explanation]]) -> Callable:
        EXPLAINERS[name] = Explainer(name, family, signed, function)
        return function

    return register


def known_explainers() -> dict[str, Explainer]:
    """All explainers, after loading the modules that define them."""
    for module in EXPLAINER_MODULES:
        importlib.import_module(f"rationales.explainers.{module}")
    return EXPLAINERS


def variant_name(options: dict) -> str:
    """The variant column: options that were set, such as "n_samples=200", or "default"; the first draw has no name."""
    named = [name for name in sorted(options) if name != "draw" or options[name]]
    return ",".join(f"{name}={options[name]}" for name in named) or "default"


def check_explainer(name: str, options: dict) -> Explainer:
    """The explainer of a study file's entry; StudyError for an unknown name or option."""
    chosen = known_explainers()[require_known(name, known_explainers(), "explainer")]
    unknown = sorted(set(options) - set(chosen.options()))
    if "draw" in unknown:
        raise StudyError(f"Explainer '{name}' draws nothing at random, so it has no further draws; leave out `draw`.")
    if unknown:
        known = ", ".join(chosen.options()) or "(none)"
        raise StudyError(f"Explainer '{name}' has no option '{unknown[0]}'; its options are: {known}.")
    return chosen


def explain(name: str, workbench: Workbench, **options) -> list[Explanation]:
    """Run one explainer on all examples of the workbench and fill in what it cost.

    A score that is not a number makes the explanation invalid, with that reason; it is never scored.
    """
    chosen = check_explainer(name, options)
    counts = workbench.engine.counts
    before, started = (counts.computed, counts.tokens), time.perf_counter()
    explanations = chosen.function(workbench, **options)
    seconds = (time.perf_counter() - started) / max(1, len(explanations))
    calls, tokens = counts.computed - before[0], counts.tokens - before[1]
    share = max(1, len(explanations))
    return [
        replace(
            check_finite(explanation),
            calls=explanation.calls or round(calls / share),
            tokens=explanation.tokens or round(tokens / share),
            seconds=seconds,
        )
        for explanation in explanations
    ]


def check_finite(explanation: Explanation) -> Explanation:
    """The explanation, marked invalid when a score is NaN or infinite."""
    if explanation.scores is None or np.isfinite(explanation.scores).all():
        return explanation
    return replace(explanation, valid=False, reason="score is not a number")


def explanation_row(explanation: Explanation, explainer_name: str, variant: str) -> dict:
    """The row of the table `explanations`, without the columns that name the run."""
    return {
        "example_id": explanation.example_id,
        "explainer": explainer_name,
        "variant": variant,
        "scores": None if explanation.scores is None else [float(score) for score in explanation.scores],
        "selected": None if explanation.selected is None else [int(index) for index in explanation.selected],
        "ordered": explanation.ordered,
        "valid": explanation.valid,
        "reason": explanation.reason,
        "calls": explanation.calls,
        "tokens": explanation.tokens,
        "seconds": explanation.seconds,
        "details": json.dumps(explanation.details, sort_keys=True),
    }

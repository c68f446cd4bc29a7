"""The table of published variants: what a registration holds, and the decorator that makes one."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A published definition that differs from ours.

    name: key into `VARIANTS`. family: "faithfulness", "plausibility" or "agreement". ours: the measure of this study
    that asks the same question. source: paper or public code. differs: what it does otherwise. low, high: its range.
    better: "higher" or "lower" (for agreement, "higher" is more agreement). arguments: names of what `function` takes.
    """

    name: str
    family: str
    ours: str
    source: str
    differs: str
    low: float
    high: float
    better: str
    function: Callable[..., float]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments that `function` needs; the others have a default."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.default is parameter.empty)


VARIANTS: dict[str, Variant] = {}


def variant(
    family: str, ours: str, source: str, differs: str, low: float = 0, high: float = 1, better: str = "higher"
) -> Callable:
    """Register a function as a published variant under its own name."""

    def register(function: Callable[..., float]) -> Callable[..., float]:
        name = function.__name__
        VARIANTS[name] = Variant(name, family, ours, source, differs, low, high, better, function)
        return function

    return register

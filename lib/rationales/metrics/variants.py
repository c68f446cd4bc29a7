"""Published definitions that differ from ours, by name, so that a paper's number and the corrected one can be shown.

`VARIANTS` lists them; the functions live in `variants_faithfulness`, `variants_huang`, `variants_plausibility` and
`variants_agreement`. Use our own measures for conclusions, and a variant to reproduce or compare with a table.
"""

import pandas as pd

from rationales.errors import StudyError, require_known
from rationales.metrics import variants_agreement, variants_faithfulness, variants_huang, variants_plausibility
from rationales.metrics._registry import VARIANTS, Variant

__all__ = ["VARIANTS", "Variant", "compute_variant", "tabulate_variants"]
FAMILIES = {  # the modules that register each family
    "faithfulness": (variants_faithfulness, variants_huang),
    "plausibility": (variants_plausibility,),
    "agreement": (variants_agreement,),
}


def compute_variant(name: str, **given: object) -> float:
    """Return the value of one variant, which takes from `given` what it needs and leaves the rest.

    Faithfulness takes curves, scores and k; plausibility scores and gold; agreement first, second and k.
    StudyError for an unknown name or when something that the variant needs is not given.
    """
    chosen = VARIANTS[require_known(name, VARIANTS, "variant")]
    missing = [argument for argument in chosen.arguments if argument not in given]
    if missing:
        raise StudyError(f"The variant '{name}' needs `{missing[0]}`; give it by name.")
    return float(chosen.function(**{argument: given[argument] for argument in chosen.arguments}))


def tabulate_variants(family: str | None = None) -> pd.DataFrame:
    """Return one row per variant: variant, family, ours, source, what differs, range, which direction is better."""
    if family is not None:
        require_known(family, FAMILIES, "family of variants")
    rows = [entry for entry in VARIANTS.values() if family in (None, entry.family)]
    return pd.DataFrame(
        {
            "variant": [row.name for row in rows],
            "family": [row.family for row in rows],
            "ours": [row.ours for row in rows],
            "source": [row.source for row in rows],
            "what differs": [row.differs for row in rows],
            "range": [f"{row.low:g} to {row.high:g}" for row in rows],
            "better": [row.better for row in rows],
        }
    )

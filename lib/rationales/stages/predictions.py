"""What the subjects answer; light, for notebooks that only read tables."""

import pandas as pd

from rationales.study import Study
from rationales.tables import PREDICTION_ONLY


def predictions_of(study: Study) -> pd.DataFrame:
    """All predictions of the intact texts under the classification prompt."""
    table = study.read("predictions", first="notebook 05_attributions")
    return table[table["paradigm"] == PREDICTION_ONLY]

"""What the subjects answer; light, for notebooks that only read tables."""

import pandas as pd

from rationales.study import Study

PREDICTION_ONLY = "prediction-only"  # the paradigm of an answer that is given without any explanation


def predictions_of(study: Study) -> pd.DataFrame:
    """All predictions of the intact texts under the classification prompt."""
    table = study.read("predictions", first="notebook 05_attributions")
    return table[table["paradigm"] == PREDICTION_ONLY]

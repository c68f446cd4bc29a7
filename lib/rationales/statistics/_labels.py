"""Labels of rows (items, seeds, conditions) as whole numbers."""

import numpy as np
import pandas as pd

from rationales.errors import StudyError


def encode_labels(labels: np.ndarray, kind: str) -> tuple[np.ndarray, int]:
    """Return (codes (rows,), number of levels), in order of appearance; raises StudyError for a missing label."""
    codes, names = pd.factorize(np.asarray(labels))
    if np.any(codes < 0):
        raise StudyError(f"A row has no {kind}; give every row a label.")
    return codes, len(names)

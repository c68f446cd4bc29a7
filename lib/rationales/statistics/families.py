"""Families of tests: Holm's correction within each family that the claims ledger declares."""

import numpy as np
import pandas as pd

from rationales.errors import StudyError


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return Holm-adjusted p-values (n,) of one family (Holm 1979).

    NaN stays NaN and does not count as a test: what could not be tested cannot give a false finding.
    Raises StudyError for a p-value outside [0, 1].
    """
    p_values = np.asarray(p_values, dtype=float)
    tested = ~np.isnan(p_values)
    if np.any((p_values[tested] < 0) | (p_values[tested] > 1)):
        raise StudyError("A p-value lies outside 0 to 1; check the column that holds them.")
    adjusted = np.full(p_values.shape, np.nan)
    # By hand: statsmodels' multipletests collects garbage at every call, which takes 50 ms and more.
    known = p_values[tested]
    ascending = np.argsort(known, kind="stable")
    stepped = np.maximum.accumulate(known[ascending] * np.arange(known.size, 0, -1))
    corrected = np.empty(known.size)
    corrected[ascending] = np.minimum(stepped, 1.0)
    adjusted[tested] = corrected
    return adjusted


def adjust_families(
    table: pd.DataFrame, family: str = "family", p: str = "p", adjusted: str = "p_adjusted", size: str = "family_size"
) -> pd.DataFrame:
    """Return a copy of `table` with Holm-adjusted p-values and the number of tests in each row's family.

    Rows keep their order and index; rows with a NaN p-value keep it and do not count in the family size.
    Raises StudyError when a column is missing, a row has no family, or a p-value lies outside [0, 1].
    """
    for column in (family, p):
        if column not in table.columns:
            raise StudyError(
                f"The table of tests has no column '{column}'; its columns are: {', '.join(table.columns)}."
            )
    if table[family].isna().any():
        raise StudyError(f"A test has no family; fill the column '{family}' for every row.")
    result = table.copy()
    p_values = pd.to_numeric(result[p]).to_numpy(dtype=float, na_value=np.nan)
    corrected, sizes = np.full(len(result), np.nan), np.zeros(len(result), dtype=int)
    codes, names = pd.factorize(result[family])
    for code in range(len(names)):
        rows = codes == code
        corrected[rows] = holm(p_values[rows])
        sizes[rows] = np.sum(~np.isnan(p_values[rows]))
    result[adjusted], result[size] = corrected, sizes
    return result

"""Agreement of the contributions to answer and explanation, as notebooks show it: beside chance, with intervals."""

import numpy as np
import pandas as pd

from rationales.figures.tables import format_interval, format_number
from rationales.statistics.bootstrap import t_interval

KEYS = ["corpus", "subject", "tuning", "seed", "paradigm", "weighing", "measure"]
SHOWN = {
    "log_prob": "mean log-probability of the reply", "ratio": "each token alike (CC-SHAP)",
    "cosine": "cosine", "spearman": "rank correlation",
}  # fmt: skip
NOT_ASKED = (
    "This study does not compare what drives answer and explanation; see `self_explanations: contributions` in the "
    "study file."
)


def contributions_summary(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row per model, seed, paradigm, weighing and measure of the table `contributions`.

    Columns: the keys; asked (texts), used (with a value), value, low, high (mean over texts, Student's interval, cut at
    -1 and 1), chance (mean over the same texts), difference, difference_low, difference_high (paired by text), note.
    """
    rows = []
    for key, part in table.groupby(KEYS, sort=False):
        values = part["value"].to_numpy(float)
        chance = np.where(np.isnan(values), np.nan, part["chance"].to_numpy(float))
        mean, above = t_interval(values, level), t_interval(values - chance, level)
        low, high = np.clip([mean.low, mean.high], -1, 1)
        rows.append({
            **dict(zip(KEYS, key, strict=True)), "asked": len(part), "used": mean.n,
            "value": mean.estimate, "low": low, "high": high,
            "chance": np.nanmean(chance) if mean.n else np.nan,
            "difference": above.estimate, "difference_low": above.low, "difference_high": above.high, "note": mean.note,
        })  # fmt: skip
    return pd.DataFrame(rows)


def contributions_table(table: pd.DataFrame) -> pd.DataFrame:
    """The summary as a reader wants it; empty for an empty table."""
    if table.empty:
        return pd.DataFrame()
    found = contributions_summary(table)
    differences = found[["difference", "difference_low", "difference_high"]].itertuples(index=False)
    return pd.DataFrame(
        {
            "words of": found["paradigm"],
            "explanation": found["weighing"].map(SHOWN),
            "measure": found["measure"].map(SHOWN),
            "texts": found["asked"],
            "used": found["used"],
            "agreement": [format_interval(*row) for row in found[["value", "low", "high"]].itertuples(index=False)],
            "chance": [format_number(value, 2) for value in found["chance"]],
            "above chance": [format_interval(*row) for row in differences],
        }
    )


def without_contributions(table: pd.DataFrame) -> pd.DataFrame:
    """Why replies could not be compared: paradigm, reason, number of texts without any value."""
    if table.empty:
        return pd.DataFrame(columns=["paradigm", "reason", "texts"])
    lost = table.groupby(["paradigm", "example_id"], sort=False).agg(valid=("valid", "any"), reason=("reason", "first"))
    lost = lost[~lost["valid"].astype(bool)].reset_index()
    return lost.groupby(["paradigm", "reason"]).size().rename("texts").reset_index()


def contributions_sentence(table: pd.DataFrame) -> str:
    """What the agreement says, with its chance level, in one sentence per paradigm."""
    if table.empty:
        return NOT_ASKED
    sentences = []
    summary = contributions_summary(table)
    for paradigm, rows in summary[summary["weighing"] == "log_prob"].groupby("paradigm", sort=False):
        cosine, ranks = (rows[rows["measure"] == name].iloc[0] for name in ("cosine", "spearman"))
        if not cosine["used"]:
            sentences.append(f"{paradigm}: none of {cosine['asked']} replies could be compared.")
            continue
        sentences.append(
            f"{paradigm}: over {cosine['used']} of {cosine['asked']} texts, the contributions of the words to answer and "
            f"reply have a cosine of {format_interval(cosine['value'], cosine['low'], cosine['high'])}, with permuted "
            f"words {format_number(cosine['chance'], 2)}, and a rank correlation of "
            f"{format_interval(ranks['value'], ranks['low'], ranks['high'])}, with permuted words 0."
        )
    return " ".join(sentences)

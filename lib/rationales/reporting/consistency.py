"""Self-consistency as notebooks show it: shares with their floor, and what could not be used."""

import numpy as np
import pandas as pd

from rationales.figures.tables import format_interval, format_number
from rationales.metrics.self_consistency import counterfactual_chance
from rationales.statistics.consistency import summarise_consistency

KEYS = ["corpus", "subject", "tuning", "seed", "kind", "paradigm"]


def consistency_summary(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row per model, seed, kind and paradigm of the table `consistency`.

    Columns: the keys; asked (texts), used (with a value), share, low, high (Wilson); random, random_low, random_high (as
    many random words); difference, difference_low, difference_high (paired by text, Tango) and p (McNemar); human,
    human_low, human_high; chance (counterfactuals: answers dealt out at random); k and edit_share (means); note.
    """
    rows = []
    for key, part in table.groupby(KEYS, sort=False):
        by_words = {name: rows_of.set_index("example_id") for name, rows_of in part.groupby("words", sort=False)}
        own = by_words["self"]
        control = by_words["random"]["value"].reindex(own.index).to_numpy(float) if "random" in by_words else None
        found = summarise_consistency(own["value"].to_numpy(float), control, level)
        human = (
            summarise_consistency(by_words["human"]["value"].to_numpy(float), None, level)
            if "human" in by_words
            else None
        )
        used = own["valid"].astype(bool)
        rows.append({
            **dict(zip(KEYS, key, strict=True)),
            "asked": len(own), "used": int(own["value"].notna().sum()),
            **_columns("share", found.share), **_columns("random", found.control),
            **_columns("difference", found.difference), "p": found.p,
            **_columns("human", human.share if human else None),
            "chance": counterfactual_chance(own["answer"].to_numpy(object), own["target"].to_numpy(object)),
            "k": float(own.loc[used, "k"].mean()) if (own["k"] >= 0).any() else np.nan,
            "edit_share": float(own.loc[used, "edit_share"].mean()) if used.any() else np.nan,
            "note": found.note,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _columns(name: str, interval) -> dict[str, float]:
    values = (np.nan, np.nan, np.nan) if interval is None else (interval.estimate, interval.low, interval.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def consistency_table(table: pd.DataFrame) -> pd.DataFrame:
    """The summary as a reader wants it; empty for an empty table."""
    if table.empty:
        return pd.DataFrame()
    found = consistency_summary(table)

    def shown(name: str) -> list[str]:
        columns = [name, f"{name}_low", f"{name}_high"]
        return ["" if np.isnan(row[0]) else format_interval(*row) for row in found[columns].itertuples(index=False)]

    return pd.DataFrame(
        {
            "kind": found["kind"],
            "words of": found["paradigm"],
            "texts": found["asked"],
            "used": found["used"],
            "consistent": shown("share"),
            "random words": shown("random"),
            "difference": shown("difference"),
            "p": ["" if np.isnan(p) else f"{p:.3f}" for p in found["p"]],
            "human words": shown("human"),
            "chance": ["" if np.isnan(chance) else format_number(chance, 2) for chance in found["chance"]],
            "share edited": ["" if np.isnan(share) else format_number(share, 2) for share in found["edit_share"]],
        }
    )


def unusable_edits(table: pd.DataFrame) -> pd.DataFrame:
    """Why edits of the model's own words could not be used: kind, reason, number of texts."""
    failed = table[(table["words"] == "self") & ~table["valid"].astype(bool)]
    return failed.groupby(["kind", "paradigm", "reason"]).size().rename("texts").reset_index()


def consistency_sentence(table: pd.DataFrame) -> str:
    """What the shares say, with their floors, in one sentence per kind."""
    if table.empty:
        return "This study does not ask the model again about its own words; see `self_explanations: consistency`."
    sentences = []
    for row in consistency_summary(table).to_dict("records"):
        if not row["used"]:
            sentences.append(f"{row['kind'].capitalize()}: none of {row['asked']} edits could be used.")
            continue
        text = f"{row['kind'].capitalize()}: {format_interval(row['share'], row['share_low'], row['share_high'])} of "
        text += f"{row['used']} texts are answered as the edit implies"
        if not np.isnan(row["random"]):
            text += (
                f"; with as many random words {format_interval(row['random'], row['random_low'], row['random_high'])}"
            )
        elif not np.isnan(row["chance"]):
            text += f"; {format_number(row['chance'], 2)} by chance"
        sentences.append(text + ".")
    return " ".join(sentences)

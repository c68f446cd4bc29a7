"""The ledger of claims as a reader sees it: one line per claim, and sentences for the top of the findings."""

import html

import pandas as pd

from rationales.figures.tables import format_interval

VERDICTS = ("supported", "contradicted", "equivalent", "inconclusive", "not testable here")
PAPER_ORDER = ("P1", "P2", "P3", "P4", "C")
MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]|$"})


def primary_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """The one row per claim of the ledger that carries its verdict; rows of other parts of `claims` are left out."""
    if claims.empty or "primary" not in claims:
        return pd.DataFrame(columns=["claim_id", "verdict"])
    return claims[claims["primary"].eq(True)].reset_index(drop=True)


def ledger_table(claims: pd.DataFrame, verdicts: tuple[str, ...] = VERDICTS) -> pd.DataFrame:
    """One row per claim with one of `verdicts`: claim, paper, sentence, verdict, contrast with interval, n, reason.

    Cells are plain text; pass the table through `escape_table` to show it whole and escaped.
    """
    rows = primary_claims(claims)
    rows = rows[rows["verdict"].isin(verdicts)]
    if rows.empty:
        return pd.DataFrame({"": ["No claim of the ledger has such a verdict."]})
    tested = rows["n_scopes"] > 0
    return pd.DataFrame(
        {
            "claim": rows["claim_id"],
            "paper": [f"{row.paper} ({row.version})" for row in rows.itertuples()],
            "says": rows["sentence"],
            "verdict": rows["verdict"],
            "contrast": [
                format_interval(row.estimate, row.ci_low, row.ci_high) if row.n_scopes else ""
                for row in rows.itertuples()
            ],
            "items / seeds": [f"{row.n_items} / {row.n_seeds}" if row.n_scopes else "" for row in rows.itertuples()],
            "why": [
                " ".join(part for part in ((row.reason, row.note) if is_tested else (row.reason,)) if part)
                for row, is_tested in zip(rows.itertuples(), tested, strict=True)
            ],
        }
    ).reset_index(drop=True)


def scope_table(claims: pd.DataFrame, claim_id: str) -> pd.DataFrame:
    """The verdicts of one claim by scope (corpus, subject, tuning, explanation), with the pooled row last."""
    rows = claims[claims["claim_id"] == claim_id]
    return pd.DataFrame(
        {
            "scope": rows["scope"],
            "verdict": rows["verdict"],
            "contrast": [format_interval(row.estimate, row.ci_low, row.ci_high) for row in rows.itertuples()],
            "p (Holm)": rows["p_adjusted"].map("{:.3f}".format),
            "detectable": rows["detectable"].map("{:.2f}".format),
            "items": rows["n_items"],
            "seeds": rows["n_seeds"],
        }
    ).reset_index(drop=True)


def ledger_sentences(claims: pd.DataFrame) -> list[str]:
    """Markdown sentences: how many claims of each paper went which way, then the answers to the contradictions.

    Text that comes from tables is escaped, for HTML and for Markdown.
    """
    rows = primary_claims(claims)
    if rows.empty:
        return ["The claims of the papers were not evaluated; run notebook 12_statistical_tests."]
    sentences = []
    for prefix in PAPER_ORDER[:-1]:
        part = rows[rows["claim_id"].str.startswith(prefix)]
        if part.empty:
            continue
        listed = {verdict: part.loc[part["verdict"] == verdict, "claim_id"].tolist() for verdict in VERDICTS}
        counts = [f"{len(ids)} {verdict} ({', '.join(ids)})" for verdict, ids in listed.items() if ids]
        sentences.append(f"- **{escape_text(part['paper'].iloc[0])}**: of {len(part)} claims, {'; '.join(counts)}.")
    for row in rows[rows["claim_id"].str.startswith("C")].itertuples():
        answer = {"supported": "yes", "equivalent": "no", "inconclusive": "undecided"}.get(row.verdict, row.verdict)
        sentences.append(f"- {escape_text(f'{row.claim_id}. {row.sentence}')} **{answer}**. {escape_text(row.reason)}")
    return sentences


def escape_text(text: str) -> str:
    """Text that neither HTML nor Markdown reads as markup."""
    return html.escape(str(text), quote=False).translate(MARKDOWN)

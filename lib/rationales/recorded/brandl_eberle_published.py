"""Numbers of Brandl & Eberle (P2) beside the same numbers computed again from their files.

`published_brandl_eberle.csv` holds what they released for seed 28 (rounded as there), and, with the paper
"re-analysis", what an earlier reading of the same files gave. The results of masking were released as pickles, which
are not read: their rows have no recomputed value, and say so.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from io import StringIO

import numpy as np
import pandas as pd

from rationales.corpora.download import find_local
from rationales.examples import Corpus
from rationales.metrics.plausibility import set_plausibility
from rationales.recorded.brandl_eberle import PARADIGM
from rationales.recorded.brandl_eberle_answers import describe_answers
from rationales.recorded.brandl_eberle_files import (
    RECORDINGS,
    AlignedAnswer,
    Recording,
    read_aligned,
    read_recording,
)
from rationales.recorded.brandl_eberle_scores import score_items, summarise_items
from rationales.recorded.substring_matching import SCORES, match_as_published
from rationales.tables import PREDICTION_ONLY

COLUMNS = ["paper", "quantity", "subject", "paradigm", "published", "recomputed", "n", "note"]
PICKLED = "not computed: the results of masking were released as pickle files, which are not read"
ABSENT = "not computed: the files are not at hand"

READ_OTHERWISE = {
    "parsed": "; counts answers that name a word of the text, where the earlier reading wanted a clean list",
    "over length": "; counts each returned word once, where the earlier reading marked all of its occurrences",
}

Finding = tuple[float, int, str]  # recomputed, n, note


def read_published() -> pd.DataFrame:
    """Return the published numbers: paper, quantity, subject, paradigm, published, source, note."""
    text = files("rationales.recorded").joinpath("published_brandl_eberle.csv").read_text(encoding="utf-8")
    return pd.read_csv(StringIO(text), keep_default_na=False, dtype={"published": float})


def published_vs_recomputed(
    tables: Mapping[str, pd.DataFrame], corpus: Corpus, generator: np.random.Generator
) -> pd.DataFrame:
    """Return every published number with its recomputation from the files at hand.

    tables: of `brandl_eberle.recorded_tables`, for the numbers of the re-analysis. Columns: paper, quantity, subject,
    paradigm, published, recomputed (NaN where it cannot be), n (sentences, or seeds for the re-analysis), note (why
    the two differ, or what ours would be).
    """
    found: dict[tuple[str, str, str], Finding] = {}
    for subject, run in _plain_runs().items():
        if find_local(run.file) is not None:
            found |= _released_scores(subject, run, tables)
    for recording in RECORDINGS:
        if recording.kind == "aligned" and find_local(recording.file) is not None:
            found |= _released_masks(recording, generator)
    found |= _reanalysis(tables, corpus)
    rows = []
    for row in read_published().to_dict("records"):
        missing = (np.nan, 0, PICKLED if row["quantity"].startswith("p_") else ABSENT)
        recomputed, n, note = found.get((row["paper"], row["quantity"], row["subject"]), missing)
        rows.append({**row, "recomputed": recomputed, "n": n, "note": "; ".join(filter(None, [row["note"], note]))})
    return pd.DataFrame(rows, columns=COLUMNS)


def _plain_runs() -> dict[str, Recording]:
    """The runs with seed 28 and no suffix, which the released scores belong to."""
    plain = [r for r in RECORDINGS if "_" not in r.run and r.kind == "answers" and r.seed == 28]
    return {recording.subject: recording for recording in plain}


AUTHORS = "Brandl & Eberle (v1 and v2)"


def _released_scores(
    subject: str, recording: Recording, tables: Mapping[str, pd.DataFrame]
) -> dict[tuple[str, str, str], Finding]:
    """The authors' matching on the file that their scores belong to, with ours in the note."""
    run = read_recording(recording)
    scored = match_as_published(run)
    kept = scored[scored["skipped"] == ""]
    right = np.mean([row.label == row.recorded_label for row in run.rows])
    ours = _our_scores(subject, recording, tables)
    found = {
        "accuracy": (100 * right, len(run.rows), ours["accuracy"]),
        "n_scored": (len(kept), len(scored), ""),
        "n_skipped": (len(scored) - len(kept), len(scored), _reasons(scored)),
        **{name: (kept[name].mean(), int(kept[name].notna().sum()), ours.get(name, "")) for name in SCORES},
    }
    if undefined := int(kept["kappa"].isna().sum()):
        value, n, note = found["kappa"]
        found["kappa"] = (value, n, f"{note}; undefined for {undefined} sentence(s) in which both mark all words")
    return {(AUTHORS, name, subject): finding for name, finding in found.items()}


def _our_scores(subject: str, recording: Recording, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Notes that give our value beside the authors', for the same run."""
    files_, predictions = tables["samples"], tables["predictions"]
    sample = files_[files_["file"] == recording.file]
    if sample.empty:
        return {"accuracy": ""}
    repeat = int(sample["repeat"].iloc[0])
    mark = f"#{repeat}" if repeat else ""
    chosen = predictions[
        (predictions["subject"] == subject)
        & (predictions["seed"] == recording.seed)
        & (predictions["paradigm"] == PREDICTION_ONLY + mark)
    ]
    stated = chosen["correct"].astype(bool)
    misread = int((stated & (chosen["recorded_label"] != chosen["label"])).sum())
    notes = {
        "accuracy": f"with the authors' parser; {100 * stated.mean():.2f} as stated, {misread} right answers misread"
    }
    metrics = tables.get("metrics")
    if metrics is not None:
        own = metrics[
            (metrics["subject"] == subject)
            & (metrics["seed"] == recording.seed)
            & (metrics["variant"] == PARADIGM + mark)
            & (metrics["k"] == "own")
        ]
        for name in ("f1", "kappa", "recall"):
            values = own.loc[own["metric"] == name, "value"].dropna()
            notes[name] = f"with the authors' matching; {values.mean():.3f} (n = {len(values)}) with whole words"
    return notes


def _reasons(scored: pd.DataFrame) -> str:
    counts = scored.loc[scored["skipped"] != "", "skipped"].value_counts()
    return "; ".join(f"{n} x {reason}" for reason, n in counts.items())


def _released_masks(recording: Recording, generator: np.random.Generator) -> dict[tuple[str, str, str], Finding]:
    """What the aligned file tells of the masking runs, and the scores per token."""
    _, rows = read_aligned(recording)
    lengths: dict[str, Callable[[AlignedAnswer], int]] = {
        "tokens_self": lambda row: row.tokens_self.sum(),
        "tokens_human": lambda row: row.tokens_human.sum(),
        "tokens_lrp": lambda row: row.tokens_lrp.sum(),
        "tokens_text": lambda row: row.context_mask.sum(),
    }
    undefined = sum(not np.isfinite(row.relevance).all() for row in rows)
    finite = f"{undefined} rows without any, as their relevance is NaN" if undefined else ""
    found: dict[tuple[str, str, str], Finding] = {
        (AUTHORS, "n_masked", recording.subject): (len(rows), len(rows), ""),
        (AUTHORS, "n_relevance_nan", recording.subject): (undefined, len(rows), ""),
    }
    for name, length in lengths.items():
        note = finite if name == "tokens_lrp" else ""
        found[AUTHORS, name, recording.subject] = (float(np.mean([length(row) for row in rows])), len(rows), note)
    summary = score_subwords(rows, generator, n_resamples=1, empty_as_zero=True).set_index(["explainer", "metric"])
    outside = sum(bool((row.tokens_human & ~row.context_mask).any()) for row in rows)
    for (explainer, metric), row in summary.iterrows():
        note = f"in {outside} of {len(rows)} sentences the authors' alignment puts human words outside the sentence"
        if explainer == "random":
            note += "; closed form, where the earlier value is one random draw"
        found["re-analysis", f"subword {metric} {explainer}", recording.subject] = (row["value"], row["n_values"], note)
    return found


def score_subwords(
    rows: Sequence[AlignedAnswer], generator: np.random.Generator, n_resamples: int = 2000, empty_as_zero: bool = False
) -> pd.DataFrame:
    """Return f1 and kappa against the human rationale over the tokens of the sentence, with P2's masks of tokens.

    explainer: "self" (all tokens of the words returned), "lrp" and "random" (as many tokens as the human rationale
    has; random in closed form), "lrp_one_over_n" (tokens of at least 1/n of the positive relevance). Rows whose
    relevance is NaN are left out for all. P2's alignment puts some human words on equal words of the prompt or the
    answer; a sentence without any human token of its own is undefined, or, with `empty_as_zero`, scores 0 against
    any other mask. Columns as `summarise_items`.
    """
    values = []
    for row in rows:
        if not np.isfinite(row.relevance).all():
            continue
        inside = row.context_mask
        gold, relevance = row.tokens_human[inside], row.relevance[inside]
        k = int(gold.sum())
        chosen = {"self": row.tokens_self[inside], "lrp_one_over_n": row.tokens_lrp[inside]}
        scores = {name: (mask.astype(float), int(mask.sum())) for name, mask in chosen.items()}
        scores |= {"lrp": (relevance, k), "random": (np.zeros(len(gold)), k)}
        for name, (vector, size) in scores.items():
            found = set_plausibility(vector, gold, size)
            if empty_as_zero and k == 0:
                found = {"f1": 0.0, "kappa": 0.0 if size else np.nan}
            values += [
                {"example_id": row.text, "explainer": name, "metric": metric, "value": found[metric]}
                for metric in ("f1", "kappa")
            ]
    columns = ["example_id", "explainer", "metric", "value"]
    return summarise_items(pd.DataFrame(values, columns=columns), generator, ["explainer", "metric"], n_resamples)


def _reanalysis(tables: Mapping[str, pd.DataFrame], corpus: Corpus) -> dict[tuple[str, str, str], Finding]:
    """Lowest and highest value over the seeds at hand, of the first answers under each seed."""
    predictions, responses = tables["predictions"], tables["responses"]
    first = predictions[predictions["paradigm"] == PREDICTION_ONLY]
    recorded = first.assign(value=100.0 * (first["recorded_label"] == first["label"]))
    answers = describe_answers(responses[responses["repeat"] == 0]).set_index("quantity")
    items = tables["metrics"] if "metrics" in tables else score_items(tables["explanations"], corpus)
    own = items[(items["variant"] == PARADIGM) & (items["k"] == "own")]
    per_seed = {
        "recorded accuracy": recorded,
        "words f1": own[own["metric"] == "f1"],
        "words kappa": own[own["metric"] == "kappa"],
        "over length": answers.loc["over_length"].assign(value=lambda table: 100 * table["value"]),
        "parsed": answers.loc["valid"],
    }
    found: dict[tuple[str, str, str], Finding] = {}
    for name, table in per_seed.items():
        means = table.groupby(["subject", "seed"])["value"].mean()
        for subject, values in means.groupby("subject"):
            seeds = ", ".join(str(seed) for seed in values.index.get_level_values("seed"))
            note = f"over seeds {seeds}"
            note += READ_OTHERWISE.get(name, "")
            for which, value in (("lowest", values.min()), ("highest", values.max())):
                found["re-analysis", f"{name}, {which} seed", subject] = (float(value), len(values), note)
    return found

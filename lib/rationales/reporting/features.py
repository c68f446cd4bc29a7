"""The textual-feature model for readers: tables and sentences of one corpus, language and transformer."""

import pandas as pd
from matplotlib.figure import Figure

from rationales.features.options import SUMMARIES
from rationales.figures.forest import plot_forest
from rationales.figures.heatmap import rationale_heatmap
from rationales.figures.style import metric_style
from rationales.figures.tables import format_interval, format_number
from rationales.reporting.pictures import choose_example
from rationales.stages.prepare import read_corpus
from rationales.statistics.families import holm
from rationales.study import FEATURE_MODEL, Study
from rationales.tables import read_part
from rationales.tasks import PRIVATE_TASKS

SCOPE = ("corpus", "language", "teacher")
PLAIN, DERIVED = "features", "features-and-derived"
NAMES = {PLAIN: "Textual features", DERIVED: "With derived words"}
VARIED = {
    "default": "same texts",
    "drawn-explanations": "transformer's seeds drawn anew",
    "drawn-texts": "training texts drawn anew",
}
SHOWN = ("pearson", "spearman", "top_k_jaccard")
Tables = dict[str, pd.DataFrame]


def read_features(study: Study) -> Tables:
    """The tables as `compare_features` wrote them; StudyError naming notebook 10 when one is missing."""
    parts = {name: read_part(study.part("feature_models", name), "notebook 10_textual_features") for name in SUMMARIES}
    return {name: part.drop(columns=["study", "config_hash"]) for name, part in parts.items()}


def scopes_in(tables: Tables) -> list[dict]:
    """Return corpus, language and teacher of everything that was compared, in the order of the study file."""
    return tables["accuracies"][list(SCOPE)].drop_duplicates().to_dict("records")


def rows_of_scope(table: pd.DataFrame, scope: dict) -> pd.DataFrame:
    """Return the rows of one scope without its columns."""
    rows = table[(table[list(scope)] == pd.Series(scope)).all(axis=1)]
    return rows.drop(columns=list(scope)).reset_index(drop=True)


def scope_name(scope: dict) -> str:
    """A scope as a heading: corpus (language) beside subject/tuning."""
    return f"{scope['corpus']} ({scope['language']}) beside {scope['teacher']}"


def model_name(subject: str, tuning: str, seed: int | None = None) -> str:
    """A model as readers see it; feature models have one fit on all texts, transformers are told apart by seed."""
    if subject == FEATURE_MODEL:
        return NAMES[tuning]
    return f"{subject}/{tuning}" + ("" if seed is None else f", seed {seed}")


def accuracy_rows(tables: Tables, scope: dict) -> pd.DataFrame:
    """Return model, estimate, low, high, n and floor (share of the commonest label), for a forest plot."""
    rows = rows_of_scope(tables["accuracies"], scope)
    names = [model_name(*key) for key in rows[["subject", "tuning", "seed"]].itertuples(index=False, name=None)]
    return rows.assign(model=names)[["model", "estimate", "low", "high", "n", "floor"]]


def test_table(tables: Tables, scope: dict) -> pd.DataFrame:
    """Return each pair of models: difference with interval, McNemar's p (Holm over the pairs), whether equivalent."""
    rows = rows_of_scope(tables["tests"], scope)
    adjusted = holm(rows["p_mcnemar"].to_numpy())
    return pd.DataFrame(
        {
            "first": [_short(name) for name in rows["first"]],
            "second": [_short(name) for name in rows["second"]],
            "first - second": [format_interval(r.difference, r.low, r.high) for r in rows.itertuples()],
            "McNemar p (Holm)": [format_number(p, 3) for p in adjusted],
            "TOST p": [format_number(p, 3) for p in rows["p_equivalence"]],
            "equal within the margin": rows["equivalent"],
            "n": rows["n"],
        }
    )


test_table.__test__ = False  # a table of tests, not a test of the library


def _short(name: str) -> str:
    """A model of the table `tests` ("subject, tuning, seed 0") as readers see it."""
    subject, tuning, seed = name.split(", ")
    return model_name(subject, tuning, int(seed.removeprefix("seed ")))


def stability_rows(tables: Tables, scope: dict, metric: str = "pearson") -> pd.DataFrame:
    """Return model, estimate, low, high and n of one measure, for a forest plot: every model and what was varied."""
    rows = rows_of_scope(tables["stability"], scope)
    rows = rows[(rows["metric"] == metric) & ~_repeated(rows)]
    return rows.assign(model=[_varied_name(row) for row in rows.itertuples()])[
        ["model", "estimate", "low", "high", "n"]
    ]


def stability_table(tables: Tables, scope: dict) -> pd.DataFrame:
    """Return one row per model and what was varied: stability with intervals, items whose label changes, seeds."""
    rows = rows_of_scope(tables["stability"], scope)
    labels = rows[rows["metric"] == "share_differing"].set_index(["subject", "tuning"])
    shown = rows[rows["metric"].isin(SHOWN) & ~_repeated(rows)]
    table = []
    for (subject, tuning, variant), part in shown.groupby(["subject", "tuning", "variant"], sort=False):
        cells = {row.metric: format_interval(row.estimate, row.low, row.high) for row in part.itertuples()}
        change = labels.loc[(subject, tuning)] if variant == "default" else None
        table.append(
            {
                "model": _varied_name(part.iloc[0]),
                **{metric_style(metric)["label"]: cells[metric] for metric in SHOWN},
                "items whose label changes": ""
                if change is None
                else format_interval(change["estimate"], change["low"], change["high"]),
                "seeds": int(part["n_seeds"].max()),
                "items": int(part["n"].max()),
            }
        )
    return pd.DataFrame(table)


def _repeated(rows: pd.DataFrame) -> pd.Series:
    """Rows that repeat others: without derived words nothing depends on the transformer's seeds."""
    return (rows["tuning"] == PLAIN) & (rows["variant"] == "drawn-explanations")


def _varied_name(row) -> str:
    name = model_name(row.subject, row.tuning)
    return f"{name}: {VARIED[row.variant]}" if row.subject == FEATURE_MODEL else f"{name}: {row.explainer}"


def change_table(tables: Tables, scope: dict) -> pd.DataFrame:
    """Return stability before and after derived words came in, and the difference with its interval over items."""
    rows = rows_of_scope(tables["stability_tests"], scope)
    rows = rows[rows["metric"].isin(SHOWN)]
    if rows.empty:
        return pd.DataFrame({"": ["No word was derived, so that there is no before and after."]})
    return pd.DataFrame(
        {
            "what varies": [VARIED[variant] for variant in rows["variant"]],
            "measure": [metric_style(metric)["label"] for metric in rows["metric"]],
            "features": [format_number(value) for value in rows["before"]],
            "features and derived words": [format_number(value) for value in rows["after"]],
            "difference": [format_interval(r.difference, r.low, r.high) for r in rows.itertuples()],
            "n": rows["n"],
        }
    ).reset_index(drop=True)


def coefficient_rows(tables: Tables, scope: dict, tuning: str, label: str, most: int = 15) -> pd.DataFrame:
    """Return the `most` largest coefficients of a label (in absolute value), for a forest plot with the row feature.

    Features that no training text has are left out: their coefficient is 0 by construction.
    """
    rows = rows_of_scope(tables["coefficients"], scope)
    rows = rows[(rows["tuning"] == tuning) & (rows["label"] == label) & (rows["estimate"] != 0)]
    largest = rows["estimate"].abs().sort_values(ascending=False, kind="stable").index[:most]
    return rows.loc[largest, ["feature", "source", "estimate", "low", "high", "n"]].reset_index(drop=True)


def plot_coefficients(tables: Tables, scope: dict, tuning: str, label: str, most: int = 15) -> Figure | None:
    """Return the forest of `coefficient_rows`, with a line at no influence; None without a row."""
    rows = coefficient_rows(tables, scope, tuning, label, most)
    if rows.empty:
        return None
    text = f"Coefficient for '{label}', per standard deviation"
    figure = plot_forest(rows, "coefficient", by="feature", xlabel=text, note=f"{NAMES[tuning]}, {scope_name(scope)}")
    figure.axes[0].axvline(0, color="#555555", linestyle=":", linewidth=1.2)
    return figure


def coefficient_labels(tables: Tables, scope: dict) -> list[str]:
    """Return the labels that have coefficients of their own: with two labels one, the other has the same negated."""
    return list(rows_of_scope(tables["coefficients"], scope)["label"].unique())


def word_table(tables: Tables, scope: dict) -> pd.DataFrame:
    """Return the candidate words of each label, the most relevant first, with relevance, texts and whether taken."""
    rows = rows_of_scope(tables["derived_words"], scope)
    if rows.empty:
        return pd.DataFrame({"": ["The explanations suggested no word."]})
    words = {}
    for label, part in rows.groupby("label", sort=True):
        shown = [
            f"{row.word} ({row.relevance:.2f}, {row.documents}{'' if row.chosen else ', not taken'})"
            for row in part.itertuples()
        ]
        words[f"for {label} (relevance, texts)"] = pd.Series(shown)
    return pd.DataFrame(words).fillna("")


def selection_table(tables: Tables, scope: dict) -> pd.DataFrame:
    """Return the least cross-validated log loss of each number of words, with its penalty and accuracy."""
    rows = rows_of_scope(tables["selection"], scope)
    rows = rows[rows["tuning"] == (DERIVED if DERIVED in set(rows["tuning"]) else PLAIN)]
    best = rows.loc[rows.groupby("size")["log_loss"].idxmin()]
    table = best[["size", "regularisation", "log_loss", "accuracy", "n"]].rename(columns={"size": "words"})
    return table.assign(chosen=table["log_loss"] == table["log_loss"].min()).reset_index(drop=True)


def heatmap_of_scope(study: Study, tables: Tables, scope: dict, most_seeds: int = 4) -> str:
    """HTML of one instructive text: both feature models (first seed) above the transformer under `most_seeds` seeds."""
    corpus = read_corpus(study, scope["corpus"])
    if corpus.task in PRIVATE_TASKS:
        return "(texts of this corpus are not shown)"
    rows = rows_of_scope(tables["explained"], scope)
    labels = {item.example_id: item.label for item in corpus.examples}
    rows = rows.assign(correct=rows["predicted"] == rows["example_id"].map(labels))
    shown = set(rows["example_id"])
    example = choose_example([item for item in corpus.examples if item.example_id in shown], rows)
    lines = []
    if example.gold is not None:
        lines.append({"name": "human", "selected": [n for n, mark in enumerate(example.gold) if mark]})
    for (subject, _), part in rows[rows["example_id"] == example.example_id].groupby(["subject", "tuning"], sort=False):
        for row in part.sort_values("seed").head(1 if subject == FEATURE_MODEL else most_seeds).itertuples():
            name = f"{model_name(row.subject, row.tuning, row.seed)}: {row.predicted}"
            usable = row.valid and row.scores is not None
            lines.append({"name": name, "scores": row.scores} if usable else {"name": name, "note": "invalid"})
    k = sum(example.gold) if example.gold is not None and any(example.gold) else None
    return rationale_heatmap(example.word_texts, lines, title=f"Example {example.example_id}", label=example.label, k=k)


def feature_sentences(tables: Tables, scope: dict) -> list[str]:
    """Markdown sentences on one scope: accuracy, derived words, stability; computed from the tables."""
    accuracy = rows_of_scope(tables["accuracies"], scope).set_index("tuning")
    own = accuracy[accuracy["subject"] == FEATURE_MODEL]
    other = accuracy[accuracy["subject"] != FEATURE_MODEL]
    plain, n = own.loc[PLAIN], int(accuracy["n"].max())
    sentences = [
        f"**Accuracy.** On {n} test texts the textual features alone are right in {_cell(plain)} (the commonest label in "
        f"{format_number(plain['floor'])}); {scope['teacher']} in {_range(other['estimate'])}. "
        + _tested(test_table(tables, scope), NAMES[PLAIN], scope)
    ]
    if DERIVED in own.index:
        words = rows_of_scope(tables["derived_words"], scope)
        gain = test_table(tables, scope).iloc[0]
        if not words["chosen"].any():
            none = "**Derived words.** Cross-validation takes none of the words that the explanations suggest."
            return [*sentences, none, *stability_sentences(tables, scope)[:1]]
        sentences.append(
            f"**Derived words.** With {_count(int(words['chosen'].sum()))} from the transformer's explanations the model is right "
            f"in {_cell(own.loc[DERIVED])}; features alone minus with words: {gain['first - second']}, "
            f"McNemar p (Holm) {gain['McNemar p (Holm)']}."
        )
    return [*sentences, *stability_sentences(tables, scope)]


def stability_sentences(tables: Tables, scope: dict) -> list[str]:
    """Markdown sentences on the stability of the explanations of one scope, and what derived words do to it."""
    rows = rows_of_scope(tables["stability"], scope)
    rows = rows[rows["metric"] == "pearson"].set_index(["subject", "tuning", "variant"])
    plain = [
        rows.loc[(FEATURE_MODEL, PLAIN, variant)]
        for variant in ("default", "drawn-texts")
        if (FEATURE_MODEL, PLAIN, variant) in rows.index
    ]
    text = f"**Stability.** Over {int(plain[0]['n_seeds'])} seeds the explanations of the features alone correlate by {_cell(plain[0])}"
    text += f", and by {_cell(plain[1])} when the training texts are drawn anew" if len(plain) > 1 else ""
    for (subject, _, _), row in rows.iterrows():
        if subject != FEATURE_MODEL and pd.notna(row["estimate"]):
            text += (
                f"; those of {scope['teacher']} ({row['explainer']}) by {_cell(row)} over {int(row['n_seeds'])} seeds"
            )
    sentences = [text + "."]
    changes = rows_of_scope(tables["stability_tests"], scope)
    for row in changes[changes["metric"] == "pearson"].itertuples():
        how = "falls" if row.high < 0 else "rises" if row.low > 0 else "does not change measurably"
        sentences.append(
            f"- With derived words the correlation {how} ({VARIED[row.variant]}): {format_number(row.before, 3)} before, "
            f"{format_number(row.after, 3)} after, difference {format_interval(row.difference, row.low, row.high, 3)}."
        )
    return sentences


def findings_sentences(tables: Tables) -> list[str]:
    """The sentences of every scope under its name, as a list of Markdown paragraphs."""
    sentences = []
    for scope in scopes_in(tables):
        sentences += [f"**{scope_name(scope)}**", *feature_sentences(tables, scope)]
    return sentences


def sentences_of_study(study: Study) -> list[str]:
    """`findings_sentences` of a study, or one sentence where it has no such model or has not fitted it yet."""
    if not study.features["corpora"]:
        return ["This study fits no model on textual features."]
    if not study.part("feature_models", SUMMARIES[0]).is_file():
        return ["The models on textual features were not fitted; run notebook 10_textual_features."]
    return findings_sentences(read_features(study))


def _cell(row) -> str:
    return format_interval(row["estimate"], row["low"], row["high"])


def _count(words: int) -> str:
    return "1 word" if words == 1 else f"{words} words"


def _range(values: pd.Series) -> str:
    low, high = format_number(values.min()), format_number(values.max())
    seeds = f" ({len(values)} seeds)" if len(values) > 1 else ""
    return f"{low}{seeds}" if low == high else f"{low} to {high}{seeds}"


def _tested(tests: pd.DataFrame, first: str, scope: dict) -> str:
    """How many seeds of the transformer differ from, and how many equal, the model on features alone."""
    pairs = tests[(tests["first"] == first) & tests["second"].str.startswith(scope["teacher"])]
    differ = int((pairs["McNemar p (Holm)"].map(_number) < 0.05).sum())
    equal = int(pairs["equal within the margin"].sum())
    return f"McNemar's test (Holm) tells it from {differ} of {len(pairs)} seeds, and the equivalence test calls it equal to {equal}."


def _number(text: str) -> float:
    return float(text) if text != "undefined" else float("nan")

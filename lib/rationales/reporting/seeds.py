"""Seed variance for readers: tables of one model, and sentences computed from them."""

import numpy as np
import pandas as pd

from rationales.figures.style import metric_style
from rationales.figures.tables import format_interval, format_number
from rationales.reporting.scores import display_name
from rationales.reporting.sentences import NOT_RIVALS, label_of
from rationales.stages.analyse_seeds import SeedAnalysis
from rationales.stages.seed_components import DRAW_BY_ITEM, REPLICATES, WORDING_BY_CELL, WORDING_BY_ITEM
from rationales.stages.seed_data import FIXED, PREDICTED

MODEL = ("corpus", "subject", "tuning")
HUMANS = "human"
WITHIN_SEEDS = (*REPLICATES.values(), WORDING_BY_ITEM, WORDING_BY_CELL, DRAW_BY_ITEM, "sampled repeat and explainer noise",
                "replicate")  # fmt: skip
FEW_SUBSETS = 20  # below this no selection can stand above 95 % of the random ones
LABELS = {
    "half_correlation": "Half against half",
    "half_correlation_concatenated": "Half against half (end to end)",
    "correlation_with_mean": "Correlation with the mean, k a fifth",
    "snr_corrected": "Signal-to-noise ratio (corrected)",
    "signal_corrected": "Signal (corrected)",
}
SHOWN = ("pearson", "spearman", "top_k_jaccard", "half_correlation", "correlation_with_mean", "snr_corrected")


def models_in(analysis: SeedAnalysis) -> list[dict]:
    """Return the models of the analysis, in the order of the study file."""
    found = analysis.accuracies[list(MODEL)].drop_duplicates()
    return found.to_dict("records")


def rows_of_seeds(table: pd.DataFrame, model: dict, **chosen: object) -> pd.DataFrame:
    """Return the rows of one model and of the given values of other columns, with `explainer` as display names.

    Display names join explainer and variant (or base); tables of humans have them in `source`.
    """
    if table.empty:
        return table
    keys = {**model, **chosen}
    rows = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)]
    variant = "variant" if "variant" in rows.columns else "base"
    if "explainer" in rows.columns:
        names = [display_name(e, v) for e, v in zip(rows["explainer"], rows[variant], strict=True)]
        rows = rows.assign(explainer=names)
    return rows.reset_index(drop=True)


def stability_table(analysis: SeedAnalysis, model: dict, metrics: tuple[str, ...] = SHOWN) -> pd.DataFrame:
    """Return one row per explainer and one column per measure: estimate and interval over items and seeds.

    The last row is the chance level. Explainers that do not depend on the seed are left out: theirs is 1.
    """
    rows = rows_of_seeds(analysis.stability, model, towards=PREDICTED, varies=True)
    rows = rows[rows["metric"].isin(metrics)]
    if rows.empty:
        return pd.DataFrame({"": ["No explainer of this model depends on the seed."]})
    cells = rows.assign(cell=[format_interval(r.estimate, r.low, r.high) for r in rows.itertuples()])
    wide = cells.pivot(index="explainer", columns="metric", values="cell")
    wide = wide.reindex(index=list(dict.fromkeys(rows["explainer"])), columns=list(metrics))
    wide.index = [label_of(name) for name in wide.index]
    wide.loc["Chance level"] = [format_number(float(rows[rows["metric"] == m]["chance"].mean())) for m in metrics]
    return wide.rename(columns={metric: LABELS.get(metric, metric_style(metric)["label"]) for metric in metrics})


def selection_figure_table(analysis: SeedAnalysis, model: dict, metric: str = "pearson") -> pd.DataFrame:
    """Return the rows of `plot_selections` for one model, scores signed for one label where they have a sign.

    That is the sign of Bogaert et al. 2023; explainers without signs, and models without divided items, have one form.
    Empty with two seeds, of which none can be left out.
    """
    rows = rows_of_seeds(analysis.selections, model, metric=metric)
    if rows.empty:  # without a column to ask for, perhaps
        return rows
    rows = rows[rows["rule"] != "all"]
    signed = set(rows.loc[rows["towards"] == FIXED, "explainer"])
    return rows[(rows["towards"] == FIXED) | ~rows["explainer"].isin(signed)].reset_index(drop=True)


def humans_table(analysis: SeedAnalysis, model: dict) -> pd.DataFrame:
    """Return readers and seeds in one table: who, raters, and agreement of two of them with interval.

    f1 and kappa at the length of the human rationale are comparable between all rows; those at "own length" compare
    sets as given and exist for sets only. Readers come first, the corpora of other texts after those of the model.
    """
    table = analysis.humans
    if table.empty:
        return pd.DataFrame({"": ["There is nobody to compare."]})
    mine = (table[list(MODEL)] == pd.Series(model)).all(axis=1)
    people = table[table["source"] == HUMANS]
    people = pd.concat([people[people["corpus"] == model["corpus"]], people[people["corpus"] != model["corpus"]]])
    rows = pd.concat([people, table[mine]])
    who = [
        f"Readers of {r.corpus}" if r.source == HUMANS else label_of(display_name(r.source, r.variant))
        for r in rows.itertuples()
    ]
    rows = rows.assign(
        who=who,
        measure=[f"{metric_style(r.metric)['label']} ({r.length})" for r in rows.itertuples()],
        cell=[format_interval(r.estimate, r.low, r.high) for r in rows.itertuples()],
    )
    wide = rows.pivot(index=["who", "raters"], columns="measure", values="cell").fillna("")
    order = rows[["who", "raters"]].drop_duplicates()
    wide = wide.reindex(index=pd.MultiIndex.from_frame(order), columns=list(dict.fromkeys(rows["measure"])))
    return wide.reset_index()


def human_figure_table(analysis: SeedAnalysis, model: dict, shown: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Return the rows of `plot_humans_beside_seeds` for one model; `shown`: display names of the explainers to draw."""
    curve = analysis.human_curve
    if curve.empty:
        return curve
    mine = (curve[list(MODEL)] == pd.Series(model)).all(axis=1)
    rows = curve[mine | (curve["source"] == HUMANS)]
    if shown is not None:
        names = [display_name(s, v) for s, v in zip(rows["source"], rows["variant"], strict=True)]
        rows = rows[rows["source"].eq(HUMANS) | pd.Series(names, index=rows.index).isin(shown)]
    return rows.reset_index(drop=True)


def replicated_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the components of explanations that were asked or drawn more than once within a seed."""
    if table.empty:
        return table
    again = table["component"].isin(WITHIN_SEEDS)
    return table[again.groupby([table[key] for key in (*MODEL, "explainer", "base")]).transform("any")]


def components_table(table: pd.DataFrame, model: dict) -> pd.DataFrame:
    """Return the variance components of one model as readers want them: share, variance with interval, note."""
    rows = rows_of_seeds(table, model)
    if rows.empty:
        return pd.DataFrame({"": ["There is no variance to split: no explainer of this model depends on the seed."]})
    bounds = ["variance", "low", "high"] if "metric" in rows else ["share", "low", "high"]
    shown = pd.DataFrame({"explainer": [label_of(name) for name in rows["explainer"]]})
    if "metric" in rows:
        shown["measure"] = [metric_style(metric)["label"] for metric in rows["metric"]]
    if "replicate" in rows:
        shown["replicate"] = rows["replicate"]
    shown["component"] = rows["component"]
    shown["share"] = rows["share"].map(format_number)
    shown[f"{bounds[0]} [95 %]"] = [format_interval(*row, digits=3) for row in rows[bounds].to_numpy(dtype=float)]
    return shown.assign(n=rows["n"], note=rows["note"])


def seed_sentences(analysis: SeedAnalysis, averages: pd.DataFrame | None = None) -> list[str]:
    """Return what the analysis finds, one sentence per question and model, with numbers, intervals and chance levels.

    averages: the table of `compare_averages`, where the averaged explanations were scored.
    """
    sentences = []
    for model in models_in(analysis):
        found = [
            _accuracy_sentence(analysis, model),
            _stability_sentence(analysis, model),
            _selection_sentence(analysis, model),
            _strata_sentence(analysis, model),
            _width_sentence(analysis, model),
            _human_sentence(analysis, model),
            _component_sentence(analysis, model),
            _replicate_sentence(analysis, model),
            _average_sentence(averages, model),
        ]
        name = " / ".join(model.values())
        sentences += [f"- {name}: {text}" for text in found if text]
    return sentences + [f"- {note}" for note in analysis.notes["note"]]


def _rivals(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of explainers that ask the model, best first."""
    chosen = rows[~rows["explainer"].isin(NOT_RIVALS)].dropna(subset=["estimate"])
    return chosen.sort_values("estimate", ascending=False, kind="stable")


def _interval(row) -> str:
    return format_interval(row.estimate, row.low, row.high)


def _accuracy_sentence(analysis: SeedAnalysis, model: dict) -> str:
    rows = rows_of_seeds(analysis.accuracies, model)
    row = rows[rows["rule"] == "all"].iloc[0]
    labels = rows_of_seeds(analysis.labels, model).set_index("metric")
    pair = labels.loc["pair_disagreement"]
    return (
        f"{int(row['n_models'])} seeds are between {format_number(row['lowest'], 3)} and "
        f"{format_number(row['highest'], 3)} accurate on {int(row['n_items'])} items (Cochran's Q: p = "
        f"{format_number(row['p_cochran'], 3)}; {int(row['equivalent_pairs'])} of {int(row['pairs'])} pairs are "
        f"equivalent within {format_number(row['margin'])}, {int(row['different_pairs'])} differ by McNemar's test); "
        "two of them predict different labels for a share of "
        f"{format_interval(pair['estimate'], pair['low'], pair['high'])} of the items."
    )


def _stability_sentence(analysis: SeedAnalysis, model: dict) -> str:
    rows = _rivals(rows_of_seeds(analysis.stability, model, towards=PREDICTED, varies=True, metric="pearson"))
    if rows.empty:
        return ""
    best, worst = next(rows.head(1).itertuples()), next(rows.tail(1).itertuples())
    return (
        f"explanations of two seeds correlate (Pearson) between {_interval(worst)} ({label_of(worst.explainer)}) and "
        f"{_interval(best)} ({label_of(best.explainer)}), over items and seeds; chance is 0, the same explanation 1."
    )


def _selection_sentence(analysis: SeedAnalysis, model: dict) -> str:
    rows = selection_figure_table(analysis, model)
    rows = rows[rows["rule"] != "all"] if len(rows) else rows
    if rows.empty:
        return ""
    rows = rows.dropna(subset=["difference", "p_random"])
    if rows.empty:
        return ""
    extreme = next(rows.loc[[rows["difference"].idxmax()]].itertuples())
    text = (
        f"restricting to seeds of equal accuracy changes the correlation (signed for one label) by "
        f"{rows['difference'].median():+.3f} in the median of {len(rows)} selections and explainers, at most by "
        f"{extreme.difference:+.3f} [{extreme.low:+.3f}, {extreme.high:+.3f}] "
        f"({label_of(extreme.explainer)}, {extreme.rule} {extreme.n_models})"
    )
    tested = rows[rows["n_subsets"] >= FEW_SUBSETS]
    if tested.empty:
        return f"{text}; with so few seeds random subsets are too few to say whether that is chance."
    return (
        f"{text}; {int((tested['p_random'] <= 0.05).sum())} of the {len(tested)} with {FEW_SUBSETS} random subsets or "
        "more agree as much as the highest 5 % of random subsets of their size, where 5 % of them would by chance "
        "(they share their seeds, so that they are not independent)."
    )


def _strata_sentence(analysis: SeedAnalysis, model: dict) -> str:
    rows = rows_of_seeds(analysis.strata, model, towards=PREDICTED, varies=True, metric="pearson")
    rows = _rivals(rows[rows["items"] == "divided minus unanimous"]) if len(rows) else rows
    if rows.empty:
        return "all seeds predict the same label for every item, so that there is no divided item to set apart."
    last = next(rows.tail(1).itertuples())
    if rows["high"].isna().all():
        return (
            f"only {last.n} item has divided predictions; the largest difference of its explanations to those of the "
            f"other items is {format_number(last.estimate)} ({label_of(last.explainer)}), without interval."
        )
    lower = rows[rows["high"] < 0]
    return (
        f"where seeds predict different labels ({int(rows['n'].max())} items), scores for the predicted label agree "
        f"clearly less for {len(lower)} of {len(rows)} explainers; the largest drop is {_interval(last)} "
        f"({label_of(last.explainer)})."
    )


def _width_sentence(analysis: SeedAnalysis, model: dict) -> str:
    rows = rows_of_seeds(analysis.widths, model, metric="pearson")
    if rows.empty:
        return "fewer than three seeds give no interval over seeds."
    last = rows.sort_values("n_seeds").drop_duplicates("explainer", keep="last").dropna(subset=["seeds_needed"])
    if last.empty:
        return ""
    most, least = last.loc[last["seeds_needed"].idxmax()], last.loc[last["seeds_needed"].idxmin()]
    return (
        f"an interval over seeds of +-{format_number(float(most['wanted']))} needs {int(least['seeds_needed'])} "
        f"({label_of(least['explainer'])}) to {int(most['seeds_needed'])} seeds ({label_of(most['explainer'])}), "
        f"extrapolated from {int(most['n_seeds'])}."
    )


def _human_sentence(analysis: SeedAnalysis, model: dict) -> str:
    if analysis.humans.empty:
        return ""
    table = analysis.humans[(analysis.humans["metric"] == "kappa") & (analysis.humans["length"] == "human length")]
    people = table[(table["source"] == HUMANS) & (table["corpus"] == model["corpus"])].dropna(subset=["estimate"])
    mine = rows_of_seeds(table, model)
    mine = mine.assign(explainer=[display_name(s, v) for s, v in zip(mine["source"], mine["variant"], strict=True)])
    mine = _rivals(mine)
    if people.empty or mine.empty:
        return ""
    reader = next(people.head(1).itertuples())
    below, above = mine[mine["high"] < reader.low], mine[mine["low"] > reader.high]
    return (
        f"at the length of the human rationale two readers agree at kappa {_interval(reader)} ({reader.n} texts), two "
        f"seeds between {_interval(next(mine.tail(1).itertuples()))} ({label_of(mine['explainer'].iloc[-1])}) and "
        f"{_interval(next(mine.head(1).itertuples()))} ({label_of(mine['explainer'].iloc[0])}); {len(below)} of "
        f"{len(mine)} explainers vary clearly more over seeds than readers do, {len(above)} clearly less; chance is 0."
    )


def _component_sentence(analysis: SeedAnalysis, model: dict) -> str:
    if analysis.components.empty:
        return ""
    texts = []
    rows = rows_of_seeds(analysis.components, model)
    rows = rows[~rows["explainer"].isin(NOT_RIVALS)]
    for metric, part in rows.groupby("metric", sort=False):
        wide = part.pivot(index="explainer", columns="component", values="share")
        seeds = wide.reindex(columns=["seed", "item x seed"]).median()
        label = metric_style(str(metric))["label"]
        label = label if label.isupper() else label[:1].lower() + label[1:]
        texts.append(
            f"{label}: {100 * wide['item'].median():.0f} % item, {100 * seeds['seed']:.0f} % seed, "
            f"{100 * seeds['item x seed']:.0f} % item x seed"
        )
    return f"shares of the variance, in the median of the explainers: {'; '.join(texts)}." if texts else ""


def _replicate_sentence(analysis: SeedAnalysis, model: dict) -> str:
    """What sampling, wording and the explainer's own draws add to the variance of F1, per explanation that has them."""
    rows = replicated_rows(rows_of_seeds(analysis.components, model))
    texts = []
    for name, part in rows[rows["metric"] == "f1"].groupby("explainer", sort=False) if len(rows) else ():
        found = [
            f"{row.component} {100 * row.share:.0f} % "
            + (
                "(few levels: known roughly)"
                if row.note.startswith("Only")
                else f"(variance {format_interval(row.variance, row.low, row.high, digits=3)})"
            )
            for row in part[part["component"].isin(WITHIN_SEEDS)].itertuples()
        ]
        texts.append(f"{label_of(name)}: {', '.join(found)}")
    return f"within a seed, shares of the variance of F1: {'; '.join(texts)}." if texts else ""


def _average_sentence(averages: pd.DataFrame | None, model: dict) -> str:
    if averages is None or averages.empty:
        return ""
    rows = rows_of_seeds(averages, model)
    rows = rows[~rows["explainer"].isin(NOT_RIVALS)].dropna(subset=["difference"])
    texts = []
    for metric, part in rows[rows["metric"].isin(["f1", "comprehensiveness"])].groupby("metric", sort=False):
        better, worse = part[part["low"] > 0], part[part["high"] < 0]
        most = next(part.loc[[part["difference"].idxmax()]].itertuples())
        label = metric_style(str(metric))["label"]
        label = label if metric == "f1" else label[:1].lower() + label[1:]
        texts.append(
            f"{label} rises clearly for {len(better)} and falls clearly for {len(worse)} of {len(part)} explainers; it "
            f"rises most for {label_of(most.explainer)} by {most.difference:+.2f} [{most.low:+.2f}, {most.high:+.2f}]"
        )
    if not texts:
        return ""
    n_seeds = int(np.median(rows["n_seeds"]))
    return f"averaging the explanations of {n_seeds} seeds: {'; '.join(texts)}."

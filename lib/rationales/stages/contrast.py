"""Stage 8: the contrasts that the papers dispute, as paired tests with an interval, a margin and a verdict."""

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.randomness import generator_for
from rationales.replicates import without_replicates
from rationales.statistics.bootstrap import mean_interval
from rationales.statistics.comparisons import cohen_dz, minimal_detectable_difference, permutation_test
from rationales.statistics.crossed import mean_interval_over_seeds
from rationales.statistics.equivalence import verdict
from rationales.statistics.families import adjust_families
from rationales.study import BASE, Study
from rationales.tables import write_table

# (metric, k, operator, margin named in the study file, whether more is better)
MEASURES = (
    ("f1", "human", "none", "margin_plausibility", True),
    ("normalised_comprehensiveness", "human", "delete", "margin_faithfulness", True),
    ("flip_rate", "human", "delete", "margin_faithfulness", True),
)
QUESTIONS = {
    "f1": "Who is closer to the human rationale?",
    "normalised_comprehensiveness": "Whose words does the answer depend on?",
    "flip_rate": "Whose words turn the answer over when removed?",
}
FLOORS = ("random", "content_random", "first_words", "lexicon", "human", "greedy", "annotator")
MODEL = ["corpus", "subject", "tuning"]
TEXTS = ("claim_id", "scope", "family", "contrast", "question", "metric", "verdict", "direction", "note")
NUMBERS = (
    "margin",
    "estimate",
    "ci_low",
    "ci_high",
    "p",
    "p_adjusted",
    "effect_dz",
    "detectable",
    "n_items",
    "n_seeds",
)
COLUMNS = dict.fromkeys(TEXTS, str) | dict.fromkeys(NUMBERS, float)


def primary_variant(study: Study) -> str:
    """The paradigm that stands for self-explanations in the tests: the study's first."""
    paradigms = study.self_explanations["paradigms"]
    if not paradigms:
        raise StudyError("This study asks for no self-explanation; add `self_explanations: paradigms` to test them.")
    return paradigms[0]


def matrix_of(metrics: pd.DataFrame, explainer: str, variant: str | None, measure: tuple) -> pd.DataFrame:
    """Values (items x seeds) of one explainer and measure within one model's rows."""
    metric, k, operator = measure[:3]
    rows = metrics[
        (metrics["explainer"] == explainer)
        & (metrics["metric"] == metric)
        & (metrics["k"] == k)
        & (metrics["operator"] == operator)
    ]
    if variant is not None:
        rows = rows[rows["variant"] == variant]
    return rows.pivot(index="example_id", columns="seed", values="value")


def paired_contrast(first: pd.DataFrame, second: pd.DataFrame, key: tuple, settings: dict, seed: int) -> dict:
    """Estimate, interval, permutation p and effect size of first - second over the items and seeds both have.

    The item is the unit of the test: its value is the mean over seeds. The interval speaks of other items, and of other
    seeds where there are several: Student's t (see `crossed.mean_interval_over_seeds`).
    """
    if set(first.columns) == set(second.columns):
        difference = first.sub(second).reindex(first.index.intersection(second.index))
    else:  # base against tuned: one model against several seeds, paired by item
        difference = first.sub(second.mean(axis=1), axis=0) if len(second.columns) == 1 else -second.sub(
            first.mean(axis=1), axis=0
        )  # fmt: skip
    cells = difference.stack().rename("value").reset_index()
    items = difference.mean(axis=1).dropna().to_numpy()
    generator = generator_for("contrast", seed, *key)
    if difference.shape[1] > 1:
        interval = mean_interval_over_seeds(
            cells["value"].to_numpy(), cells["example_id"].to_numpy(), cells["seed"].to_numpy(), generator,
            n_resamples=settings["resamples"],
        )  # fmt: skip
    else:
        # BCa fails on differences of which most are zero (its coverage falls to .82 at 10 items); t does not.
        interval = mean_interval(items, generator, n_resamples=settings["resamples"], method="t")
    test = permutation_test(items, np.zeros_like(items), generator)
    spread = float(items.std(ddof=1)) if len(items) > 1 else np.nan
    enough = len(items) > 2 and spread > 0
    return {
        "estimate": interval.estimate,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "p": test.p,
        "effect_dz": cohen_dz(items, np.zeros_like(items)) if enough else np.nan,
        "detectable": minimal_detectable_difference(len(items), spread) if enough else np.nan,
        "n_items": len(items),
        "n_seeds": difference.shape[1],
        "note": interval.note or test.note,
    }


def self_against_attributions(study: Study, metrics: pd.DataFrame) -> list[dict]:
    """The primary self-explanation minus each attribution, per model and measure."""
    if not study.self_explanations["paradigms"]:
        return []
    rows, variant = [], primary_variant(study)
    for model, part in metrics.groupby(MODEL, sort=False):
        if "self" not in set(part["explainer"]):
            continue
        rivals = part[~part["explainer"].isin([*FLOORS, "self"])][["explainer", "variant"]].drop_duplicates()
        for measure in MEASURES:
            own = matrix_of(part, "self", variant, measure)
            for rival in rivals.itertuples(index=False):
                other = matrix_of(part, rival.explainer, rival.variant, measure)
                if own.empty or other.empty:
                    continue
                name = rival.explainer if rival.variant == "default" else f"{rival.explainer} ({rival.variant})"
                key = ("self", *model, measure[0], name)
                rows.append(
                    {
                        "claim_id": f"self-minus-{name}:{measure[0]}",
                        "scope": "/".join(model),
                        "family": f"self against attributions, {measure[0]}, {'/'.join(model)}",
                        "contrast": f"self - {name}",
                        "question": QUESTIONS[measure[0]],
                        "metric": measure[0],
                        "margin": study.statistics[measure[3]],
                        **paired_contrast(own, other, key, study.statistics, study.seed),
                    }
                )
    return rows


def tuned_against_base(study: Study, metrics: pd.DataFrame) -> list[dict]:
    """Each explainer after fine-tuning minus the same explainer before, per measure; items paired."""
    rows = []
    variant = primary_variant(study) if study.self_explanations["paradigms"] else None
    for (corpus, subject), part in metrics.groupby(["corpus", "subject"], sort=False):
        tunings = [tuning for tuning in part["tuning"].unique() if tuning != BASE]
        if BASE not in set(part["tuning"]):
            continue
        before = part[part["tuning"] == BASE]
        names = before[~before["explainer"].isin(FLOORS)][["explainer", "variant"]].drop_duplicates()
        names = names[(names["explainer"] != "self") | (names["variant"] == variant)]
        for tuning in tunings:
            after = part[part["tuning"] == tuning]
            for measure in MEASURES:
                for name in names.itertuples(index=False):
                    first = matrix_of(after, name.explainer, name.variant, measure)
                    second = matrix_of(before, name.explainer, name.variant, measure)
                    if first.empty or second.empty:
                        continue
                    scope = f"{corpus}/{subject}/{tuning}-{BASE}"
                    key = ("tuning", corpus, subject, tuning, measure[0], name.explainer, name.variant)
                    rows.append(
                        {
                            "claim_id": f"tuning:{name.explainer}:{name.variant}:{measure[0]}",
                            "scope": scope,
                            "family": f"tuned against base, {measure[0]}, {scope}",
                            "contrast": f"{name.explainer}: {tuning} - {BASE}",
                            "question": "Does fine-tuning change it?",
                            "metric": measure[0],
                            "margin": study.statistics[measure[3]],
                            **paired_contrast(first, second, key, study.statistics, study.seed),
                        }
                    )
    return rows


def test_contrasts(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """All contrasts with Holm-adjusted p-values and verdicts, written to the table `claims`.

    Each is two-sided: "supported" means that there is a difference beyond the margin's reach, its sign says whose.
    Without a readable self-explanation beside an attribution, and without a model before and after tuning, the table
    is empty: that is a finding about the model, not a mistake.
    """
    metrics = without_replicates(metrics)
    rows = self_against_attributions(study, metrics) + tuned_against_base(study, metrics)
    if not rows:
        table = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
        write_table("claims", table.assign(**study.stamp(study.statistics)), study.part("claims", "contrasts"))
        return table
    table = adjust_families(pd.DataFrame(rows))
    table["verdict"] = [
        verdict(row.estimate, row.ci_low, row.ci_high, row.p_adjusted, "different", row.margin)
        for row in table.itertuples()
    ]
    table["direction"] = np.select(
        [table["verdict"] != "supported", table["estimate"] > 0],
        [table["verdict"], "first is higher"],
        "second is higher",
    )
    table = table.assign(**study.stamp(study.statistics))
    write_table("claims", table, study.part("claims", "contrasts"))
    return table


test_contrasts.__test__ = False  # a test of the study, not of the library

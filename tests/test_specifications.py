"""The specification curve against plain averages, one switch at a time, and its joint test."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from rationales.errors import StudyError
from rationales.figures.specification import plot_specification_curve
from rationales.stages.specification_choices import (
    FACTORS,
    METRICS,
    REFERENCES,
    family_of,
    find_specification,
    paradigm_factors,
)
from rationales.stages.specifications import (
    explore_specifications,
    gather_specifications,
    joint_test,
    list_switches,
    specification_curve,
    switch_effects,
)
from rationales.statistics.comparisons import permutation_test
from rationales.statistics.crossed import crossed_t_interval
from rationales.tables import read_table
from tiny_study import open_tiny_study

MODEL = {"corpus": "planted_sentiment", "subject": "tiny-llama", "tuning": "base", "epoch": 0}
PARADIGMS = ("PE-topk-human-anchored", "PE-topk-human-unanchored", "EP-scores-free-unanchored")
SERIES = [("f1", "human", "none"), ("f1", "own", "none"), ("average_precision", "all", "none"),
          ("sufficiency", "human", "delete"), ("sufficiency", "human", "mask"),
          ("normalised_sufficiency", "human", "delete")]  # fmt: skip
ITEMS, SEEDS = 24, 2


@pytest.fixture
def study(tmp_path, monkeypatch):
    return open_tiny_study(tmp_path, monkeypatch, resamples=400)


def make_metrics(generator, self_mean=0.7, other_mean=0.5):
    rows = []
    names = [("self", p, self_mean) for p in PARADIGMS] + [
        ("lime", "default", other_mean),
        ("cp_lrp", "default", other_mean),
    ]
    names += [("random", "default", 0.1), ("human", "default", 1.0), ("self", f"{PARADIGMS[0]}#1", 0.0)]
    for explainer, variant, mean in names:
        for metric, k, operator in SERIES:
            if k == "own" and "topk" not in variant:
                continue
            for item in range(ITEMS):
                for seed in range(SEEDS):
                    value = mean + 0.2 * generator.standard_normal()
                    rows.append((explainer, variant, metric, k, operator, f"{item:02}", seed, value))
    columns = ["explainer", "variant", "metric", "k", "operator", "example_id", "seed", "value"]
    metrics = pd.DataFrame(rows, columns=columns).assign(**MODEL)
    missing = (metrics["example_id"] == "03") & (metrics["variant"] == PARADIGMS[1])
    return metrics[~missing].reset_index(drop=True)


def make_predictions():
    rows = [(f"{i:02}", s, (i + s) % 2 == 0, "prediction-only") for i in range(ITEMS) for s in range(SEEDS)]
    return pd.DataFrame(rows, columns=["example_id", "seed", "correct", "paradigm"]).assign(**MODEL)


def brute_force(metrics, predictions, row):
    """The estimate and the values of one specification, by merging tables."""
    names = {"by full drop": "normalised_sufficiency", "raw": row["measure"]}
    k = {"whole": "all"}.get(row["length"], row["length"])
    chosen = metrics[(metrics["metric"] == names[row["normalisation"]]) & (metrics["operator"] == row["operator"])]
    paradigm = f"{row['order']}-{row['form']}-{row['asked']}-{row['anchoring']}"
    own = chosen[(chosen["k"] == k) & (chosen["variant"] == paradigm)]
    rival = chosen[(chosen["k"] == ("human" if k == "own" else k)) & (chosen["explainer"] == row["attribution"])]
    both = own.merge(rival, on=["example_id", "seed"]).merge(predictions, on=["example_id", "seed"])
    if row["items"] != "all":
        both = both[both["correct"] == (row["items"] == "correct")]
    difference = both["value_x"] - both["value_y"]
    return both.assign(value=-difference if row["measure"] == "sufficiency" else difference)


def test_every_specification_is_the_plain_mean_of_its_rows(study):
    metrics, predictions = make_metrics(np.random.default_rng(0)), make_predictions()
    curve = specification_curve(gather_specifications(study, metrics, predictions))
    # 3 prompts x 2 attributions x 3 filters x (6 series less "own", which scores do not have) + own of two prompts.
    assert len(curve) == 3 * 2 * 3 * 5 + 2 * 2 * 3 and not curve.duplicated(list(FACTORS)).any()
    for row in curve.to_dict("records"):
        expected = brute_force(metrics, predictions, row)
        assert row["estimate"] == pytest.approx(expected["value"].mean())
        assert row["n_items"] == expected["example_id"].nunique() and row["n_seeds"] == SEEDS
    one = curve.iloc[7].to_dict()
    rows = brute_force(metrics, predictions, one)
    columns = [rows[name].to_numpy() for name in ("value", "example_id", "seed")]
    interval = crossed_t_interval(*columns, degrees="weighted")
    assert (one["ci_low"], one["ci_high"]) == pytest.approx((interval.low, interval.high), abs=0.03)


def test_factors_name_prompt_family_and_normalisation(study):
    curve = specification_curve(
        gather_specifications(study, make_metrics(np.random.default_rng(0)), make_predictions())
    )
    assert set(curve["family"]) == {"perturbation", "propagation"} and set(curve["attribution"]) == {"lime", "cp_lrp"}
    assert set(curve["normalisation"]) == {"raw", "by full drop"}
    assert paradigm_factors("EP-scores-free-unanchored") == {
        "order": "EP", "form": "scores", "asked": "free", "anchoring": "unanchored"
    }  # fmt: skip
    assert paradigm_factors("something else")["form"] == "something else"
    assert family_of({"gradients": ["a"], "attentions": [], "propagations": [], "perturbations": []}, "new") == "other"
    assert {question for question, _, _ in METRICS.values()} == set(curve["question"])


def test_a_model_without_predictions_has_unfiltered_specifications_only(study):
    metrics = make_metrics(np.random.default_rng(0))
    curve = specification_curve(gather_specifications(study, metrics, make_predictions().iloc[:0]))
    assert set(curve["items"]) == {"all"}


def test_the_order_of_words_is_a_choice_and_p2_v4_orders_one_side_only(study):
    """Self .6 in its own order and .8 in greedy order, attribution .5 and .7: the three contrasts are .1, .1 and .3."""
    means = {("self", "own"): 0.6, ("self", "greedy"): 0.8, ("cp_lrp", "own"): 0.5, ("cp_lrp", "greedy"): 0.7}
    rows = [
        (explainer, PARADIGMS[0] if explainer == "self" else "default", f"ordered_{what}_{order}", k, "delete",
         f"{item:02}", seed, mean + 0.01 * (item % 3) * (seed + 1))
        for (explainer, order), mean in means.items()
        for what, k in (("drop", "human_0.05"), ("drop", "human_0.1"), ("aopc", "human"))
        for item in range(ITEMS) for seed in range(SEEDS)
    ]  # fmt: skip
    columns = ["explainer", "variant", "metric", "k", "operator", "example_id", "seed", "value"]
    metrics = pd.DataFrame(rows, columns=columns).assign(**MODEL)
    gathered = gather_specifications(study, metrics, make_predictions())
    curve = specification_curve(gathered)
    expected = {"own": 0.1, "greedy": 0.1, "greedy for self only": 0.3}
    for (ordering, length), part in curve.groupby(["ordering", "length"]):
        assert part["estimate"].to_numpy() == pytest.approx(expected[ordering]) and len(part) == 3, length
    assert len(curve) == 3 * 3 * 3  # orderings, lengths, filters
    effects = switch_effects(gathered, REFERENCES).set_index(["reference", "factor", "after"])["change"]
    assert effects["P2 v4, faithfulness", "ordering", "own"] == pytest.approx(-0.2)
    assert effects["P2 v4, faithfulness", "ordering", "greedy"] == pytest.approx(-0.2)


def test_specifications_on_few_items_are_left_out_and_without_a_pair_the_tables_are_empty(study):
    metrics = make_metrics(np.random.default_rng(0))
    few = metrics[~((metrics["operator"] == "mask") & (metrics["example_id"] > "08"))]
    assert "mask" not in set(specification_curve(gather_specifications(study, few, make_predictions()))["operator"])
    full = explore_specifications(study, metrics, make_predictions())
    for left_out in (metrics["explainer"] != "self", ~metrics["explainer"].isin(["lime", "cp_lrp"])):
        for table, expected in zip(
            explore_specifications(study, metrics[left_out], make_predictions()), full, strict=True
        ):
            assert table.empty and list(table.columns) == list(expected.columns)


def test_one_switch_changes_one_factor_and_its_effect_is_a_difference_of_estimates(study):
    gathered = gather_specifications(study, make_metrics(np.random.default_rng(0)), make_predictions())
    reference = {"me": {"measure": "f1", "length": "human", "items": "all", "attribution": "lime", "order": "PE",
                        "form": "topk", "asked": "human", "anchoring": "anchored"}}  # fmt: skip
    effects = switch_effects(gathered, reference)
    curve = specification_curve(gathered)
    place = find_specification(gathered[0].table, reference["me"])
    base = curve.iloc[place]
    assert (effects["reference_estimate"] == base["estimate"]).all()
    shown = set(zip(effects["factor"], effects["after"], strict=True))
    assert shown == {("length", "own"), ("items", "correct"), ("items", "wrong"), ("attribution", "cp_lrp"),
                     ("anchoring", "unanchored"), ("measure", "average_precision (whole)"),
                     ("prompt", "EP-scores-free-unanchored")}  # fmt: skip
    for row in effects.to_dict("records"):
        assert row["change"] == pytest.approx(row["estimate"] - row["reference_estimate"])
        assert row["ci_low"] < row["change"] < row["ci_high"]
    factors = gathered[0].table[["question", *FACTORS]]
    for factor, other in list_switches(factors, place):
        changed = [name for name in FACTORS if factors[name].iloc[other] != factors[name].iloc[place]]
        assert changed == [factor] or factor == "prompt" or (factor == "measure" and changed == ["measure", "length"])


def test_a_switch_between_equal_values_has_no_effect_and_no_width(study):
    metrics = make_metrics(np.random.default_rng(0))
    metrics.loc[metrics["explainer"] == "cp_lrp", "value"] = metrics.loc[
        metrics["explainer"] == "lime", "value"
    ].to_numpy()
    gathered = gather_specifications(study, metrics, make_predictions())
    effects = switch_effects(gathered, {"me": {"measure": "f1", "attribution": "lime"}})
    same = effects[effects["factor"] == "attribution"]
    assert same[["change", "ci_low", "ci_high"]].to_numpy() == pytest.approx(0.0, abs=1e-12)


def test_everything_at_once_leads_from_one_reference_to_another(study):
    gathered = gather_specifications(study, make_metrics(np.random.default_rng(0)), make_predictions())
    effects = switch_effects(gathered, REFERENCES)
    together = effects[effects["factor"] == "everything"].set_index(["before", "after"])["change"]
    assert ("P2, plausibility", "P1, plausibility") not in together.index  # P1's attributions were not run
    two = {
        "a": {"measure": "f1", "attribution": "lime"},
        "b": {"measure": "average_precision", "attribution": "cp_lrp"},
    }
    together = switch_effects(gathered, two).query("factor == 'everything'").set_index(["before", "after"])["change"]
    assert together["a", "b"] == pytest.approx(-together["b", "a"])


def test_preferences_of_a_reference_are_taken_in_order():
    table = pd.DataFrame({"measure": ["f1", "f1", "kappa"], "attribution": ["lime", "lrp", "lrp"]})
    assert find_specification(table, {"measure": "f1", "attribution": ["lrp", "lime"]}) == 1
    assert find_specification(table, {"measure": ["iou", "kappa"], "attribution": "lrp"}) == 2
    assert find_specification(table, {"measure": "iou"}) is None


def test_joint_test_of_one_specification_is_the_sign_flip_test(study):
    metrics = make_metrics(np.random.default_rng(4), self_mean=0.53)
    metrics = metrics[
        metrics["metric"].eq("f1") & metrics["k"].eq("human") & metrics["explainer"].isin(["self", "lime"])
    ]
    metrics = metrics[(metrics["explainer"] == "lime") | (metrics["variant"] == PARADIGMS[0])]
    found = joint_test(gather_specifications(study, metrics, make_predictions().iloc[:0]))
    wide = metrics.pivot_table(index="example_id", columns="explainer", values="value")
    exact = permutation_test(wide["self"], wide["lime"], np.random.default_rng(0))
    assert found["specifications"].tolist() == [1] and found["p"].iloc[0] == pytest.approx(exact.p, abs=0.04)
    assert found["median"].iloc[0] == pytest.approx((wide["self"] - wide["lime"]).mean())


def test_joint_test_finds_an_effect_and_seldom_finds_none(study):
    strong = joint_test(gather_specifications(study, make_metrics(np.random.default_rng(0)), make_predictions()))
    closeness = strong.set_index("question").loc["closeness to humans"]
    assert closeness["p"] < 0.01 and closeness["share_positive"] > 0.95
    p_values = []
    for seed in range(12):
        none = make_metrics(np.random.default_rng(seed), self_mean=0.5)
        p_values += joint_test(gather_specifications(study, none, make_predictions()))["p"].tolist()
    assert np.mean(np.array(p_values) < 0.05) <= 0.25 and max(p_values) > 0.3


def test_tables_are_written_once_each(study):
    tables = explore_specifications(study, make_metrics(np.random.default_rng(0)), make_predictions())
    for name, table in zip(("specifications", "switches", "specification_tests"), tables, strict=True):
        assert len(read_table(study.folder, name)) == len(table)


def test_figure_draws_each_specification_and_each_level_once(study):
    curve = specification_curve(
        gather_specifications(study, make_metrics(np.random.default_rng(0)), make_predictions())
    )
    part = curve[curve["question"] == "closeness to humans"]
    figure = plot_specification_curve(part)
    top, bottom = figure.axes
    assert sum(len(points.get_offsets()) for points in top.collections[1:]) == len(part)
    labels = [text.get_text() for text in bottom.get_yticklabels()]
    varied = [name for name in FACTORS if part[name].nunique() > 1]
    assert len(labels) == sum(part[name].nunique() for name in varied) and "measure: Average precision" in labels
    marks = [len(points.get_offsets()) for points in bottom.collections]
    assert sum(marks) == len(part) * len(varied)
    assert bottom.get_xlabel().startswith(f"{len(part)} specifications")
    few = plot_specification_curve(part, most=10)
    assert few.axes[1].get_xlabel().startswith(f"10 of {len(part)} specifications, evenly spaced")
    plt.close("all")
    with pytest.raises(StudyError, match="filter the column 'question' first"):
        plot_specification_curve(curve)

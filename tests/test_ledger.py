"""The claims ledger: its file, its tests against simulated studies in every direction, its numbers against scipy."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import pearsonr, spearmanr
from statsmodels.stats.multitest import multipletests

from rationales.errors import StudyError
from rationales.ledger import derive
from rationales.ledger.evaluate import NOT_TESTABLE, decide, evaluate_claims, panel_of
from rationales.ledger.evidence import Draws, Evidence, mean_evidence, pool, read_evidence, read_leads
from rationales.ledger.load import Claim, Ledger, load_ledger
from rationales.ledger.other_tests import weighted_spearman
from rationales.ledger.panel import Model, NotTestable, build_panel, is_member, mean_of_defined
from rationales.ledger.tests_of_claims import CLAIM_TESTS, trend_of
from rationales.reporting.ledger import ledger_sentences, ledger_table, scope_table
from rationales.stages.evaluate_claims import judge_claims
from rationales.statistics.comparisons import permutation_test
from rationales.statistics.crossed import crossed_t_interval
from rationales.study import load_study
from rationales.tables import NO_LABEL, read_table, write_table

GROUPS = load_ledger().groups
MARGINS = {"plausibility": 0.05, "faithfulness": 0.05}
SELF, OTHER = {"explainers": ["self"]}, {"explainers": ["lime"]}
N_ITEMS = 80


# ---- the file


def test_every_finding_of_the_papers_has_a_claim():
    findings = {claim.finding for claim in load_ledger().claims}
    counts = {"P1": 5, "P2": 6, "P3": 5, "P4": 4}
    assert findings == {f"{p}.{n}" for p, last in counts.items() for n in range(1, last + 1)} | {
        f"C{n}" for n in range(1, 8)
    }


def test_ids_do_not_collide_with_the_simpler_contrasts():
    assert not any(claim.id.startswith(("self-minus", "tuning")) for claim in load_ledger().claims)


def entry(**changes):
    claim = {
        "id": "P1.1", "version": "v1", "place": "abstract", "sentence": "One is higher.", "test": "difference",
        "with": {"first": {"explainers": ["self"]}, "second": {"explainers": ["lime"]}, "measure": "f1@human"},
        "direction": "greater", "margin": 0.05, "family": "P1", "needs": ["metrics"],
    }  # fmt: skip
    return claim | changes


def with_(**changes):
    return entry(**{"with": entry()["with"] | changes})


MISTAKES = [
    (entry(id="claim one"), "id 'claim one' must be a paper"),
    (entry(test="diference"), "Unknown test of claim P1.1 'diference'.*Did you mean 'difference'"),
    (entry(direction="bigger"), "Unknown direction of claim P1.1"),
    (entry(test="dominance", **{"with": {"rivals": {}, "measures": []}}), "Unknown direction of claim P1.1 'greater'"),
    (entry(margin=0), "margin of claim P1.1 must be a positive number"),
    (entry(margin="plausible"), "Unknown margin of claim P1.1"),
    (entry(needs=["metric"]), "Unknown table needed by claim P1.1"),
    (entry(famliy="x"), "Unknown entry of claim P1.1 'famliy'.*Did you mean 'family'"),
    (entry(sentence=""), "Claim P1.1 lacks `sentence`"),
    (entry(direction="different"), "needs `positions`"),
    (entry(positions={"P1": "greater"}), "only such a question has them"),
    (with_(measure="f1"), "names the measure 'f1'"),
    (with_(third={}), "Unknown parameter of claim P1.1 'third'"),
    (with_(first={"explainers": ["lmie"]}), "Unknown explainer in claim P1.1, first 'lmie'.*Did you mean 'lime'"),
    (with_(first={"explainer": ["lime"]}), "a term needs `explainers`"),
    (with_(first={"explainers": ["lime"], "variants": "x"}), "`variants` must be a list"),
    (with_(each="third"), "Unknown `each` of claim P1.1"),
    (with_(where={"accuracy": 1}), "Unknown condition of claim P1.1"),
    (with_(where={"min_accuracy": "high"}), "must be a number"),
    (entry(**{"with": {"first": {"explainers": ["self"]}, "measure": "f1@human"}}), "lacks the parameter `second`"),
]


@pytest.mark.parametrize(("claim", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_each_mistake_in_the_file_is_one_sentence(tmp_path, claim, message):
    path = tmp_path / "ledger.yaml"
    path.write_text(yaml.safe_dump({"groups": GROUPS, "claims": [claim]}), "utf-8")
    with pytest.raises(StudyError, match=message) as raised:
        load_ledger(path)
    assert "\n" not in str(raised.value)


def test_a_correct_file_loads_and_a_repeated_id_does_not(tmp_path):
    path = tmp_path / "ledger.yaml"
    path.write_text(yaml.safe_dump({"groups": GROUPS, "claims": [entry()]}), "utf-8")
    assert load_ledger(path).measures() == {"f1@human"}
    path.write_text(yaml.safe_dump({"groups": GROUPS, "claims": [entry(), deepcopy(entry())]}), "utf-8")
    with pytest.raises(StudyError, match="holds the claim 'P1.1' twice"):
        load_ledger(path)


def test_groups_leave_out_and_take_in_names_that_nobody_listed():
    assert is_member(GROUPS, ["attributions"], "a-new-method") and not is_member(GROUPS, ["attributions"], "random")
    assert is_member(GROUPS, ["gradients"], "saliency") and not is_member(GROUPS, ["gradients"], "lime")
    assert is_member(GROUPS, ["lime"], "lime") and not is_member(GROUPS, ["attributions"], "self")


# ---- simulated studies: contrast = effect, whatever the test


def cells(generator, mean, items=N_ITEMS, seeds=2, noise=0.05):
    return mean + noise * generator.standard_normal((items, seeds))


def rows_of(values, measure, explainer="self", variant="default", corpus="c", subject="s", tuning="tuned", epoch=None):
    frame = pd.DataFrame(
        [(f"{item:04}", seed, value) for (item, seed), value in np.ndenumerate(values)],
        columns=["example_id", "seed", "value"],
    )
    frame = frame.assign(
        corpus=corpus, subject=subject, tuning=tuning, explainer=explainer, variant=variant, measure=measure
    )
    return frame if epoch is None else frame.assign(epoch=epoch)


def panel(*parts, **more):
    return build_panel(pd.concat(parts, ignore_index=True), groups=GROUPS, **more)


def simulate_difference(effect, g):
    first, second = cells(g, 0.5 + effect), cells(g, 0.5)
    return panel(rows_of(first, "m@human"), rows_of(second, "m@human", "lime")), {
        "first": SELF,
        "second": OTHER,
        "measure": "m@human",
    }


def simulate_unequal_difference(effect, g):
    """The two sides are measured differently, and each has a decoy under the other's measure."""
    parts = [rows_of(cells(g, 0.5 + effect), "m_greedy@human"), rows_of(cells(g, 0.1), "m_own@human"),
             rows_of(cells(g, 0.9), "m_greedy@human", "lime"), rows_of(cells(g, 0.5), "m_own@human", "lime")]  # fmt: skip
    return panel(*parts), {"first": SELF, "second": OTHER, "measure": "m_greedy@human", "second_measure": "m_own@human"}


def simulate_change(effect, g):
    before = rows_of(cells(g, 0.5, seeds=1), "m@human", tuning="base")
    return panel(rows_of(cells(g, 0.5 + effect), "m@human"), before), {"first": SELF, "measure": "m@human"}


def simulate_switch(effect, g):
    parts = [rows_of(cells(g, 0.5 + effect), "m@human"), rows_of(cells(g, 0.4), "m@human", "lime"),
             rows_of(cells(g, 0.3), "m@0.2"), rows_of(cells(g, 0.2), "m@0.2", "lime")]  # fmt: skip
    return panel(*parts), {"first": SELF, "second": OTHER, "measure": "m@human", "other_measure": "m@0.2"}


def simulate_level(effect, g):
    return panel(rows_of(cells(g, 0.7 + effect), "m@human")), {"first": SELF, "measure": "m@human", "threshold": 0.7}


def simulate_models(effect, g):
    parts = [
        rows_of(cells(g, 0.5 + effect, seeds=3), "m@human", subject="one"),
        rows_of(cells(g, 0.5), "m@human", subject="two"),
    ]
    terms = {"first": SELF | {"subjects": ["one"]}, "second": SELF | {"not_subjects": ["one"]}}
    return panel(*parts), {**terms, "measure": "m@human"}


def simulate_trend(effect, g):
    steps = [rows_of(cells(g, np.sign(effect) * 0.5 * epoch), "m@human", epoch=epoch) for epoch in range(4)]
    if not effect:  # what stays the same has no trend
        steps = [rows_of(np.full((N_ITEMS, 2), 0.5), "m@human", epoch=epoch) for epoch in range(4)]
    return panel(rows_of(cells(g, 0), "n@human"), epochs=pd.concat(steps)), {"first": SELF, "measure": "m@human"}


def simulate_association(effect, g):
    lengths = g.permutation(400).astype(float)
    values = np.sign(effect) * lengths[:, None] / 400 + cells(g, 0.0, items=400)
    covariates = pd.DataFrame({"corpus": "c", "example_id": [f"{i:04}" for i in range(400)], "n_words": lengths})
    return panel(rows_of(values, "m@human"), covariates=covariates), {
        "first": SELF,
        "measure": "m@human",
        "covariate": "n_words",
    }


def simulate_split(effect, g):
    correct = (np.arange(N_ITEMS) % 2)[:, None] * np.ones((1, 2))
    values = cells(g, 0.5) + effect * correct
    right = rows_of(correct, "correct@all/answers", "answer", "prediction-only")
    return panel(rows_of(values, "m@human"), right), {"first": SELF, "measure": "m@human", "split": "correct"}


def simulate_corpora(effect, g):
    parts = [
        rows_of(cells(g, 0.5 + effect), "m@human", corpus="short"),
        rows_of(cells(g, 0.5, items=50), "m@human", corpus="long"),
    ]
    readers = {"short": ("sst2", {}), "long": ("rafola", {"indicator": 5})}
    wanted = [[{"reader": "sst2"}], [{"reader": "rafola", "options": {"indicator": 5}}]]
    return panel(*parts, readers=readers), {"first": SELF, "measure": "m@human", "corpora": wanted}


def simulate_dominance(effect, g):
    """`self` leads by `effect` on both measures; below 0, `lime` leads on the second only."""
    measures = ("comprehensiveness@0.2/delete", "sufficiency@0.2/delete")
    lead = [0.3, effect if effect < 0 else 0.3]  # sufficiency is better when lower
    parts = [rows_of(cells(g, 0.5 + lead[0]), measures[0]), rows_of(cells(g, 0.5), measures[0], "lime"),
             rows_of(cells(g, 0.5 - lead[1]), measures[1]), rows_of(cells(g, 0.5), measures[1], "lime")]  # fmt: skip
    return panel(*parts), {"rivals": {"self": SELF, "lime": OTHER}, "measures": list(measures)}


def simulate_disagreement(effect, g):
    pairs = rows_of(cells(g, 0.5 + effect), "agreement:x", "self default", "lime default")
    faithful = [rows_of(cells(g, 0.5), "m@human"), rows_of(cells(g, 0.5), "m@human", "lime"),
                rows_of(cells(g, 0.9), "m@human", "occlusion")]  # fmt: skip
    other = rows_of(cells(g, 0.0), "agreement:x", "self default", "occlusion default")  # not alike, so left out
    everyone = {"explainers": ["self", "attributions"]}
    parameters = {
        "first": everyone,
        "second": everyone,
        "measure": "m@human",
        "agreement": "agreement:x",
        "threshold": 0.5,
        "alike_within": 0.1,
    }
    return panel(*faithful, pairs, other), parameters


SIMULATIONS = {
    "difference": [simulate_difference, simulate_unequal_difference], "change": [simulate_change], "switch": [simulate_switch], "level": [simulate_level],
    "models": [simulate_models], "trend": [simulate_trend], "association": [simulate_association],
    "between": [simulate_split, simulate_corpora], "dominance": [simulate_dominance],
    "disagreement": [simulate_disagreement],
}  # fmt: skip
EXPECTED = {  # verdict when the contrast is well above 0, well below, and inside the margin
    "greater": ("supported", "contradicted", "equivalent"),
    "less": ("contradicted", "supported", "equivalent"),
    "different": ("supported", "supported", "equivalent"),
    "equal": ("contradicted", "contradicted", "supported"),
    "not_greater": ("contradicted", "supported", "supported"),
}
CASES = [
    (test, simulate, direction)
    for test, found in SIMULATIONS.items()
    for simulate in found
    for direction in CLAIM_TESTS[test].directions
]


def claim_of(test, parameters, direction="greater", margin=0.15, name="P1.1", family="f", positions=None):
    return Claim(name, name, "a paper", "v1", "abstract", "A sentence.", test, parameters, direction, margin, family,
                 ("metrics",), "", positions or {})  # fmt: skip


def judge(found_panel, *claims, resamples=300, permutations=299):
    return evaluate_claims(Ledger(claims, GROUPS), found_panel, MARGINS, resamples, 0, permutations)


def test_every_registered_test_is_simulated():
    assert set(SIMULATIONS) == set(CLAIM_TESTS)
    for claim in load_ledger().claims:
        assert claim.direction in CLAIM_TESTS[claim.test].directions


@pytest.mark.parametrize(("test", "simulate", "direction"), CASES, ids=[f"{s.__name__[9:]}-{d}" for _, s, d in CASES])
def test_every_test_can_come_out_against_its_claim(test, simulate, direction):
    effects = (0.4, -0.4) if test == "dominance" else (0.4, -0.4, 0.0)
    for effect, expected in zip(effects, EXPECTED[direction], strict=False):
        found_panel, parameters = simulate(effect, np.random.default_rng(1))
        rows = judge(found_panel, claim_of(test, parameters, direction))
        assert rows["verdict"].tolist() == [expected], (effect, rows[["estimate", "ci_low", "ci_high", "p", "reason"]])
        assert rows["reason"].str.len().min() > 10


@pytest.mark.parametrize("test", ["difference", "between", "association"])
def test_noise_alone_is_seldom_called_real(test):
    """At most a few of 60 studies without an effect, at the 5 % level and without a margin that could swallow it."""
    rejected = 0
    for seed in range(60):
        g = np.random.default_rng(seed)
        values, labels = g.standard_normal((12, 2)), (np.arange(12) % 2)[:, None] * np.ones((1, 2))
        covariates = pd.DataFrame(
            {"corpus": "c", "example_id": [f"{i:04}" for i in range(12)], "n_words": g.random(12)}
        )
        study = panel(rows_of(values, "m@human"), rows_of(g.standard_normal((12, 2)), "m@human", "lime"),
                      rows_of(labels, "correct@all/answers", "answer", "prediction-only"), covariates=covariates)  # fmt: skip
        parameters = {"difference": {"first": SELF, "second": OTHER}, "between": {"first": SELF, "split": "correct"},
                      "association": {"first": SELF, "covariate": "n_words"}}[test]  # fmt: skip
        rows = judge(
            study, claim_of(test, {**parameters, "measure": "m@human"}, "different", 1e-9, positions={"x": "equal"})
        )
        rejected += rows["verdict"].iloc[0] == "supported"
    assert rejected <= 8  # P(more than 8 of 60 at 5 %) is about .3 %


# ---- numbers


def test_mean_evidence_agrees_with_the_library_and_with_an_exact_test():
    g = np.random.default_rng(3)
    values = g.normal(0.3, 0.5, (9, 3))
    model, draws = Model("c", "s", "t"), Draws({"c": 9}, resamples=4000)
    evidence = mean_evidence(draws, model, values)
    reading = read_evidence(evidence, "greater", 0.1)
    items, seeds = np.repeat(np.arange(9), 3), np.tile(np.arange(3), 9)
    interval = crossed_t_interval(values.ravel(), items, seeds, degrees="weighted")
    exact = permutation_test(values.mean(axis=1), np.zeros(9), g)
    assert reading.estimate == pytest.approx(values.mean()) and exact.note == ""
    # As wide as Student's t, but leaning the way the bootstrap of nine items does.
    assert (reading.low, reading.high) == pytest.approx((interval.low, interval.high), abs=0.06)
    assert reading.high - reading.low == pytest.approx(interval.high - interval.low, rel=0.08)
    assert reading.p == pytest.approx(exact.p, abs=0.02)
    assert evidence.n_items == 9 and evidence.n_seeds == 3


def test_cells_without_a_value_are_counted_and_left_out():
    values = np.array([[1.0, np.nan], [0.0, 2.0], [np.nan, np.nan], [1.0, 0.0]])
    evidence = mean_evidence(Draws({"c": 4}), Model("c", "s", "t"), values)
    assert evidence.estimate == pytest.approx(0.8) and evidence.n_items == 3 and evidence.n_undefined == 1
    with pytest.raises(NotTestable, match="Fewer than two items"):
        mean_evidence(Draws({"c": 4}), Model("c", "s", "t"), np.full((4, 1), np.nan))


def test_pooling_keeps_the_dependence_of_scopes_on_shared_items():
    g = np.random.default_rng(0)
    values, draws = g.normal(0, 1, (40, 1)), Draws({"c": 40, "d": 40})
    one, twin = (mean_evidence(draws, Model("c", "s", tuning), values) for tuning in ("a", "b"))
    other = mean_evidence(draws, Model("d", "s", "a"), values)
    assert pool([one, twin]).resampled.std() == pytest.approx(one.resampled.std())
    assert pool([one, other]).resampled.std() == pytest.approx(one.resampled.std() / np.sqrt(2), rel=0.1)
    opposite = mean_evidence(draws, Model("c", "s", "b"), -values)
    assert np.allclose(pool([one, opposite]).null, 0) and pool([one, other]).n_items == 80


def test_weighted_spearman_equals_the_written_out_sample():
    g = np.random.default_rng(5)
    x, y = g.integers(0, 6, 30).astype(float), g.random(30)
    counts = g.multinomial(30, np.full(30, 1 / 30), size=5).astype(float)
    expected = [spearmanr(np.repeat(x, c.astype(int)), np.repeat(y, c.astype(int))).statistic for c in counts]
    assert weighted_spearman(x, y, counts) == pytest.approx(expected)
    assert np.isnan(weighted_spearman(x, y, np.eye(30)[:1] * 30)).all()


def test_trend_is_spearman_with_time_and_zero_for_what_stays():
    g = np.random.default_rng(5)
    stack = g.random((5, 3, 2))
    stack[:, 0, 0], stack[2, 1, 1] = 0.5, np.nan
    found = trend_of(stack)
    assert found[0, 0] == 0 and np.isnan(found[1, 1])
    assert found[2, 1] == pytest.approx(spearmanr(np.arange(5), stack[:, 2, 1]).statistic)


def test_the_smallest_lead_is_corrected_for_having_been_chosen():
    """A method that truly leads everywhere by exactly the margin must not be declared beaten by the luck of a minimum."""
    wrongly = 0
    for seed in range(40):
        g = np.random.default_rng(seed)
        leads = {}
        for number in range(8):
            sample = 0.1 + g.standard_normal(50)
            drawn = sample[g.integers(0, 50, (400, 50))].mean(axis=1)
            leads["a", "b", f"m{number}"] = float(sample.mean()), drawn
            leads["b", "a", f"m{number}"] = -float(sample.mean()), -drawn
        reading = read_leads(Evidence(0.0, np.array([]), np.array([]), frozenset(), 1, leads=leads), 0.1)
        wrongly += decide(0.0, reading.low, reading.high, reading.p, "not_greater", 0.1) == "supported"
    assert wrongly <= 5


def test_margin_verdicts_of_not_greater():
    assert decide(0.0, -0.1, 0.04, 0.01, "not_greater", 0.05) == "supported"
    assert decide(-0.5, -0.6, -0.4, 0.01, "not_greater", 0.05) == "supported"
    assert decide(0.2, 0.1, 0.3, 1.0, "not_greater", 0.05) == "contradicted"
    assert decide(0.04, 0.0, 0.08, 0.4, "not_greater", 0.05) == "inconclusive"
    assert decide(0.0, np.nan, np.nan, np.nan, "not_greater", 0.05) == "inconclusive"


def test_few_equal_items_decide_nothing():
    values = np.zeros((5, 1))
    rows = judge(
        panel(rows_of(values, "m@human")),
        claim_of("level", {"first": SELF, "measure": "m@human", "threshold": 0.0}, "equal"),
    )
    assert rows["verdict"].iloc[0] == "inconclusive" and np.isnan(rows["p"].iloc[0])


# ---- scopes, families, reasons


def two_models(g):
    return [
        rows_of(cells(g, 0.5 + e, noise=0.4), "m@human", name, subject=s)
        for s in ("a", "b")
        for name, e in (("self", 0.1), ("lime", 0.0))
    ]


def test_holm_covers_the_declared_family_of_pooled_rows_only():
    g = np.random.default_rng(2)
    parameters = {"first": SELF, "second": OTHER, "measure": "m@human"}
    level = {"first": SELF, "measure": "m@human", "threshold": 0.5}
    claims = [claim_of("difference", parameters, name="P1.1"), claim_of("level", level, name="P1.2"),
              claim_of("level", level, name="P2.1", family="other")]  # fmt: skip
    rows = judge(panel(*two_models(g)), *claims)
    assert rows.groupby("claim_id")["scope"].apply(list)["P1.1"] == ["c/a/tuned", "c/b/tuned", "all"]
    main = rows[rows["primary"] & (rows["family"] == "f")]
    assert main["p_adjusted"].tolist() == pytest.approx(multipletests(main["p"], method="holm")[1])
    assert set(main["family_size"]) == {2} and set(
        rows.loc[~rows["primary"] & (rows["family"] == "f, by scope"), "family_size"]
    ) == {4}
    alone = rows[rows["primary"] & (rows["family"] == "other")]
    assert alone["p_adjusted"].tolist() == alone["p"].tolist()


def test_each_member_is_a_scope_of_its_own():
    g = np.random.default_rng(2)
    parts = [
        rows_of(cells(g, 0.5), "m@human"),
        rows_of(cells(g, 0.9), "m@human", "lime"),
        rows_of(cells(g, 0.1), "m@human", "occlusion"),
    ]
    parameters = {"first": SELF, "second": {"explainers": ["attributions"]}, "measure": "m@human", "each": "second"}
    rows = judge(panel(*parts), claim_of("difference", parameters)).set_index("scope")
    assert (
        rows.loc["c/s/tuned: lime", "verdict"] == "contradicted"
        and rows.loc["c/s/tuned: occlusion", "verdict"] == "supported"
    )
    assert rows.loc["all", "verdict"] == "equivalent" and rows.loc["all", "n_scopes"] == 2


def test_what_cannot_be_tested_is_a_row_with_the_reason():
    g = np.random.default_rng(2)
    study = panel(*two_models(g))
    claims = [
        claim_of("difference", {"first": {"explainers": ["lrp"]}, "second": OTHER, "measure": "m@human"}, name="P1.1"),
        claim_of("change", {"first": SELF, "measure": "m@human"}, name="P1.2"),
        claim_of("trend", {"first": SELF, "measure": "m@human"}, name="P1.3"),
        claim_of(
            "difference",
            {"first": SELF, "second": OTHER, "measure": "m@human", "where": {"min_accuracy": 0.5}},
            name="P1.4",
        ),
    ]
    rows = judge(study, *claims).set_index("claim_id")
    assert set(rows["verdict"]) == {NOT_TESTABLE} and (rows["n_items"] == 0).all()
    assert rows.loc["P1.1", "reason"] == "No rows of lrp with the measure m@human in c/a/tuned and 1 more."
    assert rows.loc["P1.2", "reason"] == "c/a was not run before fine-tuning. c/b was not run before fine-tuning."
    assert "`epochs` has no rows" in rows.loc["P1.3", "reason"]
    assert "no prediction of c/a/tuned and 1 more" in rows.loc["P1.4", "reason"]


def test_a_missing_table_is_the_reason():
    study = panel(*two_models(np.random.default_rng(2)), present=frozenset({"predictions"}))
    rows = judge(
        study, claim_of("difference", {"first": {"explainers": ["lrp"]}, "second": OTHER, "measure": "m@human"})
    )
    assert rows["reason"].tolist() == ["This run has no table metrics."]


def test_conditions_choose_the_models_that_a_claim_is_about():
    g = np.random.default_rng(2)
    right = [rows_of((g.random((N_ITEMS, 2)) < share) * 1.0, "correct@all/answers", "answer", "prediction-only", subject=s)
             for s, share in (("a", 0.95), ("b", 0.5))]  # fmt: skip
    study = panel(*two_models(g), *right, commonest={Model("c", "a", "tuned"): 0.5, Model("c", "b", "tuned"): 0.97})
    parameters = {"first": SELF, "second": OTHER, "measure": "m@human"}
    for where, expected in (({"min_accuracy": 0.8}, "c/a/tuned"), ({"commonest_label": 0.9}, "c/b/tuned")):
        rows = judge(study, claim_of("difference", parameters | {"where": where}))
        assert rows["scope"].tolist() == [expected] and "Not tested in 1 more" in rows["note"].iloc[0]


def test_two_sided_questions_name_the_papers_that_were_right():
    parameters = {"first": SELF, "second": OTHER, "measure": "m@human"}
    for effect, expected in ((0.4, "As B would have it. Against A, C."), (0.0, "As C would have it. Against A, B.")):
        study, _ = simulate_difference(effect, np.random.default_rng(0))
        rows = judge(
            study,
            claim_of("difference", parameters, "different", positions={"A": "less", "B": "greater", "C": "equal"}),
        )
        assert expected in rows["reason"].iloc[0]


def test_results_do_not_depend_on_the_other_claims():
    study, parameters = simulate_difference(0.1, np.random.default_rng(0))
    alone = judge(study, claim_of("difference", parameters))
    level = claim_of("level", {"first": SELF, "measure": "m@human", "threshold": 0.5}, name="P1.2", family="g")
    together = judge(study, level, claim_of("difference", parameters))
    columns = ["estimate", "ci_low", "ci_high", "p"]
    assert alone[columns].to_numpy() == pytest.approx(together.loc[together["claim_id"] == "P1.1", columns].to_numpy())


# ---- derived measures


def example_rows():
    return pd.DataFrame({"corpus": "c", "example_id": ["1"], "language": "en", "words": [["The", "film", "was", "2"]],
                         "gold": [[False, True, True, False]]})  # fmt: skip


def explanation_rows(scores, **columns):
    base = {"corpus": "c", "subject": "s", "tuning": "t", "example_id": "1", "explainer": "lime", "variant": "default",
            "selected": None, "ordered": False, "valid": True}  # fmt: skip
    return pd.DataFrame([{**base, "seed": seed, "scores": values, **columns} for seed, values in enumerate(scores)])


def test_word_measures_by_hand():
    every = derive.word_rows(explanation_rows([[0.9, 0.5, 0.5, 0.0]]), example_rows())
    rows = every[every["explainer"] == "lime"].set_index("measure")["value"]
    # k = 2: "The" is sure, "film" and "was" share the other place; "The" and "was" are stop words, "2" has no letter.
    assert rows["stop_word_share@human/words"] == pytest.approx((1 + 0.5) / 2)
    assert rows["structural_share@human/words"] == 0
    assert rows["score_levels@all/words"] == 3 / 4 and rows["small_effect@all/words"] == 1 / 4
    chosen = derive.word_rows(explanation_rows([None], selected=[3], ordered=False), example_rows())
    chosen = chosen[chosen["explainer"] == "lime"]
    assert chosen.set_index("measure")["value"]["structural_share@human/words"] == 0.5


def test_human_rationales_stand_beside_a_model_that_has_none_as_an_explainer():
    lime = explanation_rows([[0.9, 0.5, 0.5, 0.0], [0.0, 0.1, 0.2, 0.3]])
    rows = derive.word_rows(lime, example_rows())
    human = rows[(rows["explainer"] == "human") & (rows["measure"] == "stop_word_share@human/words")]
    assert human["seed"].tolist() == [0, 1] and human["value"].tolist() == [0.5, 0.5]  # "film" and "was"
    own = explanation_rows([[1.0, 1, 0, 0]], explainer="human")  # one seed has its own, which stays
    rows = derive.word_rows(pd.concat([lime, own]), example_rows())
    human = rows[(rows["explainer"] == "human") & (rows["measure"] == "stop_word_share@human/words")]
    assert sorted(zip(human["seed"], human["value"], strict=True)) == [(0, 0.5), (1, 0.5)]
    unmarked = example_rows().assign(gold=[None])
    assert derive.human_rows(lime, unmarked).empty


def test_seed_correlations_equal_scipy_and_the_tight_half_is_the_closest_in_accuracy():
    g = np.random.default_rng(1)
    scores = g.random((6, 4))
    accuracy = [0.5, 0.9, 0.91, 0.92, 0.7, 0.3]
    predictions = pd.DataFrame(
        [{"corpus": "c", "subject": "s", "tuning": "t", "seed": seed, "example_id": str(item), "paradigm": "prediction-only",
          "predicted": "a", "correct": item < share * 100} for seed, share in enumerate(accuracy) for item in range(100)]
    )  # fmt: skip
    rows = derive.seed_rows(explanation_rows([list(row) for row in scores]), example_rows(), predictions)
    every = [pearsonr(scores[a], scores[b]).statistic for a in range(6) for b in range(a)]
    tight = [pearsonr(scores[a], scores[b]).statistic for a, b in ((1, 2), (1, 3), (2, 3))]
    values = rows.groupby("measure")["value"].agg(["first", "nunique", "size"])
    assert values.loc["seed_pearson@all/seeds"].tolist() == pytest.approx([np.mean(every), 1, 6])
    assert values.loc["seed_pearson_tight@all/seeds"].tolist() == pytest.approx([np.mean(tight), 1, 6])
    assert derive.seed_rows(explanation_rows([[1.0, 2, 3, 4]]), example_rows(), predictions).empty
    sampled = explanation_rows([list(row) for row in scores], tuning="base")  # one model that answers six times
    assert derive.seed_rows(sampled, example_rows(), predictions).empty


def test_answers_become_measures():
    predictions = pd.DataFrame({"corpus": "c", "subject": "s", "tuning": "t", "seed": 0, "example_id": ["1", "2"],
                                "paradigm": "prediction-only", "predicted": "a", "correct": [True, False], "p_full": 0.5, "confidence": [0.95, 0.9501]})  # fmt: skip
    rows = derive.answer_rows(predictions).groupby("measure")["value"].apply(list)
    assert rows["correct@all/answers"] == [1, 0] and rows["rounded@all/answers"] == [1, 0]
    computed = derive.answer_rows(predictions.drop(columns="confidence"))
    assert set(computed["measure"]) == {"correct@all/answers"}
    # One unreadable answer is a wrong one; a paradigm without any readable answer is a recording of failures.
    one = predictions.assign(predicted=["a", NO_LABEL], correct=[True, False])
    assert len(derive.answer_rows(one.drop(columns="confidence"))) == 2
    assert derive.answer_rows(predictions.assign(predicted=NO_LABEL, correct=False)).empty


def test_agreement_is_corrected_for_chance():
    pairs = pd.DataFrame({"corpus": "c", "subject": "s", "tuning": "t", "seed": 0, "example_id": ["1", "2"], "explainer": "lime",
                          "variant": "default", "other": "self", "other_variant": "PE-x", "metric": "iou",
                          "value": [0.6, 0.2], "chance": [0.2, 1.0]})  # fmt: skip
    rows = derive.agreement_rows(pairs)
    assert rows["value"].tolist()[0] == pytest.approx(0.5) and np.isnan(rows["value"].tolist()[1])
    assert rows["explainer"].iloc[0] == "lime default" and rows["variant"].iloc[0] == "self PE-x"


# ---- the stage and what is shown


STUDY = {
    "study": "tiny", "corpora": {"planted_sentiment": {}},
    "subjects": {name: {"embedded": name} for name in ("tiny-llama", "tiny-encoder")},
    "runs": [{"corpus": "planted_sentiment", "subject": name} for name in ("tiny-llama", "tiny-encoder")],
}  # fmt: skip


@pytest.fixture
def tiny_study(tmp_path, monkeypatch):
    monkeypatch.setenv("RATIONALES_HOME", str(tmp_path))
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(STUDY), "utf-8")
    study, g = load_study(path), np.random.default_rng(0)
    metrics = []
    for subject in ("tiny-llama", "tiny-encoder", "feature-model", "left-out"):
        for name, mean in (("self", 0.8), ("saliency", 0.3)):
            variant = "PE-topk-human-anchored" if name == "self" else "default"
            frame = rows_of(cells(g, mean, seeds=1), "f1@human", name, variant, "planted_sentiment", subject, "base")
            metrics.append(frame.assign(epoch=0, metric="f1", k="human", operator="none").drop(columns="measure"))
    write_table("metrics", pd.concat(metrics), study.part("metrics", "plausibility"))
    return study


def test_the_stage_writes_a_part_and_reads_only_what_the_study_names(tiny_study, monkeypatch):
    rows = judge_claims(tiny_study)
    assert set(rows["claim_id"]) == {claim.id for claim in load_ledger().claims}
    written = read_table(tiny_study.folder, "claims")
    assert len(written) == len(rows) and (tiny_study.folder / "claims" / "ledger.parquet").is_file()
    first = rows[rows["claim_id"] == "P1.1b"].set_index("scope")
    assert first.loc["planted_sentiment/tiny-llama/base", "verdict"] == "supported"
    # A run folder may hold rows of models that the study file does not name, or no longer.
    assert set(first.index) == {"planted_sentiment/tiny-llama/base", "planted_sentiment/tiny-encoder/base", "all"}
    assert rows.loc[rows["claim_id"] == "P1.1a", "verdict"].iloc[-1] == "contradicted"


def test_epochs_of_a_fine_tuning_are_models_of_their_own():
    g = np.random.default_rng(0)
    parts = [
        rows_of(cells(g, mean), "x", name, epoch=epoch).assign(metric=metric, k="human", operator=operator)
        for epoch in range(4)
        for name in ("saliency", "attention")
        for metric, operator, mean in (("f1", "none", 0.2 * epoch), ("flip_rate", "delete", 0.0 if epoch < 2 else 0.5))
    ]
    epochs = pd.concat(parts).drop(columns="measure")
    share = {0: 1.0, 1: 0.95, 2: 0.6, 3: 0.5}
    training = pd.DataFrame([{"corpus": "c", "subject": "s", "tuning": "tuned", "seed": seed, "epoch": epoch, "split": "explained",
                              "commonest_label": value} for epoch, value in share.items() for seed in range(2)])  # fmt: skip
    tables = {"epochs": epochs, "training": training, "metrics": epochs[epochs["epoch"] == 3]}
    ledger = load_ledger()
    rows = evaluate_claims(ledger, panel_of(ledger, tables, {}), MARGINS, 300, 0, 299)
    trend = rows[rows["claim_id"] == "P1.3d"]
    assert trend["scope"].tolist() == ["c/s/tuned"] and trend["verdict"].tolist() == ["supported"]
    flips = rows[rows["claim_id"] == "P1.5a"]
    collapsed = {f"c/s/tuned/epoch {epoch}: {name}" for epoch in (0, 1) for name in ("saliency", "attention")}
    assert set(flips["scope"]) == collapsed | {"all"} and set(flips["verdict"]) == {"supported"}


def test_a_study_without_rows_says_what_to_run():
    with pytest.raises(StudyError, match="run notebooks 05 to 08 first"):
        panel_of(load_ledger(), {}, {})


def test_tables_and_sentences_show_every_claim_once_and_escaped(tiny_study):
    rows = judge_claims(tiny_study)
    table = ledger_table(rows)
    assert table["claim"].tolist() == [claim.id for claim in load_ledger().claims]
    assert len(ledger_table(rows, ("supported",))) == (rows["primary"] & (rows["verdict"] == "supported")).sum()
    assert scope_table(rows, "P1.1b")["scope"].iloc[-1] == "all"
    sentences = ledger_sentences(rows)
    counted = sum(int(s.split("of ")[1].split(" claims")[0]) for s in sentences if " claims, " in s)
    assert counted == sum(not claim.id.startswith("C") for claim in load_ledger().claims)
    harmful = rows.assign(reason="<script>alert(1)</script> *x*")
    assert not any("<script" in sentence or " *x*" in sentence for sentence in ledger_sentences(harmful))
    assert "not evaluated" in ledger_sentences(pd.DataFrame())[0]


def test_mean_of_defined_is_silent_and_exact():
    assert mean_of_defined(np.array([[1.0, np.nan], [3.0, np.nan]]))[0] == 2
    assert np.isnan(mean_of_defined(np.array([[1.0, np.nan], [3.0, np.nan]]))[1])

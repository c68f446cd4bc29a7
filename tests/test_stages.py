"""The stages on a small planted study: right rows, recorded failures, identical repeats, clean resumption."""

from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from transformers import Trainer

from rationales import reporting as report
from rationales.errors import StudyError
from rationales.ledger.panel import collect_series
from rationales.metrics.faithfulness import Curves
from rationales.replicates import is_replicate, split_variant
from rationales.stages.attribute import attribute
from rationales.stages.calibrate_metrics import prepare_rows
from rationales.stages.compare_seeds import compare_accuracies, compare_seeds
from rationales.stages.contrast import test_contrasts as run_contrasts
from rationales.stages.prepare import explained_examples, prepare_corpus, read_corpus, write_examples
from rationales.stages.score_agreement import score_agreement
from rationales.stages.score_faithfulness import explanation_parts, measure_word_effects, score_faithfulness
from rationales.stages.score_plausibility import score_plausibility
from rationales.stages.self_explain import read_answer, self_explain
from rationales.stages.subjects import open_engine, open_subject
from rationales.stages.tune import tune
from rationales.statistics.summary import fill_invalid, select, summarise
from rationales.study import load_study
from rationales.subjects.engine import Request
from rationales.tables import KEYS, read_part, read_table


def run_all(home):
    """Every stage of the small study in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATIONALES_HOME", str(home))
        study = load_study("tests/smoke_study.yaml")
        write_examples(study, prepare_corpus(study, "planted_sentiment"))
        for run in study.runs:
            if run.tuning != "base":
                tune(study, run)
            if study.is_causal(run):
                self_explain(study, run)
            attribute(study, run, "attributions")
            score_faithfulness(study, run)
        score_plausibility(study)
        score_agreement(study)
        compare_seeds(study)
        run_contrasts(study, read_table(study.folder, "metrics"))
    return study


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("first")


@pytest.fixture(scope="module")
def finished(home):
    return run_all(home)


@pytest.fixture
def study(finished, home, monkeypatch):
    monkeypatch.setenv("RATIONALES_HOME", str(home))
    return finished


def test_two_fresh_runs_give_identical_tables(study, tmp_path):
    first, second = study.folder, tmp_path / "runs" / "smoke"
    run_all(tmp_path)
    parts = sorted(path.relative_to(first) for path in first.rglob("*.parquet"))
    assert parts == sorted(path.relative_to(second) for path in second.rglob("*.parquet")) and len(parts) > 15
    for part in parts:
        one, other = pd.read_parquet(first / part), pd.read_parquet(second / part)
        times = [column for column in one.columns if column == "seconds"]
        pd.testing.assert_frame_equal(one.drop(columns=times), other.drop(columns=times))


def test_every_table_names_study_configuration_and_unique_keys(study):
    for kind in ("examples", "predictions", "responses", "explanations", "metrics", "training", "claims", "agreement"):
        table = read_table(study.folder, kind)
        assert {"study", "config_hash"} <= set(table.columns) and not table.duplicated(KEYS[kind]).any()
        assert table["config_hash"].str.fullmatch("[0-9a-f]{12}").all()


def test_examples_survive_the_disk(study):
    prepared, read = prepare_corpus(study, "planted_sentiment"), read_corpus(study, "planted_sentiment")
    assert prepared.examples == read.examples and prepared.labels == read.labels


def test_predictions_are_those_of_the_engine(study):
    run = study.runs[0]
    predictions = read_part(study.part("predictions", run.name, 0, "prediction-only"))
    examples = explained_examples(study, read_corpus(study, run.corpus))
    scores = np.exp(open_engine(study, run).full(examples))
    np.testing.assert_allclose(predictions[["p_negative", "p_positive"]], scores, atol=1e-5)
    assert (predictions["p_full"] == predictions[["p_negative", "p_positive"]].max(axis=1)).all()
    assert (predictions["correct"] == (predictions["predicted"] == predictions["label"])).all()


def test_comprehensiveness_against_one_erasure_done_by_hand(study):
    run = study.runs[1]
    metrics = read_part(study.part("metrics", "faithfulness", run.name, 0))
    explanations = explanation_parts(study, run, 0)
    occlusion = explanations[explanations["explainer"] == "occlusion"].set_index("example_id")["scores"]
    engine = open_engine(study, run)
    for example in explained_examples(study, read_corpus(study, run.corpus))[:4]:
        scores, k = np.array(occlusion[example.example_id]), sum(example.gold)
        if len(set(scores)) < len(scores):
            continue
        keep = np.ones(len(scores), bool)
        keep[np.argsort(-scores)[:k]] = False
        masks = np.stack([np.ones_like(keep), keep, ~keep])
        p = np.exp(engine.answer([Request(example, masks)])[0])
        target = p[0].argmax()
        here = metrics[(metrics["example_id"] == example.example_id) & (metrics["explainer"] == "occlusion")]
        here = here[(here["k"] == "human") & (here["operator"] == "delete")].set_index("metric")["value"]
        assert here["comprehensiveness"] == pytest.approx(p[0, target] - p[1, target], abs=1e-5)
        assert here["sufficiency"] == pytest.approx(p[0, target] - p[2, target], abs=1e-5)
        assert here["flip_rate"] == float(p[1].argmax() != target)


def test_the_human_rationale_is_perfectly_plausible_and_random_is_at_chance(study):
    metrics = read_part(study.part("metrics", "plausibility"))
    f1 = select(metrics, "f1", "human", "none")
    assert (f1[f1["explainer"] == "human"]["value"] == 1).all()
    random = f1[f1["explainer"] == "random"].drop_duplicates("example_id")
    assert abs(random["value"].mean() - random["chance"].mean()) < 0.35  # eight items only


def test_sampled_repeats_give_a_self_ceiling_and_annotators_a_human_one(study):
    metrics = read_part(study.part("metrics", "plausibility"))
    repeats = metrics[metrics["metric"] == "repeat_f1"]
    assert len(repeats) and repeats["variant"].str.endswith("#1").all() and repeats["value"].between(0, 1).all()
    worded = metrics[metrics["metric"] == "paraphrase_f1"]
    assert len(worded) and worded["variant"].str.endswith("~1").all() and worded["value"].between(0, 1).all()
    people = metrics[metrics["subject"] == "human"]
    assert set(people["variant"]) == {"annotator 0", "annotator 1", "annotator 2"}


def test_paraphrases_are_asked_in_other_words_about_the_same_answer(study):
    responses = read_table(study.folder, "responses")
    keys = ["subject", "tuning", "seed", "example_id", "paradigm"]
    prompts = responses[responses["repeat"] == 0].pivot(index=keys, columns="paraphrase", values="prompt").reset_index()
    asked_twice = prompts["paradigm"].isin(study.self_explanations["replicated"])
    assert asked_twice.any() and prompts.loc[~asked_twice, 1].isna().all()
    for row in prompts[asked_twice].itertuples(index=False):
        written, worded = row[-2:]
        assert written != worded
        if row.paradigm.startswith("PE"):  # the turn that is answered, and the answer, are the same
            shared = 0
            while written[shared] == worded[shared]:
                shared += 1
            assert shared > len(written) / 3
    sampled = responses.pivot(index=[*keys, "paraphrase"], columns="repeat", values="prompt").dropna()
    assert (sampled[0] == sampled[1]).all()
    stated = read_part(study.part("predictions", study.runs[0].name, 0, "stated"))
    assert not stated.duplicated(["example_id", "paradigm"]).any()  # the label of the first answer, and of no replicate


def test_replicates_change_no_table_that_compares_explanations(study):
    """Every such table is the same when the rows of replicates are taken out of its input beforehand."""
    metrics, skipped = read_table(study.folder, "metrics"), read_part(study.part("skipped", "plausibility"))
    explanations = read_table(study.folder, "explanations")
    alone = [
        table[[split_variant(variant)[1:] == (0, 0, 0) for variant in table["variant"]]]
        for table in (metrics, skipped, explanations)
    ]
    assert all(
        len(one) < len(table) for one, table in zip(alone, (metrics, skipped, explanations), strict=True) if len(one)
    )
    left_out = set(metrics["variant"]) - set(alone[0]["variant"])
    assert {"PE-topk-human-anchored~1", "PE-topk-human-anchored~1#1", "draw=1,n_samples=12"} <= left_out
    model = {"corpus": "planted_sentiment", "subject": "tiny-llama", "tuning": "base"}
    views = {
        "plausibility": lambda m, s, e: report.summary_of(study, m, model, report.PLAUSIBILITY),
        "faithfulness": lambda m, s, e: report.summary_of(study, m, model, report.FAITHFULNESS),
        "curves": lambda m, s, e: report.curve_table(study, m, study.runs[0]),
        "operators": lambda m, s, e: report.operator_table(study, m, model),
        "strata": lambda m, s, e: report.strata_table(study, m, study.runs[0]),
        "conventions": lambda m, s, e: report.convention_table(study, m, s),
        "attributions": lambda m, s, e: report.agreement_table(study.runs[0].rows_of(e)),
        "contrasts": lambda m, s, e: run_contrasts(study, m),
        "calibration": lambda m, s, e: prepare_rows(m),
    }
    for name, view in views.items():
        pd.testing.assert_frame_equal(view(metrics, skipped, explanations), view(*alone), obj=name)
    items = {"planted_sentiment": np.unique(metrics["example_id"])}
    both = [collect_series(m[m["metric"] == "f1"].assign(measure="f1"), items)[1] for m in (metrics, alone[0])]
    assert {key: set(found["f1"]) for key, found in both[0].items()} == {k: set(f["f1"]) for k, f in both[1].items()}
    for table in (read_part(study.part("stability", "seeds")), read_table(study.folder, "agreement")):
        for column in {"variant", "other_variant"} & set(table.columns):
            assert not any(is_replicate(variant) for variant in table[column])


def test_unreadable_replies_are_rows_with_their_text_and_reason(study):
    responses = read_table(study.folder, "responses")
    explanations = read_table(study.folder, "explanations")
    failed = responses[~responses["parsed"]]
    assert (failed["reason"] != "").all() and (responses[responses["parsed"]]["reason"] == "").all()
    own = explanations[(explanations["explainer"] == "self")]
    assert len(own) == len(responses) and (~own["valid"]).sum() == len(failed)
    assert len(read_part(study.part("skipped", "plausibility"))) == (~explanations["valid"]).sum()


def test_word_scores_on_the_label_scale_are_turned_towards_the_prediction(study):
    from rationales.explainers.prompts import parse_paradigm

    corpus = read_corpus(study, "planted_sentiment")
    example = corpus.examples[0]
    reply = str([[word, 0.5 if number == 0 else -0.25] for number, word in enumerate(example.word_texts)])
    opened = parse_paradigm("PE-scores-free-unanchored")
    for predicted, sign in (("positive", 1), ("negative", -1)):
        _, explanation = read_answer(opened, corpus, example, reply, predicted, "split")
        assert explanation.scores.tolist() == [sign * 0.5] + [sign * -0.25] * (len(example.words) - 1)


def test_stated_labels_of_rationale_first_answers(study):
    stated = read_part(study.part("predictions", study.runs[0].name, 0, "stated"))
    assert set(stated["paradigm"]) == {"EP-list-free-unanchored"}
    assert set(stated["predicted"]) <= {"negative", "positive", "(none)"}


def test_word_effects_are_the_mean_drop_over_swaps(study):
    engine = open_engine(study, study.runs[1])
    examples = explained_examples(study, read_corpus(study, "planted_sentiment"))[:3]
    targets = engine.full(examples).argmax(1)
    effects = measure_word_effects(engine, examples, targets)
    for example in examples:
        fixed = [slot in ("fixed", "neutral", "aspect", "intensifier") for slot in example.meta["slots"]]
        assert (effects[example.example_id][fixed] == 0).all() and np.abs(effects[example.example_id]).max() <= 1


def test_same_seed_same_weights_and_other_seed_other_weights(study, tmp_path, monkeypatch):
    first, second = study.runs[2], study.runs[3]
    weights = {run.seed: open_subject(study, run).model.state_dict() for run in (first, second)}
    monkeypatch.setenv("RATIONALES_HOME", str(tmp_path))
    write_examples(study, prepare_corpus(study, "planted_sentiment"))
    tune(study, first)
    again = open_subject(study, first).model.state_dict()
    assert all((weights[0][name] == again[name]).all() for name in again)
    assert any((weights[0][name] != weights[1][name]).any() for name in again)


def test_training_that_is_killed_goes_on_and_ends_with_the_same_weights(study, tmp_path, monkeypatch):
    run = study.runs[1]
    study.tunings["tuned"]["epochs"] = 2
    try:
        monkeypatch.setenv("RATIONALES_HOME", str(tmp_path / "whole"))
        write_examples(study, prepare_corpus(study, "planted_sentiment"))
        whole = tune(study, run)
        weights = open_subject(study, run).model.state_dict()
        monkeypatch.setenv("RATIONALES_HOME", str(tmp_path / "killed"))
        write_examples(study, prepare_corpus(study, "planted_sentiment"))
        original = Trainer.training_step

        def killed(self, *args, **kwargs):
            if self.state.global_step >= 6:  # in the second of two epochs of four steps
                raise KeyboardInterrupt
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "training_step", killed)
            with pytest.raises(KeyboardInterrupt):
                tune(study, run)
        assert not study.model_folder(run).exists()
        with pytest.raises(StudyError, match="03_fine_tuning"):
            open_subject(study, run)
        resumed = tune(study, run)
        again = open_subject(study, run).model.state_dict()
        assert all(np.allclose(weights[name], again[name], atol=1e-6) for name in again)
        pd.testing.assert_frame_equal(
            whole[["epoch", "split", "accuracy"]].reset_index(drop=True),
            resumed[["epoch", "split", "accuracy"]].reset_index(drop=True),
        )
    finally:
        study.tunings["tuned"]["epochs"] = 1


def test_stages_without_their_input_name_the_notebook_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("RATIONALES_HOME", str(tmp_path))
    study = load_study("tests/smoke_study.yaml")
    run = study.runs[0]
    for call, words in [
        (lambda: attribute(study, run, "attributions"), "01_data_preparation"),
        (lambda: score_plausibility(study), "notebooks 04 and 05"),
        (lambda: score_agreement(study), "notebooks 04 and 05"),
        (lambda: compare_seeds(study), "notebooks 04 and 05"),
        (lambda: compare_accuracies(study), "05_attributions"),
        (lambda: self_explain(study, study.runs[2]), "encoder and cannot write"),
        (lambda: tune(study, run), "nothing to tune"),
    ]:
        with pytest.raises(StudyError, match=words):
            call()
    write_examples(study, prepare_corpus(study, "planted_sentiment"))
    with pytest.raises(StudyError, match="shard 3"):
        attribute(study, run, "attributions", 3)
    with pytest.raises(StudyError, match="group of explainers"):
        attribute(study, run, "nothing")


def test_long_texts_are_left_out_and_counted(study):
    study.corpora["planted_sentiment"]["max_words"] = 12
    try:
        corpus = prepare_corpus(study, "planted_sentiment")
    finally:
        study.corpora["planted_sentiment"]["max_words"] = None
    assert max(len(example.words) for example in corpus.examples) <= 12
    assert corpus.exclusions and all(reason == "longer than 12 words" for _, reason in corpus.exclusions)


def test_summary_resamples_items_and_does_not_depend_on_company():
    rows = pd.DataFrame(
        {
            "explainer": ["a"] * 30 + ["b"] * 30,
            "example_id": [str(n) for n in range(30)] * 2,
            "seed": 0,
            "value": np.concatenate([np.linspace(0, 1, 30), np.linspace(0.5, 1, 30)]),
            "chance": 0.25,
        }
    )
    table = summarise(rows, ["explainer"]).set_index("explainer")
    alone = summarise(rows[rows["explainer"] == "b"], ["explainer"]).set_index("explainer")
    pd.testing.assert_frame_equal(table.loc[["b"]], alone)
    assert table.loc["a", "estimate"] == pytest.approx(0.5) and table.loc["a", "chance"] == 0.25
    standard_error = np.linspace(0, 1, 30).std() / np.sqrt(30)
    assert table.loc["a", "high"] - table.loc["a", "low"] == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_unreadable_explanations_count_as_zero_only_where_that_makes_sense():
    rows = pd.DataFrame({"metric": ["f1"], "value": [1.0], "example_id": ["1"], "reason": [None]})
    skipped = pd.DataFrame({"example_id": ["2", "3"], "reason": ["refusal", "no human rationale"]})
    filled = fill_invalid(rows, skipped, "f1")
    assert filled["value"].tolist() == [1.0, 0.0]
    with pytest.raises(StudyError, match="no 'kappa'"):
        fill_invalid(rows, skipped, "kappa")


def test_curves_are_built_in_the_order_of_their_masks(study):
    """A subject that counts kept words: every curve value is then known."""
    from rationales.stages.score_faithfulness import curves_of, plan_explanation

    run = study.runs[0]
    example = explained_examples(study, read_corpus(study, run.corpus))[0]
    row = next(explanation_parts(study, run, 0).query("explainer == 'random'").itertuples(index=False))
    plan = plan_explanation(study, row, example, "delete")
    n_words = len(example.words)
    shared = [np.ones((1, n_words), bool), np.zeros((1, n_words), bool), ~np.eye(n_words, dtype=bool)]
    masks = np.concatenate([*shared, plan.without.reshape(-1, n_words), plan.only.reshape(-1, n_words)])
    kept = (masks.sum(1) + 1) / (n_words + 2)
    curves = curves_of(plan, np.log(np.stack([kept, 1 - kept], 1)), 0, True)
    assert isinstance(curves, Curves)
    np.testing.assert_allclose(np.exp(curves.without[0, :, 0]), (n_words - plan.ks + 1) / (n_words + 2))
    np.testing.assert_allclose(np.exp(curves.only[0, :, 0]), (plan.ks + 1) / (n_words + 2))


def test_deletion_curves_start_at_the_intact_text_and_are_probabilities(study):
    from rationales.reporting import curve_table

    run = study.runs[1]
    metrics = read_part(study.part("metrics", "faithfulness", run.name, 0))
    table = curve_table(study, metrics, run)
    predictions = read_part(study.part("predictions", run.name, 0, "prediction-only"))
    assert table[["estimate", "low", "high"]].stack().between(0, 1).all()
    start = table[table["fraction"] == 0]["estimate"]
    assert len(start) == table["explainer"].nunique() and start.to_numpy() == pytest.approx(
        predictions["p_full"].mean()
    )


def test_words_of_a_set_are_removed_in_greedy_order_and_in_any_order(study):
    """Brute force on the model itself: every order of the human words, and one greedy step after the other."""
    run = study.runs[0]
    corpus = read_corpus(study, run.corpus)
    engine = open_engine(study, run, corpus)
    rows = read_part(study.part("metrics", "faithfulness", run.name, 0))
    rows = rows[rows["metric"].str.startswith("ordered") & (rows["explainer"] == "human")]
    assert set(rows["operator"]) == {"delete"}
    values = rows.set_index(["example_id", "metric", "k"])["value"]
    parts = explanation_parts(study, run, 0)
    scores = parts[parts["explainer"] == "human"].set_index("example_id")["scores"]
    checked = 0
    for example in explained_examples(study, corpus):
        words = [int(place) for place in np.flatnonzero(example.gold)]
        target, shared = int(engine.full([example])[0].argmax()), np.ones(len(example.words), bool)

        def drop(gone, example=example, target=target, shared=shared):
            keep = shared.copy()
            keep[list(gone)] = False
            both = np.exp(engine.answer([Request(example, np.stack([shared, keep]))])[0].astype(float))
            return both[0, target] - both[1, target]

        if len(words) > 3:
            continue
        shares = scores[example.example_id]  # words that more annotators marked come first
        allowed = [o for o in permutations(words) if all(shares[a] >= shares[b] for a, b in pairwise(o))]
        own = [np.mean([drop(order[:size]) for size in range(1, len(words) + 1)]) for order in allowed]
        greedy = []
        while len(greedy) < len(words):
            greedy.append(max((word for word in words if word not in greedy), key=lambda word: drop([*greedy, word])))
        area = np.mean([drop(greedy[:size]) for size in range(1, len(words) + 1)])
        assert values[example.example_id, "ordered_aopc_own", "human"] == pytest.approx(np.mean(own), abs=1e-5)
        assert values[example.example_id, "ordered_aopc_greedy", "human"] == pytest.approx(area, abs=1e-5)
        first = min(max(1, int(0.1 * len(example.words) + 0.5)), len(words))
        assert values[example.example_id, "ordered_drop_greedy", "human_0.1"] == pytest.approx(
            drop(greedy[:first]), abs=1e-5
        )
        checked += 1
    assert checked >= 4

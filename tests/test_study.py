"""Study files: whatever is wrong is said in one sentence, before anything is computed."""

import copy
import subprocess
import sys

import pytest
import yaml

from rationales.errors import StudyError
from rationales.paths import repository_root
from rationales.study import check_methods, expand_path, load_study

GOOD = yaml.safe_load((repository_root() / "tests" / "smoke_study.yaml").read_text(encoding="utf-8"))


def written(tmp_path, change):
    """Path of a copy of the small study after `change`."""
    study = copy.deepcopy(GOOD)
    change(study)
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(p.name for p in (repository_root() / "studies").glob("*.yaml")))
def test_the_studies_of_the_repository_are_valid(path, monkeypatch):
    monkeypatch.setenv("RATIONALES_MODELS", "models")
    study = load_study(f"studies/{path}")
    assert study.runs and study.name == path.removesuffix(".yaml")


def test_runs_are_expanded_over_seeds_and_base_has_one():
    study = load_study("tests/smoke_study.yaml")
    assert [run.name for run in study.runs] == [
        "planted_sentiment__tiny-llama__base__seed0",
        "planted_sentiment__tiny-llama__tuned__seed0",
        "planted_sentiment__tiny-encoder__tuned__seed0",
        "planted_sentiment__tiny-encoder__tuned__seed1",
    ]
    assert study.is_causal(study.runs[0]) and not study.is_causal(study.runs[2])
    with pytest.raises(StudyError, match="no run"):
        study.run_of("planted_sentiment", "tiny-llama", "tuned", 5)


def test_a_number_of_seeds_means_as_many_from_zero(tmp_path):
    study = load_study(written(tmp_path, lambda s: s["runs"][-1].update(seeds=4)))
    assert [run.seed for run in study.runs[-4:]] == [0, 1, 2, 3]


def test_recorded_subjects_have_sampling_seeds_and_cannot_be_tuned(tmp_path):
    change = lambda s: s["subjects"].update({"gpt": {"recorded": "huang"}})  # noqa: E731
    run = {"corpus": "planted_sentiment", "subject": "gpt", "seeds": [28, 79]}
    study = load_study(written(tmp_path, lambda s: [change(s), s["runs"].append(run)]))
    assert [r.seed for r in study.recorded_runs("huang")] == [28, 79] and study.is_recorded(study.runs[-1])
    with pytest.raises(StudyError, match="no recorded answers of 'brandl_eberle'"):
        study.recorded_runs("brandl_eberle")
    with pytest.raises(StudyError, match="cannot be tuned"):
        load_study(written(tmp_path, lambda s: [change(s), s["runs"].append({**run, "tuning": "tuned"})]))
    with pytest.raises(StudyError, match="Unknown recorded source 'hwang'"):
        load_study(written(tmp_path, lambda s: s["subjects"].update({"gpt": {"recorded": "hwang"}})))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s["corpora"].update({"reviews": {}}), "Unknown corpus 'reviews'"),
        (lambda s: s["corpora"]["planted_sentiment"].update(split="x"), "no entry 'split'"),
        (lambda s: s["corpora"]["planted_sentiment"].update(train_with="sst2"), "train with"),
        (lambda s: s["subjects"].update({"gpt": {}}), "exactly one of"),
        (lambda s: s["subjects"].update({"gpt": {"embedded": "gpt"}}), "embedded subject"),
        (lambda s: s["subjects"].update({"own": {"path": "x"}}), "kind: causal"),
        (lambda s: s["tunings"]["tuned"].update(method="magic"), "tuning method"),
        (lambda s: s["runs"].append({"corpus": "planted_sentiment", "subject": "nobody"}), "subject of a run"),
        (lambda s: s["runs"].append({"corpus": "planted_sentiment", "subject": "tiny-llama", "tuning": "x"}), "tuning"),
        (lambda s: s["runs"].append(s["runs"][0]), "twice"),
        (lambda s: s["runs"].append({"corpus": "planted_sentiment", "model": "x"}), "no entry 'model'"),
        (lambda s: s["explainers"].update(more=["oclusion"]), "Did you mean 'occlusion'"),
        (lambda s: s["explainers"].update(more=[{"name": "lime", "samples": 3}]), "no option 'samples'"),
        (lambda s: s["explainers"].update({"a b": ["lime"]}), "letters, digits and hyphens"),
        (lambda s: s["self_explanations"].update(paradigms=["PE-poem-free-anchored"]), "form of a paradigm"),
        (lambda s: s["self_explanations"].update(paraphrases=9), "paraphrases` is 9; give a whole number from 1 to 3"),
        (lambda s: s["self_explanations"].update(repeats=0), "repeats` is 0"),
        (lambda s: s["self_explanations"].update(replicated=["PE-list-free-anchored"]), "paradigm to replicate"),
        (
            lambda s: s["explainers"].update(more=[{"name": "attention", "draw": 1}]),
            "'attention' draws nothing at random",
        ),
        (lambda s: s["explainers"].update(more=[{"name": "lime", "draw": 1}]), "never for the first time"),
        (lambda s: s["explainers"].update(more=[{"name": "lime", "draw": "x"}]), "whole number of at least 0"),
        (lambda s: s["faithfulness"].update(operators=["blur"]), "removal operator"),
        (lambda s: s.update(colour=1), "unknown entry 'colour'"),
        (lambda s: s.update(runs=[]), "needs a non-empty entry `runs`"),
        (lambda s: s.update(study="a__b"), "may hold only"),
    ],
)
def test_every_unknown_name_is_refused(tmp_path, change, words):
    with pytest.raises(StudyError, match=words) as caught:
        check_methods(load_study(written(tmp_path, change)))
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(StudyError, match="studies/default.yaml"):
        load_study("studies/nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\nb: 2", encoding="utf-8")
    with pytest.raises(StudyError, match="not valid YAML near line"):
        load_study(broken)
    broken.write_text("- 1", encoding="utf-8")
    with pytest.raises(StudyError, match="must be a mapping"):
        load_study(broken)


def test_environment_variables_in_paths(monkeypatch):
    monkeypatch.setenv("MODELS_HERE", "some/folder")
    assert expand_path("${MODELS_HERE}/x") == str(repository_root() / "some/folder/x")
    monkeypatch.delenv("MODELS_HERE")
    with pytest.raises(StudyError, match=r"\$MODELS_HERE, which is not set"):
        expand_path("${MODELS_HERE}/x")


def test_reading_a_study_and_its_tables_needs_no_torch():
    code = "import sys, rationales.reporting, rationales.stages.contrast, rationales.stages.score_agreement as s; "
    code += (
        "from rationales.study import load_study; load_study('studies/default.yaml'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=repository_root()).returncode == 0

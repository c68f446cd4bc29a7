"""The benchmark at a tiny size: tools that are compared agree, and the tables have their columns. Nothing is timed here."""

import json
from subprocess import CompletedProcess

import numpy as np
import pandas as pd
import pytest
from benchmarks import measure, others, report, run, works
from benchmarks.models import build_causal, make_examples

from rationales.errors import StudyError
from rationales.metrics.faithfulness import ERASER_FRACTIONS, Curves, aopc_over_fractions, curve_ks, plan_masks
from rationales.subjects.engine import Engine, Request

TINY = [
    "--size",
    "tiny",
    "--words",
    "6",
    "--prompt",
    "40",
    "--samples",
    "12",
    "--steps",
    "4",
    "--rows",
    "200",
    "--quick",
]


@pytest.mark.parametrize("kind", ["causal", "encoder"])
def test_compared_tools_agree_and_the_table_has_its_columns(kind, tmp_path):
    names = run.CAUSAL if kind == "causal" else [f"encoder_{name}" for name in run.ENCODER]
    table = run.run(run.parse_arguments([*TINY, "--together", "--output", str(tmp_path), "--works", *names]))
    written = pd.read_csv(tmp_path / "results-tiny-cpu-float32.csv")
    assert list(written.columns) == report.COLUMNS
    assert list(written.columns[:5]) == ["work", "tool", "seconds", "peak_mb", "ratio"]
    assert (written["seconds"] > 0).all() and (written["texts_per_second"] > 0).all()
    assert not written.duplicated(["work", "tool"]).any()
    compared = written[written["tool"] != "engine"]
    assert (compared["difference"] <= run.TOLERANCE).all() and len(compared) >= len(names)
    assert (written.loc[written["tool"] == "engine", "ratio"] == 1).all()
    assert set(report.check_bounds(table)["at least"]) == ({0.95} if kind == "encoder" else {4, 5, 15})


def test_a_wrong_result_is_never_timed():
    job = {"work": "occlusion", "kind": "causal", "dtype": "float32"}
    found = {
        name: {"seconds": 1.0, "values": values} for name, values in [("engine", [1.0, 2.0]), ("batched", [1.0, 2.1])]
    }
    with pytest.raises(StudyError, match="'batched' and the engine give different numbers on 'occlusion'"):
        run.rows_of_work(job, found)
    assert run.rows_of_work({**job, "dtype": "bfloat16"}, found)[1]["difference"] == pytest.approx(0.05)
    assert run.compare([1.0, 3.0], [2.0, 2.0], sums=True) == 0


def test_the_prompt_has_exactly_the_tokens_asked_for():
    for prompt in (40, 77):
        subject, example = build_causal("tiny", prompt), make_examples(6, 1)[0]
        encoded = subject.encode(example)
        assert encoded.prefix == prompt and encoded.n_words == 6 and {len(ids) for ids in encoded.label_ids} == {1}


def test_five_point_faithfulness_is_that_of_the_metrics():
    setting = works.make_setting("causal", "tiny", 6, 40, "cpu", "float32")
    (found,) = works.engine_faithfulness(setting, 1)
    engine, example, target = Engine(setting.subject), setting.examples[0], setting.targets[0]
    expected = []
    for order in setting.orders(0):
        ks = curve_ks(6, ERASER_FRACTIONS, 0)
        halves = [engine.answer([Request(example, half[0])])[0] for half in plan_masks(order[None], ks)]
        without, only = halves
        curves = Curves(ks, without[None], only[None], None, without[0], only[0], target)
        expected += [
            aopc_over_fractions(curves, ERASER_FRACTIONS, kind) for kind in ("comprehensiveness", "sufficiency")
        ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_masks_are_distinct_and_the_same_every_time():
    masks = works.random_masks(30, 10)
    assert masks.shape == (30, 10) and len(np.unique(masks, axis=0)) == 30
    assert np.array_equal(masks, works.random_masks(30, 10))
    assert len(works.random_masks(1000, 4)) <= 16


def test_statistics_agree_with_scipy_and_become_rows():
    found = others.measure_statistics({"items": 60, "explainers": 3, "words": 8, "resamples": 400})
    rows = run.rows_of_statistics(found, 400)
    assert [row["tool"] for row in rows] == ["study", "study", "scipy"] and found["rows"] == 180
    assert rows[0]["seconds"] >= rows[1]["seconds"] > 0


def test_growing_costs_fill_four_panels_and_the_readme(tmp_path, monkeypatch):
    monkeypatch.setattr(others, "time_runs", lambda function, *_: (measure.time_runs(function, 1, 0.0)[0], 1, None))
    job = run.list_jobs(run.parse_arguments([*TINY[:-1], "--works", "scaling"]))[0]
    assert json.loads(json.dumps(job)) == job
    small = {"prompts": [40], "mask_numbers": [4], "budgets": [64], "word_numbers": [5], "masks": 6}
    scaling = pd.DataFrame(measure.measure({**job, **small})["rows"])
    assert set(scaling["panel"]) == set(report.PANELS) and set(scaling["tool"]) == set(report.TOOLS)
    assert (scaling["seconds"] > 0).all()
    throughput = run.list_jobs(run.parse_arguments([*TINY, "--works", "throughput"]))[0]
    rows = run.rows_of_throughput(measure.measure(throughput))
    assert all(row["gflops"] > 0 for row in rows)
    table = pd.DataFrame(rows).reindex(columns=report.COLUMNS)
    (tmp_path / "README.md").write_text(f"before\n{report.BEGIN}\nstale\n{report.END}\nafter\n", "utf-8")
    report.write_all(table, scaling, tmp_path, "results")
    text = (tmp_path / "README.md").read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text and "| throughput |" in text
    assert {path.name for path in tmp_path.iterdir()} >= {"results.csv", "scaling.csv", "results.png", "results.svg"}


def test_a_work_runs_in_a_process_of_its_own_in_half_precision():
    options = run.parse_arguments([*TINY, "--dtype", "bfloat16", "--works", "lime"])
    (job,) = run.list_jobs(options)
    rows = run.rows_of_work(job, run.run_apart(job))
    assert [row["tool"] for row in rows] == ["engine", "batched", "captum"]
    assert all(row["tokens_per_second"] > row["texts_per_second"] > 0 and row["peak_mb"] >= 0 for row in rows)


def test_unknown_works_and_broken_ones_are_named_in_a_sentence(capsys, monkeypatch):
    assert run.main([*TINY, "--works", "limes"]) == 1
    assert "Unknown work 'limes'; choose among: together" in capsys.readouterr().err
    broken = CompletedProcess([], 1, "", "Traceback ...\nValueError: The prompt needs at least 18 tokens, not 1.\n")
    monkeypatch.setattr(run.subprocess, "run", lambda *args, **options: broken)
    assert run.main([*TINY, "--works", "lime"]) == 1
    assert "The work 'lime' failed: ValueError: The prompt needs at least" in capsys.readouterr().err

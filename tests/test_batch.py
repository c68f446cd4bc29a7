"""The batch workflow: what runs, what does not run again, what a failure leaves behind."""

import os
import subprocess
import sys

import pytest
import yaml

from rationales.paths import repository_root

pytestmark = pytest.mark.slow

SMALL = {
    "study": "batch",
    "corpora": {"planted_opinion": {"options": {"train": 12, "validation": 2, "test": 4}}},
    "subjects": {"tiny-encoder": {"embedded": "tiny-encoder"}},
    "tunings": {"tuned": {"epochs": 1, "train_items": 12}},
    "runs": [{"corpus": "planted_opinion", "subject": "tiny-encoder", "tuning": "tuned", "seeds": [0, 1]}],
    "explainers": {"attributions": ["random", "human", "saliency", "occlusion"]},
    "faithfulness": {"operators": ["delete"], "tie_orders": 1},
    "features": {"corpora": ["planted_opinion"], "seeds": 2, "texts": 4, "sizes": [2], "min_documents": 1},
    "statistics": {"resamples": 100},
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Call a batch of the small study (changed by `change`) in a folder of its own."""
    home = tmp_path_factory.mktemp("batch")
    environment = {
        **os.environ,
        "RATIONALES_HOME": str(home),
        "RATIONALES_ROOT": str(repository_root()),
        "OMP_NUM_THREADS": "1",
    }

    def call(*extra, **change):
        path = home / "batch.yaml"
        path.write_text(yaml.safe_dump({**SMALL, **change}), encoding="utf-8")
        command = [sys.executable, "-m", "rationales.study", "run", str(path), "--jobs", "2", *extra]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=repository_root())

    return home / "runs" / "batch", call


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_a_batch_runs_once_resumes_and_reports(batch):
    folder, call = batch
    first = call()
    assert first.returncode == 0, first.stderr[-2000:]
    assert (folder / "findings.html").is_file() and "Read" in first.stdout
    before = times(folder)
    assert len(before) == 52  # with the claims, most of them not testable: an encoder does not explain itself
    assert call().returncode == 0 and times(folder) == before  # nothing is computed twice


def test_deleting_one_part_recomputes_it_and_what_depends_on_it(batch):
    folder, call = batch
    before = times(folder)
    # Deleting one part file recomputes it and what depends on it, and nothing else.
    lost = folder / "explanations" / "planted_opinion__tiny-encoder__tuned__seed1__attributions__0.parquet"
    lost.unlink()
    assert call().returncode == 0
    after = times(folder)
    changed = {path.relative_to(folder).as_posix().split("__")[0] for path in after if after[path] != before[path]}
    untouched = {path.name for path in after if after[path] == before[path]}
    assert "examples/planted_opinion" not in "".join(changed) and "planted_opinion.parquet" in untouched
    assert {name for name in untouched if name.startswith("planted_opinion__tiny-encoder__tuned__seed0")}
    assert lost in after and "stability/seeds.parquet" in changed


def test_a_failing_notebook_leaves_its_copy_and_one_sentence_and_the_others_go_on(batch):
    folder, call = batch
    # A learning rate that makes the loss infinite: training fails, preparation is there already.
    broken = {"tuned": {"epochs": 1, "train_items": 12, "learning_rate": 1e30}}
    result = call(study="broken", tunings=broken)
    folder = folder.parent / "broken"
    assert result.returncode != 0
    assert (folder / "examples" / "planted_opinion.parquet").is_file()
    executed = sorted(path.name for path in (folder / "executed").glob("03_*.ipynb"))
    assert len(executed) == 2  # both seeds were tried
    assert "lower `learning_rate`" in result.stdout or "NaN" in result.stdout
    assert "Run the same command again to go on" in result.stdout

"""Time the study's engine beside other tools: `python -m benchmarks.run --help`.

Every work runs in a process of its own, so that memory is its own. Numbers of all tools of a work are compared before
any time is written; a work whose tools disagree ends the run.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import report
from benchmarks.measure import MOST_RUNS, measure
from rationales.errors import StudyError

HERE = Path(__file__).resolve().parent
CAUSAL = (
    "together", "occlusion", "lime", "kernel_shap", "faithfulness", "greedy", "saliency", "input_x_gradient",
    "integrated_gradients", "attnlrp", "cp_lrp", "attention",
)  # fmt: skip
ENCODER = ("together", "occlusion", "lime", "saliency", "integrated_gradients", "attnlrp", "attention")
TOLERANCE = 1e-3  # largest difference between two tools, as a share of the largest number; float32 leaves 1e-6 to 1e-4
SCALING = {
    "prompts": [50, 100, 200, 400, 800], "mask_numbers": [10, 30, 100, 300, 1000], "budgets": [256, 512, 1024, 2048, 4096],
    "word_numbers": [10, 20, 40, 80, 160], "masks": 100,
}  # fmt: skip
TINY_SCALING = {
    "prompts": [40, 80],
    "mask_numbers": [5, 10],
    "budgets": [64, 256],
    "word_numbers": [5, 10],
    "masks": 12,
}


def name_machine(device: str) -> str:
    """The processor, or the GPU, in words."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{name}, {os.cpu_count()} cores"


def note_load() -> str:
    """A warning where other programs are busy."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"contended: load {load:.1f} before the start" if load > 0.7 else ""


def run_apart(job: dict) -> dict:
    """The same as `measure`, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.measure", json.dumps(job)]
    variables = os.environ | {"OMP_NUM_THREADS": str(job["threads"]), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=HERE.parent, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise StudyError(f"The work '{job['work']}' failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(values: list[float], reference: list[float], sums: bool) -> float:
    """Largest difference from the reference as a share of its largest number; of the sums alone where `sums`."""
    values, reference = np.array(values), np.array(reference)
    if sums:
        return float(abs(values.sum() - reference.sum()) / max(np.abs(reference).sum(), 1e-12))
    return float(np.abs(values - reference).max() / max(np.abs(reference).max(), 1e-12))


def rows_of_work(job: dict, found: dict) -> list[dict]:
    """Rows of one work; StudyError where a tool in full precision gives other numbers than the engine."""
    from benchmarks.works import WORKS

    rows, work, engine = [], WORKS[job["work"]], found["engine"]
    reference = engine["values"]
    for tool, one in found.items():
        sums = tool in work.check_sum
        difference = compare(one["values"], reference, sums) if tool != "engine" else np.nan
        if difference > TOLERANCE and job["dtype"] == "float32":
            raise StudyError(f"'{tool}' and the engine give different numbers on '{job['work']}': {difference:.1e}.")
        name = job["work"] if job["kind"] == "causal" else f"encoder {job['work']}"
        rows.append(
            {
                **{key: value for key, value in one.items() if key != "values"}, "work": name, "tool": tool, "kind": job["kind"], "ratio": one["seconds"] / engine["seconds"],
                "difference": difference, "tolerance": TOLERANCE if job["dtype"] == "float32" else np.nan,
                "note": work.note if tool == "engine" or sums else "",
            }
        )  # fmt: skip
    return rows


def rows_of_statistics(found: dict, resamples: int) -> list[dict]:
    """Rows for the scoring and bootstrap of many metric rows; scipy's intervals may differ by the draws alone."""
    difference = compare(found["scipy_values"], found["values"], False)
    tolerance = 3 / found["rows"] ** 0.5  # of other draws, and of BCa beside percentile
    if difference > tolerance:
        raise StudyError(f"scipy and the study's bootstrap give different intervals: {difference:.1e}.")
    note = f"{found['rows']:,} rows (item, explainer) scored, then a {resamples:,}-fold bootstrap per explainer"
    alone = {"seconds": found["bootstrap_seconds"], "ratio": 1.0, "note": "the bootstrap alone (BCa)"}
    scipy = {
        "seconds": found["scipy_seconds"], "ratio": found["scipy_seconds"] / found["bootstrap_seconds"],
        "peak_mb": found["scipy_peak_mb"], "difference": difference, "tolerance": tolerance,
        "note": "the same bootstrap by scipy (percentile); other draws",
    }  # fmt: skip
    return [
        {"work": "statistics", "tool": "study", "seconds": found["seconds"], "peak_mb": found["peak_mb"], "runs": 1, "note": note},
        {"work": "bootstrap", "tool": "study", "runs": 1, **alone},
        {"work": "bootstrap", "tool": "scipy", "runs": 1, **scipy},
    ]  # fmt: skip


def rows_of_throughput(found: dict) -> list[dict]:
    """Rows for the operations per second of a matrix product and of the engine; ratio: share of the first."""
    share = found["engine_gflops"] / found["product_gflops"]
    return [
        {"work": "throughput", "tool": "matrix product", "seconds": found["product_seconds"], "gflops": found["product_gflops"],
         "note": f"{found['product_gflops']:.0f} GFLOP/s by torch"},
        {"work": "throughput", "tool": "engine on LIME", "seconds": found["engine_seconds"], "gflops": found["engine_gflops"],
         "runs": found["runs"], "note": f"{found['engine_gflops']:.0f} GFLOP/s, {share:.0%} of the matrix product"},
    ]  # fmt: skip


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--size", default="15m", choices=("tiny", "15m", "1b", "8b"), help="of the model (15m)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--threads", type=int, help="processor threads (all; 1 with --clock cpu)")
    parser.add_argument(
        "--clock", default="wall", choices=("wall", "cpu"), help="cpu where others use the machine, too"
    )
    parser.add_argument("--runs", type=int, default=MOST_RUNS, help=f"timed runs at most ({MOST_RUNS})")
    parser.add_argument("--words", type=int, default=20, help="words of a text (20)")
    parser.add_argument("--prompt", type=int, default=200, help="tokens in front of the text (200)")
    parser.add_argument("--samples", type=int, default=200, help="masks of LIME and KernelSHAP (200)")
    parser.add_argument("--steps", type=int, default=50, help="steps of Integrated Gradients (50)")
    parser.add_argument("--rows", type=int, default=100_000, help="metric rows of the statistics (100000)")
    parser.add_argument("--works", nargs="*", help="only these, such as lime, encoder_lime, statistics, scaling")
    parser.add_argument("--quick", action="store_true", help="one run each, and costs are not followed as they grow")
    parser.add_argument("--together", action="store_true", help="all in this process; peaks of memory then mean little")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the results (benchmarks/)")
    parser.add_argument("--note", default="", help="a remark for every row")
    options = parser.parse_args(arguments)
    options.threads = options.threads or (1 if options.clock == "cpu" else os.cpu_count())
    return options


def list_jobs(options: argparse.Namespace) -> list[dict]:
    """What is to be measured, in order."""
    common = {
        "size": options.size, "words": options.words, "prompt": options.prompt, "device": options.device,
        "dtype": options.dtype, "n_samples": options.samples, "n_steps": options.steps, "threads": options.threads,
        "most": 1 if options.quick else options.runs, "clock": options.clock,
    }  # fmt: skip
    jobs = [{**common, "work": work, "kind": "causal"} for work in CAUSAL]
    if options.size in ("tiny", "15m"):
        jobs += [{**common, "work": work, "kind": "encoder"} for work in ENCODER]
        jobs.append(
            {
                **common,
                "work": "statistics",
                "kind": "",
                "items": options.rows // 10,
                "explainers": 10,
                "resamples": 1000,
            }
        )
    jobs.append({**common, "work": "throughput", "kind": "causal"})
    if not options.quick:
        sizes = TINY_SCALING if options.size == "tiny" else SCALING
        jobs.append({**common, "work": "scaling", "kind": "causal", **sizes})
    names = [job["work"] if job["kind"] != "encoder" else f"encoder_{job['work']}" for job in jobs]
    if options.works is None:
        return jobs
    unknown = sorted(set(options.works) - set(names))
    if unknown:
        raise StudyError(f"Unknown work '{unknown[0]}'; choose among: {', '.join(names)}.")
    return [job for job, name in zip(jobs, names, strict=True) if name in options.works]


def run(options: argparse.Namespace) -> pd.DataFrame:
    """Measure, compare and write; returns the table."""
    note = options.note or note_load()
    rows, scaling = [], None
    for job in list_jobs(options):
        print(f"{job['kind']} {job['work']} ...", file=sys.stderr, flush=True)
        found = measure(job) if options.together else run_apart(job)
        if job["work"] == "scaling":
            scaling = pd.DataFrame(found["rows"])
        elif job["work"] == "statistics":
            rows += rows_of_statistics(found, job["resamples"])
        elif job["work"] == "throughput":
            rows += rows_of_throughput(found)
        else:
            rows += rows_of_work(job, found)
    table = pd.DataFrame(rows).reindex(columns=report.COLUMNS)
    table["note"] = ["; ".join(part for part in (own, note) if part) for own in table["note"].fillna("")]
    facts = {
        "date": datetime.now(UTC).date().isoformat(), "machine": name_machine(options.device), "device": options.device,
        "dtype": options.dtype, "size": options.size, "threads": options.threads, "clock": options.clock,
    }  # fmt: skip
    table = table.assign(**facts)
    default = (options.size, options.device, options.dtype) == ("15m", "cpu", "float32") and options.works is None
    stem = "results" if default else f"results-{options.size}-{options.device}-{options.dtype}"
    report.write_all(table, scaling, options.output, stem)
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    try:
        table = run(parse_arguments(arguments))
    except StudyError as error:
        print(error, file=sys.stderr)
        return 1
    print(report.round_for_readers(table).to_string(index=False))
    print()
    print(report.check_bounds(table).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

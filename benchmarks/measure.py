"""Seconds and peak memory of each tool on one work; run as a program, in a process of its own.

`python -m benchmarks.measure '{"work": ..., ...}'` prints one line of JSON.
"""

import ctypes
import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ENOUGH = 2.5  # seconds of timed runs after which no other is begun
LONG = 8.0  # seconds of a first run that counts, and stays the only one
MOST_RUNS = 7
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}  # the second for machines that others use, too
clock = CLOCKS["wall"]


def synchronise() -> None:
    """Wait for what a GPU still computes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def time_runs(
    function: Callable[[], object], most: int = MOST_RUNS, enough: float = ENOUGH
) -> tuple[float, int, object]:
    """Smallest time in seconds, the number of timed runs, and the result.

    A first run warms up and counts only where it is `LONG`.
    """
    times: list[float] = []
    while True:
        synchronise()
        started = clock()
        result = function()
        synchronise()
        times.append(clock() - started)
        if times[0] > LONG:
            return min(times), len(times), result
        if len(times) > most or (len(times) > 1 and sum(times[1:]) > enough):
            return min(times[1:]), len(times) - 1, result


def status_mb(name: str) -> float | None:
    """A line of Linux's own account of this process, in MB; None elsewhere."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), None)


class PeakMemory:
    """The most memory held since it was made, above what was held then, in MB.

    On a GPU torch's own counter. Else the process's peak resident size, which Linux lets be set back; elsewhere the
    peak since the process began, which leaves out what does not go beyond the building of the model.
    """

    def __init__(self, device: str):
        self.on_gpu = device.startswith("cuda")
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated() / 2**20
            return
        gc.collect()
        try:
            ctypes.CDLL(None).malloc_trim(0)  # what an earlier tool has freed goes back to the system
            Path("/proc/self/clear_refs").write_text("5")
        except (OSError, AttributeError):
            pass
        self.before = status_mb("VmRSS") or self.peak()

    def peak(self) -> float:
        if self.on_gpu:
            return torch.cuda.max_memory_allocated() / 2**20
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return status_mb("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

    def above(self) -> float:
        return max(0.0, self.peak() - self.before)


def measure_work(job: dict) -> dict:
    """Time all tools of one work, the engine first; `job` has the fields of `works.make_setting`, work and most (runs).

    Returns tool -> what was measured, per example: seconds; peak_mb (not per example); texts_per_second and
    tokens_per_second, as if every text asked for were read whole; examples, runs; values of the first example.
    """
    from benchmarks.works import WORKS, make_setting

    setting = make_setting(**{name: job[name] for name in SETTING})
    work, found = WORKS[job["work"]], {}
    for i in range(max(work.examples)):
        setting.prepare(job["work"], i)
    texts, whole = work.texts(setting), len(setting.encoded(0).token_ids)
    for name, tool in work.tools.items():
        number = work.examples[name != "engine"]
        memory = PeakMemory(job["device"])
        seconds, runs, values = time_runs(lambda tool=tool, number=number: tool(setting, number), job["most"])
        found[name] = {
            "seconds": seconds / number,
            "peak_mb": memory.above(),
            "texts_per_second": texts * number / seconds,
            "tokens_per_second": texts * number * whole / seconds,
            "examples": number,
            "runs": runs,
            "values": np.asarray(values[0], dtype=float).tolist(),
        }
    return found


SETTING = ("kind", "size", "words", "prompt", "device", "dtype", "n_samples", "n_steps")


def measure(job: dict) -> dict:
    """What a job measures; see `measure_work` and `others`."""
    global clock
    clock = CLOCKS[job["clock"]]
    if job["work"] in ("statistics", "throughput", "scaling"):
        from benchmarks import others

        return getattr(others, f"measure_{job['work']}")(job)
    return measure_work(job)


if __name__ == "__main__":
    from benchmarks import measure as module  # the one that `others` imports, whose clock is set; this one is a copy

    chosen = json.loads(sys.argv[1])
    torch.set_num_threads(chosen["threads"])
    print(json.dumps(module.measure(chosen)))

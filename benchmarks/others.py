"""What else is measured: statistics of many metric rows, how costs grow, and how much of the processor is used."""

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import measure, peers
from benchmarks.measure import SETTING, PeakMemory, time_runs
from benchmarks.models import make_examples
from benchmarks.works import Setting, make_setting, random_masks
from rationales.metrics.plausibility import plausibility_of
from rationales.statistics.summary import summarise
from rationales.subjects import base
from rationales.subjects.engine import Engine, Request

SAMPLE = {"batched": 16, "one by one": 4}  # texts that a slow tool is timed on where costs grow; the rest is scaled


def score_rows(items: int, explainers: int, words: int) -> pd.DataFrame:
    """A row of F1 per (item, explainer) from random scores and masks, by the study's own metrics."""
    generator = np.random.default_rng(0)
    rows = []
    for item in range(items):
        gold = np.zeros(words, bool)
        gold[generator.choice(words, max(1, words // 5), replace=False)] = True
        for explainer in range(explainers):
            scores = generator.random(words) + explainer * gold / explainers
            value = plausibility_of(scores, gold, None, int(gold.sum()))["f1"]
            rows.append((f"item-{item}", f"explainer-{explainer}", "f1", 0, value))
    return pd.DataFrame(rows, columns=["example_id", "explainer", "metric", "seed", "value"])


def measure_statistics(job: dict) -> dict:
    """Seconds to score the rows and to bootstrap them, and the same bootstrap by scipy, with their intervals."""
    memory = PeakMemory("cpu")
    started = measure.clock()
    rows = score_rows(job["items"], job["explainers"], job["words"])
    scored = measure.clock() - started
    summary = summarise(rows, ["explainer"], resamples=job["resamples"])
    seconds = measure.clock() - started
    peak = memory.above()
    memory, started, found = PeakMemory("cpu"), measure.clock(), []
    for _, group in rows.groupby("explainer", sort=False):
        interval = bootstrap(
            (group["value"].to_numpy(),), np.mean, n_resamples=job["resamples"], batch=100, method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        found.append([interval.low, interval.high])
    return {
        "rows": len(rows),
        "seconds": seconds,
        "bootstrap_seconds": seconds - scored,
        "peak_mb": peak,
        "scipy_seconds": measure.clock() - started,
        "scipy_peak_mb": memory.above(),
        "values": summary[["low", "high"]].to_numpy().ravel().tolist(),
        "scipy_values": np.ravel(found).tolist(),
    }


def measure_throughput(job: dict) -> dict:
    """Operations per second of a large matrix product, and of the engine on LIME's masks, in 1e9 per second."""
    setting = make_setting(**{name: job[name] for name in SETTING})
    size = 1024 if job["device"] == "cpu" else 8192
    matrix = torch.randn(size, size, device=job["device"], dtype=getattr(torch, job["dtype"]))
    product, _, _ = time_runs(lambda: matrix @ matrix, 50)
    masks = setting.masks("lime", 0)

    def answer() -> None:
        Engine(setting.subject).answer([Request(setting.examples[0], masks)])

    seconds, runs, _ = time_runs(answer, job["most"])
    with FlopCounterMode(display=False) as counter:
        answer()
    attention = attention_operations(setting, masks) if job["device"] == "cpu" else 0  # not counted there by torch
    return {
        "product_gflops": 2 * size**3 / product / 1e9,
        "engine_gflops": (counter.get_total_flops() + attention) / seconds / 1e9,
        "engine_seconds": seconds,
        "product_seconds": product,
        "runs": runs,
    }


def attention_operations(setting: Setting, masks: np.ndarray) -> int:
    """Operations of attention itself (two products per query and key), hidden keys included, on the CPU."""
    config, total = setting.subject.model.config, 0
    decoder = setting.subject.model.get_decoder()

    def count(module, args, options) -> None:
        nonlocal total
        rows, _, queries, keys = options["attention_mask"].shape
        total += 4 * rows * queries * keys * config.hidden_size * config.num_hidden_layers

    handle = decoder.register_forward_pre_hook(count, with_kwargs=True)
    Engine(setting.subject).answer([Request(setting.examples[0], masks)])
    handle.remove()
    return total


def time_point(setting: Setting, masks: np.ndarray, slow: bool) -> dict[str, float]:
    """Seconds for all masks of the first example, by the engine and, scaled from a sample, by the others."""

    def answer() -> None:
        setting.subject.forget_prompts()
        Engine(setting.subject).answer([Request(setting.examples[0], masks)])

    found = {"engine": time_runs(answer, 3, 1.5)[0]}
    asks = {"one by one": peers.ask_one_by_one, "batched": peers.ask_in_batches} if slow else {}
    for name, make in asks.items():
        ask, some = make(setting.subject, setting.encoded(0)), masks[: SAMPLE[name]]
        found[name] = time_runs(lambda ask=ask, some=some: ask(some), 2, 1.5)[0] * len(masks) / len(some)
    return found


def measure_scaling(job: dict) -> dict:
    """Rows of (panel, x, tool, seconds): how costs grow with words, prompt tokens, masks, and tokens per batch."""
    rows: list[dict] = []

    def add(panel: str, x: int, times: dict[str, float]) -> None:
        rows.extend({"panel": panel, "x": x, "tool": tool, "seconds": value} for tool, value in times.items())

    fixed = {name: job[name] for name in SETTING if name not in ("words", "prompt")}
    for prompt in job["prompts"]:
        setting = make_setting(words=job["words"], prompt=prompt, **fixed)
        add("prompt", prompt, time_point(setting, random_masks(job["masks"], job["words"]), True))
    setting = make_setting(words=job["words"], prompt=job["prompt"], **fixed)
    for number in job["mask_numbers"]:
        add("masks", number, time_point(setting, random_masks(number, job["words"]), True))
    before, masks = base.CPU_TOKENS, random_masks(job["masks"], job["words"])
    for budget in job["budgets"]:
        base.CPU_TOKENS = budget
        engine = time_runs(
            lambda b=budget: Engine(setting.subject, b).answer([Request(setting.examples[0], masks)]), 3, 1.5
        )
        padded = time_runs(lambda b=budget: answer_padded(setting, masks, b), 3, 1.5)
        add("batch", budget, {"engine": engine[0], "engine, padded batches": padded[0]})
    base.CPU_TOKENS = before
    for words in job["word_numbers"]:
        long = Setting(setting.subject, make_examples(words, 1))
        add("words", words, time_point(long, random_masks(job["masks"], words), True))
    return {"rows": rows}


def answer_padded(setting: Setting, masks: np.ndarray, budget: int) -> list[np.ndarray]:
    """The engine's answers through the lent prompt, in padded batches in place of trees."""
    subject = setting.subject
    padded = type(subject)(subject.name, subject.task, subject.labels, subject.model, subject.tokenizer)
    padded.prefix_cache, padded.found = subject.prefix_cache, subject.found
    padded.score_group = lambda *args: base.Subject.score_group(padded, *args)
    return Engine(padded, budget).answer([Request(setting.examples[0], masks)])

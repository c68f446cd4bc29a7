"""A study folder with made-up predictions and explanations of several seeds: no model is trained or opened."""

import numpy as np
import pandas as pd

from rationales.corpora.planted import load_planted_sentiment
from rationales.examples import Corpus, Example
from rationales.stages.predictions import PREDICTION_ONLY
from rationales.stages.prepare import write_examples
from rationales.stages.seed_data import SeedFamily, SeedScores
from rationales.study import Study, load_study
from rationales.tables import write_table

STUDY = """
study: seeds
corpora:
  planted_sentiment: {options: {train: 0, validation: 0, test: 5}}
subjects:
  tiny-encoder: {embedded: tiny-encoder}
tunings:
  tuned: {}
  order-only: {vary: [order]}
runs:
  - {corpus: planted_sentiment, subject: tiny-encoder, tuning: tuned, seeds: SEEDS}
explainers: {attributions: [random, occlusion, attention]}
faithfulness: {operators: [delete], tie_orders: 2}
statistics: {resamples: 200}
"""


def make_study(folder, monkeypatch, seeds=(0, 1, 2, 3), further_runs="") -> Study:
    """A checked study in a folder of its own."""
    monkeypatch.setenv("RATIONALES_HOME", str(folder))
    path = folder / "seeds.yaml"
    text = STUDY.replace("SEEDS", str(list(seeds))).replace("explainers:", f"{further_runs}explainers:")
    path.write_text(text, encoding="utf-8")
    return load_study(path)


def explanation_rows(explainer: str, variant: str, example_id: str, seed: int, scores=None, selected=None, **changes):
    """One row of the table `explanations`."""
    return {
        "corpus": "planted_sentiment", "subject": "tiny-encoder", "tuning": "tuned", "seed": seed, "epoch": 1,
        "example_id": example_id, "explainer": explainer, "variant": variant,
        "scores": None if scores is None else [float(score) for score in scores], "selected": selected,
        "ordered": True, "valid": True, "reason": "", "calls": 1, "tokens": 10, "seconds": 0.5, "details": "{}",
        "study": "seeds", "config_hash": "0",
    } | changes  # fmt: skip


def prediction_row(example: Example, seed: int, predicted: str, **changes) -> dict:
    """One row of the table `predictions`."""
    return {
        "corpus": "planted_sentiment", "subject": "tiny-encoder", "tuning": "tuned", "seed": seed, "epoch": 1,
        "example_id": example.example_id, "paradigm": PREDICTION_ONLY, "label": example.label, "predicted": predicted,
        "correct": predicted == example.label, "study": "seeds", "config_hash": "0",
    } | changes  # fmt: skip


def fill_study(study: Study, generator: np.random.Generator, noise: dict[str, float] | None = None) -> Corpus:
    """Write examples, predictions, explanations and metrics of every run; returns the corpus.

    Occlusion has a common signal and errors of `noise[tuning]` per seed, attention is positive and noisier, random is
    the same under every seed, and self-explanations are sets. The first item is labelled otherwise by the odd seeds.
    """
    corpus = load_planted_sentiment(train=0, validation=0, test=5)
    write_examples(study, corpus)
    signals = {e.example_id: generator.normal(size=len(e.words)) for e in corpus.examples}
    labels = corpus.labels
    for run in study.runs:
        explanations, predictions, metrics = [], [], []
        columns = {name: value for name, value in run.columns.items() if name != "seed"}
        for number, example in enumerate(corpus.examples):
            flipped = number == 0 and run.seed % 2 == 1
            other = labels[1 - labels.index(example.label)]
            predictions.append(prediction_row(example, run.seed, other if flipped else example.label, **columns))
            signal, n = signals[example.example_id], len(example.words)
            scores = signal + (noise or {}).get(run.tuning, 0.5) * generator.normal(size=n)
            top = tuple(int(i) for i in np.argsort(-scores)[: max(1, n // 3)])
            rows = [
                ("occlusion", "default", scores * (-1 if flipped else 1), None),
                ("attention", "default", np.exp(signal + generator.normal(size=n)), None),
                ("random", "default", np.arange(n) % 3, None),
                ("self", "PE-list-free-anchored", None, top),
            ]
            for explainer, variant, values, selected in rows:
                row = explanation_rows(explainer, variant, example.example_id, run.seed, values, selected, **columns)
                explanations.append(row | {"ordered": False})
                for metric, k, operator in (("f1", "human", "none"), ("comprehensiveness", "human", "delete")):
                    value = 0.5 + 0.2 * np.tanh(signal[0]) + 0.1 * generator.normal()
                    metrics.append({**{key: row[key] for key in row if key in METRIC_KEYS}, "metric": metric, "k": k,
                                    "operator": operator, "value": value, "chance": 0.1})  # fmt: skip
        write_table("explanations", pd.DataFrame(explanations), study.part("explanations", run.name, "attributions", 0))
        write_table("predictions", pd.DataFrame(predictions), study.part("predictions", run.name, 0, PREDICTION_ONLY))
        write_table("metrics", pd.DataFrame(metrics), study.part("metrics", run.name))
    return corpus


METRIC_KEYS = (
    "corpus",
    "subject",
    "tuning",
    "seed",
    "epoch",
    "example_id",
    "explainer",
    "variant",
    "study",
    "config_hash",
)


def make_family(scores, predicted=None, correct=None, labels=("negative", "positive")) -> tuple[SeedFamily, SeedScores]:
    """A family from scores per item (n_seeds, n_words); all predictions are the second label and right by default."""
    n_seeds, n_items = len(scores[0]), len(scores)
    texts = [" ".join(f"w{place}" for place in range(np.shape(item)[1])) for item in scores]
    examples = tuple(
        Example(f"item-{n}", "planted_sentiment", "test", "en", (text,), labels[-1]) for n, text in enumerate(texts)
    )
    if predicted is None:
        predicted = np.full((n_seeds, n_items), labels[-1], dtype=object)
    if correct is None:
        correct = np.ones((n_seeds, n_items))
    family = SeedFamily(
        "planted_sentiment", "tiny-encoder", "tuned", labels, tuple(range(n_seeds)), examples,
        np.asarray(predicted, dtype=object), np.asarray(correct, dtype=float),
    )  # fmt: skip
    return family, SeedScores("occlusion", "default", tuple(np.asarray(item, dtype=float) for item in scores))

"""Stage 4: attributions of a run, and the predictions they explain."""

import numpy as np
import pandas as pd
from tqdm import tqdm

from rationales.errors import require_known
from rationales.examples import Corpus, Example
from rationales.explainers.registry import Workbench, explain, explanation_row, variant_name
from rationales.stages.prepare import explained_examples, read_corpus, training_corpus
from rationales.stages.subjects import open_engine, run_columns
from rationales.study import Run, Study
from rationales.subjects.engine import OPERATORS, Engine, Request
from rationales.tables import PREDICTION_ONLY, write_table


def predict_intact(engine: Engine, corpus: Corpus, examples: list[Example]) -> pd.DataFrame:
    """The prediction for the intact text of each example: example_id, label, predicted, correct, p_<label> of each
    label, p_full (of the predicted label).
    """
    full = engine.full(examples)
    targets = full.argmax(1)
    table = pd.DataFrame(
        {
            "example_id": [example.example_id for example in examples],
            "label": [example.label for example in examples],
            "predicted": [corpus.labels[target] for target in targets],
        }
    )
    table["correct"] = table["label"] == table["predicted"]
    for number, label in enumerate(corpus.labels):
        table[f"p_{label}"] = np.exp(full[:, number].astype(float))
    table["p_full"] = np.exp(full[np.arange(len(full)), targets].astype(float))
    return table


def predict(engine: Engine, corpus: Corpus, examples: list[Example]) -> pd.DataFrame:
    """The prediction for the intact text of each example, and for the text without any word.

    Columns: those of `predict_intact`, p_empty_<operator> (of the predicted label when every word is removed), entropy
    over the labels in nats.
    """
    table, full = predict_intact(engine, corpus, examples), engine.full(examples)
    targets = full.argmax(1)
    offered = set.intersection(set(OPERATORS), *(engine.operators(example) for example in examples))
    for name in OPERATORS:
        if name not in offered:  # a state-space model has no attention to hide words from
            table[f"p_empty_{name}"] = np.nan
            continue
        nothing = [Request(example, np.zeros((1, len(example.words)), bool), name) for example in examples]
        empty = np.concatenate(engine.answer(nothing))
        table[f"p_empty_{name}"] = np.exp(empty[np.arange(len(empty)), targets].astype(float))
    table["entropy"] = -(np.exp(full) * full).sum(1).astype(float)
    return table


def attribute(study: Study, run: Run, group: str, shard: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run one group of explainers on one shard and write `explanations`, `predictions` and the erasures asked.

    Returns the explanations and the predictions. The same predictions come from every group; they are written
    by the first group alone.
    """
    corpus = read_corpus(study, run.corpus)
    examples = explained_examples(study, corpus, shard)
    engine = open_engine(study, run, corpus)
    predictions = predict(engine, corpus, examples)
    targets = [corpus.labels.index(predicted) for predicted in predictions["predicted"]]
    training = training_corpus(study, run.corpus).of_split("train")
    bench = Workbench(engine, examples, targets, study.seed, training)
    rows = []
    entries = study.explainers[require_known(group, study.explainers, "group of explainers")]
    for name, options in tqdm(entries, desc=f"explaining {len(examples)} items", mininterval=5):
        found = explain(name, bench, **options)
        rows += [explanation_row(explanation, name, variant_name(options)) for explanation in found]
    columns = run_columns(study, run)
    explanations = pd.DataFrame(rows).assign(**columns)
    if group == next(iter(study.explainers)):
        stored = predictions.assign(paradigm=PREDICTION_ONLY, **columns)
        write_table("predictions", stored, study.part("predictions", run.name, shard, PREDICTION_ONLY))
    engine.save(study.part("erasures", run.name, group, shard), columns)
    write_table("explanations", explanations, study.part("explanations", run.name, group, shard))
    return explanations, predictions


def cost_table(explanations: pd.DataFrame) -> pd.DataFrame:
    """Mean cost per item of each explainer, and how many explanations are invalid."""
    grouped = explanations.groupby(["explainer", "variant"], sort=False)
    table = grouped.agg(
        items=("valid", "size"), calls=("calls", "mean"), tokens=("tokens", "mean"), seconds=("seconds", "mean")
    )
    return table.assign(invalid=grouped["valid"].apply(lambda valid: int((~valid).sum()))).reset_index()

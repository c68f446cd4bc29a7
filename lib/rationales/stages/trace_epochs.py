"""Stage 7: what fine-tuning does to explanations, epoch by epoch (P1's curves)."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.explainers.prompts import parse_paradigm
from rationales.explainers.registry import Explanation, Workbench, explain, variant_name
from rationales.metrics.faithfulness import Curves, comprehensiveness, flip_rate, normalise, plan_masks
from rationales.metrics.plausibility import average_precision, set_plausibility
from rationales.metrics.selection import orders
from rationales.randomness import generator_for
from rationales.stages.epoch_trends import ALL_ITEMS, MEASURES, NOBODY, OPERATOR, SELF
from rationales.stages.prepare import read_corpus, training_corpus
from rationales.stages.score_plausibility import scores_of
from rationales.stages.self_explain import ask, read_answer
from rationales.stages.subjects import kept_epochs, open_engine, run_columns
from rationales.study import Run, Study
from rationales.subjects.engine import Engine, Request
from rationales.tables import write_table

COLLAPSED = 0.95  # a model has collapsed when at least this share of items gets one label (and the gold labels do not)
NO_RATIONALE = "no human rationale"
FLAT = "the answer hardly depends on the text, so that there is nothing to normalise by"


def trace_epochs(study: Study, run: Run) -> pd.DataFrame:
    """Accuracy, plausibility and faithfulness of a run at every kept epoch, written to the table `epochs`.

    The first `epochs: items` of the items to be explained are taken, right or wrong; epoch 0 is the subject before tuning.
    The explained label is the one that the model of that epoch predicts. Rows, one value each:
    - explainer "none": accuracy and entropy (nats, over the labels) of each item; for all items together (example
      "(all)") commonest_label, label_entropy (of the predicted labels) and collapsed (see `COLLAPSED`);
    - every explainer, and "self" with the paradigm as its variant: valid (0 or 1) of each item, and `MEASURES`.
    A value that is undefined is NaN with its `reason`: an explanation that cannot be read, no human rationale, or an answer
    that depends too little on the text to normalise by. StudyError for a run without kept epochs or a section `epochs`
    without explainers.
    """
    settings = study.epochs
    if not settings["explainers"]:
        raise StudyError("This study traces no epochs; name explainers under `epochs` in its file.")
    epochs = kept_epochs(study, run)
    corpus = read_corpus(study, run.corpus)
    spec = study.corpora[run.corpus]
    examples = corpus.of_split(spec["explain"])[: spec["max_items"]][: settings["items"]]  # whatever the shards
    training = training_corpus(study, run.corpus).of_split("train")
    rows: list[dict] = []
    for epoch in tqdm(epochs, desc=f"tracing {len(epochs)} epochs", mininterval=5):
        columns = run_columns(study, run, epoch)
        rows += [{**columns, **row} for row in trace_epoch(study, run, epoch, corpus, examples, training)]
    table = pd.DataFrame(rows)
    write_table("epochs", table, study.part("epochs", run.name))
    return table


def trace_epoch(
    study: Study, run: Run, epoch: int, corpus: Corpus, examples: Sequence[Example], training: Sequence[Example]
) -> list[dict]:
    """The rows of one epoch; its model is let go on return, before the next one is loaded."""
    engine = open_engine(study, run, corpus, epoch)
    scores = engine.full(examples)
    targets = scores.argmax(1)
    rows = answer_rows(corpus, examples, scores)
    bench = Workbench(engine, examples, targets.tolist(), study.seed, training)
    for name, options in study.epochs["explainers"]:
        explanations = explain(name, bench, **options)
        rows += explanation_rows(study, engine, examples, targets, name, variant_name(options), explanations)
    for name in study.epochs["paradigms"] if engine.subject.kind == "causal" else []:
        explanations = self_explanations(study, run, engine, corpus, examples, targets, name)
        rows += explanation_rows(study, engine, examples, targets, SELF, name, explanations)
    return rows


def answer_rows(corpus: Corpus, examples: Sequence[Example], scores: np.ndarray) -> list[dict]:
    """Rows about the answers alone; scores: log-probabilities (examples, labels)."""
    predicted = scores.argmax(1)
    gold = np.array([corpus.labels.index(example.label) for example in examples])
    entropies = -(np.exp(scores) * scores).sum(1)
    shares = np.bincount(predicted, minlength=len(corpus.labels)) / len(predicted)
    positive = shares[shares > 0]
    one_label = shares.max() >= COLLAPSED > np.bincount(gold).max() / len(gold)
    rows = []
    for example, right, entropy in zip(examples, predicted == gold, entropies, strict=True):
        rows.append(value_row(example.example_id, "accuracy", "all", "none", float(right)))
        rows.append(value_row(example.example_id, "entropy", "all", "none", float(entropy)))
    together = {
        "commonest_label": shares.max(),
        "label_entropy": -(positive * np.log(positive)).sum(),
        "collapsed": one_label,
    }
    rows += [value_row(ALL_ITEMS, metric, "all", "none", float(value)) for metric, value in together.items()]
    return [{"explainer": NOBODY, "variant": NOBODY, **row} for row in rows]


def value_row(example_id: str, metric: str, k: str, operator: str, value: float, reason: str = "") -> dict:
    """One row, without the columns that name the run and the explainer."""
    return {"example_id": example_id, "metric": metric, "k": k, "operator": operator, "value": value, "reason": reason}


def self_explanations(
    study: Study, run: Run, engine: Engine, corpus: Corpus, examples: Sequence[Example], targets: np.ndarray, name: str
) -> list[Explanation]:
    """The subject's own greedy explanations in one paradigm; examples that cannot be asked are invalid, with the reason."""
    paradigm = parse_paradigm(name)
    predicted = {e.example_id: corpus.labels[target] for e, target in zip(examples, targets, strict=True)}
    askable = [e for e in examples if paradigm.length != "human" or has_rationale(e)]
    labels = [predicted[example.example_id] for example in askable]
    longest = study.subjects[run.subject]["max_new_tokens"]
    _, replies, _ = ask(engine, corpus, paradigm, askable, labels, longest, None)
    given = {}
    for example, reply, label in zip(askable, replies, labels, strict=True):
        glued = study.self_explanations["glued_phrases"]
        given[example.example_id] = read_answer(paradigm, corpus, example, reply, label, glued)[1]
    return [given.get(e.example_id, Explanation(e.example_id, valid=False, reason=NO_RATIONALE)) for e in examples]


def has_rationale(example: Example) -> bool:
    """Whether humans marked a word of the example."""
    return example.gold is not None and any(example.gold)


def explanation_rows(
    study: Study, engine: Engine, examples: Sequence[Example], targets: np.ndarray, explainer: str, variant: str,
    explanations: Iterable[Explanation],
) -> list[dict]:  # fmt: skip
    """Rows of one explainer: whether each explanation is valid, and `MEASURES` of it; all erasures are asked together."""
    rows, plans, requests = [], [], []
    given = {explanation.example_id: explanation for explanation in explanations}
    for example, target in zip(examples, targets, strict=True):
        explanation = given[example.example_id]
        # A subject that could not be asked has not failed to answer.
        valid = np.nan if explanation.reason == NO_RATIONALE else float(explanation.valid)
        rows.append(value_row(example.example_id, "valid", "all", "none", valid, explanation.reason))
        if not explanation.valid or not has_rationale(example):
            reason = explanation.reason or NO_RATIONALE
            rows += [value_row(example.example_id, *measure, np.nan, reason) for measure in MEASURES]
            continue
        scores = scores_of(explanation, len(example.words))
        generator = generator_for("ties", study.seed, example.example_id, explainer, variant)
        ks = np.unique([0, 1, sum(example.gold), len(scores)])
        without, only = plan_masks(orders(scores, study.faithfulness["tie_orders"], generator), ks)
        masks = np.concatenate([part.reshape(-1, len(scores)) for part in (without, only)])
        plans.append((example, int(target), scores, ks, without.shape[:2]))
        requests.append(Request(example, masks, OPERATOR))
    for (example, target, scores, ks, shape), answers in zip(plans, engine.answer(requests), strict=True):
        without, only = answers.reshape(2, *shape, -1)
        curves = Curves(ks, without, only, None, without[0, 0], without[0, -1], target)
        values = values_of(curves, scores, np.array(example.gold))
        for measure, value in zip(MEASURES, values, strict=True):
            rows.append(value_row(example.example_id, *measure, value, FLAT if np.isnan(value) else ""))
    return [{"explainer": explainer, "variant": variant, **row} for row in rows]


def values_of(curves: Curves, scores: np.ndarray, gold: np.ndarray) -> list[float]:
    """The values of `MEASURES`, in their order, of one explanation."""
    k = int(gold.sum())
    drop = comprehensiveness(curves, k)
    return [
        set_plausibility(scores, gold, k)["f1"],
        average_precision(scores, gold),
        drop,
        normalise(curves, drop),
        flip_rate(curves, k),
    ]

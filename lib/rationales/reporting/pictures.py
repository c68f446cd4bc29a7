"""One example explained in every way, and the figure of contrasts."""

import pandas as pd
from matplotlib.figure import Figure

from rationales.examples import Example
from rationales.figures.forest import plot_forest
from rationales.figures.heatmap import rationale_heatmap
from rationales.figures.style import metric_style
from rationales.replicates import without_replicates
from rationales.reporting.scores import display_name
from rationales.reporting.views import contrast_figure_table
from rationales.stages.prepare import explained_examples, read_corpus
from rationales.stages.score_plausibility import scores_of
from rationales.study import Study
from rationales.tasks import PRIVATE_TASKS


def heatmap_of(
    example: Example, explanations: pd.DataFrame, prediction: pd.Series, variants: list[str] | None = None
) -> str:
    """HTML of one example: the human rationale, the self-explanations and the attributions under each other."""
    rows = []
    if example.gold is not None:
        rows.append({"name": "human", "selected": [n for n, mark in enumerate(example.gold) if mark]})
    order = explanations.assign(rank=(explanations["explainer"] != "self").astype(int)).sort_values(
        "rank", kind="stable"
    )
    for row in order.itertuples(index=False):
        name = display_name(row.explainer, row.variant)
        if row.explainer == "human" or (row.explainer == "self" and variants is not None and name not in variants):
            continue
        if not row.valid:
            rows.append({"name": name, "note": f"invalid: {row.reason}"})
        elif row.scores is None:
            rows.append({"name": name, "selected": [int(index) for index in row.selected]})
        else:
            rows.append({"name": name, "scores": scores_of(row, len(example.words))})
    k = sum(example.gold) if example.gold is not None and any(example.gold) else None
    return rationale_heatmap(
        example.word_texts, rows, title=f"Example {example.example_id}", predicted=prediction["predicted"],
        label=example.label, k=k,
    )  # fmt: skip


def choose_example(examples: list[Example], predictions: pd.DataFrame) -> Example:
    """An instructive example: a wrong answer, of median length, with a human rationale; else the first one."""
    correct = predictions.groupby("example_id")["correct"].all()
    marked = [e for e in examples if e.gold is not None and any(e.gold)] or examples
    wrong = [e for e in marked if not correct.get(e.example_id, True)] or marked
    return sorted(wrong, key=lambda e: (len(e.words), e.example_id))[len(wrong) // 2]


def heatmap_of_study(study: Study, predictions: pd.DataFrame) -> str:
    """HTML of one instructive example of the study's first model, explained in every way."""
    run = study.runs[0]
    corpus = read_corpus(study, run.corpus)
    if corpus.task in PRIVATE_TASKS:
        return "(texts of this corpus are not shown)"
    mine = run.rows_of(predictions)
    examples = [example for shard in range(study.shards) for example in explained_examples(study, corpus, shard)]
    example = choose_example(examples, mine)
    explanations = without_replicates(run.rows_of(study.read("explanations", first="notebooks 04 and 05")))
    here = explanations["example_id"] == example.example_id
    return heatmap_of(example, explanations[here], mine.set_index("example_id").loc[example.example_id])


def plot_contrasts(claims: pd.DataFrame, metric: str = "f1") -> Figure:
    """Self-explanation minus each attribution, a panel per model, for one measure."""
    table = contrast_figure_table(claims)
    table = table[table["metric"] == metric].assign(
        scope=[scope.split("/", 1)[1] for scope in table["scope"][table["metric"] == metric]]
    )
    label = f"Difference in {metric_style(metric)['label']} (right: the self-explanation is higher)"
    figure = plot_forest(table, metric, by="contrast", facet="scope", xlabel=label)
    for ax in figure.axes:
        ax.axvline(0, color="#555555", linestyle=":", linewidth=1.2)
    return figure

"""Stage 1: corpora become the table `examples`, with what was left out and where it came from."""

import json

import numpy as np
import pandas as pd

from rationales.corpora.registry import load_corpus
from rationales.errors import StudyError, require_known
from rationales.examples import Corpus, Example
from rationales.study import Study
from rationales.tables import read_part, write_atomically, write_part, write_table

NOTEBOOK = "01_data_preparation"


def prepare_corpus(study: Study, name: str) -> Corpus:
    """Read one corpus of the study; texts longer than `max_words` become exclusions.

    Raises StudyError when nothing is left to explain.
    """
    spec = study.corpora[require_known(name, study.corpora, "corpus of the study")]
    corpus = load_corpus(spec["reader"], **spec["options"])
    examples, exclusions = list(corpus.examples), list(corpus.exclusions)
    if spec["max_words"]:
        long = [example for example in examples if len(example.words) > spec["max_words"]]
        exclusions += [(example.example_id, f"longer than {spec['max_words']} words") for example in long]
        examples = [example for example in examples if len(example.words) <= spec["max_words"]]
    prepared = Corpus(name, corpus.task, corpus.labels, tuple(examples), tuple(exclusions), corpus.provenance)
    is_training_only = any(other["train_with"] == name for other in study.corpora.values())
    if not is_training_only and not prepared.of_split(spec["explain"]):
        splits = ", ".join(sorted({example.split for example in examples})) or "none"
        raise StudyError(f"Corpus '{name}' has no examples in the split '{spec['explain']}'; its splits are: {splits}.")
    return prepared


def example_row(corpus: Corpus, example: Example) -> dict:
    """One row of the table `examples`."""
    return {
        "corpus": corpus.name,
        "task": corpus.task,
        "labels": list(corpus.labels),
        "example_id": example.example_id,
        "split": example.split,
        "language": example.language,
        "text": example.text,
        "segments": list(example.segments),
        "words": example.word_texts,
        "n_words": len(example.words),
        "label": example.label,
        "gold": None if example.gold is None else list(example.gold),
        "gold_graded": None if example.gold_graded is None else list(example.gold_graded),
        "annotators": [list(mask) for mask in example.annotators],
        "meta": json.dumps(example.meta, ensure_ascii=False, sort_keys=True),
    }


def write_examples(study: Study, corpus: Corpus) -> pd.DataFrame:
    """Write the tables `examples` and `exclusions` and the provenance of a corpus; returns the examples."""
    stamp = study.stamp(study.corpora[corpus.name])
    table = pd.DataFrame([example_row(corpus, example) for example in corpus.examples]).assign(**stamp)
    left_out = pd.DataFrame(corpus.exclusions, columns=["example_id", "reason"]).assign(corpus=corpus.name, **stamp)
    write_part(left_out, study.part("exclusions", corpus.name))
    text = json.dumps(corpus.provenance, ensure_ascii=False, indent=1, sort_keys=True, default=str)
    write_atomically(
        study.folder / "provenance" / f"{corpus.name}.json", lambda path: path.write_text(text, encoding="utf-8")
    )
    write_table("examples", table, study.part("examples", corpus.name))
    return table


def read_corpus(study: Study, name: str) -> Corpus:
    """The corpus from the table `examples`; StudyError naming notebook 01 when it is not there."""
    table = read_part(study.part("examples", name), first=f"notebook {NOTEBOOK}")
    examples = []
    for row in table.itertuples():
        examples.append(
            Example(
                row.example_id, name, row.split, row.language, tuple(row.segments), row.label,
                tuple(tuple(bool(mark) for mark in mask) for mask in row.annotators),
                None if row.gold is None else tuple(bool(mark) for mark in row.gold),
                None if row.gold_graded is None else tuple(float(grade) for grade in row.gold_graded),
                json.loads(row.meta),
            )
        )  # fmt: skip
    return Corpus(name, table["task"].iloc[0], tuple(table["labels"].iloc[0]), tuple(examples))


def explained_examples(study: Study, corpus: Corpus, shard: int = 0) -> list[Example]:
    """The examples to explain, of one shard, in corpus order."""
    spec = study.corpora[corpus.name]
    chosen = corpus.of_split(spec["explain"])[: spec["max_items"]]
    if not 0 <= shard < study.shards:
        raise StudyError(f"There is no shard {shard}; this study has {study.shards}, counted from 0.")
    return chosen[shard :: study.shards]


def training_corpus(study: Study, name: str) -> Corpus:
    """The corpus whose training split a run is tuned on: its own, or the one named in `train_with`."""
    return read_corpus(study, study.corpora[name]["train_with"] or name)


def summarise_corpus(corpus: Corpus) -> pd.DataFrame:
    """Sizes per split and language: items, words, label balance, rationale words, annotators."""
    rows = []
    groups: dict[tuple[str, str], list[Example]] = {}
    for example in corpus.examples:
        groups.setdefault((example.split, example.language), []).append(example)
    for (split, language), members in groups.items():
        marked = [sum(example.gold) for example in members if example.gold is not None]
        rows.append(
            {
                "split": split,
                "language": language,
                "items": len(members),
                "words per item": np.mean([len(example.words) for example in members]),
                f"share {corpus.labels[-1]}": np.mean([example.label == corpus.labels[-1] for example in members]),
                "rationale words per item": np.mean(marked) if marked else np.nan,
                "items without rationale": len(members) - sum(count > 0 for count in marked),
                "annotators per item": np.mean([len(example.annotators) for example in members]),
            }
        )
    return pd.DataFrame(rows)


def count_exclusions(corpus: Corpus) -> pd.DataFrame:
    """How many items were left out, by reason."""
    reasons = pd.Series([reason for _, reason in corpus.exclusions], dtype=object)
    return reasons.value_counts().rename_axis("reason").reset_index(name="items")

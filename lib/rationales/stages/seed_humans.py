"""Human rationales beside explanations of several seeds: do readers differ from each other more than seeds do?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rationales.corpora import french
from rationales.corpora.download import fetch
from rationales.corpora.registry import load_corpus
from rationales.corpora.rows import read_table as read_csv_rows
from rationales.errors import StudyError
from rationales.examples import Corpus, Example, split_words
from rationales.metrics.selection import inclusion_probabilities
from rationales.metrics.stability import correlation_with_mean
from rationales.randomness import generator_for
from rationales.stages.prepare import explained_examples
from rationales.stages.seed_data import SeedFamily, SeedScores, known_rows
from rationales.stages.seed_intervals import (
    compare_sets,
    correlate_pairs,
    mean_defined,
    mean_per_item,
    pair_statistic,
    summarise_mean,
)
from rationales.stages.seed_stability import curve_sizes
from rationales.study import Study

HUMANS = "human"  # the column `source` of readers; its colour is black in every figure
MOST_SUBSETS = 10  # random sets of raters of the matched size, per item
BOUNDS = {"pearson": (-1.0, 1.0), "f1": (0.0, 1.0), "kappa": (-1.0, 1.0)}
OWN, HUMAN_LENGTH = "own length", "human length"
NO_ANNOTATORS = "This corpus has no text with two or more annotators, so that seeds have nothing human to stand beside."


class Raters(NamedTuple):
    """Who rates the words: marks or scores per item, each (n_raters, n_words), and how many words humans mark there.

    source: "human", or an explainer with its variant. seeds: whether the rows are seeds, the same in every item.
    lengths: the size k of a set of human length per item, or None where it is not known.
    """

    corpus: str
    subject: str
    tuning: str
    source: str
    variant: str
    marks: tuple[np.ndarray, ...]
    lengths: tuple[int | None, ...]
    example_ids: tuple[str, ...]
    seeds: bool


def human_length(example: Example) -> int | None:
    """Return the mean number of words that the annotators marked, rounded, at least 1; the gold size without them."""
    if example.annotators:
        return max(1, round(float(np.mean([sum(mask) for mask in example.annotators]))))
    return sum(example.gold) if example.gold is not None and any(example.gold) else None


def human_raters(name: str, examples: Sequence[Example], graded: dict[str, np.ndarray] | None = None) -> Raters | None:
    """Return the annotators of a corpus, of the texts that have two or more; None when there is no such text.

    graded: example id -> grades (n_readers, n_words), which then stand for the masks.
    """
    kept = [example for example in examples if len(example.annotators) > 1]
    if not kept:
        return None
    masks = [np.asarray(example.annotators, dtype=float) for example in kept]
    if graded is not None:
        masks = [graded.get(example.example_id, mask) for example, mask in zip(kept, masks, strict=True)]
    lengths, ids = tuple(human_length(e) for e in kept), tuple(e.example_id for e in kept)
    return Raters(
        name, HUMANS, "none", HUMANS, "default" if graded is None else "graded", tuple(masks), lengths, ids, False
    )


def seed_raters(family: SeedFamily, found: SeedScores) -> Raters:
    """Return the seeds of one explainer as raters."""
    lengths = tuple(human_length(example) for example in family.examples)
    ids = tuple(example.example_id for example in family.examples)
    return Raters(*family.columns.values(), found.explainer, found.variant, found.scores, lengths, ids, True)


def read_reader_grades() -> dict[str, np.ndarray]:
    """Return the graded marks of the French highlights: article -> (n_readers, n_words), 1, .66, .33 or 0.

    The readers of the corpus `french_highlights`, in its order: those who gave the article's label and marked a word.
    The corpus itself keeps whether a word was marked at all. Raises StudyError when the file cannot be had.
    """
    columns = ("tid_x", "text", "label", "highlights_opinion", "highlights_information")
    grades = {}
    for row in read_csv_rows(fetch(french.FILE), columns):
        words = split_words((row["text"],))
        answer = french.ANSWERS[french.LABEL_NAMES[row["label"]]]
        readers = [
            french.paint_words(words, spans, len(row["text"]))
            for spans in french.read_readers(row[f"highlights_{answer}"], row["tid_x"])
        ]
        if marked := [values for values in readers if any(values)]:
            grades[row["tid_x"]] = np.array(marked)
    return grades


def list_human_raters(
    study: Study, corpora: Sequence[Corpus], beside: Sequence[str] = ()
) -> tuple[list[Raters], list[str]]:
    """Return the annotators of the study's corpora and of further ones, and a sentence per corpus without any.

    corpora: as prepared; the explained texts are taken. beside: names of readers of public corpora, such as
    "fair_rationales_sst", whose annotators are to be shown although no model of the study reads these texts.
    """
    found: list[Raters] = []
    notes = []
    loaded = [(c, study.corpora[c.name]["reader"], _explained(study, c)) for c in corpora]
    own = {reader for _, reader, _ in loaded}
    loaded += [(c := load_corpus(name), name, list(c.examples)) for name in dict.fromkeys(beside) if name not in own]
    for corpus, reader, examples in loaded:
        graded = read_reader_grades() if reader == "french_highlights" else None
        raters = human_raters(corpus.name, examples, graded)
        if raters is None:
            notes.append(f"{corpus.name}: {NO_ANNOTATORS}")
        else:
            found.append(raters)
    return found, notes


def _explained(study: Study, corpus: Corpus) -> list[Example]:
    return [example for shard in range(study.shards) for example in explained_examples(study, corpus, shard)]


def matched_number(everyone: Sequence[Raters]) -> int:
    """Return the number of raters at which all can be compared: the least median number per text, at least 2.

    The mean of many raters holds less noise, so that a correlation with the mean rises with their number. Texts with
    fewer raters, such as those with invalid explanations, are undefined at that number, and counted.
    """
    if not everyone:
        raise StudyError("There are no raters to compare; name explainers or corpora with annotators.")
    numbers = [np.median([len(known_rows(marks)) for marks in raters.marks]) for raters in everyone]
    return max(2, int(min(numbers)))


def correlate_matched(marks: np.ndarray, k: int, n_raters: int, generator: np.random.Generator) -> float:
    """Return the correlation with the mean of the others (MCWME) at k, among `n_raters` raters.

    With more raters: the mean over random subsets of that size. NaN with fewer, or where k is not below the words.
    """
    rows = known_rows(marks)
    if len(rows) < n_raters or k >= rows.shape[1]:
        return np.nan
    if len(rows) == n_raters:
        return correlation_with_mean(rows, k)
    subsets = [generator.permutation(len(rows))[:n_raters] for _ in range(MOST_SUBSETS)]
    return float(mean_defined(np.array([correlation_with_mean(rows[chosen], k) for chosen in subsets])))


def tabulate_curves(everyone: Sequence[Raters], seed: int, resamples: int) -> pd.DataFrame:
    """Return MCWME against k for humans and seeds, at one number of raters for all (column `raters`).

    Everyone's top-k sets are compared at equal k: marks and scores that tie at the border count in expectation over the
    tie orders, so that a reader with fewer than k marked words fills the set at random, as in Bogaert et al. 2026. All
    points of a curve are over the same texts: those longer than the largest k, and `n` counts the defined ones.
    human_length: mean number of words that annotators marked in these texts. Intervals
    are over items alone, for seeds were drawn into subsets; `tabulate_curve` of `seed_stability` has those over seeds.
    """
    n_raters = matched_number(everyone)
    rows = []
    for raters in everyone:
        lengths = [marks.shape[1] for marks in raters.marks]
        sizes = curve_sizes(lengths)
        used = [place for place, length in enumerate(lengths) if length > sizes[-1]]
        marked = [raters.lengths[place] for place in used if raters.lengths[place] is not None]
        human_words = float(np.mean(marked)) if marked else np.nan
        for k in sizes:
            values = [
                correlate_matched(
                    raters.marks[i], k, n_raters, generator_for("raters", seed, raters.example_ids[i], n_raters)
                )
                for i in used
            ]
            generator = generator_for("curve", seed, *raters[:5], k)
            summary = summarise_mean(np.array(values), None, n_raters, generator, resamples, (-1.0, 1.0))
            rows.append(
                {**_columns(raters), "k": k, "raters": n_raters, "human_length": human_words, **_brief(summary)}
            )
    return pd.DataFrame(rows)


def tabulate_spread_of_raters(everyone: Sequence[Raters], seed: int, resamples: int) -> pd.DataFrame:
    """Return how alike two raters are, on average over pairs and items: one table for humans and for seeds.

    metric: pearson of marks or scores; f1 and kappa of sets of words. length: "own length" for sets as given (human
    marks, set-valued self-explanations), "human length" for everyone's k words, k being the mean number of words that
    the item's annotators marked; kappa corrects for chance, the chance level of f1 at k of n words is k / n. These
    measures do not depend on the number of raters (column `raters`: its median). Columns low and high: over items and
    seeds for seeds; over items for humans, who differ from text to text. Also chance, n, n_undefined, note.
    """
    rows = []
    for raters in everyone:
        for (metric, length), pairs, chance in _pairs_of(raters):
            generator = generator_for("spread of raters", seed, *raters[:5], metric, length)
            statistic = pair_statistic(pairs) if raters.seeds else None
            n_raters = int(np.median([len(known_rows(marks)) for marks in raters.marks]))
            summary = summarise_mean(
                mean_per_item(pairs), statistic, pairs.shape[1], generator, resamples, BOUNDS[metric]
            )
            rows.append({**_columns(raters), "metric": metric, "length": length, "raters": n_raters,
                         "chance": chance, **_brief(summary)})  # fmt: skip
    return pd.DataFrame(rows)


def _columns(raters: Raters) -> dict:
    names = ("corpus", "subject", "tuning", "source", "variant")
    return dict(zip(names, raters[:5], strict=True))


def _brief(summary: dict) -> dict:
    return {name: summary[name] for name in ("estimate", "low", "high", "n", "n_undefined", "note")}


def _pairs_of(raters: Raters) -> list[tuple[tuple[str, str], np.ndarray, float]]:
    """Return ((metric, length), pairs (n_items, n, n), chance level) of every measure that these raters have."""
    correlations = [correlate_pairs(marks) for marks in raters.marks]
    found = [(("pearson", OWN), _stack(correlations), 0.0)]
    own = all(np.isin(marks[~np.isnan(marks)], (0, 1)).all() for marks in raters.marks) or not raters.seeds
    if own:
        sets = [np.where(np.isnan(marks), np.nan, marks > 0) for marks in raters.marks]
        found += _set_pairs(sets, OWN, _chance_of_pairs(sets))
    lengths = zip(raters.marks, raters.lengths, strict=True)
    topmost = [_top_sets(marks, k) if k is not None else np.full_like(marks, np.nan) for marks, k in lengths]
    return found + _set_pairs(topmost, HUMAN_LENGTH, _chance_of_pairs(topmost))


def _set_pairs(sets: list[np.ndarray], length: str, chance: float) -> list[tuple[tuple[str, str], np.ndarray, float]]:
    values = [compare_sets(inclusion) for inclusion in sets]
    return [
        ((metric, length), _stack([value[metric] for value in values]), chance if metric == "f1" else 0.0)
        for metric in ("f1", "kappa")
    ]


def _top_sets(marks: np.ndarray, k: int) -> np.ndarray:
    """Expected top-k sets (n_raters, n_words); NaN rows stay, and all are NaN where the text has no k words."""
    sets = np.full(marks.shape, np.nan)
    if k <= marks.shape[1]:
        for row, values in enumerate(marks):
            if not np.isnan(values).any():
                sets[row] = inclusion_probabilities(values, k)
    return sets


def _chance_of_pairs(sets: list[np.ndarray]) -> float:
    """The mean F1 of two of these sets when the words of each are permuted: expected hits are |A| |B| / n_words."""
    values = []
    for inclusion in sets:
        sizes = known_rows(inclusion).sum(axis=1)
        hits = np.outer(sizes, sizes) / inclusion.shape[1]
        total = sizes[:, None] + sizes[None]
        f1 = np.divide(2 * hits, total, out=np.full_like(hits, np.nan), where=total > 0)
        np.fill_diagonal(f1, np.nan)
        values.append(float(mean_defined(f1.ravel())))
    return float(mean_defined(np.array(values)))


def _stack(tables: list[np.ndarray]) -> np.ndarray:
    """Stack (n, n) tables of different n by filling up with NaN, which means count as undefined."""
    most = max(len(table) for table in tables)
    stacked = np.full((len(tables), most, most), np.nan)
    for place, table in enumerate(tables):
        stacked[place, : len(table), : len(table)] = table
    return stacked

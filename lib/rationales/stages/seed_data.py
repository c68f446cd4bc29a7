"""Explanations of one model over its training seeds, as arrays: what the analysis of seed variance works on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rationales.examples import Example
from rationales.metrics.selection import resolve_k
from rationales.replicates import main_variants
from rationales.stages.compare_seeds import FAMILY, seed_families
from rationales.stages.prepare import read_corpus
from rationales.stages.score_plausibility import scores_of
from rationales.study import Study

PREDICTED, FIXED = "predicted label", "fixed label"  # what a positive score supports
FIFTH = 0.2  # the share of the words in a top-k set, as in `compare_seeds`


@dataclass(frozen=True)
class SeedFamily:
    """One model on one corpus under several training seeds.

    labels: of the corpus. seeds: ascending. examples: those that were explained, in the order of the corpus.
    predicted: labels (n_seeds, n_items), None where a seed has no prediction. correct: 1, 0 or NaN (n_seeds, n_items).
    """

    corpus: str
    subject: str
    tuning: str
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    examples: tuple[Example, ...]
    predicted: np.ndarray
    correct: np.ndarray

    @property
    def columns(self) -> dict:
        """The key columns of its rows."""
        return {"corpus": self.corpus, "subject": self.subject, "tuning": self.tuning}

    @property
    def name(self) -> str:
        """As readers see it."""
        return f"{self.corpus} / {self.subject} / {self.tuning}"

    @property
    def accuracies(self) -> np.ndarray:
        """Accuracy per seed over the explained items, (n_seeds,)."""
        known = ~np.isnan(self.correct)
        return np.where(known, self.correct, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)

    @property
    def divided(self) -> np.ndarray:
        """Whether the seeds predict different labels, (n_items,)."""
        return np.array([len({label for label in column if label is not None}) > 1 for column in self.predicted.T])

    @property
    def fifths(self) -> list[int]:
        """The size of a fifth of the words of each item."""
        return [resolve_k(FIFTH, len(example.words)) for example in self.examples]


@dataclass(frozen=True)
class SeedScores:
    """One explainer of a family: scores per item, each (n_seeds, n_words); rows of invalid explanations are NaN.

    towards: what a positive score supports, the label that the seed predicts or one label for all seeds.
    """

    explainer: str
    variant: str
    scores: tuple[np.ndarray, ...]
    towards: str = PREDICTED

    @property
    def columns(self) -> dict:
        """The key columns of its rows."""
        return {"explainer": self.explainer, "variant": self.variant}

    @property
    def n_seeds(self) -> int:
        """Number of seeds, valid or not."""
        return len(self.scores[0])


def read_families(study: Study, explanations: pd.DataFrame, predictions: pd.DataFrame) -> list[SeedFamily]:
    """Return every model of the study that was trained with more than one seed, in the order of the study file.

    predictions: of the intact texts, see `predictions_of`.
    """
    families = []
    for model in seed_families(study):
        corpus = read_corpus(study, model[0])
        part = rows_of_model(predictions, model)
        asked = set(rows_of_model(explanations, model)["example_id"])
        examples = tuple(example for example in corpus.examples if example.example_id in asked)
        seeds = tuple(sorted(run.seed for run in study.runs if (run.corpus, run.subject, run.tuning) == model))
        order = [example.example_id for example in examples]
        tables = [
            part.pivot(index="seed", columns="example_id", values=column).reindex(index=seeds, columns=order)
            for column in ("predicted", "correct")
        ]
        predicted = tables[0].astype(object).where(tables[0].notna(), None).to_numpy(dtype=object)
        correct = tables[1].astype(float).to_numpy()
        families.append(SeedFamily(*model, corpus.labels, seeds, examples, predicted, correct))
    return families


def rows_of_model(table: pd.DataFrame, model: tuple[str, str, str]) -> pd.DataFrame:
    """Return the rows of one (corpus, subject, tuning)."""
    return table[(table[FAMILY] == pd.Series(model, index=FAMILY)).all(axis=1)]


def collect_scores(family: SeedFamily, explanations: pd.DataFrame) -> list[SeedScores]:
    """Return the explanations of a family, one entry per explainer and base variant; see `main_variants`."""
    rows = main_variants(rows_of_model(explanations, (family.corpus, family.subject, family.tuning)))
    places = {example.example_id: number for number, example in enumerate(family.examples)}
    seed_places = {seed: number for number, seed in enumerate(family.seeds)}
    found = []
    for (explainer, variant), group in rows.groupby(["explainer", "variant"], sort=False):
        scores = tuple(np.full((len(family.seeds), len(example.words)), np.nan) for example in family.examples)
        for row in group[group["valid"].astype(bool)].itertuples(index=False):
            if row.seed in seed_places:
                item = places[row.example_id]
                scores[item][seed_places[row.seed]] = scores_of(row, scores[item].shape[1])
        found.append(SeedScores(explainer, variant, scores))
    return found


def scale_rows(scores: np.ndarray) -> np.ndarray:
    """Return each explanation (..., n_words) divided by its largest absolute score; all-zero ones stay as they are."""
    largest = np.abs(scores).max(axis=-1, keepdims=True)
    return scores / np.where(largest == 0, 1, largest)


def known_rows(scores: np.ndarray) -> np.ndarray:
    """Return the rows (n_valid, n_words) of the seeds with a valid explanation."""
    return scores[~np.isnan(scores).any(axis=1)]


def turn_to_one_label(family: SeedFamily, found: SeedScores) -> SeedScores | None:
    """Return the scores as support for one label, the same for all seeds, as Bogaert et al. 2023 sign theirs.

    Scores support the label that each seed predicts; where two seeds predict different labels, the same evidence then
    has opposite signs. Here the signs of seeds that predict the first label are turned. None when there is nothing to
    turn: no score below 0 (attention, sets), a corpus of more than two labels, or no item with divided predictions.
    """
    signed = any(np.nanmin(scores, initial=0.0) < 0 for scores in found.scores)
    if not signed or len(family.labels) != 2 or not family.divided.any():
        return None
    signs = np.where(family.predicted == family.labels[0], -1.0, 1.0)
    turned = tuple(scores * signs[:, [item]] for item, scores in enumerate(found.scores))
    return SeedScores(found.explainer, found.variant, turned, FIXED)

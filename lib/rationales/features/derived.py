"""Features derived from a transformer's explanations: words that its explanations, averaged over seeds, point to.

P4 reports that a feature model gets better with such features; how they were found is not published. Here: a word
counts towards a label with its mean relevance over the explained texts that hold it. How many words are taken is chosen
by cross-validation, and in each fold the words come from texts outside the held-out ones. Test texts never enter.

One limit remains. A transformer trained on the same texts has seen the held-out labels, so that its explanations of
other training texts may owe something to them. That can make the number of words a little too large; it cannot touch
the test texts. Explanations of validation texts avoid most of it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.features.base_features import AnalysedText, TextFeature
from rationales.features.fitting import FitSettings, assign_folds, choose_settings, cross_validate, fit_linear
from rationales.features.model import DERIVED_TUNING, FeatureModel, TrainingTexts
from rationales.features.tokens import split_tokens
from rationales.metrics.selection import set_to_scores
from rationales.tables import PREDICTION_ONLY

FORMS, GROUPINGS = ("rate", "indicator"), ("words", "labels")
ONE_SOURCE = ["subject", "tuning", "explainer", "variant"]


@dataclass(frozen=True)
class WordRelevance:
    """Relevance of the word forms of explained texts for each label, under each seed of the transformer.

    texts: (n_texts,) the explained texts. text_of, form_of: (n_cells,) index of text and of form in `vocabulary`; a
    cell is a form in a text. values: (n_seeds, n_labels, n_cells), NaN where a seed has no valid explanation.
    n_ignored: rows about other texts; n_invalid: rows without a usable explanation.
    """

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    vocabulary: tuple[str, ...]
    texts: tuple[str, ...]
    text_of: np.ndarray
    form_of: np.ndarray
    values: np.ndarray
    n_ignored: int
    n_invalid: int


@dataclass(frozen=True)
class DerivedSettings:
    """How words become features.

    sizes: numbers of words to choose among; 0 keeps the base features alone. min_documents: explained texts that must
    hold a word. form: "rate" per 100 tokens, or "indicator" (0 or 1). grouping: one feature per word ("words"), or one
    per label that takes all its words together ("labels").
    """

    sizes: tuple[int, ...] = (0, 4, 8, 16, 32)
    min_documents: int = 3
    form: str = "rate"
    grouping: str = "words"

    def __post_init__(self):
        require_known(self.form, FORMS, "form of derived features")
        require_known(self.grouping, GROUPINGS, "grouping of derived features")
        if not self.sizes or min(self.sizes) < 0 or self.min_documents < 1:
            raise StudyError("`sizes` needs numbers of words from 0, and `min_documents` must be at least 1.")


def read_relevance(
    explanations: pd.DataFrame,
    predictions: pd.DataFrame,
    examples: Sequence[Example],
    labels: Sequence[str],
    normalise: bool = True,
) -> WordRelevance:
    """Return the relevance of word forms from the tables `explanations` and `predictions` of one transformer.

    examples: the training or validation texts that may be used; rows about other texts are ignored, and counted. A
    score that supports the predicted label counts for it, and with its negative, split evenly, for the other labels.
    normalise: divide each explanation by its largest absolute score, so that every text and seed weighs the same. The
    score of a word is split evenly among its tokens of letters; a form's relevance in a text is the mean over its
    occurrences. StudyError for a test text among `examples`, several explainers at once, or nothing usable.
    """
    for example in examples:
        if example.split == "test":
            raise StudyError(f"'{example.example_id}' is a test text; derive features from other splits only.")
    usable = rows_about(examples, explanations)
    for column in ONE_SOURCE:
        if column in usable and usable[column].nunique() > 1:
            raise StudyError(
                f"The explanations have several values of '{column}'; select one before deriving features."
            )
    by_id = {example.example_id: number for number, example in enumerate(examples)}
    predicted = _predicted_labels(rows_about(examples, predictions))
    seeds = tuple(sorted({int(seed) for seed in usable["seed"]}))
    cells = [_forms_of(example) for example in examples]
    starts = np.concatenate([[0], np.cumsum([len(forms) for forms, _ in cells])]).astype(int)
    vocabulary = tuple(sorted({form for forms, _ in cells for form in forms}))
    position = {form: number for number, form in enumerate(vocabulary)}
    values = np.full((len(seeds), len(labels), int(starts[-1])), np.nan)
    n_invalid = 0
    for row in usable.itertuples(index=False):
        number, label = by_id[row.example_id], predicted.get((int(row.seed), row.example_id))
        scores = _scores_of(row, examples[number])
        if scores is None or label is None:
            n_invalid += 1
            continue
        largest = np.abs(scores).max()
        scores = scores / largest if normalise and largest > 0 else scores
        target = list(labels).index(require_known(label, labels, "predicted label"))
        signs = np.where(np.arange(len(labels)) == target, 1.0, -1 / (len(labels) - 1))
        span = slice(starts[number], starts[number + 1])
        values[seeds.index(int(row.seed)), :, span] = signs[:, None] * (cells[number][1] @ scores)
    if not np.isfinite(values).any():
        raise StudyError(
            "There is no valid explanation of a training or validation text with its prediction; explain such texts "
            "(`explain: train` in the study file) before deriving features."
        )
    return WordRelevance(
        labels=tuple(labels),
        seeds=seeds,
        vocabulary=vocabulary,
        texts=tuple(example.text for example in examples),
        text_of=np.repeat(np.arange(len(examples)), np.diff(starts)),
        form_of=np.array([position[form] for forms, _ in cells for form in forms], dtype=int),
        values=values,
        n_ignored=len(explanations) - len(usable),
        n_invalid=n_invalid,
    )


def rows_about(examples: Sequence[Example], table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table about these examples, by id and, where the table names it, by corpus."""
    if "corpus" not in table:
        return table[table["example_id"].isin({example.example_id for example in examples})]
    wanted = pd.MultiIndex.from_tuples([(example.corpus, example.example_id) for example in examples])
    return table[pd.MultiIndex.from_frame(table[["corpus", "example_id"]]).isin(wanted)]


def _predicted_labels(predictions: pd.DataFrame) -> dict[tuple[int, str], str]:
    """Predicted label by (seed, example id)."""
    if "paradigm" in predictions:
        predictions = predictions[predictions["paradigm"] == PREDICTION_ONLY]
    if predictions.duplicated(["seed", "example_id"]).any():
        raise StudyError("The predictions hold an example twice for one seed; select one model before using them.")
    keys = zip(predictions["seed"].astype(int), predictions["example_id"], strict=True)
    return dict(zip(keys, predictions["predicted"], strict=True))


def _scores_of(row, example: Example) -> np.ndarray | None:
    """Finite word scores of a row of `explanations`; None for an invalid one."""
    if not row.valid:
        return None
    if row.scores is None:
        return set_to_scores([int(i) for i in row.selected], len(example.words), bool(row.ordered))
    scores = np.asarray(row.scores, dtype=float)
    if scores.shape != (len(example.words),):
        raise StudyError(
            f"The explanation of '{example.example_id}' has {scores.size} scores for {len(example.words)} words; "
            "give the examples that were explained."
        )
    return scores if np.isfinite(scores).all() else None


def _forms_of(example: Example) -> tuple[list[str], np.ndarray]:
    """The forms of a text, sorted, and the matrix (n_forms, n_words) that averages word scores over occurrences."""
    tokens = [token for token in split_tokens(example.word_texts, example.language) if token.kind == "word"]
    per_word = np.bincount([token.word for token in tokens], minlength=len(example.words))
    occurrences = Counter(token.form for token in tokens)
    forms = sorted(occurrences)
    position = {form: number for number, form in enumerate(forms)}
    weights = np.zeros((len(forms), len(example.words)))
    for token in tokens:
        weights[position[token.form], token.word] += 1 / (per_word[token.word] * occurrences[token.form])
    return forms, weights


def rank_words(
    relevance: WordRelevance,
    min_documents: int = 3,
    texts: np.ndarray | None = None,
    seeds: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Return the candidate words, best first: label, word, relevance (mean over texts), documents.

    texts: (n_texts,) booleans, those that may be used. seeds: positions in `relevance.seeds`, repeats allowed (a
    bootstrap draw). A word is a candidate for the label with its largest mean relevance, if that is positive; the
    labels take turns, so that each gives as many words as it has. Equal relevance: alphabetical.
    """
    chosen = relevance.values if seeds is None else relevance.values[list(seeds)]
    valid = np.isfinite(chosen)
    # Valid in the same cells for every label.
    count = valid[:, 0].sum(axis=0)
    usable = count > 0
    if texts is not None:
        usable &= np.asarray(texts)[relevance.text_of]
    means = np.where(valid, chosen, 0.0).sum(axis=0)[:, usable] / count[usable]
    size = len(relevance.vocabulary)
    documents = np.bincount(relevance.form_of[usable], minlength=size)
    sums = np.array([np.bincount(relevance.form_of[usable], weights=row, minlength=size) for row in means])
    average = sums / np.maximum(1, documents)
    table = pd.DataFrame(
        {
            "label": [relevance.labels[number] for number in average.argmax(axis=0)],
            "word": relevance.vocabulary,
            "relevance": average.max(axis=0),
            "documents": documents,
        }
    )
    table = table[(table["documents"] >= min_documents) & (table["relevance"] > 0)]
    table = table.sort_values(["relevance", "word"], ascending=[False, True])
    turn = table.groupby("label").cumcount()
    order = np.lexsort((table["label"], turn))
    return table.iloc[order].reset_index(drop=True)


def derive_features(words: pd.DataFrame, settings: DerivedSettings) -> tuple[TextFeature, ...]:
    """Return the features of candidate words (columns label, word), one per word or one per label."""
    if settings.grouping == "words":
        groups = {f"word:{word}": frozenset([word]) for word in words["word"]}
    else:
        found = words.groupby("label", sort=True)["word"]
        groups = {f"words:{label}": frozenset(members) for label, members in found}
    what = "per 100 tokens" if settings.form == "rate" else "1 if any is there; occurrences share the 1 evenly"
    return tuple(
        TextFeature(
            name, "derived", f"{', '.join(sorted(members))}: {what}", "", False, _measure(members, settings.form)
        )
        for name, members in groups.items()
    )


def _measure(members: frozenset[str], form: str):
    def measure(text: AnalysedText) -> tuple[np.ndarray, np.ndarray]:
        marks = np.array([float(token.form in members) for token in text.tokens])
        divisor = len(marks) / 100 if form == "rate" else marks.sum()
        return marks / divisor if divisor else marks, np.zeros(len(marks))

    return measure


def _derived_values(training: TrainingTexts, words: pd.DataFrame, settings: DerivedSettings) -> np.ndarray:
    """Values (n, n_features) of `derive_features` on the training texts, from their counted forms."""
    listed = words["word"].tolist()
    counted = np.array([[count[word] for word in listed] for count in training.counts], dtype=float)
    counted = counted.reshape(len(training.counts), len(listed))
    if settings.grouping == "labels":
        groups = [np.asarray(words["label"] == label) for label in sorted(words["label"].unique())]
        counted = np.column_stack([counted[:, group].sum(axis=1) for group in groups] or [counted])
    if settings.form == "indicator":
        return (counted > 0).astype(float)
    return 100 * counted / np.maximum(1, training.sizes)[:, None]


def fit_with_derived(
    training: TrainingTexts,
    relevance: WordRelevance,
    rows: np.ndarray | None = None,
    settings: FitSettings | None = None,
    derived: DerivedSettings | None = None,
    seeds: Sequence[int] | None = None,
) -> FeatureModel:
    """Return the model on base features and derived words; their number and the penalty are cross-validated together.

    In each fold the words are ranked on explained texts that do not stand in the held-out part; the final words on all
    explained texts. rows: training texts to use, repeats allowed; explained training texts that are not among them do
    not count. seeds: see `rank_words`.
    """
    settings, derived = settings or FitSettings(), derived or DerivedSettings()
    if tuple(relevance.labels) != training.labels:
        raise StudyError(
            "The relevance of words is for other labels than the training texts have; read it with theirs."
        )
    rows = np.arange(len(training.examples)) if rows is None else np.asarray(rows)
    texts = np.array([training.examples[row].text for row in rows], dtype=object)
    targets, explained = training.targets[rows], np.array(relevance.texts, dtype=object)
    unused = {example.text for example in training.examples} - set(texts)
    allowed = np.array([text not in unused for text in explained])
    folds = assign_folds(list(texts), targets, settings.folds, settings.fold_seed)
    base = training.values[rows]

    def candidates(usable: np.ndarray) -> pd.DataFrame:
        return rank_words(relevance, derived.min_documents, usable, seeds)

    def build(train: np.ndarray) -> dict[int, np.ndarray]:
        held_out = set(texts[~train])
        ranked = candidates(allowed & np.array([text not in held_out for text in explained]))
        return {
            size: np.hstack([base, _derived_values(training, ranked.head(size), derived)[rows]])
            for size in sorted(set(derived.sizes))
        }

    selection = cross_validate(build, targets, folds, settings)
    size, regularisation = choose_settings(selection)
    words = candidates(allowed).head(size)
    values = np.hstack([base, _derived_values(training, words, derived)[rows]])
    return FeatureModel(
        tuning=DERIVED_TUNING,
        labels=training.labels,
        analyser=training.analyser,
        features=(*training.features, *derive_features(words, derived)),
        absent=training.absent,
        fit=fit_linear(values, targets, regularisation, settings.solver, settings.solver_seed),
        regularisation=regularisation,
        n_derived=len(words),
        selection=selection,
        words=words,
    )

"""The features of P4 (Bogaert et al. 2023): 18 base ones, 9 additional ones, and how words contribute to each.

The code of P4 names its features; the definitions here are our own. Every value is the sum of the contributions of the
tokens, hence of the words:

- **rates** count something per 100 tokens (words, numbers and punctuation marks): a token that counts contributes
  100 / n_tokens. Words that do not count contribute nothing.
- **means** (word length, norms) over m tokens: a token contributes its own value / m.
- the **corrected type-token ratio** shares the credit of a type among its occurrences.

A mean is high or low only beside other texts. Features with `centred` therefore also say which share of the value each
token stands for (shares add up to 1), so that a model can count contributions from the mean of its training texts.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.features.lexicons import WORD_LISTS
from rationales.features.norms import NORMS, check_norms
from rationales.features.tagging import Tag, Tagger, find_passives, open_tagger
from rationales.features.tokens import Token, split_tokens
from rationales.features.word_lists import load_word_list, match_entries

QUOTES = frozenset(["«", "»", "“", "”", "„", '"', "``", "''"])
LONG_WORD = 8  # letters; a long word has more


@dataclass(frozen=True)
class AnalysedText:
    """A text as features see it: its tokens, a tag per token (None without a tagger), its language, the norms."""

    tokens: tuple[Token, ...]
    tags: list[Tag] | None
    language: str
    norms: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Analyser:
    """What turns words into an `AnalysedText`: language, tagger, norms; see `make_analyser`."""

    language: str
    tagger: Tagger | None
    norms: dict[str, dict[str, float]]

    def analyse(self, words: Sequence[str]) -> AnalysedText:
        """The analysed text of white-space words."""
        tokens = split_tokens(words, self.language)
        return AnalysedText(tokens, self.tagger(tokens) if self.tagger else None, self.language, self.norms)


# (contributions, shares) per token; see the module's docstring. A NaN contribution makes the value undefined.
Measure = Callable[[AnalysedText], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class TextFeature:
    """A feature: name, source ("base", "additional", "own", "derived"), definition, what it needs, how to measure it.

    needs: "" (any language), "lists", "tagger", or the name of a norm. centred: see the module's docstring.
    """

    name: str
    source: str
    definition: str
    needs: str
    centred: bool
    measure: Measure


def make_analyser(
    language: str,
    tagger: str = "light",
    spacy_model: str | None = None,
    norms: dict[str, dict[str, float]] | None = None,
) -> Analyser:
    """Return the analyser of texts of one language.

    tagger: "light" (French and English; other languages have none) or "spacy" with `spacy_model`.
    norms: name of `rationales.features.norms.NORMS` -> norm of each word; see `read_norm`.
    """
    light = tagger == "light" and language not in WORD_LISTS
    return Analyser(language, None if light else open_tagger(tagger, language, spacy_model), check_norms(norms))


def select_features(
    analyser: Analyser, names: Sequence[str] | None = None
) -> tuple[tuple[TextFeature, ...], dict[str, str]]:
    """Return the features that the analyser can measure, and the absent ones with their reason.

    names: only these, in this order (default: all). StudyError for an unknown name, and when none is left.
    """
    wanted = [
        FEATURES[require_known(name, FEATURES, "text feature")] for name in (FEATURES if names is None else names)
    ]
    reasons = {feature.name: missing_need(feature, analyser) for feature in wanted}
    chosen = tuple(feature for feature in wanted if not reasons[feature.name])
    if not chosen:
        raise StudyError(f"None of the features can be measured in '{analyser.language}'; name others, or give norms.")
    return chosen, {name: reason for name, reason in reasons.items() if reason}


def missing_need(feature: TextFeature, analyser: Analyser) -> str:
    """Why a feature cannot be measured; empty when it can."""
    if feature.needs in NORMS and feature.needs not in analyser.norms:
        return f"no norm '{feature.needs}' was given"
    if feature.needs == "lists" and analyser.language not in WORD_LISTS:
        return f"no word lists for '{analyser.language}'"
    if feature.needs == "tagger" and analyser.tagger is None:
        return f"no tagger for '{analyser.language}'"
    return ""


def describe_features(analyser: Analyser) -> pd.DataFrame:
    """Return name, source, definition, centred and absent (empty, or the reason) of every feature."""
    return pd.DataFrame(
        [
            (feature.name, feature.source, feature.definition, feature.centred, missing_need(feature, analyser))
            for feature in FEATURES.values()
        ],
        columns=["feature", "source", "definition", "centred", "absent"],
    )


def measure_features(examples: Sequence[Example], features: Sequence[TextFeature], analyser: Analyser) -> np.ndarray:
    """Return the value of each feature: (n_examples, n_features). NaN where a mean has nothing to average."""
    values = np.zeros((len(examples), len(features)))
    for row, example in enumerate(examples):
        text = analyser.analyse(example.word_texts)
        values[row] = [feature.measure(text)[0].sum() for feature in features]
    return values


def measure_words(
    words: Sequence[str], features: Sequence[TextFeature], analyser: Analyser
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the value of each feature (n_features,), what each word contributes to it, and each word's share of it.

    Contributions and shares are (n_words, n_features). Contributions add up to the values over the words; shares to 1
    for centred features, and they are 0 for the others. In the column of an undefined (NaN) value no word says
    anything: both are 0. A text without words has rates of 0 and undefined means.
    """
    text = analyser.analyse(words)
    positions = [token.word for token in text.tokens]
    contributions, shares = np.zeros((len(words), len(features))), np.zeros((len(words), len(features)))
    values = np.zeros(len(features))
    for column, feature in enumerate(features):
        by_token, share_by_token = feature.measure(text)
        values[column] = by_token.sum()
        if not np.isnan(values[column]):
            np.add.at(contributions[:, column], positions, by_token)
            np.add.at(shares[:, column], positions, share_by_token)
    return values, contributions, shares


def rate(marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contributions to a rate per 100 tokens, from one mark per token; a text without tokens has the rate 0."""
    return 100 * marks / max(1, len(marks)), np.zeros(len(marks))


def mean_over(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contributions to the mean of the values that are not NaN; all NaN where there is none."""
    counted = ~np.isnan(values)
    size = int(counted.sum())
    if not size:
        return np.full(max(1, len(values)), np.nan), np.zeros(max(1, len(values)))
    return np.where(counted, values, 0.0) / size, counted / size


def type_token_ratio(text: AnalysedText) -> tuple[np.ndarray, np.ndarray]:
    """Contributions to types / sqrt(2 * tokens) over word tokens (Carroll 1964), each type shared by its occurrences."""
    forms = [token.form if token.kind == "word" else None for token in text.tokens]
    counts = Counter(form for form in forms if form is not None)
    size = counts.total()
    if not size:
        return mean_over(np.full(len(forms), np.nan))
    credit = np.array([0.0 if form is None else 1 / counts[form] for form in forms])
    return credit / np.sqrt(2 * size), np.array([form is not None for form in forms]) / size


def _lengths(text: AnalysedText) -> np.ndarray:
    return np.array([token.letters if token.kind == "word" else np.nan for token in text.tokens], dtype=float)


def _mark(keep: Callable[[Token], bool]) -> Measure:
    return lambda text: rate(np.array([float(keep(token)) for token in text.tokens]))


def _form(*forms: str) -> Measure:
    return _mark(lambda token: token.form in forms)


def _listed(name: str) -> Measure:
    return lambda text: rate(match_entries(text.tokens, load_word_list(text.language, name)))


def _tagged(tag: Tag) -> Measure:
    return lambda text: rate(np.array([float(found == tag) for found in text.tags or ()]))


def _normed(name: str) -> Measure:
    return lambda text: mean_over(np.array([text.norms[name].get(token.form, np.nan) for token in text.tokens]))


def _own_polarity(text: AnalysedText) -> tuple[np.ndarray, np.ndarray]:
    positive, negative = (load_word_list(text.language, name) for name in ("positive", "negative"))
    return rate(match_entries(text.tokens, positive) - match_entries(text.tokens, negative))


def _passives(text: AnalysedText) -> tuple[np.ndarray, np.ndarray]:
    marks = np.zeros(len(text.tokens))
    for pair in find_passives(text.tokens, text.language):
        marks[list(pair)] += 0.5
    return rate(marks)


FEATURES: dict[str, TextFeature] = {
    feature.name: feature
    for feature in (
        TextFeature("mean_word_length", "base", "mean number of letters of a word; a word gives its own letters, "
                    "in equal shares", "", True, lambda text: mean_over(_lengths(text))),
        TextFeature("corrected_ttr", "base", "different words / sqrt(2 * words) (Carroll 1964); a repeated word shares "
                    "its credit among its occurrences", "", True, type_token_ratio),
        TextFeature("first_person", "base", "pronouns and possessives of the first person, per 100 tokens", "lists",
                    False, _listed("first_person")),
        TextFeature("impersonal", "base", "French 'on', English 'one' (also the number), per 100 tokens", "lists", False,
                    _listed("impersonal")),
        TextFeature("relative_pronouns", "base", "relative pronouns, per 100 tokens; not 'que' and 'that', which are "
                    "mostly conjunctions, but also when they ask a question", "lists", False, _listed("relative")),
        TextFeature("negations", "base", "words of negation, per 100 tokens; 'ne ... pas' counts twice", "lists", False,
                    _listed("negation")),
        TextFeature("digits", "base", "tokens with a digit, per 100 tokens", "", False,
                    _mark(lambda token: token.kind == "number")),
        TextFeature("verbs", "base", "verbs and auxiliaries (tagger), per 100 tokens", "tagger", False, _tagged("verb")),
        TextFeature("adjectives", "base", "adjectives (tagger), per 100 tokens", "tagger", False, _tagged("adjective")),
        TextFeature("question_marks", "base", "'?', per 100 tokens", "", False, _form("?")),
        TextFeature("exclamation_marks", "base", "'!', per 100 tokens", "", False, _form("!")),
        TextFeature("semicolons", "base", "';', per 100 tokens", "", False, _form(";")),
        TextFeature("colons", "base", "':', per 100 tokens", "", False, _form(":")),
        TextFeature("ellipses", "base", "'...', per 100 tokens", "", False, _form("...")),
        TextFeature("polarity_1", "base", "mean polarity of the words that the first lexicon has", "polarity_1", True,
                    _normed("polarity_1")),
        TextFeature("polarity_2", "base", "mean polarity of the words that the second lexicon has", "polarity_2", True,
                    _normed("polarity_2")),
        TextFeature("quotation_marks", "base", "quotation marks without apostrophes, opening and closing, per 100 tokens",
                    "", False, _mark(lambda token: token.form in QUOTES)),
        TextFeature("long_words", "base", f"words of more than {LONG_WORD} letters, per 100 tokens", "", False,
                    _mark(lambda token: token.kind == "word" and token.letters > LONG_WORD)),
        TextFeature("weekdays", "additional", "names of weekdays, per 100 tokens", "lists", False, _listed("weekday")),
        TextFeature("discourse_markers", "additional", "discourse markers, per 100 tokens", "lists", False,
                    _listed("discourse")),
        TextFeature("citing_verbs", "additional", "forms of verbs of saying, nouns of the same form included, per 100 "
                    "tokens", "lists", False, _listed("citing")),
        TextFeature("thinking_verbs", "additional", "forms of verbs of thinking and wishing, per 100 tokens", "lists",
                    False, _listed("thinking")),
        TextFeature("time_markers", "additional", "time words relative to the moment of writing, per 100 tokens", "lists",
                    False, _listed("time")),
        TextFeature("passives", "additional", "passives, per 100 tokens; auxiliary and participle count half each",
                    "lists", False, _passives),
        TextFeature("concreteness", "additional", "mean concreteness of the words that the norm has", "concreteness",
                    True, _normed("concreteness")),
        TextFeature("imageability", "additional", "mean imageability of the words that the norm has", "imageability",
                    True, _normed("imageability")),
        TextFeature("frequency", "additional", "mean subjective frequency of the words that the norm has", "frequency",
                    True, _normed("frequency")),
        TextFeature("polarity_words", "own", "words of our small positive list minus those of the negative one, per 100 "
                    "tokens, without regard to negation; stands beside the two polarity lexicons of P4", "lists", False,
                    _own_polarity),
    )
}  # fmt: skip

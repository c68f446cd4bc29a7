"""The planted corpus: generated texts whose deciding words are known, with a shortcut planted beside them.

Reviews (English, Danish, Italian, French) and French press articles are put together from hand-written
words (`lexicons`). The words that decide the label are the **gold rationale**. A **shortcut** - a weekday in
reviews, a town in articles - goes with one label in 90 % of the training items that hold it and is never part
of the gold rationale; in the test split it goes with either label equally often. So what humans would name and
what a model may really use come apart on purpose, and both are known.
"""

from dataclasses import dataclass

import numpy as np

from rationales.corpora.lexicons import ARTICLES, DAY_SENTENCES, REVIEWS
from rationales.corpora.registry import corpus
from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.randomness import generator_for

LANGUAGES = ("en", "da", "it", "fr")
SENTIMENT_LABELS = ("negative", "positive")
ARTICLE_LABELS = ("news", "opinion")
NOISY_SPLITS = ("train", "pretrain")  # splits with label noise and with the shortcut tied to its label
SHORTCUT_LABEL = {"sentiment": "positive", "opinion": "opinion"}


@dataclass(frozen=True)
class Planting:
    """How hard and how treacherous the generated texts are.

    difficulty: 0 to 1; scales how often cues contradict each other, are negated or are weak.
    max_cues: largest number of evaluated aspects (reviews) or marker sentences (articles) per text.
    shortcut_strength: share of the shortcut's label among the training items that hold the shortcut.
    shortcut_rate: share of items that hold the shortcut.
    label_noise: share of training items whose label is flipped. Their gold rationale is empty.
    annotators: simulated annotators; each overlooks a gold word with probability `annotator_miss`
        and marks a neighbour of a gold word with probability `annotator_extra`.
    """

    difficulty: float = 0.4
    max_cues: int = 2
    shortcut_strength: float = 0.9
    shortcut_rate: float = 0.3
    label_noise: float = 0.08
    annotators: int = 3
    annotator_miss: float = 0.12
    annotator_extra: float = 0.08

    def __post_init__(self):
        for name in (
            "difficulty",
            "shortcut_strength",
            "shortcut_rate",
            "label_noise",
            "annotator_miss",
            "annotator_extra",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise StudyError(f"Planted corpus: `{name}` is {getattr(self, name)}; give a number from 0 to 1.")
        # Past one half there are not enough items of the other label to balance the shortcut.
        if self.shortcut_rate > 0.5:
            raise StudyError(f"Planted corpus: `shortcut_rate` is {self.shortcut_rate}; give at most 0.5.")
        if self.max_cues < 1 or self.annotators < 0:
            raise StudyError("Planted corpus: `max_cues` must be at least 1 and `annotators` at least 0.")


@dataclass(frozen=True)
class Piece:
    """A word being written, with the slot it fills and its weight as a cue (0 = no cue, sign = label)."""

    text: str
    slot: str = "fixed"
    weight: int = 0


def choose(generator: np.random.Generator, options):
    """One of `options`, uniformly."""
    return options[int(generator.integers(len(options)))]


def fixed(text: str, slot: str = "fixed") -> list[Piece]:
    """The words of `text` as pieces of one slot."""
    return [Piece(word, slot) for word in text.split()]


def finish_sentence(pieces: list[Piece]) -> list[Piece]:
    """Capitalise the first word and put a full stop after the last, as a writer would."""
    first, last = pieces[0], pieces[-1]
    pieces = [Piece(first.text[:1].upper() + first.text[1:], first.slot, first.weight), *pieces[1:]]
    last = pieces[-1]
    return [*pieces[:-1], Piece(last.text + ".", last.slot, last.weight)]


def write_statement(
    generator: np.random.Generator, language: str, polarity: int, strength: int, negated: bool, intense: bool
):
    """One clause that judges an aspect of the film; a negated clause uses an adjective of the other polarity."""
    lexicon = REVIEWS[language]
    aspect, form = choose(generator, lexicon.aspects)
    adjective_polarity = -polarity if negated else polarity
    forms = choose(generator, lexicon.adjectives[adjective_polarity, strength]).split("/")
    adjective = forms[min(form, len(forms) - 1)]
    template = choose(generator, lexicon.statements)[int(negated)]
    weight, pieces = polarity * strength, []
    for word in template.split():
        if word == "{aspect}":
            pieces += fixed(aspect, "aspect")
        elif word == "{adjective}":
            if intense:
                pieces += fixed(choose(generator, lexicon.intensifiers), "intensifier")
            pieces.append(Piece(adjective, f"adjective:{adjective_polarity}:{strength}:{form}", weight))
        elif negated and word in lexicon.negators:
            pieces.append(Piece(word, "negator", weight))
        else:
            pieces.append(Piece(word))
    return pieces


def draw_cues(generator: np.random.Generator, planting: Planting, sign: int) -> list[tuple[int, int]]:
    """(polarity, strength) of each cue; their sum has the sign of the label and is never zero."""
    n_cues = int(generator.integers(1, planting.max_cues + 1))
    while True:
        opposed = generator.random(n_cues) < 0.6 * planting.difficulty
        strengths = np.where(generator.random(n_cues) < planting.difficulty, 1, 2)
        polarities = np.where(opposed, -sign, sign)
        if np.sign((polarities * strengths).sum()) == sign:
            return [(int(p), int(s)) for p, s in zip(polarities, strengths, strict=True)]


def draw_place_or_day(generator: np.random.Generator, options: tuple[str, ...], with_shortcut: bool) -> str:
    """The shortcut (the first option) or one of its harmless neighbours."""
    return options[0] if with_shortcut else choose(generator, options[1:])


def write_review(generator: np.random.Generator, planting: Planting, language: str, sign: int, with_shortcut: bool):
    """Pieces of one review of the given sentiment (sign +1 or -1)."""
    lexicon = REVIEWS[language]
    sentences, previous = [], 0
    for polarity, strength in draw_cues(generator, planting, sign):
        clause = write_statement(
            generator, language, polarity, strength,
            negated=generator.random() < 0.3 * planting.difficulty, intense=generator.random() < 0.25,
        )  # fmt: skip
        if sentences and generator.random() < 0.5:
            join = lexicon.joins[int(polarity != previous)]
            comma = sentences[-1][-1]
            sentences[-1] = [
                *sentences[-1][:-1],
                Piece(comma.text + ",", comma.slot, comma.weight),
                Piece(join),
                *clause,
            ]
        else:
            sentences.append(clause)
        previous = polarity
    sentences = [finish_sentence(sentence) for sentence in sentences]
    if with_shortcut or generator.random() < 0.4:
        day = draw_place_or_day(generator, lexicon.days, with_shortcut)
        before, after = DAY_SENTENCES[language].split("{day}")
        sentences.append(
            [
                *fixed(before),
                Piece(day + after.split(" ")[0], "shortcut:" + day),
                *fixed(" ".join(after.split(" ")[1:])),
            ]
        )
    if generator.random() < 0.5:
        text = choose(generator, lexicon.neutral)
        text = text.format(place=choose(generator, lexicon.places), companion=choose(generator, lexicon.companions))
        sentences.append(fixed(text, "neutral"))
    return [piece for index in generator.permutation(len(sentences)) for piece in sentences[index]]


def write_marker_sentence(template: str, topic: str, sign: int, strength: int) -> list[Piece]:
    """Words of a marker sentence; the bracketed words carry the weight."""
    pieces, inside = [], False
    for word in template.split():
        inside = inside or word.startswith("[")
        closes = "]" in word
        text = word.replace("[", "").replace("]", "")
        if text.startswith("{topic}"):
            pieces += fixed(topic + text.removeprefix("{topic}"), "topic")
        elif inside:
            pieces.append(Piece(text, f"marker:{sign}:{strength}", sign * strength))
        else:
            pieces.append(Piece(text))
        inside = inside and not closes
    return pieces


def write_article(generator: np.random.Generator, planting: Planting, sign: int, with_shortcut: bool) -> list[Piece]:
    """Pieces of one short French article: opinion (sign +1) or news (sign -1)."""
    label_of = {1: "opinion", -1: "news"}
    topic = choose(generator, ARTICLES.topics)
    sentences = []
    for polarity, strength in draw_cues(generator, planting, sign):
        source = ARTICLES.markers if strength == 2 else ARTICLES.weak_markers
        sentences.append(
            write_marker_sentence(choose(generator, source[label_of[polarity]]), topic, polarity, strength)
        )
    for _ in range(int(generator.integers(1, 3))):
        sentences.append(fixed(choose(generator, ARTICLES.neutral).format(topic=topic), "neutral"))
    if with_shortcut or generator.random() < 0.4:
        place = draw_place_or_day(generator, ARTICLES.places, with_shortcut)
        before = ARTICLES.place_sentence.split("{place}")[0]
        sentences.append([*fixed(before), Piece(place + ".", "shortcut:" + place)])
    sentences = [[Piece(s[0].text[:1].upper() + s[0].text[1:], s[0].slot, s[0].weight), *s[1:]] for s in sentences]
    return [piece for index in generator.permutation(len(sentences)) for piece in sentences[index]]


def simulate_annotators(generator: np.random.Generator, planting: Planting, gold: np.ndarray):
    """Masks (annotators, words) of readers who overlook some gold words and mark some of their neighbours."""
    neighbours = np.convolve(gold, [1, 0, 1], mode="same").astype(bool) & ~gold
    draws = generator.random((planting.annotators, len(gold)))
    masks = np.where(gold, draws >= planting.annotator_miss, neighbours & (draws < planting.annotator_extra))
    return tuple(tuple(bool(marked) for marked in mask) for mask in masks)


def write_example(task: str, language: str, split: str, number: int, seed: int, planting: Planting) -> Example:
    """The `number`-th example of a split; depends on nothing but its arguments."""
    generator = generator_for("planted", task, language, split, number, seed, planting)
    labels = SENTIMENT_LABELS if task == "sentiment" else ARTICLE_LABELS
    sign = 1 if number % 2 else -1
    noisy = split in NOISY_SPLITS and bool(generator.random() < planting.label_noise)
    label = labels[(sign > 0) != noisy]
    # Given the label, hold the shortcut so often that its share and its purity come out as asked.
    purity = planting.shortcut_strength if split in NOISY_SPLITS else 0.5
    favoured = label == SHORTCUT_LABEL[task]
    with_shortcut = bool(generator.random() < 2 * planting.shortcut_rate * (purity if favoured else 1 - purity))
    if task == "sentiment":
        pieces = write_review(generator, planting, language, sign, with_shortcut)
    else:
        pieces = write_article(generator, planting, sign, with_shortcut)
    weights = np.array([piece.weight for piece in pieces])
    gold = (weights * sign > 0) & (not noisy)
    return Example(
        example_id=f"{language}-{split}-{number:05d}",
        corpus=f"planted_{task}",
        split=split,
        language=language,
        segments=(" ".join(piece.text for piece in pieces),),
        label=label,
        annotators=simulate_annotators(generator, planting, gold),
        gold=tuple(bool(marked) for marked in gold),
        gold_graded=tuple(float(w) for w in np.where(gold, np.abs(weights), 0)),
        meta={
            "slots": [piece.slot for piece in pieces],
            "weights": [int(weight) for weight in weights],
            "has_shortcut": with_shortcut,
            "shortcut_conflict": with_shortcut and not favoured,
            "label_is_noise": noisy,
        },
    )


def build_corpus(task: str, languages: tuple[str, ...], sizes: dict[str, int], seed: int, planting: Planting) -> Corpus:
    """All splits of one planted task; `sizes` counts examples per split and language."""
    for language in languages:
        if language not in (LANGUAGES if task == "sentiment" else ("fr",)):
            raise StudyError(
                f"The planted {task} corpus has no language '{language}'; choose among: {', '.join(LANGUAGES)}."
            )
    examples = tuple(
        write_example(task, language, split, number, seed, planting)
        for split, size in sizes.items()
        for number in range(size)
        for language in languages
    )
    return Corpus(
        name=f"planted_{task}",
        task=task,
        labels=SENTIMENT_LABELS if task == "sentiment" else ARTICLE_LABELS,
        examples=examples,
        provenance={
            "source": "generated by rationales.corpora.planted",
            "licence": "as the repository",
            "revision": f"seed {seed}, {planting}",
            "remarks": "Planted texts with a known answer; numbers on them are about planted models, not about real ones.",
        },
    )


@corpus("planted_sentiment")
def load_planted_sentiment(
    train: int = 400,
    validation: int = 50,
    test: int = 50,
    pretrain: int = 0,
    languages: tuple[str, ...] = LANGUAGES,
    seed: int = 0,
    **planting,
) -> Corpus:
    """Film reviews in four languages; split sizes are per language. `planting`: fields of `Planting`."""
    sizes = {"train": train, "validation": validation, "test": test, "pretrain": pretrain}
    return build_corpus("sentiment", tuple(languages), sizes, seed, make_planting(planting))


@corpus("planted_opinion")
def load_planted_opinion(
    train: int = 1600, validation: int = 200, test: int = 200, pretrain: int = 0, seed: int = 0, **planting
) -> Corpus:
    """French press articles, news or opinion. `planting`: fields of `Planting`."""
    sizes = {"train": train, "validation": validation, "test": test, "pretrain": pretrain}
    return build_corpus("opinion", ("fr",), sizes, seed, make_planting(planting))


def make_planting(options: dict) -> Planting:
    """A Planting from named options; raises StudyError for an unknown name."""
    unknown = sorted(set(options) - set(Planting.__dataclass_fields__))
    if unknown:
        known = ", ".join(Planting.__dataclass_fields__)
        raise StudyError(f"The planted corpus has no option '{unknown[0]}'; its options are: {known}.")
    return Planting(**options)


def substitutes(example: Example) -> list[list[str]]:
    """For each word, the words that could stand in its slot instead (empty where the slot is fixed).

    Swapping a word for a substitute is an intervention inside the distribution of the corpus: an adjective
    becomes one of the other polarity, a negator disappears, the shortcut becomes another day or town.
    """
    result = []
    for word, slot in zip(example.words, example.meta["slots"], strict=True):
        kind, *details = slot.split(":")
        tail = word.text[len(word.text.rstrip(".,!")) :]
        options: list[str] = []
        if kind == "adjective":
            polarity, strength, form = (int(detail) for detail in details)
            entries = REVIEWS[example.language].adjectives[-polarity, strength]
            options = [entry.split("/")[min(form, entry.count("/"))] for entry in entries]
        elif kind == "negator":
            options = [""]
        elif kind == "shortcut":
            pool = ARTICLES.places if example.corpus == "planted_opinion" else REVIEWS[example.language].days
            options = [option for option in pool if option != details[0]]
        result.append([option + tail if option else "" for option in options])
    return result

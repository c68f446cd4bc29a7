"""Verbs and adjectives: a light tagger of lists, endings and neighbours, and spaCy where it is installed.

The light tagger is rough. On the few hand-tagged sentences of the tests it finds some nine in ten verbs and adjectives;
on other texts expect less. It is meant for rates over a text, not for single words.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

from rationales.errors import StudyError, require_known
from rationales.features.lexicons import WORD_LISTS
from rationales.features.tokens import Token
from rationales.features.word_lists import load_word_list

Tag = Literal["verb", "adjective", "other"]
Tagger = Callable[[Sequence[Token]], list[Tag]]
TAGGERS = ("light", "spacy")
SPACY_TAGS = {"VERB": "verb", "AUX": "verb", "ADJ": "adjective"}

VERB_ENDINGS = {
    "fr": re.compile(r"\w{2,}(?:[^i]er|ait|aient|èrent|[éièu]rait|eront|[^a]era|iront|issent|issons|[^n]ez)"),
    "en": re.compile(r"\w{2,}(?:[^e]ed|ing|ise[sd]?|ize[sd]?|ify|ifies|ified)"),
}
ADJECTIVE_ENDINGS = {
    "fr": re.compile(r"\w{2,}(?:eux|euses?|[ai]bles?|iques?|ifs?|ives?|els?|elles?|iel(?:le)?s?|[^vj]als?|ales?|iaux)"),
    "en": re.compile(r"\w{2,}(?:ful|ous|ive|[ai]ble|less|ish|ic|[ct]al|nal|ual|ial|ary|esque)"),
}
PARTICIPLE_ENDINGS = {"fr": re.compile(r"\w{2,}ée?s?"), "en": re.compile(r"\w{2,}ed")}
# Words after which a form that may also be an adjective is a verb.
BEFORE_VERB = {
    "fr": frozenset("de d' à pour sans faut".split()),
    "en": frozenset("to will would can could may might must shall should do does did n't not".split()),
}


def open_tagger(name: str, language: str, spacy_model: str | None = None) -> Tagger:
    """Return the tagger `name`, which gives one tag per token.

    "light" has French and English only. "spacy" needs the package and a model for the language, named by
    `spacy_model`; its VERB and AUX are verbs, its ADJ adjectives. Raises StudyError for anything that is missing.
    """
    require_known(name, TAGGERS, "tagger")
    if name == "spacy":
        return _open_spacy(spacy_model, language)
    require_known(language, WORD_LISTS, "language of the light tagger")
    return lambda tokens: tag_lightly(tokens, language)


def tag_lightly(tokens: Sequence[Token], language: str) -> list[Tag]:
    """Return one tag per token, by lists, then endings; a form that may be a noun is one after a determiner."""
    known = {
        name: load_word_list(language, name)
        for name in (*_tag_lists(language), "determiners", "subjects", "be", "have", "not_verbs", "not_adjectives")
    }
    tags: list[Tag] = []
    for position, token in enumerate(tokens):
        before = tokens[position - 1].form if position else ""
        earlier = tokens[position - 2].form if position > 1 else ""
        # "la" in "il la demande" is a pronoun: a determiner does not follow a subject.
        after_determiner = before in known["determiners"] and earlier not in known["subjects"]
        if token.kind != "word" or token.form in known["determiners"]:
            tags.append("other")
        elif _is_verb(token.form, before, earlier, after_determiner, known, language):
            tags.append("verb")
        elif _is_adjective(token.form, known, language):
            tags.append("adjective")
        else:
            tags.append("other")
    return tags


@lru_cache(maxsize=8)
def _tag_lists(language: str) -> tuple[str, ...]:
    """Names of the lists of verbs and adjectives that a language has."""
    wanted = ("verbs_regular", "verb_forms", "citing", "thinking", "adjectives", "adjective_forms")
    return tuple(name for name in wanted if name in WORD_LISTS[language] or name in ("citing", "thinking"))


def _is_verb(form: str, before: str, earlier: str, after_determiner: bool, known: dict, language: str) -> bool:
    if form in known["be"] or form in known["have"]:
        return True
    if after_determiner or form in known["not_verbs"]:
        return False
    if any(form in known[name] for name in ("verb_forms", "verbs_regular", "citing", "thinking")):
        # A form that is also a common adjective is one, unless something before it asks for a verb.
        return not _is_listed_adjective(form, known) or before in known["subjects"] or before in BEFORE_VERB[language]
    if PARTICIPLE_ENDINGS[language].fullmatch(form):
        return language == "en" or any(word in known[name] for word in (before, earlier) for name in ("be", "have"))
    return bool(VERB_ENDINGS[language].fullmatch(form)) and not _is_listed_adjective(form, known)


def _is_adjective(form: str, known: dict, language: str) -> bool:
    if _is_listed_adjective(form, known):
        return True
    return bool(ADJECTIVE_ENDINGS[language].fullmatch(form)) and form not in known["not_adjectives"]


def _is_listed_adjective(form: str, known: dict) -> bool:
    return form in known["adjectives"] or ("adjective_forms" in known and form in known["adjective_forms"])


def find_passives(tokens: Sequence[Token], language: str) -> list[tuple[int, int]]:
    """Return (auxiliary, participle) positions of passives: a form of "be", at most two adverbs, a participle.

    French participles in -é and listed irregular ones, without verbs of movement; English ones in -ed and listed ones.
    Adjectives that look like participles are counted where the list of exceptions does not have them.
    """
    be, adverbs = load_word_list(language, "be"), load_word_list(language, "adverbs")
    participles, others = load_word_list(language, "participles"), load_word_list(language, "intransitives")
    adverb_ending = "ment" if language == "fr" else "ly"
    found = []
    for position, token in enumerate(tokens):
        if token.form not in be:
            continue
        following = position + 1
        while following < len(tokens) and following <= position + 3:
            form = tokens[following].form
            regular = bool(PARTICIPLE_ENDINGS[language].fullmatch(form)) and _base(form, language) not in others
            # "été" is itself a form of "be": the passive of "a été annoncé" belongs to it.
            if (regular or form in participles) and form not in be:
                found.append((position, following))
                break
            if form in be or not (form in adverbs or form.endswith(adverb_ending)):
                break
            following += 1
    return found


def _base(form: str, language: str) -> str:
    """The masculine singular of a French participle."""
    return re.sub(r"ée?s?$", "é", form) if language == "fr" else form


@lru_cache(maxsize=4)
def _open_spacy(model: str | None, language: str) -> Tagger:
    """A spaCy pipeline on our own tokens."""
    try:
        import spacy  # here, because most studies do without it
    except ImportError as error:
        raise StudyError('The option tagger="spacy" needs spaCy; install it, or use tagger="light".') from error
    if not model:
        raise StudyError(f'The option tagger="spacy" needs the name of a model for "{language}" as `spacy_model`.')
    try:
        pipeline = spacy.load(model)
    except OSError as error:
        raise StudyError(f"spaCy has no model '{model}' here; install it, or use tagger=\"light\".") from error
    if pipeline.lang != language:
        raise StudyError(f"The spaCy model '{model}' is for '{pipeline.lang}', the texts are '{language}'.")

    def tag(tokens: Sequence[Token]) -> list[Tag]:
        if not tokens:
            return []
        document = pipeline(spacy.tokens.Doc(pipeline.vocab, words=[token.text for token in tokens]))
        return [SPACY_TAGS.get(token.pos_, "other") for token in document]

    return tag

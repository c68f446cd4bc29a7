"""Requests of the self-consistency test (Madsen, Chandar and Reddy 2024) in four languages, and the reading of replies.

The model redacts the words that decide its answer, or rewrites the text for another label, each in a conversation of its
own; the edited text is then asked again. As everywhere, instructions stand before the text.
"""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from rationales.examples import Example
from rationales.explainers.answer_entries import without_fences
from rationales.explainers.matching import normalise_word
from rationales.explainers.parsing import MAX_CHARACTERS, is_refusal
from rationales.explainers.prompts import present, question_of
from rationales.metrics.self_consistency import REDACTED, rewrite_text, word_edit_share
from rationales.tasks import wording_for

MOST_EDITED = 0.8  # a reply that changes more of the words than this is another text, not an edit
EMPTY, REFUSAL, UNCHANGED = "empty answer", "refusal", "text unchanged"
REASONS = {
    EMPTY: "nothing but white space",
    REFUSAL: "no text, and the model says that it cannot or will not edit it",
    UNCHANGED: "the words are those of the text",
    "wrong number of segments": "a pair of texts was asked for, and other than two lines came back",
    "not an edit of the text": f"more than {MOST_EDITED:.0%} of the words differ",
    "nothing redacted": "the text came back without the redaction token",
    "other words changed": "words were added, dropped or replaced beside the redacted ones",
    "everything redacted": "no word is left to ask about",
}


@dataclass(frozen=True)
class EditPhrases:
    """The requests in one language; placeholders: {question}, {item}, {claim}, {token}.

    unknown: the word that says that the text does not tell.
    """

    redact: str
    rewrite: str
    offer: str
    unknown: str


EDIT_PHRASES: dict[str, EditPhrases] = {
    "en": EditPhrases(
        redact="{question} Replace every word {item} that decides the answer by {token}, and leave all other words as "
        "they are. Return the whole text and nothing else.",
        rewrite="Change as few words {item} as possible, so that {claim}. Return the whole changed text and nothing else.",
        offer="{question} Words may be missing or replaced by {token}. Answer with one word, or with “unknown” if the "
        "text does not tell.",
        unknown="unknown",
    ),
    "da": EditPhrases(
        redact="{question} Erstat hvert ord {item} der afgør svaret med {token}, og lad alle andre ord stå. Returnér hele "
        "teksten og intet andet.",
        rewrite="Ændr så få ord {item} som muligt, så at {claim}. Returnér hele den ændrede tekst og intet andet.",
        offer="{question} Ord kan mangle eller være erstattet med {token}. Svar med ét ord, eller med “ukendt” hvis teksten "
        "ikke viser det.",
        unknown="ukendt",
    ),
    "it": EditPhrases(
        redact="{question} Sostituisci con {token} ogni parola {item} che decide la risposta e lascia tutte le altre come "
        "sono. Restituisci il testo intero e nient'altro.",
        rewrite="Cambia il minor numero possibile di parole {item} in modo che si possa dire: {claim}. Restituisci il testo "
        "cambiato intero e nient'altro.",
        offer="{question} Alcune parole possono mancare o essere sostituite con {token}. Rispondi con una parola, oppure "
        "con “sconosciuto” se il testo non lo dice.",
        unknown="sconosciuto",
    ),
    "fr": EditPhrases(
        redact="{question} Remplace par {token} chaque mot {item} qui décide de la réponse et laisse tous les autres mots. "
        "Renvoie le texte entier et rien d'autre.",
        rewrite="Change aussi peu de mots {item} que possible, de sorte qu'on puisse dire: {claim}. Renvoie le texte changé "
        "en entier et rien d'autre.",
        offer="{question} Des mots peuvent manquer ou être remplacés par {token}. Réponds par un mot, ou par «inconnu» si le "
        "texte ne le dit pas.",
        unknown="inconnu",
    ),
}
_TOKEN = re.compile(r"\[+\s?redacted\s?\]+|<\s?redacted\s?>|\bREDACTED\b", re.IGNORECASE)
_HEADING = re.compile(r"^[^\n.!?]{1,60}:\s*\n")


def edit_phrases_for(language: str) -> EditPhrases:
    """The requests of a language, English where there are none."""
    return EDIT_PHRASES.get(language, EDIT_PHRASES["en"])


def _turn(request: str, task: str, example: Example, label: str | None = None) -> list[dict[str, str]]:
    wording = wording_for(task, example.language)
    claim = "" if label is None else wording.claim.format(label=wording.labels[label])
    text = request.format(question=question_of(wording, example), item=wording.item, claim=claim, token=REDACTED)
    return [{"role": "user", "content": f"{text}\n{present(task, example)}"}]


def redaction_request(task: str, example: Example) -> list[dict[str, str]]:
    """The conversation that asks for the text without the words that decide the answer."""
    return _turn(edit_phrases_for(example.language).redact, task, example)


def rewriting_request(task: str, example: Example, target: str) -> list[dict[str, str]]:
    """The conversation that asks for a minimally edited text of the label `target`."""
    return _turn(edit_phrases_for(example.language).rewrite, task, example, target)


def question_with_unknown(task: str, example: Example) -> list[dict[str, str]]:
    """The conversation that asks for the label and offers the answer "unknown"."""
    return _turn(edit_phrases_for(example.language).offer, task, example)


def read_rewriting(task: str, reply: str, example: Example) -> tuple[Example | None, str]:
    """Return the rewritten example and "", or None and a key of `REASONS`.

    Code fences, quotation marks around the whole, a first line that ends with a colon, and the headings of the prompt
    are taken off. A pair of texts is read from as many lines.
    """
    text = _clean(task, reply, example)
    if not text:
        return None, EMPTY
    lines = text.splitlines()
    segments = [" ".join(lines)] if len(example.segments) == 1 else lines
    if len(segments) != len(example.segments):
        return None, _or_refusal("wrong number of segments", text)
    if [segment.split() for segment in segments] == [segment.split() for segment in example.segments]:
        return None, UNCHANGED
    edited = rewrite_text(example, segments)
    if word_edit_share(example, edited) > MOST_EDITED:
        return None, _or_refusal("not an edit of the text", text)
    return edited, ""


def read_redaction(task: str, reply: str, example: Example) -> tuple[tuple[bool, ...] | None, str]:
    """Return which words (n_words,) the reply has redacted and "", or None and a key of `REASONS`.

    Several words may stand behind one token. Punctuation and case of the words that stay do not count.
    """
    text = _clean(task, reply, example)
    if not text:
        return None, EMPTY
    returned = ["" if _TOKEN.search(word) else _plain(word) for word in _TOKEN.sub(REDACTED, text).split()]
    words = [_plain(word) for word in example.word_texts]
    if "" not in returned:
        return None, UNCHANGED if returned == words else _or_refusal("nothing redacted", text)
    mask = [False] * len(words)
    for kind, start, end, other, other_end in SequenceMatcher(None, words, returned, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        if kind != "replace" or any(returned[other:other_end]):
            return None, _or_refusal("other words changed", text)
        mask[start:end] = [True] * (end - start)
    return (None, "everything redacted") if all(mask) else (tuple(mask), "")


def _plain(word: str) -> str:
    return normalise_word(word).casefold()


def _or_refusal(reason: str, text: str) -> str:
    return REFUSAL if is_refusal(text) else reason


def _clean(task: str, reply: str, example: Example) -> str:
    """The text of a reply without what stands around it: fences, a heading, quotation marks, the prompt's headings."""
    text = without_fences(str(reply)[:MAX_CHARACTERS]).strip()
    if match := _HEADING.match(text):
        text = text[match.end() :].strip()
    parts = re.split(r"\{\d\}", wording_for(task, example.language).intro)
    heads = [part.strip() for part in parts if part.strip()]
    lines = []
    for line in map(str.strip, text.splitlines()):
        for head in heads:
            line = line.removeprefix(head).strip()
        lines += [line] if line else []
    text = "\n".join(lines)
    for first, last in ('""', "''", "“”", "«»"):
        if len(text) > 1 and text[0] == first and text[-1] == last:
            text = text[1:-1].strip()
    return text

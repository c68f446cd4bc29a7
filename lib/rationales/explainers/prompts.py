"""Prompts: how a subject is asked for an answer and for its own rationale.

A **paradigm** fixes the order (predict-then-explain "PE", explain-then-predict "EP"), the form of the
rationale, the rule for its length, and whether the request names the label (anchored). The classification
turn is the same text for every paradigm of order PE, so that all of them explain one and the same prediction.
Instructions stand before the text: what precedes the text is then the same for a whole corpus, and a causal
model need read it only once.
"""

from dataclasses import dataclass

from rationales.errors import StudyError, require_known
from rationales.examples import Example
from rationales.metrics.selection import resolve_k
from rationales.tasks import Wording, wording_for

ORDERS = ("PE", "EP")
FORMS = ("scores", "topk", "list")
LENGTHS = ("free", "fraction", "human")
FRACTION = 0.2  # share of the words asked for under the rule "fraction"


@dataclass(frozen=True)
class Paradigm:
    """How a self-explanation is asked for.

    order: "PE" or "EP". form: "scores" (a number per word), "topk" (ranked list), "list" (unordered list).
    length: "free" (no number is named), "fraction" (a fifth of the words, at least 1), "human" (the number of
    words in the human rationale, which leaks the gold length; P1 and P2 do so). anchored: the label is named.
    """

    order: str
    form: str
    length: str
    anchored: bool

    def __post_init__(self):
        require_known(self.order, ORDERS, "order of a paradigm")
        require_known(self.form, FORMS, "form of a paradigm")
        require_known(self.length, LENGTHS, "length rule of a paradigm")
        if self.form == "scores" and self.length != "free":
            raise StudyError("A paradigm of form 'scores' scores every word; its length rule must be 'free'.")
        if self.form == "topk" and self.length == "free":
            raise StudyError(
                "A paradigm of form 'topk' needs the length rule 'fraction' or 'human'; or use form 'list'."
            )

    @property
    def name(self) -> str:
        """Such as "PE-topk-human-anchored"; `parse_paradigm` reads it back."""
        return f"{self.order}-{self.form}-{self.length}-{'anchored' if self.anchored else 'unanchored'}"


def parse_paradigm(name: str) -> Paradigm:
    """The paradigm of a name such as "PE-list-free-unanchored"; StudyError when it is not one."""
    parts = str(name).split("-")
    if len(parts) != 4 or parts[3] not in ("anchored", "unanchored"):
        raise StudyError(
            f"Unknown paradigm '{name}'; write order-form-length-anchoring, such as 'PE-topk-human-anchored' "
            f"(orders {', '.join(ORDERS)}; forms {', '.join(FORMS)}; lengths {', '.join(LENGTHS)})."
        )
    return Paradigm(parts[0], parts[1], parts[2], parts[3] == "anchored")


def all_paradigms() -> list[Paradigm]:
    """Every valid paradigm, in a fixed order."""
    lengths = {"scores": ("free",), "topk": ("fraction", "human"), "list": ("free", "fraction", "human")}
    return [
        Paradigm(order, form, length, anchored)
        for order in ORDERS
        for form in FORMS
        for length in lengths[form]
        for anchored in (True, False)
    ]


@dataclass(frozen=True)
class Phrases:
    """The request for a rationale in one language; placeholders: {item}, {claim}, {k}, {low}, {high}."""

    one_word: str
    scores_anchored: str
    scores_open: str
    scores_open_many: str
    topk_anchored: str
    topk_open: str
    list_anchored: str
    list_open: str
    at_most: str
    json_words: str
    json_pairs: str
    then_answer: str


PHRASES: dict[str, Phrases] = {
    "en": Phrases(
        one_word="Answer with one word.",
        scores_anchored="Score every word {item} from -1 to 1 by how much it shows that {claim}.",
        scores_open="Score every word {item} from -1 ({low}) to 1 ({high}).",
        scores_open_many="Score every word {item} from -1 to 1 by how much it supports your answer.",
        topk_anchored="Rank the {k} words {item} that show best that {claim}, best first.",
        topk_open="Rank the {k} words {item} that matter most for your answer, best first.",
        list_anchored="Which words {item} show that {claim}?",
        list_open="Which words {item} decide your answer?",
        at_most="Return at most {k} words.",
        json_words="Return a JSON list of words.",
        json_pairs="Return a JSON list of [word, score] pairs.",
        then_answer="Then answer on a new line:",
    ),
    "da": Phrases(
        one_word="Svar med ét ord.",
        scores_anchored="Giv hvert ord {item} en score fra -1 til 1 efter hvor meget det viser at {claim}.",
        scores_open="Giv hvert ord {item} en score fra -1 ({low}) til 1 ({high}).",
        scores_open_many="Giv hvert ord {item} en score fra -1 til 1 efter hvor meget det støtter dit svar.",
        topk_anchored="Rangér de {k} ord {item} der bedst viser at {claim}, det bedste først.",
        topk_open="Rangér de {k} ord {item} der betyder mest for dit svar, det bedste først.",
        list_anchored="Hvilke ord {item} viser at {claim}?",
        list_open="Hvilke ord {item} afgør dit svar?",
        at_most="Returnér højst {k} ord.",
        json_words="Returnér en JSON-liste med ord.",
        json_pairs="Returnér en JSON-liste med par af [ord, score].",
        then_answer="Svar derefter på en ny linje:",
    ),
    "it": Phrases(
        one_word="Rispondi con una parola.",
        scores_anchored="Dai a ogni parola {item} un punteggio da -1 a 1 secondo quanto mostra che {claim}.",
        scores_open="Dai a ogni parola {item} un punteggio da -1 ({low}) a 1 ({high}).",
        scores_open_many="Dai a ogni parola {item} un punteggio da -1 a 1 secondo quanto sostiene la tua risposta.",
        topk_anchored="Ordina le {k} parole {item} che mostrano meglio che {claim}, la migliore per prima.",
        topk_open="Ordina le {k} parole {item} che contano di più per la tua risposta, la migliore per prima.",
        list_anchored="Quali parole {item} mostrano che {claim}?",
        list_open="Quali parole {item} decidono la tua risposta?",
        at_most="Restituisci al massimo {k} parole.",
        json_words="Restituisci una lista JSON di parole.",
        json_pairs="Restituisci una lista JSON di coppie [parola, punteggio].",
        then_answer="Poi rispondi su una nuova riga:",
    ),
    "fr": Phrases(
        one_word="Réponds par un mot.",
        scores_anchored="Donne à chaque mot {item} un score de -1 à 1 selon qu'il montre que {claim}.",
        scores_open="Donne à chaque mot {item} un score de -1 ({low}) à 1 ({high}).",
        scores_open_many="Donne à chaque mot {item} un score de -1 à 1 selon qu'il soutient ta réponse.",
        topk_anchored="Classe les {k} mots {item} qui montrent le mieux que {claim}, le meilleur d'abord.",
        topk_open="Classe les {k} mots {item} qui comptent le plus pour ta réponse, le meilleur d'abord.",
        list_anchored="Quels mots {item} montrent que {claim}?",
        list_open="Quels mots {item} décident de ta réponse?",
        at_most="Renvoie au plus {k} mots.",
        json_words="Renvoie une liste JSON de mots.",
        json_pairs="Renvoie une liste JSON de paires [mot, score].",
        then_answer="Réponds ensuite sur une nouvelle ligne:",
    ),
}


def phrases_for(language: str) -> Phrases:
    """The phrases of a language, English where there are none."""
    return PHRASES.get(language, PHRASES["en"])


def present(task: str, example: Example) -> str:
    """The text of the example with its heading, without any question."""
    return wording_for(task, example.language).intro.format(*example.segments)


def question_of(wording: Wording, example: Example) -> str:
    """The classification question, filled with the example's own facts where the task needs them."""
    return wording.question.format(**{name: value for name, value in example.meta.items() if isinstance(value, str)})


def classification_request(task: str, example: Example) -> str:
    """The user turn that asks for the label alone."""
    wording = wording_for(task, example.language)
    phrases = phrases_for(example.language)
    return f"{question_of(wording, example)} {phrases.one_word}\n{present(task, example)}"


def words_asked_for(paradigm: Paradigm, example: Example) -> int | None:
    """The number named in the request, or None under the rule "free".

    Raises StudyError under the rule "human" for an example without a human rationale.
    """
    if paradigm.length == "free":
        return None
    if paradigm.length == "fraction":
        return resolve_k(FRACTION, len(example.words))
    if example.gold is None or not any(example.gold):
        raise StudyError(
            f"Example '{example.example_id}' has no human rationale, so its length cannot be asked for; "
            "use the length rule 'free' or 'fraction'."
        )
    return sum(example.gold)


def rationale_request(
    paradigm: Paradigm, task: str, example: Example, labels: tuple[str, ...], anchor: str | None
) -> str:
    """The sentence that asks for the rationale; `anchor` is the canonical label named when anchored."""
    wording, phrases = wording_for(task, example.language), phrases_for(example.language)
    fields = {"item": wording.item, "k": words_asked_for(paradigm, example)}
    if paradigm.anchored:
        if anchor is None:
            raise StudyError("An anchored request names a label, but none was given; pass the predicted label.")
        fields["claim"] = wording.claim.format(label=wording.labels[anchor])
    if paradigm.form == "scores":
        fields |= {"low": wording.labels[labels[0]], "high": wording.labels[labels[-1]]}
        opened = phrases.scores_open if len(labels) == 2 else phrases.scores_open_many
        request = [phrases.scores_anchored if paradigm.anchored else opened, phrases.json_pairs]
    elif paradigm.form == "topk":
        request = [phrases.topk_anchored if paradigm.anchored else phrases.topk_open, phrases.json_words]
    else:
        request = [phrases.list_anchored if paradigm.anchored else phrases.list_open]
        request += [phrases.at_most] if paradigm.length != "free" else []
        request += [phrases.json_words]
    return " ".join(request).format(**fields)


def explain_then_predict_request(
    paradigm: Paradigm, task: str, example: Example, labels: tuple[str, ...], anchor: str | None
) -> str:
    """The single user turn of order EP: rationale first, then the label on a new line."""
    wording, phrases = wording_for(task, example.language), phrases_for(example.language)
    request = rationale_request(paradigm, task, example, labels, anchor)
    return (
        f"{request} {phrases.then_answer} {question_of(wording, example)} {phrases.one_word}\n{present(task, example)}"
    )


def conversation(
    paradigm: Paradigm, task: str, example: Example, labels: tuple[str, ...], answer: str | None, anchor: str | None
) -> list[dict[str, str]]:
    """The messages to send, ending with the user turn whose reply holds the rationale.

    answer: the verbalised label that the subject gave (order PE only). anchor: the canonical label to name.
    """
    if paradigm.order == "EP":
        return [{"role": "user", "content": explain_then_predict_request(paradigm, task, example, labels, anchor)}]
    return [
        {"role": "user", "content": classification_request(task, example)},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": rationale_request(paradigm, task, example, labels, anchor)},
    ]


def score_sign(paradigm: Paradigm, labels: tuple[str, ...], predicted: str) -> int:
    """+1 or -1: the factor that turns stated scores into *supports the predicted label*.

    An un-anchored request for a two-label task asks on the scale from the first label (-1) to the second (+1),
    as P3 does; every other request asks for support already.
    """
    on_label_scale = paradigm.form == "scores" and not paradigm.anchored and len(labels) == 2
    return -1 if on_label_scale and predicted == labels[0] else 1

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
from rationales.explainers.wordings import one_word_for, phrases_for
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


def present(task: str, example: Example) -> str:
    """The text of the example with its heading, without any question."""
    return wording_for(task, example.language).intro.format(*example.segments)


def question_of(wording: Wording, example: Example) -> str:
    """The classification question, filled with the example's own facts where the task needs them."""
    return wording.question.format(**{name: value for name, value in example.meta.items() if isinstance(value, str)})


def classification_request(task: str, example: Example) -> str:
    """The user turn that asks for the label alone."""
    question = question_of(wording_for(task, example.language), example)
    return f"{question} {one_word_for(example.language)}\n{present(task, example)}"


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
    paradigm: Paradigm,
    task: str,
    example: Example,
    labels: tuple[str, ...],
    anchor: str | None,
    paraphrase: int = 0,
) -> str:
    """The sentence that asks for the rationale; `anchor` is the canonical label named when anchored.

    paraphrase: which wording, 0 for the one as written.
    """
    wording, phrases = wording_for(task, example.language), phrases_for(example.language, paraphrase)
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
    paradigm: Paradigm,
    task: str,
    example: Example,
    labels: tuple[str, ...],
    anchor: str | None,
    paraphrase: int = 0,
) -> str:
    """The single user turn of order EP: rationale first, then the label on a new line."""
    request = rationale_request(paradigm, task, example, labels, anchor, paraphrase)
    then_answer = phrases_for(example.language, paraphrase).then_answer
    return f"{request} {then_answer} {classification_request(task, example)}"


def conversation(
    paradigm: Paradigm,
    task: str,
    example: Example,
    labels: tuple[str, ...],
    answer: str | None,
    anchor: str | None,
    paraphrase: int = 0,
) -> list[dict[str, str]]:
    """The messages to send, ending with the user turn whose reply holds the rationale.

    answer: the verbalised label that the subject gave (order PE only). anchor: the canonical label to name.
    paraphrase: which wording of the request for the rationale; the question for the label has one wording only.
    """
    if paradigm.order == "EP":
        request = explain_then_predict_request(paradigm, task, example, labels, anchor, paraphrase)
        return [{"role": "user", "content": request}]
    return [
        {"role": "user", "content": classification_request(task, example)},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": rationale_request(paradigm, task, example, labels, anchor, paraphrase)},
    ]


def score_sign(paradigm: Paradigm, labels: tuple[str, ...], predicted: str) -> int:
    """+1 or -1: the factor that turns stated scores into *supports the predicted label*.

    An un-anchored request for a two-label task asks on the scale from the first label (-1) to the second (+1),
    as P3 does; every other request asks for support already.
    """
    on_label_scale = paradigm.form == "scores" and not paradigm.anchored and len(labels) == 2
    return -1 if on_label_scale and predicted == labels[0] else 1

"""Tasks: the question a subject is asked, and the words it answers with, by language.

A corpus names its task; prompts, verbalised labels and answer parsing all come from here.
"""

from dataclasses import dataclass

from rationales.errors import StudyError


@dataclass(frozen=True)
class Wording:
    """One task in one language.

    intro: how the text is presented; `{0}` and `{1}` are the segments.
    question: the classification question, without the list of labels.
    item: the thing classified, as the end of "the words ..." ("of the review").
    claim: what a rationale shows; `{label}` is the verbalised label.
    labels: canonical label -> the word the subject answers with.
    """

    intro: str
    question: str
    item: str
    claim: str
    labels: dict[str, str]


PRIVATE_TASKS = ("medical_occupation", "hate_speech")  # real people's lives, hateful posts: texts are never shown

TASKS: dict[str, dict[str, Wording]] = {
    "sentiment": {
        "en": Wording("Movie review: {0}", "Is this review positive or negative?", "of the review",
                      "the review is {label}", {"negative": "negative", "positive": "positive"}),
        "da": Wording("Filmanmeldelse: {0}", "Er denne anmeldelse positiv eller negativ?", "i anmeldelsen",
                      "anmeldelsen er {label}", {"negative": "negativ", "positive": "positiv"}),
        "it": Wording("Recensione di un film: {0}", "Questa recensione è positiva o negativa?", "della recensione",
                      "la recensione è {label}", {"negative": "negativa", "positive": "positiva"}),
        "fr": Wording("Critique d'un film: {0}", "Cette critique est-elle positive ou négative?", "de la critique",
                      "la critique est {label}", {"negative": "négative", "positive": "positive"}),
    },
    "opinion": {
        "fr": Wording("Article de presse: {0}", "Cet article relève-t-il de l'information ou de l'opinion?", "de l'article",
                      "l'article relève de l'{label}", {"news": "information", "opinion": "opinion"}),
        "en": Wording("Press article: {0}", "Is this article news or opinion?", "of the article",
                      "the article is {label}", {"news": "news", "opinion": "opinion"}),
    },
    "medical_occupation": {
        "en": Wording("Biography: {0}", "What is the occupation of this person: dentist, nurse, physician, psychologist or "
                      "surgeon?", "of the biography", "the person is a {label}",
                      {name: name for name in ("dentist", "nurse", "physician", "psychologist", "surgeon")}),
    },
    "hate_speech": {
        "en": Wording("Post: {0}", "Is this post hateful, offensive or normal?", "of the post", "the post is {label}",
                      {"hatespeech": "hateful", "normal": "normal", "offensive": "offensive"}),
    },
    "nli": {
        "en": Wording("Premise: {0}\nHypothesis: {1}", "Given the premise, is the hypothesis an entailment, neutral or a "
                      "contradiction?", "of the two sentences", "the answer is {label}",
                      {"contradiction": "contradiction", "entailment": "entailment", "neutral": "neutral"}),
    },
    "fact_check": {
        "en": Wording("Claim: {0}\nDocument: {1}", "Does the document support or refute the claim?",
                      "of the claim and the document", "the answer is {label}",
                      {"refutes": "refute", "supports": "support"}),
    },
    "forced_labour": {
        "en": Wording("News article: {0}", "Does this article report the following: {definition}?", "of the article",
                      "the answer is {label}", {"no": "no", "yes": "yes"}),
    },
}  # fmt: skip


def add_generic_task(name: str, labels: tuple[str, ...]) -> None:
    """Register an English task for your own data: it asks for one of `labels`, named as they are."""
    choices = ", ".join(labels[:-1]) + f" or {labels[-1]}" if len(labels) > 1 else labels[0]
    TASKS[name] = {
        "en": Wording("Text: {0}", f"Which label fits this text: {choices}?", "of the text", "the label is {label}",
                      {label: label for label in labels})
    }  # fmt: skip


def wording_for(task: str, language: str) -> Wording:
    """The wording of a task in a language, English where the language has none; StudyError for an unknown task."""
    if task not in TASKS:
        raise StudyError(f"Unknown task '{task}'; choose one of: {', '.join(sorted(TASKS))}, or register your own.")
    wordings = TASKS[task]
    if language in wordings:
        return wordings[language]
    if "en" in wordings:
        return wordings["en"]
    raise StudyError(f"Task '{task}' has no wording for the language '{language}'; add one in rationales/tasks.py.")

"""Floors and the human rationale: explanations that never ask the model.

Every score of the study stands beside these. An explainer that does not beat them explains nothing.
"""

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from rationales.explainers.registry import Explanation, Workbench, explainer
from rationales.randomness import generator_for

STOP_WORDS = {
    "en": "a an and are as at be been but by does for from had has have he her his i in is it its me my no not of on "
    "or she so that the their there they this to too was we were which who will with you your",
    "da": "af at da de den der det dig du efter eller en er et fra for han har hun i ikke jeg med men mig min og om "
    "på se sig sin som så til var vi ved være",
    "it": "a al che con da dal dei del della di e è ed gli ha ho i il in io la le lo loro ma mi nel non per più si "
    "sono su un una uno",
    "fr": "à au aux avec ce cela cette d' dans de des du elle en est et il ils je j'ai l' la le les leur mais me mon "
    "ne nous on ou par pas pour qu' que qui s' sa se ses son sur un une vous",
}
STOP_WORDS = {language: frozenset(words.split()) for language, words in STOP_WORDS.items()}


def bare_word(word: str) -> str:
    """The word in lower case without the punctuation around it; empty for punctuation alone."""
    return word.casefold().strip(".,;:!?\"'()[]«»…-–`")


@explainer("random", "floor")
def score_at_random(bench: Workbench, draw: int = 0) -> list[Explanation]:
    """Uniform random scores: the chance level of every metric."""
    return [
        Explanation(
            example.example_id,
            generator_for("random", bench.seed, draw, example.example_id).random(len(example.words)),
        )
        for example in bench.examples
    ]


@explainer("content_random", "floor")
def score_content_words_at_random(bench: Workbench, draw: int = 0) -> list[Explanation]:
    """Random scores for content words, 0 for stop words and punctuation: what knowing the language gives."""
    explanations = []
    for example in bench.examples:
        stop = STOP_WORDS.get(example.language, frozenset())
        content = np.array([bool(bare_word(w)) and bare_word(w) not in stop for w in example.word_texts])
        draws = generator_for("content", bench.seed, draw, example.example_id).random(len(content))
        explanations.append(Explanation(example.example_id, np.where(content, 0.5 + draws, 0.0)))
    return explanations


@explainer("first_words", "floor")
def score_by_position(bench: Workbench) -> list[Explanation]:
    """Earlier words score higher."""
    return [Explanation(e.example_id, np.arange(len(e.words), 0, -1, dtype=float)) for e in bench.examples]


@explainer("lexicon", "floor")
def score_by_lexicon(bench: Workbench, regularisation: float = 1.0) -> list[Explanation]:
    """Word weights of a logistic regression on the training texts alone, signed for the predicted label.

    What one learns about the label from the corpus without looking into the subject. Invalid where there are
    no training texts of the example's language.
    """
    weights = {}
    labels = sorted({example.label for example in bench.training})
    for language in {example.language for example in bench.examples}:
        texts = [example for example in bench.training if example.language == language]
        if len({example.label for example in texts}) < 2:
            continue
        vectorizer = CountVectorizer(analyzer=lambda example: [bare_word(w) for w in example.word_texts], binary=True)
        model = LogisticRegression(C=regularisation, max_iter=500)
        model.fit(vectorizer.fit_transform(texts), [labels.index(example.label) for example in texts])
        table = model.coef_ if len(model.coef_) > 1 else np.concatenate([-model.coef_, model.coef_])
        weights[language] = (vectorizer.vocabulary_, table, [labels[index] for index in model.classes_])
    explanations = []
    for example, target in zip(bench.examples, bench.targets, strict=True):
        predicted = bench.engine.subject.labels[target]
        vocabulary, table, classes = weights.get(example.language, ({}, None, []))
        if predicted not in classes:
            explanations.append(Explanation(example.example_id, valid=False, reason="no training text for the lexicon"))
            continue
        row = table[classes.index(predicted)]
        scores = [row[vocabulary[bare_word(w)]] if bare_word(w) in vocabulary else 0.0 for w in example.word_texts]
        explanations.append(Explanation(example.example_id, np.array(scores)))
    return explanations


@explainer("human", "human", signed=False)
def take_human_rationale(bench: Workbench) -> list[Explanation]:
    """The human rationale itself, ordered by the share of annotators or by graded importance where known."""
    explanations = []
    for example in bench.examples:
        if example.gold is None or not any(example.gold):
            explanations.append(Explanation(example.example_id, valid=False, reason="no human rationale"))
            continue
        gold = np.array(example.gold, dtype=float)
        graded = np.zeros_like(gold) if example.gold_graded is None else np.array(example.gold_graded)
        shares = np.mean(example.annotators, axis=0) if example.annotators else np.zeros_like(gold)
        order = gold + 0.5 * graded / (1 + graded.max()) + 0.01 * shares
        selected = tuple(int(i) for i in np.flatnonzero(gold))
        explanations.append(Explanation(example.example_id, np.where(gold > 0, order, 0.0), selected, ordered=False))
    return explanations

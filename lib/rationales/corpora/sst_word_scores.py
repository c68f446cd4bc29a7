"""The 100 film sentences whose word scores Huang et al. recorded (`sst_word_scores`)."""

from pathlib import Path

from rationales.corpora.download import describe_sources, fetch
from rationales.corpora.registry import corpus
from rationales.errors import StudyError
from rationales.examples import Corpus, Example
from rationales.safe_pickle import load_safely

NAME = "sst_word_scores"
LABELS = ("negative", "positive")
FOLDER = "sst_llm_word_scores/OpenAI_GPT"
SENTENCE_FILE = f"{FOLDER}/GPT3.5/results/sentences.pickle"
TRUTH_FILE = f"{FOLDER}/GPT4o/true_labels.pickle"
THRESHOLD = 0.5


@corpus(NAME)
def read_sst_word_scores() -> Corpus:
    """Return the 100 SST test sentences of Huang et al. 2023, one split `test`, without human rationales.

    Label: positive when the sentiment is *strictly* above .5, as in the authors' code; two sentences lie at .5 and
    are negative (with >= every accuracy of the paper is missed by two points). The sentiment is kept in
    `meta["sentiment"]`. Ids count from "0" in the authors' order, on which some of their files rely.
    """
    sentences = read_sentences(fetch(SENTENCE_FILE))
    truths = read_sentiments(fetch(TRUTH_FILE))
    if len(sentences) != len(truths):
        raise StudyError(
            f"'{TRUTH_FILE}' holds {len(truths)} labels for {len(sentences)} sentences; replace the files."
        )
    examples = tuple(
        Example(str(number), NAME, "test", "en", (sentence,), label_of(truth), meta={"sentiment": truth})
        for number, (sentence, truth) in enumerate(zip(sentences, truths, strict=True))
    )
    provenance = describe_sources(
        "SST test sentences (Socher et al., 2013) as sampled by Huang et al. 2023",
        [SENTENCE_FILE, TRUTH_FILE],
        ["Positive is a sentiment strictly above .5.", "The files are pickles; they are read without running them."],
        at_the_threshold=sum(truth == THRESHOLD for truth in truths),
        positive=sum(truth > THRESHOLD for truth in truths),
    )
    return Corpus(NAME, "sentiment", LABELS, examples, (), provenance)


def label_of(sentiment: float) -> str:
    """Return "positive" for a sentiment strictly above .5, else "negative"."""
    return LABELS[int(sentiment > THRESHOLD)]


def read_sentences(path: Path) -> list[str]:
    """Return the sentences of a recording, in its order; StudyError when it is no list of texts, or has one twice."""
    sentences = load_safely(path)
    if not isinstance(sentences, list) or not all(isinstance(s, str) and s.split() for s in sentences):
        raise StudyError(f"'{Path(path).name}' is not a list of sentences; replace the file.")
    if len(set(sentences)) != len(sentences):
        raise StudyError(f"'{Path(path).name}' holds a sentence twice; replace the file.")
    return [str(sentence) for sentence in sentences]


def read_sentiments(path: Path) -> list[float]:
    """Return the sentiment of each sentence, in [0, 1]; StudyError when the file holds anything else."""
    values = load_safely(path)
    if not isinstance(values, list) or not all(isinstance(v, (int, float)) and 0 <= v <= 1 for v in values):
        raise StudyError(f"'{Path(path).name}' is not a list of sentiments from 0 to 1; replace the file.")
    return [float(value) for value in values]

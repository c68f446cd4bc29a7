"""Reader of the recordings of Huang et al. 2023 (P3) and of later runs in the same formats.

A run is a set of pickle files, each with a role: raw answers, the authors' parsed verdicts and top-k lists, LIME and
occlusion results, caches of answers. All are read without running them. `FILES` names those of GPT-3.5 and GPT-4o;
`read_run` takes any other set, such as the Llama-3 and Mistral runs of the same repository.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rationales.corpora.download import fetch
from rationales.corpora.sst_word_scores import FOLDER, read_sst_word_scores
from rationales.errors import StudyError, require_known
from rationales.examples import Corpus, Example
from rationales.explainers.matching import match_list
from rationales.explainers.parsing import ParsedRationale, parse_rationale, parse_verdict, split_answer
from rationales.metrics.selection import resolve_k
from rationales.recorded.recording import PLACEHOLDER, Answer, Recording, check_answer
from rationales.safe_pickle import load_safely
from rationales.tables import PREDICTION_ONLY

ORDERS = ("EP", "PE")
ROLES = {
    "answers": "raw answers with word scores (EP, PE), or with the verdict alone (prediction-only)",
    "verdicts": "(class, confidence) of each sentence as the authors parsed it",
    "self": "the authors' parse of the word scores, with their jitter",
    "topk": "word lists of the top-k prompt",
    "topk-verdicts": "(class, confidence) under the top-k prompt, where it is a file of its own",
    "occlusion": "occlusion as the authors computed it",
    "lime": "LIME as the authors computed it",
    "cache": "text -> (class, confidence) of every text that was sent",
}
_GPT35, _GPT4O = f"{FOLDER}/GPT3.5/results", f"{FOLDER}/GPT4o"
FILES: dict[str, dict[str, str]] = {
    "gpt-3.5-turbo": {
        "answers-EP": f"{_GPT35}/gpt_response_EP.pickle",
        "answers-PE": f"{_GPT35}/gpt_response_PE.pickle",
        "answers-prediction-only": f"{_GPT35}/gpt_response_prediction_only.pickle",
        "topk-EP": f"{_GPT35}/parse_topk_EP.pickle",
        "topk-PE": f"{_GPT35}/parse_topk_PE.pickle",
        "occlusion-EP": f"{_GPT35}/EP_Occlusion_Result_Predict",
        "occlusion-PE": f"{_GPT35}/PE_Occlusion_Result_Predict",
        "lime-EP": f"{_GPT35}/LIME_response_EP_0_100.pickle",
        "lime-PE": f"{_GPT35}/LIME_explanations_PE.pickle",
    },
    "gpt-4o": {
        "answers-EP": f"{_GPT4O}/gpt_response_EP.pickle",
        "answers-PE": f"{_GPT4O}/gpt_response_PE.pickle",
        "verdicts-EP": f"{_GPT4O}/gpt4o_ep_pred.pickle",
        "verdicts-PE": f"{_GPT4O}/gpt4o_pe_pred.pickle",
        "self-EP": f"{_GPT4O}/gpt4o_ep_expl.pickle",
        "self-PE": f"{_GPT4O}/gpt4o_pe_expl.pickle",
        "topk-EP": f"{_GPT4O}/gpt4o_topk_expl_EP.pickle",
        "topk-PE": f"{_GPT4O}/gpt4o_topk_expl_PE.pickle",
        "topk-verdicts-EP": f"{_GPT4O}/gpt4o_topk_labels_EP.pickle",
        "topk-verdicts-PE": f"{_GPT4O}/gpt4o_topk_labels_PE.pickle",
        "occlusion-EP": f"{_GPT4O}/gpt4o_ep_occlusion.pickle",
        "occlusion-PE": f"{_GPT4O}/gpt4o_pe_occlusion.pickle",
        "occlusion-prediction-only": f"{_GPT4O}/gpt4o_p_occlusion.pickle",
        "lime-EP": f"{_GPT4O}/gpt4o_LIME_response_EP_0_100.pickle",
        "lime-PE": f"{_GPT4O}/gpt4o_LIME_response_PE_0_100.pickle",
        "cache-EP": f"{_GPT4O}/gpt4o_ep_cache.pickle",
        "cache-PE": f"{_GPT4O}/gpt4o_pe_cache.pickle",
        "cache-prediction-only": f"{_GPT4O}/gpt4o_p_cache.pickle",
    },
}


@dataclass(frozen=True)
class WordScores:
    """A model's own word scores and verdict for one sentence, read from its raw answer.

    parsed: the word scores as our parser reads them, on the sentiment scale -1 to 1. verdict: (class, confidence), or
    None where it cannot be read.
    """

    text: str
    parsed: ParsedRationale
    verdict: Answer | None

    @property
    def stated(self) -> np.ndarray | None:
        """Scores (words,) on the sentiment scale, 0 for words that the answer left out; None when not valid."""
        if not self.parsed.valid or self.parsed.scores is None:
            return None
        return np.nan_to_num(np.array(self.parsed.scores, dtype=float))


@dataclass(frozen=True)
class HuangRun:
    """One run: what a subject answered to the sentences of `corpus`, in the corpus's order throughout.

    answers: order -> one `WordScores` per sentence. prediction_only: raw answers and verdicts. verdicts: name ("EP",
    "EP-topk", ...) -> the authors' parsed verdicts. tables: "self-EP", "occlusion-PE", ... -> scores (words,) as the
    authors stored them, NaN for words that they left out. selected: order -> word indices of the top-k list.
    caches: paradigm -> recording. counts: how many rows each rule of the reader touched.
    """

    subject: str
    corpus: Corpus
    answers: dict[str, list[WordScores]] = field(default_factory=dict)
    prediction_only: list[tuple[str, Answer | None]] = field(default_factory=list)
    verdicts: dict[str, list[Answer]] = field(default_factory=dict)
    tables: dict[str, list[np.ndarray]] = field(default_factory=dict)
    selected: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    caches: dict[str, Recording] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def examples(self) -> tuple[Example, ...]:
        """The sentences."""
        return self.corpus.examples


def read_known_run(subject: str) -> HuangRun:
    """Return a run of `FILES`, by its subject; StudyError for an unknown one, or a file that cannot be had."""
    files = FILES[require_known(subject, FILES, "recorded subject")]
    return read_run(subject, {role: fetch(key) for role, key in files.items()}, read_sst_word_scores())


def read_run(subject: str, files: Mapping[str, str | Path], corpus: Corpus) -> HuangRun:
    """Return the run whose `files` maps roles, such as "answers-EP" or "cache-PE", to paths.

    `ROLES` lists what each role holds; it is followed by the order (EP, PE) or "prediction-only". Raises StudyError
    for an unknown role, a pickle that holds more than data, or one that does not fit the corpus.
    """
    run = HuangRun(subject, corpus)
    for role, path in files.items():
        kind, order = _split_role(role)
        content, where = load_safely(path), Path(path).name
        if kind == "cache":
            run.caches[order] = Recording(subject, order, read_cache(content, where))
        elif kind == "answers" and order == PREDICTION_ONLY:
            run.prediction_only.extend(read_predictions(content, corpus, where))
            run.counts["answers to other sentences"] = len(content) - len(run.prediction_only)
        elif kind == "answers":
            run.answers[order] = read_word_scores(content, order, corpus, where)
        elif kind in ("verdicts", "topk-verdicts"):
            name = order if kind == "verdicts" else f"{order}-topk"
            run.verdicts[name] = read_verdicts(content, corpus, where)
        elif kind == "topk":
            run.selected[order], verdicts = read_topk(content, corpus, where)
            if verdicts:
                run.verdicts[f"{order}-topk"] = verdicts
        else:
            run.tables[role], repeated = read_scored_words(content, corpus, where)
            run.counts[f"{role} repeated"] = repeated
    return run


def _split_role(role: str) -> tuple[str, str]:
    for order in (*ORDERS, PREDICTION_ONLY):
        if role.endswith(f"-{order}"):
            return require_known(role.removesuffix(f"-{order}"), ROLES, "role of a recorded file"), order
    raise StudyError(f"The role '{role}' names no paradigm; end it with -EP, -PE or -prediction-only.")


def read_cache(content: object, where: str) -> dict[str, Answer]:
    """Return text -> (class, confidence) of a cache."""
    if not isinstance(content, dict) or not all(isinstance(text, str) for text in content):
        raise StudyError(f"'{where}' is not a cache of texts; replace the file.")
    return {text: check_answer(answer, where) for text, answer in content.items()}


def read_word_scores(content: object, order: str, corpus: Corpus, where: str) -> list[WordScores]:
    """Return the parsed answers in the corpus's order, from sentence -> raw answer; an absent one is empty."""
    if not isinstance(content, dict) or not all(isinstance(answer, str) for answer in content.values()):
        raise StudyError(f"'{where}' does not map sentences to answers; replace the file.")
    _check_overlap(content, corpus, where)
    rows = []
    for example in corpus.examples:
        answer = content.get(_sentence(example), "")
        rationale, prediction = split_answer(answer, order)
        parsed = parse_rationale(rationale, example.word_texts, "scores")
        rows.append(WordScores(answer, parsed, parse_verdict(prediction)))
    return rows


def read_predictions(content: object, corpus: Corpus, where: str) -> list[tuple[str, Answer | None]]:
    """Return (raw answer, verdict) of the first answers of a list, or of sentence -> answer, one per sentence.

    The list of GPT-3.5 has 1,000 answers without sentences; the first 100 belong to the corpus (their verdicts fit its
    labels, those of every later block of 100 are at chance).
    """
    if isinstance(content, dict):
        _check_overlap(content, corpus, where)
        content = [content.get(_sentence(example), "") for example in corpus.examples]
    plain = isinstance(content, list) and all(isinstance(answer, str) for answer in content)
    if not plain or len(content) < len(corpus.examples):
        raise StudyError(f"'{where}' holds no answer for each of {len(corpus.examples)} sentences; replace the file.")
    return [(answer, parse_verdict(answer)) for answer in content[: len(corpus.examples)]]


def read_verdicts(content: object, corpus: Corpus, where: str) -> list[Answer]:
    """Return one (class, confidence) per sentence, from a list in the corpus's order or from a dictionary."""
    if isinstance(content, dict):
        content = [content.get(_sentence(example), PLACEHOLDER) for example in corpus.examples]
    if not isinstance(content, list) or len(content) != len(corpus.examples):
        raise StudyError(f"'{where}' does not hold {len(corpus.examples)} verdicts; replace the file.")
    return [check_answer(answer, where) for answer in content]


def read_scored_words(content: object, corpus: Corpus, where: str) -> tuple[list[np.ndarray], int]:
    """Return scores (words,) per sentence, NaN where the file scores none, and how many sentences came again.

    Three formats: a list of ([(word, (score, index)), ...], words); a pair (sentences, [index -> score, ...]); and
    sentence -> index -> score. Where a sentence comes again the last row counts, as in the authors' code.
    """
    scored: dict[str, dict[int, float]] = {}
    rows = 0
    for sentence, pairs in _scored_rows(content, where):
        rows += 1
        scored[sentence] = dict(pairs)
    _check_overlap(scored, corpus, where)
    tables = []
    for example in corpus.examples:
        values = np.full(len(example.words), np.nan)
        for index, score in scored.get(_sentence(example), {}).items():
            if not 0 <= index < len(values):
                raise StudyError(f"'{where}' scores word {index} of a text of {len(values)} words; replace the file.")
            values[index] = score
        tables.append(values)
    return tables, rows - len(scored)


def _scored_rows(content: object, where: str) -> list[tuple[str, list[tuple[int, float]]]]:
    """Sentence and (index, score) pairs of each row, in any of the three formats."""
    try:
        if isinstance(content, tuple):
            sentences, results = content
            rows = [(str(s), list(r.items())) for s, r in zip(sentences, results, strict=True)]
        elif isinstance(content, dict):
            rows = [(str(sentence), list(result.items())) for sentence, result in content.items()]
        else:
            rows = [
                (" ".join(words), [(index, score) for _, (score, index) in pairs]) for pairs, words in list(content)
            ]
        return [(sentence, [(int(index), float(score)) for index, score in pairs]) for sentence, pairs in rows]
    except (TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"'{where}' is not a table of word scores; replace the file.") from error


def read_topk(content: object, corpus: Corpus, where: str) -> tuple[list[tuple[int, ...]], list[Answer]]:
    """Return the word indices of each top-k list, in the order given, and its verdicts (empty where it has none).

    Two formats: sentence -> (words, [class, confidence]), and the list format of `read_scored_words`, in which the
    first max(1, floor(.2 L)) words by score are the list and the others follow in random order. Words are matched to
    the text as everywhere here; one that the text does not hold is left out.
    """
    if not isinstance(content, dict):
        tables, _ = read_scored_words(content, corpus, where)
        ranked = [np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable") for scores in tables]
        return [tuple(int(i) for i in order[: resolve_k("fifth", len(order))]) for order in ranked], []
    _check_overlap(content, corpus, where)
    selected, verdicts = [], []
    for example in corpus.examples:
        entry = content.get(_sentence(example), ([], PLACEHOLDER))
        if not isinstance(entry, (tuple, list)) or len(entry) != 2 or not all(isinstance(w, str) for w in entry[0]):
            raise StudyError(f"'{where}' does not hold word lists with a verdict; replace the file.")
        selected.append(tuple(match_list(entry[0], example.word_texts, "split").selected))
        verdicts.append(check_answer(entry[1], where))
    return selected, verdicts


def _sentence(example: Example) -> str:
    """The sentence as the files write it."""
    return " ".join(example.word_texts)


def _check_overlap(content: Mapping[str, object], corpus: Corpus, where: str) -> None:
    """StudyError when a file is about other sentences altogether."""
    if not any(_sentence(example) in content for example in corpus.examples):
        raise StudyError(f"'{where}' holds no sentence of the corpus '{corpus.name}'; it belongs to another run.")

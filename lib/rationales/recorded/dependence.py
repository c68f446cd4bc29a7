"""Does a recording's answer depend on the text? To be asked before anything is scored on it.

A recording can hold one failure placeholder for every text that matters, and scores computed from it are then jitter.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.recorded.recording import Recording, contradicts_class, join_words, single_deletions
from rationales.statistics.bootstrap import share_interval

LEAST_READABLE = 0.5  # share of sentences, and of the deletions of a sentence, with an answer of their own
ALL_READABLE = 0.95  # from here on the few placeholders are taken for true answers: a model may well say (0, .5)
LEAST_REACTING = 0.1  # below it nine of ten sentences have no word whose deletion changes anything
SUBSTITUTE = "UNKWORDZ"  # what the package `lime` writes in the place of a removed word


@dataclass(frozen=True)
class Dependence:
    """Evidence on whether a recording reacts to the text.

    sentences; of them intact: recorded; readable: the intact text and at least half of its single-word deletions have
    an answer that is not the placeholder; reacting: readable, and a deletion changes the answer. deletions, recorded:
    single-word deletions, and how many are there. placeholders_intact, placeholders_deletions: counts. distinct:
    different answers to all these texts. unreadable: ids of the sentences that are not readable.
    verdict: "usable", "partly usable" (the unreadable sentences stay out) or "unusable"; reason: why not "usable".
    """

    subject: str
    paradigm: str
    sentences: int
    intact: int
    deletions: int
    recorded: int
    placeholders_intact: int
    placeholders_deletions: int
    distinct: int
    readable: int
    reacting: int
    unreadable: tuple[str, ...]
    verdict: str
    reason: str

    @property
    def share_reacting(self) -> float:
        """Share of the readable sentences that react to some single-word deletion; NaN without one."""
        return self.reacting / self.readable if self.readable else float("nan")

    @property
    def left_out(self) -> tuple[str, ...]:
        """Ids of the sentences that are not scored: the unreadable ones of a recording that is partly usable."""
        return () if self.verdict == "usable" else self.unreadable


def measure_dependence(recording: Recording, examples: Sequence[Example]) -> Dependence:
    """Return the evidence for `examples`, and a verdict.

    Unusable: fewer than half of the sentences are readable; or all texts have one answer; or no readable sentence
    reacts; or, with 95 % confidence (Wilson), fewer than a tenth of them do. Partly usable: fewer than 95 % are
    readable. StudyError without examples.
    """
    if not examples:
        raise StudyError("There is no sentence to test the recording on; give at least one example.")
    answers, placeholder = recording.answers, recording.placeholder
    counts: Counter[str] = Counter()
    seen, readable, reacting, unreadable = set(), [], 0, []
    for example in examples:
        words = example.word_texts
        intact = answers.get(" ".join(words))
        singles = [answers.get(text) for text in single_deletions(words)]
        known = [answer for answer in singles if answer is not None]
        real = [answer for answer in known if answer != placeholder]
        counts.update(intact=intact is not None, deletions=len(singles), recorded=len(known))
        counts.update(intact_placeholder=intact is not None and intact == placeholder)
        counts.update(single_placeholder=len(known) - len(real))
        seen |= {answer for answer in [intact, *known] if answer is not None}
        if intact is None or intact == placeholder or len(real) < LEAST_READABLE * len(singles):
            unreadable.append(example.example_id)
        else:
            readable.append(example.example_id)
            reacting += any(answer != intact for answer in real)
    verdict, reason = _judge(len(examples), len(readable), reacting, len(seen))
    return Dependence(
        recording.subject, recording.paradigm, len(examples), counts["intact"], counts["deletions"], counts["recorded"],
        counts["intact_placeholder"], counts["single_placeholder"], len(seen), len(readable), reacting,
        tuple(unreadable), verdict, reason,
    )  # fmt: skip


def _judge(sentences: int, readable: int, reacting: int, distinct: int) -> tuple[str, str]:
    """Verdict and reason."""
    if readable < LEAST_READABLE * sentences:
        return "unusable", f"only {readable} of {sentences} sentences have answers that are not the failure placeholder"
    if distinct < 2:
        return "unusable", "every text has the same answer"
    if reacting == 0:
        return "unusable", f"none of {readable} sentences reacts to the deletion of a word"
    if share_interval(np.repeat([1.0, 0.0], [reacting, readable - reacting])).high < LEAST_REACTING:
        return "unusable", f"only {reacting} of {readable} sentences react to the deletion of a word"
    if readable < ALL_READABLE * sentences:
        return "partly usable", f"{sentences - readable} of {sentences} sentences hold the placeholder and are left out"
    return "usable", ""


def require_dependence(recording: Recording, examples: Sequence[Example]) -> Dependence:
    """Return the evidence; StudyError when the recording is unusable, so that nothing is ever scored on it."""
    evidence = measure_dependence(recording, examples)
    if evidence.verdict == "unusable":
        raise StudyError(
            f"The recording of {recording.name} does not show that the answer depends on the text ({evidence.reason}); "
            "score another recording."
        )
    return evidence


def dependence_table(recordings: Mapping[str, Recording], examples: Sequence[Example]) -> pd.DataFrame:
    """Return one row of evidence per recording, with the share of readable sentences that react and the verdict."""
    rows = []
    for recording in recordings.values():
        evidence = measure_dependence(recording, examples)
        facts = {name: value for name, value in vars(evidence).items() if name != "unreadable"}
        rows.append({**facts, "share_reacting": evidence.share_reacting})
    return pd.DataFrame(rows)


def kind_of_text(text: str, intact: set[str], single: set[str]) -> str:
    """Return what was done: "intact", "one word deleted", "several words deleted", "words replaced" or "empty"."""
    if not text:
        return "empty"
    if text in intact:
        return "intact"
    if text in single:
        return "one word deleted"
    return "words replaced" if SUBSTITUTE in text else "several words deleted"


def kinds_table(recording: Recording, examples: Sequence[Example]) -> pd.DataFrame:
    """Return, per kind of recorded text, how many there are, how many hold the placeholder and how many contradict.

    `contradicting`: the confidence is below .5, so that the published reading gives the other class more probability.
    """
    intact = {join_words(example.word_texts, np.ones(len(example.words), bool)) for example in examples}
    single = {text for example in examples for text in single_deletions(example.word_texts)}
    rows = [
        {
            "kind": kind_of_text(text, intact, single),
            "placeholder": answer == recording.placeholder,
            "contradicting": contradicts_class(answer),
        }
        for text, answer in recording.answers.items()
    ]
    grouped = pd.DataFrame(rows, columns=["kind", "placeholder", "contradicting"]).groupby("kind", sort=True)
    table = grouped.agg(
        texts=("placeholder", "size"), placeholders=("placeholder", "sum"), contradicting=("contradicting", "sum")
    )
    return table.reset_index().assign(subject=recording.subject, paradigm=recording.paradigm)

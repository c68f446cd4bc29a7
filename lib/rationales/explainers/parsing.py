"""Parsing what a model answered: its rationale, its label, its verdict with a confidence.

Answers are untrusted text and often untidy. Whatever comes, the result is a record: what was read, what had to be
mended (`REPAIRS`), or why nothing could be used (`REASONS`). No string raises, and the time is linear in the length.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rationales.errors import StudyError, require_known
from rationales.explainers.answer_entries import Entries, Entry, read_entries, without_fences
from rationales.explainers.answer_groups import read_groups, read_number
from rationales.explainers.matching import Match, match_list, match_scores, normalise_word
from rationales.explainers.prompts import FORMS, ORDERS

GLUED_PHRASES = ("split", "reject")
MAX_CHARACTERS = 100_000

REASONS = {
    "": "valid",
    "empty answer": "nothing but white space",
    "refusal": "no rationale, and the model says that it cannot or will not give one",
    "no rationale found": "nothing that looks like words of a rationale",
    "empty list": "a list without items",
    "no word of the text named": "words were returned, but none of them is in the text",
    "no readable score": "words of the text were returned, but no number that could be their score",
    "scores for fewer than half of the words": "scores were read, but too few; they are kept in `scores`",
    "indices with no clear base": "numbers in place of words, and it is open whether the first word is 0 or 1",
}
REPAIRS = {
    "brackets": "a bracket too many or too few",
    "code fence": "the answer stood in a code block",
    "comma list": "words parted by commas, without brackets",
    "bare word": "one word or phrase, without brackets",
    "cut off": "the answer stops inside a bracket or a string",
    f"cut to {MAX_CHARACTERS} characters": "the rest was not read",
    "decimal comma": "scores such as 0,75",
    "deep nesting": "more brackets inside each other than any rationale needs",
    "index in place of a word": "numbers that count the words of the text",
    "inline pairs": "word: score, one after the other",
    "inner quotes": "quotation marks inside a string that are not escaped",
    "joined words": "a returned word is several words of the text, or written without its hyphen",
    "lines": "one item per line",
    "out of order": "scores that do not follow the order of the text",
    "phrase": "several adjacent words returned as one item",
    "phrase split": "a phrase of words that are not adjacent in the text (or partly absent) was split",
    "prose around": "prose before, between or after the brackets",
    "punctuation": "other punctuation around a word than in the text (usual where it clings to the text's words)",
    "punctuation apart": "punctuation that the text writes without a space was listed by itself; left out",
    "quotes in prose": "words in quotation marks or bold type, in running text",
    "score without a word": "a number in a tuple without a readable word",
    "scores in a list": "an object of words and scores where a list was asked for",
    "single quotes": "Python's quotes where JSON has double ones (lists only)",
    "tuples": "words with numbers beside them where words were asked for",
    "tuples of three": "a third value beside word and score",
    "unclosed quote": "a string that ends with its line",
    "unquoted words": "words without quotation marks",
    "unreadable score": "a score that is no number, not finite or far off every scale; NaN",
    "word in parts": "a word of the text was listed in parts; their scores are added up",
    "wrong case": "upper and lower case differ from the text",
}
_REFUSAL = re.compile(
    r"\b(?:i (?:can ?not|can't|am unable|won't|am sorry)|i'm (?:sorry|unable|not able)|as an ai|unable to (?:provide|"
    r"determine|comply)|i apologi[sz]e|not able to (?:provide|determine))\b"
)
_NEGATIONS = frozenset("not n't never hardly no ikke inte non pas isn't aren't wasn't neither nor cannot".split())
_FLOAT = r"[0-9]{0,9}[.,]?[0-9]{0,18}"
_VERDICT = re.compile(
    rf"[(\[]\s{{0,9}}<?\s?[\"']?([01])(?:\.0{{0,9}})?[\"']?\s?>?\s{{0,9}}[,;:]\s{{0,9}}<?\s?({_FLOAT})(\s?%)?\s?>?"
    r"\s{0,9}[)\]]"
)
_VERDICT_WORDS = re.compile(
    r"\b(?:prediction|predicted class|predicted label|class|label|sentiment)\b[^\w+-]{1,9}([01])\b(?![.,][0-9])"
    rf"[^0-9]{{1,60}}?\bconfidence\b[^0-9.-]{{1,12}}({_FLOAT})(\s?%)?",
    re.IGNORECASE,
)
_VERDICT_LINE = re.compile(
    rf"^[ \t]*<?([01])>?[ \t]{{0,9}}[,;:][ \t]{{0,9}}<?({_FLOAT})(\s?%)?>?[ \t.]*$", re.MULTILINE
)


@dataclass(frozen=True)
class ParsedRationale:
    """What a model's rationale says about the words of the text.

    form: "scores", "topk" (ranked) or "list". valid: it can be used; `reason` is "" then, else a key of `REASONS`.
    scores: form "scores" only: one number per word, NaN where the answer gives none; kept when too few, else None.
    selected: forms "topk" and "list" only: word indices in the order given, without duplicates, none left out.
    repairs: keys of `REPAIRS`, sorted. words_not_in_text: returned strings that the text does not hold.
    duplicates: entries that name a word more often than the text holds it. missing: words without a score.
    over_length: words in `selected` beyond `max_words`; they are kept, at its end, so cut there if need be.
    glued: phrases of words that the text holds, but not side by side; split into words, or refused and then also
    in `words_not_in_text`.
    """

    form: str
    valid: bool
    reason: str
    scores: tuple[float, ...] | None = None
    selected: tuple[int, ...] | None = None
    repairs: tuple[str, ...] = ()
    words_not_in_text: tuple[str, ...] = ()
    duplicates: int = 0
    missing: int = 0
    over_length: int = 0
    glued: int = 0

    def columns(self, asked_for: int | None) -> dict:
        """What the table `responses` says of it; asked_for: how many words were wanted (-1 there when that was free)."""
        given = len(self.selected or ()) if self.scores is None else sum(map(math.isfinite, self.scores))
        return {
            "parsed": self.valid, "reason": self.reason, "repairs": list(self.repairs),
            "words_not_in_text": list(self.words_not_in_text), "duplicates": self.duplicates, "missing": self.missing,
            "over_length": self.over_length, "glued": self.glued,
            "asked_for": -1 if asked_for is None else asked_for, "given": given,
        }  # fmt: skip


def parse_rationale(
    answer: str, words: Sequence[str], form: str, max_words: int | None = None, glued_phrases: str = "split"
) -> ParsedRationale:
    """Return what `answer` says about `words`, the words of the text in order.

    A list is valid when it names a word of the text, scores when at least half of the words have one. Words are
    matched by the rules of `matching`. A phrase takes adjacent words; where they are not adjacent, its parts between
    commas are tried, and a part takes its words one by one if all of them are in the text. glued_phrases: "split"
    does so, "reject" refuses such phrases. A score given to several words at once goes to each of them.
    Raises StudyError for an unknown form or rule, and for a text without words; never for an answer.
    """
    require_known(form, FORMS, "form of a rationale")
    require_known(glued_phrases, GLUED_PHRASES, "rule for glued phrases")
    if not words:
        raise StudyError("A rationale is about the words of a text, but there are none; leave empty texts out.")
    known_keys = frozenset(map(normalise_word, words))

    def is_known(text: str) -> bool:
        return normalise_word(text) in known_keys or (
            len(parts := text.split()) > 1 and all(normalise_word(part) in known_keys for part in parts)
        )

    found = read_entries(answer[:MAX_CHARACTERS], form, is_known)
    if len(answer) > MAX_CHARACTERS:
        found.repairs.add(f"cut to {MAX_CHARACTERS} characters")
    entries = _replace_indices(found, words, is_known)
    if form == "scores":
        match = match_scores([(entry.text, entry.score) for entry in entries], words, glued_phrases)
    else:
        match = match_list([entry.text for entry in entries], words, glued_phrases)
    return _record(answer, words, form, max_words, found, entries, match)


def _replace_indices(found: Entries, words: Sequence[str], is_known: Callable[[str], bool]) -> list[Entry]:
    """The entries, with word numbers turned into words where it is certain whether they count from 0 or from 1."""
    entries = found.entries
    if any(is_known(entry.text) for entry in entries) or (entries and found.numbers):
        return entries
    numbers = [read_number(entry.text) for entry in entries] or found.numbers
    if not numbers or not all(n is not None and 0 <= n <= len(words) and n == int(n) for n in numbers):
        return entries
    if (0 in numbers) == (len(words) in numbers):
        return entries
    base = 0 if 0 in numbers else 1
    found.repairs.add("index in place of a word")
    scores = [entry.score for entry in entries] or [None] * len(numbers)
    return [Entry(words[int(number) - base], score) for number, score in zip(numbers, scores, strict=True)]


def _record(
    answer: str,
    words: Sequence[str],
    form: str,
    max_words: int | None,
    found: Entries,
    entries: list[Entry],
    match: Match,
) -> ParsedRationale:
    """The result, with the reason where the answer cannot be used."""
    scored = sum(not math.isnan(score) for score in match.scores)
    hits = scored if form == "scores" else len(match.selected)
    if form == "scores" and 0 < 2 * hits < len(words):
        reason = "scores for fewer than half of the words"
    else:
        reason = "" if hits else _reason_for_nothing(answer, found, entries, match.named > 0)
    return ParsedRationale(
        form=form,
        valid=not reason,
        reason=reason,
        scores=tuple(match.scores) if form == "scores" and hits else None,
        selected=None if form == "scores" else tuple(match.selected),
        repairs=tuple(sorted(found.repairs | match.repairs)),
        words_not_in_text=tuple(word.encode("utf-8", "replace").decode() for word in match.not_in_text),
        duplicates=match.duplicates,
        missing=len(words) - scored if form == "scores" else 0,
        over_length=0 if max_words is None or form == "scores" else max(0, len(match.selected) - max_words),
        glued=match.glued,
    )


def is_refusal(answer: str) -> bool:
    """Return whether an answer says that the model cannot or will not do what it was asked."""
    return _REFUSAL.search(answer[:2000].replace("’", "'").casefold()) is not None


def _reason_for_nothing(answer: str, found: Entries, entries: list[Entry], named: bool) -> str:
    """Why no word of the text got into the result."""
    if not answer.strip():
        return "empty answer"
    if is_refusal(answer):
        return "refusal"
    if entries and named:
        return "no readable score"
    if entries:
        return "no word of the text named"
    if found.numbers:
        return "indices with no clear base"
    return "empty list" if found.empty else "no rationale found"


@lru_cache(maxsize=256)
def _label_pattern(verbalisers: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[re.Pattern, dict[str, str]]:
    """Pattern of all words for labels, longest first, and the label of each."""
    label_of: dict[str, str] = {}
    for label, words in verbalisers:
        for word in words:
            if label_of.setdefault(_fold(word), label) != label:
                raise StudyError(f"'{word}' stands for two labels; give each label its own words.")
    longest_first = sorted(label_of, key=len, reverse=True)
    options = "|".join(
        (r"(?<![\w-])" if word[0].isalnum() else "") + re.escape(word) + (r"(?!\w)" if word[-1].isalnum() else "")
        for word in longest_first
    )
    return re.compile(options), label_of


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("’", "'").split())


def parse_label(answer: str, verbalisers: Mapping[str, Sequence[str]]) -> tuple[str | None, str]:
    """Return the canonical label that `answer` names and "", or None and the reason.

    verbalisers: label -> the words or option letters, such as "(a)", that stand for it. Mentions are whole words,
    in any case; of two that overlap the longer counts. An option letter is also read without its bracket where the
    answer begins with it ("a)", "A.") or is nothing else. Reasons: "empty answer", "no label named", "names several
    labels", "negated label" (the word before the only mention is a negation).
    """
    given = tuple((label, tuple(word for word in words if word.strip())) for label, words in verbalisers.items())
    if not any(words for _, words in given):
        raise StudyError("No words for labels are given; name at least one word per label.")
    text = _fold(answer[:MAX_CHARACTERS])
    if not text:
        return None, "empty answer"
    pattern, label_of = _label_pattern(given)
    mentions = [(match.start(), label_of[match.group()]) for match in pattern.finditer(text)]
    letter = re.match(r"\(?([a-z])(?:[).:](?!\w)|$)", text)
    if letter and f"({letter.group(1)})" in label_of:
        mentions.append((0, label_of[f"({letter.group(1)})"]))
    labels = {label for _, label in mentions}
    if len(labels) != 1:
        return None, "names several labels" if labels else "no label named"
    before = text[: min(start for start, _ in mentions)].split()[-1:]
    if before and (before[0].strip("\"'*_") in _NEGATIONS or before[0].endswith("n't")):
        return None, "negated label"
    return labels.pop(), ""


def _verdicts(answer: str) -> list[tuple[int, int, int, float]]:
    """(start, end, class, confidence) of each verdict: tuples, else phrases, else lines, else a tuple in a list.

    A tuple with neighbours in a list is the score of a word such as "1".
    """
    inside: list[tuple[int, int, int, float]] = []
    outside: list[tuple[int, int, int, float]] = []
    for match in _VERDICT.finditer(answer):
        before = answer[max(0, match.start() - 20) : match.start()].rstrip()[-1:]
        after = answer[match.end() : match.end() + 20].lstrip()[:1]
        if before == "[" and after == "]":
            inside += _verdict_of(match)
        elif before not in tuple(",[(") and after not in tuple(",])"):
            outside += _verdict_of(match)
    for pattern in (_VERDICT_WORDS, _VERDICT_LINE):
        outside = outside or [verdict for match in pattern.finditer(answer) for verdict in _verdict_of(match)]
    return outside or inside


def _verdict_of(match: re.Match) -> list[tuple[int, int, int, float]]:
    """The verdict of one match in a list, or an empty list when the confidence is none."""
    confidence = read_number(match.group(2), decimal_comma=True)
    if confidence is not None and match.group(3):
        confidence /= 100
    if confidence is None or not 0 <= confidence <= 1:
        return []
    return [(match.start(), match.end(), int(match.group(1)), confidence)]


def parse_verdict(answer: str) -> tuple[int, float] | None:
    """Return P3's verdict (class, confidence), class 0 or 1 and confidence in [0, 1], or None.

    The first tuple counts, as the authors' code has it; slips such as "(<1>, <0.85>)", "(1, 85%)", "1, 0.85" and
    "Prediction: 1, confidence 0.9" are read. Split an answer that also holds word scores by `split_answer` first.
    """
    found = _verdicts(answer[:MAX_CHARACTERS])
    return found[0][2:] if found else None


def split_answer(answer: str, order: str) -> tuple[str, str]:
    """Return the rationale part and the prediction part of one message that holds both.

    order: "EP" (rationale first) or "PE". A verdict tuple parts the two: the last one under "EP", the first one under
    "PE". Without it the outermost bracket does: the prediction is what follows the last bracket ("EP") or precedes
    the first ("PE"). Without brackets it is the last ("EP") or the first ("PE") line, and of a single line under
    "EP" none. Code fences are dropped. Raises StudyError for an unknown order.
    """
    require_known(order, ORDERS, "order of an answer")
    text = without_fences(answer[:MAX_CHARACTERS])
    if verdicts := _verdicts(text):
        start, end, *_ = verdicts[-1] if order == "EP" else verdicts[0]
        return (
            (text[:start].strip(), text[start:].strip()) if order == "EP" else (text[end:].strip(), text[:end].strip())
        )
    spans = [(start, end) for start, end in read_groups(text).spans if text[start] in "[{"]
    if spans:
        cut = spans[-1][1] if order == "EP" else spans[0][0]
        parts = text[:cut].strip(), text[cut:].strip()
    else:
        lines = text.strip().splitlines()
        cut = max(1, len(lines) - 1) if order == "EP" else 1
        parts = "\n".join(lines[:cut]).strip(), "\n".join(lines[cut:]).strip()
    return parts if order == "EP" else parts[::-1]

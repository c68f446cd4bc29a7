"""From what a model answered to the words it named, with or without a number for each.

Several readers look at the answer, each for one way of writing: brackets, one word per line, words in quotes,
a comma list. They return entries and know nothing of positions in the text; `matching` finds those.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from rationales.explainers.answer_groups import Atom, Group, Reading, read_groups, read_number

NAN = float("nan")
MAX_SCORE = 1000.0  # larger numbers are no scores on any scale that a request names
RATIONALE_KEYS = frozenset(
    "rationale rationales word words token tokens term terms phrase phrases text evidence keyword keywords highlight "
    "highlights span spans selected ord parola parole mot mots begrundelse begrundelser".split()
)
SCORE_KEYS = frozenset("score scores value weight importance saliency attribution relevance vægt punteggio".split())
INDEX_KEYS = frozenset("index position id number rank".split())
VERDICT_KEYS = frozenset("label prediction class answer confidence sentiment explanation reason note svar".split())
_DAMAGE = frozenset(["cut off", "unclosed quote", "brackets", "score without a word"])
_FILLERS = frozenset(["", "...", "…", "none", "null", "n/a", "true", "false", "etc", "etc."])
_VALUE = r"[+\-−–]?(?:[0-9]{0,20}[.,][0-9]{1,20}|[0-9]{1,20}\.?)(?:[eE][+-]?[0-9]{1,4})?%?"
_AFTER_BARE = re.compile(rf"[,:]\s{{0,9}}({_VALUE})\s{{0,9}}\)")
_AFTER_INLINE = re.compile(rf"[ \t]{{0,9}}[:=(|][ \t]{{0,9}}({_VALUE})(?![\w.])")
_LINE_END = re.compile(rf"\s{{0,9}}(?:->|=>|[→:=|,–—(]|\s-\s|\s)\s{{0,9}}({_VALUE})\)?$")
_MARKER = re.compile(r"\s*(?:[-*•·–▪◦>]+\s+|\(?[0-9]{1,3}[.):](?=\s|[\"'“‘*`])\s*|\|\s*)(?=\S)")
_QUOTED = re.compile(
    r"\"([^\"\n]{1,200})\"|“([^”\n]{1,200})”|«([^»\n]{1,200})»|\*\*([^*\n]{1,200})\*\*|`([^`\n]{1,200})`"
    r"|(?<!\w)['‘]([^\n'’]{1,60}(?:['’]\w[^\n'’]{0,20})?)['’](?!\w)"
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]{0,30}$", re.MULTILINE)
_REMARK = re.compile(r"\s(?:[-–—:(]|->|→|because)\s|:\s|\s\(")


@dataclass(frozen=True)
class Entry:
    """One thing the answer names; `score` is None in a list, NaN where a score was given but cannot be read."""

    text: str
    score: float | None = None


@dataclass
class Entries:
    """What one reader found; `numbers` are bare numbers in place of words, `empty` says that a list held nothing."""

    entries: list[Entry]
    repairs: set[str]
    numbers: list[float]
    empty: bool = False


def without_fences(answer: str) -> str:
    """The answer without the lines that open or close a code block."""
    return _FENCE.sub("", answer)


def read_entries(answer: str, form: str, known: Callable[[str], bool]) -> Entries:
    """Return what the answer names, by the reader that suits it best.

    known: whether a returned string consists of words of the text. For scores the reader that finds most such
    strings is right; for lists the first reader, in order of strictness, that finds one at all.
    """
    plain = without_fences(answer)
    best, most = None, 0
    for reader in _SCORE_READERS if form == "scores" else _LIST_READERS:
        found = reader(plain, known)
        found.entries = [e for e in found.entries if known(e.text) or _plain_key(e.text) not in VERDICT_KEYS]
        count = sum(known(entry.text) for entry in found.entries)
        if form != "scores" and not count:  # phrases of which a part is in the text will do
            count = any(known(part) for entry in found.entries for part in entry.text.split())
        if best is None or count > most or not (best.entries or best.numbers or best.empty):
            best, most = found, count
        if count and (form != "scores" or (count == len(found.entries) and not found.repairs & _DAMAGE)):
            break
    if not (best.entries or best.numbers):
        best.repairs.clear()
    if plain != answer:
        best.repairs.add("code fence")
    return best


# Scores


def _score(number: float | None, repairs: set[str]) -> float:
    """The number, or NaN and a remark where it is none or far off every scale."""
    if number is None or not abs(number) <= MAX_SCORE:
        repairs.add("unreadable score")
        return NAN
    return number


def _number(item: Atom | Group, decimal_comma: bool = False) -> float | None:
    return read_number(item.text, decimal_comma) if isinstance(item, Atom) else None


def _pairs_in_brackets(answer: str, known: Callable[[str], bool]) -> Entries:
    """Pairs in lists, tuples and objects of JSON or Python."""
    comma = _has_decimal_commas(answer)
    reading = read_groups(answer, decimal_comma=comma)
    found = Entries([], reading.repairs, [])
    for root in reading.roots:
        found.entries += _pairs_of(root, comma, found.repairs, nested=False)
    if comma and found.entries:
        found.repairs.add("decimal comma")
    if found.entries and _prose_around(answer, reading):
        found.repairs.add("prose around")
    return found


def _has_decimal_commas(answer: str) -> bool:
    """Whether commas between digits can only be decimal ones: no decimal point, and nothing but 0,… and 1,0."""
    if re.search(r"[0-9]\.[0-9]", answer):
        return False
    numbers = re.findall(r"([0-9]?[0-9]),([0-9]{1,18})", answer)
    return bool(numbers) and all(whole == "0" or (whole == "1" and not part.strip("0")) for whole, part in numbers)


def _pairs_of(group: Group, comma: bool, repairs: set[str], nested: bool = True) -> Iterator[Entry]:
    """The pairs of one bracket and of those inside it, in order."""
    fields = [item for item in group.items if item.key is not None]
    if any(_names_word(item) for item in fields):
        yield from _pairs_of_fields(fields, comma, repairs)
        fields = []
    row: list[Atom] = []
    for item in group.items:
        if item.key is None and isinstance(item, Atom):
            row.append(item)
        elif isinstance(item, Group):
            inside = [_number(part, comma) for part in item.items]
            if item.key is not None and len(inside) == 1 and inside[0] is not None:
                yield Entry(item.key.text, _score(inside[0], repairs))
            else:
                yield from _pairs_of(item, comma, repairs)
        elif fields and ((number := _number(item, comma)) is not None or not item.quoted):
            yield Entry(item.key.text, _score(number, repairs))
    if row:
        yield from _pairs_of_row(row, group, comma, repairs, nested)


def _names_word(item: Atom | Group) -> bool:
    """Whether the item is a field such as "word": "good"."""
    named = isinstance(item, Atom) and _plain_key(item.key.text) in RATIONALE_KEYS
    return named and (item.quoted or _number(item) is None)


def _pairs_of_fields(fields: list[Atom | Group], comma: bool, repairs: set[str]) -> Iterator[Entry]:
    """The pairs of an object such as {"word": "good", "score": 0.5}; fields may stand in any order, and repeat."""
    scores = [item for item in fields if _plain_key(item.key.text) in SCORE_KEYS]
    others = [item for item in fields if _plain_key(item.key.text) not in INDEX_KEYS]
    scores = scores or [item for item in others if _number(item, comma) is not None and not _names_word(item)]
    words = [item for item in fields if _names_word(item)]
    for position, item in enumerate(words):
        number = _number(scores[position], comma) if position < len(scores) else None
        yield Entry(item.text, _score(number, repairs))


def _pairs_of_row(row: list[Atom], group: Group, comma: bool, repairs: set[str], nested: bool) -> Iterator[Entry]:
    """The pairs of a tuple (word, score), or of a flat list word, score, word, score."""
    numbers = [_number(atom, comma) for atom in row]
    bare = [number is not None and not atom.quoted for atom, number in zip(row, numbers, strict=True)]
    if len(row) in (2, 3) and len(row) == len(group.items):
        if all(bare) and not nested:  # (class, confidence), which is no score of a word
            return
        if bare[0] and not bare[-1]:
            yield Entry(row[-1].text, _score(numbers[0], repairs))
            return
        if any(bare[1:]) or len(row) == 2 and (numbers[1] is not None or row[0].quoted and not row[1].quoted):
            yield Entry(row[0].text, _score(_score_of_row(row[1:], numbers[1:], repairs), repairs))
            return
    if nested and row and all(bare):
        repairs.add("score without a word")
    for position in range(1, len(row)):
        if bare[position] and not bare[position - 1]:
            yield Entry(row[position - 1].text, _score(numbers[position], repairs))


def _score_of_row(rest: list[Atom], numbers: list[float | None], repairs: set[str]) -> float | None:
    """The score among what follows the word in a tuple; None where two numbers could be it."""
    if len(rest) == 1:
        return numbers[0]
    repairs.add("tuples of three")
    given = [(atom.text, number) for atom, number in zip(rest, numbers, strict=True) if number is not None]
    broken = [number for text, number in given if re.search(r"[.,eE%]", text)]
    if len(given) == 1:
        return given[0][1]
    return broken[0] if len(broken) == 1 else None


def _strip_quotes(text: str) -> str:
    """`text` without one pair of quotation marks around it."""
    pairs = ("''", '""', "“”", "‘’", "``", "«»")
    return text[1:-1] if len(text) > 2 and text[0] + text[-1] in pairs else text


def _pairs_from(pairs: Iterable[tuple[str, str]], repair: str, known: Callable[[str], bool]) -> Entries:
    """The entries of pairs read outside brackets; a verdict (class, confidence) is no score of a word."""
    found = Entries([], {repair}, [])
    for word, value in pairs:
        word = _strip_quotes(word.strip().strip("*"))
        if word and (read_number(word.strip("([<> ")) is None or known(word)):
            found.entries.append(Entry(word, _score(read_number(value, True), found.repairs)))
    return found


def _before(answer: str, pattern: re.Pattern) -> Iterator[tuple[str, str]]:
    """What stands before each match, back to the match before it or 100 characters, and the number in the match."""
    end = 0
    for match in pattern.finditer(answer):
        yield answer[max(end, match.start() - 100) : match.start()], match.group(1)
        end = match.end()


def _bare_pairs(answer: str, known: Callable[[str], bool]) -> Entries:
    """Tuples without quotes, whose word may be a bracket or a comma: `(,, 0.0)`."""
    pairs = []
    for text, value in _before(answer, _AFTER_BARE):
        opening, *rest = text.rstrip().rsplit(maxsplit=1) or [""]
        word = rest[0] if rest else opening
        if not (rest and opening.endswith("(")):
            word = word.partition("(")[2]
        pairs.append((word, value))
    return _pairs_from(pairs, "unquoted words", known)


def _pairs_by_line(answer: str, known: Callable[[str], bool]) -> Entries:
    """One word and one number per line, in a table or not."""
    pairs = []
    for line in answer.splitlines():
        marker = _MARKER.match(line[:400])
        line = line[marker.end() if marker else 0 : 400].lstrip(" \t|").rstrip(" \t|,;.")
        if match := _LINE_END.search(line, max(0, len(line) - 60)):
            pairs.append((line[: match.start()], match.group(1)))
    return _pairs_from(pairs, "lines", known)


def _pairs_inline(answer: str, known: Callable[[str], bool]) -> Entries:
    """Pairs `word: 0.5` or `word (0.5)` one after the other."""
    pairs = [(text.rsplit(maxsplit=1)[-1:], value) for text, value in _before(answer, _AFTER_INLINE)]
    pairs = [(word[0] if len(word[0]) == 1 else word[0].lstrip("),;|"), value) for word, value in pairs if word]
    return _pairs_from(pairs, "inline pairs", known)


# Lists


def _plain_key(text: str) -> str:
    return re.sub(r"[\W\d_]+", "", text).casefold()


def _is_rationale_key(text: str) -> bool:
    """Whether a field is named for the rationale, or nearly so ("ratalises")."""
    key = _plain_key(text)
    return (
        key.startswith("rational")
        and len(key) < 13
        or (7 <= len(key) <= 12 and key[0] == "r" and SequenceMatcher(None, key, "rationales").ratio() > 0.75)
    )


def _words_in_brackets(answer: str, known: Callable[[str], bool]) -> Entries:
    """Words in lists, tuples, sets and objects; brackets with strings in them are preferred to others."""
    reading = read_groups(answer)
    for roots in (
        [root for root in reading.roots if root.opener != "(" and _has_strings(root)],
        [root for root in reading.roots if root.opener == "(" and _has_strings(root)],
        [root for root in reading.roots if root.opener != "("],
        [root for root in reading.roots if root.opener == "(" and len(root.items) > 1],
    ):
        found = Entries([], set(reading.repairs), [])
        for root in roots:
            _collect_words(root, found, known)
        if roots and roots[0].opener == "(":
            found.numbers.clear()  # (class, confidence), which are no word numbers
        if found.entries or found.numbers:
            break
    found.empty = any(map(_has_empty_list, reading.roots))
    if found.entries and _prose_around(answer, reading):
        found.repairs.add("prose around")
    return found


def _has_strings(group: Group) -> bool:
    return any(item.quoted if isinstance(item, Atom) else _has_strings(item) for item in group.items)


def _has_empty_list(group: Group) -> bool:
    inside = (item for item in group.items if isinstance(item, Group))
    return (group.opener == "[" and not group.items) or any(map(_has_empty_list, inside))


def _collect_words(group: Group, found: Entries, known: Callable[[str], bool]) -> None:
    """Append the words of one bracket and of those inside it, in order."""
    keyed = [item for item in group.items if item.key is not None]
    chosen = [item for item in keyed if _is_rationale_key(item.key.text)]
    chosen = chosen or [item for item in keyed if _plain_key(item.key.text) in RATIONALE_KEYS]
    if keyed and not chosen and all(_number(item) is not None for item in keyed):
        found.repairs.add("scores in a list")
        found.entries += [Entry(item.key.text) for item in keyed]
    if keyed and not chosen:
        chosen = [item for item in keyed if _plain_key(item.key.text) not in VERDICT_KEYS | SCORE_KEYS]
    taken = {id(item) for item in chosen}
    before: Atom | Group | None = None
    for item in group.items:
        if item.key is None and not (isinstance(item, Group) and item.gloss) or id(item) in taken:
            _collect_item(item, before, group, found, known)
        before = item


def _collect_item(
    item: Atom | Group, before: Atom | Group | None, group: Group, found: Entries, known: Callable[[str], bool]
) -> None:
    if isinstance(item, Group):
        _collect_words(item, found, known)
        return
    if not item.quoted:
        number = _number(item)
        after_word = isinstance(before, Atom) and (before.quoted or _number(before) is None)
        if number is not None and (after_word and not known(item.text) or group.opener == "(" and before is not None):
            found.repairs.add("tuples")
            return
        if number is not None and not known(item.text):
            found.numbers.append(number)
            return
        if item.text.casefold() in _FILLERS and not known(item.text):
            return
        found.repairs.add("unquoted words")
    elif item.quote in "'‘’":
        found.repairs.add("single quotes")
    if item.text.strip():
        found.entries.append(Entry(item.text))


def _words_by_line(answer: str, known: Callable[[str], bool]) -> Entries:
    """Numbered or bulleted lines; what follows a colon, a dash or a bracket is a remark."""
    found = Entries([], {"lines"}, [])
    for line in answer.splitlines():
        if marker := _MARKER.match(line[:1000]):
            found.entries += _words_of_line(line[marker.end() : 1000].strip(), known)
    return found


def _words_of_line(line: str, known: Callable[[str], bool]) -> list[Entry]:
    """The word or phrase at the head of a line."""
    quoted = _QUOTED.match(line)
    if quoted:
        line = next(part for part in quoted.groups() if part)
    elif not known(line):
        remark = _REMARK.search(line)
        line = line[: remark.start()] if remark else line
    line = _strip_quotes(line.strip().strip("*").strip())
    return [Entry(line)] if line and line.casefold() not in _FILLERS else []


def _words_in_quotes(answer: str, known: Callable[[str], bool]) -> Entries:
    """Words in quotation marks, or in bold, within prose."""
    parts = (next(part for part in match.groups() if part) for match in _QUOTED.finditer(answer))
    return Entries([Entry(part.strip(" :,.")) for part in parts if part.strip(" :,.")], {"quotes in prose"}, [])


def _words_by_comma(answer: str, known: Callable[[str], bool]) -> Entries:
    """A comma list, or words on lines of their own; only if half of the items are words of the text."""
    pieces: list[str] = []
    for line in answer.splitlines():
        head, colon, tail = line.partition(": ")
        if not line.rstrip().endswith(":") or known(line):
            pieces += re.split(r"[,;，、]", tail if colon and not known(head) else line)
    pieces = [piece.strip() if known(piece) else piece.strip(" \t*`'\"“”‘’.:") for piece in pieces]
    pieces = [piece for piece in pieces if piece and (known(piece) or read_number(piece) is None)]
    if 2 * sum(map(known, pieces)) < len(pieces):
        pieces = []
    return Entries([Entry(piece) for piece in pieces], {"comma list" if len(pieces) > 1 else "bare word"}, [])


def _prose_around(answer: str, reading: Reading) -> bool:
    """Whether letters stand outside the brackets."""
    edges = [0, *(edge for span in reading.spans for edge in span), len(answer)]
    return any(re.search(r"[^\W\d_]", answer[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True))


_SCORE_READERS = (_pairs_in_brackets, _bare_pairs, _pairs_by_line, _pairs_inline)
_LIST_READERS = (_words_in_brackets, _words_by_line, _words_in_quotes, _words_by_comma)

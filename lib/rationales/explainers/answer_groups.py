"""Reading brackets, strings and numbers in what a model wrote, however untidy.

One pass from left to right, with an explicit stack: JSON and Python literals come out exactly, and damaged ones
come out as far as they go. Nothing here is evaluated, nothing raises, and the time is linear in the length.
"""

import re
from dataclasses import dataclass, field

MAX_DEPTH = 30  # deeper brackets are read as if they were not there
CLOSER = {"[": "]", "{": "}", "(": ")"}
# What may end a string, by the quotation mark that opens it.
QUOTES = {'"': '"', "'": "'", "`": "`", "“": '”"', "”": "”", "„": '“”"', "‘": "’'", "’": "’'", "«": "»", "»": "«"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0"}
_ESCAPES |= {sign: sign for sign in "\"'\\"}
_CODE_POINT = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|" + _CODE_POINT.pattern + r"|.)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?%?")
_NUMBER_STARTS = frozenset("0123456789+-.,\u2212\u2013nNiI")
_NO_NUMBERS = frozenset(["nan", "inf", "infinity", "none", "null", "n/a"])
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]*,[0-9]+(?=\s*(?:[)\]},]|$))")
_OPENING = re.compile(r"[\[{(]")
_SPACE = re.compile(r"[ \t\r\f\v]+")
_BARE = re.compile(r"[^,，、:\[\](){}\n]+")
_STRING_STOP = re.compile(r"[\\\n\"'`“”’»«]")
_AFTER_STRING = re.compile(r"[ \t]*(?:[,，、:)\]}\n\r(;]|$)|[ \t]+(?:[\"'“‘`]|[+-]?[0-9.]+[ \t]*[)\]}])")


@dataclass
class Atom:
    """A string or a bare run of characters; `key` is the atom before a colon, if any."""

    text: str
    quoted: bool
    quote: str = ""
    key: "Atom | None" = None


@dataclass
class Group:
    """A bracket and what it holds; `gloss` marks a remark in parentheses after a string."""

    opener: str
    items: "list[Atom | Group]" = field(default_factory=list)
    key: Atom | None = None
    gloss: bool = False


@dataclass
class Reading:
    """The outermost brackets of an answer, where they begin and end, and what had to be mended."""

    roots: list[Group]
    spans: list[tuple[int, int]]
    repairs: set[str]


def read_number(text: str, decimal_comma: bool = False) -> float | None:
    """The number that `text` is, or None; NaN where it is a word for no number. Infinite where it is too large."""
    text = text.strip()
    if not text or len(text) > 40 or text[0] not in _NUMBER_STARTS:
        return None
    text = text.replace("\u2212", "-").replace("\u2013", "-")
    if text.lower().lstrip("+-") in _NO_NUMBERS:
        return float("nan")
    if decimal_comma and text.count(",") == 1:
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return None
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def unescape(text: str) -> str:
    """`text` with the escapes of JSON and Python resolved; an unknown escape stays as it is."""
    return _ESCAPE.sub(_resolve, text) if "\\" in text else text


def _resolve(match: re.Match) -> str:
    written = match.group()
    if len(written) == 12:  # two halves of one character beyond the basic plane, as JSON writes it
        high, low = int(written[2:6], 16), int(written[8:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    digits = next((group for group in match.groups() if group), None)
    if digits:
        code = int(digits, 16)
        return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else "\ufffd"
    return _ESCAPES.get(written[1], written)


def read_groups(text: str, decimal_comma: bool = False) -> Reading:
    """Read every bracket of `text` that is not inside another; text outside brackets is skipped.

    decimal_comma: read `0,75` inside a bracket as one number.
    """
    return _Reader(text, decimal_comma).read()


class _Reader:
    """The state of one pass: position, open brackets, and whether the last item still lacks a separator."""

    def __init__(self, text: str, decimal_comma: bool):
        self.text, self.decimal_comma = text, decimal_comma
        self.position, self.stack, self.start = 0, [], 0
        self.joined = False  # an item was read and no comma, colon or line break followed yet
        self.key: Atom | None = None
        self.reading = Reading([], [], set())

    def read(self) -> Reading:
        text, length = self.text, len(self.text)
        while self.position < length:
            if not self.stack:
                opening = _OPENING.search(text, self.position)
                if opening is None:
                    break
                self.position = opening.start()
            sign = text[self.position]
            if space := _SPACE.match(text, self.position):
                self.position = space.end()
            elif sign in CLOSER:
                self.open(sign)
            elif sign in ")]}":
                self.close(sign)
            elif sign in ",，、\n":
                self.separate(sign)
            elif sign == ":":
                self.make_key()
            elif sign in QUOTES and (not self.joined or text[self.position - 1] in " \t"):
                self.add_string(self.position)
            elif sign in "ubrUBR" and not self.joined and text[self.position + 1 : self.position + 2] in ("'", '"'):
                self.add_string(self.position + 1)
            else:
                self.add_bare()
        if self.stack:
            self.reading.repairs.add("cut off")
            self.finish_root(length)
        return self.reading

    def open(self, sign: str) -> None:
        if not self.stack:
            self.start = self.position
        self.position += 1
        if len(self.stack) >= MAX_DEPTH:
            self.reading.repairs.add("deep nesting")
            return
        group = Group(sign, key=self.key)
        if self.stack:
            items = self.stack[-1].items
            group.gloss = self.joined and sign == "(" and isinstance(items[-1], Atom)
            items.append(group)
        self.stack.append(group)
        self.key, self.joined = None, False

    def close(self, sign: str) -> None:
        self.position += 1
        depth = next((d for d in range(len(self.stack) - 1, -1, -1) if CLOSER[self.stack[d].opener] == sign), None)
        if depth is None:
            self.reading.repairs.add("brackets")
            return
        if depth < len(self.stack) - 1:
            self.reading.repairs.add("brackets")
        self.key, self.joined = None, depth > 0
        if depth == 0:
            self.finish_root(self.position)
        else:
            del self.stack[depth:]

    def finish_root(self, end: int) -> None:
        self.reading.roots.append(self.stack[0])
        self.reading.spans.append((self.start, end))
        self.stack, self.joined, self.key = [], False, None

    def separate(self, sign: str) -> None:
        self.position += 1
        self.joined = False
        if sign != "\n":
            self.key = None

    def make_key(self) -> None:
        self.position += 1
        items = self.stack[-1].items
        if self.joined and items and isinstance(items[-1], Atom) and items[-1].key is None:
            self.key, self.joined = items.pop(), False

    def add(self, text: str, quote: str = "") -> None:
        self.stack[-1].items.append(Atom(text, bool(quote), quote, self.key))
        self.key, self.joined = None, True

    def add_string(self, start: int) -> None:
        """Read a string: it ends at a quote that something structural follows, or else at the end of its line."""
        text, quote = self.text, self.text[start]
        closers, first_inner, position = QUOTES[quote], None, start + 1
        while stop := _STRING_STOP.search(text, position):
            position = stop.start()
            sign = text[position]
            if sign == "\\":
                position += 2
            elif sign == "\n":
                break
            elif sign in closers:
                if _AFTER_STRING.match(text, position + 1):
                    if first_inner is not None:
                        self.reading.repairs.add("inner quotes")
                    return self.end_string(text[start + 1 : position], position + 1, quote)
                first_inner = position if first_inner is None else first_inner
                position += 1
            else:
                position += 1
        end = min(len(text), position) if stop else len(text)
        self.reading.repairs.add("unclosed quote" if stop else "cut off")
        # A quote inside may have been the true end, with a remark behind it.
        self.end_string(text[start + 1 : end if first_inner is None else first_inner], end, quote)

    def end_string(self, raw: str, position: int, quote: str) -> None:
        self.position = position
        if raw or quote == '"':
            self.add(unescape(raw), quote)
        else:  # treebanks write quotation marks as `` and '': an empty string is such a word without its quotes
            self.add(quote * 2)

    def add_bare(self) -> None:
        if self.decimal_comma and not self.joined and (number := _COMMA_NUMBER.match(self.text, self.position)):
            self.position = number.end()
            return self.add(number.group())
        run = _BARE.match(self.text, self.position)
        self.position = run.end() if run else self.position + 1
        # Without a comma before it, anything but a number is a remark about the item, and no item itself.
        if run and (not self.joined or read_number(run.group()) is not None):
            self.add(run.group().strip())

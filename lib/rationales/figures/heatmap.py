"""One sentence as HTML, one row per explanation, so that explanations can be compared word by word.

Words of corpora and models are untrusted: every text is escaped, there is no script and nothing is loaded. What colour
says, elements say as well (bold, underlined, italic), because a page that strips styles keeps these.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from rationales.errors import StudyError
from rationales.metrics.selection import inclusion_probabilities, require_k, resolve_k

SUPPORTS, AGAINST = "#0072B2", "#E69F00"  # blue and orange of Okabe and Ito: told apart by all kinds of colour vision
WORDS_PER_BLOCK, CHARACTERS_PER_BLOCK = 12, 84
LARGEST_ALPHA = 0.6  # keeps the contrast with JupyterLab's text, light or dark, above 4.5 (WCAG 2)
SET_STRENGTH = 0.6
HATCH = "repeating-linear-gradient(45deg,#888888 0,#888888 1px,transparent 1px,transparent 5px)"
CELL = "border:1px solid transparent;padding:2px 5px;text-align:left"  # said of each cell: themes set these
HEAD = "padding:2px 10px 2px 0;text-align:left;vertical-align:top;font-weight:normal;white-space:nowrap;border:0"
TABLE = (
    "border-collapse:separate;border-spacing:2px;table-layout:auto;margin:0 0 8px 0;font-size:13px;border:0;"
    "overflow-wrap:anywhere"
)
# Both names: MathJax 2 and 3 must leave dollar signs in a text alone.
WRAPPER = '<div class="tex2jax_ignore mathjax_ignore" style="overflow-x:auto">'


def rationale_heatmap(
    words: Sequence[str],
    rows: Sequence[Mapping],
    title: str = "",
    predicted: str | None = None,
    label: str | None = None,
    k: int | None = None,
) -> str:
    """Return HTML of one text with one row per explanation, words aligned in columns, in blocks of about 12 words.

    rows: mappings with `name` and optionally
      - scores (n_words,): blue supports the predicted label, orange (and italic) speaks against it, full colour at the
        row's largest absolute score; a NaN is hatched with a question mark;
      - selected: word indices, or one truth value per word: outlined and filled; with scores, outlined only;
      - k: the number of words to mark in a row of scores; by default the argument `k`, else a fifth of the words;
      - note: shown at the end of the row, such as "invalid: no list in the reply".
    Selected and certain top-k words are bold and underlined; words tied for the last places are underlined only.
    A row without scores and selection shows the plain words. The title of each word holds its score.
    Raises StudyError for no words, a row without a name, or lengths and indices that do not fit the words.
    """
    texts = [str(word) for word in words]
    if not texts:
        raise StudyError("There are no words to show; give the words of one example.")
    if not rows:
        raise StudyError("There are no explanations to show; give at least one row.")
    prepared = [(row, *_marks_of(row, len(texts), k)) for row in rows]
    blocks = []
    for start, end in _split_blocks(texts):
        lines = "".join(_line(texts, row, scores, marks, start, end) for row, scores, marks in prepared)
        blocks.append(f'<table style="{TABLE}"><tbody>{lines}</tbody></table>')
    return f"{WRAPPER}{_heading(title, predicted, label)}{''.join(blocks)}{_legend()}</div>"


def _marks_of(row: Mapping, n_words: int, k: int | None) -> tuple[np.ndarray | None, np.ndarray]:
    """Scores (n_words,) or None, and per word 1 (selected, in the top k), 0, or between (tied for the last places)."""
    name = row.get("name")
    if not name:
        raise StudyError("A row has no name; name the explanation that it shows.")
    scores, selected = row.get("scores"), row.get("selected")
    if scores is not None:
        scores = np.asarray(scores, dtype=float)
        if scores.shape != (n_words,):
            raise StudyError(f"Row '{name}' has {scores.size} scores for {n_words} words; give one score per word.")
    if selected is not None:
        return scores, _mask_of(selected, n_words, str(name)).astype(float)
    marks = np.zeros(n_words)
    if scores is not None and np.isfinite(scores).any():
        finite = np.isfinite(scores)
        wanted = row.get("k", k)
        size = resolve_k("fifth", n_words) if wanted is None else require_k(wanted, n_words)
        marks[finite] = inclusion_probabilities(scores[finite], min(size, int(finite.sum())))
    return scores, marks


def _mask_of(selected: Sequence, n_words: int, name: str) -> np.ndarray:
    chosen = list(selected)
    if len(chosen) == n_words and all(isinstance(value, (bool, np.bool_)) for value in chosen):
        return np.array(chosen, dtype=bool)
    mask = np.zeros(n_words, dtype=bool)
    for index in chosen:
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < n_words:
            raise StudyError(
                f"Row '{name}' selects {index!r}; give word indices from 0 to {n_words - 1}, or {n_words} truth values."
            )
        mask[int(index)] = True
    return mask


def _split_blocks(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each block: at most 12 words, and fewer where they are long."""
    start, width = 0, 0
    for position, word in enumerate(words):
        if position > start and (position - start == WORDS_PER_BLOCK or width + len(word) > CHARACTERS_PER_BLOCK):
            yield start, position
            start, width = position, 0
        width += len(word) + 1
    yield start, len(words)


def _line(
    words: Sequence[str], row: Mapping, scores: np.ndarray | None, marks: np.ndarray, start: int, end: int
) -> str:
    finite = np.abs(scores[np.isfinite(scores)]) if scores is not None else np.array([])
    largest = float(finite.max()) if finite.size else 0.0
    is_set = row.get("selected") is not None
    cells = "".join(
        _cell(words[i], None if scores is None else float(scores[i]), marks[i], largest, is_set)
        for i in range(start, end)
    )
    note = f'<td style="{HEAD};font-style:italic">{_clean(row["note"])}</td>' if row.get("note") else ""
    head = f'<th scope="row" style="{HEAD};min-width:9em">{_clean(row["name"])}</th>'
    return f'<tr style="background:transparent">{head}{cells}{note}</tr>'


def _cell(word: str, score: float | None, mark: float, largest: float, is_set: bool) -> str:
    style, facts = CELL, []
    text = f"<span>{_clean(word)}</span>"
    if score is None:
        if mark == 1:
            style += f";{_paint(SUPPORTS, SET_STRENGTH)}"
    elif np.isfinite(score):
        facts.append(f"score {score:+.4g}")
        strength = abs(score) / largest if largest else 0.0
        if strength:
            style += f";{_paint(SUPPORTS if score > 0 else AGAINST, strength)}"
        if score < 0:
            text = f"<i>{text}</i>"
    else:
        facts.append("score undefined")
        style += f";background-image:{HATCH}"
        text += "<sup>?</sup>"
    if mark == 1:
        facts.append("selected" if is_set else "in the top k")
        style += ";border:1px solid currentColor" if is_set else ""
        text = f"<b><u>{text}</u></b>"
    elif mark > 0:
        facts.append(f"tied: in the top k with probability {mark:.2f}")
        text = f"<u>{text}</u>"
    tip = f' title="{_clean(", ".join(facts))}"' if facts else ""
    return f'<td style="{style}"{tip}>{text}</td>'


def _paint(color: str, strength: float) -> str:
    """A translucent background: weak scores fade into the page, light or dark, whose own text colour stays."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"background-color:rgba({red},{green},{blue},{LARGEST_ALPHA * strength:.2f})"


def _heading(title: str, predicted: str | None, label: str | None) -> str:
    facts = []
    if predicted is not None:
        facts.append(f"predicted: {_clean(predicted)}")
    if label is not None:
        facts.append(f"label: {_clean(label)}")
    if predicted is not None and label is not None:
        facts.append("correct" if predicted == label else "wrong")
    parts = [f"<b>{_clean(title)}</b>"] if title else []
    parts += [" \N{MIDDLE DOT} ".join(facts)] if facts else []
    return f'<p style="margin:0 0 4px 0">{" &nbsp; ".join(parts)}</p>' if parts else ""


def _legend() -> str:
    blue, orange = (
        f'<span style="{_paint(color, 1)};padding:0 4px">{name}</span>'
        for color, name in ((SUPPORTS, "Blue"), (AGAINST, "orange"))
    )
    return (
        f'<p style="margin:0;font-size:12px">{blue} supports the predicted label, {orange} (<i>italic</i>) speaks '
        "against it. <b><u>Bold</u></b>: selected, or in the top k; <u>underlined</u> only: tied for its last places. "
        "<sup>?</sup>: undefined.</p>"
    )


def _clean(text: object) -> str:
    """Escape a text for elements and attributes; control characters and lone surrogates become U+FFFD."""
    shown = "".join("\N{REPLACEMENT CHARACTER}" if _is_unsafe(ord(character)) else character for character in str(text))
    return escape(shown, quote=True)


def _is_unsafe(code: int) -> bool:
    # C0 and C1 controls, surrogates, and the marks that turn the direction of the text around them
    return (
        (code < 32 and code not in (9, 10, 13))
        or 127 <= code < 160
        or 0xD800 <= code < 0xE000
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
    )

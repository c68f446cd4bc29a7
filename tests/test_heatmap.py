"""The HTML of rationales: hostile words stay words, and what colour says is said without colour too."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rationales.errors import StudyError
from rationales.figures.heatmap import rationale_heatmap

HOSTILE = [
    "<script>alert(1)</script>",
    '"onmouseover=alert(1)',
    "'onclick='x",
    "&amp;",
    "&lt;b&gt;",
    "</td></tr></table>",
    "<img/src=x/onerror=alert(1)>",
    "-->",
    "<!--",
    "$x^2$",
    "javascript:alert(1)",
    "]]>",
    "æøå",
]
ELEMENTS = {"div", "p", "table", "tbody", "tr", "th", "td", "span", "b", "u", "i", "sup"}
ATTRIBUTES = {"style", "title", "class", "scope"}


class Page(HTMLParser):
    """The rows of the tables: (name, cells, note); a cell is {text, title, style, tags}."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.rows, self.tables = set(), set(), [], 0
        self.open, self.paragraphs, self.comments = [], [], []
        self.feed(html)
        self.close()
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attributes}
        facts = dict(attributes)
        self.open.append(tag)
        if tag == "table":
            self.tables += 1
        elif tag == "tr":
            self.rows.append({"table": self.tables, "name": "", "cells": [], "note": ""})
        elif tag == "td":
            cell = {"text": "", "marks": "", "title": facts.get("title"), "style": facts["style"], "tags": set()}
            self.rows[-1]["cells"].append(cell)
        elif tag == "p":
            self.paragraphs.append("")
        elif "td" in self.open:
            self.rows[-1]["cells"][-1]["tags"].add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "elements cross"
        if tag == "tr" and "span" not in self.rows[-1]["cells"][-1]["tags"]:
            self.rows[-1]["note"] = self.rows[-1]["cells"].pop()["text"]  # only words stand in a span

    def handle_data(self, data):
        if "td" in self.open:
            self.rows[-1]["cells"][-1]["marks" if self.open[-1] == "sup" else "text"] += data
        elif "th" in self.open:
            self.rows[-1]["name"] += data
        elif "p" in self.open:
            self.paragraphs[-1] += data
        else:
            raise AssertionError(f"text outside the tables: {data!r}")

    def handle_comment(self, data):
        self.comments.append(data)

    def handle_decl(self, decl):
        self.comments.append(decl)

    unknown_decl = handle_pi = handle_decl

    def cells_of(self, name):
        """The cells of one explanation, over all blocks."""
        return [cell for row in self.rows if row["name"] == name for cell in row["cells"]]


def read(words, *rows, **options):
    page = Page(rationale_heatmap(words, list(rows), **options))
    assert page.elements <= ELEMENTS and page.attributes <= ATTRIBUTES and page.comments == []
    return page


def test_hostile_texts_stay_texts_everywhere():
    scores = np.linspace(-1, 1, len(HOSTILE))
    scores[2] = np.nan
    for hostile in HOSTILE:
        page = read(
            HOSTILE,
            {"name": hostile, "scores": scores, "note": f"invalid: {hostile}"},
            {"name": "set", "selected": [0, 2]},
            title=hostile,
            predicted=hostile,
            label="pos",
        )
        assert [cell["text"] for cell in page.cells_of(hostile)] == HOSTILE
        assert [cell["text"] for cell in page.cells_of("set")] == HOSTILE
        assert {row["note"] for row in page.rows if row["name"] == hostile} == {f"invalid: {hostile}"}
        assert page.paragraphs[0].startswith(hostile) and f"predicted: {hostile}" in page.paragraphs[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30).filter(lambda t: not re.search(r"\s", t)), min_size=1, max_size=30))
def test_any_words_come_out_as_they_went_in(words):
    page = read(words, {"name": "a", "scores": np.arange(len(words)) - 2.0}, {"name": "b"})
    unsafe = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
    expected = [re.sub(unsafe, "\ufffd", word) for word in words]
    assert [cell["text"] for cell in page.cells_of("a")] == expected
    assert [cell["text"] for cell in page.cells_of("b")] == expected


def test_the_page_can_be_stored_and_loads_nothing():
    html = rationale_heatmap(["\ud800x", "\x00y", "\u202egnirts"], [{"name": "a"}])
    assert html.encode("utf-8").count("\N{REPLACEMENT CHARACTER}".encode()) == 3
    assert not re.search(r"https?:|//|url\(|@import|<script|<style|<link|<img", html)
    assert "tex2jax_ignore mathjax_ignore" in html  # dollar signs are not mathematics


def test_words_stand_in_blocks_of_twelve_with_every_row_in_each():
    words = [f"w{i}" for i in range(30)]
    page = read(words, {"name": "a", "scores": np.arange(30.0)}, {"name": "b", "selected": [29]})
    assert page.tables == 3
    assert [(row["table"], row["name"], len(row["cells"])) for row in page.rows] == [
        (1, "a", 12),
        (1, "b", 12),
        (2, "a", 12),
        (2, "b", 12),
        (3, "a", 6),
        (3, "b", 6),
    ]
    long = read(["x" * 60] * 4, {"name": "a"})
    assert [len(row["cells"]) for row in long.rows] == [1, 1, 1, 1]  # two such words would be too wide


def alpha(cell):
    """(red, green, blue, alpha) of the background, or None."""
    found = re.search(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)", cell["style"])
    return tuple(float(group) for group in found.groups()) if found else None


def test_scores_have_sign_strength_and_a_title():
    page = read(list("abcd"), {"name": "s", "scores": [0.5, -1.0, 0.0, 0.25]}, k=2)
    a, b, c, d = page.cells_of("s")
    assert alpha(a)[2] > alpha(a)[0] and alpha(b)[0] > alpha(b)[2]  # blue supports, orange is against
    assert alpha(a)[3] == pytest.approx(alpha(b)[3] / 2) and alpha(d)[3] == pytest.approx(alpha(b)[3] / 4)
    assert alpha(c) is None
    assert [cell["title"].split(",")[0] for cell in (a, b, c, d)] == [
        "score +0.5",
        "score -1",
        "score +0",
        "score +0.25",
    ]
    assert [cell["tags"] - {"span"} for cell in (a, b, c, d)] == [{"b", "u"}, {"i"}, set(), {"b", "u"}]


def contrast(first, second):
    """Contrast ratio of WCAG 2 of two opaque colours, channels from 0 to 255."""

    def luminance(color):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(color) / 255]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted([luminance(first), luminance(second)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("page_color", "text_color"), [((255, 255, 255), (33, 33, 33)), ((17, 17, 17), (255, 255, 255))]
)
def test_text_of_the_theme_is_readable_on_every_cell(page_color, text_color):
    page = read(list("abc"), {"name": "s", "scores": [1.0, -1.0, 0.3]}, {"name": "set", "selected": [0]})
    for cell in page.cells_of("s") + page.cells_of("set")[:1]:
        *color, strength = alpha(cell)
        shown = [strength * c + (1 - strength) * p for c, p in zip(color, page_color, strict=True)]
        assert contrast(shown, text_color) > 4.5
        assert not re.search(r"(^|;)color:", cell["style"])  # the theme's own


def test_top_k_marks_leave_ties_open():
    tied = read(list("abcde"), {"name": "s", "scores": [3.0, 2.0, 2.0, 1.0, 0.0], "k": 2}, k=5)
    assert [cell["tags"] & {"b", "u"} for cell in tied.cells_of("s")] == [{"b", "u"}, {"u"}, {"u"}, set(), set()]
    assert "tied: in the top k with probability 0.50" in tied.cells_of("s")[1]["title"]
    fifth = read([f"w{i}" for i in range(10)], {"name": "s", "scores": np.arange(10.0)})
    assert [i for i, cell in enumerate(fifth.cells_of("s")) if "b" in cell["tags"]] == [8, 9]
    constant = read(list("abcd"), {"name": "s", "scores": np.ones(4)}, k=2)
    assert not any("b" in cell["tags"] for cell in constant.cells_of("s"))


def test_undefined_scores_are_hatched_and_never_on_top():
    page = read(list("abc"), {"name": "s", "scores": [np.nan, 1.0, 0.5]}, {"name": "all", "scores": [np.nan] * 3}, k=3)
    first, second, _ = page.cells_of("s")
    assert first["marks"] == "?" and "gradient" in first["style"] and first["title"] == "score undefined"
    assert "b" not in first["tags"] and "b" in second["tags"] and second["marks"] == ""
    assert [cell["marks"] for cell in page.cells_of("all")] == ["?", "?", "?"]


@pytest.mark.parametrize(
    "selected", [[0, 2], (2, 0), np.array([0, 2]), [True, False, True], np.array([1, 0, 1], dtype=bool)]
)
def test_sets_as_indices_or_masks(selected):
    page = read(list("abc"), {"name": "set", "selected": selected})
    assert [cell["tags"] & {"b", "u"} for cell in page.cells_of("set")] == [{"b", "u"}, set(), {"b", "u"}]
    assert ["currentColor" in cell["style"] for cell in page.cells_of("set")] == [True, False, True]
    assert [cell["title"] for cell in page.cells_of("set")] == ["selected", None, "selected"]


def test_set_with_scores_and_empty_set_and_plain_row():
    page = read(
        list("ab"),
        {"name": "both", "selected": [1], "scores": [1.0, -1.0]},
        {"name": "none", "selected": []},
        {"name": "invalid", "scores": None, "selected": None, "note": "invalid: no list"},
    )
    assert page.cells_of("both")[1]["title"] == "score -1, selected"
    assert page.cells_of("both")[1]["tags"] == {"span", "b", "u", "i"}
    for name in ("none", "invalid"):
        assert all(alpha(cell) is None and cell["tags"] == {"span"} for cell in page.cells_of(name))
    assert page.rows[2]["note"] == "invalid: no list"


@pytest.mark.parametrize(
    ("predicted", "label", "text"),
    [
        ("pos", "pos", "predicted: pos · label: pos · correct"),
        ("pos", "neg", "predicted: pos · label: neg · wrong"),
        (None, "neg", "label: neg"),
    ],
)
def test_heading(predicted, label, text):
    page = read(["a"], {"name": "x"}, predicted=predicted, label=label)
    assert page.paragraphs[0] == text


@pytest.mark.parametrize(
    ("words", "rows", "message"),
    [
        ([], [{"name": "a"}], "no words"),
        (["a"], [], "no explanations"),
        (["a"], [{"scores": [1.0]}], "has no name"),
        (["a"], [{"name": "x", "scores": [1.0, 2.0]}], "2 scores for 1 words"),
        (["a", "b"], [{"name": "x", "selected": [2]}], "selects 2"),
        (["a", "b"], [{"name": "x", "selected": [-1]}], "selects -1"),
        (["a", "b"], [{"name": "x", "selected": [True]}], "selects True"),
        (["a", "b"], [{"name": "x", "selected": ["a"]}], "selects 'a'"),
        (["a", "b"], [{"name": "x", "scores": [1.0, 2.0], "k": 3}], "k is 3"),
    ],
)
def test_refuses(words, rows, message):
    with pytest.raises(StudyError, match=message):
        rationale_heatmap(words, rows)

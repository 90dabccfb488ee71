"""HTML that data cannot break, colours that can be read."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import palette
from dashboard.pieces.words import aligned
from influence.report.markup import Markup, join, tag, text
from training.evaluation.wer import align

HOSTILE = "<script>alert('x')</script>\" onclick=\"x"


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.text(), st.text())
def test_text_stays_text(content: str, attribute: str) -> None:
    seen = Tags(tag("p", content, title=attribute))
    assert seen.tags == ["p"]
    assert seen.attributes == ["title"]


def test_hostile_words_are_shown_and_not_run() -> None:
    pairs = align(f"{HOSTILE} two", f"one {HOSTILE}")
    seen = Tags(aligned(pairs))
    assert set(seen.tags) <= {"div", "span", "b"}
    assert not [a for a in seen.attributes if a.startswith("on")]
    assert "<script>alert('x')</script>\"" in seen.texts


def test_only_markup_is_taken_as_html() -> None:
    assert text("<b>") == "&lt;b&gt;"
    assert text(Markup("<b>")) == "<b>"
    assert text(["<i>", tag("b", "x"), None or ""]) == "&lt;i&gt;<b>x</b>"
    assert join(["a", "<"], " · ") == "a · &lt;"
    assert tag("button", "x", disabled=True, hidden=False, data_pick=0) == '<button disabled data-pick="0">x</button>'


@pytest.mark.parametrize("step", range(-20, 21))
def test_text_on_every_colour_is_readable(step: int) -> None:
    shade = palette.shade(step / 20, 1.0)
    assert palette.contrast(shade.fill, shade.ink) >= 4.5


def test_the_scale_is_centred_at_zero() -> None:
    assert palette.shade(0.0, 5.0).fill == "#fcfcfc"
    assert palette.shade(9.0, 1.0) == palette.shade(1.0, 1.0)
    assert palette.shade(1.0, 0.0).fill == "#fcfcfc"
    red = [int(palette.shade(v / 10, 1.0).fill[1:3], 16) for v in range(11)]
    blue = [int(palette.shade(-v / 10, 1.0).fill[5:], 16) for v in range(11)]
    assert red == sorted(red, reverse=True)
    assert blue == sorted(blue, reverse=True)

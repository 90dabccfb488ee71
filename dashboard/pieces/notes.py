"""Words around the charts: how to read one, and what to do where there is nothing to show."""

from __future__ import annotations

from influence.report.markup import Content, Markup, tag


def reading(content: Content) -> Markup:
    """How to read a chart, in a sentence."""
    return tag("p", content, class_="em-reading")


def nothing(what: str, why: str, command: str) -> Markup:
    """An empty place: what is missing, why one would want it, and the command that makes it."""
    return tag(
        "div",
        [tag("p", what, class_="em-empty-what"), tag("p", why), tag("p", ["Run: ", tag("code", command)])],
        class_="em-empty",
    )


def status(ok: bool, content: Content) -> Markup:
    """A state in words, with a sign and a colour beside them."""
    sign = tag("span", "✓" if ok else "!", class_="em-sign", aria_hidden="true")
    return tag("p", [sign, tag("span", content)], class_="em-status em-ok" if ok else "em-status em-bad", role="status")

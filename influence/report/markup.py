"""HTML that cannot be broken by what is in the data.

`tag` builds an element whose text and attributes are escaped; only what `tag` and its friends made (`Markup`) is taken as
HTML. So a transcript of `<script>` is shown as these eight characters, wherever it goes, and characters that neither HTML nor
XML has room for (NUL and its like) as U+FFFD.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape as _escape
from typing import TypeAlias


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


_NOWHERE = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(55296, 57344), 65534, 65535), "�")

Content: TypeAlias = "str | Markup | Iterable[str | Markup] | None"


def text(content: Content) -> Markup:
    """Anything as HTML: text escaped, markup as it is, several things one after the other."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(escape(content))
    return Markup("".join(text(part) for part in content))


def tag(name: str, content: Content = None, /, **attributes: str | int | float | bool | None) -> Markup:
    """An element. `class_` is the class, `aria_label` the attribute `aria-label`; None and False leave an attribute out."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        parts.append(shown if value is True else f'{shown}="{escape(str(value))}"')
    return Markup(f"<{' '.join(parts)}>{text(content)}</{name}>")


def join(parts: Iterable[str | Markup], between: str | Markup = "") -> Markup:
    """Several things with something between them."""
    return Markup(text(between).join(text(part) for part in parts))


def escape(content: str) -> str:
    """Text as it may stand in an element or, within double quotes, in an attribute."""
    return _escape(content.translate(_NOWHERE))

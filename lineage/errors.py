"""Errors written for the person who reads them: what is wrong, where, and the mend, in one line.

The command line prints the message of any `EarmarkError` and exits with status 2; everything else is a defect of ours
and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EarmarkError(Exception):
    """Something the caller can mend; `str(error)` is one complete line for a person."""


class UnknownName(EarmarkError):
    """A slice, set, run, model, sample or column that is not on record; the message says what is."""

    def __init__(self, kind: str, name: str, known: Iterable[str], mend: str = "") -> None:
        names = sorted({str(k) for k in known})
        close = difflib.get_close_matches(name, names, n=1)
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        hint = f" — did you mean '{close[0]}'?" if close else ""
        exist = f"; on record: {shown}" if names else "" if mend else f"; there is no {kind} on record yet"
        super().__init__(f"no {kind} '{name}'{hint}{exist}{'; ' + mend if mend else ''}")


class Conflict(EarmarkError):
    """Another run was faster at something that only one may do; nothing was recorded, and trying again is safe."""


class AmbiguousName(EarmarkError):
    """A prefix that fits several ids."""

    def __init__(self, kind: str, name: str, matches: Iterable[str]) -> None:
        shown = ", ".join(list(matches)[:4])
        super().__init__(f"{kind} '{name}' is ambiguous: it fits {shown} — type more of the id")


def shown(value: object) -> str:
    """A value as a message may show it: short, on one line, printable."""
    text = str(value)[:61]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "·" for c in text)
    return text if len(text) <= 60 else text[:59] + "…"

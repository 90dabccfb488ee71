"""Licences as SPDX expressions: `CC-BY-4.0`, `MIT AND CC0-1.0`, `(Apache-2.0 OR MIT) AND CC-BY-4.0`.

AND binds closer than OR, WITH closer than both (SPDX 3.0, annex B). `AND` means that the terms of all parts hold at once, as
those of the parents of a mix do; `OR` that whoever uses it may choose. `NOASSERTION` says that nobody knows.

Laws: `parse(str(e)) == e`; `e.allowed(some)` implies `e.allowed(some | more)`; the joint licence of some parts is allowed
exactly if every part is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from lineage.errors import EarmarkError

NOBODY_KNOWS = "NOASSERTION"
TOKEN = re.compile(r"\s*(?:([()])|([^\s()]+))")
IDENTIFIER = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?[A-Za-z0-9][A-Za-z0-9.-]*\+?")
MAX_TOKENS = 200
WORDS = ("AND", "OR", "WITH")

# Licences that data sets, models and code commonly bear; any other identifier is accepted and told to be unknown.
COMMON = """
    0BSD AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0
    C-UDA-1.0 CC-BY-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-3.0-AT CC-BY-3.0-DE CC-BY-3.0-US CC-BY-4.0
    CC-BY-NC-1.0 CC-BY-NC-2.0 CC-BY-NC-2.5 CC-BY-NC-3.0 CC-BY-NC-4.0
    CC-BY-NC-ND-1.0 CC-BY-NC-ND-2.0 CC-BY-NC-ND-2.5 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0
    CC-BY-NC-SA-1.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-2.5 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0
    CC-BY-ND-1.0 CC-BY-ND-2.0 CC-BY-ND-2.5 CC-BY-ND-3.0 CC-BY-ND-4.0
    CC-BY-SA-1.0 CC-BY-SA-2.0 CC-BY-SA-2.5 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-PDDC CC-PDM-1.0 CC0-1.0
    CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 DL-DE-BY-2.0 DL-DE-ZERO-2.0 ECL-2.0 EPL-2.0
    EUPL-1.1 EUPL-1.2 etalab-2.0 GFDL-1.3-only GFDL-1.3-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only
    GPL-3.0-or-later ISC LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MIT MIT-0 MPL-2.0
    MS-PL NCGL-UK-2.0 NLOD-1.0 NLOD-2.0 O-UDA-1.0 OASIS-Community ODbL-1.0 ODC-By-1.0 OGL-Canada-2.0
    OGL-UK-1.0 OGL-UK-2.0 OGL-UK-3.0 OFL-1.1 PDDL-1.0 PostgreSQL PSF-2.0 Python-2.0 TAPR-OHL-1.0 Unlicense
    UPL-1.0 WTFPL Zlib
"""
KNOWN = frozenset(COMMON.split())
_BY_LOWER = {name.lower(): name for name in KNOWN}


@dataclass(frozen=True)
class Expression:
    """A licence by name (`operator` is empty), or parts joined by 'AND' or 'OR'; WITH is part of the name."""

    name: str = ""
    operator: str = ""
    parts: tuple[Expression, ...] = ()

    def __str__(self) -> str:
        if not self.operator:
            return self.name
        inner = (f"({p})" if p.operator == "OR" and self.operator == "AND" else str(p) for p in self.parts)
        return f" {self.operator} ".join(inner)

    @property
    def names(self) -> frozenset[str]:
        """Every licence in it."""
        return frozenset({self.name}) if not self.operator else frozenset().union(*(p.names for p in self.parts))

    def allowed(self, licences: Collection[str]) -> bool:
        """Whether it can be used by someone who may use just these: every part of an AND, one part of an OR."""
        if not self.operator:
            return self.name in licences
        some = (p.allowed(licences) for p in self.parts)
        return all(some) if self.operator == "AND" else any(some)


def parse(text: str) -> Expression:
    """The expression that a text is; known identifiers are put in their usual spelling.

    Raises:
        EarmarkError: it is none; says where.
    """
    return _Parser(text).whole()


def unknown(expression: Expression) -> list[str]:
    """Identifiers that are neither known nor marked as one's own (`LicenseRef-…`), with what may have been meant."""
    said = []
    for name in sorted(expression.names):
        first = name.split(" WITH ")[0].removesuffix("+")
        if first in KNOWN or first == NOBODY_KNOWS or first.startswith(("LicenseRef-", "DocumentRef-")):
            continue
        close = difflib.get_close_matches(first, KNOWN, n=1)
        said.append(f"{first} (did you mean {close[0]}?)" if close else first)
    return said


def joint(licences: Iterable[str | None]) -> str | None:
    """The terms of a whole whose parts have these licences: all of them at once; None if none of them is known.

    A licence that is no expression stands as it is, for ingestion takes licences as manifests spell them.
    """
    given = list(dict.fromkeys(licences))
    if not any(given):
        return None
    parts: set[str] = set()
    for licence in given:
        try:
            read = parse(licence or NOBODY_KNOWS)
        except EarmarkError:
            parts.add(licence or NOBODY_KNOWS)
            continue
        if read.operator == "AND":
            parts.update(f"({p})" if p.operator else str(p) for p in read.parts)
        else:
            parts.add(f"({read})" if read.operator else str(read))
    ordered = sorted(parts)
    alone = len(ordered) == 1 and ordered[0].startswith("(")
    return ordered[0][1:-1] if alone else " AND ".join(ordered)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [a or b for a, b in TOKEN.findall(text)]
        self._at = 0
        if not self._tokens or len(self._tokens) > MAX_TOKENS:
            raise self._error("it is empty" if not self._tokens else "it is too long")

    def whole(self) -> Expression:
        found = self._joined("OR")
        if self._at < len(self._tokens):
            raise self._error(f"'{self._tokens[self._at]}' is not expected there")
        return found

    def _joined(self, operator: str) -> Expression:
        parts: list[Expression] = []
        while True:
            part = self._joined("AND") if operator == "OR" else self._single()
            parts += part.parts if part.operator == operator else (part,)
            if not self._take(operator):
                break
        return parts[0] if len(parts) == 1 else Expression(operator=operator, parts=tuple(parts))

    def _single(self) -> Expression:
        if self._take("("):
            inner = self._joined("OR")
            if not self._take(")"):
                raise self._error("a bracket is not closed")
            return inner
        name = self._identifier()
        return Expression(f"{name} WITH {self._identifier()}" if self._take("WITH") else name)

    def _identifier(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        if token.upper() in WORDS or not IDENTIFIER.fullmatch(token):
            raise self._error(f"'{token}' is no licence identifier" if token else "it breaks off")
        self._at += 1
        return _BY_LOWER.get(token.lower(), token)

    def _take(self, token: str) -> bool:
        taken = self._at < len(self._tokens) and self._tokens[self._at].upper() == token
        self._at += taken
        return taken

    def _error(self, problem: str) -> EarmarkError:
        shown = "".join(c if c.isprintable() else "·" for c in self._text[:80])
        return EarmarkError(f"licence '{shown}': {problem} — write SPDX, e.g. CC-BY-4.0 or 'MIT AND CC0-1.0'")

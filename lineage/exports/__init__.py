"""Exports: a set or a model of the record in a form that somebody else works with, with the evidence beside it.

One file a format: it makes a `Format` and hands it to `register`; nothing else has to be edited. What all formats have in
common (the run on record, the folder that appears whole or not at all, the proofs) is in `share`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineage.errors import EarmarkError, UnknownName
from lineage.machine.environment import package_versions

if TYPE_CHECKING:
    from lineage.exports.parcel import Parcel


@dataclass(frozen=True)
class Format:
    """One way of handing on: `of` is what can be ('set', 'model'), `personal` whether words and names go along always.

    `write` fills the parcel's folder. Packages that it needs besides Earmark's own are in the extra `exports`. A format
    of sets speaks of single samples, so their ids go along as proof of which they are.
    """

    name: str
    doc: str
    of: tuple[str, ...]
    personal: bool
    write: Callable[[Parcel], None]


_FORMATS: dict[str, Format] = {}


def register(format: Format) -> Format:
    """Make a format known."""
    _FORMATS[format.name] = format
    return format


def formats() -> list[Format]:
    """All known formats: every module of this package registers its own when imported."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return [_FORMATS[name] for name in sorted(_FORMATS)]


def find(name: str) -> Format:
    """The format of that name.

    Raises:
        UnknownName: there is none; the message lists them.
    """
    known = {f.name: f for f in formats()}
    if name not in known:
        raise UnknownName("export format", name, known)
    return known[name]


def need(package: str) -> None:
    """Raise `EarmarkError` unless a package of the extra `exports` is installed."""
    if not package_versions(package):
        raise EarmarkError(f"this format needs {package}, which is not installed — pip install 'earmark[exports]'")

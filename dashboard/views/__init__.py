"""The pages, one file each. A page is a module with `VIEW = View(...)`; to add one, add a file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """A page: its name in the menu, its path in the address, its place in the menu, and the function that shows it."""

    title: str
    path: str
    order: int
    show: Callable[[], None]


def views() -> list[View]:
    """All pages in the order of the menu."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return sorted((m.VIEW for m in modules), key=lambda v: (v.order, v.path))

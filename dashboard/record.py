"""The opened store behind the pages, and the one cache of what was asked of it.

A query is a plain function of a store and of small arguments (run ids, set digests, names, page numbers); its answer is
kept under the function's name, those arguments and the state of the record, so a frame is never hashed and a newly
published run is seen at the next rerun. Nothing from the vault passes through here: see `dashboard.vault_access`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

import streamlit as st

from lineage.errors import EarmarkError
from lineage.store import Store

VARIABLE = "EARMARK_STORE"
SCRIPT = Path(__file__).resolve().with_name("app.py")
ENTRIES = 2_000  # answers kept

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Opened:
    """A store and the lock under which it is read: sessions are threads, a store's connection is for one at a time."""

    store: Store
    lock: threading.Lock = field(default_factory=threading.Lock)


def store_path() -> Path:
    """The store's path: the first argument after `--`, else the environment variable EARMARK_STORE.

    Raises:
        EarmarkError: neither is given.
    """
    script, *arguments = sys.argv
    own = arguments if Path(script).resolve() == SCRIPT else []  # elsewhere, say in a test, they are somebody else's
    given = own[0] if own else os.environ.get(VARIABLE)
    if not given:
        raise EarmarkError(f"no store was named — start it with: earmark dashboard --store STORE, or set {VARIABLE}")
    return Path(given).resolve()


@st.cache_resource(show_spinner=False)
def _open(path: str) -> Opened:
    return Opened(Store.open(path))


def opened() -> Opened:
    """The store of this dashboard."""
    return _open(str(store_path()))


def state() -> str:
    """What tells one state of the record from the next: the number of runs and the newest of them."""
    current = opened()
    with current.lock:
        runs = current.store.runs()
    return f"{len(runs)}:{runs[-1].id if runs else ''}"


@st.cache_data(show_spinner=False, max_entries=ENTRIES)
def _answer(path: str, state: str, name: str, arguments: tuple[object, ...], _query: Callable[..., object]) -> object:
    current = _open(path)
    with current.lock:
        return _query(current.store, *arguments)


def ask(query: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The answer to a query function of the store, kept until something new is published."""
    if kwargs:
        raise TypeError("give a query its arguments by position: they are the cache's key")
    name = f"{query.__module__}.{query.__qualname__}"
    return cast(T, _answer(str(store_path()), state(), name, args, query))

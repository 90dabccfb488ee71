"""What all tests may use."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest


@pytest.fixture
def plain_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """A main module without a file, for tests that start processes through `multiprocessing`, which run that file first.

    Streamlit's test runner leaves the script of a page there.
    """
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))

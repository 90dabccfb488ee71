"""What all tests may use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def plain_main() -> Iterator[None]:
    """A main module without a file, for tests that start processes through `multiprocessing`, which run that file first.

    Streamlit's test runner leaves the script of a page there.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", ModuleType("__main__"))
        yield

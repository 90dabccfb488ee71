"""How long jobs say how far they are: a callable, so that the command line, a notebook and a test each bring their own."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told `done` of `total` steps of the part of the job called `label`; must be cheap, it is called at every step."""

    def __call__(self, done: int, total: int, label: str) -> None:
        """Take note; `done == total` ends this part."""


def silent(done: int, total: int, label: str) -> None:
    """Say nothing."""

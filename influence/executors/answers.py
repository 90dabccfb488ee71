"""What a worker does with a job, in whatever process, and what it answers."""

from __future__ import annotations

import gc
import importlib
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lineage.errors import EarmarkError

ATTEMPTS = 2


class Answer(NamedTuple):
    """A job's value, or the error; `again` says that another attempt may go better. `cpu_s` are seconds of processors."""

    value: Any
    error: str | None = None
    again: bool = False
    cpu_s: float = 0.0


def resolve(function: str) -> Callable[..., Any]:
    """The function written as `package.module:name`."""
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def attempt(function: str, arguments: Mapping[str, Any]) -> Answer:
    """Do a job once."""
    begun = time.process_time()
    try:
        given = Answer(resolve(function)(**arguments))
    except EarmarkError as error:
        given = Answer(None, str(error))
    except Exception:  # noqa: BLE001 - one job must not sink the others
        given = Answer(None, traceback.format_exc(), again=True)
    return given._replace(cpu_s=time.process_time() - begun)


class Answering:
    """Answers one job after the other in a process that does nothing else."""

    def __init__(self) -> None:
        self._warm = False

    def answer(self, function: str, arguments: Mapping[str, Any]) -> Answer:
        """Do a job once."""
        given = attempt(function, arguments)
        if not self._warm:
            # What the first job left behind (modules, a base, tokenised text) stays for good; without this, libraries that
            # collect garbage after every training search through all of it each time.
            gc.collect()
            gc.freeze()
            self._warm = True
        return given

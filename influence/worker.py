"""One worker of the local executor: `python -m influence.worker FD` takes jobs from a socket until it closes.

A worker lives as long as its parent. The thread that waits for jobs sees the socket close the instant the parent ends,
however it ended, and stops the process at once, in the middle of a job if need be: what a job has not published is not
visible to anybody, so nothing half-done remains, and no orphan repeats the work of the parent's successor.

Whatever a job caches in its process (an opened store, a loaded base, features) serves the worker's later jobs. The number of
arithmetic threads comes from the environment and is set before anything heavy is imported.
"""

from __future__ import annotations

import gc
import importlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from lineage.errors import EarmarkError


def resolve(function: str) -> Callable[..., Any]:
    """The function written as `package.module:name`."""
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def serve(connection: Connection[Any, Any]) -> None:
    """Answer jobs `(number, function, arguments)` with `(number, value, None)` or `(number, error text, for a person)`."""
    jobs: queue.SimpleQueue[tuple[int, str, dict[str, Any]]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
    warm = False
    while True:
        number, function, arguments = jobs.get()
        try:
            answer: tuple[int, Any, bool | None] = number, resolve(function)(**arguments), None
        except EarmarkError as error:
            answer = number, str(error), True
        except Exception:  # noqa: BLE001 - the parent decides what becomes of a failed job
            answer = number, traceback.format_exc(), False
        connection.send(answer)
        if not warm:
            # What the first job left behind (modules, a base, tokenised text) stays for good; without this, libraries that
            # collect garbage after every training search through all of it each time.
            gc.collect()
            gc.freeze()
            warm = True


def _receive(connection: Connection[Any, Any], jobs: queue.SimpleQueue[tuple[int, str, dict[str, Any]]]) -> None:
    while True:
        try:
            jobs.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)


def main() -> None:
    """Serve the socket whose file descriptor is the only argument."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    sys.path[:] = connection.recv()
    serve(connection)


if __name__ == "__main__":
    main()

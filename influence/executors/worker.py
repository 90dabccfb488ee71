"""One worker process of this machine: `python -m influence.executors.worker FD` takes jobs from a socket until it closes.

A worker lives as long as its parent. The thread that waits for jobs sees the socket close the instant the parent ends,
however it ended, and stops the process at once, in the middle of a job if need be: what a job has not published is not
visible to anybody, so nothing half-done remains, and no orphan repeats the work of the parent's successor.

Whatever a job caches in its process (an opened store, a loaded base, features) serves the worker's later jobs. The number of
arithmetic threads comes from the environment and is set before anything heavy is imported.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from influence.executors.answers import Answering


def serve(connection: Connection[Any, Any]) -> None:
    """Give an `Answer` to every job `(function, arguments)`."""
    jobs: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
    answering = Answering()
    while True:
        connection.send(answering.answer(*jobs.get()))


def _receive(connection: Connection[Any, Any], jobs: queue.SimpleQueue[tuple[str, dict[str, Any]]]) -> None:
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

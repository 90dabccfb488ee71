"""A lease: the right to do, for a while, what only one process at a time should do.

    leases/<name>.<n>.json    who holds it and until when (UTC); n counts the takings, and the highest n holds

It is taken by hard-linking a finished file to the next number, which is one atomic step, as in the log; renewed while the
work goes on; given back by letting it end. Laws: of several that try at once one gets it; nobody gets it before it has been
given back or has run out. A holder that was asleep for too long finds at its next renewal that it has lost the lease.
A lease saves work and no more: that work which was done twice is not recorded twice is seen to by `Store.publish`.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lineage.durable import write_durably
from lineage.errors import Conflict
from lineage.identity import uuid7

SECONDS = 60.0  # for which a lease is taken; it is renewed three times as often


class Lease:
    """One lease that is held; made by `hold`."""

    def __init__(self, folder: Path, name: str, number: int, seconds: float) -> None:
        self._folder = folder
        self._name = name
        self._number = number
        self._seconds = seconds
        self._done = threading.Event()
        self._lost = False

    def check(self) -> None:
        """Whether it is still held.

        Raises:
            Conflict: it ran out and another took it.
        """
        if self._lost or _newest(self._folder, self._name)[0] != self._number:
            raise Conflict(f"the lease on {self._name} ran out and was taken by another process — nothing was changed")

    def _renew(self) -> None:
        while not self._done.wait(self._seconds / 3):
            if _newest(self._folder, self._name)[0] != self._number:
                self._lost = True
                return
            write_durably(self._path, _statement(self._seconds))

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._name}.{self._number}.json"

    def _end(self) -> None:
        if _newest(self._folder, self._name)[0] == self._number:
            write_durably(self._path, _statement(0.0))


@contextmanager
def hold(root: Path, name: str, seconds: float = SECONDS) -> Iterator[Lease]:
    """Hold the lease `name` of the store at `root` within the block.

    Raises:
        Conflict: another process holds it.
    """
    lease = _take(root / "leases", name, seconds)
    keeper = threading.Thread(target=lease._renew, name=f"earmark-lease-{name}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        lease._done.set()
        keeper.join()
        lease._end()


def _take(folder: Path, name: str, seconds: float) -> Lease:
    folder.mkdir(exist_ok=True)
    number, holder = _newest(folder, name)
    if holder.get("until", 0.0) > time.time():
        until = datetime.fromtimestamp(holder["until"], UTC).strftime("%H:%M:%S UTC")
        raise Conflict(
            f"process {holder.get('process')} on {holder.get('host')} is at it ({name}, until {until} at least) — wait for it"
        )
    fresh = folder / f".{uuid7()}.tmp"
    write_durably(fresh, _statement(seconds))
    try:
        os.link(fresh, folder / f"{name}.{number + 1}.json")
    except FileExistsError:
        raise Conflict(f"another process was faster ({name}) — wait for it") from None
    finally:
        fresh.unlink()
    for old in range(number, 0, -1):
        try:
            (folder / f"{name}.{old}.json").unlink()
        except FileNotFoundError:
            break
    return Lease(folder, name, number + 1, seconds)


def _newest(folder: Path, name: str) -> tuple[int, dict[str, Any]]:
    """Highest number of a taking and its statement; 0 if it was never taken."""
    numbers = [int(p.name.split(".")[-2]) for p in folder.glob(f"{name}.*.json")]
    if not numbers:
        return 0, {}
    try:
        statement: dict[str, Any] = json.loads((folder / f"{name}.{max(numbers)}.json").read_bytes())
    except FileNotFoundError:
        return _newest(folder, name)  # taken anew meanwhile
    except ValueError:
        return max(numbers), {}  # damaged: nobody's
    return max(numbers), statement


def _statement(seconds: float) -> bytes:
    value = {"process": os.getpid(), "host": socket.gethostname(), "until": time.time() + seconds if seconds else 0.0}
    return json.dumps(value).encode() + b"\n"

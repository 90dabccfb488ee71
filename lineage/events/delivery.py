"""Events on their way to the receivers that the standard configuration of OpenLineage names, if it names any.

    openlineage.yml here, in ~/.openlineage or at $OPENLINEAGE_CONFIG, or variables OPENLINEAGE_URL, OPENLINEAGE__TRANSPORT__…

Any transport of the client will do: HTTP, Kafka, composite, file. One thread a process sends, in the order in which
things happened. Law: a receiver never fails a run and never holds it up for longer than `PATIENCE_S`, once; one that did
not answer is let alone for `PAUSE_S`, and is named in a warning on the record of the runs that it missed. Their events
stay in the store.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

PATIENCE_S = 1.0  # how long the end of a run waits for a receiver that has not answered yet
PAUSE_S = 60.0  # how long a receiver that failed is not tried again
CHATTY = (
    "openlineage.client.client", "openlineage.client.transport.composite", "openlineage.client.transport.http",
    "urllib3.connectionpool", "urllib3.util.retry",
)  # fmt: skip
PLACES = (Path("openlineage.yml"), Path("~/.openlineage/openlineage.yml"))


class Receivers:
    """Nobody: what there is without a configuration."""

    def send(self, event: Any) -> None:
        """Hand an event over; returns at once."""

    def warnings(self) -> list[str]:
        """What to put on the record of a run that is about to end."""
        return []


class Sender(Receivers):
    """A client that sends from a thread of its own."""

    def __init__(self, client: Any, kept: Path) -> None:
        self._client = client
        self._kept = kept  # where the events stay
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._idle = threading.Condition()
        self._unsent = 0
        self._failed: str | None = None
        self._paused_until = 0.0
        self._thread = threading.Thread(target=self._work, name="earmark-openlineage", daemon=True)
        self._thread.start()
        for name in CHATTY:
            logging.getLogger(name).addFilter(self._is_foreign)
        Finalize(None, self.settle, exitpriority=0)  # unlike atexit, this is run in the processes of a pool too

    def send(self, event: Any) -> None:
        """Hand an event over; returns at once."""
        with self._idle:
            self._unsent += 1
        self._waiting.put(event)

    def warnings(self) -> list[str]:
        """One line, if the receiver failed or does not answer."""
        self.settle()
        return [self._failed] if self._failed else []

    def settle(self) -> None:
        """Wait until everything is sent, but not longer than patience allows, and not for one that failed before."""
        with self._idle:
            if self._failed is None and not self._idle.wait_for(lambda: not self._unsent, PATIENCE_S):
                self._fail("no answer")

    def _work(self) -> None:
        while True:
            event = self._waiting.get()
            try:
                if time.monotonic() >= self._paused_until:
                    self._client.emit(event)
                    self._failed = None
            except Exception as error:  # noqa: BLE001 - whatever a transport raises, a run must not fail by it
                with self._idle:
                    self._fail(type(error).__name__)
            finally:
                with self._idle:
                    self._unsent -= 1
                    self._idle.notify_all()

    def _fail(self, why: str) -> None:
        kind = self._client.transport.kind
        self._paused_until = time.monotonic() + PAUSE_S
        if self._failed is None:
            self._failed = f"OpenLineage: the {kind} receiver cannot be reached ({why})"
            sys.stderr.write(f"earmark: {self._failed} — events are kept in {self._kept}; check openlineage.yml\n")

    def _is_foreign(self, record: logging.LogRecord) -> bool:
        """Whether a log record comes from anybody else: what this thread has to say it says in one line."""
        return record.thread != self._thread.ident


_NOBODY = Receivers()
_made: tuple[object, Receivers] = ((), _NOBODY)


def receivers(kept: Path) -> Receivers:
    """The receivers that are configured now, one client a process; `kept` is the folder in which events stay anyway."""
    global _made
    if _made[0] != _state():
        made = _make(kept)
        _made = (_state(), made)  # the client adds variables of its own to the environment
    return _made[1]


def _state() -> tuple[int, dict[str, str], list[tuple[str, int]]]:
    """Everything that the configuration may come from."""
    named = {k: v for k, v in os.environ.items() if k.startswith("OPENLINEAGE")}
    places = [Path(named["OPENLINEAGE_CONFIG"])] if "OPENLINEAGE_CONFIG" in named else []
    stamps = []
    for place in (*places, *PLACES):
        path = place.expanduser().absolute()
        try:
            stamps.append((str(path), path.stat().st_mtime_ns))
        except OSError:
            continue
    return os.getpid(), named, stamps


def _make(kept: Path) -> Receivers:
    _, named, stamps = _state()
    if not named and not stamps:
        return _NOBODY
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.noop import NoopConfig, NoopTransport

    silenced = logging.root.manager.disable
    try:
        config = OpenLineageClient(transport=NoopTransport(NoopConfig())).config
        if not (config.transport or {}).get("type") and not os.environ.get("OPENLINEAGE_URL"):
            return _NOBODY  # the client would print every event
        logging.disable()  # what the client says with a traceback is said in one line here
        return Sender(OpenLineageClient(), kept)
    except ModuleNotFoundError as error:
        return Broken(f"{error.name} is not installed", kept)
    except Exception as error:  # noqa: BLE001 - a configuration that is wrong must not fail a run
        return Broken(type(error).__name__, kept)
    finally:
        logging.disable(silenced)


class Broken(Receivers):
    """A configuration from which no receiver can be made."""

    def __init__(self, why: str, kept: Path) -> None:
        self._said = f"OpenLineage: the configuration names no receiver that can be used ({why})"
        sys.stderr.write(f"earmark: {self._said} — events are kept in {kept}; check openlineage.yml\n")

    def warnings(self) -> list[str]:
        """The one line."""
        return [self._said]

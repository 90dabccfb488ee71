"""The events of each run, kept in the store: `openlineage/<run>.ndjson`, one event a line.

START is written when a run begins and an end (COMPLETE, FAIL or ABORT) before its manifest is published, which lists the
file; long work writes RUNNING now and then. So every run on record tells both ends, and a writer that was killed leaves a
START without an end, which is the truth.

The same events go to the receivers that are configured (`lineage.events.delivery`): the end only once the run is visible.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.durable import disk_error, write_whole
from lineage.storage.manifest import RunInfo, Segment
from lineage.storage.published import Published
from lineage.subjects import KEYS, Subject, Subjects, from_row

if TYPE_CHECKING:
    from lineage.events.delivery import Receivers
    from lineage.events.translate import Context

FOLDER = "openlineage"
ALIVE_S = 60.0  # seconds of work after which a run says that it is still at it


class Journal:
    """Tells of one run."""

    _context: Context
    _receivers: Receivers

    def __init__(self, published: Published, subjects: Subjects, run: str) -> None:
        self._published = published
        self._find = subjects.find
        self._run = run
        self._path = published.root / FOLDER / f"{run}.ndjson"
        self._lines: list[bytes] = []
        self._told = time.monotonic()
        self._made: dict[str, Subject] = {}
        self._end: Any = None

    def start(
        self,
        at: datetime,
        *,
        kind: str,
        job: str | None,
        package: str,
        code: str,
        parents: Sequence[str],
        inputs: Sequence[str],
    ) -> None:
        """Tell that the run begins, and on what."""
        from openlineage.client.event_v2 import RunState

        from lineage.events import delivery, translate

        parent = parents[0] if parents else None
        self._context = translate.Context(
            namespace=f"earmark://{self._published.origin[:16]}",
            run=self._run,
            job=translate.job_name(kind, job),
            kind=kind,
            package=package,
            code=code,
            parent=(parent, self._job_of(parent)) if parent else None,
        )
        self._receivers = delivery.receivers(self._path.parent)
        self._tell(translate.event(self._context, RunState.START, at, self._subjects(inputs)))

    def alive(self) -> None:
        """Tell that the run goes on, if nothing was told for a while."""
        if time.monotonic() - self._told < ALIVE_S:
            return
        from openlineage.client.event_v2 import RunState

        from lineage.events import translate

        self._tell(translate.event(self._context, RunState.RUNNING, datetime.now(UTC)))

    def note(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Remember the sets and models that the run makes, to be able to describe them at its end."""
        for row in rows:
            self._made[row[KEYS[table]]] = from_row(table, row)

    def warnings(self) -> list[str]:
        """What went wrong outside of the store, to go on the run's record."""
        return self._receivers.warnings()

    def finish(self, info: RunInfo, attributes: Mapping[str, str]) -> Segment:
        """Write how the run ended; the file with all that was told.

        `attributes` are those of its samples: key → 'number' or 'text'.
        """
        from lineage.events import translate

        context = replace(self._context, attributes=self._known(attributes))
        error = str(info.result.get("error", info.status)) if info.status != "completed" else None
        self._end = translate.event(
            context, translate.STATES[info.status], info.ended, self._subjects(info.inputs),
            self._subjects(info.outputs), error,
        )  # fmt: skip
        data = b"".join([*self._lines, _line(self._end)])
        write_whole(self._path, data)
        relative = self._path.relative_to(self._published.root).as_posix()
        return Segment(FOLDER, relative, len(self._lines) + 1, len(data), hashlib.sha256(data).hexdigest())

    def published(self) -> None:
        """Tell others how the run ended, now that everybody can see it."""
        self._receivers.send(self._end)

    def abandon(self) -> None:
        """The run could not be published: nothing of it stays here, and others are told that it failed."""
        from openlineage.client.event_v2 import RunState

        from lineage.events import translate

        self._path.unlink(missing_ok=True)
        self._receivers.send(translate.event(self._context, RunState.FAIL, datetime.now(UTC), error="Unpublished"))

    def _tell(self, event: Any) -> None:
        self._told = time.monotonic()
        self._lines.append(_line(event))
        try:
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("ab") as stream:
                stream.write(self._lines[-1])
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._receivers.send(event)

    def _subjects(self, digests: Sequence[str]) -> list[Subject]:
        return [self._made.get(d) or self._find(d) for d in dict.fromkeys(digests)]

    def _known(self, attributes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """All attributes on record and these, sorted."""
        kinds = self._published.attributes()
        for name, kind in attributes.items():
            kinds[name] = kind if kinds.get(name, kind) == kind else "text"
        return tuple(sorted(kinds.items()))

    def _job_of(self, run: str) -> str:
        """The name of another run's job: what it told itself, also while it runs; else (older runs) what is on record."""
        from lineage.events import translate

        told = _first_job(self._path.with_name(f"{run}.ndjson"))
        known = (m.run for m in self._published.manifests() if m.run.id == run)
        return told or next((translate.job_name(info.kind, info.job) for info in known), "unknown")


def _line(event: Any) -> bytes:
    from openlineage.client.serde import Serde

    return Serde.to_json(event).encode() + b"\n"


def _first_job(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return str(json.loads(stream.readline())["job"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

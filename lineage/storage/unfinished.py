"""Unfinished work: what a long run leaves behind at intervals, so that it can go on from there when it is killed.

    unfinished/<key>/state.json    what the state is made of: facts, and name, size and SHA-256 of each file
    unfinished/<key>/<file>        written once under its name, never changed
    unfinished/<key>/lock          locked by the process whose work this is, for as long as it lives

`key` is that of the run: the digest of everything that determines its result. A state comes into force when `state.json` is
replaced, which is one atomic step after every file that it lists is on the disk; what it does not list is then removed. It
belongs to one process at a time. It is no part of the record: no manifest names it, no reader sees it, and it holds nothing
personal (weights, ids and numbers).

Laws: what `load` returns was whole on the disk when it came into force, and is unchanged since; a state whose inputs were
touched by an erasure is never loaded; states of finished work, and those left alone for `KEPT_S`, are cleared away.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from lineage.durable import disk_error, sync, write_durably
from lineage.identity import file_digest
from lineage.storage.published import Published

FOLDER = "unfinished"
STATE, LOCK = "state.json", "lock"
KEPT_S = 14 * 86_400.0


class Unfinished:
    """The work of one key, held by this process; made by `claim`."""

    def __init__(self, published: Published, key: str, inputs: Sequence[str]) -> None:
        self.folder = published.root / FOLDER / key
        self._published = published
        self._inputs = list(inputs)

    def file(self, name: str) -> Path:
        """Where a file of that name lies, or would."""
        return self.folder / name

    def add(self, name: str, write: Callable[[Path], object]) -> None:
        """Have `write` make the file of that name, unless it is there; it is on the disk once this returns.

        Raises:
            EarmarkError: it could not be written.
        """
        target = self.file(name)
        if target.exists():
            return
        temporary = target.with_name(f".{name}.tmp")
        try:
            write(temporary)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.rename(target)
        except OSError as error:
            raise disk_error(target, error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def commit(self, facts: dict[str, Any], files: Sequence[str]) -> None:
        """Let the state of these facts and files be in force from now on.

        Raises:
            EarmarkError: it could not be written; then the one before is still in force.
        """
        known = {f["name"]: f for f in (_statement(self.folder) or {"files": []})["files"]}
        listed = [known.get(name) or _listed(self.file(name)) for name in files]
        sync([self.folder])
        statement = {"at": time.time(), "inputs": self._inputs, "facts": facts, "files": listed}
        write_durably(self.folder / STATE, json.dumps(statement).encode())
        self._keep(files)

    def load(self) -> dict[str, Any] | None:
        """The facts of the state in force, after clearing away what does not belong to it.

        None, and nothing is left, if there is none, it is damaged, or an erasure touched its inputs since.
        """
        statement = _statement(self.folder)
        if statement is None or _erased(self._published, statement) or not self._whole(statement):
            self.drop()
            return None
        self._keep(f["name"] for f in statement["files"])
        facts: dict[str, Any] = statement["facts"]
        return facts

    def drop(self) -> None:
        """Remove it: the work is done, or begins anew."""
        (self.folder / STATE).unlink(missing_ok=True)
        self._keep(())

    def _keep(self, names: Iterable[str]) -> None:
        wanted = {STATE, LOCK, *names}
        for path in self.folder.iterdir():
            if path.name not in wanted:
                path.unlink()

    def _whole(self, statement: dict[str, Any]) -> bool:
        try:
            return all(_listed(self.file(f["name"])) == f for f in statement["files"])
        except OSError:
            return False


@contextmanager
def claim(published: Published, key: str, inputs: Sequence[str]) -> Iterator[Unfinished | None]:
    """Hold the unfinished work of `key` within the block; None if another process is at it, or locks do not work here.

    `inputs` are the digests of the sets that it was made of. Work that left no state leaves no folder.
    """
    work = Unfinished(published, key, inputs)
    with ExitStack() as stack:
        if not _locked(work, stack):
            yield None
            return
        try:
            yield work
        finally:
            if not work.file(STATE).exists():
                shutil.rmtree(work.folder, ignore_errors=True)


def _locked(work: Unfinished, stack: ExitStack) -> bool:
    """Whether the lock could be taken, to be held until `stack` ends."""
    path = work.file(LOCK)
    while True:
        try:
            work.folder.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context(path.open("ab"))
        except FileNotFoundError:  # cleared away this moment
            continue
        except OSError as error:
            raise disk_error(work.folder, error) from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                return True


def waiting(published: Published, key: str) -> dict[str, Any] | None:
    """The facts of the state that work of that key would go on from, as far as its statement tells; None if there is none."""
    statement = _statement(published.root / FOLDER / key)
    return None if statement is None or _erased(published, statement) else statement["facts"]


def clear(published: Published, now: float) -> Iterator[Path]:
    """Folders of work that nobody will go on with; held ones are not among them. Each is removed by whoever iterates."""
    done = {m.run.key for m in published.manifests() if m.run.status == "completed"}
    for folder in sorted((published.root / FOLDER).glob("*/")):
        with suppress(OSError), (folder / LOCK).open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            statement = _statement(folder)
            if (
                statement is None
                or folder.name in done
                or now - statement["at"] > KEPT_S
                or _erased(published, statement)
            ):
                yield folder


def _statement(folder: Path) -> dict[str, Any] | None:
    try:
        statement: dict[str, Any] = json.loads((folder / STATE).read_bytes())
    except (OSError, ValueError):
        return None
    return statement


def _listed(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "digest": file_digest(path)}


def _erased(published: Published, statement: dict[str, Any]) -> bool:
    """Whether something of its inputs was erased after it was written."""
    published.refresh()
    inputs = set(statement["inputs"])
    return any(
        inputs & set(erasure.run.inputs) and erasure.run.ended.timestamp() >= statement["at"]
        for erasure in published.erasures
    )

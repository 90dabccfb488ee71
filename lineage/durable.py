"""Files that are there whole or not at all, and still there after a power cut.

A file is written under a temporary name and renamed. The disk is asked for many files at once, because a file system that is
asked for twenty one after the other writes its journal twenty times, and for twenty together once or twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from lineage.errors import EarmarkError

TOGETHER = 8  # files that the disk is asked for at a time


def sync(paths: Iterable[Path]) -> None:
    """Make files durable, and of folders the names in them; returns once all of them are.

    Raises:
        EarmarkError: the disk refused one.
    """
    wanted = list(dict.fromkeys(paths))
    if len(wanted) == 1:
        _sync(wanted[0])
    else:
        list(_waiting(os.getpid()).map(_sync, wanted))


@lru_cache(maxsize=1)
def _waiting(process: int) -> ThreadPoolExecutor:
    """Threads that wait for the disk; a process that was forked has none of its parent's."""
    return ThreadPoolExecutor(TOGETHER, thread_name_prefix="earmark-disk")


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise disk_error(path, error) from error


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` at `path` so that whoever looks finds it whole or not at all; until it is synced, not after a power cut."""
    with _written(path, data, mode):
        pass


def write_durably(path: Path, data: bytes, mode: int = 0o644, *, after: Iterable[Path] = ()) -> None:
    """Write `data` at `path` so that it is there whole or not at all, even after a power cut, and `after` is durable then."""
    with _written(path, data, mode) as temporary:
        sync([temporary, *after])
    sync([path.parent])


@contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A temporary file with `data`, which takes its place at `path` when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        yield temporary
        temporary.rename(path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def disk_error(path: Path, error: OSError) -> EarmarkError:
    """What to tell a person when writing failed."""
    return EarmarkError(f"cannot write {path}: {error.strerror or error} — free some space or check the permissions")

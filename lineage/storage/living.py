"""Which writers are alive: every run holds a lock on a file of its own for as long as it is being written.

    running/<run>      locked with flock; the kernel takes the lock away when the process dies, however it dies

What a run wrote before it is published looks just like what a killed writer left behind. The lock tells them apart, so that
`lineage.compaction.sweep` never takes anything from a writer that is merely slow. Law: a run whose file cannot be locked is
alive; where locks do not work (some network file systems) every run that has a file counts as alive.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alive(root: Path, run: str) -> Iterator[None]:
    """Within, `run` counts as alive."""
    folder = root / "running"
    folder.mkdir(exist_ok=True)
    path, fresh = folder / run, folder / f".{run}.tmp"
    with fresh.open("wb") as stream:
        with suppress(OSError):  # no locks here; then the file alone speaks for the run
            fcntl.flock(stream, fcntl.LOCK_EX)
        fresh.rename(path)  # it bears the run's name only once it is locked
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def living(root: Path) -> set[str]:
    """Runs that are being written now, and nothing of those whose writers died: their files are cleared away."""
    found = set()
    for path in (root / "running").glob("[!.]*"):
        with suppress(FileNotFoundError), path.open("r+b") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                found.add(path.name)
            else:
                path.unlink(missing_ok=True)
    return found

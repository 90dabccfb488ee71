"""Clearing away what no reader needs: files that a run took away from the record, and what killed writers left behind.

Files that were taken away stay for a grace period, because a reader may have listed them just before. Leftovers are what
lies in the folders of runs that were never logged, artifacts that no logged run names, temporary files, and states of work
that nobody will go on with (`lineage.storage.unfinished`). Laws: nothing
that readers see is touched, and nothing of a writer that is alive (`lineage.storage.living`), however slow it is. What a killed
writer told under `openlineage/` stays: that it tried is the truth.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lineage.identity import uuid7
from lineage.storage import unfinished
from lineage.storage.living import living
from lineage.store import Store

GRACE_S = 3600.0
SPILL = ".spill"  # ends the name of a folder in which a compaction sorts
LEAST_S = 1.0  # younger than that nothing is taken for a leftover: clocks of file systems are coarse


@dataclass(frozen=True)
class Swept:
    """What was cleared away: files that compactions or erasures had replaced, leftovers of writers, bytes of both."""

    replaced: int = 0
    leftovers: int = 0
    bytes: int = 0


def sweep(store: Store, grace: float = GRACE_S, folders: tuple[str, ...] = ("tables", "vault")) -> Swept:
    """Clear away what has been of no use for `grace` seconds; an erasure does so at once, with a grace of none.

    Of replaced files only those in `folders` go.
    """
    began = time.time()
    # in this order: what belongs to a writer that is neither alive nor logged when asked after, died before it was found
    found = list(_unpublished(store.root))
    alive = living(store.root)
    store.refresh()
    oldest = min([began - max(grace, LEAST_S), *(_started(run) for run in alive)])
    replaced, leftovers, size = 0, 0, 0
    for name in _replaced(store, began - grace):
        gone = _remove(store.root / name) if name.split("/")[0] in folders else None
        replaced += gone is not None
        size += gone or 0
    logged = {m.run.id for m in store.manifests()}
    named = {digest for m in store.manifests() for digest in m.artifacts}
    for path, owner in found:
        if owner is None:
            idle = path.name not in named and _age(path) <= oldest
        else:
            idle = owner not in logged | alive and _age(path) <= began - max(grace, LEAST_S)
        gone = _remove_idle(path) if idle else None
        leftovers += gone is not None
        size += gone or 0
    for folder in unfinished.clear(store, began):
        gone = _remove_idle(folder)
        leftovers += gone is not None
        size += gone or 0
    for table in (store.root / "tables", store.root / "vault"):
        for folder in table.glob("*/*/"):
            if folder.name in logged and not any(folder.iterdir()):
                folder.rmdir()
    return Swept(replaced, leftovers, size)


def _replaced(store: Store, before: float) -> Iterator[str]:
    for manifest in store.manifests():
        if manifest.removed and manifest.run.ended.timestamp() <= before:
            yield from (path for path in manifest.removed if path in store.removed)  # else it was kept again


def _unpublished(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Everything that may be a leftover, with the run to which it belongs where its place says so."""
    for folder in ("tables", "vault"):
        for path in (root / folder).glob("*/*/"):
            yield path, path.name
    for path in (root / "manifests").glob("[!.]*.json"):
        yield path, path.stem
    for path in (root / "artifacts").glob("*/[!.]*"):
        yield path, None
    for path in root.glob(f"running/.*{SPILL}"):
        yield path, path.name[1 : -len(SPILL)]
    for pattern in ("*/.*.tmp", "artifacts/*/.*.tmp"):
        for path in root.glob(pattern):
            yield path, None


def _started(run: str) -> float:
    """When a run began, from its id (UUIDv7), in seconds since the epoch."""
    return int(run.replace("-", "")[:12], 16) / 1000


def _age(path: Path) -> float:
    """When anything in it was last written, in seconds since the epoch; the end of time if it is gone."""
    try:
        return max(p.stat().st_mtime for p in (path, *path.rglob("*")))
    except FileNotFoundError:
        return float("inf")


def _remove_idle(path: Path) -> int | None:
    """Remove it unless somebody began to use it this moment; bytes that were freed."""
    before = path.stat().st_mtime if path.exists() else 0.0
    aside = path.with_name(f".{uuid7()}.tmp")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return None
    if aside.stat().st_mtime != before and not path.exists():
        aside.rename(path)
        return None
    return _remove(aside)


def _remove(path: Path) -> int | None:
    """Remove a file or a folder; bytes that were freed, None if there was nothing."""
    try:
        size = sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return None
    return size

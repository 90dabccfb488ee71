"""What has been published: the runs that the log names, and the files that their manifests list and none took away.

Readers see no other file: what a manifest does not list, or a later one took away, is not part of the record wherever it lies.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import duckdb

from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.identity import hex_prefix
from lineage.proof.log import Entry, Log
from lineage.schema import TABLES
from lineage.storage import packed
from lineage.storage.manifest import Manifest, RunInfo, Segment

T = TypeVar("T")


class Published:
    """Manifests and the files that they list, as far as they were published when last looked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = Log(root)
        self._manifests: dict[str, Manifest] = {}  # by run, in the order in which they became visible
        self._live: dict[str, dict[str, Segment]] = {}  # by folder, e.g. 'tables/edges': the segments that readers see
        self._changes: Counter[str] = Counter()  # of those, by folder
        self._files: dict[str, Segment] = {}  # further files of the record by name
        self.removed: set[str] = set()  # files that were listed once; some may still lie there
        self.erasures: list[Manifest] = []
        self._attributes: dict[str, str] = {}

    @cached_property
    def origin(self) -> str:
        """SHA-256 of `earmark.json`, which holds the public key: which store this is, wherever it lies."""
        return hashlib.sha256((self.root / "earmark.json").read_bytes()).hexdigest()

    def refresh(self) -> None:
        """See the runs published since the last look."""
        if not self._manifests:
            known = packed.unpack(self.root)
            self.log.foresee([entry for entry, _ in known])
            for entry, data in known:
                self._admit(entry, data)
        for entry in self.log.entries()[len(self._manifests) :]:
            self._admit(entry)

    def _admit(self, entry: Entry, data: bytes | None = None) -> None:
        name = f"manifests/{entry.run}.json"
        try:
            manifest = Manifest.from_json(json.loads((self.root / name).read_bytes() if data is None else data))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EarmarkError(f"{self.root / name} is damaged ({error!r}) — run: earmark verify") from error
        self._manifests[entry.run] = manifest
        for top, segments in (("tables", manifest.segments), ("vault", manifest.vault)):
            for segment in segments:
                folder = f"{top}/{segment.table}"
                self._live.setdefault(folder, {})[segment.path] = segment
                self._changes[folder] += 1
        self._files.update({f.path.rpartition("/")[2]: f for f in manifest.files})
        self.removed.difference_update(f"artifacts/{d[:2]}/{d}" for d in manifest.artifacts)  # kept again
        if manifest.run.kind == "erase" and manifest.run.status == "completed":
            self.erasures.append(manifest)
        for gone in manifest.removed:
            folder = "/".join(gone.split("/", 2)[:2])
            self._live.get(folder, {}).pop(gone, None)
            self._changes[folder] += 1
        self.removed.update(manifest.removed)
        for name, kind in manifest.attributes.items():
            self._attributes[name] = kind if self._attributes.get(name, kind) == kind else "text"

    def manifests(self) -> list[Manifest]:
        """All published manifests in the order in which they became visible."""
        self.refresh()
        return list(self._manifests.values())

    def runs(self) -> list[RunInfo]:
        """All published runs, oldest first."""
        return sorted((m.run for m in self.manifests()), key=lambda r: r.id)

    def find_run(self, key: str) -> RunInfo | None:
        """The newest completed run whose result `key` determines; None if it has to be computed."""
        return next((r for r in reversed(self.runs()) if r.key == key and r.status == "completed"), None)

    def resolve_run(self, ref: str) -> RunInfo:
        """The run whose id begins with `ref`.

        Raises:
            UnknownName, AmbiguousName: no such run, or several.
        """
        self.refresh()
        if ref in self._manifests:
            return self._manifests[ref].run
        runs = self.runs()
        found = [r for r in runs if r.id.replace("-", "").startswith(hex_prefix(ref) or "?")]
        if not found:
            raise UnknownName("run", ref, (r.id for r in runs))
        if len(found) > 1:
            raise AmbiguousName("run", ref, (r.id for r in found))
        return found[0]

    def segments(self, table: str) -> list[Segment]:
        """The segments of a public table that published runs list."""
        return self.listed(f"tables/{table}")

    def listed(self, folder: str) -> list[Segment]:
        """The segments below `folder` ('tables/samples', 'vault/clips') that published runs list and none took away."""
        self.refresh()
        return list(self._live.get(folder, {}).values())

    def companions(self, table: str) -> list[str]:
        """Names of what compactions keep of a public table besides it, e.g. 'edges_by_parent'; no view shows it."""
        self.refresh()
        names = (folder.split("/")[1] for folder in self._live if folder.startswith(f"tables/{table}_"))
        return [n for n in names if n not in TABLES]

    def changes(self, table: str) -> int:
        """How often the list of a public table's segments has changed; the same number means the same list."""
        self.refresh()
        return self._changes[f"tables/{table}"]

    def file(self, name: str) -> Path | None:
        """A further file of the record by its name; None if no run listed one."""
        self.refresh()
        found = self._files.get(name)
        return None if found is None else self.root / found.path

    def attributes(self) -> dict[str, str]:
        """All attribute keys on record; 'number' where every value ever seen is one, else 'text'."""
        self.refresh()
        return dict(self._attributes)

    def steadily(self, read: Callable[[], T]) -> T:
        """The result of `read`; begun again if a compaction took a file away under its hands."""
        while True:
            seen = len(self.removed)
            try:
                return read()
            except (duckdb.IOException, FileNotFoundError):
                self.refresh()
                if len(self.removed) == seen:
                    raise

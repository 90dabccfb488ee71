"""Whether the record is whole: a look at every listed file on each load, and the full check on demand.

The look reads no file: it asks whether each file that a manifest lists is there with the size that it had. The full check
hashes every byte and follows the signed log (`lineage.proof.verifier`).
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage.proof.verifier import Report, verify
from lineage.store import Store


@dataclass(frozen=True)
class Look:
    """What a look found; `problems` are one line each."""

    runs: int
    files: int
    bytes: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every listed file is there with its size."""
        return not self.problems


def look(store: Store) -> Look:
    """Look at every file that is listed."""
    manifests = store.manifests()
    removed = {path for manifest in manifests for path in manifest.removed}
    files, volume, problems = 0, 0, []
    for manifest in manifests:
        for segment in (*manifest.segments, *manifest.vault, *manifest.files):
            if segment.path in removed:
                continue
            files += 1
            volume += segment.bytes
            try:
                there = (store.root / segment.path).stat().st_size
            except FileNotFoundError:
                problems.append(f"{segment.path} is gone (run {manifest.run.id})")
                continue
            if there != segment.bytes:
                problems.append(
                    f"{segment.path} has {there:,} bytes where {segment.bytes:,} were written (run {manifest.run.id})"
                )
    return Look(len(manifests), files, volume, tuple(problems))


def full_check(store: Store) -> Report:
    """Hash every byte and follow the log."""
    return verify(store.root)

"""What a format's writer is given: the thing to export, a folder to fill, and the means to look things up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineage.runs import Run
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from lineage.subjects import Subject

Progress = Callable[[int, int], None]


@dataclass
class Parcel:
    """One export in the making.

    `personal` asks for names and words also where the format does not need them. What is `public` is for anybody to see:
    speakers go by their keys, and of other runs no manifest goes along. `reading` are lines for the README that
    say how the files are opened; `result` are facts for the run's record.
    """

    store: Store
    run: Run
    subject: Subject
    folder: Path
    personal: bool
    progress: Progress
    public: bool = False
    reading: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> Subject:
        """The set of samples concerned: the subject itself, or the set that the model was trained on."""
        if self.subject.kind == "set":
            return self.subject
        return self.store.subjects.find(self.subject.facts["set_digest"])

    def write(self, name: str, text: str) -> Path:
        """Write a file of the parcel."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write a file of the parcel as JSON."""
        return self.write(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def history(self) -> list[RunInfo]:
        """The runs to which the subject owes its being, oldest first: those that made it, and what they were made of."""
        return history(self.store, self.subject.digest)


def history(store: Store, digest: str) -> list[RunInfo]:
    """The runs that made the set, model or artifact of that digest and everything that they read, oldest first."""
    runs = {r.id: r for r in store.runs()}
    found: dict[str, RunInfo] = {}
    wanted = [digest]
    while wanted:
        origin = store.subjects.find(wanted.pop()).run
        if origin is not None and origin not in found:
            found[origin] = runs[origin]
            wanted += runs[origin].inputs
    return sorted(found.values(), key=lambda r: r.id)

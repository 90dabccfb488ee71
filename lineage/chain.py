"""The chain of models: what a model was continued from, and that before it, down to a base that nobody here trained.

A model that was continued from another on record has `model:` and the other's id in the column `base` of its row; a base of
any other kind ends the chain. The same weights may have been made by several runs, so a model may have more than one parent.

Law: whatever stands behind a parent stands behind the model, too: its recordings, its speakers, and the terms they are under.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lineage.storage.manifest import RunInfo
from lineage.store import Store

SCHEME = "model:"


@dataclass(frozen=True)
class Link:
    """A model of a chain as one run made it; `set_digest` is what it was trained on, None for a base."""

    model_id: str
    name: str
    base: str | None
    set_digest: str | None
    run_id: str

    @property
    def parent(self) -> str | None:
        """Id of the model that it was continued from, if it was."""
        return self.base.removeprefix(SCHEME) if self.base and self.base.startswith(SCHEME) else None


def chain(store: Store, model_id: str) -> list[Link]:
    """A model and whatever it was continued from, nearest first; of equal distance the newest run first."""
    rows = store.sql("SELECT model_id, name, base, set_digest, run_id FROM models ORDER BY run_id DESC").to_pylist()
    links = [Link(**row) for row in rows]
    found: dict[str, list[Link]] = {}
    wanted = [model_id]
    while wanted:
        for one in wanted:
            found[one] = [link for link in links if link.model_id == one]
        parents = [link.parent for one in wanted for link in found[one]]
        wanted = [p for p in dict.fromkeys(parents) if p is not None and p not in found]
    return [link for same in found.values() for link in same]


def sets_behind(store: Store, model_id: str) -> list[str]:
    """Digests of the sets that a model and its chain have learnt from, its own first."""
    runs = {run.id: run for run in store.runs()}
    digests = [d for link in chain(store, model_id) for d in (link.set_digest, *beside(runs[link.run_id])) if d]
    return list(dict.fromkeys(digests))


def beside(run: RunInfo) -> Iterator[str]:
    """Sets that a training took from besides the one it was on: what was mixed in, what its weights were held to."""
    yield from (a["others"] for a in run.config.get("augment") or () if a["others"])
    held = run.config.get("ewc")
    if held:
        yield held["set"]

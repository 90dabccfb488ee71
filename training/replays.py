"""One experiment, run more than once: what differed between the runs, and whether the weights did.

Runs of one experiment (same recipe but for its name, same members, same weights of samples) may differ in seed, threads,
device, base files, code, packages or machine. Equal in all of these they have one key and are one run; so whatever is on
record twice differs in something, and this says in what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineage.runs import RunInfo
from lineage.store import Store


@dataclass(frozen=True)
class Sibling:
    """Another run of the same experiment; `changed` gives (this run's value, the other's) by what differs."""

    run_id: str
    model_id: str
    same_weights: bool
    changed: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        """In a sentence for people."""
        weights = "the same weights" if self.same_weights else "other weights"
        said = ", ".join(f"{name} {theirs} instead of {ours}" for name, (ours, theirs) in self.changed.items())
        return f"run {self.run_id[:13]} with {said or 'other checkpoints'} has {weights} ({self.model_id[:12]})"


def differences(store: Store, run_id: str) -> list[Sibling]:
    """Other completed runs of the experiment of a training run, newest first.

    Raises:
        UnknownName: no such run.
    """
    run = store.resolve_run(run_id)
    experiment = run.config.get("experiment")
    # a run without a key did another one again, which `training.replay` tells of
    others = [r for r in store.runs() if r.kind == "train" and r.status == "completed" and r.key and r.id != run.id]
    return [_compare(run, r) for r in reversed(others) if experiment and r.config.get("experiment") == experiment]


def _compare(run: RunInfo, other: RunInfo) -> Sibling:
    ours, theirs = _flat(run.config["depends"]), _flat(other.config["depends"])
    names = [*ours, *(name for name in theirs if name not in ours)]
    changed = {n: (ours.get(n), theirs.get(n)) for n in names if ours.get(n) != theirs.get(n)}
    mine, other_id = run.result.get("model_id"), other.result["model_id"]
    return Sibling(other.id, other_id, mine == other_id, changed)


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by their innermost names, which are unique."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(item) if isinstance(item, Mapping) else {name: item}
    return flat

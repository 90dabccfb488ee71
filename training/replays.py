"""One experiment, run more than once: what differed between the runs, whether the weights did, and which differ in seed alone.

Runs of one experiment (same recipe but for its name, same members, same weights of samples) may differ in seed, threads,
device, base files, code, packages or machine. Equal in all of these they have one key and are one run; so whatever is on
record twice differs in something, and `differences` says in what.

A replay (`training.replay`) is held against what it replays more closely than that: `changed` looks at everything on record,
also at packages that the key does not cover, and at what was consumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lineage import rebuild
from lineage.proof.merkle import set_digest
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training import determinism

Kind = Literal["code", "environment", "data", "base", "threads", "hardware"]

KINDS: dict[str, Kind] = {  # of what a training notes under `depends`, by its innermost names; packages come by themselves
    "code": "code", "transforms": "code", "base": "base", "threads": "threads", "device": "hardware", "machine": "hardware",
    "cpu": "hardware", "gpu": "hardware", "cuda": "hardware",
}  # fmt: skip
NOTED: dict[str, Kind] = {  # of what every run notes of its environment
    "python": "environment", "implementation": "environment", "system": "environment", "libc": "environment",
    "container": "environment", "cpu": "hardware", "cpu_features": "hardware", "gpus": "hardware", "gpu_driver": "hardware",
}  # fmt: skip


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


def other_seeds(store: Store, run_id: str) -> list[RunInfo]:
    """Completed trainings that differ from a training in their seed and in nothing else that weights hang on, by seed.

    Raises:
        UnknownName: no such run.
    """
    run = store.resolve_run(run_id)
    alike = _but_for_seed(run)
    found = {
        r.seed: r for r in store.runs()
        if r.kind == "train" and r.status == "completed" and r.key and r.seed not in (None, run.seed)
        and alike is not None and _but_for_seed(r) == alike
    }  # fmt: skip
    return sorted(found.values(), key=lambda r: r.seed or 0)


def _but_for_seed(run: RunInfo) -> tuple[str, dict[str, Any]] | None:
    """What the weights of a training hang on besides its seed; None where that was not noted."""
    experiment, depends = run.config.get("experiment"), run.config.get("depends")
    return None if experiment is None or depends is None else (experiment, {**depends, "seed": None})


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


# -- a replay beside what it replays ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was: its kind, its name (of a package, say), its value then and now; None: absent."""

    kind: Kind
    name: str
    then: Any
    now: Any

    def __str__(self) -> str:
        """In a few words for people."""
        if self.kind == "data":
            return f"data: {self.now}"
        name = "" if self.name == self.kind else f" {self.name}"
        if isinstance(self.then, list) and isinstance(self.now, list):
            more, less = (sorted(map(str, a)) for a in (set(self.now) - set(self.then), set(self.then) - set(self.now)))
            return f"{self.kind}:{name} {' '.join([*(f'+{x}' for x in more), *(f'-{x}' for x in less)])}"
        return f"{self.kind}:{name} {_shown(self.now)} instead of {_shown(self.then)}"


def changed(store: Store, then: RunInfo, now: RunInfo) -> tuple[Difference, ...]:
    """Everything that differs between two trainings of one recipe, as far as the record tells."""
    return (*_depended(then, now), *_noted(store, then, now), *_data(store, then, now))


def _depended(then: RunInfo, now: RunInfo) -> Iterator[Difference]:
    old, new = (_flat(r.config["depends"]) for r in (then, now))
    for name, kind in KINDS.items():
        if old.get(name) != new.get(name):
            yield Difference(kind, _NAMES.get(name, name), old.get(name), new.get(name))
    if then.config["optimiser"] != now.config["optimiser"]:
        yield Difference("code", "optimiser", then.config["optimiser"], now.config["optimiser"])


_NAMES = {"cpu": "instructions"}  # those of the processor that torch computes with; its name is another matter


def _noted(store: Store, then: RunInfo, now: RunInfo) -> Iterator[Difference]:
    """Of the environment; what an older version did not note is not held against it."""
    old, new = then.environment, now.environment
    before, after = old.get("code"), new.get("code")
    if before and after and before["commit"] != after["commit"]:
        yield Difference("code", "commit", before["commit"], after["commit"])
    for name, kind in NOTED.items():
        if name in old and old[name] != new.get(name):
            yield Difference(kind, name, old[name], new.get(name))
    packages, theirs = (rebuild.packages_of(store, r) for r in (then, now))
    if packages is None or theirs is None:
        packages, theirs = (r.config["depends"]["environment"]["packages"] for r in (then, now))
    names = sorted((packages.keys() | theirs.keys()) - {"earmark"}, key=lambda n: (n not in determinism.PACKAGES, n))
    for name in names:
        if packages.get(name) != theirs.get(name):
            yield Difference("environment", name, packages.get(name), theirs.get(name))


def _data(store: Store, then: RunInfo, now: RunInfo) -> Iterator[Difference]:
    for digest in sorted({d for d in then.inputs if store.subjects.find(d).kind == "set"}):
        if set_digest(store.lookup.members(digest)) != digest:
            yield Difference(
                "data", digest, None, f"the members of set {digest[:12]} are not those that it was made with"
            )
    columns = "step, position, epoch, sample_id, weight, seed"
    query = f"SELECT {columns} FROM exposures WHERE run_id = $"
    n = store.sql(
        f"SELECT count(*) AS n FROM (({query}then EXCEPT ALL {query}now) UNION ALL ({query}now EXCEPT ALL {query}then))",
        {"then": then.id, "now": now.id},
    )["n"][0].as_py()
    if n:
        yield Difference("data", "exposures", None, f"{n} exposures are in one of the two runs only")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return " ".join(str(v) for v in value.values())
    text = str(value)
    return text[:12] if len(text) >= 40 and all(c in "0123456789abcdef" for c in text) else text

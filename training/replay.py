"""Replay: a recorded training done again, from the record alone, and what came of it.

    verdict = replay(store, "0198f3a2")      # really trains; the recorded run is never handed out for its own replay

Everything comes from the record: the recipe with its sets by digest, the weights of samples, transcripts and sound from the
store, and the base from where it was or, should that be gone or changed, from the copy that the store keeps. What comes out is
one of three verdicts:

- *identical*: the same `model_id`, so the same weights, bit for bit;
- *different*: other weights. Then it is said what differs between the two runs, by how much the weights moved, and the WER on
  the evaluation sets of the recipe, both models being heard by the code of today on the same utterances;
- *impossible*: it could not even be tried, because samples were erased or a large base is gone.

What differs is one of code, environment (packages, Python, system), data, base, threads and hardware. It is told of identical
replays, too: that much did not matter.

Two runs are written: the training, of kind 'train' and without a key, so that it is never reused; and the verdict, of kind
'replay', whose parents are the recorded run and the training. A model that came out identical is not put on record twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lineage.chain import SCHEME
from lineage.errors import EarmarkError, UnknownName
from lineage.finite import finite
from lineage.ids import halves, id_array, sort_unique, without
from lineage.people.policy import Policy
from lineage.selection.consumed import run_of
from lineage.selection.sets import members, resolve_set, sample_sets
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.comparison.compare import compare
from training.families.base import Base, find_base
from training.fit import Replays, train
from training.loops.changes import again as again_as
from training.models.distance import Distance, distance
from training.progress import Progress, silent
from training.recipe import Recipe
from training.replays import Difference, changed

Outcome = Literal["identical", "different", "impossible"]


@dataclass(frozen=True)
class Moved:
    """WER of both models on a set; `difference` is replayed minus recorded, with its speaker-block interval.

    `erased` utterances of the set are gone; where there are any, nothing could be measured.
    """

    set_digest: str
    set_name: str
    erased: int = 0
    recorded: float | None = None
    replayed: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    speakers: int = 0


@dataclass(frozen=True)
class ReplayVerdict:
    """What a replay found; `run_id` is the run that says so, `retraining` the one that trained, None if none could."""

    run_id: str
    replayed_run: str
    model_id: str
    verdict: Outcome
    retraining: str | None = None
    replayed: str | None = None
    reason: str | None = None
    differences: tuple[Difference, ...] = ()
    weights: Distance | None = None
    wer: tuple[Moved, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether the same weights came out."""
        return self.verdict == "identical"

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def replay(
    store: Store,
    ref: str,
    *,
    threads: int | None = None,
    device: str | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
) -> ReplayVerdict:
    """Train again what a recorded run trained.

    Args:
        store: where the run is and the verdict goes.
        ref: the training run (the beginning of its id) or its model.
        threads: instead of the recorded number, to see what that changes.
        device: instead of the recorded one, likewise.
        policy: what the training may use, instead of the policy in force.
        progress: told of features, steps and utterances.

    Raises:
        EarmarkError: it is no completed training by a recipe, this version does not know its recipe, or training failed.
        PolicyRefused: the policy does not let its set be used any more.
    """
    run = run_of(store, ref)
    _check(run)
    changes = {name: value for name, value in (("threads", threads), ("device", device)) if value is not None}
    recipe = Recipe.parse(_pinned(store, run), f"the recipe of run {run.id}").variant(**changes)
    found = _Replay(store, run, recipe, changes)
    gone = erased(store, [d for d in run.inputs if store.subjects.find(d).kind == "set"])
    if gone:
        return found.impossible(f"{gone} samples were erased" if gone > 1 else "1 sample was erased")
    try:
        base = _base(store, run)
    except UnknownName:
        return found.impossible("its base is neither where it was nor in the store")
    return found.verdict(base, policy, progress)


def replayed(store: Store, model_id: str) -> ReplayVerdict | None:
    """What the newest replay of a model's training found, in the order of the log; None if there was none.

    One with other threads or on another device than recorded is an experiment, and does not count.
    """
    said = [m.run for m in store.manifests() if m.run.kind == "replay" and m.run.status == "completed"]
    its = [r for r in said if model_id in r.inputs and not r.config["changes"]]
    return _read(its[-1]) if its else None


def erased(store: Store, digests: Iterable[str]) -> int:
    """How many members of sets have neither sound nor words any more."""
    ids = sort_unique(halves(id_array([i for d in digests for i in members(store, d).to_pylist()])))
    left = store.vault.rows("recordings", id_array(ids))["sample_id"]
    return len(without(ids, sort_unique(halves(left))))


# -- the record's side ---------------------------------------------------------------------------------------------------


def _check(run: RunInfo) -> None:
    if run.kind != "train":
        raise EarmarkError(f"run {run.id} is of kind '{run.kind}' — name a training run, or its model")
    if run.status != "completed":
        raise EarmarkError(
            f"run {run.id} is {run.status}, so there is nothing to compare with — name one that completed"
        )
    if "recipe" not in run.config or "depends" not in run.config:
        raise EarmarkError(f"run {run.id} was a script of its own, without a recipe — run that script again")


def _pinned(store: Store, run: RunInfo) -> dict[str, Any]:
    """The recipe of a run, every set that it consumed by digest; what it was measured on is another question."""
    trained = run.config["replay"]["new"] if "replay" in run.config else run.config["set"]  # the old are drawn again
    fields = {**run.config["recipe"], "train": trained, "evaluate": []}
    fields["name"] = f"replay of {fields['name']}"[:200]
    if fields.get("development") is not None:
        ref = fields["development"]
        used = [s for s in sample_sets(store) if s.digest in run.inputs and (s.name == ref or s.digest.startswith(ref))]
        fields["development"] = used[-1].digest if used else ref
    drawn = run.config.get("augment") or ()
    if drawn:
        fields["augment"] = [{k: v for k, v in a.items() if k != "transform_id"} for a in drawn]
    return fields


def _base(store: Store, run: RunInfo) -> Base | None:
    """The base as it was: None where the recipe's reference leads to it still, or to one that has to do instead.

    Raises:
        UnknownName: there is none at all.
    """
    wanted = run.config["depends"]["base"]
    kept = run.config["opens"]["base"]["artifact"]
    ref = run.config["recipe"]["base"]
    if ref.startswith(SCHEME):  # by id, in this very store
        return None
    try:
        there: Base | None = find_base(ref)
    except EarmarkError:
        there = None
    if there is not None and (kept is None or there.digest == wanted):
        return None
    if kept is None:
        raise UnknownName("base", wanted[:12], ())
    return Base(ref, store.artifact(kept))


@dataclass(frozen=True)
class _Replay:
    """One replay under way: the recorded run, the recipe as it was, and what of it is changed on purpose."""

    store: Store
    run: RunInfo
    recipe: Recipe
    changes: dict[str, Any]

    def impossible(self, reason: str) -> ReplayVerdict:
        return self._record(None, "impossible", {"reason": reason})

    def verdict(self, base: Base | None, policy: Policy | None, progress: Progress) -> ReplayVerdict:
        known: str = self.run.result["model_id"]
        made = train(
            self.store,
            self.recipe,
            **again_as(self.run.config),
            called=self.run.config.get("called"),
            policy=policy,
            progress=progress,
            replays=Replays(self.run.id, known, base),
        )
        again = self.store.resolve_run(made.run_id)
        told: dict[str, Any] = {"differences": [asdict(d) for d in changed(self.store, self.run, again)]}
        if made.model_id == known:
            return self._record(again, "identical", told)
        told |= {"weights": self._distance(made.path), "wer": [asdict(m) for m in self._wer(again, progress)]}
        return self._record(again, "different", told)

    def _record(self, again: RunInfo | None, verdict: Outcome, told: dict[str, Any]) -> ReplayVerdict:
        known = self.run.result["model_id"]
        other = again.result["model_id"] if again is not None else None
        config = {"run": self.run.id, "experiment": self.run.config["experiment"], "changes": self.changes}
        with self.store.run(
            "replay",
            job=self.run.job,
            config=config,
            inputs=[known],
            parents=[self.run.id, *([again.id] if again is not None else [])],
            seed=self.run.seed,
            package="training",
        ) as run:
            run.result = {"verdict": verdict, "model_id": known, "replayed": other, **told}
        return _read(self.store.resolve_run(run.id))

    def _distance(self, path: Path) -> dict[str, Any] | None:
        try:
            before = self.store.artifact(self.run.result["artifact"])
        except UnknownName:  # erased, or cleared away; that the ids differ is known nevertheless
            return None
        found = distance(before, path)
        return None if found is None else asdict(found)

    def _wer(self, again: RunInfo, progress: Progress) -> Iterator[Moved]:
        """On the evaluation sets of the recipe, as they were when the run began."""
        for ref in self.run.config["recipe"]["evaluate"]:
            then = [s for s in sample_sets(self.store) if s.name == ref and s.run_id < self.run.id]
            data = then[-1] if then else resolve_set(self.store, ref)
            gone = erased(self.store, [data.digest])
            if gone:
                yield Moved(data.digest, data.name, gone)
                continue
            done = compare(
                self.store, again.result["model_id"], self.run.result["model_id"], data.digest, progress=progress
            )
            whole = done.contrast()
            d = whole.difference
            yield Moved(
                data.digest, data.name, 0, finite(whole.second), finite(whole.first), finite(d.value),
                finite(d.low), finite(d.high), d.blocks,
            )  # fmt: skip


def _read(run: RunInfo) -> ReplayVerdict:
    told = run.result
    return ReplayVerdict(
        run.id,
        run.parents[0],
        told["model_id"],
        told["verdict"],
        run.parents[1] if len(run.parents) > 1 else None,
        told["replayed"],
        told.get("reason"),
        tuple(Difference(**d) for d in told.get("differences", ())),
        Distance(**told["weights"]) if told.get("weights") else None,
        tuple(Moved(**m) for m in told.get("wer", ())),
    )

"""Attribution on record: the influence of every training sample on every target, from the gradients of one model.

    found = attribute(store, "six-accents", method="adam_tracin", targets=["accent=*", "all"])

The work is cut into units, one piece of the method (a checkpoint, say) × one block of training samples. Each unit's result
is kept as an artifact by a run of its own, under a key that covers all it depends on; so an attribution that is killed goes
on where it was. Parts are combined in double precision and in the order of the pieces: neither the number of workers nor the
order in which they finish changes a digit. The batch size does, in the last digits of single precision, for matrix products
then sum in another order (about 1e-6 relative).
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from influence.attribution.methods import UNIT, Prepared
from influence.attribution.methods import method as find_method
from influence.attribution.targets import Targets, open_targets
from influence.attribution.trajectory import Trajectory, open_trajectory
from influence.executors.contract import Executor, Job
from influence.executors.shared import store_at
from influence.executors.spread import ALONE, Spread
from influence.watch import Watch
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.ids import halves, id_array
from lineage.machine.environment import code_version
from lineage.selection import slices
from lineage.selection.sets import SampleSet, resolve_set
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.comparison.costs import in_force
from training.determinism import depends, deterministic, pick_device
from training.progress import Progress, silent

BLOCK = 512  # training samples in a unit
BATCH = 32
REDUCTION = "Σ loss / Σ reference words over the target's utterances"


@dataclass(frozen=True)
class Attribution:
    """What was attributed: `values` [n, K] of the samples trained on, `ids` [n] (sorted), on the `targets` [K]."""

    run_id: str
    model_id: str
    method: str
    targets: tuple[str, ...]
    ids: pa.Array
    values: npt.NDArray[np.float64]
    reused: bool
    wall_s: float

    @property
    def samples(self) -> int:
        """How many training samples."""
        return len(self.ids)


def attribute(
    store: Store,
    model: str,
    *,
    method: str = "adam_tracin",
    targets: Sequence[str] = (),
    evaluation_set: str | None = None,
    spread: Spread = ALONE,
    block: int = BLOCK,
    batch_size: int = BATCH,
    device: str = "cpu",
    normalise: str = "basic",
    progress: Progress = silent,
) -> Attribution:
    """Influence of every training sample of a model on each target, or read it back if it is on record.

    Args:
        store: where the model is and everything goes.
        model: name, id or beginning of an id; it has to have been trained on this record.
        method: attribution method.
        targets: slices of the evaluation set, e.g. 'accent=*'; by default all of it.
        evaluation_set: name or digest; by default the first that the model's recipe names.
        spread: where the work is done, and by how many.
        block: training samples in a unit of work.
        batch_size: utterances back-propagated together.
        device: 'cpu', 'cuda' or 'auto'.
        normalise: normaliser by which the targets' reference words are counted.
        progress: told of units, with an estimate of the time left.

    Raises:
        EarmarkError: no such model, method, set or slice, the run did not record what the method needs, or a unit of work
            failed twice.
    """
    begun = time.perf_counter()
    chosen = find_method(method)
    trajectory = open_trajectory(store, model)
    evaluation = resolve_set(store, trajectory.recipe.tested_on(evaluation_set))
    frozen = _freeze(store, targets, evaluation)
    count, size = chosen.pieces(trajectory), len(trajectory.corpus)
    place, threads = pick_device(device), trajectory.recipe.threads
    settings: dict[str, Any] = {
        "method": method,
        "model": trajectory.opened.record.model_id,
        "train_run": trajectory.run.key or trajectory.run.id,
        "evaluation": evaluation.digest,
        "targets": [list(pair) for pair in frozen.items()],
        "normalise": normalise,
        "batch_size": batch_size,
        "device": place,
        "threads": threads,
    }
    what = {**settings, "code": [code_version("training"), code_version("influence")], "environment": depends(place)}
    key = digest_of({"attribute": what})
    done = store.find_run(key)
    if done is not None:
        return _stored(store, trajectory, done, list(frozen), time.perf_counter() - begun)
    units = [
        {"piece": piece, "start": start, "stop": min(start + block, size)}
        for piece in range(count)
        for start in range(0, size, block)
    ]
    keys = [digest_of({"gradients": what, **unit}) for unit in units]
    with spread.at_most(len(units)).team(threads, gpus=place == "cuda", root=store.root) as team:
        parts = _units(store, settings, units, keys, team, progress)
    pieces, drops = np.zeros((count, size, len(frozen))), np.zeros((count, len(frozen)))
    for unit, part in zip(units, parts, strict=True):
        with np.load(store.artifact(part)) as held:
            pieces[unit["piece"], unit["start"] : unit["stop"]] = held["parts"]
            drops[unit["piece"]] = held["drop"]
    values = _by_sample(trajectory, chosen.combine(pieces, drops))
    with store.run(
        "attribute",
        job=f"{method} of {trajectory.opened.record.name}",
        config=settings,
        key=key,
        inputs=[settings["model"], trajectory.corpus.set_digest, evaluation.digest, *parts],
        parents=[trajectory.run.id],
        package="influence",
    ) as run:
        run.append("influences", _rows(trajectory, settings, frozen, values))
        run.result = {"units": len(units), "samples": len(values), "targets": len(frozen)}
        run.cost["wall_s"] = time.perf_counter() - begun
    return _attribution(run.id, trajectory, settings, frozen, values, reused=False, begun=begun)


def gradients(root: str, settings: dict[str, Any], piece: int, start: int, stop: int, key: str) -> str:
    """One unit of work, in whatever process: the digest of the artifact that holds its parts [rows, K] and the drop [K]."""
    store = store_at(root)
    done = store.find_run(key)
    if done is not None:
        return done.outputs[0]
    with (
        deterministic(settings["threads"]),
        store.run(
            "gradients",
            job=settings["method"],
            config={**settings, "piece": piece, "start": start, "stop": stop},
            key=key,
            inputs=[settings["model"], settings["evaluation"]],
            package="influence",
        ) as run,
    ):
        frozen = tuple((name, digest) for name, digest in settings["targets"])
        names = ("method", "model", "evaluation", "normalise", "batch_size", "device")
        prepared = _prepared(root, frozen, *(settings[n] for n in names), piece)
        stream = io.BytesIO()
        np.savez(stream, parts=prepared.score(np.arange(start, stop)), drop=prepared.drop)
        run.outputs.append(run.put(stream.getvalue()))
    return run.outputs[0]


@lru_cache(maxsize=1)
def _prepared(
    root: str,
    frozen: tuple[tuple[str, str], ...],
    method: str,
    model: str,
    evaluation: str,
    normalise: str,
    batch_size: int,
    device: str,
    piece: int,
) -> Prepared:
    """What the blocks of a piece share; kept for the worker's next block."""
    trajectory, targets = _opened(root, model, evaluation, frozen, normalise, device)
    return find_method(method).prepare(trajectory, targets, piece, batch_size)


@lru_cache(maxsize=1)
def _opened(
    root: str, model: str, evaluation: str, frozen: tuple[tuple[str, str], ...], normalise: str, device: str
) -> tuple[Trajectory, Targets]:
    """What all units of an attribution share."""
    store = store_at(root)
    trajectory = open_trajectory(store, model)
    trajectory.opened.model.to(device)
    opened = trajectory.opened
    return trajectory, open_targets(store, opened.family, opened.transcripts, evaluation, dict(frozen), normalise)


def _units(
    store: Store,
    settings: dict[str, Any],
    units: Sequence[dict[str, int]],
    keys: Sequence[str],
    team: Executor,
    progress: Progress,
) -> list[str]:
    """The artifacts of all units, computing those that are not on record."""
    found: dict[str, str] = {}
    jobs = []
    for unit, key in zip(units, keys, strict=True):
        done = store.find_run(key)
        if done is not None:
            found[key] = done.outputs[0]
            continue
        arguments = {"root": str(store.root.resolve()), "settings": settings, **unit, "key": key}
        jobs.append(Job("influence.attribution.attribute:gradients", arguments, key, affinity=str(unit["piece"])))
    watch = Watch(team.workers, progress, "gradients", in_force(store))
    watch.expect(len(units))
    for _ in found:
        watch.note(0.0)
    for outcome in team.run(jobs):
        if outcome.error is not None:
            raise EarmarkError(f"attribution failed: {outcome.error.strip().splitlines()[-1]}")
        found[outcome.job.label] = outcome.value
        watch.note(outcome.wall_s, outcome.cpu_s, gpus=int(settings["device"] == "cuda"))
    return [found[key] for key in keys]


def _freeze(store: Store, texts: Sequence[str], evaluation: SampleSet) -> dict[str, str]:
    """The targets as sets on record: digest by name."""
    wanted = slices.parse_slices(store, texts or (slices.WHOLE.name,), evaluation.digest)
    key = digest_of({"targets": [[s.name, s.predicate] for s in wanted], "population": evaluation.digest})
    done = store.find_run(key)
    if done is None:
        with store.run("plan", job="targets", key=key, inputs=[evaluation.digest], package="influence") as run:
            run.result["targets"] = [[s.name, slices.freeze(run, s, evaluation).set_digest] for s in wanted]
        done = store.resolve_run(run.id)
    return dict(done.result["targets"])


def _by_sample(trajectory: Trajectory, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Influences [samples, K] of those [places, K] of a set: a sample may have stood in the places of others, too."""
    ids, which = trajectory.samples
    found = np.zeros((len(ids), values.shape[1]))
    np.add.at(found, which, values)
    return found


def _rows(
    trajectory: Trajectory,
    settings: Mapping[str, Any],
    frozen: Mapping[str, str],
    values: npt.NDArray[np.float64],
) -> pa.Table:
    """Rows of `influences`, target by target, samples in the order of their ids."""
    n, k = values.shape
    ids = np.tile(halves(trajectory.samples[0]), (k, 1))
    constant = {"model_id": settings["model"], "method": settings["method"], "unit": UNIT, "reduction": REDUCTION}
    return pa.table(
        {
            **{name: pa.repeat(pa.scalar(value), n * k) for name, value in constant.items()},
            "target": pa.array(np.repeat(np.array(list(frozen), dtype=object), n)),
            "target_set": pa.array(np.repeat(np.array(list(frozen.values()), dtype=object), n)),
            "sample_id": id_array(ids),
            "value": values.T.reshape(-1),
        }
    )


def _stored(store: Store, trajectory: Trajectory, done: RunInfo, names: list[str], wall_s: float) -> Attribution:
    rows = store.read("influences", ["target", "sample_id", "value"], "run_id = ?", [done.id])
    column = {name: i for i, name in enumerate(names)}
    ids = trajectory.samples[0]
    place = {pair: i for i, pair in enumerate(map(tuple, halves(ids).tolist()))}
    values = np.zeros((len(place), len(names)))
    at = [place[pair] for pair in map(tuple, halves(rows["sample_id"]).tolist())]
    values[at, [column[t] for t in rows["target"].to_pylist()]] = rows["value"].to_numpy()
    return Attribution(done.id, done.config["model"], done.config["method"], tuple(names), ids, values, True, wall_s)


def _attribution(
    run_id: str,
    trajectory: Trajectory,
    settings: Mapping[str, Any],
    frozen: Mapping[str, str],
    values: npt.NDArray[np.float64],
    *,
    reused: bool,
    begun: float,
) -> Attribution:
    return Attribution(
        run_id, settings["model"], settings["method"], tuple(frozen), trajectory.samples[0], values, reused,
        time.perf_counter() - begun,
    )  # fmt: skip

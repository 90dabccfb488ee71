"""A run of somebody's own script: what `EarmarkCallback` and `training.loops.loop` have in common.

The set that the run is to consume is judged by the policy in force before anything is trained. Where the samples cannot be
told beforehand (a stream, a data set that computes its items), the set is what was consumed; with a policy in force such a run
is refused, because nobody could tell in time what it uses.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import torch

from lineage.errors import EarmarkError
from lineage.ids import halves
from lineage.ingestion.identified import set_of
from lineage.machine.environment import script
from lineage.people.policy import enforce, in_force, verdict_on
from lineage.runs import Run
from lineage.selection.sets import SampleSet, create_set
from lineage.store import Store
from training.loops.exposures import Exposures

LONGEST = 200  # characters of a text, and items of a list, that a configuration keeps
_PLACES = re.compile(r"(_dir|_path|_file)$|^(run_name|hub_.*|push_to_hub.*|resume_from_checkpoint)$")
_PLACE = re.compile(r"[/~.]|[A-Za-z]:\\")


@dataclass(eq=False)
class Session:
    """One run of a script at work; `data` is the set that it is to consume, None where only time will tell."""

    run: Run
    exposures: Exposures
    data: SampleSet | None
    _taken: list[pa.Table] = field(default_factory=list)

    def so_far(self) -> pa.Table | None:
        """All exposures until now, as rows of the table without `run_id`; None if there are none."""
        fresh = self.exposures.take()
        self._taken += [] if fresh is None else [fresh]
        return pa.concat_tables(self._taken) if self._taken else None

    def recall(self, rows: pa.Table) -> None:
        """Record exposures of a run that this one goes on from."""
        self.exposures.recall(rows)
        self._taken.append(rows)

    def settle(self) -> str | None:
        """Write down what is noted; the digest of the set that was to be consumed, or that was, None if nothing was."""
        self.exposures.flush()
        if self.data is None:
            rows = self.so_far()
            if rows is None:
                return None
            self.data = create_set(self.run, halves(rows["sample_id"]), name=self.run.job or "train")
            self.run.inputs.append(self.data.digest)
        return self.data.digest


@contextmanager
def on_record(
    store: Store,
    name: str,
    data: SampleSet | Sequence[uuid.UUID] | None,
    *,
    config: dict[str, Any],
    seed: int | None,
    remember: bool = False,
) -> Iterator[Session]:
    """Within, a training run of job `name` is on record; it is published at the end, as failed or aborted after an exception.

    `remember` for runs that others may go on from.

    Raises:
        PolicyRefused: the policy in force does not let the run use the set.
        EarmarkError: the set is empty, or cannot be told while a policy is in force.
    """
    if data is None and in_force(store):
        raise EarmarkError(
            "a policy is in force, and which samples this data holds cannot be told before it is used — train on a data set "
            "with a column of sample ids, or on a list of rows"
        )
    chosen = data if data is None or isinstance(data, SampleSet) else set_of(store, data, name)
    verdict = None if chosen is None else verdict_on(store, chosen.digest)
    config = {**config, "script": script(), "set": None if chosen is None else chosen.digest}
    inputs = [] if chosen is None else [chosen.digest]
    with store.run("train", job=name, config=config, inputs=inputs, seed=seed, package="training") as run:
        enforce(run, verdict)
        session = Session(run, Exposures(run, remember=remember or chosen is None), chosen)
        yield session
        session.settle()
        run.result["exposures"] = session.exposures.count
        if torch.cuda.is_available():
            run.result["gpu_peak_bytes"] = torch.cuda.max_memory_allocated()


def default_name() -> str:
    """What a run is called that nobody named: as the script, else 'train'."""
    main = script()
    return str(main["path"]).rpartition("/")[2].removesuffix(".py") if main else "train"


def plain(value: Any) -> Any:
    """What of a configuration can go on the record: numbers, short texts, lists and dicts of them; nothing that names a place.

    None for what cannot.
    """
    if isinstance(value, Mapping):
        kept = {str(k): plain(v) for k, v in value.items() if not _PLACES.search(str(k))}
        return {k: v for k, v in kept.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value] if len(value) <= LONGEST else None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str) and len(value) <= LONGEST and not _PLACE.match(value):
        return value
    return None

"""Executors: run many independent jobs somewhere, and hand back each outcome as it comes.

    with Spread("ray", 16, "auto").team(root=store.root) as team:
        for outcome in team.run(jobs): ...
        for outcome in team.run(more): ...          # the same workers, with all that they keep

`local` runs jobs in this process or in worker processes of this machine (`in_process`, `processes`), `ray` in actors of a Ray
cluster (`ray`). A job names a function and its arguments, so it can be sent to any process that can import the function. Jobs
are expected to put their results on record themselves, under keys; what travels back is small. From that follow the laws:

* a worker that is killed loses the job it was at, nothing else: the job is given to another worker, once;
* a parent that is killed takes its workers with it, and loses the jobs in flight;
* Ctrl-C stops all workers before it is passed on;
* workers end with the context that they were hired in; those whose jobs nobody waits for any more end at once;
* a job that fails twice is an outcome with an error, not the end of the others. Mistakes that only a person can mend
  (`EarmarkError`) are not tried again.

Workers have one arithmetic thread each: two such finish nearly twice the retrainings of one with two threads, and weights
depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self

from lineage.errors import EarmarkError
from lineage.store import Store

EXECUTORS = ("local", "ray")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Job:
    """A call of `function` ('package.module:name') with `arguments` (picklable).

    Jobs of one `affinity` share something costly that a worker keeps; they go to the same worker while others are free.
    """

    function: str
    arguments: dict[str, Any]
    label: str = ""
    affinity: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its value, or why there is none. Seconds by the clock and of processors are the last attempt's."""

    job: Job
    value: Any
    error: str | None
    attempts: int
    wall_s: float
    cpu_s: float


class Executor(Protocol):
    """Something that runs jobs, as often as it is asked to while its context lasts."""

    @property
    def workers(self) -> int:
        """How many jobs are under way at a time."""

    def __enter__(self) -> Self:
        """Begin; workers are hired when there are jobs for them."""

    def __exit__(self, *_: object) -> None:
        """End all workers."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Run all jobs, begun in their order; their outcomes in the order in which they come."""


@lru_cache(maxsize=4)
def store_at(root: str) -> Store:
    """The store that jobs of this process share."""
    return Store.open(root)


@dataclass(frozen=True)
class Spread:
    """How work is spread. Results never hang on it.

    `kind` is 'local' (this process for one worker, else so many processes) or 'ray', `workers` how many jobs it does at a time.
    `address` is that of the Ray cluster: 'local' (one of this machine, for as long as it is worked with), 'auto' (the one that
    this machine belongs to), 'host:port' or 'ray://host:port'; by default what RAY_ADDRESS says, else 'local'.

    Raises:
        EarmarkError: no such kind, a number of workers that makes no sense, or an address where none belongs.
    """

    kind: str = "local"
    workers: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in EXECUTORS:
            raise EarmarkError(f"there is no executor '{self.kind}' — choose one of {', '.join(EXECUTORS)}")
        if not 1 <= self.workers <= 1024:
            raise EarmarkError(
                f"{self.workers} workers — give a number from 1 to {os.cpu_count() or 1}, the cores of this machine"
            )
        if self.address is not None and self.kind != "ray":
            raise EarmarkError(
                f"address {self.address} is that of a Ray cluster — add executor ray, or drop the address"
            )

    def at_most(self, jobs: int) -> Spread:
        """The same, without workers that so many jobs would leave idle."""
        return replace(self, workers=max(1, min(self.workers, jobs)))

    def team(self, threads: int = 1, *, gpus: float = 0, root: Path | None = None) -> Executor:
        """The workers, of `threads` arithmetic threads each.

        Args:
            threads: of each worker.
            gpus: GPUs of each worker that a cluster has to set aside; workers of this machine share what is there.
            root: of the store, which all workers must see, at the same path.
        """
        if self.kind == "ray":
            from influence.executors.ray import Ray

            return Ray(self.workers, threads, self.address, gpus=gpus, root=root)
        from influence.executors.in_process import InProcess
        from influence.executors.processes import Processes

        return InProcess() if self.workers == 1 else Processes(self.workers, threads)


ALONE = Spread()

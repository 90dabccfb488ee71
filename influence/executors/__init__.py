"""Executors: run many independent jobs somewhere, and hand back each outcome as it comes.

    for outcome in executor("ray", workers=16, address="auto", root=store.root).run(jobs): ...

`local` runs jobs in this process or in worker processes of this machine (`in_process`, `processes`), `ray` in actors of a Ray
cluster (`ray`). A job names a function and its arguments, so it can be sent to any process that can import the function. Jobs
are expected to put their results on record themselves, under keys; what travels back is small. From that follow the laws:

* a worker that is killed loses the job it was at, nothing else: the job is given to another worker, once;
* a parent that is killed takes its workers with it, and loses the jobs in flight;
* Ctrl-C stops all workers before it is passed on;
* a job that fails twice is an outcome with an error, not the end of the others. Mistakes that only a person can mend
  (`EarmarkError`) are not tried again.

Workers have one arithmetic thread each: two such finish nearly twice the retrainings of one with two threads, and weights
depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

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
    """What became of a job: its value, or why there is none. `wall_s` is the last attempt's."""

    job: Job
    value: Any
    error: str | None
    attempts: int
    wall_s: float


class Executor(Protocol):
    """Something that runs jobs."""

    @property
    def workers(self) -> int:
        """How many jobs are under way at a time."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Run all jobs; their outcomes in the order in which they come."""


@lru_cache(maxsize=4)
def store_at(root: str) -> Store:
    """The store that jobs of this process share."""
    return Store.open(root)


def executor(
    kind: str = "local",
    workers: int = 1,
    threads: int = 1,
    address: str | None = None,
    *,
    gpus: float = 0,
    root: Path | None = None,
) -> Executor:
    """What `--executor`, `--workers` and `--address` ask for.

    Args:
        kind: 'local' (this process for one worker, else so many processes) or 'ray'.
        workers: how many jobs at a time.
        threads: arithmetic threads of each worker.
        address: of the Ray cluster: 'local' (one of this machine, for as long as the jobs last), 'auto' (the one that this
            machine belongs to), 'host:port' or 'ray://host:port'; by default what RAY_ADDRESS says, else 'local'.
        gpus: GPUs of each worker that the cluster has to set aside; workers of this machine share what is there.
        root: of the store, which all workers must see, at the same path.

    Raises:
        EarmarkError: no such executor, a number of workers that makes no sense, or an address where none belongs.
    """
    if kind not in EXECUTORS:
        raise EarmarkError(f"there is no executor '{kind}' — choose one of {', '.join(EXECUTORS)}")
    if not 1 <= workers <= 1024:
        raise EarmarkError(
            f"{workers} workers — give a number from 1 to {os.cpu_count() or 1}, the cores of this machine"
        )
    if kind == "ray":
        from influence.executors.ray import Ray

        return Ray(workers, threads, address, gpus=gpus, root=root)
    if address is not None:
        raise EarmarkError(f"address {address} is that of a Ray cluster — add executor ray, or drop the address")
    from influence.executors.in_process import InProcess
    from influence.executors.processes import Processes

    return InProcess() if workers == 1 else Processes(workers, threads)

"""What executors promise: jobs go in, and each comes back as an outcome.

A job names a function and its arguments, so it can be sent to any process that can import the function. Jobs are expected to
put their results on record themselves, under keys; what travels back is small. From that follow the laws:

* a worker that is killed loses the job it was at, nothing else: the job is given to another worker, once;
* a parent that is killed takes its workers with it, and loses the jobs in flight;
* Ctrl-C stops all workers before it is passed on;
* workers end with the context that they were hired in; those whose jobs nobody waits for any more end at once;
* a job that fails twice is an outcome with an error, not the end of the others. Mistakes that only a person can mend
  (`EarmarkError`) are not tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

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

"""Jobs one after the other in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Self

from influence.executors.answers import ATTEMPTS, attempt
from influence.executors.contract import Job, Outcome


class InProcess:
    """The executor of one worker: the caller itself."""

    workers = 1

    def __enter__(self) -> Self:
        """See `Executor`."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `Executor`."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Executor`."""
        for job in sorted(jobs, key=lambda j: j.affinity):
            yield self._one(job)

    def _one(self, job: Job) -> Outcome:
        attempts = 0
        while True:
            attempts += 1
            begun = time.perf_counter()
            given = attempt(job.function, job.arguments)
            if not given.again or attempts == ATTEMPTS:
                return Outcome(job, given.value, given.error, attempts, time.perf_counter() - begun, given.cpu_s)

"""Where jobs are run, and how many at a time.

Workers have one arithmetic thread each unless asked otherwise: two such finish nearly twice the retrainings of one with two
threads, and weights depend on the number of threads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from influence.executors.contract import Executor
from influence.executors.in_process import InProcess
from influence.executors.processes import Processes
from lineage.errors import EarmarkError

EXECUTORS = ("local", "ray")


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
        return InProcess() if self.workers == 1 else Processes(self.workers, threads)


ALONE = Spread()

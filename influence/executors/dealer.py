"""Which job a worker is given next, and what becomes of a job that failed: the same for every executor with several workers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from influence.executors.answers import ATTEMPTS, Answer
from influence.executors.contract import Job, Outcome


@dataclass
class Task:
    """A job with the number of times it was given out, and when it last was."""

    job: Job
    attempts: int = 0
    begun: float = 0.0


class Dealer:
    """Deals `jobs` out and takes their answers, until each has an outcome."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = deque(Task(job) for job in jobs)
        self.open = len(jobs)

    @property
    def waiting(self) -> int:
        """How many jobs no worker has."""
        return len(self._waiting)

    def deal(self, warm: str, taken: Collection[str]) -> Task:
        """The next job for a worker: rather of affinity `warm`, then of none that others have `taken`, then the first."""
        chosen = next((t for t in self._waiting if warm and t.job.affinity == warm), None)
        chosen = chosen or next((t for t in self._waiting if t.job.affinity not in taken), self._waiting[0])
        self._waiting.remove(chosen)
        chosen.attempts += 1
        chosen.begun = time.perf_counter()
        return chosen

    def settle(self, task: Task, answer: Answer) -> Outcome | None:
        """The outcome of a job by its worker's answer; None where it will be tried again."""
        if answer.again and task.attempts < ATTEMPTS:
            self._waiting.append(task)
            return None
        self.open -= 1
        wall_s = time.perf_counter() - task.begun
        return Outcome(task.job, answer.value, answer.error, task.attempts, wall_s, answer.cpu_s)

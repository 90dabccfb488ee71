"""Executors: run many independent jobs, here or in worker processes, and hand back each outcome as it comes.

A job names a function and its arguments, so it can be sent to any process that can import the function. Jobs are expected
to put their results on record themselves, under keys; what travels back is small. From that follow the laws:

* a worker that is killed loses the job it was at, nothing else: the job is given to a fresh worker, once;
* a parent that is killed takes its workers with it within an instant, and loses the jobs in flight;
* Ctrl-C stops all workers before it is passed on;
* a job that fails twice is an outcome with an error, not the end of the others. Mistakes that only a person can mend
  (`EarmarkError`) are not tried again.

Workers have one arithmetic thread each: two such finish nearly twice the retrainings of one with two threads, and weights
depend on the number of threads.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from typing import IO, Any, Protocol

from influence.worker import resolve
from lineage.errors import EarmarkError
from lineage.store import Store

ATTEMPTS = 2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
GRACE_S = 2.0  # between asking a worker to end and ending it


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


def executor(workers: int, threads: int = 1) -> Executor:
    """In this process for one worker, in that many processes otherwise.

    Raises:
        EarmarkError: a number of workers that makes no sense.
    """
    if not 1 <= workers <= 1024:
        raise EarmarkError(
            f"{workers} workers — give a number from 1 to {os.cpu_count() or 1}, the cores of this machine"
        )
    return InProcess() if workers == 1 else Processes(workers, threads)


class InProcess:
    """Jobs one after the other in this process."""

    workers = 1

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Executor`."""
        for job in sorted(jobs, key=lambda j: j.affinity):
            yield self._one(job)

    def _one(self, job: Job) -> Outcome:
        for attempt in range(1, ATTEMPTS + 1):
            begun = time.perf_counter()
            try:
                value = resolve(job.function)(**job.arguments)
                return Outcome(job, value, None, attempt, time.perf_counter() - begun)
            except EarmarkError as error:
                return Outcome(job, None, str(error), attempt, time.perf_counter() - begun)
            except Exception:  # noqa: BLE001 - one job must not sink the others
                failure = traceback.format_exc()
        return Outcome(job, None, failure, ATTEMPTS, time.perf_counter() - begun)


@dataclass
class _Task:
    job: Job
    attempts: int = 0
    begun: float = 0.0


@dataclass
class _Worker:
    """A worker process, the socket to it, where its complaints go, and what it is doing."""

    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    complaints: IO[bytes]
    task: _Task | None = None
    affinity: str = ""

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        self.complaints.seek(0, os.SEEK_END)
        self.complaints.seek(max(0, self.complaints.tell() - 2000))
        return self.complaints.read().decode(errors="replace").strip()


@dataclass
class Processes:
    """Jobs in `workers` processes of `threads` arithmetic threads each; all end when `run` does."""

    workers: int
    threads: int = 1
    _team: list[_Worker] = field(default_factory=list)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Executor`."""
        waiting = deque(_Task(job) for job in jobs)
        left = len(waiting)
        try:
            while left:
                self._assign(waiting)
                for worker in self._ready():
                    outcome = self._hear(worker, waiting)
                    if outcome is not None:
                        left -= 1
                        yield outcome
        finally:
            self._dismiss()

    def _assign(self, waiting: deque[_Task]) -> None:
        """Give every idle worker a job, hiring as long as there are more jobs than workers."""
        while waiting:
            worker = next((w for w in self._team if w.task is None), None)
            if worker is None:
                if len(self._team) >= self.workers:
                    return
                worker = self._hire()
            task = self._choose(worker, waiting)
            worker.task, worker.affinity, task.begun = task, task.job.affinity, time.perf_counter()
            task.attempts += 1
            try:
                worker.connection.send((0, task.job.function, task.job.arguments))
            except OSError:  # it has just died; that is heard of next
                continue

    def _choose(self, worker: _Worker, waiting: deque[_Task]) -> _Task:
        """Rather what the worker is warm for, then what nobody else is warm for, then whatever is first."""
        taken = {w.affinity for w in self._team if w is not worker}
        chosen = next((t for t in waiting if worker.affinity and t.job.affinity == worker.affinity), None)
        chosen = chosen or next((t for t in waiting if t.job.affinity not in taken), waiting[0])
        waiting.remove(chosen)
        return chosen

    def _ready(self) -> list[_Worker]:
        heard = wait([w.connection for w in self._team])
        return [w for w in self._team if w.connection in heard]

    def _hear(self, worker: _Worker, waiting: deque[_Task]) -> Outcome | None:
        """The outcome that a worker reports, None where its job will be tried again."""
        task = worker.task
        try:
            _, value, for_person = worker.connection.recv()
        except (EOFError, OSError):
            value, for_person = self._bury(worker), False
        worker.task = None
        if task is None:
            return None
        wall = time.perf_counter() - task.begun
        if for_person is None:
            return Outcome(task.job, value, None, task.attempts, wall)
        if not for_person and task.attempts < ATTEMPTS:
            waiting.append(task)
            return None
        return Outcome(task.job, None, value, task.attempts, wall)

    def _hire(self) -> _Worker:
        ours, theirs = socket.socketpair()
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the worker is buried or dismissed
        threads = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        process = subprocess.Popen(
            [sys.executable, "-m", "influence.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=complaints,
            stderr=complaints,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's to deal with
        )
        theirs.close()
        connection: Connection[Any, Any] = Connection(ours.detach())
        connection.send(sys.path)
        worker = _Worker(process, connection, complaints)
        self._team.append(worker)
        return worker

    def _bury(self, worker: _Worker) -> str:
        """Remove a worker that has died; says how."""
        self._team.remove(worker)
        worker.connection.close()
        status = worker.process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        words = worker.last_words()
        worker.complaints.close()
        return f"the worker {how}" + (f"; its last words: {words}" if words else "")

    def _dismiss(self) -> None:
        """End all workers, those in the middle of a job too."""
        for worker in self._team:
            worker.connection.close()
            worker.process.terminate()
        deadline = time.monotonic() + GRACE_S
        for worker in self._team:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.complaints.close()
        self._team.clear()

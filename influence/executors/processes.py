"""Jobs in worker processes of this machine, each at the other end of a socket (see `worker`)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import IO, Any, Self

from influence.executors.answers import Answer
from influence.executors.contract import THREAD_VARIABLES, Job, Outcome
from influence.executors.dealer import Dealer, Task

GRACE_S = 2.0  # between asking a worker to end and ending it


@dataclass
class _Worker:
    """A worker process, the socket to it, where its complaints go, and what it is doing."""

    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    complaints: IO[bytes]
    task: Task | None = None
    affinity: str = ""

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        self.complaints.seek(0, os.SEEK_END)
        self.complaints.seek(max(0, self.complaints.tell() - 2000))
        return self.complaints.read().decode(errors="replace").strip()


@dataclass
class Processes:
    """Jobs in `workers` processes of `threads` arithmetic threads each."""

    workers: int
    threads: int = 1
    _team: list[_Worker] = field(default_factory=list)

    def __enter__(self) -> Self:
        """See `Executor`."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `Executor`."""
        self._dismiss(self._team)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Executor`."""
        dealer = Dealer(jobs)
        for worker in [w for w in self._team if w.process.poll() is not None]:
            self._bury(worker)  # died idle, since the last run
        try:
            while dealer.open:
                self._assign(dealer)
                for worker in self._ready():
                    outcome = self._hear(worker, dealer)
                    if outcome is not None:
                        yield outcome
        finally:
            self._dismiss(w for w in self._team if w.task is not None)

    def _assign(self, dealer: Dealer) -> None:
        """Give every idle worker a job, hiring as long as there are more jobs than workers."""
        while dealer.waiting:
            worker = next((w for w in self._team if w.task is None), None)
            if worker is None:
                if len(self._team) >= self.workers:
                    return
                worker = self._hire()
            worker.task = dealer.deal(worker.affinity, {w.affinity for w in self._team if w is not worker})
            job = worker.task.job
            worker.affinity = job.affinity
            try:
                worker.connection.send((job.function, job.arguments))
            except OSError:  # it has just died; that is heard of next
                continue

    def _ready(self) -> list[_Worker]:
        heard = wait([w.connection for w in self._team])
        return [w for w in self._team if w.connection in heard]

    def _hear(self, worker: _Worker, dealer: Dealer) -> Outcome | None:
        """The outcome that a worker reports, None where its job will be tried again."""
        task = worker.task
        try:
            answer = worker.connection.recv()
        except (EOFError, OSError):
            answer = Answer(None, self._bury(worker), again=True)
        worker.task = None
        return None if task is None else dealer.settle(task, answer)

    def _hire(self) -> _Worker:
        ours, theirs = socket.socketpair()
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the worker is buried or dismissed
        threads = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        process = subprocess.Popen(
            [sys.executable, "-m", "influence.executors.worker", str(theirs.fileno())],
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

    def _dismiss(self, workers: Iterable[_Worker]) -> None:
        """End these workers, in the middle of a job or not."""
        leaving = list(workers)
        for worker in leaving:
            self._team.remove(worker)
            worker.connection.close()
            worker.process.terminate()
        deadline = time.monotonic() + GRACE_S
        for worker in leaving:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.complaints.close()

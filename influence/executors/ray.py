"""Jobs in actors of a Ray cluster, on one machine or many (https://docs.ray.io).

An actor is a worker process that Ray starts wherever the cluster has room; it keeps what its jobs cache, like a worker of
this machine does. All of them write to one store, so its folder has to be on a file system that every node sees, at the same
path; and results hang on code and packages, so these have to be the same everywhere. Both are asked of every worker before it
is given a job. Workers for which there is no room yet wait for it, and an autoscaling cluster makes room.

A cluster of address `local` listens on the loopback interface only, and ends with the context of its workers. Where the
caller is connected to a cluster already, that one is used and left as it is.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from influence.executors.answers import ATTEMPTS, Answer, Answering
from influence.executors.contract import THREAD_VARIABLES, Job, Outcome
from influence.executors.dealer import Dealer, Task
from lineage.errors import EarmarkError
from lineage.identity import uuid7
from lineage.machine.environment import PACKAGES, code_version, package_versions

START_S = 180.0  # for the first worker to be there
OBJECT_STORE_BYTES = 128 << 20  # jobs and answers are small, and containers often have little shared memory
OWN_CODE = ("lineage", "training", "influence")


class Actor(Answering):
    """A worker, in a process of the cluster."""

    def greet(self, marker: str | None) -> dict[str, Any]:
        """Who it is, what it would compute with, and whether it sees the file `marker`."""
        return {"node": socket.gethostname(), "made_of": _made_of(), "sees": marker is None or Path(marker).exists()}


@dataclass
class _Worker:
    """An actor, the answer that it owes, and to which job; to none before it has greeted."""

    actor: Any
    owed: Any
    task: Task | None = None
    affinity: str = ""
    greeted: bool = False


@dataclass
class Ray:
    """Jobs in `workers` actors of `threads` arithmetic threads and `gpus` GPUs each."""

    workers: int
    threads: int = 1
    address: str | None = None
    gpus: float = 0
    root: Path | None = None
    _team: list[_Worker] = field(default_factory=list)
    _failed: int = 0  # workers in a row that did not come to greet
    _held: ExitStack = field(default_factory=ExitStack)
    _cluster: tuple[ModuleType, str | None] | None = None  # and the marker in the store, once there were jobs

    def __enter__(self) -> Self:
        """See `Executor`."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `Executor`."""
        self._cluster = None
        self._held.close()

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Executor`.

        Raises:
            EarmarkError: no cluster, no worker, or a worker that does not see the store or would compute otherwise.
        """
        if not jobs:
            return
        dealer = Dealer(jobs)
        ray, marker = self._cluster = self._cluster or self._connected()
        self._recall(ray, marker)
        try:
            while dealer.open:
                self._assign(ray, dealer, marker)
                for worker in self._ready(ray):
                    outcome = self._hear(ray, worker, dealer)
                    if outcome is not None:
                        yield outcome
        finally:
            self._dismiss(ray, [w for w in self._team if w.task is not None])

    def _connected(self) -> tuple[ModuleType, str | None]:
        """The cluster and the marker in the store, until the context ends."""
        ray = self._held.enter_context(cluster(self.address, self.workers * self.threads))
        marker = self._held.enter_context(_marked(self.root))
        self._held.callback(lambda: self._dismiss(ray, list(self._team)))
        return ray, marker

    def _recall(self, ray: ModuleType, marker: str | None) -> None:
        """Have workers that were hired in an earlier run greet again, so that one that was lost meanwhile costs no job."""
        for worker in [w for w in self._team if w.greeted]:
            try:
                ray.get(worker.actor.greet.remote(marker))
            except ray.exceptions.RayError:
                self._bury(ray, worker)

    def _assign(self, ray: ModuleType, dealer: Dealer, marker: str | None) -> None:
        """Hire as many workers as there are jobs for, and give every idle one a job."""
        while len(self._team) < min(self.workers, dealer.open):
            self._team.append(self._hire(ray, marker))
        for worker in self._team:
            if dealer.waiting and worker.greeted and worker.task is None:
                worker.task = dealer.deal(worker.affinity, {w.affinity for w in self._team if w is not worker})
                job = worker.task.job
                worker.affinity = job.affinity
                worker.owed = worker.actor.answer.remote(job.function, job.arguments)

    def _ready(self, ray: ModuleType) -> list[_Worker]:
        owing = {w.owed: w for w in self._team if w.task is not None or not w.greeted}
        patience = None if any(w.greeted for w in self._team) else START_S
        ready, _ = ray.wait(list(owing), timeout=patience)
        if not ready:
            have = ray.cluster_resources()
            raise EarmarkError(
                f"no worker came up on the Ray cluster within {START_S:.0f} s: one takes {self.threads} CPUs and "
                f"{self.gpus:g} GPUs, and the cluster has {have.get('CPU', 0):g} and {have.get('GPU', 0):g} in all, some "
                f"perhaps taken — wait until there is room, or give it more nodes"
            )
        return [owing[ref] for ref in ready]

    def _hear(self, ray: ModuleType, worker: _Worker, dealer: Dealer) -> Outcome | None:
        """The outcome that a worker reports, None where there is none yet."""
        task = worker.task
        try:
            heard = ray.get(worker.owed)
        except ray.exceptions.RayError as error:
            answer = Answer(None, f"the worker was lost: {_in_one_line(error)}", again=True)
            self._bury(ray, worker)
        else:
            if task is None:
                welcome(heard, self.root)
                worker.greeted, self._failed = True, 0
                return None
            answer = heard
        worker.task = None
        if task is not None:
            return dealer.settle(task, answer)
        self._failed += 1
        if self._failed >= ATTEMPTS:
            raise EarmarkError(
                f"{answer.error} — workers do not come up; see that every node has this Earmark installed"
            )
        return None

    def _hire(self, ray: ModuleType, marker: str | None) -> _Worker:
        settings = {**dict.fromkeys(THREAD_VARIABLES, str(self.threads)), "TOKENIZERS_PARALLELISM": "false"}
        actor = (
            ray.remote(Actor)
            .options(num_cpus=self.threads, num_gpus=self.gpus, max_restarts=0, runtime_env={"env_vars": settings})
            .remote()
        )
        return _Worker(actor, actor.greet.remote(marker))

    def _bury(self, ray: ModuleType, worker: _Worker) -> None:
        self._team.remove(worker)
        with suppress(ray.exceptions.RayError):
            ray.kill(worker.actor)

    def _dismiss(self, ray: ModuleType, workers: Sequence[_Worker]) -> None:
        """End these workers, in the middle of a job or not."""
        for worker in workers:
            self._bury(ray, worker)


@contextmanager
def cluster(address: str | None, cpus: int) -> Iterator[ModuleType]:
    """Within, this process is connected to the cluster at `address`; one of this machine's own gets `cpus` CPUs.

    Raises:
        EarmarkError: Ray is not installed, does not start, or does not answer.
    """
    ray = _installed()
    if ray.is_initialized():
        yield ray
        return
    theirs = signal.getsignal(signal.SIGTERM)  # Ray puts its own in its place
    try:
        _connect(ray, address or os.environ.get("RAY_ADDRESS") or "local", cpus)
        yield ray
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, theirs)


def _installed() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise EarmarkError("Ray is not installed — pip install 'earmark[ray]', or take executor local") from None
    return ray


def _connect(ray: ModuleType, address: str, cpus: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if address != "local":
        try:
            ray.init(address=address, **quiet)
        except Exception as error:  # Ray raises whatever comes
            raise EarmarkError(
                f"no Ray cluster answers at {address}: {_in_one_line(error)} — start one (ray start --head), or give "
                "address local"
            ) from error
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    for attempt in range(1, ATTEMPTS + 1):  # on a busy machine its parts may wait for each other for too long
        try:
            ray.init(
                address="local", num_cpus=cpus, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1", _system_config={"prestart_worker_first_driver": False}, **quiet,
            )  # fmt: skip
        except Exception as error:  # Ray raises whatever comes
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise EarmarkError(
                    f"Ray does not start on this machine: {_in_one_line(error)} — see the newest logs under its "
                    "temporary folder, or take executor local"
                ) from error
        else:
            return


def _made_of() -> dict[str, str]:
    """Versions of everything on which results hang."""
    return {**{name: code_version(name) for name in OWN_CODE}, **package_versions(*PACKAGES)}


def welcome(greeting: dict[str, Any], root: Path | None) -> None:
    """Let a worker in by its greeting (see `Actor.greet`).

    Raises:
        EarmarkError: it does not see the store at `root`, or is made of other code or packages than this process.
    """
    if not greeting["sees"]:
        raise EarmarkError(
            f"node {greeting['node']} of the Ray cluster does not see the store at {root} — put it on a file system that "
            "all nodes share, at the same path"
        )
    theirs, ours = greeting["made_of"], _made_of()
    odd = [
        f"{n} {theirs.get(n, 'none')} instead of {ours.get(n, 'none')}"
        for n in ours | theirs
        if theirs.get(n) != ours.get(n)
    ]
    if odd:
        raise EarmarkError(
            f"node {greeting['node']} of the Ray cluster has {', '.join(sorted(odd))}; its results would be others — "
            "install the same on all nodes"
        )


@contextmanager
def _marked(root: Path | None) -> Iterator[str | None]:
    """A new file in the store, by which a worker tells that it sees the very same; `lineage.compaction.sweep` finds it if we
    die."""
    if root is None:
        yield None
        return
    marker = root.resolve() / "artifacts" / f".{uuid7()}.tmp"
    marker.touch()
    try:
        yield str(marker)
    finally:
        marker.unlink(missing_ok=True)


def _in_one_line(error: BaseException) -> str:
    """An error's text without line breaks, cut where it grows too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"

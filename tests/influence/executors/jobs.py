"""Jobs that succeed, fail, die or dawdle, and how to wait for what they do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from influence.executors.contract import Executor, Job, Outcome
from lineage.errors import EarmarkError

HERE = "tests.influence.executors.jobs"


def square(x: int) -> int:
    return x * x


def fail_once(mark: str) -> str:
    """Fails on its first call, by whichever process."""
    if not Path(mark).exists():
        Path(mark).touch()
        raise RuntimeError("the first time")
    return "at last"


def die_once(mark: str) -> str:
    """Kills its process on the first call."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def mend_me(mark: str) -> None:
    """Counts its calls, then complains to a person."""
    with Path(mark).open("a") as stream:
        stream.write("x")
    raise EarmarkError("write something else")


def who(x: int) -> tuple[int, int, str | None]:
    return x, os.getpid(), os.environ.get("OMP_NUM_THREADS")


def dawdle(mark: str) -> None:
    """Says that it has begun, and never ends."""
    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)


def done(runner: Executor, jobs: Sequence[Job]) -> list[Outcome]:
    """Have jobs done by workers that are there for them alone."""
    with runner as team:
        return list(team.run(jobs))


def leave_early(team: Executor, mark: Path) -> int:
    """Turn away from a run in the middle: its busy worker ends; the idle one serves on, and its process id is returned."""
    outcomes = team.run([job("dawdle", mark=str(mark)), job("who", x=1)])
    idle: int = next(iter(outcomes)).value[1]
    busy = int(wait_for(mark))
    outcomes.close()  # type: ignore[attr-defined]
    wait_gone(busy)
    assert next(iter(team.run([job("who", x=2)]))).value[1] == idle
    return idle


def job(name: str, affinity: str = "", **arguments: object) -> Job:
    return Job(f"{HERE}:{name}", arguments, affinity=affinity)


def wait_for(mark: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if mark.exists() and mark.read_text():
            return mark.read_text()
        time.sleep(0.02)
    raise AssertionError("the job did not begin")


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").exists() and ") Z" in Path(f"/proc/{pid}/stat").read_text():
            return  # dead, and waiting for init to notice
        time.sleep(0.02)
    raise AssertionError(f"worker {pid} outlived its parent")

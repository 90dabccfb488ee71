from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from influence.executors.contract import Executor, Job
from influence.executors.in_process import InProcess
from influence.executors.processes import Processes
from influence.executors.spread import Spread
from lineage.errors import EarmarkError
from tests.influence.executors.jobs import HERE, done, job, leave_early, wait_for, wait_gone

BOTH = pytest.mark.parametrize("runner", [InProcess(), Processes(2)], ids=["in-process", "processes"])


@BOTH
def test_every_job_has_one_outcome(runner: Executor) -> None:
    found = done(runner, [job("square", x=i) for i in range(7)])
    assert sorted(o.value for o in found) == [i * i for i in range(7)]
    assert {o.attempts for o in found} == {1}


@BOTH
def test_a_job_that_fails_is_tried_once_more(runner: Executor, tmp_path: Path) -> None:
    found = done(runner, [job("fail_once", mark=str(tmp_path / "mark")), job("square", x=2)])
    assert {o.value for o in found} == {"at last", 4}
    assert max(o.attempts for o in found) == 2


@BOTH
def test_a_job_that_fails_twice_does_not_sink_the_others(runner: Executor) -> None:
    found = {o.job.function: o for o in done(runner, [job("no_such_function"), job("square", x=3)])}
    assert found[f"{HERE}:square"].value == 9
    failed = found[f"{HERE}:no_such_function"]
    assert failed.value is None
    assert "no_such_function" in (failed.error or "")


@BOTH
def test_what_a_person_has_to_mend_is_not_tried_again(runner: Executor, tmp_path: Path) -> None:
    found = done(runner, [job("mend_me", mark=str(tmp_path / "mark"))])
    assert found[0].error == "write something else"
    assert (tmp_path / "mark").read_text() == "x"


def test_workers_are_other_processes_with_one_thread() -> None:
    found = [o.value for o in done(Processes(2), [job("who", x=i) for i in range(6)])]
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert len({pid for _, pid, _ in found}) <= 2
    assert {threads for _, _, threads in found} == {"1"}


def test_jobs_of_one_affinity_keep_to_one_worker() -> None:
    jobs = [job("who", affinity="ab"[i % 2], x=i) for i in range(12)]
    found = [(o.job.affinity, o.value[1]) for o in done(Processes(2), jobs)]
    assert len(set(found)) <= 3  # two, or three where the last job was taken over by an idle worker


def test_a_killed_worker_loses_one_job_and_that_is_done_again(tmp_path: Path) -> None:
    jobs = [job("die_once", mark=str(tmp_path / "mark")), *[job("square", x=i) for i in range(5)]]
    found = done(Processes(2), jobs)
    assert {o.value for o in found} == {"survived", 0, 1, 4, 9, 16}


def test_a_worker_that_always_dies_is_reported() -> None:
    found = done(Processes(1), [Job("os:abort", {})])
    assert "killed by signal 6" in (found[0].error or "")


def test_stopping_early_ends_the_workers(tmp_path: Path) -> None:
    with Processes(2) as team:
        idle = leave_early(team, tmp_path / "mark")
    wait_gone(idle)


def test_workers_serve_one_run_after_the_other() -> None:
    with Processes(2) as team:
        rounds = [{o.value[1] for o in team.run([job("who", x=i) for i in range(8)])} for _ in range(3)]
    assert len(set.union(*rounds)) <= 2
    for pid in set.union(*rounds):
        wait_gone(pid)


def test_a_worker_that_is_killed_between_two_runs_costs_no_job() -> None:
    with Processes(1) as team:
        pid = next(iter(team.run([job("who", x=1)]))).value[1]
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        (found,) = team.run([Job("os:abort", {})])
        assert found.attempts == 2
        (found,) = team.run([job("who", x=2)])
        assert found.attempts == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    mark = tmp_path / "mark"
    script = (
        "from influence.executors.contract import Job\n"
        "from influence.executors.spread import Spread\n"
        "with Spread(workers=2).team() as team:\n"
        f"    list(team.run([Job('{HERE}:dawdle', {{'mark': {str(mark)!r}}})]))\n"
    )
    root = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs are deaf to it
    )  # fmt: skip
    pid = int(wait_for(mark))
    parent.send_signal(how)
    parent.wait(10)
    wait_gone(pid)


def test_spreads_that_make_no_sense_are_refused() -> None:
    for workers in (0, -1, 10_000):
        with pytest.raises(EarmarkError, match="workers"):
            Spread(workers=workers)
    with pytest.raises(EarmarkError, match="choose one of local, ray"):
        Spread("slurm")
    with pytest.raises(EarmarkError, match="add executor ray"):
        Spread(address="auto")
    assert Spread("ray", 8, "auto").at_most(3) == Spread("ray", 3, "auto")
    assert Spread(workers=2).at_most(0) == Spread()

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from influence.bank import Retraining, fill
from influence.executors import ray as ours
from influence.executors.contract import Job
from influence.executors.ray import Ray, cluster
from influence.executors.spread import Spread
from influence.games.coalitions import interact
from lineage.errors import EarmarkError
from lineage.selection.sets import resolve_set
from lineage.store import Store
from tests.influence.conftest import make_store
from tests.influence.executors.jobs import done, job, leave_early, wait_gone
from training.recipe import Recipe

pytest.importorskip("ray")
ASKED = os.environ.get("EARMARK_TEST_RAY", "")  # 1, or the address of a cluster of this machine that is there already
on_a_cluster = pytest.mark.skipif(not ASKED, reason="a cluster takes a minute; set EARMARK_TEST_RAY=1")


def test_a_missing_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EarmarkError, match=r"pip install 'earmark\[ray\]'"):
        done(Spread("ray", 2).team(), [job("square", x=1)])


@pytest.mark.skipif(ASKED not in ("", "1"), reason="there is one")
def test_where_no_cluster_is_the_address_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(EarmarkError, match="no Ray cluster answers at auto"), cluster("auto", 1):
        pass


def test_workers_that_would_compute_otherwise_are_not_given_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    greeting = ours.Actor().greet(None)
    ours.welcome(greeting, None)
    monkeypatch.setitem(greeting["made_of"], "training", "0.0.0+of-another-day")
    with pytest.raises(EarmarkError, match=r"training 0\.0\.0\+of-another-day instead of"):
        ours.welcome(greeting, None)


@pytest.fixture(scope="module")
def _here() -> Iterator[None]:
    """A cluster of two CPUs on this machine, with which the tests that follow are connected."""
    with cluster("local" if ASKED == "1" else ASKED, 2):
        yield


@on_a_cluster
@pytest.mark.usefixtures("_here")
def test_failed_and_killed_jobs_are_tried_once_more_and_do_not_sink_the_others(tmp_path: Path) -> None:
    """The laws of `test_executors`, of workers of Ray; in one run, for its workers are slow to come up."""
    fails, dies, mends = (str(tmp_path / name) for name in ("fails", "dies", "mends"))
    jobs = [
        job("fail_once", mark=fails), job("die_once", mark=dies), job("mend_me", mark=mends), job("no_such_function"),
        Job("os:abort", {}), *[job("who", x=i) for i in range(3)],
    ]  # fmt: skip
    outcomes = done(Ray(2), jobs)
    found = {o.job.function.partition(":")[2]: o for o in outcomes}
    assert [found[n].value for n in ("fail_once", "die_once")] == ["at last", "survived"]
    assert [found[n].attempts for n in ("fail_once", "die_once", "mend_me", "who", "abort")] == [2, 2, 1, 1, 2]
    assert found["mend_me"].error == "write something else"
    assert "no_such_function" in (found["no_such_function"].error or "")
    assert "the worker was lost" in (found["abort"].error or "")
    who = [o.value for o in outcomes if o.job.function.endswith(":who")]
    assert sorted(x for x, _, _ in who) == [0, 1, 2]
    assert os.getpid() not in {pid for _, pid, _ in who}
    assert {threads for _, _, threads in who} == {"1"}


@on_a_cluster
@pytest.mark.usefixtures("_here")
def test_stopping_early_ends_the_workers(tmp_path: Path) -> None:
    with Ray(2) as team:
        idle = leave_early(team, tmp_path / "mark")
        os.kill(idle, signal.SIGKILL)
        (found,) = team.run([job("who", x=3)])
        assert found.attempts == 1
        assert found.value[1] != idle
    wait_gone(found.value[1])


@on_a_cluster
@pytest.mark.usefixtures("_here")
def test_workers_that_do_not_see_the_store_are_not_given_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def elsewhere(root: Path | None) -> Iterator[str]:
        yield str(tmp_path / "not there")

    monkeypatch.setattr(ours, "_marked", elsewhere)
    with pytest.raises(EarmarkError, match="does not see the store"):
        done(Ray(1, root=tmp_path), [job("square", x=1)])


@on_a_cluster
@pytest.mark.usefixtures("_here")
def test_a_bank_whose_worker_is_killed_in_the_middle_holds_the_same_models(recipe: Recipe, tmp_path: Path) -> None:
    asked = [Retraining(seed) for seed in range(4)]
    here, there = (make_store(tmp_path / name) for name in ("here", "there"))
    test_set = resolve_set(here, "test").digest
    expected = fill(here, recipe, asked, [test_set])
    killed: list[int] = []
    murderer = threading.Thread(target=_kill_one_that_trains, args=(there, killed))
    murderer.start()
    made = fill(there, recipe, asked, [test_set], spread=Spread("ray", 2))
    murderer.join()
    assert killed
    assert not made.errors
    assert [r.model_id for r in made.results if r] == [r.model_id for r in expected.results if r]
    assert sum(r.kind == "train" and r.status == "completed" for r in there.runs()) == len(asked)
    assert not list((there.root / "artifacts").glob(".*.tmp"))


@on_a_cluster
@pytest.mark.usefixtures("_here")
def test_a_game_on_a_cluster_finds_the_same_though_a_worker_is_killed(recipe: Recipe, tmp_path: Path) -> None:
    here = make_store(tmp_path / "here")
    shutil.copytree(here.root, tmp_path / "there")
    there = Store.open(tmp_path / "there")
    asked: dict[str, Any] = {"slices": ["accent=north", "accent=south"], "seeds": 2, "replicates": 50}
    short = recipe.variant(epochs=1, checkpoints=0)
    killed: list[int] = []
    murderer = threading.Thread(target=_kill_one_that_trains, args=(there, killed))
    murderer.start()
    found = interact(there, short, **asked, spread=Spread("ray", 2))
    murderer.join()
    assert killed
    assert (found.trained, dict(found.failures)) == (8, {})
    assert found.rows == interact(here, short, **asked).rows


def _kill_one_that_trains(store: Store, killed: list[int]) -> None:
    """SIGKILL the first other process that has begun to write a run into `store`."""
    deadline = time.monotonic() + 120
    while not killed and time.monotonic() < deadline:
        time.sleep(0.02)
        if not any((store.root / "running").glob("[!.]*")):
            continue
        for process in psutil.process_iter(["name"]):
            if not (process.info["name"] or "").startswith("ray::") or process.pid == os.getpid():
                continue
            if any("/running/" in f.path for f in process.open_files()):
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)
                return

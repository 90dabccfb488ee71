"""An audit that is killed again and again, wherever it happens to be, finds what one that was left alone finds.

Each life of the audit is a process of its own, ended by SIGKILL at a random moment. The clock is the record: a life is to end
once it has published a random number of runs more and, mostly, the next has begun, after a random part of the time that this
next run took when the audit was left alone. The first dies over the plan, the last two over the statistics. One life has
workers of their own, which are not killed and have to notice by themselves.

What was ever begun is known from the events that runs leave when they begin, those that died among them.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from influence.audit import AuditReport, run
from influence.executors.spread import Spread
from influence.plans.planfile import AuditPlan
from lineage.proof.log import Log
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from tests.influence.conftest import make_store
from training.recipe import Recipe

KILLS = 10
SPREAD = (5,)  # lives with two workers
CALM = (0, 4)  # lives that may end while no run is being written
LONGEST_S = 120.0
PLAN = {
    "slices": ["accent=north"],
    "null": ["accent=north"],
    "planted": {"share": 0.25, "words": 1},
    "seeds": 2,
    "controls": {"number": 1},
    "hypotheses": ["removing accent=north raises WER on all by more than 1 point"],
    "statistics": {"replicates": 10_000},
}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_main")]


def live(root: Path, recipe: Recipe, workers: int) -> None:
    """One life: the audit, at the head of a group of processes."""
    os.setsid()
    run(Store.open(root), AuditPlan.parse({"recipe": recipe, **PLAN}), spread=Spread(workers=workers))


class Audit:
    """An audit's store, watched from outside while it is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._before = {r.id for r in Store.open(root).runs()}

    def published(self) -> set[str]:
        """Runs of the audit that are on record: those that the log names, for a manifest alone may be of one that died."""
        return {entry.run for entry in Log(self.root).entries()} - self._before

    def begun(self) -> set[str]:
        """Runs that ever began."""
        return {path.stem for path in (self.root / "openlineage").glob("*.ndjson")} - self._before

    def kind(self, run_id: str) -> str:
        """What a run told when it began."""
        first = (self.root / "openlineage" / f"{run_id}.ndjson").read_text().partition("\n")[0]
        kind: str = json.loads(first)["job"]["facets"]["jobType"]["jobType"]
        return kind.lower()

    def runs(self) -> list[RunInfo]:
        """Those on record, in the order in which they ended."""
        return sorted((r for r in Store.open(self.root).runs() if r.id not in self._before), key=lambda r: r.ended)


def end(audit: Audit, recipe: Recipe, workers: int, after: int, inside: bool, wait_s: float) -> None:
    """Begin a life and kill it `wait_s` after `after` runs are on record and, for `inside`, another has begun."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["influence.audit", "training.families.whisper", "openlineage.client"])
    process, dead = context.Process(target=live, args=(audit.root, recipe, workers)), audit.begun() - audit.published()
    process.start()
    deadline = time.monotonic() + LONGEST_S
    while process.is_alive() and time.monotonic() < deadline:
        there = audit.published()
        if len(there) >= after and not (inside and audit.begun() <= there | dead):
            break
        time.sleep(0.005)
    process.join(wait_s)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    time.sleep(0.5 if workers > 1 else 0.0)  # workers have that long to notice


def found(report: AuditReport) -> dict[str, Any]:
    """Everything that an audit says."""
    said = asdict(report)
    return {name: said[name] for name in ("audit", "effects", "hypotheses", "checks", "failures", "retrainings")}


def say(text: str) -> None:
    """For a person who runs it with -s, or reads why it failed."""
    sys.stdout.write(text + "\n")


def test_an_audit_killed_ten_times_is_the_one_that_was_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.variant(save_steps=4, save_seconds=0, checkpoints=0)
    left_alone = Audit(make_store(tmp_path / "alone").root)
    shutil.copytree(left_alone.root, tmp_path / "killed")
    killed = Audit(tmp_path / "killed")
    clock = time.time()
    expected = run(Store.open(left_alone.root), AuditPlan.parse({"recipe": recipe, **PLAN}))
    ends = [clock, *(r.ended.timestamp() for r in left_alone.runs())]
    took = [later - earlier for earlier, later in itertools.pairwise(ends)]
    last = len(took) - 1
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    say(f"seed {seed}; left alone: {len(took)} runs in {sum(took):.1f} s")

    stages: Counter[str] = Counter()
    for life in range(KILLS):
        before, workers = killed.begun(), 2 if life in SPREAD else 1
        further = 0 if life == 0 else last if life >= KILLS - 2 else chance.randint(0, 2 * last // KILLS)
        after = min(len(killed.published()) + further, last)
        part = chance.uniform(
            0, 0.5 if after < last else 0.1
        )  # of the last, a machine less busy now may be through sooner
        end(killed, recipe, workers, after, life not in CALM and after < last, part * took[after])
        there = killed.published()
        died = [killed.kind(i) for i in killed.begun() - before - there]
        assert len(died) <= workers
        stages.update(died or ["between" if len(there) < last else "statistics"])
        say(f"life {life}, {workers} worker(s): {len(there)} on record, died: {', '.join(died) or '-'}")
    report = run(Store.open(killed.root), AuditPlan.parse({"recipe": recipe, **PLAN}))

    say(f"killed in {dict(stages)}; begun {dict(Counter(map(killed.kind, killed.begun())))}")
    assert found(report) == found(expected)
    done = killed.runs()
    assert {r.status for r in done} == {"completed"}
    assert len({r.key for r in done}) == len(done) == len(took)
    begun = Counter(map(killed.kind, killed.begun()))
    for kind in begun:
        assert begun[kind] == sum(r.kind == kind for r in done) + stages[kind]
    assert stages["statistics"]
    assert set(stages) - {"between", "statistics"}

"""A lease is held by one at a time, outlives no death by long, and whoever lost it is told."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineage.errors import Conflict
from lineage.storage.lease import hold

RACE = """
import os, sys, time
from pathlib import Path
from lineage.errors import Conflict
from lineage.storage.lease import hold
root, start = Path(sys.argv[1]), time.time() + 0.3
children = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        time.sleep(max(0, start - time.time()))
        try:
            with hold(root, "work", 30.0):
                time.sleep(0.5)
            os._exit(0)
        except Conflict:
            os._exit(3)
    children.append(pid)
print(sorted(os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children))
"""


def test_of_many_that_try_at_once_one_gets_it(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", RACE, str(tmp_path)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str([0, *[3] * 7]), done.stderr
    assert [p.name for p in (tmp_path / "leases").iterdir()] == ["work.2.json"]


def test_it_is_free_again_once_given_back(tmp_path: Path) -> None:
    for _ in range(3):
        with hold(tmp_path, "work") as lease:
            lease.check()
            with pytest.raises(Conflict, match="wait for it"), hold(tmp_path, "work"):
                pass
            with hold(tmp_path, "other"):
                pass


HOLDER = """
import sys, time
from pathlib import Path
from lineage.storage.lease import hold
with hold(Path(sys.argv[1]), "work", 1.0):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lease_of_a_dead_process_runs_out_and_that_of_a_living_one_does_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        time.sleep(1.5)  # longer than it was taken for: it is renewed
        with pytest.raises(Conflict), hold(tmp_path, "work"):
            pass
        holder.kill()
    end = time.time() + 5
    while True:
        try:
            with hold(tmp_path, "work"):
                break
        except Conflict:
            assert time.time() < end
            time.sleep(0.05)


def test_whoever_slept_too_long_finds_it_lost(tmp_path: Path) -> None:
    with hold(tmp_path, "work", 30.0) as slept:
        path = next((tmp_path / "leases").iterdir())
        path.write_text('{"process": 1, "host": "here", "until": 0.0}')  # as if its time had run out
        with hold(tmp_path, "work", 30.0) as thief:
            with pytest.raises(Conflict, match="taken by another"):
                slept.check()
            thief.check()


def test_a_damaged_lease_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "work.7.json").write_text("{")
    with hold(tmp_path, "work") as lease:
        lease.check()
    assert [p.name for p in (tmp_path / "leases").iterdir()] == ["work.8.json"]

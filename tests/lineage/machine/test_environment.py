from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lineage.machine import environment
from lineage.store import Store


def test_the_record_of_it_tells_whose_machine_it_is_by_nothing(store: Store) -> None:
    with store.run("ingest"):
        pass
    told = json.dumps(store.runs()[-1].environment)
    assert json.loads(told) == environment.capture()
    host = subprocess.run(["uname", "-n"], capture_output=True, text=True, check=True).stdout.strip()
    for secret in {host, getpass.getuser(), Path.home().name} - {"", "localhost"}:
        assert not re.search(rf"\b{re.escape(secret)}\b", told)
    assert "/" not in told  # nor any path
    assert len(told) < 4_000


def test_what_it_tells() -> None:
    told = environment.capture()
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["cores"] >= 1
    assert told["cpu"]
    assert told["packages"]["numpy"] == environment.locked(environment.lock())["numpy"]
    assert environment.capture() == told


def test_the_lock_is_pips_and_sorted() -> None:
    text = environment.lock()
    lines = text.splitlines()
    names = [Requirement(line.removeprefix("# ")).name for line in lines]
    assert names == sorted(set(names))
    assert all(re.fullmatch(r"[a-z0-9-]+", n) for n in names)
    assert list(environment.locked(text)) == names
    assert "/" not in text


def test_a_container_is_known_by_what_it_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv(environment.IMAGE, "earmark@sha256:abc")
    environment._container.cache_clear()
    try:
        assert environment.capture()["container"] == {"kind": "kubernetes", "image": "earmark@sha256:abc"}
    finally:
        environment._container.cache_clear()


def test_the_commit_is_that_of_the_checkout_with_edits_told(tmp_path: Path) -> None:
    package = tmp_path / "lineage"
    source = Path(environment.__file__)
    shutil.copytree(source.parent, package / "machine", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source.parents[1] / "errors.py", package)
    told = "import json; from lineage.machine import environment; print(json.dumps(environment.commit()))"

    def asked() -> object:
        done = subprocess.run([sys.executable, "-c", told], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"},
                              capture_output=True, text=True, check=True)  # fmt: skip
        return json.loads(done.stdout)

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    assert asked() is None
    git("init", "--quiet")
    git("add", "lineage")
    git("commit", "--quiet", "--message", "one")
    assert asked() == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (package / "machine" / "environment.py").write_text(source.read_text() + "\n")
    assert asked() == {"commit": git("rev-parse", "HEAD"), "dirty": True}

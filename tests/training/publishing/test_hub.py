"""A push ends as one commit of just the folder, whatever happens on the way, and sends nothing twice."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest

from lineage.errors import EarmarkError
from tests.training.hub_server import TOKEN, Hub
from training.publishing import hub as hub_module
from training.publishing.hub import address, push


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    (made / "proof").mkdir(parents=True)
    (made / "README.md").write_text("---\nlicense: mit\n---\nA card.\n")
    (made / "proof" / "a.json").write_text("{}")
    for name in ("one", "two", "three"):
        (made / f"{name}.safetensors").write_bytes(name.encode() * 1000)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_repository_holds_just_the_folder_and_pushing_again_makes_no_commit(hub: Hub, folder: Path) -> None:
    first = push(folder, "ann/model", private=True)
    assert hub.published("ann/model") == contents(folder)
    assert (hub.repos["model", "ann/model"].private, first.files) == (True, 5)
    assert first.commit == hub.repos["model", "ann/model"].head("main")
    assert push(folder, "ann/model").commit == first.commit
    (folder / "two.safetensors").unlink()
    (folder / "README.md").write_text("---\nlicense: mit\n---\nAnother.\n")
    assert push(folder, "ann/model").commit != first.commit
    assert hub.published("ann/model") == contents(folder)
    assert hub.count("PUT /bulk") == 3


@pytest.mark.parametrize("how", ["500", "drop", "lose"])
@pytest.mark.parametrize("where", ["repos/create", "GET /api/models/", "validate-yaml", "/commit/"])
def test_passing_failures_are_outlived(hub: Hub, folder: Path, where: str, how: str) -> None:
    hub.fail(where, how)
    push(folder, "ann/model")
    assert hub.published("ann/model") == contents(folder)
    assert hub.count("PUT /bulk") == 3


def test_bulk_that_fails_on_the_way_is_sent_again_and_nothing_else_is(hub: Hub, folder: Path) -> None:
    hub.fail("PUT /bulk", "drop")
    hub.fail("objects/batch", "500")
    push(folder, "ann/model")
    assert hub.published("ann/model") == contents(folder)
    assert hub.count("PUT /bulk") == 4


def test_a_hub_that_stays_broken_is_told_of_in_a_line(hub: Hub, folder: Path) -> None:
    hub.fail("/commit/", times=99)
    with pytest.raises(EarmarkError, match=r"keeps failing on ann/model, after 5 attempts \(HTTP 500\) — run the same"):
        push(folder, "ann/model")
    assert set(hub.published("ann/model")) == {".gitattributes"}


def test_a_killed_push_goes_on_where_it_was(hub: Hub, folder: Path) -> None:
    script = (
        "import sys, pathlib; from training.publishing.hub import push; push(pathlib.Path(sys.argv[1]), 'ann/model')"
    )
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(Path.cwd())}
    last = hashlib.sha256((folder / "three.safetensors").read_bytes()).hexdigest()
    process: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        while len(hub.bulk) < 2:
            time.sleep(0.01)
        process[0].kill()
        process[0].wait()

    hub.fail(f"PUT /bulk/{last}", kill)
    process.append(subprocess.Popen([sys.executable, "-c", script, str(folder)], env=environment))
    assert process[0].wait(timeout=60) == -signal.SIGKILL
    assert set(hub.published("ann/model")) == {".gitattributes"}  # nobody saw a part
    push(folder, "ann/model")
    assert hub.published("ann/model") == contents(folder)
    assert [hub.count(f"PUT /bulk/{oid}") for oid in sorted(hub.bulk, key=last.__eq__)] == [1, 1, 2]


def test_branches_and_forgotten_history(hub: Hub, folder: Path) -> None:
    push(folder, "ann/data", kind="dataset", branch="v2")
    assert hub.published("ann/data", "dataset", "v2") == contents(folder)
    assert set(hub.published("ann/data", "dataset")) == {".gitattributes"}
    (folder / "one.safetensors").unlink()
    done = push(folder, "ann/data", kind="dataset", branch="v2", forget=True)
    assert len(hub.repos["dataset", "ann/data"].branches["v2"]) == 1
    assert done.commit == hub.repos["dataset", "ann/data"].head("v2")


@pytest.mark.parametrize(
    ("repo", "problem"),
    [("model", "whose repository"), ("a/b/c", "write owner/name"), ("ann/..", "write owner/name"), ("", "owner/name")],
)
def test_what_is_no_repository_is_refused_before_anything_is_sent(
    hub: Hub, folder: Path, repo: str, problem: str
) -> None:
    with pytest.raises(EarmarkError, match=problem):
        push(folder, repo)
    assert not hub.requests


def test_tokens_that_may_not_write_are_told_of_and_never_told(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        EarmarkError, match=r"does not let this token write to somebody-else/model \(HTTP 40\d\)"
    ) as told:
        push(folder, "somebody-else/model")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(EarmarkError, match=r"HTTP 401") as wrong:
        push(folder, "ann/model")
    assert TOKEN not in str(told.value)
    assert "hf_wrong" not in str(wrong.value)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(folder / "none"))
    with pytest.raises(EarmarkError, match="export HF_TOKEN"):
        push(folder, "ann/model")


def test_addresses() -> None:
    assert [address("ann/x", kind) for kind in hub_module.KINDS] == ["ann/x", "datasets/ann/x", "spaces/ann/x"]

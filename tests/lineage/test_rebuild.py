from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lineage.errors import EarmarkError
from lineage.machine import environment
from lineage.rebuild import TORCH, dockerfile, dockerfile_of, packages_of, requirements
from lineage.storage.manifest import RunInfo
from lineage.store import Store

ROOT = Path(__file__).parents[2]
WORDS = {
    "ARG", "FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "ENTRYPOINT", "CMD",
}  # fmt: skip


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, as its own reference says they are read: comments, continuations, here-documents."""
    found: list[tuple[str, str]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        while line.endswith("\\"):
            line = line[:-1] + next(lines)
        here = re.search(r'<<"?(\w+)"?', line)
        if here:
            body = []
            for inner in lines:
                if inner == here[1]:
                    break
                body.append(inner)
            else:
                raise AssertionError(f"{here[1]} never ends")
            line += "\n" + "\n".join(body)
        word, _, rest = line.partition(" ")
        found.append((word, rest.strip()))
    return found


@pytest.fixture
def run(store: Store) -> RunInfo:
    with store.run("train") as made:
        made.put(environment.lock().encode())
    return store.runs()[-1]


def test_the_dockerfile_of_the_project_is_what_is_written_and_fits_the_constraints() -> None:
    assert (ROOT / "Dockerfile").read_text() == dockerfile(), "run: make docs"
    assert TORCH in (ROOT / "constraints.txt").read_text().splitlines()
    for word, rest in instructions(dockerfile()):
        if word == "COPY":
            assert all((ROOT / source).exists() for source in rest.split()[:-1])


@pytest.mark.parametrize("whose", ["project", "run"])
def test_every_instruction_is_one(store: Store, run: RunInfo, whose: str) -> None:
    text = dockerfile() if whose == "project" else dockerfile_of(store, run)
    assert text.splitlines()[0] == "# syntax=docker/dockerfile:1"
    found = instructions(text)
    assert {word for word, _ in found} == WORDS
    assert [word for word, _ in found][:2] == ["ARG", "FROM"]
    words = [word for word, _ in found]
    assert ("USER", "earmark") in found
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert ("ENTRYPOINT", '["earmark"]') in found
    known = {"PYTHON"}
    for word, rest in found:  # no variable is used before it is given
        if word == "ARG":
            known.add(rest.partition("=")[0])
        else:
            assert set(re.findall(r"\$\{(\w+)\}", rest)) <= known, rest
    assert "{" not in re.sub(r"\$\{\w+\}", "", text)


def test_the_lock_of_a_run_is_its_packages(store: Store, run: RunInfo) -> None:
    lines = requirements(store, run).splitlines()
    packages = packages_of(store, run)
    assert packages == environment.locked(environment.lock())
    assert {Requirement(line.removeprefix("# ")).name for line in lines} == set(packages) - {"earmark"}
    text = dockerfile_of(store, run)
    assert f"ARG PYTHON={run.environment['python']}\n" in text
    assert f'ARG TORCH="torch=={packages["torch"]}"' in text
    body = next(rest for word, rest in instructions(text) if "<<" in rest)
    assert body.splitlines()[1:] == [line for line in lines if not line.startswith("torch==")]


def test_what_was_not_kept_or_is_no_list_is_said(store: Store) -> None:
    with store.run("ingest"):
        pass
    with pytest.raises(EarmarkError, match="noted only some of its packages"):
        requirements(store, store.runs()[-1])
    with store.run("train") as made:
        kept = made.put(b"numpy==1\nRUN rm -rf /\n")
    run = store.runs()[-1]
    run.environment["installed"] = kept
    with pytest.raises(EarmarkError, match="have a line 'RUN rm -rf /' that is none"):
        dockerfile_of(store, run)

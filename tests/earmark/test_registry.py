"""The registry and roll-outs, as a person asks for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineage.store import Store
from tests.earmark.test_cli import earmark


@pytest.fixture
def store(here: Path) -> Store:
    """Two versions of a model, in the store of the working folder."""
    made = Store.init(here / "earmark-store")
    for digit in "ab":
        with made.run("train") as run:
            row = {"model_id": digit * 64, "name": "digits", "family": "x", "base": "x", "artifact": "x"}
            run.append("models", [row])
    return made


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_aliases_move_and_come_back(store: Store, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earmark("promote", "digits@1", "--to", "production")
    told = said(capsys)
    assert "slices: not judged (the gate names no set to compare on)" in told
    assert "@production points to aaaaaaaaaaaa now" in told
    earmark("promote", "digits", "--to", "@production")
    earmark("registry")
    told = said(capsys)
    assert "@production" in told
    assert "digits@2" in told
    earmark("trace", "@production")
    assert "bbbbbbbb" in said(capsys)
    earmark("rollback", "--reason", "complaints")
    assert "@production points to aaaaaaaaaaaa again" in said(capsys)
    (here / "gate.yaml").write_text("name: strict\nreplay: required\n")
    earmark("gate", "adopt", "gate.yaml", "--to", "production")
    earmark("gate", "check", "digits@2", "--to", "production", status=1)
    assert "replay: refused (not replayed)" in said(capsys)
    earmark("promote", "digits@2", "--to", "production", status=1)
    assert "refused: @production was not moved" in said(capsys)
    earmark("promote", "digits@2", "--to", "production", "--force", status=2)
    earmark("promote", "digits@2", "--to", "production", "--force", "--reason", "asked for", "--json")
    assert json.loads(said(capsys))["passed"] is False
    earmark("registry", "production", "--json")
    rows = json.loads(said(capsys))
    assert [r["event"] for r in rows] == ["promoted", "promoted", "rolled_back", "refused", "promoted, forced"]
    assert [r["reason"] for r in rows] == [None, None, "complaints", None, "asked for"]
    earmark("registry", "--versions")
    assert said(capsys).count("@production") == 1
    earmark("gate", "show", "--to", "production")
    assert json.loads(said(capsys))["name"] == "strict"
    earmark("gate", "adopt", "--none", "--to", "production")
    earmark("sql", "SELECT name, event FROM aliases()", "--json")
    assert json.loads(capsys.readouterr().out.partition("\n")[2]) == [{"name": "digits", "event": "promoted"}]


def test_what_is_not_there_is_one_line(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("promote", "nothing", "--to", "production"),
        ("promote", "digits", "--to", "a b"),
        ("promote", "@production", "--to", "candidate"),
        ("promote", "digits", "--to", "x", "--gate", "nowhere.yaml"),
        ("rollback", "production"),
        ("registry", "production"),
        ("gate", "adopt", "--to", "production"),
        ("rollout", "begin", "nowhere.yaml"),
        ("rollout", "show", "autumn"),
        ("rollout", "observe", "autumn", "nowhere.jsonl"),
    ):
        earmark(*words, status=2)
        assert capsys.readouterr().err.count("\n") == 1


def test_a_rollout_from_plan_to_stop(store: Store, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "plan.yaml").write_text(
        "name: autumn\ncandidate: digits@2\nproduction: digits@1\n"
        "stages: [{share: 0.5, units: 20}, {share: 0.9, units: 20}]\n"
    )
    earmark("rollout", "begin", "plan.yaml")
    assert "bbbbbbbbbbbb hears 50 % of the units, aaaaaaaaaaaa the rest" in said(capsys)
    users = [f"user-{i}" for i in range(300)]
    earmark("rollout", "arm", "autumn", *users, "--json")
    arms = {r["key"]: r["arm"] for r in json.loads(said(capsys))}

    def observe(some: list[str], errors: dict[str, int], status: int = 0) -> str:
        lines = [json.dumps({"key": u, "words": 10, arms[u]: errors[arms[u]]}) for u in some]
        (here / "heard.jsonl").write_text("\n".join(lines))
        earmark("rollout", "observe", "autumn", "heard.jsonl", status=status)
        return said(capsys)

    assert observe(users[:30], {"candidate": 1, "production": 1}).startswith("continue: candidate − production")
    earmark("rollout", "advance", "autumn")
    assert "at stage 2: the candidate hears 90 %" in said(capsys)
    earmark("rollout", "arm", "autumn", *users, "--json")
    arms = {r["key"]: r["arm"] for r in json.loads(said(capsys))}
    assert observe(users[30:], {"candidate": 9, "production": 1}, status=1).startswith("stop: ")
    earmark("rollout", "show", "autumn", status=1)
    earmark("rollout", "advance", "autumn", status=2)
    assert "is to be stopped" in capsys.readouterr().err
    earmark("rollout", "show", "--json")
    assert [r["verdict"] for r in json.loads(said(capsys))] == ["stop"]
    earmark("rollout", "show", "autumn", "--json", status=1)
    before = said(capsys)
    earmark("compact")
    said(capsys)
    earmark("rollout", "show", "autumn", "--json", status=1)
    assert said(capsys) == before
    earmark("verify", "--deep")
    assert "intact" in said(capsys)

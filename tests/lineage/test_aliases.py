"""Aliases: histories that only grow, rollbacks that lead back, versions that stay what they are, one winner of a race."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path
from typing import Any

import pytest

from lineage import aliases
from lineage.aliases import PROMOTED, ROLLED_BACK, Move, current, meant, moves, resolve_model, standing, versions
from lineage.compaction.compact import compact
from lineage.errors import Conflict, EarmarkError, UnknownName
from lineage.store import Store

pytestmark = pytest.mark.usefixtures("plain_main")


def model(store: Store, digit: str, name: str) -> str:
    with store.run("train") as run:
        run.append("models", [{"model_id": digit * 64, "name": name}])
    return digit * 64


def point(store: Store, alias: str, model_id: str, event: str = PROMOTED) -> None:
    with store.run("promote") as run:
        aliases.move(run, alias, model_id, event, current(store).get(alias), {})


def _race(root: Path, model_id: str, barrier: Any, told: Any) -> None:
    store = Store.open(root)
    seen = current(store).get("production")
    barrier.wait()
    try:
        with store.run("promote") as run:
            aliases.move(run, "production", model_id, PROMOTED, seen, {})
        told.put((model_id, "won"))
    except Conflict as error:
        told.put((model_id, str(error)))


def test_every_reference_means_what_it_says(store: Store) -> None:
    a, b = model(store, "a", "twin"), model(store, "b", "twin")
    model(store, "a", "twin")  # trained again, with the same weights: no new version
    model(store, "c", "@production")  # a name cannot take an alias's place
    model(store, "d", "odd@2")
    point(store, "production", a)
    for ref, id in {"@production": a, "twin@1": a, "twin@2": b, "odd@2": "d" * 64, "odd@2@1": "d" * 64}.items():
        assert resolve_model(store, ref).digest == id
    assert [meant(store, ref) for ref in ("twin", "twin@x", "nobody@1", "abcd")] == [None] * 4
    with pytest.raises(UnknownName, match=r"no alias '@productoin' — did you mean '@production'"):
        resolve_model(store, "@productoin")
    with pytest.raises(UnknownName, match=r"no version 'twin@3'.*twin@1, twin@2"):
        resolve_model(store, "twin@3")
    for text in ("", "@", "a b", "-x", "x" * 64, "a@b"):
        with pytest.raises(EarmarkError, match="no name of an alias"):
            aliases.alias_name(text)


@pytest.mark.parametrize("seed", range(3))
def test_histories_grow_and_rollbacks_lead_back(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    known = [model(store, d, "m") for d in "abc"]
    stack: list[str] = []
    told: list[Move] = []
    for _ in range(8):
        if len(stack) > 1 and rng.random() < 0.5:
            stack.pop()
            point(store, "x", stack[-1], ROLLED_BACK)
        else:
            stack.append(rng.choice([m for m in known if m != (stack or [""])[-1]]))
            point(store, "x", stack[-1])
        now = moves(store, "x")
        assert now[:-1] == told
        told = now
        assert standing(now) == stack
        assert now[-1].before == (told[-2].model_id if len(told) > 1 else None)
    point(store, "y", known[0])
    assert moves(store, "x") == told
    compact(store, grace=0.0, everything=True)
    assert moves(store, "x") == told
    rows = store.connect().sql("SELECT alias, model_id FROM aliases()").fetchall()
    assert rows == [("x", stack[-1]), ("y", known[0])]
    listed = store.connect().sql("SELECT event, model_id FROM alias_history('x')").fetchall()
    assert listed == [(m.event, m.model_id) for m in told]


def test_the_log_and_not_the_clock_says_which_move_is_newest(store: Store) -> None:
    a, b = model(store, "a", "m"), model(store, "b", "m")
    with store.run("promote") as slow:  # began first, so its id is lower
        point(store, "x", a)
        aliases.move(slow, "x", b, PROMOTED, current(store)["x"], {})
    assert [m.model_id for m in moves(store)] == [a, b]
    assert resolve_model(store, "@x").digest == b


def test_versions_stay_what_they_are(store: Store) -> None:
    told: list[dict[str, Any]] = []
    for digit, name in ("a1", "b1", "a2", "c1", "b1", "d2"):
        model(store, digit, name)
        now = versions(store)
        assert all(v in now for v in told)
        told = now
    assert [(v["name"], v["version"], v["model_id"][0]) for v in told] == [
        ("1", 1, "a"), ("1", 2, "b"), ("1", 3, "c"), ("2", 1, "a"), ("2", 2, "d"),
    ]  # fmt: skip
    assert store.connect().sql("FROM versions()").fetchall() == [tuple(v.values()) for v in told]


def test_of_two_processes_that_move_at_once_one_wins(store: Store) -> None:
    both = {model(store, d, "m") for d in "ab"}
    spawn = multiprocessing.get_context("spawn")
    barrier, told = spawn.Barrier(2), spawn.Queue()
    racers = [spawn.Process(target=_race, args=(store.root, m, barrier, told)) for m in both]
    for racer in racers:
        racer.start()
    said = dict(told.get(timeout=120) for _ in racers)
    for racer in racers:
        racer.join()
    (winner,) = [m for m, what in said.items() if what == "won"]
    (loser,) = both - {winner}
    assert "was moved to" in said[loser]
    assert [m.model_id for m in moves(store)] == [winner]
    assert [m.run.status for m in store.manifests() if m.run.kind == "promote"] == ["completed"]

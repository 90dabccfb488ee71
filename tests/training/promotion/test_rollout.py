"""Staged roll-outs: who hears whom, what counts, what the verdict is, and that it is all on record."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lineage.errors import Conflict, EarmarkError, UnknownName
from lineage.store import Store
from training.promotion import rollout as module
from training.promotion.rollout import Plan, Rollout, advance, arm, begin, find, judge, observe, rollouts

STAGES = ({"share": 0.1, "units": 60}, {"share": 0.5, "units": 120})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two models on record, which nobody has to open."""
    made = Store.init(tmp_path / "store")
    for digit, name in zip("ab", ("old", "new"), strict=True):
        with made.run("train") as run:
            run.append("models", [{"model_id": digit * 64, "name": name, "family": "x", "base": "x", "artifact": "x"}])
    return made


def plan(**changes: object) -> Plan:
    fields = {"name": "autumn", "candidate": "new", "production": "old", "stages": STAGES, "tolerance": 1.0}
    return Plan.parse({**fields, **changes})


def traffic(rollout: Rollout, n: int, new: float, old: float, seed: int = 0) -> Iterator[str]:
    """Units of 20 words, each heard by its arm with its error rate."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        key = f"user {seed}-{i}"
        heard_by = rollout.arm(key)
        errors = int(rng.binomial(20, new if heard_by == "candidate" else old))
        yield json.dumps({"key": key, "words": 20, heard_by: errors})


def test_arms_are_stable_grow_and_keep_to_their_share() -> None:
    rng = random.Random(0)
    keys = [f"{rng.getrandbits(40)}" for _ in range(20_000)]
    before: set[str] = set()
    for share in (0.01, 0.05, 0.25, 0.5, 0.9):
        now = {k for k in keys if arm("id", k, share) == "candidate"}
        assert now == {k for k in reversed(keys) if arm("id", k, share) == "candidate"}
        assert before <= now  # nobody is sent back
        assert abs(len(now) - share * len(keys)) < 4 * math.sqrt(share * (1 - share) * len(keys))
        before = now
    half = {k for k in keys if arm("id", k, 0.5) == "candidate"}
    both = sum(arm("other", k, 0.5) == "candidate" for k in half)
    assert abs(both - len(half) / 2) < 4 * math.sqrt(len(half) / 4)  # another roll-out draws anew
    assert arm("id", "ä", 0.5) == ("candidate" if _documented("id", "ä") < 0.5 else "production")


def _documented(rollout: str, key: str) -> float:
    return int(hashlib.sha256(f"{rollout}\0{key}".encode()).hexdigest()[:16], 16) / 2**64


def test_a_good_candidate_goes_through_its_stages_and_is_promoted(store: Store) -> None:
    begun = begin(store, plan(tolerance=8.0))
    assert (begun.candidate, begun.production, begun.share) == ("b" * 64, "a" * 64, 0.1)
    with pytest.raises(EarmarkError, match="stage 1 of autumn has 0 of 60 units"):
        advance(store, "autumn")
    assert observe(store, "autumn", traffic(begun, 60, 0.1, 0.1)).ready
    second = advance(store, "autumn")
    assert (second.stage, second.share, second.id) == (1, 0.5, begun.id)
    verdict = observe(store, "autumn", traffic(second, 1500, 0.1, 0.1, seed=1))
    assert (verdict.outcome, verdict.difference.count, verdict.units) == ("promote", 1560, 1500)
    assert verdict.difference.low < verdict.difference.mean < verdict.difference.high <= 0.08
    with pytest.raises(EarmarkError, match="at its last stage"):
        advance(store, "autumn")
    assert judge(Store.open(store.root), begun.id) == verdict
    recorded = [m.run.result["verdict"] for m in store.manifests() if m.run.kind == "observe"]
    assert recorded[-1] == verdict.to_json()
    kinds = [m.run.kind for m in store.manifests()][2:]
    assert kinds == ["rollout", "observe", "advance", "observe"]


def test_harm_stops_it_and_it_stays_stopped(store: Store) -> None:
    begun = begin(store, plan(stages=[{"share": 0.5, "units": 10}, {"share": 0.6, "units": 10}]))
    verdict = observe(store, "autumn", traffic(begun, 400, 0.5, 0.1))
    assert verdict.outcome == "stop"
    assert verdict.difference.low > 0.01
    with pytest.raises(EarmarkError, match="is to be stopped: the candidate is worse by at least"):
        advance(store, "autumn")
    assert observe(store, "autumn", traffic(begun, 100, 0.0, 0.3, seed=9)).outcome == "stop"


def test_in_the_shadow_both_hear_and_far_fewer_units_suffice(store: Store) -> None:
    def units(shadow: bool) -> int:
        begun = begin(store, plan(name=f"shadow {shadow}", stages=[{"share": 0.1, "units": 1}]))
        rng = np.random.default_rng(7)
        for batch in range(40):
            lines = []
            for i in range(25):
                key, hard = f"{batch}-{i}", rng.random() < 0.3
                errors = {"candidate": 10 if hard else 4, "production": 8 if hard else 2}
                heard = errors if shadow else {begun.arm(key): errors[begun.arm(key)]}
                lines.append(json.dumps({"key": key, "words": 20, **heard}))
            verdict = observe(store, begun.id, lines)
            if verdict.outcome == "stop":
                return verdict.difference.count
        return 10**6

    assert units(shadow=True) < units(shadow=False) / 3


def test_a_unit_counts_once_and_no_key_is_on_record(store: Store) -> None:
    begun = begin(store, plan())
    (line,) = traffic(begun, 1, 0.1, 0.1)
    once = observe(store, "autumn", [line, line, ""])
    assert (once.difference.count, once.units) == (1, 1)
    assert store.read("observations", ["words"])["words"].to_pylist() == [40]
    again = observe(store, "autumn", [line])
    assert again.difference == once.difference
    rows = store.read("observations").to_pylist()
    assert len(rows) == 2
    assert rows[0]["unit_key"] == rows[1]["unit_key"]
    public = [p for p in store.root.rglob("*") if p.is_file() and "vault" not in p.parts]
    assert not any(b"user 0-0" in p.read_bytes() for p in public)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "this is not JSON"),
        ("[]", "there is no key"),
        ('{"key": "", "words": 3, "candidate": 1}', "there is no key"),
        ('{"key": "k", "words": "3", "candidate": 1}', "'words' is no count"),
        ('{"key": "k", "words": 3, "candidate": -1}', "'candidate' is no count"),
        ('{"key": "k", "words": 3, "candidate": true}', "'candidate' is no count"),
        ('{"key": "k", "words": 1e400, "candidate": 1}', "'words' is no count"),
        ('{"key": "k", "words": 0, "candidate": 0, "production": 0}', "no words"),
        ('{"key": "k", "words": 3}', "neither candidate nor production heard it"),
        ('{"key": "k", "words": 3, "errors": 1}', "unknown field 'errors'"),
    ],
)
def test_what_is_no_observation_is_named_and_nothing_is_recorded(store: Store, line: str, told: str) -> None:
    begun = begin(store, plan())
    good = list(traffic(begun, 2, 0.1, 0.1))
    with pytest.raises(EarmarkError, match=r"^observations, line 3: ") as refused:
        observe(store, "autumn", [*good, line])
    assert told in str(refused.value)
    assert judge(store, "autumn").difference.count == 0


def test_what_the_wrong_arm_heard_is_refused(store: Store) -> None:
    begun = begin(store, plan())
    key = next(k for k in map(str, range(100)) if begun.arm(k) == "production")
    with pytest.raises(EarmarkError, match=r"candidate heard it, which at a share of 0\.1 is not its arm"):
        observe(store, "autumn", [json.dumps({"key": key, "words": 5, "candidate": 0})])
    with pytest.raises(EarmarkError, match="there is no observation"):
        observe(store, "autumn", [])


def test_of_two_that_go_on_at_once_one_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = begin(store, plan())
    real = module._verdict

    def slowly(*args: object) -> object:
        monkeypatch.setattr(module, "_verdict", real)
        observe(Store.open(store.root), "autumn", traffic(begun, 3, 0.1, 0.1))  # meanwhile
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_verdict", slowly)
    with pytest.raises(Conflict, match="autumn went on meanwhile"):
        observe(store, "autumn", traffic(begun, 5, 0.1, 0.1, seed=3))
    assert judge(store, "autumn").difference.count == 3


def test_plans_are_read_strictly_and_the_newest_of_a_name_is_meant(store: Store) -> None:
    for changes, told in (
        ({"stages": [{"share": 0.5, "units": 1}, {"share": 0.1, "units": 1}]}, "shares of stages have to grow"),
        ({"stages": [{"share": 1.0, "units": 1}]}, "stages.0.share"),
        ({"stages": []}, "stages"),
        ({"alpha": 0.7}, "alpha"),
        ({"patience": 1}, "known fields are name, candidate"),
    ):
        with pytest.raises(EarmarkError, match=told):
            plan(**changes)
    with pytest.raises(EarmarkError, match="are one model"):
        begin(store, plan(candidate="old"))
    with pytest.raises(UnknownName, match="earmark rollout begin"):
        find(store, "autumn")
    first, second = begin(store, plan()), begin(store, plan())
    assert find(store, "autumn") == second
    assert find(store, first.id) == first
    assert rollouts(store) == [first, second]
    other = {k for k in map(str, range(200)) if first.arm(k) != second.arm(k)}
    assert other  # drawn anew

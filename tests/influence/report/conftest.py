"""Audits on record that nobody trained: rows of `effects` as they might have come out, with a plan or, as once, without."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from influence.statistics.effects import Effect
from lineage.identity import digest_of
from lineage.store import Store

Made = Callable[..., str]


def effect(train: str, tested: str, estimate: float, metric: str = "wer", **fields: Any) -> Effect:
    """A row with an interval of ±0.02 and a control of nothing, unless `fields` say otherwise."""
    verdict = "helps" if estimate > 0.02 else "hurts" if estimate < -0.02 else "no effect larger than 3 points"
    plain: dict[str, Any] = {
        "audit": digest_of("audit"), "train_slice": train, "train_set": digest_of(train), "eval_slice": tested,
        "eval_set": digest_of([tested]), "metric": metric, "estimate": estimate, "low": estimate - 0.02,
        "high": estimate + 0.02, "level": 0.95, "control": 0.002, "control_low": -0.008, "control_high": 0.012,
        "difference": estimate - 0.002, "difference_low": estimate - 0.025, "difference_high": estimate + 0.021, "seeds": 3,
        "replicates": 2000, "p": 0.0004, "p_adjusted": 0.0012, "minimum_detectable": 0.018, "margin": 0.03,
        "verdict": verdict, "reason": "as it came out", "intervention": "remove", "dose": 0.0, "phrase": f"removing {train}",
    }  # fmt: skip
    return Effect(**{**plain, **fields})


def put(
    store: Store,
    effects: Sequence[Effect],
    *,
    name: str = "audit",
    plan: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    inputs: Sequence[str] = (),
    parents: Sequence[str] = (),
    **result: Any,
) -> str:
    """Record an audit, registered beforehand if there is a `plan`; returns its run."""
    asked: dict[str, Any] = {"audit": digest_of(name), **(config or {})}
    if plan is not None:
        with store.run("plan", job=name, config={"audit": digest_of(name), "name": name, **plan}) as run:
            asked["plan"] = run.id
    with store.run("ablate", job=name, config=asked, inputs=inputs, parents=parents, package="influence") as run:
        run.append("effects", [asdict(e) for e in effects])
        run.result = {"retrainings": 24, "trained": 24, "wall_s": 61.5, "failures": {}, **result}
    return run.id


@pytest.fixture
def bare(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")

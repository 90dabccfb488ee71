"""A loop written by hand: what it says is on record, and what it says wrong is refused."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import torch

from lineage.errors import EarmarkError
from lineage.selection.consumed import NEVER, WEIGHTLESS, consumption
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from training.loops.loop import recorded


@pytest.fixture
def ids(store: Store) -> list[uuid.UUID]:
    return members(store, resolve_set(store, "train").digest).to_pylist()


@pytest.mark.parametrize("form", [str, lambda i: i.bytes, lambda i: i])
def test_what_is_said_is_on_record(store: Store, ids: list[uuid.UUID], form: Any) -> None:
    given = [form(i) for i in ids]
    with recorded(
        store.root, name="hand", data="train", config={"lr": 0.1, "out_dir": "/home/ann"}, seed=5, epochs=1
    ) as run:
        run.consumed(0, given[:10], weights=torch.tensor([0.0] + [1.0] * 9), seeds=range(10))
        run.consumed(1, given[10:20], epoch=0)
        run.result["score"] = 0.5
        model = torch.nn.Linear(2, 1)
        made = run.model(model)
    rows = store.read("exposures", where="run_id = ? ORDER BY step, position", parameters=[run.id]).to_pylist()
    assert [r["sample_id"] for r in rows] == ids[:20]
    assert [r["seed"] for r in rows] == [*range(10), *[None] * 10]
    held = consumption(store, made)
    assert held.ids(WEIGHTLESS).to_pylist() == ids[:1]
    assert set(held.ids(NEVER).to_pylist()) == set(ids[20:])
    info = store.resolve_run(run.id)
    assert (info.seed, info.result["steps"], info.result["score"], info.result["exposures"]) == (5, 2, 0.5, 20)
    assert info.config["script_config"] == {"lr": 0.1}


def test_data_may_be_rows_ids_or_nothing(store: Store, ids: list[uuid.UUID]) -> None:
    for data in ([{"sample_id": str(i), "x": 1} for i in ids[:3]], ids[:3], None):
        with recorded(store, name="few", data=data) as run:
            run.consumed(0, ids[:3])
        (digest,) = store.resolve_run(run.id).inputs
        assert members(store, digest).to_pylist() == ids[:3]
        assert consumption(store, run.id).as_planned


def test_what_is_said_wrong_is_refused_and_leaves_no_row(store: Store, ids: list[uuid.UUID]) -> None:
    def refused(match: str, said: Any, **fields: Any) -> None:
        with pytest.raises(EarmarkError, match=match), recorded(store, name="wrong", data="train") as run:
            run.consumed(0, ids[:1])
            run.consumed(1, said, **fields)
        assert store.resolve_run(run.id).status == "failed"
        assert not store.read("exposures", where="run_id = ?", parameters=[run.id]).num_rows

    refused("'seven' is no sample id", ["seven"])
    refused(r"2 samples and weights of shape \(1,\)", ids[:2], weights=[1.0])
    refused(r"2 samples and seeds of shape \(3,\)", ids[:2], seeds=[1, 2, 3])
    with (
        pytest.raises(EarmarkError, match="1 of 1 samples of the data are not on record"),
        recorded(store, name="wrong", data=[uuid.uuid4()]),
    ):
        pytest.fail("the block was entered")

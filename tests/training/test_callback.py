"""The recorder in somebody else's Trainer: their model, their data set, their collator."""

from __future__ import annotations

import random
import uuid
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

from lineage.consumed import NEVER, UNPLANNED, consumption
from lineage.errors import EarmarkError
from lineage.sets import create_set
from lineage.store import Store
from training.callback import TRAVELLER, EarmarkCallback


class Spy(nn.Module):
    """A model that takes no argument it does not know, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[float] = []

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.training:
            self.seen += x[:, 0].tolist()
        return {"loss": ((self.layer(x) - labels) ** 2).mean()}


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {k: torch.tensor([[i[k]] for i in items]) for k in ("x", "labels")}


@pytest.mark.parametrize(("accumulation", "workers"), [(1, 0), (3, 0), (2, 2)])
def test_what_entered_the_model_is_what_is_on_record(
    store: Store, tmp_path: Path, accumulation: int, workers: int
) -> None:
    ids = [uuid.UUID(int=random.Random(i).getrandbits(128)) for i in range(22)]
    data = [{"x": float(i), "labels": 0.0, "sample_id": str(s) if i % 2 else s} for i, s in enumerate(ids)]
    model = Spy()
    with store.run("train") as run:
        recorder = EarmarkCallback(run)
        args = TrainingArguments(
            output_dir=str(tmp_path), num_train_epochs=2, per_device_train_batch_size=4, use_cpu=True, report_to="none",
            gradient_accumulation_steps=accumulation, remove_unused_columns=False, dataloader_num_workers=workers,
            disable_tqdm=True, save_strategy="no", seed=3,
        )  # fmt: skip
        trainer = Trainer(
            model, args, train_dataset=data, data_collator=recorder.collator(collate), callbacks=[recorder]
        )
        trainer.train()
    rows = store.read("exposures", where="run_id = ? ORDER BY step, position", parameters=[run.id]).to_pylist()
    assert [ids.index(r["sample_id"]) for r in rows] == [int(x) for x in model.seen]
    assert len(rows) == 44 == recorder.exposures
    assert {r["weight"] for r in rows} == {1.0}
    assert max(r["step"] for r in rows) + 1 == trainer.state.global_step
    assert [r["epoch"] for r in rows] == [0] * 22 + [1] * 22
    for step in range(trainer.state.global_step):
        assert [r["position"] for r in rows if r["step"] == step] == list(range(sum(r["step"] == step for r in rows)))
    model(torch.zeros(1, 1), torch.zeros(1, 1))  # the door is gone


def test_evaluation_is_no_exposure(store: Store, tmp_path: Path) -> None:
    with store.run("train") as run:
        recorder = EarmarkCallback(run)
        model = Spy()
        args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
        recorder.on_train_begin(args, TrainerState(epoch=0.0), TrainerControl(), model=model)
        batch = recorder.collator(collate)([{"x": 1.0, "labels": 0.0, "sample_id": uuid.uuid4()}])
        model.eval()
        model(**batch)
        assert recorder.exposures == 0
        model.train()
        model(**batch)
        assert recorder.exposures == 1
        assert TRAVELLER in batch


def test_items_without_an_id_are_refused(store: Store) -> None:
    with store.run("train") as run, pytest.raises(EarmarkError, match="items have no 'clip' — add the sample's id"):
        EarmarkCallback(run, column="clip").collator(collate)([{"x": 1.0, "labels": 0.0}])


@pytest.mark.parametrize("drop_last", [False, True])
def test_what_the_loader_dropped_is_named_by_whoever_asks(store: Store, tmp_path: Path, drop_last: bool) -> None:
    """Anybody's script on a planned set: one item too many in it, and a last batch that may be dropped."""
    ids = [uuid.UUID(int=random.Random(i).getrandbits(128)) for i in range(7)]
    with store.run("ingest") as run:
        planned = create_set(run, ids[:6], name="planned")
    data = [{"x": 0.0, "labels": 0.0, "sample_id": s} for s in ids]
    with store.run("train", inputs=[planned.digest]) as run:
        recorder = EarmarkCallback(run)
        args = TrainingArguments(
            output_dir=str(tmp_path), num_train_epochs=1, per_device_train_batch_size=2, use_cpu=True, report_to="none",
            remove_unused_columns=False, disable_tqdm=True, save_strategy="no", dataloader_drop_last=drop_last,
        )  # fmt: skip
        Trainer(Spy(), args, train_dataset=data, data_collator=recorder.collator(collate), callbacks=[recorder]).train()
    found = consumption(store, run.id)
    taken = set(store.read("exposures", ["sample_id"], "run_id = ?", [run.id])["sample_id"].to_pylist())
    assert len(taken) == 7 - drop_last
    assert found.epochs == 1
    assert set(found.ids(NEVER).to_pylist()) == set(ids[:6]) - taken
    assert set(found.ids(UNPLANNED).to_pylist()) == {ids[6]} & taken
    assert not found.as_planned

"""The one line in somebody else's Trainer: their model, their data set, their collator."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    EarlyStoppingCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    WhisperForConditionalGeneration,
)

from lineage.errors import EarmarkError
from lineage.people.policy import Policy, PolicyRefused, adopt
from lineage.recorder import described
from lineage.selection.consumed import NEVER, consumption
from lineage.selection.sets import members, resolve_set
from lineage.sound.audio import encode
from lineage.store import Store
from tests.training.conftest import say
from training.loops.callback import EarmarkCallback, _check
from training.models.recorded import open_model


class Spy(nn.Module):
    """A model that takes no argument it does not know, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(1, 1)
        self.seen: list[float] = []

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.training:
            self.seen += x[:, 0].tolist()
        return {"loss": ((self.layer(x) - labels) ** 2).mean(), "logits": self.layer(x)}


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    assert all(set(i) == {"x", "labels"} for i in items)  # as bare: no more and no less
    return {k: torch.tensor([[float(i[k])] for i in items]) for k in ("x", "labels")}


def arguments(folder: Path, **fields: Any) -> TrainingArguments:
    chosen = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": 4, "use_cpu": True,
        "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "seed": 3, "learning_rate": 0.01,
    } | fields  # fmt: skip
    return TrainingArguments(**chosen)


@pytest.fixture
def ids(store: Store) -> list[uuid.UUID]:
    """Twenty-two samples on record, in no particular order."""
    ids = members(store, resolve_set(store, "train").digest).to_pylist()[:22]
    random.Random(1).shuffle(ids)
    return ids


def rows(ids: list[uuid.UUID]) -> list[dict[str, Any]]:
    return [{"x": float(i), "labels": 0.0, "note": "n", "sample_id": str(s)} for i, s in enumerate(ids)]


def exposures(store: Store, run: str | None) -> list[dict[str, Any]]:
    return store.read("exposures", where="run_id = ? ORDER BY step, position", parameters=[run]).to_pylist()


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Dataset.from_list, {}),
        (Dataset.from_list, {"gradient_accumulation_steps": 2, "dataloader_num_workers": 2}),
        (list, {"gradient_accumulation_steps": 3}),
        (list, {"dataloader_drop_last": True, "train_sampling_strategy": "sequential"}),
    ],
)
def test_what_entered_the_model_is_what_is_on_record(
    store: Store,
    tmp_path: Path,
    ids: list[uuid.UUID],
    kind: Any,
    fields: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the loader does, and with nothing changed for the script: not even its weights."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    data = kind(rows(ids))
    recorder, model, bare = EarmarkCallback(store.root), Spy(), Spy()
    args = arguments(tmp_path, eval_strategy="epoch", **fields)
    trainer = Trainer(
        model, args, train_dataset=data, eval_dataset=kind(rows(ids)), data_collator=collate, callbacks=[recorder]
    )
    trainer.train()
    Trainer(bare, args, train_dataset=data, eval_dataset=kind(rows(ids)), data_collator=collate).train()
    assert model.seen == bare.seen
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), bare.parameters(), strict=True))
    found = exposures(store, recorder.run_id)
    assert [ids.index(r["sample_id"]) for r in found] == [int(x) for x in model.seen]
    taken = 20 if fields.get("dataloader_drop_last") else 22
    assert [r["epoch"] for r in found] == [0] * taken + [1] * taken
    assert max(r["step"] for r in found) + 1 == trainer.state.global_step
    for step in range(trainer.state.global_step):
        assert [r["position"] for r in found if r["step"] == step] == list(range(sum(r["step"] == step for r in found)))
    held = consumption(store, recorder.run_id or "")
    assert (held.planned.size, held.epochs) == (22, 2)
    assert len(held.ids(NEVER)) == 22 - taken
    run = store.resolve_run(recorder.run_id or "")
    assert (run.kind, run.status, run.seed) == ("train", "completed", 3)
    assert run.config["arguments"]["learning_rate"] == 0.01
    assert str(tmp_path) not in json.dumps(run.to_json())
    assert run.config["script"]["digest"] == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    model_row = store.read("models", where="run_id = ?", parameters=[run.id]).to_pylist()[0]
    assert (model_row["family"], model_row["parameters"], model_row["set_digest"]) == ("other", 2, held.planned.digest)


class Stops(TrainerCallback):
    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error = step, error

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise self.error


@pytest.mark.parametrize(("error", "status"), [(ValueError("x"), "failed"), (KeyboardInterrupt(), "aborted")])
def test_a_run_that_breaks_off_is_on_record_without_a_row(
    store: Store, tmp_path: Path, ids: list[uuid.UUID], error: BaseException, status: str
) -> None:
    recorder = EarmarkCallback(store)
    callbacks = [recorder, Stops(3, error)]
    trainer = Trainer(Spy(), arguments(tmp_path), train_dataset=rows(ids), data_collator=collate, callbacks=callbacks)
    with pytest.raises(type(error)):
        trainer.train()
    assert store.resolve_run(recorder.run_id or "").status == status
    assert not exposures(store, recorder.run_id)
    assert not store.read("models", where="run_id = ?", parameters=[recorder.run_id]).num_rows
    last = json.loads((store.root / "openlineage" / f"{recorder.run_id}.ndjson").read_text().splitlines()[-1])
    assert last["eventType"] == {"failed": "FAIL", "aborted": "ABORT"}[status]


def test_a_resumed_run_has_the_exposures_of_the_one_that_broke_off(
    store: Store, tmp_path: Path, ids: list[uuid.UUID]
) -> None:
    args = arguments(tmp_path, save_strategy="steps", save_steps=4)
    whole, broken, resumed = (EarmarkCallback(store, name=n) for n in ("whole", "broken", "resumed"))
    data = Dataset.from_list(rows(ids))

    def trainer(*callbacks: TrainerCallback) -> Trainer:
        return Trainer(Spy(), args, train_dataset=data, data_collator=collate, callbacks=list(callbacks))

    trainer(whole).train()
    with pytest.raises(ValueError, match="power cut"):
        trainer(broken, Stops(9, ValueError("power cut"))).train()
    trainer(resumed).train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    columns = ("step", "position", "epoch", "sample_id")
    assert [[r[c] for c in columns] for r in exposures(store, resumed.run_id)] == [
        [r[c] for c in columns] for r in exposures(store, whole.run_id)
    ]
    said = store.resolve_run(resumed.run_id or "").result
    assert said["resumed"] == [{"run": broken.run_id, "step": 8}]
    assert said["model_id"] == store.resolve_run(whole.run_id or "").result["model_id"]
    assert consumption(store, resumed.run_id or "").as_planned


def test_a_checkpoint_made_off_the_record_is_said_to_be(store: Store, tmp_path: Path, ids: list[uuid.UUID]) -> None:
    args = arguments(tmp_path, save_strategy="steps", save_steps=4)
    Trainer(Spy(), args, train_dataset=rows(ids), data_collator=collate).train()
    recorder = EarmarkCallback(store)
    trainer = Trainer(Spy(), args, train_dataset=rows(ids), data_collator=collate, callbacks=[recorder])
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert next(r["step"] for r in exposures(store, recorder.run_id)) == 8
    assert "its 8 steps consumed is unknown" in store.resolve_run(recorder.run_id or "").result["warnings"][0]


def test_early_stopping_is_seen_in_what_was_consumed(store: Store, tmp_path: Path, ids: list[uuid.UUID]) -> None:
    recorder = EarmarkCallback(store)
    args = arguments(
        tmp_path, num_train_epochs=9, eval_strategy="epoch", save_strategy="epoch", learning_rate=0.0,
        load_best_model_at_end=True, metric_for_best_model="eval_loss",
    )  # fmt: skip
    trainer = Trainer(
        Spy(), args, train_dataset=rows(ids), eval_dataset=rows(ids), data_collator=collate,
        callbacks=[recorder, EarlyStoppingCallback(2)],
    )  # fmt: skip
    trainer.train()
    assert len(exposures(store, recorder.run_id)) == 3 * 22
    assert not consumption(store, recorder.run_id or "").as_planned


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self.items


def test_of_a_stream_the_set_is_what_was_consumed(store: Store, tmp_path: Path, ids: list[uuid.UUID]) -> None:
    recorder = EarmarkCallback(store, name="stream")
    args = arguments(tmp_path, max_steps=3)
    Trainer(Spy(), args, train_dataset=Stream(rows(ids)), data_collator=collate, callbacks=[recorder]).train()
    made = resolve_set(store, store.resolve_run(recorder.run_id or "").inputs[0])
    assert set(members(store, made.digest).to_pylist()) == set(ids[:12])


def test_data_that_says_nothing_of_its_samples_is_refused(store: Store, tmp_path: Path, ids: list[uuid.UUID]) -> None:
    def train(data: Any, **fields: Any) -> None:
        args = arguments(tmp_path, **fields)
        Trainer(Spy(), args, train_dataset=data, data_collator=collate, callbacks=[EarmarkCallback(store)]).train()

    with pytest.raises(EarmarkError, match="nor columns of audio and text to record it by"):
        train([{"x": 1.0, "labels": 0.0}])
    with pytest.raises(EarmarkError, match="2 of 2 samples of the data are not on record"):
        train(rows([uuid.uuid4(), uuid.uuid4()]))
    with pytest.raises(EarmarkError, match="row 1 of the data has no 'sample_id'"):
        train([*rows(ids[:1]), {"sample_id": None}])
    with pytest.raises(EarmarkError, match="an item of the training data has no 'sample_id'"):
        train(Stream([{"x": 1.0, "labels": 0.0}]), max_steps=1)
    with pytest.raises(EarmarkError, match="auto_find_batch_size starts over"):
        train(rows(ids), auto_find_batch_size=True)
    with pytest.raises(EarmarkError, match="this run has 2 processes"):
        _check(SimpleNamespace(world_size=2))  # type: ignore[arg-type]
    with pytest.raises(EarmarkError, match="there is no store at"):
        EarmarkCallback(tmp_path / "nowhere")


def test_a_callback_that_comes_late_does_not_look_on_in_silence(
    store: Store, tmp_path: Path, ids: list[uuid.UUID]
) -> None:
    trainer = Trainer(Spy(), arguments(tmp_path), train_dataset=rows(ids), data_collator=collate)
    recorder = EarmarkCallback(store)
    trainer.add_callback(recorder)
    with pytest.raises(EarmarkError, match="added after the trainer was made"):
        trainer.train()
    recorder.attach(trainer)
    trainer.train()
    assert len(exposures(store, recorder.run_id)) == 44


def test_a_policy_refuses_before_a_step(tmp_path: Path, populate: Any) -> None:
    store = Store.init(tmp_path / "store")
    populate(store, "train", 4, seed=1)
    ids = members(store, resolve_set(store, "train").digest).to_pylist()
    adopt(store, Policy(name="strict", licences=("CC0-1.0",)))
    model, recorder = Spy(), EarmarkCallback(store)
    trainer = Trainer(model, arguments(tmp_path), train_dataset=rows(ids), data_collator=collate, callbacks=[recorder])
    with pytest.raises(PolicyRefused):
        trainer.train()
    assert not model.seen
    assert [r.status for r in store.runs()][-1] == "failed"
    with pytest.raises(EarmarkError, match="a policy is in force"):
        Trainer(
            model, arguments(tmp_path, max_steps=1), train_dataset=Stream(rows(ids)), data_collator=collate,
            callbacks=[EarmarkCallback(store)],
        ).train()  # fmt: skip


def test_a_whisper_of_ours_trained_on_sound_in_rows(tmp_path: Path, base: Path) -> None:
    """Rows of sound and words go on the record by themselves, and the model opens as one of its family."""
    store = Store.init(tmp_path / "store")
    draw = torch.Generator().manual_seed(0)
    import numpy as np

    texts = ["one two", "three", "four five", "six"]
    data = [
        {"audio": {"bytes": encode(say(t.split(), 1.0, np.random.default_rng(i))), "path": None}, "text": t}
        for i, t in enumerate(texts)
    ]

    def features(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        assert all(i["audio"]["bytes"] for i in items)
        shape = (len(items), 20, 40)
        return {
            "input_features": torch.randn(shape, generator=draw),
            "labels": torch.full((len(items), 2), 5),
        }

    model = WhisperForConditionalGeneration.from_pretrained(base)
    args = Seq2SeqTrainingArguments(
        **{k: getattr(arguments(tmp_path), k) for k in ("output_dir", "seed", "use_cpu", "disable_tqdm")},
        num_train_epochs=1, per_device_train_batch_size=2, report_to="none", remove_unused_columns=False, save_strategy="no",
    )  # fmt: skip
    recorder = EarmarkCallback(store, name="theirs")
    Seq2SeqTrainer(
        model, args, train_dataset=Dataset.from_list(data), data_collator=features, callbacks=[recorder]
    ).train()
    assert len(exposures(store, recorder.run_id)) == 4
    made = resolve_set(store, "theirs")
    assert set(store.vault.transcripts(members(store, made.digest)).values()) == set(texts)
    assert all(r["duration_s"] > 0.1 for r in described(store, members(store, made.digest)).values())
    opened = open_model(store, "theirs")
    assert opened.family.name == "whisper"
    trained = dict(model.named_parameters())
    assert all(torch.equal(p, trained[n].cpu()) for n, p in opened.model.named_parameters())

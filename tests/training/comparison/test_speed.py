from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
import torch

from lineage.errors import EarmarkError
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from training.comparison.speed import FULL, INT8, Timed, measure, quantised, time_each
from training.evaluation.predict import predict
from training.fit import train
from training.models.recorded import open_model
from training.recipe import Recipe


def here(root: Path, model: str, ids: Sequence[str], precision: str, _: int) -> Timed:
    """In this process, to save the seconds that a fresh one takes to begin; `tests/earmark/test_measure.py` takes two."""
    own = Store.open(root)
    return time_each(open_model(own, model), own, [UUID(i) for i in ids], precision)


def test_both_precisions_are_measured_and_on_record(able: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.comparison.speed._alone", here)
    done = measure(able, "able", "test", most=5)
    assert [s.precision for s in done.speeds] == [FULL, INT8]
    for s in done.speeds:
        assert 0 < s.latency_p50_s <= s.latency_p95_s
        assert s.real_time_factor > 0
        assert s.peak_bytes > s.weight_bytes > 0
    full, int8 = done.speeds
    assert int8.weight_bytes < 0.6 * full.weight_bytes
    assert done.difference.value == pytest.approx(int8.wer.value - full.wer.value)
    rows = able.read("metrics", where="run_id = ?", parameters=[done.run_id]).to_pylist()
    found = {r["metric"]: r for r in rows}
    assert found["int8_latency_p95_s"]["value"] == int8.latency_p95_s
    assert found["int8_wer"]["value"] == int8.wer.value
    assert found["float32_wer"]["samples"] == done.utterances == 5
    run = able.resolve_run(done.run_id)
    assert run.key is None  # never taken for a result that can be computed again
    assert run.environment["cpu"]


def test_one_by_one_the_words_are_those_of_batches(able: Store) -> None:
    ids = members(able, resolve_set(able, "test").digest).to_pylist()
    found = time_each(open_model(able, "able"), able, ids, FULL)
    heard = able.vault.hypotheses(predict(able, "able", "test").run_id)
    assert found.heard == [heard[i] for i in ids]
    assert len(found.seconds) == len(found.durations) == len(ids)


def test_adapters_are_quantised_with_what_they_adapt(able: Store, base: Path) -> None:
    plan = Recipe(name="lora", base=str(base), train="train", epochs=1, batch_size=8, learning_rate=1e-2, method="lora")
    model = train(able, plan).model_id
    opened = open_model(able, model)
    batch = opened.family.collate([torch.zeros(10, 20).numpy()], ["one"])
    with torch.no_grad():
        wanted, _ = opened.family.losses(opened.model, batch)
        found, _ = opened.family.losses(quantised(open_model(able, model)), batch)
    assert found.item() == pytest.approx(wanted.item(), rel=0.05)
    assert found.item() != wanted.item()


def test_what_a_process_cannot_do_ends_the_run(able: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(EarmarkError, match="float32 could not be measured: no reason given"):
        measure(able, "able", "test", most=2)
    run = able.runs()[-1]
    assert (run.kind, run.status) == ("measure", "failed")
    assert not able.read("metrics", where="run_id = ?", parameters=[run.id]).num_rows

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch

from lineage.errors import EarmarkError, UnknownName
from lineage.sets import SampleSet, members, resolve_set
from lineage.store import Store
from training import bootstrap
from training.evaluate import evaluate, predict
from training.fit import TrainedModel, train
from training.models import open_model
from training.normalise import normaliser
from training.recipe import Recipe


@pytest.fixture(scope="module")
def trained(store: Store, base: Path) -> TrainedModel:
    """A model that has learnt something, so that all kinds of errors occur."""
    return train(
        store,
        Recipe(name="able", base=str(base), train="train", epochs=40, batch_size=8, learning_rate=1e-2, warmup=0.2),
    )


def test_figures_are_those_of_jiwer(store: Store, trained: TrainedModel) -> None:
    done = evaluate(store, trained.model_id, "test")
    ids = members(store, resolve_set(store, "test").digest).to_pylist()
    heard = store.vault.hypotheses(done.predictions.run_id)
    said = store.vault.transcripts(ids)
    text = normaliser("basic")
    assert done.wer == jiwer.wer([text(said[i]) for i in ids], [text(heard[i]) for i in ids])
    assert 0 < done.wer < 1
    rows = {r["sample_id"]: r for r in store.read("samples", where="attributes['accent'] = 'north'").to_pylist()}
    north = [i for i in ids if i in rows]
    found = done.figure("wer", "accent=north")
    assert found.interval.value == jiwer.wer([said[i] for i in north], [heard[i] for i in north])
    assert (found.samples, found.words) == (len(north), sum(len(said[i].split()) for i in north))
    assert found.interval.low <= found.interval.value <= found.interval.high
    parts = [done.figure(m).interval.value for m in ("substitutions", "deletions", "insertions")]
    assert sum(parts) == pytest.approx(done.wer)


def test_predictions_are_complete_and_sorted(store: Store, trained: TrainedModel) -> None:
    done = predict(store, "able", "test")
    table = done.table
    assert table["sample_id"].to_pylist() == members(store, resolve_set(store, "test").digest).to_pylist()
    opened = open_model(store, trained.model_id)
    said = store.vault.transcripts(table["sample_id"].combine_chunks())
    for row in table.to_pylist():
        assert (
            row["words"] == row["hits"] + row["substitutions"] + row["deletions"] == len(said[row["sample_id"]].split())
        )
        assert row["tokens"] == row["words"] + 1
        assert 0 < row["confidence"] <= 1
    (first,) = list(store.vault.waveforms([table["sample_id"][0].as_py()]))
    batch = opened.family.collate([opened.family.features(first[1])], [said[first[0]]])
    with torch.no_grad():
        nll, _ = opened.family.losses(opened.model, batch)
    assert table["loss"][0].as_py() == pytest.approx(nll.item(), rel=1e-5)


def test_batches_change_nothing(store: Store, trained: TrainedModel) -> None:
    whole = predict(store, trained.model_id, "test")
    copy = store.root.parent / "copy"
    shutil.copytree(store.root, copy)
    other = Store.open(copy)
    (copy / "key").write_text("")
    found = predict(other, trained.model_id, "test", threads=2, batch_size=3)  # other threads: another key
    assert not found.reused
    for column in ("words", "hits", "substitutions", "deletions", "insertions", "tokens"):
        assert found.table[column].to_pylist() == whole.table[column].to_pylist()
    for column in ("loss", "confidence"):
        assert found.table[column].to_numpy() == pytest.approx(whole.table[column].to_numpy(), rel=1e-4)
    assert other.vault.hypotheses(found.run_id) == store.vault.hypotheses(whole.run_id)


def test_nothing_is_measured_twice(store: Store, trained: TrainedModel) -> None:
    first = evaluate(store, trained.model_id, "test")
    runs = len(store.runs())
    again = evaluate(store, trained.model_id, "test")
    assert again.reused
    assert again.predictions.reused
    assert {(f.slice, f.metric): f for f in again.figures} == {(f.slice, f.metric): f for f in first.figures}
    assert len(store.runs()) == runs
    ids = members(store, resolve_set(store, "test").digest)
    cut = evaluate(store, trained.model_id, "test", slices={"first ten": ids.slice(0, 10)})
    assert cut.predictions.reused  # other slices, the same decoding
    assert {f.slice for f in cut.figures} == {"all", "first ten"}
    assert len(store.runs()) == runs + 1


def test_default_slices_are_attributes_with_few_values(store: Store, trained: TrainedModel) -> None:
    done = evaluate(store, trained.model_id, "test")
    assert {f.slice for f in done.figures} == {"all", "accent=north", "accent=south"}  # 'take' tells clips apart


def test_metrics_are_on_record_with_their_normaliser(store: Store, trained: TrainedModel) -> None:
    basic, none = (evaluate(store, trained.model_id, "test", normalise=n) for n in ("basic", "none"))
    assert basic.predictions.run_id != none.predictions.run_id
    rows = store.read(
        "metrics", where="run_id = ? AND metric = 'wer' AND slice = 'all'", parameters=[basic.run_id]
    ).to_pylist()
    (row,) = rows
    assert row["normaliser"] == normaliser("basic").label
    assert (row["value"], row["low"], row["high"]) == (
        basic.wer,
        basic.figure().interval.low,
        basic.figure().interval.high,
    )
    assert (row["speakers"], row["samples"], row["level"]) == (4, 16, bootstrap.LEVEL)


def test_words_the_model_cannot_spell_are_errors_not_refusals(
    store: Store, trained: TrainedModel, populate: Callable[..., SampleSet]
) -> None:
    populate(store, "open", 8, seed=11, texts=["one ten", "two", "eleven", "three", "four", "Five", "six", "seven"])
    done = evaluate(store, trained.model_id, "open")
    losses = done.predictions.table["loss"].to_pylist()
    assert sum(v is None for v in losses) == 3
    assert all(t == 0 for t, v in zip(done.predictions.table["tokens"].to_pylist(), losses, strict=True) if v is None)
    assert done.figure("loss").samples == 5
    assert done.figure("wer").words == 9
    assert math.isfinite(done.figure("loss").interval.value)


def test_unknown_names_say_what_exists(store: Store, trained: TrainedModel) -> None:
    with pytest.raises(UnknownName, match="no model 'abel' — did you mean 'able'"):
        evaluate(store, "abel", "test")
    with pytest.raises(UnknownName, match="no set 'tset' — did you mean 'test'"):
        evaluate(store, "able", "tset")
    with pytest.raises(UnknownName, match="no normaliser"):
        evaluate(store, "able", "test", normalise="base")
    foreign = members(store, resolve_set(store, "train").digest)
    with pytest.raises(EarmarkError, match="slice 'x' has no utterance in the evaluation set"):
        evaluate(store, "able", "test", slices={"x": foreign})
    with pytest.raises(KeyError):
        evaluate(store, "able", "test").figure("cer")


def test_the_interval_is_the_speaker_bootstrap(store: Store, trained: TrainedModel) -> None:
    done = evaluate(store, trained.model_id, "test", seed=5_005)  # a seed of its own: never read back from another test
    table = done.predictions.table
    speaker = dict(zip(*(store.read("samples")[c].to_pylist() for c in ("sample_id", "speaker_key")), strict=True))
    errors = sum(table[c].to_numpy() for c in ("substitutions", "deletions", "insertions"))
    who = [speaker[i] for i in table["sample_id"].to_pylist()]
    assert done.figure().interval == bootstrap.ratio(errors, table["words"].to_numpy(), who, seed=5_005)
    assert np.isfinite(done.figure().interval.low)

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import jiwer
import numpy as np
import pytest

from lineage.errors import EarmarkError, UnknownName
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.store import Store
from tests.training.conftest import speakers_of
from training.evaluation import wer
from training.evaluation.evaluate import evaluate
from training.normalise import normaliser
from training.statistics import bootstrap


def test_figures_are_those_of_jiwer(able: Store) -> None:
    done = evaluate(able, "able", "test")
    ids = members(able, resolve_set(able, "test").digest).to_pylist()
    heard = able.vault.hypotheses(done.predictions.run_id)
    said = able.vault.transcripts(ids)
    text = normaliser("basic")
    assert done.wer == jiwer.wer([text(said[i]) for i in ids], [text(heard[i]) for i in ids])
    assert 0 < done.wer < 1
    rows = {r["sample_id"]: r for r in able.read("samples", where="attributes['accent'] = 'north'").to_pylist()}
    north = [i for i in ids if i in rows]
    found = done.figure("wer", "accent=north")
    assert found.interval.value == jiwer.wer([said[i] for i in north], [heard[i] for i in north])
    assert (found.samples, found.words) == (len(north), sum(len(said[i].split()) for i in north))
    assert found.interval.low <= found.interval.value <= found.interval.high
    assert done.figure("cer").interval.value == jiwer.cer([said[i] for i in ids], [heard[i] for i in ids])
    right = [said[i] == heard[i] for i in ids]
    assert done.figure("sentence_accuracy").interval.value == sum(right) / len(ids)
    parts = [done.figure(m).interval.value for m in ("substitutions", "deletions", "insertions")]
    assert sum(parts) == pytest.approx(done.wer)


def test_nothing_is_measured_twice(able: Store) -> None:
    first = evaluate(able, "able", "test")
    runs = len(able.runs())
    again = evaluate(able, "able", "test")
    assert again.reused
    assert again.predictions.reused
    assert {(f.slice, f.metric): f for f in again.figures} == {(f.slice, f.metric): f for f in first.figures}
    assert len(able.runs()) == runs
    ids = members(able, resolve_set(able, "test").digest)
    cut = evaluate(able, "able", "test", slices={"first ten": ids.slice(0, 10)})
    assert cut.predictions.reused  # other slices, the same decoding
    assert {f.slice for f in cut.figures} == {"all", "first ten"}
    assert len(able.runs()) == runs + 1


def test_default_slices_are_attributes_with_few_values(able: Store) -> None:
    done = evaluate(able, "able", "test")
    cut = {f.slice for f in done.figures if f.metric == "wer"}
    assert cut == {"all", "accent=north", "accent=south"}  # 'take' tells clips apart


def test_metrics_are_on_record_with_their_normaliser(able: Store) -> None:
    basic, none = (evaluate(able, "able", "test", normalise=n) for n in ("basic", "none"))
    assert basic.predictions.run_id != none.predictions.run_id
    rows = able.read(
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


def test_words_the_model_cannot_spell_are_errors_not_refusals(able: Store, populate: Callable[..., SampleSet]) -> None:
    populate(able, "open", 8, seed=11, texts=["one ten", "two", "eleven", "three", "four", "Five", "six", "seven"])
    done = evaluate(able, "able", "open")
    losses = done.predictions.table["loss"].to_pylist()
    assert sum(v is None for v in losses) == 3
    assert all(t == 0 for t, v in zip(done.predictions.table["tokens"].to_pylist(), losses, strict=True) if v is None)
    assert done.figure("loss").samples == 5
    assert done.figure("wer").words == 9
    assert math.isfinite(done.figure("loss").interval.value)


def test_unknown_names_say_what_exists(able: Store) -> None:
    with pytest.raises(UnknownName, match="no model 'abel' — did you mean 'able'"):
        evaluate(able, "abel", "test")
    with pytest.raises(UnknownName, match="no set 'tset' — did you mean 'test'"):
        evaluate(able, "able", "tset")
    with pytest.raises(UnknownName, match="no normaliser"):
        evaluate(able, "able", "test", normalise="base")
    foreign = members(able, resolve_set(able, "train").digest)
    with pytest.raises(EarmarkError, match="slice 'x' has no utterance in the evaluation set"):
        evaluate(able, "able", "test", slices={"x": foreign})
    with pytest.raises(KeyError):
        evaluate(able, "able", "test").figure("ber")


def test_the_interval_is_the_speaker_bootstrap(able: Store) -> None:
    done = evaluate(able, "able", "test", seed=5_005)  # a seed of its own: never read back from another test
    table = done.predictions.table
    speaker = speakers_of(able)
    errors = sum(table[c].to_numpy() for c in ("substitutions", "deletions", "insertions"))
    who = [speaker[i] for i in table["sample_id"].to_pylist()]
    assert done.figure().interval == bootstrap.ratio(errors, table["words"].to_numpy(), who, seed=5_005)
    assert np.isfinite(done.figure().interval.low)


def test_macro_averages_count_voices_and_slices_alike(able: Store) -> None:
    done = evaluate(able, "able", "test")
    speaker = speakers_of(able)
    sums: dict[object, list[int]] = {}
    for r in done.predictions.table.to_pylist():
        mine = sums.setdefault(speaker[r["sample_id"]], [0, 0])
        mine[0] += r["substitutions"] + r["deletions"] + r["insertions"]
        mine[1] += r["words"]
    by_speaker = done.figure("wer_by_speaker")
    assert by_speaker.interval.value == pytest.approx(np.mean([e / w for e, w in sums.values()]))
    assert by_speaker.total == 4
    slices = [done.figure("wer", f"accent={a}").interval.value for a in ("north", "south")]
    macro = done.figure("wer_macro", "accent=*")
    assert macro.interval.value == pytest.approx(np.mean(slices))
    assert macro.interval.low <= macro.interval.value <= macro.interval.high


def test_a_second_normaliser_stands_beside(able: Store, populate: Callable[..., SampleSet]) -> None:
    texts = ["One", "two", "THREE", "four", "five", "Six", "seven", "eight"]
    populate(able, "shouted", 8, seed=12, texts=texts)
    done = evaluate(able, "able", "shouted", normalise="basic", beside="none")
    other = evaluate(able, "able", "shouted", normalise="none")
    assert done.figure("wer_beside").interval == other.figure("wer").interval
    assert done.figure("wer_beside").normaliser == normaliser("none").label
    assert done.figure("wer").normaliser == normaliser("basic").label
    difference = done.figure("wer_beside_difference").interval
    assert difference.value == pytest.approx(other.wer - done.wer)
    assert difference.low <= difference.value <= difference.high
    same = evaluate(able, "able", "shouted", beside="basic").figure("wer_beside_difference").interval
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_entities_of_lists_and_tags(able: Store, populate: Callable[..., SampleSet], tmp_path: Path) -> None:
    made = populate(able, "tagged", 8, seed=13)
    ids = members(able, made.digest).to_pylist()
    said = able.vault.transcripts(ids)
    with able.run("ingest", job="tags") as run:
        tag = json.dumps([{"text": said[ids[0]].split()[0], "type": "first"}])
        run.vault.append("particulars", [{"sample_id": ids[0], "name": "entities", "value": tag}])
    (tmp_path / "digits.txt").write_text("\n".join(sorted({w for t in said.values() for w in t.split()})))
    done = evaluate(able, "able", "tagged", entities=[tmp_path / "digits.txt"])
    heard = able.vault.hypotheses(done.predictions.run_id)
    words = sum(len(t.split()) for t in said.values())
    hits = sum(wer.count([said[i]], [heard[i]])[0].hits for i in ids)
    assert done.figure("entity_accuracy:digits").total == words  # every word is one
    assert done.figure("entity_accuracy:digits").interval.value == pytest.approx(hits / words)
    assert done.figure("entity_accuracy:first").total == said[ids[0]].split().count(said[ids[0]].split()[0])
    assert done.figure("entity_accuracy").total == words + done.figure("entity_accuracy:first").total
    config = json.dumps(able.resolve_run(done.run_id).config)
    assert not any(w in config for w in said[ids[0]].split())  # terms may be names: the run keeps a keyed digest


def test_reliability_curves_are_on_record(able: Store) -> None:
    done = evaluate(able, "able", "test")
    rows = able.sql(
        "SELECT unit, sum(count)::INT AS n, sum(count * abs(confidence - accuracy)) / sum(count) AS gap FROM calibrations "
        "WHERE run_id = $run AND slice = 'all' GROUP BY unit",
        {"run": done.run_id},
    ).to_pylist()
    found = {r["unit"]: r for r in rows}
    for unit in ("word", "utterance"):
        figure = done.figure(f"ece_{unit}")
        assert found[unit]["gap"] == pytest.approx(figure.interval.value)
        assert found[unit]["n"] == figure.total
    assert found["utterance"]["n"] == 16

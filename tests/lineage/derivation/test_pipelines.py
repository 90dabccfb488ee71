"""A pipeline of `datasets` on the record: what changes has children, what does not keeps its id."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from datasets import Audio, Dataset

from lineage.derivation.pipelines import COLUMN, Tracked, _digest, carried, concatenate, heard, track
from lineage.errors import EarmarkError
from lineage.identity import audio_digest, sample_id
from lineage.ids import id_array
from lineage.recorder import described
from lineage.selection.sets import members, resolve_set
from lineage.sound.audio import Waveform, encode
from lineage.store import Store
from tests.lineage.sounds import sound

WORDS = ["one", "two", "three", "four"]


@pytest.fixture
def data() -> Dataset:
    """Four clips of 8 kHz with words, as `datasets` carries them."""
    rows = [
        {
            "audio": {"bytes": encode(sound(0.3, 8_000, seed=i)), "path": f"{i}.wav"},
            "text": w,
            "speaker": f"s{i % 2}",
            "accent": "north",
        }
        for i, w in enumerate(WORDS)
    ]
    return Dataset.from_list(rows).cast_column("audio", Audio(decode=False))


@pytest.fixture
def tracked(store: Store, data: Dataset) -> Tracked:
    return track(store, data, name="words")


def shout(row: dict[str, Any]) -> dict[str, Any]:
    return {"text": row["text"].upper()}


def halve(row: dict[str, Any], factor: float = 0.5) -> dict[str, Any]:
    wave = heard(row["audio"])
    return {"audio": carried(Waveform(wave.pcm * np.float32(factor), wave.rate))}


def edges(store: Store) -> list[dict[str, Any]]:
    return store.sql(
        "SELECT child_id, parent_id, name, parameters FROM edges JOIN transforms USING (transform_id)"
    ).to_pylist()


def test_rows_go_on_the_record_as_they_would_be_ingested(store: Store, tracked: Tracked) -> None:
    expected = [sample_id(audio_digest(sound(0.3, 8_000, seed=i).pcm, 8_000), w) for i, w in enumerate(WORDS)]
    assert tracked.ids == expected
    facts = described(store, id_array(expected))[expected[0]]
    assert (dict(facts["attributes"]), facts["speaker_key"]) == ({"accent": "north"}, store.vault.speaker_key("s0"))
    again = track(store, tracked.dataset, name="words")
    assert again.set.digest == tracked.set.digest
    assert len(store.runs()) == 1  # nothing was done again


def test_new_words_are_new_samples_with_their_parents_sound(store: Store, tracked: Tracked) -> None:
    louder = tracked.map(shout)
    assert set(store.vault.transcripts(louder.ids).values()) == {w.upper() for w in WORDS}
    assert store.vault.audio_digests(louder.ids)[louder.ids[0]] == store.vault.audio_digests()[tracked.ids[0]]
    found = {e["child_id"]: e["parent_id"] for e in edges(store)}
    assert found == dict(zip(louder.ids, tracked.ids, strict=True))
    assert louder["text"][0] == "ONE"
    run = store.resolve_run(store.runs()[-1].id)
    assert (run.kind, run.inputs, run.outputs) == ("transform", [tracked.set.digest], [louder.set.digest])
    assert described(store, id_array(louder.ids))[louder.ids[1]]["root_ids"] == [tracked.ids[1]]


def test_new_sound_is_a_new_sample_and_the_function_is_part_of_how(store: Store, tracked: Tracked) -> None:
    softer = tracked.map(halve)
    waves = dict(store.vault.waveforms(softer.ids))
    assert waves[softer.ids[0]].pcm.max() == pytest.approx(sound(0.3, 8_000, seed=0).pcm.max() / 2, abs=1e-4)
    tracked.map(halve, fn_kwargs={"factor": 0.25})
    tracked.map(functools.partial(halve, factor=0.125))
    assert store.read("transforms", ["count(DISTINCT transform_id) AS n"])["n"].to_pylist() == [3]
    before = store.read("edges", ["count(*) AS n"])["n"].to_pylist()
    tracked.map(halve)
    assert store.read("edges", ["count(*) AS n"])["n"].to_pylist() == before  # the same again adds nothing


@pytest.mark.parametrize("batched", [False, True])
def test_features_leave_samples_as_they_are(store: Store, tracked: Tracked, batched: bool) -> None:
    """Also where every column is removed, as scripts do."""

    def prepare(row: dict[str, Any]) -> dict[str, Any]:
        return {"length": [len(t) for t in row["text"]] if batched else len(row["text"])}

    features = tracked.map(prepare, batched=batched, remove_columns=tracked.column_names)
    assert set(features.column_names) == {COLUMN, "length"}
    assert features.ids == tracked.ids
    assert features.set.digest == tracked.set.digest
    assert not edges(store)


def test_one_row_may_become_several(store: Store, tracked: Tracked) -> None:
    def twice(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {
            "text": [t for text in batch["text"] for t in (text, text + " again")],
            COLUMN: [i for i in batch[COLUMN] for _ in range(2)],
        }

    both = tracked.map(twice, batched=True, remove_columns=["audio", "text", "speaker", "accent"])
    assert both.ids[::2] == tracked.ids
    assert {e["parent_id"] for e in edges(store)} == set(tracked.ids)
    with pytest.raises(EarmarkError, match="gave a row the sample_id"):
        tracked.map(lambda row: {COLUMN: "00000000-0000-0000-0000-000000000001"})


def test_choosing_makes_sets_with_parents(store: Store, tracked: Tracked) -> None:
    long = tracked.filter(lambda row: len(row["text"]) > 3)
    assert set(members(store, long.set.digest).to_pylist()) == {tracked.ids[2], tracked.ids[3]}
    assert resolve_set(store, "words").parents == (tracked.set.digest,)
    mixed = tracked.shuffle(seed=0)
    assert mixed.ids != tracked.ids
    assert mixed["text"][:] == [WORDS[tracked.ids.index(i)] for i in mixed.ids]
    assert mixed.set.digest == tracked.set.digest
    parts = tracked.train_test_split(0.25, seed=3)
    assert {resolve_set(store, f"words/{p}").size for p in parts} == {1, 3}
    whole = concatenate([parts["test"], parts["train"]], name="whole")
    assert whole.set.digest == tracked.set.digest
    assert set(whole.set.parents) == {p.set.digest for p in parts.values()}
    assert tracked.select([0]).ids == tracked.ids[:1]
    with pytest.raises(EarmarkError, match="leaves no row"):
        tracked.filter(lambda row: False)


def test_casting_the_rate_resamples(store: Store, tracked: Tracked) -> None:
    cast = tracked.cast_column("audio", Audio(sampling_rate=16_000))
    assert [heard(cell).rate for cell in cast["audio"]] == [16_000] * 4
    found = edges(store)
    assert {e["name"] for e in found} == {"resample"}
    assert {e["child_id"]: e["parent_id"] for e in found} == dict(zip(cast.ids, tracked.ids, strict=True))
    again = cast.cast_column("audio", Audio(sampling_rate=16_000))
    assert again.ids == cast.ids
    assert described(store, id_array(cast.ids))[cast.ids[0]]["root_ids"] == [tracked.ids[0]]


def test_rows_that_cannot_be_recorded_are_named(store: Store, data: Dataset) -> None:
    broken = data.map(lambda row, i: {"text": "" if i == 2 else row["text"]}, with_indices=True)
    with pytest.raises(EarmarkError, match="row 2 of the data cannot go on the record: text is empty"):
        track(store, broken, name="words")
    assert not store.read("samples").num_rows
    tracked = track(store, data, name="words")
    with pytest.raises(EarmarkError, match=f"what map.. made of sample {tracked.ids[0]} cannot go on the record"):
        tracked.map(lambda row: {"audio": {"bytes": b"RIFF", "path": None}})
    with pytest.raises(EarmarkError, match="of a DatasetDict track each split"):
        track(store, {"train": data}, name="words")


def test_how_is_the_source_and_what_it_closes_over() -> None:
    """Two functions of one source that closed over different values are two transforms; the same again is one."""

    def gain(factor: float) -> Any:
        return lambda row: {"x": row["x"] * factor}

    assert _digest(gain(2.0)) == _digest(gain(2.0)) != _digest(gain(3.0))
    assert _digest(functools.partial(halve, factor=1.0)) != _digest(functools.partial(halve, factor=2.0))
    assert _digest(np.arange(3)) == _digest([0, 1, 2]) != _digest([0, 1])
    assert _digest(len) == _digest(len) != _digest(max)

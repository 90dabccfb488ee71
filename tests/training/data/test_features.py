from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage.errors import EarmarkError
from lineage.identity import sample_id
from lineage.recorder import NewSample, Recorder
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.store import Store
from training.data import features
from training.data.features import open_features
from training.families import Family, open_family


@pytest.fixture
def family(base: Path) -> Family:
    return open_family("whisper", str(base))


def rows(store: Store, name: str):
    ids = members(store, resolve_set(store, name).digest)
    return store.sql(
        "SELECT sample_id, audio_key FROM samples JOIN wanted ON sample_id = id ORDER BY sample_id",
        tables={"wanted": pa.table({"id": ids})},
    )


def runs(store: Store) -> list[str]:
    return [r.id for r in store.runs() if r.kind == "features"]


def test_cached_features_are_the_computed_ones(store: Store, family: Family) -> None:
    wanted = rows(store, "train")
    view = open_features(store, family, wanted)
    waves = store.vault.waveforms(wanted["sample_id"])
    assert len(view) == 24
    for i, (_, wave) in enumerate(waves):
        assert (view[i] == family.features(wave)).all()
        assert view.frames[i] == len(view[i])


def test_nothing_is_computed_twice(store: Store, family: Family) -> None:
    first = open_features(store, family, rows(store, "train"))
    before = runs(store)
    again = open_features(Store.open(store.root), family, rows(store, "train").slice(3, 5))
    assert runs(store) == before
    assert all((again[i] == first[i + 3]).all() for i in range(5))
    open_features(store, family, rows(store, "test"))
    assert len(runs(store)) == len(before) + 1


def test_a_relabelled_clip_shares_its_features(store: Store, family: Family) -> None:
    open_features(store, family, rows(store, "test"))
    before = runs(store)
    row = store.read("samples").slice(0, 1).to_pylist()[0]
    digest = store.vault.audio_digests([row["sample_id"]])[row["sample_id"]]
    with store.run("transform") as run, Recorder(run) as recorder:
        relabelled = NewSample(sample_id(digest, "nine"), digest, "speech", row["duration_s"], 8000, 1, "nine")
        recorder.add(relabelled)
    found = store.read("samples", ["sample_id", "audio_key"], "sample_id IN (?, ?)", [relabelled.id, row["sample_id"]])
    one, other = open_features(store, family, found)[0], open_features(store, family, found)[1]
    assert (one == other).all()
    assert runs(store) == before


def test_other_settings_are_other_features(store: Store, family: Family, base: Path, tmp_path: Path) -> None:
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "preprocessor_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hop_length": 400}))
    other = open_family("whisper", str(tmp_path))
    assert other.feature_digest != family.feature_digest
    open_features(store, family, rows(store, "train"))
    before = runs(store)
    open_features(store, other, rows(store, "train"))
    assert len(runs(store)) == len(before) + 1


def test_shards_say_whose_features_they_hold(
    tmp_path: Path, family: Family, populate: Callable[..., SampleSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SHARD", 10)
    made = Store.init(tmp_path / "store")
    populate(made, "some", 23, seed=5)
    view = open_features(made, family, rows(made, "some"))
    assert len(runs(made)) == 3
    held = set()
    for run in made.runs():
        if run.kind == "features":
            folder = made.artifact(run.outputs[0])
            index = pq.read_table(folder / "index.parquet")
            assert index["frames"].to_pylist()
            held |= set(index["sample_id"].to_pylist())
    assert held == set(rows(made, "some")["sample_id"].to_pylist())
    assert all(np.isfinite(view[i]).all() for i in range(23))


def test_erased_shards_are_made_again(store: Store, family: Family) -> None:
    wanted = rows(store, "test")
    whole = open_features(store, family, wanted)
    before = [whole[i].copy() for i in range(len(whole))]
    for run in store.runs():
        if run.kind == "features":
            shutil.rmtree(store.artifact(run.outputs[0]))
    again = open_features(store, family, wanted)
    assert all((again[i] == before[i]).all() for i in range(len(before)))


ALONE = """
import hashlib, sys
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.store import Store
from training.data.corpus import open_corpus
from training.families import open_family
store = Store.open(sys.argv[1])
view = open_corpus(store, resolve_set(store, "some").digest, open_family("whisper", sys.argv[2])).features
print(hashlib.sha256(b"".join(view[i].tobytes() for i in range(len(view)))).hexdigest())
"""


@pytest.mark.slow
def test_processes_need_not_wait_for_each_other(
    tmp_path: Path, family: Family, base: Path, populate: Callable[..., SampleSet]
) -> None:
    made = Store.init(tmp_path / "store")
    populate(made, "some", 40, seed=6)
    command = [sys.executable, "-c", ALONE, str(made.root), str(base)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [worker.communicate(timeout=120)[0].strip() for worker in workers]
    view = open_features(made, family, rows(made, "some"))
    here = hashlib.sha256(b"".join(view[i].tobytes() for i in range(len(view)))).hexdigest()
    assert said == [here, here]


def test_a_clip_that_does_not_fit_is_named(store: Store, family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "frames", 10)
    with pytest.raises(EarmarkError, match=r"sample [0-9a-f-]{36}: the clip lasts"):
        open_features(store, family, rows(store, "train"))
    assert store.runs()[-1].status == "failed"

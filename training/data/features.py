"""The feature cache: every clip is turned into features once, whatever number of runs, sets and processes use them.

Features lie among the store's artifacts in shards, a few large files rather than one per clip:

    features.f32     all clips' frames one after the other, float32, little-endian, [frames, dimensions]
    index.parquet    sample_id, audio_key, start, frames: where each clip's features are
    shard.json       dimensions, and the feature configuration they were made with

They are content-addressed: by `audio_key`, which stands for the sound, and the digest of the family's feature configuration.
A relabelled clip, or one that is in twenty sets, is computed once. `sample_id` says whose features a row holds, which is what
erasure asks for. Shards are memory-mapped, so a set of any size takes little memory.

Each shard is one run of kind 'features'. Two processes that compute the same shard at the same time arrive at the same
artifact; neither waits for the other. Features are always computed on one thread, so their bits are the same everywhere.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lineage.errors import EarmarkError, UnknownName
from lineage.identity import digest_of
from lineage.ids import id_array
from lineage.store import Store
from training.determinism import deterministic
from training.families import Family
from training.families import Features as Array
from training.progress import Progress, silent

SHARD = 16_384  # clips in one shard at most

Place = tuple["Shard", int, int]


class Shard:
    """One shard on disk, opened."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "shard.json").read_text())
        index = pq.read_table(folder / "index.parquet")
        size = (folder / "features.f32").stat().st_size // 4
        self.frames = np.memmap(folder / "features.f32", dtype="<f4", mode="r", shape=(size,)).reshape(
            -1, about["dimensions"]
        )
        keys = index["audio_key"].to_pylist()
        ends = zip(index["start"].to_pylist(), index["frames"].to_pylist(), strict=True)
        self.places: dict[uuid.UUID, tuple[int, int]] = dict(zip(keys, ends, strict=True))


class FeatureView:
    """The features of some clips, in order: `view[i]` is float32 [frames, dimensions], read from disk when asked for."""

    def __init__(self, places: list[Place]) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def frames(self) -> list[int]:
        """Frames of each clip, without reading any."""
        return [frames for _, _, frames in self._places]

    def __getitem__(self, i: int) -> Array:
        shard, start, frames = self._places[i]
        return np.asarray(shard.frames[start : start + frames], dtype=np.float32)

    def merged(self, others: FeatureView, places: Sequence[int] | npt.NDArray[np.int64]) -> FeatureView:
        """The clips of both, numbered one after the other, at `places`."""
        both = self._places + others._places
        return FeatureView([both[int(p)] for p in places])


def open_features(store: Store, family: Family, samples: pa.Table, progress: Progress = silent) -> FeatureView:
    """Features of `samples` (columns `sample_id`, `audio_key`) in their order, computing those that are not there yet.

    Raises:
        EarmarkError: a clip does not fit the model, or its sound is gone; names the sample.
    """
    ids: list[uuid.UUID] = samples["sample_id"].to_pylist()
    # A sample without an audio key stands for itself.
    keys = [key or sample for key, sample in zip(samples["audio_key"].to_pylist(), ids, strict=True)]
    places = _lookup(store, family)
    missing = {key: sample for key, sample in zip(keys, ids, strict=True) if key not in places}
    if missing:
        _compute(store, family, list(missing.items()), progress)
        places = _lookup(store, family)
    return FeatureView([places[key] for key in keys])


def _lookup(store: Store, family: Family) -> dict[uuid.UUID, Place]:
    places: dict[uuid.UUID, Place] = {}
    for run in store.runs():
        if run.kind != "features" or run.status != "completed" or run.config["features"] != family.feature_digest:
            continue
        try:
            shard = _open(store.artifact(run.outputs[0]))
        except UnknownName:  # erased: its clips are computed again if they are still asked for
            continue
        places |= {key: (shard, *place) for key, place in shard.places.items()}
    return places


@lru_cache(maxsize=256)
def _open(folder: Path) -> Shard:
    return Shard(folder)


def _compute(store: Store, family: Family, missing: Sequence[tuple[uuid.UUID, uuid.UUID]], progress: Progress) -> None:
    done = 0
    for start in range(0, len(missing), SHARD):
        part = missing[start : start + SHARD]
        config = {"features": family.feature_digest, "family": family.name, "settings": family.feature_config}
        key = digest_of({"features": family.feature_digest, "clips": sorted(str(k) for k, _ in part)})
        with store.run("features", job=family.name, config=config, key=key, package="training") as run:
            with tempfile.TemporaryDirectory(prefix="earmark-") as scratch, deterministic(threads=1):
                folder = Path(scratch) / "shard"
                folder.mkdir()
                done = _write(store, family, part, folder, progress, done, len(missing))
                run.outputs.append(run.put(folder))
            run.result = {"clips": len(part)}


def _write(
    store: Store,
    family: Family,
    part: Sequence[tuple[uuid.UUID, uuid.UUID]],
    folder: Path,
    progress: Progress,
    done: int,
    total: int,
) -> int:
    samples = [sample for _, sample in part]
    starts: list[int] = []
    frames: list[int] = []
    dimensions = at = 0
    with (folder / "features.f32").open("wb") as stream:
        for sample, waveform in store.vault.waveforms(samples):
            try:
                features = family.features(waveform)
            except EarmarkError as error:
                raise EarmarkError(f"sample {sample}: {error}") from error
            stream.write(np.ascontiguousarray(features, dtype="<f4").tobytes())
            dimensions = features.shape[1]
            starts.append(at)
            frames.append(len(features))
            at += len(features)
            done += 1
            progress(done, total, "features")
    index: dict[str, Any] = {
        "sample_id": id_array(samples),
        "audio_key": id_array([key for key, _ in part]),
        "start": pa.array(starts, pa.int64()),
        "frames": pa.array(frames, pa.int32()),
    }
    pq.write_table(pa.table(index), folder / "index.parquet", compression="zstd")
    about = {"dimensions": dimensions, "settings": family.feature_config}
    (folder / "shard.json").write_text(json.dumps(about, indent=1, sort_keys=True))
    return done

"""A small store of synthetic speech with accents and speakers, a tiny random Whisper, and a recipe for both."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.identity import audio_digest, sample_id
from lineage.recorder import NewSample, Recorder
from lineage.selection.sets import SampleSet, create_set
from lineage.sound.audio import encode
from lineage.store import Store
from tests.training.conftest import WORDS, say, tiny_whisper
from training.recipe import Recipe

ACCENTS = ("north", "south", "west")


def populate(store: Store, name: str, count: int, seed: int, speakers: int = 6, source: str | None = None) -> SampleSet:
    """Put `count` utterances on record as set `name`: speaker i has accent i mod 3, every other clip has noise 'hum'."""
    rng = np.random.default_rng(seed)
    with store.run("ingest", job=name) as run:
        ids: list[uuid.UUID] = []
        with Recorder(run) as recorder:
            for i in range(count):
                speaker = i % speakers
                text = " ".join(rng.choice(WORDS, rng.integers(1, 5)))
                wave = say(text.split(), 1 + 0.03 * speaker, rng)
                digest = audio_digest(wave.pcm, wave.rate)
                noise = "hum" if i // speakers % 2 else "clean"
                sample = NewSample(
                    id=sample_id(digest, text),
                    audio_digest=digest,
                    kind="speech",
                    duration_s=wave.duration_s,
                    rate=wave.rate,
                    channels=wave.channels,
                    transcript=text,
                    speaker_key=store.vault.speaker_key(f"{name}-{speaker}"),
                    source=source,
                    attributes={"accent": ACCENTS[speaker % 3], "noise": noise, "take": str(i)},
                    clip=encode(wave),
                )
                recorder.add(sample)
                ids.append(sample.id)
            return create_set(run, ids, name=name, samples=recorder.totals())


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Whisper on disk."""
    return tiny_whisper(tmp_path_factory.mktemp("base"))


def make_store(root: Path) -> Store:
    """A store with sets `train` (36 utterances) and `test` (24)."""
    made = Store.init(root)
    populate(made, "train", 36, seed=1)
    populate(made, "test", 24, seed=2)
    return made


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store that the tests of this folder share."""
    return make_store(tmp_path_factory.mktemp("influence") / "store")


@pytest.fixture(scope="session")
def recipe(base: Path) -> Recipe:
    """Two epochs of the tiny model on `train`, with three checkpoints."""
    return Recipe(
        name="tiny", base=str(base), train="train", evaluate=("test",), epochs=2, batch_size=6, learning_rate=3e-3,
        checkpoints=3, dropout=0.0,
    )  # fmt: skip

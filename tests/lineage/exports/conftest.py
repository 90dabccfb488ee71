"""A store with a little corpus of every kind of sample, what was made of it, and a model trained on that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineage.derivation.derive import transform_set
from lineage.ingestion.ingest import ingest
from lineage.selection.sets import resolve_set
from lineage.sound.audio import Waveform
from lineage.store import Store
from tests.lineage.sounds import sine, sound, write

MODEL = "ab" * 32
PERSONAL = ("ottilie", "walburga", "hush", "ottilie@example.org", "secret-place")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Sets 'words' (mono, stereo, float sound and noise) and 'slow', model 'tiny'. Not to be changed."""
    folder = tmp_path_factory.mktemp("corpus")
    place = folder / "secret-place"
    sounds = [sound(0.2, seed=0), sound(0.2, 8_000, seed=1), sound(0.2, channels=2, seed=2), sine(0.2, 16_000, 440.0)]
    lines = []
    for i, wave in enumerate(sounds):
        write(place / f"{i}.wav", wave, subtype="FLOAT" if i == 3 else "PCM_16")
        row = {"audio_path": f"{i}.wav", "text": f"hush hush {i}", "speaker": ["Ottilie", "Walburga"][i % 2]}
        row |= {"accent": "scot", "age": i, "language": "en", "email": "ottilie@example.org", "source": "corpus"}
        lines.append(json.dumps({**row, "licence": ["CC0-1.0", "CC-BY-4.0"][i % 2]}))
    write(place / "hum.wav", sound(0.3, seed=9))
    lines.append(json.dumps({"audio_path": "hum.wav", "kind": "noise", "noise": "hum"}))
    (place / "words.jsonl").write_text("\n".join(lines))
    store = Store.init(folder / "store")
    assert not ingest(store, place / "words.jsonl").refused
    slow = transform_set(store, "words", "speed", to="slow", parameters={"factor": 0.9})
    weights = folder / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"weights")
    with store.run("train", job="/home/ottilie/tiny", inputs=[slow.digest], seed=1) as run:
        artifact = run.put(weights)
        row = {"model_id": MODEL, "name": "tiny", "family": "whisper", "base": "/home/ottilie/base", "parameters": 10}
        run.append("models", [{**row, "trainable": 10, "artifact": artifact, "set_digest": slow.digest, "seed": 1}])
        run.outputs += [MODEL, artifact]
    with store.run("evaluate", job="tiny", inputs=[MODEL, slow.digest]) as run:
        figure = {"model_id": MODEL, "set_digest": slow.digest, "metric": "wer", "level": 0.95}
        run.append("metrics", [{**figure, "slice": "all", "value": 0.12, "low": 0.1, "high": 0.14}])
        run.append("metrics", [{**figure, "slice": "accent=scot", "value": 0.2}])
    return store


@pytest.fixture
def waves(corpus: Store) -> dict[str, Waveform]:
    """Sound of the set 'words' by sample id."""
    from lineage.selection.sets import members

    ids = members(corpus, resolve_set(corpus, "words").digest)
    return {str(sample): wave for sample, wave in corpus.vault.waveforms(ids)}


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

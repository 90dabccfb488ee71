"""Recordings for the tests of single formats, and a short way to ingest and look at what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineage.ingestion.ingest import IngestReport, ingest
from lineage.store import Store
from tests.lineage.sounds import sound, write

Taken = Callable[..., tuple[IngestReport, list[dict[str, Any]]]]


def record(folder: Path, *names: str, **how: Any) -> None:
    """Recordings of 0.2 s that differ."""
    for seed, name in enumerate(names):
        write(folder / name, sound(0.2, seed=seed), **how)


@pytest.fixture
def take(tmp_path: Path) -> Taken:
    """Ingest into a new store; the report, and the samples with speaker and words, sorted by words."""
    stores = iter(range(100))

    def run(path: Path | str, **how: Any) -> tuple[IngestReport, list[dict[str, Any]]]:
        store = Store.init(tmp_path / f"store{next(stores)}")
        report = ingest(store, path, **how)
        names, words = store.vault.speakers(), store.vault.transcripts()
        rows = [
            {
                **r,
                "text": words.get(r["sample_id"]),
                "speaker": names.get(r["speaker_key"]),
                **dict(r["attributes"] or ()),
            }
            for r in store.read("samples").to_pylist()
        ]
        return report, sorted(rows, key=lambda r: (r["text"] or "", r["duration_s"]))

    return run

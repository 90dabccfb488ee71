"""A store and samples for the tests of the record."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lineage.runs import Run
from lineage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.init(tmp_path / "store")


def ids(count: int, seed: int = 0) -> list[uuid.UUID]:
    """`count` distinct ids that are the same for every run of the tests."""
    rng = random.Random(seed)
    return [uuid.UUID(int=rng.getrandbits(128)) for _ in range(count)]


def rows(samples: Sequence[uuid.UUID], **fields: Any) -> list[dict[str, Any]]:
    """Rows of the `samples` table, recordings of one second each."""
    plain = {"kind": "speech", "duration_s": 1.0, "sample_rate": 16_000, "channels": 1, "words": 3}
    return [{**plain, "sample_id": s, "root_ids": [s], **fields} for s in samples]


def link(run: Run, child: uuid.UUID, *parents: uuid.UUID) -> None:
    """Record that `child` was made of `parents`."""
    run.append(
        "edges",
        [
            {"child_id": child, "parent_id": p, "transform_id": "t", "role": "speech", "position": i}
            for i, p in enumerate(parents)
        ],
    )

"""Slices that were discovered, as they are on record: the figures of `discover`, which looks for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from influence.discovery.confirm import Gap
from lineage.storage.manifest import RunInfo


@dataclass(frozen=True)
class Candidate:
    """A slice as it was frozen: its set in the part that found it, what it amounts to there, and what describes it."""

    name: str
    predicate: str
    set_digest: str
    score: float
    samples: int
    words: int
    wer: float
    described: list[str]


@dataclass(frozen=True)
class Found:
    """A candidate and what came of it on other data; `tested_set` is None where that has none of it."""

    candidate: Candidate
    tested_set: str | None
    gap: Gap


def read_back(discovered: RunInfo, confirmed: RunInfo) -> tuple[Found, ...]:
    """What a search and its test found, which are two runs."""
    candidates = [Candidate(**c) for c in discovered.result["candidates"]]
    gap = [_gap(g) for g in confirmed.result["gaps"]]
    return tuple(Found(*row) for row in zip(candidates, confirmed.result["sets"], gap, strict=True))


def _gap(plain: dict[str, Any]) -> Gap:
    known: dict[str, Any] = {k: math.nan if v is None else v for k, v in plain.items()}
    return Gap(**known)

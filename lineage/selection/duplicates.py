"""Duplicates in a set of samples: the same sound more than once, and copies of one recording that are not equal to the bit.

- *Exact*: one sound under several transcripts (with the same words it would be the same sample), by `audio_key`.
- *Near*: the same plain words (`lineage.selection.words`) by the same speaker, of nearly the same length, whose
  fingerprints are alike (`lineage.sound.fingerprint`): a re-encoded, resampled or amplified copy. Somebody who says the
  same words again is not near: their timing differs.

Samples are compared only with those that have the same words (by a keyed hash out of the vault) and speaker, in the order of
their lengths, so the work grows with the number of samples and not with its square. Samples recorded by versions that took
no fingerprints are not compared; ingesting them again adds what is missing. What comes out is ids.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.selection.sets import members
from lineage.sound.fingerprint import vectors
from lineage.store import Store

ALIKE = (
    0.985  # codecs keep 99 of 100 copies of half a second above it; 1 in 1,000 of the same word said again, as long, is
)
LONGER, LONGER_S = 0.02, 0.05  # a codec may pad
CHUNK = 1 << 15  # pairs compared at a time


@dataclass(frozen=True)
class Group:
    """Samples that are copies of one another; `likeness` is the least correlation that links them, 1 for the same sound.

    `derived` tells that the record knows it: all were made of one recording.
    """

    samples: tuple[uuid.UUID, ...]
    likeness: float
    derived: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"samples": [str(s) for s in self.samples], "likeness": self.likeness, "derived": self.derived}


@dataclass(frozen=True)
class Duplicates:
    """The duplicates within a set, largest groups first; `unheard` samples with words have no fingerprint on record."""

    set_digest: str
    exact: tuple[Group, ...]
    near: tuple[Group, ...]
    unheard: int

    @staticmethod
    def count(groups: Sequence[Group]) -> int:
        """How many samples are in these groups."""
        return sum(len(g.samples) for g in groups)


def duplicates(store: Store, set_digest: str, *, across_speakers: bool = False) -> Duplicates:
    """The exact and near duplicates among the members of a set; near ones of different speakers, too, if asked."""
    ids = members(store, set_digest)
    prints = store.vault.rows("fingerprints", ids).select(["sample_id", "words_key", "fingerprint"])
    speaker = "NULL::UUID" if across_speakers else "speaker_key"
    rows = store.sql(
        f"""
        SELECT s.sample_id, s.audio_key, s.root_ids, s.words, s.duration_s, p.fingerprint,
               CASE WHEN p.words_key IS NOT NULL THEN dense_rank() OVER (ORDER BY p.words_key, {speaker}) END AS block
        FROM samples s SEMI JOIN wanted ON s.sample_id = wanted.id
        LEFT JOIN (SELECT sample_id, any_value(words_key) AS words_key, any_value(fingerprint) AS fingerprint
                   FROM prints GROUP BY sample_id) p USING (sample_id)
        ORDER BY block NULLS LAST, duration_s, sample_id""",
        tables={"wanted": pa.table({"id": ids}), "prints": prints},
    )
    unheard = sum(w is not None and f is None for w, f in zip(*_columns(rows, "words", "fingerprint"), strict=True))
    exact = _same_sound(rows)
    heard = rows.filter(pa.array([b is not None for b in rows["block"].to_pylist()], pa.bool_()))
    return Duplicates(set_digest, tuple(_largest_first(exact)), tuple(_largest_first(_near(heard))), unheard)


def _same_sound(rows: pa.Table) -> Iterator[Group]:
    groups: dict[uuid.UUID, list[int]] = {}
    for place, key in enumerate(rows["audio_key"].to_pylist()):
        if key is not None:
            groups.setdefault(key, []).append(place)
    for places in groups.values():
        if len(places) > 1:
            yield _group(rows, places, 1.0)


def _near(rows: pa.Table) -> Iterator[Group]:
    """Groups of near duplicates in rows sorted by block and duration; what is the same sound throughout is not among them."""
    blocks, seconds = (rows[name].to_numpy() for name in ("block", "duration_s"))
    prints, keys = _columns(rows, "fingerprint", "audio_key")
    links: dict[int, int] = {}
    least: dict[int, float] = {}

    def head(place: int) -> int:
        while links.get(place, place) != place:
            place = links[place]
        return place

    for first, second, likeness in _pairs(blocks, seconds, prints):
        low, high = sorted((head(first), head(second)))
        links[low], links[high] = low, low
        least[low] = min(likeness, least.get(low, 1.0), least.get(high, 1.0))
    groups: dict[int, list[int]] = {}
    for place in sorted(links):
        groups.setdefault(head(place), []).append(place)
    for top, places in groups.items():
        if len({keys[p] for p in places}) > 1:
            yield _group(rows, places, least[top])


def _pairs(
    blocks: npt.NDArray[np.int64], seconds: npt.NDArray[np.float64], prints: Sequence[bytes]
) -> Iterator[tuple[int, int, float]]:
    """Pairs of rows of one block that are alike. Every row is held against the next one, then the one after that …

    … as long as that is of its block and hardly longer; most rows drop out at once.
    """
    first = np.arange(len(blocks))
    step = 1
    while True:
        first = first[first + step < len(blocks)]
        second = first + step
        close = seconds[second] <= np.maximum(seconds[first] * (1 + LONGER), seconds[first] + LONGER_S)
        first = first[close & (blocks[second] == blocks[first])]
        if not len(first):
            return
        for start in range(0, len(first), CHUNK):
            part = first[start : start + CHUNK]
            here, there = (vectors([prints[p] for p in places]) for places in (part, part + step))
            likeness = np.einsum("ij,ij->i", here, there)
            for k in np.flatnonzero(likeness >= ALIKE):
                yield int(part[k]), int(part[k]) + step, round(min(1.0, float(likeness[k])), 4)
        step += 1


def _group(rows: pa.Table, places: list[int], likeness: float) -> Group:
    part = rows.take(pa.array(places))
    ids, roots = _columns(part, "sample_id", "root_ids")
    made_of = [set(r or (i,)) for i, r in zip(ids, roots, strict=True)]
    return Group(tuple(sorted(ids)), likeness, bool(set.intersection(*made_of)))


def _largest_first(groups: Iterator[Group]) -> list[Group]:
    return sorted(groups, key=lambda g: (-len(g.samples), g.samples))


def _columns(rows: pa.Table, *names: str) -> tuple[list[Any], ...]:
    return tuple(rows[name].to_pylist() for name in names)

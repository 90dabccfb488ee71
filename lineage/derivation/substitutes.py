"""Substitutes: which sample stands in another's place while a model is trained.

A training set fixes what comes when: places, order, seeds, number of steps. To ask what one property of the data does (its
transcripts, its source, its sound), samples are replaced where they stand, and nothing else moves. A pairing says which: for
some samples of the set, the sample that takes the place. It is an artifact, 32 bytes a pair, the sample's id and that of its
substitute, in the order of the samples; the substitutes are a sample set besides, so that policy, leakage and lineage see them.

Laws: equal pairings have one digest, whoever recorded them and in whatever order; a sample that stands for itself is no pair;
what is not paired stays what it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lineage.errors import EarmarkError, UnknownName
from lineage.ids import Halves, id_array, sort_unique
from lineage.proof import merkle
from lineage.runs import Run
from lineage.selection.sets import SampleSet, create_set
from lineage.store import Store

PAIR_BYTES = 32


@dataclass(frozen=True, eq=False)
class Substitutes:
    """A pairing: `samples[i]` is replaced by `by[i]`, both arrays of ids; `set_digest` is the set of the substitutes."""

    digest: str
    samples: pa.Array
    by: pa.Array
    set_digest: str

    def __len__(self) -> int:
        return len(self.samples)


def record_substitutes(
    run: Run,
    pairs: Mapping[uuid.UUID, uuid.UUID],
    *,
    name: str,
    population: SampleSet,
    samples: pa.Table | None = None,
) -> str:
    """Put on record which samples of `population` are replaced by which; returns the digest of the pairing.

    `samples` may describe substitutes that the same run is only now recording (see `create_set`).

    Raises:
        EarmarkError: nothing would be replaced.
    """
    moved = sorted((a, b) for a, b in pairs.items() if a != b)
    if not moved:
        raise EarmarkError(f"'{name}' replaces no sample by another — check what it is to change")
    digest = run.put(b"".join(a.bytes + b.bytes for a, b in moved))
    parents = [population.digest]
    by = create_set(run, {b for _, b in moved}, name=name, kind="substitutes", parents=parents, samples=samples)
    run.result.setdefault("substitutes", {})[digest] = by.digest
    return digest


def substitutes(store: Store, digest: str) -> Substitutes:
    """The pairing of that digest.

    Raises:
        EarmarkError: it is not on record, or is no pairing.
    """
    try:
        content = store.artifact(digest).read_bytes()
    except (UnknownName, OSError):
        raise EarmarkError(f"there are no substitutes {digest[:12]} on record — record them first") from None
    if not content or len(content) % PAIR_BYTES:
        raise EarmarkError(f"artifact {digest[:12]} is no list of substitutes — name one that an intervention recorded")
    ids = np.frombuffer(content, dtype=">u8").astype(np.uint64).reshape(-1, 2, 2)
    by: Halves = ids[:, 1]
    return Substitutes(digest, id_array(ids[:, 0]), id_array(by), merkle.Boughs.of(sort_unique(by)).set_digest)


def pairs(found: Substitutes) -> dict[uuid.UUID, uuid.UUID]:
    """The substitute of each sample that has one."""
    return dict(zip(found.samples.to_pylist(), found.by.to_pylist(), strict=True))

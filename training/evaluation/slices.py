"""Which utterances of an evaluation belong to which slice: one mask a slice over the rows of its predictions.

Without further words, every attribute that has a few values is a question of its own, one slice for each value.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.ids import halves, id_array, sort_unique
from lineage.proof.merkle import set_digest
from lineage.selection.slices import parse_slices, select
from lineage.store import Store

WHOLE = "all"
MOST_VALUES = 24  # an attribute with more distinct values, or fewer utterances to each, tells clips apart, not slices
FEWEST_EACH = 4

Mask = npt.NDArray[np.bool_]
Slices = Mapping[str, pa.Array | Iterable[uuid.UUID]]


def masks(described: pa.Table, chosen: Mapping[str, pa.Array] | None) -> dict[str, Mask]:
    """A mask of the whole and of each slice over the rows of `described` (`sample_id`, `attributes`).

    Raises:
        EarmarkError: a chosen slice has no member there.
    """
    whole = {WHOLE: np.ones(described.num_rows, dtype=bool)}
    if chosen is None:
        return whole | _by_attribute([dict(a or ()) for a in described["attributes"].to_pylist()])
    return whole | _by_ids(described["sample_id"], chosen)


def attribute_of(slice: str) -> str | None:
    """The attribute of a slice `attribute=value`; None for any other."""
    name, sign, _ = slice.partition("=")
    return name if sign and name.isidentifier() and "&" not in slice else None


def wanted(store: Store, texts: Sequence[str], population: str) -> dict[str, pa.Array] | None:
    """Slices of a set as people write them; None where none is written, and the attributes shall say which."""
    return {s.name: select(store, s, population) for s in parse_slices(store, texts, population)} or None


def as_ids(slices: Slices | None) -> dict[str, pa.Array] | None:
    """Slices as Arrow arrays of sample ids."""
    return None if slices is None else {name: id_array(ids) for name, ids in slices.items()}


def digests(chosen: Mapping[str, pa.Array] | None) -> dict[str, str] | None:
    """The set digest of each slice, as runs note them."""
    return None if chosen is None else {n: set_digest(sort_unique(halves(i))) for n, i in chosen.items()}


def _by_attribute(attributes: Sequence[Mapping[str, str]]) -> dict[str, Mask]:
    found: dict[str, Mask] = {}
    for name in sorted({n for a in attributes for n in a}):
        column = [a.get(name) for a in attributes]
        values = sorted({v for v in column if v is not None})
        if 2 <= len(values) <= min(MOST_VALUES, len(attributes) // FEWEST_EACH):
            found |= {f"{name}={value}": np.array([v == value for v in column]) for value in values}
    return found


def _by_ids(ids: pa.ChunkedArray, chosen: Mapping[str, pa.Array]) -> dict[str, Mask]:
    order = {sample: i for i, sample in enumerate(ids.to_pylist())}
    found: dict[str, Mask] = {}
    for name, members in chosen.items():
        mask = np.zeros(len(order), dtype=bool)
        mask[[order[s] for s in members.to_pylist() if s in order]] = True
        if not mask.any():
            raise EarmarkError(f"slice '{name}' has no utterance in the evaluation set — cut it out of that set")
        found[name] = mask
    return found

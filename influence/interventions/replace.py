"""Replace: other speech in the places of a slice, as like it as can be found; and swap: the same from another source.

Each sample of the slice, longest first, gets the partner that is most like it: one recorded under the same conditions, that is
with as many attributes alike as can be (noise, device, accent: all of few values but what distinguishes the slices); of these
the one taken least often so far; of these one with the same words if there is, and of these the one of nearest length. So
conditions, amount and length of the data stay about the same, and what moves is what distinguishes the slices.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from operator import ne
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from influence.interventions.base import Case, Intervention, Making, Target, Variation
from lineage.recorder import described
from lineage.selection import slices
from lineage.selection.sets import resolve_set
from lineage.selection.slices import Slice
from lineage.store import Store

MOST_VALUES = 12  # of an attribute that says under which condition something was recorded


class Replace(Intervention):
    """Put samples of another slice in the places of the slice."""

    kind: Literal["replace"] = "replace"
    by: str = Field(min_length=1, description="The slice to take samples from: accent=us, or SQL.")
    taken_from: str | None = Field(default=None, description="The set it is cut out of; null: the training set.")

    def essence(self, store: Store) -> dict[str, Any]:
        """See `Intervention`."""
        pool = None if self.taken_from is None else resolve_set(store, self.taken_from).digest
        return {**super().essence(store), "taken_from": pool}

    def cases(self, target: Target, making: Making) -> list[Case]:
        """See `Intervention`."""
        pool = (
            making.population.digest if self.taken_from is None else resolve_set(making.store, self.taken_from).digest
        )
        others = slices.select(making.store, Slice.parse(self.by), pool)
        pairs = partners(making.store, target.ids, others)
        changed = Variation(substitutes=making.pairing(pairs, f"{target.name} replaced by {self.by}"))
        return [Case(f"replacing {target.name} by {self.by}", self.kind, target, changed)]


class Swap(Replace):
    """Take what comes from one source from another."""

    kind: Literal["swap"] = "swap"  # type: ignore[assignment]

    def cases(self, target: Target, making: Making) -> list[Case]:
        """See `Intervention`: `by` names the source."""
        moved = Replace(by=f"source={self.by}", taken_from=self.taken_from).cases(target, making)
        return [
            Case(f"swapping the source of {target.name} for {self.by}", self.kind, target, c.changed) for c in moved
        ]


def partners(store: Store, ids: pa.Array, others: pa.Array) -> dict[uuid.UUID, uuid.UUID]:
    """The partner of each of `ids` among `others`; one that is among them stays itself."""
    rows = described(store, pa.concat_arrays([ids, others]))
    seconds = {s: float(row["duration_s"]) for s, row in rows.items()}
    conditions = _conditions({s: dict(row["attributes"] or ()) for s, row in rows.items()})
    said = store.vault.transcripts(ids) | store.vault.transcripts(others)
    pool = others.to_pylist()
    taken = dict.fromkeys(pool, 0)
    found = {s: s for s in ids.to_pylist() if s in taken}
    for sample in sorted(set(ids.to_pylist()) - set(found), key=lambda s: (-seconds[s], s)):
        best = min(
            pool,
            key=lambda o: (
                sum(map(ne, conditions[o], conditions[sample])),
                taken[o],
                said.get(o) != said.get(sample),
                abs(seconds[o] - seconds[sample]),
                o,
            ),
        )
        taken[best] += 1
        found[sample] = best
    return found


def _conditions(attributes: Mapping[uuid.UUID, Mapping[str, str]]) -> dict[uuid.UUID, list[str | None]]:
    """The values of each sample's attributes of few values; one of many, such as a file's number, is no condition."""
    values: dict[str, set[str]] = {}
    for known in attributes.values():
        for name, value in known.items():
            values.setdefault(name, set()).add(value)
    names = sorted(name for name, found in values.items() if 2 <= len(found) <= MOST_VALUES)
    return {sample: [known.get(name) for name in names] for sample, known in attributes.items()}

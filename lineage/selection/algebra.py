"""Sets computed from other sets: unions, intersections, differences, and the parts that meet a predicate.

A computed set is a run of its own, whose inputs are the sets that it came from, so its lineage is on record. Law: the same
question asked of the same sets is the same set, found again instead of being computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lineage.identity import digest_of
from lineage.ids import Halves, halves, sort_unique
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.selection.slices import EmptySlice, Slice, select
from lineage.store import Store


def cut(
    store: Store,
    of: Sequence[str],
    *,
    name: str,
    where: str | None = None,
    intersect: Sequence[str] = (),
    minus: Sequence[str] = (),
) -> SampleSet:
    """Name a set computed from others: (union of `of`) ∩ each of `intersect` − each of `minus`, of that the part `where`.

    Raises:
        EarmarkError: a set is unknown, the predicate is not one expression, or nothing is left.
    """
    union, both, without = ([resolve_set(store, ref) for ref in refs] for refs in (of, intersect, minus))
    config = {
        "of": sorted(s.digest for s in union),
        "intersect": sorted(s.digest for s in both),
        "minus": sorted(s.digest for s in without),
        "where": where,
        "name": name,
    }
    key = digest_of({"job": "set", **config})
    done = store.find_run(key)
    if done is not None:
        return resolve_set(store, done.outputs[0])
    ids = _union(store, union, Slice(name, where) if where is not None else None)
    for other in both:
        ids = ids[_within(ids, halves(members(store, other.digest)))]
    for other in without:
        ids = ids[~_within(ids, halves(members(store, other.digest)))]
    digests = [s.digest for s in (*union, *both, *without)]
    with store.run("set", job=name, config=config, key=key, inputs=digests) as run:
        return create_set(run, ids, name=name, predicate=where, parents=digests)


def _union(store: Store, sets: Sequence[SampleSet], part: Slice | None) -> Halves:
    found, empty = [], None
    for s in sets:
        try:
            found.append(halves(members(store, s.digest) if part is None else select(store, part, s.digest)))
        except EmptySlice as error:  # one of several sets may well have none
            empty = error
    if not found and empty is not None:
        raise empty
    return sort_unique(np.concatenate(found))


def _within(ids: Halves, others: Halves) -> npt.NDArray[np.bool_]:
    """Which of `ids` (distinct) are among `others` (distinct)."""
    together = np.concatenate([ids, others])
    order = np.lexsort((together[:, 1], together[:, 0]))
    ordered = together[order]
    same = (ordered[1:] == ordered[:-1]).all(axis=1)
    found = np.zeros(len(together), dtype=bool)
    found[order[:-1][same]] = True
    found[order[1:][same]] = True
    return found[: len(ids)]

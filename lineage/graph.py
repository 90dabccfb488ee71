"""Walking the lineage: from a sample up to its recordings and down to everything made of it.

The walks are frontier loops, one join against the edges per generation. A recursive CTE would join all edges again at
every hop, which is hundreds of times slower on millions of edges.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from lineage.errors import AmbiguousName, UnknownName
from lineage.identity import hex_prefix
from lineage.ids import Halves, halves, id_array, sort_unique
from lineage.store import Store


def _walk(store: Store, start: Iterable[uuid.UUID] | pa.Array, known: str, wanted: str) -> pa.Table:
    rows: list[pa.Table] = []
    frontier = sort_unique(halves(id_array(start)))
    seen: Halves = frontier
    generation = 0
    while len(frontier):
        generation += 1
        found = store.sql(
            f"SELECT e.*, t.name AS transform, t.parameters, {generation}::INTEGER AS generation FROM edges e "
            f"JOIN frontier f ON e.{known} = f.id LEFT JOIN transforms t USING (transform_id)",
            tables={"frontier": pa.table({"id": id_array(frontier)})},
        )
        if not found.num_rows:
            break
        rows.append(found)
        reached = sort_unique(halves(found[wanted]))
        frontier = _without(reached, seen)
        seen = sort_unique(np.concatenate([seen, frontier]))
    return pa.concat_tables(rows) if rows else _no_edges(store)


def _no_edges(store: Store) -> pa.Table:
    return store.sql(
        "SELECT e.*, NULL::VARCHAR AS transform, NULL::VARCHAR AS parameters, 0::INTEGER AS generation "
        "FROM edges e WHERE false"
    )


def _without(ids: Halves, seen: Halves) -> Halves:
    both = np.concatenate([seen, ids])
    order = np.lexsort((both[:, 1], both[:, 0]))
    fresh = np.r_[np.zeros(len(seen), bool), np.ones(len(ids), bool)][order]
    both = both[order]
    repeated = np.r_[False, (both[1:] == both[:-1]).all(axis=1)] | np.r_[(both[1:] == both[:-1]).all(axis=1), False]
    result: Halves = both[fresh & ~repeated]
    return result


def ancestors(store: Store, ids: Iterable[uuid.UUID] | pa.Array) -> pa.Table:
    """Edges from the samples up to their recordings, nearest generation (1) first."""
    return _walk(store, ids, "child_id", "parent_id")


def descendants(store: Store, ids: Iterable[uuid.UUID] | pa.Array) -> pa.Table:
    """Edges from the samples down to everything made of them, nearest generation (1) first."""
    return _walk(store, ids, "parent_id", "child_id")


def models_of(store: Store, ids: Iterable[uuid.UUID] | pa.Array) -> pa.Table:
    """Models that consumed any of the samples with a weight above zero: model_id, name, run_id, exposures, samples."""
    wanted = pa.table({"id": id_array(ids)})
    return store.sql(
        "SELECT m.model_id, m.name, m.run_id, count(*) AS exposures, count(DISTINCT e.sample_id) AS samples "
        "FROM exposures e JOIN models m ON m.run_id = e.run_id "
        "WHERE e.weight > 0 AND e.sample_id IN (SELECT id FROM wanted) GROUP BY ALL ORDER BY m.run_id",
        tables={"wanted": wanted},
    )


def resolve_sample(store: Store, ref: str) -> uuid.UUID:
    """The sample whose id begins with `ref`, hyphens optional.

    Raises:
        UnknownName, AmbiguousName: no such sample, or several.
    """
    prefix = hex_prefix(ref)
    if prefix is None or len(prefix) > 32:
        raise UnknownName(
            "sample", ref, (), "ids are hexadecimal; list some with: earmark sql 'SELECT sample_id FROM samples LIMIT 10'"
        )
    low, high = (uuid.UUID(hex=prefix.ljust(32, fill)) for fill in "0f")
    found = store.sql(
        "SELECT DISTINCT sample_id FROM samples WHERE sample_id BETWEEN ? AND ? ORDER BY sample_id LIMIT 5", [low, high]
    )["sample_id"].to_pylist()
    if not found:
        raise UnknownName("sample", ref, (), "list some with: earmark sql 'SELECT sample_id FROM samples LIMIT 10'")
    if len(found) > 1:
        raise AmbiguousName("sample", ref, map(str, found))
    result: uuid.UUID = found[0]
    return result

"""What samples are: their public facts, and where they came from."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dashboard.queries import Page, newest_samples, within
from lineage.graph import ancestors, descendants, models_of
from lineage.ids import id_array
from lineage.sql import quote
from lineage.store import Store


@dataclass(frozen=True)
class Facts:
    """The public facts of one sample."""

    sample_id: uuid.UUID
    speaker_key: uuid.UUID | None
    source: str | None
    licence: str | None
    kind: str
    duration_s: float
    sample_rate: int
    channels: int
    words: int | None
    attributes: Mapping[str, str]
    recorded: bool


@dataclass(frozen=True)
class Origin:
    """One way in which a sample came from another."""

    parent: Node
    role: str
    gain_db: float | None
    child_start_s: float | None
    duration_s: float | None


@dataclass(frozen=True)
class Node:
    """A sample in a tree of lineage: how it was made, and of what. A recording has no origins."""

    facts: Facts
    transform: str | None
    parameters: Mapping[str, Any]
    origins: tuple[Origin, ...]


@dataclass(frozen=True)
class Consumption:
    """What became of a sample: samples made of it, and models whose training consumed it."""

    derived: int
    models: int
    exposures: int


def facts(store: Store, ids: tuple[uuid.UUID, ...]) -> dict[uuid.UUID, Facts]:
    """Facts of the samples that are on record."""
    if not ids:
        return {}
    return _facts(store, ids)


def members_of(store: Store, set_digest: str, number: int, size: int) -> Page[uuid.UUID]:
    """A page of the members of a set, by id."""
    members = f"(SELECT DISTINCT sample_id FROM members WHERE set_digest = {quote(set_digest)})"
    total = store.sql(f"SELECT count(*) AS n FROM {members}").to_pylist()[0]["n"]
    number = within(number, total, size)
    rows = store.sql(f"SELECT sample_id FROM {members} ORDER BY sample_id LIMIT {size} OFFSET {number * size}")
    return Page(tuple(rows["sample_id"].to_pylist()), total, number, size)


def lineage_of(store: Store, sample: uuid.UUID) -> Node | None:
    """The tree from a sample up to its recordings; None if there is no such sample.

    A sample that is an ancestor twice stands in the tree twice.
    """
    edges = ancestors(store, [sample]).to_pylist()
    known = _facts(store, {sample, *(e["parent_id"] for e in edges)})
    by_child: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for e in sorted(edges, key=lambda e: (e["run_id"], e["position"])):
        rows = by_child.setdefault(e["child_id"], [])
        if (e["parent_id"], e["position"], e["transform_id"]) not in [
            (r["parent_id"], r["position"], r["transform_id"]) for r in rows
        ]:
            rows.append(e)
    return _node(sample, known, by_child)


def consumption(store: Store, sample: uuid.UUID) -> Consumption:
    """What became of a sample."""
    made = descendants(store, [sample])
    used = models_of(store, [sample]).to_pylist()
    return Consumption(
        len(set(made["child_id"].to_pylist())), len({u["model_id"] for u in used}), sum(u["exposures"] for u in used)
    )


def _node(
    sample: uuid.UUID, known: Mapping[uuid.UUID, Facts], edges: Mapping[uuid.UUID, list[dict[str, Any]]]
) -> Node | None:
    if sample not in known:
        return None
    rows = edges.get(sample, [])
    origins = []
    for e in rows:
        parent = _node(e["parent_id"], known, edges)
        if parent is not None:
            origins.append(Origin(parent, e["role"], e["gain_db"], e["child_start_s"], e["duration_s"]))
    parameters = json.loads(rows[0]["parameters"] or "{}") if rows else {}
    return Node(known[sample], rows[0]["transform"] if rows else None, parameters, tuple(origins))


def _facts(store: Store, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Facts]:
    rows = store.sql(
        f"""
        SELECT s.sample_id, s.speaker_key, s.source, s.licence, s.kind, s.duration_s, s.sample_rate, s.channels, s.words,
               s.attributes, s.sample_id NOT IN (SELECT child_id FROM edges) AS recorded
        FROM {newest_samples("SELECT id FROM wanted")} s
        """,
        tables={"wanted": pa.table({"id": id_array(ids)})},
    ).to_pylist()
    return {r["sample_id"]: Facts(**{**r, "attributes": dict(r["attributes"] or ())}) for r in rows}

"""What is on record, in figures and lists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dashboard.queries import NAMED_SETS, SAMPLES, Page, within
from lineage.store import Store

MOST_VALUES = 24  # an attribute with more distinct values describes nothing at a glance


@dataclass(frozen=True)
class Totals:
    """Counts of everything; `seconds` of speech, recorded and derived."""

    samples: int
    derived: int
    noises: int
    seconds: float
    recorded_seconds: float
    speakers: int
    sources: int
    licences: tuple[str, ...]
    sets: int
    runs: int
    models: int


@dataclass(frozen=True)
class Source:
    """One source under one licence."""

    source: str
    licence: str
    purpose: str
    samples: int
    seconds: float
    speakers: int


@dataclass(frozen=True)
class Share:
    """How much of the speech has one value of an attribute."""

    value: str
    samples: int
    seconds: float
    speakers: int


@dataclass(frozen=True)
class SetRow:
    """One named sample set."""

    digest: str
    name: str
    kind: str
    predicate: str | None
    size: int
    seconds: float | None
    words: int | None


@dataclass(frozen=True)
class RunKind:
    """All runs of one kind, and what they cost together."""

    kind: str
    completed: int
    unfinished: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class RunRow:
    """One run."""

    run_id: str
    kind: str
    job: str
    status: str
    started: datetime
    wall_s: float | None
    cpu_s: float | None
    peak_bytes: int | None


@dataclass(frozen=True)
class ModelRow:
    """One model, with the set that it was trained on and the run that made it."""

    model_id: str
    name: str
    family: str
    base: str
    parameters: int | None
    trainable: int | None
    trained_on: str | None
    seed: int | None
    run_id: str


def totals(store: Store) -> Totals:
    """All the counts."""
    row = _one(
        store,
        f"""
        WITH s AS {SAMPLES}, made AS (SELECT DISTINCT child_id FROM edges)
        SELECT count(*) FILTER (kind = 'speech') AS samples,
               count(*) FILTER (kind = 'speech' AND child_id IS NOT NULL) AS derived,
               count(*) FILTER (kind = 'noise') AS noises,
               coalesce(sum(duration_s) FILTER (kind = 'speech'), 0) AS seconds,
               coalesce(sum(duration_s) FILTER (kind = 'speech' AND child_id IS NULL), 0) AS recorded_seconds,
               count(DISTINCT speaker_key) AS speakers,
               count(DISTINCT source) AS sources,
               list_sort(coalesce(list(DISTINCT licence) FILTER (licence IS NOT NULL), [])) AS licences
        FROM s LEFT JOIN made ON child_id = sample_id
        """,
    )
    other = _one(
        store,
        """
        SELECT (SELECT count(*) FROM (SELECT DISTINCT name, set_digest FROM sample_sets)) AS sets,
               (SELECT count(*) FROM runs) AS runs,
               (SELECT count(DISTINCT model_id) FROM models) AS models
        """,
    )
    return Totals(**{**row, "licences": tuple(row["licences"])}, **other)


def sources(store: Store) -> tuple[Source, ...]:
    """Speech by source and licence, most first."""
    rows = store.sql(
        f"""
        SELECT coalesce(s.source, '') AS source, coalesce(s.licence, '') AS licence,
               coalesce(any_value(o.purpose), '') AS purpose, count(*) AS samples, sum(s.duration_s) AS seconds,
               count(DISTINCT s.speaker_key) AS speakers
        FROM {SAMPLES} s LEFT JOIN (SELECT source, any_value(purpose) AS purpose FROM sources GROUP BY source) o
          ON o.source = s.source
        WHERE s.kind = 'speech' GROUP BY s.source, s.licence ORDER BY samples DESC, source, licence
        """
    )
    return tuple(Source(**row) for row in rows.to_pylist())


def attributes(store: Store) -> tuple[str, ...]:
    """Attributes with few enough values to be counted by."""
    rows = store.sql(
        f"""
        SELECT key FROM (SELECT unnest(map_entries(attributes)).key AS key, unnest(map_entries(attributes)).value AS value
                         FROM {SAMPLES} WHERE kind = 'speech')
        GROUP BY key HAVING count(DISTINCT value) BETWEEN 2 AND {MOST_VALUES} ORDER BY key
        """
    )
    return tuple(rows["key"].to_pylist())


def composition(store: Store, attribute: str) -> tuple[Share, ...]:
    """Speech by the values of an attribute, in the order of the values; speech without it last."""
    rows = store.sql(
        f"""
        SELECT coalesce(attributes[$name], '') AS value, count(*) AS samples, sum(duration_s) AS seconds,
               count(DISTINCT speaker_key) AS speakers
        FROM {SAMPLES} WHERE kind = 'speech' GROUP BY value ORDER BY value = '', value
        """,
        {"name": attribute},
    )
    return tuple(Share(**row) for row in rows.to_pylist())


def sets(store: Store, kinds: tuple[str, ...], number: int, size: int) -> Page[SetRow]:
    """Sets of some kinds, newest first; a set recorded again under its name stands there once."""
    body = """
        FROM (SELECT * FROM sample_sets WHERE list_contains($kinds, kind)
              QUALIFY row_number() OVER (PARTITION BY name, set_digest ORDER BY run_id DESC) = 1)
    """
    total = _one(store, f"SELECT count(*) AS n {body}", {"kinds": list(kinds)})["n"]
    number = within(number, total, size)
    rows = store.sql(
        f"SELECT set_digest AS digest, name, kind, predicate, size, duration_s AS seconds, words {body} "
        "ORDER BY run_id DESC, name LIMIT $size OFFSET $skip",
        {"kinds": list(kinds), "size": size, "skip": number * size},
    )
    return Page(tuple(SetRow(**row) for row in rows.to_pylist()), total, number, size)


def set_kinds(store: Store) -> dict[str, int]:
    """How many sets there are of each kind."""
    rows = store.sql(
        "SELECT kind, count(*) AS n FROM (SELECT DISTINCT kind, name, set_digest FROM sample_sets) GROUP BY kind ORDER BY kind"
    )
    return {row["kind"]: row["n"] for row in rows.to_pylist()}


def run_kinds(store: Store) -> tuple[RunKind, ...]:
    """Runs by kind, most costly first."""
    rows = store.sql(
        """
        SELECT kind, count(*) FILTER (status = 'completed') AS completed,
               count(*) FILTER (status <> 'completed') AS unfinished,
               coalesce(sum(wall_s), 0) AS wall_s, coalesce(sum(cpu_s), 0) AS cpu_s
        FROM runs GROUP BY kind ORDER BY cpu_s DESC, kind
        """
    )
    return tuple(RunKind(**row) for row in rows.to_pylist())


def runs(store: Store, kind: str | None, number: int, size: int) -> Page[RunRow]:
    """Runs, newest first, of one kind or of all."""
    where, parameters = ("WHERE kind = $kind", {"kind": kind}) if kind else ("", {})
    total = _one(store, f"SELECT count(*) AS n FROM runs {where}", parameters)["n"]
    number = within(number, total, size)
    rows = store.sql(
        f"""
        SELECT run_id, kind, coalesce(job, '') AS job, status, started, wall_s, cpu_s, peak_bytes
        FROM runs {where} ORDER BY run_id DESC LIMIT $size OFFSET $skip
        """,
        {**parameters, "size": size, "skip": number * size},
    )
    return Page(tuple(RunRow(**row) for row in rows.to_pylist()), total, number, size)


def models(store: Store, number: int, size: int) -> Page[ModelRow]:
    """Models, newest first; weights that several runs arrived at stand there once."""
    newest = "(SELECT * FROM models QUALIFY row_number() OVER (PARTITION BY model_id ORDER BY run_id DESC) = 1)"
    total = _one(store, f"SELECT count(*) AS n FROM {newest}")["n"]
    number = within(number, total, size)
    rows = store.sql(
        f"""
        SELECT model_id, coalesce(m.name, '') AS name, coalesce(family, '') AS family, coalesce(base, '') AS base,
               parameters, trainable, s.name AS trained_on, seed, m.run_id
        FROM {newest} m
        LEFT JOIN {NAMED_SETS} s USING (set_digest)
        ORDER BY m.run_id DESC LIMIT $size OFFSET $skip
        """,
        {"size": size, "skip": number * size},
    )
    return Page(tuple(ModelRow(**row) for row in rows.to_pylist()), total, number, size)


def _one(store: Store, query: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    row: dict[str, Any] = store.sql(query, parameters).to_pylist()[0]
    return row

"""Evaluations on record: which model on which set, and its error rates by slice.

An evaluation is the run that wrote `metrics`; the predictions behind it come from the run that it names as its parent. Where
filters are on, the figures on record don't answer, and the same bootstrap is run over the predictions on record instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboard.measures import Rate, ends
from dashboard.queries import NAMED_SETS, newest_samples
from lineage.sql import quote
from lineage.store import Store
from training.statistics import bootstrap

WHOLE = "all"
AMOUNTS = {  # what is added up over utterances and divided by their reference words
    "wer": "substitutions + deletions + insertions",
    "substitutions": "substitutions",
    "deletions": "deletions",
    "insertions": "insertions",
    "loss": "loss",
}

Filters = tuple[tuple[str, tuple[str, ...]], ...]  # attribute and the values that it may have


@dataclass(frozen=True)
class Evaluation:
    """One model on one set. `left_out` names what its training had weight zero on; `slices` the sets behind its slices."""

    run_id: str
    predictions: str
    model_id: str
    model: str
    seed: int | None
    left_out: tuple[str, ...]
    set_digest: str
    set_name: str
    normaliser: str
    at: datetime
    slices: tuple[tuple[str, str], ...]
    seed_of_bootstrap: int
    replicates: int
    level: float


@dataclass(frozen=True)
class SliceRate:
    """The error rate of one slice, and how much stands behind it; `rate.ends` is None with fewer than two speakers."""

    slice: str
    attribute: str
    value: str
    rate: Rate
    speakers: int
    samples: int
    words: int


def evaluations(store: Store) -> tuple[Evaluation, ...]:
    """The newest evaluation of each model on each set: models trained on all their data first, then newest first."""
    rows = store.sql(
        f"""
        WITH measured AS (
                 SELECT DISTINCT run_id, model_id, set_digest, normaliser FROM metrics WHERE metric IN ('wer', 'loss')),
             made AS (SELECT * FROM models QUALIFY row_number() OVER (PARTITION BY model_id ORDER BY run_id DESC) = 1)
        SELECT e.run_id, e.model_id, coalesce(m.name, '') AS model, m.seed, t.config AS training, e.set_digest,
               coalesce(n.name, '') AS set_name, coalesce(e.normaliser, '') AS normaliser, r.started AS at, r.config
        FROM measured e JOIN runs r ON r.run_id = e.run_id
        LEFT JOIN made m ON m.model_id = e.model_id LEFT JOIN runs t ON t.run_id = m.run_id
        LEFT JOIN {NAMED_SETS} n ON n.set_digest = e.set_digest
        QUALIFY row_number() OVER (PARTITION BY e.model_id, e.set_digest ORDER BY e.run_id DESC) = 1
        ORDER BY e.run_id DESC
        """
    ).to_pylist()
    names = _slice_names(store)
    found = [_evaluation(row, names) for row in rows]
    return tuple(sorted(found, key=lambda e: bool(e.left_out)))


def measures(store: Store, evaluation: Evaluation) -> tuple[str, ...]:
    """The metrics that the evaluation has figures of and that this page knows, most used first."""
    rows = store.sql("SELECT DISTINCT metric FROM metrics WHERE run_id = $run", {"run": evaluation.run_id})
    there = set(rows["metric"].to_pylist())
    return tuple(m for m in AMOUNTS if m in there)


def slice_rates(store: Store, evaluation: Evaluation, metric: str) -> tuple[SliceRate, ...]:
    """The figures on record, slice by slice."""
    rows = store.sql(
        "SELECT slice, value, low, high, level, speakers, samples, words FROM metrics "
        "WHERE run_id = $run AND metric = $metric",
        {"run": evaluation.run_id, "metric": metric},
    ).to_pylist()
    found = []
    for r in rows:
        rate = Rate(metric, r["value"], ends(r["low"], r["high"], r["level"]))
        found.append(
            SliceRate(r["slice"], *parts(r["slice"]), rate, r["speakers"] or 0, r["samples"] or 0, r["words"] or 0)
        )
    return tuple(found)


def filtered_rates(store: Store, evaluation: Evaluation, metric: str, filters: Filters) -> tuple[SliceRate, ...]:
    """The same slices within what the filters let through, by the same bootstrap; slices left empty are not there."""
    rows = slice_rates(store, evaluation, metric)
    sums = _sums_by_block(store, evaluation, metric, [conditions(evaluation, row.slice, filters) for row in rows])
    found = []
    for index, row in enumerate(rows):
        blocks = sums.filter(pc.field("slice") == index)
        words = blocks["words"].to_numpy().astype(np.float64)
        interval = bootstrap.ratio(
            blocks["amount"].to_numpy().astype(np.float64),
            words,
            blocks["block"].to_pylist(),
            level=evaluation.level,
            replicates=evaluation.replicates,
            seed=evaluation.seed_of_bootstrap,
        )
        if np.isnan(interval.value):
            continue
        rate = Rate(metric, interval.value, ends(interval.low, interval.high, interval.level))
        samples = int(blocks["samples"].to_numpy().sum())
        found.append(SliceRate(row.slice, row.attribute, row.value, rate, blocks.num_rows, samples, int(words.sum())))
    return tuple(found)


def _sums_by_block(store: Store, evaluation: Evaluation, metric: str, wanted: list[str | None]) -> pa.Table:
    """Amount, words and utterances of every speaker in each slice (by its place in `wanted`), speakers in order.

    An utterance of an unknown speaker is a block of its own.
    """
    each = [
        f"SELECT {index} AS slice, block, amount, words FROM utterance p JOIN sample s USING (sample_id) WHERE {condition}"
        for index, condition in enumerate(wanted)
        if condition is not None
    ]
    return store.sql(
        f"""
        WITH sample AS MATERIALIZED (SELECT sample_id, speaker_key, attributes FROM {_samples(evaluation)}),
             utterance AS MATERIALIZED (
                 SELECT p.sample_id, coalesce(speaker_key, p.sample_id) AS block, {AMOUNTS[metric]} AS amount, words
                 FROM predictions p JOIN sample USING (sample_id) WHERE p.run_id = {quote(evaluation.predictions)})
        SELECT slice, block, sum(amount)::DOUBLE AS amount, sum(words)::DOUBLE AS words, count(*) AS samples
        FROM ({" UNION ALL ".join(each) or "SELECT 0 AS slice, block, amount, words FROM utterance WHERE false"})
        WHERE amount IS NOT NULL GROUP BY slice, block ORDER BY slice, block
        """
    )


def filterable(store: Store, evaluation: Evaluation) -> dict[str, tuple[str, ...]]:
    """Attributes of the evaluated samples that have a few values, with these values."""
    rows = store.sql(
        f"""
        SELECT key, list_sort(list(DISTINCT value)) AS values FROM (
            SELECT unnest(map_entries(s.attributes)).key AS key, unnest(map_entries(s.attributes)).value AS value
            FROM {joined(evaluation)})
        GROUP BY key HAVING count(DISTINCT value) BETWEEN 2 AND 24 ORDER BY key
        """
    )
    return {row["key"]: tuple(row["values"]) for row in rows.to_pylist()}


def parts(slice: str) -> tuple[str, str]:
    """Attribute and value of a slice `attribute=value`; otherwise nothing and the slice's name."""
    attribute, sign, value = slice.partition("=")
    return (attribute, value) if sign and "&" not in slice and " " not in attribute else ("", slice)


def conditions(evaluation: Evaluation, slice: str, filters: Filters = ()) -> str | None:
    """SQL over `p` (predictions) and `s` (samples) for the utterances of a slice; None if its members are not on record."""
    wanted = []
    listed = dict(evaluation.slices)
    attribute, value = parts(slice)
    if slice in listed:
        wanted.append(f"p.sample_id IN (SELECT sample_id FROM members WHERE set_digest = {quote(listed[slice])})")
    elif attribute:
        wanted.append(f"s.attributes[{quote(attribute)}] = {quote(value)}")
    elif slice != WHOLE:
        return None
    for name, values in filters:
        if values:
            wanted.append(f"s.attributes[{quote(name)}] IN ({', '.join(map(quote, values))})")
    return " AND ".join(wanted) or "true"


def joined(evaluation: Evaluation) -> str:
    """The FROM clause of an evaluation's predictions `p` beside their samples `s`."""
    return (
        f"(SELECT * FROM predictions WHERE run_id = {quote(evaluation.predictions)}) p "
        f"LEFT JOIN {_samples(evaluation)} s ON s.sample_id = p.sample_id"
    )


def _samples(evaluation: Evaluation) -> str:
    return newest_samples(f"SELECT sample_id FROM predictions WHERE run_id = {quote(evaluation.predictions)}")


def _slice_names(store: Store) -> dict[str, str]:
    """What sets are called by the people who cut them: slices by their predicate's name, others by their own."""
    sets = store.sql(f"SELECT set_digest, name FROM {NAMED_SETS}").to_pylist()
    cut = store.sql("SELECT set_digest, max_by(slice, run_id) AS name FROM slices GROUP BY set_digest").to_pylist()
    return {r["set_digest"]: r["name"] for r in (*sets, *cut)}


def _evaluation(row: Mapping[str, Any], names: Mapping[str, str]) -> Evaluation:
    config = json.loads(row["config"] or "{}")
    weights = json.loads(row["training"] or "{}").get("weights") or {}
    return Evaluation(
        run_id=row["run_id"],
        predictions=config.get("predictions") or row["run_id"],
        model_id=row["model_id"],
        model=row["model"],
        seed=row["seed"],
        left_out=tuple(names.get(digest, digest[:8]) for digest, weight in weights.items() if weight == 0),
        set_digest=row["set_digest"],
        set_name=row["set_name"],
        normaliser=row["normaliser"],
        at=row["at"],
        slices=tuple((config.get("slices") or {}).items()),
        seed_of_bootstrap=int(config.get("seed") or 0),
        replicates=int(config.get("replicates") or bootstrap.REPLICATES),
        level=float(config.get("level") or bootstrap.LEVEL),
    )

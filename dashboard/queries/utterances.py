"""The utterances behind a slice: what the model made of each, a page at a time."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.queries import Page, within
from dashboard.queries.evaluations import Evaluation, Filters, conditions, joined
from lineage.store import Store

ORDERS = {
    "errors": ("Most errors first", "errors DESC, p.words, p.sample_id"),
    "rate": ("Highest error rate first", "errors / greatest(p.words, 1) DESC, errors DESC, p.sample_id"),
    "confidence": ("Confident mistakes first", "errors > 0 DESC, p.confidence DESC NULLS LAST, p.sample_id"),
    "unsure": ("Least confident first", "p.confidence NULLS LAST, p.sample_id"),
    "long": ("Longest first", "s.duration_s DESC, p.sample_id"),
}


@dataclass(frozen=True)
class Utterance:
    """One utterance and what the model made of it. `loss` in nats, summed over tokens; `confidence` 0 to 1."""

    sample_id: uuid.UUID
    speaker_key: uuid.UUID | None
    duration_s: float | None
    attributes: Mapping[str, str]
    words: int
    substitutions: int
    deletions: int
    insertions: int
    loss: float | None
    confidence: float | None

    @property
    def errors(self) -> int:
        """Substitutions + deletions + insertions."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True)
class Tally:
    """Word counts of a slice."""

    samples: int
    speakers: int
    words: int
    substitutions: int
    deletions: int
    insertions: int
    perfect: int


_COLUMNS = """p.sample_id, s.speaker_key, s.duration_s, s.attributes, p.words, p.substitutions, p.deletions, p.insertions,
              p.loss, p.confidence, p.substitutions + p.deletions + p.insertions AS errors"""


def tally(store: Store, evaluation: Evaluation, slice: str, filters: Filters) -> Tally | None:
    """Counts over the slice's utterances; None if its members are not on record."""
    condition = conditions(evaluation, slice, filters)
    if condition is None:
        return None
    row = store.sql(
        f"""
        SELECT count(*) AS samples, count(DISTINCT s.speaker_key) AS speakers, coalesce(sum(p.words), 0)::BIGINT AS words,
               coalesce(sum(substitutions), 0)::BIGINT AS substitutions, coalesce(sum(deletions), 0)::BIGINT AS deletions,
               coalesce(sum(insertions), 0)::BIGINT AS insertions,
               count(*) FILTER (substitutions + deletions + insertions = 0) AS perfect
        FROM {joined(evaluation)} WHERE {condition}
        """
    ).to_pylist()[0]
    return Tally(**row)


def utterances(
    store: Store, evaluation: Evaluation, slice: str, filters: Filters, order: str, number: int, size: int
) -> Page[Utterance]:
    """A page of the slice's utterances in one of `ORDERS`."""
    condition = conditions(evaluation, slice, filters)
    if condition is None:
        return Page((), 0, 0, size)
    total = store.sql(f"SELECT count(*) AS n FROM {joined(evaluation)} WHERE {condition}").to_pylist()[0]["n"]
    number = within(number, total, size)
    rows = store.sql(
        f"""
        SELECT {_COLUMNS} FROM {joined(evaluation)} WHERE {condition}
        ORDER BY {ORDERS[order][1]} LIMIT $size OFFSET $skip
        """,
        {"size": size, "skip": number * size},
    )
    return Page(tuple(_utterance(row) for row in rows.to_pylist()), total, number, size)


def utterance(store: Store, evaluation: Evaluation, sample: uuid.UUID) -> Utterance | None:
    """One utterance of an evaluation; None if it was not in it."""
    rows = store.sql(
        f"SELECT {_COLUMNS} FROM {joined(evaluation)} WHERE p.sample_id = $sample", {"sample": sample}
    ).to_pylist()
    return _utterance(rows[0]) if rows else None


def _utterance(row: dict[str, Any]) -> Utterance:
    del row["errors"]
    return Utterance(**{**row, "attributes": dict(row["attributes"] or ())})

"""The facet that OpenLineage lacks: a data set as a set of samples under one digest.

Standard facets know a data set by a name and an opaque version. This one says what the version is: the Merkle root over
the sorted ids of its samples, from which membership and non-membership of a recording can be proved (`lineage.proof.merkle`).
Its JSON schema stands beside this file and is published under the immutable address that `_schemaURL` gives; whoever
changes a field gives both a new version.
"""

from __future__ import annotations

import attr
from openlineage.client.generated.base import DatasetFacet

KEY = "earmark_sampleSet"
SCHEMA = (
    "https://raw.githubusercontent.com/earmark-audit/earmark/v0.1.0/lineage/events/EarmarkSampleSetDatasetFacet.json"
)


@attr.define
class EarmarkSampleSetDatasetFacet(DatasetFacet):
    """A set of samples; `durationSeconds` and `words` are totals, `population` and `parents` are digests of sets."""

    setDigest: str  # noqa: N815 - the field's name in JSON
    size: int
    kind: str
    durationSeconds: float | None = None  # noqa: N815
    words: int | None = None
    population: str | None = None
    parents: list[str] | None = None
    hash: str = "earmark.set.v1"

    @staticmethod
    def _get_schema() -> str:
        return f"{SCHEMA}#/$defs/EarmarkSampleSetDatasetFacet"

"""Where something of given samples or speakers lies, and that no run may put it there anew once it was erased.

It lies in rows of the vault, in artifacts that hold features or gradients of single samples, and in what was made of them.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import pyarrow as pa

from lineage.errors import Conflict
from lineage.ids import Halves, halves, id_array
from lineage.record import Record
from lineage.schema import VAULT
from lineage.storage import artifacts
from lineage.storage.manifest import Manifest

CACHES = ("features", "gradients", "fisher")  # kinds of runs whose artifacts hold something of single samples


def vault_places(
    record: Record, table: str, ids: Halves, speakers: tuple[uuid.UUID, ...], paths: list[str] | None = None
) -> dict[str, int]:
    """Rows of those samples and speakers in each segment of a vault table (or only those at `paths`), by path."""
    there = present(record, table, paths)
    if not there:
        return {}
    tables = {"wanted": pa.table({"id": id_array(ids)}), "keys": pa.table({"key": id_array(speakers)})}
    query = f"""
        SELECT filename, count(*) AS n FROM read_parquet(?, union_by_name = true, filename = true)
        WHERE {_concerned(table)} GROUP BY filename"""
    rows = record.sql(query, [list(there)], tables=tables).to_pylist()
    return {there[r["filename"]]: r["n"] for r in rows}


def present(record: Record, table: str, paths: list[str] | None = None) -> dict[str, str]:
    """Segments of a vault table by where they lie."""
    listed = [s.path for s in record.listed(f"vault/{table}")] if paths is None else paths
    return {str(record.root / p): p for p in listed if (record.root / p).exists()}


def _concerned(table: str) -> str:
    """SQL condition on a row of a vault table: it is of one of the samples `wanted` or the speakers `keys`."""
    speakers = "speaker_key IN (SELECT key FROM keys)"
    if "sample_id" not in VAULT[table].names:
        return f"({speakers})"
    return f"(coalesce({speakers}, false) OR sample_id IN (SELECT id FROM wanted))"


def check_publication(record: Record, manifest: Manifest) -> None:
    """Whether a run that began before erasures holds nothing of what they took.

    Raises:
        Conflict: it does.
    """
    if manifest.run.status != "completed" or manifest.run.kind == "erase":
        return
    for erasure in record.erasures:
        if erasure.run.ended < manifest.run.started:
            continue
        rows = record.read("erasures", ["sample_id", "speaker_key"], "run_id = ?", [erasure.run.id]).to_pylist()
        ids = halves([r["sample_id"] for r in rows if r["sample_id"] is not None])
        speakers = tuple(r["speaker_key"] for r in rows if r["sample_id"] is None)
        holders = {*erasure.run.inputs, *erasure.run.result["models"]}
        if holds(record, manifest, ids, speakers, holders):
            raise Conflict(
                f"samples that this run read were erased meanwhile (run {erasure.run.id}) — nothing was recorded, run it "
                "again without them"
            )


def holds(record: Record, manifest: Manifest, ids: Halves, speakers: tuple[uuid.UUID, ...], holders: set[str]) -> bool:
    """Whether a run's files hold anything of the samples or speakers, or were made of them."""
    if manifest.run.kind == "compact":  # moves what was there; of two runs that take away one file only one is recorded
        return False
    for segment in manifest.vault:
        if vault_places(record, segment.table, ids, speakers, [segment.path]):
            return True
    if manifest.run.kind in CACHES and manifest.artifacts:
        indices = [artifacts.place(record.root, d) / "index.parquet" for d in manifest.artifacts]
        if not all(i.exists() for i in indices):
            return bool(set(manifest.run.inputs) & holders)
        return any_in(record, indices, "sample_id", ids)
    edges = [record.root / s.path for s in manifest.segments if s.table == "edges"]
    return bool(edges) and any_in(record, edges, "parent_id", ids)


def any_in(record: Record, paths: list[Path], column: str, ids: Halves) -> bool:
    """Whether these files have a row with one of the samples in that column."""
    query = f"SELECT count(*) AS n FROM read_parquet(?) JOIN wanted ON {column} = id"
    found = record.sql(query, [[str(p) for p in paths]], tables={"wanted": pa.table({"id": id_array(ids)})})
    return bool(found["n"][0].as_py())

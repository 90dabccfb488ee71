"""Sample sets: unordered sets of samples under one digest. Data-set versions, splits, slices and controls are all this.

Law: two sets are equal exactly if their digests are, whoever made them and in whatever order (see `lineage.proof.merkle`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.identity import hex_prefix
from lineage.ids import Halves, halves, id_array, sort_unique, without
from lineage.proof import merkle
from lineage.runs import Run
from lineage.store import Store

LARGE = 1 << 16  # members from which on a set's inner hashes are kept beside it
BOUGHS = ".boughs"


@dataclass(frozen=True)
class SampleSet:
    """A set on record; `duration_s` in seconds, `words` in the transcripts."""

    digest: str
    name: str
    kind: str
    population: str | None
    predicate: str | None
    parents: tuple[str, ...]
    size: int
    duration_s: float | None
    words: int | None
    run_id: str


def create_set(
    run: Run,
    ids: pa.Array | Iterable[uuid.UUID] | Halves,
    *,
    name: str,
    kind: str = "set",
    population: str | None = None,
    predicate: str | None = None,
    parents: Sequence[str] = (),
    samples: pa.Table | None = None,
) -> SampleSet:
    """Record the set of `ids` under `name`; members already on record under the same digest are not written again.

    `samples` may give `sample_id`, `duration_s` and `words` of members that the same run is only now recording.

    Raises:
        EarmarkError: the set is empty.
    """
    members_ = sort_unique(ids if isinstance(ids, np.ndarray) else halves(id_array(ids)))
    if not len(members_):
        raise EarmarkError(f"set '{name}' would be empty — check what it is made of")
    boughs = merkle.Boughs.of(members_)
    digest = boughs.set_digest
    column = id_array(members_)
    duration, words = _totals(run.store, column, samples)
    known = run.store.read("sample_sets", ["set_digest"], "set_digest = ?", [digest]).num_rows > 0
    if not known and digest not in run.outputs:
        run.append("members", {"set_digest": pa.repeat(pa.scalar(digest), len(column)), "sample_id": column})
        if len(column) >= LARGE:
            run.keep("members", f"{digest}{BOUGHS}", boughs.to_bytes())
    made = SampleSet(digest, name, kind, population, predicate, tuple(parents), len(column), duration, words, run.id)
    row = {**made.__dict__, "set_digest": digest, "parents": list(parents)}
    run.append("sample_sets", [{k: v for k, v in row.items() if k not in ("digest", "run_id")}])
    run.outputs.append(digest)
    return made


def _totals(store: Store, ids: pa.Array, fresh: pa.Table | None) -> tuple[float | None, int | None]:
    tables = {"wanted": pa.table({"id": ids})}
    body = "SELECT sample_id, duration_s, words FROM samples"
    if fresh is not None and fresh.num_rows:
        tables["fresh"] = fresh
        body += " UNION ALL SELECT sample_id, duration_s, words FROM fresh"
    row = store.sql(
        f"SELECT sum(duration_s) AS duration_s, sum(words)::BIGINT AS words FROM (SELECT any_value(duration_s) AS duration_s, "
        f"any_value(words) AS words FROM ({body}) WHERE sample_id IN (SELECT id FROM wanted) GROUP BY sample_id)",
        tables=tables,
    ).to_pylist()[0]
    return row["duration_s"], row["words"]


def sample_sets(store: Store) -> list[SampleSet]:
    """All sets on record, oldest first; a set recorded again under another name appears under each."""
    return list(store.lasting("sample_sets", _sample_sets))


def _sample_sets(store: Store) -> list[SampleSet]:
    rows = store.sql("SELECT * FROM sample_sets ORDER BY run_id, name").to_pylist()
    return [
        SampleSet(
            r["set_digest"], r["name"], r["kind"], r["population"], r["predicate"], tuple(r["parents"] or ()),
            r["size"], r["duration_s"], r["words"], r["run_id"],
        )
        for r in rows
    ]  # fmt: skip


def resolve_set(store: Store, ref: str) -> SampleSet:
    """The set meant by a name (the newest of that name), a digest, or the beginning of a digest.

    Raises:
        UnknownName, AmbiguousName: no such set, or several.
    """
    known = sample_sets(store)
    named = [s for s in known if s.name == ref]
    if named:
        return named[-1]
    prefix = hex_prefix(ref)
    found = {s.digest: s for s in known if prefix and len(prefix) >= 4 and s.digest.startswith(prefix)}
    if not found:
        raise UnknownName("set", ref, (s.name for s in known if s.kind != "control"))
    if len(found) > 1:
        raise AmbiguousName("set", ref, found)
    return next(iter(found.values()))


def members(store: Store, digest: str) -> pa.Array:
    """Ids of a set, sorted, as an Arrow array of `pa.uuid()`."""
    return id_array(store.lookup.members(digest))


def prove(store: Store, digest: str, sample: uuid.UUID) -> merkle.Proof:
    """Proof that `sample` is, or is not, in the set of that digest; of a large set only one bough's ids are read.

    Raises:
        EarmarkError: the set's members, or the inner hashes kept beside them, are not those that the digest stands for.
    """
    kept = store.file(f"{digest}{BOUGHS}")
    if kept is None:
        proof = merkle.prove(store.lookup.members(digest), sample)
    else:
        try:
            boughs = merkle.Boughs.from_bytes(kept.read_bytes())
        except (OSError, ValueError) as error:
            raise EarmarkError(f"{kept} is damaged ({error}) — run: earmark verify") from error
        proof = boughs.prove(store.lookup.members(digest, boughs.reach(sample)), sample)
    if proof.set_digest != digest or not proof.holds():
        raise EarmarkError(
            f"the members of set {digest[:12]} are not those that it was recorded with — run: earmark verify"
        )
    return proof


def difference(store: Store, a: SampleSet, b: SampleSet) -> tuple[pa.Array, pa.Array]:
    """(ids in `a` only, ids in `b` only)."""
    left, right = store.lookup.members(a.digest), store.lookup.members(b.digest)
    return id_array(without(left, right)), id_array(without(right, left))

"""A store of an earlier version opens in this one, says what it said then, and goes on being written to.

The store is packed in `store.tar.xz`; `make.py` tells what is in it.
"""

from __future__ import annotations

import dataclasses
import json
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lineage.compaction.compact import compact
from lineage.graph import ancestors, descendants, models_of
from lineage.ids import halves
from lineage.ingestion.ingest import ingest
from lineage.people.erase import erase
from lineage.people.reach import speaker
from lineage.proof import merkle
from lineage.proof.verifier import checkpoint_text, verify
from lineage.schema import TABLES, VAULT, Column
from lineage.selection import sets
from lineage.sql import LOG
from lineage.store import Store
from tests.lineage.golden import make

PINNED = json.loads(make.PINNED.read_text())
CHECKPOINT = PINNED.pop("checkpoint")


def unpack(folder: Path) -> Store:
    with tarfile.open(make.ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return Store.open(folder / "store")


def contents(root: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """To be read and not written to."""
    opened = unpack(tmp_path_factory.mktemp("golden"))
    before = contents(opened.root)
    yield opened
    assert contents(opened.root) == before


@pytest.fixture
def copy(tmp_path: Path) -> Store:
    """To be written to."""
    return unpack(tmp_path)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version, in which every table has columns that the golden store has not."""
    added = (
        Column("later_number", pa.float64(), "Nothing."),
        Column("later_word", pa.string(), "Nothing.", dictionary=True),
        Column("later_id", pa.uuid(), "Nothing.", bloom=True),
    )
    for tables in (TABLES, VAULT):
        for name in tables.keys() - {LOG}:
            table = tables[name]
            monkeypatch.setitem(tables, name, dataclasses.replace(table, columns=(*table.columns, *added)))


def test_every_byte_of_it_is_vouched_for(golden: Store) -> None:
    for deep in (False, True):
        report = verify(golden.root, deep=deep)
        assert report.findings == []
        assert report.runs == len(PINNED["runs"])
    kept = golden.root.parent / "checkpoint.json"
    kept.write_bytes(checkpoint_text(CHECKPOINT))
    assert verify(golden.root, kept).ok


def test_it_says_what_it_said_when_it_was_written(golden: Store) -> None:
    assert json.loads(json.dumps(make.pinned(golden))) == PINNED


@pytest.mark.parametrize("table", TABLES)
def test_every_documented_column_can_be_asked_for(golden: Store, table: str) -> None:
    rows = golden.read(table, [f'"{c.name}"' for c in TABLES[table].columns])
    assert rows.num_rows == PINNED["rows"].get(table, 0)


@pytest.mark.parametrize("table", VAULT)
def test_every_table_of_the_vault_reads(golden: Store, table: str) -> None:
    assert golden.vault.rows(table).num_rows == sum(s.rows for s in golden.listed(f"vault/{table}"))


def test_proofs_made_then_hold_now(golden: Store) -> None:
    for value, member in zip(PINNED["proofs"], (True, False), strict=True):
        proof = merkle.Proof.from_json(value)
        assert proof.holds()
        assert proof.member is member
        assert proof.to_json() == value


def test_the_same_recordings_are_the_same_samples_as_then(store: Store, tmp_path: Path) -> None:
    ingest(store, make.corpus(tmp_path / "corpus"))
    (made,) = sets.sample_sets(store)
    assert made.digest == merkle.set_digest(halves([uuid.UUID(i) for i in PINNED["members"]]))
    assert made.digest == PINNED["sets"][0][2]


def _answers(store: Store) -> dict[str, Any]:
    everything = [uuid.UUID(i) for i in PINNED["members"]]
    return {
        "up": sorted(ancestors(store, descendants(store, everything)["child_id"])["parent_id"].to_pylist()),
        "down": sorted(descendants(store, everything)["child_id"].to_pylist()),
        "models": models_of(store, everything).to_pylist(),
        "samples": store.read("samples", ["sample_id", "accent", "age"], "true ORDER BY 1").to_pylist(),
    }


@pytest.mark.usefixtures("later")
def test_a_later_version_with_more_columns_reads_it(golden: Store) -> None:
    opened = Store.open(golden.root)
    connection = opened.connect()
    for table in TABLES.keys() - {LOG}:
        rows = opened.read(table, ["later_number", "later_word", "later_id"])
        assert rows.num_rows == PINNED["rows"].get(table, 0)
        assert all(rows[name].null_count == rows.num_rows for name in rows.column_names)
        assert connection.sql(f"FROM {table}").columns[: len(TABLES[table].columns)] == TABLES[table].names
    assert json.loads(json.dumps(make.pinned(opened))) == PINNED
    assert _answers(opened) == _answers(golden)
    assert descendants(opened, [uuid.UUID(PINNED["members"][0])])["later_word"].to_pylist() == [None]


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("merged", [False, True])
def test_a_later_version_writes_to_it_merges_and_erases(copy: Store, merged: bool) -> None:
    before = _answers(copy)
    if merged:
        compact(copy, grace=0.0, everything=True)
        assert _answers(copy) == before
    with copy.run("test") as run:
        row = {"sample_id": uuid.UUID(int=1), "kind": "speech", "duration_s": 1.0, "sample_rate": 1, "channels": 1}
        run.append("samples", [{**row, "later_number": 2.0, "later_word": "w", "later_id": uuid.UUID(int=3)}])
    found = copy.read("samples", ["later_number", "later_word", "later_id"], "later_number = 2")
    assert found.to_pylist() == [{"later_number": 2.0, "later_word": "w", "later_id": uuid.UUID(int=3)}]
    erase(copy, speaker(copy, make.SPEAKERS[0]))
    compact(copy, grace=0.0, everything=True)
    assert list(copy.vault.speakers().values()) == [make.SPEAKERS[1]]
    assert copy.read("samples", ["sample_id"], "later_word = 'w'").num_rows == 1
    for deep in (False, True):
        assert verify(copy.root, deep=deep).findings == []

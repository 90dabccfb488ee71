"""The record in SQL: views of what is published, macros, and no way past them."""

from __future__ import annotations

import uuid
from pathlib import Path

import duckdb
import pytest

from lineage import sql
from lineage.compaction.compact import compact
from lineage.selection import sets
from lineage.store import Store
from tests.lineage.conftest import ids, link, rows

NAMES = ("speaker", "sample", "recording", "given", "model", "a", "b", "what", "name", "n")


@pytest.fixture
def recorded(store: Store) -> Store:
    """A recording, a clip of it, a mix of the clip with another's; a set, a model. Attributes are named like parameters."""
    recording, clip, other, mix = ids(4)
    with store.run("ingest") as run:
        named = dict.fromkeys(NAMES, "x")
        run.append(
            "samples", rows([recording], speaker_key=uuid.UUID(int=1), source="one", licence="MIT", attributes=named)
        )
        run.append("samples", rows([clip], speaker_key=uuid.UUID(int=1), root_ids=[recording]))
        run.append("samples", rows([other], speaker_key=uuid.UUID(int=2), source="two", licence="CC0-1.0"))
        run.append("samples", rows([mix], licence="CC0-1.0 AND MIT", root_ids=[recording, other]))
        run.append("transforms", [{"transform_id": "t", "name": "cut", "parameters": "{}", "code_version": "1"}])
        link(run, clip, recording)
        link(run, mix, clip, other)
        sets.create_set(run, [clip, mix], name="train")
    with store.run("train") as run:
        run.append("models", [{"model_id": "m" * 64, "name": "tiny"}])
        run.append("exposures", [{"step": n, "position": 0, "sample_id": mix, "weight": 1.0} for n in range(2)])
    return store


@pytest.mark.parametrize("compacted", [False, True])
def test_macros_answer_the_questions_that_auditors_ask(recorded: Store, compacted: bool) -> None:
    recording, clip, other, mix = ids(4)
    if compacted:
        compact(recorded)
    connection = recorded.connect()

    def ask(question: str) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = connection.sql(f"FROM {question}").fetchall()
        return found

    assert [r[:3] for r in ask(f"made_of('{mix}')")] == [(clip, "cut", "speech"), (other, "cut", "speech")]
    assert [r[0] for r in ask(f"made_into('{clip}')")] == [mix]
    assert {r[0] for r in ask(f"recordings_of('{mix}')")} == {recording, other}
    assert [r[1] for r in ask(f"sets_of_sample('{clip}')")] == ["train"]
    consumed = [("m" * 64, "tiny", 2, 1)]
    for question in (
        f"models_of_sample('{mix}')",
        *(f"models_of_speaker('{uuid.UUID(int=n)}')" for n in (1, 2)),
        "models_of_licence('MIT')",
        "models_of_licence('CC0-1.0')",
    ):
        assert [(r[0], r[1], r[3], r[4]) for r in ask(question)] == consumed, question
    for question in (
        f"models_of_sample('{clip}')",
        "models_of_source('one')",
        f"models_of_speaker('{uuid.UUID(int=3)}')",
    ):
        assert ask(question) == []
    assert {r[:1] + r[2:] for r in ask(f"affected_by('{recording}')")} == {
        ("sample", None, 1), ("set", "train", 2), ("model", "tiny", 1),
    }  # fmt: skip
    assert {r[0] for r in ask("behind_model('mmmm')")} == {recording, other}


def test_every_macro_works_on_an_empty_store(store: Store) -> None:
    connection = store.connect()
    for name, (parameters, _, _) in sql.MACROS.items():
        argument = "1.5" if name == "costs" else f"'{uuid.UUID(int=0)}'"
        given = ", ".join(argument for parameter in parameters.strip("()").split(",") if parameter)
        assert connection.sql(f"FROM {name}({given})").fetchall() == []


def test_the_catalogue_shows_the_same_in_any_client(recorded: Store, tmp_path: Path) -> None:
    compact(recorded)
    recorded.write_catalog(tmp_path / "catalogue.duckdb")
    with duckdb.connect(str(tmp_path / "catalogue.duckdb"), read_only=True) as plain:
        assert plain.sql("SELECT count(*) FROM edges").fetchall() == [(3,)]
        assert plain.sql("SELECT speaker FROM samples WHERE source = 'one'").fetchall() == [("x",)]
        assert len(plain.sql(f"FROM made_of('{ids(4)[3]}')").fetchall()) == 2


def test_the_log_can_be_asked_like_any_table(recorded: Store, tmp_path: Path) -> None:
    connection = recorded.connect()
    recorded.write_catalog(tmp_path / "catalog.duckdb")
    for asked in (connection, duckdb.connect(str(tmp_path / "catalog.duckdb"), read_only=True)):
        found = asked.sql(
            "SELECT l.position, l.manifest, r.kind FROM log_entries l JOIN runs r USING (run_id) ORDER BY 1"
        )
        assert found.fetchall() == [
            (e.position, e.manifest, r.kind) for e, r in zip(recorded.log.entries(), recorded.runs(), strict=True)
        ]
    with recorded.run("later"):
        pass
    assert recorded.sql("FROM log_entries").num_rows == 3

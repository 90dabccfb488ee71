"""Sources, consent and licences, as of any moment."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.errors import EarmarkError, UnknownName
from lineage.people import reach, rights, spdx
from lineage.people.erase import erase
from lineage.people.rights import ALL, NONE, Purposes
from lineage.proof.verifier import verify
from lineage.store import Store
from tests.lineage.conftest import ids, rows

DAY = timedelta(days=1)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def recorded(store: Store) -> Store:
    with store.run("ingest") as run:
        for n, name in enumerate(("Ann", "Ben")):
            key = store.vault.speaker_key(name)
            run.append("samples", rows(ids(3, seed=n), speaker_key=key, source="phone", licence="MIT"))
            run.vault.append("speakers", [{"speaker_key": key, "speaker": name}])
            run.vault.append(
                "recordings", [{"sample_id": s, "audio_digest": "0", "speaker_key": key} for s in ids(3, seed=n)]
            )
        run.append("sources", [{"source": "phone", "licence": "MIT"}, {"source": "phone", "licence": "CC0-1.0"}])
    return store


def agreed(store: Store, name: str, when: datetime | None = None) -> str:
    return str(rights.as_of(store, when).consent(store.vault.speaker_key(name), "phone"))


def test_consent_is_a_history(recorded: Store) -> None:
    assert agreed(recorded, "Ann") == "no purpose"
    rights.consent(recorded, "given", speaker="Ann", purposes=["asr", "research"], at=T0)
    rights.consent(recorded, "narrowed", speaker="Ann", purposes=["asr", "sale"], at=T0 + DAY)
    rights.consent(recorded, "withdrawn", speaker="Ann", at=T0 + 2 * DAY)
    seen = [agreed(recorded, "Ann", T0 + n * DAY) for n in (-1, 0, 1, 2)]
    assert seen == ["no purpose", "asr, research", "asr", "no purpose"]
    assert agreed(recorded, "Ben") == "no purpose"
    assert verify(recorded.root).ok


def test_a_speaker_who_said_nothing_agreed_to_what_the_source_did(recorded: Store) -> None:
    rights.consent(recorded, "given", source="phone", at=T0)
    rights.consent(recorded, "withdrawn", speaker="Ann", purposes=["sale"], at=T0 + DAY)
    assert agreed(recorded, "Ann") == "any purpose but sale"
    assert agreed(recorded, "Ben") == "any purpose"
    rights.consent(recorded, "given", source="phone", purposes=["sale"], at=T0 + 2 * DAY)
    assert agreed(recorded, "Ann") == "any purpose but sale"  # Ann's word counts for more
    rights.consent(recorded, "narrowed", source="phone", purposes=["asr", "sale"], at=T0 + 3 * DAY)
    assert (agreed(recorded, "Ann"), agreed(recorded, "Ben")) == ("asr", "asr, sale")
    rights.consent(recorded, "given", speaker="Ann", purposes=["sale"], at=T0 + 4 * DAY)
    assert agreed(recorded, "Ann") == "asr, sale"


def test_consent_that_makes_no_sense_is_refused(recorded: Store) -> None:
    for how, said in [
        ({"event": "given"}, "one of them"),
        ({"event": "given", "speaker": "Ann", "source": "phone"}, "one of them"),
        ({"event": "narrowed", "speaker": "Ann"}, "name them"),
        ({"event": "taken", "speaker": "Ann"}, "consent event"),
        ({"event": "given", "speaker": "Nobody"}, "no speaker"),
        ({"event": "given", "source": "phoney"}, "did you mean 'phone'"),
        ({"event": "given", "speaker": "Ann", "purposes": [" "]}, "empty"),
    ]:
        with pytest.raises(EarmarkError, match=said):
            rights.consent(recorded, **how)  # type: ignore[arg-type]


def test_no_name_is_in_the_public_record(recorded: Store) -> None:
    rights.consent(recorded, "given", speaker="Ann")
    public = [p for p in recorded.root.rglob("*") if p.is_file() and "vault" not in p.parts]
    assert not [p for p in public if b"Ann" in p.read_bytes()]


def test_sources_are_described_by_statements(recorded: Store) -> None:
    assert rights.as_of(recorded).source("phone").licence == "CC0-1.0 AND MIT"  # as noted at ingestion
    before = datetime.now(UTC)
    rights.state(recorded, "phone", licence="mit", purpose="asr", collected_from=T0, collected_to=T0 + DAY)
    after = rights.state(recorded, "phone", retain_until=datetime(2030, 1, 1))
    assert after == rights.as_of(recorded).source("phone")
    assert (after.licence, after.purpose, after.retain_until) == ("MIT", "asr", datetime(2030, 1, 1, tzinfo=UTC))
    assert rights.as_of(recorded, before).source("phone").purpose is None
    assert rights.as_of(recorded).source("unheard of").licence is None
    with pytest.raises(EarmarkError, match="before it began"):
        rights.state(recorded, "phone", collected_to=T0 - DAY)
    with pytest.raises(EarmarkError, match="write SPDX"):
        rights.state(recorded, "phone", licence="free for all")


def test_what_has_expired_is_found_and_erased(recorded: Store) -> None:
    rights.state(recorded, "phone", retain_until=T0)
    assert [s.name for s in rights.expired(recorded)] == ["phone"]
    assert rights.expired(recorded, T0 - DAY) == []
    done = erase(recorded, reach.source(recorded, "phone", "retention"))
    assert len(done.reach.samples) == 6
    assert rights.expired(recorded) == []
    assert recorded.vault.speakers() == {}
    assert set(recorded.read("erasures")["scope"].to_pylist()) == {"retention"}
    assert verify(recorded.root, deep=True).ok


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "keep"]), st.none() | st.frozensets(st.sampled_from("abc"))))
)
def test_purposes_are_sets(steps: list[tuple[str, frozenset[str] | None]]) -> None:
    universe = frozenset("abcz")  # z stands for every purpose that nobody named
    mine, plain = NONE, frozenset[str]()
    for how, some in steps:
        mine = getattr(mine, how)(some)
        other = universe if some is None else some
        plain = plain | other if how == "add" else plain - other if how == "remove" else plain & other
    assert {p for p in universe if p in mine} == plain
    assert isinstance(mine, Purposes)
    assert str(ALL) == "any purpose"


names = st.sampled_from(["MIT", "CC0-1.0", "CC-BY-4.0", "GPL-2.0-only", "LicenseRef-ours"])
leaves = names.map(spdx.Expression)
expressions = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)).map(
        lambda pair: spdx.parse(f" {pair[0]} ".join(f"({p})" for p in pair[1]))
    ),
    max_leaves=6,
)


@given(expressions, st.frozensets(names), st.frozensets(names))
def test_expressions_keep_their_laws(e: spdx.Expression, some: frozenset[str], more: frozenset[str]) -> None:
    assert spdx.parse(str(e)) == e
    assert not e.allowed(some) or e.allowed(some | more)
    assert e.allowed(e.names)


@given(st.lists(expressions, min_size=1, max_size=4), st.frozensets(names))
def test_a_whole_is_allowed_if_all_its_parts_are(parts: list[spdx.Expression], some: frozenset[str]) -> None:
    joint = spdx.joint(map(str, parts))
    assert joint is not None
    assert spdx.parse(joint).allowed(some) == all(p.allowed(some) for p in parts)


def test_expressions_as_people_write_them() -> None:
    assert str(spdx.parse(" mit and (apache-2.0 OR cc0-1.0) ")) == "MIT AND (Apache-2.0 OR CC0-1.0)"
    assert spdx.parse("MIT OR A AND B").allowed({"MIT"})
    assert not spdx.parse("(MIT OR A) AND B").allowed({"MIT"})
    assert spdx.parse("GPL-2.0-only WITH Classpath-exception-2.0").names == {
        "GPL-2.0-only WITH Classpath-exception-2.0"
    }
    assert spdx.unknown(spdx.parse("CC-BY-4.1 AND MIT AND LicenseRef-ours AND X")) == [
        "CC-BY-4.1 (did you mean CC-BY-4.0?)", "X",
    ]  # fmt: skip
    for text in ("", "MIT AND", "(MIT", "MIT)", "AND", "MIT MIT", "M!T", "OR MIT", "MIT " * 300, "(" * 150):
        with pytest.raises(EarmarkError, match="write SPDX"):
            spdx.parse(text)


def test_a_key_in_place_of_a_name(recorded: Store) -> None:
    key = recorded.vault.speaker_key("Ann")
    rights.consent(recorded, "given", speaker=str(key))
    assert agreed(recorded, "Ann") == "any purpose"
    with pytest.raises(UnknownName):
        rights.consent(recorded, "given", speaker=str(uuid.uuid4()))


def test_a_store_without_rights(tmp_path: Path) -> None:
    store = Store.init(tmp_path / "empty")
    assert rights.as_of(store).sources == {}
    assert rights.expired(store) == []

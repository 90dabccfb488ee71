from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

from lineage.errors import EarmarkError, UnknownName
from lineage.selection.sets import SampleSet, create_set, members
from lineage.selection.splits import folds, grouped, split
from lineage.store import Store
from tests.lineage.conftest import ids, rows

WITHIN = "FROM samples JOIN members USING (sample_id) WHERE set_digest = ?"
SHARES = {"train": 0.7, "development": 0.1, "test": 0.2}


def record(store: Store, speakers: Sequence[uuid.UUID], each: int = 3, name: str = "all", seed: int = 1) -> SampleSet:
    """A set of `each` samples of every speaker."""
    samples = ids(len(speakers) * each, seed)
    with store.run("ingest") as run:
        for i, speaker in enumerate(speakers):
            accent = [("accent", ("north", "south")[i % 2])]
            run.append("samples", rows(samples[i * each : (i + 1) * each], speaker_key=speaker, attributes=accent))
        return create_set(run, samples, name=name)


def spoken(store: Store, part: SampleSet) -> set[uuid.UUID]:
    """Who is heard in it."""
    found = store.sql(
        "SELECT DISTINCT speaker_key FROM samples JOIN members USING (sample_id) WHERE set_digest = ?", [part.digest]
    )
    return set(found["speaker_key"].to_pylist())


def test_parts_share_nobody_and_are_the_set(store: Store) -> None:
    whole = record(store, ids(60, 9))
    parts = split(store, "all", SHARES)
    assert [p.name for p in parts.values()] == ["all-train", "all-development", "all-test"]
    assert {p.kind for p in parts.values()} == {"split"}
    assert {p.population for p in parts.values()} == {whole.digest}
    assert (
        sum(p.size for p in parts.values()) == whole.size == sum(len(g.samples) for g in grouped(store, whole.digest))
    )
    heard = [spoken(store, p) for p in parts.values()]
    assert sum(map(len, heard)) == len(set.union(*heard)) == 60
    assert abs(len(heard[0]) - 42) < 15
    assert parts != split(store, "all", SHARES, seed=1)
    before = len(store.runs())
    assert split(store, "all", SHARES) == parts
    assert len(store.runs()) == before


def test_nobody_moves_when_speakers_are_added(store: Store) -> None:
    speakers = ids(40, 9)
    record(store, speakers[:25], name="early")
    record(store, speakers, name="late", seed=2)
    early, late = split(store, "early", SHARES, seed=3), split(store, "late", SHARES, seed=3)
    for part in SHARES:
        assert spoken(store, early[part]) == spoken(store, late[part]) & set(speakers[:25])


def test_what_binds_two_speakers_keeps_them_together(store: Store) -> None:
    """A mix of two recordings has no speaker of its own, but those of its recordings; noise binds nobody."""
    speakers = ids(6, 9)
    record(store, speakers, each=1)
    recordings = ids(6, 1)
    (noise,) = ids(1, 77)
    mixes = ids(7, 78)
    with store.run("transform") as run:
        run.append("samples", rows([noise], kind="noise"))
        run.append("samples", [{**rows([mixes[0]])[0], "root_ids": sorted(recordings[:2])}])
        for mix, recording, speaker in zip(mixes[1:], recordings, speakers, strict=True):
            run.append("samples", [{**rows([mix], speaker_key=speaker)[0], "root_ids": sorted([recording, noise])}])
        made = create_set(run, [*recordings, *mixes], name="mixed")
    groups = grouped(store, made.digest)
    assert sorted(len(g.samples) for g in groups) == [2, 2, 2, 2, 5]
    bound = next(g for g in groups if len(g.samples) == 5)
    assert set(bound.samples) == {*recordings[:2], *mixes[:3]}


def test_unknown_speakers_go_by_their_recordings(store: Store) -> None:
    samples = ids(4)
    with store.run("ingest") as run:
        run.append("samples", rows(samples[:2]))
        run.append("samples", [{**r, "root_ids": [samples[0]]} for r in rows(samples[2:])])
        made = create_set(run, samples, name="all")
    assert sorted(len(g.samples) for g in grouped(store, made.digest)) == [1, 3]


@pytest.mark.parametrize("seed", range(5))
def test_no_part_is_empty_however_few_speak(store: Store, seed: int) -> None:
    record(store, ids(3, 9))
    assert [p.size for p in split(store, "all", SHARES, seed=seed).values()] == [3, 3, 3]


def test_strata_are_dealt_by_quota(store: Store) -> None:
    record(store, ids(40, 9))
    parts = split(store, "all", {"train": 0.75, "test": 0.25}, stratify="accent")
    query = f"SELECT accent, count(*) AS n {WITHIN} GROUP BY ALL ORDER BY ALL"
    assert store.sql(query, [parts["test"].digest]).to_pylist() == [
        {"accent": "north", "n": 15},
        {"accent": "south", "n": 15},
    ]
    with pytest.raises(UnknownName, match="no attribute 'acent' — did you mean 'accent'"):
        split(store, "all", SHARES, stratify="acent")


def test_what_two_speakers_have_is_heard_in_both_parts(store: Store) -> None:
    """Of 18 speakers two are from each of nine places; dealt by hash alone some place would be heard in one part only."""
    speakers, samples = ids(18, 9), ids(36, 1)
    with store.run("ingest") as run:
        for i, speaker in enumerate(speakers):
            own = [("place", f"p{i // 2}"), ("gender", "fm"[i % 2])]
            run.append("samples", rows(samples[2 * i : 2 * i + 2], speaker_key=speaker, attributes=own))
        create_set(run, samples, name="all")
    for seed in range(5):
        alike = split(store, "all", {"a": 0.5, "b": 0.5}, seed=seed, everywhere=["place", "gender"])
        blind = split(store, "all", {"a": 0.5, "b": 0.5}, seed=seed)
        heard, by_hash = ([places(store, p) for p in parts.values()] for parts in (alike, blind))
        assert heard[0] == heard[1] == {f"p{k}" for k in range(9)}
        assert by_hash[0] != by_hash[1]
        assert [p.size for p in alike.values()] == [18, 18]
        assert split(store, "all", {"a": 0.5, "b": 0.5}, seed=seed, everywhere=["gender", "place"]) == alike
    with pytest.raises(UnknownName, match="did you mean 'place'"):
        split(store, "all", SHARES, everywhere=["plase"])
    with pytest.raises(EarmarkError, match="give one of them"):
        split(store, "all", SHARES, everywhere=["place"], stratify="gender")


def places(store: Store, part: SampleSet) -> set[str]:
    return set(store.sql(f"SELECT DISTINCT place {WITHIN}", [part.digest])["place"].to_pylist())


def test_folds_cover_everybody_once(store: Store) -> None:
    whole = record(store, ids(11, 9))
    made = folds(store, "all", 4)
    assert sorted(held.size for _, held in made) == [6, 9, 9, 9]
    for rest, held in made:
        assert rest.size + held.size == whole.size
        assert not spoken(store, rest) & spoken(store, held)
    assert set.union(*(set(members(store, held.digest).to_pylist()) for _, held in made)) == set(
        members(store, whole.digest).to_pylist()
    )
    assert folds(store, "all", 4) == made


def test_impossible_splits_are_refused(store: Store) -> None:
    record(store, ids(2, 9))
    for shares, said in (
        ({"a": 0.5, "b": 0.6}, r"add up to 1\.1"),
        ({"a": 1.0}, "two parts at least"),
        ({"a": 1.5, "b": -0.5}, "the share of 'b' is -0.5"),
        (SHARES, "has 2 speakers who share no recording, too few for 3 parts"),
    ):
        with pytest.raises(EarmarkError, match=said):
            split(store, "all", shares)
    with pytest.raises(EarmarkError, match="1 folds leave nothing"):
        folds(store, "all", 1)
    with pytest.raises(EarmarkError, match="too few for 3 parts"):
        folds(store, "all", 3)

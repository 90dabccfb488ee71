"""Sample sets: found by name, digest or prefix; equal exactly if their members are; compared by members."""

from __future__ import annotations

import pytest

from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.ids import id_array
from lineage.selection import sets
from lineage.store import Store
from tests.lineage.conftest import ids, rows


def test_a_set_counts_its_members_and_gives_them_back_sorted(store: Store) -> None:
    samples = ids(30)
    with store.run("test") as run:
        run.append("samples", rows(samples))
    with store.run("test") as run:
        made = sets.create_set(run, [*samples[:20], samples[0]], name="demo/train", kind="split")
    assert (made.size, made.duration_s, made.words) == (20, 20.0, 60)
    assert sets.members(store, made.digest).to_pylist() == sorted(samples[:20], key=lambda s: s.bytes)
    assert sets.resolve_set(store, "demo/train") == made
    assert sets.resolve_set(store, made.digest) == made
    assert sets.resolve_set(store, made.digest[:8]) == made


def test_equal_sets_have_one_digest_and_their_members_stand_once(store: Store) -> None:
    samples = ids(30)
    with store.run("test") as run:
        run.append("samples", rows(samples))
        one = sets.create_set(run, samples, name="one", samples=None)
        two = sets.create_set(run, list(reversed(samples)), name="two")
    with store.run("test") as run:
        three = sets.create_set(run, id_array(samples), name="three")
    assert one.digest == two.digest == three.digest
    assert store.sql("SELECT count(*) AS n FROM members")["n"].to_pylist() == [30]


def test_the_newest_set_of_a_name_is_meant(store: Store) -> None:
    samples = ids(4)
    for n in (2, 3):
        with store.run("test") as run:
            sets.create_set(run, samples[:n], name="train")
    assert sets.resolve_set(store, "train").size == 3


def test_unknown_and_ambiguous_names_say_what_there_is(store: Store) -> None:
    with store.run("test") as run:
        for n in range(40):
            sets.create_set(run, ids(1, seed=n), name=f"set{n}")
    with pytest.raises(UnknownName, match="did you mean 'set3'"):
        sets.resolve_set(store, "sett3")
    by_first: dict[str, list[str]] = {}
    for s in sets.sample_sets(store):
        by_first.setdefault(s.digest[:1], []).append(s.digest)
    assert max(map(len, by_first.values())) > 1
    with pytest.raises((AmbiguousName, UnknownName)):
        sets.resolve_set(store, next(d for d in by_first.values() if len(d) > 1)[0][:1])


def test_an_empty_set_is_refused(store: Store) -> None:
    with pytest.raises(EarmarkError, match="would be empty"), store.run("test") as run:
        sets.create_set(run, [], name="nothing")


def test_difference_agrees_with_python_sets(store: Store) -> None:
    samples = ids(50)
    with store.run("test") as run:
        a = sets.create_set(run, samples[:30], name="a")
        b = sets.create_set(run, samples[20:], name="b")
    only_a, only_b = sets.difference(store, a, b)
    assert set(only_a.to_pylist()) == set(samples[:20])
    assert set(only_b.to_pylist()) == set(samples[30:])
    connection = store.connect()
    rows_ = connection.sql("FROM set_diff($1, $2)", params=[a.digest[:10], b.digest[:10]]).fetchall()
    assert {(i, s) for i, s in rows_} == {(i, "only a") for i in samples[:20]} | {(i, "only b") for i in samples[30:]}

"""Set algebra agrees with Python's sets, and is on record."""

from __future__ import annotations

import pytest

from lineage.errors import EarmarkError
from lineage.selection.algebra import cut
from lineage.selection.sets import create_set, members
from lineage.store import Store
from tests.lineage.conftest import ids, rows

SAMPLES = ids(40)


@pytest.fixture
def sets(store: Store) -> Store:
    with store.run("test") as run:
        run.append("samples", rows(SAMPLES[:20], attributes={"split": "train"}))
        run.append("samples", rows(SAMPLES[20:], attributes={"split": "test"}))
    with store.run("test") as run:
        create_set(run, SAMPLES[:25], name="a")
        create_set(run, SAMPLES[15:], name="b")
    return store


def test_union_intersection_and_difference(sets: Store) -> None:
    a, b = set(SAMPLES[:25]), set(SAMPLES[15:])
    cases = {
        "union": (cut(sets, ["a", "b"], name="union"), a | b),
        "both": (cut(sets, ["a"], name="both", intersect=["b"]), a & b),
        "only": (cut(sets, ["a"], name="only", minus=["b"]), a - b),
        "part": (cut(sets, ["a", "b"], name="part", where="split = 'train'"), set(SAMPLES[:20])),
    }
    for made, expected in cases.values():
        assert set(members(sets, made.digest).to_pylist()) == expected
    assert len(cases["both"][0].parents) == 2


def test_the_same_question_is_computed_once(sets: Store) -> None:
    first = cut(sets, ["a", "b"], name="union")
    runs = len(sets.runs())
    assert cut(sets, ["b", "a"], name="union") == first
    assert len(sets.runs()) == runs


def test_a_predicate_may_be_empty_in_one_set_but_not_in_all(sets: Store) -> None:
    cut(sets, ["a"], name="trained", where="split = 'train'")
    assert cut(sets, ["trained", "b"], name="x", where="split = 'test'").size == 20
    with pytest.raises(EarmarkError, match="split is one of train"):
        cut(sets, ["trained"], name="y", where="split = 'test'")
    with pytest.raises(EarmarkError, match="would be empty"):
        cut(sets, ["a"], name="z", minus=["a"])

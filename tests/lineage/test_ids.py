"""Ids in bulk behave as Python's sets and lists of them do, however they are spread."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.ids import (
    BLOCK,
    Halves,
    find,
    halves,
    id_array,
    is_sorted,
    order,
    ranks,
    sort_unique,
    sort_words,
    take,
    without,
)

FEW = st.integers(0, 7).map(lambda i: uuid.UUID(int=i * 0x1000000000000000_0000000000000001 % 2**128))
ANY = st.integers(0, 2**128 - 1).map(lambda i: uuid.UUID(int=i))
IDS = st.lists(st.one_of(FEW, ANY), max_size=60)


def back(ids: Halves) -> list[uuid.UUID]:
    found: list[uuid.UUID] = id_array(ids).to_pylist()
    return found


@given(IDS)
@settings(max_examples=80, deadline=None)
def test_there_and_back(ids: list[uuid.UUID]) -> None:
    assert back(halves(ids)) == ids
    chunked = pa.chunked_array([id_array(ids[:3]), id_array(ids[3:])], type=pa.uuid())
    assert back(halves(chunked)) == ids
    assert back(halves(id_array(ids)[1:])) == ids[1:]


@given(IDS)
@settings(max_examples=120, deadline=None)
def test_sorting_is_that_of_the_bytes(ids: list[uuid.UUID]) -> None:
    assert back(sort_unique(halves(ids))) == sorted(set(ids), key=lambda i: i.bytes)
    assert back(take(halves(ids), order(halves(ids)))) == sorted(ids, key=lambda i: i.bytes)
    assert is_sorted(halves(ids)) == (ids == sorted(ids, key=lambda i: i.bytes))


@given(IDS, IDS)
@settings(max_examples=120, deadline=None)
def test_places_and_differences(some: list[uuid.UUID], others: list[uuid.UUID]) -> None:
    among = sorted(set(others))
    expected = [among.index(i) if i in among else -1 for i in some]
    assert ranks(halves(among), halves(some)).tolist() == expected
    distinct = sorted(set(some))
    assert back(without(halves(distinct), halves(among))) == [i for i in distinct if i not in among]
    repeated = sorted(others)
    places, which = find(halves(repeated), halves(distinct))
    assert [(repeated[p], distinct[w]) for p, w in zip(places, which, strict=True)] == [
        (i, i) for i in repeated if i in distinct
    ]


def test_many_ids_that_agree_in_their_leading_bits() -> None:
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 2**63, (5000, 2)).astype(np.uint64)
    ids[:, 0] &= np.uint64(7)
    expected = sorted({i.bytes for i in back(ids)})
    assert [i.bytes for i in back(sort_unique(ids))] == expected
    assert ranks(sort_unique(ids), sort_unique(ids)).tolist() == list(range(len(expected)))


@pytest.mark.parametrize("count", [0, 1, 2 * BLOCK, 2 * BLOCK + 1])
def test_many_numbers_are_sorted_in_halves(count: int) -> None:
    words = np.random.default_rng(4).integers(0, 2**40, count, dtype=np.uint64)
    expected = np.sort(words)
    sort_words(words)
    assert (words == expected).all()


def test_null_is_no_id() -> None:
    with pytest.raises(ValueError, match="null"):
        halves(pa.chunked_array([id_array([None, uuid.uuid4()])]))

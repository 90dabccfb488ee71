"""Laws of set digests and proofs: order-free, exact, and checkable with nothing at hand."""

from __future__ import annotations

import dataclasses
import json
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.ids import halves, id_array, sort_unique
from lineage.proof import merkle

IDS = st.lists(st.integers(0, 2**128 - 1).map(lambda i: uuid.UUID(int=i)), max_size=200)


@given(IDS, st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_digest_depends_on_neither_order_nor_repeats(ids: list[uuid.UUID], rng: object) -> None:
    shuffled = ids + ids[: len(ids) // 2]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merkle.set_digest(halves(shuffled)) == merkle.set_digest(halves(ids))


@given(IDS.filter(bool), st.data())
@settings(max_examples=60, deadline=None)
def test_any_other_set_has_another_digest(ids: list[uuid.UUID], data: st.DataObject) -> None:
    distinct = sorted(set(ids))
    left_out = data.draw(st.sampled_from(distinct))
    without = [i for i in distinct if i != left_out]
    assert merkle.set_digest(halves(without)) != merkle.set_digest(halves(distinct))


@given(IDS, st.integers(0, 2**128 - 1))
@settings(max_examples=100, deadline=None)
def test_a_proof_says_whether_the_sample_is_a_member(ids: list[uuid.UUID], other: int) -> None:
    for sample in [*ids[:3], uuid.UUID(int=other)]:
        proof = merkle.prove(halves(ids), sample)
        assert proof.holds()
        assert proof.member == (sample in ids)
        assert proof.set_digest == merkle.set_digest(halves(ids))
        assert merkle.Proof.from_json(json.loads(json.dumps(proof.to_json()))) == proof


def test_a_forged_proof_does_not_hold() -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 2**63, (5000, 2)).astype(np.uint64)
    member = id_array(ids)[7].as_py()
    proof = merkle.prove(ids, member)
    hidden = bytes(proof.bucket.replace(member.bytes, b""))
    stranger = uuid.UUID(int=0)
    forged = [
        dataclasses.replace(proof, bucket=hidden),
        dataclasses.replace(proof, bucket=proof.bucket + stranger.bytes),
        dataclasses.replace(proof, bucket=proof.bucket[16:] + proof.bucket[:16]),
        dataclasses.replace(proof, size=proof.size + 1),
        dataclasses.replace(proof, size=proof.size * 2),
        dataclasses.replace(proof, siblings=proof.siblings[1:]),
        dataclasses.replace(proof, siblings=(proof.siblings[0], *proof.siblings)),
        dataclasses.replace(proof, set_digest="0" * 64),
        dataclasses.replace(proof, sample=stranger),
    ]
    assert proof.holds()
    assert [f.holds() for f in forged] == [False] * len(forged)


@given(IDS.filter(bool), st.integers(0, 2**128 - 1))
@settings(max_examples=60, deadline=None)
def test_boughs_prove_with_the_ids_of_one_bough(ids: list[uuid.UUID], other: int) -> None:
    distinct = sort_unique(halves(ids))
    boughs = merkle.Boughs.of(distinct)
    assert boughs.set_digest == merkle.set_digest(distinct)
    assert merkle.Boughs.from_bytes(boughs.to_bytes()) == boughs
    for sample in [ids[0], uuid.UUID(int=other)]:
        low, high = boughs.reach(sample)
        some = halves([i for i in ids if low <= i <= high])
        assert boughs.prove(some, sample) == merkle.prove(distinct, sample)


def test_boughs_of_a_large_set_are_few_and_those_of_another_prove_nothing() -> None:
    ids = sort_unique(np.random.default_rng(5).integers(0, 2**63, (300_000, 2)).astype(np.uint64))
    boughs = merkle.Boughs.of(ids)
    assert len(boughs.to_bytes()) < 140_000
    stranger = uuid.UUID(int=77)
    low, high = (np.uint64(end.int >> 64) for end in boughs.reach(stranger))
    part = ids[(ids[:, 0] >= low) & (ids[:, 0] <= high)]
    assert len(part) < 1000
    assert boughs.prove(part, stranger).holds()
    assert not boughs.prove(part[1:], stranger).holds()
    forged = dataclasses.replace(boughs, nodes=(boughs.nodes[0], bytes(32), *boughs.nodes[2:]))
    assert forged.set_digest != boughs.set_digest
    assert not dataclasses.replace(forged.prove(part, stranger), set_digest=boughs.set_digest).holds()
    for nonsense in (b"", boughs.to_bytes()[:-1], b"x" + boughs.to_bytes()):
        with pytest.raises(ValueError, match="inner hashes"):
            merkle.Boughs.from_bytes(nonsense)


def test_a_proof_is_small_however_large_the_set() -> None:
    ids = np.random.default_rng(2).integers(0, 2**63, (200_000, 2)).astype(np.uint64)
    assert len(json.dumps(merkle.prove(ids, uuid.uuid4()).to_json())) < 2048


@pytest.mark.parametrize("value", [{}, {"format": "x"}, [], {"format": "earmark.set.v1", "set": "a", "size": "many"}])
def test_what_is_no_proof_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"proof|int|hash"):
        merkle.Proof.from_json(value)  # type: ignore[arg-type]


def test_golden_digests_pin_the_format() -> None:
    ids = [uuid.UUID(int=i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128) for i in range(100)]
    assert merkle.set_digest(halves([])) == GOLDEN_EMPTY
    assert merkle.set_digest(halves(ids)) == GOLDEN_HUNDRED


def test_sorting_is_that_of_the_bytes() -> None:
    ids = [uuid.UUID(int=i) for i in (2**127, 1, 2**64, 2**64 - 1, 0, 2**128 - 1, 1)]
    found = id_array(sort_unique(halves(ids))).to_pylist()
    assert found == sorted(set(ids), key=lambda i: i.bytes)


GOLDEN_EMPTY = "f49c34ece0f025ebc3eb5fe6c3a69ea8b12ca39d6d726525a73ed4982e6cde8b"
GOLDEN_HUNDRED = "2d1e50fb8e24ec3f48ecf3af142aac67a950772c37f7495f2b292e9ac7130a49"

"""Order-free digests of sets of ids, and proofs that an id is in one or is not.

A set is a complete binary tree whose leaves are buckets: bucket *k* holds, sorted, the ids whose first `depth` bits are
*k*. The depth follows from the size alone (8 to 16 ids a bucket on average), so equal sets have equal trees whatever
order or program they came from.

    leaf   = SHA-256(0x00 ‖ ids of the bucket)
    node   = SHA-256(0x01 ‖ left ‖ right)
    digest = SHA-256(0x02 ‖ "earmark.set.v1" ‖ size as 8 bytes, big-endian ‖ root)

The prefixes keep leaf, node and digest apart (second-preimage safety, as in RFC 6962). A proof is the one bucket in which
the id would have to be, and the siblings on its way to the root: it shows membership and non-membership alike, in about a
kilobyte even for tens of millions of ids.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lineage.ids import Halves, sort_unique

TAG = b"earmark.set.v1"
BUCKET = 16  # most ids a bucket holds on average
BOUGHS = 12  # height above which the inner hashes of a large set are kept: at most 2^12 of them, 128 KB
BOUGHS_TAG = b"earmark.boughs.v1"
_sha = hashlib.sha256


def depth_of(size: int) -> int:
    """Depth of the tree of a set of `size` ids: the least with at most `BUCKET` ids a bucket on average."""
    return max(0, (max(size, 1) - 1).bit_length() - (BUCKET.bit_length() - 1))


def _leaves(ids: Halves, depth: int, first: int, count: int) -> list[bytes]:
    """Hashes of the buckets `first` to `first + count` of a tree of that depth; `ids` are theirs, sorted and distinct."""
    data = ids.astype(">u8").tobytes()
    if not depth:
        return [_sha(b"\x00" + data).digest()]
    prefix = ids[:, 0] >> np.uint64(64 - depth)
    bounds = np.arange(first, first + count, dtype=np.uint64)
    ends = (np.searchsorted(prefix, bounds, side="right") * 16).tolist()
    return [_sha(b"\x00" + data[start:end]).digest() for start, end in zip([0, *ends], ends, strict=False)]


def _levels(level: list[bytes]) -> list[list[bytes]]:
    """All levels of the tree over these hashes, which are the first of them; the last is the root alone."""
    levels = [level]
    while len(level) > 1:
        pairs = iter(level)
        level = [_sha(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
        levels.append(level)
    return levels


def _digest(size: int, root: bytes) -> str:
    return _sha(b"\x02" + TAG + size.to_bytes(8, "big") + root).hexdigest()


def set_digest(ids: Halves) -> str:
    """Digest (hex) of the set of `ids`, [n, 2] uint64 in any order, repeats allowed."""
    distinct = sort_unique(ids)
    depth = depth_of(len(distinct))
    return _digest(len(distinct), _levels(_leaves(distinct, depth, 0, 1 << depth))[-1][0])


@dataclass(frozen=True)
class Proof:
    """Evidence that `sample` is, or is not, in the set whose digest is `set_digest`.

    Law: `Proof.from_json(p.to_json()) == p`, and `p.holds()` needs nothing but the proof itself.
    """

    set_digest: str
    size: int
    sample: uuid.UUID
    bucket: bytes
    siblings: tuple[bytes, ...]

    @property
    def member(self) -> bool:
        """Whether the bucket holds the sample."""
        return self.sample.bytes in [self.bucket[i : i + 16] for i in range(0, len(self.bucket), 16)]

    def holds(self) -> bool:
        """Whether bucket and siblings really lead to the set's digest, and the bucket is the sample's own and well formed."""
        depth = depth_of(self.size)
        if len(self.siblings) != depth or len(self.bucket) % 16:
            return False
        index = int.from_bytes(self.sample.bytes, "big") >> (128 - depth)
        items = [self.bucket[i : i + 16] for i in range(0, len(self.bucket), 16)]
        if any(int.from_bytes(item, "big") >> (128 - depth) != index for item in items):
            return False
        if any(a >= b for a, b in itertools.pairwise(items)):
            return False
        node = _sha(b"\x00" + self.bucket).digest()
        for sibling in self.siblings:
            node = _sha(b"\x01" + (sibling + node if index & 1 else node + sibling)).digest()
            index >>= 1
        return _digest(self.size, node) == self.set_digest

    def to_json(self) -> dict[str, Any]:
        """As JSON: hex digests and base64 bytes."""
        return {
            "format": TAG.decode(),
            "set": self.set_digest,
            "size": self.size,
            "sample": str(self.sample),
            "member": self.member,
            "bucket": base64.b64encode(self.bucket).decode(),
            "siblings": base64.b64encode(b"".join(self.siblings)).decode(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Proof:
        """The inverse of `to_json`.

        Raises:
            ValueError: it is not such a proof.
        """
        try:
            if value["format"] != TAG.decode():
                raise ValueError(f"not a proof of format {TAG.decode()}")
            siblings = base64.b64decode(value["siblings"], validate=True)
            if len(siblings) % 32:
                raise ValueError("the siblings are not whole hashes")
            bucket = base64.b64decode(value["bucket"], validate=True)
            hashes = tuple(siblings[i : i + 32] for i in range(0, len(siblings), 32))
            return cls(str(value["set"]), int(value["size"]), uuid.UUID(value["sample"]), bucket, hashes)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a set proof: {error!r}") from error


@dataclass(frozen=True)
class Boughs:
    """One level of a set's tree, kept beside a large set: with it a proof needs the ids of one bough, not all.

    Law: `Boughs.from_bytes(b.to_bytes()) == b`, and `b.set_digest` is the digest of the set that it was grown from; so
    boughs that were tampered with are those of another set.
    """

    size: int
    nodes: tuple[bytes, ...]

    @classmethod
    def of(cls, ids: Halves) -> Boughs:
        """The boughs of a set; `ids` sorted and distinct."""
        depth = depth_of(len(ids))
        levels = _levels(_leaves(ids, depth, 0, 1 << depth))
        return cls(len(ids), tuple(levels[max(0, depth - BOUGHS)]))

    @cached_property
    def _upper(self) -> list[list[bytes]]:
        return _levels(list(self.nodes))

    @cached_property
    def set_digest(self) -> str:
        """Digest (hex) of the whole set."""
        return _digest(self.size, self._upper[-1][0])

    @property
    def _depth(self) -> int:
        return len(self.nodes).bit_length() - 1

    def reach(self, sample: uuid.UUID) -> tuple[uuid.UUID, uuid.UUID]:
        """Least and greatest id of the bough on which `sample` would have to be."""
        rest = 128 - self._depth
        low = int.from_bytes(sample.bytes, "big") >> rest << rest
        return uuid.UUID(int=low), uuid.UUID(int=low | (1 << rest) - 1)

    def prove(self, ids: Halves, sample: uuid.UUID) -> Proof:
        """Proof of membership or non-membership of `sample`; `ids` are all of the set that lie in `reach(sample)`."""
        depth, own = depth_of(self.size), self._depth
        bucket = int.from_bytes(sample.bytes, "big") >> (128 - depth)
        below = depth - own
        first = bucket >> below << below
        distinct = sort_unique(ids)
        levels = [*_levels(_leaves(distinct, depth, first, 1 << below))[:-1], *self._upper]
        inside = (distinct[:, 0] >> np.uint64(64 - depth)) == np.uint64(bucket) if depth else slice(None)
        siblings = []
        for height, level in enumerate(levels[:-1]):
            offset = first >> height if height < below else 0
            siblings.append(level[((bucket >> height) ^ 1) - offset])
        found = distinct[inside].astype(">u8").tobytes()
        return Proof(self.set_digest, self.size, sample, found, tuple(siblings))

    def to_bytes(self) -> bytes:
        """As bytes: format, size as 8 bytes big-endian, hashes."""
        return BOUGHS_TAG + self.size.to_bytes(8, "big") + b"".join(self.nodes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Boughs:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: these are no boughs.
        """
        head, hashes = data[: len(BOUGHS_TAG)], data[len(BOUGHS_TAG) + 8 :]
        size = int.from_bytes(data[len(BOUGHS_TAG) : len(BOUGHS_TAG) + 8], "big")
        count = 1 << min(BOUGHS, depth_of(size))
        if head != BOUGHS_TAG or len(hashes) != 32 * count:
            raise ValueError("these are no inner hashes of a sample set")
        return cls(size, tuple(hashes[i : i + 32] for i in range(0, len(hashes), 32)))


def prove(ids: Halves, sample: uuid.UUID) -> Proof:
    """Proof of membership or non-membership of `sample` in the set of `ids`."""
    distinct = sort_unique(ids)
    boughs = Boughs.of(distinct)
    low, high = (np.uint64(int.from_bytes(end.bytes[:8], "big")) for end in boughs.reach(sample))
    return boughs.prove(distinct[(distinct[:, 0] >= low) & (distinct[:, 0] <= high)], sample)

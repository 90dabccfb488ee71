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
from typing import Any

import numpy as np

from lineage.ids import Halves, sort_unique

TAG = b"earmark.set.v1"
BUCKET = 16  # most ids a bucket holds on average
_sha = hashlib.sha256


def depth_of(size: int) -> int:
    """Depth of the tree of a set of `size` ids: the least with at most `BUCKET` ids a bucket on average."""
    return max(0, (max(size, 1) - 1).bit_length() - (BUCKET.bit_length() - 1))


def _levels(ids: Halves) -> list[list[bytes]]:
    """All levels of the tree over sorted distinct ids, leaves first."""
    depth = depth_of(len(ids))
    data = ids.astype(">u8").tobytes()
    if depth:
        prefix = (ids[:, 0] >> np.uint64(64 - depth)).astype(np.int64)
        ends = (np.searchsorted(prefix, np.arange(1 << depth), side="right") * 16).tolist()
    else:
        ends = [len(data)]
    level, start = [], 0
    for end in ends:
        level.append(_sha(b"\x00" + data[start:end]).digest())
        start = end
    levels = [level]
    while len(level) > 1:
        level = [_sha(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=True)]
        levels.append(level)
    return levels


def _digest(size: int, root: bytes) -> str:
    return _sha(b"\x02" + TAG + size.to_bytes(8, "big") + root).hexdigest()


def set_digest(ids: Halves) -> str:
    """Digest (hex) of the set of `ids`, [n, 2] uint64 in any order, repeats allowed."""
    distinct = sort_unique(ids)
    return _digest(len(distinct), _levels(distinct)[-1][0])


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


def prove(ids: Halves, sample: uuid.UUID) -> Proof:
    """Proof of membership or non-membership of `sample` in the set of `ids`."""
    distinct = sort_unique(ids)
    levels = _levels(distinct)
    depth = depth_of(len(distinct))
    index = int.from_bytes(sample.bytes, "big") >> (128 - depth)
    inside = (
        (distinct[:, 0] >> np.uint64(64 - depth)) == np.uint64(index) if depth else np.ones(len(distinct), dtype=bool)
    )
    siblings = tuple(level[(index >> height) ^ 1] for height, level in enumerate(levels[:-1]))
    return Proof(
        _digest(len(distinct), levels[-1][0]), len(distinct), sample, distinct[inside].astype(">u8").tobytes(), siblings
    )

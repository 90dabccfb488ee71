"""The manifests of a store in one file, so that a store of thousands of runs opens at once.

    cache/manifests.arrow    log entries and the manifests that they name, byte for byte, and a checkpoint over them

A cache, written by compaction and rebuilt by the next one. Laws: with it readers see what they would see without it; it
counts only if its checkpoint is signed with the store's key and its entries and manifests are those that were signed, so
that a forged or damaged one is as good as none.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lineage.durable import write_durably
from lineage.proof.log import Entry, Log
from lineage.proof.verifier import checkpoint_bytes, leaf_hash, tree_root

NAME = "cache/manifests.arrow"


def pack(root: Path) -> None:
    """Write the cache over everything that is logged now."""
    log = Log(root)
    checkpoint = log.checkpoint()
    entries = log.entries()[: checkpoint["size"]]
    manifests = [(root / "manifests" / f"{e.run}.json").read_bytes() for e in entries]
    rows = pa.table(
        {"entry": pa.array([e.to_bytes() for e in entries], pa.binary()), "manifest": pa.array(manifests, pa.binary())}
    ).replace_schema_metadata({"checkpoint": json.dumps(checkpoint)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(rows)
    write_durably(root / NAME, sink.getvalue().to_pybytes())


def unpack(root: Path) -> list[tuple[Entry, bytes]]:
    """Entries of the log from the first on, with their manifests; empty if there is no cache that can be believed."""
    try:
        with pa.memory_map(str(root / NAME)) as source:
            rows = pa.ipc.open_file(source).read_all()
        checkpoint = json.loads(rows.schema.metadata[b"checkpoint"])
        raw, manifests = rows["entry"].to_pylist(), rows["manifest"].to_pylist()
        entries = [Entry(**json.loads(e)) for e in raw]
        _check(root, checkpoint, [leaf_hash(e) for e in raw])
    except (OSError, ValueError, KeyError, TypeError, InvalidSignature):
        return []  # a cache: what it would have said is read from the record itself
    if any(hashlib.sha256(m).hexdigest() != e.manifest for e, m in zip(entries, manifests, strict=True)):
        return []
    return list(zip(entries, manifests, strict=True))


def _check(root: Path, checkpoint: dict[str, Any], leaves: list[bytes]) -> None:
    """Raises InvalidSignature if these are not the leaves that the store's own key signed."""
    marker = (root / "earmark.json").read_bytes()
    origin, size, at = hashlib.sha256(marker).hexdigest(), len(leaves), str(checkpoint["at"])
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(json.loads(marker)["public_key"]))
    signature = base64.b64decode(str(checkpoint["signature"]))
    public.verify(signature, checkpoint_bytes(origin, size, tree_root(leaves).hex(), at))

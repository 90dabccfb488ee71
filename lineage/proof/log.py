"""The log: an append-only Merkle tree in the shape of RFC 6962 whose leaves are run manifests.

    log/00000000.json, 00000001.json …   entries: position, run, SHA-256 of the run's manifest
    log/checkpoint.json                  size and root of the tree, signed with Ed25519

A run is visible when its entry is. Entries are appended without a lock: a writer hard-links a finished file to the next
free number, and if another was faster tries the one after. That is one atomic step, so a crash leaves either the entry or
nothing; on object storage a conditional put does the same. The hashing and the check live in `lineage.proof.verifier`, which
outsiders can run by itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lineage.durable import sync, write_durably, write_whole
from lineage.errors import EarmarkError
from lineage.identity import uuid7
from lineage.proof.verifier import checkpoint_bytes, checkpoint_text, leaf_hash, node_hash, split, tree_root


@dataclass(frozen=True)
class Entry:
    """One leaf: the `position`-th run to become visible."""

    position: int
    run: str
    manifest: str

    def to_bytes(self) -> bytes:
        """The entry as it stands in its file; its leaf hash is over these bytes."""
        return json.dumps(self.__dict__, sort_keys=True).encode() + b"\n"


class Log:
    """The log of one store."""

    def __init__(self, root: Path) -> None:
        self._store = root
        self.root = root / "log"
        self._entries: list[Entry] = []
        self._leaves: list[bytes] = []

    @staticmethod
    def make_key(root: Path) -> str:
        """Draw the signing key of a new store; returns the public key in base64."""
        private = Ed25519PrivateKey.generate()
        raw = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        write_durably(root / "vault" / "signing.key", raw, mode=0o600)
        return base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def foresee(self, entries: list[Entry]) -> None:
        """Take the beginning of the log as known, so that its files need not be read."""
        if len(entries) > len(self._entries):
            self._entries = list(entries)

    def entries(self) -> list[Entry]:
        """All entries, oldest first; reads only those that are new since the last call.

        Raises:
            EarmarkError: an entry is damaged.
        """
        while True:
            path = self.root / f"{len(self._entries):08d}.json"
            try:
                value = json.loads(path.read_bytes())
                self._entries.append(Entry(value["position"], value["run"], value["manifest"]))
            except FileNotFoundError:
                return self._entries
            except (ValueError, KeyError, TypeError) as error:
                raise EarmarkError(f"{path} is damaged ({error!r}) — run: earmark verify") from error

    def append(
        self, run: str, manifest: str, told: Sequence[Path] = (), condition: Callable[[], None] = lambda: None
    ) -> Entry:
        """Make a run visible; `manifest` is the SHA-256 of its manifest, `told` are files and folders that it stands on.

        They are durable before the entry is there, and all of it before this returns. `condition` is called with the log as
        it stands and may raise; if it does not, the entry follows upon just that log.
        """
        temporary = self.root / f".{uuid7()}.tmp"
        try:
            while True:
                entry = Entry(len(self.entries()), run, manifest)
                write_whole(temporary, entry.to_bytes())
                sync([temporary, *told])
                condition()
                try:
                    os.link(temporary, self.root / f"{entry.position:08d}.json")
                except FileExistsError:
                    continue
                break
        finally:
            temporary.unlink(missing_ok=True)
        self.sign()
        return entry

    def leaves(self) -> list[bytes]:
        """Leaf hashes, oldest first."""
        self._leaves += [leaf_hash(e.to_bytes()) for e in self.entries()[len(self._leaves) :]]
        return list(self._leaves)

    def checkpoint(self) -> dict[str, Any]:
        """A freshly signed statement of what the log holds now: size, root, time, origin (digest of earmark.json)."""
        leaves = self.leaves()
        origin = hashlib.sha256((self._store / "earmark.json").read_bytes()).hexdigest()
        size, root, at = len(leaves), tree_root(leaves).hex(), datetime.now(UTC).isoformat(timespec="seconds")
        key = self._store / "vault" / "signing.key"
        try:
            private = Ed25519PrivateKey.from_private_bytes(key.read_bytes())
        except (OSError, ValueError) as error:
            raise EarmarkError(f"{key} cannot be read: {error} — restore it from a backup") from error
        signature = base64.b64encode(private.sign(checkpoint_bytes(origin, size, root, at))).decode()
        return {"size": size, "root": root, "at": at, "origin": origin, "signature": signature}

    def sign(self) -> None:
        """Put a checkpoint over everything in the log, which is durable then, in place of the last one.

        Of two writers the slower may have seen less; it looks again after writing, so the last one to look has seen all.
        """
        path = self.root / "checkpoint.json"
        while True:
            signed = self.checkpoint()
            write_durably(path, checkpoint_text(signed), after=[self.root])
            if len(self.entries()) == signed["size"]:
                break


def inclusion_path(leaves: list[bytes], index: int) -> list[bytes]:
    """Audit path of entry `index`, nearest sibling first (RFC 6962, 2.1.1)."""
    if len(leaves) <= 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*inclusion_path(leaves[:k], index), tree_root(leaves[k:])]
    return [*inclusion_path(leaves[k:], index - k), tree_root(leaves[:k])]


def consistency_path(leaves: list[bytes], first: int) -> list[bytes]:
    """Proof that the first `first` entries are the beginning of all (RFC 6962, 2.1.2)."""

    def walk(m: int, part: list[bytes], whole: bool) -> list[bytes]:
        if m == len(part):
            return [] if whole else [tree_root(part)]
        k = split(len(part))
        if m <= k:
            return [*walk(m, part[:k], whole), tree_root(part[k:])]
        return [*walk(m - k, part[k:], False), tree_root(part[:k])]

    return walk(first, leaves, True) if 0 < first < len(leaves) else []


__all__ = ["Entry", "Log", "consistency_path", "inclusion_path", "leaf_hash", "node_hash", "tree_root"]

"""Checks an export with no Earmark at hand: this file, `verifier.py` beside it, and `cryptography`.

    python check.py [FOLDER] [--key KEY]

1. The checkpoint of the store's log is signed with the key in `proof/earmark.json`; with `--key`, that key (base64) is the
   one which its owner told you.
2. Each run in `proof/inclusion.json` stands in that log, and its manifest, where it is here, is the one that was logged.
3. The files here are those of `proof/files.json`, which is the list that the run which exported them says it wrote.
4. The ids in `proof/members.txt` are the set that it says it exported, or that its model was trained on.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING or __package__:
    from lineage.proof.verifier import Finding, Report, checkpoint_bytes, checkpoint_text, inclusion_holds, leaf_hash
else:
    from verifier import Finding, Report, checkpoint_bytes, checkpoint_text, inclusion_holds, leaf_hash

INCLUSION_FORMAT = "earmark.inclusion.v1"
BUCKET = 16


def listing(folder: Path) -> list[list[str]]:
    """The files of an export but for its proofs, with their SHA-256, sorted."""
    listed = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        relative = path.relative_to(folder).as_posix()
        if not relative.startswith(("proof/", "__pycache__/", ".cache/")):
            with path.open("rb") as stream:
                listed.append([relative, hashlib.file_digest(stream, "sha256").hexdigest()])
    return listed


def text_of(value: Any) -> bytes:
    """The one way in which the proofs are written down."""
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def set_digest(ids: list[bytes]) -> str:
    """Digest of a set of ids: root of the complete binary tree over buckets of ids by their leading bits."""
    ordered = sorted(set(ids))
    depth = max(0, (max(len(ordered), 1) - 1).bit_length() - (BUCKET.bit_length() - 1))
    buckets: list[list[bytes]] = [[] for _ in range(1 << depth)]
    for one in ordered:
        buckets[int.from_bytes(one, "big") >> (128 - depth)].append(one)
    level = [hashlib.sha256(b"\x00" + b"".join(bucket)).digest() for bucket in buckets]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return hashlib.sha256(b"\x02earmark.set.v1" + len(ordered).to_bytes(8, "big") + level[0]).hexdigest()


class Check:
    """One check of one export."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report = Report()

    def run(self, key: str | None = None) -> Report:
        """Run the whole check; `key` is the public key (base64) that the store is known to have."""
        checkpoint = self._checkpoint(key)
        inclusion = self._inclusion()
        manifests = self._manifests(checkpoint, inclusion) if checkpoint else {}
        export = manifests.get(str(inclusion.get("export")))
        if export is None:
            self._find("proof/inclusion.json", "missing", "the run that made this export is not proved")
        else:
            self._payload(export)
            self._members(export)
        self.report.findings.sort()
        return self.report

    def _find(self, file: str, kind: str, detail: str, run: str | None = None) -> None:
        self.report.findings.append(Finding(file, kind, detail, run))

    def _bytes(self, name: str) -> bytes | None:
        try:
            data = (self.folder / name).read_bytes()
        except OSError:
            self._find(name, "missing", "the file is gone")
            return None
        self.report.files += 1
        self.report.bytes += len(data)
        return data

    def _json(self, name: str) -> dict[str, Any] | None:
        data = self._bytes(name)
        try:
            value = None if data is None else json.loads(data)
        except ValueError:
            value = None
            self._find(name, "changed", "it is not JSON")
        return value if isinstance(value, dict) else None

    def _checkpoint(self, key: str | None) -> dict[str, Any] | None:
        marker, value = self._json("proof/earmark.json") or {}, self._json("proof/checkpoint.json")
        if value is None:
            return None
        if key is not None and marker.get("public_key") != key:
            self._find("proof/earmark.json", "changed", "its public key is not the one that you gave")
        try:
            origin, size, root, at = str(value["origin"]), int(value["size"]), str(value["root"]), str(value["at"])
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(marker["public_key"], validate=True))
            public.verify(base64.b64decode(value["signature"], validate=True), checkpoint_bytes(origin, size, root, at))
            if (self.folder / "proof" / "checkpoint.json").read_bytes() != checkpoint_text(value):
                raise ValueError("not in canonical form")
        except (InvalidSignature, ValueError, KeyError, TypeError):
            self._find("proof/checkpoint.json", "unsigned", "its signature does not hold")
            return None
        if hashlib.sha256((self.folder / "proof" / "earmark.json").read_bytes()).hexdigest() != origin:
            self._find("proof/earmark.json", "changed", "it is not the one that the checkpoint was signed for")
        return value

    def _inclusion(self) -> dict[str, Any]:
        value = self._json("proof/inclusion.json")
        if value is None or value.get("format") != INCLUSION_FORMAT:
            return {}
        if (self.folder / "proof" / "inclusion.json").read_bytes() != text_of(value):
            self._find("proof/inclusion.json", "changed", "it is not written as it was")
        return value

    def _manifests(self, checkpoint: dict[str, Any], inclusion: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Manifests of the runs that are proved to stand in the log, by run."""
        proved = {}
        for proof in inclusion.get("proofs", ()):
            try:
                entry = json.loads(proof["entry"])
                run, position, digest = str(entry["run"]), int(entry["position"]), str(entry["manifest"])
                path = [bytes.fromhex(node) for node in proof["path"]]
            except (ValueError, KeyError, TypeError):
                self._find("proof/inclusion.json", "changed", "it holds something that is no proof")
                continue
            leaf, root = leaf_hash(proof["entry"].encode()), bytes.fromhex(checkpoint["root"])
            if not inclusion_holds(leaf, position, int(checkpoint["size"]), path, root):
                self._find("proof/inclusion.json", "changed", "the run does not stand in the log", run)
                continue
            self.report.runs += 1
            name = f"proof/manifests/{run}.json"
            if "/" in run or not (self.folder / name).exists():
                continue
            data = self._bytes(name) or b""
            if hashlib.sha256(data).hexdigest() != digest:
                self._find(name, "changed", "it is not the manifest that was logged", run)
            else:
                proved[run] = json.loads(data)
        return proved

    def _payload(self, export: dict[str, Any]) -> None:
        run, data = export["run"]["id"], self._bytes("proof/files.json")
        if data is None:
            return
        if hashlib.sha256(data).hexdigest() not in export["run"]["outputs"]:
            self._find("proof/files.json", "changed", "it is not the list of files that was exported", run)
            return
        told, found = dict(json.loads(data)), dict(listing(self.folder))
        self.report.files += len(found)
        for name in told.keys() | found.keys():
            if name not in found:
                self._find(name, "missing", "the file is gone", run)
            elif name not in told:
                self._find(name, "inserted", "it was not exported", run)
            elif told[name] != found[name]:
                self._find(name, "changed", "its digest differs", run)

    def _members(self, export: dict[str, Any]) -> None:
        config = export["run"]["config"]
        data = self._bytes("proof/members.txt") if config["samples"] and config["set"] else None
        if data is None:
            return
        try:
            ids = [uuid.UUID(line) for line in data.decode().splitlines()]
        except ValueError:
            ids = []
        digest = set_digest([one.bytes for one in ids])
        if data != "".join(f"{one}\n" for one in ids).encode() or digest != config["set"]:
            self._find("proof/members.txt", "changed", "these are not the ids of the set", export["run"]["id"])


def main() -> int:
    """Check an export from the command line; exit status 1 if anything was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent)
    parser.add_argument("--key", help="the store's public key in base64, as its owner told you")
    arguments = parser.parse_args()
    report = Check(arguments.folder).run(arguments.key)
    for finding in report.findings:
        sys.stdout.write(f"{finding}\n")
    verdict = "intact" if report.ok else f"{len(report.findings)} findings"
    sys.stdout.write(f"{report.runs} runs, {report.files} files: {verdict}\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())

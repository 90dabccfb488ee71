"""Checks a store with no Earmark at hand: one file, needing only the standard library and `cryptography`.

    python verifier.py STORE [--against CHECKPOINT.json] [--deep]

What is checked, from the outside in:

1. `earmark.json` carries the public key; the signing key and the vault's key, where present, are the ones it names.
2. The log's entries are numbered without a gap. Their hashes, as leaves of a Merkle tree in the shape of RFC 6962, lead to
   the root in the newest checkpoint, which is signed with Ed25519; and, with `--against`, to the root of a checkpoint that
   somebody kept elsewhere, so that a rewritten history is caught even when whoever rewrote it holds the signing key.
3. Every entry names a manifest by its SHA-256, and every manifest names its files by theirs (vault files by an HMAC, so
   that a digest gives no transcript away).
4. Nothing lies among a run's files that its manifest does not name. (What a killed writer left of a run that was never
   logged is told apart from that; no reader sees it.)
5. A compaction took no row away and added none. With `--deep` (which needs `pyarrow`) every row is read: the rows of each
   segment ever recorded are put together again from wherever compactions moved them, in the order in which they were
   written, and must have the digest that the segment was logged with.

Writers may be at work meanwhile: what they add after the check began is left for the next one, and what they take away is
looked up in what they logged.

Each finding names the file, the run and the kind of change: changed, missing, truncated, inserted, re-ordered, unsigned.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY_CHECK = b"earmark.vault.key.v1"
PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4)  # seconds to wait for a writer that has logged its run and not signed it yet
FOLDERS = ("tables", "vault", "manifests", "artifacts", "openlineage", "log")


# -- the tree of RFC 6962, section 2.1 ---------------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    """Hash of one log entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """The largest power of two smaller than `size` (> 1)."""
    return 1 << (size - 1).bit_length() - 1


def tree_root(leaves: list[bytes]) -> bytes:
    """Merkle tree hash of leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(tree_root(leaves[:k]), tree_root(leaves[k:]))


def inclusion_holds(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    """Whether `path` shows that `leaf` is entry `index` of the log of `size` entries with that root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def consistency_holds(first: int, second: int, path: list[bytes], first_root: bytes, second_root: bytes) -> bool:
    """Whether `path` shows that the log of `first` entries is the beginning of that of `second` (RFC 9162, 2.1.4.2)."""
    if first == second:
        return not path and first_root == second_root
    if not 0 < first < second or not path:
        return first == 0
    if first & (first - 1) == 0:
        path = [first_root, *path]
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


def checkpoint_bytes(origin: str, size: int, root: str, at: str) -> bytes:
    """What a checkpoint's signature is over."""
    return f"earmark.checkpoint.v1\n{origin}\n{size}\n{root}\n{at}\n".encode()


# -- rows --------------------------------------------------------------------------------------------------------------

ROWS_TAG = b"earmark.rows.v1"
ORIGINS = ".origins.parquet"  # beside a compacted segment: the segment and the row in it where each row was recorded
BY = "_by_"  # in the name of a copy of a table in another order, e.g. edges_by_parent
AGAIN = "_again"  # ends the name of what holds rows that repeat a row of the table
ROWS_AT_ONCE = 2_000_000


def row_bytes(rows: Any) -> Iterator[Any]:
    """The rows of an Arrow table as bytes that depend on their values and their order alone.

    Column by column, by name: the name, which rows have a value, the values. `run_id` is left out, being that of the
    segment's run, and so are columns without a value, so that a column that later versions add changes no digest.
    """
    yield ROWS_TAG + rows.num_rows.to_bytes(8, "big")
    for name in sorted(rows.column_names):
        column = rows[name]
        if name != "run_id" and column.null_count < rows.num_rows:
            yield name.encode() + b"\x00"
            yield from _value_bytes(column.chunks)


def _value_bytes(chunks: list[Any]) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = [c for c in chunks if len(c)]
    holes = any(c.null_count for c in chunks)
    yield b"\x01" if holes else b"\x00"
    if holes:
        for c in chunks:
            yield _fixed(c.is_valid().cast(pa.uint8()), 1)
        chunks = [c.drop_null() for c in chunks]
    chunks = [c.storage if isinstance(c, pa.ExtensionArray) else c for c in chunks]
    if not chunks:
        return
    kind = chunks[0].type
    if pa.types.is_map(kind):
        entry = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        chunks, kind = [c.cast(pa.list_(entry)) for c in chunks], pa.list_(entry)
    if pa.types.is_list(kind):
        for c in chunks:
            yield _fixed(pc.list_value_length(c), 4)
        yield from _value_bytes([c.flatten() for c in chunks])
    elif pa.types.is_struct(kind):
        for fields in zip(*(c.flatten() for c in chunks), strict=True):
            yield from _value_bytes(list(fields))
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        for c in chunks:
            yield _fixed(pc.binary_length(c), 4)
        for c in chunks:
            offsets = memoryview(c.buffers()[1]).cast("i")
            yield memoryview(c.buffers()[2] or b"")[offsets[c.offset] : offsets[c.offset + len(c)]]
    else:
        for c in chunks:
            yield _fixed(c, kind.bit_width // 8)


def _fixed(values: Any, width: int) -> memoryview:
    """The bytes of values of a fixed width, none null."""
    return memoryview(values.buffers()[1])[values.offset * width : (values.offset + len(values)) * width]


def rows_digest(rows: Any, key: bytes | None = None) -> str:
    """SHA-256 (hex) of `row_bytes`; of personal rows, which could be guessed from it, the HMAC with the vault's key."""
    state = hashlib.sha256() if key is None else hmac.new(key, digestmod="sha256")
    for part in row_bytes(rows):
        state.update(part)
    return state.hexdigest()


# -- the check ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong; `kind` is changed, missing, truncated, inserted, re-ordered or unsigned."""

    file: str
    kind: str
    detail: str
    run: str | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.kind} — {self.detail}" + (f" (run {self.run})" if self.run else "")


@dataclass
class Report:
    """The outcome: `ok` if nothing was found."""

    files: int = 0
    bytes: int = 0
    runs: int = 0
    findings: list[Finding] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)  # of killed writers; no reader sees them
    unerased: list[str] = field(default_factory=list)  # what an erasure took away and was killed before it deleted it

    @property
    def ok(self) -> bool:
        """Whether the record is as it was written."""
        return not self.findings


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hmac(path: Path, key: bytes) -> str:
    mac = hmac.new(key, digestmod="sha256")
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            mac.update(block)
    return mac.hexdigest()


def artifact_digest(path: Path) -> str:
    """Digest of an artifact: of the file's bytes, or of the canonical list of a folder's files and their digests."""
    if path.is_file():
        return _sha256(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    listed = [[p.relative_to(path).as_posix(), _sha256(p)] for p in files]
    return hashlib.sha256(json.dumps(listed, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


class Verifier:
    """One check of one store."""

    def __init__(self, root: Path, progress: Callable[[int, int, str], None] | None = None) -> None:
        self.root = root
        self.report = Report()
        self._progress = progress
        self._named: set[str] = set()
        self._entry_count = 0

    def check(self, against: Path | None = None, deep: bool = False) -> Report:
        """Run the whole check; `deep` reads every row as well."""
        marker = self._marker()
        entries, checkpoint = self._settled(self._entries())
        self._entry_count = len(entries)
        self._checkpoints(entries, checkpoint, marker, against)
        manifests = self._manifests(entries)
        self._files(manifests)
        self._compactions(manifests)
        if deep:
            self._rows(manifests)
        self._strangers()
        self.report.findings.sort()
        return self.report

    def _find(self, file: str, kind: str, detail: str, run: str | None = None) -> None:
        self.report.findings.append(Finding(file, kind, detail, run))

    def _read(self, relative: str, run: str | None = None) -> bytes | None:
        self._named.add(relative)
        try:
            data = (self.root / relative).read_bytes()
        except OSError:
            self._find(relative, "missing", "the file is gone", run)
            return None
        self.report.files += 1
        self.report.bytes += len(data)
        return data

    def _marker(self) -> dict[str, Any]:
        data = self._read("earmark.json")
        try:
            marker: dict[str, Any] = json.loads(data or b"")
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(marker["public_key"], validate=True))
        except (ValueError, KeyError, TypeError):
            if data is not None:
                self._find("earmark.json", "changed", "it carries no valid public key")
            return {}
        signing = self.root / "vault" / "signing.key"
        self._named.add("vault/signing.key")
        if signing.exists():
            try:
                own = Ed25519PrivateKey.from_private_bytes(signing.read_bytes()).public_key()
            except ValueError:
                own = None
            raw = (Encoding.Raw, PublicFormat.Raw)
            if own is None or own.public_bytes(*raw) != public.public_bytes(*raw):
                self._find("vault/signing.key", "changed", "it is not the key that earmark.json names")
        key = self.root / "vault" / "key"
        self._named.add("vault/key")
        if key.exists() and hmac.digest(key.read_bytes(), KEY_CHECK, "sha256").hex() != marker.get("key_check"):
            self._find("vault/key", "changed", "it is not the key that earmark.json names")
        return marker

    def _entries(self) -> list[bytes]:
        folder = self.root / "log"
        names = sorted(p.name for p in folder.glob("*.json") if p.stem.isdigit()) if folder.is_dir() else []
        entries = []
        for position, name in enumerate(names):
            if int(name.split(".")[0]) != position:
                self._find(f"log/{position:08d}.json", "missing", "the log has a gap here")
                for rest in names[position:]:
                    self._named.add(f"log/{rest}")
                break
            entries.append(self._read(f"log/{name}") or b"")
        return entries

    def _settled(self, entries: list[bytes]) -> tuple[list[bytes], bytes | None]:
        """The entries and the checkpoint over them, while writers may be adding to both."""
        for pause in PAUSES:
            time.sleep(pause)
            data = self._read("log/checkpoint.json")
            try:
                size = int(json.loads(data or b"")["size"])
            except (ValueError, KeyError, TypeError):
                break
            while len(entries) < size and (self.root / f"log/{len(entries):08d}.json").exists():
                entries.append(self._read(f"log/{len(entries):08d}.json") or b"")
            if size >= len(entries):
                break
        return entries, data

    def _checkpoints(
        self, entries: list[bytes], data: bytes | None, marker: dict[str, Any], against: Path | None
    ) -> None:
        leaves = [leaf_hash(e) for e in entries]
        if data is not None:
            self._checkpoint("log/checkpoint.json", data, leaves, marker)
        if against is not None:
            try:
                kept = against.read_bytes()
            except OSError as error:
                self._find(str(against), "missing", f"the checkpoint cannot be read: {error.strerror}")
                return
            self._checkpoint(str(against), kept, leaves, marker)

    def _checkpoint(self, name: str, data: bytes, leaves: list[bytes], marker: dict[str, Any]) -> None:
        try:
            value = json.loads(data)
            size, root, at, origin = int(value["size"]), str(value["root"]), str(value["at"]), str(value["origin"])
            signature = base64.b64decode(value["signature"], validate=True)
            if set(value) != {"size", "root", "at", "origin", "signature"} or data != checkpoint_text(value):
                raise ValueError("not in canonical form")
        except (ValueError, KeyError, TypeError) as error:
            self._find(name, "changed", f"it is no checkpoint: {error!r}")
            return
        digest = hashlib.sha256((self.root / "earmark.json").read_bytes()).hexdigest() if marker else ""
        if origin != digest:
            self._find("earmark.json", "changed", f"its digest is not the origin that {name} was signed for")
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(marker.get("public_key", "")))
            key.verify(signature, checkpoint_bytes(origin, size, root, at))
        except (InvalidSignature, ValueError):
            self._find(name, "unsigned", "its signature does not hold")
            return
        if size > len(leaves):
            self._find("log", "truncated", f"{name} was signed over {size} entries, there are {len(leaves)}")
        elif tree_root(leaves[:size]).hex() != root:
            self._find("log", "changed", f"the first {size} entries are not the ones that {name} was signed over")
        elif name == "log/checkpoint.json" and size < len(leaves):
            self._find("log", "inserted", f"{len(leaves) - size} entries after the newest checkpoint are not signed")

    def _manifests(self, entries: list[bytes]) -> list[dict[str, Any]]:
        manifests = []
        for position, entry in enumerate(entries):
            name = f"log/{position:08d}.json"
            try:
                value = json.loads(entry)
                run, digest = str(value["run"]), str(value["manifest"])
                if int(value["position"]) != position:
                    self._find(name, "re-ordered", f"it was entry {value['position']}", run)
            except (ValueError, KeyError, TypeError):
                self._find(name, "changed", "it is no log entry")
                continue
            relative = f"manifests/{run}.json"
            data = self._read(relative, run)
            if data is None:
                continue
            if hashlib.sha256(data).hexdigest() != digest:
                self._find(relative, "changed", "it is not the manifest that was logged", run)
                continue
            manifests.append(json.loads(data))
        self.report.runs = len(manifests)
        return manifests

    def _files(self, manifests: list[dict[str, Any]]) -> None:
        removed: set[str] = set()
        for m in manifests:
            removed.difference_update(f"artifacts/{d[:2]}/{d}" for d in m["artifacts"])  # kept again
            removed.update(m["removed"])
        erased = {path for m in manifests if m["run"]["kind"] == "erase" for path in m["removed"]} & removed
        self.report.unerased = sorted(path for path in erased if (self.root / path).exists())
        self._named |= removed
        key = self.root / "vault" / "key"
        secret = key.read_bytes() if key.exists() else None
        # what was replaced may still be read by who listed it before, so as long as it lies there it is checked
        work = list(self._listed(manifests, erased | {p for p in removed if not (self.root / p).exists()}))
        for done, (relative, run, digest, size, kind) in enumerate(work):
            if self._progress is not None:
                self._progress(done, len(work), relative)
            self._named.add(relative)
            try:
                self._file(relative, run, digest, size, kind, secret)
            except FileNotFoundError:
                if relative not in removed and not self._taken_since(relative):
                    self._find(relative, "missing", "the file is gone", run)

    def _file(self, relative: str, run: str, digest: str, size: int, kind: str, secret: bytes | None) -> None:
        path = self.root / relative
        found = path.stat().st_size
        self.report.files += 1
        if kind == "artifact":
            if artifact_digest(path) != digest:
                self._find(relative, "changed", "its content is not what its name says", run)
            return
        self.report.bytes += found
        if found < size:
            self._find(relative, "truncated", f"{found} bytes are left of {size}", run)
        elif kind == "vault" and secret is None:
            return  # an export without the vault's key: public record only
        elif (_hmac(path, secret) if kind == "vault" and secret else _sha256(path)) != digest:
            self._find(relative, "changed", "its digest differs", run)

    def _taken_since(self, relative: str) -> bool:
        """Whether a run logged after the check began took the file away."""
        position = self._entry_count
        while (entry := self.root / f"log/{position:08d}.json").exists():
            manifest = _json(self.root / "manifests" / f"{_json(entry)['run']}.json")
            if relative in manifest["removed"]:
                return True
            position += 1
        return False

    @staticmethod
    def _listed(manifests: list[dict[str, Any]], gone: set[str]) -> Iterator[tuple[str, str, str, int, str]]:
        seen: set[str] = set()
        for m in manifests:
            run = m["run"]["id"]
            for kind in ("segments", "vault", "files"):
                for s in m[kind]:
                    if s["path"] not in gone:
                        yield s["path"], run, s["digest"], s["bytes"], kind
            for digest in m["artifacts"]:
                path = f"artifacts/{digest[:2]}/{digest}"
                if path not in gone and path not in seen:
                    seen.add(path)
                    yield path, run, digest, 0, "artifact"

    # -- rows that compactions moved -------------------------------------------------------------------------------------

    def _compactions(self, manifests: list[dict[str, Any]]) -> None:
        """No compaction took a row away or added one, by the numbers that the manifests give."""
        known: dict[str, int] = {}
        for m in manifests:
            listed = {s["path"]: int(s["rows"]) for s in (*m["segments"], *m["vault"])}
            known.update(listed)
            if m["run"]["kind"] != "compact":
                continue
            moved = {s["path"].removesuffix(ORIGINS) + ".parquet" for s in m["files"] if s["path"].endswith(ORIGINS)}
            before, after = Counter[str](), Counter[str]()
            for path in m["removed"]:
                before[_table(path)[0]] += known.get(path, 0) if BY not in path else 0
            for path in moved:
                after["".join(_table(path))] += listed.get(path, 0)
            run = m["run"]["id"]
            for name in after:
                table, copy = name.split(BY)[0], BY in name
                rows = after[name] - (after[table] if copy else before[table] - after[table + AGAIN])
                if rows and not name.endswith(AGAIN):
                    self._find(f"manifests/{run}.json", "changed", f"its compaction of {name} is {rows:+} rows", run)

    def _rows(self, manifests: list[dict[str, Any]]) -> None:
        """The rows of every segment ever recorded are those that it was logged with, wherever they lie now."""
        listed = {s["path"]: (s, m["run"]["id"]) for m in manifests for s in (*m["segments"], *m["vault"])}
        moved = {s["path"] for m in manifests for s in m["files"] if s["path"].endswith(ORIGINS)}
        taken = {p: m["run"]["kind"] for m in manifests for p in m["removed"]}
        compacted: dict[str, list[str]] = {}  # by table and copy, those that are there
        recorded: dict[str, list[str]] = {}  # by table, those whose rows compactions moved
        erased: set[str] = set()  # tables of which compacted rows were taken away since
        for path, (s, run) in listed.items():
            table, copy = _table(path)
            if path.removesuffix(".parquet") + ORIGINS in moved:
                if path not in taken:
                    compacted.setdefault(table + copy, []).append(path)
                elif taken[path] != "compact":
                    erased.add(table)
            elif taken.get(path) == "compact" and s.get("logical"):
                recorded.setdefault(table, []).append(path)
            elif path not in taken and s.get("logical"):
                self._same(path, run, s, _read_rows(self.root / path))
        for name, paths in sorted(compacted.items()):
            table = name.split(BY)[0]
            if not name.endswith(AGAIN):
                paths = paths + compacted.get(table + AGAIN, [])
                for group in _groups(recorded.get(table, []), {p: s["rows"] for p, (s, _) in listed.items()}):
                    found = self._put_together(paths, group)
                    for path in group:
                        s, run = listed[path]
                        rows = found.get(path)
                        if rows is None and BY in name:
                            continue  # compacted before there was this copy
                        if (rows is None or rows.num_rows < s["rows"]) and table in erased:
                            continue
                        self._same(path, run, s, rows, f"those that {name} has of it")

    def _same(self, path: str, run: str, listed: dict[str, Any], rows: Any, which: str = "its rows") -> None:
        key = self.root / "vault" / "key"
        if path.startswith("vault/") and not key.exists():
            return
        if rows is None or rows.num_rows != listed["rows"]:
            there = 0 if rows is None else rows.num_rows
            self._find(path, "changed", f"{which} are {there} rows of {listed['rows']}", run)
        elif rows_digest(rows, key.read_bytes() if path.startswith("vault/") else None) != listed["logical"]:
            self._find(path, "changed", f"{which} are not the rows that were recorded", run)

    def _put_together(self, compacted: list[str], group: list[str]) -> dict[str, Any]:
        """The rows of the segments of `group`, each in the order in which it was written."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        names = {uuid.UUID(Path(path).stem).bytes: path for path in group}
        wanted = pa.array(list(names), pa.binary(16))
        parts: list[Any] = []
        for path in compacted:
            data = pq.ParquetFile(self.root / path)
            origins = pq.ParquetFile(self.root / (path.removesuffix(".parquet") + ORIGINS))
            for i in range(origins.num_row_groups):
                origin = origins.read_row_group(i)
                segment = origin["segment"].cast(pa.binary(16))
                mask = pc.is_in(segment, value_set=wanted)
                if pc.any(mask).as_py():
                    rows = data.read_row_group(i).append_column("#segment", segment)
                    parts.append(rows.append_column("#row", origin["row"]).filter(mask))
        if not parts:
            return {}
        rows = pa.concat_tables(parts, promote_options="default")
        rows = rows.take(pc.sort_indices(rows, sort_keys=[("#segment", "ascending"), ("#row", "ascending")]))
        ends = pc.run_end_encode(rows["#segment"].combine_chunks())
        found, start = {}, 0
        for name, end in zip(ends.values.to_pylist(), ends.run_ends.to_pylist(), strict=True):
            mine = rows.slice(start, end - start)
            run = Path(names[name]).parent.name
            in_order = mine["#row"].to_pylist() == list(range(end - start))
            own = pc.all(pc.equal(mine["run_id"], run)).as_py()
            found[names[name]] = mine.drop_columns(["#segment", "#row"]) if in_order and own else None
            start = end
        return found

    def _strangers(self) -> None:
        # os.walk passes over folders that a compaction removes meanwhile
        for path in sorted(Path(folder) / name for folder, _, names in os.walk(self.root) for name in names):
            if not path.is_file():
                continue
            relative = path.relative_to(self.root).as_posix()
            if relative in self._named or any(p.as_posix() in self._named for p in Path(relative).parents):
                continue
            if path.parent == self.root / "log" and path.stem.isdigit() and int(path.stem) >= self._entry_count:
                continue  # logged after the check began
            if path.name.endswith(".tmp") or self._unfinished(relative):
                self.report.leftovers.append(relative)
            elif relative.split("/")[0] in FOLDERS:
                self._find(relative, "inserted", "no logged run names this file")

    def _unfinished(self, relative: str) -> bool:
        """Whether the file belongs to a run that was never logged."""
        parts = relative.split("/")
        if parts[0] == "artifacts":
            return True
        run = parts[2] if parts[0] in ("tables", "vault") and len(parts) == 4 else Path(relative).stem
        return (
            parts[0] in ("tables", "vault", "manifests", "openlineage") and f"manifests/{run}.json" not in self._named
        )


def _table(path: str) -> tuple[str, str]:
    """Folder and table of a segment, and which copy of the table it belongs to: '' is the one that queries see."""
    folder, name = path.split("/")[:2]
    for mark in (BY, AGAIN):
        if mark in name:
            return f"{folder}/{name[: name.index(mark)]}", name[name.index(mark) :]
    return f"{folder}/{name}", ""


def _groups(paths: list[str], rows: dict[str, int]) -> Iterator[list[str]]:
    """Segments by the few, so that their rows fit into memory together."""
    group: list[str] = []
    total = 0
    for path in paths:
        if group and total + rows[path] > ROWS_AT_ONCE:
            yield group
            group, total = [], 0
        group.append(path)
        total += rows[path]
    if group:
        yield group


def _read_rows(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read()


def checkpoint_text(value: dict[str, Any]) -> bytes:
    """The one way a checkpoint is written down."""
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def verify(
    root: Path,
    against: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    deep: bool = False,
) -> Report:
    """Check the store at `root`; `against` is a checkpoint kept elsewhere, `deep` reads every row."""
    return Verifier(root, progress).check(against, deep)


def main() -> int:
    """Check a store from the command line; exit status 1 if anything was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--against", type=Path, help="a checkpoint that was kept elsewhere")
    parser.add_argument("--deep", action="store_true", help="read every row, not only every byte")
    arguments = parser.parse_args()
    report = verify(arguments.store, arguments.against, deep=arguments.deep)
    for finding in report.findings:
        sys.stdout.write(f"{finding}\n")
    verdict = "intact" if report.ok else f"{len(report.findings)} findings"
    sys.stdout.write(f"{report.runs} runs, {report.files} files, {report.bytes} bytes: {verdict}\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())

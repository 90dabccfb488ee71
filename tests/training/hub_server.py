"""A small hub on loopback: repositories in memory, behind those endpoints that `huggingface_hub` calls, over real HTTP.

It is as strict as the hub about what matters here: writing needs the token; a bulk file is committed only if it has been
uploaded whole under its digest; a commit is all or nothing. `faults` are put before the next requests that match.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_notARealTokenButLongEnough0123456789"
BULK = (".safetensors", ".arrow")
PREFIXES = {"datasets/": "dataset", "spaces/": "space"}


@dataclass
class Repo:
    """Branches, each a list of commits; a commit is its files by path, each the bytes themselves."""

    private: bool
    sdk: str | None
    branches: dict[str, list[dict[str, bytes]]] = field(default_factory=lambda: {"main": [{".gitattributes": b""}]})

    def commit_id(self, files: dict[str, bytes], number: int) -> str:
        listed = [[p, hashlib.sha256(c).hexdigest()] for p, c in sorted(files.items())]
        return hashlib.sha1(json.dumps([number, listed]).encode()).hexdigest()

    def head(self, branch: str) -> str:
        commits = self.branches[branch]
        return self.commit_id(commits[-1], len(commits))

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        for commits in self.branches.values():
            for number, files in enumerate(commits, start=1):
                sha = self.commit_id(files, number)
                if sha == revision:
                    return sha, files
        if revision in self.branches:
            return self.head(revision), self.branches[revision][-1]
        return None


@dataclass
class Fault:
    """What befalls the next `times` requests whose 'METHOD /path' the pattern is found in: see `Hub.fail`."""

    pattern: str
    how: str | Callable[[], None]
    times: int


class Hub:
    """The state of the hub and what was asked of it."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.bulk: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.url = ""

    def fail(self, pattern: str, how: str | Callable[[], None] = "500", times: int = 1) -> None:
        """'500' answers so; 'drop' closes the connection before, 'lose' after the request took effect; or call."""
        self.faults.append(Fault(pattern, how, times))

    def fault(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, r)) for r in self.requests)

    def published(self, repo: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        found = self.repos[kind, repo].files(revision)
        assert found is not None
        return found[1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one go
    disable_nagle_algorithm = True
    hub: Hub

    def log_message(self, *_: object) -> None: ...

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = b"".join(iter(self._chunk, b"")) if chunked else self.rfile.read(size)
        url = urlsplit(self.path)
        request = f"{self.command} {unquote(url.path)}"
        self.hub.requests.append(request)
        fault = self.hub.fault(request)
        if fault is not None and fault.how != "lose":
            if callable(fault.how):
                fault.how()
            if fault.how == "500":
                self._answer(500, b"out of order")
                return
            self.close_connection = True
            return
        with self.hub.lock:
            status, content, headers = self._result(unquote(url.path), parse_qs(url.query), body)
        if fault is not None:
            self.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._answer(status, data, headers)

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _result(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any, dict[str, str]]:
        may = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if path.startswith("/bulk/"):
            oid = path.removeprefix("/bulk/")
            if hashlib.sha256(body).hexdigest() != oid:
                return 400, b"not that object", {}
            self.hub.bulk[oid] = body
            return 200, b"", {}
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body))
        if self.command == "POST" and not may:
            return 401, {"error": "Invalid credentials"}, {}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        lfs = re.fullmatch(r"/((?:datasets/|spaces/)?)[^/]+/[^/]+\.git/info/lfs/objects/batch", path)
        if lfs:
            return self._batch(json.loads(body))
        api = re.fullmatch(r"/api/(model|dataset|space)s/([^/]+/[^/]+)(?:/([a-z-]+)(?:/(.+))?)?", path)
        if api:
            kind, name, action, rest = api.groups()
            repo = self.hub.repos.get((kind, name))
            if repo is None or (repo.private and not may):
                return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
            return self._api(repo, name, action, rest or "main", query, body)
        file = re.fullmatch(r"/((?:datasets/|spaces/)?)([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if file:
            return self._file(*file.groups(), may)
        return 404, {"error": path}, {}

    def _validate(self, asked: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        import yaml

        match = re.match(r"---\n(.*?)\n---(\n|$)", asked["content"], re.DOTALL)
        good = match is not None and isinstance(yaml.safe_load(match[1]), dict)
        return (200, {"errors": [], "warnings": []}, {}) if good else (400, {"errors": [{"message": "no YAML"}]}, {})

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        kind, name = asked.get("type") or "model", f"{asked['organization']}/{asked['name']}"
        prefix = {"model": "", "dataset": "datasets/", "space": "spaces/"}[kind]
        url = {"url": f"{self.hub.url}/{prefix}{name}"}
        if (kind, name) in self.hub.repos:
            return 409, {"error": "You already created this repo", **url}, {}
        if asked["organization"] == "somebody-else":
            return 403, {"error": "You don't have the rights"}, {}
        self.hub.repos[kind, name] = Repo(asked.get("visibility") == "private", asked.get("sdk"))
        return 200, url, {}

    def _batch(self, asked: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        objects = []
        for wanted in asked["objects"]:
            told = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.bulk:
                told["actions"] = {"upload": {"href": f"{self.hub.url}/bulk/{wanted['oid']}"}}
            objects.append(told)
        return 200, {"transfer": "basic", "objects": objects}, {}

    def _api(
        self, repo: Repo, name: str, action: str | None, rest: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        if action == "branch":
            if rest in repo.branches:
                return 409, {"error": "Reference already exists"}, {}
            repo.branches[rest] = [dict(repo.branches["main"][-1])]
            return 200, {}, {}
        if action == "super-squash":
            repo.branches[rest] = repo.branches[rest][-1:]
            return 200, {}, {}
        if action == "commit":
            return self._commit(repo, name, rest, body)
        revision, _, below = rest.partition("/")
        found = repo.files(revision)
        if found is None:
            return 404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"}
        sha, files = found
        if action == "preupload":
            told = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(BULK) else "regular",
                    "shouldIgnore": False,
                    "oid": _oid(f["path"], files[f["path"]]) if f["path"] in files else None,
                }
                for f in json.loads(body)["files"]
            ]
            return 200, {"files": told}, {}
        if action == "tree":
            told = [_entry(path, content) for path, content in sorted(files.items()) if path.startswith(below)]
            return (200, told, {}) if told else (404, {"error": below}, {"X-Error-Code": "EntryNotFound"})
        return 200, {"id": name, "sha": sha, "private": repo.private, "siblings": [{"rfilename": p} for p in files],
                     "tags": []}, {}  # fmt: skip

    def _commit(self, repo: Repo, name: str, branch: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        files = dict(repo.branches[branch][-1])
        for line in body.decode().splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                if value["oid"] not in self.hub.bulk:
                    return 400, {"error": f"{value['path']} was not uploaded"}, {}
                files[value["path"]] = self.hub.bulk[value["oid"]]
            elif key == "deletedFile" and files.pop(value["path"], None) is None:
                return 404, {"error": "A file with this name doesn't exist"}, {"X-Error-Code": "EntryNotFound"}
        repo.branches[branch].append(files)
        sha = repo.head(branch)
        return 200, {"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha}, {}

    def _file(self, prefix: str, name: str, revision: str, path: str, may: bool) -> tuple[int, Any, dict[str, str]]:
        repo = self.hub.repos.get((PREFIXES.get(prefix, "model"), name))
        found = repo.files(revision) if repo is not None and (may or not repo.private) else None
        if found is None:
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        sha, files = found
        if path not in files:
            return 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha}
        content = files[path]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{_oid(path, content)}"', "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return 206, content[first : last + 1], headers
        return 200, content, headers


def _oid(path: str, content: bytes) -> str:
    if path.endswith(BULK):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\x00" % len(content) + content).hexdigest()


def _entry(path: str, content: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _oid(path, content)}
    if path.endswith(BULK):
        told["lfs"] = {"oid": _oid(path, content), "size": len(content), "pointerSize": 134}
    return told


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub for as long as the block lasts, at `hub.url`."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

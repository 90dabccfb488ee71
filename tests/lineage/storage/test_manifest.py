"""What a manifest tells is what was put into it, and nothing outside of the store."""

from __future__ import annotations

import json

import pytest

from lineage.storage.manifest import Manifest
from lineage.store import Store
from tests.lineage.conftest import ids, rows


@pytest.fixture
def manifest(store: Store) -> Manifest:
    with store.run("ingest", config={"from": "here"}, seed=1) as run:
        run.append("samples", rows(ids(2), attributes={"age": "30"}))
        run.append("transforms", [{"transform_id": "t", "name": "cut", "parameters": "{}", "code_version": "1"}])
        run.put(b"kept")
        run.keep("members", "beside", b"more")
    return store.manifests()[-1]


def test_as_json_it_is_the_same(manifest: Manifest) -> None:
    assert manifest.artifacts
    assert len(manifest.files) == 2
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


@pytest.mark.parametrize("path", ["/etc/passwd", "tables/../earmark.json", "log/1", "tables/a b"])
def test_one_that_names_files_elsewhere_is_none(manifest: Manifest, path: str) -> None:
    with pytest.raises(ValueError, match="is no place in a store"):
        Manifest.from_json({**manifest.to_json(), "removed": [path]})

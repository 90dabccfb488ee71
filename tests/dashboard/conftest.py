"""One small store for all tests of the dashboard, and ways to look at a page without a browser."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.serve import running
from lineage.store import Store
from tests.dashboard import stores

Look = Callable[..., AppTest]


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> stores.Known:
    folder = tmp_path_factory.mktemp("dashboard")
    return stores.whole(folder / "store", folder / "corpus")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stores.empty(tmp_path_factory.mktemp("bare") / "store")


@pytest.fixture(scope="session")
def _recorded(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("recorded")
    return stores.recorded(folder / "store", folder / "corpus")


@pytest.fixture
def own(_recorded: Store, tmp_path: Path) -> Store:
    """A store with recordings and sets that a test may spoil or add to."""
    shutil.copytree(_recorded.root, tmp_path / "own")
    return Store.open(tmp_path / "own")


def _script(module: str) -> None:
    import importlib

    importlib.import_module(module).VIEW.show()


@pytest.fixture
def look(known: stores.Known, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Run one page over a store, with an address: `look('slices', slice='accent=scot')`."""

    def run(view: str, store: Store | None = None, **address: str) -> AppTest:
        monkeypatch.setenv("EARMARK_STORE", str((store or known.store).root))
        page = AppTest.from_function(_script, args=(f"dashboard.views.{view}",), default_timeout=30)
        page.query_params.update(address)
        page.run()
        assert not page.exception, page.exception
        return page

    return run


def html(page: AppTest) -> str:
    """All HTML of a page, in order."""
    parts: list[str] = []
    main, sidebar, dialogs = (page._tree[i] for i in range(3))
    for element in (*main, *sidebar, *dialogs):
        proto: Any = getattr(element, "proto", None)
        if element.type == "html":
            parts.append(proto.body)
        elif element.type == "bidi_component":
            parts.append(json.loads(proto.json or proto.mixed.json)["html"])
    return "\n".join(parts)


def address(page: AppTest, name: str) -> str | None:
    """What the address says under a name."""
    value = page.query_params.get(name)
    return value[0] if isinstance(value, list) else value


@pytest.fixture
def sources() -> dict[str, str]:
    """The dashboard's source files by their path in the package."""
    root = Path(__file__).parents[2] / "dashboard"
    return {p.relative_to(root).as_posix(): p.read_text(encoding="utf-8") for p in root.rglob("*.py")}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(known: stores.Known) -> Iterator[str]:
    """The URL of a real server over the store."""
    with running(known.store.root, free_port()) as url:
        yield url

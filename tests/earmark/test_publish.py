"""Publishing as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineage.store import Store
from tests.earmark.test_cli import earmark
from tests.training.conftest import _populate
from tests.training.conftest import hub as hub  # the fixture
from tests.training.hub_server import TOKEN, Hub


@pytest.fixture
def store(here: Path) -> Store:
    made = Store.init(here / "earmark-store")
    _populate(made, "said", 4, seed=3)
    return made


def test_a_set_is_published_and_where_is_told(store: Store, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    earmark("publish", "dataset", "said", "--to", "ann/said", "--licence", "CC0-1.0")
    told = capsys.readouterr()
    assert f"said: {hub.url}/datasets/ann/said/tree/main" in told.out
    assert hub.repos["dataset", "ann/said"].head("main") in told.out
    Path("use.md").write_text("For counting.")
    earmark("publish", "dataset", "said", "--to", "ann/said", "--intended-use", "use.md", "--json", "--public")
    told = capsys.readouterr()
    value = json.loads(told.out)
    assert (value["repo"], value["revision"]) == ("ann/said", hub.repos["dataset", "ann/said"].head("main"))
    assert "no licence is on record" in value["remarks"][0]
    assert b"For counting." in hub.published("ann/said", "dataset")["README.md"]
    earmark("impact", "--speaker", "said-0")
    assert "datasets/ann/said" in capsys.readouterr().out
    assert TOKEN not in told.out + told.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("dataset", "said", "--to", "said"), "write owner/name"),
        (("dataset", "sad", "--to", "ann/said"), "did you mean 'said'"),
        (("dataset", "said", "--to", "ann/said", "--intended-use", "none.md"), "give a Markdown file"),
        (("dataset", "said", "--to", "ann/said", "--licence", "(free"), "write SPDX"),
        (("model", "nothing", "--to", "ann/m"), "no model 'nothing'"),
        (("space", "nothing", "--to", "ann/m"), "no model 'nothing'"),
    ],
)
def test_mistakes_are_told_in_a_line_before_anything_is_sent(
    store: Store, hub: Hub, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str
) -> None:
    earmark("publish", *arguments, status=2)
    assert problem in capsys.readouterr().err
    assert not hub.requests

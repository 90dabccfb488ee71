from __future__ import annotations

from pathlib import Path

import pytest

from influence.causes.graph import CausalGraph
from lineage.errors import EarmarkError


def test_the_same_graph_in_every_spelling(tmp_path: Path) -> None:
    chain = "device -> accent -> errors; device -> errors"
    wanted = CausalGraph.parse(chain)
    (tmp_path / "g.dot").write_text(
        'digraph { rankdir=LR; device -> accent [color=red]; "accent" -> errors; device -> errors }'
    )
    (tmp_path / "g.yaml").write_text("causes:\n  edges:\n    - device -> accent -> errors\n    - device -> errors\n")
    for name in ("g.dot", "g.yaml"):
        assert CausalGraph.load(tmp_path / name) == wanted
    assert CausalGraph.parse(wanted.model_dump(mode="json")) == wanted


@pytest.mark.parametrize(
    ("edges", "unobserved", "adjust"),
    [
        ("noise -> accent -> errors; noise -> errors", (), ("noise",)),  # a confounder
        ("accent -> speaking_rate -> errors", (), ()),  # a mediator stays
        ("accent -> picked; noise -> picked; accent -> errors; noise -> errors", (), ()),  # a collider, too
        (
            "home -> accent; home -> device -> errors; accent -> errors",
            ("home",),
            ("device",),
        ),  # a door closed half way
    ],
)
def test_back_doors_are_closed_and_nothing_else(
    edges: str, unobserved: tuple[str, ...], adjust: tuple[str, ...]
) -> None:
    graph = CausalGraph.parse({"edges": edges, "unobserved": unobserved})
    assert graph.adjustment("accent") == adjust


def test_an_open_door_is_said_to_be_open() -> None:
    graph = CausalGraph.parse({"edges": "home -> accent -> errors; home -> errors", "unobserved": ["home"]})
    with pytest.raises(EarmarkError, match="back door stays open through home"):
        graph.adjustment("accent")
    with pytest.raises(EarmarkError, match="no observed node"):
        graph.adjustment("home")
    with pytest.raises(EarmarkError, match="does not act on errors"):
        CausalGraph.parse("accent -> noise; device -> errors").adjustment("accent")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a -> b -> a; b -> errors", "a circle"),
        ("a -> b", "nothing acts on 'errors'"),
        ("errors -> a; a -> b", "errors come last"),
        ("a - b", "no edge"),
        ("a; drop -> errors", "no edge"),
        ({"edges": "a -> errors", "unobserved": ["b"]}, "unobserved: b"),
        ({"edges": "a -> errors", "nodes": ["b"]}, "nodes"),
        ({"edges": []}, "edges"),
        ([["a", "errors; x"]], "no name of a column"),
        (None, "causes"),
    ],
)
def test_mistakes_are_one_line(value: object, said: str) -> None:
    with pytest.raises(EarmarkError, match=said) as caught:
        CausalGraph.parse(value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_graph(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("edges: [\n")
    for name in ("bad.yaml", "missing.yaml"):
        with pytest.raises(EarmarkError, match=name):
            CausalGraph.load(tmp_path / name)

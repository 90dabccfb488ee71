from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from influence.causes.graph import CausalGraph, read_edges
from influence.report.drawing import dot, svg

SVG = "{http://www.w3.org/2000/svg}"
DEVICES = CausalGraph.parse({"edges": "home -> accent -> errors; home -> device -> errors", "unobserved": ["home"]})
SKIPPING = CausalGraph.parse("accent -> errors; accent -> rate -> pauses -> errors; device -> rate; device -> errors")


def boxes(drawing: ElementTree.Element) -> dict[str, tuple[float, float, float, float]]:
    found = {}
    for group in drawing.iter(f"{SVG}g"):
        title, box = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert box is not None
        x, y, w, h = (float(box.get(k, "")) for k in ("x", "y", "width", "height"))
        found[title.text or ""] = (x, y, x + w, y + h)
    return found


def points(path: str) -> list[tuple[float, float]]:
    """Along an edge: sixteen to every curve and straight piece."""
    found: list[tuple[float, float]] = []
    for command, text in re.findall(r"([MLC])([^MLC]+)", path):
        n = [float(v) for v in text.split()]
        if command == "M":
            found.append((n[0], n[1]))
            continue
        x, y = found[-1]
        hold = n if command == "C" else [x, y, n[0], n[1], n[0], n[1]]
        for i in range(1, 17):
            t = i / 16
            u = 1 - t
            found.append((
                u**3 * x + 3 * u * u * t * hold[0] + 3 * u * t * t * hold[2] + t**3 * hold[4],
                u**3 * y + 3 * u * u * t * hold[1] + 3 * u * t * t * hold[3] + t**3 * hold[5],
            ))  # fmt: skip
    return found


@pytest.mark.parametrize("graph", [DEVICES, SKIPPING])
def test_every_node_is_a_box_and_every_edge_a_line_from_cause_to_effect(graph: CausalGraph) -> None:
    drawing = ElementTree.fromstring(svg(graph, ["accent"], ["device"]))
    place = boxes(drawing)
    assert set(place) == set(graph.network)
    edges = [points(p.get("d", "")) for p in drawing.iter(f"{SVG}path") if p.get("marker-end")]
    for (a, b), line in zip(sorted(graph.edges), edges, strict=True):
        (x, y), (u, v) = line[0], line[-1]
        assert (x, y) == pytest.approx((place[a][2], (place[a][1] + place[a][3]) / 2))
        assert (u, v) == pytest.approx((place[b][0], (place[b][1] + place[b][3]) / 2))
        assert x < u
        for other in set(place) - {a, b}:  # no edge passes behind a node that is not its own
            left, top, right, bottom = place[other]
            assert not any(left < px < right and top < py < bottom for px, py in line)


def test_no_two_boxes_share_a_place_and_all_are_inside() -> None:
    names = [f"column_{'x' * (3 * i)}" for i in range(9)]
    graph = CausalGraph.parse([*(f"{a} -> {b}" for a, b in pairwise(names[:4])), *(f"{n} -> errors" for n in names)])
    drawing = ElementTree.fromstring(svg(graph))
    _, _, width, height = (float(v) for v in drawing.get("viewBox", "").split())
    placed = list(boxes(drawing).values())
    for i, (left, top, right, bottom) in enumerate(placed):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert all(right < o[0] or o[2] < left or bottom < o[1] or o[3] < top for o in placed[:i])
    shown = [t.text or "" for t in drawing.iter(f"{SVG}text")]
    assert max(map(len, shown)) <= 26


def test_what_is_unobserved_asked_and_made_equal_is_told_apart() -> None:
    drawing = ElementTree.fromstring(svg(DEVICES, ["accent"], ["device"]))
    kinds = {g[0].text: (g[1].get("class") or "").split()[1:] for g in drawing.iter(f"{SVG}g")}
    assert kinds == {"home": ["unobserved"], "accent": ["effect"], "device": ["equal"], "errors": ["effect"]}


def test_dot_says_the_same_edges() -> None:
    for graph in (DEVICES, SKIPPING):
        assert set(read_edges(dot(graph, ["accent"], ["device"]))) == set(graph.edges)

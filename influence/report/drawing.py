"""A causal graph as a drawing: causes left of their effects, in SVG for people and in DOT for other tools.

Layers are longest ways from a first cause; an edge that skips layers runs through places kept free for it, so that it never
passes behind a node that is no end of it (Sugiyama, Tagawa & Toda, *IEEE Trans. SMC* 11, 1981). Within a layer nodes stand at
the mean height of what they are joined to.

A drawing stands by itself; what stands in a page may dress it by its classes: `node`, `effect` (what is asked about), `equal`
(what is made equal), `unobserved` (what is believed in and not on record), `edge`.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import networkx as nx

from influence.causes.graph import OUTCOME, CausalGraph
from influence.report.markup import Markup, join, tag
from lineage.identity import digest_of

HEIGHT, GAP, LANE = 34, 22, 14  # of a node, below it, of an edge that passes by
BETWEEN = 62  # layers
LETTER, LEAST, LONGEST = 7.6, 84, 26
SWEEPS = 6

Spot = str | tuple[str, str, int]  # a node, or where edge (a, b) passes layer i


def dot(graph: CausalGraph, treatments: Collection[str] = (), adjusted: Collection[str] = ()) -> str:
    """In DOT; treatments are filled, what is adjusted for doubly framed, the unobserved dashed."""
    lines = ["digraph causes {", "  rankdir=LR; node [shape=box];"]
    for node in sorted(graph.network):
        style = {
            **({"style": "filled"} if node == OUTCOME or node in treatments else {}),
            **({"peripheries": "2"} if node in adjusted else {}),
            **({"style": "dashed"} if node in graph.unobserved else {}),
        }
        lines.append(f'  "{node}"' + (f" [{', '.join(f'{k}={v}' for k, v in style.items())}]" if style else "") + ";")
    lines += [f'  "{a}" -> "{b}";' for a, b in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


def svg(graph: CausalGraph, treatments: Collection[str] = (), adjusted: Collection[str] = ()) -> Markup:
    """In SVG, one drawing that needs nothing else."""
    layers = _layers(graph.network)
    wide = max(LEAST, round(LETTER * max(len(_short(n)) for n in graph.network)) + 22)
    place = _places(layers, wide)
    width = len(layers) * (wide + BETWEEN) - BETWEEN + 4
    height = max(y + _tall(spot) for spot, (_, y) in place.items()) + 3
    tip = f"tip-{digest_of(graph.essence)[:8]}"
    arrow = tag("path", d="M0 0L8 4L0 8z", class_="tip", fill="#56616d")
    marker = tag(
        "marker", arrow, id=tip, viewBox="0 0 8 8", refX=7.5, refY=4, markerWidth=8, markerHeight=8, orient="auto"
    )
    parts = [tag("title", f"Causal graph: {_said(graph)}"), tag("defs", marker)]
    for a, b in sorted(graph.edges):
        parts.append(_edge(_way(layers, a, b), place, wide, tip))
    for node in sorted(graph.network):
        parts.append(_node(node, place[node], wide, graph, treatments, adjusted))
    return tag(
        "svg", join(parts, "\n"), xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height:g}", width=width,
        height=f"{height:g}", role="img", class_="graph", font_family="sans-serif", font_size=13,
    )  # fmt: skip


def _layers(network: Any) -> list[list[Spot]]:
    """Nodes and passing edges by layer, each layer in the order in which it is drawn."""
    layers: list[list[Spot]] = [sorted(layer) for layer in nx.topological_generations(network)]
    depth = {node: i for i, layer in enumerate(layers) for node in layer}
    joined: dict[Spot, list[Spot]] = {}
    for a, b in sorted(network.edges):
        way: list[Spot] = [a, *((a, b, i) for i in range(depth[a] + 1, depth[b])), b]
        for i, spot in enumerate(way[1:-1], depth[a] + 1):
            layers[i].append(spot)
        for one, other in pairwise(way):
            joined.setdefault(one, []).append(other)
            joined.setdefault(other, []).append(one)
    for sweep in range(SWEEPS):
        order = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        for i in order:
            beside = layers[i - 1] if sweep % 2 == 0 else layers[i + 1]
            at = {spot: (j + 0.5) / len(beside) for j, spot in enumerate(beside)}
            own = {spot: (j + 0.5) / len(layers[i]) for j, spot in enumerate(layers[i])}
            layers[i].sort(key=lambda s: (_mean([at[o] for o in joined.get(s, ()) if o in at], own[s]), own[s]))
    return layers


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _places(layers: list[list[Spot]], wide: int) -> dict[Spot, tuple[float, float]]:
    """Left upper corner of each spot, layers centred on one line."""
    heights = [sum(_tall(s) + GAP for s in layer) - GAP for layer in layers]
    found: dict[Spot, tuple[float, float]] = {}
    for i, layer in enumerate(layers):
        y = 2 + (max(heights) - heights[i]) / 2
        for spot in layer:
            found[spot] = (2 + i * (wide + BETWEEN), y)
            y += _tall(spot) + GAP
    return found


def _tall(spot: Spot) -> int:
    return HEIGHT if isinstance(spot, str) else LANE


def _way(layers: list[list[Spot]], a: str, b: str) -> list[Spot]:
    return [a, *(s for layer in layers for s in layer if not isinstance(s, str) and s[:2] == (a, b)), b]


def _edge(way: list[Spot], place: dict[Spot, tuple[float, float]], wide: int, tip: str) -> Markup:
    """A smooth line from the right of the cause to the left of the effect, straight where it passes other nodes."""
    drawn: list[str] = []
    for one, other in pairwise(way):
        (x, y), (u, v) = place[one], place[other]
        y, v = y + _tall(one) / 2, v + _tall(other) / 2
        start = f"L{x + wide:g} {y:g}" if drawn else f"M{x + wide:g} {y:g}"
        middle = (x + wide + u) / 2
        drawn.append(f"{start}C{middle:g} {y:g} {middle:g} {v:g} {u:g} {v:g}")
    return tag("path", d="".join(drawn), class_="edge", fill="none", stroke="#56616d", marker_end=f"url(#{tip})")


def _node(
    node: str,
    at: tuple[float, float],
    wide: int,
    graph: CausalGraph,
    treatments: Collection[str],
    adjusted: Collection[str],
) -> Markup:
    kinds = {
        "effect": node == OUTCOME or node in treatments, "equal": node in adjusted, "unobserved": node in graph.unobserved
    }  # fmt: skip
    box = tag(
        "rect", x=f"{at[0]:g}", y=f"{at[1]:g}", width=wide, height=HEIGHT, rx=5,
        class_=" ".join(["node", *(k for k, holds in kinds.items() if holds)]),
        fill="#dbe9f6" if kinds["effect"] else "#ffffff", stroke="#56616d", stroke_width=2.5 if kinds["equal"] else 1,
        stroke_dasharray="4 3" if kinds["unobserved"] else None,
    )  # fmt: skip
    label = tag("text", _short(node), x=f"{at[0] + wide / 2:g}", y=f"{at[1] + 22:g}", text_anchor="middle")
    return tag("g", [tag("title", node), box, label])


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _said(graph: CausalGraph) -> str:
    return "; ".join(f"{a} acts on {b}" for a, b in sorted(graph.edges))

"""Walks over the lineage agree with a naive walk over a random graph."""

from __future__ import annotations

import random
import uuid

import pytest

from lineage import graph
from lineage.errors import AmbiguousName, UnknownName
from lineage.store import Store
from tests.lineage.conftest import ids, link, rows


def naive(edges: dict[uuid.UUID, list[uuid.UUID]], start: uuid.UUID) -> set[uuid.UUID]:
    seen: set[uuid.UUID] = set()
    stack = [start]
    while stack:
        for parent in edges.get(stack.pop(), []):
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return seen


@pytest.mark.parametrize("seed", range(3))
def test_ancestors_and_descendants_of_a_random_graph(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    samples = ids(60, seed)
    up: dict[uuid.UUID, list[uuid.UUID]] = {}
    down: dict[uuid.UUID, list[uuid.UUID]] = {}
    with store.run("test") as run:
        for n, child in enumerate(samples[10:], start=10):
            up[child] = rng.sample(samples[:n], rng.randint(1, 3))
            for parent in up[child]:
                down.setdefault(parent, []).append(child)
            link(run, child, *up[child])
    for sample in rng.sample(samples, 8):
        assert set(graph.ancestors(store, [sample])["parent_id"].to_pylist()) == naive(up, sample)
        assert set(graph.descendants(store, [sample])["child_id"].to_pylist()) == naive(down, sample)


def test_generations_count_from_the_sample(store: Store) -> None:
    recording, clip, mix = ids(3)
    with store.run("test") as run:
        link(run, clip, recording)
        link(run, mix, clip)
    found = graph.ancestors(store, [mix]).select(["parent_id", "generation"]).to_pylist()
    assert found == [{"parent_id": clip, "generation": 1}, {"parent_id": recording, "generation": 2}]


def test_models_are_those_that_consumed_with_some_weight(store: Store) -> None:
    used, ablated = ids(2)
    with store.run("train") as run:
        run.append("models", [{"model_id": "m" * 64, "name": "one"}])
        run.append(
            "exposures",
            [
                {"step": 0, "position": 0, "sample_id": used, "weight": 1.0},
                {"step": 1, "position": 0, "sample_id": used, "weight": 1.0},
                {"step": 0, "position": 1, "sample_id": ablated, "weight": 0.0},
            ],
        )
    assert graph.models_of(store, [used]).select(["name", "exposures"]).to_pylist() == [{"name": "one", "exposures": 2}]
    assert graph.models_of(store, [ablated]).num_rows == 0


def test_a_sample_is_found_by_any_unambiguous_prefix(store: Store) -> None:
    one = uuid.UUID("aaaa0000-0000-0000-0000-000000000001")
    two = uuid.UUID("aaaa0000-0000-0000-0000-000000000002")
    other = uuid.UUID("ffff0000-0000-0000-0000-000000000000")
    with store.run("test") as run:
        run.append("samples", rows([one, two, other]))
    assert graph.resolve_sample(store, "ff") == other
    assert graph.resolve_sample(store, str(one)) == one
    assert graph.resolve_sample(store, one.hex.upper()) == one
    with pytest.raises(AmbiguousName):
        graph.resolve_sample(store, "aaaa0000-0")
    for nonsense in ("bb", "xyz", "", "a" * 40):
        with pytest.raises(UnknownName):
            graph.resolve_sample(store, nonsense)

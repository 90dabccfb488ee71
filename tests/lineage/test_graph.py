"""Questions about the lineage agree with a naive walk over a random graph, before, between and after compactions."""

from __future__ import annotations

import itertools
import random
import uuid
from typing import Any

import pytest

from lineage import graph
from lineage.compaction.compact import compact
from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.ids import id_array
from lineage.selection import sets
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


class World:
    """A random lineage, told in parts, and what is true of it by plain Python."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.samples = ids(120, seed)
        self.told = 0
        self.up: dict[uuid.UUID, list[uuid.UUID]] = {}
        self.down: dict[uuid.UUID, list[uuid.UUID]] = {}
        self.about: dict[uuid.UUID, dict[str, Any]] = {}
        self.sets: dict[str, set[uuid.UUID]] = {}
        self.models: dict[str, dict[uuid.UUID, int]] = {}

    def tell(self, until: int) -> None:
        """Record the samples up to that number, a set and a model."""
        rng, fresh = self.rng, self.samples[self.told : until]
        with self.store.run("test") as run:
            for child in fresh:
                n = self.samples.index(child)
                parents = rng.sample(self.samples[:n], rng.choice([1, 1, 2, 3])) if n >= 20 else []
                roots = sorted({r for p in parents for r in self.roots(p)}) or [child]
                speakers = {self.about[r]["speaker_key"] for r in roots} if parents else {uuid.UUID(int=n % 6 + 1)}
                self.about[child] = {
                    "speaker_key": speakers.pop() if len(speakers) == 1 else None,
                    "source": rng.choice("ab"),
                    "licence": rng.choice(["MIT", "CC0-1.0", "MIT AND CC0-1.0"]),
                    "root_ids": roots,
                }
                if parents:
                    self.up[child] = parents
                    for parent in parents:
                        self.down.setdefault(parent, []).append(child)
                    link(run, child, *parents)
            run.append("samples", [{**rows([s])[0], **self.about[s]} for s in fresh])
            name = f"{until}".ljust(64, "0")
            self.sets[name] = set(rng.sample(self.samples[:until], 15))
            sets.create_set(run, list(self.sets[name]), name=name)
            self.models[name] = {s: rng.randint(0, 2) for s in rng.sample(self.samples[:until], 15)}
            run.append("models", [{"model_id": name, "name": name}])
            steps = [s for s, times in self.models[name].items() for _ in range(max(times, 1))]
            run.append(
                "exposures",
                [
                    {"step": i, "position": 0, "sample_id": s, "weight": float(self.models[name][s] > 0)}
                    for i, s in enumerate(steps)
                ],
            )
        self.told = until

    def roots(self, sample: uuid.UUID) -> set[uuid.UUID]:
        above = naive(self.up, sample)
        return {a for a in above if a not in self.up} or {sample}

    def consumers(self, wanted: set[uuid.UUID]) -> dict[str, tuple[int, int]]:
        found = {}
        for name, consumed in self.models.items():
            times = [consumed[s] for s in wanted if consumed.get(s)]
            if times:
                found[name] = (sum(times), len(times))
        return found

    def check(self) -> None:
        """Every question, asked of some samples."""
        store, told = self.store, self.samples[: self.told]
        some = self.rng.sample(told, 6)
        for sample in some:
            assert set(graph.ancestors(store, [sample])["parent_id"].to_pylist()) == naive(self.up, sample)
            assert set(graph.descendants(store, [sample])["child_id"].to_pylist()) == naive(self.down, sample)
        together = graph.ancestors(store, some)["parent_id"].to_pylist()
        assert set(together) == set().union(*(naive(self.up, s) for s in some))
        everything, part = graph.roots(store), graph.roots(store, some)
        for sample in told:
            assert everything.of(sample) == sorted(self.roots(sample), key=lambda i: i.bytes)
        assert all(part.of(s) == everything.of(s) for s in some)
        pairs = everything.table().to_pylist()
        assert {(p["sample_id"], p["root_id"]) for p in pairs} == {
            (s, r) for s in self.up if s in told for r in self.roots(s)
        }
        assert len(pairs) == len({(p["sample_id"], p["root_id"]) for p in pairs})
        connection = store.connect()
        for speaker in (uuid.UUID(int=n + 1) for n in range(6)):
            heard = {s for s in told if any(self.about[r]["speaker_key"] == speaker for r in self.roots(s))}
            assert set(id_array(graph.samples_of(store, speaker=speaker)).to_pylist()) == heard
            assert consumption(graph.models_of(store, speaker=speaker)) == self.consumers(heard)
            macro = connection.sql("FROM models_of_speaker($1)", params=[str(speaker)]).fetchall()
            assert {m[0]: (m[3], m[4]) for m in macro} == self.consumers(heard)
        for source in "ab":
            wanted = {s for s in told if self.about[s]["source"] == source}
            assert consumption(graph.models_of(store, source=source)) == self.consumers(wanted)
        for licence in ("MIT", "CC0-1.0"):
            wanted = {s for s in told if licence in self.about[s]["licence"].split(" AND ")}
            assert consumption(graph.models_of(store, licence=licence)) == self.consumers(wanted)
        self.check_affected(some[0])

    def check_affected(self, sample: uuid.UUID) -> None:
        derived = naive(self.down, sample)
        found = graph.affected_by(self.store, [sample])
        assert set(id_array(found.derived).to_pylist()) == derived
        touched = {name: len(s & {sample, *derived}) for name, s in self.sets.items()}
        assert {r["name"]: r["samples"] for r in found.sets.to_pylist()} == {n: c for n, c in touched.items() if c}
        assert consumption(found.models) == self.consumers({sample, *derived})


def consumption(models: Any) -> dict[str, tuple[int, int]]:
    return {m["model_id"]: (m["exposures"], m["samples"]) for m in models.to_pylist()}


@pytest.mark.parametrize("seed", range(3))
def test_every_answer_is_that_of_a_naive_walk(store: Store, seed: int) -> None:
    world = World(store, seed)
    world.tell(40)
    world.check()
    compact(store)
    world.tell(80)
    world.check()
    world.tell(120)
    compact(store, grace=0.0, everything=seed == 2)
    world.check()


def test_a_sample_described_anew_is_its_new_speakers(store: Store) -> None:
    sample, old, new = *ids(1), uuid.UUID(int=1), uuid.UUID(int=2)
    for speaker in (old, new):
        with store.run("test") as run:
            run.append("samples", rows([sample], speaker_key=speaker))
        if speaker == old:
            compact(store)
    for _ in range(2):
        assert len(graph.samples_of(store, speaker=old)) == 0
        assert id_array(graph.samples_of(store, speaker=new)).to_pylist() == [sample]
        compact(store)


def test_generations_count_from_the_sample_and_bear_the_transforms_names(store: Store) -> None:
    recording, clip, mix = ids(3)
    for _ in range(2):
        with store.run("test") as run:
            run.append("transforms", [{"transform_id": "t", "name": "mix", "parameters": "{}", "code_version": "1"}])
    with store.run("test") as run:
        link(run, clip, recording)
        link(run, mix, clip)
    found = graph.ancestors(store, [mix]).select(["parent_id", "generation", "transform"]).to_pylist()
    assert found == [
        {"parent_id": clip, "generation": 1, "transform": "mix"},
        {"parent_id": recording, "generation": 2, "transform": "mix"},
    ]
    nothing = graph.descendants(store, [mix])
    assert (nothing.num_rows, nothing.column_names[-3:]) == (0, ["transform", "parameters", "generation"])


@pytest.mark.parametrize("circle", [[(1, 0), (0, 1)], [(1, 0), (2, 1), (0, 2), (0, 3)]])
def test_a_circle_ends_and_is_told(store: Store, circle: list[tuple[int, int]]) -> None:
    samples = ids(4)
    with store.run("test") as run:
        for child in {c for c, _ in circle}:
            link(run, samples[child], *(samples[p] for c, p in circle if c == child))
    assert graph.ancestors(store, samples[:1]).num_rows >= 2
    with pytest.raises(EarmarkError, match="circle"):
        graph.roots(store)


def test_many_ways_lead_to_the_same_recordings(store: Store) -> None:
    layers = [ids(2, seed) for seed in range(40)]  # 2^39 ways from the last to the first
    with store.run("test") as run:
        for above, below in itertools.pairwise(layers):
            for child in below:
                link(run, child, *above)
    assert graph.roots(store).of(layers[-1][0]) == sorted(layers[0], key=lambda i: i.bytes)
    assert graph.roots(store).table().num_rows == 2 * 2 * 39


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

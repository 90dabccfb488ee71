from __future__ import annotations

import numpy as np
import pytest

from influence.plans import controls
from influence.plans.controls import Removal, draw, removal
from lineage.errors import EarmarkError
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.store import Store


@pytest.fixture(scope="module")
def population(store: Store) -> SampleSet:
    return resolve_set(store, "train")


def wanted(
    population: SampleSet, count: int, draw_: int, seconds: float = 3.0, match: controls.Match = "count"
) -> Removal:
    return removal(population, count, seconds, draw_, match=match)


def test_a_control_has_the_size_and_lies_in_the_population(store: Store, population: SampleSet) -> None:
    ids = draw(store, wanted(population, 9, 0)).to_pylist()
    assert len(set(ids)) == 9
    assert set(ids) <= set(members(store, population.digest).to_pylist())


def test_equal_arguments_give_the_same_set_and_others_another(store: Store, population: SampleSet) -> None:
    one = draw(store, wanted(population, 9, 0)).to_pylist()
    assert one == draw(store, wanted(population, 9, 0, seconds=99.0)).to_pylist()  # length is not matched, so not asked
    assert one != draw(store, wanted(population, 9, 1)).to_pylist()
    assert one != draw(store, wanted(population, 9, 4)).to_pylist()  # the next round, on another permutation
    salted = removal(population, 9, 3.0, 0, match="count", salt="again")
    assert one != draw(store, salted).to_pylist()


def test_draws_do_not_overlap_until_the_population_is_used_up(store: Store, population: SampleSet) -> None:
    ids = [i for d in range(4) for i in draw(store, wanted(population, 9, d)).to_pylist()]
    assert sorted(ids) == members(store, population.digest).to_pylist()


def test_every_sample_is_equally_likely(store: Store, population: SampleSet) -> None:
    every = members(store, population.digest).to_pylist()
    ids = [i for d in range(400) for i in draw(store, wanted(population, 5, d)).to_pylist()]
    counts = np.array([ids.count(i) for i in every])
    assert abs(counts - 400 * 5 / 36).max() < 4 * np.sqrt(400 * 5 / 36)


@pytest.mark.parametrize("seconds", [2.5, 3.5, 5.0])
def test_hours_are_matched_too(store: Store, population: SampleSet, seconds: float) -> None:
    made = wanted(population, 10, 0, seconds, "hours")
    assert made.duration_s == pytest.approx(seconds, rel=0.025)
    assert made == wanted(population, 10, 0, made.duration_s or 0, "hours")
    rows = store.read("samples", ["sample_id", "duration_s"])
    lengths = dict(zip(rows["sample_id"].to_pylist(), rows["duration_s"].to_pylist(), strict=True))
    ids = draw(store, made).to_pylist()
    assert len(set(ids)) == 10
    assert sum(lengths[i] for i in ids) == pytest.approx(made.duration_s, rel=0.03)


def test_freezing_puts_it_on_record_as_a_control(store: Store, population: SampleSet) -> None:
    with store.run("plan") as run:
        made = controls.freeze(run, wanted(population, 7, 0), population)
    assert (made.kind, made.size, made.population) == ("control", 7, population.digest)


@pytest.mark.parametrize("count", [0, 36, 40])
def test_a_slice_without_counterpart_is_refused(population: SampleSet, count: int) -> None:
    with pytest.raises(EarmarkError, match="no random counterpart"):
        wanted(population, count, 0)


def test_an_unknown_match_is_refused(population: SampleSet) -> None:
    with pytest.raises(EarmarkError, match="count, hours, speakers, words"):
        removal(population, 3, 1.0, 0, match="age")  # type: ignore[arg-type]

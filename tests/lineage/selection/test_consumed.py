"""What was planned beside what was consumed: every difference is named, and only differences are."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage.compaction.compact import compact
from lineage.errors import EarmarkError, UnknownName
from lineage.selection.consumed import DIFFERENCES, NEVER, TIMES, UNPLANNED, WEIGHTLESS, Consumption, consumption
from lineage.selection.sets import create_set
from lineage.store import Store
from tests.lineage.conftest import ids, rows

SAMPLES = ids(8)
PLANNED = SAMPLES[:6]


def train(store: Store, taken: list[tuple[uuid.UUID, float]], planned: dict[str, Any] | None, **config: Any) -> str:
    """A run that took these samples with these weights; its id."""
    with store.run("ingest") as run:
        run.append("samples", rows(SAMPLES))
        chosen = create_set(run, PLANNED, name="train")
    with store.run("train", inputs=["f" * 64, chosen.digest], config=config) as run:
        run.append(
            "exposures", [{"step": n, "position": 0, "sample_id": s, "weight": w} for n, (s, w) in enumerate(taken)]
        )
        run.append("models", [{"model_id": "ab" * 32, "name": "tiny"}])
        run.outputs.append("ab" * 32)
        run.result |= {"planned": planned} if planned else {}
    return run.id


def said(found: Consumption) -> dict[str, list[uuid.UUID]]:
    return {d: found.ids(d).to_pylist() for d in DIFFERENCES if len(found.ids(d))}


def test_a_run_that_kept_to_its_plan_has_no_differences(store: Store) -> None:
    run = train(store, [(s, 1.0) for s in PLANNED * 2], {"epochs": 2})
    for ref in (run, "tiny", "abab"):
        found = consumption(store, ref)
        assert found.differences.num_rows == 0
        assert found.as_planned
        assert (found.exposures, found.epochs, found.planned.name) == (12, 2.0, "train")


@pytest.mark.parametrize("compacted", [False, True])
def test_each_difference_is_named(store: Store, compacted: bool) -> None:
    never, silent, thrice, stranger = PLANNED[0], PLANNED[1], PLANNED[2], SAMPLES[7]
    taken = [(s, 1.0) for s in PLANNED[3:] * 2]
    taken += [(silent, 0.0), (silent, 1.0), *[(thrice, 1.0)] * 3, (stranger, 1.0)]
    run = train(store, taken, {"epochs": 2})
    if compacted:
        compact(store)
    found = consumption(store, run)
    assert said(found) == {NEVER: [never], UNPLANNED: [stranger], WEIGHTLESS: [silent], TIMES: [thrice]}
    assert not found.as_planned
    assert found.to_json()["differences"][TIMES] == [str(thrice)]
    assert said(consumption(store, run, epochs=3)) != said(found)


def test_what_was_left_out_on_purpose_is_named_and_no_surprise(store: Store) -> None:
    with store.run("ingest") as made:
        made.append("samples", rows(SAMPLES))
        ablated = create_set(made, PLANNED[:2], name="ablated")
    taken = [(s, float(s not in PLANNED[:2])) for s in PLANNED]
    run = train(store, taken, {"epochs": 1}, weights={ablated.digest: 0.0})
    found = consumption(store, run)
    assert said(found) == {WEIGHTLESS: sorted(PLANNED[:2])}
    assert found.differences["intended"].to_pylist() == [True, True]
    assert found.as_planned


def test_half_a_pass_takes_some_once_more_and_steps_promise_no_number(store: Store) -> None:
    taken = [(s, 1.0) for s in [*PLANNED, *PLANNED[:3]]]
    run = train(store, taken, {"epochs": None, "steps": 9})
    assert consumption(store, run).as_planned
    assert consumption(store, run, epochs=1.5).as_planned
    assert said(consumption(store, run, epochs=1)) == {TIMES: sorted(PLANNED[:3])}
    assert said(consumption(store, run, epochs=2)) == {TIMES: sorted(PLANNED[3:])}


def test_runs_that_consumed_nothing_are_told_apart(store: Store) -> None:
    with store.run("ingest") as quiet:
        pass
    with pytest.raises(EarmarkError, match="--planned SET"):
        consumption(store, quiet.id)
    with pytest.raises(ZeroDivisionError), store.run("train") as broken:
        raise ZeroDivisionError
    with pytest.raises(EarmarkError, match="failed, and such runs leave no exposures"):
        consumption(store, broken.id)
    with pytest.raises(UnknownName, match="no model 'nobody'"):
        consumption(store, "nobody")
    with store.run("train") as run:
        run.append("exposures", [{"step": 0, "position": 0, "sample_id": SAMPLES[0], "weight": 1.0}])
    with pytest.raises(EarmarkError, match="--planned SET"):
        consumption(store, run.id)
    with store.run("ingest") as quiet:
        quiet.append("samples", rows(SAMPLES))
        create_set(quiet, PLANNED, name="planned")
    with pytest.raises(EarmarkError, match="recorded no exposures"):
        consumption(store, quiet.id, planned="planned")
    assert said(consumption(store, run.id, planned="planned")) == {NEVER: sorted(PLANNED[1:])}


@given(st.lists(st.tuples(st.sampled_from(SAMPLES), st.sampled_from([0.0, 1.0])), min_size=1), st.integers(1, 3))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_agrees_with_counting(
    tmp_path_factory: pytest.TempPathFactory, taken: list[tuple[uuid.UUID, float]], epochs: int
) -> None:
    store = Store.init(tmp_path_factory.mktemp("counted") / "store")
    run = train(store, taken, {"epochs": epochs})
    times, silent = Counter(s for s, _ in taken), {s for s, w in taken if w == 0}
    expected = {
        NEVER: [s for s in PLANNED if not times[s]],
        UNPLANNED: [s for s in times if s not in PLANNED],
        WEIGHTLESS: list(silent),
        TIMES: [s for s in PLANNED if times[s] not in (0, epochs)],
    }
    assert said(consumption(store, run)) == {d: sorted(s) for d, s in expected.items() if s}
    macro = store.connect().sql(f"FROM consumption('{run}', '{consumption(store, run).planned.digest[:9]}')").fetchall()
    assert macro == [
        (s, s in PLANNED, times[s], sum(w == 0 for i, w in taken if i == s)) for s in sorted({*PLANNED, *times})
    ]

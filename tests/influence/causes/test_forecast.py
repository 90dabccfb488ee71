from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from influence.causes.doses import SHARES, Doses, Part
from influence.causes.forecast import expectations, forecast
from influence.causes.foreseen import Forecasts
from lineage.errors import EarmarkError
from lineage.selection.slices import FrozenSlice
from lineage.store import Store
from tests.influence.causes.simulation import dosed, power_law
from tests.influence.conftest import make_store
from training.recipe import Recipe


def slice_of(name: str, hours: float) -> Doses:
    frozen = FrozenSlice(name, "true", "attribute", "p", name, 100, hours * 3600)
    return Doses(frozen, tuple(Part(s, s * hours, ()) for s in SHARES))


def test_the_ranking_is_right_where_the_truth_is_known() -> None:
    laws = {"steep": 1.2, "even": 0.15, "flat": 0.0}
    doses = [slice_of(name, 2.0) for name in laws]
    hours = [2.0 * s for s in (1.0, *SHARES)]
    panels = [dosed(i, hours, noise=0.003, gain=0.3 if p else 0.0, power=p) for i, p in enumerate(laws.values())]
    rows = expectations(doses, panels, [1.0], "all")
    truth = {
        n: power_law(2.0, gain=0.3 if p else 0.0, power=p) - power_law(3.0, gain=0.3 if p else 0.0, power=p)
        for n, p in laws.items()
    }
    assert [r.train_slice for r in rows] == sorted(truth, key=lambda n: -truth[n])
    assert [r.rank for r in rows] == [1, 2, 3]
    for r in rows:
        assert r.low is not None
        assert r.high is not None
        assert r.low <= truth[r.train_slice] <= r.high
        assert r.covered
        assert r.per_hour == pytest.approx(r.reduction / r.hours_more)
    assert "no gain at all" in rows[-1].caution


def test_far_forecasts_say_so() -> None:
    hours = [2.0 * s for s in (1.0, *SHARES)]
    near, far = sorted(
        expectations([slice_of("t", 2.0)], [dosed(1, hours)], [1.0, 20.0], "all"), key=lambda r: r.hours_more
    )
    assert "far beyond" not in near.caution
    assert "11.0 times" in far.caution


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("forecast") / "store")


@pytest.fixture(scope="module")
def short(recipe: Recipe) -> Recipe:
    return recipe.variant(epochs=1)


@pytest.fixture(scope="module")
def outlook(fresh: Store, short: Recipe) -> Forecasts:
    return forecast(fresh, short, ["accent=north"], seeds=2, replicates=100)


def test_retrainings_end_in_a_table_that_sql_reads(outlook: Forecasts, fresh: Store) -> None:
    assert [r.train_slice for r in outlook.rows] == ["accent=north"]
    rows = fresh.read("forecasts", where="run_id = ? ORDER BY rank", parameters=[outlook.run_id]).to_pylist()
    assert [{k: v for k, v in r.items() if k != "run_id"} for r in rows] == [asdict(r) for r in outlook.rows]
    assert fresh.resolve_run(outlook.run_id).kind == "forecast"
    assert outlook.trained == 2 * (1 + len(SHARES))


def test_the_doses_are_nested_parts_of_the_slice_and_of_nothing_else(outlook: Forecasts, fresh: Store) -> None:
    trained = fresh.sql(
        "SELECT any_value(r.seed) AS seed, list(DISTINCT e.sample_id) FILTER (s.accent = 'north' AND weight > 0) AS kept, "
        "count(*) FILTER (s.accent <> 'north' AND weight = 0) AS others "
        "FROM exposures e JOIN runs r USING (run_id) JOIN samples s USING (sample_id) GROUP BY e.run_id"
    ).to_pylist()
    assert len(trained) == 2 * (1 + len(SHARES))
    assert not any(r["others"] for r in trained)
    for seed in (0, 1):
        nested = sorted((set(r["kept"] or ()) for r in trained if r["seed"] == seed), key=len)
        assert [len(k) for k in (nested[0], nested[-1])] == [0, 12]
        assert all(less < more for less, more in itertools.pairwise(nested))
    hours = [h for h, _ in outlook.measured["accent=north"]]
    assert hours == sorted(hours, reverse=True)
    assert hours[2] == pytest.approx(hours[0] / 2, rel=0.2)


def test_asking_again_reads_it_back_and_another_question_retrains_nothing(
    outlook: Forecasts, fresh: Store, short: Recipe
) -> None:
    runs = len(fresh.runs())
    again = forecast(fresh, short, ["accent=north"], seeds=2, replicates=100)
    assert (again.reused, again.rows, again.measured) == (True, outlook.rows, outlook.measured)
    assert len(fresh.runs()) == runs
    other = forecast(
        fresh, short, ["accent=north"], [0.01], evaluation=["accent=*"], goal="worst", seeds=2, replicates=100
    )
    assert other.trained == 0
    assert other.target.startswith("worst: accent=")


def test_mistakes_are_told_before_anything_is_done(fresh: Store, short: Recipe) -> None:
    runs = len(fresh.runs())
    wrong: list[dict[str, Any]] = [
        {"slices": []},
        {"slices": ["acent=north"]},
        {"slices": ["accent=north"], "hours": [-1.0]},
        {"slices": ["accent=north"], "seeds": 1},
        {"slices": ["accent=north"], "goal": "worst"},
        {"slices": ["accent=north"], "goal": "best"},
        {"slices": ["accent=north"], "evaluation": ["accent=est"]},
        {"slices": ["accent=north"], "evaluation": ["accent=*"], "weights": [1.0]},
        {"slices": ["accent=north"], "weights": [-1.0]},
        {"slices": ["accent=north"], "evaluation_set": "nowhere"},
        {"slices": ["accent=north"], "level": 2.0},
    ]
    for asked in wrong:
        with pytest.raises(EarmarkError):
            forecast(fresh, short, **asked)
    assert len(fresh.runs()) == runs
    with pytest.raises(EarmarkError, match="nothing would be left"):
        forecast(fresh, short, ["all"], seeds=2)


def test_on_the_command_line(
    outlook: Forecasts, fresh: Store, short: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.earmark.test_cli import earmark

    path = tmp_path / "recipe.yaml"
    path.write_text(short.model_dump_json())
    where = ("--store", str(fresh.root), "--workers", "1", "--seeds", "2")
    earmark("collect", str(path), "--slice", "accent=north", *where)
    told = capsys.readouterr().out
    assert "points per hour" in told
    assert "check: the hours there are" in told
    earmark("whatif", str(path), "--slice", "accent=north", "--hours", "0.01", "--eval", "all", "--json", *where)
    (row,) = json.loads(capsys.readouterr().out)["forecasts"]
    assert row["hours_more"] == 0.01
    earmark("whatif", str(path), "--slice", "accent=north", "--hours", "0", *where, status=2)

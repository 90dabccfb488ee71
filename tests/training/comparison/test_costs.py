from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lineage.errors import EarmarkError
from lineage.people.erase import erase
from lineage.people.reach import sample
from lineage.selection.sets import create_set, members, resolve_set
from lineage.store import Store
from training.comparison.benefit import benefit
from training.comparison.costs import RateCard, adopt, by, costs, in_force, total
from training.evaluation.evaluate import evaluate
from training.fit import train
from training.forecast import forecast
from training.recipe import Recipe

RATES = RateCard(currency="EUR", cpu_hour=36.0, gpu_hour=360.0, kwh=3.6, gb_month=1e6, data_hour=100.0)


def test_costs_add_up(store: Store, recipe: Recipe) -> None:
    made = train(store, recipe)
    with pytest.raises(EarmarkError):
        train(store, recipe.variant(base="/nowhere"))
    every = [cost for _, cost in costs(store, RATES)]
    assert len(every) == len(store.runs())
    whole = total(every)
    for what in ("kind", "job", "model"):
        parts = by(store, what, RATES)  # type: ignore[arg-type]
        again = total(parts)
        for name in ("cpu_s", "gpu_s", "money", "monthly", "read_bytes", "written_bytes"):
            assert getattr(again, name) == pytest.approx(getattr(whole, name)), name
        assert (again.runs, again.kept_bytes, again.peak_bytes) == (whole.runs, whole.kept_bytes, whole.peak_bytes)
        assert [p.money for p in parts] == sorted((p.money for p in parts), reverse=True)  # type: ignore[type-var]
    assert {f"tiny {made.model_id[:12]}", "no model"} <= {c.what for c in by(store, "model")}
    (trained,) = [c for run, c in costs(store, RATES) if run.id == made.run_id]
    assert trained.cpu_s == store.resolve_run(made.run_id).cpu_s > 0
    assert trained.money == pytest.approx(RATES.money(trained.cpu_s, trained.gpu_s, trained.energy_j))
    assert trained.kept_bytes > sum(p.stat().st_size for p in made.path.iterdir())


def lying(store: Store) -> int:
    places = [p for top in ("tables", "vault", "artifacts", "openlineage") for p in (store.root / top).rglob("*")]
    return sum(p.stat().st_size for p in places if p.is_file() and p.parent.name != "vault")


def test_what_is_kept_is_what_lies_there(store: Store, tmp_path: Path) -> None:
    copied = tmp_path / "store"
    shutil.copytree(store.root, copied)
    mine = Store.open(copied)
    before = total([c for _, c in costs(mine)]).kept_bytes
    assert before == lying(mine)
    erase(mine, sample(mine, str(members(mine, resolve_set(mine, "test").digest)[0].as_py())))
    after = total([c for _, c in costs(mine)]).kept_bytes
    assert after == lying(mine) != before


def test_prices() -> None:
    assert RATES.money(100.0) == pytest.approx(1.0)
    assert RATES.money(0.0, 10.0) == pytest.approx(1.0)
    assert RATES.money(0.0, 0.0, 1e6) == pytest.approx(1.0)
    assert RateCard(currency="EUR").money(1e9, 1e9, 1e9) == 0.0
    for wrong in ({"currency": "EUR", "cpu_hour": -1}, {"currency": "EUR", "gpuhour": 1}, {"cpu_hour": 1}, None):
        with pytest.raises(EarmarkError, match="rate card"):
            RateCard.parse(wrong)


def test_prices_are_put_in_force_and_taken_back(store: Store, recipe: Recipe) -> None:
    assert in_force(store) is None
    assert all(c.money is None and c.monthly is None for _, c in costs(store))
    adopt(store, RATES)
    assert in_force(store) == RATES
    assert all(c.money is not None for _, c in costs(store))
    train(store, recipe)
    told = forecast(store, recipe.variant(epochs=8)).cost
    assert told is not None
    assert told.currency == "EUR"
    assert told.money == pytest.approx(RATES.money(told.cpu_s))
    adopt(store, None)
    assert in_force(store) is None
    assert forecast(store, recipe.variant(epochs=8)).cost.money is None  # type: ignore[union-attr]


def test_what_more_data_bought(store: Store, recipe: Recipe) -> None:
    ids = members(store, resolve_set(store, "train").digest)
    with store.run("set") as run:
        small = create_set(run, ids.slice(0, 8), name="small")
        other = create_set(run, ids.slice(4, 12), name="other")
        create_set(run, ids.slice(0, 20), name="large")
    assert benefit(store, RATES) == []
    recipe = recipe.variant(epochs=1, weight_decay=0.02)  # a curve of its own
    for name, seed in (("small", 0), ("small", 1), ("other", 0), ("large", 0)):
        evaluate(store, train(store, recipe.variant(train=name, seed=seed)).model_id, "test")
    evaluate(store, train(store, recipe.variant(train="large", learning_rate=1e-3)).model_id, "test")  # another recipe
    weighted = train(store, recipe.variant(train="large"), weights={small.digest: 0.0})
    evaluate(store, weighted.model_id, "test")
    (curve,) = benefit(store, RATES)
    assert (curve.set_name, curve.currency, len(curve.gains)) == ("test", "EUR", 3)
    by_data = {p.data: p for p in curve.points}
    assert {d: (p.samples, p.models) for d, p in by_data.items()} == {
        "small": (8, 2), "other": (12, 1), "large": (20, 1), "large in part": (12, 1),
    }  # fmt: skip
    assert [p.hours for p in curve.points] == sorted(p.hours for p in curve.points)
    hours = resolve_set(store, other.digest).duration_s
    assert by_data["other"].hours == pytest.approx(hours / 3600)  # type: ignore[operator]
    for gain in curve.gains:
        assert gain.points == pytest.approx(gain.smaller.wer - gain.larger.wer)
        assert gain.nested == (gain.larger.data == "large")
        added = gain.larger.hours - gain.smaller.hours
        assert gain.money == pytest.approx(gain.larger.money - gain.smaller.money + 100 * added)  # type: ignore[operator]
    assert all(g.money is None and g.per_money is None for c in benefit(store) for g in c.gains)

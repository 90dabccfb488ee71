from __future__ import annotations

from pathlib import Path

import pytest

from influence.bank import Retraining, fill, opened, recorded
from influence.executors.spread import Spread
from lineage import leakage
from lineage.selection.sets import resolve_set
from lineage.selection.slices import Slice, freeze
from lineage.store import Store
from tests.influence.conftest import make_store
from training.evaluation.predict import predict
from training.fit import train
from training.models.recorded import resolve_model
from training.recipe import Recipe


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("bank") / "store")


@pytest.fixture(scope="module")
def test_set(fresh: Store) -> str:
    return resolve_set(fresh, "test").digest


def test_finished_retrainings_are_never_repeated(fresh: Store, recipe: Recipe, test_set: str) -> None:
    seeds = [Retraining(0, checkpoints=recipe.checkpoints), Retraining(1)]
    first = fill(fresh, recipe, seeds, [test_set])
    assert (first.trained, first.reused, dict(first.errors)) == (2, 0, {})
    runs = len(fresh.runs())
    again = fill(fresh, recipe, seeds, [test_set])
    assert (again.trained, again.reused) == (0, 2)
    assert recorded(fresh, recipe, [*seeds, Retraining(77)]) == (*(r.run_id for r in first.results if r), None)
    assert len(fresh.runs()) == runs
    assert [r.model_id for r in first.results if r] == [r.model_id for r in again.results if r]


def test_a_retraining_is_the_same_run_that_training_by_hand_would_be(
    fresh: Store, recipe: Recipe, test_set: str
) -> None:
    by_hand = train(fresh, recipe)
    banked = fill(fresh, recipe, [Retraining(0, checkpoints=recipe.checkpoints)], [test_set])
    assert banked.results[0] is not None
    assert banked.results[0].run_id == by_hand.run_id
    assert banked.reused == 1


def test_the_recipe_s_name_stays_with_the_recipe_s_model(fresh: Store, recipe: Recipe, test_set: str) -> None:
    recipe = recipe.variant(epochs=1, name="asked for")
    with fresh.run("plan") as run:
        north = freeze(run, Slice.parse("accent=north"), resolve_set(fresh, "train")).set_digest
    asked = [Retraining(0), Retraining(1), Retraining(0, {north: 0.0}, label="without accent=north, seed 0")]
    own, other, without = (r for r in fill(fresh, recipe, asked, [test_set]).results if r is not None)
    assert resolve_model(fresh, "asked for").model_id == own.model_id
    assert resolve_model(fresh, "asked for[seed 1]").model_id == other.model_id
    assert resolve_model(fresh, "asked for[without accent=north, seed 0]").model_id == without.model_id
    again = train(fresh, recipe, seed=1, checkpoints=0)
    assert (again.reused, again.name) == (True, "asked for[seed 1]")


def test_predictions_of_the_bank_are_those_of_the_model_opened_from_its_files(
    fresh: Store, recipe: Recipe, test_set: str
) -> None:
    """The bank evaluates with what it has in memory; that has to be a matter of speed alone."""
    made = fill(fresh, recipe, [Retraining(5)], [test_set]).results[0]
    assert made is not None
    other = predict(fresh, made.model_id, test_set, normalise="none")
    mine = fresh.read("predictions", ["loss"], "run_id = ? ORDER BY sample_id", [made.predictions[test_set]])
    assert mine["loss"].to_pylist() == other.table["loss"].to_pylist()


def test_adapters_too(fresh: Store, recipe: Recipe, test_set: str) -> None:
    adapters = recipe.variant(method="lora", learning_rate=1e-2, epochs=1)
    made = fill(fresh, adapters, [Retraining(0)], [test_set]).results[0]
    assert made is not None
    other = predict(fresh, made.model_id, test_set, normalise="none")
    mine = fresh.read("predictions", ["loss"], "run_id = ? ORDER BY sample_id", [made.predictions[test_set]])
    assert mine["loss"].to_pylist() == pytest.approx(other.table["loss"].to_pylist(), rel=1e-6)


def test_a_bank_looks_for_leaks_and_warns_once_over_all_rounds(
    fresh: Store, recipe: Recipe, test_set: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def counted(store: Store, train: str, test: str) -> list[leakage.Leakage]:
        asked.append((train, test))
        return search(store, train, test)

    search = leakage._leakage
    monkeypatch.setattr(leakage, "_leakage", counted)
    monkeypatch.setattr(leakage, "_known", {})
    short = recipe.variant(epochs=1, evaluate=["test"])
    with fresh.run("plan") as plan:
        pass
    with opened(fresh, short, [test_set], parents=[plan.id]) as bank:
        filled = [bank.fill([Retraining(seed) for seed in seeds]) for seeds in ((70, 71), (72,))]
    assert [f.trained for f in filled] == [2, 1]
    warned = [r.getMessage() for r in caplog.records if "leakage" in r.getMessage()]
    assert len(warned) == len(set(warned)) > 0
    assert asked == [(resolve_set(fresh, recipe.train).digest, test_set)]


def test_a_bank_is_not_tested_on_what_it_trains_on(fresh: Store, recipe: Recipe) -> None:
    trained_on = resolve_set(fresh, "train").digest
    runs = len(fresh.runs())
    with pytest.raises(leakage.LeakageRefused, match="audio leakage: 36 of 36 samples"):
        fill(fresh, recipe.variant(epochs=1), [Retraining(0)], [trained_on])
    assert "train" not in {r.kind for r in fresh.runs()[runs:]}


def test_leaving_out_is_weight_zero_and_another_model(fresh: Store, recipe: Recipe, test_set: str) -> None:
    with fresh.run("plan") as run:
        south = freeze(run, Slice.parse("accent=south"), resolve_set(fresh, "train"))
    made = fill(fresh, recipe, [Retraining(0), Retraining(0, {south.set_digest: 0.0})], [test_set])
    whole, without = made.results
    assert whole is not None
    assert without is not None
    assert whole.model_id != without.model_id
    weights = fresh.sql(
        "SELECT weight, count(*) AS n FROM exposures WHERE run_id = ? GROUP BY weight ORDER BY weight", [without.run_id]
    ).to_pylist()
    assert weights == [{"weight": 0.0, "n": 24}, {"weight": 1.0, "n": 48}]


def test_a_retraining_that_fails_is_reported_and_the_others_are_done(
    fresh: Store, recipe: Recipe, test_set: str
) -> None:
    outside = resolve_set(fresh, "test").digest  # no member of it is in the training set
    made = fill(fresh, recipe, [Retraining(0, {outside: 0.0}, label="odd"), Retraining(1)], [test_set])
    assert made.results[0] is None
    assert made.results[1] is not None
    assert "no member of set" in made.errors["odd"]


def test_progress_tells_of_every_retraining(fresh: Store, recipe: Recipe, test_set: str) -> None:
    told: list[tuple[int, int, str]] = []
    with opened(fresh, recipe, [test_set], progress=lambda *a: told.append(a)) as bank:
        bank.fill([Retraining(0), Retraining(1)])
        bank.fill([Retraining(2)])
    assert [t[:2] for t in told] == [(0, 2), (1, 2), (2, 2), (2, 3), (3, 3)]


@pytest.mark.slow
def test_workers_rounds_and_order_make_the_same_models(recipe: Recipe, tmp_path: Path) -> None:
    stores = [make_store(tmp_path / n) for n in ("one", "two")]
    asked = [Retraining(seed) for seed in range(4)]
    one, two = ([resolve_set(s, "test").digest] for s in stores)
    made = fill(stores[0], recipe, asked, one)
    with opened(stores[1], recipe, two, spread=Spread(workers=2)) as bank:
        rounds = [bank.fill(part) for part in (asked[3:], asked[:3][::-1])]
    again = [r for filled in rounds for r in filled.results][::-1]
    assert [r.model_id for r in made.results if r] == [r.model_id for r in again if r]

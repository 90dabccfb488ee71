"""Models that continue models on record."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lineage.chain import chain
from lineage.errors import EarmarkError, UnknownName
from lineage.people.reach import built_on
from lineage.store import Store
from training.evaluation.predict import predict
from training.families.base import find_base
from training.fit import TrainedModel, train
from training.forecast import forecast
from training.models.recorded import open_model, resolve_model
from training.models.start import find_start
from training.models.tensors import moving
from training.recipe import Recipe

STILL = {"learning_rate": 1e-30, "epochs": 1}  # float32 does not see such a step


@pytest.fixture(scope="module")
def parents(store: Store, base: Path) -> dict[str, TrainedModel]:
    """A model of each method, trained on `train`."""
    recipe = Recipe(name="full", base=str(base), train="train", epochs=1, batch_size=8, learning_rate=3e-3, dropout=0.1)
    small = {"rank": 2, "alpha": 4, "targets": ["q_proj", "v_proj"]}
    return {"full": train(store, recipe), "lora": train(store, recipe.variant(name="lora", method="lora", lora=small))}


def next_one(recipe: Recipe, parent: str, **changes: object) -> Recipe:
    """The next training after a parent."""
    adapters = {"method": "lora", "lora": {"rank": 2, "alpha": 4, "targets": ["q_proj", "v_proj"], "dropout": 0.1}}
    return recipe.variant(
        **{
            "name": "next",
            "base": f"model:{parent}",
            "train": "test",
            **(adapters if parent == "lora" else {}),
            **changes,
        }
    )


@pytest.mark.parametrize("parent", ["full", "lora"])
def test_a_model_goes_on_where_its_parent_ended(
    store: Store, parents: dict[str, TrainedModel], recipe: Recipe, parent: str
) -> None:
    begun = find_start(store, next_one(recipe, parent)).model()
    ended = open_model(store, parent).model
    there = moving(ended)
    assert there.keys() == moving(begun).keys()
    assert all(torch.equal(tensor, there[name]) for name, tensor in moving(begun).items())
    assert train(store, next_one(recipe, parent, name="still", **STILL)).model_id == parents[parent].model_id

    made = train(store, next_one(recipe, parent))
    record = resolve_model(store, "next")
    assert record.model_id == made.model_id != parents[parent].model_id
    assert record.base == f"model:{parents[parent].model_id}"
    run = store.resolve_run(made.run_id)
    assert run.config["recipe"]["base"] == record.base  # by id, for there may be newer ones of that name
    assert parents[parent].model_id in run.inputs
    assert [m.model_id for m in chain(store, made.model_id)][:2] == [made.model_id, parents[parent].model_id]
    assert made.model_id in {m["model_id"] for m in built_on(store, {parents[parent].model_id})}
    behind = store.connect().sql(f"SELECT recording FROM behind_model('{made.model_id}')").fetchall()
    assert len(behind) == 24 + 16
    assert train(store, Recipe.parse(run.config["recipe"])).reused
    assert predict(store, "next", "test").table.num_rows == 16


def test_adapters_stand_beside_a_full_model(store: Store, parents: dict[str, TrainedModel], recipe: Recipe) -> None:
    made = train(store, next_one(recipe, "full", method="lora", name="beside"))
    parent, child = (dict(open_model(store, m).model.named_parameters()) for m in ("full", made.model_id))
    frozen = {n.removeprefix("base_model.model.").replace(".base_layer", ""): p for n, p in child.items()}
    assert all(torch.equal(frozen[name], p) for name, p in parent.items())
    assert store.resolve_run(made.run_id).config["opens"]["base"]["artifact"] == resolve_model(store, "full").artifact


def test_what_cannot_be_continued_is_told(store: Store, parents: dict[str, TrainedModel], recipe: Recipe) -> None:
    for changes, message in (
        ({"base": "model:nobody"}, "no model 'nobody'"),
        ({"base": "model:lora"}, "not merged — write method: lora"),
        ({"base": "model:lora", "method": "lora"}, r"write rank: 2, alpha: 4, targets: \[q_proj, v_proj\]"),
        ({"base": "model:full", "family": "voxtral"}, "write family: whisper"),
    ):
        with pytest.raises(EarmarkError, match=message):
            train(store, recipe.variant(name="never", **changes))
        assert store.runs()[-1].status == "failed"
    with pytest.raises(EarmarkError, match="has the name of the new model"):
        recipe.variant(name="full", base="model:full")
    with pytest.raises(EarmarkError, match="is a model of a store"):
        find_base("model:full")


def test_a_forecast_counts_what_is_trained_on(store: Store, parents: dict[str, TrainedModel], recipe: Recipe) -> None:
    runs = len(store.runs())
    mixed = {"replay": {"sets": ["train"], "share": 0.2}}
    told = forecast(store, next_one(recipe, "lora", **mixed, name="unseen"))
    assert told.data.size == 16 + 4
    assert told.trainable == sum(p.numel() for p in moving(open_model(store, "lora").model).values())
    assert len(store.runs()) == runs
    with pytest.raises(UnknownName):
        forecast(store, next_one(recipe, "nobody"))

"""Weights that are held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lineage.errors import EarmarkError
from lineage.people.reach import drawing_from, reach, sample
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from training.data.corpus import open_corpus
from training.fit import TrainedModel, train
from training.models import ewc, tensors
from training.models.recorded import open_model
from training.models.start import find_start
from training.recipe import Recipe

HELD = {"set": "train", "strength": 1.0, "samples": 8}


@pytest.fixture(scope="module")
def first(store: Store, base: Path) -> TrainedModel:
    """A model of `train`."""
    return train(
        store,
        Recipe(name="first", base=str(base), train="train", epochs=4, batch_size=8, learning_rate=3e-3, dropout=0),
    )


def continued(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.variant(**{"name": "second", "base": "model:first", "train": "test", "epochs": 3, **changes})


def moved(store: Store, made: TrainedModel, information: tensors.Tensors) -> float:
    """√Σ F (θ − θ*)²: how far the weights went, each as far as the old set hangs on it."""
    there, here = (dict(open_model(store, m).model.named_parameters()) for m in ("first", made.model_id))
    return float(sum((f * (here[n] - there[n]).detach() ** 2).sum() for n, f in information.items()) ** 0.5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_gradient_of_the_penalty_is_its_definition(
    store: Store, first: TrainedModel, recipe: Recipe, method: str
) -> None:
    start = find_start(store, continued(recipe, method=method, ewc=HELD))
    found = ewc.information(store, start, resolve_set(store, "train"), start.recipe.ewc)  # type: ignore[arg-type]
    model = start.model()
    penalty = ewc.Penalty(model, found.tensors, 7.0)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    anchors = {n: p.detach().clone() for n, p in trained.items()}
    assert all(not g.any() for g in torch.autograd.grad(penalty(), list(trained.values())))
    torch.manual_seed(0)
    with torch.no_grad():
        for p in trained.values():
            p += torch.randn_like(p)
    value = penalty()
    gradients = torch.autograd.grad(value, list(trained.values()))
    for (name, p), gradient in zip(trained.items(), gradients, strict=True):
        assert torch.allclose(gradient, 7.0 * found.tensors[name] * (p - anchors[name]).detach(), rtol=1e-5)
    expected = sum((found.tensors[n] * (p - anchors[n]).double() ** 2).sum() for n, p in trained.items())
    assert value.item() == pytest.approx(3.5 * expected.item(), rel=1e-5)
    if method == "lora":
        assert not any(f.any() for n, f in found.tensors.items() if "lora_A" in n)
        assert all(f.any() for n, f in found.tensors.items() if "lora_B" in n)


def test_the_information_is_of_single_utterances_and_is_computed_once(
    store: Store, first: TrainedModel, recipe: Recipe
) -> None:
    start = find_start(store, continued(recipe, ewc=HELD))
    data = resolve_set(store, "train")
    found = ewc.information(store, start, data, start.recipe.ewc)  # type: ignore[arg-type]
    runs = len(store.runs())
    again = ewc.information(store, start, data, start.recipe.ewc)  # type: ignore[arg-type]
    assert len(store.runs()) == runs
    assert (again.run_id, again.artifact, again.samples) == (found.run_id, found.artifact, 8)
    corpus = open_corpus(store, data.digest, start.family)
    model = start.model()
    name, weight = "model.encoder.conv1.weight", model.model.encoder.conv1.weight  # type: ignore[union-attr]
    total, tokens = torch.zeros_like(weight), 0
    for row in ewc.chosen(corpus, start.recipe.ewc):  # type: ignore[arg-type]
        nll, counted = start.family.losses(model, corpus.batch([row]))
        total += torch.autograd.grad(nll.sum(), weight)[0] ** 2
        tokens += int(counted.sum())
    assert torch.allclose(again.tensors[name], total / tokens, rtol=1e-4, atol=1e-9)
    caches = reach(store, sample(store, str(members(store, data.digest)[0].as_py()))).caches
    assert found.artifact in caches  # whoever is erased takes it along


def test_strength_goes_from_none_to_not_moving(store: Store, first: TrainedModel, recipe: Recipe) -> None:
    recipe = continued(recipe, gradient_accumulation=2, epochs=10)
    plain = train(store, recipe)
    made = {s: train(store, recipe.variant(ewc={**HELD, "strength": s})) for s in (0.0, 1e2, 1e8)}
    assert made[0.0].model_id == plain.model_id
    run = store.resolve_run(made[1e2].run_id)
    assert resolve_set(store, "train").digest in run.inputs
    assert train(store, Recipe.parse(run.config["recipe"])).reused
    information = tensors.read(store.artifact(run.result["ewc"]["fisher"]))
    distance = {s: moved(store, m, information) for s, m in made.items()}
    assert distance[1e8] < 0.1 * distance[1e2]
    assert distance[1e2] < 0.5 * distance[0.0]
    assert run.result["ewc"]["penalty"] == pytest.approx(0.5 * 1e2 * distance[1e2] ** 2, rel=1e-3)
    assert {m["model_id"] for m in drawing_from(store, {resolve_set(store, "train").digest})} >= {made[1e2].model_id}


def test_what_cannot_be_held_is_told(store: Store, first: TrainedModel, recipe: Recipe) -> None:
    with pytest.raises(EarmarkError, match="is the training set"):
        continued(recipe, ewc={**HELD, "set": "test"})
    with pytest.raises(EarmarkError, match="is the training set"):
        train(store, continued(recipe, ewc={**HELD, "set": resolve_set(store, "test").digest}))
    with pytest.raises(EarmarkError, match="no set 'trian'"):
        train(store, continued(recipe, ewc={**HELD, "set": "trian"}))
    with pytest.raises(EarmarkError, match="differ in"):
        ewc.Penalty(torch.nn.Linear(2, 2), {"weight": torch.zeros(2, 2)}, 1.0)

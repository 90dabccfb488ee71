from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lineage.store import Store
from training.families import open_family
from training.fit import train
from training.loops.checkpoints import checkpoints, spaced
from training.recipe import Recipe


def test_evenly_spaced_up_to_the_end() -> None:
    assert spaced(0, 10) == set()
    assert spaced(1, 10) == {10}
    assert spaced(5, 10) == {2, 4, 6, 8, 10}
    assert spaced(50, 4) == {1, 2, 3, 4}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_checkpoints_hold_weights_moments_and_rates(store: Store, recipe: Recipe, method: str) -> None:
    trained = train(store, recipe.variant(method=method, weight_decay=0.1), checkpoints=3)
    kept = checkpoints(store, trained.run_id)
    assert [c.step for c in kept] == [3, 7, 10]
    assert kept[0].learning_rate > kept[-1].learning_rate > 0  # linear decay, and never the rate of a step not taken
    for checkpoint in kept:
        weights, (first, second) = checkpoint.weights(), checkpoint.moments()
        assert weights.keys() == first.keys() == second.keys() == checkpoint.optimiser()["weight_decay"].keys()
        assert all((second[n] >= 0).all() for n in second)
    assert checkpoint.optimiser()["betas"] == [0.9, 0.999]
    decay = checkpoint.optimiser()["weight_decay"]
    assert {decay[n] for n in decay if "norm" in n or n.endswith("bias")} <= {0.0}
    assert 0.1 in decay.values()
    if method == "full":
        saved = load_file(trained.path / "model.safetensors")
        assert all(torch.equal(saved[n], weights[n]) for n in saved if n in weights)
        assert len(weights) > 20


def test_keeping_checkpoints_does_not_change_the_weights(store: Store, recipe: Recipe) -> None:
    recipe = recipe.variant(seed=21)
    assert train(store, recipe).model_id == train(store, recipe, checkpoints=4).model_id


def test_the_first_step_can_be_recomputed_from_the_checkpoint(store: Store, recipe: Recipe, base: Path) -> None:
    """AdamW by hand: weights after one step follow from the base's weights, the moments and the noted rate."""
    one = recipe.variant(epochs=1, batch_size=24, weight_decay=0.1, warmup=0, schedule="constant")
    (checkpoint,) = checkpoints(store, train(store, one, checkpoints=1).run_id)
    before = dict(open_family("whisper", str(base)).model().named_parameters())
    weights, (first, second), about = checkpoint.weights(), checkpoint.moments(), checkpoint.optimiser()
    for name, after in weights.items():
        mean, square = first[name] / (1 - about["betas"][0]), second[name] / (1 - about["betas"][1])
        kept = before[name] * (1 - checkpoint.learning_rate * about["weight_decay"][name])
        expected = kept - checkpoint.learning_rate * mean / (square.sqrt() + about["eps"])
        assert torch.allclose(after, expected, atol=1e-6), name

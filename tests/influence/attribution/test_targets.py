from __future__ import annotations

import numpy as np
import pytest
import torch

from influence.attribution.targets import Targets, open_targets
from influence.attribution.trajectory import Trajectory, losses, open_trajectory
from lineage.selection import slices
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.evaluation.evaluate import evaluate
from training.fit import train
from training.recipe import Recipe

NAMES = ["accent=north", "noise=hum", "all"]


@pytest.fixture(scope="module")
def trajectory(store: Store, recipe: Recipe) -> Trajectory:
    return open_trajectory(store, train(store, recipe).model_id)


@pytest.fixture(scope="module")
def targets(store: Store, trajectory: Trajectory) -> Targets:
    population = resolve_set(store, "test")
    with store.run("plan") as run:
        frozen = {
            s.name: slices.freeze(run, s, population).set_digest
            for s in slices.parse_slices(store, NAMES, population.digest)
        }
    return open_targets(store, trajectory.opened.family, "none", population.digest, frozen, "basic")


def test_a_target_s_loss_is_what_evaluation_reports(store: Store, trajectory: Trajectory, targets: Targets) -> None:
    found = targets.losses(trajectory.opened.model, 8)
    reported = evaluate(store, trajectory.opened.record.model_id, "test")
    expected = [reported.figure("loss", n).interval.value for n in NAMES]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [3, 32])
def test_gradients_of_overlapping_targets_are_those_of_each_alone(
    trajectory: Trajectory, targets: Targets, batch_size: int
) -> None:
    model = trajectory.opened.model
    found = targets.gradients(model, batch_size)
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    own = [p for p in model.parameters() if p.requires_grad]
    for k in range(len(NAMES)):
        nll, _ = losses(model, targets.corpus, np.flatnonzero(targets.masks[k]))
        alone = torch.autograd.grad(nll.sum() / targets.words[k], own)
        for name, gradient in zip(names, alone, strict=True):
            assert torch.allclose(found[name][k], gradient, rtol=1e-3, atol=1e-5)


def test_words_are_counted_per_target(targets: Targets) -> None:
    words = [len(t.split()) for t in targets.corpus.spoken]
    assert targets.words[2] == sum(words)
    assert targets.words[0] == sum(w for w, m in zip(words, targets.masks[0], strict=True) if m)

from __future__ import annotations

import numpy as np
import pytest
import torch

from influence.attribution.methods import NAMES, Method, method
from influence.attribution.methods.adam_tracin import AdamTracIn
from influence.attribution.methods.tracin import TracIn
from influence.attribution.targets import Targets, open_targets
from influence.attribution.trajectory import Trajectory, load_state, losses, open_trajectory
from lineage.selection import slices
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.fit import train
from training.recipe import Recipe

ROWS = np.arange(36)


@pytest.fixture(scope="module")
def trajectory(store: Store, recipe: Recipe) -> Trajectory:
    return open_trajectory(store, train(store, recipe).model_id)


@pytest.fixture(scope="module")
def targets(store: Store, trajectory: Trajectory) -> Targets:
    population = resolve_set(store, "test")
    with store.run("plan") as run:
        frozen = {
            s.name: slices.freeze(run, s, population).set_digest
            for s in slices.parse_slices(store, ["accent=north", "all"], population.digest)
        }
    return open_targets(store, trajectory.opened.family, "none", population.digest, frozen, "basic")


def test_every_method_says_its_name() -> None:
    for name in NAMES:
        found = method(name)
        assert isinstance(found, Method)
        assert found.name == name
        assert type(found).__doc__


def by_hand(trajectory: Trajectory, targets: Targets, piece: int, adam: bool) -> np.ndarray:
    """The parts of a piece, one sample at a time, from nothing but autograd and the definition."""
    checkpoint = trajectory.checkpoints[piece]
    model = trajectory.untrained()
    load_state(model, checkpoint.weights())
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    scale = {n: torch.ones_like(p) for n, p in own.items()}
    if adam:
        second, settings = checkpoint.moments()[1], checkpoint.optimiser()
        for n in scale:
            corrected = second[n] / (1 - settings["betas"][1] ** checkpoint.step)
            scale[n] = 1 / (corrected.sqrt() + settings["eps"])
    goals = []
    for k in range(2):
        nll, _ = losses(model, targets.corpus, np.flatnonzero(targets.masks[k]))
        goals.append(torch.autograd.grad(nll.sum() / targets.words[k], list(own.values())))
    start = trajectory.checkpoints[piece - 1].step if piece else 0
    parts = np.zeros((36, 2))
    for exposure, credit in zip(*trajectory.consumed(start, checkpoint.step), strict=True):
        nll, _ = trajectory.losses(model, [exposure])
        gradient = torch.autograd.grad(nll.sum(), list(own.values()))
        for k in range(2):
            products = zip(goals[k], scale.values(), gradient, strict=True)
            parts[exposure.row, k] += credit * sum(float((v * d * g).sum()) for v, d, g in products)
    return parts


@pytest.mark.parametrize("piece", [0, 2])
def test_tracin_is_its_definition(trajectory: Trajectory, targets: Targets, piece: int) -> None:
    parts = TracIn().prepare(trajectory, targets, piece, 8).score(ROWS)
    expected = by_hand(trajectory, targets, piece, adam=False)
    assert np.abs(parts - expected).max() < 1e-4 * np.abs(expected).max()


def test_each_exposure_has_its_own_gradient(store: Store, recipe: Recipe, targets: Targets) -> None:
    tempo = {"transform": "tempo", "parameters": {"factor": [1.05, 1.2]}, "probability": 0.7}
    made = train(store, recipe.variant(augment=[tempo], checkpoints=1))
    augmented = open_trajectory(store, made.model_id)
    parts = TracIn().prepare(augmented, targets, 0, 8).score(ROWS)
    expected = by_hand(augmented, targets, 0, adam=False)
    assert np.abs(parts - expected).max() < 1e-4 * np.abs(expected).max()
    halves = [TracIn().prepare(augmented, targets, 0, 8).score(rows) for rows in (ROWS[:7], ROWS[7:])]
    assert np.abs(np.concatenate(halves) - parts).max() < 1e-4 * np.abs(expected).max()


def test_adam_tracin_is_its_definition(trajectory: Trajectory, targets: Targets) -> None:
    parts = AdamTracIn().prepare(trajectory, targets, 1, 8).score(ROWS)
    expected = by_hand(trajectory, targets, 1, adam=True)
    clipping = float((parts * expected).sum() / (expected**2).sum())
    assert 0 < clipping <= 1 + 1e-4
    assert np.abs(parts - clipping * expected).max() < 1e-3 * np.abs(parts).max()


def test_without_clipping_there_is_no_factor(store: Store, recipe: Recipe, targets: Targets) -> None:
    free = open_trajectory(store, train(store, recipe.variant(max_grad_norm=0)).model_id)
    parts = AdamTracIn().prepare(free, targets, 1, 8).score(ROWS)
    expected = by_hand(free, targets, 1, adam=True)
    assert np.abs(parts - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("name", NAMES)
def test_drops_add_up_to_what_training_achieved(trajectory: Trajectory, targets: Targets, name: str) -> None:
    chosen = method(name)
    drops = [chosen.prepare(trajectory, targets, p, 8).drop for p in range(chosen.pieces(trajectory))]
    whole = targets.losses(trajectory.untrained(), 8) - targets.losses(trajectory.opened.model, 8)
    assert sum(drops) == pytest.approx(whole, rel=1e-4, abs=1e-6)


def test_combining_explains_the_drop() -> None:
    rng = np.random.default_rng(0)
    parts, drops = rng.normal(1, 0.5, (3, 20, 2)), np.array([[2.0, 3.0], [0.5, 0.5], [-0.1, 0.0]])
    assert TracIn().combine(parts, drops).sum() == pytest.approx(drops.sum())
    each = AdamTracIn().combine(parts, drops)
    assert each.sum() == pytest.approx(drops[:2].sum())  # a part of the run that got nowhere earns nobody anything
    most = AdamTracIn().combine(parts, np.full((3, 2), 1e6))
    assert most == pytest.approx(parts.sum(axis=0))  # never more than first order promised


def test_the_sign_is_that_of_removing(trajectory: Trajectory, targets: Targets) -> None:
    """A step along a sample's gradient lowers the target's loss exactly where its influence is positive."""
    parts = TracIn().prepare(trajectory, targets, 0, 8).score(ROWS)
    row = int(np.abs(parts[:, 1]).argmax())
    model = trajectory.untrained()
    load_state(model, trajectory.checkpoints[0].weights())
    own = [p for p in model.parameters() if p.requires_grad]
    before = targets.losses(model, 24)[1]
    nll, _ = losses(model, trajectory.corpus, [row])
    step = torch.autograd.grad(nll.sum(), own)
    with torch.no_grad():
        for parameter, direction in zip(own, step, strict=True):
            parameter -= 1e-5 * direction
    after = targets.losses(model, 24)[1]
    assert (before - after) * parts[row, 1] > 0

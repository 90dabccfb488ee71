from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence.attribution.trajectory import Trajectory, learning_rates, load_state, open_trajectory, parameters_of
from lineage.errors import EarmarkError, UnknownName
from lineage.store import Store
from training.families import open_family
from training.fit import train
from training.loops.development import Development, Measured
from training.models.recorded import adopt_base, open_model
from training.recipe import Recipe


@pytest.fixture(scope="module")
def trajectory(store: Store, recipe: Recipe) -> Trajectory:
    return open_trajectory(store, train(store, recipe).model_id)


def test_every_exposure_is_there(trajectory: Trajectory) -> None:
    assert len(trajectory.steps) == 2 * 36
    assert set(np.bincount(trajectory.samples)) == {2}
    assert trajectory.steps.max() + 1 == len(trajectory.rates) == 12


def test_learning_rates_are_those_that_were_used(trajectory: Trajectory) -> None:
    """`rates` itself compares with what the checkpoints recorded."""
    assert trajectory.rates[0] == 0
    assert trajectory.rates.max() == pytest.approx(trajectory.recipe.learning_rate)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.3, 5])
def test_schedules(store: Store, recipe: Recipe, schedule: str, warmup: float) -> None:
    made = train(store, recipe.variant(schedule=schedule, warmup=warmup, epochs=1))
    opened = open_trajectory(store, made.model_id)
    assert len(opened.rates) == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "cosine_with_min_lr", "min_lr_rate": 0.2},
        {"schedule": "polynomial", "power": 2, "min_lr_rate": 0.1},
        {"schedule": "inverse_sqrt"},
    ],
)
def test_schedules_with_parameters(store: Store, recipe: Recipe, fields: dict) -> None:
    made = train(store, recipe.variant(**fields, epochs=1))
    assert open_trajectory(store, made.model_id).rates.max() == pytest.approx(recipe.learning_rate)


def test_what_came_after_the_best_is_no_part_of_the_way_there(
    store: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter([0.5, 0.6, 0.7])
    monkeypatch.setattr(Development, "measure", lambda self, model, step: Measured(step, next(rates), None, 1, 2))
    fields = {"epochs": 4, "development": "test", "evaluate": [], "keep": "best", "patience": 2, "checkpoints": 8}
    made = train(store, recipe.variant(**fields))
    opened = open_trajectory(store, made.model_id)
    assert opened.run.result["steps"] == 18
    assert len(opened.rates) == 6
    assert opened.steps.max() == 5
    assert [c.step for c in opened.checkpoints] == [3, 6]
    assert all(
        torch.equal(opened.checkpoints[-1].weights()[n], p) for n, p in parameters_of(opened.opened.model).items()
    )


def test_a_schedule_that_is_not_the_recorded_one_is_found(trajectory: Trajectory) -> None:
    other = replace(trajectory, recipe=trajectory.recipe.variant(warmup=0.9))
    with pytest.raises(EarmarkError, match="schedule"):
        _ = other.rates


def test_credit_adds_up_over_parts_of_the_run(trajectory: Trajectory) -> None:
    whole = trajectory.credit(0, 12)
    assert whole == pytest.approx(trajectory.credit(0, 5) + trajectory.credit(5, 12))
    assert (trajectory.tokens * whole).sum() == pytest.approx(
        trajectory.rates.sum()
    )  # every step's shares add up to one


def test_tokens_are_words_and_the_end(trajectory: Trajectory) -> None:
    assert trajectory.tokens.tolist() == [len(t.split()) + 1 for t in trajectory.corpus.transcripts]


def test_a_left_out_sample_earns_no_credit(store: Store, recipe: Recipe) -> None:
    from lineage.selection.sets import members, resolve_set
    from lineage.selection.slices import Slice, freeze

    with store.run("plan") as run:
        south = freeze(run, Slice.parse("accent=south"), resolve_set(store, "train"))
    made = train(store, recipe.variant(epochs=1), weights={south.set_digest: 0.0})
    opened = open_trajectory(store, made.model_id)
    mask = opened.corpus.mask(members(store, south.set_digest))
    credit = opened.credit(0, 6)
    assert (credit[mask] == 0).all()
    assert (credit[~mask] >= 0).all()
    assert opened.step_tokens.sum() == opened.tokens.sum()  # the denominator counts left-out samples, too


def test_the_untrained_model_is_the_base(trajectory: Trajectory) -> None:
    first = dict(trajectory.untrained().named_parameters())
    last = dict(trajectory.opened.model.named_parameters())
    assert any(not torch.equal(first[n], last[n]) for n in first)
    base = dict(open_family("whisper", trajectory.recipe.base).model().named_parameters())
    assert all(torch.equal(first[n], base[n]) for n in first)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_untrained_model_of_a_continued_one_is_its_parent(store: Store, recipe: Recipe, method: str) -> None:
    recipe = recipe.variant(epochs=1, method=method, evaluate=[])
    parent = train(store, recipe.variant(name=f"parent {method}"))
    made = train(store, recipe.variant(name="child", base=f"model:parent {method}", train="test"))
    train(store, recipe.variant(name=f"parent {method}", seed=7))  # a newer one of that name is none of its parents
    first = dict(open_trajectory(store, made.model_id).untrained().named_parameters())
    before = dict(open_model(store, parent.model_id).model.named_parameters())
    assert first.keys() == before.keys()
    assert all(torch.equal(first[n], before[n]) for n in first)


def test_checkpoints_of_another_model_are_refused(trajectory: Trajectory) -> None:
    with pytest.raises(EarmarkError, match="another model"):
        load_state(torch.nn.Linear(2, 2), trajectory.checkpoints[0].weights())


def test_only_models_trained_here_have_a_trajectory(store: Store, recipe: Recipe) -> None:
    with pytest.raises(EarmarkError, match="not trained on this record"):
        open_trajectory(store, adopt_base(store, recipe.base).model_id)
    with pytest.raises(UnknownName):
        open_trajectory(store, "nobody")


def test_warmup_as_a_share_is_rounded_up() -> None:
    recipe = Recipe(name="x", base="b", train="t", epochs=1, learning_rate=1.0, warmup=0.25)
    assert learning_rates(recipe, 10)[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence.attribution.trajectory import (
    Trajectory,
    learning_rates,
    load_state,
    losses,
    open_trajectory,
    parameters_of,
)
from lineage.derivation import transforms
from lineage.derivation.substitutes import record_substitutes
from lineage.errors import EarmarkError, UnknownName
from lineage.selection.sets import members, resolve_set
from lineage.selection.slices import Slice, freeze, select
from lineage.store import Store
from training.families import open_family
from training.fit import TrainedModel, train
from training.loops.development import Development, Measured
from training.loops.trainer import RecordedTrainer
from training.models.recorded import adopt_base, open_model
from training.recipe import Recipe

TEMPO = {"transform": "tempo", "parameters": {"factor": [1.05, 1.2]}}


@pytest.fixture(scope="module")
def trajectory(store: Store, recipe: Recipe) -> Trajectory:
    return open_trajectory(store, train(store, recipe).model_id)


def test_every_exposure_is_there(trajectory: Trajectory) -> None:
    assert len(trajectory.steps) == 2 * 36
    assert set(np.bincount(trajectory.rows)) == {2}
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


def credit(trajectory: Trajectory, start: int, stop: int) -> np.ndarray:
    """How far the gradients of each place were followed."""
    exposures, amounts = trajectory.consumed(start, stop)
    return np.bincount([e.row for e in exposures], weights=amounts, minlength=len(trajectory.corpus))


def test_credit_adds_up_over_parts_of_the_run(trajectory: Trajectory) -> None:
    whole = credit(trajectory, 0, 12)
    assert whole == pytest.approx(credit(trajectory, 0, 5) + credit(trajectory, 5, 12))
    assert (trajectory.tokens * whole).sum() == pytest.approx(
        trajectory.rates.sum()
    )  # every step's shares add up to one


def test_tokens_are_words_and_the_end(trajectory: Trajectory) -> None:
    assert trajectory.tokens.tolist() == [len(t.split()) + 1 for t in trajectory.corpus.transcripts]


def test_what_sounded_alike_is_one(trajectory: Trajectory, store: Store, recipe: Recipe) -> None:
    exposures, _ = trajectory.consumed(0, 12)
    assert [e.row for e in exposures] == list(range(36))
    assert trajectory.samples[0].equals(trajectory.corpus.ids)
    opened = open_trajectory(store, train(store, recipe.variant(augment=[{**TEMPO, "probability": 0.5}])).model_id)
    once = opened.consumed(0, 12)[0]
    plain = [e.row for e in once if opened.presentation.plain(e)]
    assert len(plain) == len(set(plain))
    assert 36 < len(once) < 2 * 36
    both = opened.consumed(0, 6)[0] + opened.consumed(6, 12)[0]
    assert sum(not opened.presentation.plain(e) for e in both) == len(once) - len(plain)


def trained_with_changes(store: Store, recipe: Recipe) -> TrainedModel:
    """Augmented, north replaced by south, which counts half, and west augmented in another way."""
    population = resolve_set(store, "train")
    frozen, ids = {}, {}
    with store.run("plan") as run:
        for accent in ("north", "south", "west"):
            wanted = Slice.parse(f"accent={accent}")
            frozen[accent] = freeze(run, wanted, population).set_digest
            ids[accent] = select(store, wanted, population.digest).to_pylist()
        few = ids["south"][:5]  # in several places each
        pairs = {sample: few[i % len(few)] for i, sample in enumerate(ids["north"])}
        pairing = record_substitutes(run, pairs, name="north by south", population=population)
    return train(
        store, recipe, weights={frozen["south"]: 0.5}, substitutes=pairing,
        augment={frozen["west"]: [{"transform": "tempo", "parameters": {"factor": 0.95}}]},
    )  # fmt: skip


@pytest.mark.parametrize("changed", [False, True], ids=["augmented", "changed"])
def test_gradients_are_those_that_training_had(
    store: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    recipe = recipe.variant(
        augment=[{**TEMPO, "probability": 0.5}], spec_augment={"time_width": 5}, gradient_accumulation=2, checkpoints=6,
        epochs=2, max_grad_norm=0, name=f"augmented {changed}",
    )  # fmt: skip
    had: dict[int, dict[str, torch.Tensor]] = {}
    real = RecordedTrainer.training_step

    def noting(self: RecordedTrainer, model: torch.nn.Module, *given: object) -> torch.Tensor:
        loss = real(self, model, *given)
        had[self.state.global_step] = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        return loss

    monkeypatch.setattr(RecordedTrainer, "training_step", noting)
    made = trained_with_changes(store, recipe) if changed else train(store, recipe)
    opened = open_trajectory(store, made.model_id)
    assert [c.step for c in opened.checkpoints] == list(range(1, 7))
    model, step = opened.opened.model, 4
    load_state(model, opened.checkpoints[step - 1].weights())
    exposures, weights = opened.batch_of(step)

    def apart(nll: torch.Tensor, tokens: torch.Tensor) -> float:
        """How far the step's gradient with these losses is from the one that training had, relative."""
        loss = (nll * torch.from_numpy(weights).to(nll)).sum() / tokens.sum()
        own = [p for n, p in model.named_parameters() if n in had[step]]
        found = torch.cat([g.flatten() for g in torch.autograd.grad(loss, own)])
        expected = torch.cat([g.flatten() for g in had[step].values()])
        return float((found - expected).norm() / expected.norm())

    as_recorded = apart(*losses(model, opened.corpus, [e.row for e in exposures]))
    assert apart(*opened.losses(model, exposures)) < 1e-5 < 0.01 * as_recorded


def test_influence_is_that_of_the_samples_that_were_heard(store: Store, recipe: Recipe) -> None:
    made = trained_with_changes(store, recipe.variant(augment=[TEMPO], epochs=1, name="heard"))
    opened = open_trajectory(store, made.model_id)
    consumed = store.read("exposures", ["sample_id"], "run_id = ?", [made.run_id])["sample_id"].to_pylist()
    assert opened.samples[0].to_pylist() == sorted(set(consumed))
    assert np.bincount(opened.samples[1]).tolist() == [consumed.count(s) for s in opened.samples[0].to_pylist()]


def test_what_cannot_be_presented_again_is_refused(
    store: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = train(store, recipe.variant(augment=[TEMPO], epochs=1))
    monkeypatch.setattr(transforms, "code_version", lambda file: "another")
    with pytest.raises(EarmarkError, match="another version of tempo"):
        open_trajectory(store, made.model_id)


def test_a_left_out_sample_earns_no_credit(store: Store, recipe: Recipe) -> None:
    with store.run("plan") as run:
        south = freeze(run, Slice.parse("accent=south"), resolve_set(store, "train"))
    made = train(store, recipe.variant(epochs=1), weights={south.set_digest: 0.0})
    opened = open_trajectory(store, made.model_id)
    mask = opened.corpus.mask(members(store, south.set_digest))
    earned = credit(opened, 0, 6)
    assert (earned[mask] == 0).all()
    assert (earned[~mask] >= 0).all()
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

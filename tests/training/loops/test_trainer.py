from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import training.loops.trainer
from lineage.ids import halves
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.data.corpus import Corpus, open_corpus
from training.data.order import Exposure, Plan
from training.determinism import deterministic
from training.families import open_family
from training.loops.checkpoints import CheckpointKeeper
from training.loops.exposures import Exposures
from training.loops.trainer import RecordedTrainer
from training.models.ewc import Penalty
from training.recipe import Recipe


@pytest.fixture
def corpus(store: Store, base: Path) -> Corpus:
    return open_corpus(store, resolve_set(store, "train").digest, open_family("whisper", str(base)))


def fit(
    store: Store, corpus: Corpus, recipe: Recipe, weights: np.ndarray, scratch: Path
) -> tuple[dict, str, RecordedTrainer]:
    with store.run("train") as run, deterministic():
        trainer = RecordedTrainer(
            corpus.family.model(dropout=recipe.dropout),
            corpus,
            recipe,
            weights.astype(np.float32),
            device="cpu",
            scratch=scratch,
            recorder=Exposures(run),
            keeper=CheckpointKeeper(0, scratch),
        )
        trainer.train()
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters()}, run.id, trainer


def test_the_loss_is_the_weighted_sum_over_all_tokens(
    store: Store, corpus: Corpus, recipe: Recipe, tmp_path: Path
) -> None:
    """Weight zero takes a sample out of the numerator and leaves the denominator as it was; the gradient is linear."""
    model = corpus.family.model()
    weights = np.array([1, 0, 0.5, 2], dtype=np.float32)
    with store.run("train") as run:
        trainer = RecordedTrainer(
            model,
            corpus,
            recipe,
            np.r_[weights, np.ones(len(corpus) - 4)].astype(np.float32),
            device="cpu",
            scratch=tmp_path,
            recorder=Exposures(run),
            keeper=CheckpointKeeper(0, tmp_path),
        )
        batch = trainer.presentation.collate([trainer.presentation[Exposure(i, 7)] for i in range(4)])
        total = batch["tokens"].sum()
        loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=total)
        nll, tokens = corpus.family.losses(model, corpus.batch([0, 1, 2, 3]))
        assert loss.item() == pytest.approx(float((nll.detach().numpy() * weights).sum() / tokens.sum()), rel=1e-6)
        (whole,) = torch.autograd.grad(loss, model.model.encoder.conv1.weight)
    summed = torch.zeros_like(whole)
    for i, weight in enumerate(weights):
        nll, _ = corpus.family.losses(model, corpus.batch([i]))
        summed += weight / total * torch.autograd.grad(nll.sum(), model.model.encoder.conv1.weight)[0]
    assert torch.allclose(whole, summed, rtol=1e-4, atol=1e-7)


def test_a_penalty_counts_once_a_step(store: Store, corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    """Steps of two forward passes without any sample that counts: all that moves the weights is the penalty."""
    recipe = recipe.variant(gradient_accumulation=2, epochs=1, max_grad_norm=1e-9)
    model = corpus.family.model(dropout=0.0)
    asked = []
    held = Penalty(model, {n: torch.ones_like(p) for n, p in model.named_parameters() if p.requires_grad}, 2.0)
    with store.run("train") as run, deterministic():
        trainer = RecordedTrainer(
            model,
            corpus,
            recipe,
            np.zeros(len(corpus), dtype=np.float32),
            device="cpu",
            scratch=tmp_path,
            recorder=Exposures(run),
            keeper=CheckpointKeeper(0, tmp_path),
            penalty=held,
        )
        plain = RecordedTrainer.compute_loss

        def noted(self: RecordedTrainer, *given: Any, **named: Any) -> torch.Tensor:
            loss = plain(self, *given, **named)
            asked.append((self.state.global_step, float(loss.detach())))
            return loss

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(RecordedTrainer, "compute_loss", noted)
            with torch.no_grad():
                model.model.encoder.conv1.weight[0, 0, 0] += 3.0
            trainer.train()
    assert len(asked) == 5  # 24 utterances by five, two to a step
    first, second = (loss for step, loss in asked if step == 0)
    assert first == pytest.approx(9.0)
    assert second == 0.0


def test_exposures_are_the_plan(store: Store, corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.variant(gradient_accumulation=2)
    weights = np.ones(len(corpus))
    weights[7] = 0
    _, run, trainer = fit(store, corpus, recipe, weights, tmp_path)
    rows = store.read("exposures", where="run_id = ? ORDER BY step, position", parameters=[run])
    plan = Plan(len(corpus), recipe.epochs, recipe.batch_size, 2, recipe.seed)
    expected = [(step, epoch, int(i)) for step, epoch, parts in plan for i in np.concatenate(parts)]
    index = {sample: i for i, sample in enumerate(corpus.ids.to_pylist())}
    found = [(r["step"], r["epoch"], index[r["sample_id"]]) for r in rows.to_pylist()]
    assert found == expected
    assert trainer.state.global_step == plan.steps
    ablated = {r["sample_id"] for r in rows.to_pylist() if r["weight"] == 0}
    assert ablated == {corpus.ids[7].as_py()}
    assert len(set(rows["seed"].to_pylist())) == rows.num_rows
    assert len(trainer.losses.values) == recipe.epochs
    assert (halves(rows["sample_id"]) != 0).any()


def test_accumulating_small_batches_is_one_large_batch(
    store: Store, corpus: Corpus, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = recipe.variant(dropout=0.0, schedule="constant", warmup=0, epochs=1)
    ones = np.ones(len(corpus))
    large, _, _ = fit(store, corpus, recipe.variant(batch_size=8), ones, tmp_path)
    small, _, _ = fit(store, corpus, recipe.variant(batch_size=2, gradient_accumulation=4), ones, tmp_path)
    before = dict(corpus.family.model().named_parameters())
    for name, value in large.items():
        moved = (value - before[name]).abs().max()
        assert (value - small[name]).abs().max() <= 0.02 * moved + 1e-6, name


def test_an_ablated_sample_leaves_no_trace(
    store: Store, corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With weight zero it does not matter what a sample sounds like; with any other weight it does."""
    weights = np.ones(len(corpus))
    weights[3] = 0
    original, batch = corpus.batch, 3

    def tampered(rows, features):
        made = original(rows, features)
        made["input_features"][made["rows"] == batch] += 1.0
        return made

    clean, _, _ = fit(store, corpus, recipe, weights, tmp_path)
    object.__setattr__(corpus, "batch", tampered)
    try:
        dirty, _, _ = fit(store, corpus, recipe, weights, tmp_path)
        counted, _, _ = fit(store, corpus, recipe, np.ones(len(corpus)), tmp_path)
    finally:
        object.__delattr__(corpus, "batch")
    assert all(torch.equal(clean[n], dirty[n]) for n in clean)
    assert not all(torch.equal(clean[n], counted[n]) for n in clean)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_an_ablated_sample_is_spared_the_model_where_nobody_notices(
    store: Store, corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    recipe = recipe.variant(dropout=dropout)
    weights = np.ones(len(corpus))
    weights[2::3] = 0
    heard = []
    losses = corpus.family.losses

    def noted(model: torch.nn.Module, batch: Any) -> Any:
        heard.append(len(batch["tokens"]))
        return losses(model, batch)

    monkeypatch.setattr(corpus.family, "losses", noted)
    spared, run, _ = fit(store, corpus, recipe, weights, tmp_path)
    passed = sum(heard)
    assert passed == (16 if dropout == 0 else 24) * recipe.epochs
    monkeypatch.setattr(training.loops.trainer, "rows_are_independent", lambda model: False)
    all_of_them, all_run, _ = fit(store, corpus, recipe, weights, tmp_path)
    assert sum(heard) - passed == 24 * recipe.epochs
    told = [
        store.read(
            "exposures",
            ["step", "sample_id", "weight", "seed"],
            where="run_id = ? ORDER BY step, position",
            parameters=[r],
        )
        for r in (run, all_run)
    ]
    assert told[0].equals(told[1])
    for name, value in spared.items():
        assert torch.allclose(value, all_of_them[name], rtol=0, atol=2e-4), name


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        ({"schedule": "linear"}, 0.0),
        ({"schedule": "cosine"}, 0.0),
        ({"schedule": "cosine_with_min_lr", "min_lr_rate": 0.25}, 0.25),
        ({"schedule": "polynomial", "power": 2, "min_lr_rate": 0.1}, 0.1),
        ({"schedule": "polynomial"}, 0.0),
        ({"schedule": "inverse_sqrt"}, 0.5),
        ({"schedule": "constant"}, 1.0),
    ],
)
def test_schedules_end_where_they_say(
    store: Store, corpus: Corpus, recipe: Recipe, tmp_path: Path, fields: dict, last: float
) -> None:
    """After a warm-up of 2 steps the rate is the peak; of 8 steps, inverse square root ends at √(2/8)."""
    recipe = recipe.variant(epochs=2, batch_size=6, warmup=2, **fields)
    _, _, trainer = fit(store, corpus, recipe, np.ones(len(corpus)), tmp_path)
    assert trainer.state.global_step == 8
    assert trainer.lr_scheduler.get_last_lr()[0] == pytest.approx(last * recipe.learning_rate, abs=1e-9)


def test_settings_and_generators_are_put_back() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    before = torch.get_num_threads()
    with deterministic(threads=before + 1):
        assert torch.get_num_threads() == before + 1
        torch.rand(100)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()

"""The recorded course of a training run: what each step consumed and how far it went, and the states it passed through.

Everything comes from the record: the steps at which each sample was consumed (`exposures`), the learning rates that the
recipe's schedule gave those steps, the checkpoints with their optimiser state. Together they say how much one sample's
gradient, taken at some state of the model, moved the weights in the part of the run around that state.

A gradient is that of what the model was given. Where a run augmented its data, hid bands of spectrograms, or had other samples
in some places of its set, each exposure is presented once more, from its seed, as it was then (`training.data.presentation`);
exposures that sounded alike, as all of a sample do without augmentation, are one and share their gradient.

Law: at the weights before a recorded step, Σ weight · gradient / tokens over what the step consumed is the gradient that the
training had there, but for its dropout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from transformers import get_scheduler

from lineage.chain import SCHEME
from lineage.errors import EarmarkError
from lineage.ids import halves, id_array
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.data.augment import changed, recorded
from training.data.corpus import Corpus, open_corpus
from training.data.order import Exposure
from training.data.presentation import Presentation
from training.families import Batch, Family, device_of
from training.loops.changes import again, changes
from training.loops.checkpoints import Checkpoint, checkpoints
from training.models.recorded import Opened, open_model, resolve_model
from training.models.start import find_start
from training.recipe import Recipe

Array = npt.NDArray[np.float64]
Losses = tuple[torch.Tensor, torch.Tensor]
RATE_TOLERANCE = 1e-6  # relative
COLLATED = 256


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One training run, opened. Steps count from 0; a checkpoint's `step` is the number of steps taken before it."""

    run: RunInfo
    recipe: Recipe
    opened: Opened
    corpus: Corpus
    presentation: Presentation
    checkpoints: tuple[Checkpoint, ...]
    rows: npt.NDArray[np.int64]  # of each exposure: row in the corpus, step, seed, weight
    steps: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.int64]
    weights: Array

    @cached_property
    def rates(self) -> Array:
        """Learning rate of each step.

        Raises:
            EarmarkError: the recipe's schedule is not what the checkpoints recorded.
        """
        planned = self.run.result.get("planned", self.run.result)["steps"]
        rates = learning_rates(self.recipe, planned)[: kept_steps(self.run)]
        for kept in self.checkpoints:
            if abs(rates[kept.step - 1] - kept.learning_rate) > RATE_TOLERANCE * max(kept.learning_rate, 1e-12):
                raise EarmarkError(
                    f"run {self.run.id[:13]} took step {kept.step} at rate {kept.learning_rate:g}, the recipe says "
                    f"{rates[kept.step - 1]:g} — the schedule of this version differs; train the model again"
                )
        return rates

    @cached_property
    def tokens(self) -> Array:
        """Tokens of each utterance, as the loss counts them."""
        parts = [
            self.corpus.batch(np.arange(i, min(i + COLLATED, len(self.corpus))))["tokens"].numpy()
            for i in range(0, len(self.corpus), COLLATED)
        ]
        return np.concatenate(parts).astype(np.float64)

    @cached_property
    def step_tokens(self) -> Array:
        """Tokens of each step's batch: the denominator of its loss, which counts samples of weight zero, too."""
        counted = np.bincount(self.steps, weights=self.tokens[self.rows], minlength=len(self.rates))
        return counted.astype(np.float64)

    def untrained(self) -> torch.nn.Module:
        """The model as it was before the first step, where the trained one is: the base, or the model that was continued.

        Fresh adapters change nothing yet, so they are left out.
        """
        if self.recipe.lora is not None and not self.recipe.base.startswith(SCHEME):
            model = self.opened.family.model(attention=self.recipe.attention)
        else:
            start = find_start(self.corpus.store, self.recipe)
            fresh = start.adapters is None
            model = start.family.model(attention=self.recipe.attention) if fresh else start.model()
        return model.to(device_of(self.opened.model)).eval()

    @cached_property
    def samples(self) -> tuple[pa.Array, npt.NDArray[np.int64]]:
        """The distinct samples that stood in the places of the set, sorted by id, and which of them stood in each place."""
        distinct, which = np.unique(halves(self.corpus.present), axis=0, return_inverse=True)
        return id_array(distinct), which.ravel()

    def consumed(self, start: int, stop: int) -> tuple[list[Exposure], Array]:
        """What the steps [start, stop) consumed, in the order of rows, and how far each gradient of it was followed.

        That is Σ weight · rate / tokens over the exposures that sounded so; what was followed nowhere is left out.
        """
        inside = (self.steps >= start) & (self.steps < stop)
        steps = self.steps[inside]
        amounts = self.weights[inside] * self.rates[steps] / self.step_tokens[steps]
        followed: dict[Exposure, float] = {}
        alike: dict[int, Exposure] = {}  # by row, the exposure that stands for all for which nothing was drawn
        for row, seed, amount in zip(self.rows[inside].tolist(), self.seeds[inside].tolist(), amounts, strict=True):
            if amount:
                heard = Exposure(row, seed)
                if self.presentation.plain(heard):
                    heard = alike.setdefault(row, heard)
                followed[heard] = followed.get(heard, 0.0) + float(amount)
        exposures = sorted(followed)
        return exposures, np.array([followed[e] for e in exposures], dtype=np.float64)

    def batch_of(self, step: int) -> tuple[list[Exposure], Array]:
        """Exposures and weights of what a step consumed."""
        at = self.steps == step
        pairs = zip(self.rows[at].tolist(), self.seeds[at].tolist(), strict=True)
        return [Exposure(row, seed) for row, seed in pairs], self.weights[at]

    def losses(self, model: torch.nn.Module, exposures: Sequence[Exposure]) -> Losses:
        """Summed loss in nats and tokens of utterances as they were presented in these exposures."""
        batch = self.presentation.collate(self.presentation.__getitems__(exposures))
        return _losses(model, self.corpus.family, batch)


def kept_steps(run: RunInfo) -> int:
    """Steps on the way to the weights that a run kept; what it did after the best is no part of them."""
    chosen = run.result.get("development", {}).get("kept")
    return int(run.result["steps"] if chosen is None else chosen["step"])


def learning_rates(recipe: Recipe, steps: int) -> Array:
    """The learning rate of each step, as `transformers`' scheduler gives it."""
    name, further = recipe.scheduler
    warmup = int(recipe.warmup) if recipe.warmup >= 1 else int(np.ceil(steps * recipe.warmup))
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
    schedule = get_scheduler(
        name, optimiser, num_warmup_steps=warmup, num_training_steps=steps, scheduler_specific_kwargs=further
    )
    rates = []
    for _ in range(steps):
        rates.append(float(optimiser.param_groups[0]["lr"]))
        optimiser.step()
        schedule.step()
    return np.array(rates)


def open_trajectory(store: Store, model: str) -> Trajectory:
    """The run that made a model (name, id or beginning of an id), opened.

    Raises:
        EarmarkError: no such model, or one that was not trained on this record.
    """
    record = resolve_model(store, model)
    run = _with_checkpoints(store, record.model_id, record.run_id)
    if record.set_digest is None or "recipe" not in run.config:
        raise EarmarkError(f"model {record.name} was not trained on this record — attribute a model that was")
    noted = [*run.config["augment"], *(a for own in run.config.get("augment_for", {}).values() for a in own)]
    for name in changed(noted):
        raise EarmarkError(
            f"run {run.id[:13]} was augmented by another version of {name}, so what it heard cannot be presented again — train "
            "the model again"
        )
    recipe = Recipe.parse(run.config["recipe"]).variant(augment=recorded(run.config["augment"]))
    asked = again(run.config)
    otherwise = changes(recipe, store, asked["weights"], asked["substitutes"], asked["augment"])
    opened = open_model(store, record.model_id)
    plain = open_corpus(store, record.set_digest, opened.family, transcripts=opened.transcripts)
    corpus = otherwise.applied(plain, opened.transcripts)
    steps = kept_steps(run)
    columns = ["coalesce(instead_of, sample_id) AS place", "step", "seed", "weight"]
    rows = store.read("exposures", columns, "run_id = ? AND step < ?", [run.id, steps])
    place = {pair: i for i, pair in enumerate(map(tuple, halves(corpus.ids).tolist()))}
    return Trajectory(
        run,
        recipe,
        opened,
        corpus,
        Presentation(corpus, recipe, otherwise.augment),
        tuple(c for c in checkpoints(store, run.id) if c.step <= steps),
        np.array([place[pair] for pair in map(tuple, halves(rows["place"]).tolist())], dtype=np.int64),
        rows["step"].to_numpy().astype(np.int64),
        rows["seed"].to_numpy().astype(np.int64),
        rows["weight"].to_numpy().astype(np.float64),
    )


def _with_checkpoints(store: Store, model_id: str, run_id: str) -> RunInfo:
    """The run that made the model; of several with the same weights, one that kept the most checkpoints."""
    made: list[RunInfo] = [
        r
        for r in store.runs()
        if r.kind == "train" and r.status == "completed" and r.result.get("model_id") == model_id
    ]
    return max(made, key=lambda r: len(r.result.get("checkpoints", [])), default=store.resolve_run(run_id))


def losses(model: torch.nn.Module, corpus: Corpus, rows: Sequence[int] | npt.NDArray[np.int64]) -> Losses:
    """Summed loss in nats and tokens of each utterance as it was recorded, wherever the model is."""
    return _losses(model, corpus.family, corpus.batch(rows))


def _losses(model: torch.nn.Module, family: Family, batch: Batch) -> Losses:
    device = device_of(model)
    return family.losses(model, {name: tensor.to(device) for name, tensor in batch.items()})


def parameters_of(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Trainable parameters by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def load_state(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put a checkpoint's weights into the model.

    Raises:
        EarmarkError: they are not the model's.
    """
    own = parameters_of(model)
    if set(own) != set(weights):
        odd = sorted(set(own) ^ set(weights))[0]
        raise EarmarkError(
            f"the checkpoint and the model differ in parameter {odd} — the checkpoint is of another model"
        )
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)

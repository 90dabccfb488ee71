"""The recorded course of a training run: what each step consumed and how far it went, and the states it passed through.

Everything comes from the record: the steps at which each sample was consumed (`exposures`), the learning rates that the
recipe's schedule gave those steps, the checkpoints with their optimiser state. Together they say how much one sample's
gradient, taken at some state of the model, moved the weights in the part of the run around that state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from transformers import get_scheduler

from lineage.chain import SCHEME
from lineage.errors import EarmarkError
from lineage.ids import halves
from lineage.runs import RunInfo
from lineage.store import Store
from training.data.corpus import Corpus, open_corpus
from training.families import device_of
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
    checkpoints: tuple[Checkpoint, ...]
    samples: npt.NDArray[np.int64]  # of each exposure: row in the corpus, step, weight
    steps: npt.NDArray[np.int64]
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
        counted = np.bincount(self.steps, weights=self.tokens[self.samples], minlength=len(self.rates))
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

    def credit(self, start: int, stop: int) -> Array:
        """How far each sample's gradient was followed in the steps [start, stop): Σ weight · rate / tokens, [samples]."""
        inside = (self.steps >= start) & (self.steps < stop)
        steps = self.steps[inside]
        amounts = self.weights[inside] * self.rates[steps] / self.step_tokens[steps]
        return np.bincount(self.samples[inside], weights=amounts, minlength=len(self.corpus)).astype(np.float64)

    def batch_of(self, step: int) -> tuple[npt.NDArray[np.int64], Array]:
        """Rows and weights of what a step consumed."""
        at = self.steps == step
        return self.samples[at], self.weights[at]


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
    if "substitutes" in run.config or "augment_for" in run.config:
        raise EarmarkError(
            f"model {record.name} was trained with other samples, or other augmentation, in some places of its set — "
            "attribute the model that was trained on the set as it is"
        )
    opened = open_model(store, record.model_id)
    corpus = open_corpus(store, record.set_digest, opened.family, transcripts=opened.transcripts)
    steps = kept_steps(run)
    rows = store.read("exposures", ["sample_id", "step", "weight"], "run_id = ? AND step < ?", [run.id, steps])
    place = {pair: i for i, pair in enumerate(map(tuple, halves(corpus.ids).tolist()))}
    samples = np.array([place[pair] for pair in map(tuple, halves(rows["sample_id"]).tolist())], dtype=np.int64)
    return Trajectory(
        run,
        Recipe.parse(run.config["recipe"]),
        opened,
        corpus,
        tuple(c for c in checkpoints(store, run.id) if c.step <= steps),
        samples,
        rows["step"].to_numpy().astype(np.int64),
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
    """Summed loss in nats and tokens of each utterance, wherever the model is."""
    device = device_of(model)
    batch = {name: tensor.to(device) for name, tensor in corpus.batch(rows).items()}
    return corpus.family.losses(model, batch)


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

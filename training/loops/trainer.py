"""The loop: `transformers.Trainer`, with the loss, the order and the seeds that the record promises.

The loss of an optimiser step is Σ wᵢ·nllᵢ / Σ tokensᵢ over its utterances, and the denominator counts all of them whatever
their weight. So removing a sample is giving it weight zero: it takes its place in the order, in the record and in that
denominator, but leaves no trace in any gradient, and nothing else moves. (`.loss` of `transformers` models is a mean over the
tokens of one batch, which can say neither.)

Through the model it passes only where its absence would be noticed: where dropout draws for the whole batch, say (see
`training.models.independence`). Elsewhere it is spared the work, which is most of what a retraining without half of the data
costs; results agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from lineage.errors import EarmarkError
from lineage.ids import halves
from training.data.augment import Augmentation
from training.data.corpus import Corpus
from training.data.order import Exposure, Plan
from training.data.presentation import Presentation
from training.data.seeds import step_seed
from training.determinism import seed_all
from training.loops.callback import Follower
from training.loops.checkpoints import CheckpointKeeper
from training.loops.exposures import Exposures
from training.loops.resume import Saver
from training.models.ewc import Penalty
from training.models.independence import rows_are_independent
from training.progress import Progress, silent
from training.recipe import Recipe

OPTIMISER = {"optim": "adamw_torch_fused", "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}


class RecordedTrainer(Trainer):  # type: ignore[misc]
    """Trains one model by one recipe on one corpus; `weights` [n] are those of the corpus's utterances.

    `origins` [n] are the sets that they were replayed from, None for new ones; `penalty` is added to every step's loss.
    `further` are told of each step after `progress` and `keeper`, in their order; `saver` comes last.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        corpus: Corpus,
        recipe: Recipe,
        weights: npt.NDArray[np.float32],
        *,
        device: str,
        scratch: Path,
        recorder: Exposures,
        keeper: CheckpointKeeper,
        origins: Sequence[str | None] | None = None,
        penalty: Penalty | None = None,
        further: Sequence[TrainerCallback] = (),
        saver: Saver | None = None,
        progress: Progress = silent,
        augment_for: Mapping[str, Sequence[Augmentation]] | None = None,
    ) -> None:
        super().__init__(
            model=model,
            args=_arguments(recipe, device, scratch),
            train_dataset=range(len(corpus)),
            callbacks=[Follower(recorder, progress), keeper, *further, *([saver] if saver else [])],
        )
        self.remove_callback(PrinterCallback)
        self.loss_is_scaled_for_ga = True
        self.corpus = corpus
        self.presentation = Presentation(corpus, recipe, augment_for)
        self.plan = Plan.of(recipe, len(corpus))
        self.losses = EpochLosses(self.plan.batches_per_epoch)
        self._recorder = recorder
        self._saver = saver
        self._weights = torch.from_numpy(weights)
        self._sparing = rows_are_independent(model)
        self._origins = None if origins is None else np.array(origins, dtype=object)
        self._penalty = None if penalty is None else penalty.to(device)
        self._ids = halves(corpus.present)
        self._places = halves(corpus.ids)
        self._part = 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches in the order of the plan."""
        return _Loader(self.presentation, self.plan)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor]:
        """The batches of one optimiser step, and how many tokens they have together."""
        batches = [next(epoch_iterator) for _ in range(num_batches)]
        self._part = 0
        return batches, torch.stack([b["tokens"].sum() for b in batches]).sum().to(device)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One forward and backward pass, from a seed of its own."""
        step = self.state.global_step
        seed_all(step_seed(self.plan.seed, step, self._part))
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        if not math.isfinite(float(loss)):
            raise EarmarkError(
                f"the loss became {float(loss)} at step {step} of {self.plan.steps} — lower learning_rate, lengthen warmup, "
                "or set max_grad_norm"
            )
        self._part += 1
        return loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Σ wᵢ·nllᵢ / `num_items_in_batch`, the tokens of the whole step; once a step the penalty comes to it."""
        rows, seeds = inputs.pop("rows").cpu(), inputs.pop("seeds").cpu()
        weights = self._weights[rows]
        tokens, counting = inputs["tokens"], self._counting(weights)
        if len(counting) < len(weights):
            inputs = {name: column[counting.to(column.device)] for name, column in inputs.items()}
        with self.accelerator.autocast():  # a family may call parts of the model, which accelerate has not wrapped
            nll, _ = self.corpus.family.losses(model, inputs)
        weighted = (nll * weights[counting].to(nll.device)).sum()
        epoch = self.state.global_step // self.plan.steps_per_epoch
        at = rows.numpy()
        origins = None if self._origins is None else self._origins[at].tolist()
        self._recorder.consumed(
            self.state.global_step,
            epoch,
            self._ids[at],
            weights.numpy(),
            seeds.numpy(),
            origins,
            self._places[at],
        )
        self.losses.note(weighted.detach(), tokens.sum())
        loss: torch.Tensor = weighted / num_items_in_batch
        return loss if self._penalty is None or self._part else loss + self._penalty()

    def _counting(self, weights: torch.Tensor) -> torch.Tensor:
        """Those of a batch that pass through the model: all, or those with any weight; never none, for a gradient is asked."""
        if not self._sparing:
            return torch.arange(len(weights))
        return weights.nonzero().flatten() if weights.any() else torch.zeros(1, dtype=torch.int64)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        self._state_to_go_on_from.load_weights(self.model if model is None else model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self._state_to_go_on_from.load_optimiser(self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Every step draws from a seed of its own."""

    @property
    def _state_to_go_on_from(self) -> Saver:
        assert self._saver is not None
        return self._saver

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it costs more than a step of a tiny model."""
        return 0


class EpochLosses:
    """Σ weighted nats / Σ tokens of every epoch that is through, of `batches` forward passes each."""

    def __init__(self, batches: int) -> None:
        self.values: list[float] = []
        self._batches = batches
        self._sums: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(self, weighted: torch.Tensor, tokens: torch.Tensor) -> None:
        """Add one forward pass; nothing is fetched from the device before the epoch ends."""
        self._sums.append((weighted, tokens))
        if len(self._sums) == self._batches:
            above, below = (
                torch.stack([t.to(weighted.device) for t in c]).sum() for c in zip(*self._sums, strict=True)
            )
            self.values.append(float(above) / float(below))
            self._sums.clear()

    def state(self) -> dict[str, Any]:
        """See `training.loops.resume.Part`."""
        return {"epochs": self.values, "sums": [[float(w), int(t)] for w, t in self._sums]}

    def files(self) -> list[Path]:
        """None."""
        return []

    def restore(self, state: dict[str, Any], file: Callable[[str], Path]) -> None:
        """The inverse of `state`."""
        self.values = state["epochs"]
        self._sums = [(torch.tensor(w, dtype=torch.float32), torch.tensor(t)) for w, t in state["sums"]]


class _Order(Sampler[list[Exposure]]):
    """Batches of one epoch; `Trainer` says which."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[Exposure]]:
        return self._plan.exposures(self._epoch)

    def __len__(self) -> int:
        return self._plan.batches_per_epoch


class _Loader(DataLoader[Any]):
    def __init__(self, presentation: Presentation, plan: Plan) -> None:
        self._order = _Order(plan)
        super().__init__(presentation, batch_sampler=self._order, collate_fn=presentation.collate)

    def set_epoch(self, epoch: int) -> None:
        self._order.set_epoch(epoch)


def _arguments(recipe: Recipe, device: str, scratch: Path) -> TrainingArguments:
    schedule, further = recipe.scheduler
    args = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps or -1,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=schedule,
        lr_scheduler_kwargs=further,
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        bf16=recipe.precision == "bf16",
        use_cpu=device == "cpu",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **OPTIMISER,
    )
    args._n_gpu = min(args.n_gpu, 1)  # DataParallel would cut batches apart, and with them the record's steps
    return args

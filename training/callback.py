"""What a training run truly consumed, written down while it is consumed. Works in anybody's `Trainer`.

    recorder = EarmarkCallback(run)
    Trainer(model, args, train_dataset=data, data_collator=recorder.collator(collate), callbacks=[recorder]).train()

Planned is not consumed: samplers drop, loaders look ahead, runs end early. The ids therefore travel inside the batch, through
worker processes, prefetching and devices, and are taken off again at the model's door, at the moment when the batch enters
the model in training mode. `fit` tells the recorder directly, because its batches go through a family first.

Each exposure is one row: optimiser step, place in the step, epoch, sample, weight, seed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lineage.errors import EarmarkError
from lineage.ids import Halves, halves, id_array
from lineage.runs import Run
from training.progress import Progress, silent

TRAVELLER = "earmark_ids"
FLUSH = 1 << 16  # exposures in memory before they go to the run


class EarmarkCallback(TrainerCallback):  # type: ignore[misc]
    """Records the exposures of one training run; `column` is where items of the data set carry their sample id."""

    def __init__(self, run: Run, *, column: str = "sample_id", progress: Progress = silent) -> None:
        self._run = run
        self._column = column
        self._progress = progress
        self._state: TrainerState | None = None
        self._door: Any = None
        self._step = self._position = 0
        self._rows: list[tuple[Halves, npt.NDArray[Any], npt.NDArray[Any] | None, int, int, int]] = []
        self._pending = 0
        self._taken: list[pa.Table] = []
        self.exposures = 0
        self.remember = False  # what was consumed since the last `take`

    # -- recording ---------------------------------------------------------------------------------------------------

    def consumed(
        self,
        step: int,
        epoch: int,
        ids: Halves,
        weights: npt.NDArray[np.float32] | None = None,
        seeds: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Note that the samples `ids` [n, 2] entered the model in this order, in optimiser step `step`."""
        if step != self._step:
            self._step, self._position = step, 0
        ones = np.ones(len(ids), dtype=np.float32)
        self._rows.append((ids, ones if weights is None else weights, seeds, step, self._position, epoch))
        self._position += len(ids)
        self._pending += len(ids)
        self.exposures += len(ids)
        if self._pending >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Hand what is noted to the run."""
        if not self._rows:
            return
        sizes = [len(r[0]) for r in self._rows]
        places = [r[4] + np.arange(n, dtype=np.int32) for n, r in zip(sizes, self._rows, strict=True)]
        seeds = [
            pa.nulls(n, pa.int64()) if r[2] is None else pa.array(r[2]) for n, r in zip(sizes, self._rows, strict=True)
        ]
        rows = pa.table(
            {
                "step": np.repeat([r[3] for r in self._rows], sizes).astype(np.int32),
                "position": np.concatenate(places),
                "epoch": np.repeat([r[5] for r in self._rows], sizes).astype(np.int32),
                "sample_id": id_array(np.concatenate([r[0] for r in self._rows])),
                "weight": np.concatenate([r[1] for r in self._rows]).astype(np.float32),
                "seed": pa.chunked_array(seeds),
            }
        )
        self._run.append("exposures", rows)
        if self.remember:
            self._taken.append(rows)
        self._rows.clear()
        self._pending = 0

    # -- going on after a crash (see `training.resume`) ------------------------------------------------------------------

    def take(self) -> pa.Table | None:
        """Exposures since the last call, as rows of the table without `run_id`; None if there are none."""
        self.flush()
        taken, self._taken = self._taken, []
        return pa.concat_tables(taken) if taken else None

    def recall(self, rows: pa.Table) -> None:
        """Record exposures of a run that this one goes on from."""
        self._run.append("exposures", rows)
        self.exposures += rows.num_rows

    # -- in anybody's Trainer ----------------------------------------------------------------------------------------

    def collator(self, collate: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
        """`collate`, but the batch carries the sample ids along as a tensor [B, 2].

        Items keep their id from `collate`; set `remove_unused_columns=False` so that it reaches the collator.
        """
        return _Collator(collate, self._column)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Stand at the model's door, and note how much is planned (`lineage.consumed` holds it against what comes)."""
        self._state = state
        counted = args.max_steps > 0
        self._run.result["planned"] = {"epochs": None if counted else args.num_train_epochs, "steps": state.max_steps}
        self._door = model.register_forward_pre_hook(self._enter, with_kwargs=True)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Follow the state, which a resumed run replaces."""
        self._state = state

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Say how far the run is."""
        self._progress(state.global_step, state.max_steps, "training")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the door and write down the rest."""
        if self._door is not None:
            self._door.remove()
        self.flush()

    def _enter(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        ids = kwargs.pop(TRAVELLER, None)
        if ids is not None and module.training and self._state is not None:
            pairs = ids.detach().cpu().numpy().view(np.uint64)
            self.consumed(self._state.global_step, int(self._state.epoch or 0), pairs)
        return args, kwargs


class _Collator:
    """Picklable, because loaders send it to their workers."""

    def __init__(self, collate: Callable[[list[Any]], Any], column: str) -> None:
        self._collate = collate
        self._column = column

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> Any:
        bare, ids = [], []
        for item in items:
            if self._column not in item:
                raise EarmarkError(
                    f"items have no '{self._column}' — add the sample's id to the data set and set remove_unused_columns=False"
                )
            ids.append(_as_uuid(item[self._column]))
            bare.append({k: v for k, v in item.items() if k != self._column})
        batch = self._collate(bare)
        batch[TRAVELLER] = torch.from_numpy(halves(ids).view(np.int64))
        return batch


def _as_uuid(value: Any) -> uuid.UUID:
    if isinstance(value, uuid.UUID):
        return value
    return uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(str(value))

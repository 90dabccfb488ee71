"""Checkpoints with optimiser state, evenly spaced over a run, for attribution that follows the run (TracIn, AdamW-aware).

Each is one `.safetensors` artifact holding, for every trained parameter P, `weights/P`, `exp_avg/P` and `exp_avg_sq/P` as they
were after the step, and under `optimiser` in its metadata the step (counted from 1), the learning rate that step used, the
coefficients of AdamW and each parameter's weight decay. Frozen parameters are those of the base.

Law: the same run writes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lineage.runs import Run
from lineage.store import Store
from training.models.tensors import Tensors, write


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run: after `step` optimiser steps, the last of them at `learning_rate`."""

    step: int
    learning_rate: float
    path: Path

    def weights(self) -> Tensors:
        """Trained parameters by name."""
        return self._read("weights/")

    def moments(self) -> tuple[Tensors, Tensors]:
        """AdamW's first and second moments by parameter name."""
        return self._read("exp_avg/"), self._read("exp_avg_sq/")

    def optimiser(self) -> dict[str, Any]:
        """`betas`, `eps`, and `weight_decay` by parameter name; `step` and `learning_rate`."""
        with safe_open(self.path, framework="pt") as file:
            found: dict[str, Any] = json.loads(file.metadata()["optimiser"])
        return found

    def _read(self, prefix: str) -> Tensors:
        with safe_open(self.path, framework="pt") as file:
            return {k.removeprefix(prefix): file.get_tensor(k) for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118


def checkpoints(store: Store, run_id: str) -> list[Checkpoint]:
    """The checkpoints that a training run kept, in order.

    Raises:
        UnknownName: no such run, or a checkpoint was erased.
    """
    kept = store.resolve_run(run_id).result.get("checkpoints", [])
    return [Checkpoint(c["step"], c["learning_rate"], store.artifact(c["artifact"])) for c in kept]


def spaced(count: int, steps: int) -> set[int]:
    """Steps (from 1) after which to keep `count` checkpoints; the last is the end of the run."""
    count = min(count, steps)
    return {round(k * steps / count) for k in range(1, count + 1)}


class CheckpointKeeper(TrainerCallback):  # type: ignore[misc]
    """Writes checkpoints into `folder` during a run; `keep` makes artifacts of them when it is over."""

    def __init__(self, count: int, folder: Path) -> None:
        self._count = count
        self._folder = folder
        self._due: set[int] = set()
        self._rate = 0.0
        self._kept: list[tuple[int, float, Path]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Plan them."""
        self._due = spaced(self._count, state.max_steps)

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Note the learning rate before the schedule moves on."""
        self._rate = float(optimizer.param_groups[0]["lr"])

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write one if it is due."""
        if state.global_step in self._due:
            path = self._folder / f"step-{state.global_step:06}.safetensors"
            _write(path, model, getattr(optimizer, "optimizer", optimizer), state.global_step, self._rate)
            self._kept.append((state.global_step, self._rate, path))

    # -- going on after a crash (see `training.loops.resume`) ------------------------------------------------------------------

    def state(self) -> list[dict[str, Any]]:
        """Step, rate and file name of each checkpoint so far, as JSON."""
        return [{"step": step, "learning_rate": rate, "file": path.name} for step, rate, path in self._kept]

    def files(self) -> list[Path]:
        """The checkpoints so far."""
        return [path for _, _, path in self._kept]

    def restore(self, state: list[dict[str, Any]], file: Callable[[str], Path]) -> None:
        """The inverse of `state` and `files`."""
        self._kept = [(k["step"], k["learning_rate"], file(k["file"])) for k in state]

    def keep(self, run: Run) -> list[dict[str, Any]]:
        """Make artifacts of what was written; the entries of the run's `checkpoints`."""
        return [{"step": step, "learning_rate": rate, "artifact": run.put(path)} for step, rate, path in self._kept]


def _write(path: Path, model: torch.nn.Module, optimiser: torch.optim.Optimizer, step: int, rate: float) -> None:
    names = {p: n for n, p in model.named_parameters() if p.requires_grad}
    tensors: Tensors = {}
    decay: dict[str, float] = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            name = names[parameter]
            decay[name] = group["weight_decay"]
            tensors[f"weights/{name}"] = parameter
            state: Mapping[str, torch.Tensor] = optimiser.state[parameter]
            for moment in ("exp_avg", "exp_avg_sq"):
                tensors[f"{moment}/{name}"] = state[moment] if state else torch.zeros_like(parameter)
    group = optimiser.param_groups[0]
    about = {
        "step": step,
        "learning_rate": rate,
        "betas": list(group["betas"]),
        "eps": group["eps"],
        "weight_decay": decay,
    }
    # one entry: of several, safetensors writes now this first and now that
    write(path, tensors, {"optimiser": json.dumps(about, sort_keys=True)})

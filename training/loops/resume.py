"""Going on after a crash: the state of a run at work, written down at intervals, and a run that begins from it.

The state after a step is everything that the next step depends on: weights and buffers, the optimiser's moments, the
schedule, how far the run is, what development measured, checkpoints kept so far, and the exposures until then. Order, dropout
and augmentation need no state, because each step draws from a seed of its own (see `training.data.seeds`).

Laws: a run that was killed at any instant and begun again ends with the same weights, exposures, losses and checkpoints as
one that was not; a state that is not whole is never used (see `lineage.storage.unfinished`).

Writing a state takes time, so it waits at least `PAUSE` times as long as the last one took.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lineage.storage.unfinished import Unfinished
from training.loops.exposures import Exposures
from training.models import tensors
from training.recipe import Recipe

PAUSE = 20.0


class Part(Protocol):
    """A part of a run that has a state."""

    def state(self) -> Any:
        """What it is, as JSON."""

    def files(self) -> list[Path]:
        """Files that belong to it; one name always means the same content."""

    def restore(self, state: Any, file: Callable[[str], Path]) -> None:
        """The inverse: `file` says where the file of a name lies now."""


class Saver(TrainerCallback):  # type: ignore[misc]
    """Writes the state of one run into `work`; None writes nothing."""

    def __init__(self, work: Unfinished | None, recipe: Recipe, recorder: Exposures, run_id: str) -> None:
        self._work = work
        self._seconds = recipe.save_seconds
        self._steps = recipe.save_steps
        self._recorder = recorder
        self._run_id = run_id
        self._parts: dict[str, Part] = {}
        self._facts: dict[str, Any] | None = None
        self._exposures: list[str] = []
        self._before: list[dict[str, Any]] = []
        self._spent = {"wall_s": 0.0, "cpu_s": 0.0}
        self._begun = {"wall_s": time.perf_counter(), "cpu_s": time.process_time()}
        self._next = self._begun["wall_s"] + self._seconds
        recorder.remember = work is not None

    # -- going on ----------------------------------------------------------------------------------------------------

    def begin(self, parts: Mapping[str, Part], scratch: Path) -> Path | None:
        """Put the parts in the state that is there; where `Trainer` finds how far the run is, None for a new run."""
        self._parts = dict(parts)
        self._facts = self._work.load() if self._work is not None else None
        if self._work is None or self._facts is None:
            return None
        for name, part in self._parts.items():
            part.restore(self._facts["parts"][name], self._work.file)
        self._exposures = self._facts["exposures"]
        for name in self._exposures:
            self._recorder.recall(pq.read_table(self._work.file(name)))
        self._before = [*self._facts["before"], {"run": self._facts["run"], "step": self._facts["step"]}]
        self._spent = self._facts["spent"]
        TrainerState(**self._facts["trainer"]).save_to_json(str(scratch / "trainer_state.json"))
        return scratch

    def load_weights(self, model: torch.nn.Module) -> None:
        """Put the weights of the state into the model."""
        tensors.restore(model, tensors.read(self._file("weights")))

    def load_optimiser(self, optimiser: Any, schedule: Any) -> None:
        """Put the optimiser and the schedule in their state."""
        assert self._facts is not None
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.read(self._file("optimiser")).items():
            place, _, moment = name.partition("/")
            state.setdefault(int(place), {})[moment] = tensor
        inner = getattr(optimiser, "optimizer", optimiser)
        inner.load_state_dict({"state": state, "param_groups": self._facts["groups"]})
        schedule.load_state_dict(self._facts["schedule"])

    @property
    def step(self) -> int:
        """Steps that were taken before; 0 for a new run."""
        return 0 if self._facts is None else int(self._facts["step"])

    @property
    def before(self) -> list[dict[str, Any]]:
        """Runs that this one goes on from, oldest first: `run`, and the `step` after which they were killed or later."""
        return self._before

    @property
    def spent(self) -> dict[str, float]:
        """Seconds so far, those of the runs before until their last states among them."""
        now = {"wall_s": time.perf_counter(), "cpu_s": time.process_time()}
        return {name: self._spent[name] + now[name] - self._begun[name] for name in now}

    def _file(self, what: str) -> Path:
        assert self._work is not None
        assert self._facts is not None
        return self._work.file(_name(what, self._facts["step"]))

    # -- saving ------------------------------------------------------------------------------------------------------

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        optimizer: Any = None,
        lr_scheduler: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write the state if it is due; comes after every other part of the run."""
        now = time.perf_counter()
        by_clock = self._seconds > 0 and now >= self._next
        by_steps = self._steps > 0 and state.global_step % self._steps == 0
        if self._work is None or not (by_clock or by_steps):
            return
        self._save(self._work, state, model, getattr(optimizer, "optimizer", optimizer), lr_scheduler)
        self._next = time.perf_counter() + max(self._seconds, PAUSE * (time.perf_counter() - now))

    def _save(self, work: Unfinished, state: TrainerState, model: Any, optimiser: Any, schedule: Any) -> None:
        step = state.global_step
        whole = optimiser.state_dict()
        moments = {f"{place}/{name}": t for place, entry in whole["state"].items() for name, t in entry.items()}
        weights, optimised, exposed = (_name(what, step) for what in ("weights", "optimiser", "exposures"))
        work.add(weights, lambda path: tensors.write(path, tensors.moving(model)))
        work.add(optimised, lambda path: tensors.write(path, moments))
        consumed = self._recorder.take()
        if consumed is not None:
            work.add(exposed, lambda path: pq.write_table(consumed, path, compression="zstd"))
            self._exposures = [*self._exposures, exposed]
        kept = [path for part in self._parts.values() for path in part.files()]
        for path in kept:
            work.add(path.name, partial(shutil.copyfile, path))
        facts = {
            "run": self._run_id,
            "step": step,
            "before": self._before,
            "spent": self.spent,
            "trainer": asdict(state),
            "groups": whole["param_groups"],
            "schedule": schedule.state_dict(),
            "exposures": self._exposures,
            "parts": {name: part.state() for name, part in self._parts.items()},
        }
        work.commit(json.loads(json.dumps(facts)), [weights, optimised, *self._exposures, *(p.name for p in kept)])


def _name(what: str, step: int) -> str:
    return f"{what}-{step:08}.{'parquet' if what == 'exposures' else 'safetensors'}"

"""Development: the word error rate on a set that is not trained on, measured while a run is at work.

It is measured after every epoch, or every so many steps, by the code that evaluates finished models. `patience` ends a run
after that many measurements in a row without a better one; `keep: best` keeps the weights of the lowest WER, the earliest of
several. The whole curve goes into the run's result, whatever is kept.

What a run consumed after the weights it keeps is on record like everything else that it consumed: it left no trace in them,
and `kept` in the run's result says after which step they were taken.

Law: a run with `patience: null` and `keep: last` ends with the same weights as one without a development set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lineage.errors import EarmarkError
from training.data.corpus import Corpus
from training.evaluation import wer
from training.evaluation.hearing import BATCH, hear
from training.models import tensors
from training.normalise import normaliser
from training.progress import Progress, silent
from training.recipe import Recipe

NORMALISER = "basic"


@dataclass(frozen=True)
class Measured:
    """One measurement, after `step` steps: WER, nats per word of what can be spelt, and the words behind them."""

    step: int
    wer: float
    loss: float | None
    errors: int
    words: int


class Development(TrainerCallback):  # type: ignore[misc]
    """Measures one run on `corpus`, stops it and keeps its best weights, as the recipe says; `folder` is for those."""

    def __init__(
        self, corpus: Corpus, recipe: Recipe, steps_per_epoch: int, folder: Path, progress: Progress = silent
    ) -> None:
        text = normaliser(NORMALISER)
        self._corpus = corpus
        self._normalise = text
        self._references = [text(t) for t in corpus.spoken]
        if not any(r.split() for r in self._references):
            raise EarmarkError(f"development set {recipe.development} has no words — name a set of speech")
        self._every = recipe.evaluate_every or steps_per_epoch
        self._patience = recipe.patience
        self._best_wanted = recipe.keep == "best"
        self._folder = folder
        self._progress = progress
        self.curve: list[Measured] = []
        self.best: Measured | None = None
        self.stopped = False
        self._best_file: Path | None = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """Measure if it is due, or if the run is over."""
        step = state.global_step
        if step % self._every and step != state.max_steps:
            return
        measured = self.measure(model, step)
        self.curve.append(measured)
        if self.best is None or measured.wer < self.best.wer:
            self.best = measured
            if self._best_wanted:
                self._best_file = self._folder / f"best-{step:06}.safetensors"
                tensors.write(self._best_file, tensors.moving(model))
        since = len(self.curve) - 1 - self.curve.index(self.best)
        if self._patience is not None and since >= self._patience:
            self.stopped = control.should_training_stop = True

    def measure(self, model: torch.nn.Module, step: int) -> Measured:
        """WER and loss of the model as it is now."""
        heard, nll, _ = hear(model, self._corpus, batch_size=BATCH, progress=self._progress)
        counts = wer.count(self._references, [self._normalise(h.text) for h in heard])
        spelt = np.isfinite(nll)
        words = sum(c.words for c, is_spelt in zip(counts, spelt, strict=True) if is_spelt)
        whole = wer.total(counts)
        loss = float(nll[spelt].sum()) / words if words else math.nan
        return Measured(step, whole.wer, loss if math.isfinite(loss) else None, whole.errors, whole.words)

    def settle(self, model: torch.nn.Module) -> None:
        """Put the weights to keep into the model."""
        if self._best_file is not None:
            tensors.restore(model, tensors.read(self._best_file))

    @property
    def kept(self) -> Measured:
        """The measurement of the weights that are kept."""
        chosen = self.best if self._best_wanted else self.curve[-1]
        assert chosen is not None
        return chosen

    def result(self) -> dict[str, Any]:
        """What the run notes under `development`."""
        return {
            "set": self._corpus.set_digest,
            "normaliser": self._normalise.label,
            "curve": [asdict(m) for m in self.curve],
            "kept": asdict(self.kept),
            "stopped": self.stopped,
        }

    # -- going on after a crash (see `training.loops.resume`) ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that was measured, as JSON."""
        best = None if self.best is None else self.curve.index(self.best)
        return {"curve": [asdict(m) for m in self.curve], "best": best, "stopped": self.stopped}

    def files(self) -> list[Path]:
        """The best weights so far, if they are wanted."""
        return [] if self._best_file is None else [self._best_file]

    def restore(self, state: dict[str, Any], file: Callable[[str], Path]) -> None:
        """The inverse of `state` and `files`."""
        self.curve = [Measured(**m) for m in state["curve"]]
        self.stopped = state["stopped"]
        if state["best"] is not None:
            self.best = self.curve[state["best"]]
            if self._best_wanted:
                self._best_file = file(f"best-{self.best.step:06}.safetensors")

"""What methods that follow the recorded descent have in common.

Training moved the weights by −Σ_steps rate · D · Σ_i w_i ∇nll_i / tokens, where D is what the optimiser multiplies gradients
with. To first order, then, sample i changed the target's loss L by

    −Σ_steps  w_i · rate / tokens · ⟨∇L, D ∇nll_i⟩

and without it the loss would be higher by as much: its influence. The sum over steps is replaced by one over a few states:
each stands for the steps of its part of the run, and the gradients are those at the state, of the utterances as those steps
heard them. So a piece is a state, and what is left to a method is which states, which steps each stands for, and D. A state
costs a gradient for each sample of its steps, and one for each exposure that augmentation made sound of its own.

First order promises more than steps of real size keep: late in a run they go to and fro across a valley, and the loss falls by
a hundredth of ⟨∇L, step⟩. What really happened is known, though: the targets' losses before and after each part of the run. So
parts are scaled until all samples together explain the drop that was seen (the completeness that exact path integrals have by
themselves). That changes no comparison between samples within a part, but gives influences their unit, and parts of the run
the weight that they had.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from torch import nn

from influence.attribution.hooks import Gradient, Tap
from influence.attribution.methods import Method, Prepared, Rows
from influence.attribution.targets import Targets
from influence.attribution.trajectory import Array, Trajectory, load_state, parameters_of
from training.loops.checkpoints import Checkpoint


@dataclass(frozen=True)
class State:
    """A state of the model that stands for the steps [start, stop).

    `checkpoint` is the state, None the model as it ended; `before` is where the steps began, None the untrained model.
    """

    before: Checkpoint | None
    checkpoint: Checkpoint | None
    start: int
    stop: int


class Descent(Method):
    """See the head of this file."""

    @abstractmethod
    def states(self, trajectory: Trajectory) -> list[State]:
        """The states, in order."""

    def scale(self, trajectory: Trajectory, state: State, model: nn.Module, gradient: Gradient) -> Gradient:
        """D applied to gradients [K, *shape] taken at the state, whose weights `model` has.

        By default D is one, which is plain gradient descent.
        """
        return gradient

    def pieces(self, trajectory: Trajectory) -> int:
        """See `Method`."""
        return len(self.states(trajectory))

    def combine(self, parts: Array, drops: Array) -> Array:
        """See `Method`: one factor for the whole run, so that all samples together explain the whole drop."""
        promised, kept = float(parts.sum()), float(drops.sum())
        return np.asarray(parts.sum(axis=0) * (kept / promised if promised > 0 and kept > 0 else 1.0))

    def prepare(self, trajectory: Trajectory, targets: Targets, piece: int, batch_size: int) -> Prepared:
        """See `Method`."""
        state = self.states(trajectory)[piece]
        model = copy.deepcopy(trajectory.opened.model).eval()  # other pieces start from the same
        if state.before is not None:
            load_state(model, state.before.weights())
            before = targets.losses(model, batch_size)
        else:
            before = targets.losses(trajectory.untrained(), batch_size)
        load_state(
            model, parameters_of(trajectory.opened.model) if state.checkpoint is None else state.checkpoint.weights()
        )
        directions = self.scale(trajectory, state, model, targets.gradients(model, batch_size))
        drop = before - targets.losses(model, batch_size)
        return Prepared(_Scorer(trajectory, model, directions, state, batch_size), drop)


class _Scorer:
    def __init__(
        self, trajectory: Trajectory, model: nn.Module, directions: Gradient, state: State, batch_size: int
    ) -> None:
        self._trajectory = trajectory
        self._model = model
        self._directions = directions
        self._exposures, self._credit = trajectory.consumed(state.start, state.stop)
        self._rows = np.array([e.row for e in self._exposures], dtype=np.int64)
        self._batch_size = batch_size
        self._checked = False

    def __call__(self, rows: Rows) -> Array:
        parts = np.zeros((len(self._trajectory.corpus), len(next(iter(self._directions.values())))))
        asked = np.flatnonzero(np.isin(self._rows, rows))
        with Tap(self._model) as tap:
            for start in range(0, len(asked), self._batch_size):
                part = asked[start : start + self._batch_size]
                tap.batch(len(part))
                nll, _ = self._trajectory.losses(self._model, [self._exposures[i] for i in part])
                # the first batch is held against PyTorch's own gradient, so that no model slips through unseen
                score = tap.dot if self._checked else tap.check
                self._checked = True
                products = score(nll, self._directions).detach().double().cpu().numpy()
                np.add.at(parts, self._rows[part], products * self._credit[part, None])
        return np.asarray(parts[rows])

"""What methods that follow the recorded descent have in common.

Training moved the weights by −Σ_steps rate · D · Σ_i w_i ∇nll_i / tokens, where D is what the optimiser multiplies gradients
with. To first order, then, sample i changed the target's loss L by

    −Σ_steps  w_i · rate / tokens · ⟨∇L, D ∇nll_i⟩

and without it the loss would be higher by as much: its influence. The sum over steps is replaced by one over a few states:
each stands for the steps of its part of the run, and the gradients are those at the state. So a piece is a state, and what is
left to a method is which states, which steps each stands for, and D.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch

from influence.hooks import Gradient, Tap
from influence.methods import Method, Rows, Scorer
from influence.targets import Targets
from influence.trajectory import Trajectory, load_state
from training.checkpoints import Checkpoint


@dataclass(frozen=True)
class State:
    """A state of the model that stands for the steps [start, stop); None is the model as it ended."""

    checkpoint: Checkpoint | None
    start: int
    stop: int


class Descent(Method):
    """See the head of this file."""

    @abstractmethod
    def states(self, trajectory: Trajectory) -> list[State]:
        """The states, in order."""

    def scale(self, trajectory: Trajectory, state: State, gradient: Gradient) -> Gradient:
        """D applied to gradients [K, *shape]; by default D is one, which is plain gradient descent."""
        return gradient

    def pieces(self, trajectory: Trajectory) -> int:
        """See `Method`."""
        return len(self.states(trajectory))

    def prepare(self, trajectory: Trajectory, targets: Targets, piece: int, batch_size: int) -> Scorer:
        """See `Method`."""
        state = self.states(trajectory)[piece]
        model = trajectory.opened.model.eval()
        if state.checkpoint is not None:
            load_state(model, state.checkpoint.weights())
        directions = self.scale(trajectory, state, targets.gradients(model, batch_size))
        return _Scorer(trajectory, model, directions, trajectory.credit(state.start, state.stop), batch_size)


class _Scorer:
    def __init__(
        self, trajectory: Trajectory, model: torch.nn.Module, directions: Gradient, credit: np.ndarray, batch_size: int
    ) -> None:
        self._corpus = trajectory.corpus
        self._model = model
        self._directions = directions
        self._credit = credit
        self._batch_size = batch_size
        self._checked = False

    def __call__(self, rows: Rows) -> np.ndarray:
        parts = []
        with Tap(self._model) as tap:
            for start in range(0, len(rows), self._batch_size):
                part = rows[start : start + self._batch_size]
                tap.batch(len(part))
                nll, _ = self._corpus.family.losses(self._model, self._corpus.batch(part))
                # the first batch is held against PyTorch's own gradient, so that no model slips through unseen
                score = tap.dot if self._checked else tap.check
                self._checked = True
                parts.append(score(nll, self._directions).detach().double().numpy())
        return np.concatenate(parts) * self._credit[rows, None]

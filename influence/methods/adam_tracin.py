"""TracIn for what AdamW really did: gradients scaled as the recorded optimiser scaled them.

AdamW divides each parameter's gradient by the root of its running second moment, so two samples with equal gradients in
different parameters move the model by very different amounts, which plain TracIn does not see. With the second moments of
each checkpoint the step is known again up to the momentum's delay. The idea is in Xia et al., "LESS" (ICML 2024,
arXiv 2402.04333), and Bae et al., "Training data attribution via approximate unrolling" (NeurIPS 2024, arXiv 2405.12186).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from influence.hooks import Gradient
from influence.methods import UNIT
from influence.methods.descent import State
from influence.methods.tracin import TracIn
from influence.trajectory import Trajectory, parameters_of


class AdamTracIn(TracIn):
    """As TracIn, with ⟨∇L, c · ∇nll_i / (√v̂ + ε)⟩, v̂ the recorded second moments and c the clipping of gradients.

    v̂ is taken as given, though the sample had its share in it, and momentum as if it passed on at once; both matter
    little when steps are many and small. c is the mean over a few of the state's own batches, at its weights.
    """

    name = "adam_tracin"
    unit = UNIT
    clipped_batches: ClassVar[int] = 8

    def scale(self, trajectory: Trajectory, state: State, gradient: Gradient) -> Gradient:
        """See `Descent`."""
        if state.checkpoint is None:
            raise ValueError("AdamW's moments belong to a checkpoint")
        settings = state.checkpoint.optimiser()
        _, second = state.checkpoint.moments()
        correction = 1 - settings["betas"][1] ** state.checkpoint.step
        clipping = self._clipping(trajectory, state)
        return {
            name: g * (clipping / ((second[name].to(g) / correction).sqrt() + settings["eps"])) for name, g in gradient.items()
        }

    def _clipping(self, trajectory: Trajectory, state: State) -> float:
        """By how much gradients were scaled down in this part of the run, on average."""
        limit = trajectory.recipe.max_grad_norm
        if not limit:
            return 1.0
        model = trajectory.opened.model
        own = list(parameters_of(model).values())
        chosen = np.unique(np.linspace(state.start, state.stop - 1, self.clipped_batches).round().astype(int))
        factors = []
        for step in chosen:
            rows, weights = trajectory.batch_of(int(step))
            nll, tokens = trajectory.corpus.family.losses(model, trajectory.corpus.batch(rows))
            loss = (nll * torch.from_numpy(weights).to(nll)).sum() / tokens.sum()
            parts = torch.autograd.grad(loss, own, allow_unused=True)
            norm = float(torch.sqrt(sum((p.double() ** 2).sum() for p in parts if p is not None)))
            factors.append(min(1.0, limit / (norm + 1e-6)))
        return float(np.mean(factors))

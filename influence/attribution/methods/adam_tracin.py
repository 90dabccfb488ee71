"""TracIn for what AdamW really did: gradients scaled as the recorded optimiser scaled them.

AdamW divides each parameter's gradient by the root of its running second moment, so two samples with equal gradients in
different parameters move the model by very different amounts, which plain TracIn does not see. With the second moments of
each checkpoint the step is known again up to the momentum's delay. The idea is in Xia et al., "LESS" (ICML 2024,
arXiv 2402.04333), and Bae et al., "Training data attribution via approximate unrolling" (NeurIPS 2024, arXiv 2405.12186).
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from influence.attribution.hooks import Gradient
from influence.attribution.methods.descent import State
from influence.attribution.methods.tracin import TracIn
from influence.attribution.trajectory import Array, Trajectory, parameters_of


class AdamTracIn(TracIn):
    """As TracIn, with ⟨∇L, c · ∇nll_i / (√v̂ + ε)⟩, v̂ the recorded second moments and c the clipping of gradients.

    v̂ is taken as given, though the sample had its share in it, and momentum as if it passed on at once; both matter
    little when steps are many and small. c is the mean over a few of the state's own batches, at its weights.
    """

    name = "adam_tracin"
    clipped_batches: ClassVar[int] = 8

    def scale(self, trajectory: Trajectory, state: State, model: nn.Module, gradient: Gradient) -> Gradient:
        """See `Descent`."""
        if state.checkpoint is None:
            raise ValueError("AdamW's moments belong to a checkpoint")
        settings = state.checkpoint.optimiser()
        _, second = state.checkpoint.moments()
        correction = 1 - settings["betas"][1] ** state.checkpoint.step
        clipping = self._clipping(trajectory, state, model)
        return {
            name: g * (clipping / ((second[name].to(g) / correction).sqrt() + settings["eps"]))
            for name, g in gradient.items()
        }

    def combine(self, parts: Array, drops: Array) -> Array:
        """See `Method`: each part of the run by itself explains its own drop, and at most what first order promises."""
        promised, kept = parts.sum(axis=(1, 2)), drops.sum(axis=1)
        factors = np.divide(kept, promised, out=np.zeros_like(kept), where=promised > 0).clip(0, 1)
        return np.asarray(np.tensordot(factors, parts, axes=1))

    def _clipping(self, trajectory: Trajectory, state: State, model: nn.Module) -> float:
        """By how much gradients were scaled down in this part of the run, on average."""
        limit = trajectory.recipe.max_grad_norm
        if not limit:
            return 1.0
        own = list(parameters_of(model).values())
        chosen = np.unique(np.linspace(state.start, state.stop - 1, self.clipped_batches).round().astype(int))
        factors = []
        for step in chosen:
            exposures, weights = trajectory.batch_of(int(step))
            nll, tokens = trajectory.losses(model, exposures)
            loss = (nll * torch.from_numpy(weights).to(nll)).sum() / tokens.sum()
            parts = torch.autograd.grad(loss, own, allow_unused=True)
            norm = math.sqrt(sum(float((p.double() ** 2).sum()) for p in parts if p is not None))
            factors.append(min(1.0, limit / (norm + 1e-6)))
        return float(np.mean(factors))

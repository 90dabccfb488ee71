"""Gradient dot product at the final model.

The cheapest method: how well a sample's gradient agrees with the target's where training ended. Charpiat et al., "Input
similarity from the neural network perspective" (NeurIPS 2019, arXiv 2102.05262), and the one-checkpoint case of TracIn.
Needs nothing but the model.
"""

from __future__ import annotations

from influence.attribution.methods.descent import Descent, State
from influence.attribution.trajectory import Trajectory


class GradDot(Descent):
    """⟨∇L, ∇nll_i⟩ at the final weights, times the learning rates of the steps that consumed the sample.

    Assumes that gradients stayed what they are at the end, and plain gradient descent. Samples that the model has learnt by
    heart have gradients near zero by then, however much they once did, so expect it to miss them.
    """

    name = "grad_dot"

    def states(self, trajectory: Trajectory) -> list[State]:
        """See `Descent`."""
        return [State(None, None, 0, len(trajectory.rates))]

"""TracIn over the recorded checkpoints.

Pruthi, Liu, Kale & Sundararajan, "Estimating training data influence by tracing gradient descent" (NeurIPS 2020,
arXiv 2002.08484): the loss that each sample took off the target is summed up along the run, with gradients at checkpoints.
"""

from __future__ import annotations

from influence.methods import UNIT
from influence.methods.descent import Descent, State
from influence.trajectory import Trajectory
from lineage.errors import EarmarkError


class TracIn(Descent):
    """Σ over checkpoints of ⟨∇L, ∇nll_i⟩ there, times the learning rates of the steps since the checkpoint before.

    Assumes plain gradient descent: under AdamW the order of magnitude means little, while the ranking often holds.
    """

    name = "tracin"
    unit = f"{UNIT}, as under plain gradient descent"

    def states(self, trajectory: Trajectory) -> list[State]:
        """See `Descent`.

        Raises:
            EarmarkError: the run kept no checkpoints.
        """
        if not trajectory.checkpoints:
            raise EarmarkError(
                f"run {trajectory.run.id[:13]} kept no checkpoints, which {self.name} follows — train with "
                "'checkpoints: 6' in the recipe (the weights will be the same), or use method grad_dot"
            )
        ends = [c.step for c in trajectory.checkpoints]
        return [
            State(checkpoint, start, end)
            for checkpoint, start, end in zip(trajectory.checkpoints, [0, *ends[:-1]], ends, strict=True)
        ]

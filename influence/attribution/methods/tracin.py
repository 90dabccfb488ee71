"""TracIn over the recorded checkpoints.

Pruthi, Liu, Kale & Sundararajan, "Estimating training data influence by tracing gradient descent" (NeurIPS 2020,
arXiv 2002.08484): the loss that each sample took off the target is summed up along the run, with gradients at checkpoints.
"""

from __future__ import annotations

from influence.attribution.methods.descent import Descent, State
from influence.attribution.trajectory import Trajectory
from lineage.errors import EarmarkError
from training.loops.checkpoints import Checkpoint


class TracIn(Descent):
    """Σ over checkpoints of ⟨∇L, ∇nll_i⟩ there, times the learning rates of the steps since the checkpoint before.

    Assumes plain gradient descent, which AdamW is not: it takes large steps where gradients are small.
    """

    name = "tracin"

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
        kept: list[Checkpoint | None] = [None, *trajectory.checkpoints]
        return [
            State(before, after, before.step if before else 0, after.step)
            for before, after in zip(kept, trajectory.checkpoints, strict=False)
        ]

"""Remove: the slice's samples get weight zero and keep their places, so nothing else moves.

That answers what the data of the slice does. Whoever really drops the data also drops the places: with `variants`, the
training on the rest alone is measured, too, with as many passes (*epochs fixed*: fewer steps) and with as many steps
(*steps fixed*: more passes over the rest), and the difference between these two is an effect of its own.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from influence.interventions.base import Case, Intervention, Making, Target, Variation
from training.data.order import Plan

KIND = "remove"


class Remove(Intervention):
    """Leave the slice out."""

    kind: Literal["remove"] = "remove"
    variants: bool = Field(
        default=False, description="Also train on the rest alone, with epochs fixed and with steps fixed."
    )

    def cases(self, target: Target, making: Making) -> list[Case]:
        """See `Intervention`."""
        left_out = Variation(weights={target.set_digest: 0.0})
        found = [Case(f"removing {target.name}", KIND, target, left_out, dose=0.0, harm=False)]
        if self.variants:
            rest = making.set_of(making.rest(target.ids), f"without {target.name}")
            steps = Plan.of(making.recipe, making.population.size).steps
            by_epochs = Variation(recipe={"train": rest})
            by_steps = Variation(recipe={"train": rest, "steps": steps})
            found += [
                Case(f"removing {target.name}, epochs fixed", f"{KIND}:epochs", target, by_epochs, harm=False,
                     controlled=False),
                Case(f"removing {target.name}, steps fixed", f"{KIND}:steps", target, by_steps, harm=False,
                     controlled=False),
                Case(
                    f"fixing steps instead of epochs, removing {target.name}", f"{KIND}:steps-epochs", target, by_steps,
                    by_epochs, controlled=False,
                ),
            ]  # fmt: skip
        return found

"""Add: what would data do that is not in the training set yet?

The set is trained on with the new slice in it. Held against that is, by default, the same training in which the new samples
have their places and weight zero: as many steps, the same order, and one thing moves. With `variants` it is also held against
the training on the old set alone, with its own number of steps (*epochs fixed*) and with as many steps as the larger set
takes (*steps fixed*); the difference between the two is an effect of its own.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from influence.interventions.base import AS_IT_IS, Case, Intervention, Making, Target, Variation
from lineage.errors import EarmarkError
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from training.data.order import Plan


class Add(Intervention):
    """Add a slice of another set to the training set."""

    kind: Literal["add"] = "add"
    taken_from: str = Field(min_length=1, description="The set that the slices are cut out of.")
    variants: bool = Field(
        default=False, description="Also hold it against the old set alone, epochs fixed and steps fixed."
    )

    @property
    def of(self) -> str | None:
        """See `Intervention`."""
        return self.taken_from

    def essence(self, store: Store) -> dict[str, Any]:
        """See `Intervention`."""
        return {**super().essence(store), "taken_from": resolve_set(store, self.taken_from).digest}

    def cases(self, target: Target, making: Making) -> list[Case]:
        """See `Intervention`. A random set of the training set cannot be added to it, so there is no control."""
        old = members(making.store, making.population.digest)
        here = set(old.to_pylist())
        if any(sample in here for sample in target.ids.to_pylist()):
            raise EarmarkError(f"samples of {target.name} are in the training set already — add what is not")
        both = making.set_of(pa.concat_arrays([old, target.ids]), f"with {target.name}")
        more = Variation(recipe={"train": both})
        weightless = Variation(recipe={"train": both}, weights={target.set_digest: 0.0})
        found = [Case(f"adding {target.name}", self.kind, target, more, weightless, controlled=False)]
        if self.variants:
            steps = Plan.of(making.recipe, making.population.size + len(target.ids)).steps
            longer = Variation(recipe={"steps": steps})
            said = f"adding {target.name}"
            found += [
                Case(f"{said}, epochs fixed", "add:epochs", target, more, AS_IT_IS, controlled=False),
                Case(f"{said}, steps fixed", "add:steps", target, more, longer, controlled=False),
                Case(
                    f"fixing steps instead of epochs, {said}", "add:steps-epochs", target, longer, AS_IT_IS,
                    controlled=False,
                ),
            ]  # fmt: skip
        return found

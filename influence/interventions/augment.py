"""Augment: the recipe's augmentation off for a slice, or another one on, while all others are augmented as they were.

Only transforms of the waveform are meant; masks on spectrograms (`spec_augment`) go on. Draws come from the same seeds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from influence.interventions.base import AS_IT_IS, Case, Intervention, Making, Target, Variation
from lineage.errors import EarmarkError
from training.data.augment import Augmentation


class Augment(Intervention):
    """Augment the slice otherwise than the rest."""

    kind: Literal["augment"] = "augment"
    by: tuple[Augmentation, ...] = Field((), description="Transforms as in a recipe's 'augment'; empty: none.")

    def cases(self, target: Target, making: Making) -> list[Case]:
        """See `Intervention`."""
        if self.by == making.recipe.augment:
            raise EarmarkError(
                f"the recipe augments {target.name} in just this way — give other transforms, or a recipe that augments"
            )
        changed = Variation(augment={target.set_digest: [a.model_dump(mode="json") for a in self.by]})
        names = " and ".join(a.transform for a in self.by)
        phrase = f"augmenting {target.name} by {names}" if self.by else f"not augmenting {target.name}"
        return [Case(phrase, self.kind, target, changed, AS_IT_IS)]

"""Interventions: what may be done to a slice of the training data to learn what it does. One file each.

| kind | what happens to the slice | in the places of its samples |
| --- | --- | --- |
| remove | it is left out | they themselves, with weight zero |
| reweight | it counts more or less | they themselves, with another weight |
| correct, corrupt | it says something else | their children with other words |
| augment | it is augmented otherwise | they themselves, sounding otherwise |
| replace, swap | other speech takes its places | samples of another slice, or from another source |
| add | it is not in the set, and comes in | nothing moves: its places are there with weight zero |

Adding a kind means adding a file and a line in `Kind`. The sign is everywhere the same: metric under the intervention minus
metric without it, so positive is worse.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from influence.interventions.add import Add
from influence.interventions.augment import Augment
from influence.interventions.base import AS_IT_IS, Case, Intervention, Making, Target, Variation
from influence.interventions.relabel import Correct, Corrupt
from influence.interventions.remove import Remove
from influence.interventions.replace import Replace, Swap
from influence.interventions.reweight import Reweight

Kind = Annotated[Remove | Reweight | Correct | Corrupt | Augment | Replace | Swap | Add, Field(discriminator="kind")]

__all__ = [
    "AS_IT_IS", "Add", "Augment", "Case", "Correct", "Corrupt", "Intervention", "Kind", "Making", "Remove", "Replace",
    "Reweight", "Swap", "Target", "Variation",
]  # fmt: skip

"""What every intervention is: a change to the training data of one slice, and what it is held against.

An intervention says what it does to a slice as `Case`s, one for each dose: the training that is changed, and the training it
is compared with, which mostly is the one on all data as it is. Everything that is not in a `Variation` is the same in both:
initial weights, order, seeds, number of steps. What has to be on record for that, such as relabelled samples, is put there by
`Making`, within the run that records the plan.

Law: a case depends on the intervention, the slice's members, the recipe and the population alone, so it means the same in
every plan and is trained once.
"""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from lineage.derivation.derive import Children
from lineage.derivation.substitutes import record_substitutes
from lineage.ids import halves, id_array, sort_unique
from lineage.proof import merkle
from lineage.runs import Run
from lineage.selection.sets import SampleSet, create_set, members
from lineage.store import Store
from training.recipe import Recipe

UNKNOWN = "not made yet"  # the digest of a pairing in a plan that is only being looked at


@dataclass(frozen=True)
class Variation:
    """How one training differs from the recipe on its set: the arguments of `training.fit.train`, as JSON.

    `recipe` are fields of the recipe that are otherwise.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    substitutes: str | None = None
    augment: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON, without what is as it was."""
        return {name: value for name, value in self.__dict__.items() if value}


AS_IT_IS = Variation()


@dataclass(frozen=True)
class Target:
    """The samples that an intervention is applied to: a slice, or a random set in its stead."""

    name: str
    set_digest: str
    ids: pa.Array


@dataclass(frozen=True)
class Case:
    """One comparison: `changed` against `against`, said in words as hypotheses name it.

    `harm`: a higher error speaks against the intervention; otherwise, where data is left out, for the data.
    `controlled`: the same can be done to a random set of the same size, to see what is the slice's own doing.
    """

    phrase: str
    kind: str
    target: Target
    changed: Variation
    against: Variation = AS_IT_IS
    dose: float | None = None
    harm: bool = True
    controlled: bool = True


@dataclass(frozen=True)
class Making:
    """Where an intervention puts what it needs; without a `run` nothing is written, and digests are only foretold."""

    store: Store
    recipe: Recipe
    population: SampleSet
    run: Run | None

    def set_of(self, ids: pa.Array, name: str) -> str:
        """The digest of the set of these samples, on record."""
        if self.run is None:
            return merkle.Boughs.of(sort_unique(halves(ids))).set_digest
        parents = [self.population.digest]
        return create_set(self.run, ids, name=f"{self.population.name}[{name}]", kind="variant", parents=parents).digest

    def pairing(self, pairs: Mapping[uuid.UUID, uuid.UUID], name: str, made: Children | None = None) -> str:
        """The digest of a pairing, on record."""
        if self.run is None:
            return UNKNOWN
        return record_substitutes(
            self.run,
            pairs,
            name=f"{self.population.name}[{name}]",
            population=self.population,
            samples=made.samples if made else None,
        )

    def rest(self, ids: pa.Array) -> pa.Array:
        """The population without these samples."""
        gone = set(ids.to_pylist())
        everybody = members(self.store, self.population.digest).to_pylist()
        return id_array([i for i in everybody if i not in gone])


class Intervention(BaseModel):
    """An entry of a plan's `interventions`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str
    slices: tuple[str, ...] = Field(
        default=(), description="Which of the plan's slices it is applied to; empty: all of them."
    )

    @property
    def of(self) -> str | None:
        """The set that its own `slices` are cut out of, where that is another than the training set."""
        return None

    def essence(self, store: Store) -> dict[str, Any]:
        """What goes into the plan's digest."""
        return self.model_dump(mode="json")

    @abstractmethod
    def cases(self, target: Target, making: Making) -> list[Case]:
        """What is compared with what, one for each dose, in an order that does not depend on the target.

        Raises:
            EarmarkError: it cannot be done to these samples.
        """

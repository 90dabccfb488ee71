"""Which utterance comes when, and with which seed: from (seed, epoch, step) alone (see `training.data.seeds`).

Law: `epoch_order(s, e, n)` is a permutation of range(n) and depends on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.data.seeds import Purpose, exposure_seeds, raw
from training.recipe import Recipe

Indices = npt.NDArray[np.int64]


def epoch_order(seed: int, epoch: int, n: int) -> Indices:
    """The order of `n` utterances in an epoch: a permutation of range(n)."""
    return np.argsort(raw(seed, Purpose.ORDER, epoch, n), kind="stable").astype(np.int64)


class Exposure(NamedTuple):
    """One utterance on its way into the model: its number in the corpus, and the seed of what is done to it before."""

    row: int
    seed: int


@dataclass(frozen=True)
class Plan:
    """What a run intends to consume: `n` utterances, `epochs` times, `accumulation` batches of `batch` per step.

    `limit` is the number of steps where it does not follow from whole passes; `epochs` are then those begun.
    """

    n: int
    epochs: int
    batch: int
    accumulation: int
    seed: int
    limit: int | None = None

    @classmethod
    def of(cls, recipe: Recipe, n: int) -> Plan:
        """The plan of a recipe for `n` utterances."""
        whole = cls(n, recipe.epochs, recipe.batch_size, recipe.gradient_accumulation, recipe.seed)
        if recipe.steps is None:
            return whole
        return replace(whole, epochs=math.ceil(recipe.steps / whole.steps_per_epoch), limit=recipe.steps)

    @property
    def batches_per_epoch(self) -> int:
        """Forward passes in one epoch; the last may be smaller."""
        return math.ceil(self.n / self.batch)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one epoch; an epoch never shares a step with the next."""
        return math.ceil(self.batches_per_epoch / self.accumulation)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.epochs * self.steps_per_epoch if self.limit is None else self.limit

    @property
    def exposed(self) -> int:
        """Utterances that it consumes, each as often as it comes."""
        if self.limit is None:
            return self.epochs * self.n
        whole, rest = divmod(self.limit, self.steps_per_epoch)
        return whole * self.n + min(rest * self.accumulation * self.batch, self.n)

    def batches(self, epoch: int) -> list[Indices]:
        """Utterance numbers of each forward pass of an epoch."""
        order = epoch_order(self.seed, epoch, self.n)
        return [order[i : i + self.batch] for i in range(0, self.n, self.batch)]

    def exposures(self, epoch: int) -> Iterator[list[Exposure]]:
        """What each forward pass of an epoch consumes."""
        for step, _, parts in self._steps(epoch):
            seeds = exposure_seeds(self.seed, step, sum(map(len, parts)))
            start = 0
            for rows in parts:
                yield [Exposure(int(r), int(s)) for r, s in zip(rows, seeds[start:], strict=False)]
                start += len(rows)

    def step(self, step: int) -> list[Indices]:
        """Utterance numbers of each forward pass of one optimiser step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return self.batches(epoch)[within * self.accumulation : (within + 1) * self.accumulation]

    def __iter__(self) -> Iterator[tuple[int, int, list[Indices]]]:
        """(step, epoch, forward passes) of the whole run, in order."""
        for epoch in range(self.epochs):
            yield from self._steps(epoch)

    def _steps(self, epoch: int) -> Iterator[tuple[int, int, list[Indices]]]:
        batches = self.batches(epoch)
        for within in range(min(self.steps_per_epoch, self.steps - epoch * self.steps_per_epoch)):
            part = batches[within * self.accumulation : (within + 1) * self.accumulation]
            yield epoch * self.steps_per_epoch + within, epoch, part

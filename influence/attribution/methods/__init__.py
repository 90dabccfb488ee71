"""Attribution methods: ways of saying, from gradients alone, what each training sample did to each target.

A method divides its work into pieces that know nothing of each other (a checkpoint each, say). `prepare` does what all
samples share in one piece; `Prepared.score` then gives rows of training samples their part of the influence, so pieces and
blocks of samples can be computed anywhere, in any order, and kept. `combine` makes influences of the parts of all samples.

Sign and unit are those of the `influences` table: value > 0 means that removing the sample would *raise* the target's loss,
in nats per reference word, so that summing over a slice of the training data predicts what leaving it out does.

Adding a method means adding a file with a subclass of `Method` and a line in `_REGISTRY`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from influence.attribution.targets import Targets
from influence.attribution.trajectory import Trajectory
from lineage.errors import UnknownName

Rows = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]

_REGISTRY = {
    "grad_dot": "influence.attribution.methods.grad_dot:GradDot",
    "tracin": "influence.attribution.methods.tracin:TracIn",
    "adam_tracin": "influence.attribution.methods.adam_tracin:AdamTracIn",
}

NAMES = tuple(_REGISTRY)
UNIT = "nats per reference word"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A piece ready for samples: `score` maps rows of the training corpus to their parts [rows, K].

    `drop` [K] says by how much the targets' losses really fell in the part of the run that the piece stands for.
    """

    score: Callable[[Rows], Array]
    drop: Array


class Method(ABC):
    """One attribution method; the class docstring says what it assumes and whose idea it is."""

    name: ClassVar[str]

    @abstractmethod
    def pieces(self, trajectory: Trajectory) -> int:
        """How many pieces the work falls into.

        Raises:
            EarmarkError: the run did not record what the method needs.
        """

    @abstractmethod
    def prepare(self, trajectory: Trajectory, targets: Targets, piece: int, batch_size: int) -> Prepared:
        """Do what all samples share in a piece. `batch_size` changes speed and memory, not the result."""

    @abstractmethod
    def combine(self, parts: Array, drops: Array) -> Array:
        """Influences [n, K] from the parts [pieces, n, K] of all n training samples and the drops [pieces, K]."""


def method(name: str) -> Method:
    """The method of that name.

    Raises:
        UnknownName: there is none; says which exist.
    """
    if name not in _REGISTRY:
        raise UnknownName("attribution method", name, _REGISTRY)
    module, _, attribute = _REGISTRY[name].partition(":")
    found: type[Method] = getattr(importlib.import_module(module), attribute)
    return found()

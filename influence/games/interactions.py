"""Interactions between slices of the training data: does one make up for the lack of another, or need it?

Slices of the training data play a game. A coalition is a set of them, and its value v(S) = −metric of the model trained with
exactly their data present; whatever belongs to no slice is always present. So values are better when higher, and a slice
that lowers the error has a positive one. A coalition is written as an integer, bit i for slice i.

Whatever is asked of a game here is a *functional*: a weight for each of a few coalitions. Functionals are linear in the
values, so that each is a contrast between retrainings and gets the interval of one (`contrasts`).

* **interaction index** of S (Grabisch & Roubens, Int. J. Game Theory 28, 1999): the discrete derivative
  Σ_{L ⊆ S} (−1)^{|S|−|L|} v(T ∪ L), averaged over all T that S is added to, as Shapley's value averages. Of one slice it *is*
  the Shapley value. It needs all 2^n coalitions.
* **deletion index** of S: the same derivative where all other data are there (T = everything else). Of one slice it is the
  effect of leaving it out; of two, by how much leaving out both costs less than the sum of leaving out each. It needs only the
  coalitions that lack few slices.

Sign of an index of two: negative means that either makes up for the other (together they are worth less than the sum of
their own), positive that each needs the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Functional = Mapping[int, float]

EXACT = 5  # slices up to which every coalition is trained


def coalition(slices: Iterable[int]) -> int:
    """The coalition of those slices (numbers from 0)."""
    return sum(1 << i for i in set(slices))


def slices_of(coalition: int) -> tuple[int, ...]:
    """Numbers of the slices in a coalition."""
    return tuple(i for i in range(coalition.bit_length()) if coalition >> i & 1)


def subsets(n: int, order: int) -> list[int]:
    """All coalitions of one to `order` out of `n` slices, small ones first."""
    return [coalition(c) for size in range(1, min(order, n) + 1) for c in combinations(range(n), size)]


def within(whole: int) -> list[int]:
    """All coalitions inside one, the empty one and itself included."""
    found, part = [], whole
    while True:
        found.append(part)
        if not part:
            return found[::-1]
        part = (part - 1) & whole


def total(n: int) -> Functional:
    """What all slices together are worth: v(all) − v(none)."""
    return {(1 << n) - 1: 1.0, 0: -1.0}


def interaction(n: int, subset: int) -> Functional:
    """The interaction index of a coalition out of `n` slices; of a single slice, its Shapley value."""
    size = subset.bit_count()
    weights = {}
    for others in within(((1 << n) - 1) & ~subset):
        t = others.bit_count()
        share = math.factorial(n - t - size) * math.factorial(t) / math.factorial(n - size + 1)
        for part in within(subset):
            weights[others | part] = share * (-1) ** (size - part.bit_count())
    return weights


def deletion(n: int, subset: int) -> Functional:
    """The deletion index of a coalition out of `n` slices; of a single slice, v(all) − v(all but it)."""
    rest = ((1 << n) - 1) & ~subset
    return {rest | part: float((-1) ** (subset.bit_count() - part.bit_count())) for part in within(subset)}


def asked_for(functionals: Iterable[Functional]) -> list[int]:
    """The coalitions that these functionals speak of, largest first: the model with all data leads."""
    return sorted({c for f in functionals for c in f}, reverse=True)


def matrix(functionals: Sequence[Functional], coalitions: Sequence[int]) -> Array:
    """Weights [functionals, coalitions]; raises KeyError if a coalition is missing."""
    place = {c: j for j, c in enumerate(coalitions)}
    found = np.zeros((len(functionals), len(coalitions)))
    for row, functional in zip(found, functionals, strict=True):
        for c, weight in functional.items():
            row[place[c]] = weight
    return found

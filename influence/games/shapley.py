"""Shapley values of many slices, from some of their coalitions: sampled, with the error that sampling leaves.

The Shapley value divides what all slices together are worth (`interactions.total`) among them; it alone has efficiency (the
values add up to the total), symmetry, the dummy's zero and additivity at once (Shapley 1953). It averages over 2^n coalitions,
and more than a few slices cannot afford as many retrainings. Two samplers, both drawn in pairs that cancel much of the
chance:

* **permutations**: slices join one after the other in random order, each credited with what its joining changes; then the
  same backwards (antithetic; Mitchell, Cooper, Frank & Holmes, JMLR 23, 2022).
* **regression**: random coalitions, their sizes drawn by the Shapley kernel 1/(k(n−k)), each with its complement; the values
  are the least-squares fit of an additive game under the constraint that they add up to the total (kernel SHAP: Lundberg &
  Lee, NeurIPS 2017; paired: Covert & Lee, AISTATS 2021).

For given coalitions both are linear in the values, so an estimate is again a contrast between retrainings; its sampling
error, over and above that of seeds and speakers, comes from leaving out one pair at a time (jackknife).

A few pairs may agree by chance, and then the jackknife sees no error where there is one. Three things keep intervals honest:
an error is told from some number of pairs on only (`certain`); no slice's variance is taken to be less than what comes of
drawing it towards the mean of all slices, which is worth `BORROWED` degrees of freedom (as in
`influence.statistics.moderation`, but upwards only); and intervals have Student's tails. Simulated over games of six slices
that saturate, are redundant, act in threes, or hang on one slice or on nothing but chance, those of 95 % cover 93 to 100 % of
the values from the fewest pairs on, and 95 to 98 % from twice as many; by the jackknife alone, of two pairs of permutations,
they cover 65 to 84 %.

Laws: pair m depends on the seed and m alone, so a larger budget adds to what a smaller one trained and repeats nothing; both
add up to the total exactly, however few the pairs.

A caution that no estimator removes: **who is a player is the analyst's choice.** Cut one slice in two and their values need not
add up to the old one, and those of all others may change. Slices are fixed beforehand, and values read only beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from influence.games.interactions import Array, Functional, coalition, matrix, total

Sampling = Literal["permutations", "regression"]

CAUTION = "splitting or merging slices changes the values: read them only for exactly these slices, fixed beforehand"
MOST_SLICES = 62
BORROWED = 4  # degrees of freedom


class Sampler(Protocol):
    """A way of choosing pairs of draws, and of making values out of them."""

    def enough(self, pairs: int) -> bool:
        """Whether the first `pairs` pairs give every slice a value of its own."""

    @property
    def certain(self) -> int:
        """The least number of pairs from which on the error of sampling can be told."""

    def freedom(self, pairs: int) -> int:
        """Degrees of freedom of that error."""

    def coalitions(self, pair: int) -> list[int]:
        """Those that pair number `pair` (from 0) asks for."""

    def functionals(self, pairs: Sequence[int]) -> list[Functional]:
        """The value of each slice from those pairs."""


class Permutations:
    """Antithetic permutations of `n` slices."""

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._seed = seed

    def enough(self, pairs: int) -> bool:
        """See `Sampler`."""
        return pairs >= 1

    @property
    def certain(self) -> int:
        """See `Sampler`."""
        return 3

    def freedom(self, pairs: int) -> int:
        """See `Sampler`."""
        return pairs - 1

    def _walk(self, pair: int) -> list[int]:
        return [int(i) for i in _shuffled(self._n, self._seed, pair)]

    def coalitions(self, pair: int) -> list[int]:
        """See `Sampler`."""
        walk = self._walk(pair)
        return [coalition(order[:k]) for order in (walk, walk[::-1]) for k in range(self._n + 1)]

    def functionals(self, pairs: Sequence[int]) -> list[Functional]:
        """See `Sampler`: mean change at joining."""
        share = 1 / (2 * len(pairs))
        found: list[dict[int, float]] = [{} for _ in range(self._n)]
        for pair in pairs:
            walk = self._walk(pair)
            for order in (walk, walk[::-1]):
                before = 0
                for i in order:
                    after = before | 1 << i
                    found[i][after] = found[i].get(after, 0.0) + share
                    found[i][before] = found[i].get(before, 0.0) - share
                    before = after
        return list(found)


class Regression:
    """Random coalitions of `n` slices by the Shapley kernel, each with its complement."""

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._seed = seed
        self._all = (1 << n) - 1

    def enough(self, pairs: int) -> bool:
        """See `Sampler`: slices are told apart whichever pair is left out."""
        present = np.array([[self._drawn(m) >> i & 1 for i in range(self._n)] for m in range(pairs)], dtype=np.float64)
        if pairs < self._n:
            return False
        sides = present - present.mean(axis=1, keepdims=True)
        return all(np.linalg.matrix_rank(np.delete(sides, m, axis=0)) == self._n - 1 for m in range(pairs))

    @property
    def certain(self) -> int:
        """See `Sampler`."""
        return 3 * self._n

    def freedom(self, pairs: int) -> int:
        """See `Sampler`: the values are n − 1 numbers, for they add up to the total."""
        return pairs - self._n + 1

    def _drawn(self, pair: int) -> int:
        n = self._n
        kernel = np.array([1 / (k * (n - k)) for k in range(1, n)])
        u = int(_raw(1, self._seed, pair, 1)[0] >> np.uint64(11)) * 2.0**-53
        size = 1 + int(np.searchsorted(np.cumsum(kernel) / kernel.sum(), u, side="right"))
        return coalition(int(i) for i in _shuffled(n, self._seed, pair)[: min(size, n - 1)])

    def coalitions(self, pair: int) -> list[int]:
        """See `Sampler`."""
        drawn = self._drawn(pair)
        return [0, drawn, self._all & ~drawn, self._all]

    def functionals(self, pairs: Sequence[int]) -> list[Functional]:
        """See `Sampler`."""
        weights: dict[int, float] = {}
        for pair in pairs:
            for c in self.coalitions(pair)[1:3]:
                weights[c] = weights.get(c, 0.0) + 1.0
        return fitted(self._n, weights)


def fitted(n: int, weights: Functional) -> list[Functional]:
    """The values by least squares over coalitions with `weights`, adding up to the total exactly.

    With every coalition, weighted by the Shapley kernel, these are the Shapley values. Of what the coalitions do not tell
    apart each slice gets an equal part.
    """
    known = sorted(weights)
    present = np.array([[c >> i & 1 for i in range(n)] for c in known], dtype=np.float64).reshape(-1, n)
    root = np.sqrt(np.array([weights[c] for c in known]))
    # values = total/n + basis @ free: the columns of the basis add up to nothing, so the constraint holds whatever is free
    basis = np.linalg.svd(np.ones((1, n)))[2][1:].T
    solve = basis @ np.linalg.pinv(root[:, None] * (present @ basis)) * root  # [n, coalitions]
    even = 1 / n - solve @ present.sum(axis=1) / n  # of the total
    nothing = -solve.sum(axis=1)  # of v(none), which every value is counted from
    whole = total(n)
    found: list[Functional] = []
    for i in range(n):
        functional = {c: even[i] * sign for c, sign in whole.items()}
        functional[0] += nothing[i]
        for c, weight in zip(known, solve[i], strict=True):
            functional[c] = functional.get(c, 0.0) + weight
        found.append({c: float(w) for c, w in functional.items()})
    return found


def sampler(how: Sampling, n: int, seed: int) -> Sampler:
    """The sampler of that name for `n` slices."""
    return Permutations(n, seed) if how == "permutations" else Regression(n, seed)


def sampling_error(drawn: Sampler, pairs: Sequence[int], coalitions: Sequence[int], values: Array) -> Array:
    """Standard error of each slice's value that comes from having drawn just these pairs, `certain` of them or more.

    `values` [coalitions, ...] are those of the game; the result has shape [slices, ...].
    """
    m = len(pairs)
    without = np.array(
        [
            np.tensordot(matrix(drawn.functionals([*pairs[:i], *pairs[i + 1 :]]), coalitions), values, axes=1)
            for i in range(m)
        ]
    )
    own = (m - 1) / m * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    freedom = drawn.freedom(m)
    together = (freedom * own + BORROWED * own.mean(axis=0)) / (freedom + BORROWED)
    return np.asarray(np.sqrt(np.maximum(own, together)))


def _raw(count: int, seed: int, pair: int, stream: int = 0) -> npt.NDArray[np.uint64]:
    key = np.array([seed, 2 * pair + stream], dtype=np.uint64)
    return np.asarray(np.random.Philox(key=key).random_raw(count), dtype=np.uint64)


def _shuffled(n: int, seed: int, pair: int) -> npt.NDArray[np.int64]:
    return np.argsort(_raw(n, seed, pair), kind="stable")

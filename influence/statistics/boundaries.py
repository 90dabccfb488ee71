"""How small must a p-value be at each of several looks, so that all of them together err with probability α at most?

`nominal_levels` gives the group-sequential boundaries of a spending function (Lan & DeMets, *Biometrika* 70, 1983) on the scale
of p-values: the level a_l at which to test at look l, so that of all walks without drift those that cross first at look l are
just what may be spent there. The walk is looked at after fractions t of its steps, which are normal and independent; the
density of those that have not crossed is carried from look to look by Gauss–Legendre quadrature (Armitage, McPherson & Rowe,
*JRSS A* 132, 1969).

Laws: the crossings' probabilities add up to what is spent; with one look the level is α; no level is below what is spent at
its look, which is what it would be if looks had nothing in common (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special

from influence.statistics.panels import Array

POINTS = 256  # of the quadrature
FAR = 8.5  # standard deviations beyond which there is nothing
LEAST = 1e-300  # a level so small stands for none


def nominal_levels(times: Sequence[float], spent: Sequence[float]) -> tuple[float, ...]:
    """Two-sided levels for the looks at `times`, rising to 1, by when `spent`, rising to α, may have been spent."""
    levels: list[float] = []
    walks, before, already = _Walks(np.zeros(1), np.ones(1)), 0.0, 0.0
    for time, by_now in zip(times, spent, strict=True):
        step, may = float(np.sqrt(time - before)), max(by_now - already, LEAST)
        size = float(np.sqrt(time))
        bound = walks.bound(step, may, FAR * size)
        levels.append(may if bound == FAR * size else 2 * float(special.ndtr(-bound / size)))
        walks, before, already = walks.within(bound, step), time, by_now
    return tuple(levels)


@dataclass(frozen=True)
class _Walks:
    """Those that have not crossed yet: `mass` [P] of them at the points `where` [P]."""

    where: Array
    mass: Array

    def crossing(self, bound: float, step: float) -> float:
        """The part that lies beyond ±`bound` after a further step of standard deviation `step`."""
        return float(
            self.mass @ (special.ndtr((self.where - bound) / step) + special.ndtr((-bound - self.where) / step))
        )

    def bound(self, step: float, part: float, far: float) -> float:
        """The bound that `part` of the walks cross at the next step; `far` at most."""
        if self.crossing(far, step) >= part:
            return far
        return float(optimize.brentq(lambda bound: self.crossing(bound, step) - part, 0.0, far, xtol=1e-10))

    def within(self, bound: float, step: float) -> _Walks:
        """The walks that lie within ±`bound` after a further step."""
        nodes, weights = _quadrature()
        where = bound * nodes
        density = np.exp(-(((where[:, None] - self.where) / step) ** 2) / 2) @ self.mass / (step * np.sqrt(2 * np.pi))
        return _Walks(where, density * weights * bound)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    return nodes, weights

"""How well is a variance known that is put together from three mean squares, the largest of which may win?

The error of a contrast over speakers × seeds is estimated as speakers + seeds − interaction, and as no less than either of the
first two (`contrasts`). Satterthwaite's formula (*Biometrics* 2, 1946) takes that for a plain sum. It adds the subtracted
interaction's uncertainty to the others' and does not see that the maximum of three estimates of the same thing hardly ever
comes out far too small, which is what intervals have to provide against. Where words are few and the interaction is most of
the error, it so gives four degrees of freedom to what is worth nine, and 95 % intervals cover 98 %.

`worth` looks at the estimator as it is: three mean squares are drawn as independent χ² around the components that were
estimated (parametric bootstrap: Krishnamoorthy, Lu & Mathew, *Comput. Stat. Data Anal.* 51, 2007), each draw is put together
like the estimate, and the degrees of freedom are those of the χ² whose logarithm scatters as much (Smyth 2004, section 6.2;
see `moderation`). The logarithm looks at what is too small as closely as at what is too large. A component that comes out
negative is taken for zero and its mean square pooled with the interaction's (Thompson, *Ann. Math. Stat.* 33, 1962). That the
maximum is too large on average is left as it is: the components are estimates as well, and this is their margin.

Laws: a single source of error keeps its own degrees of freedom; scaling the mean squares changes nothing.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy import special

from influence.statistics.moderation import inverse_trigamma
from influence.statistics.panels import Array

POINTS = 512  # of the χ² draws: spread evenly, so that they need not be many
_ROOT = 1.2207440846057596  # of x⁴ = x + 1: multiples of its inverse powers fill the cube without gaps or lumps
_FREEDOMS = np.geomspace(0.25, 1e5, 400)
_CUBE = (0.5 + np.arange(1, POINTS + 1)[:, None] / _ROOT ** np.arange(1, 4)) % 1


def together(speakers: Array, seeds: Array, interaction: Array) -> Array:
    """The variance of a contrast from its three mean squares, each in units of that variance."""
    return np.asarray(np.maximum(np.maximum(speakers, seeds), speakers + seeds - interaction))


def worth(
    speakers: Array, seeds: Array, interaction: Array, freedom: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
) -> Array:
    """Degrees of freedom of `together`, [C], from mean squares [C] and the degrees of freedom of each, [C] or one for all."""
    of_speakers, of_seeds, of_both = (np.broadcast_to(np.asarray(f, np.float64), speakers.shape) for f in freedom)
    low_speakers, low_seeds = speakers < interaction, seeds < interaction
    pooled_freedom = of_both + low_speakers * of_speakers + low_seeds * of_seeds
    pooled = of_both * interaction + low_speakers * of_speakers * speakers + low_seeds * of_seeds * seeds
    pooled = pooled / pooled_freedom
    ratios = _ratios(of_seeds, 1)
    drawn = together(
        np.maximum(speakers, pooled)[:, None] * _ratios(of_speakers, 0),
        np.maximum(seeds, pooled)[:, None] * ratios,
        pooled[:, None] * _ratios(of_both, 2),
    )
    known = np.log(ratios).var(axis=1)
    drawn = np.where(drawn.max(axis=1, keepdims=True) > 0, drawn, ratios)  # nothing scatters: what seeds would be worth
    # a few hundred points miss the ends of the tails: what they make of a plain χ² tells by how much
    scatter = np.log(drawn).var(axis=1) * special.polygamma(1, of_seeds / 2) / known
    return np.array([2 * inverse_trigamma(float(v)) for v in scatter])


@functools.cache
def _table() -> Array:
    """Logarithms of χ² over its degrees of freedom, by `_FREEDOMS` and axis at the points, [F, 3, POINTS]."""
    half = _FREEDOMS[:, None, None] / 2
    return np.asarray(np.log(special.gammaincinv(half, _CUBE.T) / half))


def _ratios(freedom: Array, axis: int) -> Array:
    """χ² over its degrees of freedom at the points, [C, POINTS]; between the table's rows by the logarithm."""
    place = np.interp(np.log(freedom), np.log(_FREEDOMS), np.arange(len(_FREEDOMS)))
    below = np.minimum(place.astype(np.int64), len(_FREEDOMS) - 2)
    part, table = (place - below)[:, None], _table()[:, axis]
    return np.asarray(np.exp((1 - part) * table[below] + part * table[below + 1]))

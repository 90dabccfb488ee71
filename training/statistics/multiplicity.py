"""Asking many questions at once: corrections of p-values within a declared family; and one question asked by many tests.

A family is declared before its data are seen; the correction is over the whole family, whatever the answers turn out to be.
Laws: adjusted values are never below the raw ones, keep their order, and do not depend on the order of the questions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def holm(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Holm's step-down adjusted p-values, in the order given (S. Holm, Scand. J. Stat. 6, 1979).

    Rejecting where the adjusted value is at most α keeps the probability of any false rejection in the family at most α,
    however the tests depend on each other. NaN (a question that could not be asked) counts in the family as p = 1.
    """
    values = _asked(p)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Benjamini and Hochberg's step-up adjusted p-values, in the order given (*JRSS B* 57, 1995): for screening.

    Rejecting where the adjusted value is at most α keeps the share of false rejections among all at most α on average, for
    tests that depend on each other positively (Benjamini & Yekutieli, *Ann. Stat.* 29, 2001). NaN counts as p = 1.
    """
    values = _asked(p)
    order = np.argsort(values, kind="stable")[::-1]
    stepped = np.minimum.accumulate(values[order] * len(values) / np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _asked(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.nan_to_num(np.atleast_1d(np.asarray(p, dtype=np.float64)), nan=1.0)
    if values.ndim != 1 or ((values < 0) | (values > 1)).any():
        raise ValueError("p-values form one list of numbers between 0 and 1")
    return values


def merged(p: npt.ArrayLike) -> float:
    """One p-value of several tests of the same hypothesis, however they depend on each other: twice their mean.

    Rüschendorf, *Adv. Appl. Probab.* 14, 1982; Vovk & Wang, *Biometrika* 107, 2020.
    """
    values = np.asarray(p, dtype=np.float64)
    if not values.size or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values form one list of numbers between 0 and 1")
    return float(min(1.0, 2 * values.mean())) if values.size > 1 else float(values[0])

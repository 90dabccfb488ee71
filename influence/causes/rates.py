"""Error rates as a model of conditions: Poisson regression on word errors with reference words as exposure.

    log E[errors] = log words + intercept + slice + conditions (+ speaker)

Two fits of the same line, through `statsmodels`:

* **reported**: generalised estimating equations with exchangeable correlation within speakers (Liang & Zeger, Biometrika 73,
  1986) and Mancl & DeRouen's bias-reduced sandwich (Biometrics 57, 2001). Word errors come in bursts, so they scatter more
  than Poisson counts; the sandwich measures the scatter that there is, and assumes none.
* **beside it**: the mixed-effects model with a speaker's own intercept (variational Bayes). It takes the counts for Poisson
  given the speaker, so its own intervals are too short where errors burst and are not shown; its estimate is a check on the
  first, and its spread of speakers is worth knowing.

Both are told as a *standardised* gap (g-computation: Robins, 1986): every utterance is asked what its errors would be inside
the slice and outside, all else as it is; the difference of the two word error rates is the gap. Its interval is the delta
method's, with Student's t on (speakers − 2) degrees of freedom, since the slice is mostly a matter of speakers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from influence.causes.utterances import Floats, Utterances, numeric
from lineage.errors import EarmarkError
from training.statistics.bootstrap import LEVEL, Interval

SLICE = 1  # column of the design that says whether an utterance is in the slice
RANK = 1e-7


@dataclass(frozen=True)
class Design:
    """The design matrix [n, p], its column names, and the names of conditions that said nothing new."""

    matrix: Floats
    names: tuple[str, ...]
    aliased: tuple[str, ...]


@dataclass(frozen=True)
class Standardised:
    """WER as if all utterances were in the slice, and as if none were; `gap` is their difference with its interval.

    `ratio` is the rate ratio inside / outside.
    """

    inside: float
    outside: float
    gap: Interval
    ratio: float


@dataclass(frozen=True)
class Mixed:
    """The mixed-effects fit: its standardised gap, and by what factor speakers one standard deviation apart differ."""

    gap: float
    speaker_factor: float


def design(utterances: Utterances) -> Design:
    """Intercept, slice, and conditions: categories as levels, numbers standardised with their squares.

    Raises:
        EarmarkError: the conditions tell the slice completely, so that nothing is left to compare.
    """
    n = len(utterances)
    columns: list[tuple[str, Floats]] = [("intercept", np.ones(n))]
    for name, values in utterances.columns.items():
        if numeric(values):
            there = np.isfinite(values)
            if not there.all():
                columns.append((f"{name}=unknown", (~there).astype(np.float64)))
            z = np.zeros(n)
            if there.any() and values[there].std() > 0:
                z[there] = (values[there] - values[there].mean()) / values[there].std()
            columns += [(name, z), (f"{name}²", z**2)]
        else:
            levels = sorted(set(values))
            columns += [(f"{name}={v}", (values == v).astype(np.float64)) for v in levels[1:]]
    kept: list[tuple[str, Floats]] = []
    aliased = []
    for name, column in columns:
        if _adds([c for _, c in kept], column):
            kept.append((name, column))
        else:
            aliased.append(name)
    inside = utterances.inside.astype(np.float64)
    if not _adds([c for _, c in kept], inside):
        raise EarmarkError(
            f"the slice is told completely by {', '.join(utterances.columns)}: nothing is left to compare — adjust for less"
        )
    kept.insert(SLICE, ("slice", inside))
    return Design(np.column_stack([c for _, c in kept]), tuple(n for n, _ in kept), tuple(aliased))


def _adds(known: list[Floats], column: Floats) -> bool:
    """Whether a column is more than a sum of those known."""
    size = float(np.linalg.norm(column))
    if not size:
        return False
    if not known:
        return True
    base = np.column_stack(known)
    rest = column - base @ np.linalg.lstsq(base, column, rcond=None)[0]
    return float(np.linalg.norm(rest)) > RANK * size


def population_averaged(utterances: Utterances, made: Design, *, level: float = LEVEL) -> Standardised:
    """The reported fit.

    Raises:
        EarmarkError: the equations have no solution, e.g. because a side makes no errors at all.
    """
    import statsmodels.api as sm

    for side, name in ((utterances.inside, "the slice"), (~utterances.inside, "the others")):
        if not utterances.errors[side].sum():
            raise EarmarkError(
                f"no word errors in {name}, so that rates cannot be compared as a ratio — test on more, or adjust for nothing"
            )
    model = sm.GEE(
        utterances.errors, made.matrix, groups=utterances.speakers, family=sm.families.Poisson(),
        cov_struct=sm.cov_struct.Exchangeable(), exposure=utterances.words,
    )  # fmt: skip
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # whether it came to an end is asked below
        try:
            fitted = model.fit(cov_type="bias_reduced", maxiter=200)
            parameters, covariance = np.asarray(fitted.params), np.asarray(fitted.cov_params())
        except (np.linalg.LinAlgError, ValueError) as error:
            raise _unsolved(made) from error
    if not fitted.converged or not np.isfinite(parameters).all():
        raise _unsolved(made)
    speakers = len(np.unique(utterances.speakers))
    return _standardise(utterances.words, made.matrix, parameters, covariance, speakers, _told_apart(utterances), level)


def _unsolved(made: Design) -> EarmarkError:
    return EarmarkError(f"the regression on {', '.join(made.names[1:])} does not converge — adjust for less")


def _told_apart(utterances: Utterances) -> bool:
    """Whether there are two speakers on each side, without whom no interval can be known."""
    sides = (utterances.speakers[utterances.inside], utterances.speakers[~utterances.inside])
    return all(len(np.unique(s)) > 1 for s in sides)


def _standardise(
    words: Floats, matrix: Floats, parameters: Floats, covariance: Floats, speakers: int, known: bool, level: float
) -> Standardised:
    rates, gradients = [], []
    for value in (1.0, 0.0):
        as_if = matrix.copy()
        as_if[:, SLICE] = value
        expected = words * np.exp(as_if @ parameters) / words.sum()
        rates.append(float(expected.sum()))
        gradients.append(as_if.T @ expected)
    slope = gradients[0] - gradients[1]
    value = rates[0] - rates[1]
    half = float("nan")
    if known and speakers > 2:
        error = float(np.sqrt(max(slope @ covariance @ slope, 0.0)))
        half = error * float(stats.t.ppf((1 + level) / 2, speakers - 2))
    interval = Interval(value, value - half, value + half, level, speakers, 0)
    return Standardised(rates[0], rates[1], interval, float(np.exp(parameters[SLICE])))


def mixed(utterances: Utterances, made: Design) -> Mixed | None:
    """The mixed-effects fit; speakers keep their own intercepts when utterances are moved in and out of the slice.

    None where the approximation does not come to an end.
    """
    names, codes = np.unique(utterances.speakers, return_inverse=True)
    n, p = made.matrix.shape
    of_speakers = sparse.csr_array((np.ones(n), (np.arange(n), codes)), shape=(n, len(names)))
    orthogonal, back = np.linalg.qr(made.matrix)  # columns alike in size and apart: the descent is short
    scale = np.sqrt(n)
    model = _with_exposure()(
        utterances.errors, orthogonal * scale, of_speakers, np.zeros(len(names), dtype=int), np.log(utterances.words)
    )
    start = np.zeros(p + 1 + len(names))
    start[:p] = orthogonal.T @ np.full(n, np.log(utterances.errors.sum() / utterances.words.sum())) / scale
    start[p] = -1.0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # whether it came to an end is asked below
        fitted = model.fit_vb(
            mean=start, sd=np.full(len(start), 0.1), fit_method="L-BFGS-B", minim_opts={"maxiter": 2000}
        )
    if not fitted.optim_retvals.success:
        return None
    fixed = np.linalg.solve(back, np.asarray(fitted.fe_mean) * scale)
    spread, own = np.asarray(fitted.vcp_mean), np.asarray(fitted.vc_mean)
    rates = []
    for value in (1.0, 0.0):
        as_if = made.matrix.copy()
        as_if[:, SLICE] = value
        rates.append(float((utterances.words * np.exp(as_if @ fixed + own[codes])).sum() / utterances.words.sum()))
    return Mixed(rates[0] - rates[1], float(np.exp(np.exp(spread[0]))))


def _with_exposure() -> Any:
    """`statsmodels`' mixed Poisson model, which knows no exposure, with log words added to its linear predictor."""
    from statsmodels.genmod.bayes_mixed_glm import PoissonBayesMixedGLM

    class Exposed(PoissonBayesMixedGLM):  # type: ignore[misc]
        def __init__(
            self, errors: Floats, matrix: Floats, groups: Any, ident: npt.NDArray[np.int64], log_words: Floats
        ) -> None:
            super().__init__(errors, matrix, groups, ident, vcp_p=1, fe_p=3)
            self.log_words = log_words

        def _lp_stats(self, *parameters: Floats) -> tuple[Floats, Floats]:
            mean, variance = super()._lp_stats(*parameters)
            return mean + self.log_words, variance

    return Exposed

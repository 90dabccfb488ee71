"""Do two systems really differ? The matched-pairs test on segments (MAPSSWE; Gillick & Cox, ICASSP 1989).

Errors in one utterance hang together: a missed word spoils its neighbours. Where both systems get two words in a row right,
nothing of that is carried across, so the text is cut there into segments whose errors may be taken as independent. Of every
segment in which either errs, Z is the errors of the first minus those of the second; the mean of Z over its standard error
is compared with the normal distribution.

It takes segments of one speaker as independent evidence about speakers, which they are not: where a speaker block bootstrap
says less, believe the bootstrap. Laws: exchanging the systems changes the sign of Z and nothing else; utterances may come in
any order; a system does not differ from itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from training.evaluation.wer import Aligned, align

QUIET = 2  # words that both have right, in a row, to end a segment


@dataclass(frozen=True)
class Mapsswe:
    """The outcome: `segments` with an error of either, mean of Z, its statistic and two-sided p-value (NaN below two)."""

    segments: int
    mean: float
    z: float
    p: float


def mapsswe(references: Sequence[str], first: Sequence[str], second: Sequence[str], quiet: int = QUIET) -> Mapsswe:
    """Compare two systems' hypotheses of the same references, all normalised: positive where the first errs more.

    Raises:
        ValueError: different numbers of texts.
    """
    return of_differences(differences(references, first, second, quiet))


def differences(
    references: Sequence[str], first: Sequence[str], second: Sequence[str], quiet: int = QUIET
) -> npt.NDArray[np.float64]:
    """Z of every segment: errors of the first minus errors of the second."""
    each = zip(references, first, second, strict=True)
    return np.array([z for said, a, b in each for z in _segments(said, a, b, quiet)], dtype=np.float64)


def of_differences(z: npt.NDArray[np.float64]) -> Mapsswe:
    """The test on the segments' differences.

    Where all of them are equal their spread says nothing; the sign test's p-value, 2 · ½ⁿ, stands in.
    """
    n = len(z)
    if n < 2:
        return Mapsswe(n, float(z.mean()) if n else 0.0, math.nan, math.nan)
    mean, spread = float(z.mean()), float(z.std(ddof=1))
    if spread == 0:
        return Mapsswe(n, mean, math.copysign(math.inf, mean) if mean else 0.0, min(1.0, 2 * 0.5**n) if mean else 1.0)
    statistic = mean / (spread / math.sqrt(n))
    return Mapsswe(n, mean, statistic, 2 * NormalDist().cdf(-abs(statistic)))


def _segments(reference: str, first: str, second: str, quiet: int) -> Iterator[int]:
    """Z of every segment of one utterance."""
    a, b = _errors(align(reference, first)), _errors(align(reference, second))
    wrong = difference = calm = 0
    for at, (x, y) in enumerate(zip(a, b, strict=True)):
        word = at % 2 == 1  # between the gaps lie the words
        wrong += x + y
        difference += x - y
        if x + y:
            calm = 0
        elif word:
            calm += 1
        if calm >= quiet and wrong:
            yield difference
            wrong = difference = 0
    if wrong:
        yield difference


def _errors(alignment: Sequence[Aligned]) -> list[int]:
    """Errors at every place: before the first word, at it, before the second, … after the last; 2 × words + 1 places."""
    places = [0]
    for a in alignment:
        if a.operation == "insertion":
            places[-1] += 1
        else:
            places += [int(a.operation != "hit"), 0]
    return places

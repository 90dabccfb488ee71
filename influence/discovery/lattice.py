"""High-error slices among all crossings of a few conditions: exhaustive, and fast because most crossings need no look.

A *literal* is one condition on one feature (`accent=scot`, a quarter of the SNRs); a slice is a conjunction of literals on
different features. Its score weighs how bad it is against how small (SliceLine: Sagadeeva & Boehm, SIGMOD 2021),

    α (WER(slice) / WER(all) − 1) − (1 − α) (words of all / words of slice − 1),

so that 0 is the whole set, and positive scores stand for slices that are worse and large enough to matter. The search goes
depth by depth. A slice is not entered if it has too few words, or if no crossing within it could score as high as the best
found so far: a crossing has at most the words and the errors of every slice that it lies in (the paper's bounds).

Laws: what is found is what looking at every crossing would find, in the same order; the order of utterances does not matter.
Nothing here says that a slice is bad beyond chance, for it was picked for being bad: that takes other data (`confirm`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Alive = dict[tuple[int, ...], tuple[float, float]]  # errors and words by literals

ALPHA = 0.95
CHUNK = 1 << 24  # values in memory at a time


@dataclass(frozen=True, eq=False)
class Literal:
    """One condition: its feature, as people say it, as SQL, and which of the n utterances meet it."""

    feature: str
    name: str
    predicate: str
    mask: Mask


@dataclass(frozen=True)
class Scored:
    """A slice by the numbers of its literals (ascending), with its score, errors and words."""

    literals: tuple[int, ...]
    score: float
    errors: float
    words: float


@dataclass(frozen=True)
class Measure:
    """What a set of utterances amounts to: errors and words [n] each, the weight α, and the fewest words of a slice."""

    errors: Array
    words: Array
    alpha: float
    support: float

    @property
    def rate(self) -> float:
        """Errors per word of all."""
        return float(self.errors.sum() / self.words.sum())

    def score(self, errors: Array, words: Array) -> Array:
        """Scores of slices of so many errors and words."""
        with np.errstate(divide="ignore", invalid="ignore"):
            worse = errors / words / self.rate - 1
            smaller = self.words.sum() / words - 1
            return np.asarray(np.where(words > 0, self.alpha * worse - (1 - self.alpha) * smaller, -np.inf))

    def bound(self, errors: Array, words: Array) -> Array:
        """No slice with at most so many errors and words, and enough words, scores higher.

        With `densest` errors a word at most, the score as a function of a slice's words rises until these hold all errors,
        and is monotonous from there on: its maximum is there or at the end.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = np.where(self.errors > 0, self.errors / self.words, 0.0)
        densest = float(rates.max(initial=0.0))
        if not densest:
            return self.score(np.zeros_like(words), words)
        turn = np.clip(errors / densest, min(self.support, float(words.max(initial=0.0))), None)
        ends = [self.score(np.minimum(errors, w * densest), w) for w in (np.minimum(turn, words), words)]
        return np.asarray(np.maximum(*ends))


def search(
    errors: Array,
    words: Array,
    literals: Sequence[Literal],
    *,
    depth: int,
    support: float,
    best: int,
    alpha: float = ALPHA,
) -> list[Scored]:
    """The `best` slices of positive score with up to `depth` literals and `support` words, highest score first.

    Of equal scores the one with fewer literals comes first, then by the numbers of the literals.
    """
    measure = Measure(np.asarray(errors, np.float64), np.asarray(words, np.float64), alpha, max(support, 1.0))
    if not literals or not measure.errors.sum():
        return []
    one = np.column_stack([x.mask for x in literals])  # [n, literals]
    features = np.unique([x.feature for x in literals], return_inverse=True)[1]
    found: list[Scored] = []
    alive: Alive = {(): (measure.errors.sum(), measure.words.sum())}
    for _ in range(depth):
        wanted = _crossings(alive, features, measure, found[-1].score if len(found) == best else 0.0)
        sums = _sums(wanted, one, measure)
        scores = measure.score(sums[:, 0], sums[:, 1])
        enough = [
            (c, float(s), float(e), float(w))
            for c, s, (e, w) in zip(wanted, scores, sums, strict=True)
            if w >= measure.support
        ]
        found += [Scored(*row) for row in enough if row[1] > 0]
        found = sorted(found, key=lambda x: (-x.score, len(x.literals), x.literals))[:best]
        alive = {c: (e, w) for c, _, e, w in enough if e > 0}
    return found


def _crossings(alive: Alive, features: npt.NDArray[np.int64], measure: Measure, least: float) -> list[tuple[int, ...]]:
    """Crossings of one literal more than those alive, whose parts are all alive and whose bound reaches `least`."""
    wanted, errors, words = [], [], []
    for parent in alive:
        taken = {int(features[i]) for i in parent}
        for i in range(parent[-1] + 1 if parent else 0, len(features)):
            if int(features[i]) in taken:
                continue
            crossing = (*parent, i)
            parts = [alive.get(crossing[:j] + crossing[j + 1 :]) for j in range(len(crossing))]
            known = [p for p in parts if p is not None]
            if len(known) == len(crossing):
                wanted.append(crossing)
                errors.append(min(e for e, _ in known))
                words.append(min(w for _, w in known))
    if not wanted:
        return []
    bounds = measure.bound(np.array(errors), np.array(words))
    return [c for c, b in zip(wanted, bounds, strict=True) if b > 0 and b >= least]


def _sums(crossings: Sequence[tuple[int, ...]], one: Mask, measure: Measure) -> Array:
    """Errors and words of each crossing, [crossings, 2]."""
    amounts = np.column_stack([measure.errors, measure.words])
    found = np.zeros((len(crossings), 2))
    step = max(1, CHUNK // max(1, len(one)))
    for start in range(0, len(crossings), step):
        chosen = np.array(crossings[start : start + step])
        inside = one[:, chosen[:, 0]]
        for column in chosen.T[1:]:
            inside = inside & one[:, column]
        found[start : start + step] = inside.T.astype(np.float64) @ amounts
    return found

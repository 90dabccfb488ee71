"""The field's customary test beside the audit's own: MAPSSWE of each retraining against what it is held against.

Seed by seed the two models' hypotheses are compared by matched pairs (`training.evaluation.mapsswe`), and the seeds'
p-values become one that holds however they depend on each other, for they share the test set
(`training.statistics.multiplicity.merged`).

It is about other words than verdicts are. It tests the estimate, not the effect beyond its control; it speaks of further
utterances by these very speakers; and it takes the luck of one training, which is a difference between the two models as well,
for an effect. So it stands beside the verdict and decides nothing: where it is large, no verdict should say *helps* or *hurts*;
where it is small, the question is still whether another seed or another voice would say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np

from influence.statistics.effects import EvalSlice
from lineage.store import Store
from training.evaluation.mapsswe import differences, of_differences
from training.evaluation.predict import recorded, spoken_and_heard
from training.normalise import normaliser
from training.statistics.multiplicity import merged


class MatchedPairs:
    """Compares runs of predictions on one evaluation set; texts are read once a run."""

    def __init__(self, store: Store, normalise: str) -> None:
        self._store = store
        self._normalise = normalise
        self._text = normaliser(normalise)
        self._texts: dict[str, Mapping[UUID, tuple[str, str]]] = {}

    def p_values(self, pairs: Sequence[tuple[str, str]], tested: Sequence[EvalSlice]) -> dict[str, float | None]:
        """By evaluation slice, over `pairs` of runs, one a seed; None where words were erased or no model errs."""
        by_seed = [self._segments(*pair) for pair in pairs]
        return {target.name: _merged(by_seed, target) for target in tested}

    def _segments(self, first: str, second: str) -> dict[UUID, list[float]]:
        """Differences of the segments of each utterance whose words are there."""
        a, b = self._said(first), self._said(second)
        there = (i for i in a if i in b)
        return {i: differences([a[i][0]], [a[i][1]], [b[i][1]]).tolist() for i in there}

    def _said(self, run_id: str) -> Mapping[UUID, tuple[str, str]]:
        """Reference and hypothesis, normalised."""
        if run_id not in self._texts:
            texts = spoken_and_heard(self._store, recorded(self._store, run_id, self._normalise))
            self._texts[run_id] = {i: (self._text(t[0]), self._text(t[1])) for i, t in texts.items()}
        return self._texts[run_id]


def _merged(by_seed: Sequence[Mapping[UUID, list[float]]], target: EvalSlice) -> float | None:
    if any(i not in segments for segments in by_seed for i in target.words):
        return None
    p = [of_differences(np.array([z for i in sorted(target.words) for z in each[i]])).p for each in by_seed]
    known = [value for value in p if not math.isnan(value)]
    return merged(known) if known else None

"""What a forecast is about: one word error rate, though it may be made of several slices.

The mean of several slices' rates is itself a ratio of sums once each sample is given a weight, so it is measured, resampled and
forecast as any other rate. The worst slice is the one that is served worst with all data, on average over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import numpy as np

from influence.causes.doses import Retrained
from influence.statistics.effects import EvalSlice
from influence.statistics.outcomes import eval_slices, outcome
from influence.statistics.panels import Outcome, Panel, blocks, panel
from lineage.store import Store

Goal = Literal["mean", "worst"]


@dataclass(frozen=True)
class Target:
    """One word error rate: Σ errors·weight / Σ words·weight over samples; `words` and `speakers` of those that count."""

    name: str
    weights: Mapping[UUID, float]
    words: Mapping[UUID, float]
    speakers: Mapping[UUID, UUID | None]


def target_of(store: Store, made: Retrained, goal: Goal, weights: Sequence[float] = ()) -> Target:
    """The target that the evaluation slices of `made` make: their mean by `weights` (default: equal), or the worst of them.

    Raises:
        EarmarkError: an evaluation slice has no reference words.
    """
    parts = eval_slices(store, made.tested, made.baseline[0])
    if goal == "worst":
        outcomes = [outcome(store, p) for p in made.baseline]
        rates = [sum(o.errors[s] for o in outcomes for s in p.words) / sum(p.words.values()) for p in parts]
        parts = [parts[int(np.argmax(rates))]]
        return weighted(parts, [1.0], name=f"worst: {parts[0].name}")
    return weighted(parts, weights or [1.0] * len(parts))


def weighted(parts: Sequence[EvalSlice], weights: Sequence[float], name: str | None = None) -> Target:
    """The mean of the rates of evaluation slices as one rate over weighted samples.

    A slice of weight w and W words gives each of its samples w / W; all are scaled so that the words keep their number.
    """
    total = sum(weights)
    shares = [w / total for w in weights]
    of_samples: dict[UUID, float] = {}
    words: dict[UUID, float] = {}
    speakers: dict[UUID, UUID | None] = {}
    for part, share in zip(parts, shares, strict=True):
        all_words = sum(part.words.values())
        for sample, count in part.words.items():
            of_samples[sample] = of_samples.get(sample, 0.0) + share / all_words
            words[sample] = count
        speakers |= part.speakers
    scale = sum(words.values())
    said = " + ".join(p.name if len(parts) == 1 else f"{s:.2g} × {p.name}" for p, s in zip(parts, shares, strict=True))
    return Target(name or said, {s: w * scale for s, w in of_samples.items()}, words, speakers)


def panels(store: Store, made: Retrained, target: Target) -> list[Panel]:
    """Outcomes of each slice's doses on the target, the whole first."""
    read: dict[str, Outcome] = {}

    def scaled(predictions: str) -> Outcome:
        if predictions not in read:
            errors = outcome(store, predictions).errors
            read[predictions] = Outcome({s: w * errors[s] for s, w in target.weights.items()}, {})
        return read[predictions]

    words = {s: w * target.words[s] for s, w in target.weights.items()}
    parts = blocks(words, target.speakers, "speakers")
    return [
        panel([[scaled(p) for p in row] for row in (made.baseline, *rows)], parts, "wer") for rows in made.predictions
    ]

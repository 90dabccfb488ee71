"""The figures of an evaluation: every metric of every slice with its speaker-block interval.

| metric | is |
| --- | --- |
| `wer`, `substitutions`, `deletions`, `insertions` | Σ of them / Σ reference words |
| `cer` | Σ character errors / Σ reference characters |
| `sentence_accuracy` | utterances without an error / utterances |
| `entity_accuracy`, `entity_accuracy:<kind>` | entities heard whole / entities said (`training.evaluation.entities`) |
| `loss` | Σ nats / Σ words, over the utterances whose transcript the model can spell |
| `wer_by_speaker`, `cer_by_speaker` | mean of the speakers' rates: every voice counts alike, however much it said |
| `wer_macro`, `cer_macro` | mean of the rates of an attribute's slices, in the slice named `<attribute>=*` |
| `wer_beside`, `wer_beside_difference` | the WER under a second normaliser, and how far it lies above the first |
| `ece_word`, `ece_utterance` | expected calibration error (`training.evaluation.calibration`) |

Those without a word in their name for the mean are micro averages: sums before division. A metric that is not defined for a
slice (no words, no entities) is not there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation import calibration
from training.evaluation.calibration import Outcomes
from training.evaluation.slices import Mask, attribute_of
from training.statistics import bootstrap

Floats = npt.NDArray[np.float64]

PARTS = ("substitutions", "deletions", "insertions")


@dataclass(frozen=True)
class Figure:
    """One metric of one slice; `words` are the reference words of its utterances, `total` what it was divided by."""

    slice: str
    metric: str
    interval: bootstrap.Interval
    samples: int
    words: int
    total: int
    normaliser: str


@dataclass(frozen=True)
class Amount:
    """What a rate is made of: of each utterance, what is added up above the line and below it, [n] each.

    An utterance with NaN above does not take part.
    """

    above: Floats
    below: Floats


@dataclass(frozen=True)
class Measured:
    """An evaluation's utterances, [n] each, before anything is added up."""

    speakers: npt.NDArray[Any]
    words: Floats
    rates: Mapping[str, Amount]
    normaliser: str
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict)
    beside: tuple[str, Amount] | None = None  # label of a second normaliser, errors and words under it


@dataclass(frozen=True)
class Resampling:
    """How intervals are made, see `training.statistics.bootstrap`."""

    level: float = bootstrap.LEVEL
    replicates: int = bootstrap.REPLICATES
    seed: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """As keywords of the functions in `bootstrap`."""
        return {"level": self.level, "replicates": self.replicates, "seed": self.seed}


def figures(measured: Measured, masks: Mapping[str, Mask], resampling: Resampling) -> tuple[Figure, ...]:
    """All figures, slice by slice; those of whole attributes come last."""
    found = [f for name, mask in masks.items() for f in _of_slice(measured, name, mask, resampling)]
    attributes: dict[str, list[Mask]] = {}
    for name, mask in masks.items():
        attribute = attribute_of(name)
        if attribute is not None:
            attributes.setdefault(attribute, []).append(mask)
    for attribute, parts in attributes.items():
        if len(parts) > 1:
            found += _over_slices(measured, f"{attribute}=*", parts, resampling)
    return tuple(f for f in found if not math.isnan(f.interval.value))


def _of_slice(measured: Measured, name: str, mask: Mask, resampling: Resampling) -> Iterator[Figure]:
    for metric, amount in measured.rates.items():
        used = mask & np.isfinite(amount.above)
        above, below, who = amount.above[used], amount.below[used], measured.speakers[used]
        interval = bootstrap.ratio(above, below, who, **resampling.options)
        yield _figure(measured, name, metric, interval, used, below.sum())
        if metric in ("wer", "cer"):
            rates = _by_speaker(above, below, who)
            ones = np.ones(len(rates))
            interval = bootstrap.ratio_of_sums(np.sort(rates), ones, **resampling.options)
            yield _figure(measured, name, f"{metric}_by_speaker", interval, used, len(rates))
    for unit, outcomes in measured.outcomes.items():
        within = outcomes.within(mask)
        if len(within.confidence):
            interval = calibration.ece(within, measured.speakers, **resampling.options)
            yield _figure(measured, name, f"ece_{unit}", interval, mask, len(within.confidence))
    if measured.beside is not None:
        label, other = measured.beside
        first = measured.rates["wer"]
        above, below, who = other.above[mask], other.below[mask], measured.speakers[mask]
        interval = bootstrap.ratio(above, below, who, **resampling.options)
        yield _figure(measured, name, "wer_beside", interval, mask, below.sum(), label)
        columns = np.column_stack([above, below, first.above[mask], first.below[mask]])
        interval, _ = bootstrap.statistic(columns, who, difference_of_rates, **resampling.options)
        yield _figure(measured, name, "wer_beside_difference", interval, mask, below.sum(), label)


def _over_slices(measured: Measured, name: str, parts: list[Mask], resampling: Resampling) -> Iterator[Figure]:
    used = np.logical_or.reduce(parts)
    for metric in ("wer", "cer"):
        amount = measured.rates[metric]
        columns = [np.where(p, a, 0.0) for p in parts for a in (amount.above, amount.below)]
        table = np.column_stack(columns)[used]
        interval, _ = bootstrap.statistic(table, measured.speakers[used], _macro, **resampling.options)
        yield _figure(measured, name, f"{metric}_macro", interval, used, len(parts))


def _macro(sums: Floats) -> Floats:
    """Mean of the rates of slices, from sums [r, 2 × slices]; NaN where a slice was not drawn at all."""
    above, below = sums[:, 0::2], sums[:, 1::2]
    rates = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return np.asarray(rates.mean(axis=1))


def difference_of_rates(sums: Floats) -> Floats:
    """The first rate minus the second, from sums [r, 4]; NaN where either is of nothing."""
    above, below = sums[:, 0::2], sums[:, 1::2]
    rates = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return np.asarray(rates[:, 0] - rates[:, 1])


def _by_speaker(above: Floats, below: Floats, who: npt.NDArray[Any]) -> Floats:
    """Every speaker's rate; those who said nothing have none."""
    sums = bootstrap.block_sums(np.column_stack([above, below]), who)
    sums = sums[sums[:, 1] > 0]
    return np.asarray(sums[:, 0] / sums[:, 1])


def _figure(
    measured: Measured,
    slice: str,
    metric: str,
    interval: bootstrap.Interval,
    used: Mask,
    total: float,
    normaliser: str | None = None,
) -> Figure:
    label = normaliser or measured.normaliser
    return Figure(slice, metric, interval, int(used.sum()), int(measured.words[used].sum()), int(total), label)

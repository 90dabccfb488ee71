"""A panel: everything that the retrainings of an audit did on one evaluation slice, ready for the statistics.

`values[j, k, b]` is what retraining `j` (0: all data) with seed `k` amounts to on block `b` of the slice, `words[b]` what it
is divided by there, mostly reference words; their quotient, summed over blocks, is the metric:

| metric | is | divided by |
| --- | --- | --- |
| `wer` | word errors | reference words |
| `cer` | character errors | reference characters |
| `loss` | nats | reference words |
| `entity_errors` | entities not heard whole (1 − entity accuracy, see `training.evaluation.entities`) | entities said |
| `ece_utterance` | expected calibration error of utterances (see `training.evaluation.calibration`) | utterances |
| `ece_word` | that of decoded words | reference words, see below |

All of them are the worse the higher, so a positive effect of leaving a slice out means the same everywhere. A calibration error
is no sum over utterances, but it is one once each bin is known to be over- or underconfident: utterances then count with their
bin's sign (`calibration.contributions`), their sum is the error itself, and a bin that is near balance, where the sign might
have been the other, adds next to nothing.

How many words are decoded differs from model to model, where a panel has one amount a block. A block's value of `ece_word` is
therefore what it adds to the ratio by the delta method: with Σ contributions c over n decoded words, the ratio g, and w_b of
the W reference words in block b, it is W/n (c_b − g n_b) + g w_b. Over all blocks that is W g, and a block that talks much
weighs in a resample by what it says.

A block is what may be resampled as one: a test speaker, because a speaker's utterances resemble each other, or a single
utterance where the claim is about these very speakers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from lineage.errors import EarmarkError
from training.evaluation.calibration import Outcomes, contributions

Array = npt.NDArray[np.float64]
Generalise = Literal["speakers", "utterances"]
Metric = Literal["wer", "loss", "cer", "entity_errors", "ece_utterance", "ece_word"]

METRICS: tuple[Metric, ...] = ("wer", "loss", "cer", "entity_errors", "ece_utterance", "ece_word")
USUAL: tuple[Metric, ...] = ("wer", "loss")
STEP = {"wer": 1.0, "cer": 1.0, "entity_errors": 1.0}  # the smallest change that a value can make: one word


def check_metrics(metrics: Collection[str]) -> None:
    """Whether these can be measured.

    Raises:
        EarmarkError: there is none, or one that is not known, or one stands twice.
    """
    if not metrics or set(metrics) - set(METRICS):
        raise EarmarkError(f"metrics {', '.join(metrics) or 'none'} — choose of {', '.join(METRICS)}")
    if len(set(metrics)) < len(metrics):
        raise EarmarkError(f"metrics {', '.join(metrics)} — name each once")


@dataclass(frozen=True)
class Outcome:
    """One model on one evaluation set: errors and loss by sample, and what other metrics add up.

    `sure` is each utterance's confidence and how right it was, both from 0 to 1; `sure_words` that of each decoded word.
    """

    errors: Mapping[UUID, float]
    loss: Mapping[UUID, float]
    others: Mapping[str, Mapping[UUID, float]] = field(default_factory=dict)
    sure: Mapping[UUID, tuple[float, float]] = field(default_factory=dict)
    sure_words: Mapping[UUID, Sequence[tuple[float, float]]] = field(default_factory=dict)

    def scored(self, metric: str) -> Collection[UUID]:
        """The samples that have a value."""
        if metric == "ece_word":
            return self.sure_words
        return self.sure if metric == "ece_utterance" else self._sums(metric)

    def values(self, metric: str, samples: Sequence[UUID], words: Array) -> Array:
        """What the samples of a slice add up to the metric's numerator, [n]; `words` [n] is what they are divided by."""
        if metric == "ece_word":
            return self._of_words(samples, words)
        if metric != "ece_utterance":
            by_sample = self._sums(metric)
            return np.array([by_sample[s] for s in samples], dtype=np.float64)
        sure, right = np.array([self.sure[s] for s in samples], dtype=np.float64).reshape(-1, 2).T
        return contributions(Outcomes(sure, right, np.arange(len(samples))))

    def _of_words(self, samples: Sequence[UUID], words: Array) -> Array:
        """Nothing where nothing was decoded."""
        heard = [self.sure_words.get(s, ()) for s in samples]
        said = np.array([len(h) for h in heard], dtype=np.float64)
        if not said.sum():
            return np.zeros(len(samples))
        sure, right = np.array([pair for h in heard for pair in h], dtype=np.float64).T
        utterance = np.repeat(np.arange(len(samples)), said.astype(np.int64))
        off = np.bincount(utterance, weights=contributions(Outcomes(sure, right, utterance)), minlength=len(samples))
        gap = off.sum() / said.sum()
        return np.asarray(words.sum() / said.sum() * (off - gap * said) + gap * words)

    def _sums(self, metric: str) -> Mapping[UUID, float]:
        return self.errors if metric == "wer" else self.loss if metric == "loss" else self.others.get(metric, {})


@dataclass(frozen=True)
class Blocks:
    """How the utterances of an evaluation slice fall into blocks.

    `samples` [n] in fixed order, `block` [n] the block of each, `words` [n] reference words of each; `speakers` the number
    of known speakers and `speakerless` the share of words that no known speaker said.
    """

    samples: tuple[UUID, ...]
    block: npt.NDArray[np.int64]
    words: Array
    speakers: int
    speakerless: float

    @property
    def count(self) -> int:
        """Number of blocks."""
        return int(self.block.max()) + 1 if len(self.block) else 0


def blocks(words: Mapping[UUID, float], speakers: Mapping[UUID, UUID | None], generalise: Generalise) -> Blocks:
    """Blocks of the samples in `words`; an utterance without a known speaker is a block of its own."""
    samples = tuple(sorted(words))
    names: dict[UUID, int] = {}
    index = []
    for sample in samples:
        speaker = speakers.get(sample)
        own = generalise == "utterances" or speaker is None
        index.append(names.setdefault(sample if own or speaker is None else speaker, len(names)))
    known = {s for s in (speakers.get(sample) for sample in samples) if s is not None}
    amount = np.array([words[s] for s in samples], dtype=np.float64)
    nobody = np.array([speakers.get(s) is None for s in samples], dtype=bool)
    share = float(amount[nobody].sum() / amount.sum()) if amount.sum() else 0.0
    return Blocks(samples, np.array(index, dtype=np.int64), amount, len(known), share)


@dataclass(frozen=True)
class Panel:
    """Values [J, K, B] and words [B] of one evaluation slice and metric; `step` is the value's smallest change."""

    values: Array
    words: Array
    step: float = 0.0

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.words.shape != self.values.shape[2:]:
            raise ValueError(f"values {self.values.shape} and words {self.words.shape} are not [J, K, B] and [B]")
        if not np.isfinite(self.values).all() or not self.words.sum() > 0:
            raise ValueError("a panel needs finite values and at least one word")

    @property
    def outcomes(self) -> Array:
        """The metric by retraining and seed, [J, K]."""
        return np.asarray(self.values.sum(axis=2) / self.words.sum(), dtype=np.float64)


def panel(outcomes: Sequence[Sequence[Outcome]], parts: Blocks, metric: str) -> Panel:
    """The panel of `outcomes[j][k]` over the blocks of one slice.

    Blocks without a single reference word are kept: their insertions count.
    """
    count = parts.count
    values = np.empty((len(outcomes), len(outcomes[0]), count))
    for j, seeds in enumerate(outcomes):
        for k, outcome in enumerate(seeds):
            values[j, k] = np.bincount(
                parts.block, weights=outcome.values(metric, parts.samples, parts.words), minlength=count
            )
    words = np.bincount(parts.block, weights=parts.words, minlength=count).astype(np.float64)
    return Panel(values, words, STEP.get(metric, 0.0))

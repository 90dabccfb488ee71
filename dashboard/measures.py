"""Figures that cannot be shown without their uncertainty.

Two laws of this dashboard live here rather than in the care of whoever writes a page: **an effect is never shown without its
interval, an influence never without its fidelity.** A `Change` cannot be made without both ends of its interval, a
`Prediction` not without a measured `Fidelity`, and only these know how to turn themselves into text. Where an interval or a
fidelity is missing there is nothing to show, and `None` with the reason takes its place. An error rate (`Rate`) of a single
speaker has no interval either; it is what was counted, so it is shown and says that it has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from influence.report import formats

METRICS = {
    "wer": "word error rate",
    "loss": "loss",
    "cer": "character error rate",
    "entity_errors": "share of entities misheard",
    "ece_utterance": "calibration error",
    "ece_word": "calibration error of words",
}
UNITS = {metric: "nats per word" if metric == "loss" else "points" for metric in METRICS}


@dataclass(frozen=True)
class Ends:
    """Both ends of an interval at a confidence level, e.g. 0.95.

    Raises:
        ValueError: an end is missing.
    """

    low: float
    high: float
    level: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.low, self.high, self.level))):
            raise ValueError("an interval has two ends and a level")

    @property
    def excludes_zero(self) -> bool:
        """Whether it lies on one side of zero."""
        return self.low > 0 or self.high < 0

    @property
    def percent(self) -> str:
        """Its level as text, 95 %."""
        return formats.percent(self.level, 0)


def ends(low: float | None, high: float | None, level: float | None) -> Ends | None:
    """An interval if all of it is known."""
    if low is None or high is None or level is None or not all(map(math.isfinite, (low, high, level))):
        return None
    return Ends(low, high, level)


@dataclass(frozen=True)
class Rate:
    """A word error rate (errors per reference word) or a loss (nats per word), with its interval if it has one."""

    metric: str
    value: float
    ends: Ends | None

    @property
    def number(self) -> str:
        """23.4 %."""
        return self._one(self.value)

    @property
    def interval(self) -> str:
        """19.0 to 28.1, or why there is none."""
        if self.ends is None:
            return "no interval: one speaker"
        return f"{self._bare(self.ends.low)} to {self._bare(self.ends.high)}"

    def short(self) -> str:
        """23.4 % (19.0 to 28.1)."""
        return f"{self.number} ({self.interval})"

    def _one(self, value: float) -> str:
        return formats.number(value, 3) if self.metric == "loss" else formats.percent(value)

    def _bare(self, value: float) -> str:
        return formats.number(value, 3) if self.metric == "loss" else formats.number(100 * value, 1)


@dataclass(frozen=True)
class Change:
    """A measured change of a metric, with its interval: positive means that errors rise without the data, so it helps."""

    metric: str
    value: float
    ends: Ends

    @property
    def number(self) -> str:
        """The change alone, for a place that also shows `interval`."""
        return self._one(self.value)

    @property
    def interval(self) -> str:
        """+3.2 to +9.0."""
        return f"{self._one(self.ends.low)} to {self._one(self.ends.high)}"

    def sentence(self) -> str:
        """+6.1 points (95 % interval +3.2 to +9.0)."""
        unit = UNITS.get(self.metric, self.metric)
        return f"{self.number}{formats.GAP}{unit} ({self.ends.percent} interval {self.interval})"

    def _one(self, value: float) -> str:
        return formats.signed(value, 3) if self.metric == "loss" else formats.points(value)


def change(metric: str, value: float | None, interval: Ends | None) -> Change | None:
    """A change if its interval is known."""
    return None if value is None or interval is None or not math.isfinite(value) else Change(metric, value, interval)


@dataclass(frozen=True)
class Fidelity:
    """How well predicted influences agree with measured effects: a correlation, −1 to 1, with its interval.

    `of` says over what, `pairs` how many.
    """

    name: str
    value: float
    ends: Ends
    pairs: int
    of: str

    def short(self) -> str:
        """Spearman 0.71 (0.52 to 0.83)."""
        return f"{self.name} {formats.number(self.value, 2)} ({formats.span(self.ends.low, self.ends.high)})"

    def sentence(self) -> str:
        """The same with its level and what it was taken over."""
        return (
            f"{self.name} {formats.number(self.value, 2)} ({self.ends.percent} interval "
            f"{formats.span(self.ends.low, self.ends.high)}) over {formats.number(self.pairs)} {self.of}"
        )

    def word(self) -> str:
        """What to make of it, judged by the interval's lower end."""
        if self.ends.low >= 0.7:
            return "strong: predictions can be read cell by cell"
        if self.ends.low >= 0.4:
            return "fair: trust the order of clear cells, not single values"
        if self.ends.low > 0:
            return "weak: better than chance, no more"
        return "not shown to be better than chance: do not go by these predictions"


@dataclass(frozen=True)
class Prediction:
    """A sum of influences, or one influence, with the fidelity of the attribution that it came from.

    Positive means that removing the samples would raise the target's loss, so they help.
    """

    value: float
    unit: str
    fidelity: Fidelity

    def sentence(self) -> str:
        """+0.312 nats per word (fidelity: Spearman 0.71 (0.52 to 0.83))."""
        return f"{formats.significant(self.value)}{formats.GAP}{self.unit} (fidelity: {self.fidelity.short()})"

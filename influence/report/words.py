"""Effects in words: verdicts, changes with their intervals, and the marks that stand for verdicts where space is short.

Law: no change is put into words without its interval. Where there is none, the words say so, and the verdict's reason why.
"""

from __future__ import annotations

import math

from influence.plans.checks import PLANTED
from influence.plans.hypotheses import NAMES, OPEN, REFUTED, SCALE, SUPPORTED, UNITS
from influence.report import formats
from influence.statistics.effects import Effect
from influence.statistics.verdicts import HELPS, HURTS, NO_EFFECT, NOT_IDENTIFIABLE

REMOVED = ("remove", PLANTED)
MARKS = {HELPS: "▲", HURTS: "▼", NO_EFFECT: "=", NOT_IDENTIFIABLE: "?", SUPPORTED: "✓", REFUTED: "✗"}
CLASSES = {
    HELPS: "helps",
    HURTS: "hurts",
    NO_EFFECT: "none",
    NOT_IDENTIFIABLE: "open",
    SUPPORTED: "good",
    REFUTED: "bad",
}
NONE = "no interval"


def metric_name(metric: str) -> str:
    """What a metric is called."""
    return NAMES.get(metric, metric)


def unit(metric: str) -> str:
    """The unit of its changes; empty for a metric of which nobody said one."""
    return UNITS.get(metric, "")


def kind(verdict: str) -> str:
    """A verdict, of an effect or of a hypothesis, without its number."""
    return next((k for k in (HELPS, HURTS, NO_EFFECT, SUPPORTED, REFUTED) if verdict.startswith(k)), OPEN)


def mark(verdict: str) -> str:
    """One character for it; never shown without its words nearby."""
    return MARKS[kind(verdict)]


def removed(effect: Effect) -> bool:
    """Whether a slice was left out in its places, so that a rise speaks for its data."""
    return (effect.intervention or "remove") in REMOVED


def schedule(effect: Effect) -> str:
    """Of what really changed the size of the data, what was held fixed: 'epochs', 'steps', or 'steps-epochs'; else empty."""
    return (effect.intervention or "").partition(":")[2]


def done(effect: Effect) -> str:
    """The intervention in words."""
    return effect.phrase or f"removing {effect.train_slice}"


def known(effect: Effect) -> bool:
    """Whether there is an interval, without which a change is not shown."""
    return effect.low is not None and effect.high is not None


def number(metric: str, value: float | None) -> str:
    """A change with its sign: points of WER, or the metric's own unit."""
    scaled = None if value is None else SCALE.get(metric, 1.0) * value
    return formats.signed(scaled, 1 if SCALE.get(metric) == 100 else 3)


def interval(metric: str, low: float | None, high: float | None) -> str:
    """Both ends."""
    return NONE if low is None or high is None else f"{number(metric, low)} to {number(metric, high)}"


def change(effect: Effect) -> str:
    """+6.1 points (95 % interval +3.2 to +9.0)."""
    return told(effect.metric, effect.estimate, effect.low, effect.high, effect.level)


def told(metric: str, value: float, low: float | None, high: float | None, level: float | None) -> str:
    """A figure with its interval in brackets."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return NONE
    said = f"{number(metric, value)}{formats.GAP}{unit(metric)}".rstrip()
    return f"{said} ({formats.percent(level, 0)} interval {interval(metric, low, high)})"


def sentence(effect: Effect) -> str:
    """What was done, what it did, and what random removals do beside it."""
    name = metric_name(effect.metric)
    if not known(effect):
        return f"{done(effect)}, {name} on {effect.eval_slice}: {NONE}."
    beside = ""
    if effect.control is not None and effect.control_low is not None:
        ends = interval(effect.metric, effect.control_low, effect.control_high)
        beside = f"; the same at random: {number(effect.metric, effect.control)} ({ends})"
    return f"{done(effect)}, {name} on {effect.eval_slice}: {change(effect)}{beside}."


def capital(text: str) -> str:
    """As the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def p_value(p: float | None) -> str:
    """With three decimals, or how far below."""
    if p is None:
        return formats.UNKNOWN
    return "< 0.001" if p < 0.001 else formats.number(p, 3)

"""From intervals to words: helps, hurts, no effect larger than X, not identifiable.

| verdict | said of a training slice when |
| --- | --- |
| helps | leaving it out raises the error, and by more than leaving out as many random samples does |
| hurts | leaving it out lowers the error, and by more than leaving out as many random samples does |
| no effect larger than X | the change is shown to lie within ±X, the margin declared beforehand |
| not identifiable | neither could be shown, or this design could not have shown it; the reason says which |

**Helps and hurts** need two things, both: Holm's correction over the declared family passes for `difference` (the effect
beyond its matched control; `estimate` where no control was run), and the interval of `estimate` itself is clear of zero on
the same side. The family-wise probability of a false *helps* or *hurts* is therefore at most α, and a slice is never said to
help for what any data of that size would have done.

Where something else is done to a slice than leaving it out (`influence.interventions`), the verdict is about what is done:
*hurts* is said when it raises the error, *helps* when it lowers it.

**No effect larger than X** is an equivalence test (two one-sided tests at α) of the same contrast: leaving the slice out does
nothing worth the name that as many random samples would not. X is declared as the largest change that counts as none, so this
verdict goes before *helps* and *hurts*: with enough data every effect, however small, becomes significant. Each such verdict
taken by itself is wrong with probability α at most; under the null it is never wrong, so it is not corrected for the number
of questions, unless the plan wants it so (`equivalence: family`): then Holm's correction goes over these tests as well, and the
probability that any *no effect* of the family is false is at most α, too. Absence of evidence never becomes *no effect*: that
needs an interval narrow enough.

**Screening** asks too many questions for Holm to leave any power. Benjamini and Hochberg's correction (*JRSS B* 57, 1995) then
takes his place: of all *helps* and *hurts* together, a share of α at most is false on average, for tests that depend on each
other positively (Benjamini & Yekutieli, *Ann. Stat.* 29, 2001), as slices do that are tested on the same speakers. Such
verdicts are leads, to be tested by a plan that declares them.

**Several looks** at the same questions (`sequential`) change neither rule: p-values are then of all looks together, at each
of which no more may be spent than was declared. Intervals are those of the last look.

**Not identifiable** comes before either wherever the design cannot speak: too few words, one seed, one test speaker where
the claim is about speakers. The figures are still given, with what they are worth in the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from influence.statistics.contrasts import Contrast
from influence.statistics.sequential import ONLY, Look
from training.statistics.multiplicity import benjamini_hochberg, holm

Correction = Literal["holm", "benjamini-hochberg"]
Equivalence = Literal["each", "family"]

HELPS = "helps"
HURTS = "hurts"
NO_EFFECT = "no effect larger than"
NOT_IDENTIFIABLE = "not identifiable"

MOSTLY = 0.8  # share of a variance that lasts, from which on more seeds are not worth asking for

COUNTS = {"wer": "errors", "cer": "character errors", "entity_errors": "misheard entities"}
LEVELS = {"loss": "loss", "ece_utterance": "calibration error", "ece_word": "calibration error of words"}


@dataclass(frozen=True)
class Cell:
    """One question of the family: what one training slice does to one evaluation slice.

    `obstacle` says why the design cannot answer it, empty where it can; `caution` goes with every answer. `harm`: a higher
    error speaks against what was done to the slice; otherwise the slice's data was left out, and it speaks for the data.
    Where the question was asked at several looks, this is the last, at `look`, and `before` are the earlier ones
    (see `sequential`). `hopeless`: no look to come is likely to answer it (see `futility`).
    """

    estimate: Contrast
    difference: Contrast | None
    metric: str
    margin: float
    obstacle: str = ""
    caution: str = ""
    harm: bool = False
    look: Look = ONLY
    before: tuple[Cell, ...] = ()
    hopeless: bool = False

    @property
    def tested(self) -> Contrast:
        """What the hypothesis is about: the effect beyond its control, where there is one."""
        return self.difference or self.estimate

    @property
    def p(self) -> float:
        """Of no effect, over all looks."""
        return min(c.look.p(c.tested.p) for c in self._looks)

    @property
    def closest(self) -> Cell:
        """The look that speaks most clearly for no effect beyond the margin."""
        return min(self._looks, key=lambda c: c.look.p(c.tested.p_within(self.margin)))

    @property
    def p_within(self) -> float:
        """Of an effect beyond the margin, over all looks."""
        return self.closest.look.p(self.closest.tested.p_within(self.margin))

    @property
    def _looks(self) -> tuple[Cell, ...]:
        return (*(look for look in self.before if not look.obstacle), self)


@dataclass(frozen=True)
class Verdict:
    """The answer; `p` is uncorrected, `p_adjusted` corrected over the family, `detectable` at the family's first step."""

    words: str
    reason: str
    p: float
    p_adjusted: float
    detectable: float


def amount(value: float, metric: str) -> str:
    """A change in the unit people use: nats per word of loss, points of everything else."""
    return f"{value:.3g} nats per word" if metric == "loss" else f"{100 * value:.3g} points"


def judge(
    family: Sequence[Cell],
    *,
    level: float,
    power: float = 0.8,
    correction: Correction = "holm",
    equivalence: Equivalence = "each",
) -> list[Verdict]:
    """The verdicts on one declared family, in its order; `level` is 1 − α."""
    alpha = 1 - level
    raw = [1.0 if c.obstacle else c.p for c in family]
    adjusted = holm(raw) if correction == "holm" else benjamini_hochberg(raw)
    within = [1.0 if c.obstacle else c.p_within for c in family]
    within = list(holm(within)) if equivalence == "family" else within
    verdicts = []
    for cell, p, p_adjusted, p_within in zip(family, raw, adjusted, within, strict=True):
        detectable = cell.tested.detectable(cell.look.level(alpha / len(family)), power)
        direction = _direction(cell) if p_adjusted <= alpha else ""
        if cell.obstacle:
            words, reason = NOT_IDENTIFIABLE, cell.obstacle
        elif p_within <= alpha:
            words = f"{NO_EFFECT} {amount(cell.margin, cell.metric)}"
            reason = _why_none(cell.closest, alpha)
        elif direction:
            words, reason = direction, _why_effect(cell)
        else:
            words, reason = NOT_IDENTIFIABLE, _why_open(cell, detectable, float(p_adjusted), len(family))
        reason = f"{reason}; {cell.caution}" if cell.caution else reason
        verdicts.append(Verdict(words, reason, float(p), float(p_adjusted), detectable))
    return verdicts


def _direction(cell: Cell) -> str:
    """Helps or hurts, if estimate's interval and difference agree on it; empty otherwise."""
    if cell.estimate.low > 0 and cell.tested.estimate > 0:
        return HURTS if cell.harm else HELPS
    if cell.estimate.high < 0 and cell.tested.estimate < 0:
        return HELPS if cell.harm else HURTS
    return ""


def _span(ends: tuple[float, float], metric: str) -> str:
    scale, unit = (1, "nats per word") if metric == "loss" else (100, "points")
    return f"{scale * ends[0]:+.2f} to {scale * ends[1]:+.2f} {unit}"


def _interval(contrast: Contrast, metric: str) -> str:
    return _span((contrast.low, contrast.high), metric)


def _why_effect(cell: Cell) -> str:
    higher = cell.estimate.estimate > 0
    if cell.metric in LEVELS:
        change, noun = "higher" if higher else "lower", LEVELS[cell.metric]
    else:
        change, noun = "more" if higher else "fewer", COUNTS[cell.metric]
    text = f"{change} {noun} {'with' if cell.harm else 'without'} it: {_interval(cell.estimate, cell.metric)}"
    if cell.difference is not None:
        text += f", and beyond as many random samples {_interval(cell.difference, cell.metric)}"
    return text


def _why_none(cell: Cell, alpha: float) -> str:
    level = 1 - 2 * cell.look.level(alpha)
    beyond = " beyond what as many random samples do" if cell.difference is not None else ""
    return (
        f"the change{beyond} lies at {_span(cell.tested.span(level), cell.metric)} ({100 * level:.4g}% interval), within "
        f"±{amount(cell.margin, cell.metric)}"
    )


def _why_open(cell: Cell, detectable: float, p_adjusted: float, questions: int) -> str:
    tested = cell.tested
    beyond = " beyond its control" if cell.difference is not None else ""
    if tested.low <= 0 <= tested.high:
        found = f"neither clear of zero nor within ±{amount(cell.margin, cell.metric)}"
    else:
        looks = " at several looks" if cell.before else ""
        found = f"clear of zero by itself, but not as one of {questions} questions{looks} (p = {p_adjusted:.2g})"
    return (
        f"the change{beyond} lies at {_interval(tested, cell.metric)}: {found}; this design finds "
        f"{amount(detectable, cell.metric)} or more — {_what_would_tell(cell)}"
    )


def _what_would_tell(cell: Cell) -> str:
    if cell.hopeless or cell.tested.lasting**2 > MOSTLY * cell.tested.error**2:
        return "more test speakers would tell, more seeds hardly"
    return "more seeds or test speakers would tell"

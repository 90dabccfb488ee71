"""When is an audit sure enough to stop? Looks at the outcomes after so many seeds, each with its share of the error allowed.

Retrainings are dear and most questions are easy, so seeds come in rounds. After each round every question is asked (a
*look*); a slice whose answer is settled gets no more seeds, a doubtful one gets more, up to the budget.

Who looks several times and stops at the first success is wrong far more often than he says, unless α is **spent**: the looks
up to l may err with probability f_l(α), which is fixed beforehand and α at the last. From that follow the levels a_l(α) at
which to test (`boundaries`), and from those:

* The least α at which any look would have stopped is a p-value (sequential p-value: Liu & Anderson, *JASA* 103, 2008). It
  holds whenever and for whatever reason one stops: also for questions on whose figures nobody decided to stop.
* These p-values only ever fall, and Holm's correction over them keeps the family-wise error over looks × family at α
  (group-sequential Holm: Maurer & Bretz, *Stat. Biopharm. Res.* 5, 2013; Ye, Li, Liu & Yao, *Stat. Med.* 32, 2013).
  Equivalence tests spend in the same way, apart from them.
* Tests spend, intervals don't: those that are reported are plain ones of the last look that a question was asked at, so that
  the same figures read the same however one came by them. What coverage means then is *at stopping*: of the intervals in
  the report, over questions that were stopped early and late, 95–97 % of 95 % hold the truth in simulation
  (`benchmarks/audit_simulation.py`), whether it is large, small or none, because looks share test speakers and seeds and
  most stop at the end or on an effect of many standard errors. That is no theorem. Intervals of level 1 − a_l would cover at
  all looks together, whatever the rule (repeated confidence intervals: Jennison & Turnbull, *JRSS B* 51, 1989), and cover
  98–99 % at stopping; the interval that a reason gives for *no effect* is of that kind, for it is the test.

The levels are those of a walk whose steps are independent, applied to p-values of t statistics (the significance level approach
of Jennison & Turnbull, *Group Sequential Methods*, 2000, section 3.8). Looks at retrainings have more in common than such a
walk, for all of them hear the same test speakers, which makes false alarms at several looks coincide more often and the levels
strict. Variances that are themselves estimated from two or three seeds work the other way. Were looks independent, α = 5 %
would be 6.2 % at worst. In simulation 1 % of audits without effect have a false verdict, as of fixed designs, and 5.5 % ± 0.7
where the scatter of five test speakers is nearly all of the error (fixed: 4.3 %; `benchmarks/audit_simulation.py`).

Spending is a function of t = seeds so far / seeds at the last look. O'Brien–Fleming's spends
next to nothing early and leaves nearly all of α to the last look: for questions that are to be decided at the full size
unless the answer is overwhelming. Pocock's spends evenly, which settles most at the first look and leaves little power to
what is small. Kim and DeMets's, α·t² (*Biometrika* 74, 1987), lies between them and is what audits do best with, whose clear
effects are many times their error: in simulation it takes a few retrainings more than Pocock's, and its verdicts are those of
the fixed design nearly as often as O'Brien and Fleming's.

A slice is also given no more seeds when they would hardly bring an answer (`futility`). That spends nothing.

`training.statistics.sequential` asks the like of a stream of traffic and answers by betting, after every observation. Here
are two to ten observations, too few for any gambler to win 1/α, and a variance that other retrainings help to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from scipy import special

from influence.statistics.boundaries import nominal_levels
from influence.statistics.contrasts import Contrast
from influence.statistics.futility import chance
from lineage.errors import EarmarkError

Spending = Literal["kim-demets", "pocock", "obrien-fleming"]
SPENDINGS = get_args(Spending)
LOOKS = (2, 3, 5, 8)
ALPHAS = (*np.geomspace(1e-6, 0.5, 36), 1.0)  # of all looks together; between them levels are interpolated
FUTILITY = 0.1
FEWEST = 2  # seeds at the first look: one tells nothing of the scatter


@dataclass(frozen=True)
class Look:
    """One look of several: `levels` to test at, so that all looks together have those of `ALPHAS`."""

    levels: tuple[float, ...]

    def p(self, p: float) -> float:
        """What a p-value of this look is worth as one of all looks."""
        if p <= 0:
            return 0.0
        known, wanted = np.log(self.levels), np.log(p)
        beyond = min(0.0, wanted - known[0])  # below the least: in proportion
        return float(min(1.0, np.exp(np.interp(wanted, known, np.log(ALPHAS)) + beyond)))

    def level(self, alpha: float) -> float:
        """The level of this look if that of all looks is `alpha`."""
        return float(np.exp(np.interp(np.log(alpha), np.log(ALPHAS), np.log(self.levels))))


class _Only(Look):
    """A design that looks once."""

    def p(self, p: float) -> float:
        return p

    def level(self, alpha: float) -> float:
        return alpha


ONLY = _Only(())


@dataclass(frozen=True)
class Sequential:
    """Looks after so many seeds, the last of them the budget, and how α is spent on them.

    A slice is settled when its effect on itself (on everything, if it has no counterpart in the evaluation set) by `metric`
    has a verdict, and given up when the chance that a look to come brings one falls below `futility` (0: never).
    """

    looks: tuple[int, ...] = LOOKS
    spending: Spending = SPENDINGS[0]
    metric: str = "wer"
    futility: float = FUTILITY

    def __post_init__(self) -> None:
        if not self.looks or self.looks[0] < FEWEST or any(a >= b for a, b in pairwise(self.looks)):
            raise EarmarkError(
                f"looks after {', '.join(map(str, self.looks)) or 'no'} seeds — give rising numbers from {FEWEST} on, "
                f"e.g. {','.join(map(str, LOOKS))}"
            )
        if self.spending not in SPENDINGS:
            raise EarmarkError(f"cannot spend by '{self.spending}' — choose {', '.join(SPENDINGS)}")
        if not 0 <= self.futility < 0.5:
            raise EarmarkError(
                f"futility {self.futility} — give a chance below 0.5, e.g. {FUTILITY}, or 0 to give up nothing"
            )

    @property
    def most(self) -> int:
        """Seeds at the last look."""
        return self.looks[-1]

    def look(self, number: int) -> Look:
        """The look of that number, from 0."""
        return _looks(self.looks, self.spending)[number]

    def to_json(self) -> dict[str, Any]:
        """As JSON, part of the plan's digest."""
        return {"looks": list(self.looks), "spending": self.spending, "metric": self.metric, "futility": self.futility}

    def gives_up(self, now: Contrast, margin: float, seeds: int, alpha: float) -> bool:
        """Whether more than the `seeds` it had would hardly answer a question; `margin` is what counts as none."""
        if seeds >= self.most:
            return False
        last = self.look(len(self.looks) - 1).level(alpha)
        return chance(now, margin, seeds=seeds, most=self.most, alpha=last) < self.futility


def parse_looks(text: str | Sequence[int]) -> tuple[int, ...]:
    """Looks as people write them: '2,3,5,8'.

    Raises:
        EarmarkError: these are no numbers.
    """
    try:
        return tuple(int(part) for part in (text.split(",") if isinstance(text, str) else text))
    except ValueError as error:
        raise EarmarkError(f"looks '{text}' — give numbers of seeds, e.g. {','.join(map(str, LOOKS))}") from error


@lru_cache(maxsize=64)
def _looks(looks: tuple[int, ...], spending: Spending) -> tuple[Look, ...]:
    if len(looks) == 1:
        return (ONLY,)
    times = [k / looks[-1] for k in looks]
    levels = [nominal_levels(times, [_spent(spending, t, alpha) for t in times]) for alpha in ALPHAS[:-1]]
    return tuple(Look((*each, 1.0)) for each in zip(*levels, strict=True))


def _spent(spending: Spending, t: float, alpha: float) -> float:
    """How much of `alpha` is spent by time `t`, 0 < t ≤ 1 (Lan & DeMets 1983; Kim & DeMets 1987)."""
    if spending == "kim-demets":
        return alpha * t**2
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * t)
    return 2 * float(special.ndtr(special.ndtri(alpha / 2) / math.sqrt(t)))

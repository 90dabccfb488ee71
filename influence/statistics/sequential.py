"""When is an audit sure enough to stop? Looks at the outcomes after so many seeds, each with its share of the error allowed.

Retrainings are dear and most questions are easy, so seeds come in rounds. After each round every question is asked (a
*look*); a slice whose answer is settled gets no more seeds, a doubtful one gets more, up to the budget.

Who looks several times and stops at the first success is wrong far more often than he says, unless α is **spent**: look l may
err with probability w_l·α, where the shares w are fixed beforehand and add up to 1. Three consequences:

* min over looks of p_l / w_l is a p-value, by the union bound (Bonferroni over looks). It holds however the looks depend on
  each other, and whenever and for whatever reason one stops: also for questions on whose figures nobody decided to stop. The
  textbook's boundaries (Lan & DeMets, *Biometrika* 70, 1983) lean on looks that are jointly normal with known correlation;
  t-like statistics of two or three seeds with a variance that is itself estimated are not, and little is lost by not leaning.
* These p-values only ever fall, and Holm's correction over them keeps the family-wise error over looks × family at α for any
  dependence (group-sequential Holm: Maurer & Bretz, *Stat. Biopharm. Res.* 5, 2013; Ye, Li, Liu & Yao, *Stat. Med.* 32, 2013).
  Equivalence tests spend in the same way, apart from them.
* Tests spend, intervals don't: those that are reported are plain ones of the last look that a question was asked at, so that
  the same figures read the same however one came by them. What coverage means then is *at stopping*: of the intervals in
  the report, over questions that were stopped early and late, 94–97 % of 95 % hold the truth in simulation
  (`benchmarks/audit_simulation.py`), whether it is large, small or none, because looks share test speakers and seeds and
  most stop at the end or on an effect of many standard errors. That is no theorem. Intervals of level 1 − w_l·α would cover at
  all looks together, whatever the rule (repeated confidence intervals: Jennison & Turnbull, *JRSS B* 51, 1989), and cover
  98–99 % at stopping; the interval that a reason gives for *no effect* is of that kind, for it is the test.

The shares are the increments of a spending function of t = seeds so far / seeds at the last look. O'Brien–Fleming's spends
next to nothing early and leaves nearly all of α to the last look: for questions that are to be decided at the full size
unless the answer is overwhelming. Pocock's spends evenly: for audits, whose clear effects are many times their error.

`training.statistics.sequential` asks the like of a stream of traffic and answers by betting, after every observation. Here
are two to ten observations, too few for any gambler to win 1/α, and a variance that other retrainings help to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Literal

from lineage.errors import EarmarkError

Spending = Literal["pocock", "obrien-fleming"]
SPENDINGS = ("pocock", "obrien-fleming")
LOOKS = (2, 3, 5, 8)
FEWEST = 2  # seeds at the first look: one tells nothing of the scatter


@dataclass(frozen=True)
class Sequential:
    """Looks after so many seeds, the last of them the budget, and how α is spent on them.

    A slice is settled when its effect on itself (on everything, if it has no counterpart in the evaluation set) by `metric`
    has a verdict.
    """

    looks: tuple[int, ...] = LOOKS
    spending: Spending = "pocock"
    metric: str = "wer"

    def __post_init__(self) -> None:
        if not self.looks or self.looks[0] < FEWEST or any(a >= b for a, b in pairwise(self.looks)):
            raise EarmarkError(
                f"looks after {', '.join(map(str, self.looks)) or 'no'} seeds — give rising numbers from {FEWEST} on, "
                f"e.g. {','.join(map(str, LOOKS))}"
            )
        if self.spending not in SPENDINGS:
            raise EarmarkError(f"cannot spend by '{self.spending}' — choose {' or '.join(SPENDINGS)}")

    @property
    def most(self) -> int:
        """Seeds at the last look."""
        return self.looks[-1]

    def shares(self, alpha: float) -> tuple[float, ...]:
        """What part of `alpha` each look may spend; they add up to 1."""
        spent = [0.0, *(_spent(self.spending, k / self.most, alpha) for k in self.looks)]
        return tuple((b - a) / spent[-1] for a, b in pairwise(spent))

    def to_json(self) -> dict[str, Any]:
        """As JSON, part of the plan's digest."""
        return {"looks": list(self.looks), "spending": self.spending, "metric": self.metric}


def parse_looks(text: str | Sequence[int]) -> tuple[int, ...]:
    """Looks as people write them: '2,3,5,8'.

    Raises:
        EarmarkError: these are no numbers.
    """
    try:
        return tuple(int(part) for part in (text.split(",") if isinstance(text, str) else text))
    except ValueError as error:
        raise EarmarkError(f"looks '{text}' — give numbers of seeds, e.g. {','.join(map(str, LOOKS))}") from error


def _spent(spending: Spending, t: float, alpha: float) -> float:
    """How much of `alpha` is spent by time `t`, 0 < t ≤ 1 (Lan & DeMets 1983)."""
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * t)
    normal = NormalDist()
    return 2 * normal.cdf(normal.inv_cdf(alpha / 2) / math.sqrt(t))

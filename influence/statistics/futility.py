"""Is there any use in more seeds? The chance that the looks to come would bring a verdict, as things stand.

A slice whose effect hides behind the scatter of the test speakers stays hidden however often one retrains: more seeds shrink
only the seeds' part of the error (`contrasts.Contrast.lasting` is the other). Let k of K seeds be there, and the error be
s² = l² + m², where l lasts and m shrinks. The figure at the last look is then that of now plus a move of standard deviation
m·√(1 − k/K), of as many degrees of freedom as s has, and its error is √(l² + m²·k/K). The chance is that of all moves after
which either test would pass: against zero, or of no effect beyond the margin. It is a conditional power under the current
trend (Lan, Simon & Halperin, *Sequential Analysis* 1, 1982), with the uncertainty of the scatter in it, and errs towards going
on: the tests it foresees are those of a question that Holm's correction asks last of all.

To stop for want of prospects can make no verdict false, for it only ever gives one up. So it costs no α, and what it costs in
power is shown by simulation (`benchmarks/audit_simulation.py`).

Laws: with all seeds there, the chance is 1 where a test passes and 0 where none does; scaling figure, error and margin together
changes nothing.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from influence.statistics.contrasts import Contrast


def chance(now: Contrast, margin: float, *, seeds: int, most: int, alpha: float) -> float:
    """The chance that one of the tests passes at level `alpha` with `most` seeds, `seeds` of which are there.

    1 where the scatter is not known yet.
    """
    if not np.isfinite(now.error) or not np.isfinite(now.freedom):
        return 1.0
    lasting = min(now.lasting, now.error)
    shrinking = now.error**2 - lasting**2
    error = float(np.sqrt(lasting**2 + shrinking * seeds / most))
    move = float(np.sqrt(shrinking * (1 - seeds / most)))
    clear = error * float(special.stdtrit(now.freedom, 1 - alpha / 2))
    within = margin - error * float(special.stdtrit(now.freedom, 1 - alpha))

    def above(bound: float) -> float:
        if move == 0:
            return float(now.estimate >= bound)
        return float(special.stdtr(now.freedom, (now.estimate - bound) / move))

    beyond = above(clear) + 1 - above(-clear)
    none = above(-within) - above(within) if within > 0 else 0.0
    return min(1.0, beyond + none)

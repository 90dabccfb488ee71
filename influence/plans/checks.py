"""What became of an audit's own controls, and which of the conditions that it is to fail on are met.

An audit that finds nothing may have found that there is nothing, or may have been unable to find anything. Two controls tell
which: a planted slice of corrupted words has to be found to hurt (power), a null slice has to be shown to do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from influence.causes.compared import GapReport
from influence.plans.hypotheses import REFUTED, SUPPORTED, Answer
from influence.statistics.effects import Effect
from influence.statistics.verdicts import HURTS, NO_EFFECT
from lineage.selection.slices import WHOLE

PLANTED = "planted"  # both the slice and what is done to it


@dataclass(frozen=True)
class Check:
    """A control of the audit itself: `kind` 'power' (a planted slice has to hurt) or 'null' (a null slice to do nothing)."""

    kind: str
    slice: str
    verdict: str
    holds: bool
    said: str

    def __str__(self) -> str:
        """In one line."""
        return f"{self.slice}: {self.said} ({self.verdict})"


def check(found: Sequence[Effect], *, planted: bool, null: Sequence[str]) -> tuple[Check, ...]:
    """Hold what was found against what a plan expects of its planted slice and of its null slices."""
    cells = {
        (e.train_slice, e.eval_slice): e for e in found if e.metric == "wer" and e.intervention in ("remove", PLANTED)
    }
    out = []
    if planted:
        cell = cells.get((PLANTED, WHOLE.name))
        verdict = cell.verdict if cell else "not measured"
        said = "the planted slice is found" if verdict == HURTS else "the audit's power is not shown"
        out.append(Check("power", PLANTED, verdict, verdict == HURTS, said))
    for name in null:
        cell = cells.get((name, name)) or cells.get((name, WHOLE.name))
        verdict = cell.verdict if cell else "not measured"
        holds = verdict.startswith(NO_EFFECT)
        said = "no effect, as expected" if holds else "not shown to be without effect"
        out.append(Check("null", name, verdict, holds, said))
    return tuple(out)


def met(
    conditions: Sequence[str],
    found: Sequence[Effect],
    answers: Sequence[Answer],
    checks: Sequence[Check],
    failures: Mapping[str, str],
    gaps: Sequence[GapReport | None],
) -> tuple[str, ...]:
    """Those of a plan's `fail_on` conditions (see `planfile.CONDITIONS`) that are met.

    `gaps` are those that its causal graph asks for, None where one could not be told.
    """
    happened = {
        "refuted": any(a.verdict == REFUTED for a in answers),
        "unsupported": any(a.verdict != SUPPORTED for a in answers),
        "hurts": any(e.verdict == HURTS and e.intervention != PLANTED for e in found),
        "failures": bool(failures),
        "power": any(c.kind == "power" and not c.holds for c in checks),
        "null": any(c.kind == "null" and not c.holds for c in checks),
        "causes": any(g is None or not g.stands for g in gaps),
    }
    return tuple(name for name in conditions if happened[name])

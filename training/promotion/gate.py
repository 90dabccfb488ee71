"""The gate in front of an alias: what has to be true of a model before `production` may point to it.

    name: production
    sets: [test, noisy]            # on which it is compared with the model that the alias points to now
    slices: ['accent=*']           # of those sets; left out: each value of each attribute that has a few
    worse_by: 1.0                  # points of WER that no slice, and not the whole, may be worse by
    burden: harm                   # refuse what is shown to be worse; `safety`: refuse what is not shown not to be
    level: 0.95                    # how sure
    replay: required               # its training was replayed, with the same weights; `optional`: unless it came out otherwise

Four rules, each with its finding:

* **slices**: differences of WER on the same utterances, with intervals by resampling speakers
  (`training.comparison.compare`). Under `harm` a slice fails if its interval lies above `worse_by` altogether, the
  intervals being so wide that of all slices of the gate *one* fails wrongly with probability 1 − `level` at most
  (Bonferroni). Under `safety` it fails unless its interval lies below; there all have to pass, which needs no correction
  (intersection–union: R. Berger, *Technometrics* 24(4), 1982). Nothing is shown by few speakers: an equal model is worse
  for all of n of them once in 2ⁿ times, which has to be rare enough.
* **policy**: the policy in force lets the sets be used that the model, and those that it was trained from, were trained on,
  judged now and not when that was.
* **erasures**: it has consumed nothing that was erased, and was not retired or withdrawn. What a successor has settled for
  others does not help here: what a model has consumed it has consumed.
* **replay**: the newest run of kind 'replay' of its training found the same weights.

Laws: a verdict depends on the gate, the two models and what was on record at its moment, and says of every rule what it found,
also of those that could not be judged; what cannot be judged does not refuse unless the gate demands it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from lineage.aliases import alias_name
from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.people import policy
from lineage.people.obligations import mark_late, unfit
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.store import Store
from lineage.written import Written
from training.comparison.compare import Contrast, compare
from training.evaluation import slices as cuts
from training.evaluation.predict import described
from training.models.recorded import Model, behind
from training.normalise import normaliser
from training.progress import Progress, silent
from training.replay import replayed

Outcome = Literal["passed", "refused", "not judged"]
ENOUGH = 40  # bootstrap replicates beyond the end of an interval
MOST_REPLICATES = 40_000
SHOWN = 6


class Gate(Written):
    """What has to be true of a model before an alias may point to it; see the head of this module."""

    KIND = "gate"
    BEGIN = "sets: [SET]"

    name: str = Field("default", min_length=1, max_length=200, description="What people call it.")
    sets: tuple[str, ...] = Field((), description="Evaluation sets on which models are compared.")
    slices: tuple[str, ...] = Field((), description="Slices of those sets; default: each value of each attribute.")
    worse_by: float = Field(0.0, ge=0, le=100, description="Points of WER that no slice may be worse by.")
    burden: Literal["harm", "safety"] = Field(
        "harm", description="What has to be shown: that it is worse, or that not."
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="Confidence of all comparisons together.")
    normaliser: str = Field("basic", description="Normaliser of references and hypotheses.")
    replay: Literal["required", "optional"] = Field("optional", description="Whether its training has to be replayed.")

    @field_validator("normaliser")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            normaliser(name)
        except EarmarkError as error:
            raise ValueError(str(error)) from None
        return name


@dataclass(frozen=True)
class Finding:
    """What one rule found: `detail` in words, `figures` of the slices that it looked at."""

    rule: str
    outcome: Outcome
    detail: str
    figures: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.rule}: {self.outcome} ({self.detail})"


@dataclass(frozen=True)
class Verdict:
    """How a gate judged a model, beside the one that the alias pointed to (None: to none)."""

    gate: str
    digest: str
    model_id: str
    against: str | None
    at: datetime
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no rule refuses."""
        return not self.refusals

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings that refuse."""
        return tuple(f for f in self.findings if f.outcome == "refused")

    def to_json(self) -> dict[str, Any]:
        """As JSON, for a run's result."""
        findings = [{**asdict(f), "figures": list(f.figures)} for f in self.findings]
        return {**asdict(self), "at": self.at.isoformat(), "passed": self.passed, "findings": findings}


def adopt(store: Store, gate: Gate | None, alias: str) -> str:
    """Put a gate in front of an alias from now on, or none; the id of the run that says so."""
    config = {"alias": alias_name(alias), "gate": None if gate is None else gate.model_dump(mode="json")}
    with store.run("gate", job=alias_name(alias), config=config, package="training") as run:
        run.result = {"digest": gate.digest if gate else None}
    return run.id


def in_force(store: Store, alias: str) -> Gate:
    """The gate that was put last in front of an alias, in the order of the log; else the default, which compares on no set."""
    said = [m.run for m in store.manifests() if m.run.kind == "gate" and m.run.status == "completed"]
    fields = [r.config["gate"] for r in said if r.config["alias"] == alias_name(alias)]
    return Gate.parse(fields[-1], f"gate of {alias}") if fields and fields[-1] is not None else Gate.parse({})


def judge(
    store: Store,
    gate: Gate,
    model: Model,
    holder: Model | None,
    *,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> Verdict:
    """How a gate judges a model now.

    Args:
        store: where both models and the sets are; what is not on record yet is decoded, and put there.
        gate: the rules.
        model: the one to be judged.
        holder: the one that the alias points to, if any.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of features and utterances.

    Raises:
        EarmarkError: a set or slice of the gate does not exist, or words were erased since.
    """
    mark_late(store)
    options = {"device": device, "threads": threads, "progress": progress}
    findings = (
        *_slices(store, gate, model, holder, options),
        _policy(store, model),
        _erasures(store, model),
        _replay(store, gate, model),
    )
    against = None if holder is None else holder.model_id
    return Verdict(gate.name, gate.digest, model.model_id, against, datetime.now(UTC), findings)


# -- slices --------------------------------------------------------------------------------------------------------------


def _slices(store: Store, gate: Gate, model: Model, holder: Model | None, options: dict[str, Any]) -> Iterator[Finding]:
    if not gate.sets:
        yield Finding("slices", "not judged", "the gate names no set to compare on")
        return
    populations = [resolve_set(store, ref) for ref in gate.sets]
    chosen = [cuts.wanted(store, gate.slices, p.digest) for p in populations]
    if holder is None or holder.model_id == model.model_id:
        yield Finding("slices", "not judged", "the alias points to no other model to compare with")
        return
    questions = sum(len(_names(store, p, c)) for p, c in zip(populations, chosen, strict=True))
    tail = (1 - gate.level) / (questions if gate.burden == "harm" else 1)
    for population, some in zip(populations, chosen, strict=True):
        done = compare(
            store, model.model_id, holder.model_id, population.digest, slices=some, normalise=gate.normaliser,
            level=1 - 2 * tail, replicates=min(MOST_REPLICATES, max(2000, math.ceil(ENOUGH / tail))), **options,
        )  # fmt: skip
        yield _compared(gate, population, done.contrasts)


def _names(store: Store, population: SampleSet, chosen: dict[str, Any] | None) -> list[str]:
    """What will be compared: the slices, and the whole."""
    known = described(store, members(store, population.digest))
    return list(cuts.masks(known, cuts.as_ids(chosen)))


def _compared(gate: Gate, population: SampleSet, contrasts: Iterable[Contrast]) -> Finding:
    margin = gate.worse_by / 100
    figures, wrong, few = [], [], []
    for c in contrasts:
        d = c.difference
        enough = not math.isnan(d.low) and 2.0**-d.blocks <= (1 - d.level) / 2
        fails = (enough and d.low > margin) if gate.burden == "harm" else not (enough and d.high <= margin)
        span = f"{100 * d.low:+.2f} to {100 * d.high:+.2f}" if enough else f"speakers: {d.blocks}, which is too few"
        if fails:
            wrong.append(f"{c.slice} {100 * d.value:+.2f} points ({span})")
        elif not enough:
            few.append(c.slice)
        figures.append(
            {
                "set": population.digest,
                "slice": c.slice,
                "difference": finite(d.value),
                "low": finite(d.low),
                "high": finite(d.high),
                "level": d.level,
                "speakers": d.blocks,
            }
        )
    bad, good = {
        "harm": ("worse", "none shown to be worse"),
        "safety": ("not shown to be no worse", "all shown not to be worse"),
    }[gate.burden]
    by = f"by more than {gate.worse_by:g} points"
    detail = f"on {population.name} {bad} {by}: {'; '.join(wrong)}" if wrong else f"{good} {by} on {population.name}"
    if few:
        detail += f"; too few speakers to judge {', '.join(few[:SHOWN])}"
        detail += f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
    outcome: Outcome = "refused" if wrong else "not judged" if len(few) == len(figures) else "passed"
    return Finding("slices", outcome, detail, tuple(figures))


# -- the others ----------------------------------------------------------------------------------------------------------


def _policy(store: Store, model: Model) -> Finding:
    rules = policy.in_force(store)
    if rules is None:
        return Finding("policy", "not judged", "no policy is in force")
    sets = list(dict.fromkeys(m.set_digest for m in behind(store, model) if m.set_digest is not None))
    if not sets:
        return Finding("policy", "not judged", "it was not trained here, so what it consumed is not on record")
    verdicts = [policy.judge(store, rules, s) for s in sets]
    found = "; ".join(f"{v} in set {one.set_digest[:12]}" for one in verdicts for v in one.violations)
    said = f"{rules.name} {rules.digest[:12]}" + (f": {found}" if found else "")
    return Finding("policy", "refused" if any(v.refused for v in verdicts) else "passed", said)


def _erasures(store: Store, model: Model) -> Finding:
    why = unfit(store, model.model_id)
    return Finding("erasures", "refused" if why else "passed", why or "nothing that it consumed was erased")


def _replay(store: Store, gate: Gate, model: Model) -> Finding:
    found = replayed(store, model.model_id)
    if found is None:
        outcome: Outcome = "refused" if gate.replay == "required" else "not judged"
        return Finding("replay", outcome, "not replayed")
    return Finding("replay", "passed" if found.identical else "refused", f"{found.verdict}, run {found.run_id}")

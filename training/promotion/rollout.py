"""Staged roll-out: a candidate hears a growing share of the traffic and is stopped as soon as it is shown to do harm.

    name: autumn
    candidate: '@candidate'        # what the two are when it begins is what they stay
    production: '@production'
    stages:
      - {share: 0.05, units: 200}  # share of the traffic, and how many units of it to hear before the next
      - {share: 0.25, units: 500}
      - {share: 0.5, units: 1000}
    tolerance: 1.0                 # points by which the candidate's error rate may lie above production's
    alpha: 0.05                    # how often a candidate within tolerance may be stopped, one beyond it be promoted

A **unit** of traffic is what stays in one arm: a user, or an utterance where nobody is known. Its arm is a matter of its key
alone: SHA-256 of the roll-out's id, a zero byte and the key, both in UTF-8; where its first 8 bytes, as a big-endian number
divided by 2^64, lie below the share, it is the candidate's. So any server can tell without asking, and a growing share takes
units over and sends none back.

Observed is what was transcribed: `{"key": "u17", "words": 120, "candidate": 9}` a unit, errors of the arm that heard it, or of
both where the other listened in the shadow. Which units are transcribed must not depend on their arm. A unit's loss is
errors / words, at most 1; a unit counts once, with the batch in which it came first, since what it says later is not
independent of that. The verdict is that of bounds which hold however often one looks (`training.statistics.sequential`):

    stop       the candidate is worse by more than the tolerance
    promote    the last stage is heard out, and it is not
    continue   neither is shown yet

Laws: plan, observations, stages and verdicts are runs, and what is on record gives the same verdict again; shares only grow;
no key is on record, only its keyed hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lineage.errors import Conflict, EarmarkError, UnknownName
from lineage.finite import finite
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from lineage.written import Written
from training.models.recorded import resolve_two
from training.statistics.sequential import Bounds, Observation, bounds, paired, weighed

Arm = Literal["candidate", "production"]
Outcome = Literal["continue", "stop", "promote"]
ARMS: tuple[Arm, Arm] = ("candidate", "production")
KINDS = ("rollout", "observe", "advance")


class Stage(BaseModel):
    """A share of the traffic, and how many units of it are to be heard before the next stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, lt=1, description="Share of units that the candidate hears.")
    units: int = Field(ge=1, description="Units to be observed at this stage, of both arms together.")


class Plan(Written):
    """How a candidate is rolled out; see the head of this module."""

    KIND: ClassVar[str] = "roll-out"
    BEGIN: ClassVar[str] = "candidate: MODEL"

    name: str = Field(min_length=1, max_length=200, description="What people call it.")
    candidate: str = Field(description="The model to be rolled out.")
    production: str = Field("@production", description="The model that hears the rest.")
    stages: tuple[Stage, ...] = Field(min_length=1, description="Shares that grow.")
    tolerance: float = Field(0.0, ge=0, lt=100, description="Points of error rate that it may be worse by.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="Probability of a false stop, and of a false promotion.")

    @model_validator(mode="after")
    def _grow(self) -> Self:
        shares = [s.share for s in self.stages]
        if shares != sorted(set(shares)):
            raise ValueError("the shares of stages have to grow, or units would be sent back")
        return self


@dataclass(frozen=True)
class Rollout:
    """A roll-out that was begun: its plan, the two models, and the stage that it has got to."""

    id: str
    plan: Plan
    candidate: str
    production: str
    stage: int

    @property
    def share(self) -> float:
        """The share of units that the candidate hears now."""
        return self.plan.stages[self.stage].share

    def arm(self, key: str) -> Arm:
        """Which of the two hears the traffic of `key` now."""
        return arm(self.id, key, self.share)


@dataclass(frozen=True)
class Verdict:
    """What is to be done: `difference` of mean losses, candidate minus production; units heard, in all and at this stage.

    `ready`: the stage has been heard out.
    """

    outcome: Outcome
    difference: Bounds
    stage: int
    share: float
    units: int
    ready: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON, for a run's result."""
        value: dict[str, Any] = finite(asdict(self))
        return value


def arm(rollout: str, key: str, share: float) -> Arm:
    """Which arm a key belongs to at a share; what is the candidate's at one share is so at every larger one."""
    digest = hashlib.sha256(rollout.encode() + b"\0" + key.encode()).digest()
    return "candidate" if int.from_bytes(digest[:8], "big") / 2**64 < share else "production"


def begin(store: Store, plan: Plan) -> Rollout:
    """Begin a roll-out at its first stage.

    Raises:
        EarmarkError: no such models, or both are one.
    """
    ids = [m.model_id for m in resolve_two(store, plan.candidate, plan.production)]
    config = {"plan": plan.model_dump(mode="json"), "digest": plan.digest, "models": dict(zip(ARMS, ids, strict=True))}
    with store.run("rollout", job=plan.name, config=config, inputs=ids, package="training") as run:
        pass
    return find(store, run.id)


def rollouts(store: Store) -> list[Rollout]:
    """All roll-outs, in the order in which they were begun."""
    runs = [m.run for m in store.manifests() if m.run.kind in KINDS and m.run.status == "completed"]
    stages = {r.config["rollout"]: r.config["stage"] for r in runs if r.kind == "advance"}
    return [_rollout(r, stages.get(r.id, 0)) for r in runs if r.kind == "rollout"]


def _rollout(run: RunInfo, stage: int) -> Rollout:
    plan = Plan.parse(run.config["plan"], f"roll-out {run.id}")
    models = run.config["models"]
    return Rollout(run.id, plan, models["candidate"], models["production"], stage)


def find(store: Store, ref: str) -> Rollout:
    """The roll-out meant by a name (the newest of that name) or by the id of its run.

    Raises:
        UnknownName: there is none.
    """
    known = rollouts(store)
    found = [r for r in known if ref in (r.plan.name, r.id)]
    if not found:
        raise UnknownName("roll-out", ref, (r.plan.name for r in known), "begin one with: earmark rollout begin PLAN")
    return found[-1]


# -- observing -----------------------------------------------------------------------------------------------------------


def observe(store: Store, ref: str, lines: Iterable[str]) -> Verdict:
    """Put what was heard and transcribed at the present stage on record, and judge by all there is.

    Args:
        store: where the roll-out is.
        ref: its name, or the id of its run.
        lines: JSON lines as at the head of this module; several of one key are added up.

    Raises:
        EarmarkError: a line is no observation, or was heard by the wrong arm; says which line. Nothing is recorded then.
        Conflict: others observed or advanced meanwhile.
    """
    rollout = find(store, ref)
    seen = _progress(store, rollout)
    tallies: dict[tuple[str, bool], dict[str, int | None]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            _add(tallies, _read(rollout, line, number))
    if not tallies:
        raise EarmarkError('there is no observation — give lines such as {"key": "u17", "words": 120, "candidate": 9}')
    rows = [
        {
            "rollout": rollout.id,
            "stage": rollout.stage,
            "position": i,
            "unit_key": store.vault.speaker_key(key),
            "words": tally["words"],
            **{f"{name}_errors": tally[name] for name in ARMS},
        }
        for i, ((key, _), tally) in enumerate(tallies.items())
    ]
    verdict = _verdict(rollout, [*_observed(store, rollout), *rows])
    config = {"rollout": rollout.id, "stage": rollout.stage}
    with store.run("observe", job=rollout.plan.name, config=config, parents=[rollout.id], package="training") as run:
        run.append("observations", rows)
        run.result["verdict"] = verdict.to_json()
        run.condition = _unchanged(store, rollout, seen)
    return verdict


def _read(rollout: Rollout, line: str, number: int) -> dict[str, Any]:
    def refuse(problem: str, mend: str = 'write {"key": "u17", "words": 120, "candidate": 9}') -> EarmarkError:
        return EarmarkError(f"observations, line {number}: {problem} — {mend}")

    try:
        value = json.loads(line)
    except ValueError:
        raise refuse("this is not JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("key"), str) or not value["key"]:
        raise refuse("there is no key")
    odd = set(value) - {"key", "words", *ARMS}
    if odd:
        raise refuse(f"unknown field '{sorted(odd)[0]:.40}'")
    heard = [name for name in ARMS if value.get(name) is not None]
    for name in ("words", *heard):
        if type(value.get(name)) is not int or not 0 <= value[name] < 2**31:
            raise refuse(f"'{name}' is no count")
    if not value["words"]:
        raise refuse("it has no words, so no error rate", "leave out what nobody spoke in")
    if not heard:
        raise refuse("neither candidate nor production heard it")
    if len(heard) == 1 and heard[0] != rollout.arm(value["key"]):
        raise refuse(
            f"{heard[0]} heard it, which at a share of {rollout.share:g} is not its arm",
            "see that traffic is sent by `earmark rollout arm`, and what was heard is observed before the next stage",
        )
    return value


def _add(tallies: dict[tuple[str, bool], dict[str, int | None]], line: Mapping[str, Any]) -> None:
    """Add a line to the tally of its unit; what both arms heard and what one did are kept apart."""
    both = all(line.get(name) is not None for name in ARMS)
    tally = tallies.setdefault((line["key"], both), {"words": 0, **dict.fromkeys(ARMS)})
    for name in ("words", *ARMS):
        if line.get(name) is not None:
            tally[name] = (tally[name] or 0) + line[name]


# -- judging -------------------------------------------------------------------------------------------------------------


def judge(store: Store, ref: str) -> Verdict:
    """What is to be done by what is on record now."""
    rollout = find(store, ref)
    return _verdict(rollout, _observed(store, rollout))


def _observed(store: Store, rollout: Rollout) -> list[dict[str, Any]]:
    """Rows of a roll-out in the order in which they came on record."""
    rows: list[dict[str, Any]] = store.sql(
        "SELECT o.* FROM observations o JOIN log_entries l ON l.run_id = o.run_id WHERE o.rollout = $id"
        " ORDER BY l.position, o.position",
        {"id": rollout.id},
    ).to_pylist()
    return rows


def _verdict(rollout: Rollout, rows: Iterable[Mapping[str, Any]]) -> Verdict:
    plan, stage = rollout.plan, rollout.plan.stages[rollout.stage]
    counted = list(_once(rows))
    found = bounds(list(_observations(plan, counted)), plan.alpha)
    units = sum(r["stage"] == rollout.stage for r in counted)
    ready = units >= stage.units
    outcome: Outcome = "continue"
    if found.low > plan.tolerance / 100:
        outcome = "stop"
    elif found.high <= plan.tolerance / 100 and ready and stage == plan.stages[-1]:
        outcome = "promote"
    return Verdict(outcome, found, rollout.stage, stage.share, units, ready)


def _once(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The first row of every unit."""
    seen = set()
    for row in rows:
        if row["unit_key"] not in seen:
            seen.add(row["unit_key"])
            yield row


def _observations(plan: Plan, rows: Iterable[Mapping[str, Any]]) -> Iterator[Observation]:
    total, count = 0.0, 1
    for row in rows:
        losses = [None if row[f"{a}_errors"] is None else min(1.0, row[f"{a}_errors"] / row["words"]) for a in ARMS]
        first, second = losses
        if first is not None and second is not None:
            yield paired(first, second)
            continue
        loss = first if first is not None else second
        if loss is not None:
            yield weighed(loss, first is not None, plan.stages[row["stage"]].share, total / count)
            total, count = total + loss, count + 1


# -- moving on -----------------------------------------------------------------------------------------------------------


def advance(store: Store, ref: str) -> Rollout:
    """Go on to the next stage.

    Raises:
        EarmarkError: it is to be stopped, its stage has not been heard out, or there is no next.
        Conflict: others observed or advanced meanwhile.
    """
    rollout = find(store, ref)
    seen = _progress(store, rollout)
    verdict = judge(store, ref)
    plan = rollout.plan
    if verdict.outcome == "stop":
        raise EarmarkError(
            f"roll-out {plan.name} is to be stopped: the candidate is worse by at least {100 * verdict.difference.low:.2f}"
            " points — send all traffic to production"
        )
    if rollout.stage + 1 == len(plan.stages):
        raise EarmarkError(
            f"roll-out {plan.name} is at its last stage — promote the candidate, or observe on until that is sure"
        )
    if not verdict.ready:
        raise EarmarkError(
            f"stage {rollout.stage + 1} of {plan.name} has {verdict.units} of {plan.stages[rollout.stage].units} units"
            " — observe more first"
        )
    config = {"rollout": rollout.id, "stage": rollout.stage + 1}
    with store.run("advance", job=plan.name, config=config, parents=[rollout.id], package="training") as run:
        run.result["verdict"] = verdict.to_json()
        run.condition = _unchanged(store, rollout, seen)
    return find(store, rollout.id)


def _progress(store: Store, rollout: Rollout) -> list[str]:
    """The runs that observed or advanced a roll-out."""
    return [
        m.run.id
        for m in store.manifests()
        if m.run.kind in KINDS and m.run.status == "completed" and m.run.config.get("rollout") == rollout.id
    ]


def _unchanged(store: Store, rollout: Rollout, seen: list[str]) -> Callable[[], None]:
    def check() -> None:
        if _progress(store, rollout) != seen:
            raise Conflict(f"roll-out {rollout.plan.name} went on meanwhile — nothing was recorded, run it again")

    return check

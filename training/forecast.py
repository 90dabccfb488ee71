"""What a training would be, before it is: nothing is written, nothing is trained.

Time and cost are foretold from the record: seconds per utterance and pass of completed runs with the same base, method,
precision and device. The range is that of those runs, not an interval of confidence; without such a run nothing is foretold.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from lineage import leakage
from lineage.people.policy import Policy, Verdict
from lineage.selection.sets import SampleSet
from lineage.storage import unfinished
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.comparison.costs import RateCard, in_force
from training.data.order import Plan
from training.permission import Permission, permission
from training.prepare import Prepared, prepare
from training.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """Seconds foretold from `runs` comparable runs: what their median gives, and their least and most.

    `money` is that of the median at the prices in force; None where there are none.
    """

    runs: int
    wall_s: float
    wall_low_s: float
    wall_high_s: float
    cpu_s: float
    money: float | None = None
    currency: str | None = None


@dataclass(frozen=True)
class Forecast:
    """What a recipe would do. `reuses` is a completed run of the same; `goes_on_from` the step of a killed one."""

    job: Prepared
    plan: Plan
    parameters: int
    trainable: int
    allowed: Permission
    reuses: RunInfo | None
    goes_on_from: int | None
    cost: Cost | None

    @property
    def data(self) -> SampleSet:
        """The training set."""
        return self.job.data

    @property
    def verdict(self) -> Verdict | None:
        """How the policy judges the training set."""
        return self.allowed.verdict

    @property
    def leaks(self) -> leakage.Verdict:
        """What leaks into the sets that it would be measured on."""
        return self.allowed.leaks

    @property
    def refused(self) -> bool:
        """Whether the run would be refused for what the sets are, or those behind its base."""
        return self.allowed.refused

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        recipe, data = self.job.recipe, self.data
        return {
            "recipe": recipe.name,
            "set": {"name": data.name, "digest": data.digest, "samples": data.size, "duration_s": data.duration_s},
            "base": {"ref": recipe.base, "digest": self.job.base.digest, "family": recipe.family},
            "method": recipe.method,
            "device": self.job.device,
            "parameters": self.parameters,
            "trainable": self.trainable,
            "epochs": self.plan.epochs,
            "steps": self.plan.steps,
            "exposures": self.plan.exposed,
            "policy": self.verdict.to_json() if self.verdict else None,
            "policy_behind": [v.to_json() for v in self.allowed.behind],
            "leakage": self.leaks.to_json(),
            "refused": self.refused,
            "reuses": self.reuses.id if self.reuses else None,
            "goes_on_from": self.goes_on_from,
            "cost": self.cost.__dict__ if self.cost else None,
        }


def forecast(
    store: Store,
    recipe: Recipe,
    *,
    seed: int | None = None,
    policy: Policy | None = None,
    rates: RateCard | None = None,
) -> Forecast:
    """What `train` would do with the same arguments; `rates` instead of the prices in force.

    Raises:
        EarmarkError: it would refuse at once, because recipe, sets, base and this machine do not fit.
    """
    recipe = recipe if seed is None else recipe.variant(seed=seed)
    job = prepare(store, recipe)
    plan = Plan.of(recipe, job.data.size)
    model = job.start.model()
    waiting = unfinished.waiting(store, job.key)
    return Forecast(
        job,
        plan,
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        permission(store, job, policy),
        store.find_run(job.key),
        None if waiting is None else int(waiting["step"]),
        _cost(store, job, plan, rates or in_force(store)),
    )


def _cost(store: Store, job: Prepared, plan: Plan, rates: RateCard | None) -> Cost | None:
    alike = [r for r in store.runs() if _comparable(r, job)]
    if not alike:
        return None
    wall, cpu = ([getattr(r, name) / r.result["exposures"] for r in alike] for name in ("wall_s", "cpu_s"))
    times = plan.exposed
    wall_s, cpu_s = times * median(wall), times * median(cpu)
    joules = [r.energy_j / r.result["exposures"] for r in alike if r.energy_j is not None]
    money = None
    if rates is not None:
        energy = times * median(joules) if joules else None
        money = rates.money(cpu_s, wall_s if job.device == "cuda" else 0.0, energy)
    return Cost(
        len(alike), wall_s, times * min(wall), times * max(wall), cpu_s, money, rates.currency if rates else None
    )


def _comparable(run: RunInfo, job: Prepared) -> bool:
    by_recipe = "recipe" in run.config and "depends" in run.config  # people's own scripts train without one
    if run.kind != "train" or run.status != "completed" or not by_recipe or not run.result.get("exposures"):
        return False
    theirs, ours = run.config["recipe"], job.config["recipe"]
    depends = run.config["depends"]
    same = all(theirs.get(name) == ours[name] for name in ("method", "precision"))
    return same and depends["base"] == job.base.digest and depends["device"] == job.device

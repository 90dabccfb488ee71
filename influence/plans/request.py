"""What was asked of an audit, made sense of: every set by its digest, every slice spelt out, every hypothesis read.

Law: the digest of a request says what is done and claimed, on which data; names, layout and how the work is spread are not
in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from influence.about import about, training_of
from influence.causes.claims import Claim, claims_of
from influence.causes.graph import CausalGraph
from influence.interventions import Intervention
from influence.plans import hypotheses
from influence.plans.hypotheses import Hypothesis
from influence.plans.planfile import AuditPlan, Budget, Controls, Planted, SliceEntry
from influence.statistics.effects import Declaration
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.selection import slices
from lineage.selection.sets import SampleSet, resolve_set
from lineage.selection.slices import WHOLE, Slice
from lineage.store import Store
from training.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """What was asked for, every set by digest; `train` and `tested` are the slices to change and the slices to look at.

    `added[i]` are the slices of intervention i that are not in the training set, `essences[i]` what it digests to.
    """

    name: str
    recipe: Recipe
    population: SampleSet
    evaluation: SampleSet
    train: tuple[Slice, ...]
    tested: tuple[Slice, ...]
    interventions: tuple[Intervention, ...]
    essences: tuple[dict[str, Any], ...]
    added: tuple[tuple[Slice, ...], ...]
    seeds: tuple[int, ...]
    controls: Controls
    null: tuple[str, ...]
    planted: Planted | None
    hypotheses: tuple[Hypothesis, ...]
    declaration: Declaration
    normalise: str
    budget: Budget
    fail_on: tuple[str, ...]
    amends: str | None
    causes: CausalGraph | None
    claims: tuple[Claim, ...]

    @property
    def about(self) -> str:
        """Digest of what the audit is about."""
        return about(self.recipe, self.population.digest, self.evaluation.digest)

    @property
    def digest(self) -> str:
        """The audit's id: SHA-256 over everything that was asked."""
        return digest_of(
            {
                "audit": 2,
                "recipe": training_of(self.recipe),
                "population": self.population.digest,
                "evaluation": self.evaluation.digest,
                "train": [asdict(s) for s in self.train],
                "tested": [asdict(s) for s in self.tested],
                "interventions": list(self.essences),
                "seeds": list(self.seeds),
                "controls": self.controls.model_dump(mode="json"),
                "null": sorted(self.null),
                "planted": self.planted.model_dump(mode="json") if self.planted else None,
                "hypotheses": sorted(str(h) for h in self.hypotheses),
                "declaration": self.declaration.to_json(),
                "normalise": self.normalise,
                "budget": self.budget.retrainings,
                **({} if self.budget.hours is None else {"hours": self.budget.hours}),
                "fail_on": sorted(self.fail_on),
                "amends": self.amends,
                **({"causes": self.causes.essence} if self.causes else {}),
            }
        )


def request(store: Store, plan: AuditPlan) -> Request:
    """Make sense of what a person asked for.

    Raises:
        EarmarkError: a set, slice or column does not exist, or the request makes no sense.
    """
    recipe = plan.trained
    population = resolve_set(store, recipe.train)
    evaluation = resolve_set(store, recipe.tested_on(plan.evaluate))
    train = _slices(store, plan.slices, population)
    needed = [i for i in plan.interventions if i.of is None]
    if not train and (needed or not plan.interventions):
        raise EarmarkError("no slice to leave out — name some, such as accent=scot, or accent=* for all of them")
    for wanted in train:
        slices.select(store, wanted, population.digest)  # a mistake in any of them is said before anything is recorded
    tested = _slices(store, plan.look_at, evaluation) if plan.look_at else _same(store, train, evaluation)
    if not any(s.name == WHOLE.name for s in tested):
        tested = [WHOLE, *tested]
    names = {s.name for s in train}
    for name in [*plan.null, *(n for i in needed for n in i.slices)]:
        if name not in names:
            raise EarmarkError(f"'{name}' is none of the plan's slices — they are {', '.join(sorted(names))}")
    if any(size >= population.size for size in plan.controls.curve):
        raise EarmarkError(
            f"a curve of sizes up to {max(plan.controls.curve)} needs more than {population.size} samples"
        )
    added = [
        tuple(_slices(store, i.slices or (WHOLE.name,), resolve_set(store, i.of))) if i.of is not None else ()
        for i in plan.interventions
    ]
    claims = tuple(hypotheses.parse(h) for h in plan.hypotheses)
    declaration = plan.statistics.declaration
    for h in claims:
        if h.metric not in declaration.metrics:
            raise EarmarkError(f"hypothesis '{h}': {h.metric} is not measured — add it to statistics: metrics")
    return Request(
        plan.name, recipe, population, evaluation, tuple(train), tuple(tested), tuple(plan.interventions),
        tuple(i.essence(store) for i in plan.interventions), tuple(added), plan.chosen_seeds(), plan.controls, plan.null,
        plan.planted, claims, declaration,
        plan.statistics.normalise, plan.budget, plan.fail_on, _amended(store, plan.amends),
        plan.causes, claims_of(store, plan.causes, tested) if plan.causes else (),
    )  # fmt: skip


def _slices(store: Store, entries: Sequence[str | SliceEntry], population: SampleSet) -> list[Slice]:
    found: list[Slice] = []
    for entry in entries:
        found += (
            slices.parse_slices(store, [entry], population.digest) if isinstance(entry, str) else [entry.slice(store)]
        )
    for s in found:
        if [o.name for o in found].count(s.name) > 1:
            raise EarmarkError(f"two slices are called '{s.name}' — give one of them another name: 'name: condition'")
    return found


def _same(store: Store, train: Sequence[Slice], evaluation: SampleSet) -> list[Slice]:
    """Those training slices that the evaluation set has samples of."""
    found = []
    for wanted in train:
        try:
            slices.select(store, wanted, evaluation.digest)
        except slices.EmptySlice:  # it exists for training only, e.g. one recording device
            continue
        found.append(wanted)
    return found


def _amended(store: Store, prefix: str | None) -> str | None:
    """The whole digest of the plan that is amended."""
    if prefix is None:
        return None
    known: set[str] = {r.config["audit"] for r in store.runs() if r.kind == "plan" and "audit" in r.config}
    found = sorted(d for d in known if d.startswith(prefix))
    if len(found) != 1:
        raise EarmarkError(f"'amends': {len(found)} plans on record begin with {prefix[:12]} — give the digest of one")
    return found[0]

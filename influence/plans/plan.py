"""What an audit is going to do, fixed before it does anything: sets frozen, retrainings listed, hypotheses declared.

A plan is a request (see `request`) laid out (see `design`); it is put on record (a run of kind 'plan', with its slices,
controls and substitutes as sample sets) before the first retraining starts, and its digest is the audit's id. Laws: the same
request on the same sets is the same plan, found again instead of being made twice, so an audit that was killed goes on where
it was; hypotheses cannot be chosen afterwards: where results on the same recipe and sets are on record, a plan with hypotheses
or with a causal graph has to name the plan that it changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from influence.bank import Retraining
from influence.interventions import AS_IT_IS
from influence.plans import hypotheses
from influence.plans.design import Comparison, Design, Row, design
from influence.plans.request import Request
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.selection.slices import FrozenSlice
from lineage.storage.manifest import RunInfo
from lineage.store import Store


@dataclass(frozen=True)
class Plan:
    """A request with its sets frozen. `rows[0]` is all data; `run_id` is empty where it is not on record."""

    request: Request
    run_id: str
    train: tuple[FrozenSlice, ...]
    tested: tuple[FrozenSlice, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]

    def retrainings(self) -> list[Retraining]:
        """All of them, seed by seed within each row; the recipe's own model keeps the checkpoints that it asks for."""
        recipe = self.request.recipe
        return [
            Retraining(
                seed,
                v.weights,
                recipe.checkpoints if v == AS_IT_IS and seed == recipe.seed else 0,
                f"{row.label}, seed {seed}",
                v.substitutes,
                v.augment,
                v.recipe,
            )
            for row in self.rows
            for seed, v in zip(self.request.seeds, row.variations, strict=True)
        ]


def sketch(store: Store, asked: Request) -> Plan:
    """The plan as it is on record, or as it would be; nothing is written.

    Digests of substitutes that are not made yet are not known.

    Raises:
        EarmarkError: an intervention cannot be done, or a hypothesis speaks of something that the plan does not do; or
            results on the same recipe and sets are on record already, and the plan declares hypotheses or causes without
            naming the plan that it changes.
    """
    done = store.find_run(_key(asked))
    if done is not None:
        return _read(asked, done)
    plan = _plan(asked, "", design(store, asked, None))
    hypotheses.check(asked.hypotheses, [c.phrase for c in plan.comparisons], [s.name for s in plan.tested])
    _not_afterwards(store, asked)
    return plan


def freeze(store: Store, asked: Request) -> Plan:
    """Put the plan on record, or find it there.

    Raises:
        EarmarkError: see `sketch`.
    """
    done = store.find_run(_key(asked))
    if done is None:
        sketch(store, asked)
        done = _record(store, asked)
    return _read(asked, done)


def _key(asked: Request) -> str:
    return digest_of({"plan": asked.digest})


def _not_afterwards(store: Store, asked: Request) -> None:
    seen = [
        r
        for r in store.runs()
        if r.kind == "ablate" and r.status == "completed" and r.config.get("about") == asked.about
    ]
    known = {r.config["audit"] for r in seen} - {asked.digest}
    chosen = "hypotheses" if asked.hypotheses else "causes" if asked.causes else ""
    if chosen and known and asked.amends not in known:
        newest = next(r.config["audit"] for r in reversed(seen) if r.config["audit"] in known)
        raise EarmarkError(
            f"{chosen} cannot be chosen afterwards: results on the same recipe and sets are on record — name the plan that "
            f"this one changes, amends: {newest[:12]}"
        )


def _record(store: Store, asked: Request) -> RunInfo:
    config = {
        "audit": asked.digest,
        "about": asked.about,
        "name": asked.name,
        "recipe": asked.recipe.model_dump(mode="json"),
        "interventions": list(asked.essences),
        "seeds": list(asked.seeds),
        "controls": asked.controls.model_dump(mode="json"),
        "null": list(asked.null),
        "planted": asked.planted.model_dump(mode="json") if asked.planted else None,
        "hypotheses": [str(h) for h in asked.hypotheses],
        "causes": asked.causes.model_dump(mode="json") if asked.causes else None,
        "declaration": asked.declaration.to_json(),
        "normalise": asked.normalise,
        "budget": asked.budget.model_dump(mode="json", exclude_none=True),
        "fail_on": list(asked.fail_on),
        "amends": asked.amends,
    }
    inputs = [asked.population.digest, asked.evaluation.digest]
    with store.run(
        "plan", job=asked.recipe.name, config=config, key=_key(asked), inputs=inputs, package="influence"
    ) as run:
        run.result |= design(store, asked, run).to_json()
    return store.resolve_run(run.id)


def _read(asked: Request, done: RunInfo) -> Plan:
    return _plan(asked, done.id, Design.from_json(done.result))


def _plan(asked: Request, run_id: str, laid_out: Design) -> Plan:
    d = laid_out
    return Plan(asked, run_id, tuple(d.train), tuple(d.tested), tuple(d.rows), tuple(d.comparisons))

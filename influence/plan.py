"""What an audit is going to do, fixed before it does anything: sets frozen, retrainings listed, hypotheses countable.

A plan is drawn up from a recipe, slices and a declaration; it is put on record (a run of kind 'plan', with its slices and
controls as sample sets) before the first retraining starts, and its digest is the audit's id. Law: the same request on the
same sets is the same plan, found again instead of being made twice; so an audit that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from influence import controls
from influence.bank import Retraining
from influence.controls import Match, Removal
from influence.statistics import Declaration
from lineage import slices
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.runs import RunInfo
from lineage.sets import SampleSet, resolve_set
from lineage.slices import WHOLE, FrozenSlice, Slice
from lineage.store import Store
from training.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """What was asked for: `train` and `tested` are the slices to leave out and the slices to look at."""

    recipe: Recipe
    population: SampleSet
    evaluation: SampleSet
    train: tuple[Slice, ...]
    tested: tuple[Slice, ...]
    seeds: tuple[int, ...]
    controls: int
    match: Match
    declaration: Declaration
    normalise: str

    @property
    def digest(self) -> str:
        """The audit's id: SHA-256 over everything that was asked."""
        return digest_of(
            {
                "audit": 1,
                "recipe": self.recipe.essence,
                "population": self.population.digest,
                "evaluation": self.evaluation.digest,
                "train": [asdict(s) for s in self.train],
                "tested": [asdict(s) for s in self.tested],
                "seeds": list(self.seeds),
                "controls": self.controls,
                "match": self.match,
                "declaration": self.declaration.to_json(),
                "normalise": self.normalise,
            }
        )


@dataclass(frozen=True)
class Row:
    """One line of the audit's table of retrainings: what is left out in each seed (set digests; none: all data)."""

    label: str
    left_out: tuple[str | None, ...]


@dataclass(frozen=True)
class Plan:
    """A request with its sets frozen. `rows[0]` is all data; `slice_rows[i]` and `control_rows[i]` belong to slice i."""

    request: Request
    run_id: str
    train: tuple[FrozenSlice, ...]
    tested: tuple[FrozenSlice, ...]
    rows: tuple[Row, ...]
    slice_rows: tuple[int, ...]
    control_rows: tuple[tuple[int, ...], ...]

    def retrainings(self) -> list[Retraining]:
        """All of them, seed by seed within each row; the recipe's own model keeps the checkpoints that it asks for."""
        recipe = self.request.recipe
        return [
            Retraining(
                seed,
                {} if left_out is None else {left_out: 0.0},
                recipe.checkpoints if left_out is None and seed == recipe.seed else 0,
                f"{row.label}, seed {seed}",
            )
            for row in self.rows
            for seed, left_out in zip(self.request.seeds, row.left_out, strict=True)
        ]


def request(
    store: Store,
    recipe: Recipe,
    *,
    leave_out: Sequence[str],
    look_at: Sequence[str],
    evaluation_set: str | None,
    seeds: int | Sequence[int],
    number_of_controls: int,
    match: Match,
    declaration: Declaration,
    normalise: str,
) -> Request:
    """Make sense of what a person asked for.

    Raises:
        EarmarkError: a set, slice or column does not exist, or the request makes no sense.
    """
    population = resolve_set(store, recipe.train)
    chosen = evaluation_set or (recipe.evaluate[0] if recipe.evaluate else None)
    if chosen is None:
        raise EarmarkError(
            f"recipe {recipe.name} names no evaluation set — add 'evaluate', or say which set to look at"
        )
    evaluation = resolve_set(store, chosen)
    if not leave_out:
        raise EarmarkError("no slice to leave out — name some, such as accent=scot, or accent=* for all of them")
    train = slices.parse_slices(store, leave_out, population.digest)
    for wanted in train:
        slices.select(store, wanted, population.digest)  # a mistake in any of them is said before anything is recorded
    tested = slices.parse_slices(store, look_at, evaluation.digest) if look_at else _same(store, train, evaluation)
    if not any(s.name == WHOLE.name for s in tested):
        tested = [WHOLE, *tested]
    chosen_seeds = tuple(range(recipe.seed, recipe.seed + seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen_seeds or len(set(chosen_seeds)) < len(chosen_seeds):
        raise EarmarkError(f"seeds {list(chosen_seeds)} — give one or more different ones")
    if number_of_controls < 0:
        raise EarmarkError(f"{number_of_controls} controls — give 0 or more random removals per seed")
    return Request(
        recipe, population, evaluation, tuple(train), tuple(tested), chosen_seeds, number_of_controls, match,
        declaration, normalise,
    )  # fmt: skip


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


def freeze(store: Store, asked: Request) -> Plan:
    """Put the plan on record, or find it there."""
    key = digest_of({"plan": asked.digest})
    done = store.find_run(key) or _record(store, asked, key)
    return _plan(asked, done)


def _record(store: Store, asked: Request, key: str) -> RunInfo:
    config = {
        "audit": asked.digest,
        "recipe": asked.recipe.model_dump(mode="json"),
        "seeds": list(asked.seeds),
        "controls": asked.controls,
        "match": asked.match,
        "declaration": asked.declaration.to_json(),
        "normalise": asked.normalise,
    }
    inputs = [asked.population.digest, asked.evaluation.digest]
    with store.run("plan", job=asked.recipe.name, config=config, key=key, inputs=inputs, package="influence") as run:
        train = [slices.freeze(run, s, asked.population) for s in asked.train]
        tested = [slices.freeze(run, s, asked.evaluation) for s in asked.tested]
        wanted = {r: "" for s in train for r in _removals(asked, s)}
        drawn = {r: controls.freeze(run, r, asked.population).digest for r in wanted}
        run.result |= {
            "train": [asdict(s) for s in train],
            "tested": [asdict(s) for s in tested],
            "controls": [{**asdict(r), "set_digest": digest} for r, digest in drawn.items()],
        }
    return store.resolve_run(run.id)


def _removals(asked: Request, frozen: FrozenSlice) -> list[Removal]:
    """The random removals matched to a slice, one per seed and control: seed k, control c is draw k·controls + c."""
    return [
        controls.removal(asked.population, frozen.size, frozen.duration_s, draw, match=asked.match)
        for draw in range(len(asked.seeds) * asked.controls)
    ]


def _plan(asked: Request, done: RunInfo) -> Plan:
    train = tuple(FrozenSlice(**s) for s in done.result["train"])
    tested = tuple(FrozenSlice(**s) for s in done.result["tested"])
    drawn = {
        Removal(**{k: v for k, v in c.items() if k != "set_digest"}): c["set_digest"] for c in done.result["controls"]
    }
    n = len(asked.seeds)
    rows = [Row("all data", (None,) * n)] + [Row(f"without {s.name}", (s.set_digest,) * n) for s in train]
    known: dict[tuple[str | None, ...], int] = {}
    control_rows = []
    for frozen in train:
        digests = [drawn[r] for r in _removals(asked, frozen)]
        own = []
        for c in range(asked.controls):
            left_out: tuple[str | None, ...] = tuple(digests[c :: asked.controls])
            if left_out not in known:
                known[left_out] = len(rows)
                rows.append(Row(f"without {frozen.size} at random ({c + 1})", left_out))
            own.append(known[left_out])
        control_rows.append(tuple(own))
    return Plan(asked, done.id, train, tested, tuple(rows), tuple(range(1, len(train) + 1)), tuple(control_rows))

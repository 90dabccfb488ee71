"""The design of an audit: which models are trained, and which are held against which.

A request is laid out as a table. Each row is one training in every seed, row 0 that on all data as it is; each comparison
names the row that is changed, the row it is held against, and the rows of its controls. The same training stands in the table
once, so slices of equal size share their controls, and whatever is held against all data shares that.

Law: a design depends on the request and the members of its sets alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from influence.interventions import AS_IT_IS, Case, Intervention, Making, Target, Variation
from influence.interventions.relabel import corruption
from influence.plans import controls
from influence.plans.checks import PLANTED
from influence.plans.controls import Removal
from influence.plans.planfile import Controls, Planted
from influence.plans.request import Request
from influence.statistics.set_luck import ENOUGH
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.recorder import described
from lineage.runs import Run
from lineage.selection import slices
from lineage.selection.sets import SampleSet, resolve_set
from lineage.selection.slices import FrozenSlice, Slice
from lineage.store import Store


@dataclass(frozen=True)
class Row:
    """One line of the audit's table of retrainings: how each seed's training differs from the recipe on all data."""

    label: str
    variations: tuple[Variation, ...]


@dataclass(frozen=True)
class Comparison:
    """A case of the plan by its rows: `row` held against `against`; `controls` are rows held against `controls_against`."""

    phrase: str
    intervention: str
    dose: float | None
    harm: bool
    slice: str
    set_digest: str
    row: int
    against: int
    controls: tuple[int, ...]
    control_weights: tuple[float, ...] | None
    controls_against: int


@dataclass
class Design:
    """What a request comes to; `drawn` are the random sets by what identifies them."""

    train: list[FrozenSlice]
    tested: list[FrozenSlice]
    rows: list[Row]
    comparisons: list[Comparison]
    drawn: dict[Removal, Target]

    def to_json(self) -> dict[str, Any]:
        """As JSON, the result of the run that records the plan."""
        return {
            "train": [asdict(s) for s in self.train],
            "tested": [asdict(s) for s in self.tested],
            "controls": [{**asdict(r), "set_digest": t.set_digest} for r, t in self.drawn.items()],
            "rows": [{"label": r.label, "variations": [v.to_json() for v in r.variations]} for r in self.rows],
            "comparisons": [asdict(c) for c in self.comparisons],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Design:
        """The inverse, but for the members of the random sets."""
        rows = [Row(r["label"], tuple(Variation(**v) for v in r["variations"])) for r in value["rows"]]
        comparisons = []
        for c in value["comparisons"]:
            weights = c["control_weights"]
            kept = {"controls": tuple(c["controls"]), "control_weights": None if weights is None else tuple(weights)}
            comparisons.append(Comparison(**{**c, **kept}))
        train, tested = ([FrozenSlice(**s) for s in value[name]] for name in ("train", "tested"))
        return cls(train, tested, rows, comparisons, {})


def design(store: Store, asked: Request, run: Run | None) -> Design:
    """Lay a request out; with a run, the sets and samples that it needs are put on record.

    Raises:
        EarmarkError: a slice is empty, has no random counterpart, or an intervention cannot be done to it; or two
            comparisons have one name.
    """
    layout = _Layout(store, asked, run)
    train = [layout.frozen(s, asked.population) for s in asked.train]
    tested = [layout.frozen(s, asked.evaluation) for s in asked.tested]
    comparisons: list[Comparison] = []
    for intervention, added in zip(asked.interventions, asked.added, strict=True):
        if intervention.of is not None:
            other = resolve_set(store, intervention.of)
            chosen = [(s, layout.frozen(s, other), other) for s in added]
        else:
            every = [(s, f, asked.population) for s, f in zip(asked.train, train, strict=True)]
            chosen = [one for one in every if not intervention.slices or one[0].name in intervention.slices]
        for wished, frozen, population in chosen:
            target = Target(frozen.name, frozen.set_digest, slices.select(store, wished, population.digest))
            comparisons += layout.compare(intervention, target, frozen.duration_s)
    if asked.planted is not None:
        comparisons.append(layout.plant(asked.planted))
    _distinct(comparisons)
    return Design(train, tested, layout.rows, comparisons, layout.drawn)


def _distinct(comparisons: Sequence[Comparison]) -> None:
    """Hypotheses, effects and looks know a comparison by its phrase, so none may stand for two."""
    phrases = [c.phrase for c in comparisons]
    for phrase in phrases:
        if phrases.count(phrase) > 1:
            raise EarmarkError(
                f"the plan does '{phrase}' twice, and nobody could tell one from the other — keep one, give its slice another "
                "name ('name: condition'), or make two plans"
            )


@dataclass
class _Layout:
    """A design while it is made."""

    store: Store
    asked: Request
    run: Run | None
    rows: list[Row] = field(default_factory=list)
    drawn: dict[Removal, Target] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    done: dict[tuple[int, Removal], list[Case]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.making = Making(self.store, self.asked.recipe, self.asked.population, self.run)
        self.row("all data", AS_IT_IS)

    def frozen(self, wanted: Slice, population: SampleSet) -> FrozenSlice:
        """The slice cut out of the population; on record if anything is."""
        if self.run is not None:
            return slices.freeze(self.run, wanted, population)
        ids = slices.select(self.store, wanted, population.digest)
        seconds = sum(row["duration_s"] for row in described(self.store, ids).values())
        return FrozenSlice(
            wanted.name, wanted.predicate, wanted.origin, population.digest, self.making.set_of(ids, wanted.name),
            len(ids), seconds,
        )  # fmt: skip

    def row(self, label: str, *variations: Variation) -> int:
        """The place of the row with these trainings: one for all seeds, or one for each."""
        each = variations if len(variations) == len(self.asked.seeds) else variations[:1] * len(self.asked.seeds)
        key = digest_of([v.to_json() for v in each])
        if key not in self.places:
            self.places[key] = len(self.rows)
            self.rows.append(Row(label, tuple(each)))
        return self.places[key]

    def random(self, wanted: Removal) -> Target:
        """A random set, drawn once."""
        if wanted not in self.drawn:
            ids = controls.draw(self.store, wanted)
            if self.run is not None:
                digest = controls.freeze(self.run, wanted, self.asked.population).digest
            else:
                digest = self.making.set_of(ids, wanted.name)
            self.drawn[wanted] = Target(f"{wanted.count} at random", digest, ids)
        return self.drawn[wanted]

    def compare(self, intervention: Intervention, target: Target, seconds: float) -> list[Comparison]:
        """All cases of an intervention on a slice, each beside what the same does to random sets."""
        out = []
        for number, case in enumerate(intervention.cases(target, self.making)):
            row, against = self.row(_label(case.phrase), case.changed), self.row(f"beside {case.phrase}", case.against)
            found: tuple[int, ...] = ()
            weights: tuple[float, ...] | None = None
            if case.controlled:
                found, weights = self.controls(
                    self.asked.controls, target.ids, seconds, _Counterpart(self, intervention, number)
                )
            out.append(
                Comparison(
                    case.phrase, case.kind, case.dose, case.harm, target.name, target.set_digest, row, against, found,
                    weights, 0,
                )
            )  # fmt: skip
        return out

    def controls(
        self, chosen: Controls, ids: pa.Array, seconds: float, counterpart: Callable[[Removal], Variation]
    ) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
        """Rows of the random sets beside a slice, and their weights where a line is fitted to them.

        A few: seed k, control c is draw k·controls + c. Enough for a rank, or a curve: draw c in every seed.
        """
        population, size, seeds = self.asked.population, len(ids), len(self.asked.seeds)
        if chosen.curve:
            removals = [
                controls.removal(population, s, 0.0, chosen.curve[:i].count(s), match="count")
                for i, s in enumerate(chosen.curve)
            ]
            places = [self.row(f"{r.count} at random ({r.draw + 1})", counterpart(r)) for r in removals]
            return tuple(places), tuple(controls.line(chosen.curve, size))
        words = self._words(ids) if chosen.match == "words" else 0
        places = []
        for c in range(chosen.number):
            draws = [c] if chosen.number >= ENOUGH else [k * chosen.number + c for k in range(seeds)]
            removals = [controls.removal(population, size, seconds, d, match=chosen.match, words=words) for d in draws]
            label = f"without {size} at random ({c + 1})"
            places.append(self.row(label, *(counterpart(r) for r in removals)))
        return tuple(places), None

    def plant(self, planted: Planted) -> Comparison:
        """Leaving out a random slice whose words were corrupted, beside random removals from the same corrupted set."""
        population = self.asked.population
        size = max(1, round(planted.share * population.size))
        target = self.random(Removal(population.digest, size, None, planted.seed, PLANTED))
        spoilt = corruption(self.making, Target(PLANTED, target.set_digest, target.ids), planted.words, planted.seed)
        base = self.row("with the planted slice", Variation(substitutes=spoilt))
        row = self.row("without the planted slice", Variation({target.set_digest: 0.0}, spoilt))
        few = Controls(number=min(max(self.asked.controls.number, 1), ENOUGH - 1))
        found, _ = self.controls(few, target.ids, 0.0, lambda r: Variation({self.random(r).set_digest: 0.0}, spoilt))
        return Comparison(
            f"removing {PLANTED}", PLANTED, 0.0, False, PLANTED, target.set_digest, row, base, found, None, base
        )

    def _words(self, ids: pa.Array) -> int:
        return sum(row["words"] or 0 for row in described(self.store, ids).values())


@dataclass(frozen=True)
class _Counterpart:
    """What case `number` of an intervention is on a random set; sets of one size are asked for once."""

    layout: _Layout
    intervention: Intervention
    number: int

    def __call__(self, wanted: Removal) -> Variation:
        done, key = self.layout.done, (id(self.intervention), wanted)
        if key not in done:
            done[key] = self.intervention.cases(self.layout.random(wanted), self.layout.making)
        return done[key][self.number].changed


def _label(phrase: str) -> str:
    """A row's name: what its models are without, or what was done."""
    return f"without {phrase.removeprefix('removing ')}" if phrase.startswith("removing ") else phrase

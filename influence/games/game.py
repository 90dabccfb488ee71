"""What a game between slices is, fixed before it is played: who plays, where errors are looked at, how far to go.

Slices have to be disjoint, for no sample can be both there and not; overlapping ones are refused, or cut into the disjoint
parts that they have. A game is on record, its slices as sets, before the first retraining.

Law: the same request on the same sets is the same game, found again instead of being made twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from influence.about import about
from influence.games.interactions import EXACT, subsets
from influence.games.shapley import MOST_SLICES, Sampling
from influence.statistics.panels import Generalise, check_metrics
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.ids import id_array
from lineage.selection import slices as cuts
from lineage.selection.sets import SampleSet, resolve_set
from lineage.selection.slices import WHOLE, FrozenSlice, Slice
from lineage.store import Store
from training.recipe import Recipe

BUDGET = 300  # retrainings of a sampled game, unless another is given
DELETION = "deletion"


@dataclass(frozen=True)
class Game:
    """What is asked: the slices that play, where errors are looked at, which seeds, and how far to go."""

    recipe: Recipe
    population: SampleSet
    evaluation: SampleSet
    players: tuple[Slice, ...]
    looked_at: tuple[Slice, ...]
    seeds: tuple[int, ...]
    method: str  # 'exact', 'deletion', 'permutations' or 'regression'
    order: int
    budget: int
    standard_error: float | None
    generalise: Generalise
    level: float
    replicates: int
    normalise: str
    metrics: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over everything that was asked."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        parts |= {"recipe": self.recipe.essence, "population": self.population.digest}
        parts |= {"evaluation": self.evaluation.digest, "seeds": list(self.seeds), "metrics": list(self.metrics)}
        parts |= {n: [asdict(s) for s in parts[n]] for n in ("players", "looked_at")}
        return digest_of({"game": 1, **parts})

    @property
    def about(self) -> str:
        """Digest of what the game is about."""
        return about(self.recipe, self.population.digest, self.evaluation.digest)

    @property
    def chance(self) -> int:
        """Seed of whatever is drawn."""
        return int(self.digest[:12], 16)


def draw_up(
    store: Store,
    recipe: Recipe,
    texts: Sequence[str],
    evaluation: Sequence[str],
    evaluation_set: str | None,
    seeds: tuple[int, ...],
    order: int,
    shapley: bool,
    sampling: Sampling | None,
    budget: int | None,
    partition: bool,
    rest: dict[str, Any],
) -> Game:
    """Make sense of what a person asked for, see `influence.games.coalitions.interact`; `rest` are further fields of the game.

    Raises:
        EarmarkError: a set, slice or column does not exist, or the request makes no sense.
    """
    population = resolve_set(store, recipe.train)
    tested_on = resolve_set(store, recipe.tested_on(evaluation_set))
    players = disjoint(store, cuts.parse_slices(store, texts, population.digest), population, partition=partition)
    looked_at = cuts.parse_slices(store, evaluation, tested_on.digest)
    if not any(s.name == WHOLE.name for s in looked_at):
        looked_at = [WHOLE, *looked_at]
    n = len(players)
    if n < 2:
        raise EarmarkError("a game needs two slices or more — name some, such as accent=scot and noise=hum")
    if n > MOST_SLICES:
        raise EarmarkError(f"{n} slices are too many for one game — name {MOST_SLICES} at most, or merge some")
    if not seeds or len(set(seeds)) < len(seeds):
        raise EarmarkError(f"seeds: {', '.join(map(str, seeds)) or 'none'} — give one or more different ones")
    if not 2 <= order <= n:
        raise EarmarkError(f"interactions of order {order} among {n} slices — give an order from 2 to {n}")
    if sampling not in (None, "permutations", "regression"):
        raise EarmarkError(f"cannot sample by '{sampling}' — choose permutations or regression")
    if rest["generalise"] not in ("speakers", "utterances"):
        raise EarmarkError(f"cannot generalise to '{rest['generalise']}' — choose speakers or utterances")
    check_metrics(rest["metrics"])
    if not 0.5 < rest["level"] < 1:
        raise EarmarkError(f"confidence level {rest['level']} — give one between 0.5 and 1, e.g. 0.95")
    whole = len(seeds) << n
    affordable = n <= EXACT if budget is None else whole <= budget
    if sampling is None and (affordable or (shapley and budget is None and whole <= BUDGET)):
        method = "exact"
    else:
        method = (sampling or "permutations") if shapley or sampling else DELETION
    if method == DELETION and budget is not None:
        needed = len(seeds) * (1 + len(subsets(n, order)))
        if needed > budget:
            raise EarmarkError(
                f"interactions of order {order} among {n} slices take {needed} retrainings, {whole} for every coalition, "
                f"and the budget is {budget} — raise it, name fewer slices, or ask for Shapley values"
            )
    return Game(
        recipe, population, tested_on, tuple(players), tuple(looked_at), seeds, method, order,
        whole if method == "exact" else budget or BUDGET, **rest,
    )  # fmt: skip


def disjoint(store: Store, wanted: Sequence[Slice], population: SampleSet, *, partition: bool = False) -> list[Slice]:
    """The slices, if no two share a sample; with `partition`, the disjoint parts that they cut one another into.

    Raises:
        EarmarkError: two share samples, and they are not to be cut.
    """
    ids = [set(id_array(cuts.select(store, s, population.digest)).to_pylist()) for s in wanted]
    shared = [(a, b) for a in range(len(ids)) for b in range(a) if ids[a] & ids[b]]
    if not shared:
        return list(wanted)
    a, b = shared[0]
    sets = [s.name for s in wanted if s.members is not None]
    if partition and sets:
        raise EarmarkError(f"'{sets[0]}' is a set and no condition, and cannot be cut — name disjoint slices")
    if not partition:
        raise EarmarkError(
            f"slices '{wanted[b].name}' and '{wanted[a].name}' share {len(ids[a] & ids[b])} samples, and no sample can be "
            "both there and not — name disjoint ones, such as 'accent=scot & noise=hum', or have them cut (partition)"
        )
    member: dict[Any, int] = {}
    for i, own in enumerate(ids):
        for sample in own:
            member[sample] = member.get(sample, 0) | 1 << i
    parts = []
    for atom in sorted(set(member.values()), key=lambda c: (c.bit_count(), c)):
        inside = [s for i, s in enumerate(wanted) if atom >> i & 1]
        outside = [s for i, s in enumerate(wanted) if not atom >> i & 1]
        terms = [f"({s.predicate})" for s in inside] + [f"NOT coalesce(({s.predicate}), false)" for s in outside]
        name = " & ".join(s.name for s in inside)
        parts.append(
            Slice(name if len(inside) > 1 or not outside else f"{name} only", " AND ".join(terms), "partition")
        )
    return parts


def freeze(store: Store, game: Game) -> tuple[str, list[FrozenSlice], list[FrozenSlice]]:
    """The game's slices as sets on record, made or found: run, training slices, evaluation slices."""
    key = digest_of({"game": game.digest})
    done = store.find_run(key)
    if done is None:
        config: dict[str, Any] = {
            "game": game.digest,
            "recipe": game.recipe.model_dump(mode="json"),
            "seeds": list(game.seeds),
        }
        config |= {"method": game.method, "order": game.order, "budget": game.budget}
        inputs = [game.population.digest, game.evaluation.digest]
        with store.run("plan", job=game.recipe.name, config=config, key=key, inputs=inputs, package="influence") as run:
            run.result |= {
                "players": [asdict(cuts.freeze(run, s, game.population)) for s in game.players],
                "looked_at": [asdict(cuts.freeze(run, s, game.evaluation)) for s in game.looked_at],
            }
        done = store.resolve_run(run.id)
    players, looked_at = ([FrozenSlice(**s) for s in done.result[n]] for n in ("players", "looked_at"))
    return done.id, players, looked_at

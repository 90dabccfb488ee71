"""A game at work: which coalitions are trained, in what order, and when enough of them are.

Each coalition is trained over all seeds of the game, the absent slices' samples at weight zero in the loss, under the keys
that audits and other games use (`bank`). Sampled coalitions come in pairs (`shapley`); with a wanted standard error they are
trained a few pairs at a time and looked at in between.

Law: which coalitions are trained depends on the game alone, not on what was on record before or on how many worked at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from influence.bank import Bank, Retrained, Retraining
from influence.games.game import DELETION, Game
from influence.games.interactions import Functional, asked_for, deletion, interaction, slices_of, subsets, total
from influence.games.shapley import Sampler, sampler, sampling_error
from influence.statistics.outcomes import outcome
from influence.statistics.panels import Outcome
from lineage.errors import EarmarkError
from lineage.selection.slices import FrozenSlice

STEP = 4  # pairs trained between two looks at the standard error
MOST_PAIRS = 256

TOTAL, SHAPLEY, INTERACTION = "total", "shapley", "interaction"


@dataclass(frozen=True)
class Asked:
    """One figure to be told: what it is, of which coalition, and its functional."""

    measure: str
    subset: int
    functional: Functional


class Play:
    """A game at work: has coalitions trained as they are asked for, and holds what came of them."""

    def __init__(self, game: Game, players: Sequence[FrozenSlice], bank: Bank) -> None:
        self.store = bank.store
        self.game = game
        self.players = players
        self.done: dict[int, tuple[Retrained | None, ...]] = {}
        self.failures: dict[str, str] = {}
        self.trained = 0
        self.wall_s = 0.0
        self._bank = bank

    @property
    def n(self) -> int:
        """How many slices play."""
        return len(self.players)

    @property
    def runs(self) -> set[str]:
        """The training runs behind it."""
        return {r.run_id for results in self.done.values() for r in results if r is not None}

    def through(self) -> tuple[list[Asked], int | None]:
        """Have everything trained; what is then asked, and from how many pairs, if any were drawn."""
        if self.game.method in ("exact", DELETION):
            asked = self._complete()
            self.have(asked_for(a.functional for a in asked))
            return asked, None
        drawn = sampler(self.game.method, self.n, self.game.chance)  # type: ignore[arg-type]
        pairs = self._sampled(drawn)
        values = [Asked(SHAPLEY, 1 << i, f) for i, f in enumerate(drawn.functionals(range(pairs)))]
        return [Asked(TOTAL, (1 << self.n) - 1, total(self.n)), *values], pairs

    def _complete(self) -> list[Asked]:
        n, order = self.n, self.game.order
        if self.game.method == DELETION:
            return [Asked(DELETION, s, deletion(n, s)) for s in subsets(n, order)]
        told = [Asked(TOTAL, (1 << n) - 1, total(n))]
        for s in subsets(n, order):
            told.append(Asked(SHAPLEY if s.bit_count() == 1 else INTERACTION, s, interaction(n, s)))
            told.append(Asked(DELETION, s, deletion(n, s)))
        return told

    def _sampled(self, drawn: Sampler) -> int:
        """Have pairs trained until the budget or the wanted standard error is reached; how many."""
        most, known = 0, {0, (1 << self.n) - 1}
        while len(known | set(drawn.coalitions(most))) * len(self.game.seeds) <= self.game.budget and most < MOST_PAIRS:
            known |= set(drawn.coalitions(most))
            most += 1
        if not drawn.enough(most):
            raise EarmarkError(
                f"a budget of {self.game.budget} retrainings affords {most} pairs of {self.game.method} over "
                f"{len(self.game.seeds)} seeds, too few to tell {self.n} slices apart — raise it, or name fewer slices"
            )
        wanted = self.game.standard_error
        pairs = most if wanted is None else min(most, STEP)
        while True:
            self.have(sorted({c for m in range(pairs) for c in drawn.coalitions(m)}, reverse=True))
            if pairs == most or (pairs >= drawn.certain and self._chance(drawn, pairs) <= (wanted or 0)):
                return pairs
            pairs = min(most, pairs + STEP)

    def _chance(self, drawn: Sampler, pairs: int) -> float:
        """Largest standard error of sampling, in WER on the whole evaluation set."""
        known, seeds = sorted(self.done, reverse=True), self.usable()
        rates = np.array([[self._wer(c, k) for k in seeds] for c in known])
        return float(sampling_error(drawn, range(pairs), known, rates.mean(axis=1)).max())

    def _wer(self, coalition: int, k: int) -> float:
        run = self.store.resolve_run(self.predictions(coalition, k))
        return float(run.result["wer"] or 0.0)

    def have(self, coalitions: Sequence[int]) -> None:
        """Have these coalitions trained over all seeds and evaluated."""
        missing = [c for c in coalitions if c not in self.done]
        recipe, seeds, whole = self.game.recipe, self.game.seeds, (1 << self.n) - 1
        retrainings = [
            Retraining(
                seed,
                {self.players[i].set_digest: 0.0 for i in slices_of(whole & ~c)},
                recipe.checkpoints if c == whole and seed == recipe.seed else 0,
                f"{self.label(c)}, seed {seed}",
            )
            for c in missing
            for seed in seeds
        ]
        if not retrainings:
            return
        filled = self._bank.fill(retrainings)
        for i, c in enumerate(missing):
            self.done[c] = filled.results[i * len(seeds) : (i + 1) * len(seeds)]
        self.failures |= filled.errors
        self.trained += filled.trained
        self.wall_s += filled.wall_s
        self.usable()

    def label(self, coalition: int) -> str:
        """A coalition in words, by what is absent."""
        absent = [self.players[i].name for i in slices_of(((1 << self.n) - 1) & ~coalition)]
        return f"without {', '.join(absent)}" if absent else "all data"

    def usable(self) -> list[int]:
        """Numbers of the seeds in which no retraining is missing.

        Raises:
            EarmarkError: there is none.
        """
        there = [k for k in range(len(self.game.seeds)) if all(r[k] is not None for r in self.done.values())]
        if not there:
            name, error = next(iter(self.failures.items()))
            raise EarmarkError(f"nothing to compare: retraining {name} failed: {error.strip().splitlines()[-1]}")
        return there

    def predictions(self, coalition: int, k: int) -> str:
        """The evaluation run of a coalition and seed number."""
        result = self.done[coalition][k]
        if result is None:
            raise ValueError("a usable retraining is missing")
        return result.predictions[self.game.evaluation.digest]

    def outcomes(self, coalitions: Sequence[int]) -> list[list[Outcome]]:
        """Of each coalition in each usable seed."""
        how = self.game.normalise, self.game.metrics
        return [[outcome(self.store, self.predictions(c, k), *how) for k in self.usable()] for c in coalitions]

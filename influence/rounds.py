"""An audit at work: a plan's retrainings in rounds, and its questions asked after each.

A fixed plan is one round of all its seeds. A sequential one has a round for each look: what is settled after it is not asked
any more, nor retrained for, and a round that the budget does not reach for is not begun (see `plans.budget`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from influence import bank
from influence.executors.spread import Spread
from influence.plans.budget import Purse
from influence.plans.design import Comparison
from influence.plans.hypotheses import OPEN, Answer, answer
from influence.plans.plan import Plan
from influence.plans.planfile import Order
from influence.plans.queue import promised
from influence.statistics.effects import Effect, EvalSlice, LeftOut, Questions
from influence.statistics.matched_pairs import MatchedPairs
from influence.statistics.outcomes import eval_slices, outcome
from influence.statistics.panels import Outcome
from influence.statistics.verdicts import NOT_IDENTIFIABLE
from lineage.errors import EarmarkError
from lineage.store import Store
from training.progress import Progress


class Rounds:
    """Retrains a plan's table, by seeds and as far as needed, and asks the questions after each round."""

    def __init__(self, store: Store, plan: Plan, order: Order = "declared") -> None:
        self.results: list[bank.Retrained | None] = [None] * len(plan.retrainings())
        self.tried: set[int] = set()
        self.errors: dict[str, str] = {}
        self.trained = 0
        self.wall_s = 0.0
        self.stopped = ""
        self._store = store
        self._plan = plan
        self._seeds = len(plan.request.seeds)
        self._outcomes: dict[int, Outcome] = {}
        self._how = plan.request.normalise, plan.request.declaration.metrics
        self._purse = Purse(store, plan)
        self._promised = promised(store, plan) if order == "gradients" else [0.0] * len(plan.rows)

    def carry_out(self, spread: Spread, progress: Progress) -> tuple[list[Effect], list[Answer]]:
        """Effects and answers to the hypotheses.

        Raises:
            EarmarkError: the budget does not suffice for the first round, before any training.
        """
        self.check_budget()
        asked = self._plan.request
        with bank.opened(
            self._store, asked.recipe, [asked.evaluation.digest], normalise=asked.normalise,
            spread=spread.at_most(len(self.results)), parents=[self._plan.run_id], progress=progress,
        ) as opened:  # fmt: skip
            return self._through(opened, self._looks)

    def check_budget(self) -> None:
        """Whether the budget suffices for the first round.

        Raises:
            EarmarkError: it does not.
        """
        lack = self._purse.lacks((), self._wanted(self._plan.comparisons, self._looks[0]))
        if lack:
            raise EarmarkError(f"the plan needs {lack} — ask fewer questions, or raise budget")

    @property
    def _looks(self) -> Sequence[int]:
        sequential = self._plan.request.declaration.sequential
        return sequential.looks if sequential else (self._seeds,)

    def _through(self, opened: bank.Bank, looks: Sequence[int]) -> tuple[list[Effect], list[Answer]]:
        asked = self._plan.request
        questions: Questions | None = None
        found: list[Effect] = []
        before: list[Effect] = []
        answers = answer(asked.hypotheses, found, level=asked.declaration.level)
        asked_with: dict[str, tuple[int, ...]] = {}
        open_: Sequence[Comparison] = self._plan.comparisons
        for seeds in looks:
            if not open_:
                break
            wanted = self._wanted(open_, seeds)
            lack = self._purse.lacks(sorted(self.tried), wanted) if self.tried else ""
            if lack:
                self.stopped = f"the look after {seeds} seeds needs {lack}"
                break
            self._fill(opened, wanted)
            usable = self._usable(open_, seeds)
            questions = questions or Questions(self._tested(), asked.declaration, audit=asked.digest)
            place = {row: i for i, row in enumerate(usable.rows)}
            open_ = [c for c in open_ if c.row in place and c.against in place]
            if not open_:
                break
            asked_with |= {c.phrase: usable.seeds for c in open_}
            questions.ask(
                [[self._outcome(row, k) for k in usable.seeds] for row in usable.rows],
                [_left_out(c, place) for c in open_],
            )
            before += found
            found = questions.effects()
            answers = answer(
                asked.hypotheses,
                found,
                level=asked.declaration.level,
                before=before,
                looks=asked.declaration.sequential,
            )
            unsettled = {s.phrase for s in questions.unsettled(found)}
            unsettled |= {h.phrase for h, a in zip(asked.hypotheses, answers, strict=True) if a.verdict == OPEN}
            open_ = [c for c in open_ if c.phrase in unsettled]
        left = {c.phrase for c in open_} if self.stopped else set()
        return self._beside(self._stopped(found, left), asked_with), self._unanswered(answers, left)

    def _stopped(self, found: Sequence[Effect], left: Set[str]) -> list[Effect]:
        """The effects; those of the comparisons `left` open say why."""
        return [
            replace(e, reason=f"{e.reason}; {self.stopped}")
            if e.phrase in left and e.verdict == NOT_IDENTIFIABLE
            else e
            for e in found
        ]

    def _unanswered(self, answers: Sequence[Answer], left: Set[str]) -> list[Answer]:
        """The answers; those to hypotheses about the comparisons `left` open say why."""
        return [
            replace(a, reason=f"{a.reason}; {self.stopped}") if h.phrase in left and a.verdict == OPEN else a
            for h, a in zip(self._plan.request.hypotheses, answers, strict=True)
        ]

    def _beside(self, found: Sequence[Effect], asked_with: Mapping[str, tuple[int, ...]]) -> list[Effect]:
        """With the second test beside, of the seeds that each comparison was last asked with."""
        test, targets = MatchedPairs(self._store, self._plan.request.normalise), self._tested()
        p = {}
        for c in self._plan.comparisons:
            if any(e.phrase == c.phrase for e in found):
                pairs = [(self._run(c.row, k), self._run(c.against, k)) for k in asked_with[c.phrase]]
                p[c.phrase] = test.p_values(pairs, targets)
        return [
            replace(e, mapsswe_p=p[e.phrase][e.eval_slice]) if e.metric == "wer" and e.phrase in p else e for e in found
        ]

    def _run(self, row: int, seed: int) -> str:
        """The run of predictions of one retraining."""
        trained = self.results[row * self._seeds + seed]
        if trained is None:
            raise ValueError("a usable retraining is missing")
        return trained.predictions[self._plan.request.evaluation.digest]

    def _wanted(self, comparisons: Sequence[Comparison], seeds: int) -> list[int]:
        """Places of what these comparisons need of the first `seeds` seeds and nobody tried yet, in the order of the queue."""
        places = [r * self._seeds + k for r in _rows(comparisons) for k in range(seeds)]
        return sorted((i for i in places if i not in self.tried), key=lambda i: -self._promised[i // self._seeds])

    def _fill(self, opened: bank.Bank, wanted: Sequence[int]) -> None:
        """Have the retrainings at these places done."""
        if not wanted:
            return
        retrainings = self._plan.retrainings()
        filled = opened.fill([retrainings[i] for i in wanted])
        for i, result in zip(wanted, filled.results, strict=True):
            self.results[i] = result
        self.tried |= set(wanted)
        self.errors |= filled.errors
        self.trained += filled.trained
        self.wall_s += filled.wall_s

    def _usable(self, comparisons: Sequence[Comparison], among: int) -> _Usable:
        """The paired design needs every row in every seed: seeds without a whole-data model go, then rows with a gap."""
        seeds = tuple(k for k in range(among) if self.results[k] is not None)
        rows = tuple(r for r in _rows(comparisons) if all(self.results[r * self._seeds + k] is not None for k in seeds))
        if not seeds or (len(rows) < 2 and not self._outcomes):
            name, error = next(iter(self.errors.items()))
            raise EarmarkError(f"nothing to compare: retraining {name} failed: {error.strip().splitlines()[-1]}")
        return _Usable(seeds, rows)

    def _outcome(self, row: int, seed: int) -> Outcome:
        place = row * self._seeds + seed
        if place not in self._outcomes:
            self._outcomes[place] = outcome(self._store, self._run(row, seed), *self._how)
        return self._outcomes[place]

    @property
    def wholes(self) -> list[bank.Retrained]:
        """The models on all data, of every seed that has one."""
        return [r for r in self.results[: self._seeds] if r is not None]

    def _tested(self) -> list[EvalSlice]:
        run = self.wholes[0].predictions[self._plan.request.evaluation.digest]
        return eval_slices(self._store, self._plan.tested, run, *self._how)


@dataclass(frozen=True)
class _Usable:
    """Seeds and rows without a missing retraining."""

    seeds: tuple[int, ...]
    rows: tuple[int, ...]


def _rows(comparisons: Sequence[Comparison]) -> list[int]:
    """The rows that these comparisons need, all data first."""
    return sorted({0, *(r for c in comparisons for r in (c.row, c.against, c.controls_against, *c.controls))})


def _left_out(c: Comparison, place: Mapping[int, int]) -> LeftOut:
    return LeftOut(
        c.slice, c.set_digest, place[c.row], *_control(c, place), intervention=c.intervention, dose=c.dose,
        phrase=c.phrase, harm=c.harm,
    )  # fmt: skip


def _control(c: Comparison, place: Mapping[int, int]) -> tuple[tuple[int, ...], int, tuple[float, ...] | None, int]:
    """Controls that were trained, what the case is held against, weights, and what the controls are held against.

    A line that has lost a point is no longer the line that was declared, so it is not drawn at all.
    """
    there = tuple(place[r] for r in c.controls if r in place)
    if c.controls_against not in place or (c.control_weights is not None and len(there) < len(c.controls)):
        there = ()
    weights = c.control_weights if there else None
    return there, place[c.against], weights, place.get(c.controls_against, 0)

"""From the outcomes of retrainings to effects: one row for each training slice × evaluation slice × metric.

`effects` is the only door between the retrain bank and the verdicts. It lines the retrainings up (all data, each slice left
out, each random removal), cuts the evaluation set into its slices, asks `contrasts` for the estimates with their intervals
and `verdicts` for the words. Sign: metric under the intervention − metric without it, so positive is worse: where a slice is
left out, metric(without the slice) − metric(with all data), and the slice helps.

Each effect is also a difference in differences: what the slice's removal changed, minus what the removal of as many random
samples changed (`difference`), which is what verdicts are about.

Families, each corrected by itself and fixed before anything is seen: for each metric and kind of intervention, the cells of a
slice on *itself* (does this accent's data serve this accent?) are one family; those of a slice on *another* are a second.

Where a plan is sequential (see `sequential`), the questions are asked at several looks, at each with the seeds that are there
by then; a comparison whose answer is settled is not asked any more and keeps the figures that it had. Law: what is open after
a look depends on recorded outcomes and the declaration alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

import numpy as np

from influence.statistics.contrasts import Contrast, contrasts
from influence.statistics.panels import (
    METRICS,
    USUAL,
    Array,
    Blocks,
    Generalise,
    Outcome,
    blocks,
    check_metrics,
    panel,
)
from influence.statistics.sequential import ONLY, Look, Sequential
from influence.statistics.set_luck import ENOUGH, NONE, corrected, of_sets, rank
from influence.statistics.verdicts import NOT_IDENTIFIABLE, Cell, Correction, Equivalence, Verdict, judge
from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.identity import digest_of
from lineage.selection.slices import WHOLE
from training.statistics.bootstrap import LEVEL, REPLICATES

MARGINS = {  # shares, which people read as points; nats per reference word
    "wer": 0.02,
    "loss": 0.05,
    "cer": 0.01,
    "entity_errors": 0.05,
    "ece_utterance": 0.03,
    "ece_word": 0.03,
}
MOST_SPEAKERLESS = 0.1  # share of words that may have no known speaker where the claim is about speakers


@dataclass(frozen=True)
class Declaration:
    """What an audit commits itself to before it sees anything.

    `margins` are the largest changes that count as none, by metric; `generalise` says of whom the claims shall hold:
    'speakers' like those tested, or 'utterances' of these very speakers. `metrics` are those that are asked about (see
    `panels`). `sequential` says when it looks; without it, once, at the end. `screening` corrects p-values for the rate of
    false discoveries instead of for any; `equivalence` says whether α bounds the error of each *no effect* or of any in the
    family (see `verdicts`).
    """

    level: float = LEVEL
    margins: Mapping[str, float] = field(default_factory=lambda: dict(MARGINS))
    generalise: Generalise = "speakers"
    replicates: int = REPLICATES
    power: float = 0.8
    minimum_words: int = 50
    sequential: Sequential | None = None
    screening: bool = False
    metrics: tuple[str, ...] = USUAL
    equivalence: Equivalence = "each"

    def __post_init__(self) -> None:
        if not 0.5 < self.level < 1:
            raise EarmarkError(f"confidence level {self.level} — give one between 0.5 and 1, e.g. 0.95")
        unknown = set(self.margins) - set(METRICS)
        if unknown or not all(m > 0 for m in self.margins.values()):
            raise EarmarkError(f"margins {dict(self.margins)} — give a positive one for {' or '.join(METRICS)}")
        check_metrics(self.metrics)
        if self.sequential and self.sequential.metric not in self.metrics:
            raise EarmarkError(
                f"slices are settled by {self.sequential.metric}, which is not asked about — add it to the metrics"
            )
        if self.generalise not in ("speakers", "utterances"):
            raise EarmarkError(f"cannot generalise to '{self.generalise}' — choose speakers or utterances")

    def to_json(self) -> dict[str, Any]:
        """As JSON, part of the plan's digest."""
        looks = self.sequential.to_json() if self.sequential else None
        return {**asdict(self), "margins": {**MARGINS, **self.margins}, "sequential": looks}

    @property
    def correction(self) -> Correction:
        """How p-values are corrected within a family."""
        return "benjamini-hochberg" if self.screening else "holm"


@dataclass(frozen=True)
class LeftOut:
    """A training slice and the rows of the outcomes in which something was done to it, or to random samples in its stead.

    `against` and `controls_against` are the rows that these are held against, mostly all data. The control is the mean of
    its rows' effects, or their sum with `control_weights`. What was done is to leave it out, unless `intervention` says
    otherwise; `phrase` says it in words and `harm` that a higher error speaks against it (see `verdicts`).
    """

    name: str
    set_digest: str
    row: int
    controls: tuple[int, ...] = ()
    against: int = 0
    control_weights: tuple[float, ...] | None = None
    controls_against: int = 0
    intervention: str = "remove"
    dose: float | None = 0.0
    phrase: str = ""
    harm: bool = False

    @property
    def same_sets(self) -> bool:
        """Whether its controls are the same random sets in every seed: a curve, or enough of them for a rank."""
        return bool(self.controls) and (self.control_weights is not None or len(self.controls) >= ENOUGH)

    @property
    def shares(self) -> Sequence[float]:
        """What each of its controls counts in the whole."""
        return self.control_weights or [1 / len(self.controls)] * len(self.controls)


@dataclass(frozen=True)
class EvalSlice:
    """An evaluation slice: reference words of its utterances, and who said them.

    `amounts` are what metrics are divided by that are not divided by words; utterances that are not there have none.
    """

    name: str
    set_digest: str
    words: Mapping[UUID, float]
    speakers: Mapping[UUID, UUID | None]
    amounts: Mapping[str, Mapping[UUID, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Effect:
    """One row of `effects`; figures are None where they cannot be known."""

    audit: str
    train_slice: str
    train_set: str
    eval_slice: str
    eval_set: str
    metric: str
    estimate: float
    low: float | None
    high: float | None
    level: float
    control: float | None
    control_low: float | None
    control_high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    seeds: int
    replicates: int
    p: float
    p_adjusted: float
    minimum_detectable: float | None
    margin: float
    verdict: str
    reason: str
    intervention: str | None = None
    dose: float | None = None
    phrase: str | None = None
    error: float | None = None
    freedom: float | None = None
    rank_p: float | None = None
    looks: int | None = None
    share: float | None = None
    mapsswe_p: float | None = None


@dataclass(frozen=True)
class _Measured:
    """The contrasts of one cell before it is judged, from its last look; `seeds` it had by then."""

    slice: LeftOut
    tested: EvalSlice
    estimate: Contrast
    control: Contrast | None
    cell: Cell
    rank_p: float | None
    seeds: int

    @property
    def own(self) -> bool:
        """Whether this is what a slice does to itself."""
        return self.slice.name == self.tested.name


def effects(
    outcomes: Sequence[Sequence[Outcome]],
    slices: Sequence[LeftOut],
    tested: Sequence[EvalSlice],
    declaration: Declaration,
    *,
    audit: str,
) -> list[Effect]:
    """Effects of every slice on every evaluation slice, by metric.

    `outcomes[row][k]` is the model of retraining `row` with the k-th seed; row 0 is trained on all data.
    """
    questions = Questions(tested, declaration, audit=audit)
    questions.ask(outcomes, slices)
    return questions.effects()


class Questions:
    """The questions of an audit, one a comparison × evaluation slice × metric, and what is known of them by now."""

    def __init__(self, tested: Sequence[EvalSlice], declaration: Declaration, *, audit: str) -> None:
        self._tested = tested
        self._declaration = declaration
        self._audit = audit
        self._known: dict[tuple[str, str, str, str, str], _Measured] = {}
        plan = declaration.sequential
        self._looks = iter([plan.look(i) for i in range(len(plan.looks))] if plan else [ONLY])

    def ask(self, outcomes: Sequence[Sequence[Outcome]], slices: Sequence[LeftOut]) -> None:
        """The next look: `outcomes` of as many seeds as there are by now, in the rows that the questions still asked need."""
        look = next(self._looks)
        for metric in self._declaration.metrics:
            scored = outcomes[0][0].scored(metric)
            for target in self._tested:
                part = counted(target, scored, metric)
                for m in _measure(outcomes, slices, part, metric, self._declaration, look):
                    key = (metric, target.name, m.slice.intervention, m.slice.name, m.slice.phrase)
                    last = self._known.get(key)
                    before = (*last.cell.before, replace(last.cell, before=())) if last else ()
                    self._known[key] = replace(m, cell=replace(m.cell, before=before))

    def effects(self) -> list[Effect]:
        """What is known, family by family judged."""
        declaration = self._declaration
        measured = list(self._known.values())
        judged: dict[int, Verdict] = {}
        by_rank: dict[int, float] = {}
        families: dict[tuple[str, str, bool], list[int]] = {}
        for i, m in enumerate(measured):
            families.setdefault((m.cell.metric, m.slice.intervention, m.own), []).append(i)
        for family in families.values():
            cells = [measured[i].cell for i in family]
            verdicts = judge(
                cells, level=declaration.level, power=declaration.power, correction=declaration.correction,
                equivalence=declaration.equivalence,
            )  # fmt: skip
            judged.update(zip(family, verdicts, strict=True))
            by_rank.update(corrected({i: measured[i].rank_p for i in family}))
        return [_row(self._audit, m, judged[i], declaration, by_rank.get(i)) for i, m in enumerate(measured)]

    def unsettled(self, found: Sequence[Effect]) -> list[LeftOut]:
        """The comparisons that need more seeds, of those in `found`, which `effects` gave; with rows as at their last look.

        What a slice does to itself decides, where that can be answered at all; what it does to everything otherwise.
        """
        metric = self._declaration.sequential.metric if self._declaration.sequential else METRICS[0]
        deciding: dict[tuple[str, ...], tuple[int, _Measured, Effect]] = {}
        for (of, _, *comparison), m, effect in zip(self._known, self._known.values(), found, strict=True):
            rank = 0 if m.cell.obstacle else 3 if m.own else 2 if m.tested.name == WHOLE.name else 1
            if of == metric and rank >= deciding.get(tuple(comparison), (0, m, effect))[0]:
                deciding[tuple(comparison)] = (rank, m, effect)
        return [
            m.slice
            for _, m, effect in deciding.values()
            if effect.verdict == NOT_IDENTIFIABLE and not m.cell.hopeless and not (m.cell.obstacle and m.seeds > 1)
        ]


def counted(target: EvalSlice, scored: Collection[UUID], metric: str) -> EvalSlice:
    """The part of an evaluation slice that has a value: a transcript that the model cannot spell has no loss."""
    amounts = target.amounts.get(metric)
    there = {s for s in target.words if s in scored and (amounts is None or s in amounts)}
    below = {} if amounts is None else {metric: {s: amounts[s] for s in there}}
    return replace(target, words={s: w for s, w in target.words.items() if s in there}, amounts=below)


def blocks_of(target: EvalSlice, generalise: Generalise) -> Blocks:
    """The blocks of an evaluation slice that is cut to what a metric is counted over."""
    amounts = next(iter(target.amounts.values()), target.words)
    parts = blocks(amounts, target.speakers, generalise)
    if parts.speakers == 1 and generalise == "speakers":
        return blocks(amounts, target.speakers, "utterances")  # figures of that voice, without a verdict
    return parts


def _weights(slices: Sequence[LeftOut], rows: int) -> Array:
    """Contrast weights, three rows a slice: estimate, control, difference; zeros where there is no control."""
    w = np.zeros((len(slices), 3, rows))
    for i, s in enumerate(slices):
        w[i, 0, s.row], w[i, 0, s.against] = 1, -1
        if s.controls:
            w[i, 1, list(s.controls)], w[i, 1, s.controls_against] = s.shares, -sum(s.shares)
            w[i, 2] = w[i, 0] - w[i, 1]
    return w.reshape(-1, rows)


def _measure(
    outcomes: Sequence[Sequence[Outcome]],
    slices: Sequence[LeftOut],
    target: EvalSlice,
    metric: str,
    declaration: Declaration,
    look: Look,
) -> list[_Measured]:
    parts = blocks_of(target, declaration.generalise)
    if not parts.words.sum():
        return []
    margin = declaration.margins.get(metric, MARGINS[metric])
    obstacle, caution = _obstacle(target, parts, len(outcomes[0]), declaration), ""
    if declaration.generalise == "utterances":
        caution = "holds for these test speakers"
    # a slice's draws depend on the slice alone, so that asking for more slices moves no interval
    seed = int(digest_of([target.set_digest, metric])[:12], 16)
    table = panel(outcomes, parts, metric)
    luck = [of_sets(table.outcomes, s.controls, s.shares, s.controls_against) if s.same_sets else NONE for s in slices]
    results = contrasts(
        table, _weights(slices, len(outcomes)), level=declaration.level, replicates=declaration.replicates, seed=seed,
        luck=np.array([each for of in luck for each in (NONE, of, of)]).T,
    )  # fmt: skip
    measured = []
    for i, s in enumerate(slices):
        estimate, control, difference = results[3 * i : 3 * i + 3]
        cell = Cell(estimate, difference if s.controls else None, metric, margin, obstacle, caution, s.harm, look)
        if declaration.sequential:
            given_up = declaration.sequential.gives_up(cell.tested, margin, len(outcomes[0]), 1 - declaration.level)
            cell = replace(cell, hopeless=given_up)
        by_rank = None
        if s.same_sets and s.control_weights is None:
            by_rank = look.p(rank(table.outcomes, s.row, s.against, s.controls, s.controls_against))
        measured.append(
            _Measured(s, target, estimate, control if s.controls else None, cell, by_rank, len(outcomes[0]))
        )
    return measured


def _obstacle(target: EvalSlice, parts: Blocks, seeds: int, declaration: Declaration) -> str:
    """Why this design cannot answer questions about the evaluation slice; empty where it can."""
    words = int(sum(target.words.values()))
    if words < declaration.minimum_words:
        return f"too few words: {words} in {target.name}, where {declaration.minimum_words} are the least"
    if seeds < 2:
        return "one seed only: nothing tells an effect from the luck of one training — use three seeds or more"
    if declaration.generalise == "utterances":
        return ""
    if parts.speakers == 0:
        return (
            f"no speakers recorded in {target.name}: how voices differ is unknown — ingest the attribute 'speaker', "
            "or claim about these utterances only (generalise: utterances)"
        )
    if parts.speakers == 1:
        return (
            f"one test speaker in {target.name}: the figures speak of that voice only — test more speakers, or claim "
            "about this one only (generalise: utterances)"
        )
    if parts.speakerless > MOST_SPEAKERLESS:
        return f"{parts.speakerless:.0%} of the words of {target.name} have no recorded speaker — ingest 'speaker'"
    return ""


def _row(audit: str, m: _Measured, verdict: Verdict, declaration: Declaration, rank_p: float | None) -> Effect:
    control, difference, alpha = m.control, m.cell.difference, 1 - declaration.level
    return Effect(
        audit=audit,
        train_slice=m.slice.name,
        train_set=m.slice.set_digest,
        eval_slice=m.tested.name,
        eval_set=m.tested.set_digest,
        metric=m.cell.metric,
        estimate=m.estimate.estimate,
        low=finite(m.estimate.low),
        high=finite(m.estimate.high),
        level=declaration.level,
        control=control.estimate if control else None,
        control_low=finite(control.low) if control else None,
        control_high=finite(control.high) if control else None,
        difference=difference.estimate if difference else None,
        difference_low=finite(difference.low) if difference else None,
        difference_high=finite(difference.high) if difference else None,
        seeds=m.seeds,
        replicates=declaration.replicates,
        p=verdict.p,
        p_adjusted=verdict.p_adjusted,
        minimum_detectable=finite(verdict.detectable),
        margin=m.cell.margin,
        verdict=verdict.words,
        reason=verdict.reason,
        intervention=m.slice.intervention,
        dose=m.slice.dose,
        phrase=m.slice.phrase or f"removing {m.slice.name}",
        error=None if m.cell.obstacle else finite(m.cell.tested.error),
        freedom=None if m.cell.obstacle else finite(m.cell.tested.freedom),
        rank_p=rank_p,
        looks=len(m.cell.before) + 1 if declaration.sequential else None,
        share=m.cell.look.level(alpha) / alpha if declaration.sequential else None,
    )

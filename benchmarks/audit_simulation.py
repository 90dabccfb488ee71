"""Do an audit's verdicts mean what they say? Simulated audits with known truth, by the very statistics of real ones.

    python benchmarks/audit_simulation.py [--audits 1000] [--quick]

Outcomes are drawn as retrainings make them: every test speaker has a rate of errors, every seed moves all retrainings, every
retraining has its own luck in every seed, every retraining × seed × speaker a little more, and leaving a slice out costs a
speaker of that slice `effect` on average, one speaker more than another; words are right or wrong by binomial chance. Each
slice is tested on speakers of its own, against random removals that all slices share. Nothing is trained.

Tables: false verdicts under the null and coverage (5, 12 and 40 test speakers, two to eight seeds, fixed and sequential; where
one source of error is most of it), power against effect size, equivalence at the margin, and what a sequential plan saves on a
mix of effects like the demo's. Coverage of a sequential plan is that of the intervals which it reports, those at which each
slice was stopped. Exit status 1 where a claim does not hold by more than three standard errors of the simulation; coverage may
leave its band on either side by no more than that.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from influence.statistics.contrasts import contrasts
from influence.statistics.panels import Array, Panel
from influence.statistics.sequential import SPENDINGS, Sequential
from influence.statistics.verdicts import HELPS, HURTS, NO_EFFECT, NOT_IDENTIFIABLE, Cell, Verdict, judge

ALPHA = 0.05
COVERAGE = (0.93, 0.97)  # of 95 % intervals
DEMO = (0.18, 0.13, 0.11, 0.06, 0.05, 0.005, 0.0, 0.0)  # effects like those of the demo's noises, accents and nulls


@dataclass(frozen=True)
class World:
    """What is true: the slices' effects on themselves, and how much everything else scatters (standard deviations)."""

    effects: tuple[float, ...]
    speakers: int = 12
    words: tuple[int, int] = (60, 120)  # of one speaker, from and to
    controls: int = 2
    by_speaker: float = 0.02  # of the effect, over speakers
    by_seed: float = 0.012  # of one retraining's luck, over seeds
    by_cell: float = 0.02  # of retraining × seed × speaker
    margin: float = 0.03


@dataclass(frozen=True)
class Found:
    """What one simulated audit said of each slice: verdict, p-value, seeds it took, interval beyond its control."""

    verdicts: tuple[str, ...]
    p_adjusted: Array
    seeds: tuple[int, ...]
    low: Array
    high: Array
    retrainings: int
    planned: int


def panels(world: World, seeds: int, rng: np.random.Generator) -> list[Panel]:
    """One panel a slice: rows are all data, without each slice, random removals."""
    n, b = len(world.effects), world.speakers
    rows = 1 + n + world.controls
    luck = rng.normal(0, world.by_seed, (rows, seeds, 1)) + rng.normal(0, world.by_seed, (1, seeds, 1))
    made = []
    for i, effect in enumerate(world.effects):
        words = rng.integers(*world.words, b)
        rate = 0.2 + rng.normal(0, 0.05, b) + luck + rng.normal(0, world.by_cell, (rows, seeds, b))
        rate[1 + i] += effect + rng.normal(0, world.by_speaker, b)
        made.append(Panel(rng.binomial(words, rate.clip(0.005, 0.995)).astype(float), words.astype(float), 1.0))
    return made


def audit(world: World, design: Sequential, made: Sequence[Panel], replicates: int = 200) -> Found:
    """What an audit by `design` says of these outcomes: the loop of `influence.audit` without the training."""
    n, rows = len(world.effects), 1 + len(world.effects) + world.controls
    asked: dict[int, Cell] = {}
    seeds = np.zeros(n, dtype=int)
    judged: list[Verdict] = []
    done = np.zeros(rows, dtype=int)
    still = list(range(n))
    for number, k in enumerate(design.looks):
        active = [0, *(1 + i for i in still), *range(1 + n, rows)]
        done[active] = k
        for i in still:
            own = Panel(made[i].values[active, :k], made[i].words, made[i].step)
            w = np.zeros((2, len(active)))
            w[:, active.index(1 + i)] = 1
            w[0, 0], w[1, -world.controls :] = -1, -1 / world.controls
            estimate, difference = contrasts(own, w, level=1 - ALPHA, replicates=replicates, seed=i)
            before = (*asked[i].before, replace(asked[i], before=())) if i in asked else ()
            given_up = design.gives_up(difference, world.margin, k, ALPHA)
            asked[i] = Cell(
                estimate, difference, "wer", world.margin, look=design.look(number), before=before, hopeless=given_up
            )  # fmt: skip
            seeds[i] = k
        judged = judge([asked[i] for i in range(n)], level=1 - ALPHA)
        still = [i for i in still if judged[i].words == NOT_IDENTIFIABLE and not asked[i].hopeless]
        if not still:
            break
    tested = [asked[i].tested for i in range(n)]
    return Found(
        tuple(v.words for v in judged), np.array([v.p_adjusted for v in judged]), tuple(int(k) for k in seeds),
        np.array([c.low for c in tested]), np.array([c.high for c in tested]), int(done.sum()), rows * design.most,
    )  # fmt: skip


def fixed(seeds: int) -> Sequential:
    """The design that looks once."""
    return Sequential((seeds,))


def audits(
    world: World, design: Sequential, number: int, *, seed: int = 0, replicates: int = 200
) -> Iterator[tuple[Found, list[Panel]]]:
    """Simulated audits; the same `seed` gives the same outcomes to every design with as many seeds."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        made = panels(world, design.most, rng)
        yield audit(world, design, made, replicates), made


@dataclass(frozen=True)
class Rates:
    """Shares over simulated audits: with a false helps or hurts at all, with a p-value of a null at most α after correction, of
    intervals that cover (with that share's standard error), of each slice's verdicts.
    """

    false: float
    significant: float
    covered: float
    covered_error: float
    effect: Array
    none: Array
    retrainings: float
    number: int

    def error(self, rate: float) -> float:
        """Standard error of a share of audits."""
        return float(np.sqrt(max(rate * (1 - rate), 1e-4) / self.number))

    def covers(self, band: tuple[float, float] = COVERAGE) -> bool:
        """Whether coverage lies in the band, as far as the simulation can tell."""
        return band[0] - 3 * self.covered_error <= self.covered <= band[1] + 3 * self.covered_error


def rates(world: World, design: Sequential, number: int, *, seed: int = 0, replicates: int = 200) -> Rates:
    """What `number` audits of `world` come to."""
    truth = np.array(world.effects)
    right = np.where(truth > 0, HELPS, np.where(truth < 0, HURTS, "none"))
    false, significant, covered, spent = 0, 0, [], 0.0
    effect, none = np.zeros(len(truth)), np.zeros(len(truth))
    for found, _ in audits(world, design, number, seed=seed, replicates=replicates):
        said = np.array(found.verdicts)
        claimed = (said == HELPS) | (said == HURTS)
        false += bool((claimed & (said != right)).any())
        significant += bool(((found.p_adjusted <= ALPHA) & (truth == 0)).any())
        covered.append(float(((found.low <= truth) & (truth <= found.high)).mean()))
        effect += claimed & (said == right)
        none += np.array([v.startswith(NO_EFFECT) for v in found.verdicts])
        spent += found.retrainings / found.planned
    error = float(np.std(covered) / np.sqrt(number))
    return Rates(
        false / number, significant / number, sum(covered) / number, error, effect / number, none / number,
        spent / number, number,
    )  # fmt: skip


class Report:
    """Prints tables, remembers claims that do not hold."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def head(self, title: str, *columns: str) -> None:
        """Begin a table."""
        print(f"\n{title}\n| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))

    def row(self, *cells: object) -> None:
        """One line of it."""
        print("| " + " | ".join(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)

    def claim(self, holds: bool, what: str) -> None:
        """Something that ought to be so."""
        if not holds:
            self.broken.append(what)


def null_and_coverage(report: Report, number: int, speakers: Sequence[int], designs: Sequence[Sequential]) -> None:
    """False verdicts of eight nulls, and coverage."""
    columns = ("speakers", "design", "false verdicts", "p ≤ α at all", "coverage", "'no effect'")
    report.head("Null: eight slices without effect", *columns)
    for b in speakers:
        for design in designs:
            found = rates(World((0.0,) * 8, speakers=b), design, number, seed=b)
            none = float(found.none.mean())
            report.row(b, _name(design), found.false, found.significant, found.covered, none)
            _claims(report, found, f"{b} speakers, {_name(design)}")


def sources(report: Report, number: int, speakers: Sequence[int], designs: Sequence[Sequential]) -> None:
    """The same where nearly all error comes from one source. Coverage is shown, not claimed: see `contrasts`."""
    nulls = (0.0,) * 8
    worlds = {
        "speakers": World(nulls, by_speaker=0.1),
        "seeds": World(nulls, by_seed=0.04, by_speaker=0.005),
        "speakers × seeds": World(nulls, by_cell=0.1, by_speaker=0.0, by_seed=0.002),
    }
    columns = ("error mostly from", "speakers", "design", "false verdicts", "p ≤ α at all", "coverage")
    report.head("Null, one source of error", *columns)
    for name, world in worlds.items():
        for b in speakers:
            for design in designs:
                found = rates(replace(world, speakers=b), design, number, seed=b)
                report.row(name, b, _name(design), found.false, found.significant, found.covered)
                report.claim(
                    found.false <= ALPHA + 3 * found.error(ALPHA), f"false verdicts {found.false} ({name}, {b})"
                )


def power(report: Report, number: int, designs: Sequence[Sequential]) -> None:
    """How often effects of different sizes are found, each alone among nulls, and how often their intervals cover."""
    sizes = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12)
    columns = ("design", *(f"{100 * s:g}" for s in sizes), "retrainings", "coverage")
    report.head("Power against effect size (points of WER)", *columns)
    for design in designs:
        found = rates(World((*sizes, 0.0), margin=0.005), design, number, seed=7)
        report.row(_name(design), *(float(x) for x in found.effect[:-1]), found.retrainings, found.covered)
        _claims(report, found, f"effects of all sizes, {_name(design)}")


def _claims(report: Report, found: Rates, where: str) -> None:
    for rate, name in ((found.false, "false verdicts"), (found.significant, "p ≤ α at all")):
        report.claim(rate <= ALPHA + 3 * found.error(ALPHA), f"{name} {rate:.3f} ({where})")
    report.claim(found.covers(), f"coverage {found.covered:.3f} ± {found.covered_error:.3f} ({where})")


def equivalence(report: Report, number: int, speakers: Sequence[int], designs: Sequence[Sequential]) -> None:
    """How often 'no effect larger than X' is said of an effect of just X, which is wrong, and of none, which is right."""
    report.head("'No effect larger than 3 points'", "speakers", "design", "truth 3 (wrong)", "truth 0 (right)")
    for b in speakers:
        for design in designs:
            world = World((0.03, 0.03, 0.03, 0.03, 0.0, 0.0, 0.0, 0.0), speakers=b, margin=0.03)
            found = rates(world, design, number, seed=b + 1)
            wrong, right = float(found.none[:4].mean()), float(found.none[4:].mean())
            report.row(b, _name(design), wrong, right)
            report.claim(wrong <= ALPHA + 3 * found.error(ALPHA) / 2, f"wrong equivalence {wrong} ({b}, {design})")


def saving(report: Report, number: int, designs: Sequence[Sequential]) -> None:
    """Retrainings of a sequential plan in per cent of the fixed one's, and how often verdicts are those of the fixed one."""
    report.head("Demo-like mix", "design", "retrainings", "same verdict as fixed", "right verdicts", "right, fixed")
    world = World(DEMO, margin=0.05)
    truth = np.array([HELPS if e >= 0.05 else NO_EFFECT for e in DEMO])
    for design in designs:
        same, right, right_fixed, spent = 0.0, 0.0, 0.0, 0.0
        for found, made in audits(world, design, number, seed=3):
            full = audit(world, fixed(design.most), made)
            same += float(np.mean([a == b for a, b in zip(found.verdicts, full.verdicts, strict=True)]))
            right += _right(found, truth)
            right_fixed += _right(full, truth)
            spent += found.retrainings / found.planned
        report.row(_name(design), spent / number, same / number, right / number, right_fixed / number)


def _right(found: Found, truth: Array) -> float:
    return float(np.mean([v.startswith(t) for v, t in zip(found.verdicts, truth, strict=True)]))


def _name(design: Sequential) -> str:
    if len(design.looks) == 1:
        return f"fixed {design.most}"
    return f"{design.spending} {','.join(map(str, design.looks))}"


def main() -> int:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--audits", type=int, default=1000, help="simulated audits of each design")
    parser.add_argument("--quick", action="store_true", help="a tenth of them")
    options = parser.parse_args()
    number = max(20, options.audits // 10) if options.quick else options.audits
    begun = time.perf_counter()
    report = Report()
    sequential = [Sequential((2, 3, 5, 8), spending) for spending in SPENDINGS]
    null_and_coverage(report, number, (5, 12, 40), [*map(fixed, (2, 3, 5, 8)), *sequential])
    sources(report, number, (5, 12), [fixed(3), sequential[0]])
    power(report, number, [*map(fixed, (3, 8)), *sequential])
    equivalence(report, number, (5, 40), [*map(fixed, (3, 8)), *sequential])
    saving(report, number, sequential)
    print(f"\n{number} audits of each, {time.perf_counter() - begun:.0f} s")
    for broken in report.broken:
        print(f"does not hold: {broken}")
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""Do forecasts of what more data brings hold what they promise? Learning curves of known laws, by the very code of real ones.

    python benchmarks/forecast_simulation.py [--curves 400] [--quick]

A law is WER(h) = floor + gain · (1 + h / τ)^−γ, or logarithmic, with τ, γ, floor and gain drawn anew for each curve, γ from
the grid of `influence.causes.curve` and τ between its members. Outcomes of doses scatter as retrainings do: every retraining
has its luck, speakers differ in level. Nothing is trained.

Tables: how often 95 % intervals of the change at 1.25, 1.5 and 2 times the hours hold the truth, how wide they are, the same by
γ, and how often the check on the largest dose passes. Exit status 1 where intervals cover less than 93 % by more than three
standard errors of the simulation. That they cover more than they say is no mistake of the sum: see `influence.causes.curve`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from influence.causes.curve import POWERS, check, fit
from influence.statistics.panels import Array, Panel

HOURS = [4.0, 3.0, 2.0, 1.0, 0.0]
BEYOND = (5.0, 6.0, 8.0)
LEAST = 0.93
DESIGNS = ((12, 3, 0.01), (20, 5, 0.01), (12, 3, 0.004))  # speakers, seeds, luck of a retraining


@dataclass(frozen=True)
class Law:
    """A learning curve: it falls by `drop` over the hours there are."""

    scale: float
    power: float
    floor: float
    drop: float

    def rates(self, hours: list[float]) -> Array:
        """WER at each of `hours`."""
        shape = self._shape(np.array(hours))
        span = self._shape(np.array([0.0, HOURS[0]]))
        end = self._shape(np.array([2 * BEYOND[-1]]))[0] if self.power == 0 else 0.0
        return np.asarray(self.floor + self.drop * (shape - end) / (span[0] - span[1]))

    def _shape(self, hours: Array) -> Array:
        reach = np.log1p(hours / self.scale)
        return np.asarray(-reach if self.power == 0 else np.exp(-self.power * reach))


def law(rng: np.random.Generator, power: float | None = None) -> Law:
    """One law at random."""
    chosen = float(rng.choice(POWERS)) if power is None else power
    return Law(HOURS[0] * 2 ** rng.uniform(-4, 3), chosen, rng.uniform(0, 0.2), rng.uniform(0.03, 0.3))


def outcomes(of: Law, rng: np.random.Generator, speakers: int, seeds: int, luck: float) -> Panel:
    """What retrainings at `HOURS` come to."""
    words = np.full(speakers, 200.0)
    level = np.exp(rng.normal(0, 0.2, speakers))
    rates = of.rates(HOURS)[:, None] + rng.normal(0, luck, (len(HOURS), seeds))
    expected = np.maximum(rates[:, :, None] * level / level.mean(), 0.001) * words
    return Panel(np.maximum(rng.normal(expected, np.sqrt(expected) / 4), 0.0), words, 1.0)


def held(of: Law, panel: Panel, replicates: int = 100) -> tuple[list[bool], list[float], bool]:
    """Whether each interval of the change `BEYOND` holds the truth, how wide it is, and whether the check passes."""
    found = fit(HOURS, panel).forecast(BEYOND, replicates=replicates)
    now, *then = of.rates([HOURS[0], *BEYOND])
    inside = [bool(f.change.low <= t - now <= f.change.high) for f, t in zip(found, then, strict=True)]
    checked = check(HOURS, panel, replicates=replicates)
    return inside, [f.change.high - f.change.low for f in found], checked is not None and checked.covered


def main() -> int:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--curves", type=int, default=400, help="simulated curves of each design")
    parser.add_argument("--quick", action="store_true", help="a tenth of them")
    options = parser.parse_args()
    number = max(20, options.curves // 10) if options.quick else options.curves
    broken = []
    beyond = [f"{h / HOURS[0]:g} times" for h in BEYOND]
    print("| speakers | seeds | luck | " + " | ".join(beyond) + " | width at twice, points | check | γ: at twice |")
    print("|" + " --- |" * (6 + len(BEYOND)))
    for speakers, seeds, luck in DESIGNS:
        rng = np.random.default_rng(speakers + seeds)
        laws = [law(rng) for _ in range(number)]
        found = [held(one, outcomes(one, rng, speakers, seeds, luck)) for one in laws]
        inside = np.array([f[0] for f in found])
        width = float(np.median([f[1][-1] for f in found]))
        powers = np.array([one.power for one in laws])
        by = ", ".join(f"{p:g}: {inside[powers == p, -1].mean():.2f}" for p in POWERS if (powers == p).any())
        shares = " | ".join(f"{s:.3f}" for s in inside.mean(axis=0))
        checks = float(np.mean([f[2] for f in found]))
        print(f"| {speakers} | {seeds} | {luck} | {shares} | {100 * width:.1f} | {checks:.3f} | {by} |", flush=True)
        least = LEAST - 3 * np.sqrt(LEAST * (1 - LEAST) / number)
        for name, share in [*zip(beyond, inside.mean(axis=0), strict=True), ("check", checks)]:
            if share < least:
                broken.append(f"{name} {share:.3f} ({speakers} speakers, {seeds} seeds)")
    for what in broken:
        print(f"does not hold: {what}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

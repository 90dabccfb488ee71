"""How long the statistics of a large audit take: 2,000 replicates over 100 slices × 5 seeds × 1,000 speakers.

    python benchmarks/audit_bootstrap.py [--slices 100] [--seeds 5] [--speakers 1000] [--replicates 2000]

All contrasts of one evaluation slice and metric: estimate, control and difference of each slice, with intervals and p-values.
Beside it the bootstrap by a plain loop over replicates, at a fiftieth of them, scaled up, and how the two ways' standard errors
compare. Exit status 1 above two seconds of processor time.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from influence.statistics.contrasts import contrasts
from influence.statistics.panels import Array, Panel

MOST_S = 2.0
CONTROLS = 2


def world(slices: int, seeds: int, speakers: int) -> tuple[Panel, Array]:
    """A panel with the weights of estimate, control and difference of each slice."""
    rng = np.random.default_rng(0)
    rows = 1 + slices + CONTROLS
    words = rng.integers(20, 40, speakers).astype(float)
    panel = Panel(rng.binomial(words.astype(int), 0.3, (rows, seeds, speakers)).astype(float), words, 1.0)
    w = np.zeros((slices, 3, rows))
    w[:, 0, 1 : 1 + slices] = np.eye(slices)
    w[:, 1, 1 + slices :] = 1 / CONTROLS
    w[:, :2, 0] = -1
    w[:, 2] = w[:, 0] - w[:, 1]
    return panel, w.reshape(-1, rows)


def loop(panel: Panel, w: Array, replicates: int) -> Array:
    """Contrasts of resampled speakers and seeds, one replicate after the other, [R, C]."""
    rng = np.random.default_rng(1)
    _, k, b = panel.values.shape
    drawn = []
    for _ in range(replicates):
        seeds, speakers = rng.integers(0, k, k), rng.integers(0, b, b)
        sums = panel.values[:, seeds][:, :, speakers].sum(axis=2) / panel.words[speakers].sum()
        drawn.append(w @ sums.mean(axis=1))
    return np.array(drawn)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, value in (("slices", 100), ("seeds", 5), ("speakers", 1000), ("replicates", 2000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    panel, w = world(options.slices, options.seeds, options.speakers)
    walls, begun = time.perf_counter(), time.process_time()
    found = contrasts(panel, w, replicates=options.replicates)
    own, own_wall = time.process_time() - begun, time.perf_counter() - walls
    fewer = max(20, options.replicates // 50)
    begun = time.process_time()
    drawn = loop(panel, w, fewer)
    other = (time.process_time() - begun) * options.replicates / fewer
    spread = np.median([c.error for c in found] / drawn.std(axis=0))
    print(
        f"{len(found)} contrasts, {options.replicates} replicates: {own:.2f} s of processor time, {own_wall:.2f} s by the clock"
    )
    print(f"a loop over replicates: {other:.1f} s ({other / own:.0f} times as long)")
    print(f"standard error over the loop's, which counts speaker × seed twice: {spread:.2f}")
    return 1 if own > MOST_S else 0


if __name__ == "__main__":
    sys.exit(main())

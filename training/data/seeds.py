"""The seeds of everything that is drawn in a training: from (seed, purpose, counter) alone.

Nothing is drawn from a generator that runs on from step to step. A run that was killed and resumed, or one whose middle is
recomputed for a metagradient, therefore meets the same order, the same dropout and the same augmentation as one that never
stopped. All numbers come from Philox's raw stream keyed by (seed, purpose, counter), which numpy keeps stable over
versions; its shuffles and distributions may change.

Law: seeds of different purposes, steps and positions are unrelated.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Purpose(IntEnum):
    """What a seed is for."""

    ORDER = 1
    STEP = 2
    EXPOSURE = 3
    START = 4
    MASKS = 5


def raw(seed: int, purpose: Purpose, counter: int, n: int) -> npt.NDArray[np.uint64]:
    """`n` uniform 64-bit numbers that depend on the arguments alone."""
    key = np.array([seed, purpose << 48 | counter], dtype=np.uint64)
    return np.random.Philox(key=key).random_raw(n)


def start_seed(seed: int) -> int:
    """Seed for what is drawn before the first step (weights of new adapters)."""
    return int(raw(seed, Purpose.START, 0, 1)[0] >> np.uint64(1))


def step_seed(seed: int, step: int, part: int = 0) -> int:
    """Seed set before forward pass `part` of optimiser step `step`, e.g. for dropout."""
    return int(raw(seed, Purpose.STEP, step, part + 1)[part] >> np.uint64(1))


def exposure_seeds(seed: int, step: int, n: int) -> npt.NDArray[np.int64]:
    """Augmentation seeds of the `n` positions of an optimiser step."""
    return (raw(seed, Purpose.EXPOSURE, step, n) >> np.uint64(1)).astype(np.int64)

"""Tempo without pitch, and pitch without tempo.

WSOLA (Verhelst and Roelands, ICASSP 1993): overlapping windows are taken from the sound at the new tempo and added up, each
shifted by a few milliseconds to where it best continues the one before. Waveforms of voiced speech thereby stay whole.

The best shift is found on the sound rounded to 16-bit integers. Correlation and energy of a window are then sums of integers
below 2^53, exact in float64, so rounding cannot move a window on another machine.

Laws: `tempo` divides the duration by its factor and `pitch` keeps it, to the frame; rate and channels stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from lineage.derivation.chance import DRAWN, Draw
from lineage.derivation.transforms import Parent, Result, transform, whole
from lineage.errors import EarmarkError
from lineage.sound import waveforms
from lineage.sound.audio import Waveform

HOP_S = 0.015  # between windows in what comes out; a window is two hops long
SEARCH_S = 0.010  # a window moves by this much at most, so that the period of a deep voice fits in


def tempo(wave: Waveform, factor: float) -> Waveform:
    """Spoken `factor` times as fast at the same pitch; round(frames / factor) frames."""
    if not 0 < factor < np.inf:
        raise EarmarkError(f"factor is {factor:g} — give a number above 0")
    if factor == 1:
        return wave
    frames = round(wave.frames / factor)
    if frames < 1:
        raise EarmarkError(f"{wave.frames} frames leave nothing at {factor:g} times the tempo — choose a lower factor")
    hop, search = max(1, round(HOP_S * wave.rate)), round(SEARCH_S * wave.rate)
    starts = _starts(wave, factor, frames, hop, search)
    window = (0.5 - 0.5 * np.cos(np.pi * np.arange(2 * hop) / hop))[:, None]  # neighbours add up to one
    padded = _padded(wave.pcm, hop, search, int(starts.max()))
    out = np.zeros(((len(starts) + 1) * hop, wave.channels))
    for k, start in enumerate(starts):
        out[k * hop : (k + 2) * hop] += window * padded[start : start + 2 * hop]
    return Waveform(out[hop : hop + frames].astype(np.float32), wave.rate)


def pitch(wave: Waveform, semitones: float) -> Waveform:
    """Higher by `semitones` (negative: deeper), at the same tempo; formants move with it."""
    if semitones == 0:
        return wave
    ratio = 2.0 ** (semitones / 12)
    moved = waveforms.speed(tempo(wave, 1 / ratio), ratio).pcm[: wave.frames]
    return Waveform(np.pad(moved, ((0, wave.frames - len(moved)), (0, 0))), wave.rate)


def _starts(wave: Waveform, factor: float, frames: int, hop: int, search: int) -> npt.NDArray[np.int64]:
    """Where in the padded sound each window is taken, the first one hop before the sound begins."""
    count = -(-frames // hop) + 1
    wanted = search + np.rint(np.arange(count) * hop * factor - hop * (factor - 1)).astype(np.int64).clip(min=0)
    wanted[0] = search
    steps = np.rint(waveforms.mono(wave).pcm.astype(np.float64) * 2**15)
    padded = _padded(steps, hop, search, int(wanted.max()) + search + hop)[:, 0]
    squares = np.concatenate([[0.0], np.cumsum(np.square(padded))])
    starts = np.empty(count, dtype=np.int64)
    starts[0] = search
    for k in range(1, count):
        first = wanted[k] - search
        follows = padded[starts[k - 1] + hop :][: 2 * hop]
        stretch = padded[first : first + 2 * search + 2 * hop]
        likeness = np.lib.stride_tricks.sliding_window_view(stretch, 2 * hop) @ follows
        energy = squares[first + 2 * hop :][: len(likeness)] - squares[first:][: len(likeness)]
        score = likeness / np.sqrt(np.maximum(energy, 1.0))
        # In silence all shifts are alike; then the window stays where it was wanted.
        starts[k] = first + (int(np.argmax(score)) if score.max() > score[search] else search)
    return starts


def _padded(pcm: npt.NDArray[np.floating], hop: int, search: int, last: int) -> npt.NDArray[np.floating]:
    """With silence before it, and after it so that a window can be taken at `last`."""
    before = search + hop
    return np.pad(pcm, ((before, max(0, last + 2 * hop - before - len(pcm))), (0, 0)))


@transform("tempo", stretches=True)
def tempo_(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    factor: Annotated[float, Field(ge=0.25, le=4, description="Times as fast; pitch stays."), DRAWN],
) -> Result:
    """Speak faster or slower at the same pitch."""
    return whole(tempo(parents[0].wave, factor), attributes={"tempo": f"{factor:g}"})


@transform("pitch")
def pitch_(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    semitones: Annotated[float, Field(ge=-12, le=12, description="Semitones upwards; tempo stays."), DRAWN],
) -> Result:
    """Make the voice higher or deeper at the same tempo."""
    return whole(pitch(parents[0].wave, semitones), attributes={"pitch": f"{semitones:g}"})

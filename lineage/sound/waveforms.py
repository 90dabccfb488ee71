"""What can be done to sound: pure functions from waveforms to waveforms.

Nothing here knows of samples, seeds or the record (see `lineage.derivation.transforms`, which applies these on the record). All
arithmetic is on float32 PCM of shape [frames, channels]; the same arguments give the same result. Functions that place
a part of one sound into another say where, because the record keeps offsets and gains.

Raises `EarmarkError` where a person's parameters don't fit the sound, e.g. an end before the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soxr

from lineage.errors import EarmarkError
from lineage.sound.audio import FloatArray, Waveform

WINDOW_S = 0.01


def resample(wave: Waveform, rate: int) -> Waveform:
    """The same sound at `rate` Hz; round(frames x rate / wave.rate) frames, band-limited by soxr."""
    return wave if rate == wave.rate else Waveform(_stretch(wave, wave.rate, rate), rate)


def speed(wave: Waveform, factor: float) -> Waveform:
    """Played `factor` times as fast: duration divided and pitch multiplied by `factor`."""
    _positive("factor", factor)
    return wave if factor == 1 else Waveform(_stretch(wave, wave.rate * factor, wave.rate), wave.rate)


def mono(wave: Waveform) -> Waveform:
    """The mean of the channels, as one channel."""
    if wave.channels == 1:
        return wave
    return Waveform(wave.pcm.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32), wave.rate)


def level(wave: Waveform, gain_db: float) -> Waveform:
    """Amplified by `gain_db` (negative: attenuated)."""
    return Waveform(wave.pcm * np.float32(10.0 ** (gain_db / 20)), wave.rate)


def clip(wave: Waveform, over_db: float) -> Waveform:
    """Nothing louder than `over_db` below the loudest peak: what passes that level is cut off flat."""
    ceiling = np.abs(wave.pcm).max(initial=0) * np.float32(10.0 ** (-over_db / 20))
    return Waveform(np.clip(wave.pcm, -ceiling, ceiling), wave.rate)


def segment(wave: Waveform, start_s: float, end_s: float) -> Waveform:
    """The part from `start_s` to `end_s`, in seconds from the beginning, to the nearest frame."""
    start, stop = round(start_s * wave.rate), round(end_s * wave.rate)
    if not 0 <= start < stop:
        raise EarmarkError(f"segment {start_s:g}–{end_s:g} s is empty — give 0 ≤ start < end")
    if stop > wave.frames + max(1, round(WINDOW_S * wave.rate)):  # manifests round durations
        raise EarmarkError(f"segment {start_s:g}–{end_s:g} s ends past the end at {wave.duration_s:g} s — shorten it")
    if start >= wave.frames:
        raise EarmarkError(f"segment {start_s:g}–{end_s:g} s begins past the end at {wave.duration_s:g} s — move it")
    return Waveform(wave.pcm[start:stop], wave.rate)


def loud_part(wave: Waveform, threshold_db: float, keep_s: float = 0.0) -> tuple[float, float]:
    """Start and end in seconds of what is left when silence is trimmed from both ends.

    Silence is every window of 10 ms whose power lies more than `threshold_db` below that of the loudest window;
    `keep_s` of it stays on either side.
    """
    _positive("threshold_db", threshold_db)
    width = max(1, round(WINDOW_S * wave.rate))
    power = np.square(wave.pcm, dtype=np.float64).mean(axis=1)
    edges = np.arange(0, wave.frames, width)
    windows = np.add.reduceat(power, edges) / np.diff(np.append(edges, wave.frames))
    loud = np.flatnonzero(windows >= windows.max() * 10.0 ** (-threshold_db / 10))
    keep = round(keep_s * wave.rate)
    start = max(0, int(loud[0]) * width - keep)
    stop = min(wave.frames, (int(loud[-1]) + 1) * width + keep)
    return start / wave.rate, stop / wave.rate


def concatenate(waves: Sequence[Waveform], gap_s: float = 0.0) -> tuple[Waveform, list[float]]:
    """One after the other with `gap_s` seconds of digital silence between; also where each begins, in seconds."""
    if not waves:
        raise EarmarkError("nothing to concatenate — give at least one sample")
    first = waves[0]
    if any((w.rate, w.channels) != (first.rate, first.channels) for w in waves):
        shapes = ", ".join(sorted({f"{w.rate} Hz × {w.channels}" for w in waves}))
        raise EarmarkError(f"sounds to concatenate differ in rate or channels ({shapes}) — resample or mix them first")
    gap = np.zeros((round(gap_s * first.rate), first.channels), dtype=np.float32)
    parts: list[FloatArray] = []
    starts: list[float] = []
    frames = 0
    for wave in waves:
        if parts:
            parts.append(gap)
            frames += len(gap)
        starts.append(frames / first.rate)
        parts.append(wave.pcm)
        frames += wave.frames
    return Waveform(np.concatenate(parts), first.rate), starts


class Mix(NamedTuple):
    """Two sounds in one: the result and the gain (dB) that each went in with."""

    wave: Waveform
    speech_gain_db: float
    noise_gain_db: float


def add_noise(speech: Waveform, noise: Waveform, snr_db: float, start_s: float = 0.0) -> Mix:
    """Speech with noise `snr_db` decibels below it (mean power of the whole clip over mean power of the noise used).

    The noise is brought to the speech's rate and mixed to mono, taken from `start_s` on, repeated from its beginning
    where it is too short, and laid under every channel. Should the sum pass full scale, both are attenuated alike.
    """
    bed = mono(resample(noise, speech.rate)).pcm
    # np.take(mode="wrap") would index frame by frame; rolling and tiling copies in blocks.
    bed = np.roll(bed, -round(start_s * speech.rate), axis=0)
    bed = np.tile(bed, (-(-speech.frames // len(bed)), 1))[: speech.frames]
    ratio = _power(speech.pcm, "speech") / _power(bed, "noise")
    gain = math.sqrt(ratio * 10.0 ** (-snr_db / 10))
    mixed = speech.pcm + np.float32(gain) * bed
    room = min(1.0, (1 - 2.0**-15) / float(np.abs(mixed).max()))
    return Mix(Waveform(mixed * np.float32(room), speech.rate), _db(room), _db(gain * room))


def _stretch(wave: Waveform, old: float, new: float) -> FloatArray:
    frames = round(wave.frames * new / old)
    if frames < 1:
        raise EarmarkError(f"{wave.frames} frames at {old:g} Hz leave nothing at {new:g} Hz — choose a higher rate")
    out = np.asarray(soxr.resample(wave.pcm, old, new, quality="HQ"), dtype=np.float32)
    # soxr rounds the length its own way; the law is ours.
    return out[:frames] if len(out) >= frames else np.pad(out, ((0, frames - len(out)), (0, 0)))


def _power(pcm: FloatArray, what: str) -> float:
    power = float(np.square(pcm, dtype=np.float64).mean())
    if power == 0:
        raise EarmarkError(f"the {what} is silent, so it has no signal-to-noise ratio — choose another")
    return power


def _db(gain: float) -> float:
    return 20 * math.log10(gain)


def _positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise EarmarkError(f"{name} is {value:g} — give a number above 0")

"""A bounded look at the spectrum of a sound: `SNAPSHOTS` windows of 32 ms, evenly spaced from its beginning to its end.

However long a clip is, what stands on its spectrum (bandwidth, fingerprint) costs the same fraction of a millisecond. The
windows lie at the same moments whatever the sampling rate, so a resampled copy is looked at where the original was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lineage.sound.audio import FloatArray, Waveform

SNAPSHOTS = 32
WINDOW_S = 0.032
NUMBERS = np.arange(SNAPSHOTS)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """`power` float32 of shape [SNAPSHOTS, bins], of which bin b lies at b x `step_hz`, up to half of `rate` (Hz).

    White noise of variance v (full scale 1.0) has the power v in every bin.
    """

    power: FloatArray
    step_hz: float
    rate: int


def spectrum(wave: Waveform) -> Spectrum:
    """The power spectra of a sound's snapshots, of the mean of its channels; a shorter sound is padded with silence."""
    width, size, window = _window(wave.rate)
    pcm = np.ascontiguousarray(wave.pcm)
    if wave.frames < width:
        pcm = np.pad(pcm, ((0, width - wave.frames), (0, 0)))
    starts = NUMBERS * (len(pcm) - width) // (SNAPSHOTS - 1)
    parts: FloatArray = _windows(pcm, width)[starts]
    mixed = parts if wave.channels == 1 else parts.reshape(SNAPSHOTS, width, wave.channels).mean(axis=2)
    transform = np.fft.rfft(mixed * window, size)
    power = (transform * transform.conj()).real
    return Spectrum(power.astype(np.float32, copy=False), wave.rate / size, wave.rate)


def _windows(pcm: FloatArray, width: int) -> FloatArray:
    """All windows of so many frames [start, width x channels] over contiguous PCM: a view, nothing is copied."""
    frames, channels = pcm.shape
    shape, step = (frames - width + 1, width * channels), pcm.itemsize
    return np.ndarray(shape, pcm.dtype, pcm, strides=(step * channels, step))


@lru_cache(maxsize=64)
def _window(rate: int) -> tuple[int, int, npt.NDArray[np.float32]]:
    """Width in frames, length of the transform (a power of two), and the Hann window scaled to unit energy."""
    width = max(4, round(WINDOW_S * rate))
    hann = np.hanning(width + 2)[1:-1]
    return width, 1 << (width - 1).bit_length(), (hann / np.sqrt(np.square(hann).sum())).astype(np.float32)

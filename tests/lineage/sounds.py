"""Sounds for tests: noise-like waveforms that differ by their seed, and files of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from lineage.sound.audio import FloatArray, Waveform, quantise, read_audio


def sound(seconds: float = 0.2, rate: int = 16_000, channels: int = 1, seed: int = 0, peak: float = 0.5) -> Waveform:
    """Decaying noise on the 16-bit grid, below `peak`."""
    frames = round(seconds * rate)
    pcm = np.random.default_rng(seed).uniform(-peak, peak, (frames, channels)).astype(np.float32)
    return quantise(Waveform(pcm, rate))


def sine(seconds: float, rate: int, hertz: float, peak: float = 0.5) -> Waveform:
    """A pure tone."""
    t = np.arange(round(seconds * rate)) / rate
    return Waveform((peak * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[:, None], rate)


def file_bytes(wave: Waveform, container: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """A waveform as the bytes of a file."""
    buffer = io.BytesIO()
    pcm: FloatArray | np.ndarray = wave.pcm
    if subtype == "PCM_16":
        pcm = np.rint(wave.pcm.astype(np.float64) * 2**15).astype(np.int16)
    soundfile.write(buffer, pcm, wave.rate, format=container, subtype=subtype)
    return buffer.getvalue()


def write(path: Path, wave: Waveform | None = None, **how: str) -> Path:
    """A waveform as a file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_bytes(wave or sound(), **how))
    return path


def speech(seconds: float = 3.0, rate: int = 16_000, seed: int = 0, peak: float = 0.5) -> Waveform:
    """Something like an utterance: syllables of coloured noise and pitch at random moments, pauses of digital silence."""
    rng = np.random.default_rng(seed)
    pcm = np.zeros(round(seconds * rate))
    at = round(0.3 * rate)
    while True:
        length = round(rng.uniform(0.12, 0.3) * rate)
        if at + length > len(pcm) - round(0.3 * rate):
            break
        t = np.arange(length) / rate
        low, high = rng.uniform(250, 800), rng.uniform(1_200, 3_000)
        tones = np.sin(2 * np.pi * low * t) + 0.6 * np.sin(2 * np.pi * high * t) + 0.1 * rng.normal(size=length)
        pcm[at : at + length] = tones * np.hanning(length) * rng.uniform(0.5, 1)
        at += length + round(rng.choice([0.0, 0.03, 0.35]) * rate)
    return quantise(Waveform((pcm * peak / np.abs(pcm).max()).astype(np.float32)[:, None], rate))


def recoded(wave: Waveform, container: str = "OGG", subtype: str = "VORBIS") -> Waveform:
    """What is left of a waveform after a codec."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.pcm, wave.rate, format=container, subtype=subtype)
    return read_audio(buffer.getvalue())

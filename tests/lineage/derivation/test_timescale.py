from __future__ import annotations

import numpy as np
import pytest

from lineage.derivation.timescale import pitch, tempo
from lineage.errors import EarmarkError
from lineage.sound.audio import Waveform
from tests.lineage.sounds import sine, sound


def peak_hz(wave: Waveform) -> float:
    spectrum = np.abs(np.fft.rfft(wave.pcm[:, 0]))
    return float(np.argmax(spectrum) * wave.rate / wave.frames)


def voice(seconds: float = 0.6, rate: int = 16_000) -> Waveform:
    """Pulses of 110 Hz: as periodic as a vowel, and as rich in harmonics."""
    t = np.arange(round(seconds * rate)) / rate
    pulses = sum(np.cos(2 * np.pi * 110 * k * t) / k for k in range(1, 20))
    return Waveform((0.1 * pulses).astype(np.float32)[:, None], rate)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2.0])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050])
def test_tempo_divides_the_duration_and_keeps_the_pitch(factor: float, rate: int) -> None:
    wave = sine(1.0, rate, 440)
    out = tempo(wave, factor)
    assert (out.rate, out.channels) == (rate, 1)
    assert out.frames == round(wave.frames / factor)
    assert peak_hz(out) == pytest.approx(440, abs=1.5 * max(factor, 1))


@pytest.mark.parametrize("semitones", [-5.0, -1.0, 3.0, 12.0])
def test_pitch_moves_the_pitch_and_keeps_the_duration(semitones: float) -> None:
    wave = sine(1.0, 16_000, 440)
    out = pitch(wave, semitones)
    assert out.frames == wave.frames
    assert peak_hz(out) == pytest.approx(440 * 2 ** (semitones / 12), abs=3)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_periods_stay_whole(factor: float) -> None:
    out = tempo(voice(), factor).pcm[:, 0].astype(np.float64)
    middle = out[2_000:-2_000]
    period = 16_000 / 110
    shifted = np.interp(np.arange(len(middle) - 200) + period, np.arange(len(middle)), middle)
    assert np.corrcoef(shifted, middle[:-200])[0, 1] > 0.95
    assert np.abs(out).max() < 1.2 * np.abs(voice().pcm).max()


def test_doing_nothing_changes_nothing() -> None:
    wave = sound()
    assert tempo(wave, 1.0) is wave
    assert pitch(wave, 0.0) is wave


def test_channels_stay_together() -> None:
    both = Waveform(np.repeat(voice().pcm, 2, axis=1), 16_000)
    out = tempo(both, 0.9)
    assert np.array_equal(out.pcm[:, 0], out.pcm[:, 1])
    assert np.array_equal(out.pcm[:, :1], tempo(voice(), 0.9).pcm)


@pytest.mark.parametrize("frames", [1, 2, 100, 479, 480, 481])
@pytest.mark.parametrize("factor", [0.25, 0.9, 1.1, 4.0])
def test_the_shortest_clips_keep_the_law(frames: int, factor: float) -> None:
    wave = sound(frames / 16_000)
    if round(frames / factor) == 0:
        with pytest.raises(EarmarkError, match="lower factor"):
            tempo(wave, factor)
    else:
        assert tempo(wave, factor).frames == round(frames / factor)


def test_silence_stays_silent_and_is_stretched_evenly() -> None:
    hush = Waveform(np.zeros((8_000, 1), dtype=np.float32), 16_000)
    assert not tempo(hush, 0.8).pcm.any()
    click = hush.pcm.copy()
    click[4_000] = 0.5
    out = tempo(Waveform(click, 16_000), 0.8)
    assert int(np.abs(out.pcm).argmax()) == pytest.approx(5_000, abs=400)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_tempi_are_refused(factor: float) -> None:
    with pytest.raises(EarmarkError, match="factor"):
        tempo(sound(), factor)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.errors import EarmarkError
from lineage.sound import waveforms
from lineage.sound.audio import Waveform
from tests.lineage.sounds import sine, sound

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000])


def power_db(wave: Waveform) -> float:
    return float(10 * np.log10(np.square(wave.pcm, dtype=np.float64).mean()))


def pitch(wave: Waveform) -> float:
    spectrum = np.abs(np.fft.rfft(wave.pcm[:, 0]))
    return float(np.argmax(spectrum) * wave.rate / wave.frames)


@given(RATES, RATES, st.integers(200, 4_000), st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_resampling_keeps_the_duration(old: int, new: int, frames: int, channels: int) -> None:
    wave = sound(frames / old, old, channels)
    out = waveforms.resample(wave, new)
    assert out.rate == new
    assert out.frames == round(wave.frames * new / old)
    assert out.channels == channels
    assert out.pcm.dtype == np.float32


def test_resampling_keeps_the_pitch_and_what_both_rates_can_hold() -> None:
    tone = sine(1.0, 16_000, 440)
    up = waveforms.resample(tone, 48_000)
    assert pitch(up) == pytest.approx(440, abs=1)
    back = waveforms.resample(up, 16_000)
    assert np.abs(back.pcm - tone.pcm)[800:-800].max() < 1e-3


def test_doing_nothing_changes_nothing() -> None:
    wave = sound()
    assert waveforms.resample(wave, wave.rate) is wave
    assert waveforms.mono(wave) is wave
    assert waveforms.speed(wave, 1.0) is wave
    assert np.array_equal(waveforms.level(wave, 0.0).pcm, wave.pcm)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2.0])
def test_speed_divides_duration_and_multiplies_pitch(factor: float) -> None:
    out = waveforms.speed(sine(1.0, 16_000, 500), factor)
    assert out.rate == 16_000
    assert out.duration_s == pytest.approx(1 / factor, abs=1e-3)
    assert pitch(out) == pytest.approx(500 * factor, abs=2)


def test_mono_is_the_mean_of_the_channels() -> None:
    wave = sound(channels=2)
    assert np.allclose(waveforms.mono(wave).pcm[:, 0], wave.pcm.mean(axis=1), atol=1e-7)
    both = Waveform(np.repeat(wave.pcm[:, :1], 2, axis=1), wave.rate)
    assert np.array_equal(waveforms.mono(both).pcm, wave.pcm[:, :1])


@pytest.mark.parametrize("gain", [-20.0, -6.0, 6.0])
def test_level_moves_power_by_its_gain(gain: float) -> None:
    wave = sound()
    assert power_db(waveforms.level(wave, gain)) - power_db(wave) == pytest.approx(gain, abs=1e-4)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=5), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_what_was_concatenated_can_be_cut_out_again(frames: list[int], gap: int) -> None:
    waves = [sound(n / 8_000, 8_000, seed=i) for i, n in enumerate(frames)]
    whole, starts = waveforms.concatenate(waves, gap / 8_000)
    assert whole.frames == sum(frames) + gap * (len(frames) - 1)
    for wave, start in zip(waves, starts, strict=True):
        part = waveforms.segment(whole, start, start + wave.duration_s)
        assert np.array_equal(part.pcm, wave.pcm)


def test_concatenation_refuses_what_does_not_fit_together() -> None:
    with pytest.raises(EarmarkError, match="resample or mix"):
        waveforms.concatenate([sound(rate=8_000), sound(rate=16_000)])
    with pytest.raises(EarmarkError, match="nothing to concatenate"):
        waveforms.concatenate([])


@pytest.mark.parametrize(("start", "end"), [(-0.1, 0.1), (0.1, 0.1), (0.15, 0.1), (0.1, 0.3), (0.25, 0.26)])
def test_a_segment_lies_inside(start: float, end: float) -> None:
    with pytest.raises(EarmarkError, match="segment"):
        waveforms.segment(sound(0.2), start, end)


def test_silence_is_found_at_both_ends() -> None:
    speech = sound(0.3)
    hush = np.zeros((1_600, 1), dtype=np.float32)
    padded = Waveform(np.concatenate([hush, speech.pcm, hush, hush]), 16_000)
    start, end = waveforms.loud_part(padded, threshold_db=40)
    assert start == pytest.approx(0.1, abs=0.01)
    assert end == pytest.approx(0.4, abs=0.01)
    kept = waveforms.loud_part(padded, threshold_db=40, keep_s=0.05)
    assert kept == (pytest.approx(start - 0.05), pytest.approx(end + 0.05))
    assert waveforms.loud_part(speech, threshold_db=40) == (0.0, speech.duration_s)


@given(st.floats(-20, 40), st.floats(0.02, 0.6), st.floats(0, 1), st.sampled_from([8_000, 16_000]), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_noise_comes_at_its_ratio(snr: float, seconds: float, start: float, rate: int, channels: int) -> None:
    speech = sound(0.3, 16_000, channels, seed=1, peak=0.1)
    noise = sound(seconds, rate, seed=2, peak=0.3)
    mix = waveforms.add_noise(speech, noise, snr, start * noise.duration_s)
    clean = waveforms.level(speech, mix.speech_gain_db)
    bed = Waveform(mix.wave.pcm - clean.pcm, 16_000)
    assert power_db(clean) - power_db(bed) == pytest.approx(snr, abs=0.05)
    assert np.abs(mix.wave.pcm).max() < 1
    assert mix.wave.frames == speech.frames


def test_noise_begins_where_it_is_told_and_is_repeated() -> None:
    speech, noise = sound(0.3, seed=1, peak=0.01), sound(0.1, seed=2)
    mix = waveforms.add_noise(speech, noise, 0.0, start_s=0.04)
    bed = (mix.wave.pcm - speech.pcm) / np.float32(10 ** (mix.noise_gain_db / 20))
    expected = np.tile(np.roll(noise.pcm, -640, axis=0), (3, 1))
    assert np.allclose(bed, expected, atol=1e-3)


def test_silent_noise_has_no_ratio() -> None:
    with pytest.raises(EarmarkError, match="noise is silent"):
        waveforms.add_noise(sound(), Waveform(np.zeros((100, 1), dtype=np.float32), 16_000), 10.0)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_speeds_are_refused(factor: float) -> None:
    with pytest.raises(EarmarkError, match="factor"):
        waveforms.speed(sound(), factor)

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lineage.derivation.codecs import CODECS, coded, telephone
from lineage.errors import UnknownName
from lineage.sound import waveforms
from lineage.sound.audio import Waveform
from tests.lineage.sounds import sine, sound


def snr_db(clean: Waveform, other: Waveform) -> float:
    error = other.pcm.astype(np.float64) - clean.pcm
    return float(10 * np.log10(np.square(clean.pcm, dtype=np.float64).mean() / np.square(error).mean()))


def level_db(wave: Waveform) -> float:
    return float(10 * np.log10(np.square(wave.pcm, dtype=np.float64).mean()))


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.parametrize(("rate", "channels"), [(4_000, 1), (8_000, 2), (11_025, 1), (16_000, 3), (48_000, 1)])
def test_shape_stays_and_the_sound_is_still_there(codec: str, rate: int, channels: int) -> None:
    tone = sine(0.3, rate, 700)
    wave = Waveform(np.repeat(tone.pcm, channels, axis=1), rate)
    out = coded(wave, codec, 0.3)
    assert (out.rate, out.channels, out.frames) == (rate, channels, wave.frames)
    assert not np.array_equal(out.pcm, wave.pcm)
    spectrum = np.abs(np.fft.rfft(out.pcm[:, -1]))
    assert np.argmax(spectrum) * rate / out.frames == pytest.approx(700, abs=5)
    assert level_db(out) == pytest.approx(level_db(wave), abs=2)


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.parametrize("compression", [0.0, 0.8, 0.95, 1.0])
def test_every_sound_stays_in_its_place(codec: str, compression: float) -> None:
    rate = 16_000
    burst = np.zeros(rate // 2)
    burst[3_000:4_000] = np.hanning(1_000) * np.sin(2 * np.pi * 900 * np.arange(1_000) / rate) * 0.5
    wave = Waveform(burst.astype(np.float32)[:, None], rate)
    out = coded(wave, codec, compression)
    lag = np.argmax(np.correlate(out.pcm[:, 0], wave.pcm[:, 0], "full")) - (wave.frames - 1)
    assert abs(lag) < 20  # a period of the tone: at 6 kbit/s Opus keeps no phase


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_the_same_comes_out_again_in_any_thread(codec: str) -> None:
    wave = sound(0.2)
    first = coded(wave, codec, 0.8).pcm
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(first, w.pcm) for w in pool.map(lambda _: coded(wave, codec, 0.8), range(6)))


@pytest.mark.parametrize("codec", [name for name, kind in CODECS.items() if kind.scale])
def test_more_compression_costs_more(codec: str) -> None:
    speechlike = waveforms.add_noise(sine(1.0, 16_000, 300), sound(1.0, seed=1), 15).wave
    best, worse, worst = (snr_db(speechlike, coded(speechlike, codec, c)) for c in (0.0, 0.9, 1.0))
    assert best > worst + 3
    assert best >= worse >= worst


@pytest.mark.parametrize("codec", [name for name, kind in CODECS.items() if not kind.scale])
def test_codecs_of_a_fixed_rate_have_no_compression(codec: str) -> None:
    wave = sound(0.1, 8_000)
    assert np.array_equal(coded(wave, codec, 0.0).pcm, coded(wave, codec, 1.0).pcm)


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
@pytest.mark.parametrize("peak", [0.9, 0.1, 0.03])
def test_companding_keeps_its_ratio_over_thirty_decibels(law: str, peak: float) -> None:
    tone = sine(0.5, 8_000, 1_020, peak)
    assert 32 < snr_db(tone, coded(tone, law)) < 42


def test_a_telephone_line_passes_speech_and_nothing_beside() -> None:
    def through(hertz: float) -> float:
        tone = sine(0.5, 16_000, hertz)
        return level_db(telephone(tone)) - level_db(tone)

    assert through(1_000) == pytest.approx(0, abs=0.3)
    assert through(3_000) == pytest.approx(0, abs=0.3)
    assert through(300) == pytest.approx(-6, abs=1)
    assert through(100) < -30
    assert through(3_800) < -30
    assert through(6_000) < -30


@pytest.mark.parametrize(("rate", "channels"), [(4_000, 1), (8_000, 1), (11_025, 2), (44_100, 1)])
def test_a_telephone_line_keeps_the_shape(rate: int, channels: int) -> None:
    wave = sound(0.2, rate, channels)
    out = telephone(wave, "alaw")
    assert (out.rate, out.channels, out.frames) == (rate, channels, wave.frames)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_clips_shorter_than_a_frame_and_silence_pass(codec: str) -> None:
    for pcm in (sound(0.001).pcm, np.zeros((1_600, 1), dtype=np.float32)):
        assert coded(Waveform(pcm, 16_000), codec, 0.9).pcm.shape == pcm.shape


def test_overshoots_are_cut_not_wrapped() -> None:
    loud = waveforms.level(sine(0.2, 8_000, 500), 12)
    out = coded(loud, "ulaw").pcm
    assert np.abs(out).max() <= 1
    assert np.corrcoef(out[:, 0], np.clip(loud.pcm[:, 0], -1, 1))[0, 1] > 0.99


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(UnknownName, match="did you mean 'opus'"):
        coded(sound(), "opuss")

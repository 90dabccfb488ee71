from __future__ import annotations

import uuid

import numpy as np
import pytest

from lineage.derivation import transforms
from lineage.derivation.chance import Draw
from lineage.derivation.rooms import Point, convolved, shoebox
from lineage.derivation.transforms import Parent
from lineage.errors import EarmarkError
from lineage.sound.audio import Waveform
from tests.lineage.sounds import sound

ONE = uuid.UUID(int=1)
ROOM: Point = (6.0, 4.5, 3.0)
SOURCE, EAR = (1.2, 1.1, 1.6), (4.0, 3.2, 1.3)


def response(rt60_s: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    tail = Draw(seed, [ONE]).units(b"tail", round(rt60_s * rate))
    return shoebox(rate, ROOM, rt60_s, SOURCE, EAR, tail)


def measured_rt60(impulse: np.ndarray, rate: int) -> float:
    """Schroeder's backward integration, from 5 to 25 dB below the start, times three."""
    left = 10 * np.log10(np.cumsum(np.square(impulse)[::-1])[::-1] / np.square(impulse).sum())
    start, end = (int(np.argmax(left < db)) for db in (-5, -25))
    slope, _ = np.polyfit(np.arange(start, end) / rate, left[start:end], 1)
    return float(-60 / slope)


@pytest.mark.parametrize("rt60_s", [0.2, 0.4, 0.8, 1.5])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_room_reverberates_as_long_as_asked(rt60_s: float, rate: int) -> None:
    assert measured_rt60(response(rt60_s, rate), rate) == pytest.approx(rt60_s, rel=0.1)


def test_early_reflections_and_tail_meet_without_a_step() -> None:
    powers = np.mean([np.square(response(0.6, seed=s)) for s in range(20)], axis=0)
    before, after = powers[320:480].mean(), powers[480:640].mean()
    assert abs(10 * np.log10(before / after)) < 4


def test_the_direct_sound_comes_first_and_walls_come_when_geometry_says() -> None:
    heard = response(0.5)
    assert heard[0] == pytest.approx(1)
    direct = np.linalg.norm(np.subtract(SOURCE, EAR))
    floor = np.linalg.norm(np.subtract((1.2, 1.1, -1.6), EAR))
    at = round((floor - direct) / 343 * 16_000)
    assert not heard[1:at].any()
    assert 0 < heard[at] < direct / floor


def test_nearer_is_drier() -> None:
    def reverberant_share(ear: Point) -> float:
        heard = shoebox(16_000, ROOM, 0.5, SOURCE, ear, np.full(8_000, 0.75))
        return float(np.square(heard[1:]).sum())

    assert reverberant_share((1.5, 1.1, 1.6)) < 0.1 * reverberant_share(EAR)


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(0.5, 16_000, 1), (0.01, 8_000, 2), (0.3, 44_100, 3)])
def test_shape_and_power_stay(seconds: float, rate: int, channels: int) -> None:
    wave = sound(seconds, rate, channels, peak=0.1)
    result = transforms.find("reverb").make([Parent(ONE, wave, {})], Draw(0, [ONE]), rt60_s=0.4, volume_m3=80.0)
    out = result.wave
    assert (out.rate, out.channels, out.frames) == (rate, channels, wave.frames)
    assert np.square(out.pcm).mean() == pytest.approx(np.square(wave.pcm).mean(), rel=1e-3)
    assert result.attributes == {"rt60_s": "0.4", "volume_m3": "80"}


def test_full_scale_is_never_passed() -> None:
    spike = np.zeros((4_000, 1), dtype=np.float32)
    spike[::400] = 1
    wet, _ = convolved(Waveform(spike, 16_000), np.array([0.01, *np.zeros(399), 1.0]))
    assert np.abs(wet.pcm).max() < 1


def test_the_seed_moves_mouth_and_microphone() -> None:
    parent = Parent(ONE, sound(0.2), {})
    reverb = transforms.find("reverb").make
    one, same, other = (reverb([parent], Draw(s, [ONE]), rt60_s=0.4).wave.pcm for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other, atol=0.01)


def test_a_recorded_room_begins_at_its_loudest_frame() -> None:
    recorded = np.zeros((2_000, 1), dtype=np.float32)
    recorded[300], recorded[700] = -0.8, -0.4
    speech = sound(0.2, peak=0.1)
    room = Parent(uuid.UUID(int=2), Waveform(recorded, 16_000), {"room": "chapel"})
    result = transforms.find("impulse").make([Parent(ONE, speech, {}), room], Draw(0, [ONE]))
    gain = 10 ** (result.placements[0].gain_db / 20)
    echo = np.concatenate([np.zeros(400), speech.pcm[:-400, 0]])
    assert np.allclose(result.wave.pcm[:, 0] / gain, speech.pcm[:, 0] + 0.5 * echo, atol=1e-5)
    assert result.placements[1].parent_start_s == pytest.approx(300 / 16_000)
    assert result.attributes == {"room": "chapel"}


def test_a_room_in_which_nothing_is_heard_is_refused() -> None:
    quiet = Waveform(np.zeros((100, 1), dtype=np.float32), 16_000)
    with pytest.raises(EarmarkError, match="nothing is heard"):
        convolved(quiet, np.ones(3))

"""Rooms: what a wall-bounded space adds to a voice.

The impulse response of a shoebox room has two parts. Early reflections come from mirror images of the source behind the
walls (Allen and Berkley, J. Acoust. Soc. Am. 65, 1979), nearest frame. Later than `EARLY_S` there are too many to tell
apart, and a diffuse tail takes over: noise that falls by 60 dB in the reverberation time, with the power that the images
would have (as in Lehmann and Johansson, IEEE Trans. Audio Speech Lang. Process. 18, 2010). The walls absorb what Eyring's
formula says for that time. Instead of a made-up room, a recorded impulse response can be taken.

Laws: the direct sound comes at once, so words stay where they were; length, rate, channels and power stay, unless the peak
would pass full scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from lineage.derivation.chance import DRAWN, Draw
from lineage.derivation.transforms import Parent, Placement, Result, transform, whole
from lineage.errors import EarmarkError
from lineage.sound import waveforms
from lineage.sound.audio import Waveform

SPEED = 343.0  # of sound, m/s
EARLY_S = 0.03
WALL_M = 0.5  # nobody speaks or listens nearer to a wall
PROPORTIONS = (1.6, 1.3, 1.0)  # of length, width and height, each varied by a tenth
FULL = 1 - 2.0**-15

Response = npt.NDArray[np.float64]
Point = tuple[float, float, float]


def shoebox(rate: int, room: Point, rt60_s: float, source: Point, ear: Point, tail: Response) -> Response:
    """Impulse response of a room [frames at `rate` Hz], from the direct sound, of amplitude 1, to 60 dB below.

    `room` is length, width and height in metres, `source` and `ear` are points in it. `tail` gives the noise of the diffuse
    part, uniform in [0, 1); it is as long as the response, round(`rt60_s` x `rate`).
    """
    direct = math.dist(source, ear)
    volume = math.prod(room)
    surface = 2 * (room[0] * room[1] + room[0] * room[2] + room[1] * room[2])
    decay = 3 * math.log(10) / rt60_s  # of amplitude, per second
    # Eyring: amplitude left after a wall, mean free path 4V/S.
    wall = math.exp(-decay * 4 * volume / (surface * SPEED))
    frames = len(tail)
    early = min(frames, round(EARLY_S * rate))
    response = np.zeros(frames)
    reach = direct + early / rate * SPEED
    distance, walls = _images(room, source, ear, reach)
    at = np.rint((distance - direct) / SPEED * rate).astype(np.int64)
    heard = at < early
    np.add.at(response, at[heard], (direct / distance * wall**walls)[heard])
    late = np.arange(early, frames) / rate + direct / SPEED
    # 4πc³t²/V images a second, each of power (direct / ct)²; uniform noise in ±√3 has power one.
    power = 4 * math.pi * SPEED * direct**2 / (volume * rate) * np.exp(-2 * decay * late)
    response[early:] = math.sqrt(3) * (2 * tail[early:] - 1) * np.sqrt(power)
    return response


def convolved(wave: Waveform, response: Response) -> tuple[Waveform, float]:
    """The sound with a response [frames at its rate] laid over every channel, and the gain in dB of its direct part."""
    size = 1 << (wave.frames + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(wave.pcm, size, axis=0) * np.fft.rfft(response, size)[:, None]
    wet = np.fft.irfft(spectrum, size, axis=0)[: wave.frames]
    before, after = np.square(wave.pcm, dtype=np.float64).sum(), np.square(wet).sum()
    if not after:
        raise EarmarkError("nothing is heard in that room — take another impulse response")
    gain = min(math.sqrt(before / after), FULL / float(np.abs(wet).max()))
    return Waveform((gain * wet).astype(np.float32), wave.rate), 20 * math.log10(gain)


def _images(room: Point, source: Point, ear: Point, reach: float) -> tuple[Response, Response]:
    """Distances in metres of all images within `reach` of the ear, and how many walls the sound has met."""
    axes = []
    for length, s, e in zip(room, source, ear, strict=True):
        turns = np.arange(-math.ceil(reach / (2 * length)) - 1, math.ceil(reach / (2 * length)) + 2)
        places = [((1 - 2 * q) * s + 2 * turns * length - e, np.abs(turns - q) + np.abs(turns)) for q in (0, 1)]
        axes.append([np.concatenate(parts) for parts in zip(*places, strict=True)])
    (x, i), (y, j), (z, k) = axes
    distance = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2)
    near = distance <= reach
    return distance[near], (i[:, None, None] + j[:, None] + k)[near].astype(np.float64)


def _furnished(volume: float, draw: Draw) -> tuple[Point, Point, Point]:
    """A room of that volume, and two points in it."""
    varied = [p * (0.9 + 0.2 * draw.unit(f"side {i}".encode())) for i, p in enumerate(PROPORTIONS)]
    unit = (volume / math.prod(varied)) ** (1 / 3)
    room = tuple(unit * side for side in varied)
    source, ear = (
        tuple(WALL_M + draw.unit(f"{who} {i}".encode()) * (side - 2 * WALL_M) for i, side in enumerate(room))
        for who in ("source", "ear")
    )
    return room, source, ear


@transform("reverb", draws=True)
def reverb(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    rt60_s: Annotated[
        float, Field(ge=0.05, le=5, description="Reverberation time: until 60 dB less are heard, s."), DRAWN
    ],
    volume_m3: Annotated[float, Field(ge=10, le=10_000, description="Volume of the room, m³."), DRAWN] = 60.0,
) -> Result:
    """Speak in a shoebox room; its proportions and the places of mouth and microphone are drawn."""
    wave = parents[0].wave
    room, source, ear = _furnished(volume_m3, draw)
    tail = draw.units(b"tail", max(1, round(rt60_s * wave.rate)))
    wet, gain_db = convolved(wave, shoebox(wave.rate, room, rt60_s, source, ear, tail))
    return whole(wet, gain_db, {"rt60_s": f"{rt60_s:g}", "volume_m3": f"{volume_m3:g}"})


@transform("impulse", mixes=True, draws=True)
def impulse(parents: Sequence[Parent], draw: Draw) -> Result:
    """Speak in a recorded room: convolve with an impulse response from a pool, from its loudest frame on."""
    speech, room = parents
    sound = waveforms.mono(waveforms.resample(room.wave, speech.wave.rate)).pcm[:, 0].astype(np.float64)
    start = int(np.abs(sound).argmax())
    wet, gain_db = convolved(speech.wave, sound[start:] / sound[start])
    used = min(len(sound) - start, wet.frames) / wet.rate
    placements = [
        Placement(0.0, 0.0, wet.duration_s, gain_db),
        Placement(start / wet.rate, 0.0, used, gain_db),
    ]
    return Result(wet, placements, {"room": room.attributes["room"]} if "room" in room.attributes else {})

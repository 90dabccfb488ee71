"""What can be told of a recording by listening to it once: how loud, how clean, how wide, how much of it is silence.

- *Active* are frames of 20 ms that are speech by their level: within the margin of ITU-T P.56, method B (15.9 dB below the
  active level itself) and at least 3 dB above the noise. Pauses of up to 0.2 s within speech count as speech, as there.
- The *level* is the RMS of the active frames; *silence* is the share of the others.
- The *noise* is what is heard in the pauses: the mean power of the quietest tenth of all frames that are not digital silence
  (quantile-based noise estimation: Stahl, Fischer & Bippus, ICASSP 2000). The *SNR* is the power of the active frames, less
  the noise, over the noise.
- The *bandwidth* is up to where the mean spectrum of a few snapshots stays within 70 dB of its peak, and above the rounding
  noise of 16 bits.
- *Clipped* are values at or above the last step of 16-bit full scale.

Of sound whose level hardly moves there are no pauses to hear the noise in: its SNR is null, and all of it is active. Of
speech without a pause the SNR comes out too low. A constant offset counts as sound.

Laws: facts depend on the decoded sound alone, not on its file; a gain moves levels by as much and leaves SNR, silence and
bandwidth where they are (as long as nothing clips or sinks below 16 bits); the order of channels does not matter. They are
rounded (0.1 dB, 0.001, 10 Hz), so that machines agree on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lineage.sound.audio import Waveform
from lineage.sound.fingerprint import fingerprint
from lineage.sound.spectrum import Spectrum, spectrum

FRAME_S = 0.02
BRIDGE = 10  # frames: pauses of 0.2 s
MARGIN = 10**1.59
ABOVE_NOISE = 2.0  # 3 dB: less above the noise is not speech
MOVES = 4.0  # 6 dB between the noise and the loudest frame: less is sound without pauses
QUIET = 0.1
FULL_SCALE = 1 - 2.0**-15
REACH = 1e-7
ROUNDING = 10 * 2.0**-30 / 12  # 10 dB above the noise of rounding to 16 bits
EDGE = np.array([True])


@dataclass(frozen=True)
class Facts:
    """Facts of one sound, by the names of their columns in `samples`; `fingerprint` goes to the vault."""

    level_dbfs: float
    peak_dbfs: float
    clipped_share: float
    snr_estimate_db: float | None
    bandwidth_hz: float
    silence_share: float
    fingerprint: bytes

    def row(self) -> dict[str, float | None]:
        """The public ones, by column."""
        return {name: getattr(self, name) for name in HEARD}

    def rate_of(self, words: int, duration_s: float) -> float | None:
        """Words in a second that is not silent; None if all of it is."""
        spoken_s = duration_s * (1 - self.silence_share)
        return round(words / spoken_s, 2) if spoken_s else None


HEARD = ("level_dbfs", "peak_dbfs", "clipped_share", "snr_estimate_db", "bandwidth_hz", "silence_share")


def listen(wave: Waveform) -> Facts:
    """The facts of a sound that is not silent from end to end."""
    pcm = np.ascontiguousarray(wave.pcm)
    peak = wave.peak
    power, noise, share = _activity(_frame_power(pcm, wave))
    seen = spectrum(wave)
    speech = power - noise if noise is not None else 0.0
    return Facts(
        level_dbfs=_db(power),
        peak_dbfs=_db(peak * peak),
        clipped_share=_rounded(np.count_nonzero(np.abs(pcm) >= FULL_SCALE) / pcm.size if peak >= FULL_SCALE else 0.0),
        snr_estimate_db=_db(speech / noise) if noise and speech > 0 else None,
        bandwidth_hz=_bandwidth(seen),
        silence_share=_rounded(1 - share),
        fingerprint=fingerprint(seen),
    )


def _frame_power(pcm: npt.NDArray[np.float32], wave: Waveform) -> npt.NDArray[np.float64]:
    """Mean square of each whole frame, over all channels; of all there is where there is no whole frame."""
    width = min(round(FRAME_S * wave.rate), wave.frames)
    count = wave.frames // width
    frames = pcm[: count * width].reshape(count, width * wave.channels)
    sums: npt.NDArray[np.float64] = np.vecdot(frames, frames).astype(np.float64)
    return sums / frames.shape[1]


def _activity(power: npt.NDArray[np.float64]) -> tuple[float, float | None, float]:
    """Mean power of the active frames, power of the noise (None if no pause tells of it), share of frames that are active."""
    until = np.zeros(len(power) + 1)
    power.cumsum(out=until[1:])
    loud = np.sort(power)[::-1]
    sounding = loud[: np.count_nonzero(loud)]
    if not len(sounding):  # less than a frame of sound at the end of silence
        return float(np.finfo(np.float32).tiny), None, 0.0
    sums = sounding.cumsum()
    beyond = sums > sounding * MARGIN * np.arange(1, len(sounding) + 1)
    first_beyond = int(beyond.argmax())
    least = float(sounding[first_beyond - 1 if beyond[first_beyond] else -1])
    quiet = max(1, round(QUIET * len(sounding)))
    noise = float(np.add.reduce(sounding[-quiet:])) / quiet
    moves = bool(loud[0] >= MOVES * noise)
    places = (power >= (max(least, ABOVE_NOISE * noise) if moves else least)).nonzero()[0]
    steps = places[1:] - places[:-1]
    breaks = steps > BRIDGE + 1
    first, last = (
        places[np.concatenate([EDGE, breaks])],
        places[np.concatenate([breaks, EDGE])] + 1,
    )  # of each stretch of speech
    count = int(np.add.reduce(last - first))
    active = float(np.add.reduce(until[last] - until[first])) / count
    return active, noise if moves else None, count / len(power)


def _bandwidth(seen: Spectrum) -> float:
    mean = np.add.reduce(seen.power, axis=0) / len(seen.power)
    held = (mean >= max(float(np.maximum.reduce(mean)) * REACH, ROUNDING)).nonzero()[0]
    edge = (int(held[-1]) + 1) * seen.step_hz if len(held) else 0.0
    return round(min(edge, seen.rate / 2), -1)


def _db(power: float) -> float:
    return round(10 * math.log10(power), 1)


def _rounded(share: float) -> float:
    return round(share, 3)

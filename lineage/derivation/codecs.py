"""Lossy codecs, really encoded and decoded: what a recording sounds like once it has gone through one.

libsndfile does the coding, in memory. Every channel is coded on its own, at the codec's nearest rate that holds the sound
(at its highest, if none does), and the result is brought back.

Laws: rate, channels, number of frames and the place of every sound in time stay; the same sound and settings give the same
result for one version of libsndfile and the encoders in it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import soundfile
from pydantic import Field

from lineage.derivation.chance import DRAWN, Draw
from lineage.derivation.transforms import Parent, Result, transform, whole
from lineage.errors import EarmarkError, UnknownName
from lineage.sound import waveforms
from lineage.sound.audio import FloatArray, Waveform

BAND_HZ = (300.0, 3400.0)  # of a telephone line
LINE_RATE = 8_000
_MP3_DELAY = 1105  # frames: 576 of LAME's encoder and 529 of any decoder
_TAPS = 161  # of the band-pass filter at that rate: it closes within 170 Hz


@dataclass(frozen=True)
class _Codec:
    """`rates` in Hz that it codes, rising; `scale`: how much of libsndfile's compression level it bears, 0 for none."""

    container: str
    subtype: str
    rates: tuple[int, ...]
    scale: float = 0.0


_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_ANY = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000)

CODECS = {
    "mp3": _Codec("MP3", "MPEG_LAYER_III", _MP3_RATES, 0.99),  # at its very lowest rate LAME refuses
    "vorbis": _Codec("OGG", "VORBIS", _ANY, 1.0),
    "opus": _Codec("OGG", "OPUS", (8_000, 12_000, 16_000, 24_000, 48_000), 1.0),
    "gsm": _Codec("WAV", "GSM610", (8_000,)),
    "g721": _Codec("AU", "G721_32", (8_000,)),
    "g723": _Codec("AU", "G723_24", (8_000,)),
    "adpcm": _Codec("WAV", "IMA_ADPCM", _ANY),
    "ulaw": _Codec("WAV", "ULAW", (8_000,)),
    "alaw": _Codec("WAV", "ALAW", (8_000,)),
}


def coded(wave: Waveform, codec: str, compression: float = 0.0) -> Waveform:
    """The sound after `codec`, one of `CODECS`.

    `compression` goes from 0 (best) to 1 (smallest) between the highest and the lowest bit rate of mp3 (at 16 kHz 160 to 8
    kbit/s a channel) and opus (256 to 6 kbit/s), and the quality of vorbis; codecs of a fixed rate have none.

    Raises:
        UnknownName: no such codec.
    """
    if codec not in CODECS:
        raise UnknownName("codec", codec, CODECS)
    kind = CODECS[codec]
    rate = next((r for r in kind.rates if r >= wave.rate), kind.rates[-1])
    sent = waveforms.resample(wave, rate)
    heard = [_through(kind, sent.pcm[:, c], rate, compression) for c in range(wave.channels)]
    back = waveforms.resample(Waveform(np.stack(heard, axis=1), rate), wave.rate)
    return _as_long_as(wave, back)


def telephone(wave: Waveform, law: str = "ulaw") -> Waveform:
    """The sound after a telephone line: 300 to 3400 Hz, 8 kHz, and G.711 coding by `law`, 'ulaw' or 'alaw'."""
    line = waveforms.resample(wave, LINE_RATE)
    taps = _band_pass()
    half = len(taps) // 2
    passed = [np.convolve(line.pcm[:, c], taps)[half : half + line.frames] for c in range(line.channels)]
    narrow = coded(Waveform(np.stack(passed, axis=1).astype(np.float32), LINE_RATE), law)
    return _as_long_as(wave, waveforms.resample(narrow, wave.rate))


def _through(kind: _Codec, pcm: FloatArray, rate: int, compression: float) -> FloatArray:
    file = io.BytesIO()
    # Integers, because libsndfile scales floats by 32767 on the way in and by 1/32768 on the way out.
    steps = np.clip(np.rint(pcm.astype(np.float64) * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    level = {"compression_level": kind.scale * compression} if kind.scale else {}
    mode = {"bitrate_mode": "CONSTANT"} if kind.container == "MP3" else {}
    try:
        soundfile.write(file, steps, rate, format=kind.container, subtype=kind.subtype, **level, **mode)
    except (soundfile.LibsndfileError, ValueError) as error:
        version = soundfile.__libsndfile_version__
        raise EarmarkError(
            f"libsndfile {version} does not encode {kind.container}/{kind.subtype} at {rate} Hz ({error}) — install the "
            "wheel of soundfile, which brings its own"
        ) from error
    file.seek(0)
    heard, _ = soundfile.read(file, dtype="float32")
    if kind.container == "MP3" and len(heard) > len(pcm):
        # At the lowest rates a frame is too small for the header by which a decoder takes the delay away.
        heard = heard[_MP3_DELAY:]
    return np.pad(heard[: len(pcm)], (0, max(0, len(pcm) - len(heard)))).astype(np.float32)


def _as_long_as(wave: Waveform, other: Waveform) -> Waveform:
    """`other`, but with as many frames as `wave`; rounding may have cost or added one."""
    pcm = other.pcm[: wave.frames]
    return Waveform(np.pad(pcm, ((0, wave.frames - len(pcm)), (0, 0))), wave.rate)


def _band_pass() -> npt.NDArray[np.float64]:
    """Windowed-sinc filter of `_TAPS` taps at `LINE_RATE`; linear phase, 6 dB down at the edges of the band."""
    at = np.arange(_TAPS) - _TAPS // 2
    low, high = (2 * edge / LINE_RATE for edge in BAND_HZ)
    ideal = high * np.sinc(high * at) - low * np.sinc(low * at)
    return np.asarray(ideal * np.hamming(_TAPS))


@transform("codec")
def codec(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    codec: Annotated[
        Literal["mp3", "vorbis", "opus", "gsm", "g721", "g723", "adpcm"],
        Field(description="MP3, Ogg Vorbis, Opus, GSM 06.10, G.721, G.723 (24 kbit/s) or IMA ADPCM."),
        DRAWN,
    ],
    compression: Annotated[
        float,
        Field(ge=0, le=1, description="0 best to 1 smallest, of mp3, vorbis and opus; the others have a fixed rate."),
        DRAWN,
    ] = 0.8,
) -> Result:
    """Encode and decode with a lossy codec."""
    named = {"codec": codec, **({"compression": f"{compression:g}"} if CODECS[codec].scale else {})}
    return whole(coded(parents[0].wave, codec, compression), attributes=named)


@transform("telephone")
def telephone_(
    parents: Sequence[Parent],
    draw: Draw,
    *,
    law: Annotated[Literal["ulaw", "alaw"], Field(description="G.711: America and Japan, or Europe."), DRAWN] = "ulaw",
) -> Result:
    """Pass through a telephone line: 300 to 3400 Hz, 8 kHz, G.711; the rate stays as it was."""
    return whole(telephone(parents[0].wave, law), attributes={"codec": f"telephone-{law}"})

"""Sound as the record sees it: decoded PCM with its rate, and every reason for which a file is refused.

A `Waveform` holds canonical PCM, float32 in [-1, 1) where the file held integers, so that the same sound in WAV and in
FLAC is equal to the last bit and has one audio digest. (MP3, Vorbis and Opus are lossy: their canonical PCM is what the
installed libsndfile decodes, and is the same for one version of it.)

`read_audio` trusts nothing that a header says. libsndfile reads a WAV that was cut short without a word, so the sizes
in RIFF and AIFF headers, the sample count of NIST SPHERE and the last page of Ogg are held against the bytes that are
there; FLAC, and MP3 with the usual Xing header, tell by themselves while decoding. Containers without such a check are
not taken. What would cost memory or time (a clip of three hours, absurd rates) is refused from the header, before
anything is decoded.

Laws: `read_audio(encode(w))` and `read_audio(wav(w))` equal `w` bit for bit (but for the sign of zero);
`quantise(quantise(w))` equals `quantise(w)`.
"""

from __future__ import annotations

import io
import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import soundfile

from lineage.errors import EarmarkError

FloatArray = npt.NDArray[np.float32]

CONTAINERS = ("WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3", "NIST")
MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"NIST")
SILENCE = 2.0**-14  # half the swing of a clip that never leaves two steps of 16-bit PCM: -84 dB of full scale
LOUDEST = 8.0  # float files hold overshoots, but 18 dB above full scale is integers written without scaling
MAX_VALUES = 1 << 28  # frames x channels that one clip may hold in memory: 1 GiB of float32

_STEP_16, _STEP_24 = 2.0**15, 2.0**23


class AudioRefused(EarmarkError):
    """A recording that cannot go on the record.

    `reason` is one of: missing, empty, truncated, not-audio, zero-length, silent, not-finite, level, rate, channels,
    too-long. `problem` says what is wrong and `mend` what to do about it.
    """

    def __init__(self, reason: str, problem: str, mend: str) -> None:
        super().__init__(f"{problem} — {mend}")
        self.reason = reason
        self.problem = problem
        self.mend = mend


@dataclass(frozen=True, eq=False)
class Waveform:
    """Decoded sound: `pcm` float32 of shape [frames, channels], full scale 1.0; `rate` in Hz."""

    pcm: FloatArray
    rate: int

    def __post_init__(self) -> None:
        if self.pcm.ndim != 2 or self.pcm.dtype != np.float32:
            raise ValueError(f"PCM is float32 [frames, channels], not {self.pcm.dtype} {self.pcm.shape}")

    @property
    def frames(self) -> int:
        """Number of frames (samples per channel)."""
        return int(self.pcm.shape[0])

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.pcm.shape[1])

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.frames / self.rate

    @cached_property
    def extremes(self) -> tuple[FloatArray, FloatArray]:
        """The least and the greatest value of each channel."""
        return np.minimum.reduce(self.pcm, axis=0), np.maximum.reduce(self.pcm, axis=0)

    @cached_property
    def peak(self) -> float:
        """The greatest distance from zero; NaN where a value is."""
        low, high = self.extremes
        return float(max(np.maximum.reduce(high), -np.minimum.reduce(low)))


@dataclass(frozen=True)
class Limits:
    """What counts as speech audio; anything outside is refused before it is decoded."""

    max_seconds: float = 30 * 60.0
    min_rate: int = 4_000
    max_rate: int = 192_000
    max_channels: int = 8


STANDARD = Limits()
ANY = Limits(math.inf, 1, 1 << 31, 255)  # for what is on record already


def read_audio(source: Path | str | bytes, *, limits: Limits = STANDARD, name: str | None = None) -> Waveform:
    """Decode a file, or the bytes of one, to canonical PCM.

    `name` is what messages call the sound (default: the path). Raises `AudioRefused` for anything that is not a whole,
    audible clip within `limits`.
    """
    name = name or ("the audio" if isinstance(source, bytes) else str(source))
    size = len(source) if isinstance(source, bytes) else _size(source, name)
    if size == 0:
        raise AudioRefused("empty", f"{name} is an empty file", "copy or record it again, or drop the line")
    with _opened(source, name) as stream:
        _check_whole(source, size, stream, name)
        frames, rate = _check_header(stream, name, limits)
        try:
            pcm = _decoded(stream, frames)
        except soundfile.LibsndfileError as error:
            raise _truncated(name, f"decoding stops with '{_said(error)}'") from error
    if len(pcm) < frames:
        raise _truncated(name, f"only {len(pcm):,} of {frames:,} frames are there")
    wave = Waveform(pcm, rate)
    check_sound(wave, name)
    return wave


def _decoded(stream: soundfile.SoundFile, frames: int) -> FloatArray:
    """Canonical PCM of shape [frames that are there, channels]."""
    if stream.subtype == "PCM_16" and stream.format != "FLAC":
        # The same floats to the last bit, several times sooner: libsndfile converts value by value, elsewhere than in FLAC.
        whole = stream.read(frames, dtype="int16", always_2d=True)
        pcm: FloatArray = np.multiply(whole, np.float32(1 / _STEP_16), dtype=np.float32)
    else:
        pcm = stream.read(frames, dtype="float32", always_2d=True)
    return pcm


def check_sound(wave: Waveform, name: str) -> None:
    """Raise `AudioRefused` unless the samples are finite, within reach of full scale, and not silent."""
    low, high = (side.tolist() for side in wave.extremes)
    if not all(map(math.isfinite, low + high)):
        raise AudioRefused("not-finite", f"{name} holds samples that are not numbers (NaN or Inf)", "export it again")
    if wave.peak > LOUDEST:
        raise AudioRefused(
            "level",
            f"{name} peaks {20 * math.log10(wave.peak):.0f} dB above full scale: integers written as floats",
            "scale it to ±1 and export it again",
        )
    if max(most - least for least, most in zip(low, high, strict=True)) / 2 <= SILENCE:
        raise AudioRefused("silent", f"{name} is silent from end to end", "record it again, or drop the line")


def quantise(wave: Waveform) -> Waveform:
    """The nearest waveform on the grid of 16-bit PCM, saturated at full scale.

    Derived sounds are kept at 16 bits, as nearly every speech corpus is: rounding before hashing makes their ids stand
    on what is stored, and hides last-bit differences between machines.
    """
    steps = np.clip(np.rint(wave.pcm * np.float32(_STEP_16)), -_STEP_16, _STEP_16 - 1)
    return Waveform((steps / np.float32(_STEP_16)).astype(np.float32) + np.float32(0), wave.rate)


def encode(wave: Waveform) -> bytes:
    """The smallest lossless file: FLAC of 16 or 24 bits if the samples lie on that grid, if not WAV of floats."""
    return _integers(wave, "FLAC") or _float_wav(wave)


def wav(wave: Waveform) -> bytes:
    """A lossless WAV file: of 16 or 24 bits if the samples lie on that grid, if not of floats."""
    return _integers(wave, "WAV") or _float_wav(wave)


def _integers(wave: Waveform, container: str) -> bytes | None:
    """As a file of 16- or 24-bit integers; None if the samples lie on neither grid."""
    # Integers are written as integers: libsndfile scales floats by 32767 on the way in and by 1/32768 on the way out.
    for step, subtype in ((_STEP_16, "PCM_16"), (_STEP_24, "PCM_24")):
        scaled = wave.pcm.astype(np.float64) * step
        if np.all(scaled == np.rint(scaled)) and np.all(scaled >= -step) and np.all(scaled < step):
            left_aligned = (scaled * (2.0**31 / step)).astype(np.int32)
            buffer = io.BytesIO()
            soundfile.write(buffer, left_aligned, wave.rate, format=container, subtype=subtype)
            return buffer.getvalue()
    return None


def _float_wav(wave: Waveform) -> bytes:
    """A WAV file of 32-bit floats; libsndfile would put the time into it, and the same sound would be another file."""
    data = wave.pcm.astype("<f4").tobytes()
    frame = 4 * wave.channels
    layout = struct.pack("<HHIIHHH", 3, wave.channels, wave.rate, wave.rate * frame, frame, 32, 0)
    chunks = ((b"fmt ", layout), (b"fact", struct.pack("<I", wave.frames)), (b"data", data))
    body = b"WAVE" + b"".join(name + struct.pack("<I", len(chunk)) + chunk for name, chunk in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _size(path: Path | str, name: str) -> int:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise AudioRefused("missing", f"{name} cannot be found", "correct the path or restore the file") from error
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise AudioRefused("not-audio", f"{name} is {what}", "give the path of a WAV or FLAC file")
    if not os.access(path, os.R_OK):
        raise AudioRefused("missing", f"{name} may not be read", "give yourself the right to read it")
    return status.st_size


@contextmanager
def _opened(source: Path | str | bytes, name: str) -> Iterator[soundfile.SoundFile]:
    try:
        stream = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else os.fsencode(source))
    except soundfile.LibsndfileError as error:
        with _raw(source, name) as raw:
            if raw.read(4) in MAGIC:
                raise _truncated(name, f"it begins like audio, then: {_said(error)}") from error
        problem = f"{name} is not audio that can be read ({_said(error)})"
        raise AudioRefused("not-audio", problem, "convert it to WAV or FLAC") from error
    with stream:
        yield stream


@contextmanager
def _raw(source: Path | str | bytes, name: str) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        raw = Path(source).open("rb")  # noqa: SIM115 - closed below; only the opening may fail here
    except OSError as error:
        raise AudioRefused("missing", f"{name} cannot be opened ({error.strerror})", "restore the file") from error
    with raw:
        yield raw


def _said(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").strip().rstrip(".")


def _truncated(name: str, detail: str) -> AudioRefused:
    return AudioRefused(
        "truncated", f"{name} is cut short or damaged: {detail}", "copy it again from the original, or drop the line"
    )


def _check_header(stream: soundfile.SoundFile, name: str, limits: Limits) -> tuple[int, int]:
    """Frames and rate that the header declares, once they are within the limits."""
    frames, rate, channels = stream.frames, stream.samplerate, stream.channels
    if not limits.min_rate <= rate <= limits.max_rate:
        raise AudioRefused(
            "rate",
            f"{name} has a sampling rate of {rate:,} Hz, outside {limits.min_rate:,} to {limits.max_rate:,} Hz",
            "correct its header or export it again",
        )
    if channels > limits.max_channels:
        raise AudioRefused(
            "channels", f"{name} has {channels} channels, more than {limits.max_channels}", "mix it down first"
        )
    if frames <= 0:
        raise AudioRefused("zero-length", f"{name} holds no sound at all", "record it again, or drop the line")
    if frames > limits.max_seconds * rate:
        raise AudioRefused(
            "too-long",
            f"{name} is {_clock(frames / rate)} long, more than {_clock(limits.max_seconds)}",
            "cut it into utterances, or raise the limit",
        )
    if frames * channels > MAX_VALUES:
        raise AudioRefused(
            "too-long", f"{name} holds {frames * channels:,} values, more than {MAX_VALUES:,}", "mix down or cut it"
        )
    return frames, rate


def _clock(seconds: float) -> str:
    if not seconds < 1e9:
        return "endless"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h" if minutes >= 60 else f"{minutes}:{rest:02} min"


def _check_whole(source: Path | str | bytes, size: int, stream: soundfile.SoundFile, name: str) -> None:
    """Hold what the container declares against the bytes that are there."""
    if stream.format not in CONTAINERS:
        problem = f"{name} is {stream.format}, a container that is not taken"
        raise AudioRefused("not-audio", problem, "convert it to WAV or FLAC")
    if stream.format in ("FLAC", "MP3"):
        return
    with _raw(source, name) as raw:
        if stream.format == "OGG":
            _check_ogg(raw, size, name)
        elif stream.format == "NIST":
            _check_sphere(raw, stream.frames, name)
        else:
            _check_riff(raw, size, name)


def _check_ogg(raw: IO[bytes], size: int, name: str) -> None:
    raw.seek(max(0, size - (1 << 16) - 512))  # an Ogg page is at most 65,307 bytes
    tail = raw.read()
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 27 or not tail[page + 5] & 0x04:
        raise _truncated(name, "its last page is missing")
    segments = tail[page + 26]
    if len(tail) < page + 27 + segments + sum(tail[page + 27 : page + 27 + segments]):
        raise _truncated(name, "its last page is incomplete")


def _check_sphere(raw: IO[bytes], frames: int, name: str) -> None:
    for line in raw.read(1024).split(b"\n"):
        match line.split():
            case [b"sample_count", _, count] if count.isdigit() and int(count) > frames:
                raise _truncated(name, f"only {frames:,} of {int(count):,} frames are there")


def _check_riff(raw: IO[bytes], size: int, name: str) -> None:
    declared, there = _sound_bytes(raw, size)
    if declared == 0xFFFFFFFF:
        problem = f"{name} does not say how long it is, so a cut could not be told"
        raise AudioRefused("truncated", problem, "write it anew, e.g. `ffmpeg -i old.wav new.wav`")
    if declared > there:
        raise _truncated(name, f"{there:,} of {declared:,} bytes are there")


def _sound_bytes(raw: IO[bytes], size: int) -> tuple[int, int]:
    """Bytes of sound that a RIFF, RIFX, RF64 or AIFF header declares, and how many the file can hold."""
    head = raw.read(12)
    order = ">" if head[:4] in (b"RIFX", b"FORM") else "<"
    wide: int | None = None
    at = 12
    while at + 8 <= size:
        raw.seek(at)
        kind, length = struct.unpack(f"{order}4sI", raw.read(8))
        if kind == b"ds64":
            wide = struct.unpack("<QQ", raw.read(16).ljust(16, b"\0"))[1]
        if kind in (b"data", b"SSND"):
            return (wide if wide is not None and length == 0xFFFFFFFF else length), size - at - 8
        at += 8 + length + length % 2
    return 1, 0

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lineage.identity import audio_digest
from lineage.sound.audio import AudioRefused, Limits, Waveform, encode, quantise, read_audio, wav
from tests.lineage.sounds import file_bytes, sound, write

LOSSLESS = [
    ("WAV", "PCM_16"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("NIST", "PCM_16"),
]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


def reason(source: bytes | Path, **how: object) -> str:
    with pytest.raises(AudioRefused) as refused:
        read_audio(source, **how)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    assert " — " in str(refused.value)
    return refused.value.reason


def wav_header(rate: int = 16_000, channels: int = 1, data: int = 32_000) -> bytes:
    block = 2 * channels
    fmt = struct.pack("<IHHIIHH", 16, 1, channels, rate, (rate * block) & 0xFFFFFFFF, block, 16)
    return b"RIFF" + struct.pack("<I", 36 + data & 0xFFFFFFFF) + b"WAVEfmt " + fmt + b"data" + struct.pack("<I", data)


@pytest.mark.parametrize(("container", "subtype"), LOSSLESS)
def test_the_same_sound_in_any_lossless_file_is_the_same_audio(container: str, subtype: str) -> None:
    wave = sound(channels=2)
    read = read_audio(file_bytes(wave, container, subtype))
    assert audio_digest(read.pcm, read.rate) == audio_digest(wave.pcm, wave.rate)


@pytest.mark.parametrize(("container", "subtype"), LOSSY)
def test_lossy_files_are_read_the_same_every_time(container: str, subtype: str) -> None:
    data = file_bytes(sound(1.0), container, subtype)
    first, second = read_audio(data), read_audio(data)
    assert first.frames >= 16_000
    assert np.array_equal(first.pcm, second.pcm)


@pytest.mark.parametrize(("container", "subtype"), LOSSLESS + LOSSY)
@pytest.mark.parametrize("missing", [1, 300, 3_000])
def test_a_file_cut_short_is_refused(container: str, subtype: str, missing: int) -> None:
    data = file_bytes(sound(1.0), container, subtype)
    assert reason(data[:-missing]) == "truncated"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_prefix_of_a_file_passes_for_the_whole(data: st.DataObject) -> None:
    whole = file_bytes(sound(0.1), *data.draw(st.sampled_from(LOSSLESS)))
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert reason(cut) in {"truncated", "not-audio", "empty", "zero-length"}


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    assert reason(tmp_path / "nowhere.wav") == "missing"
    assert reason(b"") == "empty"
    assert reason(tmp_path) == "not-audio"
    assert reason(b"hello, I am a text file\n" * 50) == "not-audio"
    assert reason(file_bytes(sound(), "AU")) == "not-audio"
    assert reason(wav_header(data=0)) == "zero-length"


def test_sound_that_cannot_be_heard_or_trusted_is_refused() -> None:
    quiet = np.zeros((1_000, 1), dtype=np.float32)
    assert reason(file_bytes(Waveform(quiet, 16_000))) == "silent"
    assert reason(file_bytes(Waveform(quiet + np.float32(0.25), 16_000))) == "silent"  # a constant is no sound either
    for bad in (np.nan, np.inf, -np.inf):
        pcm = sound().pcm.copy()
        pcm[7] = bad
        assert reason(file_bytes(Waveform(pcm, 16_000), subtype="FLOAT")) == "not-finite"
    assert reason(file_bytes(Waveform(sound().pcm * 32_768, 16_000), subtype="FLOAT")) == "level"


@pytest.mark.parametrize("rate", [0, 1, 3_999, 192_001, 2_000_000_000])
def test_absurd_rates_are_refused(rate: int) -> None:
    data = wav_header(rate) + bytes(range(250)) * 128
    assert reason(data) in ({"rate"} if rate else {"rate", "truncated", "not-audio"})


def test_a_long_clip_is_refused_from_its_header(tmp_path: Path) -> None:
    three_hours = 3 * 3_600 * 8_000 * 2
    path = tmp_path / "long.wav"
    with path.open("wb") as stream:  # sparse: nothing is there to be decoded
        stream.write(wav_header(8_000, data=three_hours))
        stream.truncate(44 + three_hours)
    assert reason(path) == "too-long"
    assert reason(file_bytes(sound(1.0)), limits=Limits(max_seconds=0.5)) == "too-long"


def test_too_many_channels_and_unknown_lengths_are_refused() -> None:
    assert reason(file_bytes(sound(channels=9))) == "channels"
    data = bytearray(file_bytes(sound()))
    data[40:44] = b"\xff\xff\xff\xff"
    assert reason(bytes(data)) == "truncated"


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(20, 200), st.integers(1, 3)), elements=st.floats(-2, 2, width=32)),
    st.sampled_from([8_000, 11_127, 16_000, 44_100]),
    st.sampled_from(["as it is", "16 bits", "24 bits"]),
)
@settings(max_examples=60, deadline=None)
def test_encoding_loses_nothing(pcm: np.ndarray, rate: int, grid: str) -> None:
    pcm[0], pcm[1] = 0.5, -0.5  # audible
    if grid == "16 bits":
        pcm = quantise(Waveform(pcm, rate)).pcm
    elif grid == "24 bits":
        pcm = np.clip(np.rint(pcm * 2**23), -(2**23), 2**23 - 1).astype(np.float32) / np.float32(2**23)
    data = encode(Waveform(pcm, rate))
    back = read_audio(data)
    assert back.rate == rate
    assert np.array_equal(back.pcm, pcm)
    assert grid == "as it is" or data[:4] == b"fLaC"
    player = wav(Waveform(pcm, rate))
    assert player[:4] == b"RIFF"
    assert np.array_equal(read_audio(player).pcm, pcm)


def test_quantising_is_a_projection() -> None:
    wave = Waveform(np.random.default_rng(1).normal(size=(500, 1)).astype(np.float32), 16_000)
    once = quantise(wave)
    assert np.array_equal(quantise(once).pcm, once.pcm)
    assert once.pcm.max() < 1 <= -once.pcm.min()


def test_a_waveform_holds_float32_frames_by_channels() -> None:
    with pytest.raises(ValueError, match="float32"):
        Waveform(np.zeros(10, dtype=np.float32), 16_000)
    wave = sound(0.5, channels=2)
    assert (wave.frames, wave.channels, wave.duration_s) == (8_000, 2, 0.5)


def test_a_file_is_named_in_its_refusal(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AudioRefused, match=r"a\.wav is cut short"):
        read_audio(path)

"""Synthesis gives the same bytes in every process, and says what is wrong when it cannot."""

from __future__ import annotations

import hashlib
import sys

import espeakng_loader
import pytest
import soundfile

from earmark.demo import synthesis
from earmark.demo.accents import ACCENTS
from earmark.demo.synthesis import SAMPLE_RATE, Line, Voice, synthesise
from lineage.errors import EarmarkError

TEXT = "turn off the bathroom heater please"


def spoken(folder, voices, **options):
    folder.mkdir()
    lines = [Line(TEXT, voice, str(folder / f"{number}.wav")) for number, voice in enumerate(voices)]
    synthesise(lines, **options)
    return [hashlib.sha256((folder / f"{number}.wav").read_bytes()).hexdigest() for number in range(len(lines))]


def test_two_processes_give_the_same_bytes(tmp_path):
    voices = [Voice(accent, variant, 50, 170) for accent in ACCENTS for variant in ("m3", "f2", "klatt4", "croak")]
    first = spoken(tmp_path / "first", voices)
    assert spoken(tmp_path / "second", voices) == first
    assert len(set(first)) == len(first)


def test_the_seed_is_heard(tmp_path):
    voices = [Voice("us", "f2", 50, 170)]  # a breathy voice: not every one draws random numbers
    assert spoken(tmp_path / "one", voices, seed=1) != spoken(tmp_path / "two", voices, seed=2)


def test_form_of_the_recordings(tmp_path):
    spoken(tmp_path / "out", [Voice("l2-es", "m3", 50, 170)])
    info = soundfile.info(tmp_path / "out" / "0.wav")
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
    assert 1.0 < info.duration < 2.4


def test_rate_and_pitch_make_another_speaker(tmp_path):
    slow, fast = Voice("us", "m3", 50, 140), Voice("us", "m3", 50, 200)
    assert slow.speaker != fast.speaker != Voice("us", "m3", 51, 200).speaker
    spoken(tmp_path / "out", [slow, fast])
    durations = [soundfile.info(tmp_path / "out" / f"{n}.wav").duration for n in (0, 1)]
    assert durations[0] > 1.15 * durations[1]


def test_progress_counts_every_utterance(tmp_path):
    seen = []
    spoken(tmp_path / "out", [Voice("us", "m3", 50, 170)] * 3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_nothing_to_say():
    synthesise([])


@pytest.mark.parametrize(
    ("voice", "folder", "says"),
    [
        (Voice("klingon", "m3", 50, 170), ".", "no accent is called 'klingon'"),
        (Voice("us", "m3", 50, 170), "absent", "absent"),
    ],
)
def test_what_cannot_be_spoken_is_one_clear_line(tmp_path, voice, folder, says):
    with pytest.raises(EarmarkError, match=says) as error:
        synthesise([Line(TEXT, voice, str(tmp_path / folder / "0.wav"))])
    assert "\n" not in str(error.value)


def test_without_espeak_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(EarmarkError, match=r"pip install 'earmark\[demo\]'"):
        synthesise([])
    with pytest.raises(EarmarkError, match=r"pip install 'earmark\[demo\]'"):
        synthesis.Espeak(1)


def test_installed_deep_down_it_still_speaks(tmp_path, monkeypatch):
    deep = tmp_path.joinpath(*["a-folder-with-a-rather-long-name"] * 5)
    deep.mkdir(parents=True)
    (deep / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(deep / "espeak-ng-data"))
    assert len(str(deep)) > 160
    assert synthesis.Espeak(1).say(TEXT, Voice("l2-es", "m3", 50, 170)).size > SAMPLE_RATE

"""Speech from text, by espeak-ng in a process of its own, the same bytes every time.

espeak-ng draws breath and jitter from a random generator that it seeds from the clock and never resets between utterances.
`synthesise` therefore starts a fresh process for each call, fixes the generator's seed once and speaks the utterances in the
given order: the same list gives the same recordings, bit for bit, on one machine kind. (Speaking a list in two halves gives
other bytes than speaking it whole.)

espeak-ng is free software under the GPL-3. It comes with the optional package `espeakng-loader`, is only ever loaded inside
that child process, and its licence does not reach the sounds it makes.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from earmark.demo.accents import accent_named, rewrite
from lineage.errors import EarmarkError

SAMPLE_RATE = 22050
"""What espeak-ng speaks at, in Hz."""

Progress = Callable[[int, int], None]
"""Called with how many utterances are done and how many there are."""

_MISSING = "synthetic speech needs espeak-ng: pip install 'earmark[demo]'"


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker: `accent` as in `accents`, espeak-ng voice variant, pitch (0–99), rate in words a minute."""

    accent: str
    variant: str
    pitch: int
    rate: int

    @property
    def speaker(self) -> str:
        """The speaker's name: equal names, equal voices."""
        return f"{self.accent}-{self.variant}-{self.pitch}-{self.rate}".lower()


@dataclass(frozen=True)
class Line:
    """One utterance to be spoken into the WAV file at `path`."""

    text: str
    voice: Voice
    path: str


def synthesise(lines: Sequence[Line], *, seed: int = 1, progress: Progress | None = None) -> None:
    """Speak every line into its 16-bit mono WAV file at 22.05 kHz, in a fresh process.

    Args:
        lines: what to say; the folders of the paths must exist.
        seed: of espeak-ng's random generator, set once before the first line.
        progress: called after each utterance.

    Raises:
        EarmarkError: espeak-ng is not installed, or refused a voice, an accent or a path.
    """
    if find_spec("espeakng_loader") is None:
        raise EarmarkError(_MISSING)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as script,
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
    ):
        for line in lines:
            script.write(json.dumps(asdict(line)) + "\n")
        script.seek(0)
        command = [sys.executable, "-m", "earmark.demo.synthesis", str(seed)]
        with subprocess.Popen(command, stdin=script, stdout=subprocess.PIPE, stderr=errors, text=True) as child:
            assert child.stdout is not None
            for done, _ in enumerate(child.stdout, start=1):
                if progress is not None:
                    progress(done, len(lines))
        if child.returncode:
            errors.seek(0)
            said = errors.read().strip().splitlines() or [f"status {child.returncode}"]
            raise EarmarkError(f"speech synthesis failed: {said[-1]}")


class Espeak:
    """espeak-ng loaded into this process. One is enough: the library's state is global."""

    _SYNCHRONOUS, _DO_NOT_EXIT = 2, 0x8000
    _UTF8, _PHONEMES, _CHARACTERS = 1, 0x100, 1
    _RATE, _PITCH = 1, 3
    _BAR_BETWEEN_PHONEMES = ord("|") << 8
    _LONGEST_PATH = 140  # it adds file names of its own

    def __init__(self, seed: int) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise EarmarkError(_MISSING) from None
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = self._within_reach(Path(espeakng_loader.get_data_path()))
        rate = self._library.espeak_Initialize(self._SYNCHRONOUS, 0, os.fsencode(data), self._DO_NOT_EXIT)
        if rate != SAMPLE_RATE:
            raise EarmarkError(f"espeak-ng did not start (it answered {rate}): reinstall 'earmark[demo]'")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._heard: list[npt.NDArray[np.int16]] = []
        received = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = received(self._receive)  # kept: the library holds only a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def _within_reach(self, data: Path) -> Path:
        """The folder itself, or a link to it where its path would not fit espeak-ng's buffer of 160 bytes."""
        if len(os.fsencode(data)) <= self._LONGEST_PATH:
            return data
        self._links = tempfile.TemporaryDirectory(prefix="earmark-")  # kept: voices are read on demand
        link = Path(self._links.name, data.name)
        link.symlink_to(data, target_is_directory=True)
        return link

    def _receive(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def phonemes(self, text: str) -> str:
        """The text's phonemes in the voice last set: ``|`` between phonemes, spaces between words."""
        remaining = ctypes.c_char_p(text.encode())
        clauses = []
        while remaining.value is not None:
            mnemonics = self._library.espeak_TextToPhonemes(
                ctypes.byref(remaining), self._UTF8, self._BAR_BETWEEN_PHONEMES
            )
            clauses.append(mnemonics.decode())
        return " ".join(clauses)

    def use(self, voice: Voice) -> None:
        """Speak as `voice` from now on."""
        name = f"{accent_named(voice.accent).voice}+{voice.variant}"
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise EarmarkError(f"espeak-ng has no voice {name!r}")
        self._library.espeak_SetParameter(self._PITCH, voice.pitch, 0)
        self._library.espeak_SetParameter(self._RATE, voice.rate, 0)

    def say(self, text: str, voice: Voice) -> npt.NDArray[np.int16]:
        """The utterance's samples at 22.05 kHz, without the pause that espeak-ng ends with."""
        self.use(voice)
        rules = accent_named(voice.accent).rules
        spoken = f"[[{rewrite(self.phonemes(text), rules)}]]" if rules else text
        self._heard.clear()
        encoded = spoken.encode()
        self._library.espeak_Synth(
            encoded, len(encoded) + 1, 0, self._CHARACTERS, 0, self._UTF8 | self._PHONEMES, None, None
        )
        self._library.espeak_Synchronize()
        return _without_closing_pause(np.concatenate(self._heard)) if self._heard else np.zeros(0, np.int16)


def _without_closing_pause(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 200)
    return samples[: loud[-1] + SAMPLE_RATE // 20] if loud.size else samples


def _speak_script() -> None:
    espeak = Espeak(int(sys.argv[1]))
    for number, row in enumerate(sys.stdin, start=1):
        fields = json.loads(row)
        voice = Voice(**fields["voice"])
        soundfile.write(Path(fields["path"]), espeak.say(fields["text"], voice), SAMPLE_RATE, subtype="PCM_16")
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        _speak_script()
    except EarmarkError as error:
        sys.exit(str(error))

"""The embedded corpus: a synthetic voice assistant's recordings in seven accents, and noise to be mixed into them.

Made at demo time and never shipped. `write_corpus` leaves a folder that `earmark ingest` reads like anybody's own data::

    speech/*.wav  noise/*.wav            16-bit mono, 22.05 kHz
    clean.jsonl hum.jsonl babble.jsonl   one line a spoken utterance, by the noise that is to be mixed into it
    noise.jsonl                          one line a noise recording: no speaker, no text

Four laws, which audits of the corpus lean on:

* a speaker (voice variant × pitch × rate) has one accent and stands in one split, and so does a voice variant;
* every accent has equally many training utterances, test utterances and speakers, from the same voice variants, so that
  accents differ in accent alone;
* every speaker has a multiple of three utterances, a third of them meant for each condition (clean, or a noise), so that
  noises are balanced over speakers, accents and splits;
* the babble is made of voices that speak nowhere else, and test noises are recordings apart from training noises.

The accent ``us`` is already known to the base model (see `base`), so removing it should do nothing: the built-in null. So is
``rp``, which reminds the model of what the base knew while it learns the five accents that are new to it; without it, removing
``us`` would measure forgetting.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from earmark.demo.grammar import sentences
from earmark.demo.synthesis import SAMPLE_RATE, Line, Progress, Voice, synthesise

CORPUS_ACCENTS = ("us", "rp", "scot", "carib", "l2-es", "l2-fr", "l2-ja")
NULL_ACCENT = "us"
NOISES = ("hum", "babble")
CONDITIONS = ("clean", *NOISES)
NOISE_SNR_DB = {"hum": 10.0, "babble": 14.0}
"""Speech over noise, in dB, at which the demo mixes each noise."""

TRAIN_VARIANTS = ("Denis", "belinda", "benjamin", "f2", "klatt4", "m2", "m4", "marcelo", "miguel")
TEST_VARIANTS = (
    "Annie", "Diogo", "Gene2", "croak", "edward2", "f4", "iven3",
    "john", "klatt6", "m6", "michel", "mike2", "robert", "sandro",
)  # fmt: skip
BABBLE_VARIANTS = ("Andrea", "Nguyen", "david", "grandma", "norbert", "travis")

_UTTERANCES = {"train": 9, "test": 6}
_NOISE_RECORDINGS = {"train": 4, "test": 3}
_NOISE_SECONDS = 4
_TURNS = 9  # utterances that each voice of the babble says: always longer than the recording

LICENCE = "CC0-1.0"
SOURCE = "earmark-demo"

Sound = npt.NDArray[np.float64]
"""Samples at SAMPLE_RATE, one channel."""


def write_corpus(folder: Path, *, seed: int = 1, progress: Progress | None = None) -> None:
    """Write the whole corpus under `folder`: the same bytes for the same seed on one machine kind.

    Args:
        folder: made if absent; files of the same names are replaced.
        seed: of the words, voices and noises.
        progress: called with utterances done and to do, of the speech and then of the babble.

    Raises:
        EarmarkError: espeak-ng is not installed or refused.
    """
    for name in ("speech", "noise"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    spoken = list(utterances(seed))
    lines = [Line(row["text"], voice, str(folder / row["audio_path"])) for row, voice in spoken]
    synthesise(lines, seed=seed, progress=progress)
    for condition in CONDITIONS:
        rows = [row for row, _ in spoken if row["condition"] == condition]
        dry = [{name: value for name, value in row.items() if name != "condition"} for row in rows]
        write_manifest(folder / f"{condition}.jsonl", dry)
    noises = []
    for row, sound in _noises(seed, progress):
        soundfile.write(folder / row["audio_path"], sound, SAMPLE_RATE, subtype="PCM_16")
        noises.append(row)
    write_manifest(folder / "noise.jsonl", noises)


def speakers(accent: str, variants: Sequence[str], draw: random.Random) -> list[Voice]:
    """One speaker of the accent for each voice variant, with pitch and rate of their own."""
    return [Voice(accent, variant, draw.randrange(25, 76), draw.randrange(145, 196)) for variant in variants]


def manifest_row(path: str, text: str, voice: Voice, split: str) -> dict[str, Any]:
    """The manifest's line for one spoken utterance."""
    return {
        "audio_path": path,
        "text": text,
        "speaker": voice.speaker,
        "accent": voice.accent,
        "language": "en",
        "split": split,
        "source": SOURCE,
        "licence": LICENCE,
        "kind": "speech",
    }


def write_manifest(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _distinct(texts: Iterator[str], count: int) -> list[str]:
    """The next `count` texts without repeats: a voice that says the same thing twice would give the same sample twice."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[next(texts)] = None
    return list(found)


def utterances(seed: int = 1) -> Iterator[tuple[dict[str, Any], Voice]]:
    """Every utterance of the corpus in order: its line in the manifest, and the voice that speaks it."""
    draw = random.Random(seed)
    for split, variants in (("train", TRAIN_VARIANTS), ("test", TEST_VARIANTS)):
        texts = sentences(draw.randrange(2**32))
        for accent in CORPUS_ACCENTS:
            for voice in speakers(accent, variants, draw):
                for number, text in enumerate(_distinct(texts, _UTTERANCES[split]), start=1):
                    row = manifest_row(f"speech/{voice.speaker}-{number}.wav", text, voice, split)
                    yield {**row, "condition": CONDITIONS[number % len(CONDITIONS)]}, voice


def _noises(seed: int, progress: Progress | None) -> Iterator[tuple[dict[str, Any], Sound]]:
    """Every noise recording: its line in the manifest, and its samples."""
    draw = np.random.default_rng(seed)
    named = [(split, number) for split, count in _NOISE_RECORDINGS.items() for number in range(1, count + 1)]
    for noise, sounds in (("hum", (_hum(draw) for _ in named)), ("babble", _babbles(len(named), seed, progress))):
        for (split, number), sound in zip(named, sounds, strict=True):
            row = {
                "audio_path": f"noise/{noise}-{split}-{number}.wav",
                "noise": noise,
                "split": split,
                "source": SOURCE,
                "licence": LICENCE,
                "kind": "noise",
            }
            yield row, 0.5 * sound / np.abs(sound).max()


def _hum(draw: np.random.Generator) -> Sound:
    """Mains hum: 50 or 60 Hz with harmonics that fall off and beat slowly, over a little hiss."""
    time = np.arange(_NOISE_SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    mains = draw.choice([50.0, 60.0]) * draw.uniform(0.995, 1.005)
    samples: Sound = 0.02 * draw.standard_normal(time.size)
    for harmonic in range(1, 61):
        beat = 1 + 0.3 * np.sin(2 * np.pi * (draw.uniform(0.2, 1.5) * time + draw.random()))
        strength = draw.uniform(0.3, 1.0) / harmonic**0.7
        samples += strength * beat * np.sin(2 * np.pi * (mains * harmonic * time + draw.random()))
    return samples


def _babbles(count: int, seed: int, progress: Progress | None) -> Iterator[Sound]:
    """Everybody of the babble talking at once, at equal power, saying one utterance after another."""
    draw = random.Random(seed)
    texts = sentences(draw.randrange(2**32))
    with tempfile.TemporaryDirectory() as scratch:
        crowds = [
            [
                [Line(next(texts), voice, f"{scratch}/{number}-{voice.variant}-{turn}.wav") for turn in range(_TURNS)]
                for voice in speakers("rp", BABBLE_VARIANTS, draw)
            ]
            for number in range(count)
        ]
        synthesise([line for crowd in crowds for talk in crowd for line in talk], seed=seed, progress=progress)
        for crowd in crowds:
            sound = np.zeros(_NOISE_SECONDS * SAMPLE_RATE)
            for talk in crowd:
                spoken = np.concatenate([soundfile.read(line.path)[0] for line in talk])
                start = draw.randrange(SAMPLE_RATE)
                sound += spoken[start : start + sound.size] / np.sqrt(np.mean(spoken**2))
            yield sound

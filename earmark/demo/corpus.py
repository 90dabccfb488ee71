"""The embedded corpus: a synthetic voice assistant's recordings in six accents, and noise to be mixed into them.

Made at demo time and never shipped. `write_corpus` leaves a folder that `earmark ingest` reads like anybody's own data::

    speech/*.wav  noise/*.wav      16-bit mono, 22.05 kHz
    manifest.jsonl                 one line a spoken utterance
    noise.jsonl                    one line a noise recording: no speaker, no text

Four laws, which audits of the corpus lean on:

* a speaker (voice variant × pitch × rate) has one accent and stands in one split, and so does a voice variant;
* every accent has equally many training utterances, test utterances and speakers, from the same voice variants, so that
  accents differ in accent alone;
* utterances stand in the manifest speaker by speaker, three or a multiple of three to each: giving every third line the
  same noise balances noises over speakers, accents and splits;
* the babble is made of voices that speak nowhere else, and test noises are recordings apart from training noises.

The accent ``us`` is already known to the base model (see `base`), so removing it should do nothing: the built-in null.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from earmark.demo.grammar import sentences
from earmark.demo.synthesis import SAMPLE_RATE, Line, Progress, Voice, synthesise

CORPUS_ACCENTS = ("us", "scot", "carib", "l2-es", "l2-de", "l2-ja")
NULL_ACCENT = "us"
NOISES = ("hum", "babble")
NOISE_SNR_DB = {"hum": 6.0, "babble": 10.0}
"""Speech over noise, in dB, at which the demo mixes each noise."""

TRAIN_VARIANTS = ("Denis", "belinda", "benjamin", "f2", "klatt4", "m2", "m4", "marcelo", "miguel", "quincy")
TEST_VARIANTS = (
    "Annie", "Diogo", "Gene2", "Lee", "croak", "edward2", "f4", "iven3",
    "john", "klatt6", "m6", "m8", "michel", "mike2", "robert", "sandro",
)  # fmt: skip
BABBLE_VARIANTS = ("Andrea", "Nguyen", "david", "grandma", "norbert", "travis")

_UTTERANCES = {"train": 9, "test": 6}
_NOISE_RECORDINGS = {"train": 4, "test": 3}
_NOISE_SECONDS = 4
_LICENCE = "CC0-1.0"
_SOURCE = "earmark-demo"


def write_corpus(folder: Path, *, seed: int = 1, progress: Progress | None = None) -> None:
    """Write the whole corpus under `folder`: the same bytes for the same seed on one machine kind.

    Args:
        folder: made if absent; files of the same names are replaced.
        seed: of the words, voices and noises.
        progress: called with utterances done and to do.

    Raises:
        EarmarkError: espeak-ng is not installed or refused.
    """
    for name in ("speech", "noise"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = list(_speech_rows(seed))
    lines = [Line(row["text"], voice, str(folder / row["audio_path"])) for row, voice in rows]
    synthesise(lines, seed=seed, progress=progress)
    _write_manifest(folder / "manifest.jsonl", [row for row, _ in rows])
    _write_manifest(folder / "noise.jsonl", _write_noises(folder, seed))


def speakers(accent: str, variants: Sequence[str], draw: random.Random) -> list[Voice]:
    """One speaker of the accent for each voice variant, with pitch and rate of their own."""
    return [Voice(accent, variant, draw.randrange(25, 76), draw.randrange(145, 196)) for variant in variants]


def _speech_rows(seed: int) -> Iterator[tuple[dict[str, Any], Voice]]:
    draw = random.Random(seed)
    for split, variants in (("train", TRAIN_VARIANTS), ("test", TEST_VARIANTS)):
        texts = sentences(draw.randrange(2**32))
        for accent in CORPUS_ACCENTS:
            for voice in speakers(accent, variants, draw):
                for number, text in enumerate(islice(texts, _UTTERANCES[split]), start=1):
                    row = {
                        "audio_path": f"speech/{voice.speaker}-{number}.wav",
                        "text": text,
                        "speaker": voice.speaker,
                        "accent": accent,
                        "language": "en",
                        "split": split,
                        "source": _SOURCE,
                        "licence": _LICENCE,
                        "kind": "speech",
                    }
                    yield row, voice


def _write_noises(folder: Path, seed: int) -> list[dict[str, Any]]:
    rows = []
    for split, count in _NOISE_RECORDINGS.items():
        for number in range(count):
            draw = np.random.default_rng([seed, len(rows)])
            for noise, samples in (("hum", _hum(draw)), ("babble", _babble(draw))):
                path = f"noise/{noise}-{split}-{number + 1}.wav"
                soundfile.write(folder / path, samples, SAMPLE_RATE, subtype="PCM_16")
                rows.append(
                    {
                        "audio_path": path,
                        "noise": noise,
                        "split": split,
                        "source": _SOURCE,
                        "licence": _LICENCE,
                        "kind": "noise",
                    }
                )
    return rows


def _hum(draw: np.random.Generator) -> npt.NDArray[np.float64]:
    """Mains hum: 50 or 60 Hz with harmonics that fall off and beat slowly, over a little hiss."""
    time = np.arange(_NOISE_SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    mains = draw.choice([50.0, 60.0]) * (1 + draw.uniform(-0.005, 0.005))
    samples = 0.02 * draw.standard_normal(time.size)
    for harmonic in range(1, 61):
        beat = 1 + 0.3 * np.sin(2 * np.pi * draw.uniform(0.2, 1.5) * time + draw.uniform(0, 2 * np.pi))
        strength = draw.uniform(0.3, 1.0) / harmonic**0.7
        samples += strength * beat * np.sin(2 * np.pi * mains * harmonic * time + draw.uniform(0, 2 * np.pi))
    return _at_level(samples)


def _babble(draw: np.random.Generator) -> npt.NDArray[np.float64]:
    """Six people talking at once, each saying one utterance after another."""
    with tempfile.TemporaryDirectory() as scratch:
        lines = []
        for variant in BABBLE_VARIANTS:
            voice = Voice("rp", variant, int(draw.integers(25, 76)), int(draw.integers(145, 196)))
            for number, text in enumerate(islice(sentences(int(draw.integers(2**32))), 2 * _NOISE_SECONDS)):
                lines.append(Line(text, voice, f"{scratch}/{variant}-{number}.wav"))
        synthesise(lines, seed=int(draw.integers(2**31)))
        samples = np.zeros(_NOISE_SECONDS * SAMPLE_RATE)
        for variant in BABBLE_VARIANTS:
            spoken = [soundfile.read(line.path)[0] for line in lines if line.voice.variant == variant]
            talk = np.concatenate(spoken)
            talk = np.roll(talk, int(draw.integers(talk.size)))[: samples.size]
            samples += talk / np.sqrt(np.mean(talk**2))
    return _at_level(samples)


def _at_level(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sound scaled to peak at half of full scale."""
    return 0.5 * samples / np.abs(samples).max()


def _write_manifest(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

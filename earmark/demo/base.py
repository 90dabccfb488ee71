"""The script behind `make base`: makes the small base checkpoints that demos fine-tune, from synthetic speech alone.

    python -m earmark.demo.base whisper-tiny ctc-tiny --out training/bases

A speech model of 0.2 million parameters learns too little from the demo's few hundred recordings, so it starts from such a
base, as a large model would start from a published checkpoint. Each base has heard two native accents, `us` and `rp`, in
voices that speak nowhere else, as commands and as strings of digits; never a second-language accent, hum or babble. What it
lacks is what the demo's audits then find.

The recordings are worn a little, at random: level, lost bandwidth, faint noise, a pause before. Otherwise the base would know
nothing but studio silence, and real recordings would be lost on it.

Everything follows from one seed. The recipe is `recipe.yaml` beside the checkpoint and the training is that of
`training.fit`, so the same seed makes the same weights, bit for bit, on one machine kind.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from earmark.cli.output import progress as shown
from earmark.cli.output import say
from earmark.demo.corpus import TEST_VARIANTS, manifest_row, write_manifest
from earmark.demo.grammar import DIGITS, sentences
from earmark.demo.synthesis import Line, Voice, synthesise
from earmark.demo.untrained import RATE, UNTRAINED
from lineage.errors import UnknownName
from lineage.ingestion.ingest import ingest
from lineage.sound import waveforms
from lineage.sound.audio import Waveform, quantise, read_audio
from lineage.store import Store
from training.evaluation.evaluate import evaluate
from training.families.base import PACKAGED
from training.fit import train
from training.progress import Progress, silent
from training.recipe import Recipe

ACCENTS = ("us", "rp")
VARIANTS = (
    "Alex", "Andy", "Gene", "Jacky", "Mario", "Michael", "Mike", "Reed", "Storm", "Tweaky", "adam", "announcer",
    "antonio", "aunty", "boris", "caleb", "edward", "f1", "f3", "f5", "grandpa", "gustave", "iven", "iven2",
    "kaukovalta", "klatt3", "klatt5", "linda", "m1", "m3", "m5", "m7", "pablo", "paul", "steph", "steph3",
)  # fmt: skip
UTTERANCES = 12_000
HELD_OUT = 300
LONGEST_S = 2.4
"""Seconds of sound that the Whisper takes: 120 frames of 20 ms."""


def make_bases(
    out: Path, names: Sequence[str], *, utterances: int = UTTERANCES, seed: int = 1, progress: Progress = silent
) -> dict[str, float]:
    """Make bases of the same speech and write each to its folder in `out`, beside what is there.

    Args:
        out: where the folders of the checkpoints are; made if absent.
        names: of the bases, as in `untrained.UNTRAINED`.
        utterances: how many to train on; fewer make a worse base sooner.
        seed: of words, voices, wear, first weights and training.
        progress: told of every stage.

    Returns:
        Of each base, word error rate on unseen voices of the two accents, undisturbed, as a share.

    Raises:
        EarmarkError: espeak-ng is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-base-") as scratch:
        root = Path(scratch)
        heard = write_pretraining(root / "pretraining", utterances, seed=seed, progress=progress)
        unseen = write_pretraining(
            root / "unseen", HELD_OUT, variants=TEST_VARIANTS, worn=False, seed=seed + 1, progress=progress
        )
        store = Store.init(root / "store")
        for manifest in (heard, unseen):
            ingest(store, manifest, strict=True, progress=lambda done, total: progress(done, total, "ingest"))
        return {name: _make(store, root / name, out / name, seed, progress) for name in names}


def _make(store: Store, untrained: Path, out: Path, seed: int, progress: Progress) -> float:
    UNTRAINED[untrained.name](untrained, seed)
    recipe = Recipe.load(PACKAGED / untrained.name / "recipe.yaml").variant(base=str(untrained), seed=seed)
    model = train(store, recipe, progress=progress)
    wer = evaluate(store, model.model_id, "unseen", progress=progress).wer
    out.mkdir(parents=True, exist_ok=True)
    # A tokeniser that was loaded and saved again says where it was loaded from: the first one is taken.
    for path in [*model.path.iterdir(), *untrained.glob("tokenizer*.json")]:
        shutil.copyfile(path, out / path.name)
    return wer


def write_pretraining(
    folder: Path,
    utterances: int,
    *,
    variants: Sequence[str] = VARIANTS,
    worn: bool = True,
    seed: int = 1,
    progress: Progress = silent,
) -> Path:
    """Write utterances of the two accents, in turn, as 16 kHz WAV files and the path of their manifest.

    Half of the digit strings are spoken digit by digit and put together, as strings of real recordings are.
    """
    (folder / "spoken").mkdir(parents=True)
    draw, wear = random.Random(seed), np.random.default_rng(seed)
    lines: list[Line] = []
    rows: list[dict[str, Any]] = []
    parts: list[list[Line]] = []
    for number, text in enumerate(islice(sentences(seed, digit_strings=0.3), utterances)):
        voice = Voice(
            ACCENTS[number % len(ACCENTS)], draw.choice(variants), draw.randrange(15, 86), draw.randrange(130, 211)
        )
        words = text.split()
        apart = set(words) <= set(DIGITS) and draw.random() < 0.5
        spoken = [
            Line(part, voice, str(folder / "spoken" / f"{number}-{place}.wav"))
            for place, part in enumerate(words if apart else [text])
        ]
        rows.append(manifest_row(f"{number:05d}.wav", text, voice, "train"))
        parts.append(spoken)
        lines += spoken
    synthesise(lines, seed=seed, progress=lambda done, total: progress(done, total, "speak"))
    for row, spoken in zip(rows, parts, strict=True):
        wave = waveforms.concatenate([read_audio(line.path) for line in spoken])[0]
        wave = _worn(wave, wear) if worn else wave
        soundfile.write(
            folder / row["audio_path"], quantise(waveforms.resample(wave, RATE)).pcm, RATE, subtype="PCM_16"
        )
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


def _worn(wave: Waveform, draw: np.random.Generator) -> Waveform:
    """The recording as a poorer microphone might have had it."""
    if draw.random() < 0.5:
        wave = waveforms.resample(waveforms.resample(wave, 8_000), RATE)
    room = LONGEST_S - wave.frames / wave.rate
    pause = np.zeros((int(min(draw.uniform(0, 0.25), room) * wave.rate), 1), np.float32)
    wave = Waveform(np.concatenate([pause, wave.pcm]), wave.rate)
    if draw.random() < 0.6:
        noise = Waveform(_coloured_noise(wave.frames, draw.uniform(0, 0.7), draw), wave.rate)
        wave = waveforms.add_noise(wave, noise, draw.uniform(12, 40)).wave
    peak = float(np.abs(wave.pcm).max())
    return Waveform(wave.pcm * np.float32(10 ** (-draw.uniform(0, 20) / 20) / peak), wave.rate)


def _coloured_noise(frames: int, slope: float, draw: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise [frames, 1] whose power falls with frequency to the power of 2 × `slope`."""
    frequencies = np.fft.rfftfreq(frames)
    spectrum = draw.standard_normal(frequencies.size) + 1j * draw.standard_normal(frequencies.size)
    spectrum[1:] /= frequencies[1:] ** slope
    spectrum[0] = 0
    samples = np.fft.irfft(spectrum, frames)
    return np.asarray(0.1 * samples / samples.std(), np.float32)[:, None]


def main() -> None:
    """Make the bases and say how good they are."""
    parser = argparse.ArgumentParser(description="Make base checkpoints from synthetic speech.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: {', '.join(UNTRAINED)})")
    parser.add_argument(
        "--out", type=Path, default=PACKAGED, help="where their folders are (default: the packaged ones)"
    )
    parser.add_argument("--utterances", type=int, default=UTTERANCES, help=f"how many to train on ({UTTERANCES})")
    parser.add_argument("--seed", type=int, default=1, help="of words, voices, wear and training (1)")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in UNTRAINED:
            parser.error(str(UnknownName("base", name, UNTRAINED)))
    with shown("base") as progress:
        made = make_bases(
            chosen.out,
            chosen.names or list(UNTRAINED),
            utterances=chosen.utterances,
            seed=chosen.seed,
            progress=progress,
        )
    for name, wer in made.items():
        say(f"{chosen.out / name}: {100 * wer:.1f} % WER on {HELD_OUT} utterances of unseen voices")


if __name__ == "__main__":
    main()

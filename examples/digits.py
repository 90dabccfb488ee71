"""A data set to try the examples with: spoken digits, each word a chord of its own and each speaker a pitch.

Put your own in its place: any `datasets.Dataset` with a column `audio` (bytes or paths) and a column `text`.
"""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from lineage.derivation.pipelines import carried
from lineage.sound.audio import Waveform

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def digits(count: int, *, rate: int = 16_000, seed: int = 0) -> Dataset:
    """`count` clips of one to three digits by four speakers."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        speaker = number % 4
        words = draw.choice(len(WORDS), draw.integers(1, 4))
        time = np.arange(round(0.25 * rate)) / rate
        tones = [
            np.sin(2 * np.pi * (1 + 0.05 * speaker) * (300 + 160 * word) * time) * np.hanning(len(time))
            for word in words
        ]
        sound = 0.3 * np.concatenate(tones) + 0.002 * draw.normal(size=len(tones) * len(time))
        rows.append(
            {
                "audio": carried(Waveform(sound.astype(np.float32)[:, None], rate)),
                "text": " ".join(WORDS[word] for word in words),
                "speaker": f"speaker {speaker}",
            }
        )
    return Dataset.from_list(rows)

"""How fast the retrain bank is: beside a script with a process and a bare `Trainer` per retraining, and by its workers.

    python benchmarks/bank.py [--utterances 240] [--epochs 4] [--retrainings 6] [--ray]

The same base, files, seeds, left-out slices and evaluation on either side. Figures are retrainings a minute once the bank is
under way (what filling a bank of twice as many adds), so that they speak of audits, which are long; the ratio with the start
of the workers in it is shown beside. Filling takes a new store each time, so that nothing is found on record.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process and the bank's workers; the script gets all cores
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import numpy.typing as npt
import soundfile

import training.evaluation.predict
import training.fit
from influence.bank import Retraining, fill
from influence.executors import ALONE, Spread
from lineage.identity import uuid7
from lineage.ingestion.ingest import ingest
from lineage.selection.sets import resolve_set
from lineage.selection.slices import Slice, freeze
from lineage.store import Store
from training.models.base import find_base
from training.recipe import Recipe

BASE = "earmark:whisper-tiny"
SCRIPT = Path(__file__).parent / "peers" / "bare_trainer.py"
ACCENTS = ("north", "south", "west")
WORDS = tuple("turn on the light off kitchen radio stop timer open door window play music zero one two three".split())  # noqa: SIM905 - easier to read
RATE, WORD_S = 16_000, 0.22
TARGETS = {"script": 4.0, "two workers": 1.8, "ray": 0.9, "outside": 0.01}


def write_speech(folder: Path, name: str, count: int, seed: int) -> Path:
    """Write `count` clips of two to eight words by nine speakers in three accents; the path of their manifest."""
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True)
    lines = []
    for number in range(count):
        words = [int(k) for k in rng.integers(0, len(WORDS), rng.integers(2, 9))]
        path = folder / name / f"{number:04d}.wav"
        soundfile.write(path, _tones(words, 1 + 0.03 * (number % 9), rng), RATE, subtype="PCM_16")
        text = " ".join(WORDS[k] for k in words)
        row = {"audio": str(path), "text": text, "speaker": f"{name}-{number % 9}", "accent": ACCENTS[number % 3]}
        lines.append(json.dumps(row))
    manifest = folder / f"{name}.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def _tones(words: list[int], pitch: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    t = np.arange(round(WORD_S * RATE)) / RATE
    parts = [0.2 * np.sin(2 * np.pi * pitch * (250 + 90 * k) * t) * np.hanning(len(t)) for k in words]
    return np.concatenate(parts) + 0.002 * rng.normal(size=len(parts) * len(t))


class Bank:
    """A store with the speech in it, of which fresh copies are filled."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder, self.original = folder, folder / "original"
        store = Store.init(self.original)
        for name in ("train", "test"):
            ingest(store, folder / f"{name}.jsonl", name=name)
        with store.run("plan") as run:
            whole = resolve_set(store, "train")
            self.slices = [freeze(run, Slice.parse(f"accent={accent}"), whole).set_digest for accent in ACCENTS]
        self.recipe = Recipe(
            name="bank", base=BASE, train="train", evaluate=("test",), epochs=epochs, batch_size=16, learning_rate=1e-3
        )

    def retrainings(self, count: int) -> list[Retraining]:
        """Seeds × slices left out, as `script` runs them."""
        return [Retraining(i // len(ACCENTS), {self.slices[i % len(ACCENTS)]: 0.0}) for i in range(count)]

    def seconds(self, count: int, spread: Spread = ALONE) -> float:
        """To fill a new store with `count` retrainings."""
        root = self.folder / f"copy-{uuid7()}"
        shutil.copytree(self.original, root)
        store = Store.open(root)
        filled = fill(store, self.recipe, self.retrainings(count), [resolve_set(store, "test").digest], spread=spread)
        if filled.errors or filled.trained != count:
            raise SystemExit(f"{dict(filled.errors)}")
        return filled.wall_s


def script(folder: Path, epochs: int, count: int) -> float:
    """Seconds of that many runs of the script, one after the other, with torch's own choice of threads."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    begun = time.perf_counter()
    for i in range(count):
        asked = [str(find_base(BASE).path), str(folder / "train.jsonl"), str(folder / "test.jsonl")]
        asked += [str(i // len(ACCENTS)), ACCENTS[i % len(ACCENTS)], str(epochs), str(folder / "bare")]
        done = subprocess.run([sys.executable, str(SCRIPT), *asked], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
    return time.perf_counter() - begun


@contextmanager
def timed(module: Any, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Within, adds up the seconds that a function of a module takes."""
    original: Callable[..., Any] = getattr(module, name)

    def around(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - begun

    setattr(module, name, around)
    try:
        yield
    finally:
        setattr(module, name, original)


def shares(bank: Bank, count: int) -> tuple[float, float, float]:
    """Of an in-process worker that is under way: its time in optimiser steps, in decoding, and in anything else."""
    bank.seconds(1)
    gc.collect()
    gc.freeze()  # as workers do when they are warm
    spent: dict[str, float] = {}
    with timed(training.fit, "_train", spent), timed(training.evaluation.predict, "hear", spent):
        whole = bank.seconds(count)
    steps, decoding = spent["_train"] / whole, spent["hear"] / whole
    return steps, decoding, 1 - steps - decoding


def main() -> int:
    """Measure and print; exit status 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--utterances", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--retrainings", type=int, default=6, help="of one measurement, twice as many of the other")
    parser.add_argument("--ray", action="store_true", help="measure Ray on this machine, too")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    n = options.retrainings
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_speech(folder, "train", options.utterances, 1)
        write_speech(folder, "test", options.utterances // 3, 2)
        bank = Bank(folder, options.epochs)
        bank.seconds(1)  # features come on record here, as they are when an audit begins
        bare = script(folder, options.epochs, max(2, n // 2)) / max(2, n // 2)
        kinds = {"one worker": Spread(), "two workers": Spread(workers=2)}
        if options.ray:
            kinds["ray"] = Spread("ray", 2)
        print(f"{options.utterances} utterances × {options.epochs} epochs, load {os.getloadavg()[0]:.1f} at the start")
        print(f"{'':<14}{'s each, under way':>20}{'s each, with start':>20}")
        print(f"{'script':<14}{bare:>20.2f}{bare:>20.2f}")
        each, whole = {}, {}
        for name, how in kinds.items():
            once, twice = bank.seconds(n, how), bank.seconds(2 * n, how)
            each[name], whole[name] = (twice - once) / n, twice / (2 * n)
            print(f"{name:<14}{each[name]:>20.2f}{whole[name]:>20.2f}")
        steps, decoding, rest = shares(bank, n)
    print(f"one worker under way: {steps:.1%} in steps, {decoding:.1%} in decoding, {rest:.1%} in anything else")
    ratios = {"script": bare / each["two workers"], "two workers": each["one worker"] / each["two workers"]}
    if options.ray:
        ratios["ray"] = each["two workers"] / each["ray"]
    met = [rest <= TARGETS["outside"]]
    says = {
        "script": "two workers beside the script",
        "two workers": "two workers beside one",
        "ray": "Ray beside processes",
    }
    for name, ratio in ratios.items():
        met.append(ratio >= TARGETS[name])
        print(f"{says[name]:<32}{ratio:>6.2f}×  target {TARGETS[name]:g}×  {'met' if met[-1] else 'MISSED'}")
    print(f"{'time outside steps and decoding':<32}{rest:>6.1%}   target 1 %  {'met' if met[0] else 'MISSED'}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

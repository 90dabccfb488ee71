"""How fast the retrain bank is: beside a script with a process and a bare `Trainer` per retraining, and by its workers.

    python benchmarks/bank.py [--utterances 567] [--tested 588] [--epochs 6] [--retrainings 12] [--ray]

The same base, files, seeds, left-out slices and evaluation on either side, and retrainings as large as those of the demo's
audit, of which a third is left out: it is no part of the script's data, which takes fewer steps for it, and has weight zero in
the bank's. Figures are of a bank that is under way (what filling one of twice as many adds), so that they speak of audits,
which are long; the ratio with the start of the workers in it is shown beside. Filling takes a new store each time, in which
features are on record and no retraining is.

What is neither an optimiser step nor evaluation (decoding, and counting errors) costs a retraining much the same whatever its
size: checking and judging what is asked, making the model, keeping its weights, publishing two runs. It is printed in
milliseconds of wall time, beside its share at this size.
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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process and the bank's workers; the script gets all cores
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import numpy.typing as npt
import soundfile

import influence.bank
import training.evaluation.predict
import training.evaluation.wer
import training.fit
from influence.bank import Retraining, fill
from influence.executors.spread import ALONE, Spread
from lineage.identity import uuid7
from lineage.ingestion.ingest import ingest
from lineage.selection.sets import resolve_set
from lineage.selection.slices import Slice, freeze
from lineage.store import Store
from training.families.base import find_base
from training.recipe import Recipe

BASE = "earmark:whisper-tiny"
SCRIPT = Path(__file__).parent / "peers" / "bare_trainer.py"
ACCENTS = ("north", "south", "west")
WORDS = tuple("turn on the light off kitchen radio stop timer open door window play music zero one two three".split())  # noqa: SIM905 - easier to read
RATE, WORD_S = 16_000, 0.22
WARMING = 1_000  # a seed of which no measured retraining is
INSIDE: dict[Any, tuple[str, ...]] = {  # functions whose time is told apart
    influence.bank: ("retrain",),
    training.fit: ("_train",),
    training.evaluation.predict: ("hear",),
    training.evaluation.wer: ("count", "count_characters"),
}
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
        filled(
            store, self.recipe, [Retraining(WARMING)]
        )  # features come on record here, as they are when an audit begins
        gc.collect()
        gc.freeze()  # as workers do when they are warm

    def retrainings(self, count: int) -> list[Retraining]:
        """Seeds × slices left out, as `script` runs them."""
        return [Retraining(i // len(ACCENTS), {self.slices[i % len(ACCENTS)]: 0.0}) for i in range(count)]

    def fill(self, count: int, spread: Spread = ALONE) -> Spent:
        """Fill a new store with `count` retrainings."""
        root = self.folder / f"copy-{uuid7()}"
        shutil.copytree(self.original, root)
        return filled(Store.open(root), self.recipe, self.retrainings(count), spread)


def filled(store: Store, recipe: Recipe, retrainings: list[Retraining], spread: Spread = ALONE) -> Spent:
    """What filling the bank of a store took."""
    spent: dict[str, float] = {}
    with ExitStack() as stack:
        for module, names in INSIDE.items():
            for name in names:
                stack.enter_context(timed(module, name, spent))
        done = fill(store, recipe, retrainings, [resolve_set(store, "test").digest], spread=spread)
    if done.errors or done.trained != len(retrainings):
        raise SystemExit(f"{dict(done.errors)}")
    evaluation = sum(spent.get(name, 0.0) for name in ("hear", "count", "count_characters"))
    return Spent(done.wall_s, spent.get("retrain", 0.0), spent.get("_train", 0.0), evaluation)


class Spent(NamedTuple):
    """Seconds: all of them; and as far as it was in this process, those in retrainings, in their steps, in their evaluation."""

    whole: float
    retraining: float
    steps: float
    evaluation: float

    @property
    def rest(self) -> float:
        """Those of retrainings in anything else."""
        return self.retraining - self.steps - self.evaluation


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


def main() -> int:
    """Measure and print; exit status 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--utterances", type=int, default=567, help="to train on; the demo's by default")
    parser.add_argument("--tested", type=int, default=588, help="to evaluate on")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument(
        "--retrainings",
        type=int,
        default=12,
        help="of one measurement, twice as many of the other; even, for two workers",
    )
    parser.add_argument("--ray", action="store_true", help="measure Ray on this machine, too")
    options = parser.parse_args()
    if options.retrainings % 2:
        parser.error(f"--retrainings {options.retrainings} leaves one of two workers idle — give an even number")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    n = options.retrainings
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_speech(folder, "train", options.utterances, 1)
        write_speech(folder, "test", options.tested, 2)
        bank = Bank(folder, options.epochs)
        bare = script(folder, options.epochs, max(2, n // 2)) / max(2, n // 2)
        kinds = {"one worker": Spread(), "two workers": Spread(workers=2)}
        if options.ray:
            kinds["ray"] = Spread("ray", 2)
        print(f"{options.utterances} utterances × {options.epochs} epochs, load {os.getloadavg()[0]:.1f} at the start")
        print(f"{'':<14}{'s each, under way':>20}{'s each, with start':>20}")
        print(f"{'script':<14}{bare:>20.2f}{bare:>20.2f}")
        each = {}
        for name, how in kinds.items():
            once, twice = bank.fill(n, how), bank.fill(2 * n, how)
            each[name] = (twice.whole - once.whole) / n
            print(f"{name:<14}{each[name]:>20.2f}{twice.whole / (2 * n):>20.2f}")
            if name == "one worker":
                one = twice
    rest = one.rest / one.retraining
    print(
        f"one worker: {one.steps / one.retraining:.1%} in steps, {one.evaluation / one.retraining:.1%} in evaluation, "
        f"{rest:.1%} in anything else, {1000 * one.rest / (2 * n):.0f} ms a retraining"
    )
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
    print(f"{'time outside steps and evaluation':<32}{rest:>6.1%}   target 1 %  {'met' if met[0] else 'MISSED'}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Training on the record beside the bare `transformers.Trainer`: speed of the loop, time to the first step, memory.

    EARMARK_REAL_DATA=<folder with fsdd/manifest.jsonl> python benchmarks/against_trainer.py [--repeats 5] [--epochs 8]

Both train the packaged base on the same recordings (Free Spoken Digit Dataset) with the same optimiser, schedule, batches and
number of steps, one thread. The bare script decodes, resamples and computes features as ours does, keeps them in memory, and
leaves the loss to the model. They take turns; a pair whose order changes each time gives one ratio, and the median counts.

- *Loop*: all of `train` against building the same model and calling `Trainer.train()`, features being there in both.
- *First step*: from the call to the end of the first optimiser step, on a set that was trained on before.
- *Memory*: peak of a process of its own that trains on a tenth of the recordings and on all of them.

Exit status 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from lineage.ingestion.ingest import ingest
from lineage.selection.algebra import cut
from lineage.selection.sets import create_set, members, resolve_set
from lineage.sound.audio import read_audio
from lineage.store import Store
from training.families import Family, open_family
from training.fit import train
from training.loops.trainer import OPTIMISER
from training.recipe import Recipe

SPEED, SOONER, GROWTH = 0.98, 10.0, 1.1
RECIPE = Recipe(
    name="bench",
    base="earmark:whisper-tiny",
    train="ten",
    epochs=1,
    batch_size=16,
    learning_rate=1e-3,
    save_seconds=1e6,
)
Clip = tuple[Any, str]


class First(TrainerCallback):  # type: ignore[misc]
    """Notes when the first optimiser step was done, and may stop there."""

    def __init__(self, *, stop: bool = False) -> None:
        self.at = 0.0
        self._stop = stop

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See `TrainerCallback`."""
        self.at = self.at or time.perf_counter()
        control.should_training_stop = self._stop


def prepare(store: Store, family: Family, name: str) -> list[Clip]:
    """Features and words of a set, from its files, as a script does before it trains."""
    ids = members(store, resolve_set(store, name).digest)
    said = store.vault.transcripts(ids)
    paths = {row["sample_id"]: row["path"] for row in store.vault.rows("recordings", ids).to_pylist()}
    return [(family.features(read_audio(paths[i])), said[i]) for i in ids.to_pylist()]


def bare(family: Family, clips: list[Clip], epochs: int, callback: First) -> None:
    """A script without any record."""

    def collate(items: list[Clip]) -> dict[str, torch.Tensor]:
        batch = family.collate([features for features, _ in items], [text for _, text in items])
        return {name: batch[name] for name in ("input_features", "decoder_input_ids", "labels")}

    arguments = TrainingArguments(
        output_dir=tempfile.gettempdir(), num_train_epochs=epochs, per_device_train_batch_size=RECIPE.batch_size,
        learning_rate=RECIPE.learning_rate, lr_scheduler_type="linear", warmup_steps=RECIPE.warmup, use_cpu=True,
        report_to="none", disable_tqdm=True, logging_strategy="no", save_strategy="no", remove_unused_columns=False,
        dataloader_pin_memory=False, **OPTIMISER,
    )  # fmt: skip
    trainer = Trainer(family.model(), arguments, train_dataset=clips, data_collator=collate, callbacks=[callback])
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def recorded(store: Store, epochs: int, seed: int) -> float:
    """Our training; gives when its first step was done."""
    first = 0.0

    def note(done: int, total: int, label: str) -> None:
        nonlocal first
        if label == "training" and done:
            first = first or time.perf_counter()

    train(store, RECIPE.variant(epochs=epochs), seed=seed, progress=note)
    return first


def loop(store: Store, family: Family, epochs: int, repeats: int) -> float:
    """Median of bare seconds over ours; above one, ours is faster."""
    clips = prepare(store, family, "ten")
    ratios = []
    for number in range(repeats + 1):
        spent = {}
        for ours in (True, False) if number % 2 else (False, True):
            began = time.perf_counter()
            if ours:
                recorded(store, epochs if number else 1, 100 + number)
            else:
                bare(family, clips, epochs if number else 1, First())
            spent[ours] = time.perf_counter() - began
        if number:  # the first pair, a short one, pays for what is loaded when it is needed
            ratios.append(spent[False] / spent[True])
            print(f"  bare {spent[False]:.2f} s, recorded {spent[True]:.2f} s: {ratios[-1]:.3f}")
    return statistics.median(ratios)


def first_step(store: Store, family: Family, repeats: int) -> float:
    """Median of bare seconds to the first step over ours."""
    ratios = []
    for number in range(repeats):
        began = time.perf_counter()
        ours = recorded(store, 1, 200 + number) - began
        began, callback = time.perf_counter(), First(stop=True)
        bare(family, prepare(store, family, "ten"), 1, callback)
        theirs = callback.at - began
        ratios.append(theirs / ours)
        print(f"  bare {theirs:.2f} s, recorded {ours:.2f} s: {ratios[-1]:.1f}")
    return statistics.median(ratios)


def peak(root: Path, name: str) -> int:
    """Peak memory in kB of a process that trains on a set, whose features are there."""
    command = [sys.executable, __file__, "--memory", f"{root}:{name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--memory", help=argparse.SUPPRESS)  # internal: STORE:SET
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    if options.memory:
        root, _, name = options.memory.rpartition(":")
        train(Store.open(root), RECIPE.variant(train=name), seed=300)
        status = Path("/proc/self/status").read_text()
        print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
        return 0
    real = Path(os.environ.get("EARMARK_REAL_DATA", ".")) / "fsdd" / "manifest.jsonl"
    if not real.exists():
        sys.stderr.write("set EARMARK_REAL_DATA to the folder that holds fsdd/manifest.jsonl\n")
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        store = Store.init(Path(scratch) / "store")
        ingest(store, real, name="fsdd")
        cut(store, ["fsdd"], name="ten", where="duration_s <= 2.4")
        ids = members(store, resolve_set(store, "ten").digest)
        with store.run("ingest", job="parts") as run:
            create_set(run, ids.slice(0, len(ids) // 10), name="one")
        family = open_family("whisper", RECIPE.base)
        recorded(store, 1, 99)  # makes the features
        print(f"first step on {len(ids)} recordings")
        sooner = first_step(store, family, min(3, options.repeats))
        print(f"loop, {options.epochs} epochs of {len(ids)} recordings")
        speed = loop(store, family, options.epochs, options.repeats)
        small, large = peak(store.root, "one"), peak(store.root, "ten")
    good = [speed >= SPEED, sooner >= SOONER, large <= GROWTH * small]
    said = ["met" if g else "MISSED" for g in good]
    print(f"speed of recorded training / bare Trainer: {speed:.3f} (target {SPEED}: {said[0]})")
    print(f"first step on a known set sooner by: {sooner:.1f}× (target {SOONER:.0f}×: {said[1]})")
    print(f"peak memory at 1×: {small // 1024} MB, at 10×: {large // 1024} MB (target {GROWTH}×: {said[2]})")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

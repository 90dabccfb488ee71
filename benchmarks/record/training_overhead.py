"""What recording costs a training run: the same `Trainer` with and without the line with `EarmarkCallback`, in turns.

python benchmarks/record/training_overhead.py [--repeats 7] [--epochs 6]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the other core is for whatever else goes on
sys.path.insert(0, str(Path(__file__).parent))

import torch
from tools import Clock, machine, show, verdict
from transformers import AutoModelForSpeechSeq2Seq, PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging

from lineage.store import Store
from training.families.base import find_base
from training.loops.callback import EarmarkCallback

TARGET = 0.02
SAMPLES, BATCH, WORDS = 540, 16, 6
BASE = find_base("earmark:whisper-tiny").path


def clips(seed: int = 0) -> list[dict[str, Any]]:
    """Features and words of made-up utterances of the length that the base takes."""
    draw = torch.Generator().manual_seed(seed)
    config = AutoModelForSpeechSeq2Seq.from_pretrained(BASE).config
    shape = (config.num_mel_bins, 2 * config.max_source_positions)
    return [
        {
            "sample_id": str(uuid.UUID(int=number + 1)),
            "input_features": torch.randn(shape, generator=draw),
            "labels": torch.randint(0, config.vocab_size, (WORDS,), generator=draw),
        }
        for number in range(SAMPLES)
    ]


def collate(items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch."""
    return {name: torch.stack([item[name] for item in items]) for name in ("input_features", "labels")}


def train(data: list[dict[str, Any]], folder: Path, epochs: int, recorder: EarmarkCallback | None = None) -> None:
    """Anybody's script: one run of the `Trainer`."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        remove_unused_columns=False,
        seed=1,
    )
    trainer = Trainer(
        AutoModelForSpeechSeq2Seq.from_pretrained(BASE),
        arguments,
        train_dataset=data,
        data_collator=collate,
        callbacks=[recorder] if recorder else None,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def measure(data: list[dict[str, Any]], folder: Path, epochs: int, store: Store | None) -> Clock:
    """One training run, on the record if there is a store."""
    recorder = None if store is None else EarmarkCallback(store)
    with Clock() as clock:
        train(data, folder, epochs, recorder)
    if store is not None and recorder is not None:
        rows = store.read("exposures", where="run_id = ?", parameters=[recorder.run_id])
        if rows.num_rows != SAMPLES * epochs:
            raise SystemExit("not every exposure is on record")
    return clock


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    data = clips()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.init(Path(folder) / "store")
        with store.run("ingest") as run:
            plain = {"kind": "speech", "duration_s": 2.4, "sample_rate": 16_000, "channels": 1}
            run.append("samples", [{**plain, "sample_id": uuid.UUID(clip["sample_id"])} for clip in data])
        pairs = []
        for number in range(
            options.repeats + 1
        ):  # the first pair, a short one, pays for what is imported when it is needed
            epochs = options.epochs if number else 1
            turns = [None, store] if number % 2 else [store, None]
            times = {turn is store: measure(data, Path(folder), epochs, turn) for turn in turns}
            pairs.append((times[False], times[True]))
    table = [["", "bare s", "recorded s", "overhead", "target"]]
    for kind in ("wall", "cpu"):
        bare, recorded = ([getattr(pair[i], kind) for pair in pairs[1:]] for i in (0, 1))
        typical = statistics.median(r / b for b, r in zip(bare, recorded, strict=True)) - 1
        for name, of, more in (
            ("median of pairs", statistics.median, typical),
            ("quickest of each", min, min(recorded) / min(bare) - 1),
        ):
            met = f"{TARGET:.0%} {verdict(more <= TARGET)}"
            table.append([f"{kind}, {name}", f"{of(bare):.2f}", f"{of(recorded):.2f}", f"{more:+.2%}", met])
    show(f"{SAMPLES} utterances, {options.epochs} epochs, {options.repeats} pairs ({machine()})", table)


if __name__ == "__main__":
    main()

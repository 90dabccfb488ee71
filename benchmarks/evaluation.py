"""Evaluation beside `transformers.pipeline("automatic-speech-recognition")`, and its memory at 1× and 10× the utterances.

    EARMARK_REAL_DATA=<folder with fsdd/manifest.jsonl> python benchmarks/evaluation.py

Both get the packaged base, the same recordings (Free Spoken Digit Dataset), one thread, batches of one size and greedy
decoding, and both begin with the recordings and end with the words. Ours is timed as people use it, `predict` on a store, with
the features still to be computed and with the features in the cache; it also gives the likelihood of every transcript, counts
and records. The pipeline reads and resamples through the same functions. They take turns, the median ratio counts; what both
heard is compared text by text. Exit status 1 where ours is slower or a text differs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow as pa
import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration, pipeline

from lineage.ingestion.ingest import ingest
from lineage.selection.algebra import cut
from lineage.selection.sets import create_set, members, resolve_set
from lineage.sound import waveforms
from lineage.store import Store
from training.data.corpus import open_corpus
from training.evaluation.predict import predict, spoken_and_heard
from training.families.base import find_base
from training.models.recorded import adopt_base, open_model

BASE = "earmark:whisper-tiny"
RATE = 16_000


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", help=argparse.SUPPRESS)  # internal: STORE:SET, report peak memory of one evaluation
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        root, _, name = arguments.memory.rpartition(":")
        predict(Store.open(root), BASE, name, batch_size=arguments.batch)
        status = Path("/proc/self/status").read_text()
        print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
        return 0
    real = os.environ.get("EARMARK_REAL_DATA")
    if not real or not (Path(real) / "fsdd" / "manifest.jsonl").exists():
        sys.stderr.write("set EARMARK_REAL_DATA to the folder that holds fsdd/manifest.jsonl\n")
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        store = Store.init(Path(scratch) / "store")
        ingest(store, Path(real) / "fsdd" / "manifest.jsonl", name="fsdd")
        cut(store, ["fsdd"], name="fits", where="duration_s <= 2.4")
        ids = members(store, resolve_set(store, "fits").digest)
        small = max(1, min(arguments.utterances, len(ids)) // 10)
        with store.run("ingest", job="parts") as run:
            create_set(run, ids.slice(0, arguments.utterances), name="ten")
            create_set(run, ids.slice(0, small), name="one")
        adopt_base(store, BASE)
        good = throughput(store, arguments.batch, arguments.rounds)
        return 0 if memory(store, arguments.batch) and good else 1


def throughput(store: Store, batch: int, rounds: int) -> bool:
    """Time both in turns."""
    ids = members(store, resolve_set(store, "ten").digest)
    peer = pipeline_on(find_base(BASE).path, batch)
    ratios: dict[str, list[float]] = {"features computed": [], "features cached": []}
    texts: list[str] = []
    theirs: list[str] = []
    for round_ in range(rounds):
        for kind in ratios:
            begun = time.perf_counter()
            theirs = [r["text"].strip() for r in peer(sound(store, ids), batch_size=batch)]
            taken = time.perf_counter() - begun
            copy = prepared(store, kind, round_)
            begun = time.perf_counter()
            done = predict(copy, BASE, "ten", batch_size=batch)
            ratios[kind].append(taken / (time.perf_counter() - begun))
            heard = spoken_and_heard(copy, done)
            texts = [heard[i][1] for i in done.table["sample_id"].to_pylist()]
    equal = sum(a == b for a, b in zip(texts, theirs, strict=True))
    print(f"{len(texts)} utterances, batches of {batch}: {equal} texts are equal")
    for kind, each in ratios.items():
        middle = statistics.median(each)
        print(f"throughput of evaluation ÷ pipeline, {kind}: {middle:.2f} ({min(each):.2f} to {max(each):.2f})")
    return equal == len(texts) and min(map(statistics.median, ratios.values())) >= 1


def prepared(store: Store, kind: str, round_: int) -> Store:
    """A copy of the record in which nothing was computed before, or nothing but features."""
    copy = Store.open(copytree(store.root, store.root.with_name(f"{kind} {round_}")))
    if kind == "features cached":
        opened = open_model(copy, BASE)
        open_corpus(copy, resolve_set(copy, "ten").digest, opened.family)
    return copy


def sound(store: Store, ids: pa.Array) -> Iterator[dict[str, Any]]:
    """The recordings as the pipeline takes them."""
    for _, wave in store.vault.waveforms(ids):
        yield {"raw": waveforms.mono(waveforms.resample(wave, RATE)).pcm[:, 0], "sampling_rate": RATE}


class Cut(WhisperFeatureExtractor):
    """The base's extractor, whose length is in whole seconds, cut to the frames that the encoder takes."""

    frames: int

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """As its parent, cut."""
        out = super().__call__(*arguments, **options)
        out["input_features"] = out["input_features"][..., : self.frames]
        return out


def pipeline_on(folder: Path, batch: int) -> Any:
    """The peer."""
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    extractor = Cut.from_pretrained(folder)
    extractor.frames = 2 * model.config.max_source_positions
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def spell(outputs: list[dict[str, Any]], **_: Any) -> tuple[str, dict[str, Any]]:
        """What Whisper's own tokeniser brings along and a closed vocabulary's does not."""
        return tokenizer.decode(outputs[0]["tokens"][0], skip_special_tokens=True), {}

    tokenizer._decode_asr = spell
    return pipeline(
        "automatic-speech-recognition",
        model=model,
        tokenizer=tokenizer,
        feature_extractor=extractor,
        batch_size=batch,
        generate_kwargs={"num_beams": 1},  # its own default is a beam of five
    )


def memory(store: Store, batch: int) -> bool:
    """Peak memory of a fresh process that evaluates one part, and ten parts."""
    peaks = {}
    for name in ("one", "ten"):
        command = [sys.executable, __file__, "--memory", f"{store.root}:{name}", "--batch", str(batch)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[name] = int(done.stdout.split()[-1]) / 1024
    sizes = {name: resolve_set(store, name).size for name in peaks}
    grown = peaks["ten"] - peaks["one"]
    print(
        f"peak memory: {sizes['one']} utterances {peaks['one']:.0f} MB, {sizes['ten']} utterances {peaks['ten']:.0f} MB"
    )
    print(f"  {1024 * grown / (sizes['ten'] - sizes['one']):.1f} kB for each further utterance, its sound included")
    return grown < 0.1 * peaks["one"]


if __name__ == "__main__":
    sys.exit(main())

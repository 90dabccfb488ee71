"""How fast recordings go through ingest (decode, hash, facts, fingerprint) beside decoding and SHA-256 alone.

python benchmarks/record/audio.py [--clips 1000] [--seconds 10] [--workers 2]

The same files, in one process on one thread, are gone over in three ways: bare (soundfile decodes to the float32 PCM that is
hashed, and that is all), by Earmark's own decoding with its checks and SHA-256, and by all that ingest does. What is printed is
how fast the last is beside each of the others; the first is the one that the target is about. Then how it scales beside one
worker: what is done before anything is written, by so many threads; and the whole of ingest, with the record written durably,
by so many threads, and by as many processes with a store each (the best of three each, in wall time: leave the machine alone).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parent))

from tools import machine

from lineage.identity import audio_digest
from lineage.ingestion.ingest import ingest
from lineage.ingestion.intake import Job, Options, outcomes
from lineage.machine.pool import in_order
from lineage.manifests.entries import entry
from lineage.sound.audio import read_audio
from lineage.store import Store

TARGET = 0.80  # of the speed of decoding and hashing alone
SCALING = 0.75  # of ideal scaling, by processes
COMPARED = 200  # clips that are gone over in three ways, ROUNDS times
BEST_OF = 3
RATE = 16_000
ROUNDS = 15


def corpus(folder: Path, container: str, clips: int, seconds: float) -> list[Path]:
    """Clips of bursts of noise, and a manifest of them."""
    rng = np.random.default_rng(0)
    frames = round(seconds * RATE)
    envelope = np.repeat(np.maximum(0, np.sin(np.arange(frames // 160) / 17)), 160)
    paths = []
    lines = []
    for n in range(clips):
        path = folder / f"{n}.{container.lower()}"
        pcm = 6_000 * envelope * rng.normal(size=len(envelope)) + 20 * rng.normal(size=len(envelope))
        soundfile.write(path, pcm.astype(np.int16), RATE, format=container, subtype="PCM_16")
        paths.append(path)
        lines.append(json.dumps({"audio_path": path.name, "text": f"clip number {n}", "speaker": f"speaker {n % 9}"}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return paths


def bare(path: Path) -> str:
    """Decoding and SHA-256 alone, as anybody would write them."""
    pcm, _ = soundfile.read(path, dtype="float32", always_2d=True)
    return hashlib.sha256(pcm).hexdigest()


def checked(path: Path) -> str:
    """The decoding that trusts no header, and the digest that does not depend on the sign of zeros."""
    wave = read_audio(path)
    return audio_digest(wave.pcm, wave.rate)


def taking(store: Store) -> Callable[[Path], object]:
    """All that ingest does for one recording before it is written."""

    def take(path: Path) -> object:
        read = entry({"audio_path": path.name, "text": f"clip number {path.stem}", "speaker": "someone"})
        return outcomes(store.vault, Options(), Job(path, ((1, read),)))

    return take


def compare(store: Store, paths: list[Path]) -> list[float]:
    """Clips a second bare, checked, and by all that ingest does.

    In turn, in processor time, the least of the rounds for every file: what else the machine is doing meets all alike, and
    counts as little as can be. Each way goes over all files before the next does, as in a real ingest, whose code stays in the
    processor's cache.
    """
    ways = (bare, checked, taking(store))
    least = np.full((len(ways), len(paths)), np.inf)
    for _ in range(ROUNDS):
        for number, way in enumerate(ways):
            way(paths[0])
            for place, path in enumerate(paths):
                began = time.process_time()
                way(path)
                least[number, place] = min(least[number, place], time.process_time() - began)
    return [len(paths) / spent for spent in least.sum(axis=1)]


def decided(store: Store, paths: list[Path], workers: int) -> float:
    """Clips a second through what `ingest` does in threads, by so many of them."""
    began = time.perf_counter()
    for _ in in_order(taking(store), paths, workers):
        pass
    return len(paths) / (time.perf_counter() - began)


def whole(folder: Path, threads: int, processes: int) -> float:
    """Clips a second through `ingest` into fresh stores, one a process; the slowest of them counts."""
    if processes == 1:
        return _ingest(folder, threads)
    command = [sys.executable, __file__, "--worker", str(folder), str(threads)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    speeds = [float(p.communicate()[0].splitlines()[-1]) for p in running]
    return min(speeds) * processes


def _ingest(folder: Path, threads: int) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        store = Store.init(Path(scratch) / "store")
        began = time.perf_counter()
        accepted = ingest(store, folder / "manifest.jsonl", workers=threads).accepted
        return accepted / (time.perf_counter() - began)


def best(way: Callable[..., float], *arguments: object) -> float:
    """The highest of some measurements of the same: what else the machine did counts as little as can be."""
    return max(way(*arguments) for _ in range(BEST_OF))


def main() -> None:
    """Print the figures; exit status 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, nargs="*", default=[2])
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "THREADS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        print(_ingest(Path(chosen.worker[0]), int(chosen.worker[1])))
        return
    print(machine())
    met = True
    for container in ("WAV", "FLAC"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / container
            folder.mkdir()
            paths = corpus(folder, container, chosen.clips, chosen.seconds)
            store = Store.init(Path(scratch) / "store")
            alone, own, taken = compare(store, paths[:COMPARED])
            met = met and taken / alone >= TARGET
            print(
                f"{container:<5} decode + SHA-256 {alone:6.0f} clips/s, and all of ingest {taken:6.0f} clips/s: "
                f"{taken / alone:.0%} (target {TARGET:.0%}), {taken / own:.0%} of the checked decoding ({own:.0f} clips/s)"
            )
            once = best(decided, store, paths, 1), best(whole, folder, 1, 1)
            print(f"{container:<5} by 1: before writing {once[0]:6.0f} clips/s; durable ingest {once[1]:6.0f}")
            for workers in chosen.workers:
                before, threads = best(decided, store, paths, workers), best(whole, folder, workers, 1)
                processes = best(whole, folder, 1, workers)
                met = met and processes / once[1] >= SCALING * workers
                print(
                    f"{container:<5} by {workers}: before writing {before / once[0]:.2f} × by threads; durable ingest "
                    f"{threads / once[1]:.2f} × by threads, {processes / once[1]:.2f} × by processes "
                    f"(target {SCALING * workers:.2g} ×)"
                )
    print(f"targets: {'met' if met else 'missed'}")
    sys.exit(not met)


if __name__ == "__main__":
    main()

"""What the benchmarks of the record share: a synthetic lineage, environments for peers, and how figures are printed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.ids import Halves, id_array

HERE = Path(__file__).parent
ENVIRONMENTS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "earmark-bench"
GENERATIONS = 4
MIXED = 0.25  # of the samples of a generation have a second parent, a noise
TRANSFORMS = [f"{i * 7919:064x}" for i in range(GENERATIONS)]


@dataclass(frozen=True)
class Generation:
    """Samples made in one step: ids, who their first parents are (places in the generation before), and noises of mixes."""

    ids: Halves
    parents: npt.NDArray[np.int64]
    mixed: npt.NDArray[np.int64]  # places of the samples that have a noise
    noises: npt.NDArray[np.int64]  # and which: places among all noises


@dataclass(frozen=True)
class Lineage:
    """Recordings, noises, and the generations made of them."""

    recordings: Halves
    noises: Halves
    generations: tuple[Generation, ...]


def lineage(edges: int, seed: int = 0) -> Lineage:
    """A lineage with about that many edges; no sample has the same noise twice."""
    rng = np.random.default_rng(seed)
    each = int(edges / GENERATIONS / (1 + MIXED))
    some = max(10, each // 800)  # noises of one generation
    recordings, noises = _ids(rng, each // 2), _ids(rng, some * GENERATIONS)
    before, made = len(recordings), []
    for number in range(GENERATIONS):
        mixed = np.sort(rng.choice(each, int(each * MIXED), replace=False))
        chosen = rng.integers(number * some, (number + 1) * some, len(mixed))
        made.append(Generation(_ids(rng, each), rng.integers(0, before, each), mixed, chosen))
        before = each
    return Lineage(recordings, noises, tuple(made))


def _ids(rng: np.random.Generator, count: int) -> Halves:
    return rng.integers(0, 2**64, (count, 2), dtype=np.uint64)


def edge_rows(of: Lineage, chunk: int = 250_000) -> Iterator[pa.Table]:
    """The rows of `edges`, prepared, a chunk at a time."""
    rng = np.random.default_rng(1)
    before = of.recordings
    for transform, g in zip(TRANSFORMS, of.generations, strict=True):
        ends = ((g.ids, before[g.parents]), (g.ids[g.mixed], of.noises[g.noises]))
        for position, (child, parent) in enumerate(ends):
            for start in range(0, len(child), chunk):
                part = slice(start, start + chunk)
                yield _edges(rng, child[part], parent[part], position, transform)
        before = g.ids


def _edges(rng: np.random.Generator, child: Halves, parent: Halves, position: int, transform: str) -> pa.Table:
    n = len(child)
    return pa.table(
        {
            "child_id": id_array(child),
            "parent_id": id_array(parent),
            "transform_id": pa.repeat(transform, n),
            "role": pa.repeat(("speech", "noise")[position], n),
            "position": pa.array(np.full(n, position, dtype=np.int32)),
            "duration_s": pa.array(rng.random(n) * 10),
            "seed": pa.array(rng.integers(0, 2**62, n)),
        }
    )


def peer(name: str, packages: Sequence[str], script: str, rows: int, timeout: float = 900.0) -> dict[str, Any]:
    """What a script under peers/ reports when it is run in an environment with these packages; `error` if it cannot be."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([str(python), *quiet, *packages], capture_output=True, text=True, check=False)
        if done.returncode:
            return {"error": f"cannot be installed here: {_last(done.stderr)}"}
        (folder / "ready").touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [str(python), str(HERE / "peers" / script), str(rows)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {timeout:.0f} s"}
    if done.returncode:
        return {"error": f"failed: {_last(done.stderr)}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "no message"


class Clock:
    """Adds up the seconds (`wall`) and seconds of processor time (`cpu`, of this process) that `with` blocks take."""

    def __init__(self, wall: float = 0.0, cpu: float = 0.0) -> None:
        self.wall, self.cpu = wall, cpu

    def start(self) -> None:
        """From here on."""
        self.wall -= time.perf_counter()
        self.cpu -= time.process_time()

    def stop(self) -> None:
        """Up to here."""
        self.wall += time.perf_counter()
        self.cpu += time.process_time()

    def __enter__(self) -> Clock:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def verdict(met: bool) -> str:
    """In a word."""
    return "met" if met else "MISSED"


def show(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first row is its head, columns but the first are aligned right."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    print(f"\n{title}")
    for number, row in enumerate(rows):
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  " + "  ".join(cells).rstrip())
        if not number:
            print("  " + "  ".join("-" * w for w in widths))


def machine() -> str:
    """On what it was measured."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, load {load:.1f} at the start"

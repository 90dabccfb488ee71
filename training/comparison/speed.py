"""How fast a model is and what it needs, as it is and quantised: latency, real-time factor, memory, and what that costs in WER.

Every utterance is taken alone, as a service takes it: from waveform to words, features included. Latency is given as median
and 95th percentile in seconds, the real-time factor as Σ seconds taken / Σ seconds of sound. Beside full precision stands
int8: weights of linear layers quantised once, activations as they come (dynamic quantisation, CPU). Each precision runs in a
process of its own, so that peak memory is its own.

These figures belong to the machine, whose description stands in the run. They are measured anew each time, are part of no
promise of identical bits, and a busy machine spoils them.
"""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
import torch
from peft import PeftModel

from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.ids import id_array
from lineage.machine import environment
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from training.data.corpus import languages_of
from training.evaluation import wer
from training.evaluation.predict import described, speakers_of, transcripts
from training.models.recorded import Opened, open_model, resolve_model
from training.normalise import normaliser
from training.progress import Progress, silent
from training.statistics import bootstrap

FULL, INT8 = "float32", "int8"
PRECISIONS = (FULL, INT8)
MOST = 200  # utterances: enough for a 95th percentile
WARM_UP = 3  # passes over the first utterance; the last one counts
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Speed:
    """One precision's figures: seconds, bytes, and the WER over the utterances measured."""

    precision: str
    latency_p50_s: float
    latency_p95_s: float
    real_time_factor: float
    peak_bytes: int
    weight_bytes: int
    wer: bootstrap.Interval


@dataclass(frozen=True)
class Measurement:
    """A model's speed at each precision; `difference` is WER(int8) − WER(float32) on the same utterances."""

    run_id: str
    model_id: str
    set_digest: str
    utterances: int
    speeds: tuple[Speed, ...]
    difference: bootstrap.Interval


@dataclass(frozen=True)
class Timed:
    """What a process brings back: of each utterance seconds taken, seconds of sound and what was heard; then its memory."""

    seconds: list[float]
    durations: list[float]
    heard: list[str]
    peak_bytes: int
    weight_bytes: int


def measure(
    store: Store,
    model: str,
    set_ref: str,
    *,
    most: int = MOST,
    normalise: str = "basic",
    threads: int = 1,
    level: float = bootstrap.LEVEL,
    seed: int = 0,
    progress: Progress = silent,
) -> Measurement:
    """Measure latency, real-time factor, memory and WER of a model on the CPU, at full precision and in int8.

    Args:
        store: where model and set are and the run goes.
        model: name, id or beginning of an id.
        set_ref: name or digest of the set.
        most: utterances at most, evenly spread over the set.
        normalise: normaliser of references and hypotheses.
        threads: arithmetic threads.
        level: confidence level of the intervals.
        seed: of the bootstrap.
        progress: told of precisions done.

    Raises:
        EarmarkError: no such model or set, or clips that do not fit the model.
    """
    record, data, text = resolve_model(store, model), resolve_set(store, set_ref), normaliser(normalise)
    every = members(store, data.digest)
    ids = every.take(np.unique(np.linspace(0, len(every) - 1, min(most, len(every))).round().astype(np.int64)))
    references = [text(t) for t in transcripts(store, ids)]
    speakers = speakers_of(described(store, ids))
    settings = {
        "model": record.model_id,
        "set": data.digest,
        "normaliser": text.label,
        "most": most,
        "threads": threads,
    }
    with store.run(
        "measure",
        job=f"measure {record.name}",
        config={**settings, "level": level, "seed": seed},
        inputs=[record.model_id, data.digest],
        parents=[record.run_id],
        seed=seed,
        package="training",
    ) as run:
        timed = {}
        for precision in PRECISIONS:
            timed[precision] = _alone(store.root, record.model_id, [i.as_py().hex for i in ids], precision, threads)
            progress(len(timed), len(PRECISIONS), precision)
        errors, words = {}, np.array([len(r.split()) for r in references], dtype=np.float64)
        for precision, found in timed.items():
            counts = wer.count(references, [text(h) for h in found.heard])
            errors[precision] = np.array([c.errors for c in counts], dtype=np.float64)
        rates = {p: bootstrap.ratio(e, words, speakers, level=level, seed=seed) for p, e in errors.items()}
        difference = bootstrap.paired_difference(errors[INT8], errors[FULL], words, speakers, level=level, seed=seed)
        speeds = tuple(_speed(p, timed[p], rates[p]) for p in PRECISIONS)
        shared = {
            "model_id": record.model_id,
            "set_digest": data.digest,
            "slice": "all",
            "samples": len(ids),
            "words": int(words.sum()),
            "normaliser": text.label,
        }
        run.append("metrics", [{**shared, **row} for row in _rows(speeds, difference)])
        run.result = {"device": "cpu", "utterances": len(ids)}
    return Measurement(run.id, record.model_id, data.digest, len(ids), speeds, difference)


def quantised(opened: Opened) -> torch.nn.Module:
    """The model with its linear layers in int8, adapters merged into them first; the one given is left as it is or used up."""
    model = opened.model
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    with warnings.catch_warnings():
        # Deprecated in favour of a package of its own, which brings kernels for servers; this is what a CPU runs today.
        warnings.simplefilter("ignore")
        from torch.ao.quantization import quantize_dynamic

        made: torch.nn.Module = quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)  # type: ignore[no-untyped-call]
    return made.eval()


def time_each(opened: Opened, store: Store, ids: Sequence[UUID], precision: str) -> Timed:
    """Decode each sample (sorted ids) alone in this process, warm."""
    model = quantised(opened) if precision == INT8 else opened.model
    languages = languages_of(described(store, id_array(ids)), opened.family)
    _forget_peak()
    seconds, durations, heard = [], [], []
    waves = store.vault.waveforms(ids)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for count, ((_, wave), language) in enumerate(zip(waves, languages, strict=True)):
            for _ in range(WARM_UP if count == 0 else 1):
                begun = time.perf_counter()
                batch = opened.family.collate([opened.family.features(wave)], [""], [language])
                (found,) = opened.family.decode(model, batch)
                taken = time.perf_counter() - begun
            seconds.append(taken)
            durations.append(wave.duration_s)
            heard.append(found.text)
    return Timed(seconds, durations, heard, _peak_bytes(), _weight_bytes(model))


def _alone(root: Path, model: str, ids: Sequence[str], precision: str, threads: int) -> Timed:
    """`time_each` in a fresh process.

    Raises:
        EarmarkError: what it could not do, in its own words.
    """
    job = {"root": str(root.resolve()), "model": model, "ids": list(ids), "precision": precision, "threads": threads}
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-m", "training.comparison.speed"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise EarmarkError(f"{precision} could not be measured: {(done.stderr.strip() or 'no reason given')[-500:]}")
    return Timed(**json.loads(done.stdout.splitlines()[-1]))


def _serve() -> None:
    """Do the job on standard input and write what came of it to standard output."""
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    store = Store.open(job["root"])
    try:
        found = time_each(open_model(store, job["model"]), store, [UUID(i) for i in job["ids"]], job["precision"])
    except EarmarkError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(found.__dict__) + "\n")


def _forget_peak() -> None:
    """Count peak memory from here on, so that loading and quantising are not part of it; Linux alone can."""
    gc.collect()
    if CLEAR.exists():
        CLEAR.write_text("5")


def _peak_bytes() -> int:
    """Peak resident memory of this process; Linux's `getrusage` would count what its parent held before `exec` as well."""
    if not STATUS.exists():
        return environment.peak_bytes()
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def _weight_bytes(model: torch.nn.Module) -> int:
    """Bytes of all weights, quantised ones as they lie in memory."""
    # Layers in int8 hold their weights packed and hand them out through a method; a byte for each number.
    packed = [weight() for m in model.modules() if callable(weight := getattr(m, "weight", None))]
    return int(sum(w.numel() for w in packed)) + sum(p.numel() * p.element_size() for p in model.parameters())


def _speed(precision: str, timed: Timed, rate: bootstrap.Interval) -> Speed:
    p50, p95 = np.quantile(timed.seconds, [0.5, 0.95])
    factor = math.fsum(timed.seconds) / math.fsum(timed.durations)
    return Speed(precision, float(p50), float(p95), factor, timed.peak_bytes, timed.weight_bytes, rate)


def _rows(speeds: Sequence[Speed], difference: bootstrap.Interval) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for s in speeds:
        for name in ("latency_p50_s", "latency_p95_s", "real_time_factor", "peak_bytes", "weight_bytes"):
            rows.append({"metric": f"{s.precision}_{name}", "value": float(getattr(s, name))})
        rows.append({"metric": f"{s.precision}_wer", **_interval(s.wer)})
    rows.append({"metric": f"{INT8}_wer_difference", **_interval(difference)})
    return [r for r in rows if not math.isnan(r["value"])]  # type: ignore[arg-type]


def _interval(found: bootstrap.Interval) -> dict[str, object]:
    low, high = finite(found.low), finite(found.high)
    return {"value": found.value, "low": low, "high": high, "level": found.level, "speakers": found.blocks}


if __name__ == "__main__":
    _serve()

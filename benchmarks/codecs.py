"""Augmentation with codecs: what it does for speech that went through a telephone or a lossy codec.

    python benchmarks/codecs.py [--store FOLDER]

The packaged base is fine-tuned twice on the demo's clean training speech (seven accents), by the same recipe but for its
`augment`: once as it is, once with a telephone line or a codec laid over most exposures. Both models are tested on the clean
test speech and on the same utterances once they went through codecs, two of which training did not meet. The voices of the
test are in no training set. Differences are paired: same utterances, speakers resampled as blocks.

Codec augmentation has to make the word error rate on all degraded speech significantly better.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from earmark.demo.corpus import CONDITIONS, write_corpus
from lineage.derivation.derive import transform_set
from lineage.errors import EarmarkError
from lineage.ingestion.ingest import ingest
from lineage.selection.algebra import cut
from lineage.store import Store
from training.evaluation.predict import predict
from training.fit import TrainedModel, train
from training.recipe import Recipe
from training.statistics.bootstrap import Interval, paired_difference

RECIPE = Recipe(
    name="plain", base="earmark:whisper-tiny", train="train", epochs=6, batch_size=16, learning_rate=1e-3, warmup=0.1
)
AUGMENT = [
    {"transform": "telephone", "probability": 0.3, "parameters": {"law": ["ulaw", "alaw"]}},
    {
        "transform": "codec",
        "probability": 0.6,
        "parameters": {"codec": ["mp3", "gsm", "g723"], "compression": [0.8, 1.0]},
    },
]
DEGRADED: dict[str, tuple[str, dict[str, Any]]] = {
    "telephone": ("telephone", {"law": "ulaw"}),
    "gsm": ("codec", {"codec": "gsm"}),
    "g721": ("codec", {"codec": "g721"}),  # not met in training, nor is Opus
    "opus-6k": ("codec", {"codec": "opus", "compression": 1.0}),
    "mp3-16k": ("codec", {"codec": "mp3", "compression": 0.96}),
}


def main() -> int:
    """Train, test, compare; exit status 1 where augmentation does not help significantly."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, help="keep the store here; default: a temporary folder")
    parser.add_argument("--seeds", type=int, default=1, help="paired trainings (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.store or Path(scratch) / "store"
        return report(prepared(root), arguments.seeds)


def prepared(root: Path) -> Store:
    """A store with the sets 'train', 'test', and 'test' after each codec."""
    if (root / "earmark.json").exists():
        return Store.open(root)
    folder = root.with_name(f"{root.name}-corpus")
    write_corpus(folder)
    store = Store.init(root)
    for condition in CONDITIONS:  # all of them dry: no noise is mixed in here
        ingest(store, folder / f"{condition}.jsonl", name=condition)
    cut(store, CONDITIONS, name="train", where="split = 'train'")
    cut(store, CONDITIONS[:1], name="test", where="split = 'test'")
    for name, (transform, parameters) in DEGRADED.items():
        transform_set(store, "test", transform, to=name, parameters=parameters)
    return store


def report(store: Store, seeds: int) -> int:
    """Print the figures."""
    wall, cpu = time.perf_counter(), time.process_time()
    models: dict[str, list[TrainedModel]] = {}
    for name, augment in (("plain", []), ("codecs", AUGMENT)):
        recipe = RECIPE.variant(name=name, augment=augment)
        models[name] = [train(store, recipe, seed=seed) for seed in range(seeds)]
        print(
            f"trained {name}: {time.process_time() - cpu:.0f} s CPU, {time.perf_counter() - wall:.0f} s in all",
            flush=True,
        )
    tested = {name: outcomes(store, models, name) for name in ("test", *DEGRADED)}
    degraded = np.concatenate([tested[name] for name in DEGRADED])
    print(f"\n{'test speech':<16}{'plain':>9}{'codecs':>9}{'difference':>13}{'interval':>18}")
    for name, rows in [*tested.items(), ("all degraded", degraded)]:
        plain, codecs = (100 * rows[:, i].sum() / rows[:, 2].sum() for i in (0, 1))
        gain = difference(rows)
        span = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
        print(f"{name:<16}{plain:>7.1f} %{codecs:>7.1f} %{100 * gain.value:>+11.1f} p{span:>18}")
    print(
        f"{int(degraded[:, 2].sum())} words, {gain.blocks} speakers, {seeds} paired seed(s); negative: better with codecs"
    )
    met = gain.high < 0
    print(f"target (better on degraded speech, 95 %): {'met' if met else 'missed'}")
    return 0 if met else 1


def outcomes(store: Store, models: dict[str, list[TrainedModel]], set_name: str) -> np.ndarray:
    """Of each utterance and seed: errors of the plain model, errors of the augmented one, words, number of its speaker."""
    speakers = store.sql("SELECT sample_id, speaker_key FROM samples").to_pylist()
    voices = {s: i for i, s in enumerate(sorted({r["speaker_key"] for r in speakers if r["speaker_key"]}))}
    voice = {r["sample_id"]: voices.get(r["speaker_key"], -1) for r in speakers}
    rows = []
    for pair in zip(models["plain"], models["codecs"], strict=True):
        plain, codecs = (predict(store, m.model_id, set_name).table.to_pylist() for m in pair)
        for a, b in zip(plain, codecs, strict=True):
            assert a["sample_id"] == b["sample_id"]
            errors = [r["substitutions"] + r["deletions"] + r["insertions"] for r in (a, b)]
            rows.append((*errors, a["words"], voice[a["sample_id"]]))
    return np.array(rows)


def difference(rows: np.ndarray) -> Interval:
    """WER with codec augmentation minus WER without, speakers as blocks."""
    return paired_difference(rows[:, 1], rows[:, 0], rows[:, 2], rows[:, 3].tolist())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EarmarkError as error:
        sys.exit(f"codecs: {error}")

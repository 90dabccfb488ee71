"""Incremental fine-tuning: what a model forgets of old accents while it learns new ones, and what helps against it.

    python benchmarks/forgetting.py [--store FOLDER]

The packaged base is fine-tuned on three accents of the demo's clean speech. The model is then continued on two others, four
times by the same recipe: plainly; with elastic weight consolidation, which needs the old recordings only to look at; with
experience replay, which trains on some of them again; and with both. Tested are voices that are in no training set.
Forgotten is the word error rate on the old accents after minus before, on the same utterances, speakers resampled as blocks.

Elastic weight consolidation or replay has to forget less than half of what plain fine-tuning forgets. Strength and share were
chosen on another corpus than this one: the same accents, other words, pitches and rates (seed 1).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from earmark.demo.corpus import CONDITIONS, write_corpus
from lineage.errors import EarmarkError
from lineage.ingestion.ingest import ingest
from lineage.selection.algebra import cut
from lineage.store import Store
from training.comparison.forgetting import forgetting
from training.evaluation.evaluate import evaluate
from training.fit import train
from training.recipe import Recipe
from training.statistics.bootstrap import Interval

CORPUS_SEED = 2
ACCENTS = {"old": ("scot", "carib", "l2-es"), "new": ("l2-fr", "l2-ja")}
FIRST = Recipe(
    name="first",
    base="earmark:whisper-tiny",
    train="old-train",
    epochs=6,
    batch_size=16,
    learning_rate=1e-3,
    warmup=0.1,
)
SECOND = FIRST.variant(name="second", base="model:first", train="new-train", epochs=8)
EWC: dict[str, Any] = {"ewc": {"set": "old-train", "strength": 3e4, "samples": 243}}
REPLAY: dict[str, Any] = {"replay": {"sets": ["old-train"], "share": 0.4, "stratify": "accent"}}
WAYS: dict[str, dict[str, Any]] = {"plain": {}, "ewc": EWC, "replay": REPLAY, "both": {**EWC, **REPLAY}}


def main() -> int:
    """Train, continue, measure; exit status 1 where nothing halves what is forgotten."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, help="keep the store here; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return report(prepared(arguments.store or Path(scratch) / "store"))


def prepared(root: Path) -> Store:
    """A store with the sets 'old-train', 'old-test', 'new-train' and 'new-test'."""
    if (root / "earmark.json").exists():
        return Store.open(root)
    folder = root.with_name(f"{root.name}-corpus")
    write_corpus(folder, seed=CORPUS_SEED)
    store = Store.init(root)
    for condition in CONDITIONS:  # all of them dry: no noise is mixed in here
        ingest(store, folder / f"{condition}.jsonl", name=condition)
    for name, accents in ACCENTS.items():
        spoken = ", ".join(f"'{accent}'" for accent in accents)
        for split in ("train", "test"):
            cut(store, CONDITIONS, name=f"{name}-{split}", where=f"accent IN ({spoken}) AND split = '{split}'")
    return store


def report(store: Store) -> int:
    """Print the figures."""
    cpu = time.process_time()
    first = train(store, FIRST)
    before = {test: evaluate(store, first.model_id, test).wer for test in ("old-test", "new-test")}
    print(f"{'':<8}{'old accents':>13}{'new accents':>13}{'forgotten':>12}{'interval':>18}")
    print(f"{'before':<8}{100 * before['old-test']:>11.1f} %{100 * before['new-test']:>11.1f} %", flush=True)
    forgotten: dict[str, Interval] = {}
    for way, fields in WAYS.items():
        model = train(store, SECOND.variant(name=way, **fields)).model_id
        (measured,) = (f for f in forgetting(store, model, ["old-test"]) if f.before.model_id == first.model_id)
        whole = measured.comparison.contrast()
        forgotten[way] = whole.difference
        new = evaluate(store, model, "new-test").wer
        span = f"{100 * whole.difference.low:+.1f} to {100 * whole.difference.high:+.1f}"
        print(
            f"{way:<8}{100 * whole.first:>11.1f} %{100 * new:>11.1f} %{100 * whole.difference.value:>+10.1f} p{span:>18}",
            flush=True,
        )
    print(
        f"{whole.words} words and {whole.difference.blocks} speakers of old accents; {time.process_time() - cpu:.0f} s CPU"
    )
    shares = {way: forgotten[way].value / forgotten["plain"].value for way in ("ewc", "replay", "both")}
    print(
        "of what plain fine-tuning forgets: " + ", ".join(f"{way} {100 * share:.0f} %" for way, share in shares.items())
    )
    met = forgotten["plain"].low > 0 and min(shares["ewc"], shares["replay"]) < 0.5
    print(f"target (EWC or replay forgets less than half): {'met' if met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EarmarkError as error:
        sys.exit(f"forgetting: {error}")

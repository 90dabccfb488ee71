"""A `datasets` pipeline on the record: every step a run, every changed sample a child of the one that it was.

python examples/pipeline.py my-store
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from datasets import Audio
from digits import digits

from lineage.derivation.pipelines import carried, heard, track
from lineage.sound.audio import Waveform
from lineage.store import Store


def louder(row: dict[str, Any]) -> dict[str, Any]:
    """Bring every clip to the same peak."""
    wave = heard(row["audio"])
    return {"audio": carried(Waveform(wave.pcm * (0.9 / abs(wave.pcm).max()), wave.rate))}


def main(folder: Path) -> None:
    """Run the pipeline, and show what the record knows of it."""
    store = Store.open(folder) if folder.exists() else Store.init(folder)
    data = track(store, digits(24, rate=8_000), name="digits")
    data = data.cast_column("audio", Audio(sampling_rate=16_000))
    data = data.map(louder)
    data = data.filter(lambda row: len(row["text"].split()) > 1)
    parts = data.shuffle(seed=1).train_test_split(0.25, seed=1)
    for name, part in parts.items():
        print(f"{name}: {len(part)} samples, set {part.set.digest[:12]}")
    steps = store.sql(
        "SELECT t.name, count(*) AS samples FROM edges e JOIN transforms t USING (transform_id) GROUP BY 1 ORDER BY 1"
    )
    for step in steps.to_pylist():
        print(f"{step['name']}: {step['samples']} samples changed")
    print(f"\nNow ask:  earmark trace {parts['train'].ids[0]} --store {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "my-store"))

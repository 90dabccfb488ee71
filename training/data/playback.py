"""The very waveform that a training run consumed, rebuilt from the record of the exposure.

    heard = rebuild(store, run_id, step=17, position=3)

An exposure has the sample and the seed; the run has the augmentations, sets by digest; the vault has the sound. What was
drawn follows from these (`training.data.augment`). Where neither was augmented, it is the sample's own sound.

Law: `rebuild` gives the waveform that training turned into features, bit for bit, as long as `same_code` holds.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from lineage.errors import EarmarkError
from lineage.sound.audio import Waveform
from lineage.store import Store
from training.data.augment import Applied, Augmenter, changed, noted_for, recorded


@dataclass(frozen=True)
class Heard:
    """What went into the model in one exposure, before SpecAugment; `same_code` if code and packages are as they were."""

    run_id: str
    step: int
    position: int
    sample: uuid.UUID
    seed: int | None
    weight: float
    applied: tuple[Applied, ...]
    wave: Waveform
    same_code: bool


def rebuild(store: Store, run_id: str, step: int, position: int) -> Heard:
    """The sound of one exposure of a training run; reading it from the vault is put on record.

    Raises:
        UnknownName: there is no such run.
        EarmarkError: it has no such exposure, or the sound of a sample in it was erased.
    """
    run = store.resolve_run(run_id)
    rows = store.read(
        "exposures",
        ["sample_id", "seed", "weight", "instead_of"],
        "run_id = ? AND step = ? AND position = ?",
        [run.id, step, position],
    ).to_pylist()
    if not rows:
        raise EarmarkError(
            f"run {run.id[:13]} has no exposure at step {step}, position {position} — {_there(store, run.id)}"
        )
    row = rows[0]
    place = row["instead_of"] or row["sample_id"]
    noted = noted_for(store, run.config, place)
    augment = recorded(noted)
    augmenter = Augmenter(store, augment)
    applied = augmenter.drawn(place, row["seed"]) if augment else []
    wave = augmenter.hear(row["sample_id"], applied)
    subjects = 1 + sum(a.other is not None for a in applied)
    with store.run("hear", job=run.job, inputs=[run.id]) as reading:
        action = f"hear {run.id} {step} {position}"
        reading.append("accesses", [{"role": "hear", "action": action, "subjects": subjects, "at": datetime.now(UTC)}])
    facts = (run.id, step, position, row["sample_id"], row["seed"], row["weight"])
    return Heard(*facts, tuple(applied), wave, not changed(noted))


def _there(store: Store, run_id: str) -> str:
    """What can be asked for instead."""
    query = "SELECT max(step) AS step, max(position) AS position FROM exposures WHERE run_id = ?"
    (last,) = store.sql(query, [run_id]).to_pylist()
    if last["step"] is None:
        return "name a run that trained; earmark sql \"SELECT run_id FROM runs WHERE kind = 'train'\" lists them"
    return f"its steps go from 0 to {last['step']}, positions from 0 to {last['position']}"

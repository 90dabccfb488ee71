"""What retrained models did on an evaluation set, read from the record: errors and losses, words and speakers, no more."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from influence.panels import Outcome
from influence.statistics import EvalSlice
from lineage.errors import EarmarkError
from lineage.sets import members
from lineage.slices import FrozenSlice
from lineage.store import Store


def outcome(store: Store, predictions: str) -> Outcome:
    """Errors and loss by sample of one `predictions` run."""
    rows = store.read(
        "predictions", ["sample_id", "substitutions + deletions + insertions AS errors", "loss"], "run_id = ?",
        [predictions],
    )  # fmt: skip
    ids = rows["sample_id"].to_pylist()
    errors = dict(zip(ids, rows["errors"].to_pylist(), strict=True))
    losses = zip(ids, rows["loss"].to_pylist(), strict=True)
    return Outcome(errors, {sample: value for sample, value in losses if value is not None})


def tested(store: Store, slices: Sequence[FrozenSlice], predictions: str) -> list[EvalSlice]:
    """Words and speakers of evaluation slices; words as the normaliser of the `predictions` run counts them.

    Raises:
        EarmarkError: a slice has no reference words.
    """
    rows = store.sql(
        "SELECT p.sample_id, p.words, s.speaker_key FROM predictions p LEFT JOIN samples s USING (sample_id) "
        "WHERE p.run_id = ? QUALIFY row_number() OVER (PARTITION BY p.sample_id ORDER BY s.run_id DESC) = 1",
        [predictions],
    )
    ids = rows["sample_id"].to_pylist()
    words: dict[UUID, float] = dict(zip(ids, rows["words"].to_pylist(), strict=True))
    speakers: dict[UUID, UUID | None] = dict(zip(ids, rows["speaker_key"].to_pylist(), strict=True))
    found = []
    for frozen in slices:
        ids = members(store, frozen.set_digest).to_pylist()
        found.append(
            EvalSlice(frozen.name, frozen.set_digest, {i: words[i] for i in ids}, {i: speakers[i] for i in ids})
        )
        if not sum(found[-1].words.values()):
            raise EarmarkError(f"evaluation slice {frozen.name} has no reference words — leave it out")
    return found

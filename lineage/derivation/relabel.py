"""Other words for the same sound: corrected transcripts, and corrupted ones, as samples of their own.

A relabelled sample is a child of the one whose sound it has, by the transform `relabel`; nothing is overwritten. Corruption
draws word by word from (seed, sample, place), so a word that is corrupted at one share is corrupted, in the same way, at every
larger one, and what becomes of one sample depends on no other, except that words are replaced by words of the same set.

Laws: a sample given its own words is itself, and giving the children their parents' words back gives the parents, where these
lie on the grid of 16-bit PCM as all derived sound does; a share of zero changes nothing; no transcript becomes empty.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from lineage.derivation.chance import Draw
from lineage.derivation.derive import Children, Job, Progress, apply
from lineage.derivation.transforms import Parent, Result, transform, whole
from lineage.ids import id_array
from lineage.runs import Run

Cause = Literal["corrected", "corrupted"]
Why = Annotated[Cause, Field(description="Whether the words are better or, on purpose, worse than those there were.")]

DELETED = 0.25  # of the corrupted words; the others are replaced


@transform("relabel")
def relabel_(parents: Sequence[Parent], draw: Draw, *, cause: Why = "corrected") -> Result:
    """Give a sample other words; the sound stays."""
    return whole(parents[0].wave)


def relabel(
    run: Run,
    texts: Mapping[uuid.UUID, str],
    *,
    cause: Cause = "corrected",
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[dict[uuid.UUID, uuid.UUID], Children]:
    """Make a sample with these words of each sample's sound; returns which came of which, and what `create_set` needs.

    Raises:
        EarmarkError: a sample is not on record, or its sound was erased, or its words are no transcript.
    """
    said = run.store.vault.transcripts(id_array(list(texts)))
    jobs = [Job((sample,), text=text) for sample, text in sorted(texts.items()) if text != said.get(sample)]
    made = apply(run, "relabel", jobs, parameters={"cause": cause}, seed=seed, progress=progress)
    same = {sample: sample for sample in texts}
    return same | {job.parents[0]: child for job, child in zip(jobs, made.ids, strict=True)}, made


def corrupted(texts: Mapping[uuid.UUID, str], share: float, seed: int, words: Sequence[str]) -> dict[uuid.UUID, str]:
    """The texts with a `share` of their words replaced by others of `words`, or left out."""
    return {sample: _corrupted(text.split(), share, Draw(seed, (sample,)), words) for sample, text in texts.items()}


def _corrupted(said: Sequence[str], share: float, draw: Draw, words: Sequence[str]) -> str:
    out = []
    for place, word in enumerate(said):
        chance = draw.fork(f"word {place}".encode())
        if chance.unit(b"whether") >= share:
            out.append(word)
            continue
        others = [w for w in words if w != word]
        if not others:
            out.append(word)
        elif chance.unit(b"how") >= DELETED or len(said) == 1:
            out.append(others[int(chance.unit(b"which") * len(others))])
    return " ".join(out) or said[0]

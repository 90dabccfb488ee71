"""The samples of a set one by one, with sound and words, for the formats that carry them.

In the order of their ids, a bounded number in memory at a time. A sample that was erased after the set was made is left
out and counted; any other sound that cannot be had stops the export, since a training set with holes would pass for whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from lineage.errors import EarmarkError
from lineage.exports.parcel import Parcel
from lineage.machine.pool import in_order
from lineage.recorder import described
from lineage.selection.sets import members
from lineage.sound.audio import Waveform, encode

CHUNK = 1_000  # samples between two looks at the record


@dataclass(frozen=True)
class Utterance:
    """One sample: `sound` is a lossless file whose name would end in `suffix`; `text` is None where there are no words."""

    id: uuid.UUID
    sound: bytes
    suffix: str
    frames: int
    rate: int
    channels: int
    kind: str
    text: str | None
    speaker: str | None
    source: str | None
    licence: str | None
    attributes: dict[str, str]

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.frames / self.rate

    @property
    def file(self) -> str:
        """Where formats that keep the sound in files of its own put it."""
        return f"audio/{self.id}{self.suffix}"


def utterances(parcel: Parcel) -> Iterator[Utterance]:
    """The samples of the parcel's set; their number, and how many were erased, go on the run's record.

    Raises:
        EarmarkError: a recording cannot be read any more, or all of them were erased.
    """
    store = parcel.store
    ids = members(store, parcel.samples.digest)
    names: dict[uuid.UUID, str] = {}
    told = 0
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        facts = described(store, chunk)
        words = store.vault.transcripts(chunk)
        present = store.vault.audio_digests(chunk)
        wanted = [i for i in chunk.to_pylist() if i in present]
        fresh = {facts[i]["speaker_key"] for i in wanted} - names.keys() - {None}
        if fresh:
            names |= {key: str(key) for key in fresh} if parcel.public else store.vault.speakers(fresh)
        for (sample, wave), sound in in_order(lambda item: encode(item[1]), store.vault.waveforms(wanted)):
            row = facts[sample]
            yield Utterance(
                sample,
                sound,
                ".flac" if sound.startswith(b"fLaC") else ".wav",
                *_shape(wave),
                row["kind"],
                words.get(sample),
                names.get(row["speaker_key"]),
                row["source"],
                row["licence"],
                {k: v for k, v in row["attributes"] or () if v is not None},
            )
            told += 1
        parcel.progress(start + len(chunk), len(ids))
    if not told:
        raise EarmarkError(f"every sample of set '{parcel.samples.name}' was erased — there is nothing left to export")
    parcel.result |= {"samples": told, "erased": len(ids) - told}
    parcel.run.append(
        "accesses",
        [{"role": "export", "action": f"export {parcel.run.job}", "subjects": told, "at": datetime.now(UTC)}],
    )


def attribute_names(parcel: Parcel) -> list[str]:
    """The attributes that any sample of the parcel's set has, sorted."""
    query = """
        SELECT DISTINCT unnest(map_keys(attributes)) AS name FROM samples
        WHERE sample_id IN (SELECT sample_id FROM members WHERE set_digest = ?) ORDER BY name"""
    names: list[str] = parcel.store.sql(query, [parcel.samples.digest])["name"].to_pylist()
    return names


def _shape(wave: Waveform) -> tuple[int, int, int]:
    return wave.frames, wave.rate, wave.channels


def write_sound(parcel: Parcel, utterance: Utterance) -> None:
    """Write the sound to its file in the parcel."""
    path = parcel.folder / utterance.file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(utterance.sound)

"""From the rows of a manifest to samples: find the file, decode it, and hold it against what the row says.

Files are decoded once. Neighbouring rows that are parts of one file (they have an `offset`) share the decoding: the file
becomes a recording without words, and each part its child by the transform `segment`, just as if it had been cut in the
store. Nothing is written here, so everything here may run in threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lineage.derivation import transforms
from lineage.derivation.derive import edge
from lineage.errors import EarmarkError, shown
from lineage.identity import audio_digest, sample_id
from lineage.manifests import Manifest, RowRefused
from lineage.manifests.entries import Entry, entry
from lineage.people.vault import Vault
from lineage.recorder import NewSample
from lineage.sound.audio import STANDARD, Limits, Waveform, check_sound, encode, quantise, read_audio
from lineage.sound.facts import Facts, listen
from lineage.sound.waveforms import WINDOW_S, segment

TOLERANCE_S, TOLERANCE = 0.1, 0.02  # by how much a declared duration may differ from the file's
MAX_PARTS = 1_000  # of one file in one job
CUT = transforms.row("segment", {})


@dataclass(frozen=True)
class Options:
    """How to take recordings in.

    `copy` keeps the sound in the store. Files may lie in the manifest's folder or below `roots`, or anywhere with
    `allow_outside`. `source` and `licence` fill in for rows that name none.
    """

    strict: bool = False
    copy: bool = False
    allow_outside: bool = False
    roots: tuple[Path, ...] = ()
    source: str | None = None
    licence: str | None = None
    limits: Limits = STANDARD


@dataclass(frozen=True)
class Job:
    """Rows of one audio file with their line numbers, or one refused row; `sound` where the manifest holds the file."""

    path: Path
    rows: tuple[tuple[int, Entry], ...] = ()
    refused: tuple[int, RowRefused] | None = None
    sound: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class Accepted:
    """One row's sample; `whole` and `edge` where it is a part of a longer recording."""

    sample: NewSample
    whole: NewSample | None = None
    edge: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Heard:
    """A decoded sound and what it told."""

    wave: Waveform
    digest: str
    facts: Facts


class Places:
    """Finds the files that rows name, and refuses those that lie elsewhere than they may."""

    def __init__(self, root: Path, options: Options) -> None:
        self._root = root
        self._allowed = None if options.allow_outside else [Path(os.path.realpath(r)) for r in (root, *options.roots)]
        self._real: Callable[[str], str] = cache(os.path.realpath)

    def find(self, audio: str) -> Path:
        """The file itself, all links followed.

        Raises:
            RowRefused: it lies outside.
        """
        folder, last = os.path.split(self._root / audio)
        place = os.path.join(self._real(folder), last)
        if last in ("", "..") or os.path.islink(place):
            place = os.path.realpath(place)
        path = Path(place)
        if self._allowed is not None and not any(path.is_relative_to(allowed) for allowed in self._allowed):
            problem = f"audio_path '{shown(audio)}' leads out of the manifest's folder"
            raise RowRefused("outside", problem, "move the file there, or allow the folder that it lies in")
        return path


def jobs(found: Manifest, places: Places, learn: Callable[[Entry], None]) -> Iterator[Job]:
    """The rows in order, in jobs of one file each. `learn` is shown every row that was understood, and may refuse it."""
    parts: list[tuple[int, Entry]] = []
    shared = found.path

    def flush() -> Iterator[Job]:
        if parts:
            yield Job(shared, tuple(parts))
            parts.clear()

    for row in found.rows():
        try:
            if isinstance(row.values, RowRefused):
                raise row.values
            read = entry(row.values)
            learn(read)
            path = places.find(read.audio) if row.sound is None else found.path / read.audio
        except RowRefused as refused:
            yield from flush()
            yield Job(found.path, refused=(row.line, refused))
            continue
        alone = read.offset_s is None or row.sound is not None
        if alone or path != shared or len(parts) == MAX_PARTS:
            yield from flush()
        if alone:
            yield Job(path, ((row.line, read),), sound=row.sound)
        else:
            shared = path
            parts.append((row.line, read))
    yield from flush()


def outcomes(vault: Vault, options: Options, job: Job) -> list[tuple[int, Accepted | EarmarkError]]:
    """What becomes of each row of a job, by line number."""
    if job.refused is not None:
        return [job.refused]
    try:
        source = job.path if job.sound is None else job.sound()
        wave = read_audio(source, limits=options.limits, name=shown(job.rows[0][1].audio))
    except EarmarkError as refused:
        return [(line, refused) for line, _ in job.rows]
    heard = _Heard(wave, audio_digest(wave.pcm, wave.rate), listen(wave))
    copied = options.copy or job.sound is not None  # what has no file of its own is kept in the store
    whole: NewSample | None = None
    made: list[tuple[int, Accepted | EarmarkError]] = []
    for line, read in job.rows:
        try:
            _check_declared(read, wave)
            if read.offset_s is None or _is_all(read, wave):
                place = (None, encode(wave)) if copied else (str(job.path), None)
                made.append((line, Accepted(_sample(vault, options, read, heard, *place))))
                continue
            whole = whole or _whole(vault, options, job, heard)
            made.append((line, _part(vault, options, read, wave, whole)))
        except EarmarkError as refused:
            made.append((line, refused))
    return made


def _check_declared(read: Entry, wave: Waveform) -> None:
    """Raise `RowRefused` where the row says one thing of its file and the file another."""
    if read.sample_rate is not None and read.sample_rate != wave.rate:
        problem = f"sample_rate is {read.sample_rate} where {shown(read.audio)} has {wave.rate} Hz"
        raise RowRefused("mismatch", problem, "correct the manifest, or export the file again")
    slack = max(TOLERANCE_S, TOLERANCE * wave.duration_s)
    if read.offset_s is None and read.duration_s is not None and abs(read.duration_s - wave.duration_s) > slack:
        problem = f"duration is {read.duration_s:g} s where {shown(read.audio)} has {wave.duration_s:.2f} s"
        raise RowRefused("mismatch", problem, "correct the manifest, or give an offset if a part is meant")


def _is_all(read: Entry, wave: Waveform) -> bool:
    """Whether offset and duration span the file from end to end."""
    return read.offset_s == 0 and (read.duration_s is None or abs(read.duration_s - wave.duration_s) < WINDOW_S)


def _part(vault: Vault, options: Options, read: Entry, wave: Waveform, whole: NewSample) -> Accepted:
    start = read.offset_s or 0.0
    end = wave.duration_s if read.duration_s is None else start + read.duration_s
    cut = quantise(segment(wave, start, end))
    check_sound(cut, f"{shown(read.audio)} from {start:g} s")
    sample = _sample(vault, options, read, _Heard(cut, audio_digest(cut.pcm, cut.rate), listen(cut)))
    sample = replace(sample, roots=(whole.id,), clip=encode(cut))
    place = transforms.Placement(start, 0.0, cut.duration_s)
    return Accepted(sample, whole, edge(sample.id, whole.id, CUT["transform_id"], whole.kind, place))


def _whole(vault: Vault, options: Options, job: Job, heard: _Heard) -> NewSample:
    """The recording that rows with offsets are parts of: what they agree on, and no words."""
    parts = [_sample(vault, options, read, heard) for _, read in job.rows]

    def shared(values: set[str | None]) -> str | None:
        return values.pop() if len(values) == 1 else None

    wave = heard.wave
    speaker = shared({p.speaker for p in parts})
    return NewSample(
        sample_id(heard.digest, None),
        heard.digest,
        "speech" if any(p.kind == "speech" for p in parts) else "noise",
        wave.duration_s,
        wave.rate,
        wave.channels,
        speaker=speaker,
        speaker_key=None if speaker is None else vault.speaker_key(speaker),
        source=shared({p.source for p in parts}),
        licence=shared({p.licence for p in parts}),
        path=None if options.copy or job.sound else str(job.path),
        clip=encode(wave) if options.copy or job.sound else None,
        facts=heard.facts,
    )


def _sample(
    vault: Vault, options: Options, read: Entry, heard: _Heard, path: str | None = None, clip: bytes | None = None
) -> NewSample:
    wave = heard.wave
    return NewSample(
        sample_id(heard.digest, read.text),
        heard.digest,
        read.kind,
        wave.duration_s,
        wave.rate,
        wave.channels,
        transcript=read.text,
        speaker=read.speaker,
        speaker_key=None if read.speaker is None else vault.speaker_key(read.speaker),
        source=read.source or options.source,
        licence=read.licence or options.licence,
        attributes=read.attributes,
        particulars=read.particulars,
        path=path,
        clip=clip,
        facts=heard.facts,
    )

"""Ingestion: the recordings of a manifest go on the record, and what cannot is told in one line each.

Every refused row yields `FILE:LINE: what is wrong — mend`; the others are kept. Nothing is visible before all of it is:
a batch refused whole (`strict`), a full disk or Ctrl-C leave no row behind. Audio is decoded once, by several threads, a
bounded number of clips at a time.

A row with an `offset` stands for a part of its file: the file goes on the record as a recording without words, and the
part as its child by the transform `segment`, as if it had been cut in the store.

Ids depend on what is heard and said alone, so ingesting the same things again adds nothing. To save the second decoding
too, a run is found again by the bytes of the manifest and by size and modification time of every file it names; that key
is a shortcut and no identity, and a run that refused rows is never reused, so that its complaints are heard again.

Paths must lie in the manifest's folder once all links are followed, or below one of `roots`.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lineage import environment, transforms
from lineage.audio import STANDARD, AudioRefused, Limits, Waveform, check_sound, encode, quantise, read_audio
from lineage.derive import edge
from lineage.errors import EarmarkError
from lineage.identity import audio_digest, digest_of, file_digest, sample_id
from lineage.manifests import Manifest, Row, RowRefused, open_manifest
from lineage.manifests.columns import canonical, is_personal, KNOWN
from lineage.manifests.entries import Entry, entry, shown
from lineage.pool import in_order
from lineage.recorder import NewSample, Recorder
from lineage.runs import Run
from lineage.sets import SampleSet, create_set, resolve_set
from lineage.store import Store
from lineage.vault import Vault

MAX_COMPLAINTS = 10_000  # lines kept in a report; all are counted
MAX_ATTRIBUTES = 256  # distinct attributes in one manifest
TOLERANCE_S, TOLERANCE = 0.1, 0.02  # by how much a declared duration may differ from the file's

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Options:
    """How to ingest. `roots` are further folders that audio may lie in; `source` and `licence` fill in for rows without."""

    strict: bool = False
    copy: bool = False
    allow_outside: bool = False
    roots: tuple[Path, ...] = ()
    source: str | None = None
    licence: str | None = None
    limits: Limits = STANDARD


@dataclass(frozen=True)
class IngestReport:
    """What became of a manifest's rows. `new` counts samples that were not on record before."""

    manifest: str
    set: SampleSet
    run_id: str
    accepted: int
    new: int
    refused: dict[str, int] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reused: bool = False

    @property
    def refusals(self) -> int:
        """How many rows were refused."""
        return sum(self.refused.values())


class BatchRefused(EarmarkError):
    """Nothing of a manifest went on the record: all rows were refused, or some under `strict`."""

    def __init__(self, manifest: str, refused: dict[str, int], complaints: tuple[str, ...], strict: bool) -> None:
        counts = ", ".join(f"{n} {reason}" for reason, n in sorted(refused.items(), key=lambda r: (-r[1], r[0])))
        mend = "mend them, or ingest without --strict to keep the others" if strict else "mend them"
        super().__init__(f"{manifest}: nothing was ingested, {sum(refused.values())} rows refused ({counts}) — {mend}")
        self.refused = refused
        self.complaints = complaints


def ingest(
    store: Store,
    manifest: str | Path,
    *,
    name: str | None = None,
    strict: bool = False,
    copy: bool = False,
    allow_outside: bool = False,
    roots: Sequence[str | Path] = (),
    source: str | None = None,
    licence: str | None = None,
    limits: Limits = STANDARD,
    workers: int | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Record the recordings that a manifest lists, as the sample set `name` (default: after the manifest or its folder).

    `copy` keeps the sound in the store; otherwise the files have to stay where they are. `progress` is told (rows done,
    of how many).

    Raises:
        BatchRefused: no row could be kept, or under `strict` not every one.
        EarmarkError: there is no manifest, or it cannot be read as one.
    """
    found = open_manifest(manifest)
    options = Options(strict, copy, allow_outside, tuple(Path(r) for r in roots), source, licence, limits)
    name = name or default_name(found.path)
    digest = file_digest(found.path)
    places = _Places(found.root, options)
    rows, key = _survey(found, digest, name, places, options)
    if not rows:
        raise EarmarkError(f"{found.path}: the manifest lists no recordings — add a line for each")
    before = store.find_run(key)
    tally = _Tally(str(found.path))
    if before is not None and not before.result["refused"]:
        tally.columns = before.result["columns"]
        made, accepted = resolve_set(store, before.outputs[0]), int(before.result["accepted"])
        return IngestReport(tally.manifest, made, before.id, accepted, 0, notes=tally.notes(), reused=True)
    config = {"manifest": digest, "format": found.format.name, "strict": strict, "copy": copy}
    with store.run("ingest", job=name, config=config, key=key) as run:
        with Recorder(run) as recorder:
            ids: list[uuid.UUID] = []
            work = partial(_outcomes, store.vault, options)
            for job, outcomes in in_order(work, _jobs(found, places, tally), workers):
                for line, outcome in outcomes:
                    if tally.accepts(line, outcome):
                        ids.append(_write(run, recorder, outcome))
                if progress:
                    progress(tally.seen, rows)
            if tally.refused and (strict or not ids):
                raise BatchRefused(tally.manifest, dict(tally.refused), tuple(tally.complaints), strict)
            if file_digest(found.path) != digest:
                raise EarmarkError(f"{found.path}: the manifest changed while it was read — ingest it again")
            made = create_set(run, ids, name=name, samples=recorder.totals())
        _write_shared(run, tally)
        run.result = {
            "accepted": len(ids),
            "new": recorder.new,
            "refused": dict(tally.refused),
            "columns": tally.columns,
        }
    return IngestReport(
        tally.manifest,
        made,
        run.id,
        len(ids),
        recorder.new,
        dict(tally.refused),
        tuple(tally.complaints),
        tally.notes(),
    )


def default_name(manifest: Path) -> str:
    """What a manifest's set is called: the file's stem, or the folder's name where the stem says nothing."""
    return manifest.resolve().parent.name if manifest.stem in ("manifest", "metadata") else manifest.stem


@dataclass(frozen=True)
class _Job:
    """Rows of one audio file, or one refused row."""

    path: Path | None
    rows: tuple[tuple[int, Entry], ...] = ()
    refused: tuple[int, RowRefused] | None = None


@dataclass(frozen=True)
class _Accepted:
    """One row's sample; `whole` and `edge` where it is a part of a longer recording."""

    sample: NewSample
    speaker: str | None
    whole: NewSample | None = None
    edge: dict[str, Any] | None = None


class _Places:
    """Finds the files that rows name, and refuses those that lie elsewhere than they may."""

    def __init__(self, root: Path, options: Options) -> None:
        self._root = root
        self._allowed = None if options.allow_outside else [Path(os.path.realpath(r)) for r in (root, *options.roots)]
        self._folder = cache(os.path.realpath)

    def find(self, audio: str) -> Path:
        """The file itself, all links followed.

        Raises:
            RowRefused: it lies outside.
        """
        folder, last = os.path.split(os.path.join(self._root, audio))
        place = os.path.join(self._folder(folder), last)
        if last in ("", ".", "..") or os.path.islink(place):
            place = os.path.realpath(place)
        path = Path(place)
        if self._allowed is not None and not any(path.is_relative_to(folder) for folder in self._allowed):
            problem = f"audio_path '{shown(audio)}' leads out of the manifest's folder"
            raise RowRefused("outside", problem, "move the file there, or allow the folder it lies in")
        return path


class _Tally:
    """What has become of the rows so far."""

    def __init__(self, manifest: str) -> None:
        self.manifest = manifest
        self.seen = 0
        self.refused: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.columns: dict[str, list[str]] = {"attributes": [], "particulars": []}
        self.speakers: dict[uuid.UUID, str] = {}
        self.licences: dict[str, set[str | None]] = {}
        self._lines: dict[bytes, int] = {}

    def accepts(self, line: int, outcome: _Accepted | EarmarkError) -> TypeGuard[_Accepted]:
        """Count one row; False, with a complaint, if it is refused."""
        self.seen += 1
        if isinstance(outcome, _Accepted):
            first = self._lines.setdefault(outcome.sample.id.bytes, line)
            if first != line:
                outcome = RowRefused("duplicate", f"same sound and words as line {first}", "drop one of the lines")
        if isinstance(outcome, EarmarkError):
            self.refused[getattr(outcome, "reason", "value")] += 1
            if len(self.complaints) < MAX_COMPLAINTS:
                text = f"{self.manifest}:{line}: {outcome}"
                self.complaints.append("".join(c if c.isprintable() else "·" for c in text))
            return False
        sample = outcome.sample
        if sample.speaker_key is not None and outcome.speaker is not None:
            self.speakers[sample.speaker_key] = outcome.speaker
        if sample.source is not None:
            self.licences.setdefault(sample.source, set()).add(sample.licence)
        return True

    def learn(self, read: Entry) -> None:
        """Note a row's columns.

        Raises:
            RowRefused: there are too many in the manifest.
        """
        for kind, names in (("attributes", read.attributes), ("particulars", read.particulars)):
            known = self.columns[kind]
            known += [name for name in names if name not in known and name not in KNOWN]
            if len(known) > MAX_ATTRIBUTES:
                raise RowRefused("column", f"the manifest has more than {MAX_ATTRIBUTES} {kind}", "keep fewer columns")

    def notes(self) -> tuple[str, ...]:
        """One line for each sort of column that Earmark does not know."""
        words = {"attributes": "recorded as attributes", "particulars": "look personal, kept in the vault"}
        return tuple(
            f"{self.manifest}: unknown columns, {words[kind]}: {', '.join(sorted(names))}"
            for kind, names in self.columns.items()
            if names
        )


def _survey(found: Manifest, digest: str, name: str, places: _Places, options: Options) -> tuple[int, str]:
    """How many rows there are, and the key under which the run is found again."""
    files = hashlib.sha256()
    rows = 0
    for row in found.rows():
        rows += 1
        if isinstance(row.values, RowRefused):
            continue
        try:
            path = places.find(entry(row.values).audio)
            status = path.stat()
        except (RowRefused, OSError):
            continue
        files.update(f"{path}\x00{status.st_size}\x00{status.st_mtime_ns}\x00".encode())
    chosen = {**asdict(options), "roots": [str(r) for r in options.roots]}
    code = environment.code_version("lineage")
    return rows, digest_of(
        {"job": "ingest", "manifest": digest, "files": files.hexdigest(), "name": name, "code": code, **chosen}
    )


def _jobs(found: Manifest, places: _Places, tally: _Tally) -> Iterator[_Job]:
    """Rows by audio file: neighbours that are parts of one file are decoded together."""
    pending: list[tuple[int, Entry]] = []
    shared: Path | None = None
    for row in found.rows():
        try:
            if isinstance(row.values, RowRefused):
                raise row.values
            read = entry(row.values)
            tally.learn(read)
            path = places.find(read.audio)
        except RowRefused as refused:
            if pending:
                yield _Job(shared, tuple(pending))
                pending = []
            yield _Job(None, refused=(row.line, refused))
            continue
        if pending and (path != shared or read.offset_s is None or len(pending) == MAX_PARTS):
            yield _Job(shared, tuple(pending))
            pending = []
        if read.offset_s is None:
            yield _Job(path, ((row.line, read),))
        else:
            shared = path
            pending.append((row.line, read))
    if pending:
        yield _Job(shared, tuple(pending))


def _outcomes(vault: Vault, options: Options, job: _Job) -> list[tuple[int, _Accepted | EarmarkError]]:
    """What becomes of each row of a job; the audio is decoded here."""
    if job.refused is not None or job.path is None:
        return [job.refused] if job.refused else []
    try:
        wave = read_audio(job.path, limits=options.limits, name=shown(job.rows[0][1].audio))
    except AudioRefused as refused:
        return [(line, refused) for line, _ in job.rows]
    digest = audio_digest(wave.pcm, wave.rate)
    whole = _whole(vault, options, job, wave, digest)
    outcomes: list[tuple[int, _Accepted | EarmarkError]] = []
    for line, read in job.rows:
        try:
            outcomes.append((line, _accepted(vault, options, job.path, read, wave, digest, whole)))
        except EarmarkError as refused:
            outcomes.append((line, refused))
    return outcomes

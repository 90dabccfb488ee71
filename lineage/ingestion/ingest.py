"""Ingestion: the recordings of a manifest go on the record, and what cannot is told in one line each.

Every refused row yields `FILE:LINE: what is wrong — mend`; the others are kept. Nothing is visible before all of it is:
a batch refused whole (`strict`), a full disk or Ctrl-C leave no row behind. Audio is decoded once, by several threads, a
bounded number of clips at a time.

Ids depend on what is heard and said alone, so ingesting the same things again adds nothing. To save the second decoding
too, a run is found again by the bytes of the manifest and by size and modification time of every file it names. That key
is a shortcut and no identity; and a run that refused rows is never reused, so that its complaints are heard again.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.ingestion.intake import CUT, Accepted, Options, Places, jobs, outcomes
from lineage.machine import environment
from lineage.machine.pool import in_order
from lineage.manifests import Line, Manifest, RowRefused, open_manifest
from lineage.manifests.columns import KNOWN
from lineage.manifests.entries import Entry, entry
from lineage.people.erase import Barred, barred
from lineage.recorder import Recorder
from lineage.selection.duplicates import duplicates
from lineage.selection.sets import SampleSet, create_set, resolve_set
from lineage.sound.audio import STANDARD, Limits
from lineage.store import Store

MAX_COMPLAINTS = 10_000  # lines kept in a report; all are counted
SAY_NOTHING = ("manifest", "metadata", "cuts", "supervisions", "tarred_audio_manifest")
MAX_ATTRIBUTES = 256  # distinct columns that one manifest may bring along

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class IngestReport:
    """What became of a manifest's rows; `new` counts samples that were not on record before.

    `same_sound` of those accepted have the sound of another one and other words, `near` are copies of one another that are
    not equal to the bit (see `lineage.selection.duplicates`).
    """

    manifest: str
    set: SampleSet
    run_id: str
    accepted: int
    new: int
    refused: dict[str, int] = field(default_factory=dict)  # by reason
    complaints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reused: bool = False
    same_sound: int = 0
    near: int = 0


class BatchRefused(EarmarkError):
    """Nothing of a manifest went on the record: all rows were refused, or some under `strict`."""

    def __init__(self, manifest: str, refused: dict[str, int], complaints: tuple[str, ...], strict: bool) -> None:
        counts = ", ".join(f"{n} {reason}" for reason, n in sorted(refused.items(), key=lambda r: (-r[1], r[0])))
        mend = "mend them, or ingest without strict to keep the others" if strict else "mend them"
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
    """Record the recordings that a manifest lists, as the sample set `name` (default: see `default_name`).

    The other options are those of `intake.Options`; under `strict` one refused row refuses the batch. `progress` is told
    (rows done, of how many).

    Raises:
        BatchRefused: no row could be kept, or under `strict` not every one.
        EarmarkError: there is no manifest, or it cannot be read as one.
    """
    found = open_manifest(manifest)
    options = Options(strict, copy, allow_outside, tuple(Path(r) for r in roots), source, licence, limits)
    name = name or default_name(found.path)
    digest = found.digest(store.vault.file_digest)  # keyed: a short manifest could be guessed from a plain one
    places = Places(found.root, options)
    rows, key = _survey(found, digest, name, places, options)
    if not rows and not found.format.remote:
        raise EarmarkError(f"{found.path}: the manifest lists no recordings — add a line for each")
    tally = _Tally(str(found.path), barred(store))
    before = store.find_run(key)
    intact = before is not None and all(e.run.ended < before.started for e in store.erasures)
    if before is not None and intact and not before.result["refused"]:
        tally.columns = before.result["columns"]
        made, accepted = resolve_set(store, before.outputs[0]), int(before.result["accepted"])
        report = IngestReport(tally.manifest, made, before.id, accepted, 0, notes=tally.notes(), reused=True)
        return _with_duplicates(store, report)
    config = {"manifest": digest, "format": found.format.name, "strict": strict, "copy": copy}
    with store.run("ingest", job=name, config=config, key=key) as run, Recorder(run) as recorder:
        ids = bytearray()
        work = partial(outcomes, store.vault, options)
        for _, decided in in_order(work, jobs(found, places, tally.learn), workers):
            for line, outcome in decided:
                sample = tally.take(line, outcome, recorder)
                ids += sample.bytes if sample else b""
            if progress:
                progress(tally.seen, max(rows, tally.seen))
        if tally.refused and (strict or not ids):
            raise BatchRefused(tally.manifest, dict(tally.refused), tuple(tally.complaints), strict)
        if found.digest(store.vault.file_digest) != digest:
            raise EarmarkError(f"{found.path}: the manifest changed while it was read — ingest it again")
        members = np.frombuffer(bytes(ids), ">u8").reshape(-1, 2).astype(np.uint64)
        made = create_set(run, members, name=name, samples=recorder.totals())
        run.result = {
            "accepted": made.size,
            "new": recorder.new,
            "refused": dict(tally.refused),
            "columns": tally.columns,
        }
    report = IngestReport(
        manifest=tally.manifest,
        set=made,
        run_id=run.id,
        accepted=made.size,
        new=recorder.new,
        refused=dict(tally.refused),
        complaints=tuple(tally.complaints),
        notes=tally.notes(),
    )
    return _with_duplicates(store, report)


def _with_duplicates(store: Store, report: IngestReport) -> IngestReport:
    found = duplicates(store, report.set.digest)
    return replace(report, same_sound=found.count(found.exact), near=found.count(found.near))


def default_name(manifest: Path) -> str:
    """What a manifest's set is called: the file's stem, or the folder's name where the stem says nothing."""
    if manifest.is_dir():
        return manifest.resolve().name
    name = Path(manifest.name.partition("?")[0].removesuffix(".gz")).stem
    return manifest.resolve().parent.name if name in SAY_NOTHING else name


class _Tally:
    """What has become of the rows so far, and what they share."""

    def __init__(self, manifest: str, erased: Barred) -> None:
        self.manifest = manifest
        self._erased = erased
        self.seen = 0
        self.refused: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.columns: dict[str, list[str]] = {"attributes": [], "particulars": []}

    def take(self, line: int, outcome: Accepted | EarmarkError, recorder: Recorder) -> uuid.UUID | None:
        """Record one row's sample and give its id; None, with a complaint, if the row is refused."""
        self.seen += 1
        if isinstance(outcome, Accepted):
            first = recorder.line_of(outcome.sample.id)
            if first:
                outcome = RowRefused("duplicate", f"same sound and words as line {first}", "drop one of the lines")
        if isinstance(outcome, Accepted) and self._erased(outcome.sample.id, outcome.sample.speaker_key):
            mend = "drop the line, or record that consent was given anew: earmark consent given"
            outcome = RowRefused("erased", "this sample or its speaker was erased from the record", mend)
        if isinstance(outcome, EarmarkError):
            self.refused[getattr(outcome, "reason", "value")] += 1
            if len(self.complaints) < MAX_COMPLAINTS:
                file = f"/{line.file}" if isinstance(line, Line) else ""
                text = f"{self.manifest}{file}:{line}: {outcome}"
                self.complaints.append("".join(c if c.isprintable() else "·" for c in text))
            return None
        if outcome.whole is not None and outcome.edge is not None:
            recorder.use(CUT)
            recorder.add(outcome.whole)
        recorder.add(outcome.sample, [outcome.edge] if outcome.edge else (), line)
        return outcome.sample.id

    def learn(self, read: Entry) -> None:
        """Note a row's columns.

        Raises:
            RowRefused: the manifest has too many.
        """
        for kind, names in (("attributes", read.attributes), ("particulars", read.particulars)):
            known = self.columns[kind]
            fresh = [name for name in names if name not in known and name not in KNOWN]
            if len(known) + len(fresh) > MAX_ATTRIBUTES:
                raise RowRefused("column", f"the manifest has more than {MAX_ATTRIBUTES} {kind}", "keep fewer columns")
            known += fresh

    def notes(self) -> tuple[str, ...]:
        """One line for each sort of column that Earmark does not know."""
        words = {"attributes": "recorded as attributes", "particulars": "personal by their names, kept in the vault"}
        return tuple(
            f"{self.manifest}: unknown columns, {words[kind]}: {', '.join(sorted(names))}"
            for kind, names in self.columns.items()
            if names
        )


def _survey(found: Manifest, digest: str, name: str, places: Places, options: Options) -> tuple[int, str]:
    """How many rows there are (0 if that takes a transfer), and the key under which the run is found again."""
    files = hashlib.sha256()
    rows = 0
    for row in () if found.format.remote else found.rows():
        rows += 1
        if isinstance(row.values, RowRefused) or row.sound is not None:
            continue
        try:
            path = places.find(entry(row.values).audio)
            status = path.stat()
        except (RowRefused, OSError):
            continue
        files.update(f"{path}\x00{status.st_size}\x00{status.st_mtime_ns}\x00".encode())
    chosen = {**asdict(options), "roots": [str(r) for r in options.roots], "limits": str(options.limits)}
    seen = {"job": "ingest", "manifest": digest, "files": files.hexdigest(), "name": name}
    return rows, digest_of({**seen, "code": environment.code_version("lineage"), **chosen})

"""Making an export: a run on record, a folder that appears whole or not at all, and the evidence for an outsider.

    <format's own files>
    README.txt    what this is, how it is opened, how it is checked
    verifier.py   the verifier, which needs the standard library and `cryptography`
    check.py      checks this folder with it
    proof/        see `lineage.exports.proofs`

Laws: the run is on record before anybody can see the folder, so no copy exists that an erasure would not know of; and the
run's output is the digest of the list of everything in the folder but the proofs, so a changed byte is found.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import lineage.proof.verifier
from lineage.aliases import resolve_model
from lineage.errors import EarmarkError
from lineage.exports import Format, check, find, proofs
from lineage.exports.parcel import Parcel, Progress
from lineage.identity import uuid7
from lineage.selection.sets import resolve_set
from lineage.store import Store
from lineage.subjects import Subject


@dataclass(frozen=True)
class Shared:
    """A finished export: where it is, its digest, and how many samples it carries (None if it carries none)."""

    folder: Path
    run_id: str
    digest: str
    format: str
    subject: Subject
    samples: int | None
    erased: int


def export(
    store: Store,
    ref: str,
    format: str,
    out: str | Path,
    *,
    personal: bool = False,
    progress: Progress | None = None,
) -> Shared:
    """Write the set or model meant by `ref` in a format to the new or empty folder `out`.

    `personal` adds names and words to formats that carry none of themselves.

    Raises:
        EarmarkError: no such set, model or format; the folder is not empty; or a recording cannot be read.
    """
    kind = find(format)
    subject = _resolve(store, ref, kind)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EarmarkError(f"{out} is not an empty folder — choose another, or empty it")
    staging = out.absolute().with_name(f".{out.name}.{uuid7()}.tmp")
    config = {
        "format": kind.name,
        "model": subject.digest if subject.kind == "model" else None,
        "set": subject.digest if subject.kind == "set" else subject.facts["set_digest"],
        "samples": "set" in kind.of,
        "personal": personal or kind.personal,
        "to": out.absolute().name,
    }
    try:
        staging.mkdir(parents=True)
        with store.run("export", job=kind.name, config=config, inputs=[subject.digest]) as run:
            parcel = Parcel(store, run, subject, staging, personal, progress or (lambda done, total: None))
            kind.write(parcel)
            parcel.write("README.txt", _readme(parcel, kind))
            add_verifier(parcel)
            files = close(parcel)
        proofs.write(parcel, files)
        staging.replace(out)
    except OSError as error:
        raise EarmarkError(
            f"cannot write {out}: {error.strerror or error} — free some space or choose a place"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Shared(
        out, run.id, run.outputs[-1], kind.name, subject, parcel.result.get("samples"), parcel.result.get("erased", 0)
    )


def add_verifier(parcel: Parcel) -> None:
    """Put the scripts into the folder with which an outsider checks it."""
    for script in (lineage.proof.verifier.__file__, check.__file__):
        shutil.copyfile(script, parcel.folder / Path(script).name)


def close(parcel: Parcel) -> bytes:
    """Put on the run's record what the folder holds; returns the listing of its files, whose digest is the run's output."""
    files = check.text_of(check.listing(parcel.folder))
    parcel.run.outputs.append(hashlib.sha256(files).hexdigest())
    parcel.run.result |= parcel.result
    return files


def _resolve(store: Store, ref: str, kind: Format) -> Subject:
    if kind.of == ("set",):
        return store.subjects.find(resolve_set(store, ref).digest)
    if kind.of == ("model",):
        return resolve_model(store, ref)
    try:
        return resolve_model(store, ref)
    except EarmarkError:
        return store.subjects.find(resolve_set(store, ref).digest)


def _readme(parcel: Parcel, kind: Format) -> str:
    subject, run = parcel.subject, parcel.run
    erased = parcel.result.get("erased", 0)
    lines = [
        f"{subject.kind} {subject.name or ''} {subject.digest}".replace("  ", " "),
        f"Exported by Earmark as {kind.doc}, run {run.id}.",
        *([f"Samples of the set that were erased before this export, and are not here: {erased}."] if erased else []),
        *(["This folder holds personal data: words, voices and names. Keep it as such."] if kind.personal else []),
        "",
        "How to open it",
        *(f"  {line}" for line in parcel.reading),
        "",
        "How to check it, without Earmark",
        "  pip install cryptography; python check.py",
        "  It checks with verifier.py that nothing here was changed since it was exported, that the runs behind it",
        "  stand in the log of the store as they are told in proof/manifests, and that the log was signed with the",
        "  key in proof/earmark.json. Compare that key with what its owner publishes, and keep proof/checkpoint.json:",
        "  held against the store later (earmark verify --against checkpoint.json) it catches a rewritten history.",
        "",
        "What the identifiers are",
        "  A sample's id is the first half of a SHA-256 over its decoded sound and its words; the set's digest is the",
        "  root of a Merkle tree over the sorted ids (proof/members.txt). Both can be computed again from the data.",
    ]
    return "\n".join(lines) + "\n"

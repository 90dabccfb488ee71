"""Artifacts: weights, checkpoints, features and other bulk, kept under the digest of their content.

`artifacts/<first two digits>/<digest>` is a file or a folder. Law: what lies under a digest has that digest, and is never
changed; keeping the same content twice is keeping it once, whichever process was first.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from lineage.durable import disk_error, sync, write_durably
from lineage.errors import UnknownName
from lineage.identity import uuid7
from lineage.proof.verifier import artifact_digest


def place(store: Path, digest: str) -> Path:
    """Where an artifact of that digest lies, or would."""
    return store / "artifacts" / digest[:2] / digest


def find(store: Path, digest: str) -> Path:
    """Where the artifact of that digest lies.

    Raises:
        UnknownName: it is not in the store (never kept, or erased).
    """
    path = place(store, digest)
    if not path.exists():
        raise UnknownName("artifact", digest, ())
    return path


def touch(store: Path, digest: str) -> bool:
    """Whether the artifact is there; if so it is in use again, should it have been a leftover of a killed writer."""
    with suppress(FileNotFoundError):
        os.utime(place(store, digest))
        return True
    return False


def keep(store: Path, content: Path | bytes) -> str:
    """Keep a file, a folder or bytes; returns the digest. (That it lies there lasts once a run that names it is published.)

    Raises:
        EarmarkError: it could not be written.
    """
    digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else artifact_digest(content)
    target = place(store, digest)
    if touch(store, digest):
        return digest
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        write_durably(target, content)
        return digest
    temporary = target.with_name(f".{digest[:16]}.{uuid7()}.tmp")
    try:
        if content.is_dir():
            shutil.copytree(content, temporary)
        else:
            shutil.copyfile(content, temporary)
        sync([temporary, *temporary.rglob("*")])
        temporary.rename(target)
    except OSError as error:
        if not target.exists():  # else another process kept the same folder first
            raise disk_error(target, error) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
    return digest

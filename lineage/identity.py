"""Who is who on the record: every id is a digest of content, so that two parties who never met agree on it.

- `audio_digest` is over the canonical PCM (float32, little-endian, interleaved), its rate and its channel count: the
  same sound in WAV and FLAC is the same audio.
- `sample_id` is the first 16 bytes over (audio digest, transcript, schema tag): a corrected transcript is a new sample.
- `transform_id` is over the canonical JSON (RFC 8785) of name, parameters, code version and package versions.
- `speaker_key` and `audio_key` are keyed hashes (HMAC-SHA-256, first 16 bytes) that stand in public columns for what
  lies in the vault.
- `run_id` is a UUIDv7: unique, and sorted by the time the run began.

Laws: ids depend on content alone, never on paths, times, file formats or chance (except `run_id`); with the audio digest
erased nobody can guess a short transcript back out of a `sample_id`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rfc8785

SAMPLE_TAG = b"earmark.sample.v1"
AUDIO_TAG = b"earmark.audio.v1"
NEGATIVE_ZERO = -(1 << 31)  # the bits of -0.0 as an integer, which is the least there is


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON (RFC 8785) of a JSON-able value."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def audio_digest(pcm: npt.NDArray[np.float32], rate: int) -> str:
    """SHA-256 (hex) of canonical PCM of shape [frames, channels] at `rate` Hz.

    -0.0 and +0.0 are the same sound, so zeros are made positive first.
    """
    if pcm.ndim != 2:
        raise ValueError(f"canonical PCM has shape [frames, channels], not {pcm.shape}")
    canonical = np.ascontiguousarray(pcm, dtype="<f4")
    if canonical.size and canonical.view("<i4").min() == NEGATIVE_ZERO:
        canonical = canonical + np.float32(0.0)
    h = hashlib.sha256(AUDIO_TAG + rate.to_bytes(4, "little") + pcm.shape[1].to_bytes(2, "little"))
    h.update(canonical.data)
    return h.hexdigest()


def sample_id(audio: str, transcript: str | None) -> uuid.UUID:
    """Id of the utterance whose audio digest is `audio` (hex); `transcript` is None for noise, which says nothing."""
    h = hashlib.sha256(SAMPLE_TAG + bytes.fromhex(audio))
    h.update(b"\x00" if transcript is None else b"\x01" + transcript.encode("utf-8"))
    return uuid.UUID(bytes=h.digest()[:16])


def keyed_id(key: bytes, purpose: str, value: str) -> uuid.UUID:
    """Keyed 16-byte hash of a personal value; `purpose` ('speaker', 'audio') keeps the spaces apart."""
    return uuid.UUID(bytes=hmac.digest(key, f"{purpose}\x00{value}".encode(), "sha256")[:16])


def transform_id(name: str, parameters: dict[str, Any], code_version: str, packages: dict[str, str]) -> str:
    """Digest of one way of making samples out of samples; seeds are not part of it, they stand on the edges."""
    return digest_of({"name": name, "parameters": parameters, "code": code_version, "packages": packages})


def uuid7() -> str:
    """A fresh time-ordered UUID (RFC 9562, version 7) as text."""
    ms = time.time_ns() // 1_000_000
    tail = int.from_bytes(os.urandom(10), "big")
    value = (ms & (1 << 48) - 1) << 80 | 0x7 << 76 | (tail >> 64 & 0xFFF) << 64 | 0b10 << 62 | tail & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def hex_prefix(text: str) -> str | None:
    """The hexadecimal digits of a (partial) id typed by a person, hyphens dropped; None if it is no such thing."""
    digits = text.strip().lower().replace("-", "")
    return digits if re.fullmatch(r"[0-9a-f]{1,64}", digits) else None

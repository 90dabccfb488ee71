"""The one door to personal data: transcripts, hypotheses, names of speakers and sound.

No other module of the dashboard reads the vault, and nothing that comes through here is kept in a cache. So who may see
what, and a log of who did, have one place to be decided and written.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Mapping

import soundfile

from dashboard.record import opened
from lineage.errors import EarmarkError


def transcripts(ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, str]:
    """What was said in samples."""
    current, wanted = opened(), list(ids)
    with current.lock:
        return current.store.vault.transcripts(wanted)


def hypotheses(run_id: str, ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, str]:
    """What the model of an evaluation run heard in samples."""
    current, wanted = opened(), list(ids)
    with current.lock:
        return current.store.vault.hypotheses(run_id, wanted)


def speakers(keys: Iterable[uuid.UUID | None]) -> Mapping[uuid.UUID, str]:
    """Names of speakers, by key."""
    current, wanted = opened(), [k for k in keys if k is not None]
    with current.lock:
        return current.store.vault.speakers(wanted)


def sounds(ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, bytes | str]:
    """The sound of samples as WAV files that every browser plays; where there is none to be had, a line saying why."""
    current = opened()
    found: dict[uuid.UUID, bytes | str] = {}
    for sample in ids:
        try:
            with current.lock:
                wave = next(w for _, w in current.store.vault.waveforms([sample]))
        except EarmarkError as error:
            found[sample] = str(error)
            continue
        buffer = io.BytesIO()
        soundfile.write(buffer, wave.pcm, wave.rate, format="WAV", subtype="PCM_16")
        found[sample] = buffer.getvalue()
    return found

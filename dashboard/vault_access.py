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
from lineage.sound.audio import Waveform


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
    wanted = list(dict.fromkeys(ids))
    try:
        return {sample: _wav(wave) for sample, wave in _waveforms(wanted)}
    except EarmarkError as error:
        if len(wanted) == 1:
            return {wanted[0]: str(error)}
        return {sample: sound for one in wanted for sample, sound in sounds([one]).items()}


def _waveforms(ids: list[uuid.UUID]) -> list[tuple[uuid.UUID, Waveform]]:
    current = opened()
    with current.lock:
        return list(current.store.vault.waveforms(ids))


def _wav(wave: Waveform) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.pcm, wave.rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()

"""The vault: the only place where personal data lies.

Names of speakers, transcripts, hypotheses, paths and digests of recordings, and the sound that the store itself keeps.
Public tables hold keyed hashes in their place; the key lies here. Vault segments have the shape and the publication of
public ones, but they may be rewritten: erasing a speaker removes their rows and leaves the public record as it is.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lineage import ids as id_arrays
from lineage import sql
from lineage.durable import write_durably
from lineage.errors import EarmarkError
from lineage.identity import audio_digest, keyed_id
from lineage.proof.verifier import KEY_CHECK, rows_digest
from lineage.schema import VAULT
from lineage.selection.words import plain
from lineage.sound.audio import ANY, Waveform, read_audio
from lineage.storage.segments import empty

BATCH = 256  # utterances whose sound is in memory at a time


class Vault:
    """Reads the personal data of one store; writing goes through a run."""

    def __init__(self, root: Path, segments: Callable[[str], list[Path]]) -> None:
        self.root = root / "vault"
        self._segments = segments

    @staticmethod
    def make_key(root: Path) -> str:
        """Draw the secret under which this store's speakers and recordings go in public tables; returns its check value."""
        key = secrets.token_bytes(32)
        write_durably(root / "vault" / "key", key, mode=0o600)
        return hmac.digest(key, KEY_CHECK, "sha256").hex()

    @cached_property
    def _key(self) -> bytes:
        try:
            return (self.root / "key").read_bytes()
        except OSError as error:
            raise EarmarkError(
                f"{self.root / 'key'} cannot be read: {error.strerror} — restore it from a backup"
            ) from error

    def speaker_key(self, name: str) -> uuid.UUID:
        """The keyed hash that stands for a speaker's name."""
        return self._speaker_key(name)

    @cached_property
    def _speaker_key(self) -> Callable[[str], uuid.UUID]:
        return lru_cache(maxsize=4_096)(partial(keyed_id, self._key, "speaker"))  # who speaks, speaks often

    def audio_key(self, digest: str) -> uuid.UUID:
        """The keyed hash that stands for an audio digest."""
        return keyed_id(self._key, "audio", digest)

    def words_key(self, transcript: str) -> uuid.UUID:
        """The keyed hash that stands for the plain words of a transcript."""
        return keyed_id(self._key, "words", plain(transcript))

    def text_key(self, text: str) -> uuid.UUID:
        """The keyed hash that stands for a text, to the letter."""
        return keyed_id(self._key, "text", text)

    def file_digest(self, path: Path) -> str:
        """HMAC-SHA-256 (hex) of a vault file: a plain digest of a few short transcripts could be guessed back."""
        with path.open("rb") as stream:
            mac = hmac.new(self._key, digestmod="sha256")
            while block := stream.read(1 << 20):
                mac.update(block)
        return mac.hexdigest()

    def rows_digest(self, rows: pa.Table) -> str:
        """Keyed digest (hex) of rows in their order, wherever they lie (`lineage.proof.verifier.rows_digest`)."""
        return rows_digest(rows, self._key)

    # -- reading -----------------------------------------------------------------------------------------------------

    def rows(
        self, table: str, ids: Iterable[uuid.UUID] | pa.Array | None = None, run_id: str | None = None
    ) -> pa.Table:
        """Rows of a vault table, of the given samples (speakers, for `speakers`) and of one run if asked."""
        wanted = None if ids is None else id_arrays.id_array(ids)
        while True:
            listed = self._segments(table)
            try:
                rows = self._rows(table, [str(p) for p in listed if p.exists()], wanted, run_id)
            except duckdb.IOException:
                if self._segments(table) == listed:
                    raise
            else:
                if self._segments(table) == listed:  # else a file was replaced under our hands
                    return rows

    def _rows(self, table: str, paths: list[str], ids: pa.Array | None, run_id: str | None) -> pa.Table:
        if not paths:
            return empty(VAULT[table])
        conditions, parameters = [], [paths]
        if run_id is not None:
            conditions.append("run_id = ?")
            parameters.append(run_id)  # type: ignore[arg-type]
        connection = sql.connect()
        if ids is not None:
            column = "speaker_key" if table == "speakers" else "sample_id"
            connection.register("wanted", pa.table({"id": ids}))
            conditions.append(f"{column} IN (SELECT id FROM wanted)")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"SELECT * FROM read_parquet(?, union_by_name = true){where} ORDER BY run_id"  # the newest wins below
        return connection.sql(query, params=parameters).to_arrow_table()

    def _values(self, table: str, value: str, ids: Any, run_id: str | None = None) -> dict[uuid.UUID, str]:
        rows = self.rows(table, ids, run_id)
        key = "speaker_key" if table == "speakers" else "sample_id"
        return dict(zip(rows[key].to_pylist(), rows[value].to_pylist(), strict=True))

    def transcripts(self, ids: Iterable[uuid.UUID] | pa.Array | None = None) -> dict[uuid.UUID, str]:
        """What was said, by sample."""
        return self._values("transcripts", "transcript", ids)

    def speakers(self, keys: Iterable[uuid.UUID] | pa.Array | None = None) -> dict[uuid.UUID, str]:
        """Names, by speaker key."""
        return self._values("speakers", "speaker", keys)

    def hypotheses(self, run_id: str, ids: Iterable[uuid.UUID] | pa.Array | None = None) -> dict[uuid.UUID, str]:
        """What the model of an evaluation run heard, by sample."""
        return self._values("hypotheses", "hypothesis", ids, run_id)

    def paths(self, ids: Iterable[uuid.UUID] | pa.Array | None = None) -> dict[uuid.UUID, str | None]:
        """Where ingested recordings lie, by sample; None for those copied into the store."""
        return self._values("recordings", "path", ids)  # type: ignore[return-value]

    def waveforms(self, ids: Iterable[uuid.UUID] | pa.Array) -> Iterator[tuple[uuid.UUID, Waveform]]:
        """The sound of samples, in the order asked for, a batch in memory at a time.

        Raises:
            EarmarkError: a recording is gone from its place, or is no longer the one that was ingested.
        """
        wanted = id_arrays.id_array(ids).to_pylist()
        for start in range(0, len(wanted), BATCH):
            yield from self._batch(wanted[start : start + BATCH])

    def _batch(self, batch: list[uuid.UUID]) -> Iterator[tuple[uuid.UUID, Waveform]]:
        clips = self.rows("clips", batch)
        sound = dict(zip(clips["sample_id"].to_pylist(), clips["flac"].to_pylist(), strict=True))
        rest = [i for i in batch if i not in sound]
        found = self.rows("recordings", rest) if rest else empty(VAULT["recordings"])
        recordings = {r["sample_id"]: r for r in found.select(["sample_id", "path", "audio_digest"]).to_pylist()}
        for sample in batch:
            if sample in sound:
                yield sample, read_audio(sound[sample], limits=ANY)
                continue
            if sample not in recordings:
                raise EarmarkError(f"no sound of sample {sample} in this store — it was erased, or never ingested")
            path, digest = recordings[sample]["path"], recordings[sample]["audio_digest"]
            waveform = read_audio(Path(path), limits=ANY)
            if audio_digest(waveform.pcm, waveform.rate) != digest:
                raise EarmarkError(
                    f"{path} is no longer the recording that was ingested — restore it, or ingest it anew"
                )
            yield sample, waveform

    def audio_digests(self, ids: Iterable[uuid.UUID] | pa.Array | None = None) -> dict[uuid.UUID, str]:
        """Digests of canonical PCM, by sample, of recordings and derived samples alike."""
        return self._values("recordings", "audio_digest", ids)

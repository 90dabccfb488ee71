"""A sample set as a model takes it: transcripts, features and speakers of every utterance, checked before any training.

Utterances are numbered by the order of their ids, so the numbering depends on the set alone. A worker that trains thirty
models on one set opens it once.

A corpus may have substitutes: other samples in the places of some of the set's (`Corpus.with_substitutes`). Places keep their
numbers, whose order is that of `ids`; what is heard and taught there is the sample in `present`.

Laws: `corpus.ids` is sorted; what `check` accepts, `batch` never refuses; without substitutes `present` is `ids`.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from lineage.derivation.substitutes import Substitutes, pairs
from lineage.errors import EarmarkError
from lineage.ids import halves, id_array
from lineage.selection.sets import members
from lineage.store import Store
from training.data.features import FeatureView, open_features
from training.families import Batch, Family, Features, TranscriptRefused
from training.families.languages import PER_SAMPLE
from training.normalise import normaliser
from training.progress import Progress, silent

KEPT = 8  # corpora kept open by a process
SLACK_S = 1e-3  # durations on record are rounded
SLACK_FRAMES = 2  # which windows at a clip's end may cost

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Corpus:
    """The utterances of one set. `transcripts` are as the model is taught them; `spoken` as they were recorded.

    `languages` are those that the samples bring, where the recipe says so (`language: per-sample`); else None. `ids` are the
    members of the set, `present` the sample in the place of each; all else is that of the sample in the place.
    """

    store: Store
    set_digest: str
    family: Family
    ids: pa.Array
    spoken: list[str]
    transcripts: list[str]
    features: FeatureView
    samples: pa.Table
    languages: list[str | None]
    present: pa.Array

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def speakers(self) -> list[uuid.UUID | None]:
        """Speaker of each utterance, None where unknown."""
        found: list[uuid.UUID | None] = self.samples["speaker_key"].to_pylist()
        return found

    def batch(self, rows: Sequence[int] | npt.NDArray[np.int64], features: Sequence[Features] | None = None) -> Batch:
        """The utterances of those numbers as the family's batch, and their numbers as `rows`.

        `features` are given where an utterance is presented otherwise than it was recorded.
        """
        numbers = [int(i) for i in rows]
        heard = [self.features[i] for i in numbers] if features is None else features
        batch = self.family.collate(
            heard,
            [self.transcripts[i] for i in numbers],
            [self.languages[i] for i in numbers],
        )
        return {**batch, "rows": torch.tensor(numbers, dtype=torch.int64)}

    def mask(self, ids: pa.Array | Iterable[uuid.UUID]) -> npt.NDArray[np.bool_]:
        """Which utterances are among `ids`."""
        return np.isin(_scalar(halves(self.ids)), _scalar(halves(id_array(ids))))

    def check(self, quicker: float = 1.0) -> None:
        """Whether every utterance can be trained on, even where clips are made `quicker` times as short.

        Raises:
            EarmarkError: transcripts are missing from the vocabulary or too long; says how many, which words, the mend.
        """
        words: Counter[str] = Counter()
        refused: list[tuple[int, TranscriptRefused]] = []
        for i, (transcript, frames) in enumerate(zip(self.transcripts, self.features.frames, strict=True)):
            try:
                self.family.check(transcript, frames if quicker == 1 else int(frames / quicker) - SLACK_FRAMES)
            except TranscriptRefused as error:
                refused.append((i, error))
                words.update(error.words)
        if not refused:
            return
        first, refusal = refused[0]
        where = f"{len(refused)} of {len(self)} transcripts (first: sample {self.present[first].as_py()})"
        if not words:
            raise EarmarkError(f"{where}: {refusal.problem} — {refusal.mend}")
        shown = ", ".join(repr(w) for w, _ in words.most_common(8)) + (
            f" and {len(words) - 8} more" if len(words) > 8 else ""
        )
        raise EarmarkError(
            f"{where} have words outside the closed vocabulary of base {self.family.base.ref}: {shown} — {refusal.mend}"
        )

    def encodable(self) -> npt.NDArray[np.bool_]:
        """Which transcripts the model can be asked the likelihood of, given their clips."""
        out = np.ones(len(self), dtype=bool)
        for i, (transcript, frames) in enumerate(zip(self.transcripts, self.features.frames, strict=True)):
            try:
                self.family.check(transcript, frames)
            except TranscriptRefused:
                out[i] = False
        return out

    def with_substitutes(self, found: Substitutes, others: Corpus) -> Corpus:
        """This corpus with the samples of a pairing replaced where they stand; `others` is the corpus of the substitutes.

        Raises:
            EarmarkError: a sample that is to be replaced is not in the set.
        """
        numbers = {sample: i for i, sample in enumerate(self.ids.to_pylist())}
        theirs = {sample: i for i, sample in enumerate(others.ids.to_pylist())}
        places = np.arange(len(self), dtype=np.int64)
        for sample, by in pairs(found).items():
            if sample not in numbers:
                raise EarmarkError(
                    f"sample {sample} is to be replaced, but is not in training set {self.set_digest[:12]} — "
                    "record the substitutes for this set"
                )
            places[numbers[sample]] = len(self) + theirs[by]
        samples = pa.concat_tables([self.samples, others.samples], promote_options="permissive").take(pa.array(places))
        present = pa.concat_arrays([self.ids, others.ids]).take(pa.array(places))
        return replace(
            self,
            spoken=_taken(self.spoken + others.spoken, places),
            transcripts=_taken(self.transcripts + others.transcripts, places),
            features=self.features.merged(others.features, places),
            samples=samples,
            languages=_taken(self.languages + others.languages, places),
            present=present,
        )


_OPEN: OrderedDict[tuple[Any, ...], Corpus] = OrderedDict()
_LOCK = threading.Lock()


def open_corpus(
    store: Store, set_digest: str, family: Family, *, transcripts: str = "none", progress: Progress = silent
) -> Corpus:
    """The set's utterances for `family`, with `transcripts` naming the normaliser of what the model is taught.

    Raises:
        EarmarkError: the set holds noise, erased samples, clips that are too long, or, where samples bring their own
            language, some without one that the base knows.
    """
    key = (store.root.resolve(), set_digest, family, transcripts)
    with _LOCK:
        if key in _OPEN:
            _OPEN.move_to_end(key)
            return _OPEN[key]
        corpus = _open(store, set_digest, family, transcripts, progress)
        _OPEN[key] = corpus
        if len(_OPEN) > KEPT:
            _OPEN.popitem(last=False)
        return corpus


def _open(store: Store, set_digest: str, family: Family, transcripts: str, progress: Progress) -> Corpus:
    ids = members(store, set_digest)
    # A sample described anew has several rows; the newest one holds.
    table = store.sql(
        "SELECT id AS sample_id, audio_key, speaker_key, kind, duration_s, attributes"
        " FROM wanted LEFT JOIN samples ON sample_id = id"
        " QUALIFY row_number() OVER (PARTITION BY id ORDER BY run_id DESC) = 1",
        tables={"wanted": pa.table({"id": ids})},
    )
    if not len(ids):
        raise EarmarkError(f"set {set_digest[:12]} has no members on record — run: earmark verify")
    table = table.take(pa.array(_order(table["sample_id"])))
    _check_samples(table, family)
    languages = languages_of(table, family)
    said = store.vault.transcripts(ids)
    spoken = [said.get(i) for i in ids.to_pylist()]
    silent_ones = [i for i, text in zip(ids.to_pylist(), spoken, strict=True) if text is None]
    if silent_ones:
        raise _several("have no transcript", silent_ones, len(ids), "they were erased; make a set without them")
    texts = [text for text in spoken if text is not None]
    taught = normaliser(transcripts)
    features = open_features(store, family, table, progress)
    return Corpus(store, set_digest, family, ids, texts, [taught(t) for t in texts], features, table, languages, ids)


def _check_samples(table: pa.Table, family: Family) -> None:
    rows = table.select(["sample_id", "kind", "duration_s"]).to_pylist()
    noise = [r["sample_id"] for r in rows if r["kind"] == "noise"]
    if noise:
        raise _several("are noise, without words", noise, len(rows), "make a set of the speech alone")
    unknown = [r["sample_id"] for r in rows if r["kind"] is None]
    if unknown:
        raise _several("are not on record", unknown, len(rows), "ingest them first")
    limit = family.max_seconds
    if limit is not None:
        long = [r for r in rows if r["duration_s"] > limit + SLACK_S]
        if long:
            longest = max(r["duration_s"] for r in long)
            raise _several(
                f"are longer than the {limit:g} s that base {family.base.ref} takes (longest: {longest:.2f} s)",
                [r["sample_id"] for r in long],
                len(rows),
                f"cut them with the segment transform, or make a set WHERE duration_s <= {limit:g}",
            )


def languages_of(samples: pa.Table, family: Family) -> list[str | None]:
    """What each of `samples` (columns `sample_id`, `attributes`) brings; None for all where the recipe gives the language.

    Raises:
        EarmarkError: some bring none, or one that the base does not know.
    """
    if family.language != PER_SAMPLE:
        return [None] * len(samples)
    said = [dict(a or ()).get("language") for a in samples["attributes"].to_pylist()]
    wrong = [i for i, language in enumerate(said) if language is None or not family.speaks(language)]
    if wrong:
        ids = samples["sample_id"].to_pylist()
        unknown = sorted({repr(said[i]) for i in wrong if said[i] is not None})
        raise _several(
            f"have no language that base {family.base.ref} knows ({', '.join(unknown[:5]) or 'none is recorded'})",
            [ids[i] for i in wrong],
            len(ids),
            "record the attribute 'language' as a code like 'de', or give one language in the recipe",
        )
    return said


def _several(what: str, ids: Sequence[uuid.UUID], size: int, mend: str) -> EarmarkError:
    return EarmarkError(f"{len(ids)} of {size} samples {what} (first: sample {ids[0]}) — {mend}")


def _taken(both: Sequence[Item], places: npt.NDArray[np.int64]) -> list[Item]:
    return [both[p] for p in places]


def _scalar(pairs: npt.NDArray[np.uint64]) -> npt.NDArray[np.bytes_]:
    return np.ascontiguousarray(pairs.astype(">u8")).view("S16").ravel()


def _order(ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    pairs = halves(ids)
    return np.lexsort((pairs[:, 1], pairs[:, 0]))

"""What a model makes of every utterance of a set, on the record: the first of an evaluation's two runs.

One row an utterance goes into `predictions` (words and characters right and wrong, the likelihood of the transcript, the
confidence of what was heard); what was heard, and how sure the model was of each word, into the vault. Decoding is the dear
part, so it is done once: asked for the same under another normaliser, only the counting is done again.

What a process holds grows with the words heard, never with the sound (`training.evaluation.hearing`).
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.selection.sets import members, resolve_set
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.data.corpus import open_corpus
from training.determinism import depends, deterministic, pick_device
from training.evaluation import wer
from training.evaluation.hearing import BATCH, hear
from training.families import Decoded
from training.models.recorded import Opened, open_model, resolve_model
from training.normalise import Normaliser, deletions, normaliser
from training.progress import Progress, silent

CALIBRATED = "calibrated"  # the event that gives a model its temperature


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's predictions on a set: one row an utterance, sorted by sample, as in table `predictions`.

    `warnings` say what the normaliser takes away that it should not.
    """

    run_id: str
    model_id: str
    set_digest: str
    normaliser: str
    temperature: float
    reused: bool
    warnings: tuple[str, ...]
    _store: Store

    @cached_property
    def table(self) -> pa.Table:
        """The rows, read when they are first asked for."""
        return _rows(self._store, self.run_id)

    @property
    def text(self) -> Normaliser:
        """The normaliser that counted errors."""
        return normaliser(self.normaliser.partition("@")[0])


@dataclass(frozen=True)
class _Heard:
    """What was decoded of a set, in the order of its ids; `loss` is NaN where the model cannot spell the transcript."""

    decoded: list[Decoded]
    loss: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int32]


def predict(
    store: Store,
    model: str,
    set_ref: str,
    *,
    normalise: str = "basic",
    batch_size: int = BATCH,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
    opened: Opened | None = None,
) -> Predictions:
    """Decode and score every utterance of a set, or return what is on record.

    Args:
        store: where model and set are and the run goes.
        model: name, id or beginning of an id.
        set_ref: name or digest of the set.
        normalise: normaliser of references and hypotheses.
        batch_size: utterances decoded together; changes nothing but speed and memory.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of features and utterances.
        opened: the model, if the caller has it open already.

    Raises:
        EarmarkError: no such model or set, or clips that do not fit the model.
    """
    record = resolve_model(store, model)
    data = resolve_set(store, set_ref)
    text = normaliser(normalise)
    place = pick_device(device)
    temperature = temperature_of(store, record.model_id)
    heard_by = {
        "model": record.model_id,
        "set": data.digest,
        "device": place,
        "threads": threads,
        "temperature": temperature,
    }
    made_by = {"predict": code_version("training"), "environment": depends(place)}
    decoding = digest_of({**heard_by, **made_by})
    settings = {**heard_by, "normaliser": text.label, "decoding": decoding}
    key = digest_of({**settings, **made_by, "text": text.digest})
    done = store.find_run(key)
    if done is not None:
        return _predictions(store, done.id, text, reused=True)
    with (
        deterministic(threads),
        store.run(
            "evaluate",
            job=f"predict {record.name}",
            config=settings,
            key=key,
            inputs=[record.model_id, data.digest],
            parents=[record.run_id],
            package="training",
        ) as run,
    ):
        run.gpus = int(place == "cuda")
        ids = members(store, data.digest)
        before = _same_decoding(store, decoding)
        heard = None if before is None else _recall(store, before, ids)
        if heard is None:
            opened = opened or open_model(store, record.model_id)
            corpus = open_corpus(store, data.digest, opened.family, transcripts=opened.transcripts, progress=progress)
            found = hear(
                opened.model.to(place), corpus, batch_size=batch_size, temperature=temperature, progress=progress
            )
            heard = _Heard(*found)
            said, speakers = corpus.spoken, corpus.samples["speaker_key"]
        else:
            said, speakers = transcripts(store, ids), described(store, ids)["speaker_key"]
        references, hypotheses = [text(t) for t in said], [text(d.text) for d in heard.decoded]
        counts = wer.count(references, hypotheses)
        letters = wer.count_characters(references, hypotheses)
        n = len(ids)
        run.append(
            "predictions",
            {
                "model_id": pa.repeat(pa.scalar(record.model_id), n),
                "set_digest": pa.repeat(pa.scalar(data.digest), n),
                "sample_id": ids,
                **{
                    f: [getattr(c, f) for c in counts]
                    for f in ("words", "hits", "substitutions", "deletions", "insertions")
                },
                "characters": [c.words for c in letters],
                "character_errors": [c.errors for c in letters],
                "loss": pa.array(heard.loss, from_pandas=True),
                "tokens": heard.tokens,
                "confidence": [d.confidence for d in heard.decoded],
                "temperature": pa.repeat(pa.scalar(temperature), n),
            },
        )
        run.vault.append(
            "hypotheses",
            {
                "sample_id": ids,
                "hypothesis": [d.text for d in heard.decoded],
                "word_confidences": pa.array([list(d.words) for d in heard.decoded], pa.list_(pa.float32())),
                "speaker_key": speakers,
            },
        )
        whole = wer.total(counts)
        run.result = {"wer": whole.wer if whole.words else None, "samples": n, "deletes": deletions(text, said)}
    return _predictions(store, run.id, text, reused=False)


def temperature_of(store: Store, model_id: str) -> float:
    """What a model's logits are divided by for its confidences: as its last calibration on record says, else 1."""
    return store.lasting("model_events", _temperatures).get(model_id, 1.0)


def _temperatures(store: Store) -> dict[str, float]:
    query = "SELECT model_id, arg_max(detail, run_id) AS detail FROM model_events WHERE event = ? GROUP BY model_id"
    rows = store.sql(query, [CALIBRATED]).to_pylist()
    return {row["model_id"]: float(json.loads(row["detail"])["temperature"]) for row in rows}


def transcripts(store: Store, ids: pa.Array) -> list[str]:
    """What was said in each of the samples, in their order.

    Raises:
        EarmarkError: a transcript was erased.
    """
    said = store.vault.transcripts(ids)
    found = [said.get(i) for i in ids.to_pylist()]
    gone = sum(t is None for t in found)
    if gone:
        raise EarmarkError(f"{gone} of {len(found)} transcripts were erased — make a set without those samples")
    return [t for t in found if t is not None]


def described(store: Store, ids: pa.Array) -> pa.Table:
    """Speaker and attributes of each of the samples (sorted ids), in their order."""
    return store.sql(
        "SELECT id AS sample_id, speaker_key, attributes FROM wanted LEFT JOIN samples ON sample_id = id"
        " QUALIFY row_number() OVER (PARTITION BY id ORDER BY run_id DESC) = 1 ORDER BY id",
        tables={"wanted": pa.table({"id": ids})},
    )


def speakers_of(known: pa.Table) -> npt.NDArray[np.object_]:
    """The speaker of each row of `described`."""
    return np.array(known["speaker_key"].to_pylist(), dtype=object)


def _same_decoding(store: Store, decoding: str) -> RunInfo | None:
    """The newest run that decoded the same, whatever its normaliser."""
    done = (r for r in reversed(store.runs()) if r.kind == "evaluate" and r.status == "completed")
    return next((r for r in done if r.config.get("decoding") == decoding), None)


def _recall(store: Store, run: RunInfo, ids: pa.Array) -> _Heard | None:
    """What that run heard; None where some of it was erased since."""
    rows = store.vault.rows("hypotheses", ids, run.id).to_pylist()
    words = {r["sample_id"]: (r["hypothesis"], tuple(r["word_confidences"] or ())) for r in rows}
    if len(words) < len(ids):
        return None
    table = _rows(store, run.id)
    pairs = zip(table["sample_id"].to_pylist(), table["confidence"].to_pylist(), strict=True)
    decoded = [Decoded(words[i][0], confidence, words[i][1]) for i, confidence in pairs]
    return _Heard(decoded, table["loss"].to_numpy(), table["tokens"].to_numpy())


def _rows(store: Store, run_id: str) -> pa.Table:
    return store.read("predictions", where="run_id = ? ORDER BY sample_id", parameters=[run_id])


def _predictions(store: Store, run_id: str, text: Normaliser, *, reused: bool) -> Predictions:
    run = store.resolve_run(run_id)
    warnings = tuple(
        f"normaliser {text.name} deletes {len(signs)} signs of the {script.title()} transcripts "
        f"({' '.join(signs[:6])}{' …' if len(signs) > 6 else ''}), so its WER is not that of the words — take basic"
        for script, signs in (run.result.get("deletes") or {}).items()
    )
    config: dict[str, Any] = run.config
    return Predictions(
        run_id, config["model"], config["set"], text.label, config["temperature"], reused, warnings, store
    )


def recorded(store: Store, run_id: str, normalise: str) -> Predictions:
    """The predictions that a run on record wrote, by its normaliser's name."""
    return _predictions(store, run_id, normaliser(normalise), reused=True)


def spoken_and_heard(store: Store, predictions: Predictions) -> dict[uuid.UUID, tuple[str, str, tuple[float, ...]]]:
    """Transcript, hypothesis and word confidences of each utterance whose words are still in the vault."""
    ids = predictions.table["sample_id"].combine_chunks()
    said = store.vault.transcripts(ids)
    rows = store.vault.rows("hypotheses", ids, predictions.run_id).to_pylist()
    return {
        r["sample_id"]: (said[r["sample_id"]], r["hypothesis"], tuple(r["word_confidences"] or ()))
        for r in rows
        if r["sample_id"] in said
    }

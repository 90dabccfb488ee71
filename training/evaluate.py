"""Evaluation on the record: what a model makes of every utterance of a set, and its word error rate by slice.

Two runs, so that asking for other slices does not decode again:

- `predict` writes one row an utterance into `predictions` (words right, replaced, missed, made up; the likelihood of the
  transcript; the confidence of what was heard) and what was heard into the vault;
- `evaluate` adds up over slices and writes `metrics` with speaker-block bootstrap intervals.

WER is Σ errors / Σ reference words after a normaliser whose digest stands beside every figure. `loss` is Σ nats / Σ words over
the utterances whose transcript the model can spell. Laws: neither the size of batches nor the order of utterances matters
beyond rounding; the WER of a slice equals that of `jiwer` over its normalised texts.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.environment import code_version
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.ids import halves, id_array, sort_unique
from lineage.merkle import set_digest as digest_of_ids
from lineage.sets import resolve_set
from lineage.store import Store
from training import bootstrap, wer
from training.corpus import open_corpus
from training.determinism import depends, deterministic, pick_device
from training.hearing import BATCH, hear
from training.models import Model, Opened, open_model, resolve_model
from training.normalise import Normaliser, normaliser
from training.progress import Progress, silent

WHOLE = "all"
MOST_VALUES = 24  # an attribute with more distinct values, or fewer utterances to each, tells clips apart, not slices
FEWEST_EACH = 4


@dataclass(frozen=True)
class Predictions:
    """A model's predictions on a set: one row an utterance, sorted by sample, as in table `predictions`."""

    run_id: str
    model_id: str
    set_digest: str
    normaliser: str
    reused: bool
    table: pa.Table


@dataclass(frozen=True)
class Figure:
    """One metric of one slice."""

    slice: str
    metric: str
    interval: bootstrap.Interval
    samples: int
    words: int


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model on a set; `run_id` wrote the metrics, `predictions` came before."""

    run_id: str
    reused: bool
    predictions: Predictions
    figures: tuple[Figure, ...]

    def figure(self, metric: str = "wer", slice: str = WHOLE) -> Figure:
        """One figure; raises KeyError if it was not measured."""
        for figure in self.figures:
            if (figure.metric, figure.slice) == (metric, slice):
                return figure
        raise KeyError((metric, slice))

    @property
    def wer(self) -> float:
        """Word error rate over the whole set."""
        return self.figure().interval.value


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
    settings = {
        "model": record.model_id,
        "set": data.digest,
        "normaliser": text.label,
        "device": place,
        "threads": threads,
    }
    key = digest_of(
        {**settings, "predict": text.digest, "code": code_version("training"), "environment": depends(place)}
    )
    done = store.find_run(key)
    if done is not None:
        return _predictions(store, done.id, record, data.digest, text, reused=True)
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
        opened = opened or open_model(store, record.model_id)
        corpus = open_corpus(store, data.digest, opened.family, transcripts=opened.transcripts, progress=progress)
        heard, nll, tokens = hear(opened.model.to(place), corpus, batch_size=batch_size, progress=progress)
        references = [text(t) for t in corpus.spoken]
        counts = wer.count(references, [text(h.text) for h in heard])
        n = len(corpus)
        run.append(
            "predictions",
            {
                "model_id": pa.repeat(pa.scalar(record.model_id), n),
                "set_digest": pa.repeat(pa.scalar(data.digest), n),
                "sample_id": corpus.ids,
                **{
                    f: [getattr(c, f) for c in counts]
                    for f in ("words", "hits", "substitutions", "deletions", "insertions")
                },
                "loss": pa.array(nll, from_pandas=True),
                "tokens": tokens,
                "confidence": [h.confidence for h in heard],
            },
        )
        run.vault.append(
            "hypotheses",
            {
                "sample_id": corpus.ids,
                "hypothesis": [h.text for h in heard],
                "speaker_key": corpus.samples["speaker_key"],
            },
        )
        run.result = {"wer": _number(wer.total(counts).wer), "samples": n}
    return _predictions(store, run.id, record, data.digest, text, reused=False)


def evaluate(
    store: Store,
    model: str,
    set_ref: str,
    *,
    slices: Mapping[str, pa.Array | Iterable[uuid.UUID]] | None = None,
    normalise: str = "basic",
    level: float = bootstrap.LEVEL,
    replicates: int = bootstrap.REPLICATES,
    seed: int = 0,
    batch_size: int = BATCH,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> Evaluation:
    """Word error rate and loss of a model on a set and on slices of it, with intervals.

    Args:
        store: where model and set are and the runs go.
        model: name, id or beginning of an id.
        set_ref: name or digest of the set.
        slices: sample ids by name of slice; default: one slice for each value of each attribute with few values.
        normalise: normaliser of references and hypotheses.
        level: confidence level of the intervals.
        replicates: bootstrap replicates.
        seed: of the bootstrap.
        batch_size: utterances decoded together.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of features and utterances.

    Raises:
        EarmarkError: no such model or set, clips that do not fit the model, or a slice without a member in the set.
    """
    predictions = predict(
        store,
        model,
        set_ref,
        normalise=normalise,
        batch_size=batch_size,
        device=device,
        threads=threads,
        progress=progress,
    )
    chosen = None if slices is None else {name: id_array(ids) for name, ids in slices.items()}
    settings = {
        "predictions": predictions.run_id,
        "level": level,
        "replicates": replicates,
        "seed": seed,
        "slices": None if chosen is None else {n: digest_of_ids(sort_unique(halves(i))) for n, i in chosen.items()},
    }
    key = digest_of({**settings, "evaluate": code_version("training")})
    done = store.find_run(key)
    if done is not None:
        return Evaluation(done.id, True, predictions, _stored(store, done.id))
    speakers, attributes = _described(store, predictions.table["sample_id"])
    masks = _by_attribute(attributes) if chosen is None else _by_ids(predictions.table["sample_id"], chosen)
    figures = _figures(predictions.table, speakers, masks, level, replicates, seed)
    with store.run(
        "evaluate",
        job=f"evaluate {model}",
        config=settings,
        key=key,
        inputs=[predictions.model_id, predictions.set_digest],
        parents=[predictions.run_id],
        seed=seed,
        package="training",
    ) as run:
        run.append("metrics", [_row(figure, predictions) for figure in figures])
    return Evaluation(run.id, False, predictions, figures)


def _predictions(store: Store, run_id: str, record: Model, data: str, text: Normaliser, *, reused: bool) -> Predictions:
    table = store.read("predictions", where="run_id = ? ORDER BY sample_id", parameters=[run_id])
    return Predictions(run_id, record.model_id, data, text.label, reused, table)


def _described(store: Store, ids: pa.ChunkedArray) -> tuple[list[uuid.UUID | None], list[dict[str, str]]]:
    """Speaker and attributes of each sample, in order."""
    rows = store.sql(
        "SELECT id, speaker_key, attributes FROM wanted LEFT JOIN samples ON sample_id = id"
        " QUALIFY row_number() OVER (PARTITION BY id ORDER BY run_id DESC) = 1 ORDER BY id",
        tables={"wanted": pa.table({"id": id_array(ids)})},
    )
    return rows["speaker_key"].to_pylist(), [dict(a or ()) for a in rows["attributes"].to_pylist()]


Mask = npt.NDArray[np.bool_]


def _by_attribute(attributes: list[dict[str, str]]) -> dict[str, Mask]:
    """A mask for the whole and for each value of each attribute that has a few."""
    masks: dict[str, Mask] = {WHOLE: np.ones(len(attributes), dtype=bool)}
    for name in sorted({n for a in attributes for n in a}):
        column = [a.get(name) for a in attributes]
        values = sorted({v for v in column if v is not None})
        if 2 <= len(values) <= min(MOST_VALUES, len(attributes) // FEWEST_EACH):
            masks |= {f"{name}={value}": np.array([v == value for v in column]) for value in values}
    return masks


def _by_ids(ids: pa.ChunkedArray, slices: Mapping[str, pa.Array]) -> dict[str, Mask]:
    order = {sample: i for i, sample in enumerate(ids.to_pylist())}
    masks: dict[str, Mask] = {WHOLE: np.ones(len(order), dtype=bool)}
    for name, chosen in slices.items():
        mask = np.zeros(len(order), dtype=bool)
        mask[[order[s] for s in chosen.to_pylist() if s in order]] = True
        if not mask.any():
            raise EarmarkError(f"slice '{name}' has no utterance in the evaluation set — cut it out of that set")
        masks[name] = mask
    return masks


def _figures(
    table: pa.Table,
    speakers: list[uuid.UUID | None],
    masks: Mapping[str, Mask],
    level: float,
    replicates: int,
    seed: int,
) -> tuple[Figure, ...]:
    parts = {f: table[f].to_numpy().astype(np.float64) for f in ("words", "substitutions", "deletions", "insertions")}
    parts["wer"] = parts["substitutions"] + parts["deletions"] + parts["insertions"]
    parts["loss"] = table["loss"].to_numpy()
    speaker = np.array(speakers, dtype=object)
    figures = []
    for name, mask in masks.items():
        for metric in ("wer", "substitutions", "deletions", "insertions", "loss"):
            used = mask & np.isfinite(parts[metric])
            words = parts["words"][used]
            interval = bootstrap.ratio(
                parts[metric][used], words, speaker[used], level=level, replicates=replicates, seed=seed
            )
            if not np.isnan(interval.value):
                figures.append(Figure(name, metric, interval, int(used.sum()), int(words.sum())))
    return tuple(figures)


def _row(figure: Figure, predictions: Predictions) -> dict[str, object]:
    interval = figure.interval
    return {
        "model_id": predictions.model_id,
        "set_digest": predictions.set_digest,
        "slice": figure.slice,
        "metric": figure.metric,
        "value": interval.value,
        "low": _number(interval.low),
        "high": _number(interval.high),
        "level": interval.level,
        "speakers": interval.blocks,
        "samples": figure.samples,
        "words": figure.words,
        "normaliser": predictions.normaliser,
    }


def _stored(store: Store, run_id: str) -> tuple[Figure, ...]:
    rows = store.read("metrics", where="run_id = ?", parameters=[run_id]).to_pylist()
    replicates = store.resolve_run(run_id).config["replicates"]
    nan = float("nan")
    return tuple(
        Figure(
            r["slice"],
            r["metric"],
            bootstrap.Interval(
                r["value"],
                nan if r["low"] is None else r["low"],
                nan if r["high"] is None else r["high"],
                r["level"],
                r["speakers"],
                replicates,
            ),
            r["samples"],
            r["words"],
        )
        for r in rows
    )


def _number(value: float) -> float | None:
    """JSON and SQL have no NaN."""
    return None if np.isnan(value) else float(value)

"""Evaluation on the record: error rates of a model on a set, by slice, each with its interval.

Two runs, so that asking for other slices does not decode again: `training.evaluation.predict` decodes, and `evaluate` adds
up over slices and writes `metrics` (see `training.evaluation.figures` for what there is) and the reliability curves,
`calibrations`.

WER is Σ errors / Σ reference words after a normaliser whose digest stands beside every figure; a second normaliser `beside`
it shows how much of a figure is the normaliser's doing. Law: the WER and CER of a slice equal those of `jiwer` over its
normalised texts to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lineage.finite import finite
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.store import Store
from training.evaluation import calibration, wer
from training.evaluation import slices as cuts
from training.evaluation.entities import Terms, read_terms, tagged, tallies
from training.evaluation.figures import PARTS, Amount, Figure, Floats, Measured, Resampling, figures
from training.evaluation.hearing import BATCH
from training.evaluation.predict import Predictions, described, predict, speakers_of, spoken_and_heard
from training.evaluation.slices import WHOLE, Mask, Slices
from training.normalise import Normaliser
from training.progress import Progress, silent
from training.statistics import bootstrap


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model on a set; `run_id` wrote the metrics, `predictions` came before."""

    run_id: str
    reused: bool
    predictions: Predictions
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...] = ()

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


def evaluate(
    store: Store,
    model: str,
    set_ref: str,
    *,
    slices: Slices | None = None,
    normalise: str = "basic",
    beside: str | None = None,
    entities: Sequence[Path] = (),
    level: float = bootstrap.LEVEL,
    replicates: int = bootstrap.REPLICATES,
    seed: int = 0,
    batch_size: int = BATCH,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> Evaluation:
    """Error rates, loss and calibration of a model on a set and on slices of it, with intervals.

    Args:
        store: where model and set are and the runs go.
        model: name, id or beginning of an id.
        set_ref: name or digest of the set.
        slices: sample ids by name of slice; default: one slice for each value of each attribute with few values.
        normalise: normaliser of references and hypotheses.
        beside: a second one, whose WER is put beside.
        entities: term lists, text files with a term a line, named after their kind; beside what the manifest tagged.
        level: confidence level of the intervals.
        replicates: bootstrap replicates.
        seed: of the bootstrap.
        batch_size: utterances decoded together.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of features and utterances.

    Raises:
        EarmarkError: no such model, set or normaliser, clips that do not fit the model, a slice without a member in the set,
            or a term list that cannot be read.
    """
    lists = read_terms(entities)
    chosen = cuts.as_ids(slices)
    options: dict[str, Any] = {
        "batch_size": batch_size, "device": device, "threads": threads, "progress": progress,
    }  # fmt: skip
    other = predict(store, model, set_ref, normalise=beside, **options) if beside is not None else None
    predictions = predict(store, model, set_ref, normalise=normalise, **options)
    warnings = predictions.warnings + (other.warnings if other is not None else ())
    settings = {
        "predictions": predictions.run_id,
        "beside": None if other is None else other.run_id,
        "entities": {path.stem: store.vault.file_digest(path) for path in entities},
        "level": level,
        "replicates": replicates,
        "seed": seed,
        "slices": cuts.digests(chosen),
    }
    key = digest_of({**settings, "evaluate": code_version("training")})
    done = store.find_run(key)
    if done is not None:
        return Evaluation(done.id, True, predictions, _stored(store, done.id), warnings)
    known = described(store, predictions.table["sample_id"].combine_chunks())
    masks = cuts.masks(known, chosen)
    measured = _measured(store, predictions, known, lists, other)
    found = figures(measured, masks, Resampling(level, replicates, seed))
    with store.run(
        "evaluate",
        job=f"evaluate {model}",
        config=settings,
        key=key,
        inputs=[predictions.model_id, predictions.set_digest],
        parents=[p.run_id for p in (predictions, other) if p is not None],
        seed=seed,
        package="training",
    ) as run:
        run.append("metrics", [metric_row(figure, predictions) for figure in found])
        run.append("calibrations", _curves(measured, masks, predictions))
    return Evaluation(run.id, False, predictions, found, warnings)


def metric_row(figure: Figure, predictions: Predictions) -> dict[str, object]:
    """A figure as a row of `metrics`."""
    interval = figure.interval
    return {
        "model_id": predictions.model_id,
        "set_digest": predictions.set_digest,
        "slice": figure.slice,
        "metric": figure.metric,
        "value": interval.value,
        "low": finite(interval.low),
        "high": finite(interval.high),
        "level": interval.level,
        "speakers": interval.blocks,
        "samples": figure.samples,
        "words": figure.words,
        "normaliser": figure.normaliser,
        "total": figure.total,
    }


def columns(table: pa.Table, *names: str) -> list[Floats]:
    """Columns of predictions as floats."""
    return [table[n].to_numpy().astype(np.float64) for n in names]


def word_errors(table: pa.Table) -> Floats:
    """Word errors of each utterance, of whatever kind."""
    return np.asarray(np.sum(columns(table, *PARTS), axis=0))


def _measured(
    store: Store,
    predictions: Predictions,
    known: pa.Table,
    lists: Terms,
    other: Predictions | None,
) -> Measured:
    table = predictions.table
    words, hits, *parts = columns(table, "words", "hits", *PARTS)
    errors = np.sum(parts, axis=0)
    letters, wrong, loss, confidence = columns(table, "characters", "character_errors", "loss", "confidence")
    rates = {
        "wer": Amount(errors, words),
        **{name: Amount(part, words) for name, part in zip(PARTS, parts, strict=True)},
        "cer": Amount(wrong, letters),
        "sentence_accuracy": Amount((errors == 0).astype(np.float64), np.ones(len(words))),
        "loss": Amount(loss, words),
    }
    text = predictions.text
    texts = spoken_and_heard(store, predictions)
    ids = table["sample_id"].to_pylist()
    gone = ("", "", ())
    said = [text(texts.get(i, gone)[0]) for i in ids]
    heard = [texts.get(i, gone)[1] for i in ids]
    sure = [texts.get(i, gone)[2] for i in ids]
    outcomes = {
        "word": calibration.word_outcomes(said, heard, sure, text),
        "utterance": calibration.utterance_outcomes(confidence, hits, parts[0], parts[2]),
    }
    own = tagged(store, table["sample_id"].combine_chunks())
    if lists or own:
        alignments = [wer.align(s, text(h)) for s, h in zip(said, heard, strict=True)]
        rates |= _entity_rates(alignments, [own.get(i, {}) for i in ids], lists, text)
    second = None
    if other is not None:
        second = (other.normaliser, Amount(word_errors(other.table), columns(other.table, "words")[0]))
    return Measured(speakers_of(known), words, rates, predictions.normaliser, outcomes, second)


def _entity_rates(
    alignments: Sequence[Sequence[wer.Aligned]],
    own: Sequence[Terms],
    lists: Terms,
    text: Normaliser,
) -> dict[str, Amount]:
    found = tallies(alignments, own, lists, text)
    rates = {
        f"entity_accuracy:{kind}": Amount(
            np.array([float(t.right) for t in each]), np.array([float(t.said) for t in each])
        )
        for kind, each in found.items()
    }
    right, said = (np.sum([getattr(r, side) for r in rates.values()], axis=0) for side in ("above", "below"))
    return {"entity_accuracy": Amount(right, said), **rates}


def _curves(measured: Measured, masks: Mapping[str, Mask], predictions: Predictions) -> list[dict[str, object]]:
    return [
        {
            "model_id": predictions.model_id,
            "set_digest": predictions.set_digest,
            "slice": name,
            "unit": unit,
            **point.__dict__,
            "temperature": predictions.temperature,
            "normaliser": predictions.normaliser,
        }
        for name, mask in masks.items()
        for unit, outcomes in measured.outcomes.items()
        for point in calibration.reliability(outcomes.within(mask))
    ]


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
                replicates if r["speakers"] >= 2 else 0,
            ),
            r["samples"],
            r["words"],
            r["total"],
            r["normaliser"],
        )
        for r in rows
    )

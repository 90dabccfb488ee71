"""Which of two models is better, on the same utterances, slice by slice, and how sure is that?

Both are decoded (or read back from the record), and their errors are compared utterance by utterance:

* the difference of their WERs with its speaker-block bootstrap interval and p-value, which speak of further speakers like
  those tested: pairing cancels how hard speakers and sentences are (Bisani & Ney, ICASSP 2004);
* MAPSSWE, the field's customary test, which speaks of further utterances by these very speakers
  (`training.evaluation.mapsswe`).

Differences are the first model's WER minus the second's: positive where the first is worse. Each test's p-values are
corrected by Holm over the slices compared; the whole set is a question of its own and stands outside that family.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.store import Store
from training.evaluation import slices as cuts
from training.evaluation.evaluate import columns, word_errors
from training.evaluation.hearing import BATCH
from training.evaluation.mapsswe import Mapsswe, mapsswe
from training.evaluation.predict import Predictions, described, predict, speakers_of, spoken_and_heard
from training.evaluation.slices import WHOLE, Mask, Slices
from training.models.recorded import resolve_two
from training.progress import Progress, silent
from training.statistics import bootstrap
from training.statistics.multiplicity import holm


@dataclass(frozen=True)
class Contrast:
    """Two models on one slice: both WERs, their difference (first minus second) and both tests with Holm's correction."""

    slice: str
    first: float
    second: float
    difference: bootstrap.Interval
    p: float
    p_adjusted: float
    mapsswe: Mapsswe
    mapsswe_adjusted: float
    samples: int
    words: int


@dataclass(frozen=True)
class Comparison:
    """The contrasts of two models, whole set first; `run_id` wrote them into `metrics`."""

    run_id: str
    first: Predictions
    second: Predictions
    contrasts: tuple[Contrast, ...]
    level: float

    def contrast(self, slice: str = WHOLE) -> Contrast:
        """That of one slice; raises KeyError if it was not compared."""
        for found in self.contrasts:
            if found.slice == slice:
                return found
        raise KeyError(slice)


def compare(
    store: Store,
    first: str,
    second: str,
    set_ref: str,
    *,
    slices: Slices | None = None,
    normalise: str = "basic",
    level: float = bootstrap.LEVEL,
    replicates: int = bootstrap.REPLICATES,
    seed: int = 0,
    batch_size: int = BATCH,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> Comparison:
    """Compare two models on the same utterances of a set.

    Args:
        store: where models and set are and the runs go.
        first: name, id or beginning of an id of one model.
        second: and of the other.
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
        EarmarkError: no such model or set, both are one model, or words were erased since.
    """
    chosen = cuts.as_ids(slices)
    options: dict[str, Any] = {
        "normalise": normalise, "batch_size": batch_size, "device": device, "threads": threads, "progress": progress,
    }  # fmt: skip
    a, b = (predict(store, m.model_id, set_ref, **options) for m in resolve_two(store, first, second))
    known = described(store, a.table["sample_id"].combine_chunks())
    contrasts = _contrasts(
        store, (a, b), speakers_of(known), cuts.masks(known, chosen),
        {"replicates": replicates, "seed": seed}, level,
    )  # fmt: skip
    settings = {
        "first": a.run_id,
        "second": b.run_id,
        "level": level,
        "replicates": replicates,
        "seed": seed,
        "slices": cuts.digests(chosen),
    }
    key = digest_of({**settings, "compare": code_version("training")})
    done = store.find_run(key)
    if done is not None:
        return Comparison(done.id, a, b, contrasts, level)
    with store.run(
        "compare",
        job=f"compare {first} {second}",
        config=settings,
        key=key,
        inputs=[a.model_id, b.model_id, a.set_digest],
        parents=[a.run_id, b.run_id],
        seed=seed,
        package="training",
    ) as run:
        run.append("metrics", [row for c in contrasts for row in _rows(c, a, b)])
    return Comparison(run.id, a, b, contrasts, level)


def _contrasts(
    store: Store,
    both: tuple[Predictions, Predictions],
    speakers: Any,
    masks: dict[str, Mask],
    options: dict[str, int],
    level: float,
) -> tuple[Contrast, ...]:
    words, *_ = columns(both[0].table, "words")
    errors = [word_errors(p.table) for p in both]
    texts = _texts(store, both)
    found = []
    for name, mask in masks.items():
        total = words[mask].sum()
        x, y, who = errors[0][mask], errors[1][mask], speakers[mask]
        chosen = [t for t, used in zip(texts, mask, strict=True) if used]
        found.append(
            Contrast(
                name,
                float(x.sum() / total) if total else math.nan,
                float(y.sum() / total) if total else math.nan,
                bootstrap.paired_difference(x, y, words[mask], who, level=level, **options),
                bootstrap.paired_p(x, y, words[mask], who, **options),
                math.nan,
                mapsswe([t[0] for t in chosen], [t[1] for t in chosen], [t[2] for t in chosen]),
                math.nan,
                int(mask.sum()),
                int(total),
            )
        )
    return _corrected(found)


def _corrected(found: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """With Holm's correction over the slices; the whole keeps its p-values."""
    whole = [replace(c, p_adjusted=c.p, mapsswe_adjusted=c.mapsswe.p) for c in found if c.slice == WHOLE]
    family = [c for c in found if c.slice != WHOLE]
    if not family:
        return tuple(whole)
    adjusted = zip(family, holm([c.p for c in family]), holm([c.mapsswe.p for c in family]), strict=True)
    return (*whole, *(replace(c, p_adjusted=float(p), mapsswe_adjusted=float(q)) for c, p, q in adjusted))


def _texts(store: Store, both: tuple[Predictions, Predictions]) -> list[tuple[str, str, str]]:
    """Normalised reference and hypotheses of each utterance.

    Raises:
        EarmarkError: some of them were erased since.
    """
    text = both[0].text
    first, second = (spoken_and_heard(store, p) for p in both)
    ids = both[0].table["sample_id"].to_pylist()
    gone = sum(i not in first or i not in second for i in ids)
    if gone:
        raise EarmarkError(f"the words of {gone} of {len(ids)} utterances were erased — compare on a set without them")
    return [(text(first[i][0]), text(first[i][1]), text(second[i][1])) for i in ids]


def _rows(c: Contrast, a: Predictions, b: Predictions) -> list[dict[str, object]]:
    shared = {
        "model_id": a.model_id,
        "baseline": b.model_id,
        "set_digest": a.set_digest,
        "slice": c.slice,
        "samples": c.samples,
        "words": c.words,
        "normaliser": a.normaliser,
    }
    if math.isnan(c.difference.value):
        return []
    return [
        {
            **shared,
            "metric": "wer_difference",
            "value": c.difference.value,
            "low": finite(c.difference.low),
            "high": finite(c.difference.high),
            "level": c.difference.level,
            "speakers": c.difference.blocks,
            "total": c.words,
            "p": finite(c.p),
            "p_adjusted": finite(c.p_adjusted),
        },
        {
            **shared,
            "metric": "mapsswe",
            "value": c.mapsswe.mean,
            "speakers": c.difference.blocks,
            "total": c.mapsswe.segments,
            "p": finite(c.mapsswe.p),
            "p_adjusted": finite(c.mapsswe_adjusted),
        },
    ]

"""Candidates: slices that a search puts up, frozen on the part of the data that was searched, before anything tests them.

Both ways of searching rank by the score of `lattice` and keep the best few. What is frozen is a sample set and a row of
`slices`; a cluster's members in other sets are frozen at the same time, by what was heard there and not by how well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from influence.discovery.describe import overrepresented
from influence.discovery.found import Candidate
from influence.discovery.lattice import ALPHA, Measure, search
from influence.discovery.literals import literals
from lineage.errors import EarmarkError
from lineage.ids import id_array
from lineage.runs import Run
from lineage.selection import slices
from lineage.selection.sets import SampleSet, create_set, members
from lineage.selection.slices import Slice
from lineage.store import Store
from training.evaluation.evaluate import columns, word_errors
from training.evaluation.predict import Predictions, described, speakers_of
from training.progress import Progress
from training.statistics import bootstrap

By = Literal["attributes", "embeddings"]

DEPTH = 3
CANDIDATES = 10
CLUSTERS = 12
SUPPORT = 0.03  # share of the words
FEWEST_WORDS = 60


@dataclass(frozen=True)
class Settings:
    """How a search is made and judged."""

    by: By = "attributes"
    depth: int = DEPTH
    candidates: int = CANDIDATES
    clusters: int = CLUSTERS
    support: float = SUPPORT
    alpha: float = ALPHA
    level: float = bootstrap.LEVEL
    replicates: int = bootstrap.REPLICATES
    seed: int = 0
    screening: bool = False

    def __post_init__(self) -> None:
        if self.by not in ("attributes", "embeddings"):
            raise EarmarkError(f"cannot search by '{self.by}' — choose attributes or embeddings")
        if not 1 <= self.depth <= 3:
            raise EarmarkError(
                f"a depth of {self.depth} — give one from 1 to 3: deeper crossings have too few speakers"
            )
        if self.candidates < 1 or self.clusters < 2:
            raise EarmarkError("ask for one candidate or more, and two clusters or more")
        if not (0 < self.support < 1 and 0 < self.alpha <= 1 and 0.5 < self.level < 1):
            raise EarmarkError("support lies between 0 and 1, alpha above 0 and up to 1, level between 0.5 and 1")


@dataclass(frozen=True, eq=False)
class Part:
    """The utterances of one part, sorted by id: errors and words [n], and the speaker of each, None where unknown."""

    set: SampleSet
    ids: pa.Array
    errors: npt.NDArray[np.float64]
    words: npt.NDArray[np.float64]
    speakers: npt.NDArray[Any]

    def mask(self, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Which utterances are among `ids`."""
        wanted = set(ids.to_pylist())
        return np.array([i in wanted for i in self.ids.to_pylist()], dtype=bool)


def part(store: Store, predictions: Predictions, of: SampleSet) -> Part:
    """Those rows of predictions that belong to a set."""
    wanted = set(members(store, of.digest).to_pylist())
    table = predictions.table.filter(pa.array([i in wanted for i in predictions.table["sample_id"].to_pylist()]))
    ids = id_array(table["sample_id"])
    speakers = speakers_of(described(store, ids))
    return Part(of, ids, word_errors(table), columns(table, "words")[0], speakers)


def _measure(searched: Part, settings: Settings) -> Measure:
    least = max(FEWEST_WORDS, settings.support * float(searched.words.sum()))
    return Measure(searched.errors, searched.words, settings.alpha, least)


Made = tuple[list[Candidate], dict[str, dict[str, str]]]  # candidates, and set digests by population and name


def by_attributes(run: Run, searched: Part, settings: Settings) -> Made:
    """The best crossings of conditions; of those that are the same utterances, the one with fewest conditions."""
    conditions = literals(run.store, searched.ids)
    measure = _measure(searched, settings)
    best = search(
        searched.errors, searched.words, conditions, depth=settings.depth, support=measure.support,
        best=4 * settings.candidates, alpha=settings.alpha,
    )  # fmt: skip
    made: list[Candidate] = []
    seen: set[bytes] = set()
    for scored in best:
        chosen = [conditions[i] for i in scored.literals]
        mask = np.logical_and.reduce([c.mask for c in chosen])
        if mask.tobytes() in seen or len(made) == settings.candidates:  # the same utterances under another name
            continue
        seen.add(mask.tobytes())
        wanted = Slice(" & ".join(c.name for c in chosen), " AND ".join(c.predicate for c in chosen), "attributes")
        frozen = slices.freeze(run, wanted, searched.set)
        made.append(
            Candidate(
                wanted.name, wanted.predicate, frozen.set_digest, scored.score, frozen.size, int(scored.words),
                scored.errors / scored.words, [c.name for c in chosen],
            )
        )  # fmt: skip
    return made, {}


def by_embeddings(
    run: Run, model_id: str, searched: Part, others: Sequence[SampleSet], settings: Settings, progress: Progress
) -> Made:
    """The worst clusters of what the model hears alike, and their members in the `others`."""
    from influence.discovery.clusters import embeddings, fit

    store, measure = run.store, _measure(searched, settings)
    rates = np.divide(searched.errors, searched.words, out=np.zeros(len(searched.words)), where=searched.words > 0)
    seen = embeddings(store, model_id, searched.set.digest, progress=progress)
    mixture = fit(seen, rates, settings.clusters, seed=settings.seed)
    labels = mixture.of(seen)
    ranked = []
    for k in range(len(mixture.weights)):
        errors, words = searched.errors[labels == k].sum(), searched.words[labels == k].sum()
        score = float(measure.score(np.array([errors]), np.array([words]))[0])
        if words >= measure.support and score > 0:
            ranked.append((-score, k, float(errors), float(words)))
    conditions = literals(store, searched.ids)
    elsewhere: dict[str, dict[str, str]] = {s.digest: {} for s in others}
    placed = {s.digest: mixture.of(embeddings(store, model_id, s.digest, progress=progress)) for s in others}
    made = []
    for rank, (score, k, errors, words) in enumerate(sorted(ranked)[: settings.candidates], start=1):
        name = f"cluster {rank}"
        predicate = f"cluster {rank} of run {run.id}"
        mask = labels == k
        own = _freeze_set(run, name, predicate, searched.ids.filter(pa.array(mask)), searched.set)
        for other in others:
            ids = members(store, other.digest).filter(pa.array(placed[other.digest] == k))
            if len(ids):
                elsewhere[other.digest][name] = _freeze_set(run, name, predicate, ids, other)
        what = overrepresented({c.name: c.mask for c in conditions}, mask)
        made.append(Candidate(name, predicate, own, -score, int(mask.sum()), int(words), errors / words, what))
    return made, elsewhere


def _freeze_set(run: Run, name: str, predicate: str, ids: pa.Array, population: SampleSet) -> str:
    """Put a cluster's members in a population on record; the digest."""
    made = create_set(
        run, ids, name=f"{population.name}[{name}]", kind="slice", population=population.digest, predicate=predicate,
        parents=[population.digest],
    )  # fmt: skip
    row = {"slice": name, "predicate": predicate, "population": population.digest, "set_digest": made.digest}
    run.append("slices", [{**row, "origin": "embeddings"}])
    return made.digest

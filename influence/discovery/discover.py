"""From a model's errors to slices that stand: found on one half of the voices, frozen, and tested on the other.

    found = discover(store, "my-model", "test")                       # crossings of attributes, up to three
    found = discover(store, "my-model", "test", by="embeddings")      # clusters of what the model hears alike

The set is split by speakers (or another set is given for testing). What the search finds on the first part is put on record as
slices, with the run that found them, *before* a second run looks at the other part: the order of the two in the log shows that
no slice was adjusted to its test. `slices` then has each candidate with `origin` 'attributes' or 'embeddings', `sample_sets`
its members in both parts, and `metrics` its gap on the second as `wer_gap`.

What is heard on one side only cannot be found, or not be tested; so the split makes the parts alike in all attributes of few
values (`lineage.selection.strata`). Law: where one attribute is recorded, a value of two speakers or more is on both sides,
whatever the seed; where several are, as far as they allow it.

A slice of attributes is a predicate, to be used wherever slices are; a cluster is a set, and so is its part of any further set
(`also`: the training set), which `set:NAME` names to an audit. What clusters have in common is told in attributes and in words;
these are personal, so they are returned to whoever asks and written nowhere.

Law: the same model, sets and settings give the same slices and figures, read back where they are on record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from influence.discovery import candidates as put_up
from influence.discovery.candidates import By, Part, Settings, part
from influence.discovery.confirm import Gap, gaps
from influence.discovery.describe import words_of
from influence.discovery.found import Candidate, Found, read_back
from influence.discovery.lattice import ALPHA
from influence.discovery.literals import attributes_of
from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.runs import Run
from lineage.selection import slices
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.selection.slices import EmptySlice, Slice
from lineage.selection.splits import split
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.evaluation.predict import predict
from training.progress import Progress, silent
from training.statistics import bootstrap


@dataclass(frozen=True)
class Discovery:
    """What a search found, highest score first; `words` are those that stand out in a candidate, by its name: personal.

    `shared_speakers` are heard in both parts: none where the set was split.
    """

    run_id: str
    model_id: str
    by: By
    searched: SampleSet
    tested: SampleSet
    wer: float
    found: tuple[Found, ...]
    words: Mapping[str, list[str]]
    shared_speakers: int
    reused: bool

    @property
    def confirmed(self) -> tuple[Found, ...]:
        """Those that err more than the rest on other data, too."""
        return tuple(f for f in self.found if f.gap.confirmed)


def discover(
    store: Store,
    model: str,
    set_ref: str,
    *,
    by: By = "attributes",
    depth: int = put_up.DEPTH,
    test: str | None = None,
    share: float = 0.5,
    also: Sequence[str] = (),
    candidates: int = put_up.CANDIDATES,
    clusters: int = put_up.CLUSTERS,
    support: float = put_up.SUPPORT,
    alpha: float = ALPHA,
    level: float = bootstrap.LEVEL,
    replicates: int = bootstrap.REPLICATES,
    seed: int = 0,
    screening: bool = False,
    normalise: str = "basic",
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> Discovery:
    """Find slices on which a model errs more than elsewhere, and test them on other data.

    Args:
        store: where model and sets are and everything goes.
        model: name, id or beginning of an id.
        set_ref: the set to search.
        by: 'attributes' (crossings of conditions) or 'embeddings' (clusters).
        depth: conditions that are crossed at most.
        test: a set to test on; None: the searched set is split by speakers.
        share: of the set's speakers that is searched, then.
        also: sets to cut the clusters out of besides.
        candidates: slices to freeze and test at most; each costs the others some certainty.
        clusters: of the mixture at most.
        support: share of the words that a slice has at least.
        alpha: weight of the error rate against the size, see `lattice`.
        level: 1 − the probability that any slice is confirmed wrongly, and the level of intervals.
        replicates: of the bootstrap.
        seed: of split, mixture and bootstrap.
        screening: 1 − `level` bounds the share of those confirmed that are so wrongly, not the probability of any.
        normalise: normaliser of references and hypotheses.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of features and utterances.

    Raises:
        EarmarkError: no such model or set, too few speakers to split, or sets that share samples.
    """
    settings = Settings(by, depth, candidates, clusters, support, alpha, level, replicates, seed, screening)
    population = resolve_set(store, set_ref)
    if test is None:
        shares = {"discover": share, "confirm": 1 - share}
        both = attributes_of(store, members(store, population.digest))
        searched, tested = split(store, population.digest, shares, seed=seed, everywhere=both).values()
    else:
        searched, tested = population, resolve_set(store, test)
    if by == "attributes" and also:
        raise EarmarkError("'also' is for clusters — a slice of attributes is a condition, to be used on any set")
    further = [resolve_set(store, ref) for ref in also]
    options: dict[str, Any] = {"normalise": normalise, "device": device, "threads": threads, "progress": progress}
    heard = [predict(store, model, s.digest, **options) for s in ([population] if test is None else [searched, tested])]
    parts = [part(store, p, s) for p, s in zip([heard[0], heard[-1]], (searched, tested), strict=True)]
    return examine(store, heard[0].model_id, parts[0], parts[1], settings, further, [p.run_id for p in heard], progress)


def examine(
    store: Store,
    model_id: str,
    searched: Part,
    tested: Part,
    settings: Settings,
    also: Sequence[SampleSet] = (),
    parents: Sequence[str] = (),
    progress: Progress = silent,
) -> Discovery:
    """Search one part, freeze what was found, test it on the other; `parents` are the runs that made the predictions.

    Raises:
        EarmarkError: the parts share samples, or the searched one has no words.
    """
    if searched.mask(tested.ids).any():
        raise EarmarkError(
            f"sets {searched.set.name} and {tested.set.name} share samples — a slice is tested on other data than found it"
        )
    if not searched.words.sum():
        raise EarmarkError(f"set {searched.set.name} has no reference words — search another")
    by = settings.by
    asked = {"settings": asdict(settings), "model": model_id, "predictions": list(parents)}
    asked |= {"searched": searched.set.digest, "tested": tested.set.digest, "also": [s.digest for s in also]}
    key = digest_of({"discover": asked, "code": [code_version("influence"), code_version("training")]})
    done = store.find_run(key)
    if done is None:
        with store.run(
            "discover", job=f"slices by {by}", config=asked, key=key, inputs=[model_id, searched.set.digest],
            parents=list(parents), seed=settings.seed, package="influence",
        ) as run:  # fmt: skip
            if by == "attributes":
                made = put_up.by_attributes(run, searched, settings)
            else:
                made = put_up.by_embeddings(
                    run,
                    model_id,
                    searched,
                    list({s.digest: s for s in (tested.set, *also)}.values()),
                    settings,
                    progress,
                )
            run.result = {
                "candidates": [asdict(c) for c in made[0]],
                "elsewhere": made[1] if by == "embeddings" else {},
            }
        done = store.resolve_run(run.id)
    return _test(store, done, model_id, searched, tested, settings)


def _test(
    store: Store, discovered: RunInfo, model_id: str, searched: Part, tested: Part, settings: Settings
) -> Discovery:
    candidates = [Candidate(**c) for c in discovered.result["candidates"]]
    key = digest_of({"confirm": discovered.key})
    done = store.find_run(key)
    reused = done is not None
    if done is None:
        with store.run(
            "confirm", job=discovered.job, config={"discovered": discovered.id}, key=key,
            inputs=[model_id, tested.set.digest], parents=[discovered.id], seed=settings.seed, package="influence",
        ) as run:  # fmt: skip
            there = discovered.result["elsewhere"].get(tested.set.digest)
            frozen = [_elsewhere(run, c, tested.set, there) for c in candidates]
            judged = gaps(
                tested.errors, tested.words, tested.speakers, [tested.mask(ids) for _, ids in frozen], level=settings.level,
                replicates=settings.replicates, seed=settings.seed, screening=settings.screening,
            )  # fmt: skip
            pairs = list(zip(candidates, judged, strict=True))
            run.append(
                "metrics", [_row(model_id, tested.set, c, g, settings) for c, g in pairs if not math.isnan(g.value)]
            )
            run.result = {"sets": [d for d, _ in frozen], "gaps": finite([asdict(g) for g in judged])}
        done = store.resolve_run(run.id)
    found = read_back(discovered, done)
    words: dict[str, list[str]] = {}
    if settings.by == "embeddings":
        words = {c.name: words_of(store, searched.ids, searched.mask(members(store, c.set_digest))) for c in candidates}
    wer = float(searched.errors.sum() / searched.words.sum())
    shared = {s for s in searched.speakers if s is not None} & {s for s in tested.speakers if s is not None}
    return Discovery(
        done.id, model_id, settings.by, searched.set, tested.set, wer, found, words, len(shared), reused
    )  # fmt: skip


def _elsewhere(
    run: Run, candidate: Candidate, population: SampleSet, clusters: dict[str, str] | None
) -> tuple[str | None, pa.Array]:
    """A candidate in the tested set: digest (None where nothing is in it) and ids."""
    if clusters is not None:
        digest = clusters.get(candidate.name)
        return digest, pa.array([], pa.uuid()) if digest is None else members(run.store, digest)
    wanted = Slice(candidate.name, candidate.predicate, "attributes")
    try:
        ids = slices.select(run.store, wanted, population.digest)
    except EmptySlice:
        return None, pa.array([], pa.uuid())
    return slices.freeze(run, wanted, population).set_digest, ids


def _row(model_id: str, tested: SampleSet, candidate: Candidate, gap: Gap, settings: Settings) -> dict[str, Any]:
    known = finite(asdict(gap))
    return {
        "model_id": model_id,
        "set_digest": tested.digest,
        "slice": candidate.name,
        "metric": "wer_gap",
        **{n: known[n] for n in ("value", "low", "high", "samples", "words", "speakers", "p", "p_adjusted")},
        "level": settings.level,
        "total": gap.words,
    }

"""What a model has forgotten that the models it was continued from had learnt.

Each model of its chain is set beside it on the same utterances of old sets, slice by slice: word error rates before and
after, and their difference with its speaker-block interval (`training.comparison.compare`, which writes them into
`metrics`). Positive is forgotten; negative, what was learnt since helps there, too. That is the forgetting measure of
Chaudhry et al. (ECCV 2018, arXiv 1801.10112) against every earlier model, instead of against the best alone.

Old sets are those named, or else the ones on which recipes of the chain measured their models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.chain import Link, chain
from lineage.errors import EarmarkError
from lineage.selection.sets import SampleSet, resolve_set
from lineage.store import Store
from training.comparison.compare import Comparison, compare
from training.evaluation.slices import Slices
from training.models.recorded import resolve_model
from training.progress import Progress, silent
from training.statistics import bootstrap


@dataclass(frozen=True)
class Forgotten:
    """A model beside one that it goes back to, `before`, on an old set.

    In `comparison` the model is the first and the older one the second, so differences are what was forgotten, in WER.
    """

    data: SampleSet
    before: Link
    comparison: Comparison


def forgetting(
    store: Store,
    model: str,
    on: Sequence[str] = (),
    *,
    slices: Callable[[SampleSet], Slices | None] = lambda _: None,
    normalise: str = "basic",
    level: float = bootstrap.LEVEL,
    replicates: int = bootstrap.REPLICATES,
    seed: int = 0,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> list[Forgotten]:
    """Compare a model with all that it was continued from; old sets in order, nearest ancestors first.

    Args:
        store: where models and sets are and the runs go.
        model: name, id or beginning of an id.
        on: old sets by name or digest; default: those that the recipes of its ancestors measured on.
        slices: of each set, sample ids by name of slice; default: one for each value of each attribute with few values.
        normalise: normaliser of references and hypotheses.
        level: confidence level of the intervals.
        replicates: bootstrap replicates.
        seed: of the bootstrap.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of features and utterances.

    Raises:
        EarmarkError: the model continues no other, there is no old set, or a set does not fit a model.
    """
    record = resolve_model(store, model)
    known = {link.model_id: link for link in chain(store, record.model_id) if link.model_id != record.model_id}
    ancestors = list(known.values())
    if not ancestors:
        raise EarmarkError(
            f"model {record.name} continues no other, so it has nothing to forget — name one whose recipe says base: model:NAME"
        )
    old = [resolve_set(store, ref) for ref in on or _measured(store, ancestors)]
    if not old:
        raise EarmarkError(f"no recipe behind model {record.name} names a set to evaluate on — name one with --on SET")
    options: dict[str, Any] = {
        "normalise": normalise, "level": level, "replicates": replicates, "seed": seed, "device": device, "threads": threads,
        "progress": progress,
    }  # fmt: skip
    return [
        Forgotten(data, before, compare(store, record.model_id, before.model_id, data.digest, slices=cuts, **options))
        for data, cuts in ((data, slices(data)) for data in {s.digest: s for s in old}.values())
        for before in ancestors
    ]


def _measured(store: Store, ancestors: Sequence[Link]) -> list[str]:
    """Sets on which recipes measured these models, the oldest model's first."""
    recipes: list[Mapping[str, Any]] = [
        store.resolve_run(a.run_id).config.get("recipe", {}) for a in reversed(ancestors)
    ]
    return list(dict.fromkeys(ref for recipe in recipes for ref in recipe.get("evaluate", ())))

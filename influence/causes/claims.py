"""The causal graph of a plan: which effects it asks for, and what became of them once the models were trained.

A plan looks at slices of the errors; the graph says what acts on them. Every slice `attribute=value` that is looked at, of an
attribute that the graph lets act on the errors, is an effect that it asks for: the gap between the slice and the rest,
adjusted for what the graph says has to be equal (`gap`), identified and attacked through DoWhy (`refutation`). It is that of
the models trained on all data with the plan's seeds, their errors averaged.

What cannot be told at all (a back door that stays open, a node that is no column) is said before anything is trained. What
the data turn out not to tell (no overlap, a side without errors) is said in the effect's place.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from influence.causes.compared import Judged
from influence.causes.gap import gap, treatment_of
from influence.causes.graph import OUTCOME, CausalGraph
from influence.causes.refutation import SIMULATIONS
from lineage.errors import EarmarkError
from lineage.schema import TABLES
from lineage.selection.slices import Slice
from lineage.store import Store
from training.progress import Progress, silent
from training.recipe import Recipe


@dataclass(frozen=True)
class Claim:
    """An effect that a graph asks for: of `treatment` being what it is in the slice, all of `adjusted_for` made equal."""

    slice: Slice
    treatment: str
    adjusted_for: tuple[str, ...]


def claims_of(store: Store, graph: CausalGraph, tested: Sequence[Slice]) -> tuple[Claim, ...]:
    """The effects that a graph asks for among the slices that are looked at.

    Raises:
        EarmarkError: an observed node is no column, a back door stays open, or the graph is about none of the slices.
    """
    known = [*TABLES["samples"].names, *store.attributes()]
    for node in graph.network:
        if node not in (OUTCOME, *graph.unobserved, *known):
            close = difflib.get_close_matches(node, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "ingest it, or list it as unobserved"
            raise EarmarkError(f"the causal graph speaks of '{node}', which is no column of samples — {hint}")
    found = [Claim(s, t, graph.adjustment(t)) for s in tested if (t := treatment_of(s)) is not None and graph.acts(t)]
    if not found:
        acting = sorted(filter(graph.acts, graph.network))
        raise EarmarkError(
            f"the causal graph is about none of the slices that are looked at — look at slices of {', '.join(acting)}, such as "
            f"{acting[0]}=*"
            if acting
            else "in the causal graph nothing that is observed acts on errors — draw what does"
        )
    return tuple(found)


def judge(
    store: Store,
    graph: CausalGraph,
    asked: Sequence[Claim],
    models: Sequence[str],
    evaluation: str,
    recipe: Recipe,
    *,
    normalise: str,
    level: float,
    replicates: int,
    progress: Progress = silent,
) -> tuple[Judged, ...]:
    """Estimate and attack each claim on the errors of models that differ in their seeds, or read back what is on record."""
    found = []
    for claim in asked:
        try:
            report = gap(
                store, models, evaluation, claim.slice, causes=graph, refutations=SIMULATIONS, normalise=normalise,
                level=level, replicates=replicates, device=recipe.device, threads=recipe.threads, progress=progress,
            )  # fmt: skip
        except EarmarkError as error:
            found.append(Judged(claim.slice.name, None, str(error)))
        else:
            found.append(Judged(claim.slice.name, report))
    return tuple(found)

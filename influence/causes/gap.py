"""The gap between a slice of the errors and the rest: raw, and with conditions made equal.

    report = gap(store, "six-accents", "test", "accent=scot", adjust=["noise", "device"])
    report = gap(store, ["six-accents"], "test", "accent=scot")      # of this very model

The raw gap is WER(slice) − WER(others), with a bootstrap interval over speakers: positive means that the slice is worse served.
The adjusted gap is what remains of it when both sides are heard under the same conditions (`rates`), where there are such
(`overlap`). Which conditions to make equal is a claim about causes: those named, those that a causal graph asks for
(`graph`), or by default whatever is on record of `CONFOUNDERS`, which is a convention and no more. Adjusting for what the slice
itself brings about, e.g. an accent's speaking rate, leaves only the rest of its effect.

A model is one draw of its recipe. Where models that differ from it in their seeds alone were evaluated on the set, the gap is
of the mean of their errors (`utterances.averaged`). Speakers stay the blocks of the bootstrap and the clusters of the
regression, so more models make no more speakers: the interval says how far the gap of these models' mean may be from that among
other speakers like these. How much the models differ among themselves is told beside it, by the raw gap of each.

Law: the same request on the same record is answered from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from influence.causes.compared import GapReport, Gaps, plain, read_back
from influence.causes.graph import CausalGraph
from influence.causes.overlap import named, overlap, refuse_without_support
from influence.causes.rates import design, mixed, population_averaged
from influence.causes.refutation import Refutation, refute
from influence.causes.utterances import Floats, Utterances, averaged, load, numeric
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.schema import TABLES
from lineage.selection.sets import resolve_set
from lineage.selection.slices import Slice, parse_slices, select
from lineage.sql import identifier, quote
from lineage.store import Store
from training.evaluation.predict import predict
from training.evaluation.slices import attribute_of
from training.models.recorded import resolve_model
from training.progress import Progress, silent
from training.replays import other_seeds
from training.statistics.bootstrap import LEVEL, REPLICATES, Interval, statistic

CONFOUNDERS = ("noise", "device", "snr_estimate_db", "speaking_rate", "duration_s", "source")
CAUTION = "conditions nobody recorded are not adjusted for"


def gap(
    store: Store,
    model: str | Sequence[str],
    set_ref: str,
    slice_text: str | Slice,
    *,
    adjust: Sequence[str] | None = None,
    causes: CausalGraph | None = None,
    refutations: int = 0,
    normalise: str = "basic",
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = silent,
) -> GapReport:
    """Raw and adjusted gap of a slice of an evaluation set.

    Args:
        store: where model and set are and the run goes.
        model: name, `@alias`, `name@version`, id or beginning of an id: with those that differ from it in their seeds alone
            and were evaluated on the set. Or a list of models, and then these and no others.
        set_ref: name or digest of the evaluation set.
        slice_text: the slice, or what people write for it; the others are the rest of the set.
        adjust: columns to make equal; default: those that the graph asks for, or those of `CONFOUNDERS` that are on record.
        causes: what is believed to act on what.
        refutations: simulations for each attempt to refute the adjusted gap through DoWhy; 0: none.
        normalise: normaliser of references and hypotheses.
        level: of the intervals.
        replicates: bootstrap replicates of the raw gap.
        seed: of the bootstrap and the refutations.
        device: 'cpu', 'cuda' or 'auto'.
        threads: arithmetic threads.
        progress: told of utterances, of fits, and of estimates under attack.

    Raises:
        EarmarkError: something named does not exist, the slice is everything, the graph leaves a back door open, there is no
            overlap, or the regression has no solution.
    """
    population = resolve_set(store, set_ref)
    models = _models(store, model, population.digest)
    wanted = slice_text if isinstance(slice_text, Slice) else _one(store, slice_text, population.digest)
    inside = select(store, wanted, population.digest)
    treatment = treatment_of(wanted)
    if refutations and causes is None:
        raise EarmarkError("nothing to refute: refutations test what a causal graph claims — give one with --causes")
    if causes is not None:
        if treatment is None:
            raise EarmarkError(f"a causal graph is about an attribute, and {wanted.name} is not attribute=value")
        chosen = causes.adjustment(treatment)
        if adjust is not None and set(adjust) != set(chosen):
            raise EarmarkError(
                f"the causal graph asks to adjust for {', '.join(chosen) or 'nothing'}, not for {', '.join(adjust)} — give one "
                "or the other"
            )
        names: Sequence[str] = chosen
    elif adjust is not None:
        names = tuple(dict.fromkeys(adjust))
    else:
        known = {*TABLES["samples"].names, *store.attributes()}
        names = [n for n in CONFOUNDERS if n in known and n != treatment]
    if treatment in names:
        raise EarmarkError(f"no overlap: {treatment} is what {wanted.name} is cut by, so both never have it alike")
    predictions = [
        predict(
            store, m, population.digest, normalise=normalise, device=device, threads=threads,
            progress=_of_model(progress, i, len(models)),
        ).run_id
        for i, m in enumerate(models)
    ]  # fmt: skip
    config = {
        "predictions": predictions, "slice": wanted.name, "predicate": wanted.predicate, "adjust": list(names),
        "causes": None if causes is None else causes.model_dump(mode="json"), "refutations": refutations, "level": level,
        "replicates": replicates,
    }  # fmt: skip
    key = digest_of({"gap": config, "seed": seed, "code": code_version("influence")})
    done = store.find_run(key)
    if done is not None:
        return read_back(done)
    of_each = [load(store, p, inside, names) for p in predictions]
    heard = averaged(of_each)
    found = judge(
        heard, wanted.name, level=level, replicates=replicates, seed=seed, claimed=causes is not None, progress=progress
    )
    said: tuple[Refutation, ...] = ()
    if causes is not None and treatment is not None and refutations:
        kept, _ = overlap(heard)
        said = refute(heard.only(kept), causes, treatment, simulations=refutations, seed=seed, progress=progress)
    with store.run(
        "gap", job=wanted.name, config=config, key=key, inputs=[*models, population.digest],
        parents=predictions, seed=seed, package="influence",
    ) as run:  # fmt: skip
        each = [float(_difference(_sums(h).sum(axis=0)[None])[0]) for h in of_each]
        report = GapReport(run.id, found, said, tuple(models), tuple(each))
        run.result = plain(report)
    return report


def judge(
    heard: Utterances,
    slice_name: str,
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
    claimed: bool = False,
    progress: Progress = silent,
) -> Gaps:
    """The gaps of utterances, whatever they were read from; conditions that never vary are left aside.

    `claimed` says that the columns are all that has to be made equal, so that there is an adjusted gap even if they are none.

    Raises:
        EarmarkError: one side has no words, there is no overlap, or the regression has no solution.
    """
    for side, who in ((heard.inside, slice_name), (~heard.inside, f"the others than {slice_name}")):
        if not heard.words[side].sum():
            raise EarmarkError(f"{who} have no reference words in this set — compare on another")
    constant = [n for n, v in heard.columns.items() if _constant(v)]
    varied = Utterances(
        heard.samples, heard.errors, heard.words, heard.speakers, heard.inside,
        {n: v for n, v in heard.columns.items() if n not in constant},
    )  # fmt: skip
    mask, support = overlap(varied)
    refuse_without_support(support, slice_name)
    kept = varied.only(mask)
    options = {"level": level, "replicates": replicates, "seed": seed}
    raw, raw_kept = _raw(varied, options), _raw(kept, options)
    fits = 3 if kept.columns or claimed else 1
    progress(1, fits, "estimating")
    cautions = [CAUTION]
    if not support.whole:
        cautions.insert(0, f"only where both were heard; left out: {named(support.unsupported)}")
    adjusted, beside, aliased = None, None, tuple[str, ...]()
    if kept.columns or claimed:
        made = design(kept)
        adjusted, aliased = population_averaged(kept, made, level=level), made.aliased
        progress(2, fits, "estimating")
        beside = mixed(kept, made)
        progress(3, fits, "estimating")
        if math.isnan(adjusted.gap.low):
            cautions.append("no interval: one side has a single speaker")
        elif beside is None:
            cautions.append("the mixed-effects model did not converge, so nothing stands beside the adjusted gap")
        elif not adjusted.gap.low <= beside.gap <= adjusted.gap.high:
            cautions.append(f"the mixed-effects model says {100 * beside.gap:+.2f} points, outside the interval")
    return Gaps(
        slice=slice_name,
        raw=raw,
        raw_kept=raw_kept,
        adjusted=adjusted,
        mixed=beside,
        adjusted_for=tuple(kept.columns),
        left_aside=(*constant, *aliased),
        overlap=support,
        cautions=tuple(cautions),
    )


def treatment_of(wanted: Slice) -> str | None:
    """The attribute by whose value a slice is cut; None for a slice of any other kind, whatever it is called."""
    name = attribute_of(wanted.name)
    value = wanted.name.partition("=")[2]
    return name if name is not None and wanted.predicate == f"{identifier(name)} = {quote(value)}" else None


def _one(store: Store, text: str, population: str) -> Slice:
    found = parse_slices(store, [text], population)
    if len(found) != 1:
        raise EarmarkError(f"'{text}' means {len(found)} slices — give one, such as accent=scot")
    return found[0]


def _models(store: Store, wanted: str | Sequence[str], population: str) -> list[str]:
    """The ids of the models whose errors are averaged, by seed.

    Raises:
        EarmarkError: none is given.
    """
    if isinstance(wanted, str):
        named = resolve_model(store, wanted)
        tested = {tuple(r.inputs) for r in store.runs() if r.kind == "evaluate" and r.status == "completed"}
        others = [r.result["model_id"] for r in other_seeds(store, named.run_id)]
        chosen = [named, *(resolve_model(store, m) for m in others if (m, population) in tested)]
    else:
        chosen = [resolve_model(store, m) for m in wanted]
    if not chosen:
        raise EarmarkError("no model to look at — name one or more")
    return list(dict.fromkeys(m.model_id for m in sorted(chosen, key=lambda m: (m.seed or 0, m.model_id))))


def _of_model(progress: Progress, place: int, among: int) -> Progress:
    """`progress` that says which of several models it is about."""

    def told(done: int, total: int, label: str) -> None:
        progress(done, total, label if among == 1 else f"model {place + 1} of {among}, {label}")

    return told


def _raw(heard: Utterances, options: dict[str, Any]) -> Interval:
    return statistic(_sums(heard), heard.speakers, _difference, **options)[0]


def _sums(heard: Utterances) -> Floats:
    """Errors and words of the slice and of the others, [n, 4]."""
    sides = [heard.inside.astype(np.float64), (~heard.inside).astype(np.float64)]
    return np.column_stack([part * side for side in sides for part in (heard.errors, heard.words)])


def _difference(totals: Floats) -> Floats:
    """WER of the slice − WER of the others from sums [r, 4]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[:, 0] / totals[:, 1] - totals[:, 2] / totals[:, 3])


def _constant(values: Any) -> bool:
    return len(np.unique(values[np.isfinite(values)])) < 2 if numeric(values) else len(set(values)) < 2

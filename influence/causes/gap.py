"""The gap between a slice of the errors and the rest: raw, and with conditions made equal.

    report = gap(store, "six-accents", "test", "accent=scot", adjust=["noise", "device"])

The raw gap is WER(slice) − WER(others), with a bootstrap interval over speakers: positive means that the slice is worse served.
The adjusted gap is what remains of it when both sides are heard under the same conditions (`rates`), where there are such
(`overlap`). Which conditions to make equal is a claim about causes: those named, those that a causal graph asks for
(`graph`), or by default whatever is on record of `CONFOUNDERS`, which is a convention and no more. Adjusting for what the slice
itself brings about, e.g. an accent's speaking rate, leaves only the rest of its effect.

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
from influence.causes.utterances import Floats, Utterances, load, numeric
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
from training.progress import Progress, silent
from training.statistics.bootstrap import LEVEL, REPLICATES, Interval, statistic

CONFOUNDERS = ("noise", "device", "snr_estimate_db", "speaking_rate", "duration_s", "source")
CAUTION = "conditions nobody recorded are not adjusted for"


def gap(
    store: Store,
    model: str,
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
        model: name, `@alias`, `name@version`, id or beginning of an id.
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
        progress: told of utterances.

    Raises:
        EarmarkError: something named does not exist, the slice is everything, the graph leaves a back door open, there is no
            overlap, or the regression has no solution.
    """
    population = resolve_set(store, set_ref)
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
    predictions = predict(
        store, model, population.digest, normalise=normalise, device=device, threads=threads, progress=progress
    )
    config = {
        "predictions": predictions.run_id, "slice": wanted.name, "predicate": wanted.predicate, "adjust": list(names),
        "causes": None if causes is None else causes.model_dump(mode="json"), "refutations": refutations, "level": level,
        "replicates": replicates,
    }  # fmt: skip
    key = digest_of({"gap": config, "seed": seed, "code": code_version("influence")})
    done = store.find_run(key)
    if done is not None:
        return read_back(done)
    heard = load(store, predictions.run_id, inside, names)
    found = judge(heard, wanted.name, level=level, replicates=replicates, seed=seed, claimed=causes is not None)
    said: tuple[Refutation, ...] = ()
    if causes is not None and treatment is not None and refutations:
        kept, _ = overlap(heard)
        said = refute(heard.only(kept), causes, treatment, simulations=refutations, seed=seed)
    with store.run(
        "gap", job=wanted.name, config=config, key=key, inputs=[predictions.model_id, population.digest],
        parents=[predictions.run_id], seed=seed, package="influence",
    ) as run:  # fmt: skip
        report = GapReport(run.id, found, said)
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
    cautions = [CAUTION]
    if not support.whole:
        cautions.insert(0, f"only where both were heard; left out: {named(support.unsupported)}")
    adjusted, beside, aliased = None, None, tuple[str, ...]()
    if kept.columns or claimed:
        made = design(kept)
        adjusted, beside, aliased = population_averaged(kept, made, level=level), mixed(kept, made), made.aliased
        if math.isnan(adjusted.gap.low):
            cautions.append("no interval: one side has a single speaker")
        elif beside is None:
            cautions.append("the mixed-effects model did not converge, so nothing stands beside the adjusted gap")
        elif not adjusted.gap.low <= beside.gap <= adjusted.gap.high:
            cautions.append(f"the mixed-effects model says {100 * beside.gap:+.2f} points, outside the interval")
    return Gaps(
        slice=slice_name,
        raw=_raw(varied, options),
        raw_kept=_raw(kept, options),
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


def _raw(heard: Utterances, options: dict[str, Any]) -> Interval:
    sides = [heard.inside.astype(np.float64), (~heard.inside).astype(np.float64)]
    sums = np.column_stack([part * side for side in sides for part in (heard.errors, heard.words)])

    def difference(totals: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(totals[:, 0] / totals[:, 1] - totals[:, 2] / totals[:, 3])

    return statistic(sums, heard.speakers, difference, **options)[0]


def _constant(values: Any) -> bool:
    return len(np.unique(values[np.isfinite(values)])) < 2 if numeric(values) else len(set(values)) < 2

"""The gap between a slice of the errors and the rest: raw, and with conditions made equal.

    report = gap(store, "six-accents", "test", "accent=scot", adjust=["noise", "device"])

The raw gap is WER(slice) − WER(others), with a bootstrap interval over speakers: positive means that the slice is worse served.
The adjusted gap is what remains of it when both sides are heard under the same conditions (`rates`), where there are such
(`overlap`). Which conditions to make equal is a claim about causes: those named, those that a causal graph asks for
(`graph`), or by default whatever is on record of `CONFOUNDERS`, which is a convention and no more. Adjusting for what the slice
itself brings about, e.g. an accent's speaking rate, leaves only the rest of its effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from influence.causes.graph import CausalGraph
from influence.causes.overlap import Overlap, named, overlap, refuse_without_support
from influence.causes.rates import Mixed, Standardised, design, mixed, population_averaged
from influence.causes.refutation import Refutation, refute
from influence.causes.utterances import Floats, Utterances, load, numeric
from lineage.errors import EarmarkError
from lineage.schema import TABLES
from lineage.selection.sets import resolve_set
from lineage.selection.slices import Slice, parse_slices, select
from lineage.store import Store
from training.evaluation.predict import predict
from training.evaluation.slices import attribute_of
from training.progress import Progress, silent
from training.statistics.bootstrap import LEVEL, REPLICATES, Interval, statistic

CONFOUNDERS = ("noise", "device", "snr_estimate_db", "speaking_rate", "duration_s", "source")
CAUTION = "conditions nobody recorded are not adjusted for"


@dataclass(frozen=True)
class Gaps:
    """Gaps in WER (0.02 are 2 points), positive where the slice is worse served.

    `raw` is over everything, `raw_kept` over what has counterparts; None for `adjusted` where nothing was to adjust for.
    """

    slice: str
    raw: Interval
    raw_kept: Interval
    adjusted: Standardised | None
    mixed: Mixed | None
    adjusted_for: tuple[str, ...]
    left_aside: tuple[str, ...]
    overlap: Overlap
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class GapReport:
    """The gaps, and what became of them when they were attacked; `run_id` has it on record."""

    run_id: str
    gaps: Gaps
    refutations: tuple[Refutation, ...]


def gap(
    store: Store,
    model: str,
    set_ref: str,
    slice_text: str,
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
        slice_text: the slice, as people write it; the others are the rest of the set.
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
    (wanted,) = _one(parse_slices(store, [slice_text], population.digest), slice_text)
    inside = select(store, wanted, population.digest)
    treatment = attribute_of(wanted.name)
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
    heard = load(store, predictions.run_id, inside, names)
    found = judge(heard, wanted.name, level=level, replicates=replicates, seed=seed)
    said: tuple[Refutation, ...] = ()
    if causes is not None and treatment is not None and refutations and found.adjusted is not None:
        kept = heard.only(found.overlap.kept)
        said = refute(kept, causes, treatment, simulations=refutations, seed=seed)
    config = {
        "predictions": predictions.run_id, "slice": wanted.name, "predicate": wanted.predicate, "adjust": list(names),
        "causes": None if causes is None else causes.model_dump(mode="json"), "refutations": refutations, "level": level,
        "replicates": replicates,
    }  # fmt: skip
    with store.run(
        "gap", job=wanted.name, config=config, inputs=[predictions.model_id, population.digest],
        parents=[predictions.run_id], seed=seed, package="influence",
    ) as run:  # fmt: skip
        report = GapReport(run.id, found, said)
        run.result = plain(report)
    return report


def judge(
    heard: Utterances, slice_name: str, *, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0
) -> Gaps:
    """The gaps of utterances, whatever they were read from; conditions that never vary are left aside.

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
    support = overlap(varied)
    refuse_without_support(support, slice_name)
    kept = varied.only(support.kept)
    options = {"level": level, "replicates": replicates, "seed": seed}
    cautions = [CAUTION]
    if not support.whole:
        cautions.insert(0, f"only where both were heard; left out: {named(support.unsupported)}")
    adjusted, beside, aliased = None, None, tuple[str, ...]()
    if kept.columns:
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


def plain(report: GapReport) -> dict[str, Any]:
    """A report as JSON, which has no NaN; of the utterances only how many were kept."""
    value = asdict(report.gaps)
    kept = report.gaps.overlap.kept
    value["overlap"] |= {"kept": int(kept.sum()), "utterances": len(kept)}
    value["refutations"] = [asdict(r) for r in report.refutations]
    cleaned: dict[str, Any] = _finite(value)
    return cleaned


def _one(found: list[Slice], text: str) -> list[Slice]:
    if len(found) != 1:
        raise EarmarkError(f"'{text}' means {len(found)} slices — give one, such as accent=scot")
    return found


def _raw(heard: Utterances, options: dict[str, Any]) -> Interval:
    sides = [heard.inside.astype(np.float64), (~heard.inside).astype(np.float64)]
    sums = np.column_stack([part * side for side in sides for part in (heard.errors, heard.words)])

    def difference(totals: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(totals[:, 0] / totals[:, 1] - totals[:, 2] / totals[:, 3])

    return statistic(sums, heard.speakers, difference, **options)[0]


def _constant(values: Any) -> bool:
    return len(np.unique(values[np.isfinite(values)])) < 2 if numeric(values) else len(set(values)) < 2


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

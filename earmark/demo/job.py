"""The main job on the embedded corpus: from recordings to what each slice of them did to the errors.

    corpus → ingest → recorded transforms → train → evaluate → audit by a plan → attribute by gradients

Every step is an ordinary call of the packages, with nothing that a user could not do with their own recordings, and every
step is found again when it is on record: a second call computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from earmark.demo.corpus import CONDITIONS, NOISE_SNR_DB, write_corpus
from influence.attribution.attribute import Attribution, attribute
from influence.attribution.fidelity import Fidelity, fidelity
from influence.audit import AuditReport, run
from influence.executors.spread import ALONE, Spread
from influence.plans.planfile import AuditPlan
from lineage.derivation.derive import transform_set
from lineage.errors import EarmarkError
from lineage.identity import uuid7
from lineage.ingestion.ingest import ingest
from lineage.selection import algebra
from lineage.selection.sets import SampleSet
from lineage.store import Store
from training.evaluation.evaluate import Evaluation, evaluate
from training.fit import TrainedModel, train
from training.progress import Progress

RATE = 16_000
METHOD = "adam_tracin"

Stage = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Outcome:
    """What the main job found."""

    model: TrainedModel
    evaluation: Evaluation
    audit: AuditReport
    attribution: Attribution
    fidelity: Fidelity


def plan() -> AuditPlan:
    """What the demo asks; its recipe is what the demo trains."""
    return AuditPlan.load(Path(__file__).with_name("plan.yaml"))


def open_or_make(root: Path) -> Store:
    """The demo's store, made if it is not there."""
    return Store.open(root) if (root / "earmark.json").exists() else Store.init(root)


def main_job(
    store: Store,
    corpus: Path,
    stage: Stage,
    spread: Spread = ALONE,
) -> Outcome:
    """Do everything that is not on record yet; `stage` shows the progress of each part."""
    with stage("speaking the corpus") as report:
        make_corpus(corpus, report)
    with stage("recording the data") as report:
        record(store, corpus, report)
    return ask(store, plan(), stage, spread)


def ask(store: Store, asked: AuditPlan, stage: Stage, spread: Spread = ALONE) -> Outcome:
    """Train the plan's recipe, evaluate it on the first set that it names, do what the plan says, attribute by gradients."""
    with stage("fine-tuning the model") as report:
        model = train(store, asked.recipe, progress=report)
    with stage("evaluating it by slice") as report:
        evaluation = evaluate(store, model.model_id, asked.recipe.evaluate[0], progress=report)
    with stage("retraining without each slice") as report:
        audited = run(store, asked, spread=spread, progress=report)
    with stage("attributing by gradients") as report:
        targets = ["all", *map(str, asked.slices)]
        attributed = attribute(
            store, model.model_id, method=METHOD, targets=targets, spread=spread, progress=report,
        )  # fmt: skip
    return Outcome(model, evaluation, audited, attributed, fidelity(store, method=METHOD, audit=audited.audit))


def make_corpus(folder: Path, report: Progress) -> None:
    """Write the corpus under `folder` unless it is there; an interrupted one is begun anew."""
    if (folder / "noise.jsonl").exists():
        return
    begun = folder.with_name(f".{folder.name}-{uuid7()}")
    write_corpus(begun, progress=lambda done, total: report(done, total, ""))
    try:
        begun.rename(folder)
    except OSError as error:
        raise EarmarkError(f"cannot make {folder}: {error.strerror} — move away what lies there") from error


def record(store: Store, corpus: Path, report: Progress) -> tuple[SampleSet, SampleSet]:
    """Ingest the corpus, mix the noises in and resample: the sets demo/train and demo/test."""
    for name in (*CONDITIONS, "noise"):
        tell = partial(_ingested, report, name)
        ingest(store, corpus / f"{name}.jsonl", name=f"demo/{name}-recordings", progress=tell)
    made = [_split(store, split, report) for split in ("train", "test")]
    return made[0], made[1]


def _ingested(report: Progress, name: str, done: int, total: int) -> None:
    report(done, total, name)


def _split(store: Store, split: str, report: Progress) -> SampleSet:
    parts = []
    for condition in CONDITIONS:
        name = f"demo/{split}-{condition}"
        part = algebra.cut(store, [f"demo/{condition}-recordings"], name=f"{name}-dry", where=f"split = '{split}'")
        if condition in NOISE_SNR_DB:
            where = f"split = '{split}' AND noise = '{condition}'"
            pool = algebra.cut(store, ["demo/noise-recordings"], name=f"{name}-noises", where=where)
            part = transform_set(
                store, part.name, "noise", to=f"{name}-mixed", others=pool.name, seed=1,
                parameters={"snr_db": NOISE_SNR_DB[condition]}, progress=lambda n, total: report(n, total, "noise"),
            )  # fmt: skip
        part = transform_set(
            store, part.name, "resample", to=name, parameters={"rate": RATE}, attributes={"noise": condition},
            progress=lambda n, total: report(n, total, "resampling"),
        )  # fmt: skip
        parts.append(part.name)
    return algebra.cut(store, parts, name=f"demo/{split}")

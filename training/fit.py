"""Training on the record: from a recipe and a set to a model with an id, every sample it consumed, and what it cost.

    trained = train(store, Recipe.load("recipe.yaml"))
    without = train(store, recipe, weights={slice_digest: 0.0})      # the same run, but these samples leave no trace

A run is never done twice: its key covers everything on which the weights depend (`training.prepare`), and a completed run of
that key is returned as it is. What a seed or a thread more would have changed is asked of `training.replays`. A run that was
killed goes on from its last state (`training.loops.resume`) when the same is asked for again.

Laws: the same key gives the same `model_id`, in any process, however often it was killed on the way; weights of one for all
samples are no weights at all; a run that fails or is interrupted leaves a row in `runs` and nothing else on the record.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.machine.environment import lock
from lineage.people.policy import Policy
from lineage.recorder import Recorder
from lineage.runs import Run
from lineage.storage.manifest import RunInfo
from lineage.storage.unfinished import Unfinished, claim
from lineage.store import Store
from training.data import presentation
from training.data.augment import Augmentation
from training.data.corpus import Corpus, open_corpus
from training.data.order import Plan
from training.determinism import deterministic
from training.families.base import Base
from training.loops.changes import changes
from training.loops.checkpoints import CheckpointKeeper
from training.loops.development import Development
from training.loops.exposures import Exposures
from training.loops.resume import Part, Saver
from training.loops.trainer import RecordedTrainer
from training.models import ewc, handover
from training.models.recorded import keep_base, opening, record_model
from training.models.tensors import disk_watched
from training.permission import permission
from training.prepare import Prepared, asked, prepare
from training.progress import Progress, silent
from training.recipe import Recipe


@dataclass(frozen=True)
class TrainedModel:
    """A model and the run that made it; `reused` if that run was on record already. `path` holds its files.

    `name` is the one under which the run put it on record; a reused model may have another name than the recipe.
    """

    model_id: str
    name: str
    run_id: str
    reused: bool
    path: Path


def train(
    store: Store,
    recipe: Recipe,
    *,
    seed: int | None = None,
    weights: Mapping[str, float] | None = None,
    substitutes: str | None = None,
    augment: Mapping[str, Sequence[Augmentation | Mapping[str, Any]]] | None = None,
    checkpoints: int | None = None,
    called: str | None = None,
    parents: Sequence[str] = (),
    policy: Policy | None = None,
    resume: bool = True,
    progress: Progress = silent,
    replays: Replays | None = None,
) -> TrainedModel:
    """Train a model by `recipe`, or return the one on record.

    Args:
        store: where the sets are and the run goes.
        recipe: the experiment.
        seed: instead of the recipe's.
        weights: weight in the loss of the members of each set, by set digest; the weights of overlapping sets multiply.
        substitutes: digest of a pairing on record: other samples in the places of some (`lineage.derivation.substitutes`).
        augment: instead of the recipe's, for the members of each set, by set digest.
        checkpoints: instead of the recipe's.
        called: name of the model, instead of the recipe's, which then goes on naming another.
        parents: runs that this one belongs to, e.g. an audit.
        policy: what the run may use, instead of the policy in force.
        resume: go on from the state of a killed run, if there is one; else begin anew.
        progress: told of features and steps.
        replays: do again what is on record already (see `training.replay`); it is then really trained, under no key.

    Raises:
        PolicyRefused: the policy does not let this run use the set; nothing was done, and that is on record.
        LeakageRefused: it would be measured on what it was trained on; likewise.
        EarmarkError: the recipe does not fit the set, the base or this machine, or the loss diverged.
    """
    recipe = _with(recipe, seed, checkpoints)
    try:
        job = prepare(
            store, recipe, changes(recipe, store, weights, substitutes, augment), replays.base if replays else None
        )
    except EarmarkError:
        with store.run("train", job=recipe.name, config=asked(recipe), seed=recipe.seed, package="training"):
            raise
    if called is not None:
        job.config["called"] = called
    if job.mixture is not None:
        job.mixture.record(store)
    allowed = permission(store, job, policy)
    done = None if replays else store.find_run(job.key)
    if done is not None and not allowed.refused:
        return _trained(store, done, reused=True)
    sets = [job.data.digest, *([job.development.digest] if job.development else []), *job.beside]
    parent = [job.start.parent.model_id] if job.start.parent else []
    with claim(store, job.key if replays is None else digest_of([job.key, replays.run_id]), sets) as work:
        if work is not None and not resume:
            work.drop()
        with (
            deterministic(recipe.threads),
            store.run(
                "train",
                job=recipe.name,
                config=job.config,
                key=None if replays else job.key,
                inputs=[sets[0], job.base.digest, *parent, *sorted({*job.changes.sets, *sets[1:]})],
                parents=[*parents, *([replays.run_id] if replays else [])],
                seed=recipe.seed,
                package="training",
            ) as run,
            disk_watched(store.root),
        ):
            allowed.enforce(run, quietly=bool(run.parents))
            run.put(lock().encode())
            job.config["opens"] = opening(job.config["recipe"], job.base, job.start.kept or keep_base(run, job.base))
            corpus = open_corpus(store, job.data.digest, job.family, transcripts=recipe.transcripts, progress=progress)
            corpus = job.changes.applied(corpus, recipe.transcripts, progress)
            corpus.check()
            presentation.check_lengths(recipe, corpus, job.changes.augment)
            with Recorder(run) as recorder:
                for a in job.augmentations:
                    recorder.use(a.row)
            vector = job.changes.vector(corpus)
            known = replays.model_id if replays else None
            _fit(run, job, corpus, vector, work, progress, known, called or recipe.name)
        if work is not None:
            work.drop()
    return _trained(store, store.resolve_run(run.id), reused=False)


@dataclass(frozen=True)
class Replays:
    """The run that a training does again, the model it made, and its base as it was, where that is no more where it was."""

    run_id: str
    model_id: str
    base: Base | None = None


def _fit(
    run: Run,
    job: Prepared,
    corpus: Corpus,
    weights: npt.NDArray[np.float32],
    work: Unfinished | None,
    progress: Progress,
    known: str | None,
    name: str,
) -> None:
    recipe, family = job.recipe, job.family
    run.gpus = int(job.device == "cuda")
    recorder = Exposures(run)
    model = job.start.model()
    penalty = _penalty(run, job, model, progress)
    with tempfile.TemporaryDirectory(prefix="earmark-") as scratch:
        folder = Path(scratch)
        keeper = CheckpointKeeper(recipe.checkpoints, folder)
        development = _development(run.store, job, len(corpus), folder, progress)
        saver = Saver(work, recipe, recorder, run.id)
        trainer = RecordedTrainer(
            model,
            corpus,
            recipe,
            weights,
            device=job.device,
            scratch=folder,
            recorder=recorder,
            keeper=keeper,
            origins=None if job.mixture is None else [job.mixture.origins.get(i) for i in corpus.ids.to_pylist()],
            penalty=penalty,
            progress=progress,
            further=[development] if development else [],
            saver=saver,
            augment_for=job.changes.augment,
        )
        parts: dict[str, Part] = {"checkpoints": keeper, "losses": trainer.losses}
        if development is not None:
            parts["development"] = development
        steps = _train(
            trainer, saver, saver.begin(parts, folder), ended=development is not None and development.stopped
        )
        run.result["checkpoints"] = keeper.keep(run)
        if development is not None:
            development.settle(model)
            run.result["development"] = development.result()
        if penalty is not None:
            run.result["ewc"]["penalty"] = float(penalty().detach())
    model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False).cpu().eval()
    run.result |= {
        "steps": steps,
        "planned": {"epochs": recipe.epochs if recipe.steps is None else None, "steps": trainer.plan.steps},
        "exposures": recorder.count,
        "losses": trainer.losses.values,
        "resumed": saver.before,
    }
    model_id = record_model(
        run,
        family,
        model,
        name=name,
        method=recipe.method,
        set_digest=corpus.set_digest,
        seed=recipe.seed,
        known=known,
        parent=job.start.parent,
    )
    model.zero_grad(set_to_none=True)
    handover.leave(run.store, model_id, recipe.attention, model)
    run.outputs += [c["artifact"] for c in run.result["checkpoints"]]
    run.cost |= saver.spent
    if job.device == "cuda":
        run.result["gpu_peak_bytes"] = torch.cuda.max_memory_allocated()


def _penalty(run: Run, job: Prepared, model: torch.nn.Module, progress: Progress) -> ewc.Penalty | None:
    """What holds the weights where the recipe says so; what holds them goes on record."""
    if job.recipe.ewc is None or job.held is None:
        return None
    found = ewc.information(run.store, job.start, job.held, job.recipe.ewc, device=job.device, progress=progress)
    run.result["ewc"] = {"fisher": found.artifact, "run": found.run_id, "samples": found.samples}
    return ewc.Penalty(model, found.tensors, job.recipe.ewc.strength)


def _development(store: Store, job: Prepared, size: int, folder: Path, progress: Progress) -> Development | None:
    if job.development is None:
        return None
    taught = job.recipe.transcripts
    corpus = open_corpus(store, job.development.digest, job.family, transcripts=taught, progress=progress)
    return Development(corpus, job.recipe, Plan.of(job.recipe, size).steps_per_epoch, folder, progress)


def _train(trainer: RecordedTrainer, saver: Saver, begun: Path | None, *, ended: bool) -> int:
    """Train from the beginning or from where a state says; the steps that were taken. `ended`: the state is the last."""
    if ended:
        saver.load_weights(trainer.model)
        return saver.step
    trainer.train(resume_from_checkpoint=None if begun is None else str(begun))
    return int(trainer.state.global_step)


def _with(recipe: Recipe, seed: int | None, checkpoints: int | None) -> Recipe:
    changes = {"seed": seed, "checkpoints": checkpoints}
    changes = {name: value for name, value in changes.items() if value is not None}
    return recipe.variant(**changes) if changes else recipe


def _trained(store: Store, run: RunInfo, *, reused: bool) -> TrainedModel:
    name = run.config.get("called") or run.job or ""
    return TrainedModel(run.result["model_id"], name, run.id, reused, store.artifact(run.result["artifact"]))

"""Training on the record: from a recipe and a set to a model with an id, every sample it consumed, and what it cost.

    trained = train(store, Recipe.load("recipe.yaml"))
    without = train(store, recipe, weights={slice_digest: 0.0})      # the same run, but these samples leave no trace

A run is never done twice: its key covers everything on which the weights depend (recipe, members of the sets, base, seed,
threads, code, packages, kind of machine), and a completed run of that key is returned as it is. What a seed or a thread more
would have changed is asked of `training.replays`. A run that was killed goes on from its last state
(`training.loops.resume`) when the same is asked for again.

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

from lineage.chain import sets_behind
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.ingestion.recorder import Recorder
from lineage.machine.environment import code_version, lock
from lineage.people.policy import Policy
from lineage.runs import Run, RunInfo
from lineage.selection.sets import SampleSet, resolve_set
from lineage.storage.unfinished import Unfinished, claim
from lineage.store import Store
from training.data import presentation
from training.data.augment import Augmentation, pinned
from training.data.corpus import Corpus, open_corpus
from training.data.order import Plan
from training.data.permission import permission
from training.data.rehearsal import Mixture, mixture
from training.families import Family
from training.loops.changes import Changes, changes
from training.loops.checkpoints import CheckpointKeeper
from training.loops.determinism import check_precision, depends, deterministic, pick_device
from training.loops.development import Development
from training.loops.exposures import Exposures
from training.loops.resume import Part, Saver
from training.loops.trainer import OPTIMISER, RecordedTrainer
from training.models import ewc, handover
from training.models.base import Base
from training.models.recorded import keep_base, opening, pools_of, record_model
from training.models.start import Start, find_start
from training.models.tensors import disk_watched
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
        with store.run("train", job=recipe.name, config=_asked(recipe), seed=recipe.seed, package="training"):
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


@dataclass(frozen=True)
class Prepared:
    """One training, asked for and checked as far as can be told without reading its samples.

    `recipe` names its base by id where that is a model on record, and old sets by digest. `data` is the mixture where old
    samples are replayed; it is on record once it is trained on. `measured` are the sets that the recipe measures on, `held`
    the one that elastic weight consolidation holds to, `behind` digests of those that the model it continues has learnt
    from, `key` what the result is found under.
    """

    recipe: Recipe
    data: SampleSet
    mixture: Mixture | None
    held: SampleSet | None
    development: SampleSet | None
    measured: tuple[SampleSet, ...]
    behind: tuple[str, ...]
    start: Start
    device: str
    changes: Changes
    config: dict[str, Any]
    key: str

    @property
    def base(self) -> Base:
        """What the model is opened on."""
        return self.start.base

    @property
    def family(self) -> Family:
        """The base, opened."""
        return self.start.family

    @property
    def augmentations(self) -> list[Augmentation]:
        """All that may be applied to any sample."""
        return [*self.recipe.augment, *(a for chosen in self.changes.augment.values() for a in chosen)]

    @property
    def pools(self) -> list[str]:
        """Digests of the sets that augmentation draws from, and of the samples that take others' places."""
        return pools_of(self.config)

    @property
    def beside(self) -> list[str]:
        """Digests of the sets that it takes from besides the one that it is trained on."""
        return [*self.pools, *([self.held.digest] if self.held else [])]


def prepare(store: Store, recipe: Recipe, otherwise: Changes | None = None, base: Base | None = None) -> Prepared:
    """Check a recipe against the store, the base and this machine; nothing is written.

    `base` stands in for the one that the recipe names.

    Raises:
        EarmarkError: they do not fit.
    """
    otherwise = otherwise or Changes()
    device = pick_device(recipe.device)
    check_precision(recipe.precision, device)
    new = resolve_set(store, recipe.train)
    mixed = None if recipe.replay is None else mixture(store, new, recipe.replay)
    data = new if mixed is None else mixed.data
    held = None if recipe.ewc is None else resolve_set(store, recipe.ewc.set)
    if held is not None and held.digest == new.digest:
        raise EarmarkError(f"'ewc.set' {held.name} is the training set — name the set of an earlier training")
    development = None if recipe.development is None else resolve_set(store, recipe.development)
    if development is not None and development.digest in (new.digest, data.digest):
        raise EarmarkError(
            f"'development' {recipe.development} is the training set — name a set that is not trained on"
        )
    measured = [*([development] if development else []), *(resolve_set(store, ref) for ref in recipe.evaluate)]
    start = find_start(store, recipe, base)
    recipe = _by_digest(start.recipe, mixed, held)
    presentation.check(recipe, start.family)
    behind = () if start.parent is None else tuple(sets_behind(store, start.parent.model_id))
    digest = development.digest if development else None
    config = _config(
        recipe,
        data.digest,
        start.base.digest,
        digest,
        otherwise.asked(store),
        pinned(store, recipe.augment),
        device,
        mixed,
        held,
    )
    key = digest_of({**config["depends"], "experiment": config["experiment"], "checkpoints": recipe.checkpoints})
    return Prepared(
        recipe, data, mixed, held, development, tuple(measured), behind, start, device, otherwise, config, key
    )  # fmt: skip


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


def _asked(recipe: Recipe) -> dict[str, Any]:
    return {"recipe": recipe.model_dump(mode="json"), "recipe_digest": recipe.digest}


def _config(
    recipe: Recipe,
    data: str,
    base: str,
    development: str | None,
    changed: dict[str, Any],
    augment: list[dict[str, Any]],
    device: str,
    mixed: Mixture | None,
    held: SampleSet | None,
) -> dict[str, Any]:
    """What the run notes. `experiment` is what was asked; `depends` what else the weights hang on."""
    essence = recipe.essence
    for name in ("train", "augment", "base", "seed", "threads", "device", "replay", "ewc"):
        del essence[name]
    essence["development"] = development
    asked: dict[str, Any] = {"recipe": essence, "base": recipe.base, "set": data, **changed}
    if augment:
        asked["augment"] = _as_asked(augment)
    if "augment_for" in changed:
        asked["augment_for"] = {digest: _as_asked(own) for digest, own in changed["augment_for"].items()}
    transforms = [*augment, *(a for own in changed.get("augment_for", {}).values() for a in own)]
    noted: dict[str, Any] = {}
    if held is not None and recipe.ewc is not None:
        noted["ewc"] = {**recipe.ewc.model_dump(mode="json"), "set": held.digest}
        asked["ewc"] = noted["ewc"]
    if mixed is not None:
        noted["replay"] = {"new": mixed.new.digest, "old": [s.digest for s in mixed.old], "samples": len(mixed.origins)}
    return {
        **_asked(recipe),
        **noted,
        "set": data,
        **changed,
        "augment": augment,
        "optimiser": OPTIMISER,
        "experiment": digest_of(asked),
        "depends": {
            "base": base,
            "seed": recipe.seed,
            "threads": recipe.threads,
            "device": device,
            "code": code_version("training"),
            "environment": depends(device),
            **({"transforms": digest_of([a["transform_id"] for a in transforms])} if transforms else {}),
        },
    }


def _by_digest(recipe: Recipe, mixed: Mixture | None, held: SampleSet | None) -> Recipe:
    """The recipe with its old sets by digest, since newer ones may get their names."""
    changes: dict[str, Any] = {}
    if recipe.replay is not None and mixed is not None:
        changes["replay"] = {**recipe.replay.model_dump(), "sets": [s.digest for s in mixed.old]}
    if recipe.ewc is not None and held is not None:
        changes["ewc"] = {**recipe.ewc.model_dump(), "set": held.digest}
    return recipe.variant(**changes) if changes else recipe


def _as_asked(augment: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in a.items() if k != "transform_id"} for a in augment]


def _with(recipe: Recipe, seed: int | None, checkpoints: int | None) -> Recipe:
    changes = {"seed": seed, "checkpoints": checkpoints}
    changes = {name: value for name, value in changes.items() if value is not None}
    return recipe.variant(**changes) if changes else recipe


def _trained(store: Store, run: RunInfo, *, reused: bool) -> TrainedModel:
    name = run.config.get("called") or run.job or ""
    return TrainedModel(run.result["model_id"], name, run.id, reused, store.artifact(run.result["artifact"]))

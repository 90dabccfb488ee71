"""Training on the record: from a recipe and a set to a model with an id, every sample it consumed, and what it cost.

    trained = train(store, Recipe.load("recipe.yaml"))
    without = train(store, recipe, weights={slice_digest: 0.0})      # the same run, but these samples leave no trace

A run is never done twice: its key covers everything on which the weights depend (recipe, members of the sets, base, seed,
threads, code, packages, kind of machine), and a completed run of that key is returned as it is. What a seed or a thread more
would have changed is asked of `training.replays`.

Laws: the same key gives the same `model_id`, in any process; weights of one for all samples are no weights at all; a run that
fails or is interrupted leaves a row in `runs` and nothing else.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lineage import leakage
from lineage.environment import code_version
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.policy import Policy, enforce, verdict_on
from lineage.runs import Run, RunInfo
from lineage.sets import members, resolve_set
from lineage.store import Store
from training import lora, presentation
from training.base import find_base
from training.callback import EarmarkCallback
from training.checkpoints import CheckpointKeeper
from training.corpus import Corpus, open_corpus
from training.determinism import check_precision, depends, deterministic, pick_device
from training.families import Family, open_family
from training.models import keep_base, opening, record_model
from training.progress import Progress, silent
from training.recipe import Recipe
from training.trainer import OPTIMISER, RecordedTrainer


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
    checkpoints: int | None = None,
    parents: Sequence[str] = (),
    policy: Policy | None = None,
    progress: Progress = silent,
) -> TrainedModel:
    """Train a model by `recipe`, or return the one on record.

    Args:
        store: where the sets are and the run goes.
        recipe: the experiment.
        seed: instead of the recipe's.
        weights: weight in the loss of the members of each set, by set digest; the weights of overlapping sets multiply.
        checkpoints: instead of the recipe's.
        parents: runs that this one belongs to, e.g. an audit.
        policy: what the run may use, instead of the policy in force.
        progress: told of features and steps.

    Raises:
        PolicyRefused: the policy does not let this run use the set; nothing was done, and that is on record.
        LeakageRefused: it would be evaluated on what it was trained on; likewise.
        EarmarkError: the recipe does not fit the set, the base or this machine, or the loss diverged.
    """
    recipe = _with(recipe, seed, checkpoints)
    factors = _checked(weights or {})
    device = pick_device(recipe.device)
    check_precision(recipe.precision, device)
    data = resolve_set(store, recipe.train)
    base = find_base(recipe.base)
    family = open_family(recipe.family, base, language=recipe.language, task=recipe.task)
    presentation.check(recipe, family)
    config = _config(recipe, data.digest, base.digest, factors, device)
    key = digest_of({**config["depends"], "experiment": config["experiment"], "checkpoints": recipe.checkpoints})
    verdict = verdict_on(store, data.digest, policy)
    leaks = leakage.judge(store, data.digest, [resolve_set(store, ref).digest for ref in recipe.evaluate], policy)
    done = store.find_run(key)
    if done is not None and not (verdict and verdict.refused) and not leaks.refused:
        return _trained(store, done, reused=True)
    with (
        deterministic(recipe.threads),
        store.run(
            "train",
            job=recipe.name,
            config=config,
            key=key,
            inputs=[data.digest, base.digest, *sorted(factors)],
            parents=parents,
            seed=recipe.seed,
            package="training",
        ) as run,
    ):
        enforce(run, verdict)
        leakage.enforce(run, leaks, quietly=bool(parents))
        config["opens"] = opening(config["recipe"], base, keep_base(run, base))
        corpus = open_corpus(store, data.digest, family, transcripts=recipe.transcripts, progress=progress)
        corpus.check()
        vector = _vector(store, corpus, factors)
        _fit(run, recipe, family, corpus, vector, device, progress)
    return _trained(store, store.resolve_run(run.id), reused=False)


def _fit(
    run: Run,
    recipe: Recipe,
    family: Family,
    corpus: Corpus,
    weights: npt.NDArray[np.float32],
    device: str,
    progress: Progress,
) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    model = family.model(dropout=recipe.dropout, attention=recipe.attention)
    if recipe.lora is not None:
        model = lora.attach(family, model, recipe.lora, recipe.seed)
    recorder = EarmarkCallback(run, progress=progress)
    with tempfile.TemporaryDirectory(prefix="earmark-") as scratch:
        keeper = CheckpointKeeper(recipe.checkpoints, Path(scratch))
        trainer = RecordedTrainer(
            model, corpus, recipe, weights, device=device, scratch=Path(scratch), recorder=recorder, keeper=keeper
        )
        trainer.train()
        run.result["checkpoints"] = keeper.keep(run)
    model = model.cpu().eval()
    run.result |= {"steps": trainer.state.global_step, "exposures": recorder.exposures, "losses": trainer.epoch_losses}
    record_model(
        run, family, model, name=recipe.name, method=recipe.method, set_digest=corpus.set_digest, seed=recipe.seed
    )
    run.outputs += [c["artifact"] for c in run.result["checkpoints"]]
    run.cost |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    if device == "cuda":
        run.result["gpu_peak_bytes"] = torch.cuda.max_memory_allocated()


def _config(recipe: Recipe, data: str, base: str, weights: Mapping[str, float], device: str) -> dict[str, Any]:
    """What the run notes. `experiment` is what was asked; `depends` what else the weights hang on."""
    essence = recipe.essence
    for name in ("train", "base", "seed", "threads", "device"):
        del essence[name]
    experiment = digest_of({"recipe": essence, "base": recipe.base, "set": data, "weights": dict(weights)})
    return {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_digest": recipe.digest,
        "set": data,
        "weights": dict(weights),
        "optimiser": OPTIMISER,
        "experiment": experiment,
        "depends": {
            "base": base,
            "seed": recipe.seed,
            "threads": recipe.threads,
            "device": device,
            "code": code_version("training"),
            "environment": depends(device),
        },
    }


def _with(recipe: Recipe, seed: int | None, checkpoints: int | None) -> Recipe:
    changes = {"seed": seed, "checkpoints": checkpoints}
    changes = {name: value for name, value in changes.items() if value is not None}
    return recipe.variant(**changes) if changes else recipe


def _checked(weights: Mapping[str, float]) -> dict[str, float]:
    for digest, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise EarmarkError(f"the weight of set {digest[:12]} is {weight} — give a number from 0 (left out) upwards")
    # A weight of one changes nothing, so it must not make another run of it.
    return {digest: float(weight) for digest, weight in sorted(weights.items()) if weight != 1}


def _vector(store: Store, corpus: Corpus, weights: Mapping[str, float]) -> npt.NDArray[np.float32]:
    """The weight of every utterance of the corpus."""
    vector = np.ones(len(corpus), dtype=np.float32)
    for digest, weight in weights.items():
        mask = corpus.mask(members(store, digest))
        if not mask.any():
            raise EarmarkError(
                f"no member of set {digest[:12]} is in training set {corpus.set_digest[:12]} — give a slice of that set"
            )
        vector[mask] *= np.float32(weight)
    return vector


def _trained(store: Store, run: RunInfo, *, reused: bool) -> TrainedModel:
    return TrainedModel(run.result["model_id"], run.job or "", run.id, reused, store.artifact(run.result["artifact"]))

"""A training before it begins: a recipe checked against the store, its base and this machine, and the key of its run.

    job = prepare(store, Recipe.load("recipe.yaml"))
    store.find_run(job.key)                                          # the completed run of just this, if there is one

Nothing is written and no sound is read, so that a forecast, the permission to train and a count of what a retrain bank lacks
cost next to nothing. `training.fit` trains what is prepared here.

Law: whatever the weights depend on is in the key (recipe, members of the sets, base, seed, threads, code, packages, kind of
machine), and nothing else but the number of checkpoints to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lineage.chain import sets_behind
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.selection.sets import SampleSet, resolve_set
from lineage.store import Store
from training.data import presentation
from training.data.augment import Augmentation, pinned
from training.data.rehearsal import Mixture, mixture
from training.determinism import check_precision, depends, pick_device
from training.families import Family
from training.families.base import Base
from training.loops.changes import Changes
from training.loops.trainer import OPTIMISER
from training.models.recorded import pools_of
from training.models.start import Start, find_start
from training.recipe import Recipe


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


def asked(recipe: Recipe) -> dict[str, Any]:
    """What a run notes of the recipe that it was asked for."""
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
    experiment: dict[str, Any] = {"recipe": essence, "base": recipe.base, "set": data, **changed}
    if augment:
        experiment["augment"] = _as_asked(augment)
    if "augment_for" in changed:
        experiment["augment_for"] = {digest: _as_asked(own) for digest, own in changed["augment_for"].items()}
    transforms = [*augment, *(a for own in changed.get("augment_for", {}).values() for a in own)]
    noted: dict[str, Any] = {}
    if held is not None and recipe.ewc is not None:
        noted["ewc"] = {**recipe.ewc.model_dump(mode="json"), "set": held.digest}
        experiment["ewc"] = noted["ewc"]
    if mixed is not None:
        noted["replay"] = {"new": mixed.new.digest, "old": [s.digest for s in mixed.old], "samples": len(mixed.origins)}
    return {
        **asked(recipe),
        **noted,
        "set": data,
        **changed,
        "augment": augment,
        "optimiser": OPTIMISER,
        "experiment": digest_of(experiment),
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

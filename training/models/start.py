"""Where a training begins: at a base that nobody here trained, or at a model on record, which it continues.

    base: model:NAME      # or a model id, or the beginning of one

A fully trained model is a complete checkpoint, so it is a base like any other: `method: full` trains its weights on, and
`method: lora` puts fresh adapters beside them. A LoRA model is continued with `method: lora`: its own adapters are trained
on, beside the base that they stand on. Adapters are never merged, so a LoRA model cannot be continued with `method: full`.

A name means the newest model of that name at the moment of asking. What a run notes is the id, so it can be run again when
there are newer ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from lineage.chain import SCHEME
from lineage.errors import EarmarkError
from lineage.store import Store
from training.families import Family, open_family
from training.families.base import Base, find_base
from training.models import lora
from training.models.pristine import fresh
from training.models.recorded import Model, noted_base, resolve_model
from training.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """`recipe` names its base by id; `kept` is the store's copy of the base, if it is known to have one.

    `parent` is the model that is continued; `adapters` the folder of its adapters where those are trained on.
    """

    recipe: Recipe
    base: Base
    kept: str | None = None
    parent: Model | None = None
    adapters: Path | None = None

    @property
    def family(self) -> Family:
        """The base, opened; opened once a process."""
        recipe = self.recipe
        return open_family(recipe.family, self.base, language=recipe.language, task=recipe.task)

    @property
    def weights(self) -> str:
        """What the weights at the beginning go by: the parent's id, or the digest of the base."""
        return self.base.digest if self.parent is None else self.parent.model_id

    def model(self) -> torch.nn.Module:
        """The model as it is before the first step, in evaluation mode; what is trained requires a gradient."""
        recipe, family = self.recipe, self.family
        model = fresh(family, dropout=recipe.dropout, attention=recipe.attention)
        if recipe.lora is not None and self.adapters is None:
            model = lora.attach(family, model, recipe.lora, recipe.seed)
        elif recipe.lora is not None and self.adapters is not None:
            model = lora.carry_on(family, model, recipe.lora, self.adapters)
        return model


def find_start(store: Store, recipe: Recipe, base: Base | None = None) -> Start:
    """Where `recipe` begins; `base` stands in for the one that it names, unless that is a model on record.

    Raises:
        EarmarkError: there is no such base or model, or the recipe cannot continue it.
    """
    if not recipe.base.startswith(SCHEME):
        return Start(recipe, base or find_base(recipe.base))
    parent = resolve_model(store, recipe.base.removeprefix(SCHEME))
    opens = store.resolve_run(parent.run_id).config.get("opens")
    if opens is None:
        raise EarmarkError(
            f"model {parent.name} is of no family here, so it cannot be continued — continue it by a script of your own"
        )
    if parent.family != recipe.family:
        raise EarmarkError(
            f"recipe {recipe.name}: 'family' is {recipe.family}, but model {parent.name} is of {parent.family} — write family: "
            f"{parent.family}"
        )
    ref = f"{SCHEME}{parent.model_id}"
    pinned = recipe.variant(base=ref)
    if opens["method"] == "full":
        return Start(pinned, Base(ref, store.artifact(parent.artifact)), parent.artifact, parent)
    if recipe.method == "full":
        raise EarmarkError(
            f"recipe {recipe.name}: model {parent.name} is adapters beside a base, which are not merged — write method: lora "
            "to train them on"
        )
    beneath = noted_base(store, opens["base"])
    return Start(pinned, beneath, opens["base"]["artifact"], parent, store.artifact(parent.artifact))

"""How an exposure sounds to the model: what is done to an utterance each time it comes, from the seed of that exposure.

Everything random that a recipe does to its data is done here and nowhere else, one thing after the other. The seed stands
in the record of the exposure, so every single presentation can be rebuilt.

Laws: `present(exposure)` depends on the corpus, the recipe and the exposure alone; without augmentation it is the corpus's
own features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.utils.data import Dataset

from lineage.errors import EarmarkError
from training.corpus import Corpus
from training.families import Batch, Family, Features
from training.order import Exposure
from training.recipe import Recipe


class Presented(NamedTuple):
    """An exposure and the features, [frames, dimensions], that the model is given for it."""

    exposure: Exposure
    features: Features


class Presentation(Dataset[Presented]):
    """The corpus as one run presents it; items are asked for by exposure."""

    def __init__(self, corpus: Corpus, recipe: Recipe) -> None:
        self._corpus = corpus
        self._masks = recipe.spec_augment

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, exposure: Exposure) -> Presented:
        return Presented(exposure, self.present(exposure))

    def present(self, exposure: Exposure) -> Features:
        """Features as the model meets them in this exposure, [frames, dimensions]."""
        features = self._corpus.features[exposure.row]
        if self._masks is not None:
            features = self._masks(features, exposure.seed)
        return features

    def collate(self, items: Sequence[Presented]) -> Batch:
        """The family's batch of these utterances, with their `rows` and `seeds` [B]."""
        batch = self._corpus.batch([i.exposure.row for i in items], [i.features for i in items])
        return {**batch, "seeds": torch.tensor([i.exposure.seed for i in items], dtype=torch.int64)}


def check(recipe: Recipe, family: Family) -> None:
    """Whether what the recipe does to the data can be done to what this family takes.

    Raises:
        EarmarkError: it cannot; names the field.
    """
    if recipe.spec_augment is not None and not family.spectral:
        raise EarmarkError(
            f"recipe {recipe.name}: 'spec_augment' masks spectrograms, but family {family.name} takes the raw waveform of base "
            f"{family.base.ref} — drop spec_augment"
        )

"""How an exposure sounds to the model: what is done to an utterance each time it comes, from the seed of that exposure.

Everything random that a recipe does to its data is done here and nowhere else, one thing after the other. The seed stands
in the record of the exposure, so every single presentation can be rebuilt.

Laws: `present(exposure)` depends on the corpus, the recipe and the exposure alone; without augmentation it is the corpus's
own features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.utils.data import Dataset

from lineage.errors import EarmarkError
from training.augment import Applied, Augmenter
from training.corpus import SLACK_S, Corpus
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
        self._augmenter = Augmenter(corpus.store, recipe.augment)
        self._masks = recipe.spec_augment

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, exposure: Exposure) -> Presented:
        return Presented(exposure, self.present(exposure))

    def __getitems__(self, exposures: Sequence[Exposure]) -> list[Presented]:
        drawn = [(self._corpus.ids[e.row].as_py(), self._drawn(e)) for e in exposures]
        beds = [a.other for _, applied in drawn for a in applied if a.other is not None]
        self._augmenter.prepare([*(sample for sample, applied in drawn if applied), *beds])
        return [self[e] for e in exposures]

    def present(self, exposure: Exposure) -> Features:
        """Features as the model meets them in this exposure, [frames, dimensions]."""
        applied = self._drawn(exposure)
        if applied:
            wave = self._augmenter.hear(self._corpus.ids[exposure.row].as_py(), applied)
            features = self._corpus.family.features(wave)
        else:
            features = self._corpus.features[exposure.row]
        if self._masks is not None:
            features = self._masks(features, exposure.seed)
        return features

    def _drawn(self, exposure: Exposure) -> list[Applied]:
        return self._augmenter.drawn(self._corpus.ids[exposure.row].as_py(), exposure.seed)

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


def check_lengths(recipe: Recipe, corpus: Corpus) -> None:
    """Whether the model takes the clips even as long, and their transcripts even as short, as `augment` can make them.

    Raises:
        EarmarkError: it does not; says how many and how slow or quick they may become.
    """
    quicker = math.prod(a.quickest for a in recipe.augment)
    if quicker > 1:
        try:
            corpus.check(quicker)
        except EarmarkError as error:
            raise EarmarkError(
                f"recipe {recipe.name}: 'augment' can make clips {quicker:.3g} times as short, and then {error}, or lower the "
                "highest factor"
            ) from error
    limit = corpus.family.max_seconds
    slower = math.prod(a.slowest for a in recipe.augment)
    if limit is None or slower <= 1:
        return
    durations = corpus.samples["duration_s"].to_numpy()
    long = int((durations * slower > limit + SLACK_S).sum())
    if long:
        raise EarmarkError(
            f"recipe {recipe.name}: 'augment' can make clips {slower:.3g} times as long, and {long} of {len(corpus)} would "
            f"then pass the {limit:g} s that base {corpus.family.base.ref} takes — raise the lowest factor to "
            f"{float(durations.max()) / limit:.3g}, or make a set WHERE duration_s <= {limit / slower:.3g}"
        )

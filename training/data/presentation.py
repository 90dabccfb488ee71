"""How an exposure sounds to the model: what is done to an utterance each time it comes, from the seed of that exposure.

Everything random that a recipe does to its data is done here and nowhere else, one thing after the other. The seed stands
in the record of the exposure, so every single presentation can be rebuilt.

Where some samples are augmented otherwise than the recipe says (`training.loops.changes`), or another sample stands in a
place, the draws of an exposure stay those of the place: the same noise is laid under whatever is heard there.

Laws: `present(exposure)` depends on the corpus, the recipe, the changes and the exposure alone; without augmentation it is the
corpus's own features.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from lineage.errors import EarmarkError
from lineage.selection.sets import members
from training.data.augment import Applied, Augmentation, Augmenter
from training.data.corpus import SLACK_S, Corpus
from training.data.order import Exposure
from training.families import Batch, Family, Features
from training.recipe import Recipe


class Presented(NamedTuple):
    """An exposure and the features, [frames, dimensions], that the model is given for it."""

    exposure: Exposure
    features: Features


class Presentation(Dataset[Presented]):
    """The corpus as one run presents it; items are asked for by exposure."""

    def __init__(
        self, corpus: Corpus, recipe: Recipe, augment_for: Mapping[str, Sequence[Augmentation]] | None = None
    ) -> None:
        self._corpus = corpus
        self._masks = recipe.spec_augment
        self._augmenters = [Augmenter(corpus.store, recipe.augment)]
        self._which = np.zeros(len(corpus), dtype=np.int64)
        for digest, augment in (augment_for or {}).items():
            self._which[corpus.mask(members(corpus.store, digest))] = len(self._augmenters)
            self._augmenters.append(Augmenter(corpus.store, augment))

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, exposure: Exposure) -> Presented:
        return Presented(exposure, self.present(exposure))

    def __getitems__(self, exposures: Sequence[Exposure]) -> list[Presented]:
        wanted: dict[int, list[uuid.UUID]] = {}
        for e in exposures:
            applied = self._drawn(e)
            if applied:
                sounds = [self._corpus.present[e.row].as_py(), *(a.other for a in applied if a.other is not None)]
                wanted.setdefault(int(self._which[e.row]), []).extend(sounds)
        for which, sounds in wanted.items():
            self._augmenters[which].prepare(sounds)
        return [self[e] for e in exposures]

    def present(self, exposure: Exposure) -> Features:
        """Features as the model meets them in this exposure, [frames, dimensions]."""
        applied = self._drawn(exposure)
        if applied:
            wave = self._augmenter(exposure).hear(self._corpus.present[exposure.row].as_py(), applied)
            features = self._corpus.family.features(wave)
        else:
            features = self._corpus.features[exposure.row]
        if self._masks is not None:
            features = self._masks(features, exposure.seed)
        return features

    def plain(self, exposure: Exposure) -> bool:
        """Whether nothing is drawn for this exposure, so that it sounds like all such of its row."""
        return self._masks is None and not self._drawn(exposure)

    def _drawn(self, exposure: Exposure) -> list[Applied]:
        return self._augmenter(exposure).drawn(self._corpus.ids[exposure.row].as_py(), exposure.seed)

    def _augmenter(self, exposure: Exposure) -> Augmenter:
        return self._augmenters[int(self._which[exposure.row])]

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


def check_lengths(
    recipe: Recipe, corpus: Corpus, augment_for: Mapping[str, Sequence[Augmentation]] | None = None
) -> None:
    """Whether the model takes clips as long, and transcripts of clips as short, as `augment` and `augment_for` can make them.

    Raises:
        EarmarkError: it does not; says how many and how slow or quick they may become.
    """
    ways = (recipe.augment, *(augment_for or {}).values())
    quicker = max(math.prod(a.quickest for a in augment) for augment in ways)
    if quicker > 1:
        try:
            corpus.check(quicker)
        except EarmarkError as error:
            raise EarmarkError(
                f"recipe {recipe.name}: 'augment' can make clips {quicker:.3g} times as short, and then {error}, or lower the "
                "highest factor"
            ) from error
    limit = corpus.family.max_seconds
    slower = max(math.prod(a.slowest for a in augment) for augment in ways)
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

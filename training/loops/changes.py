"""What one training does otherwise than its recipe says, sample by sample, while everything else stays as it was.

    weights         {set digest: weight}          in the loss; 0 leaves the samples out, 1 changes nothing
    substitutes     digest of a pairing           other samples in the places of some (`lineage.derivation.substitutes`)
    augment         {set digest: augmentations}   instead of the recipe's `augment`, for the members of the set

Initial weights, order, seeds and number of steps are those of the set without changes, so one thing moves. Weights and
augmentations are said of places in the set, whoever stands there.

Law: a change that changes nothing (weight one, the recipe's own augmentation) is none: the run has the same key, and is the
same run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lineage.derivation.substitutes import Substitutes, substitutes
from lineage.errors import EarmarkError
from lineage.selection.sets import members
from lineage.store import Store
from training.data.augment import Augmentation, pinned, recorded
from training.data.corpus import Corpus, open_corpus
from training.progress import Progress, silent
from training.recipe import Recipe


@dataclass(frozen=True)
class Changes:
    """The changes of one training, checked; those that would change nothing are gone."""

    weights: Mapping[str, float] = field(default_factory=dict)
    substitutes: Substitutes | None = None
    augment: Mapping[str, tuple[Augmentation, ...]] = field(default_factory=dict)

    @property
    def sets(self) -> list[str]:
        """Digests of the sets that the changes name."""
        by = [self.substitutes.set_digest] if self.substitutes else []
        return sorted({*self.weights, *self.augment, *by})

    def asked(self, store: Store) -> dict[str, Any]:
        """As the run notes them, and as they go into its key; absent where there are none."""
        noted: dict[str, Any] = {"weights": dict(self.weights)}
        if self.substitutes is not None:
            noted |= {"substitutes": self.substitutes.digest, "substitutes_set": self.substitutes.set_digest}
        if self.augment:
            noted["augment_for"] = {digest: pinned(store, augment) for digest, augment in self.augment.items()}
        return noted

    def applied(self, corpus: Corpus, transcripts: str, progress: Progress = silent) -> Corpus:
        """The corpus with its substitutes in their places."""
        if self.substitutes is None:
            return corpus
        digest = self.substitutes.set_digest
        others = open_corpus(corpus.store, digest, corpus.family, transcripts=transcripts, progress=progress)
        return corpus.with_substitutes(self.substitutes, others)

    def vector(self, corpus: Corpus) -> npt.NDArray[np.float32]:
        """The weight of every utterance of the corpus; those of overlapping sets multiply.

        Raises:
            EarmarkError: a set that a change names has no member in the corpus, or two augmentations meet on one.
        """
        vector = np.ones(len(corpus), dtype=np.float32)
        for digest, weight in self.weights.items():
            vector[_mask(corpus, digest)] *= np.float32(weight)
        augmented = sum(
            (_mask(corpus, digest).astype(int) for digest in self.augment), start=np.zeros(len(corpus), int)
        )
        if (augmented > 1).any():
            raise EarmarkError(
                f"{int((augmented > 1).sum())} samples are in several sets with augmentations of their own — give sets "
                "that do not overlap"
            )
        return vector


def again(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `training.fit.train` that ask for the changes of a run, from its `config`."""
    augment = {digest: recorded(own) for digest, own in config.get("augment_for", {}).items()}
    return {"weights": config["weights"], "substitutes": config.get("substitutes"), "augment": augment}


def changes(
    recipe: Recipe,
    store: Store,
    weights: Mapping[str, float] | None = None,
    pairing: str | None = None,
    augment: Mapping[str, Sequence[Augmentation | Mapping[str, Any]]] | None = None,
) -> Changes:
    """The changes that were asked for, without those that are none.

    Raises:
        EarmarkError: a weight is no number from 0 upwards, there is no such pairing, or an augmentation makes no sense.
    """
    for digest, weight in (weights or {}).items():
        if not (math.isfinite(weight) and weight >= 0):
            raise EarmarkError(f"the weight of set {digest[:12]} is {weight} — give a number from 0 (left out) upwards")
    # A weight of one changes nothing, so it must not make another run of it.
    other = {digest: float(weight) for digest, weight in sorted((weights or {}).items()) if weight != 1}
    heard = {
        digest: tuple(a if isinstance(a, Augmentation) else Augmentation(**a) for a in chosen)
        for digest, chosen in sorted((augment or {}).items())
    }
    otherwise = {digest: chosen for digest, chosen in heard.items() if chosen != recipe.augment}
    return Changes(other, None if pairing is None else substitutes(store, pairing), otherwise)


def _mask(corpus: Corpus, digest: str) -> npt.NDArray[np.bool_]:
    mask = corpus.mask(members(corpus.store, digest))
    if not mask.any():
        raise EarmarkError(
            f"no member of set {digest[:12]} is in training set {corpus.set_digest[:12]} — give a slice of that set"
        )
    return mask

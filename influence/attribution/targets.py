"""What an influence is an influence on: the loss of slices of an evaluation set, and its gradient.

A target is the loss of one slice in nats per reference word, Σ nll / Σ words over its utterances, which is how `evaluate`
reports loss. Slices overlap (an accent, a noise, all of it); utterances with the same memberships are therefore
back-propagated together and their gradient added to each of their slices, so that K slices cost one pass over the set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from influence.attribution.hooks import Gradient
from influence.attribution.trajectory import losses, parameters_of
from lineage.errors import EarmarkError
from lineage.selection.sets import members
from lineage.store import Store
from training.data.corpus import Corpus, open_corpus
from training.families import Family
from training.normalise import normaliser


@dataclass(frozen=True, eq=False)
class Targets:
    """K slices of one evaluation set: names, set digests, membership [K, utterances] and reference words [K]."""

    names: tuple[str, ...]
    digests: tuple[str, ...]
    corpus: Corpus
    masks: npt.NDArray[np.bool_]
    words: npt.NDArray[np.float64]

    def losses(self, model: torch.nn.Module, batch_size: int) -> npt.NDArray[np.float64]:
        """Each target's loss at the model's present weights, [K], nats per reference word."""
        nll = np.zeros(len(self.corpus))
        asked = np.flatnonzero(self.masks.any(axis=0))
        with torch.no_grad():
            for start in range(0, len(asked), batch_size):
                rows = asked[start : start + batch_size]
                nll[rows] = losses(model, self.corpus, rows)[0].double().cpu().numpy()
        return np.asarray(self.masks @ nll / self.words)

    def gradients(self, model: torch.nn.Module, batch_size: int) -> Gradient:
        """Gradient of each target's loss at the model's present weights, [K, *shape] by parameter."""
        own = parameters_of(model)
        found = {n: torch.zeros(len(self.names), *p.shape, dtype=p.dtype, device=p.device) for n, p in own.items()}
        patterns, which = np.unique(self.masks, axis=1, return_inverse=True)
        for i in range(patterns.shape[1]):
            slices = np.flatnonzero(patterns[:, i])
            if len(slices):
                gradient = self._sum(model, np.flatnonzero(which.ravel() == i), batch_size)
                for name, value in zip(own, gradient, strict=True):
                    found[name][slices] += value
        per_word = torch.from_numpy(1 / self.words)
        return {n: g * per_word.to(g).view(-1, *[1] * (g.ndim - 1)) for n, g in found.items()}

    def _sum(self, model: torch.nn.Module, rows: npt.NDArray[np.int64], batch_size: int) -> list[torch.Tensor]:
        """Gradient of the summed loss of utterances."""
        own = list(parameters_of(model).values())
        total = [torch.zeros_like(p) for p in own]
        for start in range(0, len(rows), batch_size):
            nll, _ = losses(model, self.corpus, rows[start : start + batch_size])
            for held, part in zip(total, torch.autograd.grad(nll.sum(), own, allow_unused=True), strict=True):
                if part is not None:
                    held += part
        return total


def open_targets(
    store: Store, family: Family, transcripts: str, evaluation: str, slices: Mapping[str, str], normalise: str
) -> Targets:
    """The targets `slices` (set digests by name), all cut out of the set `evaluation` (digest).

    Raises:
        EarmarkError: a slice has no utterance whose transcript the model can spell.
    """
    corpus = open_corpus(store, evaluation, family, transcripts=transcripts)
    text = normaliser(normalise)
    counted = np.array([len(text(t).split()) for t in corpus.spoken], dtype=np.float64)
    spelt = corpus.encodable()
    masks = np.array([corpus.mask(members(store, digest)) & spelt for digest in slices.values()])
    words = masks @ counted
    for name, amount in zip(slices, words, strict=True):
        if not amount:
            raise EarmarkError(f"slice '{name}' has no words that the model can spell — choose another target")
    return Targets(tuple(slices), tuple(slices.values()), corpus, masks, words)

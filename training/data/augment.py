"""Augmentation on the fly: recorded transforms applied to the waveform of an utterance each time it comes.

    augment:
      - {transform: noise, others: street, probability: 0.5, parameters: {snr_db: [0, 20]}}
      - {transform: codec, probability: 0.3, parameters: {codec: [mp3, opus, gsm], compression: [0.5, 1]}}

They are the transforms that `earmark transform` applies off-line, in the order of the recipe, each with the probability given;
ranges, choices and noises are drawn anew at every exposure. No sample comes of it: everything is drawn from the seed of the
exposure, which is on record, so any of these waveforms can be rebuilt (`training.data.playback`).

Laws: what is heard depends on the sample, the seed and the transforms alone, not on batch, order, process or what was heard
before; like derived samples, it lies on the grid of 16-bit PCM after every transform.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lineage.derivation import transforms
from lineage.derivation.chance import Draw, settle
from lineage.derivation.transforms import Parent
from lineage.errors import EarmarkError
from lineage.selection.sets import members, resolve_set
from lineage.sound.audio import Waveform, check_sound, quantise
from lineage.store import Store

SOUND_BYTES = 256 << 20  # decoded sound kept in memory


class Augmentation(BaseModel):
    """One transform of a recipe's `augment`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    transform: str = Field(min_length=1, description="A transform; `earmark transform` lists them.")
    probability: float = Field(1.0, gt=0, le=1, description="In how many of the exposures it is applied.")
    parameters: dict[str, Any] = Field({}, description="Its parameters: values, or ranges [low, high] to draw from.")
    others: str | None = Field(None, description="Set that a mixing transform draws from: name or digest.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        try:
            kind = transforms.find(self.transform)
            checked = kind.check(self.parameters)
        except EarmarkError as error:
            raise ValueError(str(error)) from None
        if kind.joins or kind.cuts:
            raise ValueError(f"{kind.name} changes what is said; apply it off-line (earmark transform)")
        if kind.mixes and self.others is None:
            raise ValueError(f"{kind.name} mixes in other samples; name the set to draw them from, e.g. others: noises")
        if not kind.mixes and self.others is not None:
            raise ValueError(f"{kind.name} draws from no set; drop others")
        self.parameters.update(checked)  # with defaults and proper types, so that the digest is that of what is meant
        return self

    @property
    def row(self) -> dict[str, Any]:
        """As a row of `transforms`."""
        return transforms.row(self.transform, self.parameters)

    @property
    def slowest(self) -> float:
        """By how much a clip can become longer."""
        return 1 / self._factors[0]

    @property
    def quickest(self) -> float:
        """By how much a clip can become shorter."""
        return max(1.0, self._factors[1])

    @property
    def _factors(self) -> tuple[float, float]:
        """The least and the greatest factor of speed."""
        if not transforms.find(self.transform).stretches:
            return 1.0, 1.0
        factor = self.parameters["factor"]
        low, high = factor if isinstance(factor, list) else (factor, factor)
        return float(low), float(high)


@dataclass(frozen=True)
class Applied:
    """A transform as it is applied in one exposure: parameters as drawn, and the sample that is mixed in, if one is."""

    transform: str
    parameters: dict[str, Any]
    other: uuid.UUID | None
    draw: Draw = field(repr=False, compare=False)


def pinned(store: Store, augment: Sequence[Augmentation]) -> list[dict[str, Any]]:
    """The augmentations as a run notes them: sets by digest, and the `transform_id` that covers code and packages.

    Raises:
        UnknownName: there is no such set.
    """
    return [
        {
            **a.model_dump(mode="json"),
            "others": None if a.others is None else resolve_set(store, a.others).digest,
            "transform_id": a.row["transform_id"],
        }
        for a in augment
    ]


def noted_for(store: Store, config: Mapping[str, Any], sample: uuid.UUID) -> list[dict[str, Any]]:
    """What a run's `config` notes of how a sample of its set was augmented: like all, or in a way of its own."""
    for digest, own in config.get("augment_for", {}).items():
        if sample in set(members(store, digest).to_pylist()):
            return list(own)
    return list(config.get("augment") or ())


def recorded(noted: Iterable[Mapping[str, Any]]) -> tuple[Augmentation, ...]:
    """The augmentations that a run notes, sets by digest."""
    return tuple(Augmentation(**{k: v for k, v in a.items() if k != "transform_id"}) for a in noted)


def changed(noted: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the augmentations that a run notes, the transforms whose code or packages are others by now."""
    return [
        a.transform
        for a, was in zip(recorded(noted), noted, strict=True)
        if a.row["transform_id"] != was["transform_id"]
    ]


class Augmenter:
    """Applies augmentations to the samples of one store."""

    def __init__(self, store: Store, augment: Sequence[Augmentation]) -> None:
        self._store = store
        self._augment = tuple(augment)
        self._pools: list[list[uuid.UUID]] = [
            [] if a.others is None else members(store, resolve_set(store, a.others).digest).to_pylist()
            for a in self._augment
        ]
        self._sounds: OrderedDict[uuid.UUID, Waveform] = OrderedDict()
        self._bytes = 0

    def drawn(self, sample: uuid.UUID, seed: int) -> list[Applied]:
        """What is done to a sample in the exposure of that seed, in order; often nothing."""
        if not self._augment:
            return []
        whole = Draw(seed, (sample,))
        out = []
        for number, (a, pool) in enumerate(zip(self._augment, self._pools, strict=True)):
            draw = whole.fork(f"augment {number}".encode())
            if draw.unit(b"whether") < a.probability:
                other = draw.choose(pool) if pool else None
                out.append(Applied(a.transform, settle(a.parameters, draw), other, draw))
        return out

    def hear(self, sample: uuid.UUID, applied: Sequence[Applied]) -> Waveform:
        """The sample's sound after what was drawn for it; its own, as it is, after nothing.

        Raises:
            EarmarkError: a transform cannot be applied to this sample, or leaves nothing to be heard.
        """
        wave = self._sound(sample)
        for step in applied:
            parents = [Parent(sample, wave, {})]
            if step.other is not None:
                parents.append(Parent(step.other, self._sound(step.other), {}))
            try:
                wave = quantise(transforms.find(step.transform).make(parents, step.draw, **step.parameters).wave)
                check_sound(wave, "what is left")
            except EarmarkError as error:
                raise EarmarkError(f"augmenting sample {sample} with {step.transform}: {error}") from error
        return wave

    def prepare(self, samples: Iterable[uuid.UUID]) -> None:
        """Read the sound of these samples at once, which is faster than one by one; the least recently used go."""
        wanted = dict.fromkeys(samples)
        missing = [s for s in wanted if s not in self._sounds]
        for sample in wanted:
            if sample in self._sounds:
                self._sounds.move_to_end(sample)
        for sample, wave in self._store.vault.waveforms(missing) if missing else ():
            self._sounds[sample] = wave
            self._bytes += wave.pcm.nbytes
        while self._bytes > SOUND_BYTES and len(self._sounds) > len(wanted):
            _, gone = self._sounds.popitem(last=False)
            self._bytes -= gone.pcm.nbytes

    def _sound(self, sample: uuid.UUID) -> Waveform:
        if sample not in self._sounds:
            self.prepare([sample])
        return self._sounds[sample]

"""Model families behind one small contract.

A `Family` is one loaded base without its weights: the feature extractor, the tokeniser, and what is peculiar to the way
such models are trained and decoded. Everything else (recipes, loops, caches, evaluation, attribution) is the same for all.

Adding a family means adding a file with a subclass and one line in `_REGISTRY`.

Laws that callers rely on and tests ask for:
- losses and decodings of an utterance do not depend on its batch, beyond rounding;
- `features` is a pure function of the waveform and of what `feature_config` says;
- `collate` never looks at the model, so batches may be made ahead or elsewhere.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from lineage.errors import EarmarkError, UnknownName
from lineage.identity import digest_of
from lineage.sound.audio import Waveform
from training.families.base import Base, find_base

Features = npt.NDArray[np.float32]
Batch = dict[str, torch.Tensor]

_REGISTRY = {
    "ctc": "training.families.ctc:Ctc",
    "whisper": "training.families.whisper:Whisper",
    "voxtral": "training.families.voxtral:Voxtral",
}

NAMES = tuple(_REGISTRY)


@dataclass(frozen=True)
class Decoded:
    """What a model heard.

    `confidence` is the geometric mean probability of the decoded tokens, 0 to 1; `words` the same of each word's own tokens,
    in the order of `text.split()`.
    """

    text: str
    confidence: float
    words: tuple[float, ...]


def word_confidences(text: Callable[[list[int]], str], tokens: list[int], scores: Sequence[float]) -> tuple[float, ...]:
    """Geometric mean probability of each word's tokens.

    `text` spells tokens, `scores` are their log probabilities. A token belongs to the word that the text ends with once it
    is added, so it matters not how a tokeniser marks the beginning of words.
    """
    words: list[list[float]] = [[] for _ in text(tokens).split()]
    for count, score in enumerate(scores[: len(tokens)], start=1):
        place = len(text(tokens[:count]).split()) - 1
        if words:
            words[min(max(place, 0), len(words) - 1)].append(score)
    return tuple(math.exp(sum(w) / len(w)) if w else 1.0 for w in words)


class TranscriptRefused(EarmarkError):
    """A transcript that this base cannot be trained on; `words` are the ones it does not know, if that is why."""

    def __init__(self, problem: str, mend: str, words: tuple[str, ...] = ()) -> None:
        super().__init__(f"{problem} — {mend}")
        self.problem = problem
        self.mend = mend
        self.words = words


class Family(ABC):
    """One base, opened.

    `language` and `task` are those of a recipe, None where the base has no such tokens; a language of `per-sample` means
    that each sample brings its own.
    """

    name: ClassVar[str]

    def __init__(self, base: Base, language: str | None, task: str | None) -> None:
        self.base = base
        self.language = language
        self.task = task

    @property
    @abstractmethod
    def feature_config(self) -> dict[str, Any]:
        """Everything on which `features` depends besides the sound, as JSON: the key of the feature cache."""

    @property
    @abstractmethod
    def max_seconds(self) -> float | None:
        """Longest clip that fits the model, in seconds; None if there is no limit."""

    @property
    def spectral(self) -> bool:
        """Whether features are a spectrogram [frames, bands], rather than the waveform itself."""
        return True

    @abstractmethod
    def features(self, waveform: Waveform) -> Features:
        """Features of a clip of any rate and channel count, float32 [frames, dimensions].

        Raises:
            EarmarkError: the clip is longer than the model takes.
        """

    @abstractmethod
    def encode(self, transcript: str) -> list[int]:
        """Token ids of a transcript, without special tokens.

        Raises:
            TranscriptRefused: a word is not in a closed vocabulary, or it is longer than the model takes.
        """

    def check(self, transcript: str, frames: int) -> None:
        """Whether a transcript can be trained on with a clip of so many frames of features; `collate` asks the same.

        Raises:
            TranscriptRefused: as `encode`, or the clip is too short for it.
        """
        self.encode(transcript)

    @abstractmethod
    def collate(
        self,
        features: Sequence[Features],
        transcripts: Sequence[str],
        languages: Sequence[str | None] | None = None,
    ) -> Batch:
        """A batch of B utterances as CPU tensors; `tokens` [B] counts the tokens that `losses` sums over.

        `languages` [B] are those of the samples; None, as a whole or for a sample, means the recipe's.

        Raises:
            TranscriptRefused: as `check`.
            EarmarkError: a language that `speaks` denies.
        """

    @abstractmethod
    def model(
        self, folder: Path | None = None, *, dropout: float | None = None, attention: str = "eager"
    ) -> torch.nn.Module:
        """A fresh model with the base's weights, or those that `save` wrote into `folder`.

        It is float32, on the CPU, in evaluation mode. `dropout` is None for the base's own.
        """

    def encoded(self, model: torch.nn.Module, batch: Batch) -> Batch:
        """The batch with what `losses` and `decode` both need computed once, where a family can share it; no gradients."""
        return batch

    @abstractmethod
    def losses(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Per utterance: negative log-likelihood of its transcript in nats, summed over tokens [B], and tokens [B].

        Differentiable in the model's parameters. Dropout is as the model's mode says.
        """

    @abstractmethod
    def decode(self, model: torch.nn.Module, batch: Batch, *, temperature: float = 1.0) -> list[Decoded]:
        """The most likely words of each utterance, greedily. The model has to be in evaluation mode.

        Logits are divided by `temperature` for the confidences; it changes no word.
        """

    @abstractmethod
    def adaptable(self, model: torch.nn.Module) -> list[str]:
        """Full names of the linear modules that LoRA may adapt and attribution may hook."""

    @abstractmethod
    def save(self, model: torch.nn.Module, folder: Path) -> None:
        """Write model, tokeniser and feature extractor in the format of `transformers`; `folder` is then a base."""

    def speaks(self, language: str) -> bool:
        """Whether a sample may be said to be in `language` (code, English name, or tag with a region)."""
        return False

    def languages_of(self, transcripts: Sequence[str], languages: Sequence[str | None] | None) -> list[str | None]:
        """The language of each utterance, as `collate` is told."""
        return [language or self.language for language in languages or [None] * len(transcripts)]

    @property
    def feature_digest(self) -> str:
        """Digest of `feature_config`."""
        return digest_of(self.feature_config)


def open_family(name: str, base: str | Base, *, language: str | None = None, task: str | None = None) -> Family:
    """The family `name` opened on a base; opened once a process.

    Raises:
        EarmarkError: no such family or base, the base is of another family, or language and task do not fit it.
    """
    if name not in _REGISTRY:
        raise UnknownName("model family", name, _REGISTRY)
    return _open(name, find_base(base) if isinstance(base, str) else base, language, task)


@lru_cache(maxsize=8)
def _open(name: str, base: Base, language: str | None, task: str | None) -> Family:
    module, _, attribute = _REGISTRY[name].partition(":")
    family: type[Family] = getattr(importlib.import_module(module), attribute)
    return family(base, language, task)


def device_of(model: torch.nn.Module) -> torch.device:
    """Where a model's parameters are."""
    return next(model.parameters()).device

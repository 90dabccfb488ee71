"""CTC: wav2vec 2.0, HuBERT, WavLM and Wav2Vec2-BERT with a layer of labels on top, through `transformers`.

(Baevski et al., arXiv 2006.11477; Hsu et al., arXiv 2106.07447; Chen et al., arXiv 2110.13900; Barrault et al.,
arXiv 2312.05187; Graves et al., ICML 2006.) Labels are what the base's tokeniser says: characters, pieces of words, whole
words. A base without the layer of labels is no recogniser yet and is refused.

The first three hear the waveform itself, so their features are the samples, [samples, 1], normalised as the base was taught;
the last hears stacked log-mel frames. All give every frame a distribution over labels and one label that says nothing, the
blank; the loss is that of `training.families.ctc_loss`, over the labels of the transcript alone, for there is no end token.

Padding must not change what is heard, and the masks of `transformers` do not see to that everywhere;
`training.families.padding` does the rest.

As in those papers, the convolutions over the waveform are not trained. LayerDrop and the configuration's own SpecAugment are
off: what is at random in training is the recipe's to say.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCTC

from lineage.errors import EarmarkError
from lineage.machine.environment import package_versions
from lineage.sound import waveforms
from lineage.sound.audio import Waveform
from training.families import Batch, Decoded, Family, Features, TranscriptRefused, device_of, word_confidences
from training.families.base import Base
from training.families.ctc_loss import ctc, frames_needed
from training.families.padding import MaskedGroupNorm, silence_padding
from training.families.pretrained import linear_layers, quiet, read, weights

VERSION = 1  # of the arithmetic below; a new one recomputes all features
WAVEFORM = ("wav2vec2", "hubert", "wavlm")
STACKED = "wav2vec2-bert"
WINDOW, HOP = 400, 160  # samples of a log-mel frame
SILENCED = {"layerdrop": 0.0, "apply_spec_augment": False}
DROPOUTS = (
    "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout", "conformer_conv_dropout",
)  # fmt: skip
LOGITS = "logits"  # in a batch that was encoded
UNUSED = "masked_spec_embed"  # SpecAugment's filling
ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj", "linear_q", "linear_k", "linear_v", "linear_out")
FEED_FORWARD = ("intermediate_dense", "output_dense")


class Ctc(Family):
    """See the head of this file."""

    name = "ctc"

    def __init__(self, base: Base, language: str | None, task: str | None) -> None:
        super().__init__(base, language, task)
        self.config, self.extractor, self.tokenizer = read(base, *WAVEFORM, STACKED)
        if language is not None or task is not None:
            raise EarmarkError(f"base {base.ref} is a CTC model, which has no language or task tokens — drop them")
        if getattr(self.config, "conv_pos_batch_norm", False):
            raise EarmarkError(
                f"base {base.ref} normalises over its batch (conv_pos_batch_norm), so utterances depend on their neighbours "
                "— take a base without"
            )
        self._stacked: bool = self.config.model_type == STACKED
        if self._stacked and self._bands != self.config.feature_projection_input_dim:
            raise EarmarkError(
                f"base {base.ref}: {self._bands} stacked mel bands from the extractor, "
                f"{self.config.feature_projection_input_dim} in the model — correct preprocessor_config.json"
            )
        self._input = "input_features" if self._stacked else "input_values"
        self._grouped = getattr(self.config, "feat_extract_norm", None) == "group"
        self._shortened = getattr(self.config, "add_adapter", False)
        self.blank = int(self.config.pad_token_id)
        if self._spell([self.blank]):
            raise EarmarkError(
                f"base {base.ref}: its tokeniser writes the blank (token {self.blank}) as {self._spell([self.blank])!r} — "
                "set pad_token_id in config.json to the tokeniser's padding token"
            )
        self._encode = functools.lru_cache(maxsize=1 << 16)(self._encode_anew)

    # -- features ----------------------------------------------------------------------------------------------------

    @property
    def feature_config(self) -> dict[str, Any]:
        """See `Family`."""
        return {
            "family": self.name,
            "version": VERSION,
            "extractor": self.extractor.to_dict(),
            "packages": package_versions("numpy", "soxr", "transformers"),
        }

    @property
    def max_seconds(self) -> None:
        """See `Family`: these models take clips of any length."""
        return None

    @property
    def spectral(self) -> bool:
        """See `Family`."""
        return self._stacked

    @property
    def _bands(self) -> int:
        return int(self.extractor.num_mel_bins * self.extractor.stride)

    def features(self, waveform: Waveform) -> Features:
        """See `Family`: the normalised waveform [samples, 1], or stacked log-mel frames.

        Raises:
            EarmarkError: the clip is too short for one frame of output.
        """
        rate = self.extractor.sampling_rate
        pcm = waveforms.mono(waveforms.resample(waveform, rate)).pcm[:, 0]
        if len(pcm) < self._least:
            raise EarmarkError(
                f"the clip lasts {len(pcm) / rate:.3f} s but base {self.base.ref} needs {self._least / rate:.3f} s — "
                "leave it out"
            )
        out = self.extractor(pcm, sampling_rate=rate, return_tensors="np")
        found = np.asarray(out[self._input][0], dtype=np.float32)
        if not self._stacked:
            return found[:, None]
        return np.ascontiguousarray(found[out["attention_mask"][0] == 1])  # the last frames may not fill a stack

    @functools.cached_property
    def _least(self) -> int:
        """Samples without which there is no frame of output."""
        if self._stacked:
            return int(WINDOW + HOP * (max(2, self.extractor.stride) - 1))
        return next(n for n in range(1, 1 << 20) if self._frames(n) > 0)

    def _frames(self, length: Any) -> Any:
        """Frames of output for so many frames of features (int or tensor); none or fewer where it is too short."""
        length = self._heard(length)
        for _ in range(self.config.num_adapter_layers if self._shortened else 0):
            length = self._shorter(length)
        return length

    def _heard(self, length: Any, convolutions: int | None = None) -> Any:
        """Frames after the first so many (or all) convolutions over the waveform."""
        if not self._stacked:
            sizes = zip(self.config.conv_kernel, self.config.conv_stride, strict=True)
            for kernel, stride in islice(sizes, convolutions):
                length = (length - kernel) // stride + 1
        return length

    def _shorter(self, length: Any) -> Any:
        """Frames after one layer of an adapter."""
        c = self.config
        beyond = 2 * (c.adapter_kernel_size // 2) - c.adapter_kernel_size if self._stacked else -1
        return (length + beyond) // c.adapter_stride + 1

    # -- text --------------------------------------------------------------------------------------------------------

    def encode(self, transcript: str) -> list[int]:
        """See `Family`."""
        return list(self._encode(transcript))

    def check(self, transcript: str, frames: int) -> None:
        """See `Family`: every label needs a frame, and equal neighbours a blank between them."""
        needed, there = frames_needed(self.encode(transcript)), self._frames(frames)
        if needed > there:
            raise TranscriptRefused(
                f"a transcript that needs {needed} frames, but the clip has {there} in base {self.base.ref}",
                "see whether clip and transcript belong together, or leave it out",
            )

    def _encode_anew(self, transcript: str) -> tuple[int, ...]:
        words = transcript.split()
        tokens = self._tokens(" ".join(words))
        if not self._known(tokens):
            strange = tuple(dict.fromkeys(w for w in words if not self._known(self._tokens(w))))
            shown = ", ".join(repr(w) for w in strange[:5])
            raise TranscriptRefused(
                f"{shown} cannot be spelt with the labels of base {self.base.ref}",
                "correct the transcript, normalise it (transcripts: basic), or take a base with other labels",
                strange,
            )
        return tuple(tokens)

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(self._case(text), add_special_tokens=False)["input_ids"])

    def _known(self, tokens: list[int]) -> bool:
        return all(t is not None and t not in self._special and t < self.config.vocab_size for t in tokens)

    @functools.cached_property
    def _special(self) -> set[int]:
        """Tokens that no transcript can spell."""
        return {*self.tokenizer.all_special_ids, self.blank} - {
            getattr(self.tokenizer, "word_delimiter_token_id", None)
        }

    def _case(self, text: str) -> str:
        """The text in the only case that the labels have, if they have one only."""
        return text.upper() if self._upper else text.lower() if self._lower else text

    @functools.cached_property
    def _letters(self) -> str:
        special = set(self.tokenizer.all_special_tokens)
        return "".join(token for token in self.tokenizer.get_vocab() if token not in special)

    @functools.cached_property
    def _upper(self) -> bool:
        return self._letters == self._letters.upper() != self._letters.lower()

    @functools.cached_property
    def _lower(self) -> bool:
        return self._letters == self._letters.lower() != self._letters.upper()

    def _text(self, labels: list[int]) -> str:
        """Labels as text. Blanks between them, because CTC tokenisers take equal neighbours for one."""
        return self._spell([token for label in labels for token in (label, self.blank)])

    def _spell(self, path: list[int]) -> str:
        """A path through the frames as text."""
        return str(self.tokenizer.decode(path, skip_special_tokens=False, clean_up_tokenization_spaces=False)).strip()

    # -- model -------------------------------------------------------------------------------------------------------

    def collate(
        self,
        features: Sequence[Features],
        transcripts: Sequence[str],
        languages: Sequence[str | None] | None = None,
    ) -> Batch:
        """See `Family`; labels make no difference between languages."""
        for transcript, clip in zip(transcripts, features, strict=True):
            self.check(transcript, len(clip))
        lengths = np.array([len(clip) for clip in features])
        inside = np.arange(lengths.max()) < lengths[:, None]
        padded = np.zeros((*inside.shape, features[0].shape[1]), dtype=np.float32)
        for row, clip in zip(padded, features, strict=True):
            row[: len(clip)] = clip
        tokens = [self._encode(t) for t in transcripts]
        labels = np.full((len(tokens), max(map(len, tokens))), self.blank, dtype=np.int64)
        for i, ids in enumerate(tokens):
            labels[i, : len(ids)] = ids
        return {
            self._input: torch.from_numpy(padded if self._stacked else padded[:, :, 0]),
            "attention_mask": torch.from_numpy(inside.astype(np.int64)),
            "frames": torch.tensor([self._frames(int(n)) for n in lengths]),
            "labels": torch.from_numpy(labels),
            "tokens": torch.tensor([len(ids) for ids in tokens]),
        }

    def model(
        self, folder: Path | None = None, *, dropout: float | None = None, attention: str = "eager"
    ) -> torch.nn.Module:
        """See `Family`; `dropout` is that of every kind.

        Raises:
            EarmarkError: the weights are damaged or incomplete, or there is no layer of labels.
        """
        changes: dict[str, Any] = {n: v for n, v in SILENCED.items() if hasattr(self.config, n)}
        if dropout is not None:
            changes |= {name: dropout for name in DROPOUTS if hasattr(self.config, name)}
        model = weights(AutoModelForCTC, folder or self.base.path, attention, unused=UNUSED, **changes)
        for name, parameter in model.named_parameters():
            if name.endswith(UNUSED):
                parameter.requires_grad_(False)
        if not self._stacked:
            model.freeze_feature_encoder()
            inner = getattr(model, model.base_model_prefix)
            inner.feature_projection.dropout = _Apart(inner.feature_projection.dropout.p)
            if self._grouped:
                first = inner.feature_extractor.conv_layers[0]
                first.layer_norm = MaskedGroupNorm.like(first.layer_norm)
        if self._shortened:
            for layer in _adapter(model):
                for convolution in _convolutions(layer):
                    silence_padding(convolution)
        ready: torch.nn.Module = model.eval()
        return ready

    @torch.no_grad()
    def encoded(self, model: torch.nn.Module, batch: Batch) -> Batch:
        """See `Family`: all of it is shared but the loss itself."""
        return {**batch, LOGITS: self._logits(model, batch)}

    def losses(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Family`."""
        logits, tokens = self._logits(model, batch), batch["tokens"]
        return ctc(logits, batch["frames"], batch["labels"], tokens, self.blank), tokens

    def _logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """[B, frames, labels], in single precision at least."""
        if LOGITS in batch:
            return batch[LOGITS]
        self._tell_ends(model, batch["attention_mask"])
        logits: torch.Tensor = model(**{self._input: batch[self._input]}, attention_mask=batch["attention_mask"]).logits
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _tell_ends(self, model: torch.nn.Module, mask: torch.Tensor) -> None:
        """Tell layers that look across the end of utterances where it is."""
        lengths = mask.sum(dim=1)
        if self._grouped:
            for module in model.modules():
                if isinstance(module, MaskedGroupNorm):
                    module.frames = self._heard(lengths, 1)
        if self._shortened:
            there = self._heard(lengths)
            for layer in _adapter(model):
                for convolution in _convolutions(layer):
                    convolution.frames = there
                there = self._shorter(there)

    @torch.no_grad()
    def decode(self, model: torch.nn.Module, batch: Batch, *, temperature: float = 1.0) -> list[Decoded]:
        """See `Family`: the best label of every frame, runs of one label taken for one, blanks left out.

        A label's probability is that of the frame in its run that is surest of it; where nothing is heard, the confidence
        is that of the blanks.
        """
        device = device_of(model)
        logits = self._logits(model, {name: tensor.to(device) for name, tensor in batch.items()})
        best = logits.argmax(dim=-1)
        sure = (logits / temperature).log_softmax(dim=-1).gather(2, best.unsqueeze(2))[:, :, 0].double().cpu().numpy()
        paths = best.cpu().numpy()
        return [self._decoded(p[:n], s[:n]) for p, s, n in zip(paths, sure, batch["frames"].tolist(), strict=True)]

    def _decoded(self, path: npt.NDArray[np.int64], sure: npt.NDArray[np.float64]) -> Decoded:
        """The best label of each frame and its log probability, as text."""
        labels, scores = [], []
        frames = zip(path.tolist(), sure.tolist(), strict=True)
        for label, run in groupby(frames, key=lambda frame: frame[0]):
            if label != self.blank:
                labels.append(label)
                scores.append(max(score for _, score in run))
        text = self._text(labels)
        confidence = math.exp(np.mean(scores) if scores else np.mean(sure))
        return Decoded(text, confidence, word_confidences(self._text, labels, scores))

    def adaptable(self, model: torch.nn.Module) -> list[str]:
        """See `Family`: the projections of attention and feed-forward layers.

        WavLM's attention takes its weights out of their layers, past whatever stands beside them, so there it is the
        feed-forward layers alone.
        """
        return linear_layers(model, FEED_FORWARD if self.config.model_type == "wavlm" else ATTENTION + FEED_FORWARD)

    def save(self, model: torch.nn.Module, folder: Path) -> None:
        """See `Family`."""
        for name in SILENCED:
            if hasattr(self.config, name):
                setattr(model.config, name, getattr(self.config, name))
        if not hasattr(self.config, "use_cache"):
            vars(model.config).pop("use_cache", None)  # Trainer turns it off where there is none
        with quiet():
            model.save_pretrained(folder)  # type: ignore[operator]
            self.tokenizer.save_pretrained(folder)
            self.extractor.save_pretrained(folder)


def _adapter(model: torch.nn.Module) -> Any:
    """The layers that shorten the output, in order."""
    return next(module for name, module in model.named_modules() if name.endswith("adapter.layers"))


def _convolutions(layer: torch.nn.Module) -> list[Any]:
    return [module for module in layer.children() if isinstance(module, torch.nn.Conv1d)]


class _Apart(torch.nn.Dropout):
    """Dropout that never hands on its very input: the encoder overwrites padded frames in place, and whoever watches the
    layer before (`influence.attribution.hooks`) needs its output as it was.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).clone()

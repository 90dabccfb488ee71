"""Whisper: encoder–decoder models of any size, through `transformers` (Radford et al., arXiv 2212.04356).

Features are the log-mel spectrogram of the base's own extractor. Whisper wants every clip padded to the encoder's length,
2 × `max_source_positions` frames; the padding is one column over and over, so it is cut off here and put back by
`collate`, which makes the cache small and is exact.

The decoder is prompted with what the base was taught: start, language, task and no-timestamps for multilingual bases, start
and no-timestamps for English ones, and only its start token for closed vocabularies of ours. The prompt is given, not
learnt: the loss is over the words and the end token.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer, GenerationConfig
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE
from transformers.utils import logging

from lineage import waveforms
from lineage.audio import Waveform
from lineage.environment import package_versions
from lineage.errors import EarmarkError, UnknownName
from training.base import Base
from training.families import Batch, Decoded, Family, Features, TranscriptRefused, device_of, word_confidences

VERSION = 1  # of the arithmetic below; a new one recomputes all features
IGNORED = -100
MULTILINGUAL_VOCABULARY = 51_865  # Whisper's own rule: vocabularies from this size on have language tokens in use
LINEAR = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class Whisper(Family):
    """See the head of this file."""

    name = "whisper"

    def __init__(self, base: Base, language: str | None, task: str | None) -> None:
        super().__init__(base, language, task)
        try:
            self.config = AutoConfig.from_pretrained(base.path)
            if self.config.model_type != "whisper":
                raise EarmarkError(
                    f"base {base.ref} is a {self.config.model_type} model — write that family in the recipe"
                )
            self.extractor = AutoFeatureExtractor.from_pretrained(base.path)
            self.tokenizer = AutoTokenizer.from_pretrained(base.path)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise EarmarkError(f"base {base.ref} cannot be read ({reason}) — give a complete checkpoint") from error
        self.generation = _generation(base.path, self.config)
        if self.extractor.dither:
            raise EarmarkError(f"base {base.ref} dithers its features, so they differ each time — set dither to 0")
        if self.extractor.feature_size != self.config.num_mel_bins:
            raise EarmarkError(
                f"base {base.ref}: {self.extractor.feature_size} mel bands from the extractor, {self.config.num_mel_bins} "
                "in the model — correct preprocessor_config.json"
            )
        self.frames = 2 * self.config.max_source_positions
        self.end = _first(self.config.eos_token_id)
        self.prompt = self._prompt()
        # Closed vocabularies map every strange word to one token; byte-level ones have no use for it.
        unknown = self.tokenizer.unk_token_id
        self._unknown = unknown if unknown is not None and unknown != self.end else None
        self._suppressed, self._suppressed_first = self._suppressions()
        self._encode = functools.lru_cache(maxsize=1 << 16)(self._encode_anew)

    # -- features ----------------------------------------------------------------------------------------------------

    @property
    def feature_config(self) -> dict[str, Any]:
        """See `Family`."""
        return {
            "family": self.name,
            "version": VERSION,
            "extractor": self.extractor.to_dict(),
            "frames": self.frames,
            "packages": package_versions("numpy", "soxr", "torch", "transformers"),
        }

    @property
    def max_seconds(self) -> float:
        """See `Family`."""
        return float(self.frames * self.extractor.hop_length / self.extractor.sampling_rate)

    def features(self, waveform: Waveform) -> Features:
        """See `Family`."""
        rate = self.extractor.sampling_rate
        pcm = waveforms.mono(waveforms.resample(waveform, rate)).pcm[:, 0]
        room = self.frames * self.extractor.hop_length
        if len(pcm) > room:
            raise EarmarkError(
                f"the clip lasts {len(pcm) / rate:.2f} s but base {self.base.ref} takes {self.max_seconds:.2f} s at most — "
                "cut it with the segment transform"
            )
        length = max(room, self.extractor.n_samples)
        out = self.extractor(pcm, sampling_rate=rate, max_length=length, return_tensors="np")
        columns = np.asarray(out["input_features"][0], dtype=np.float32)[:, : self.frames]
        return _without_padding(np.ascontiguousarray(columns.T))

    # -- text --------------------------------------------------------------------------------------------------------

    def encode(self, transcript: str) -> list[int]:
        """See `Family`."""
        return list(self._encode(transcript))

    def _encode_anew(self, transcript: str) -> tuple[int, ...]:
        # Whisper was taught texts that begin with a space, as every word inside a text does.
        text = transcript if self._closed else f" {transcript.strip()}"
        tokens = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if self._unknown is not None and self._unknown in tokens:
            words = tuple(dict.fromkeys(w for w in transcript.split() if self._is_unknown(w)))
            shown = ", ".join(repr(w) for w in words[:5])
            raise TranscriptRefused(
                f"{shown} not in the closed vocabulary of base {self.base.ref}",
                "correct the transcript, normalise it (transcripts: basic), or take a base with an open vocabulary",
                words,
            )
        longest = self.config.max_target_positions - len(self.prompt)
        if len(tokens) > longest:
            raise TranscriptRefused(
                f"a transcript of {len(tokens)} tokens, but the decoder of base {self.base.ref} takes {longest}",
                "cut the clip into shorter ones",
            )
        return tokens

    @property
    def _closed(self) -> bool:
        return self._id("<|notimestamps|>") is None

    def _is_unknown(self, word: str) -> bool:
        return self._unknown in self.tokenizer(word, add_special_tokens=False)["input_ids"]

    def _id(self, token: str) -> int | None:
        found = self.tokenizer.get_added_vocab().get(token)
        return None if found is None else int(found)

    def _prompt(self) -> list[int]:
        """The tokens that the decoder is started with."""
        start = int(self.config.decoder_start_token_id)
        if self._closed:
            self._refuse_language("has a closed vocabulary without language tokens")
            return [start]
        silent = self.tokenizer.convert_tokens_to_ids("<|notimestamps|>")
        multilingual = getattr(self.generation, "is_multilingual", None)
        if multilingual is None:
            multilingual = self.config.vocab_size >= MULTILINGUAL_VOCABULARY
        if not multilingual:
            self._refuse_language("is English only")
            return [start, silent]
        if self.language is None:
            raise EarmarkError(f"base {self.base.ref} is multilingual — say which language, e.g. language: en")
        code = TO_LANGUAGE_CODE.get(self.language.lower(), self.language.lower())
        language = self._id(f"<|{code}|>")
        if language is None:
            known = [c for c in TO_LANGUAGE_CODE.values() if self._id(f"<|{c}|>") is not None]
            raise UnknownName(f"language in base {self.base.ref}", self.language, known)
        task = self._id(f"<|{self.task or 'transcribe'}|>")
        return [start, language, *([task] if task is not None else []), silent]

    def _refuse_language(self, why: str) -> None:
        if self.language is not None or self.task is not None:
            raise EarmarkError(f"the recipe gives a language or task, but base {self.base.ref} {why} — drop them")

    # -- batches -----------------------------------------------------------------------------------------------------

    def collate(self, features: Sequence[Features], transcripts: Sequence[str]) -> Batch:
        """See `Family`: `input_features` [B, mels, frames], `decoder_input_ids` and `labels` [B, T], `tokens` [B]."""
        mels = np.empty((len(features), self.frames, self.config.num_mel_bins), dtype=np.float32)
        for row, clip in zip(mels, features, strict=True):
            row[: len(clip)] = clip
            row[len(clip) :] = clip[-1]
        tokens = [self._encode(t) for t in transcripts]
        width = max(map(len, tokens), default=0) + len(self.prompt)
        inputs = np.full((len(tokens), width), _first(self.config.pad_token_id, 0), dtype=np.int64)
        labels = np.full((len(tokens), width), IGNORED, dtype=np.int64)
        for i, ids in enumerate(tokens):
            end = len(self.prompt) + len(ids)
            inputs[i, :end] = [*self.prompt, *ids]
            labels[i, len(self.prompt) - 1 : end] = [*ids, self.end]
        return {
            "input_features": torch.from_numpy(mels).transpose(1, 2).contiguous(),
            "decoder_input_ids": torch.from_numpy(inputs),
            "labels": torch.from_numpy(labels),
            "tokens": torch.from_numpy((labels != IGNORED).sum(axis=1)),
        }

    # -- model -------------------------------------------------------------------------------------------------------

    def model(
        self, folder: Path | None = None, *, dropout: float | None = None, attention: str = "eager"
    ) -> torch.nn.Module:
        """See `Family`; `dropout` is that of residual branches and embeddings.

        Raises:
            EarmarkError: the weights are damaged or incomplete.
        """
        changes = {} if dropout is None else {"dropout": dropout}
        where = folder or self.base.path
        with quiet():
            try:
                model, report = AutoModelForSpeechSeq2Seq.from_pretrained(
                    where, attn_implementation=attention, dtype=torch.float32, output_loading_info=True, **changes
                )
            except (OSError, ValueError, RuntimeError, SafetensorError) as error:
                reason = str(error).strip().splitlines()[0]
                raise EarmarkError(f"the weights in {where} cannot be read ({reason}) — restore them") from error
        absent = sorted(report["missing_keys"])
        if absent:  # they would be drawn at random
            raise EarmarkError(
                f"{where} has no weights for {absent[0]} and {len(absent) - 1} more — give a whole checkpoint"
            )
        # Whisper's sinusoidal positions are constants; `from_pretrained` forgets that they take no gradient.
        model.model.encoder.embed_positions.requires_grad_(False)
        ready: torch.nn.Module = model.eval()
        return ready

    def losses(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Family`."""
        logits = model(
            input_features=batch["input_features"], decoder_input_ids=batch["decoder_input_ids"], use_cache=False
        ).logits.float()
        labels = batch["labels"]
        # One row a token: the two-dimensional form has no deterministic kernel on CUDA.
        flat = functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=IGNORED, reduction="none"
        )
        return flat.view(labels.shape).sum(dim=1), batch["tokens"]

    @torch.no_grad()
    def decode(self, model: torch.nn.Module, batch: Batch) -> list[Decoded]:
        """See `Family`: greedy, with cached keys and values; stops where all utterances have ended."""
        device = device_of(model)
        heard = model.get_encoder()(batch["input_features"].to(device)).last_hidden_state  # type: ignore[operator]
        count = len(heard)
        step = torch.tensor([self.prompt], device=device).expand(count, -1)
        ended = torch.zeros(count, dtype=torch.bool, device=device)
        score = torch.zeros(count, dtype=torch.float64, device=device)
        length = torch.zeros(count, dtype=torch.int64, device=device)
        never = torch.tensor(self._suppressed, dtype=torch.int64, device=device)
        never_first = torch.tensor(self._suppressed_first, dtype=torch.int64, device=device)
        chosen: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        cache = None
        for position in range(self.config.max_target_positions - len(self.prompt) + 1):
            out = model(encoder_outputs=(heard,), decoder_input_ids=step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits = out.logits[:, -1].float()
            logits[:, never] = -torch.inf
            if position == 0:
                logits[:, never_first] = -torch.inf
            best = logits.log_softmax(dim=-1).max(dim=-1)
            token = torch.where(ended, self.end, best.indices)
            score += torch.where(ended, 0.0, best.values.double())
            length += ~ended
            chosen.append(token)
            scores.append(best.values.double())
            ended |= token == self.end
            if bool(ended.all()):
                break
            step = token[:, None]
        confidence = torch.exp(score / length).tolist()
        ids, each = torch.stack(chosen, dim=1).tolist(), torch.stack(scores, dim=1).tolist()
        return [self._decoded(*row) for row in zip(ids, each, confidence, strict=True)]

    def _decoded(self, ids: list[int], scores: list[float], confidence: float) -> Decoded:
        """Token ids with their log probabilities as text; `confidence` counts the end token, too."""
        tokens = ids[: ids.index(self.end)] if self.end in ids else ids
        return Decoded(self._text(tokens), confidence, word_confidences(self._text, tokens, scores))

    def _text(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()

    def _suppressions(self) -> tuple[list[int], list[int]]:
        """Tokens that are never decoded, and those that are not decoded first."""
        size = self.config.vocab_size
        always = {t for t in self.generation.suppress_tokens or () if 0 <= t < size and t != self.end}
        silent = self._id("<|notimestamps|>")
        if silent is not None:
            always |= set(range(silent + 1, size))  # the time stamps, which the prompt forbids
        first = {t for t in self.generation.begin_suppress_tokens or () if 0 <= t < size}
        return sorted(always), sorted(first)

    def adaptable(self, model: torch.nn.Module) -> list[str]:
        """See `Family`: the projections of attention and feed-forward layers."""
        modules = model.named_modules()
        return [n for n, m in modules if isinstance(m, torch.nn.Linear) and n.rpartition(".")[2] in LINEAR]

    def save(self, model: torch.nn.Module, folder: Path) -> None:
        """See `Family`."""
        model.config.use_cache = self.config.use_cache  # type: ignore[union-attr]  # Trainer turns it off
        with quiet():
            model.save_pretrained(folder)  # type: ignore[operator]
            self.tokenizer.save_pretrained(folder)
            self.extractor.save_pretrained(folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of `transformers`, which belong to whoever called us."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _generation(path: Path, config: Any) -> Any:
    if (path / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(path)
    return GenerationConfig.from_model_config(config)


def _first(value: int | Sequence[int] | None, default: int | None = None) -> int:
    found = value[0] if isinstance(value, Sequence) else value
    if found is None:
        if default is None:
            raise EarmarkError("the base has no end token — set eos_token_id in its config.json")
        return default
    return int(found)


def _without_padding(frames: Features) -> Features:
    """Frames up to and including the first of those that repeat to the end."""
    different = np.flatnonzero((frames != frames[-1]).any(axis=1))
    return frames[: int(different[-1]) + 2] if len(different) else frames[:1]

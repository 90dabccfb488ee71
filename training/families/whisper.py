"""Whisper: encoder–decoder models of any size, through `transformers` (Radford et al., arXiv 2212.04356).

Features are the log-mel spectrogram of the base's own extractor, over the encoder's length of 2 × `max_source_positions`
frames (see `training.families.mels`).

The decoder is prompted with what the base was taught: start, language, task and no-timestamps for multilingual bases, start
and no-timestamps for English ones, and only its start token for closed vocabularies of ours. All prompts of a base are of
one length, so a batch may mix languages. The prompt is given, not learnt: the loss is over the words and the end token.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSpeechSeq2Seq, GenerationConfig

from lineage.errors import EarmarkError, UnknownName
from lineage.sound.audio import Waveform
from training.families import Batch, Decoded, Family, Features, TranscriptRefused, device_of, mels
from training.families.autoregressive import IGNORED, forced, greedy, nll
from training.families.base import Base
from training.families.languages import LANGUAGES, PER_SAMPLE, find_language
from training.families.pretrained import linear_layers, quiet, read, weights

VERSION = 1  # of the arithmetic below; a new one recomputes all features
MULTILINGUAL_VOCABULARY = 51_865  # Whisper's own rule: vocabularies from this size on have language tokens in use
LINEAR = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class Whisper(Family):
    """See the head of this file."""

    name = "whisper"

    def __init__(self, base: Base, language: str | None, task: str | None) -> None:
        super().__init__(base, language, task)
        self.config, self.extractor, self.tokenizer = read(base, self.name)
        self.generation = _generation(base.path, self.config)
        mels.check(base, self.extractor, self.config.num_mel_bins)
        self.frames = 2 * self.config.max_source_positions
        self.end = _first(self.config.eos_token_id)
        self._added: dict[str, int] = self.tokenizer.get_added_vocab()
        self.multilingual = self._is_multilingual()
        self._instructions = self._after_language()
        self.prompt_length = 1 + self.multilingual + len(self._instructions)
        if language != PER_SAMPLE:
            self.prompt(language)
        # Closed vocabularies map every strange word to one token; byte-level ones have no use for it.
        unknown = self.tokenizer.unk_token_id
        self._unknown = unknown if unknown is not None and unknown != self.end else None
        self._suppressed, self._suppressed_first = self._suppressions()
        self._encode = functools.lru_cache(maxsize=1 << 16)(self._encode_anew)

    # -- features ----------------------------------------------------------------------------------------------------

    @property
    def feature_config(self) -> dict[str, Any]:
        """See `Family`."""
        return mels.settings(self.name, VERSION, self.extractor, self.frames)

    @property
    def max_seconds(self) -> float:
        """See `Family`."""
        return float(self.frames * self.extractor.hop_length / self.extractor.sampling_rate)

    def features(self, waveform: Waveform) -> Features:
        """See `Family`."""
        pcm = mels.heard(self.base, self.extractor, waveform, self.max_seconds)
        length = max(self.frames * self.extractor.hop_length, self.extractor.n_samples)
        return mels.without_padding(mels.columns(self.extractor, pcm, length)[: self.frames])

    # -- text --------------------------------------------------------------------------------------------------------

    def encode(self, transcript: str) -> list[int]:
        """See `Family`."""
        return list(self._encode(transcript))

    def _encode_anew(self, transcript: str) -> tuple[int, ...]:
        # Whisper was taught texts that begin with a space, as every word inside a text does.
        text = transcript if self._closed else f" {transcript.strip()}"
        # A transcript that spells a special token is a text all the same.
        tokens = tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        if self._unknown is not None and self._unknown in tokens:
            words = tuple(dict.fromkeys(w for w in transcript.split() if self._is_unknown(w)))
            shown = ", ".join(repr(w) for w in words[:5])
            raise TranscriptRefused(
                f"{shown} not in the closed vocabulary of base {self.base.ref}",
                "correct the transcript, normalise it (transcripts: basic), or take a base with an open vocabulary",
                words,
            )
        longest = self.config.max_target_positions - self.prompt_length
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
        return self._added.get(token)

    def _is_multilingual(self) -> bool:
        """Whether prompts name the language; a recipe that gives one to a base without is refused."""
        if self._closed:
            without = "has a closed vocabulary without language tokens"
        else:
            multilingual = getattr(self.generation, "is_multilingual", None)
            if multilingual if multilingual is not None else self.config.vocab_size >= MULTILINGUAL_VOCABULARY:
                return True
            without = "is English only"
        if self.language is not None or self.task is not None:
            raise EarmarkError(f"the recipe gives a language or task, but base {self.base.ref} {without} — drop them")
        return False

    def _after_language(self) -> list[int]:
        """What prompts say after the language: the task, where there are languages, and that no time stamps are wanted."""
        said = [f"<|{self.task or 'transcribe'}|>"] if self.multilingual else []
        return [i for i in map(self._id, [*said, "<|notimestamps|>"]) if i is not None]

    def prompt(self, language: str | None) -> list[int]:
        """The tokens that the decoder is started with.

        Raises:
            EarmarkError: the base is multilingual and the language is not one of its own.
        """
        start = int(self.config.decoder_start_token_id)
        if not self.multilingual:
            return [start, *self._instructions]
        if language is None:
            raise EarmarkError(f"base {self.base.ref} is multilingual — say which language, e.g. language: en")
        token = self._language(language)
        if token is None:
            known = [row.code for row in LANGUAGES.values() if self.speaks(row.code)]
            raise UnknownName(f"language in base {self.base.ref}", language, known)
        return [start, token, *self._instructions]

    def speaks(self, language: str) -> bool:
        """See `Family`."""
        return self.multilingual and self._language(language) is not None

    def _language(self, language: str) -> int | None:
        row = find_language(language)
        return self._id(row.whisper) if row is not None and row.whisper is not None else None

    # -- batches -----------------------------------------------------------------------------------------------------

    def collate(
        self,
        features: Sequence[Features],
        transcripts: Sequence[str],
        languages: Sequence[str | None] | None = None,
    ) -> Batch:
        """See `Family`: `input_features` [B, mels, frames], `decoder_input_ids` and `labels` [B, T], `tokens` [B]."""
        tokens = [self._encode(t) for t in transcripts]
        prompts = [self.prompt(language) for language in self.languages_of(transcripts, languages)]
        inputs, labels = forced(prompts, tokens, pad=_first(self.config.pad_token_id, 0), end=self.end)
        columns = torch.from_numpy(mels.padded(features, self.frames))
        return {
            "input_features": columns.transpose(1, 2).contiguous(),
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
        changes: dict[str, Any] = {} if dropout is None else {"dropout": dropout}
        model = weights(AutoModelForSpeechSeq2Seq, folder or self.base.path, attention, **changes)
        # Whisper's sinusoidal positions are constants; `from_pretrained` forgets that they take no gradient.
        model.model.encoder.embed_positions.requires_grad_(False)
        ready: torch.nn.Module = model.eval()
        return ready

    @torch.no_grad()
    def encoded(self, model: torch.nn.Module, batch: Batch) -> Batch:
        """See `Family`: with `heard`, what the encoder makes of the features."""
        sound = batch["input_features"].to(device_of(model))
        return {**batch, "heard": model.get_encoder()(sound).last_hidden_state}  # type: ignore[operator]

    def losses(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Family`."""
        sound = (
            {"encoder_outputs": (batch["heard"],)} if "heard" in batch else {"input_features": batch["input_features"]}
        )
        out = model(**sound, decoder_input_ids=batch["decoder_input_ids"], use_cache=False)
        return nll(out.logits, batch["labels"]), batch["tokens"]

    @torch.no_grad()
    def decode(self, model: torch.nn.Module, batch: Batch, *, temperature: float = 1.0) -> list[Decoded]:
        """See `Family`: with cached keys and values."""
        device = device_of(model)
        heard = batch["heard"] if "heard" in batch else self.encoded(model, batch)["heard"]
        prompts = batch["decoder_input_ids"][:, : self.prompt_length].to(device)
        never = torch.tensor(self._suppressed, dtype=torch.int64, device=device)
        never_first = torch.tensor(self._suppressed_first, dtype=torch.int64, device=device)
        cache = None

        def advance(step: torch.Tensor | None) -> torch.Tensor:
            nonlocal cache
            given = prompts if step is None else step
            out = model(encoder_outputs=(heard,), decoder_input_ids=given, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits: torch.Tensor = out.logits[:, -1].float()
            logits[:, never] = -torch.inf
            if step is None:
                logits[:, never_first] = -torch.inf
            return logits

        room = torch.full((len(heard),), self.config.max_target_positions - self.prompt_length + 1, device=device)
        return greedy(advance, self._text, self.end, room, temperature)

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
        return linear_layers(model, LINEAR)

    def save(self, model: torch.nn.Module, folder: Path) -> None:
        """See `Family`."""
        model.config.use_cache = self.config.use_cache  # type: ignore[union-attr]  # Trainer turns it off
        with quiet():
            model.save_pretrained(folder)  # type: ignore[operator]
            self.tokenizer.save_pretrained(folder)
            self.extractor.save_pretrained(folder)


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

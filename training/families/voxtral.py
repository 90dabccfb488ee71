"""Voxtral: a language model that hears, through `transformers` (Mistral AI, arXiv 2507.13264).

An audio tower (Whisper's encoder) hears a clip in chunks of 30 s; a projector makes every four of its frames one vector of the
language model. These stand in the place of the [AUDIO] tokens of the transcription prompt,

    <s>[INST][BEGIN_AUDIO][AUDIO]…[/INST]lang:de[TRANSCRIBE]

after which the model writes the words and `</s>`. Without a language in the recipe the prompt names none, and the model has
to tell it by ear. The prompt is given, not learnt: the loss is over the words and the end token. It is made from the token
names in the base's own tokeniser (`tekken.json` as Mistral publishes it, or `tokenizer.json`), and is that of
`mistral-common` token by token.

A clip of several chunks is one spectrogram, normalised as a whole. A batch has as many chunks as its longest clip, and every
layer sees the samples as its first dimension, which is what per-sample gradients need (see `influence.attribution.hooks`).
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch.nn import functional
from transformers import VoxtralForConditionalGeneration

from lineage.errors import EarmarkError, UnknownName
from lineage.sound.audio import Waveform
from training.families import Batch, Decoded, Family, Features, TranscriptRefused, device_of, mels
from training.families.autoregressive import IGNORED, forced, greedy, nll
from training.families.base import Base
from training.families.languages import LANGUAGES, PER_SAMPLE, find_language
from training.families.pretrained import linear_layers, quiet, read, weights

VERSION = 1  # of the arithmetic of features; a new one recomputes them all
FRAMES_HEARD_AT_ONCE = 2  # mel frames that the tower's convolutions make one of
LONGEST_S = 1800.0  # what the released models were taught to transcribe
TEXT_PER_AUDIO = 2  # text tokens for each audio token, at most: 25 a second
VOCABULARY = "tekken.json"
LINEAR = (
    "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2", "linear_1", "linear_2", "o_proj", "gate_proj", "up_proj",
    "down_proj",
)  # fmt: skip


class Voxtral(Family):
    """See the head of this file."""

    name = "voxtral"

    def __init__(self, base: Base, language: str | None, task: str | None) -> None:
        super().__init__(base, language, task)
        # The same tokeniser whether or not `mistral-common` is installed, with the pattern that its own file gives.
        self.config, self.extractor, self.tokenizer = read(
            base, self.name, mistral_format=False, fix_mistral_regex=False
        )
        audio = self.config.audio_config
        mels.check(base, self.extractor, audio.num_mel_bins)
        self.frames = FRAMES_HEARD_AT_ONCE * audio.max_source_positions
        self.chunk_tokens = audio.max_source_positions * audio.hidden_size // audio.intermediate_size
        self.end, self.pad = self._id("</s>"), self._id("<pad>")
        self._before = [self._id(t) for t in ("<s>", "[INST]", "[BEGIN_AUDIO]")]
        self._audio = self._id("[AUDIO]")
        if self._audio != self.config.audio_token_id:
            raise EarmarkError(
                f"base {base.ref}: token [AUDIO] is {self._audio} in the tokeniser, {self.config.audio_token_id} in the "
                "model — correct audio_token_id in config.json"
            )
        self.prompt = functools.lru_cache(maxsize=None)(self._prompt)
        self._encode = functools.lru_cache(maxsize=1 << 16)(self._encode_anew)
        if task == "translate":
            raise EarmarkError(f"base {base.ref} has no prompt for translation — write task: transcribe, or drop it")
        if language != PER_SAMPLE:
            self.prompt(language, 1)
        # Positions of the language model that the longest prompt leaves to audio and text.
        spelt = max(len(self._spelt(row.voxtral)) for row in LANGUAGES.values() if row.voxtral)
        room = self.config.text_config.max_position_embeddings - len(self.prompt(None, 0)) - spelt
        taught = LONGEST_S * self.extractor.sampling_rate // self._chunk
        self.chunks = int(min(taught, room // (self.chunk_tokens * (1 + TEXT_PER_AUDIO))))
        if self.chunks < 1:
            raise EarmarkError(f"base {base.ref} has too few positions for one chunk of audio — give another base")
        self._longest = room - self.chunks * self.chunk_tokens

    def _id(self, token: str) -> int:
        found = self.tokenizer.convert_tokens_to_ids(token)
        if found is None or self.tokenizer.convert_ids_to_tokens(found) != token:
            raise EarmarkError(f"base {self.base.ref} has no token {token} — give a base with Voxtral's tokeniser")
        return int(found)

    # -- features ----------------------------------------------------------------------------------------------------

    @property
    def feature_config(self) -> dict[str, Any]:
        """See `Family`."""
        return mels.settings(self.name, VERSION, self.extractor, self.frames)

    @property
    def max_seconds(self) -> float:
        """See `Family`."""
        return self.chunks * self._chunk / float(self.extractor.sampling_rate)

    @property
    def _chunk(self) -> int:
        """Values of the waveform in one chunk."""
        return int(self.frames * self.extractor.hop_length)

    def features(self, waveform: Waveform) -> Features:
        """See `Family`."""
        pcm = mels.heard(self.base, self.extractor, waveform, self.max_seconds)
        chunks = max(1, -(-len(pcm) // self._chunk))
        columns = mels.columns(self.extractor, pcm, chunks * self._chunk)
        return mels.without_padding(columns, (chunks - 1) * self.frames + 1)  # a frame of the last, to count it by

    # -- text --------------------------------------------------------------------------------------------------------

    def encode(self, transcript: str) -> list[int]:
        """See `Family`."""
        return list(self._encode(transcript))

    def _encode_anew(self, transcript: str) -> tuple[int, ...]:
        tokens = self._spelt(transcript.strip())
        if len(tokens) > self._longest:
            raise TranscriptRefused(
                f"a transcript of {len(tokens)} tokens, but base {self.base.ref} has room for {self._longest}",
                "cut the clip into shorter ones",
            )
        return tuple(tokens)

    def _spelt(self, text: str) -> list[int]:
        """Tokens of a text; one that spells a special token is a text all the same."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return found

    def speaks(self, language: str) -> bool:
        """See `Family`."""
        row = find_language(language)
        return row is not None and row.voxtral is not None

    def _prompt(self, language: str | None, chunks: int) -> tuple[int, ...]:
        """The tokens that the language model is started with, for a clip of so many chunks.

        Raises:
            EarmarkError: no such language.
        """
        said: list[int] = []
        if language is not None:
            row = find_language(language)
            if row is None or row.voxtral is None:
                known = [r.code for r in LANGUAGES.values() if r.voxtral]
                raise UnknownName(f"language in base {self.base.ref}", language, known)
            said = self._spelt(row.voxtral)
        heard = [self._audio] * (chunks * self.chunk_tokens)
        return (*self._before, *heard, self._id("[/INST]"), *said, self._id("[TRANSCRIBE]"))

    # -- batches -----------------------------------------------------------------------------------------------------

    def collate(
        self,
        features: Sequence[Features],
        transcripts: Sequence[str],
        languages: Sequence[str | None] | None = None,
    ) -> Batch:
        """See `Family`.

        `input_features` [B, C, mels, frames] of C chunks, of which `chunks` [B] are an utterance's own; `input_ids` [B, T]
        prompt and transcript, the prompt's length in `prompts` [B]; `labels` [B, L] of the last L positions; `tokens` [B].
        """
        chunks = [-(-len(f) // self.frames) for f in features]
        most = max(chunks)
        spoken = self.languages_of(transcripts, languages)
        prompts = [self.prompt(language, count) for language, count in zip(spoken, chunks, strict=True)]
        tokens = [self._encode(t) for t in transcripts]
        inputs, labels = forced(prompts, tokens, pad=self.pad, end=self.end)
        first = min(map(len, prompts)) - 1
        columns = torch.from_numpy(mels.padded(features, most * self.frames))
        return {
            "input_features": columns.view(len(tokens), most, self.frames, -1).transpose(2, 3).contiguous(),
            "chunks": torch.tensor(chunks),
            "input_ids": torch.from_numpy(inputs),
            "prompts": torch.tensor([len(p) for p in prompts]),
            "labels": torch.from_numpy(np.ascontiguousarray(labels[:, first:])),
            "tokens": torch.from_numpy((labels != IGNORED).sum(axis=1)),
        }

    # -- model -------------------------------------------------------------------------------------------------------

    def model(
        self, folder: Path | None = None, *, dropout: float | None = None, attention: str = "eager"
    ) -> torch.nn.Module:
        """See `Family`; `dropout` is that of the tower's residual branches and of the language model's attention.

        Raises:
            EarmarkError: the weights are damaged or incomplete.
        """
        where = folder or self.base.path
        changes: dict[str, Any] = {}
        if dropout is not None:
            config = type(self.config).from_pretrained(where)
            config.audio_config.dropout = dropout
            config.text_config.attention_dropout = dropout
            changes["config"] = config
        model = weights(VoxtralForConditionalGeneration, where, attention, **changes)
        # The sinusoidal positions are constants; `from_pretrained` forgets that they take no gradient.
        model.model.audio_tower.embed_positions.requires_grad_(False)
        ready: torch.nn.Module = model.eval()
        return ready

    def losses(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Family`."""
        labels = batch["labels"]
        # Padding stands on the right, where no position that counts looks.
        out = model(inputs_embeds=self._embeds(model, batch), use_cache=False, logits_to_keep=labels.shape[1])
        return nll(out.logits, labels), batch["tokens"]

    def _embeds(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """What the language model reads: words, and what the tower heard in the place of the audio tokens, [B, T, d]."""
        voxtral: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        inner = voxtral.model
        width = self.config.audio_config.intermediate_size
        heard = [
            inner.multi_modal_projector(inner.audio_tower(chunk).last_hidden_state.reshape(len(chunk), -1, width))
            for chunk in batch["input_features"].unbind(1)
        ]
        audio = torch.cat(heard, dim=1)
        ids = batch["input_ids"]
        words = voxtral.get_input_embeddings()(ids)
        before = len(self._before)
        placed = functional.pad(audio, (0, 0, before, ids.shape[1] - before - audio.shape[1]))
        return torch.where((ids == self._audio).unsqueeze(-1), placed.to(words.dtype), words)

    @torch.no_grad()
    def decode(self, model: torch.nn.Module, batch: Batch, *, temperature: float = 1.0) -> list[Decoded]:
        """See `Family`: with cached keys and values; no more than two tokens for each of audio."""
        device = device_of(model)
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        lengths = batch["prompts"]
        longest = int(lengths.max())
        # Prompts are moved to the right, so that all end, and go on, in one place.
        places = torch.arange(longest, device=device) - (longest - lengths[:, None])
        seen, places = places >= 0, places.clamp_min(0)
        prompts = torch.take_along_dim(self._embeds(model, batch), places.unsqueeze(-1), dim=1)
        cache = None

        def advance(step: torch.Tensor | None) -> torch.Tensor:
            nonlocal cache, seen, places
            if step is None:
                given = {"inputs_embeds": prompts}
            else:
                given = {"input_ids": step}
                seen = torch.cat([seen, torch.ones_like(step, dtype=torch.bool)], dim=1)
                places = places[:, -1:] + 1
            out = model(
                **given,
                attention_mask=seen,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            logits: torch.Tensor = out.logits[:, -1]
            return logits

        room = TEXT_PER_AUDIO * self.chunk_tokens * batch["chunks"]
        return greedy(advance, self._text, self.end, room, temperature)

    def _text(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()

    def adaptable(self, model: torch.nn.Module) -> list[str]:
        """See `Family`: the projections of the tower, the projector and the language model."""
        return linear_layers(model, LINEAR)

    def save(self, model: torch.nn.Module, folder: Path) -> None:
        """See `Family`; Mistral's own tokeniser file is handed on as it is."""
        with quiet():
            model.save_pretrained(folder)  # type: ignore[operator]
            self.extractor.save_pretrained(folder)
            if (self.base.path / VOCABULARY).is_file():
                shutil.copyfile(self.base.path / VOCABULARY, folder / VOCABULARY)
            else:
                self.tokenizer.save_pretrained(folder)

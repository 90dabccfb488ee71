"""A small store of synthetic speech (every word a chord of its own, every speaker a pitch) and tiny random models."""

from __future__ import annotations

import base64
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    VoxtralConfig,
    VoxtralForConditionalGeneration,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

import training.publishing.hub
from lineage.identity import audio_digest, sample_id
from lineage.recorder import NewSample, Recorder
from lineage.selection.sets import SampleSet, create_set
from lineage.sound.audio import Waveform, encode, quantise
from lineage.store import Store
from tests.training.hub_server import TOKEN, Hub, serving
from training.families.pretrained import quiet
from training.fit import train
from training.recipe import Recipe

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ACCENTS = ("north", "south")
RATE = 8_000


def say(words: list[str], pitch: float, rng: np.random.Generator) -> Waveform:
    """A clip in which each word lasts 0.15 s and is two tones that depend on the word."""
    parts = []
    for word in words:
        t = np.arange(round(0.15 * RATE)) / RATE
        k = WORDS.index(word)
        tone = np.sin(2 * np.pi * pitch * (300 + 160 * k) * t) + 0.5 * np.sin(2 * np.pi * pitch * (2900 - 170 * k) * t)
        parts.append(0.2 * tone * np.hanning(len(t)))
    clip = np.concatenate(parts) + 0.002 * rng.normal(size=len(parts) * round(0.15 * RATE))
    return quantise(Waveform(clip.astype(np.float32)[:, None], RATE))


def _populate(
    store: Store,
    name: str,
    count: int,
    seed: int,
    speakers: int = 4,
    texts: list[str] | None = None,
    languages: list[str | None] | None = None,
) -> SampleSet:
    """Put `count` utterances of one to four words on record as set `name`, in `languages` where those are given."""
    rng = np.random.default_rng(seed)
    with store.run("ingest", job=name) as run:
        ids = []
        with Recorder(run) as recorder:
            for i in range(count):
                speaker = f"{name}-{i % speakers}"
                text = texts[i] if texts else " ".join(rng.choice(WORDS, rng.integers(1, 5)))
                wave = say([w for w in text.split() if w in WORDS] or ["one"], 1 + 0.03 * (i % speakers), rng)
                audio = audio_digest(wave.pcm, wave.rate)
                spoken = languages[i] if languages else None
                sample = NewSample(
                    id=sample_id(audio, text),
                    audio_digest=audio,
                    kind="speech",
                    duration_s=wave.duration_s,
                    rate=wave.rate,
                    channels=wave.channels,
                    transcript=text,
                    speaker_key=store.vault.speaker_key(speaker),
                    attributes={"accent": ACCENTS[i % 2], "take": str(i)} | ({"language": spoken} if spoken else {}),
                    clip=encode(wave),
                )
                recorder.add(sample)
                ids.append(sample.id)
            return create_set(run, ids, name=name, samples=recorder.totals())


def speakers_of(store: Store) -> dict[uuid.UUID, uuid.UUID | None]:
    """The speaker of every sample."""
    return {r["sample_id"]: r["speaker_key"] for r in store.read("samples", ["sample_id", "speaker_key"]).to_pylist()}


def tiny_whisper(folder: Path, seed: int = 0, width: int = 32) -> Path:
    """A random Whisper with a closed vocabulary of `WORDS`, 0.8 s long, as `save_pretrained` writes it."""
    vocabulary = {w: i for i, w in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    specials = {"pad_token_id": 0, "bos_token_id": 1, "decoder_start_token_id": 1, "eos_token_id": 2}
    config = WhisperConfig(
        vocab_size=len(vocabulary), d_model=width, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=20, max_source_positions=20,
        max_target_positions=8, suppress_tokens=None, begin_suppress_tokens=None, **specials,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**specials)
    with quiet():
        model.save_pretrained(folder)
        fast.save_pretrained(folder)
        WhisperFeatureExtractor(
            feature_size=20, sampling_rate=16_000, hop_length=320, chunk_length=1, n_fft=400
        ).save_pretrained(folder)
    return folder


def tiny_voxtral(folder: Path, seed: int = 0) -> Path:
    """A random Voxtral of 0.8 s chunks, five audio tokens each, that spells bytes, with the files of Mistral's repositories."""
    special = [f"<SPECIAL_{i}>" for i in range(40)]
    for i, token in {
        0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 11: "<pad>", 24: "[AUDIO]", 25: "[BEGIN_AUDIO]",
        34: "[TRANSCRIBE]",
    }.items():  # fmt: skip
        special[i] = token
    pieces = [bytes([i]) for i in range(256)] + [b" t", b"th", b"on"]
    tekken = {
        "config": {
            "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|[^\s\p{L}\p{N}]+|\s+",
            "num_vocab_tokens": len(pieces),
            "default_vocab_size": len(special) + len(pieces),
            "default_num_special_tokens": len(special),
            "version": "v7",
        },
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(p).decode(), "token_str": p.decode("utf-8", "replace")}
            for i, p in enumerate(pieces)
        ],
        "special_tokens": [{"rank": i, "token_str": t, "is_control": True} for i, t in enumerate(special)],
    }
    text = {
        "vocab_size": len(special) + len(pieces), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 128,
        "model_type": "llama",
    }  # fmt: skip
    audio = {
        "hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_mel_bins": 20,
        "max_source_positions": 20, "model_type": "voxtral_encoder", "vocab_size": 40,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = VoxtralForConditionalGeneration(
        VoxtralConfig(text_config=text, audio_config=audio, audio_token_id=24, projector_hidden_act="gelu")
    )
    with torch.no_grad():
        for parameter in model.lm_head.parameters():  # or all tokens are as likely, and ties decide
            parameter *= 40
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=11)
    with quiet():
        model.save_pretrained(folder)
        WhisperFeatureExtractor(
            feature_size=20, sampling_rate=16_000, hop_length=320, chunk_length=1, n_fft=400
        ).save_pretrained(folder)
    (folder / "tekken.json").write_text(json.dumps(tekken))
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Whisper on disk."""
    return tiny_whisper(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with sets `train` (24 utterances) and `test` (16)."""
    made = Store.init(tmp_path_factory.mktemp("module") / "store")
    _populate(made, "train", 24, seed=1)
    _populate(made, "test", 16, seed=2)
    return made


@pytest.fixture(scope="session")
def _able(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    made = Store.init(tmp_path_factory.mktemp("able") / "store")
    for seed, (name, count) in enumerate({"train": 24, "test": 16, "dev": 40}.items(), start=1):
        _populate(made, name, count, seed)
    train(
        made,
        Recipe(name="able", base=str(base), train="train", epochs=40, batch_size=8, learning_rate=1e-2, warmup=0.2),
    )
    return made.root


@pytest.fixture(scope="module")
def able(tmp_path_factory: pytest.TempPathFactory, _able: Path) -> Store:
    """A store with sets `train` (24 utterances), `test` (16) and `dev` (40), and the model `able`.

    The model has learnt something, so that all kinds of errors occur.
    """
    return Store.open(shutil.copytree(_able, tmp_path_factory.mktemp("module") / "able"))


@pytest.fixture(scope="session")
def populate() -> Callable[..., SampleSet]:
    """`populate(store, name, count, seed, speakers=4, texts=None, languages=None)`: a set of synthetic utterances."""
    return _populate


@pytest.fixture
def recipe(base: Path) -> Recipe:
    """Two epochs of the tiny model on `train`."""
    return Recipe(name="tiny", base=str(base), train="train", epochs=2, batch_size=5, learning_rate=3e-3, dropout=0.1)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub at which the client of this process is pointed, as `HF_ENDPOINT` would."""
    with serving() as made:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", made.url)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # which remembers the hub of another test
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", made.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(training.publishing.hub, "PAUSES", (0.01,) * 4)
        yield made

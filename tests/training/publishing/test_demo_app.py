"""The demo hears with models that write and with models that label frames, whatever the recording is like."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from training.publishing import demo_app

RATE = 8_000
WINDOW = 6_400  # samples that the tiny Whisper takes at once


@pytest.fixture
def noise() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (np.random.default_rng(0).normal(size=WINDOW) * 3000).astype(np.int16)


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    demo_app.load.cache_clear()
    monkeypatch.setattr(demo_app, "MODEL", str(folder))
    monkeypatch.setattr(demo_app, "BASE", str(folder))


def test_long_recordings_are_heard_window_by_window(
    monkeypatch: pytest.MonkeyPatch, base: Path, noise: np.ndarray[tuple[int], np.dtype[np.int16]]
) -> None:
    use(monkeypatch, base)
    window = 2 * demo_app.load()[0].config.max_source_positions * demo_app.load()[1].hop_length * RATE // 16_000
    assert window == WINDOW
    demo_app.load()[0].generation_config.max_new_tokens = 3
    with torch.no_grad():  # what it writes then hangs on what it hears
        demo_app.load()[0].proj_out.weight.mul_(40)
        demo_app.load()[0].proj_out.weight[:4] = 0
    pieces = [noise, noise[::-1], noise[: WINDOW // 2]]
    heard = [demo_app.transcribe((RATE, p)) for p in pieces]
    assert all(heard)
    assert demo_app.transcribe((RATE, np.concatenate(pieces))) == " ".join(heard).strip()


def test_models_that_label_frames(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noise: np.ndarray[tuple[int], np.dtype[np.int16]]
) -> None:
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
    (tmp_path / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(letters)}))
    torch.manual_seed(0)
    Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(5, 64), num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2, pad_token_id=0,
        )
    ).save_pretrained(tmp_path)  # fmt: skip
    Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json")).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(tmp_path)
    use(monkeypatch, tmp_path)
    heard = demo_app.transcribe((RATE, noise))
    assert heard
    assert demo_app.transcribe((RATE, np.stack([noise, noise], axis=1))) == heard
    assert demo_app.transcribe((RATE, noise.astype(np.float32) / 32767)) == heard

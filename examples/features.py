"""What every script that fine-tunes a Whisper has: features, labels, a collator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

from lineage.derivation.pipelines import heard
from training.families.base import find_base

BASE = find_base("earmark:whisper-tiny").path  # or "openai/whisper-tiny", or a folder
EXTRACTOR = AutoFeatureExtractor.from_pretrained(BASE)
TOKENIZER = AutoTokenizer.from_pretrained(BASE)


def load() -> WhisperForConditionalGeneration:
    """The base."""
    return WhisperForConditionalGeneration.from_pretrained(BASE)


def prepare(row: dict[str, Any]) -> dict[str, Any]:
    """Features and labels of a row with `audio` and `text`."""
    wave = heard(row["audio"])
    features = EXTRACTOR(wave.pcm[:, 0], sampling_rate=wave.rate, return_tensors="np").input_features[0]
    words = TOKENIZER(row["text"], add_special_tokens=False).input_ids
    return {"input_features": features[:, :120], "labels": [*words, TOKENIZER.eos_token_id]}


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch; labels are padded with what the loss leaves out."""
    longest = max(len(row["labels"]) for row in rows)
    return {
        "input_features": torch.tensor(np.array([row["input_features"] for row in rows], dtype=np.float32)),
        "labels": torch.tensor([row["labels"] + [-100] * (longest - len(row["labels"])) for row in rows]),
    }

"""Tiny random CTC models of every kind that the family takes, as `save_pretrained` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    HubertConfig,
    HubertForCTC,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2BertProcessor,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    WavLMConfig,
    WavLMForCTC,
)

from training.families.pretrained import quiet

LETTERS = "abcdefghijklmnopqrstuvwxyz'"
_SMALL: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "pad_token_id": 0,
    "vocab_size": len(LETTERS) + 5, "layerdrop": 0.5, "apply_spec_augment": True, "mask_time_prob": 0.5,
}  # fmt: skip
_CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": (8, 8, 8), "conv_kernel": (10, 8, 4), "conv_stride": (5, 8, 4), "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
_BANDS: dict[str, Any] = {"feature_projection_input_dim": 20, "conv_depthwise_kernel_size": 5}

KINDS: dict[str, tuple[type, type, dict[str, Any]]] = {
    "wav2vec2, group norm": (Wav2Vec2Config, Wav2Vec2ForCTC, {"feat_extract_norm": "group", **_CONVOLUTIONS}),
    "wav2vec2, layer norm": (
        Wav2Vec2Config,
        Wav2Vec2ForCTC,
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True, **_CONVOLUTIONS},
    ),
    "wav2vec2, adapter": (
        Wav2Vec2Config,
        Wav2Vec2ForCTC,
        {"add_adapter": True, "num_adapter_layers": 2, **_CONVOLUTIONS, "conv_stride": (5, 4, 3)},
    ),
    "hubert": (HubertConfig, HubertForCTC, {"feat_extract_norm": "group", **_CONVOLUTIONS}),
    "wavlm": (WavLMConfig, WavLMForCTC, {"feat_extract_norm": "layer", **_CONVOLUTIONS}),
    "w2v-bert": (Wav2Vec2BertConfig, Wav2Vec2BertForCTC, _BANDS),
    "w2v-bert, rotary": (
        Wav2Vec2BertConfig,
        Wav2Vec2BertForCTC,
        {"position_embeddings_type": "rotary", **_BANDS},
    ),
    "w2v-bert, adapter": (Wav2Vec2BertConfig, Wav2Vec2BertForCTC, {"add_adapter": True, **_BANDS}),
}


def tiny_ctc(folder: Path, kind: str, seed: int = 0) -> Path:
    """A random model of a kind with the labels of the alphabet, its processor beside it."""
    config, model, changes = KINDS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {c: i for i, c in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    bands = issubclass(config, Wav2Vec2BertConfig)
    processor = (
        Wav2Vec2BertProcessor(SeamlessM4TFeatureExtractor(feature_size=10, num_mel_bins=10, stride=2), tokenizer)
        if bands
        else Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer)
    )
    torch.manual_seed(seed)
    made = model(config(**{**_SMALL, **changes}))
    with torch.no_grad():
        made.lm_head.weight.normal_()  # or a random model hears next to nothing
    with quiet():
        made.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder

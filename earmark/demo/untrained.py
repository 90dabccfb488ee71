"""The small models that `base` trains, before training: random weights, a vocabulary of whole words, a feature extractor.

Each is a folder in the format of `transformers`. Weights follow from the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from earmark.demo.grammar import vocabulary

RATE = 16_000
PAD, START, END, UNKNOWN = "<|pad|>", "<|startoftranscript|>", "<|endoftext|>", "<|unknown|>"
WORD = "▁"
"""Marks the beginning of a word in labels of CTC, whose texts are labels in a row."""


def write_whisper(folder: Path, seed: int) -> None:
    """Write a Whisper of 195,648 random weights, its tokeniser of whole words and its feature extractor."""
    words = {token: number for number, token in enumerate((PAD, START, END, UNKNOWN, *vocabulary()))}
    tokens = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokens.normalizer = normalizers.Lowercase()
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, words[END])])
    special = {"pad_token_id": words[PAD], "bos_token_id": words[START], "eos_token_id": words[END]}
    config = WhisperConfig(
        vocab_size=len(words),
        num_mel_bins=40,
        d_model=64,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        max_source_positions=60,
        max_target_positions=12,
        decoder_start_token_id=words[START],
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **special,
    )
    with _seeded(seed):
        model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(decoder_start_token_id=words[START], max_length=12, **special)
    tokeniser = PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=12,
        clean_up_tokenization_spaces=False,
    )
    extractor = WhisperFeatureExtractor(feature_size=40, sampling_rate=RATE, hop_length=320, chunk_length=3, n_fft=400)
    for part in (model, tokeniser, extractor):
        part.save_pretrained(folder)


def write_ctc(folder: Path, seed: int) -> None:
    """Write a Wav2Vec2-BERT of 208,512 random weights, its labels of whole words and its feature extractor.

    The padding token is the blank. Positions are rotary, which have no parameters.
    """
    words = {token: number for number, token in enumerate((PAD, UNKNOWN, *(WORD + w for w in vocabulary())))}
    tokens = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokens.normalizer = normalizers.Lowercase()
    tokens.pre_tokenizer = pre_tokenizers.Metaspace(replacement=WORD)
    tokens.decoder = decoders.CTC(pad_token=PAD, word_delimiter_token=WORD, cleanup=True)
    config = Wav2Vec2BertConfig(
        vocab_size=len(words),
        feature_projection_input_dim=160,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        conv_depthwise_kernel_size=15,
        position_embeddings_type="rotary",
        hidden_dropout=0.1,
        final_dropout=0.1,
        conformer_conv_dropout=0.1,
        layerdrop=0.0,
        apply_spec_augment=False,
        pad_token_id=words[PAD],
        bos_token_id=None,
        eos_token_id=None,
    )
    with _seeded(seed):
        model = Wav2Vec2BertForCTC(config)
    tokeniser = PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token=PAD, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )
    extractor = SeamlessM4TFeatureExtractor(feature_size=40, num_mel_bins=40, sampling_rate=RATE, stride=4)
    for part in (model, tokeniser, extractor):
        part.save_pretrained(folder)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


UNTRAINED = {"whisper-tiny": write_whisper, "ctc-tiny": write_ctc}

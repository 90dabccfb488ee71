"""The packaged base loads as any checkpoint does, stays small, and understands the corpus; its making is repeatable."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer

from earmark.demo import base
from earmark.demo.corpus import TEST_VARIANTS
from earmark.demo.grammar import vocabulary
from lineage.audio import read_audio
from training.families import open_family
from training.recipe import Recipe

SPECIAL = [base.PAD, base.START, base.END, base.UNKNOWN]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrained")
    base.write_untrained(folder, seed=1)
    return folder


def test_the_checkpoint_is_at_most_a_megabyte():
    files = [path for path in base.FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 1_000_000
    assert {"README.md", "recipe.yaml", "model.safetensors", "tokenizer.json"} <= {path.name for path in files}


def test_it_loads_as_any_checkpoint_does():
    model = AutoModelForSpeechSeq2Seq.from_pretrained(base.FOLDER)
    extractor = AutoFeatureExtractor.from_pretrained(base.FOLDER)
    tokenizer = AutoTokenizer.from_pretrained(base.FOLDER)
    assert sum(p.numel() for p in model.parameters()) == 195_648
    assert extractor.feature_size == model.config.num_mel_bins
    assert len(tokenizer) == model.config.vocab_size == len(vocabulary()) + len(SPECIAL)


def test_the_tokeniser_knows_every_word_and_no_other():
    tokenizer = AutoTokenizer.from_pretrained(base.FOLDER)
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == [*SPECIAL, *vocabulary()]
    for word in vocabulary():
        assert tokenizer.decode(tokenizer(word).input_ids, skip_special_tokens=True) == word
    assert tokenizer("Banana", add_special_tokens=False).input_ids == [tokenizer.unk_token_id]


def test_what_make_base_would_begin_with_fits_the_checkpoint(untrained):
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        made, kept = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (untrained, base.FOLDER))
        for fields in (made, kept):
            fields.pop("transformers_version", None)
        assert made == kept


def test_first_weights_follow_from_the_seed(untrained, tmp_path):
    state = torch.get_rng_state()
    base.write_untrained(tmp_path / "same", seed=1)
    base.write_untrained(tmp_path / "other", seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    weights = [
        (folder / "model.safetensors").read_bytes() for folder in (untrained, tmp_path / "same", tmp_path / "other")
    ]
    assert weights[0] == weights[1] != weights[2]


def test_pretraining_speech_is_the_same_every_time_and_fits_the_encoder(tmp_path):
    folders = [base.write_pretraining(tmp_path / name, 24).parent for name in ("one", "two")]
    names = sorted(path.name for path in folders[0].glob("*.*"))
    assert len(names) == 25
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names)
    for row in map(json.loads, (folders[0] / "manifest.jsonl").read_text(encoding="utf-8").splitlines()):
        wave = read_audio(folders[0] / row["audio_path"])
        assert wave.rate == base.RATE
        assert 0.3 < wave.frames / wave.rate <= base.LONGEST_S


def test_the_recipe_is_one():
    recipe = Recipe.load(base.FOLDER / "recipe.yaml")
    assert (recipe.threads, recipe.device, recipe.method) == (1, "cpu", "full")


def test_it_understands_voices_it_never_heard(tmp_path):
    manifest = base.write_pretraining(tmp_path / "unseen", 40, variants=TEST_VARIANTS, worn=False, seed=9)
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    family = open_family("whisper", "earmark:whisper-tiny")
    features = [family.features(read_audio(manifest.parent / row["audio_path"])) for row in rows]
    texts = [row["text"] for row in rows]
    heard = family.decode(family.model(), family.collate(features, texts))
    assert sum(found.text == text for found, text in zip(heard, texts, strict=True)) >= 30

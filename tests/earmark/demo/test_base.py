"""The packaged bases load as any checkpoint does, stay small, and understand the corpus; their making is repeatable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModelForCTC,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
)

from earmark.demo import base
from earmark.demo.corpus import TEST_VARIANTS
from earmark.demo.grammar import vocabulary
from earmark.demo.untrained import END, PAD, START, UNKNOWN, UNTRAINED, WORD
from lineage.sound.audio import read_audio
from training.families import open_family
from training.families.base import PACKAGED
from training.recipe import Recipe

SIZES = {"whisper-tiny": 195_648, "ctc-tiny": 208_512}


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("untrained")
    for name, write in UNTRAINED.items():
        write(root / name, seed=1)
    return root


@pytest.fixture(scope="module")
def unseen(tmp_path_factory) -> Path:
    """The manifest of 40 utterances by voices that no base has heard."""
    folder = tmp_path_factory.mktemp("speech") / "unseen"
    return base.write_pretraining(folder, 40, variants=TEST_VARIANTS, worn=False, seed=9)


@pytest.mark.parametrize("name", UNTRAINED)
def test_the_checkpoint_is_at_most_a_megabyte(name):
    files = [path for path in (PACKAGED / name).iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 1_000_000
    assert {"README.md", "recipe.yaml", "model.safetensors", "tokenizer.json"} <= {path.name for path in files}


@pytest.mark.parametrize(("name", "auto"), [("whisper-tiny", AutoModelForSpeechSeq2Seq), ("ctc-tiny", AutoModelForCTC)])
def test_it_loads_as_any_checkpoint_does(name, auto):
    model = auto.from_pretrained(PACKAGED / name)
    assert sum(p.numel() for p in model.parameters()) == SIZES[name]
    assert AutoFeatureExtractor.from_pretrained(PACKAGED / name).feature_size == 40
    assert len(AutoTokenizer.from_pretrained(PACKAGED / name)) == model.config.vocab_size


def test_the_tokeniser_knows_every_word_and_no_other():
    tokenizer = AutoTokenizer.from_pretrained(PACKAGED / "whisper-tiny")
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == [PAD, START, END, UNKNOWN, *vocabulary()]
    for word in vocabulary():
        assert tokenizer.decode(tokenizer(word).input_ids, skip_special_tokens=True) == word
    assert tokenizer("Banana", add_special_tokens=False).input_ids == [tokenizer.unk_token_id]


def test_labels_are_whole_words():
    tokenizer = AutoTokenizer.from_pretrained(PACKAGED / "ctc-tiny")
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == [PAD, UNKNOWN, *(WORD + w for w in vocabulary())]
    every = " ".join(vocabulary())
    assert tokenizer.decode(tokenizer(every.title()).input_ids).strip() == every
    one, blank = tokenizer("one").input_ids, [tokenizer.pad_token_id]
    assert tokenizer.decode(blank + one * 3 + blank + one).strip() == "one one"


@pytest.mark.parametrize("name", UNTRAINED)
def test_what_make_base_would_begin_with_fits_the_checkpoint(untrained, name):
    for file in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        made, kept = (json.loads((root / name / file).read_text(encoding="utf-8")) for root in (untrained, PACKAGED))
        for fields in (made, kept):
            fields.pop("transformers_version", None)
        assert made == kept


@pytest.mark.parametrize("name", UNTRAINED)
def test_first_weights_follow_from_the_seed(untrained, tmp_path, name):
    state = torch.get_rng_state()
    UNTRAINED[name](tmp_path / "same", seed=1)
    UNTRAINED[name](tmp_path / "other", seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    weights = [
        (folder / "model.safetensors").read_bytes()
        for folder in (untrained / name, tmp_path / "same", tmp_path / "other")
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


@pytest.mark.parametrize("name", UNTRAINED)
def test_the_recipe_is_one(name):
    recipe = Recipe.load(PACKAGED / name / "recipe.yaml")
    assert (recipe.name, recipe.threads, recipe.device, recipe.method) == (name, 1, "cpu", "full")


@pytest.mark.parametrize(("name", "right"), [("whisper-tiny", 30), ("ctc-tiny", 30)])
def test_it_understands_voices_it_never_heard(unseen, name, right):
    rows = [json.loads(line) for line in unseen.read_text(encoding="utf-8").splitlines()]
    family = open_family(Recipe.load(PACKAGED / name / "recipe.yaml").family, f"earmark:{name}")
    features = [family.features(read_audio(unseen.parent / row["audio_path"])) for row in rows]
    texts = [row["text"] for row in rows]
    heard = family.decode(family.model(), family.collate(features, texts))
    assert sum(found.text == text for found, text in zip(heard, texts, strict=True)) >= right


def test_transformers_alone_hears_the_same_words(unseen):
    rows = [json.loads(line) for line in unseen.read_text(encoding="utf-8").splitlines()[:3]]
    processor = AutoProcessor.from_pretrained(PACKAGED / "ctc-tiny")
    model = AutoModelForCTC.from_pretrained(PACKAGED / "ctc-tiny").eval()
    family = open_family("ctc", "earmark:ctc-tiny")
    for row in rows:
        wave = read_audio(unseen.parent / row["audio_path"])
        with torch.no_grad():
            labels = model(**processor(wave.pcm[:, 0], sampling_rate=16_000, return_tensors="pt")).logits.argmax(-1)
        (heard,) = family.decode(family.model(), family.collate([family.features(wave)], [""]))
        assert processor.batch_decode(labels)[0].strip() == heard.text

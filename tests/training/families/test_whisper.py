from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from lineage.errors import EarmarkError, UnknownName
from lineage.sound.audio import Waveform
from training.families import Family, TranscriptRefused, open_family, word_confidences

SPECIAL = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
]  # fmt: skip


def noise(seconds: float, rate: int = 16_000, channels: int = 1, seed: int = 0) -> Waveform:
    rng = np.random.default_rng(seed)
    return Waveform((0.1 * rng.normal(size=(round(seconds * rate), channels))).astype(np.float32), rate)


@pytest.fixture(scope="module")
def family(base: Path) -> Family:
    return open_family("whisper", str(base))


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with OpenAI's tokenisation: bytes, languages, tasks, time stamps."""
    folder = tmp_path_factory.mktemp("openai")
    vocabulary = {c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(40)])
    end, start = tokenizer.convert_tokens_to_ids(SPECIAL[:2])
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=20, max_source_positions=20,
        max_target_positions=16, pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    torch.manual_seed(3)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=[5, 6],
        begin_suppress_tokens=[7, end],
    )
    model.generation_config.is_multilingual = True
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=20, hop_length=320, chunk_length=1).save_pretrained(folder)
    return folder


def test_features_are_those_of_the_extractor_without_its_padding(family: Family) -> None:
    clip = noise(0.31)
    whole = family.extractor(clip.pcm[:, 0], sampling_rate=16_000, return_tensors="np")["input_features"][0][:, :40]
    kept = family.features(clip)
    assert len(kept) < 25
    back = family.collate([kept], ["one"])["input_features"][0].numpy()
    assert (back == whole).all()


def test_any_rate_and_channel_count_will_do(family: Family) -> None:
    stereo = noise(0.4, 44_100, 2)
    features = family.features(stereo)
    assert features.dtype == np.float32
    assert features.shape[1] == 20
    assert (family.features(Waveform(stereo.pcm[:, ::-1].copy(), 44_100)) == features).all()


def test_clips_up_to_the_encoders_length_fit_and_no_longer(family: Family) -> None:
    assert family.max_seconds == 0.8
    assert len(family.features(noise(0.8))) == 40
    with pytest.raises(EarmarkError, match=r"lasts 0\.81 s but base .* takes 0\.80 s at most — cut it"):
        family.features(noise(0.81))


def test_losses_and_decodings_do_not_depend_on_the_batch(family: Family) -> None:
    model = family.model()
    features = [family.features(noise(0.1 * (i + 1), seed=i)) for i in range(7)]
    texts = ["one", "two three four five", "", "six", "seven eight", "nine nine nine", "zero"]
    with torch.no_grad():
        together, tokens = family.losses(model, family.collate(features, texts))
        alone = [family.losses(model, family.collate([f], [t])) for f, t in zip(features, texts, strict=True)]
    assert torch.allclose(together, torch.cat([nll for nll, _ in alone]), rtol=1e-5)
    assert tokens.tolist() == [len(t.split()) + 1 for t in texts] == [int(n) for _, n in alone]
    heard = family.decode(model, family.collate(features, texts))
    for one, feature in zip(heard, features, strict=True):
        (other,) = family.decode(model, family.collate([feature], ["one"]))
        assert one.text == other.text
        assert one.confidence == pytest.approx(other.confidence, rel=1e-5)
        assert 0 < one.confidence <= 1
        assert one.words == pytest.approx(other.words, rel=1e-5)
        assert len(one.words) == len(one.text.split())


def test_what_is_encoded_once_gives_the_same(family: Family) -> None:
    model = family.model()
    batch = family.collate([family.features(noise(0.2, seed=i)) for i in range(3)], ["one", "two six", ""])
    shared = family.encoded(model, batch)
    assert family.decode(model, shared) == family.decode(model, batch)
    with torch.no_grad():
        assert (family.losses(model, shared)[0] == family.losses(model, batch)[0]).all()


def test_temperature_changes_confidences_and_no_word(family: Family) -> None:
    model = family.model()
    batch = family.collate([family.features(noise(0.1 * (i + 1), seed=i)) for i in range(5)], [""] * 5)
    plain, hot, cold = (family.decode(model, batch, temperature=t) for t in (1.0, 3.0, 0.3))
    assert plain == family.decode(model, batch)
    for a, b, c in zip(hot, plain, cold, strict=True):
        assert a.text == b.text == c.text
        assert a.confidence < b.confidence < c.confidence


def test_words_have_the_probabilities_of_their_own_tokens() -> None:
    pieces = {1: " ma", 2: "ny", 3: " words", 4: "!"}
    found = word_confidences(
        lambda ids: "".join(pieces[i] for i in ids).strip(), [1, 2, 3, 4], [-0.1, -0.3, -1.0, -3.0]
    )
    assert found == pytest.approx((math.exp(-0.2), math.exp(-2.0)))
    assert word_confidences(lambda ids: "", [7], [-1.0]) == ()


def test_the_loss_is_that_of_transformers_summed(family: Family) -> None:
    model = family.model()
    batch = family.collate([family.features(noise(0.5))], ["one two three"])
    nll, tokens = family.losses(model, batch)
    mean = model(input_features=batch["input_features"], labels=torch.tensor([[5, 6, 7, 2]])).loss
    assert nll[0].item() == pytest.approx(4 * mean.item(), rel=1e-6)
    assert int(tokens[0]) == 4


@pytest.mark.parametrize("which", ["closed", "openai"])
def test_greedy_decoding_is_that_of_transformers(family: Family, openai: Path, which: str) -> None:
    used = family if which == "closed" else open_family("whisper", str(openai), language="de")
    model = used.model()
    batch = used.collate([used.features(noise(0.2 + 0.1 * i, seed=i)) for i in range(5)], [""] * 5)
    prompt = used.prompt(used.language)
    room = used.config.max_target_positions - used.prompt_length
    peer = model.generate(
        batch["input_features"],
        generation_config=GenerationConfig(
            max_new_tokens=room, eos_token_id=used.end, pad_token_id=used.end, num_beams=1, do_sample=False,
            suppress_tokens=used._suppressed or None, begin_suppress_tokens=used._suppressed_first or None,
            decoder_start_token_id=prompt[0], return_timestamps=False,
        ),
        decoder_input_ids=torch.tensor([prompt] * 5),
    )  # fmt: skip
    words = [
        used.tokenizer.decode(row[used.prompt_length :], skip_special_tokens=True).strip() for row in peer.tolist()
    ]
    ours = [d.text for d in used.decode(model, batch)]
    # generate() stops one token earlier where nothing ends
    assert [o[: len(w)] for o, w in zip(ours, words, strict=True)] == words


def test_saved_and_opened_again_it_is_the_same(family: Family, tmp_path: Path) -> None:
    model = family.model()
    with torch.no_grad():
        model.model.decoder.layer_norm.bias += 0.5
    family.save(model, tmp_path)
    again = open_family("whisper", str(tmp_path))
    assert again.feature_digest == family.feature_digest
    batch = family.collate([family.features(noise(0.5))], ["one two"])
    with torch.no_grad():
        here = family.losses(model, batch)[0]
        there = again.losses(again.model(), again.collate([again.features(noise(0.5))], ["one two"]))[0]
        assert torch.equal(here, there)
        assert torch.equal(here, family.losses(family.model(tmp_path), batch)[0])


def test_dropout_is_the_recipes_or_the_bases_own(family: Family) -> None:
    assert family.model().config.dropout == 0.0
    assert family.model(dropout=0.25).model.encoder.layers[0].dropout == 0.25
    assert not family.model().training


def test_closed_vocabularies_refuse_strange_words(family: Family) -> None:
    with pytest.raises(TranscriptRefused, match="'ten', 'twelve' not in the closed vocabulary") as caught:
        family.encode("one ten twelve ten two")
    assert caught.value.words == ("ten", "twelve")
    with pytest.raises(TranscriptRefused, match=r"8 tokens, but the decoder of base .* takes 7"):
        family.encode("one " * 8)
    assert len(family.encode("one " * 7)) == 7
    with pytest.raises(EarmarkError, match="closed vocabulary without language tokens — drop them"):
        open_family("whisper", family.base, language="en")


def test_multilingual_prompts(openai: Path) -> None:
    used = open_family("whisper", str(openai), language="German", task="translate")
    assert used.tokenizer.convert_ids_to_tokens(used.prompt(used.language)) == [
        "<|startoftranscript|>", "<|de|>", "<|translate|>", "<|notimestamps|>",
    ]  # fmt: skip
    batch = used.collate([used.features(noise(0.2))], ["ja"])
    assert batch["decoder_input_ids"].tolist() == [[*used.prompt("de"), *used.encode("ja")]]
    assert batch["labels"].tolist() == [[-100] * 3 + [*used.encode("ja"), used.end]]  # the prompt is given, not learnt
    assert used.tokenizer.decode(used.encode("ja")) == " ja"  # as Whisper was taught
    assert max(used.encode("<|en|>")) < min(used.tokenizer.all_special_ids)  # a text, no commands
    with pytest.raises(EarmarkError, match="is multilingual — say which language"):
        open_family("whisper", str(openai))
    with pytest.raises(UnknownName, match=r"no language in base .* 'xx'.*de, en|no language in base .* 'xx'.*en"):
        open_family("whisper", str(openai), language="xx")
    assert min(used._suppressed) == 5
    assert used._id("<|0.00|>") in used._suppressed


def test_a_batch_may_mix_languages(openai: Path) -> None:
    mixed = open_family("whisper", str(openai), language="per-sample", task="translate")
    model = mixed.model()
    features = [mixed.features(noise(0.2 + 0.1 * i, seed=i)) for i in range(4)]
    texts, spoken = ["ja", "a b", "", "nein"], ["de", "English", "en-GB", "de"]
    batch = mixed.collate(features, texts, spoken)
    heard = mixed.decode(model, batch)
    with torch.no_grad():
        nll, _ = mixed.losses(model, batch)
        for code in ("de", "en"):
            rows = [i for i, language in enumerate(spoken) if language[:2].lower() == code]
            one = open_family("whisper", str(openai), language=code, task="translate")
            of_one = one.collate([features[i] for i in rows], [texts[i] for i in rows])
            assert torch.allclose(one.losses(model, of_one)[0], nll[rows], rtol=1e-5)
            assert [d.text for d in one.decode(model, of_one)] == [heard[i].text for i in rows]
    other = mixed.losses(model, mixed.collate(features, texts, ["en", "de", "de", "en"]))[0]
    assert bool(((other - nll).abs() > 1e-4).all())  # the prompt counts


def test_samples_without_a_language_of_the_base_are_refused(openai: Path) -> None:
    mixed = open_family("whisper", str(openai), language="per-sample")
    assert mixed.speaks("de-AT")
    assert not mixed.speaks("fr")
    assert not mixed.speaks("transcribe")  # a token, but no language
    for languages in (["fr"], [None], None):
        with pytest.raises(UnknownName, match="no language in base"):
            mixed.collate([mixed.features(noise(0.1))], ["ja"], languages)


def test_english_bases_have_no_language(openai: Path, tmp_path: Path) -> None:
    for file in openai.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "is_multilingual": False}))
    used = open_family("whisper", str(tmp_path))
    assert used.tokenizer.convert_ids_to_tokens(used.prompt(used.language)) == [
        "<|startoftranscript|>",
        "<|notimestamps|>",
    ]
    with pytest.raises(EarmarkError, match="is English only — drop them"):
        open_family("whisper", str(tmp_path), language="en")


@pytest.mark.parametrize(
    ("file", "field", "value", "said"),
    [
        ("config.json", "model_type", "wav2vec2", "is a wav2vec2 model"),
        ("config.json", "num_mel_bins", 40, "20 mel bands from the extractor, 40 in the model"),
        ("preprocessor_config.json", "dither", 0.1, "dithers its features"),
    ],
)
def test_bases_that_do_not_fit_together_are_refused(
    base: Path, tmp_path: Path, file: str, field: str, value: object, said: str
) -> None:
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps({**config, field: value}))
    with pytest.raises(EarmarkError, match=said):
        open_family("whisper", str(tmp_path))


def test_unknown_families_and_broken_bases(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no model family 'whispr' — did you mean 'whisper'"):
        open_family("whispr", str(base))
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(EarmarkError, match="cannot be read"):
        open_family("whisper", str(tmp_path))


@pytest.mark.parametrize(("damage", "said"), [("cut", "cannot be read"), ("lost", "has no weights for model")])
def test_damaged_and_incomplete_weights_are_refused(base: Path, tmp_path: Path, damage: str, said: str) -> None:
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        kept = {n: t for n, t in load_file(weights).items() if "decoder.layer_norm" not in n}
        save_file(kept, weights, {"format": "pt"})
    with pytest.raises(EarmarkError, match=said):
        open_family("whisper", str(tmp_path)).model()


def test_adaptable_modules_are_linear_and_not_tied(family: Family) -> None:
    model = family.model()
    names = family.adaptable(model)
    modules = dict(model.named_modules())
    assert len(names) == 4 + 2 + 8 + 2  # one encoder and one decoder layer
    assert all(isinstance(modules[n], torch.nn.Linear) for n in names)
    assert "proj_out" not in names

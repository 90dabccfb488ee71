from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCTC, AutoProcessor, pipeline

from lineage.errors import EarmarkError
from lineage.sound.audio import Waveform
from tests.training.families.ctc_bases import KINDS, tiny_ctc
from training.families import Family, TranscriptRefused, open_family

TEXTS = ["one", "two three", "", "six", "see ell"]


def noise(seconds: float, rate: int = 16_000, channels: int = 1, seed: int = 0) -> Waveform:
    rng = np.random.default_rng(seed)
    return Waveform((0.1 * rng.normal(size=(round(seconds * rate), channels))).astype(np.float32), rate)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("ctc")
    return {kind: tiny_ctc(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def letters(bases: dict[str, Path]) -> Family:
    return open_family("ctc", str(bases["wav2vec2, group norm"]))


@pytest.fixture(params=KINDS)
def family(request: pytest.FixtureRequest, bases: dict[str, Path]) -> Family:
    return open_family("ctc", str(bases[request.param]))


def clips(family: Family) -> list[np.ndarray]:
    return [family.features(noise(0.25 + 0.17 * ((3 * i) % 5), seed=i)) for i in range(5)]


def test_losses_and_decodings_do_not_depend_on_the_batch(family: Family) -> None:
    model = family.model()
    features = clips(family)
    with torch.no_grad():
        together, tokens = family.losses(model, family.collate(features, TEXTS))
        alone = [family.losses(model, family.collate([f], [t])) for f, t in zip(features, TEXTS, strict=True)]
    assert torch.isfinite(together).all()
    assert torch.allclose(together, torch.cat([nll for nll, _ in alone]), rtol=2e-5)
    assert tokens.tolist() == [3, 9, 0, 3, 7]
    shared = family.encoded(model, family.collate(features, TEXTS))
    assert torch.equal(family.losses(model, shared)[0], together)
    heard = family.decode(model, family.collate(features, TEXTS))
    assert family.decode(model, shared) == heard
    assert any(one.text for one in heard)
    for one, feature in zip(heard, features, strict=True):
        (other,) = family.decode(model, family.collate([feature], [""]))
        assert one.text == other.text
        assert one.confidence == pytest.approx(other.confidence, rel=1e-4)
        assert one.words == pytest.approx(other.words, rel=1e-4)
        assert len(one.words) == len(one.text.split())
        assert 0 < one.confidence <= 1


def test_alone_an_utterance_is_what_it_is_to_transformers(family: Family) -> None:
    """No mask, no batch: the model as its makers run it."""
    peer = AutoModelForCTC.from_pretrained(family.base.path, attn_implementation="eager").eval()
    processor = AutoProcessor.from_pretrained(family.base.path)
    clip = noise(0.6, seed=3)
    inputs = processor(clip.pcm[:, 0], sampling_rate=16_000, return_tensors="pt")
    labels = processor(text="two three", return_tensors="pt").input_ids
    with torch.no_grad():
        out = peer(**{family._input: inputs[family._input]}, labels=labels)
    batch = family.collate([family.features(clip)], ["two three"])
    with torch.no_grad():
        nll, _ = family.losses(family.model(), batch)
    assert int(batch["frames"][0]) == out.logits.shape[1]
    reduced = nll.item() / (1 if peer.config.ctc_loss_reduction == "sum" else labels.shape[1])
    assert reduced == pytest.approx(out.loss.item(), rel=1e-4)
    (heard,) = family.decode(family.model(), batch)
    assert heard.text == processor.batch_decode(out.logits.argmax(-1))[0].strip()


def test_saved_and_opened_again_it_is_the_same(family: Family, tmp_path: Path) -> None:
    model = family.model(dropout=0.2)
    with torch.no_grad():
        model.lm_head.bias += 0.5
    family.save(model, tmp_path)
    again = open_family("ctc", str(tmp_path))
    assert again.feature_digest == family.feature_digest
    assert again.config.layerdrop == 0.5
    assert again.config.apply_spec_augment
    batch = family.collate(clips(family), TEXTS)
    with torch.no_grad():
        here = family.losses(model, batch)[0]
        assert torch.equal(here, again.losses(again.model(), again.collate(clips(again), TEXTS))[0])
        assert torch.equal(here, family.losses(family.model(tmp_path), batch)[0])
    family.save(family.model(tmp_path), tmp_path / "twice")
    assert (tmp_path / "twice/model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    out = pipeline("automatic-speech-recognition", model=str(tmp_path))(noise(0.6).pcm[:, 0])
    (heard,) = family.decode(model, family.collate([family.features(noise(0.6))], [""]))
    assert out["text"].strip() == heard.text


def test_without_dropout_training_draws_nothing(family: Family) -> None:
    """LayerDrop and SpecAugment of the base are off, whatever its configuration says."""
    model = family.model(dropout=0.0)
    batch = family.collate(clips(family), TEXTS)
    with torch.no_grad():
        still = family.losses(model, batch)[0]
        assert torch.equal(family.losses(model.train(), batch)[0], still)
        drawn = family.model(dropout=0.3).train()
        assert not torch.equal(family.losses(drawn, batch)[0], family.losses(drawn, batch)[0])


def test_gradients_reach_all_that_is_trained(family: Family) -> None:
    model = family.model(dropout=0.0)
    family.losses(model, family.collate(clips(family), TEXTS))[0].sum().backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert not any("feature_extractor" in n or "masked_spec" in n for n in trained)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained.values())


def test_clips_of_any_rate_and_almost_any_length_will_do(family: Family) -> None:
    stereo = noise(0.4, 44_100, 2)
    features = family.features(stereo)
    assert features.dtype == np.float32
    assert (family.features(Waveform(stereo.pcm[:, ::-1].copy(), 44_100)) == features).all()
    assert family.max_seconds is None
    assert family.spectral == (features.shape[1] > 1)
    with pytest.raises(EarmarkError, match=r"lasts 0\.005 s but base .* needs .* s — leave it out"):
        family.features(noise(0.005))
    shortest = family.features(noise(family._least / 16_000))
    with torch.no_grad():
        nll, _ = family.losses(family.model(), family.collate([shortest], [""]))
    assert torch.isfinite(nll).all()


def test_adaptable_modules_are_those_that_adapters_reach(family: Family) -> None:
    from training.models import lora
    from training.recipe import Lora

    model = lora.attach(family, family.model(), Lora(rank=2), seed=0)
    family.losses(model, family.collate(clips(family), TEXTS))[0].sum().backward()
    idle = [n for n, p in model.named_parameters() if "lora_B" in n and (p.grad is None or not p.grad.any())]
    assert idle == []


def test_labels_are_not_made_up(letters: Family) -> None:
    with pytest.raises(TranscriptRefused, match=r"'tén', '5' cannot be spelt with the labels of base") as caught:
        letters.encode("one tén 5 tén")
    assert caught.value.words == ("tén", "5")
    assert letters.encode("One  TWO ") == letters.encode("one two")  # the labels have one case only
    for special in ("<pad>", "<s>", "one </s>", "<unk>"):
        with pytest.raises(TranscriptRefused, match="cannot be spelt"):
            letters.encode(special)


def test_transcripts_longer_than_the_clip_allows_are_refused(letters: Family) -> None:
    features = letters.features(noise(0.25))
    there = int(letters.collate([features], [""])["frames"][0])
    letters.check("ab" * (there // 2), len(features))
    for text in ("ab" * (there // 2 + 1), "a" * (there // 2 + 2)):  # equal neighbours need a blank between
        with pytest.raises(TranscriptRefused, match=rf"needs \d+ frames, but the clip has {there} in base"):
            letters.check(text, len(features))
        with pytest.raises(TranscriptRefused):
            letters.collate([features], [text])


def test_temperature_moves_confidences_alone(letters: Family) -> None:
    model, batch = letters.model(), letters.collate(clips(letters), TEXTS)
    sure, unsure = (letters.decode(model, batch, temperature=t) for t in (1.0, 4.0))
    assert [d.text for d in sure] == [d.text for d in unsure]
    assert all(a.confidence > b.confidence for a, b in zip(sure, unsure, strict=True))


def test_words_are_as_sure_as_their_surest_frames(letters: Family) -> None:
    path = np.array([letters.blank, *letters._encode("ab"), *letters._encode("bb"), *letters._encode("|")[:0], 4, 5])
    sure = np.log([0.9, 0.5, 0.8, 0.2, 0.4, 0.1, 0.25])
    heard = letters._decoded(path, sure)
    assert heard.text == "ab a"
    assert heard.words == pytest.approx([(0.5 * 0.8 * 0.1) ** (1 / 3), 0.25])
    assert heard.confidence == pytest.approx((0.5 * 0.8 * 0.1 * 0.25) ** (1 / 4))
    silence = letters._decoded(np.array([letters.blank] * 2), np.log([0.5, 0.32]))
    assert (silence.text, silence.words) == ("", ())
    assert silence.confidence == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("kind", "file", "field", "value", "said"),
    [
        ("hubert", "config.json", "model_type", "whisper", "is a whisper model"),
        ("hubert", "config.json", "conv_pos_batch_norm", True, "normalises over its batch"),
        ("hubert", "config.json", "pad_token_id", 6, "writes the blank .token 6. as 'b'"),
        ("w2v-bert", "config.json", "feature_projection_input_dim", 80, "20 stacked mel bands from the extractor, 80"),
    ],
)
def test_bases_that_do_not_fit_together_are_refused(
    bases: dict[str, Path], tmp_path: Path, kind: str, file: str, field: str, value: object, said: str
) -> None:
    shutil.copytree(bases[kind], tmp_path / "base")
    path = tmp_path / "base" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(EarmarkError, match=said):
        open_family("ctc", str(tmp_path / "base"))


def test_languages_and_tasks_are_refused(bases: dict[str, Path]) -> None:
    with pytest.raises(EarmarkError, match="has no language or task tokens — drop them"):
        open_family("ctc", str(bases["hubert"]), language="en")


def test_a_base_without_labels_is_refused_and_one_without_spare_parts_is_not(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    for lost, fits in (("masked_spec_embed", True), ("lm_head", False)):
        folder = tmp_path / lost
        shutil.copytree(bases["hubert"], folder)
        kept = {n: t for n, t in load_file(folder / "model.safetensors").items() if lost not in n}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
        family = open_family("ctc", str(folder))
        if fits:
            once, again = family.model().state_dict(), family.model().state_dict()
            assert all(torch.equal(once[n], again[n]) for n in once)
            assert not once["hubert.masked_spec_embed"].any()
        else:
            with pytest.raises(EarmarkError, match=r"has no weights for lm_head"):
                family.model()

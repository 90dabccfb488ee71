from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoProcessor, GenerationConfig, VoxtralProcessor

from lineage.errors import EarmarkError, UnknownName
from lineage.selection.sets import SampleSet
from lineage.store import Store
from tests.training.conftest import tiny_voxtral
from tests.training.families.test_whisper import noise
from training.evaluation.evaluate import evaluate
from training.families import Batch, Family, TranscriptRefused, open_family
from training.fit import train
from training.models import lora
from training.models.recorded import open_model
from training.recipe import Lora, Recipe

CHUNK_S = 0.8
SECONDS = [0.3, 0.8, 0.9, 2.0, 0.1]
TEXTS = ["one two", "Grüße", "", "three four five six", "the </s> [AUDIO]"]
SPOKEN = ["en", None, "de-DE", "Italian", "mt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voxtral(tmp_path_factory.mktemp("voxtral"))


@pytest.fixture(scope="module")
def family(folder: Path) -> Family:
    return open_family("voxtral", str(folder))


@pytest.fixture(scope="module")
def batch(family: Family) -> Batch:
    """Clips of one to three chunks, in several languages and in one that is not named."""
    features = [family.features(noise(s, seed=i)) for i, s in enumerate(SECONDS)]
    return family.collate(features, TEXTS, SPOKEN)


def alone(family: Family, i: int) -> Batch:
    return family.collate([family.features(noise(SECONDS[i], seed=i))], [TEXTS[i]], [SPOKEN[i]])


def upstream(batch: Batch, i: int) -> torch.Tensor:
    """One utterance's own chunks as transformers takes them, [chunks, mels, frames]."""
    return batch["input_features"][i, : batch["chunks"][i]]


def test_features_are_those_of_the_processor_in_chunks(family: Family, batch: Batch) -> None:
    processor = VoxtralProcessor(family.extractor, family.tokenizer)
    for i, seconds in enumerate(SECONDS):
        theirs = processor._retrieve_input_features(
            [noise(seconds, seed=i).pcm[:, 0]], family.frames, padding=True, truncation=False, sampling_rate=16_000,
            pad_to_multiple_of=round(CHUNK_S * 16_000), return_tensors="pt",
        )  # fmt: skip
        assert torch.equal(upstream(batch, i), theirs)
    assert batch["chunks"].tolist() == [1, 1, 2, 3, 1]


def test_a_silent_end_is_audio_too(family: Family) -> None:
    clip = noise(1.2)
    clip.pcm[8_000:] = 0
    features = family.features(clip)
    assert len(features) == 41
    assert family.collate([features], [""])["chunks"].tolist() == [2]


def test_the_prompt_is_mistrals(family: Family, batch: Batch) -> None:
    ids = batch["input_ids"][3, : batch["prompts"][3]].tolist()
    spelt = [40 + b for b in b"lang:it"]
    assert ids == [1, 3, 25, *[24] * 15, 4, *spelt, 34]
    assert batch["input_ids"][1, : batch["prompts"][1]].tolist() == [1, 3, 25, *[24] * 5, 4, 34]  # to be told by ear
    assert (batch["input_ids"] == 24).sum(dim=1).tolist() == [5, 5, 10, 15, 5]  # a transcript cannot spell it
    row = batch["labels"][4]
    assert row[row != -100].tolist() == [*family.encode(TEXTS[4]), 2]
    assert family.tokenizer.decode(family.encode(TEXTS[4])) == TEXTS[4]
    assert batch["tokens"].tolist() == [len(family.encode(t)) + 1 for t in TEXTS]


def test_losses_and_decodings_do_not_depend_on_the_batch(family: Family, batch: Batch) -> None:
    model = family.model()
    with torch.no_grad():
        together, tokens = family.losses(model, batch)
    heard = family.decode(model, batch)
    for i, one in enumerate(heard):
        by_itself = alone(family, i)
        with torch.no_grad():
            nll, count = family.losses(model, by_itself)
        assert nll[0].item() == pytest.approx(together[i].item(), rel=1e-5)
        assert int(count[0]) == int(tokens[i])
        (other,) = family.decode(model, by_itself)
        assert one.text == other.text
        assert one.confidence == pytest.approx(other.confidence, rel=1e-4)
        assert one.words == pytest.approx(other.words, rel=1e-4)
        assert len(one.words) == len(one.text.split())
    assert len({one.text for one in heard}) > 1


def test_temperature_changes_confidence_and_no_word(family: Family, batch: Batch) -> None:
    model = family.model()
    plain, flat = family.decode(model, batch), family.decode(model, batch, temperature=3.0)
    assert [p.text for p in plain] == [f.text for f in flat]
    assert all(f.confidence < p.confidence for p, f in zip(plain, flat, strict=True))


def test_the_loss_is_that_of_transformers_summed(family: Family, batch: Batch) -> None:
    model = family.model()
    nll, tokens = family.losses(model, batch)
    for i, text in enumerate(TEXTS):
        prompt = batch["input_ids"][i, : batch["prompts"][i]].tolist()
        ids = torch.tensor([[*prompt, *family.encode(text), 2]])
        labels = ids.clone()
        labels[:, : len(prompt)] = -100
        mean = model(input_ids=ids, input_features=upstream(batch, i), labels=labels).loss
        assert nll[i].item() == pytest.approx(int(tokens[i]) * mean.item(), rel=1e-5)


def test_greedy_decoding_is_that_of_transformers(family: Family, batch: Batch) -> None:
    model = family.model()
    lengths = batch["prompts"].tolist()
    ids = torch.full((len(lengths), max(lengths)), 11)
    mask = torch.zeros_like(ids)
    for i, n in enumerate(lengths):
        ids[i, -n:], mask[i, -n:] = batch["input_ids"][i, :n], 1
    features = torch.cat([upstream(batch, i) for i in range(len(lengths))])
    written = model.generate(
        input_ids=ids, input_features=features, attention_mask=mask,
        generation_config=GenerationConfig(max_new_tokens=30, eos_token_id=2, pad_token_id=11, do_sample=False),
    )[:, ids.shape[1] :].tolist()  # fmt: skip
    ours = family.decode(model, batch)
    for i, tokens in enumerate(written):
        kept = tokens[: 10 * int(batch["chunks"][i])]  # two tokens for each of audio, and no more
        assert ours[i].text == family._text(kept[: kept.index(2)] if 2 in kept else kept)


def test_long_clips_and_texts_are_refused(family: Family) -> None:
    assert family.max_seconds == pytest.approx(7 * CHUNK_S)
    assert len(family.features(noise(family.max_seconds))) <= 280
    with pytest.raises(EarmarkError, match=r"lasts 5\.61 s but base .* takes 5\.60 s at most — cut it"):
        family.features(noise(5.61))
    room = family._longest
    assert len(family.encode("x" * room)) == room
    with pytest.raises(TranscriptRefused, match=f"{room + 1} tokens, but base .* has room for {room}"):
        family.encode("x" * (room + 1))
    longest = family.collate([family.features(noise(5.6))], ["x" * room], ["en"])
    assert longest["input_ids"].shape[1] == 128 == family.config.text_config.max_position_embeddings


def test_languages_and_tasks_that_it_has_no_words_for_are_refused(folder: Path, family: Family) -> None:
    assert family.speaks("da")
    assert not family.speaks("haw")  # three letters
    with pytest.raises(UnknownName, match=r"no language in base .* 'klingon'"):
        open_family("voxtral", str(folder), language="klingon")
    with pytest.raises(UnknownName, match=r"no language in base .* 'xx'"):
        family.collate([family.features(noise(0.1))], ["one"], ["xx"])
    with pytest.raises(EarmarkError, match="no prompt for translation"):
        open_family("voxtral", str(folder), language="de", task="translate")
    open_family("voxtral", str(folder), language="de", task="transcribe")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audio_token_id": 25}, r"token \[AUDIO\] is 24 in the tokeniser, 25 in the model"),
        ({"model_type": "whisper"}, "is a whisper model"),
        ("[TRANSCRIBE]", r"has no token \[TRANSCRIBE\]"),
    ],
)
def test_bases_that_do_not_fit_together_are_refused(
    folder: Path, tmp_path: Path, change: dict[str, object] | str, said: str
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    if isinstance(change, str):
        text = (copy / "tekken.json").read_text()
        (copy / "tekken.json").write_text(text.replace(change, "<SPECIAL_34>"))
    else:
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(EarmarkError, match=said):
        open_family("voxtral", str(copy))


def test_saved_and_opened_again_it_is_the_same(family: Family, batch: Batch, tmp_path: Path) -> None:
    model = family.model()
    with torch.no_grad():
        model.model.language_model.norm.weight += 0.5
    family.save(model, tmp_path)
    assert (tmp_path / "tekken.json").read_bytes() == (family.base.path / "tekken.json").read_bytes()
    again = open_family("voxtral", str(tmp_path))
    assert again.feature_digest == family.feature_digest
    with torch.no_grad():
        assert torch.equal(family.losses(model, batch)[0], again.losses(again.model(), batch)[0])


def test_what_is_saved_is_what_transformers_opens(family: Family, tmp_path: Path) -> None:
    family.save(family.model(), tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(processor, VoxtralProcessor)
    assert processor.audio_token == "[AUDIO]"


def test_a_tokeniser_in_the_format_of_transformers_will_do(family: Family, folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "tekken.json").unlink()
    family.tokenizer.save_pretrained(copy)
    other = open_family("voxtral", str(copy), language="pl")
    assert [other.encode(t) for t in TEXTS] == [family.encode(t) for t in TEXTS]
    assert other.prompt("pl", 2) == family.prompt("pl", 2)
    other.save(other.model(), tmp_path / "saved")
    assert open_family("voxtral", str(tmp_path / "saved")).encode("one") == family.encode("one")


def test_dropout_is_the_recipes_or_the_bases_own(family: Family) -> None:
    model = family.model(dropout=0.25)
    assert model.model.audio_tower.layers[0].dropout == 0.25
    assert model.model.language_model.layers[0].self_attn.attention_dropout == 0.25
    assert family.model().model.language_model.layers[0].self_attn.attention_dropout == 0.0
    assert not model.model.audio_tower.embed_positions.weight.requires_grad


def test_adapters_reach_tower_projector_and_language_model(family: Family, batch: Batch) -> None:
    model = family.model()
    names = family.adaptable(model)
    assert len(names) == 6 + 2 + 2 * 7
    assert "lm_head" not in names
    adapted = lora.attach(family, model, Lora(rank=2), seed=0).eval()
    assert isinstance(adapted, PeftModel)
    with torch.no_grad():
        assert torch.equal(family.losses(adapted, batch)[0], family.losses(family.model(), batch)[0])
    family.losses(adapted, batch)[0].sum().backward()
    moved = [n for n, p in adapted.named_parameters() if "lora_B" in n and p.grad is not None and bool(p.grad.any())]
    assert len(moved) == len(names)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_it_trains_and_is_evaluated_on_the_record(
    folder: Path, tmp_path: Path, populate: Callable[..., SampleSet], method: str
) -> None:
    store = Store.init(tmp_path / "store")
    populate(store, "tongues", 8, seed=3, languages=["en", "de", "it", "en-GB"] * 2)
    shutil.copytree(store.root, tmp_path / "copy")  # before training, so that nothing can be reused
    recipe = Recipe(
        name="hears", family="voxtral", base=str(folder), train="tongues", method=method, language="per-sample",
        epochs=3, batch_size=4, learning_rate=1e-2, dropout=0.1,
    )  # fmt: skip
    made = train(store, recipe)
    assert train(Store.open(tmp_path / "copy"), recipe).model_id == made.model_id
    losses = store.resolve_run(made.run_id).result["losses"]
    assert losses[-1] < losses[0]
    found = evaluate(store, made.model_id, "tongues")
    assert {f.metric for f in found.figures} >= {"wer", "loss"}
    opened = open_model(store, made.model_id)
    assert (opened.family.name, opened.family.language) == ("voxtral", "per-sample")

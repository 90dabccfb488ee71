"""What is published is what is on record: it loads back, proves itself, names nobody, and an erasure knows of it."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
import torch
import yaml
from huggingface_hub import ModelCard, snapshot_download
from peft import PeftModel
from transformers import AutoModelForSpeechSeq2Seq

from lineage.errors import EarmarkError
from lineage.exports.check import Check
from lineage.people import reach
from lineage.people.erase import erase
from lineage.people.obligations import owing
from lineage.people.policy import Policy, PolicyRefused
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.store import Store
from tests.training.conftest import ACCENTS
from tests.training.hub_server import TOKEN, Hub
from training.evaluation.evaluate import evaluate
from training.families import Decoded
from training.families.base import Base, find_base
from training.fit import train
from training.models.recorded import open_model, resolve_model
from training.models.weights import weights_digest
from training.publishing.publish import publish_model, publish_set, publish_space
from training.recipe import Recipe

NAMES = ("train-0", "train-1", "train-2", "train-3", "test-0")


@pytest.fixture(scope="module")
def store(able: Store) -> Store:
    """A store with the model `able`, evaluated."""
    evaluate(able, "able", "test", replicates=50)
    return able


@pytest.fixture(scope="module")
def model(store: Store) -> str:
    """The id of `able`."""
    return resolve_model(store, "able").model_id


def fetched(repo: str, kind: str = "model") -> Path:
    return Path(snapshot_download(repo, repo_type=kind))


def test_a_published_model_loads_back_as_the_same_model(store: Store, model: str, hub: Hub) -> None:
    done = publish_model(store, "able", "ann/able", private=True)
    find_base.cache_clear()
    found = find_base("ann/able")
    assert weights_digest(found.path) == model
    folder = fetched("ann/able")
    assert weights_digest(folder) == model
    again, ours = AutoModelForSpeechSeq2Seq.from_pretrained("ann/able"), open_model(store, model).model
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert done.pushed.commit == folder.name
    assert hub.repos["model", "ann/able"].private


def test_it_proves_itself_and_says_what_it_is_made_of(store: Store, model: str, hub: Hub, tmp_path: Path) -> None:
    done = publish_model(store, "able", "ann/able", use="Counting **aloud**.")
    folder = fetched("ann/able")
    report = Check(folder).run()
    assert report.ok, report.findings
    assert Check(Path(snapshot_download("ann/able", local_dir=tmp_path / "copy"))).run().ok
    card = ModelCard.load(folder / "README.md")
    assert {(r.dataset_config, r.dataset_revision) for r in card.data.eval_results or []} >= {
        ("all", resolve_set(store, "test").digest),
        (f"accent={ACCENTS[0]}", resolve_set(store, "test").digest),
    }
    for words in ("Counting **aloud**.", model, resolve_set(store, "train").digest, "not stated"):
        assert words in card.text
    told = yaml.safe_load((folder / "lineage.json").read_text())
    assert (told["model"]["id"], told["training_set"]["samples"]) == (model, 24)
    noted = store.resolve_run(told["model"]["run"]).config["recipe"]
    assert Recipe.load(folder / "recipe.yaml").epochs == noted["epochs"]
    run, outcome = store.resolve_run(done.export), store.resolve_run(done.run_id)
    assert (run.kind, run.config["to"], run.outputs) == ("export", "ann/able", [done.digest])
    assert (outcome.kind, outcome.result["revision"], outcome.inputs) == ("publish", done.pushed.commit, [done.digest])
    assert run.parents == [outcome.id]


def test_nothing_personal_goes_out_and_no_token_stays(store: Store, model: str, base: Path, hub: Hub) -> None:
    publish_model(store, "able", "ann/able")
    spoken = {t for t in store.vault.transcripts().values() if t.count(" ") > 1}
    secret = [*NAMES, *spoken, str(base.parent), str(store.root.parent), TOKEN, *map(str, store.vault.speakers())]
    for name, content in hub.published("ann/able").items():
        for word in secret:
            assert word.encode() not in content, (name, word)
    for path in store.root.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_publishing_again_sends_no_bulk_and_is_the_same_export(store: Store, model: str, hub: Hub) -> None:
    first = publish_model(store, "able", "ann/able")
    sent = hub.count("PUT /bulk")
    second = publish_model(store, "able", "ann/able")
    assert (second.digest, hub.count("PUT /bulk")) == (first.digest, sent)


def test_a_push_that_fails_is_on_record_and_an_erasure_would_know_of_it(store: Store, model: str, hub: Hub) -> None:
    hub.fail("/commit/", times=99)
    with pytest.raises(EarmarkError, match="run the same command again"):
        publish_model(store, "able", "ann/broken")
    failed = store.runs()[-2:]
    assert [(r.kind, r.status) for r in failed] == [("publish", "failed"), ("export", "completed")]
    found = reach.reach(store, reach.speaker(store, "train-0"))
    assert "ann/broken" in {e["to"] for e in found.exports}
    assert not list((store.root / "running").glob(".*"))


def test_a_policy_refuses_before_anything_is_sent(store: Store, model: str, hub: Hub) -> None:
    strict = Policy(name="strict", licences=("CC0-1.0",))
    for publish, ref in ((publish_model, "able"), (publish_set, "train")):
        with pytest.raises(PolicyRefused, match="no licence is on record"):
            publish(store, ref, "ann/refused", policy=strict)
    assert not hub.requests
    assert {r.status for r in store.runs()[-4:]} == {"failed"}


def test_adapters_go_with_a_base_that_no_hub_has(
    store: Store, base: Path, hub: Hub, populate: Callable[..., SampleSet]
) -> None:
    recipe = Recipe(
        name="adapted", base=str(base), train="train", epochs=1, batch_size=8, learning_rate=3e-3, method="lora"
    )
    trained = train(store, recipe)
    done = publish_model(store, "adapted", "ann/adapted", licence="apache-2.0")
    assert [r for r in done.remarks if "not evaluated" in r]
    folder = fetched("ann/adapted")
    assert weights_digest(folder, Base("base", folder / "base").digest) == trained.model_id
    model = PeftModel.from_pretrained(AutoModelForSpeechSeq2Seq.from_pretrained(folder / "base"), str(folder))
    assert any("lora" in name for name, _ in model.named_parameters())
    assert ModelCard.load(folder / "README.md").data.license == "apache-2.0"
    with pytest.raises(EarmarkError, match="which no hub has"):
        publish_space(store, "adapted", "ann/demo")


def demo(source: bytes, folder: Path) -> Any:
    """The module that a demo's source is."""
    path = folder / "app.py"
    path.write_bytes(source)
    spec = importlib.util.spec_from_file_location("app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_demo_hears_what_the_record_hears(store: Store, model: str, hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="not published yet"):
        publish_space(Store.open(store.root), adopted(store, tmp_path), "ann/demo")
    publish_model(store, "able", "ann/able")
    publish_space(store, "able", "ann/demo")
    files = hub.published("ann/demo", "space")
    assert set(files) == {".gitattributes", "README.md", "app.py", "requirements.txt"}
    assert hub.repos["space", "ann/demo"].sdk == "gradio"
    assert yaml.safe_load(files["README.md"].split(b"---")[1])["app_file"] == "app.py"
    module = demo(files["app.py"], tmp_path)
    assert (module.MODEL, module.BASE, "gradio" in sys.modules) == ("ann/able", "ann/able", False)
    opened = open_model(store, model)
    evaluated = members(store, resolve_set(store, "train").digest)
    sample, wave = next(store.vault.waveforms(evaluated))
    batch = opened.family.collate([opened.family.features(wave)], [""])
    heard: Decoded = opened.family.decode(opened.model, batch)[0]
    loud = (wave.pcm * 32767).round().astype(np.int16)
    assert module.transcribe((wave.rate, loud)) == heard.text == store.vault.transcripts()[sample]
    assert module.transcribe((wave.rate, np.repeat(loud, 2, axis=1))) == heard.text
    assert module.transcribe(None) == module.transcribe((wave.rate, loud[:0])) == ""


def adopted(store: Store, folder: Path) -> str:
    from tests.training.conftest import tiny_whisper
    from training.models.recorded import adopt_base

    return adopt_base(store, str(tiny_whisper(folder / "other", seed=9))).model_id


def test_a_set_comes_back_without_what_was_erased(
    tmp_path: Path, hub: Hub, base: Path, populate: Callable[..., SampleSet]
) -> None:
    store = Store.init(tmp_path / "store")
    data = populate(store, "said", 12, seed=3)
    trained = train(store, Recipe(name="t", base=str(base), train="said", epochs=1, learning_rate=1e-3))
    first = publish_set(store, "said", "ann/said", licence="CC-BY-4.0")
    publish_model(store, "t", "ann/t")
    assert hub.repos["dataset", "ann/said"].private
    folder = fetched("ann/said", "dataset")
    assert Check(folder).run().ok
    rows = datasets.load_from_disk(str(folder))
    assert {str(i) for i in store.vault.transcripts()} == set(rows["sample_id"])
    assert not {n for n in rows["speaker"] if n.startswith("said")}
    sound, rate = soundfile.read(io.BytesIO(rows[0]["audio"]["bytes"]))
    assert (rate, len(sound) / rate) == (rows[0]["sampling_rate"], rows[0]["duration"])
    names = b"".join(hub.published("ann/said", "dataset").values())
    assert b"said-0" not in names

    erase(store, reach.speaker(store, "said-0"))
    assert {o["name"] for o in owing(store) if o["event"] == "owes_withdrawal"} == {"datasets/ann/said", "ann/t"}
    with pytest.raises(EarmarkError, match="consumed what was erased since"):
        publish_model(store, trained.model_id, "ann/t")
    assert [r for r in publish_set(store, "said", "ann/said", licence="CC-BY-4.0").remarks if "--forget" in r]
    again = publish_set(store, "said", "ann/said", licence="CC-BY-4.0", forget=True)
    left = datasets.load_from_disk(str(fetched("ann/said", "dataset")))
    assert len(left) == 9
    assert Check(fetched("ann/said", "dataset")).run().ok
    card = hub.published("ann/said", "dataset")["README.md"].decode()
    assert "3 samples have been erased since the set was first published here" in card
    assert (resolve_set(store, "said").digest in card, data.digest in card) == (True, False)
    assert again.digest != first.digest
    assert len(hub.repos["dataset", "ann/said"].branches["main"]) == 1
    old = publish_set(store, data.digest, "ann/said", licence="CC-BY-4.0")
    assert len(datasets.load_from_disk(str(fetched("ann/said", "dataset")))) == 9
    assert old.pushed.commit != again.pushed.commit


def test_licences_of_sources_stand_on_the_card(tmp_path: Path, hub: Hub, populate: Callable[..., SampleSet]) -> None:
    store = Store.init(tmp_path / "store")
    populate(store, "said", 4, seed=3)
    assert "license: unknown" in card_of(store, hub)
    assert "license: cc-by-nc-4.0" in card_of(store, hub, licence="cc-by-nc-4.0")
    with pytest.raises(EarmarkError, match="write SPDX"):
        card_of(store, hub, licence="free for all!")


def card_of(store: Store, hub: Hub, **options: Any) -> str:
    publish_set(store, "said", "ann/said", **options)
    return hub.published("ann/said", "dataset")["README.md"].decode()

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineage.errors import EarmarkError
from lineage.identity import audio_digest, sample_id
from lineage.people import reach
from lineage.people.erase import erase
from lineage.people.policy import Policy, PolicyRefused
from lineage.recorder import NewSample, Recorder
from lineage.selection.sets import create_set, members, resolve_set
from lineage.sound.audio import Waveform, encode, quantise, read_audio, wav
from lineage.store import Store
from training.data import augment as augmenting
from training.data.augment import Augmentation, Augmenter, pinned, recorded
from training.data.corpus import open_corpus
from training.data.order import Exposure
from training.data.playback import rebuild
from training.data.presentation import Presentation
from training.families import open_family
from training.families.whisper import Whisper
from training.fit import train
from training.recipe import Recipe

NOISE = {"transform": "noise", "others": "hums", "probability": 0.6, "parameters": {"snr_db": [0, 20]}}
CODEC = {"transform": "codec", "probability": 0.5, "parameters": {"codec": ["mp3", "gsm"], "compression": [0.5, 0.9]}}
FASTER = {"transform": "tempo", "probability": 0.5, "parameters": {"factor": [1.0, 1.2]}}
AUGMENT = [FASTER, NOISE, CODEC]


@pytest.fixture(scope="module", autouse=True)
def hums(store: Store) -> list[uuid.UUID]:
    """Three noises on record, the set 'hums'."""
    ids = []
    with store.run("ingest", job="hums") as run:
        with Recorder(run) as recorder:
            for i in range(3):
                tone = np.sin(2 * np.pi * 60 * (i + 1) * np.arange(4_000) / 8_000)
                wave = quantise(Waveform((0.1 * tone).astype(np.float32)[:, None], 8_000))
                digest = audio_digest(wave.pcm, wave.rate)
                ids.append(sample_id(digest, None))
                recorder.add(
                    NewSample(
                        ids[-1],
                        digest,
                        "noise",
                        wave.duration_s,
                        8_000,
                        1,
                        attributes={"hum": str(i)},
                        clip=encode(wave),
                    )
                )
            totals = recorder.totals()
        create_set(run, ids, name="hums", samples=totals)
    return ids


def some(store: Store, count: int = 24) -> list[uuid.UUID]:
    ids: list[uuid.UUID] = members(store, resolve_set(store, "train").digest).to_pylist()
    return ids[:count]


def augmenter(store: Store, augment: list[dict[str, Any]] = AUGMENT) -> Augmenter:
    return Augmenter(store, [Augmentation(**a) for a in augment])


def test_what_is_heard_depends_on_sample_and_seed_alone(store: Store) -> None:
    one, other = augmenter(store), augmenter(store)
    samples = some(store, 8)
    first = {(s, seed): one.hear(s, one.drawn(s, seed)).pcm for s in samples for seed in (1, 2)}
    for sample, seed in reversed(first):
        assert np.array_equal(other.hear(sample, other.drawn(sample, seed)).pcm, first[sample, seed])
    assert len({pcm.tobytes() for pcm in first.values()}) > 12


def test_probabilities_and_ranges_are_kept(store: Store) -> None:
    samples = some(store, 20)
    one = augmenter(store)
    drawn = [one.drawn(s, seed) for s in samples for seed in range(60)]
    counts = Counter(a.transform for applied in drawn for a in applied)
    assert counts["noise"] / 1_200 == pytest.approx(0.6, abs=0.05)
    assert counts["codec"] / 1_200 == pytest.approx(0.5, abs=0.05)
    both = sum({"noise", "codec"} <= {a.transform for a in applied} for applied in drawn)
    assert both / 1_200 == pytest.approx(0.3, abs=0.05)
    ratios = [a.parameters["snr_db"] for applied in drawn for a in applied if a.transform == "noise"]
    assert min(ratios) >= 0
    assert max(ratios) <= 20
    assert len({a.other for applied in drawn for a in applied if a.transform == "noise"}) == 3
    order = [str(a["transform"]) for a in AUGMENT]
    places = [[order.index(a.transform) for a in applied] for applied in drawn]
    assert all(p == sorted(p) for p in places)


def test_two_of_a_kind_draw_apart(store: Store) -> None:
    twice = augmenter(store, [{**NOISE, "probability": 1}] * 2)
    (first, second) = twice.drawn(some(store)[0], 7)
    assert first.parameters != second.parameters


def test_nothing_drawn_is_the_samples_own_sound(store: Store) -> None:
    sample = some(store)[0]
    ((_, own),) = store.vault.waveforms([sample])
    assert np.array_equal(augmenter(store).hear(sample, []).pcm, own.pcm)


def test_sound_beyond_the_memory_set_aside_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = some(store, 12)
    plenty = augmenter(store)
    expected = [plenty.hear(s, plenty.drawn(s, 5)).pcm for s in samples]
    monkeypatch.setattr(augmenting, "SOUND_BYTES", 1)
    scarce = augmenter(store)
    scarce.prepare(samples)
    assert all(
        np.array_equal(scarce.hear(s, scarce.drawn(s, 5)).pcm, e) for s, e in zip(samples, expected, strict=True)
    )
    assert len(scarce._sounds) == 1


def test_recipes_say_the_same_however_they_are_written(recipe: Recipe) -> None:
    one = recipe.variant(augment=[{"transform": "codec", "parameters": {"codec": "mp3"}}])
    other = recipe.variant(augment=[{"transform": "codec", "parameters": {"codec": "mp3", "compression": "0.8"}}])
    assert one.digest == other.digest
    assert Recipe.parse(one.model_dump()) == one
    assert recipe.variant(augment=AUGMENT).essence["augment"][1]["parameters"] == {"snr_db": [0.0, 20.0]}


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        ([{"transform": "nois"}], "augment.0.*did you mean 'noise'"),
        ([{"transform": "noise", "parameters": {"snr_db": 3}}], "name the set to draw them from"),
        ([{**CODEC, "others": "hums"}], "draws from no set"),
        ([FASTER, {**CODEC, "parameters": {"codec": "mp4"}}], "augment.1.*parameter codec of codec"),
        ([{**NOISE, "parameters": {"snr_db": [20, 0]}}], "a range goes upwards"),
        ([{**NOISE, "parameters": {"snr": 3}}], "did you mean 'snr_db'"),
        ([{**CODEC, "probability": 1.5}], "augment.0.probability.*In how many of the exposures"),
        ([{**CODEC, "probabilty": 0.5}], "did you mean 'probability'"),
        ([{"probability": 0.5}], "'augment.0.transform' is missing"),
        ([{"transform": "concat"}], "changes what is said"),
        ([{"transform": "segment"}], "changes what is said"),
        ("noise", "field 'augment'"),
    ],
)
def test_mistakes_in_a_recipe_are_named(recipe: Recipe, augment: Any, said: str) -> None:
    with pytest.raises(EarmarkError, match=said) as caught:
        recipe.variant(augment=augment)
    assert "\n" not in str(caught.value)


def test_a_set_that_is_not_there_is_named(store: Store, recipe: Recipe) -> None:
    with pytest.raises(EarmarkError, match="no set 'humz' — did you mean 'hums'"):
        train(store, recipe.variant(augment=[{**NOISE, "others": "humz"}]))
    assert [r.status for r in store.runs() if r.kind == "train"][-1] == "failed"


def test_clips_that_would_become_too_long_are_told_before_the_first_step(store: Store, recipe: Recipe) -> None:
    slow = {"transform": "speed", "parameters": {"factor": [0.5, 1]}}
    with pytest.raises(EarmarkError, match=r"2 times as long.*raise the lowest factor to 0\.75"):
        train(store, recipe.variant(augment=[slow]))
    assert [r.status for r in store.runs() if r.kind == "train"][-1] == "failed"


def test_a_pool_is_data_that_policy_speaks_of(store: Store, recipe: Recipe) -> None:
    fields = {"name": "no hums", "minimum_speakers": {"all": 2}, "on_violation": "refuse"}
    noisy = recipe.variant(augment=AUGMENT, epochs=1)
    made = train(store, noisy, policy=Policy.parse(fields))
    assert resolve_set(store, "hums").digest in store.resolve_run(made.run_id).inputs
    with pytest.raises(PolicyRefused, match="hum"):
        train(store, noisy, policy=Policy.parse({**fields, "forbidden_attributes": ["hum"]}))


def test_erasing_a_noise_reaches_the_models_that_drew_from_its_set(
    store: Store, recipe: Recipe, hums: list[uuid.UUID]
) -> None:
    noisy = train(store, recipe.variant(augment=AUGMENT, epochs=1))
    quiet = train(store, recipe.variant(epochs=1))
    found = {m["model_id"] for m in reach.reach(store, reach.sample(store, str(hums[0]))).models}
    assert noisy.model_id in found
    assert quiet.model_id not in found


def test_training_consumes_what_the_record_rebuilds(
    store: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: the waveforms turned into features while training are those rebuilt from the exposures."""
    rarer = [{**a, "probability": 0.3} for a in AUGMENT]
    recipe = recipe.variant(augment=rarer, spec_augment={}, seed=11, epochs=1, gradient_accumulation=2)
    train(store, recipe.variant(augment=[], spec_augment=None, epochs=1))  # fills the cache of features
    consumed: list[bytes] = []
    features = Whisper.features
    monkeypatch.setattr(
        Whisper, "features", lambda self, wave: (consumed.append(wave.pcm.tobytes()), features(self, wave))[1]
    )
    made = train(store, recipe)
    monkeypatch.undo()
    rows = store.read("exposures", where="run_id = ? ORDER BY step, position", parameters=[made.run_id]).to_pylist()
    heard = [rebuild(store, made.run_id, r["step"], r["position"]) for r in rows]
    assert [h.sample for h in heard] == [r["sample_id"] for r in rows]
    assert [h.wave.pcm.tobytes() for h in heard if h.applied] == consumed
    plain = [h for h in heard if not h.applied]
    own = dict(store.vault.waveforms([h.sample for h in plain]))
    assert plain
    assert all(np.array_equal(h.wave.pcm, own[h.sample].pcm) for h in plain)
    assert all(h.same_code for h in heard)
    assert all(np.array_equal(read_audio(wav(h.wave)).pcm, h.wave.pcm) for h in heard[:5])
    noted = store.read("accesses", ["action", "subjects"]).to_pylist()[-1]
    mixed = any(a.other for a in heard[-1].applied)
    assert noted == {"action": f"hear {made.run_id} {rows[-1]['step']} {rows[-1]['position']}", "subjects": 1 + mixed}


def test_the_run_names_its_transforms(store: Store, recipe: Recipe) -> None:
    recipe = recipe.variant(augment=AUGMENT, epochs=1)
    made = train(store, recipe)
    run = store.resolve_run(made.run_id)
    assert run.config["augment"] == pinned(store, recipe.augment)
    assert [a.others for a in recorded(run.config["augment"])] == [None, resolve_set(store, "hums").digest, None]
    for a in run.config["augment"]:
        (row,) = store.read("transforms", where="transform_id = ?", parameters=[a["transform_id"]]).to_pylist()
        assert row["name"] == a["transform"]


def test_ablation_and_batches_change_nothing_that_is_drawn(store: Store, recipe: Recipe) -> None:
    recipe = recipe.variant(augment=AUGMENT, epochs=1)
    whole = train(store, recipe)
    assert whole.model_id != train(store, recipe.variant(augment=[])).model_id
    gone = train(store, recipe, weights={resolve_set(store, "train").digest: 0.5})
    columns = ["step", "position", "sample_id", "seed"]
    one, other = (
        store.read("exposures", columns, "run_id = ? ORDER BY step, position", [r.run_id]) for r in (whole, gone)
    )
    assert one.equals(other)
    by_digest = [{**a, "others": resolve_set(store, "hums").digest} if "others" in a else a for a in AUGMENT]
    assert train(store, recipe.variant(augment=by_digest)).reused


def test_exposures_presented_together_are_those_presented_alone(store: Store, recipe: Recipe, base: Path) -> None:
    corpus = open_corpus(store, resolve_set(store, "train").digest, open_family("whisper", str(base)))
    exposures = [Exposure(i, 100 + i) for i in range(10)]
    together = Presentation(corpus, recipe.variant(augment=AUGMENT)).__getitems__(exposures)
    shown = Presentation(corpus, recipe.variant(augment=AUGMENT))
    assert all(np.array_equal(shown.present(p.exposure), p.features) for p in reversed(together))


@pytest.mark.parametrize(("step", "position", "said"), [(10_000, 0, "steps go from 0"), (0, 99, "positions from 0 to")])
def test_exposures_that_never_were_are_named(store: Store, recipe: Recipe, step: int, position: int, said: str) -> None:
    made = train(store, recipe.variant(epochs=1))
    with pytest.raises(EarmarkError, match=said):
        rebuild(store, made.run_id, step, position)


def test_what_was_erased_is_not_heard_again(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "copy")
    copy = Store.open(tmp_path / "copy")
    made = train(copy, recipe.variant(augment=AUGMENT, epochs=1))
    sample = rebuild(copy, made.run_id, 0, 0).sample
    erase(copy, reach.sample(copy, str(sample)), reason="asked for")
    with pytest.raises(EarmarkError, match="erased"):
        rebuild(copy, made.run_id, 0, 0)


def test_a_run_that_did_not_train_has_nothing_to_hear(store: Store) -> None:
    with pytest.raises(EarmarkError, match="name a run that trained"):
        rebuild(store, store.runs()[0].id, 0, 0)

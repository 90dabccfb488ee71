from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineage.derivation import derive, transforms
from lineage.derivation.derive import Job
from lineage.errors import EarmarkError, UnknownName
from lineage.ingestion.ingest import ingest
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from tests.lineage.sounds import sound, write

SPEAKERS = ("anna", "anna", "bert", "bert")


@pytest.fixture
def recorded(store: Store, tmp_path: Path) -> Store:
    """A store with the set 'speech' (four utterances of two speakers) and the set 'noises' (three recordings)."""
    folder = tmp_path / "data"
    rows: list[dict[str, Any]] = []
    for i, speaker in enumerate(SPEAKERS):
        write(folder / f"{i}.wav", sound(0.2 + i / 50, seed=i, peak=0.2))
        accent = "scot" if speaker == "anna" else "us"
        row = {"audio_path": f"{i}.wav", "text": f"word {i}", "speaker": speaker, "accent": accent, "age": i}
        rows.append({**row, "source": "a", "licence": "CC0-1.0"})
    (folder / "speech.jsonl").write_text("\n".join(map(json.dumps, rows)))
    hums = []
    for i in range(3):
        write(folder / f"hum{i}.wav", sound(0.1 + i / 5, seed=10 + i))
        hums.append({"audio_path": f"hum{i}.wav", "kind": "noise", "noise": f"hum{i}", "licence": "CC-BY-4.0"})
    (folder / "noises.jsonl").write_text("\n".join(map(json.dumps, hums)))
    ingest(store, folder / "speech.jsonl")
    ingest(store, folder / "noises.jsonl")
    return store


def of(store: Store, name: str) -> list[uuid.UUID]:
    """The set's members in the order in which they were said."""
    ids: list[uuid.UUID] = members(store, resolve_set(store, name).digest).to_pylist()
    words = store.vault.transcripts(ids)
    return sorted(ids, key=lambda i: (words.get(i, ""), i))


def facts(store: Store, sample: uuid.UUID) -> dict[str, Any]:
    (row,) = store.read("samples", where="sample_id = ?", parameters=[sample]).to_pylist()
    return {**row, "attributes": dict(row["attributes"])}


def edges(store: Store, sample: uuid.UUID) -> list[dict[str, Any]]:
    return store.read("edges", where="child_id = ? ORDER BY position", parameters=[sample]).to_pylist()


def applied(store: Store, name: str, items: list[Any], **how: Any) -> list[uuid.UUID]:
    with store.run("transform") as run:
        return derive.apply(run, name, items, **how).ids


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("resample", {"rate": 8_000}), ("trim", {"start_s": 0.01}), ("speed", {"factor": 1.1}),
    ("level", {"gain_db": -6}), ("noise", {"snr_db": 10}), ("tempo", {"factor": [0.8, 0.9]}), ("pitch", {"semitones": 2}),
    ("level", {"gain_db": [-9, -3]}), ("reverb", {"rt60_s": [0.2, 0.5]}), ("impulse", {}), ("telephone", {}),
    ("codec", {"codec": ["mp3", "opus", "gsm"], "compression": [0.5, 1]}), ("clip", {"over_db": 12}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters"), CALLS)
def test_ids_do_not_depend_on_order_batch_or_threads(
    recorded: Store, monkeypatch: pytest.MonkeyPatch, name: str, parameters: dict[str, Any]
) -> None:
    speech, noises = of(recorded, "speech"), of(recorded, "noises")
    how: dict[str, Any] = {"parameters": parameters, "others": noises, "seed": 7}
    first = applied(recorded, name, speech, workers=1, **how)
    monkeypatch.setattr(derive, "SOUND_JOBS", 1)
    second = applied(recorded, name, speech[::-1], workers=3, **{**how, "others": noises[::-1]})
    assert second == first[::-1]
    assert len(set(first) | set(speech)) == 8


def test_a_range_is_drawn_for_each_sample_and_the_seed_is_on_its_edge(recorded: Store) -> None:
    speech = of(recorded, "speech")
    children = applied(recorded, "level", speech, parameters={"gain_db": [-9, -3]}, seed=5)
    gains = [float(facts(recorded, c)["attributes"]["level_db"]) for c in children]
    assert len(set(gains)) == 4
    assert all(-9 <= g <= -3 for g in gains)
    kept = [edges(recorded, c)[0] for c in children]
    assert [e["seed"] for e in kept] == [5] * 4
    assert [e["gain_db"] for e in kept] == pytest.approx(gains, abs=1e-3)
    assert applied(recorded, "level", speech, parameters={"gain_db": [-9, -3]}, seed=6) != children


def test_doing_it_again_adds_no_row(recorded: Store) -> None:
    speech = of(recorded, "speech")
    tables = ("samples", "edges", "transforms")
    applied(recorded, "level", speech, parameters={"gain_db": -6})
    before = [recorded.read(t).num_rows for t in tables]
    applied(recorded, "level", [*speech, *speech], parameters={"gain_db": "-6.0"})
    assert [recorded.read(t).num_rows for t in tables] == before


def test_a_child_is_described_by_its_parent_and_what_was_done(recorded: Store) -> None:
    parent = of(recorded, "speech")[0]
    (child,) = applied(recorded, "speed", [parent], parameters={"factor": 2}, attributes={"split": "train"})
    was, row = facts(recorded, parent), facts(recorded, child)
    for name in ("speaker_key", "source", "licence", "kind", "sample_rate", "channels", "words"):
        assert row[name] == was[name]
    assert row["attributes"] == {**was["attributes"], "speed": "2", "split": "train"}
    assert row["duration_s"] == pytest.approx(was["duration_s"] / 2)
    assert row["root_ids"] == [parent]
    assert recorded.vault.transcripts([child])[child] == "word 0"
    (edge,) = edges(recorded, child)
    assert (edge["parent_id"], edge["role"], edge["position"], edge["seed"]) == (parent, "speech", 0, None)
    (how,) = recorded.read("transforms", where="transform_id = ?", parameters=[edge["transform_id"]]).to_pylist()
    assert (how["name"], how["parameters"]) == ("speed", '{"factor":2}')


def test_the_vault_plays_the_child(recorded: Store) -> None:
    parent = of(recorded, "speech")[0]
    (child,) = applied(recorded, "level", [parent], parameters={"gain_db": -6})
    ((_, before), (_, after)) = recorded.vault.waveforms([parent, child])
    assert np.abs(after.pcm - before.pcm * 10 ** (-6 / 20)).max() <= 2**-16
    assert recorded.vault.paths([child]) == {child: None}


def test_what_changes_nothing_gives_the_parent(recorded: Store) -> None:
    speech = of(recorded, "speech")
    rows = recorded.read("samples").num_rows
    assert applied(recorded, "resample", speech, parameters={"rate": 16_000}) == speech
    assert applied(recorded, "mono", speech) == speech
    assert recorded.read("samples").num_rows == rows
    assert recorded.read("edges").num_rows == 0


def test_strings_know_where_each_word_begins(recorded: Store) -> None:
    a, b, c, _ = of(recorded, "speech")
    ((same), (mixed)) = applied(recorded, "concat", [(a, b), (b, c)], parameters={"gap_s": 0.05})
    assert recorded.vault.transcripts([same])[same] == "word 0 word 1"
    assert facts(recorded, same)["speaker_key"] == facts(recorded, a)["speaker_key"]
    assert facts(recorded, same)["attributes"] == {"accent": "scot"}  # they differ in age
    assert facts(recorded, same)["root_ids"] == sorted([a, b])
    assert facts(recorded, mixed)["speaker_key"] is None
    assert facts(recorded, mixed)["attributes"] == {}
    first, second = edges(recorded, same)
    assert (first["parent_id"], second["parent_id"]) == (a, b)
    assert (first["child_start_s"], first["duration_s"]) == (0.0, pytest.approx(0.2))
    assert second["child_start_s"] == pytest.approx(0.25)
    sounds = dict(recorded.vault.waveforms([a, b, same]))
    start = round(second["child_start_s"] * 16_000)
    assert np.array_equal(sounds[same].pcm[start:], sounds[b].pcm)


def test_a_segment_says_what_it_was_given(recorded: Store) -> None:
    parent = of(recorded, "speech")[0]
    (child,) = applied(recorded, "segment", [Job((parent,), (0.05, 0.15), "half a word")])
    assert recorded.vault.transcripts([child])[child] == "half a word"
    (edge,) = edges(recorded, child)
    assert (edge["parent_start_s"], edge["child_start_s"]) == (0.05, 0.0)
    assert edge["duration_s"] == pytest.approx(0.1)
    for broken in (
        parent,
        Job((parent,), (0.05, 0.15)),
        Job((parent,), (0.15, 0.05), "x"),
        Job((parent,), (0, 1), " "),
    ):
        with pytest.raises(EarmarkError):
            applied(recorded, "segment", [broken])


def test_noise_is_a_second_parent(recorded: Store) -> None:
    speech, noises = of(recorded, "speech"), of(recorded, "noises")
    children = applied(recorded, "noise", speech, parameters={"snr_db": 5}, others=noises, seed=3)
    for parent, child in zip(speech, children, strict=True):
        voice, bed = edges(recorded, child)
        assert (voice["parent_id"], voice["role"], voice["seed"]) == (parent, "speech", 3)
        assert (bed["role"], bed["position"], bed["seed"]) == ("noise", 1, 3)
        row, noise = facts(recorded, child), facts(recorded, bed["parent_id"])
        assert row["attributes"]["noise"] == noise["attributes"]["noise"]
        assert row["attributes"]["snr_db"] == "5"
        assert row["licence"] == "CC-BY-4.0 AND CC0-1.0"
        assert row["speaker_key"] == facts(recorded, parent)["speaker_key"]
        assert row["root_ids"] == sorted([parent, bed["parent_id"]])
        sounds = dict(recorded.vault.waveforms([parent, child]))
        clean = sounds[parent].pcm * 10 ** (voice["gain_db"] / 20)
        rest = sounds[child].pcm - clean
        ratio = 10 * np.log10(np.square(clean).mean() / np.square(rest).mean())
        assert ratio == pytest.approx(5, abs=0.1)


def test_the_seed_decides_and_a_lost_noise_concerns_only_its_users(recorded: Store) -> None:
    speech, noises = of(recorded, "speech"), of(recorded, "noises")

    def drawn(pool: list[uuid.UUID], seed: int) -> dict[uuid.UUID, uuid.UUID]:
        children = applied(recorded, "noise", speech, parameters={"snr_db": 5}, others=pool, seed=seed)
        return {s: edges(recorded, c)[1]["parent_id"] for s, c in zip(speech, children, strict=True)}

    full = drawn(noises, 1)
    assert drawn(noises, 1) == full
    assert any(drawn(noises, seed) != full for seed in range(2, 6))
    gone = full[speech[0]]
    rest = drawn([n for n in noises if n != gone], 1)
    assert {s: n for s, n in rest.items() if full[s] != gone} == {s: n for s, n in full.items() if n != gone}


def test_a_set_is_transformed_once(recorded: Store) -> None:
    how: dict[str, Any] = {"to": "loud", "parameters": {"gain_db": "3"}}
    made = derive.transform_set(recorded, "speech", "level", **how)
    runs = len(recorded.runs())
    assert derive.transform_set(recorded, "speech", "level", **how) == made
    assert len(recorded.runs()) == runs
    assert (made.name, made.size, made.words) == ("loud", 4, 8)
    assert made.parents == (resolve_set(recorded, "speech").digest,)


def test_strings_of_one_speaker_use_each_sample_once(recorded: Store) -> None:
    made = derive.transform_set(recorded, "speech", "concat", to="strings", size=2)
    assert made.size == 2
    parents = [e["parent_id"] for s in of(recorded, "strings") for e in edges(recorded, s)]
    assert sorted(parents) == sorted(of(recorded, "speech"))
    assert all(facts(recorded, s)["speaker_key"] is not None for s in of(recorded, "strings"))


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("nois", {}, "did you mean 'noise'"),
        ("level", {}, "gain_db"),
        ("level", {"parameters": {"gain": 3}}, "did you mean 'gain_db'"),
        ("level", {"parameters": {"gain_db": "loud"}}, "gain_db of level"),
        ("level", {"parameters": {"gain_db": float("nan")}}, "gain_db of level"),
        ("resample", {"parameters": {"rate": 0}}, "greater than or equal to 4000"),
        ("noise", {"parameters": {"snr_db": 5}}, "name the set"),
        ("concat", {}, "how many at a time"),
        ("segment", {}, "manifest with offset"),
        ("trim", {}, "nothing to trim by"),
        ("trim", {"parameters": {"end_s": 3}}, "trim of sample"),
        ("level", {"parameters": {"gain_db": -60}, "ref": "quiet"}, "no set 'quiet'"),
    ],
)
def test_wrong_requests_are_named(recorded: Store, name: str, how: dict[str, Any], said: str) -> None:
    how = dict(how)
    with pytest.raises(EarmarkError, match=said) as caught:
        derive.transform_set(recorded, how.pop("ref", "speech"), name, to="x", **how)
    assert "\n" not in str(caught.value)
    with pytest.raises(UnknownName):
        resolve_set(recorded, "x")


def test_a_child_that_nobody_could_hear_is_refused(recorded: Store) -> None:
    speech = of(recorded, "speech")
    quiet = applied(recorded, "level", speech, parameters={"gain_db": -60})
    with pytest.raises(EarmarkError, match="silent"):
        applied(recorded, "level", quiet, parameters={"gain_db": -60})


def test_samples_of_no_store_are_refused(recorded: Store) -> None:
    with pytest.raises(EarmarkError, match="not on record"):
        applied(recorded, "mono", [uuid.UUID(int=1)])


def test_a_transform_is_one_function(recorded: Store) -> None:
    @transforms.transform("backwards")
    def backwards(parents: Any, draw: Any) -> transforms.Result:
        """Play it backwards."""
        wave = parents[0].wave
        return transforms.whole(type(wave)(wave.pcm[::-1].copy(), wave.rate))

    try:
        made = derive.transform_set(recorded, "speech", "backwards", to="again")
        assert made.size == 4
        assert transforms.find("backwards").doc == "Play it backwards."
    finally:
        del transforms._TRANSFORMS["backwards"]


@pytest.mark.parametrize(
    ("licences", "joint"),
    [
        ([None, None], None),
        (["MIT", "MIT"], "MIT"),
        (["MIT", None], "MIT AND NOASSERTION"),
        (["CC0-1.0 AND MIT", "MIT"], "CC0-1.0 AND MIT"),
        (["MIT OR Apache-2.0", "CC0-1.0"], "(MIT OR Apache-2.0) AND CC0-1.0"),
    ],
)
def test_a_whole_is_under_the_terms_of_all_its_parts(licences: list[str | None], joint: str | None) -> None:
    assert derive.joint_licence(licences) == joint

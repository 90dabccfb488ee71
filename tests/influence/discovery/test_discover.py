from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from influence.discovery.candidates import Part, Settings, part
from influence.discovery.clusters import embeddings
from influence.discovery.describe import overrepresented
from influence.discovery.discover import Discovery, discover, examine
from influence.discovery.literals import attributes_of, literals, quarters
from lineage.errors import EarmarkError
from lineage.ids import id_array
from lineage.recorder import NewSample, Recorder
from lineage.selection.sets import create_set, members, resolve_set
from lineage.selection.slices import Slice, parse_slices, select
from lineage.store import Store
from tests.influence.conftest import ACCENTS, make_store, populate
from training.evaluation.predict import predict
from training.fit import train
from training.recipe import Recipe

MODEL = "ab" * 32


def spoken(store: Store, name: str, seed: int, speakers: int = 16, each: int = 25) -> Part:
    """A set of silent record, and what a model made of it: hum × north is misheard, and so is whoever speaks slowly."""
    rng = np.random.default_rng(seed)
    rows = []
    with store.run("ingest", job=name) as run, Recorder(run) as recorder:
        for i in range(speakers * each):
            speaker = i % speakers
            accent, noise = ("north", "south", "west")[speaker % 3], ("clean", "hum", "babble")[rng.integers(3)]
            words = int(rng.integers(3, 9))
            rate = 0.5 if (accent, noise) == ("north", "hum") else 0.1
            who = store.vault.speaker_key(f"{name}-{speaker}")
            sample = NewSample(
                id=uuid.UUID(int=int(rng.integers(1, 1 << 62)) << 60 | i), audio_digest=f"{seed}-{i}", kind="speech",
                duration_s=float(rng.uniform(1, 5)), rate=8_000, channels=1, transcript=" ".join(["one"] * words),
                speaker_key=who, attributes={"accent": accent, "noise": noise, "take": str(i), "who": f"v{speaker}"},
            )  # fmt: skip
            recorder.add(sample)
            rows.append((sample.id, float(rng.binomial(words, rate)), float(words), who))
        made = create_set(run, [r[0] for r in rows], name=name, samples=recorder.totals())
    rows.sort(key=lambda r: r[0].bytes)
    ids, errors, words_, who_ = zip(*rows, strict=True)
    return Part(made, id_array(ids), np.array(errors), np.array(words_), np.array(who_, dtype=object))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.init(tmp_path_factory.mktemp("discovery") / "store")


@pytest.fixture(scope="module")
def parts(record: Store) -> tuple[Part, Part]:
    return spoken(record, "seen", 1), spoken(record, "unseen", 2)


@pytest.fixture(scope="module")
def found(record: Store, parts: tuple[Part, Part]) -> Discovery:
    return examine(record, MODEL, *parts, Settings(replicates=300))


def test_the_planted_crossing_is_found_first_and_confirmed(found: Discovery) -> None:
    first = found.found[0]
    assert first.candidate.name == "accent=north & noise=hum"
    assert first.gap.confirmed
    assert 0.2 < first.gap.value < 0.6
    assert first.gap.low > 0
    assert found.confirmed[0] is first
    assert found.shared_speakers == 0


def test_it_is_frozen_before_it_is_tested_and_its_gap_is_on_record(found: Discovery, record: Store) -> None:
    tested = record.resolve_run(found.run_id)
    (discovered,) = (record.resolve_run(r) for r in tested.parents)
    assert discovered.kind == "discover"
    assert discovered.ended <= tested.started
    frozen = record.read("slices", where="run_id = ?", parameters=[discovered.id]).to_pylist()
    assert [(s["slice"], s["origin"]) for s in frozen] == [(f.candidate.name, "attributes") for f in found.found]
    assert {s["population"] for s in frozen} == {found.searched.digest}
    metrics = record.read("metrics", where="run_id = ?", parameters=[tested.id]).to_pylist()
    first = next(m for m in metrics if m["slice"] == "accent=north & noise=hum")
    assert (first["metric"], first["value"]) == ("wer_gap", found.found[0].gap.value)
    assert first["set_digest"] == found.tested.digest


def test_what_was_discovered_is_a_slice_like_any_other(found: Discovery, record: Store) -> None:
    first = found.found[0]
    (by_name,) = parse_slices(record, [first.candidate.name], found.tested.digest)
    for wanted in (by_name, Slice("mine", first.candidate.predicate)):
        ids = select(record, wanted, found.tested.digest)
        assert ids == members(record, str(first.tested_set))
    assert resolve_set(record, f"seen[{first.candidate.name}]").digest == first.candidate.set_digest


def test_asking_again_reads_it_back(found: Discovery, record: Store, parts: tuple[Part, Part]) -> None:
    runs = len(record.runs())
    again = examine(record, MODEL, *parts, Settings(replicates=300))
    assert again.reused
    assert repr(again.found) == repr(found.found)
    assert len(record.runs()) == runs


def test_conditions_are_what_their_sql_selects(record: Store, parts: tuple[Part, Part]) -> None:
    part = parts[0]
    made = literals(record, part.ids)
    features = {x.feature for x in made}
    assert {"accent", "noise", "duration_s", "words", "who"} <= features
    assert "take" in features  # a number with many values is cut at its quartiles
    for literal in made:
        ids = select(record, Slice("x", literal.predicate), part.set.digest)
        assert set(ids.to_pylist()) == {i for i, m in zip(part.ids.to_pylist(), literal.mask, strict=True) if m}


def test_quarters_leave_missing_values_out_and_are_told_apart() -> None:
    values = np.array([np.nan, *range(1, 101)])
    made = quarters("age", values)
    assert [x.predicate for x in made] == [
        '"age" <= 25.75', '"age" > 25.75 AND "age" <= 50.5', '"age" > 50.5 AND "age" <= 75.25', '"age" > 75.25',
    ]  # fmt: skip
    assert [int(x.mask.sum()) for x in made] == [25] * 4
    assert quarters("same", np.ones(9)) == []
    assert quarters("none", np.full(4, np.nan)) == []


def test_the_attributes_that_both_parts_are_alike_in_are_those_of_few_values(
    record: Store, parts: tuple[Part, Part]
) -> None:
    assert attributes_of(record, parts[0].ids) == ["accent", "noise", "who"]


def test_a_slice_is_never_tested_on_what_found_it(record: Store, parts: tuple[Part, Part]) -> None:
    with pytest.raises(EarmarkError, match="share samples"):
        examine(record, MODEL, parts[0], parts[0], Settings())


def test_from_a_model_and_a_set_to_clusters(recipe: Recipe, tmp_path: Path) -> None:
    """The real chain; then clusters of real embeddings, with errors planted on one side of them."""
    store = make_store(tmp_path / "store")
    sets = [populate(store, name, 72, seed=5 + i, speakers=8) for i, name in enumerate(("many", "more"))]
    model = train(store, recipe.variant(epochs=1)).model_id
    done = discover(store, model, "many", replicates=50)
    assert (done.searched.name, done.tested.name, done.shared_speakers) == ("many-discover", "many-confirm", 0)
    for seed in range(4):  # of eight speakers two are from the west; every other half that is cut blindly lacks them
        done = discover(store, model, "many", replicates=50, seed=seed)
        heard = [{x.name for x in literals(store, members(store, p.digest))} for p in (done.searched, done.tested)]
        assert {f"accent={a}" for a in ACCENTS} <= heard[0] & heard[1]
    seen = [embeddings(store, model, s.digest) for s in sets]
    heard = [part(store, predict(store, model, s.digest), s) for s in sets]
    centre = seen[0].mean(axis=0)
    axis = np.linalg.svd(seen[0] - centre, full_matrices=False)[2][0]
    axis = axis * np.sign((seen[0] - centre) @ axis @ heard[0].words)  # the side on which more words are
    both = [
        replace(p, errors=np.where((places - centre) @ axis > 0, p.words, 0.0))
        for p, places in zip(heard, seen, strict=True)
    ]
    settings = Settings("embeddings", clusters=2, support=0.01, replicates=50)
    train_set = resolve_set(store, "train")
    done = examine(store, model, both[0], both[1], settings, [train_set])
    assert done.found[0].candidate.name == "cluster 1"
    assert done.found[0].gap.value > 0.3
    assert set(done.words) == {f.candidate.name for f in done.found}
    assert _ids(store, resolve_set(store, "train[cluster 1]").digest) <= _ids(store, train_set.digest)
    for f in done.found:
        assert _ids(store, f.candidate.set_digest) <= _ids(store, done.searched.digest)
        assert f.tested_set is None or _ids(store, f.tested_set) <= _ids(store, done.tested.digest)
    again = examine(store, model, both[0], both[1], settings, [train_set])
    assert (again.reused, repr(again.found)) == (True, repr(done.found))
    with pytest.raises(EarmarkError, match="clusters"):
        discover(store, model, "many", also=["train"])


def _ids(store: Store, digest: str) -> set[uuid.UUID]:
    return set(members(store, digest).to_pylist())


@pytest.mark.parametrize(
    "wrong", [{"by": "heart"}, {"depth": 4}, {"candidates": 0}, {"clusters": 1}, {"support": 0}, {"level": 95}]
)
def test_settings_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(EarmarkError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_a_description_names_what_stands_out_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    inside = np.arange(400) < 80
    masks = {"often": rng.random(400) < np.where(inside, 0.8, 0.2), "never more": rng.random(400) < 0.5}
    assert overrepresented(masks, inside) == ["often"]
    assert overrepresented({}, inside) == []
    assert overrepresented(masks, np.zeros(400, dtype=bool)) == []

"""Old samples among the new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from lineage.errors import EarmarkError, UnknownName
from lineage.selection.consumed import consumption
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.store import Store
from training.data.rehearsal import mixture
from training.fit import train
from training.recipe import Recipe, Replay
from training.replay import replay


@pytest.fixture(scope="module")
def mixed(store: Store, populate: Callable[..., SampleSet]) -> Store:
    """Beside `train` (24) and `test` (16): `old` (40 of five speakers), and `some` of `old` and two of `train`."""
    old = populate(store, "old", 40, 3, speakers=5)
    with store.run("set") as run:
        both = [
            *members(store, old.digest).to_pylist()[:6],
            *members(store, resolve_set(store, "train").digest).to_pylist()[:2],
        ]
        create_set(run, both, name="some")
    return store


def drawn(store: Store, **fields: object) -> set[object]:
    return set(
        mixture(store, resolve_set(store, "train"), Replay(**{"sets": ["old"], "share": 0.25, **fields})).origins
    )


def test_the_draw_depends_on_sets_share_and_seed_alone(mixed: Store) -> None:
    assert len(drawn(mixed)) == 8  # beside 24
    assert drawn(mixed) == drawn(mixed)
    assert drawn(mixed) < drawn(mixed, share=0.4)
    assert drawn(mixed) != drawn(mixed, seed=1)
    assert drawn(mixed) == drawn(mixed, sets=["some", "old"])  # nothing new is drawn, nobody twice


def test_strata_are_met_in_proportion(mixed: Store) -> None:
    rows = mixed.sql("SELECT sample_id, speaker_key, accent FROM samples").to_pylist()
    speaker, accent = ({r["sample_id"]: r[name] for r in rows} for name in ("speaker_key", "accent"))
    assert sorted(Counter(speaker[i] for i in drawn(mixed, stratify="speaker")).values()) == [1, 1, 2, 2, 2]
    assert set(Counter(accent[i] for i in drawn(mixed, stratify="accent")).values()) == {4}
    with pytest.raises(UnknownName, match="did you mean 'accent'"):
        drawn(mixed, stratify="acent")


def test_every_exposure_says_where_it_was_replayed_from(mixed: Store, recipe: Recipe) -> None:
    recipe = recipe.variant(name="mixed", replay={"sets": ["some", "old"], "share": 0.25, "seed": 4})
    made = train(mixed, recipe)
    runs = len(mixed.runs())
    assert train(mixed, recipe).reused
    assert len(mixed.runs()) == runs
    new, old, some = (resolve_set(mixed, name) for name in ("train", "old", "some"))
    replayed, whole = resolve_set(mixed, "train-replayed"), resolve_set(mixed, "train-with-replay")
    assert (replayed.size, whole.size, whole.parents) == (8, 32, (new.digest, some.digest, old.digest))
    rows = mixed.read("exposures", ["sample_id", "replayed_from"], "run_id = ?", [made.run_id]).to_pylist()
    assert len(rows) == 2 * 32
    assert {r["sample_id"] for r in rows if r["replayed_from"]} == set(members(mixed, replayed.digest).to_pylist())
    inside = set(members(mixed, some.digest).to_pylist())
    for r in rows:
        if r["replayed_from"]:
            assert r["replayed_from"] == (some if r["sample_id"] in inside else old).digest
    assert train(mixed, Recipe.parse(mixed.resolve_run(made.run_id).config["recipe"])).reused
    found = consumption(mixed, made.run_id)
    assert found.as_planned
    assert found.planned.digest == whole.digest
    assert whole.words == sum(mixed.sql("SELECT words FROM samples JOIN members USING (sample_id) WHERE set_digest = ?",
                                        [whole.digest])["words"].to_pylist())  # fmt: skip


def test_shares_that_cannot_be_are_refused(mixed: Store, recipe: Recipe) -> None:
    with pytest.raises(EarmarkError, match=r"asks for 96 old ones, and old has 40 — lower it to 0.625"):
        drawn(mixed, share=0.8)
    assert len(drawn(mixed, share=0.625)) == 40
    with pytest.raises(EarmarkError, match="asks for 0 old ones"):
        drawn(mixed, share=0.001)
    with pytest.raises(EarmarkError, match="has the training set in it"):
        recipe.variant(replay={"sets": ["train"], "share": 0.5})
    with pytest.raises(EarmarkError, match=r"field 'replay.share'"):
        recipe.variant(replay={"sets": ["old"], "share": 1.0})


def test_a_replayed_run_draws_the_same_again(mixed: Store, recipe: Recipe) -> None:
    fields = {
        "epochs": 1,
        "replay": {"sets": ["old"], "share": 0.25},
        "ewc": {"set": "old", "strength": 5, "samples": 3},
    }
    train(mixed, recipe.variant(name="parent", epochs=1, seed=5))
    made = train(mixed, recipe.variant(name="child", base="model:parent", **fields))
    train(mixed, recipe.variant(name="parent", epochs=1, seed=6))  # another of that name
    assert replay(mixed, made.run_id).verdict == "identical"

"""What a training does otherwise than its recipe says: one thing moves, everything else stays where it was."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.derivation.relabel import relabel
from lineage.derivation.substitutes import Substitutes, record_substitutes, substitutes
from lineage.errors import EarmarkError
from lineage.selection.consumed import consumption
from lineage.selection.sets import create_set, members, resolve_set
from lineage.store import Store
from training.data.corpus import open_corpus
from training.data.order import Exposure, Plan
from training.data.playback import rebuild
from training.data.presentation import Presentation
from training.families import open_family
from training.fit import train
from training.recipe import Recipe
from training.replay import replay

FASTER = {"transform": "tempo", "parameters": {"factor": [1.0, 1.2]}}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, base: Path) -> tuple[Store, Recipe]:
    from tests.training.conftest import _populate

    store = Store.init(tmp_path_factory.mktemp("changes") / "store")
    _populate(store, "train", 12, seed=1)
    recipe = Recipe(name="tiny", base=str(base), train="train", epochs=1, batch_size=4, learning_rate=3e-3)
    return store, recipe


def _relabelled(store: Store, count: int) -> tuple[str, dict[uuid.UUID, uuid.UUID]]:
    """The first `count` samples of the set with the word 'nine' for whatever they say."""
    population = resolve_set(store, "train")
    texts = dict.fromkeys(members(store, population.digest).to_pylist()[:count], "nine")
    with store.run("intervene") as run:
        by, made = relabel(run, texts)
        samples = made.samples
        return record_substitutes(run, by, name="nines", population=population, samples=samples), by


def test_substitutes_take_places_and_nothing_else_moves(own: tuple[Store, Recipe]) -> None:
    store, recipe = own
    digest, by = _relabelled(store, 5)
    plain, changed = train(store, recipe), train(store, recipe, substitutes=digest)
    assert plain.model_id != changed.model_id
    assert train(store, recipe, substitutes=digest).reused
    columns = ["step", "position", "sample_id", "seed", "weight", "instead_of"]
    a, b = (
        store.read("exposures", columns, "run_id = ? ORDER BY step, position", [m.run_id]).to_pylist()
        for m in (plain, changed)
    )
    assert all(row["instead_of"] is None for row in a)
    assert [{**r, "sample_id": r["instead_of"] or r["sample_id"], "instead_of": None} for r in b] == a
    assert {r["instead_of"]: r["sample_id"] for r in b if r["instead_of"]} == {s: c for s, c in by.items() if s != c}
    assert consumption(store, changed.run_id).as_planned
    assert substitutes(store, digest).set_digest in store.resolve_run(changed.run_id).inputs
    half = create_part(store, 6)
    everything = train(store, recipe, substitutes=digest, augment={half: [FASTER]}, weights={half: 0.5})
    assert replay(store, everything.run_id).identical


def test_substituting_each_sample_by_itself_is_the_corpus_itself(own: tuple[Store, Recipe]) -> None:
    """No recorded pairing says so; the machinery that puts samples into places is asked alone."""
    store, recipe = own
    corpus = open_corpus(store, resolve_set(store, "train").digest, open_family("whisper", recipe.base))
    same = Substitutes("", corpus.ids, corpus.ids, corpus.set_digest)
    twin = corpus.with_substitutes(same, corpus)
    numbers = np.arange(len(corpus))
    assert twin.present.equals(corpus.present)
    for name, tensor in corpus.batch(numbers).items():
        assert torch.equal(tensor, twin.batch(numbers)[name])


def test_words_changed_and_changed_back_make_the_same_model(own: tuple[Store, Recipe]) -> None:
    store, recipe = own
    population = resolve_set(store, "train")
    _, by = _relabelled(store, 5)
    said = store.vault.transcripts(members(store, population.digest))
    with store.run("intervene") as run:
        back, _ = relabel(run, {child: said[s] for s, child in by.items() if child != s})
        restored = {s: back.get(child, child) for s, child in by.items()}
        again = create_set(run, {*said} - {*by} | {*restored.values()}, name="restored")
    assert again.digest == population.digest
    assert train(store, recipe.variant(train="restored")).model_id == train(store, recipe).model_id


def test_changes_that_change_nothing_are_the_same_run(own: tuple[Store, Recipe]) -> None:
    store, recipe = own
    half = create_part(store, 6)
    plain = train(store, recipe)
    assert train(store, recipe, augment={half: []}).run_id == plain.run_id
    assert train(store, recipe, weights={half: 1.0}).run_id == plain.run_id
    noisy = recipe.variant(augment=[FASTER])
    assert train(store, noisy, augment={half: [FASTER]}).run_id == train(store, noisy).run_id


def create_part(store: Store, count: int) -> str:
    """A set of the first samples of 'train'."""
    population = resolve_set(store, "train")
    with store.run("slice") as run:
        ids = members(store, population.digest).to_pylist()[:count]
        return create_set(run, ids, name=f"first-{count}", kind="slice", population=population.digest).digest


def test_augmentation_of_a_slice_alone(own: tuple[Store, Recipe]) -> None:
    store, recipe = own
    half, whole = create_part(store, 6), resolve_set(store, "train").digest
    inside = set(members(store, half).to_pylist())
    noisy = recipe.variant(augment=[FASTER])
    everywhere, nowhere = train(store, noisy), train(store, recipe)
    assert train(store, recipe, augment={whole: [FASTER]}).model_id == everywhere.model_id
    assert train(store, noisy, augment={whole: []}).model_id == nowhere.model_id
    some = train(store, noisy, augment={half: []})
    assert len({everywhere.model_id, nowhere.model_id, some.model_id}) == 3
    corpus = open_corpus(store, whole, open_family("whisper", recipe.base))
    shown, theirs = Presentation(corpus, noisy, {half: ()}), Presentation(corpus, noisy)
    for row, sample in enumerate(corpus.ids.to_pylist()):
        expected = corpus.features[row] if sample in inside else theirs.present(Exposure(row, 5))
        assert np.array_equal(shown.present(Exposure(row, 5)), expected)
    rows = store.read("exposures", ["position", "sample_id"], "run_id = ? AND step = 0", [some.run_id]).to_pylist()
    for row in rows:
        heard = rebuild(store, some.run_id, 0, row["position"])
        assert bool(heard.applied) == (row["sample_id"] not in inside)


def test_what_cannot_be_changed_is_told(own: tuple[Store, Recipe]) -> None:
    store, recipe = own
    half, more = create_part(store, 6), create_part(store, 8)
    with pytest.raises(EarmarkError, match="6 samples are in several sets with augmentations"):
        train(store, recipe, augment={half: [FASTER], more: [FASTER]}, seed=5)
    digest, _ = _relabelled(store, 5)
    with store.run("set") as run:
        ids = members(store, resolve_set(store, "train").digest).to_pylist()[6:]
        create_set(run, ids, name="rest")
    with pytest.raises(EarmarkError, match="is to be replaced, but is not in training set"):
        train(store, recipe.variant(train="rest"), substitutes=digest)


@pytest.mark.parametrize("steps", [1, 3, 5, 6, 7])
def test_a_number_of_steps_ends_in_the_middle_of_a_pass(own: tuple[Store, Recipe], steps: int) -> None:
    store, recipe = own
    limited = recipe.variant(steps=steps)
    plan = Plan.of(limited, 12)
    assert (plan.steps, plan.epochs) == (steps, -(-steps // 3))
    assert [step for step, _, _ in plan] == list(range(steps))
    assert plan.exposed == 4 * steps
    if steps == 5:
        made = train(store, limited)
        rows = store.read("exposures", ["step"], "run_id = ?", [made.run_id])
        assert rows.num_rows == plan.exposed
        assert store.resolve_run(made.run_id).result["steps"] == 5
        assert recipe.variant(steps=3, name="x").essence != recipe.essence
        assert "steps" not in recipe.essence

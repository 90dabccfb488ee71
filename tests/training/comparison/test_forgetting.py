"""What a chain of models has forgotten."""

from __future__ import annotations

import pytest

from lineage.errors import EarmarkError
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from training.comparison.compare import compare
from training.comparison.forgetting import forgetting
from training.fit import train
from training.models.recorded import resolve_model
from training.recipe import Recipe


@pytest.fixture(scope="module")
def chained(able: Store) -> Store:
    """`able`, which has learnt something, continued twice on what makes no sense to it."""
    fields = {"train": "dev", "epochs": 1, "batch_size": 8, "learning_rate": 3e-2}
    train(able, Recipe(name="second", base="model:able", evaluate=("test",), **fields))
    train(able, Recipe(name="third", base="model:second", **{**fields, "epochs": 2}))
    return able


def test_each_ancestor_is_set_beside_the_model(chained: Store) -> None:
    done = forgetting(chained, "third", ["train", "test", "test"])
    assert [(f.data.name, f.before.name) for f in done] == [
        ("train", "second"), ("train", "able"), ("test", "second"), ("test", "able"),
    ]  # fmt: skip
    able = done[1].comparison
    assert able.contrasts == compare(chained, "third", "able", "train").contrasts
    whole = able.contrast()
    assert whole.difference.value == pytest.approx(whole.first - whole.second)
    assert whole.difference.low > 0.1  # it knew its training set, and was pushed away from it
    assert [c.slice for c in able.contrasts] == ["all", "accent=north", "accent=south"]
    rows = chained.read(
        "metrics", where="run_id = ? AND metric = 'wer_difference'", parameters=[able.run_id]
    ).to_pylist()
    assert {r["slice"]: r["value"] for r in rows} == {c.slice: c.difference.value for c in able.contrasts}
    assert {r["baseline"] for r in rows} == {resolve_model(chained, "able").model_id}


def test_old_sets_are_those_that_older_recipes_measured_on(chained: Store) -> None:
    ids = members(chained, resolve_set(chained, "test").digest)
    done = forgetting(chained, "third", slices=lambda _: {"few": ids.slice(0, 5)})
    assert [(f.data.name, f.before.name) for f in done] == [("test", "second"), ("test", "able")]
    assert [c.slice for c in done[0].comparison.contrasts] == ["all", "few"]


def test_without_a_past_there_is_nothing_to_forget(chained: Store) -> None:
    with pytest.raises(EarmarkError, match="continues no other"):
        forgetting(chained, "able", ["test"])
    with pytest.raises(EarmarkError, match="name one with --on SET"):
        forgetting(chained, "second")
    with pytest.raises(EarmarkError, match="no set 'tset'"):
        forgetting(chained, "second", ["tset"])

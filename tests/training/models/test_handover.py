"""Whether a model that is handed over in memory is the one that its files hold."""

from __future__ import annotations

import pytest

from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.data.corpus import open_corpus
from training.evaluation.hearing import hear
from training.fit import train
from training.models import handover
from training.models.recorded import open_model, resolve_model
from training.recipe import Recipe


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_was_just_trained_is_what_its_files_give(store: Store, recipe: Recipe, method: str) -> None:
    made = train(store, recipe.variant(method=method, name=f"{method} at hand", seed=41))
    mine = open_model(store, made.model_id)
    theirs = open_model(store, made.model_id)
    assert mine.model is not theirs.model
    assert mine.record == theirs.record == resolve_model(store, f"{method} at hand")
    assert not mine.model.training
    assert all(p.grad is None for p in mine.model.parameters())
    weights = theirs.model.state_dict()
    assert all((tensor == weights[name]).all() for name, tensor in mine.model.state_dict().items())
    corpus = open_corpus(store, resolve_set(store, "test").digest, mine.family)
    (here, mine_nll, _), (there, their_nll, _) = (hear(opened.model, corpus) for opened in (mine, theirs))
    assert here == there
    assert mine_nll.tolist() == their_nll.tolist()


def test_nobody_gets_another_model(store: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(store, recipe.variant(seed=42))
    second = train(store, recipe.variant(seed=43))
    assert handover.take(store, first.model_id, recipe.attention) is None
    assert handover.take(store, second.model_id, "sdpa") is None
    assert handover.take(store, second.model_id, recipe.attention) is not None
    assert handover.take(store, second.model_id, recipe.attention) is None
    monkeypatch.setattr(handover, "MOST_BYTES", 1_000)  # too large to be kept for somebody who may not come
    large = train(store, recipe.variant(seed=44))
    assert handover.take(store, large.model_id, recipe.attention) is None

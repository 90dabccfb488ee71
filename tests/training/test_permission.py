"""What stands behind a model is judged with it."""

from __future__ import annotations

import pytest

from lineage.leakage import LeakageRefused
from lineage.people.policy import Policy, PolicyRefused
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.fit import train
from training.forecast import forecast
from training.recipe import Recipe

CONSENT = {"name": "strict", "purpose": "asr-training", "consent": "required"}


@pytest.fixture
def continued(store: Store, recipe: Recipe) -> Recipe:
    """A recipe that continues a model of `train` on `test`."""
    train(store, recipe.variant(name="first", epochs=1))
    return recipe.variant(name="second", base="model:first", train="test", epochs=1)


def test_an_evaluation_set_that_the_parent_was_trained_on_leaks(
    store: Store, recipe: Recipe, continued: Recipe
) -> None:
    assert not forecast(store, recipe.variant(train="test", evaluate=["train"])).leaks.refused
    told = forecast(store, continued.variant(evaluate=["train"]))
    assert told.refused
    with pytest.raises(LeakageRefused, match=f"sound of training set {resolve_set(store, 'train').digest[:12]}"):
        train(store, continued.variant(evaluate=["train"]))
    with pytest.raises(LeakageRefused):  # nor may weights be held to what they are measured on
        train(store, recipe.variant(train="test", evaluate=["train"], ewc={"set": "train", "strength": 1}))


def test_the_policy_is_asked_about_what_the_parent_was_trained_on(store: Store, continued: Recipe) -> None:
    parents = resolve_set(store, "train").digest
    with pytest.raises(
        PolicyRefused, match=f"set {parents[:12]}, which stands behind model first.*continue another model"
    ):
        train(store, continued, policy=Policy.parse(CONSENT))
    assert store.runs()[-1].result["policy"]["set"] == parents
    warned = Policy.parse({**CONSENT, "on_violation": "warn"})
    told = forecast(store, continued, policy=warned)
    assert [v.set_digest for v in told.allowed.behind] == [parents]
    made = train(store, continued, policy=warned)
    result = store.resolve_run(made.run_id).result
    assert result["policy"]["set"] == resolve_set(store, "test").digest
    assert [(v["set"], v["outcome"]) for v in result["policy_behind"]] == [(parents, "warned")]

"""Policies stop a training before any work, and a model made without an erased speaker takes the place of the one with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lineage.people import reach
from lineage.people.erase import erase
from lineage.people.obligations import owing
from lineage.people.policy import Policy, PolicyRefused, adopt
from lineage.proof import verifier
from lineage.selection.sets import SampleSet, resolve_set
from lineage.store import Store
from training.evaluation.predict import predict
from training.fit import train
from training.recipe import Recipe


@pytest.fixture
def own(tmp_path: Path, populate: Callable[..., SampleSet]) -> Store:
    store = Store.init(tmp_path / "store")
    populate(store, "train", 12, seed=3)
    return store


def test_a_refused_training_leaves_its_verdict_and_no_work(own: Store, recipe: Recipe) -> None:
    adopt(own, Policy(name="strict", forbidden_attributes=("accent",)))
    with pytest.raises(PolicyRefused, match="'accent' is on record, 12 samples"):
        train(own, recipe)
    last = own.runs()[-1]
    assert (last.kind, last.status) == ("train", "failed")
    assert last.result["policy"]["outcome"] == "refused"
    assert not [r for r in own.runs() if r.kind == "features"]
    lenient = Policy(name="lenient", forbidden_attributes=("accent",), on_violation="warn")
    made = train(own, recipe, policy=lenient)
    assert own.resolve_run(made.run_id).result["policy"]["outcome"] == "warned"
    with pytest.raises(PolicyRefused):  # what was allowed once is not handed out again once it is forbidden
        train(own, recipe)
    adopt(own, None)
    assert train(own, recipe).reused


def test_a_speaker_is_erased_and_the_same_recipe_trains_without(own: Store, recipe: Recipe) -> None:
    first = train(own, recipe)
    heard = predict(own, first.model_id, "train")
    shards = [r.outputs[0] for r in own.runs() if r.kind == "features"]
    done = erase(own, reach.speaker(own, "train-0"))
    assert len(done.reach.samples) == 3
    assert not any((own.root / "artifacts" / d[:2] / d).exists() for d in shards)
    assert len(own.vault.hypotheses(heard.run_id)) == 9
    assert [o["digest"] for o in owing(own)] == [first.model_id]
    second = train(own, recipe)
    assert not second.reused
    assert own.resolve_run(second.run_id).config["set"] == resolve_set(own, "train").digest
    consumed = own.read("exposures", ["DISTINCT sample_id"], "run_id = ?", [second.run_id])
    assert consumed.num_rows == 9
    assert owing(own) == []
    assert verifier.verify(own.root, deep=True).ok

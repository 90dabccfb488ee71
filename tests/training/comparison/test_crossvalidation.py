from __future__ import annotations

import jiwer
import pytest

from lineage.errors import EarmarkError
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.comparison.crossvalidation import crossvalidate
from training.evaluation.predict import predict
from training.normalise import normaliser
from training.recipe import Recipe


def test_everybody_is_heard_by_a_model_that_does_not_know_them(store: Store, recipe: Recipe) -> None:
    recipe = recipe.variant(epochs=3, learning_rate=1e-2)
    done = crossvalidate(store, recipe, folds=2)
    whole = resolve_set(store, "train")
    assert sum(f.held.size for f in done.folds) == whole.size
    text = normaliser("basic")
    said, heard = [], []
    for fold in done.folds:
        run = store.resolve_run(fold.model.run_id)
        assert run.inputs[0] == fold.rest.digest
        known = store.read("exposures", ["sample_id"], "run_id = ?", [run.id])["sample_id"].to_pylist()
        found = predict(store, fold.model.model_id, fold.held.digest)
        assert not set(known) & set(found.table["sample_id"].to_pylist())
        hypotheses = store.vault.hypotheses(found.run_id)
        references = store.vault.transcripts(list(hypotheses))
        said += [text(references[i]) for i in hypotheses]
        heard += [text(hypotheses[i]) for i in hypotheses]
    assert done.wer.value == pytest.approx(jiwer.wer(said, heard), rel=1e-12)
    assert done.wer.blocks == 4
    assert done.words == sum(len(s.split()) for s in said)
    before = len(store.runs())
    again = crossvalidate(store, recipe, folds=2)
    assert (again.run_id, again.reused, again.wer) == (done.run_id, True, done.wer)
    assert len(store.runs()) == before


def test_what_cannot_be_cut_is_refused(store: Store, recipe: Recipe) -> None:
    with pytest.raises(EarmarkError, match="has 4 speakers who share no recording, too few for 5 parts"):
        crossvalidate(store, recipe)
    with pytest.raises(EarmarkError, match="has a development set, whose speakers would be in the folds"):
        crossvalidate(store, recipe.variant(development="test"))

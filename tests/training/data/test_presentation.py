from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lineage.errors import EarmarkError
from lineage.selection.sets import resolve_set
from lineage.store import Store
from training.data.corpus import Corpus, open_corpus
from training.data.order import Exposure, Plan
from training.data.presentation import Presentation
from training.families import open_family
from training.families.whisper import Whisper
from training.fit import train
from training.recipe import Recipe


@pytest.fixture
def corpus(store: Store, base: Path) -> Corpus:
    return open_corpus(store, resolve_set(store, "train").digest, open_family("whisper", str(base)))


def test_without_augmentation_it_is_the_corpus(corpus: Corpus, recipe: Recipe) -> None:
    shown = Presentation(corpus, recipe)
    batch = shown.collate([shown[Exposure(i, 5 * i)] for i in (3, 1)])
    plain = corpus.batch([3, 1])
    assert batch.pop("seeds").tolist() == [15, 5]
    assert batch.keys() == plain.keys()
    assert all(torch.equal(batch[name], plain[name]) for name in plain)


def test_the_record_of_an_exposure_rebuilds_what_the_model_met(store: Store, corpus: Corpus, recipe: Recipe) -> None:
    """The seeds on record are those with which the plan presents."""
    recipe = recipe.variant(spec_augment={"time_width": 5}, gradient_accumulation=2)
    made = train(store, recipe)
    rows = store.read("exposures", where="run_id = ? ORDER BY step, position", parameters=[made.run_id]).to_pylist()
    index = {sample: i for i, sample in enumerate(corpus.ids.to_pylist())}
    noted = [Exposure(index[r["sample_id"]], r["seed"]) for r in rows]
    plan = Plan(len(corpus), recipe.epochs, recipe.batch_size, recipe.gradient_accumulation, recipe.seed)
    planned = [e for epoch in range(recipe.epochs) for part in plan.exposures(epoch) for e in part]
    assert noted == planned
    shown = Presentation(corpus, recipe)
    met = [shown.present(e) for e in noted]
    assert any(not np.array_equal(f, corpus.features[e.row]) for e, f in zip(noted, met, strict=True))


def test_masks_move_the_weights_and_stay_the_same_under_ablation(store: Store, recipe: Recipe) -> None:
    recipe = recipe.variant(spec_augment={}, epochs=1)
    masked = train(store, recipe)
    assert masked.model_id != train(store, recipe.variant(spec_augment=None)).model_id
    without = train(store, recipe, weights={resolve_set(store, "train").digest: 0.5})
    seeds = [
        store.read("exposures", ["sample_id", "seed"], "run_id = ? ORDER BY step, position", [run]).to_pylist()
        for run in (masked.run_id, without.run_id)
    ]
    assert seeds[0] == seeds[1]


def test_raw_waveforms_have_no_bands_to_mask(store: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Whisper, "spectral", False)
    with pytest.raises(EarmarkError, match="'spec_augment' masks spectrograms, but family whisper takes the raw"):
        train(store, recipe.variant(spec_augment={}, seed=3))
    assert store.runs()[-1].status == "failed"

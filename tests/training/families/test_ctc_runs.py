"""CTC models on the record: trained, adapted, evaluated, opened again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lineage.errors import EarmarkError
from lineage.selection.sets import SampleSet
from lineage.store import Store
from tests.training.families.ctc_bases import tiny_ctc
from tests.training.test_fit import ALONE
from training.evaluation.evaluate import evaluate, predict
from training.fit import train
from training.recipe import Recipe

KINDS = ("wav2vec2, group norm", "hubert", "w2v-bert")


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    """An epoch on `train` of one tiny base of each kind."""
    root = tmp_path_factory.mktemp("bases")
    common = {"train": "train", "epochs": 1, "batch_size": 5, "learning_rate": 3e-3, "dropout": 0.1, "family": "ctc"}
    return {k: Recipe(name=k, base=str(tiny_ctc(root / k, k)), **common) for k in KINDS}


def test_the_same_recipe_gives_the_same_weights_in_another_process(
    store: Store, recipes: dict[str, Recipe], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(store.root, copy)
    wanted = list(recipes.values())
    here = [train(store, r).model_id for r in wanted]
    assert len(set(here)) == len(wanted)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(copy), json.dumps([r.model_dump(mode="json") for r in wanted])],
        env={**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[model, False] for model in here]


@pytest.mark.parametrize(
    ("kind", "method"), [("wav2vec2, group norm", "full"), ("hubert", "lora"), ("w2v-bert", "full")]
)
def test_evaluation_does_not_depend_on_the_batch(
    store: Store, recipes: dict[str, Recipe], kind: str, method: str
) -> None:
    made = train(store, recipes[kind].variant(method=method))
    whole = evaluate(store, made.model_id, "test")
    assert 0 < whole.figure("loss").interval.value < 100
    table = whole.predictions.table
    single = predict(store, made.model_id, "test", batch_size=3, threads=2).table  # other threads, or it is read back
    assert np.allclose(table["loss"].to_numpy(), single["loss"].to_numpy(), rtol=1e-4)
    assert np.allclose(table["confidence"].to_numpy(), single["confidence"].to_numpy(), rtol=1e-3)
    assert table["tokens"].to_pylist() == single["tokens"].to_pylist()


def test_training_learns(store: Store, recipes: dict[str, Recipe]) -> None:
    made = train(store, recipes["w2v-bert"].variant(epochs=8, learning_rate=1e-2, dropout=0.0))
    losses = store.resolve_run(made.run_id).result["losses"]
    assert losses[-1] < 0.7 * losses[0]


def test_transcripts_too_long_for_their_clips(store: Store, recipes: dict[str, Recipe], populate) -> None:  # type: ignore[no-untyped-def]
    made: SampleSet = populate(store, "wordy", 4, seed=6, texts=["one", "two", "nothing but letters " * 9, "six"])
    recipe = recipes["w2v-bert"]
    with pytest.raises(EarmarkError, match=r"1 of 4 transcripts .first: sample .*needs \d+ frames, but the clip has"):
        train(store, recipe.variant(train=made.digest))
    scored = predict(
        store, train(store, recipe).model_id, "wordy"
    ).table  # what cannot be aligned is decoded all the same
    assert sum(v is None for v in scored["loss"].to_pylist()) == 1
    assert sorted(scored["tokens"].to_pylist())[0] == 0


def test_what_a_recipe_does_to_clips_has_to_fit_them(store: Store, recipes: dict[str, Recipe], populate) -> None:  # type: ignore[no-untyped-def]
    made: SampleSet = populate(store, "dense", 4, seed=7, texts=["seven seven", "eight", "three three", "zero"])
    bands, wave = (recipes[k].variant(train=made.digest, warmup=0) for k in ("w2v-bert", "hubert"))

    def speed(factor: float) -> dict[str, object]:
        return {"augment": [{"transform": "speed", "parameters": {"factor": [0.9, factor]}}]}

    with pytest.raises(EarmarkError, match=r"3 times as short, and then \d of 4 transcripts .*needs \d+ frames"):
        train(store, bands.variant(**speed(3)))
    assert train(store, bands.variant(**speed(1))).model_id != train(store, bands).model_id
    masked = {"spec_augment": {"time_masks": 1}}
    assert train(store, bands.variant(**masked)).model_id != train(store, bands).model_id
    with pytest.raises(EarmarkError, match="family ctc takes the raw waveform"):
        train(store, wave.variant(**masked))
